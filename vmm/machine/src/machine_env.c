/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Environments and standard error of devices that somebody else serves (machine_env.h). */
#include "machine_env.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include <vmm/base/fd.h>
#include <vmm/base/prop.h>

#include "machine_private.h"

/* ---- the environment ---- */

static const struct vm_env *outer(void *ctx)
{
    return ((struct machine_env *)ctx)->m->config.env;
}

static void env_log(void *ctx, enum vm_level level, const char *text)
{
    const struct vm_env *env = outer(ctx);

    if (env->log)
        env->log(env->ctx, level, text);
}

static uint64_t env_now(void *ctx, enum vm_clock clock)
{
    return outer(ctx)->now_ns(outer(ctx)->ctx, clock);
}

static int env_random(void *ctx, void *buf, size_t len)
{
    return outer(ctx)->random(outer(ctx)->ctx, buf, len);
}

void vmm_machine_env(struct machine_env *e, struct vmm_machine *m,
                     int (*open)(void *ctx, const char *name, unsigned how))
{
    e->m = m;
    e->env = m->io_env;
    e->env.ctx = e;
    e->env.log = env_log;
    e->env.now_ns = env_now;
    e->env.random = env_random;
    e->env.open = open;
}

/* ---- lines ---- */

void vmm_lines_init(struct machine_lines *lines, const struct vm_env *env, const char *id)
{
    *lines = (struct machine_lines){ .env = env, .id = id };
    lines->limit = (struct vm_ratelimit){ .burst = 100, .interval_ns = 10 * 1000000000ULL };
}

bool vmm_lines_is_noise(const char *const *noise, const char *line, size_t len)
{
    for (; noise && *noise; noise++)
        if (len >= strlen(*noise) && !memcmp(line, *noise, strlen(*noise)))
            return true;
    return false;
}

void vmm_lines_say(struct machine_lines *l, enum vm_level level, const char *untrusted, size_t len)
{
    char text[MACHINE_LINE_MAX + 1];
    size_t id = strlen(l->id);
    bool named = len > id && !memcmp(untrusted, l->id, id) && untrusted[id] == ':';

    if (vmm_lines_is_noise(l->noise, untrusted, len))
        return;
    vm_prop_show(untrusted, len, text, sizeof(text));
    vm_log_limited(l->env, &l->limit, level, "%s%s%s", named ? "" : l->id, named ? "" : ": ", text);
}

static void ready(struct vm_watch *watch, uint32_t events)
{
    struct machine_lines *l = container_of(watch, struct machine_lines, watch);
    ssize_t n = vm_read(watch->fd, l->text + l->len, sizeof(l->text) - l->len);
    char *end;

    (void)events;
    if (n == -EAGAIN)
        return;
    if (n <= 0)
        vm_watch_del(watch);
    else
        l->len += (size_t)n;
    while ((end = memchr(l->text, '\n', l->len))) {
        size_t len = (size_t)(end - l->text);

        vmm_lines_say(l, VM_LOG_WARN, l->text, len);
        l->len -= len + 1;
        memmove(l->text, end + 1, l->len);
    }
    if (l->len && (n <= 0 || l->len == sizeof(l->text))) {
        vmm_lines_say(l, VM_LOG_WARN, l->text, l->len);
        l->len = 0;
    }
}

int vmm_lines_begin(struct machine_lines *lines, struct vm_loop *loop, int fd)
{
    return vm_watch_add(loop, &lines->watch, fd, EPOLLIN, ready);
}

void vmm_lines_end(struct machine_lines *lines)
{
    vm_watch_del(&lines->watch);
    lines->len = 0;
}
