/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Frames in a stream socket, each behind its length (32 bits, big-endian): what QEMU's -netdev stream and passt speak. There is no
 * header and no offload.
 *
 *   [alone] --connected, accepted--> [linked] --the peer ends, or breaks the framing--> [alone]
 *
 * A server waits for the next peer, a client tries again each RETRY_NS; a socket that was given open stays alone. Who may open no name any
 * more, in a jail, has somebody else connect (vmm/base/dial.h). Where connections come from somebody who starts the peer (mode=user:
 * passt), the next one is asked for and comes when there is one. The link stays up meanwhile, for the next passt knows all that the last
 * one did but TCP connections; it goes down when none has come for PATIENCE_NS.
 *
 * What the peer has sent lies in one buffer, several frames at once. What it does not take at once, the rest of one frame, lies in
 * the other; until that has gone nothing more is taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/pty.h>
#include <vmm/base/socket.h>

#include "net_private.h"

enum { LENGTH = 4, OUT_BYTES = VNET_FRAME_MAX + LENGTH, IN_BYTES = 2 * OUT_BYTES };
#define RETRY_NS    UINT64_C(1000000000)
#define PATIENCE_NS UINT64_C(5000000000)

struct stream {
    struct vnet net;
    const struct vm_env *env;
    const struct vnet_events *events;
    void *ctx;
    char name[VNET_NAME];
    char *path; /* NULL: it was given open */
    bool server;
    struct vm_made made;
    int fd, listen_fd, dial_fd; /* -1 */
    struct vm_watch watch, listen_watch, dial_watch;
    struct vm_timer retry;
    int feed; /* connections come by it; -1 */
    struct vm_watch feed_watch;
    uint32_t
        tag; /* of the question that stands, so that answers to one who served the device before are known */
    struct vm_ratelimit limit;
    uint32_t in_at, in_len; /* what lies in the buffer */
    uint32_t out_at, out_len;
    uint8_t in[IN_BYTES], out[OUT_BYTES];
};

static struct stream *stream_of(struct vnet *net)
{
    return container_of(net, struct stream, net);
}

static void on_retry(struct vm_timer *timer);

static void try_later(struct stream *s)
{
    if (s->path && !s->server)
        (void)vm_timer_set(s->env->loop, &s->retry, vm_loop_now_ns(s->env->loop) + RETRY_NS,
                           on_retry);
}

static void disconnect(struct stream *s)
{
    vm_watch_del(&s->watch);
    vm_close(&s->fd);
    s->in_at = s->in_len = s->out_at = s->out_len = 0;
}

static void on_patience(struct vm_timer *timer);

/* Whoever is asked waits until it may start the peer again. */
static void ask(struct stream *s)
{
    s->tag = (s->tag & INT32_MAX) + 1;
    (void)vm_dial_ask(s->feed, s->tag, 0); /* nobody there: the link goes down */
    (void)vm_timer_set(s->env->loop, &s->retry, vm_loop_now_ns(s->env->loop) + PATIENCE_NS,
                       on_patience);
}

/* The event comes from the loop: who finds out is in a call. */
static void hang_up(struct stream *s, const char *why)
{
    if (s->fd < 0)
        return;
    if (s->feed >= 0) { /* who started it tells of its end */
        disconnect(s);
        ask(s);
        return;
    }
    vm_log_limited(s->env, &s->limit, VM_LOG_WARN, "%s: %s: the link is down", s->name, why);
    disconnect(s);
    s->net.info.link = false;
    if (s->path && !s->server)
        try_later(s);
    else
        (void)vm_timer_set(s->env->loop, &s->retry, vm_loop_now_ns(s->env->loop), on_retry);
}

/* ---- to the peer ---- */

/* True: nothing is left over. */
static bool flush(struct stream *s)
{
    while (s->out_len) {
        ssize_t n = vm_socket_send(s->fd, s->out + s->out_at, s->out_len, NULL, 0, MSG_DONTWAIT);

        if (n == -EAGAIN)
            return false;
        if (n <= 0) {
            hang_up(s, "the peer takes no more");
            return true;
        }
        s->out_at += (uint32_t)n;
        s->out_len -= (uint32_t)n;
    }
    s->out_at = 0;
    return true;
}

