/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Several sinks as one character back end: the one that its owner has, and further ones behind it. Each is a whole one with rings
 * of its own; those further ones take what the first one took, and drop what they have no room for.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "char_private.h"

const struct vm_prop vchar_also_props[] = {
    VCHAR_SINK_PROPS(
        struct { struct vchar_config sink; }, sink),
    { 0 },
};

static const struct vchar_config *sink_of(const struct vchar_config *config, uint32_t i)
{
    return i ? (const struct vchar_config *)config->also.items + (i - 1) : config;
}

bool vchar_uses(const struct vchar_config *config, enum vchar_mode mode)
{
    for (uint32_t i = 0; i <= config->also.count; i++)
        if (vchar_mode_of(sink_of(config, i)) == mode)
            return true;
    return false;
}

/* ---- what contradicts itself ---- */

static int check_one(const struct vchar_config *config)
{
    enum vchar_mode mode = vchar_mode_of(config);

    if (mode > VCHAR_SOCKET)
        return vm_fail(-EINVAL, "mode %u is unknown", mode);
    if (config->file && config->socket)
        return vm_fail(-EINVAL, "file=%s and socket=%s: it can be one of them; leave the other out",
                       config->file, config->socket);
    if (mode == VCHAR_FILE && !config->file)
        return vm_fail(-EINVAL, "mode=file needs file=PATH");
    if (mode == VCHAR_SOCKET && !config->socket)
        return vm_fail(-EINVAL, "mode=socket needs socket=PATH");
    if (config->file && mode != VCHAR_FILE && mode != VCHAR_PTY)
        return vm_fail(-EINVAL, "file=%s has no meaning with mode=%s: leave one of them out",
                       config->file, vchar_modes[mode]);
    if (config->socket && mode != VCHAR_SOCKET)
        return vm_fail(-EINVAL, "socket=%s has no meaning with mode=%s: leave one of them out",
                       config->socket, vchar_modes[mode]);
    if (config->keep && mode != VCHAR_FILE)
        return vm_fail(-EINVAL, "append=on is for file=PATH: give that, or leave it out");
    return 0;
}

/* Copies the components of a path without those that mean nothing. */
static void tidy(const char *path, char ret_path[static PATH_MAX])
{
    size_t len = 0, n;

    for (ret_path[0] = '\0'; *path; path += n + (path[n] == '/')) {
        const char *last = strrchr(ret_path, '/');

        n = strcspn(path, "/");
        if (!n || (n == 1 && *path == '.') || len + n + 1 >= PATH_MAX)
            continue;
        if (n == 2 && !memcmp(path, "..", 2) && last && strcmp(last, "/..") != 0) {
            len = (size_t)(last - ret_path);
        } else {
            ret_path[len] = '/';
            memcpy(ret_path + len + 1, path, n);
            len += n + 1;
        }
        ret_path[len] = '\0';
    }
}

bool vchar_same_path(const char *a, const char *b)
{
    char one[PATH_MAX], other[PATH_MAX];

    tidy(a, one);
    tidy(b, other);
    return (*a == '/') == (*b == '/') && !strcmp(one, other);
}

/* Two that are one: the same name, or both the terminal. */
static int check_pair(const struct vchar_config *a, const struct vchar_config *b)
{
    const char *one = a->file ? a->file : a->socket, *other = b->file ? b->file : b->socket;

    if (vchar_mode_of(a) == VCHAR_TTY && vchar_mode_of(b) == VCHAR_TTY)
        return vm_fail(-EINVAL, "mode=tty is there already: only one of them can be the terminal");
    if (one && other && vchar_same_path(one, other))
        return vm_fail(-EINVAL, "%s is there already: give one of them another path", other);
    return 0;
}

static int check_also(const struct vchar_config *config, uint32_t n)
{
    const struct vchar_config *c = sink_of(config, n);
    enum vchar_mode mode = vchar_mode_of(c);
    int rc = check_one(c);

    if (!rc && (mode == VCHAR_OFF || mode == VCHAR_NULL))
        rc = vm_fail(-EINVAL, "it goes nowhere: give mode=tty, mode=pty, file=PATH or socket=PATH");
    for (uint32_t i = 0; !rc && i < n; i++)
        rc = check_pair(sink_of(config, i), c);
    return rc ? vm_wrap(rc, "also[%u]", n - 1) : 0;
}

int vchar_check(const struct vchar_config *config)
{
    int rc = check_one(config);

    if (!rc && config->also.count && vchar_mode_of(config) == VCHAR_OFF)
        rc = vm_fail(-EINVAL, "also= is for what goes elsewhere, too: give mode=, file=PATH or "
                              "socket=PATH, or leave it out");
    if (!rc && config->also.count > VCHAR_ALSO_MAX)
        rc = vm_fail(-EINVAL, "also: at most %d are possible", VCHAR_ALSO_MAX);
    for (uint32_t i = 1; !rc && i <= config->also.count; i++)
        rc = check_also(config, i);
    return rc;
}

