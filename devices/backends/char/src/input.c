/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Input: read, offered to the owner in the loop's thread, and not read on before the owner has taken it. But a terminal is always
 * read, or the escape key would die with a guest that does not read: what its buffer has no room for is dropped and counted. The
 * user's own terminal is read by a loop that no device holds up (env->keys_loop), or the escape key would die with a disk that
 * hangs: so a ring with one reader and one taker is between them.
 *
 * in_want is set before the owner is asked. So an owner that makes room right after it took less finds it set, and its
 * vchar_ready() posts the next try.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "char_private.h"

enum { ESCAPE_KEY = 1 }; /* Ctrl-A */

static const char help[] = "\r\nCtrl-A x: stop the machine.  Ctrl-A Ctrl-A: send one Ctrl-A.  "
                           "Ctrl-A h: this line.\r\n";

static void on_work(struct vm_work *work);

/* ---- the escape key ---- */

/* The key behind Ctrl-A. True: it is for the guest. */
static bool escaped(struct vchar *chr, uint8_t key)
{
    chr->in_escape = false;
    if (key == 'h') {
        __atomic_store_n(&chr->help_wanted, 1, __ATOMIC_RELAXED);
        vm_loop_post(chr->env->loop, &chr->in_work, on_work);
    }
    if (key == 'x' && chr->ops->escape)
        chr->ops->escape(chr->ctx, key);
    return key == ESCAPE_KEY;
}

static size_t filter(struct vchar *chr, uint8_t *piece, size_t len)
{
    size_t kept = 0;

    if (chr->mode != VCHAR_TTY && chr->mode != VCHAR_PTY)
        return len;
    for (size_t i = 0; i < len; i++) {
        uint8_t key = piece[i];

        if (!chr->in_escape && key == ESCAPE_KEY)
            chr->in_escape = true;
        else if (!chr->in_escape || escaped(chr, key))
            piece[kept++] = key;
    }
    return kept;
}

/* ---- reading ---- */

static size_t not_taken(const struct vchar *chr)
{
    return (size_t)(__atomic_load_n(&chr->in_head, __ATOMIC_ACQUIRE) -
                    __atomic_load_n(&chr->in_tail, __ATOMIC_ACQUIRE));
}

static void drop(struct vchar *chr, size_t count)
{
    __atomic_fetch_add(&chr->in_dropped, count, __ATOMIC_RELAXED);
    if (chr->ops->dropped)
        chr->ops->dropped(chr->ctx, true, count);
    vm_log_limited(chr->env, &chr->in_limit, VM_LOG_WARN,
                   "%s: the guest does not read: input is dropped", chr->name);
}

/* Behind what the owner has not taken yet. */
static void append(struct vchar *chr, const uint8_t *piece, size_t len)
{
    size_t room = chr->in_size - not_taken(chr), at = chr->in_head & (chr->in_size - 1), first;

    if (len > room) {
        drop(chr, len - room);
        len = room;
    }
    first = len < chr->in_size - at ? len : chr->in_size - at;
    memcpy(chr->in + at, piece, first);
    memcpy(chr->in, piece + first, len - first);
    __atomic_store_n(&chr->in_head, chr->in_head + len, __ATOMIC_RELEASE); /* deliver() */
}

/* A job in the background that reads its terminal is stopped by SIGTTIN. */
static bool in_background(const struct vchar *chr)
{
    pid_t group = chr->mode == VCHAR_TTY ? tcgetpgrp(chr->in_fd) : -1;

    return group >= 0 && group != getpgrp();
}

static void on_our_turn(struct vm_timer *timer)
{
    struct vchar *chr = container_of(timer, struct vchar, connect_timer);

    if (chr->in_watch.active && (chr->in_ahead || !not_taken(chr)))
        vm_watch_set(&chr->in_watch, EPOLLIN);
}

static void wait_for_turn(struct vchar *chr)
{
    struct vm_loop *loop = chr->in_loop;

    if (!vm_timer_set(loop, &chr->connect_timer, vm_loop_now_ns(loop) + CONNECT_NS, on_our_turn))
        vm_watch_set(&chr->in_watch, 0);
}

/* Standard input may be another reader's too, so what epoll saw may be gone. */
static ssize_t get(struct vchar *chr, uint8_t piece[INPUT_BYTES])
{
    struct iovec iov = { piece, INPUT_BYTES };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (chr->mode == VCHAR_SOCKET) { /* filters know recvmsg */
        n = recvmsg(chr->in_fd, &msg, MSG_DONTWAIT);
        return n < 0 ? -errno : n;
    }
    if (!vchar_poll(chr->in_fd, POLLIN))
        return -EAGAIN;
    return vm_read(chr->in_fd, piece, INPUT_BYTES);
}

