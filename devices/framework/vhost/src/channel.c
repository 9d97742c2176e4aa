/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * One end of a vhost-user socket. Reading stops at each message's end, so that file descriptors, which come with the first byte they
 * were sent with, cannot be taken for the next message's. QEMU docs/interop/vhost-user.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/socket.h>
#include <vmm/vhost/channel.h>

struct piece { /* of what is to be sent: one message, or the rest of one */
    struct vm_list node;
    size_t at, bytes;
    unsigned fds;
    int fd[VHOST_FDS_MAX];
    uint8_t data[];
};

struct vhost_channel {
    const struct vm_env *env;
    const struct vhost_channel_ops *ops;
    void *ctx;
    enum vhost_role requester;
    bool requests; /* we are the requester */
    bool closed;
    bool paused; /* the owner takes no message now */
    uint64_t protocol;
    int fd;
    struct vm_watch watch;
    struct vm_timer rest; /* of a message that has begun: until when it has to come */
    struct vm_work end_work;
    struct vm_error end;
    size_t got; /* bytes of in, header first */
    struct vhost_message in;
    struct vm_list out;
    size_t out_bytes;
};

static void piece_free(struct piece *piece)
{
    for (unsigned i = 0; i < piece->fds; i++)
        vm_close(&piece->fd[i]);
    free(piece);
}

static void drop_out(struct vhost_channel *c)
{
    while (!vm_list_empty(&c->out)) {
        struct piece *piece = container_of(c->out.next, struct piece, node);

        vm_list_del(&piece->node);
        piece_free(piece);
    }
    c->out_bytes = 0;
}

/* Nothing comes or goes any more; the owner is told by whoever calls this. */
static void shut(struct vhost_channel *c)
{
    c->closed = true;
    vm_watch_del(&c->watch);
    vm_timer_cancel(&c->rest);
    vhost_message_drop_fds(&c->in);
    drop_out(c);
    vm_close(&c->fd);
}

static void end_run(struct vm_work *work)
{
    struct vhost_channel *c = container_of(work, struct vhost_channel, end_work);

    c->ops->closed(c->ctx, &c->end);
}

/* The connection ends with the thread's text; last call of a call-back of the loop, for the owner may free the channel. */
static void end_now(struct vhost_channel *c, int code)
{
    if (c->closed)
        return;
    vm_error_save(code, &c->end);
    shut(c);
    c->ops->closed(c->ctx, &c->end);
}

/* The same where the owner called us. */
static int end_later(struct vhost_channel *c, int code)
{
    vm_error_save(code, &c->end);
    shut(c);
    vm_loop_post(c->env->loop, &c->end_work, end_run);
    return code;
}

/* ---- reading ---- */

/* Up to len bytes to buf. 1: some came; 0: none for now; -errno with text. */
static int receive(struct vhost_channel *c, void *buf, size_t len)
{
    size_t count;
    ssize_t n = vm_socket_receive(c->fd, buf, len, c->in.fd + c->in.fds, VHOST_FDS_MAX - c->in.fds,
                                  &count, MSG_DONTWAIT);

    if (n == -EAGAIN || n == -EWOULDBLOCK)
        return 0;
    if (n == -EMSGSIZE)
        return vm_fail(-EPROTO, "more than %d file descriptors in one message", VHOST_FDS_MAX);
    if (n < 0)
        return vm_fail((int)n, "vhost-user socket: %s", strerror((int)-n));
    if (!n)
        return vm_fail(-ECONNRESET, "the peer has closed the vhost-user socket%s",
                       c->got ? " within a message" : "");
    c->got += (size_t)n;
    c->in.fds += (unsigned)count;
    return 1;
}

/* A reply is a message of the peer's where we ask. */
static bool is_reply(const struct vhost_channel *c)
{
    return c->requests;
}

static int refuse(struct vhost_channel *c)
{
    const struct vhost_rule *rule = vhost_message_rule(c->requester, c->in.request);

    /* The peer may find out what we do not know, where it asked for an answer. */
    if (!(c->in.flags & VHOST_MESSAGE_NEED_REPLY) || !(c->protocol & VHOST_PROTOCOL(REPLY_ACK)) ||
        (rule && rule->answer == VHOST_ANSWER_ALWAYS))
        return -EPROTO;
    vm_log(c->env, VM_LOG_WARN, "vhost-user: %s", vm_error_text());
    return vhost_channel_ack(c, &c->in, 1);
}