/* What has not gone, from byte `sent` on. */
static void keep(struct stream *s, const struct iovec *iov, int count, size_t sent)
{
    for (int i = 0; i < count; i++) {
        size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len, len = iov[i].iov_len - skip;

        memcpy(s->out + s->out_len, (const uint8_t *)iov[i].iov_base + skip, len);
        s->out_len += (uint32_t)len;
        sent -= skip;
    }
}

static size_t bytes_of(const struct iovec *iov, int count)
{
    size_t bytes = 0;

    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

static int stream_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct stream *s = stream_of(net);
    size_t bytes = bytes_of(iov + 1, count - 1);
    uint8_t length[LENGTH] = { (uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16),
                               (uint8_t)(bytes >> 8), (uint8_t)bytes };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)count };
    ssize_t n;

    (void)queue;
    if (s->fd >= 0 && !flush(s))
        return -EAGAIN;
    if (s->fd < 0)
        return -ENETDOWN;
    if (bytes > VNET_FRAME_MAX)
        return -EMSGSIZE;
    iov[0] = (struct iovec){ length, LENGTH };
    do {
        n = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return -errno; /* ENOBUFS: it is lost, for nobody tells when there is memory again */
    if (n < 0) {
        hang_up(s, "the peer has gone");
        return -ENETDOWN;
    }
    if ((size_t)n < bytes + LENGTH)
        keep(s, iov, count, (size_t)n);
    return 0;
}

/* ---- from the peer ---- */

static uint32_t length_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* 1: a whole frame lies in the buffer. 0: not yet. -EPROTO: none that there can be. */
static int whole(const struct stream *s)
{
    uint32_t len;

    if (s->in_len < LENGTH)
        return 0;
    len = length_at(s->in + s->in_at);
    if (len > VNET_FRAME_MAX)
        return -EPROTO;
    return s->in_len - LENGTH >= len;
}

/* 0: something came. */
static int fill(struct stream *s)
{
    ssize_t n;

    memmove(s->in, s->in + s->in_at, s->in_len);
    s->in_at = 0;
    n = vm_read(s->fd, s->in + s->in_len, IN_BYTES - s->in_len);
    if (n == -EAGAIN)
        return -EAGAIN;
    if (n <= 0) {
        hang_up(s, "the peer has gone");
        return -ENETDOWN;
    }
    s->in_len += (uint32_t)n;
    return 0;
}

static size_t scatter(struct iovec *iov, int count, const uint8_t *from, size_t len)
{
    size_t done = 0;

    for (int i = 0; i < count && done < len; i++) {
        size_t n = len - done < iov[i].iov_len ? len - done : iov[i].iov_len;

        memcpy(iov[i].iov_base, from + done, n);
        done += n;
    }
    return done;
}

static ssize_t stream_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct stream *s = stream_of(net);
    uint32_t len;
    int rc;

    (void)queue;
    while (s->fd >= 0 && !(rc = whole(s))) {
        rc = fill(s);
        if (rc)
            return rc;
    }
    if (s->fd < 0)
        return -ENETDOWN;
    if (rc < 0) {
        hang_up(s, "the peer's framing is broken (a frame is longer than there are any)");
        return -ENETDOWN;
    }
    len = length_at(s->in + s->in_at);
    memset(iov[0].iov_base, 0, VNET_HEADER);
    scatter(iov + 1, count - 1, s->in + s->in_at + LENGTH, len);
    s->in_at += LENGTH + len;
    s->in_len -= LENGTH + len;
    return (ssize_t)len;
}

/* ---- the connection ---- */

static void on_ready(struct vm_watch *watch, uint32_t events)
{
    struct stream *s = container_of(watch, struct stream, watch);

    if (events & (EPOLLHUP | EPOLLERR)) {
        hang_up(s, "the peer has gone");
        return;
    }
    if (events & EPOLLOUT && flush(s) && s->fd >= 0)
        s->events->writable(s->ctx, 0);
    if (events & EPOLLIN && s->fd >= 0)
        s->events->readable(s->ctx, 0);
}

/* fd is taken over. */
static int link_up(struct stream *s, int fd)
{
    int rc = vm_watch_add(s->env->loop, &s->watch, fd, EPOLLIN | EPOLLOUT | EPOLLET, on_ready);

    if (rc) {
        close(fd);
        return vm_fail(rc, "socket: it cannot be waited for");
    }
    s->fd = fd;
    s->net.info.link = true;
    return 0;
}

