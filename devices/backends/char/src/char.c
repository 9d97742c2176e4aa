/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Character back ends: birth, death and the producer's side of the ring. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "char_private.h"

const char *const vchar_modes[] = { "auto", "off", "null", "tty", "file", "pty", "socket", NULL };
const char *const vchar_modes_ch[] = {
    "Auto", "Off", "Null", "Tty", "File", "Pty", "Socket", NULL
};

/* ---- writing: any thread ---- */

static void copy_in(struct vchar *chr, uint64_t head, const uint8_t *data, size_t len)
{
    size_t at = head & (chr->size - 1), first = chr->size - at;

    if (first > len)
        first = len;
    memcpy(chr->ring + at, data, first);
    memcpy(chr->ring, data + first, len - first);
}

/* The marks where a write wakes the loop though it knows of output: each quarter. At the first one a long burst need not wait
 * for the timer; where nobody is connected the oldest bytes must make room at the third one. */
static inline bool crosses_mark(const struct vchar *chr, uint64_t used, uint64_t n)
{
    return (used ^ (used + n)) & chr->marks;
}

/* Pairs with rest() in output.c; see char_private.h. */
static inline void publish(struct vchar *chr, uint64_t head, uint64_t used, uint64_t n)
{
    __atomic_store_n(&chr->head, head + n, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&chr->armed, __ATOMIC_SEQ_CST) || crosses_mark(chr, used, n))
        vchar_out_kick(chr);
}

/* The loop looks at starved whenever it runs the work; so whoever sets it has to post once. */
static void came_short(struct vchar *chr, size_t left, bool take_all)
{
    if (take_all)
        vchar_out_drop(chr, left);
    if (!__atomic_exchange_n(&chr->starved, 1, __ATOMIC_SEQ_CST))
        vchar_out_kick(chr);
}

static __attribute__((noinline)) size_t write_many(struct vchar *chr, const uint8_t *data,
                                                   size_t len, bool take_all, uint64_t used)
{
    uint64_t head = chr->head, n = chr->size - used;

    if (!chr->ring)
        return len;
    if (n > len)
        n = len;
    if (n) {
        copy_in(chr, head, data, n);
        publish(chr, head, used, n);
    }
    if (n < len)
        came_short(chr, len - n, take_all);
    return n;
}

size_t vchar_one_write(struct vchar *chr, const uint8_t *data, size_t len, bool take_all)
{
    uint64_t head = chr->head;
    /* Pairs with the release in output.c's took(): the bytes there have been read. */
    uint64_t used = head - __atomic_load_n(&chr->tail, __ATOMIC_ACQUIRE);

    /* A serial port's bytes come one by one: the rest stands apart. Without a ring the size is 0. */
    if (len != 1 || used >= chr->size)
        return write_many(chr, data, len, take_all, used);
    chr->ring[head & (chr->size - 1)] = *data;
    publish(chr, head, used, 1);
    return 1;
}

/* ---- life ---- */

enum vchar_mode vchar_mode_of(const struct vchar_config *config)
{
    if (config->mode != VCHAR_AUTO)
        return config->mode;
    if (config->file)
        return VCHAR_FILE;
    return config->socket ? VCHAR_SOCKET : VCHAR_OFF;
}

int vchar_open_made(struct vchar *chr, const char *name, unsigned how)
{
    const struct vm_env *env = chr->env;
    int fd = env->open ? env->open(env->ctx, name, how)
                       : vm_fail(-EACCES, "%s: nothing may be opened", name),
        rc = 0;

    if (fd < 0 || env->keeps_names || !strcmp(name, VM_PTY_NO_LINK))
        return fd;
    chr->path = strdup(name);
    rc = chr->path ? vm_made_note(name, &chr->made) : vm_fail(-ENOMEM, "out of memory");
    if (!rc)
        return fd;
    vm_close(&fd);
    return rc;
}

short vchar_poll(int fd, short events)
{
    static const struct timespec now = { 0 };
    struct pollfd p = { .fd = fd, .events = events };

    return ppoll(&p, 1, &now, NULL) > 0 ? p.revents : 0;
}

static int open_mode(struct vchar *chr, const struct vchar_config *config)
{
    bool late = chr->mode == VCHAR_PTY || chr->mode == VCHAR_SOCKET;

    if (chr->mode == VCHAR_NULL)
        vchar_out_connected(chr, true);
    if (chr->mode == VCHAR_OFF || chr->mode == VCHAR_NULL)
        return 0;
    if (!chr->env->loop)
        return vm_fail(-EINVAL, "mode=%s needs an event loop", vchar_modes[chr->mode]);
    chr->size = late ? KEPT_RING_BYTES : RING_BYTES;
    chr->marks = ~(chr->size / 4 - 1);
    chr->in_size = chr->mode == VCHAR_TTY || chr->mode == VCHAR_PTY ? TYPED_BYTES : INPUT_BYTES;
    chr->ring = malloc(chr->size); /* not cleared: only pages that are used cost memory */
    chr->in = malloc(chr->in_size);
    if (!chr->ring || !chr->in)
        return vm_fail(-ENOMEM, "out of memory");
    switch (chr->mode) {
    case VCHAR_TTY: return vchar_tty_open(chr, config);
    case VCHAR_FILE: return vchar_file_open(chr, config);
    case VCHAR_PTY: return vchar_pty_open(chr, config);
    default: return vchar_socket_open(chr, config);
    }
}

int vchar_one_new(const struct vm_env *env, const char *name, const struct vchar_config *config,
                  const struct vchar_ops *ops, void *ctx, struct vchar **ret_chr)
{
    struct vchar *chr = aligned_alloc(_Alignof(struct vchar), sizeof(*chr));
    int rc;

    if (!chr)
        return vm_fail(-ENOMEM, "out of memory");
    *chr = (struct vchar){ .env = env,
                           .ops = ops,
                           .ctx = ctx,
                           .mode = vchar_mode_of(config),
                           .own_fd = -1,
                           .out_fd = -1,
                           .in_fd = -1,
                           .limit = { .burst = 1 },
                           .in_limit = { .burst = 1 } };
    snprintf(chr->name, sizeof(chr->name), "%s", name);
    rc = open_mode(chr, config);
    if (rc) {
        vchar_one_free(chr);
        return rc;
    }
    *ret_chr = chr;
    return 0;
}

void vchar_one_free(struct vchar *chr)
{
    chr->closing = true;
    if (chr->ring) {
        vchar_out_finish(chr);
        if (chr->path)
            vm_made_remove(chr->path, &chr->made);
        vm_watch_del(&chr->listen_watch);
        vm_timer_cancel(&chr->connect_timer);
        vchar_in_detach(chr);
        vchar_out_detach(chr, OUT_GONE);
        vm_timer_cancel(&chr->flush_timer);
        vm_work_cancel(chr->env->loop, &chr->out_work);
        vm_work_cancel(chr->env->loop, &chr->in_work);
    }
    if (chr->env->loop)
        vm_work_cancel(chr->env->loop, &chr->tell_work);
    vm_close(&chr->own_fd);
    free(chr->path);
    free(chr->ring);
    free(chr->in);
    free(chr);
}