static int deliver(struct vhost_channel *c)
{
    int rc = vhost_message_check(c->requester, &c->in, is_reply(c), c->protocol);

    c->got = 0;
    if (!rc)
        rc = c->ops->message(c->ctx, &c->in);
    else if (rc == -EOPNOTSUPP)
        rc = refuse(c);
    vhost_message_drop_fds(&c->in);
    return rc;
}

/* The next piece of the message that is coming in. 1: go on; 0: nothing more for now, or one message was delivered: the loop comes
 * back, others have their turn; -errno with text. */
static int read_some(struct vhost_channel *c)
{
    uint8_t *header = (uint8_t *)&c->in.request;
    int rc;

    if (c->got < VHOST_HEADER_BYTES) {
        rc = receive(c, header + c->got, VHOST_HEADER_BYTES - c->got);
        if (rc <= 0 || c->got < VHOST_HEADER_BYTES)
            return rc;
        rc = vhost_message_check_header(c->requester, &c->in, is_reply(c));
        if (rc)
            return rc;
        /* What a short payload leaves out is 0, not the last message's. */
        memset(c->in.payload.bytes + c->in.size, 0, VHOST_PAYLOAD_MAX - c->in.size);
    } else {
        size_t at = c->got - VHOST_HEADER_BYTES;

        rc = receive(c, c->in.payload.bytes + at, c->in.size - at);
        if (rc <= 0)
            return rc;
    }
    return c->got == VHOST_HEADER_BYTES + c->in.size ? deliver(c) : 1;
}

static void rest_is_late(struct vm_timer *timer);

static int await_rest(struct vhost_channel *c)
{
    struct vm_loop *loop = c->env->loop;

    return vm_timer_set(loop, &c->rest, vm_loop_now_ns(loop) + VHOST_MESSAGE_NS, rest_is_late);
}

/* A message that has begun keeps its file descriptors here, and one of them may be the peer's end of this very socket: then
 * nobody would hear of the peer's death. So it has to end, or the connection does. */
static int read_all(struct vhost_channel *c)
{
    int rc;

    do
        rc = read_some(c);
    while (rc > 0);
    if (rc || c->closed)
        return rc;
    if (!c->got)
        vm_timer_cancel(&c->rest);
    return c->got && !c->rest.slot ? await_rest(c) : 0;
}

/* It may lie in the socket: perhaps it was we who did not read. */
static void rest_is_late(struct vm_timer *timer)
{
    struct vhost_channel *c = container_of(timer, struct vhost_channel, rest);
    int rc = c->paused ? await_rest(c) : read_all(c);

    if (!rc && !c->paused && c->got)
        rc = vm_fail(-EPROTO, "%zu bytes of a message and no more for %llu s", c->got,
                     VHOST_MESSAGE_NS / 1000000000U);
    if (rc)
        end_now(c, rc);
}

/* ---- writing ---- */

/* What the loop shall wait for. While paused nothing is read, not even the peer's end. */
static int watch_again(struct vhost_channel *c)
{
    uint32_t events = c->paused ? 0 : EPOLLIN;

    return vm_watch_set(&c->watch, events | (vm_list_empty(&c->out) ? 0 : EPOLLOUT));
}

/* 0: all went, or the socket is full; -errno with text. */
static int write_some(struct vhost_channel *c)
{
    while (!vm_list_empty(&c->out)) {
        struct piece *piece = container_of(c->out.next, struct piece, node);
        ssize_t n = vm_socket_send(c->fd, piece->data + piece->at, piece->bytes - piece->at,
                                   piece->fd, piece->fds, MSG_DONTWAIT);

        if (n == -EAGAIN || n == -EWOULDBLOCK)
            return 0;
        if (n < 0)
            return vm_socket_send_failed(n, "vhost-user socket");
        for (; piece->fds; piece->fds--) /* they went with the first byte */
            vm_close(&piece->fd[piece->fds - 1]);
        piece->at += (size_t)n;
        c->out_bytes -= (size_t)n;
        if (piece->at < piece->bytes)
            return 0;
        vm_list_del(&piece->node);
        piece_free(piece);
    }
    return watch_again(c);
}

