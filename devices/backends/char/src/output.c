/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Output: the loop's side of the ring, and how each kind of fd takes bytes without making the loop wait.
 *
 * Standard output belongs to others too (the shell, our parent): O_NONBLOCK on it would change it for them, so it is never set
 * there. Instead:
 *   regular file     just written: disks have no reader
 *   pipe             RWF_NOWAIT where the kernel's pipes know it, else at most PIPE_BUF bytes after poll(): pipe(7), a pipe
 *                    that polls writable has a free page
 *   terminal         after poll() one piece that the line discipline hands on as one: at most TTY_PIECE plain bytes, or one
 *                    byte that may become several
 *   socket           MSG_DONTWAIT
 * Another process that fills the same pipe or terminal between poll() and write(2) can still make one write wait for the
 * reader: nothing in Linux rules that out for a shared descriptor.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

#include "char_private.h"

static uint64_t waiting_bytes(const struct vchar *chr)
{
    return __atomic_load_n(&chr->head, __ATOMIC_SEQ_CST) - chr->tail;
}

/* Pairs with vchar_write(): the producer may fill what was read. */
static void took(struct vchar *chr, uint64_t n)
{
    __atomic_store_n(&chr->tail, chr->tail + n, __ATOMIC_RELEASE);
}

void vchar_out_drop(struct vchar *chr, uint64_t count)
{
    __atomic_fetch_add(&chr->dropped, count, __ATOMIC_RELAXED);
    if (chr->ops->dropped && count)
        chr->ops->dropped(chr->ctx, false, count);
}

/* ---- one write, never waiting: bytes, -EAGAIN, or an error ---- */

static ssize_t put_polled(int fd, const uint8_t *data, size_t len, size_t piece)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    if (poll(&p, 1, 0) < 0 || !(p.revents & (POLLOUT | POLLERR | POLLHUP)))
        return -EAGAIN;
    return vm_write(fd, data, len < piece ? len : piece);
}

/* A terminal that polls writable has room for one write of its line discipline, not for a second one: that would wait. */
static size_t tty_piece(const uint8_t *data, size_t len)
{
    size_t n = 0;

    while (n < len && n < TTY_PIECE && data[n] != '\n' && data[n] != '\r' && data[n] != '\t')
        n++;
    return n ? n : 1;
}

static ssize_t put_pipe(struct vchar *chr, const uint8_t *data, size_t len)
{
    struct iovec iov = { (void *)(uintptr_t)data, len };
    ssize_t n;

    if (chr->nowait_missing)
        return put_polled(chr->out_fd, data, len, PIPE_BUF);
    n = pwritev2(chr->out_fd, &iov, 1, -1, RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
        chr->nowait_missing = true;
        return put_polled(chr->out_fd, data, len, PIPE_BUF);
    }
    return n < 0 ? -errno : n;
}

static ssize_t put(struct vchar *chr, const uint8_t *data, size_t len)
{
    switch (chr->out) {
    case OUT_DIRECT: return vm_write(chr->out_fd, data, len);
    case OUT_PIPE: return put_pipe(chr, data, len);
    case OUT_TTY: return put_polled(chr->out_fd, data, len, tty_piece(data, len));
    case OUT_SOCKET: return vm_socket_send(chr->out_fd, data, len, NULL, 0, MSG_DONTWAIT);
    default: return -EAGAIN;
    }
}

/* ---- what an error means ---- */

static void drop_all(struct vchar *chr)
{
    uint64_t n = waiting_bytes(chr);

    vchar_out_drop(chr, n);
    took(chr, n);
}

/* A full disk may have room later; a reader that has gone does not come back, unless it is a client. */
static void failed(struct vchar *chr, int code)
{
    if (chr->out == OUT_SOCKET && chr->mode == VCHAR_SOCKET) {
        vchar_socket_hang_up(chr);
        return;
    }
    if (chr->mode == VCHAR_PTY) {
        vchar_pty_hang_up(chr);
        return;
    }
    drop_all(chr);
    vm_log_limited(chr->env, &chr->limit, VM_LOG_WARN, "%s: output is dropped: %s", chr->name,
                   strerror(-code));
    if (code == -EPIPE || code == -EIO || code == -ECONNRESET)
        vchar_out_detach(chr, OUT_GONE);
}

/* Whoever connects later finds the newest bytes. */
static void trim(struct vchar *chr)
{
    uint64_t used = waiting_bytes(chr), most = chr->size / 4 * 3;

    if (used < most)
        return;
    vchar_out_drop(chr, used - KEEP_BYTES);
    took(chr, used - KEEP_BYTES);
}

static void on_timer(struct vm_timer *timer)
{
    vchar_out_flush(container_of(timer, struct vchar, flush_timer));
}

static void flush_in(struct vchar *chr, uint64_t delay_ns)
{
    struct vm_loop *loop = chr->env->loop;

    if (chr->flush_timer.slot)
        return;
    if (vm_timer_set(loop, &chr->flush_timer, vm_loop_now_ns(loop) + delay_ns, on_timer))
        vchar_out_kick(chr); /* no memory: the next round is a worse, but a possible time */
}

static void wait_for_reader(struct vchar *chr)
{
    chr->out_waits = true;
    if (!chr->out_watch.active || vm_watch_set(&chr->out_watch, EPOLLOUT))
        flush_in(chr, RETRY_NS);
}