static void ended(struct vchar *chr)
{
    if (chr->mode == VCHAR_SOCKET)
        vchar_socket_end(chr);
    else if (chr->mode == VCHAR_PTY)
        vchar_pty_hang_up(chr);
    else
        vchar_in_detach(chr);
}

/* The owner's side. True: it has taken all. */
static bool deliver(struct vchar *chr)
{
    size_t left;

    while ((left = not_taken(chr))) {
        size_t at = chr->in_tail & (chr->in_size - 1), n;

        if (left > chr->in_size - at)
            left = chr->in_size - at;
        __atomic_store_n(&chr->in_want, 1, __ATOMIC_SEQ_CST);
        n = chr->ops->input(chr->ctx, chr->in + at, left);
        __atomic_store_n(&chr->in_tail, chr->in_tail + (n < left ? n : left), __ATOMIC_RELEASE);
        if (n < left)
            return false;
    }
    __atomic_store_n(&chr->in_want, 0, __ATOMIC_SEQ_CST);
    return true;
}

static void pause_or_go_on(struct vchar *chr, bool more)
{
    if (chr->in_watch.active)
        vm_watch_set(&chr->in_watch, more || chr->in_ahead ? EPOLLIN : 0);
    else if (more)
        vm_loop_post(chr->env->loop, &chr->in_work, on_work);
}

static void read_some(struct vchar *chr)
{
    uint8_t piece[INPUT_BYTES];
    ssize_t n;

    if (in_background(chr)) {
        wait_for_turn(chr);
        return;
    }
    n = get(chr, piece);
    if (n == -EAGAIN || n == -EINTR) {
        pause_or_go_on(chr, true);
        return;
    }
    if (n <= 0) {
        ended(chr);
        return;
    }
    append(chr, piece, filter(chr, piece, (size_t)n));
    if (chr->in_loop == chr->env->loop)
        pause_or_go_on(chr, deliver(chr));
    else
        vm_loop_post(chr->env->loop, &chr->in_work, on_work);
}

/* ---- wake-ups ---- */

static void on_ready(struct vm_watch *watch, uint32_t events)
{
    (void)events;
    read_some(container_of(watch, struct vchar, in_watch));
}

/* The owner is ready; or another thread has read; or the next piece of what cannot be watched. */
static void on_work(struct vm_work *work)
{
    struct vchar *chr = container_of(work, struct vchar, in_work);

    if (__atomic_exchange_n(&chr->help_wanted, 0, __ATOMIC_RELAXED))
        vchar_out_say(chr, help);
    /* What is read ahead is watched all the time, maybe by another thread. */
    if (!deliver(chr) || chr->in_ahead || chr->in_fd < 0)
        return;
    if (chr->in_watch.active)
        vm_watch_set(&chr->in_watch, EPOLLIN);
    else
        read_some(chr);
}

void vchar_one_ready(struct vchar *chr)
{
    if (__atomic_load_n(&chr->in_want, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&chr->in_want, 0, __ATOMIC_SEQ_CST))
        vm_loop_post(chr->env->loop, &chr->in_work, on_work);
}

int vchar_in_attach(struct vchar *chr, int fd)
{
    bool terminal = chr->mode == VCHAR_TTY && isatty(fd);
    int rc;

    chr->in_loop = terminal && chr->env->keys_loop ? chr->env->keys_loop : chr->env->loop;
    rc = vm_watch_add(chr->in_loop, &chr->in_watch, fd, EPOLLIN, on_ready);
    if (rc && rc != -EPERM)
        return rc;
    chr->in_fd = fd;
    chr->in_escape = false;
    /* A pipe or a file as standard input waits for the guest: nobody types there, and nothing of it may be lost. */
    chr->in_ahead = !rc && (chr->mode == VCHAR_PTY || terminal);
    if (rc)
        vm_loop_post(chr->env->loop, &chr->in_work, on_work);
    return 0;
}

void vchar_in_detach(struct vchar *chr)
{
    vm_watch_del(&chr->in_watch);
    if (chr->in_fd > STDERR_FILENO)
        close(chr->in_fd);
    chr->in_fd = -1;
    if (chr->mode != VCHAR_SOCKET)
        return; /* what was typed before the end is still for the guest */
    __atomic_store_n(&chr->in_tail, chr->in_head, __ATOMIC_RELEASE);
    __atomic_store_n(&chr->in_want, 0, __ATOMIC_SEQ_CST);
}