static int connect_again(struct stream *s)
{
    int fd = s->env->open ? s->env->open(s->env->ctx, s->path, VM_OPEN_CONNECT)
                          : vm_fail(-EACCES, "%s: nothing may be opened", s->path);

    return fd < 0 ? fd : link_up(s, fd);
}

/* What somebody else has done. One that was asked for by who served the device before is as good. */
static void on_dialled(struct vm_watch *watch, uint32_t events)
{
    struct stream *s = container_of(watch, struct stream, dial_watch);
    struct vm_dial_answer a;
    int rc;

    (void)events;
    while (!(rc = vm_dial_take(s->dial_fd, &a))) {
        if (s->fd >= 0 || a.code)
            vm_close(&a.fd);
        else if (!link_up(s, a.fd))
            s->events->link(s->ctx);
    }
    if (rc != -EAGAIN) { /* nobody is there any more */
        vm_watch_del(&s->dial_watch);
        vm_close(&s->dial_fd);
    }
    if (s->fd < 0)
        try_later(s);
}

static void look_for_peer(struct stream *s)
{
    if (s->dial_fd >= 0) {
        if (vm_dial_ask(s->dial_fd, 0, 0))
            try_later(s);
    } else if (connect_again(s)) {
        try_later(s);
    }
}

/* Tells of what has changed, and looks for the peer. */
static void on_retry(struct vm_timer *timer)
{
    struct stream *s = container_of(timer, struct stream, retry);

    if (s->path && !s->server && s->fd < 0)
        look_for_peer(s);
    if (s->listen_watch.active)
        vm_watch_set(&s->listen_watch, EPOLLIN);
    s->events->link(s->ctx);
}

/* Who gets none connects by himself. */
static int want_dial(struct stream *s)
{
    const struct vm_env *env = s->env;
    int fd = env->open ? env->open(env->ctx, s->path, VM_OPEN_DIAL | VM_OPEN_CONNECT) : -1;

    if (fd < 0)
        return 0;
    s->dial_fd = fd;
    return vm_watch_add(env->loop, &s->dial_watch, fd, EPOLLIN, on_dialled);
}

/* No passt has come. It may still. */
static void on_patience(struct vm_timer *timer)
{
    struct stream *s = container_of(timer, struct stream, retry);

    if (!s->net.info.link)
        return;
    vm_log_limited(s->env, &s->limit, VM_LOG_WARN, "%s: passt does not come back: the link is down",
                   s->name);
    s->net.info.link = false;
    s->events->link(s->ctx);
}

static void take_connection(struct stream *s, int fd)
{
    bool was_down = !s->net.info.link;

    disconnect(s);
    if (link_up(s, fd))
        return; /* on_patience() tells */
    vm_timer_cancel(&s->retry);
    if (was_down)
        s->events->link(s->ctx);
}

static void on_feed(struct vm_watch *watch, uint32_t events)
{
    struct stream *s = container_of(watch, struct stream, feed_watch);
    struct vm_dial_answer answer;
    int rc;

    (void)events;
    while (!(rc = vm_dial_take(s->feed, &answer))) {
        if (answer.fd >= 0 && answer.tag == s->tag)
            take_connection(s, answer.fd);
        else
            vm_close(&answer.fd);
    }
    if (rc == -ECONNRESET)
        vm_watch_del(watch);
}

/* Whoever waits to be accepted goes on waiting; without the timer, until the peer that is there has gone. */
static void no_descriptor(struct stream *s)
{
    vm_log_limited(s->env, &s->limit, VM_LOG_WARN,
                   "%s: no file descriptor for a peer: the limit is what ulimit -n says", s->name);
    vm_watch_set(&s->listen_watch, 0);
    (void)vm_timer_set(s->env->loop, &s->retry, vm_loop_now_ns(s->env->loop) + RETRY_NS, on_retry);
}

static void on_peer(struct vm_watch *watch, uint32_t events)
{
    struct stream *s = container_of(watch, struct stream, listen_watch);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
        no_descriptor(s);
    if (fd < 0)
        return;
    if (s->fd >= 0) {
        vm_log_limited(s->env, &s->limit, VM_LOG_WARN,
                       "%s: a second peer was sent away: one is there already", s->name);
        close(fd);
        return;
    }
    if (!link_up(s, fd))
        s->events->link(s->ctx);
}