void vchar_config_mute(struct vchar_config *config)
{
    static const struct vm_prop rows[] = {
        VCHAR_PROPS(
            struct { struct vchar_config chr; }, chr),
        { 0 },
    };

    vm_prop_free(rows, config);
    config->mode = VCHAR_NULL;
}

/* ---- what a further sink says is the first one's to tell ---- */

static size_t input(void *ctx, const uint8_t *data, size_t len)
{
    const struct vchar *first = ctx;

    return first->ops->input(first->ctx, data, len);
}

static void escape(void *ctx, uint8_t key)
{
    const struct vchar *first = ctx;

    if (first->ops->escape)
        first->ops->escape(first->ctx, key);
}

static void dropped(void *ctx, bool is_input, uint64_t count)
{
    const struct vchar *first = ctx;

    if (is_input && first->ops->dropped)
        first->ops->dropped(first->ctx, true, count);
    if (!is_input && first->ops->also_dropped)
        first->ops->also_dropped(first->ctx, count);
}

static void connected(void *ctx)
{
    const struct vchar *first = ctx;

    if (first->ops->connected)
        first->ops->connected(first->ctx);
}

static const struct vchar_ops also_ops = {
    .input = input, .escape = escape, .dropped = dropped, .connected = connected
};

/* ---- all of them as one ---- */

static int open_also(struct vchar *chr, const struct vchar_config *config)
{
    struct vchar **place = &chr->next;
    int rc = 0;

    chr->sinks = 1;
    for (uint32_t i = 1; !rc && i <= config->also.count; i++) {
        rc = vchar_one_new(chr->env, chr->name, sink_of(config, i), &also_ops, chr, place);
        if (rc)
            return vm_wrap(rc, "also[%u]", i - 1);
        place = &(*place)->next;
        chr->sinks++;
    }
    return 0;
}

int vchar_new(const struct vm_env *env, const char *name, const struct vchar_config *config,
              const struct vchar_ops *ops, void *ctx, struct vchar **ret_chr)
{
    struct vchar *chr = NULL;
    int rc = vchar_check(config);

    if (!rc)
        rc = vchar_one_new(env, name, config, ops, ctx, &chr);
    if (!rc)
        rc = open_also(chr, config);
    if (rc) {
        vchar_free(chr);
        return vm_wrap(rc, "%s", name);
    }
    *ret_chr = chr;
    return 0;
}

/* The first one last: the others speak to its owner through it. */
void vchar_free(struct vchar *chr)
{
    struct vchar *sink;

    while (chr && (sink = chr->next)) {
        chr->next = sink->next;
        vchar_one_free(sink);
    }
    if (chr)
        vchar_one_free(chr);
}

/* What the first one did not take comes again, for all of them. */
size_t vchar_write(struct vchar *chr, const uint8_t *data, size_t len, bool take_all)
{
    size_t n = vchar_one_write(chr, data, len, take_all);

    for (struct vchar *sink = chr->next; sink; sink = sink->next)
        vchar_one_write(sink, data, take_all ? len : n, true);
    return n;
}

void vchar_flush(struct vchar *chr)
{
    for (; chr; chr = chr->next)
        vchar_one_flush(chr);
}

/* Whoever comes first may fill all the room that the owner has: each is first in turn. */
void vchar_ready(struct vchar *chr)
{
    uint32_t skip =
        chr->next ? __atomic_fetch_add(&chr->turn, 1, __ATOMIC_RELAXED) % chr->sinks : 0;
    struct vchar *from = chr;

    for (; skip; skip--)
        from = from->next;
    for (struct vchar *sink = from; sink; sink = sink->next)
        vchar_one_ready(sink);
    for (; chr != from; chr = chr->next)
        vchar_one_ready(chr);
}

bool vchar_connected(const struct vchar *chr)
{
    for (; chr; chr = chr->next)
        if (__atomic_load_n(&chr->connected, __ATOMIC_RELAXED))
            return true;
    return false;
}

uint64_t vchar_connections(const struct vchar *chr)
{
    return chr->next ? 0 : __atomic_load_n(&chr->connections, __ATOMIC_RELAXED);
}

bool vchar_is_shared(const struct vchar *chr)
{
    return chr->next;
}

bool vchar_has_keys(const struct vchar *chr)
{
    for (; chr; chr = chr->next)
        if (chr->in_loop && chr->in_loop == chr->env->keys_loop)
            return true;
    return false;
}

uint64_t vchar_dropped(const struct vchar *chr)
{
    return __atomic_load_n(&chr->dropped, __ATOMIC_RELAXED);
}

uint64_t vchar_also_dropped(const struct vchar *chr)
{
    uint64_t sum = 0;

    for (chr = chr->next; chr; chr = chr->next)
        sum += vchar_dropped(chr);
    return sum;
}

uint64_t vchar_in_dropped(const struct vchar *chr)
{
    uint64_t sum = 0;

    for (; chr; chr = chr->next)
        sum += __atomic_load_n(&chr->in_dropped, __ATOMIC_RELAXED);
    return sum;
}

const char *vchar_pty(const struct vchar *chr)
{
    return chr->pty[0] ? chr->pty : NULL;
}