/* Writes up to the byte `end`. True: it is empty up to there; false: it has to wait. */
static bool drain(struct vchar *chr, uint64_t end)
{
    while (chr->tail < end) {
        size_t at = chr->tail & (chr->size - 1), len = chr->size - at;
        ssize_t n;

        if (len > end - chr->tail)
            len = end - chr->tail;
        if (chr->out == OUT_GONE) {
            drop_all(chr);
            return true;
        }
        n = put(chr, chr->ring + at, len);
        if (n == -EINTR)
            continue;
        if (n == -EAGAIN || n == 0)
            return false;
        if (n < 0)
            failed(chr, (int)n);
        else
            took(chr, (uint64_t)n);
    }
    return true;
}

/* The ring may stay empty now: see char_private.h. */
static bool rest(struct vchar *chr)
{
    __atomic_store_n(&chr->armed, 0, __ATOMIC_SEQ_CST);
    if (!waiting_bytes(chr))
        return true;
    __atomic_store_n(&chr->armed, 1, __ATOMIC_SEQ_CST);
    return false;
}

static void tell_drained(struct vchar *chr)
{
    if (waiting_bytes(chr) <= chr->size / 2 &&
        __atomic_exchange_n(&chr->starved, 0, __ATOMIC_SEQ_CST) && chr->ops->drained)
        chr->ops->drained(chr->ctx);
}

void vchar_out_flush(struct vchar *chr)
{
    bool empty;

    vm_timer_cancel(&chr->flush_timer);
    chr->out_waits = false;
    __atomic_store_n(&chr->armed, 1, __ATOMIC_SEQ_CST);
    /* Only what is there now: a guest that never stops must not keep the loop here. */
    empty = drain(chr, chr->tail + waiting_bytes(chr));
    if (chr->out == OUT_NOBODY)
        trim(chr);
    else if (!empty)
        wait_for_reader(chr);
    else if (!rest(chr))
        flush_in(chr, FLUSH_NS);
    tell_drained(chr);
}

void vchar_out_finish(struct vchar *chr)
{
    uint64_t end = chr->tail + waiting_bytes(chr);

    if (chr->out != OUT_NOBODY)
        drain(chr, end);
}

/* The loop finds it empty when it comes, and tells drained() then. */
void vchar_one_flush(struct vchar *chr)
{
    if (chr->mode == VCHAR_FILE)
        vchar_out_finish(chr);
}

/* ---- wake-ups ---- */

static void on_work(struct vm_work *work)
{
    struct vchar *chr = container_of(work, struct vchar, out_work);

    if (chr->out_waits)
        tell_drained(chr);
    else if (waiting_bytes(chr) >= chr->size / 4 ||
             __atomic_load_n(&chr->starved, __ATOMIC_SEQ_CST))
        vchar_out_flush(chr);
    else
        flush_in(chr, FLUSH_NS);
}

void vchar_out_kick(struct vchar *chr)
{
    __atomic_store_n(&chr->armed, 1, __ATOMIC_SEQ_CST);
    vm_loop_post(chr->env->loop, &chr->out_work, on_work);
}

/* A client's fd stays watched for its hang-up alone: EPOLLET asks for nothing else. */
static uint32_t idle_events(const struct vchar *chr)
{
    return chr->mode == VCHAR_SOCKET ? EPOLLET : 0;
}

static void on_ready(struct vm_watch *watch, uint32_t events)
{
    struct vchar *chr = container_of(watch, struct vchar, out_watch);

    if (chr->mode == VCHAR_SOCKET && events & (EPOLLHUP | EPOLLERR)) {
        vchar_socket_hang_up(chr);
        return;
    }
    vm_watch_set(watch, idle_events(chr));
    if (chr->out_waits)
        vchar_out_flush(chr);
}

static void on_tell(struct vm_work *work)
{
    struct vchar *chr = container_of(work, struct vchar, tell_work);

    chr->ops->connected(chr->ctx);
}

/* Later, without a lock: output may be written under the owner's (vchar_flush()). */
void vchar_out_connected(struct vchar *chr, bool on)
{
    bool is_new = __atomic_exchange_n(&chr->connected, on, __ATOMIC_RELAXED) != on;

    if (is_new && on)
        vm_count(&chr->connections, 1);
    if (is_new && chr->ops->connected && chr->env->loop && !chr->closing)
        vm_loop_post(chr->env->loop, &chr->tell_work, on_tell);
}

void vchar_out_attach(struct vchar *chr, enum vchar_out out, int fd)
{
    vchar_out_connected(chr, true);
    chr->out = out;
    chr->out_fd = fd;
    chr->out_waits = false;
    /* Without a watch it works by the timer. */
    if (vm_watch_add(chr->env->loop, &chr->out_watch, fd, 0, on_ready) == 0)
        vm_watch_set(&chr->out_watch, idle_events(chr));
    if (waiting_bytes(chr))
        vchar_out_kick(chr);
}

void vchar_out_detach(struct vchar *chr, enum vchar_out out)
{
    vchar_out_connected(chr, false);
    vm_watch_del(&chr->out_watch);
    chr->out = out;
    if (chr->out_fd > STDERR_FILENO)
        close(chr->out_fd);
    chr->out_fd = -1;
    chr->out_waits = false;
}

void vchar_out_say(struct vchar *chr, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t n = put(chr, (const uint8_t *)text, len);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}