static int listen_at(struct stream *s)
{
    const struct vm_env *env = s->env;
    int fd = env->open ? env->open(env->ctx, s->path, VM_OPEN_LISTEN)
                       : vm_fail(-EACCES, "%s: nothing may be opened", s->path),
        rc = 0;

    if (fd == -ENOTCONN)
        return 0;
    if (fd < 0)
        return fd;
    s->listen_fd = fd;
    if (!env->keeps_names)
        rc = vm_made_note(s->path, &s->made);
    return rc ? rc : vm_watch_add(env->loop, &s->listen_watch, fd, EPOLLIN, on_peer);
}

static int connect_first(struct stream *s)
{
    int rc = connect_again(s);

    if (rc == -ENOTCONN)
        return 0;
    if (!rc)
        return want_dial(s);
    return rc == -ECONNREFUSED || rc == -ENOENT
               ? vm_wrap(rc, "start the other side first, or give one of them server=on")
               : rc;
}

static void stream_close(struct vnet *net)
{
    struct stream *s = stream_of(net);

    vm_timer_cancel(&s->retry);
    vm_watch_del(&s->watch);
    vm_watch_del(&s->listen_watch);
    vm_watch_del(&s->dial_watch);
    vm_close(&s->dial_fd);
    vm_watch_del(&s->feed_watch);
    vm_close(&s->fd);
    vm_close(&s->listen_fd);
    vm_close(&s->feed);
    if (s->path)
        vm_made_remove(s->path, &s->made);
    free(s->path);
    free(s);
}

/* An fd of the user's may be one that waits. */
static int use_given(struct stream *s, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        int rc = vm_fail_errno("fd");

        close(fd);
        return rc;
    }
    return link_up(s, fd);
}

static int begin(struct stream *s, const struct vnet_config *config, int fd)
{
    if (fd >= 0)
        return use_given(s, fd);
    s->server = config->server;
    s->path = strdup(config->socket);
    if (!s->path)
        return vm_fail(-ENOMEM, "out of memory");
    return s->server ? listen_at(s) : connect_first(s);
}

static struct stream *stream_new(const struct vnet_setup *setup)
{
    static const struct vnet_ops ops = { .receive = stream_receive,
                                         .send = stream_send,
                                         .close = stream_close };
    struct stream *s = malloc(sizeof(*s)); /* the buffers are not cleared */

    if (!s)
        return vm_fail(-ENOMEM, "out of memory"), NULL;
    memset(s, 0, offsetof(struct stream, in));
    s->net.ops = &ops;
    s->net.info.frame_max = VNET_FRAME_MAX;
    s->env = setup->env;
    s->events = setup->events;
    s->ctx = setup->ctx;
    s->fd = s->listen_fd = s->dial_fd = s->feed = -1;
    snprintf(s->name, sizeof(s->name), "%s", setup->name);
    return s;
}

int vnet_socket_new(const struct vnet_setup *setup, int fd, struct vnet **ret_net)
{
    struct stream *s = stream_new(setup);
    int rc;

    if (!s) {
        vm_close(&fd);
        return -ENOMEM;
    }
    rc = begin(s, setup->config, fd);
    if (rc) {
        stream_close(&s->net);
        return rc;
    }
    *ret_net = &s->net;
    return 0;
}

int vnet_user_new(const struct vnet_setup *setup, int feed, struct vnet **ret_net)
{
    struct stream *s = stream_new(setup);
    int rc;

    if (!s) {
        vm_close(&feed);
        return -ENOMEM;
    }
    s->feed = feed;
    s->net.info.frame_max = vnet_user_frame_max();
    s->net.info.link = true; /* it runs, or there would be no feed */
    rc = s->env->random(s->env->ctx, &s->tag, sizeof(s->tag));
    if (!rc)
        rc = vm_watch_add(s->env->loop, &s->feed_watch, feed, EPOLLIN, on_feed);
    if (rc) {
        stream_close(&s->net);
        return vm_wrap(rc, "mode=user");
    }
    ask(s);
    *ret_net = &s->net;
    return 0;
}