static void ready(struct vm_watch *watch, uint32_t events)
{
    struct vhost_channel *c = container_of(watch, struct vhost_channel, watch);
    int rc = events & EPOLLOUT ? write_some(c) : 0;

    if (!rc && !c->paused && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        rc = read_all(c);
    if (rc < 0)
        end_now(c, rc);
}

/* Keeps what the socket did not take, with duplicates of the fds. */
static int keep(struct vhost_channel *c, const uint8_t *data, size_t len,
                const struct vhost_message *message, bool with_fds)
{
    struct piece *piece;

    if (c->out_bytes + len > VHOST_QUEUE_BYTES)
        return vm_fail(-ENOBUFS, "the peer does not read its vhost-user socket");
    piece = calloc(1, sizeof(*piece) + len);
    if (!piece)
        return vm_fail(-ENOMEM, "vhost-user: no memory for a message of %zu bytes", len);
    memcpy(piece->data, data, len);
    piece->bytes = len;
    vm_list_add(&c->out, &piece->node);
    c->out_bytes += len;
    for (unsigned i = 0; with_fds && i < message->fds; i++) {
        piece->fd[i] = fcntl(message->fd[i], F_DUPFD_CLOEXEC, 0);
        if (piece->fd[i] < 0)
            return vm_fail_errno("vhost-user: file descriptor %d", message->fd[i]);
        piece->fds++;
    }
    return watch_again(c);
}

int vhost_channel_send(struct vhost_channel *c, const struct vhost_message *message)
{
    const uint8_t *data = (const uint8_t *)&message->request;
    size_t len = VHOST_HEADER_BYTES + message->size;
    ssize_t n = 0;
    int rc = 0;

    if (c->closed)
        return vm_fail(-ENOTCONN, "vhost-user: not connected");
    if (vm_list_empty(&c->out))
        n = vm_socket_send(c->fd, data, len, message->fd, message->fds, MSG_DONTWAIT);
    if (n == -EAGAIN || n == -EWOULDBLOCK)
        n = 0;
    if (n < 0)
        return end_later(c, vm_socket_send_failed(n, "vhost-user socket"));
    if ((size_t)n < len)
        rc = keep(c, data + n, len - (size_t)n, message, !n);
    return rc ? end_later(c, rc) : 0;
}

int vhost_channel_ack(struct vhost_channel *c, const struct vhost_message *request, uint64_t result)
{
    struct vhost_message reply = { .request = request->request,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = sizeof(uint64_t) };

    if (!(c->protocol & VHOST_PROTOCOL(REPLY_ACK)) || !(request->flags & VHOST_MESSAGE_NEED_REPLY))
        return 0;
    reply.payload.u64 = result;
    return vhost_channel_send(c, &reply);
}

bool vhost_channel_sending(const struct vhost_channel *c)
{
    return !vm_list_empty(&c->out);
}

void vhost_channel_pause(struct vhost_channel *c, bool on)
{
    if (c->closed || c->paused == on)
        return;
    c->paused = on;
    if (watch_again(c))
        end_later(c, -EIO);
}

void vhost_channel_set_protocol(struct vhost_channel *c, uint64_t protocol)
{
    c->protocol = protocol;
}

int vhost_channel_new(const struct vm_env *env, int fd, enum vhost_role role, bool requests,
                      const struct vhost_channel_ops *ops, void *ctx,
                      struct vhost_channel **ret_channel)
{
    struct vhost_channel *c = calloc(1, sizeof(*c));
    int rc;

    if (!c) {
        vm_close(&fd);
        return vm_fail(-ENOMEM, "vhost-user: no memory for a connection");
    }
    c->env = env;
    c->ops = ops;
    c->ctx = ctx;
    c->requests = requests;
    c->requester = requests == (role == VHOST_FRONT) ? VHOST_FRONT : VHOST_BACK;
    c->fd = fd;
    vm_list_init(&c->out);
    rc = vm_watch_add(env->loop, &c->watch, fd, EPOLLIN, ready);
    if (rc) {
        vm_close(&c->fd);
        free(c);
        return vm_wrap(rc, "vhost-user socket");
    }
    *ret_channel = c;
    return 0;
}

void vhost_channel_free(struct vhost_channel *c)
{
    if (!c)
        return;
    vm_work_cancel(c->env->loop, &c->end_work);
    if (!c->closed)
        shut(c);
    free(c);
}
