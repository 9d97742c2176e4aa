/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front end's connection: it is made, made again when it was lost, and what is asked on it is answered in order and in time.
 */
#include "front.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define ANSWER_NS     (5 * 1000000000ULL) /* a back end that takes longer hangs */
#define RETRY_NS      (50 * 1000000ULL) /* doubled each time ... */
#define RETRY_MOST_NS (1000 * 1000000ULL) /* ... up to this */

static void enter(struct vhost_front *f)
{
    if (f->made)
        vm_lock_acquire(&f->dev.dev.lock);
}

static void leave(struct vhost_front *f)
{
    if (f->made)
        vm_lock_release(&f->dev.dev.lock);
}

static uint64_t after(const struct vhost_front *f, uint64_t ns)
{
    uint64_t now = vm_loop_now_ns(f->env->loop);

    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

/* ---- what is under way ---- */

static uint64_t answer_ns(const struct vhost_front *f)
{
    bool first = f->state == FRONT_HELLO && f->step <= 1;

    return first && f->setup.first_ns ? f->setup.first_ns : ANSWER_NS;
}

static void too_late(struct vm_timer *timer)
{
    struct vhost_front *f = container_of(timer, struct vhost_front, deadline);
    struct vm_error why;
    char text[24];

    enter(f);
    vm_error_save(vm_fail(-ETIMEDOUT, "the back end did not answer %s within %llu s",
                          vhost_message_name(VHOST_FRONT, f->call[f->call_at].request, text),
                          (unsigned long long)(answer_ns(f) / 1000000000ULL)),
                  &why);
    vhost_front_gone(f, &why);
    leave(f);
}

/* Each answer starts the time anew: it bounds silence, not the sum. */
static void watch_time(struct vhost_front *f)
{
    if (f->calls)
        (void)vm_timer_set(f->env->loop, &f->deadline, after(f, answer_ns(f)), too_late);
    else
        vm_timer_cancel(&f->deadline);
}

static int acknowledged(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    char text[24];

    (void)f;
    (void)queue;
    if (!untrusted->payload.u64)
        return 0;
    return vm_fail(-EPROTO, "the back end refuses %s (%#llx)",
                   vhost_message_name(VHOST_FRONT, untrusted->request, text),
                   (unsigned long long)untrusted->payload.u64);
}

static int answer(struct vhost_front *f, struct vhost_message *m)
{
    struct front_call call;
    char text[24];

    if (!f->calls)
        return vm_fail(-EPROTO, "%s: a reply that nobody awaits",
                       vhost_message_name(VHOST_FRONT, m->request, text));
    call = f->call[f->call_at];
    if (call.request != m->request)
        return vm_fail(-EPROTO, "%s: a reply where that to request %u was awaited",
                       vhost_message_name(VHOST_FRONT, m->request, text), call.request);
    f->call_at = (f->call_at + 1) % FRONT_CALLS_MAX;
    f->calls--;
    watch_time(f);
    return call.answered(f, call.queue, m);
}

static int on_reply(void *ctx, struct vhost_message *untrusted)
{
    struct vhost_front *f = ctx;
    int rc;

    enter(f);
    rc = answer(f, untrusted);
    leave(f);
    return rc;
}

static int on_request(void *ctx, struct vhost_message *untrusted)
{
    struct vhost_front *f = ctx;
    int rc;

    enter(f);
    rc = vhost_front_asked(f, untrusted);
    leave(f);
    if (rc == FRONT_LATER)
        return 0;
    if (rc > 0)
        return vhost_channel_ack(f->requests, untrusted, 1);
    /* It may find out what we do not know, where it asks for an answer. */
    if (rc == -EOPNOTSUPP && untrusted->flags & VHOST_MESSAGE_NEED_REPLY &&
        front_has(f, VHOST_PROTOCOL(REPLY_ACK)))
        return vhost_channel_ack(f->requests, untrusted, 1);
    return rc ? rc : vhost_channel_ack(f->requests, untrusted, 0);
}

static void on_closed(void *ctx, const struct vm_error *why)
{
    struct vhost_front *f = ctx;

    enter(f);
    vhost_front_gone(f, why);
    leave(f);
}

int vhost_front_send(struct vhost_front *f, const struct vhost_message *m)
{
    return vhost_channel_send(f->channel, m);
}

int vhost_front_call(struct vhost_front *f, const struct vhost_message *m, uint16_t queue,
                     int (*answered)(struct vhost_front *f, uint16_t queue,
                                     struct vhost_message *untrusted))
{
    int rc;

    if (f->calls == FRONT_CALLS_MAX)
        return vm_fail(-ENOBUFS, "vhost-user: more than %d requests without an answer",
                       FRONT_CALLS_MAX);
    rc = vhost_front_send(f, m);
    if (rc)
        return rc;
    f->call[(f->call_at + f->calls++) % FRONT_CALLS_MAX] =
        (struct front_call){ .request = m->request, .queue = queue, .answered = answered };
    if (f->calls == 1)
        watch_time(f);
    return 0;
}

int vhost_front_tell(struct vhost_front *f, const struct vhost_message *m)
{
    struct vhost_message asking;

    if (!front_has(f, VHOST_PROTOCOL(REPLY_ACK)))
        return vhost_front_send(f, m);
    asking = *m;
    asking.flags |= VHOST_MESSAGE_NEED_REPLY;
    return vhost_front_call(f, &asking, 0, acknowledged);
}

struct vhost_message vhost_front_message(uint32_t request, uint32_t bytes)
{
    return (
        struct vhost_message){ .request = request, .flags = VHOST_MESSAGE_VERSION, .size = bytes };
}

struct vhost_message vhost_front_number(uint32_t request, uint64_t value)
{
    struct vhost_message m = vhost_front_message(request, sizeof(value));

    m.payload.u64 = value;
    return m;
}

/* ---- the connection ---- */

static void retry_later(struct vhost_front *f);

/* A connected socket: the greeting begins. Takes fd over. */
static int take(struct vhost_front *f, int fd)
{
    static const struct vhost_channel_ops ops = { on_reply, on_closed };
    int rc = vhost_channel_new(f->env, fd, VHOST_FRONT, true, &ops, f, &f->channel);

    if (rc)
        return rc;
    vm_timer_cancel(&f->retry);
    vm_count(&f->count.connects, 1);
    f->state = FRONT_HELLO;
    return vhost_front_hello(f);
}

static void accept_ready(struct vm_watch *watch, uint32_t events)
{
    struct vhost_front *f = container_of(watch, struct vhost_front, listener);
    int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int rc = 0;

    (void)events;
    if (fd < 0)
        return;
    enter(f);
    if (f->channel) {
        vm_log(f->env, VM_LOG_WARN, "%s: a second back end came to %s: sent away", f->dev.dev.id,
               f->setup.socket);
        vm_close(&fd);
    } else {
        rc = take(f, fd);
    }
    if (rc)
        vhost_front_gone_with(f, rc);
    leave(f);
}

/* A machine that is only looked at: the device is what the options say. */
static int stand_in(struct vhost_front *f)
{
    f->features = VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX;
    if (f->setup.platform) {
        f->features |= VIRTIO_FEATURE_ACCESS_PLATFORM;
        f->protocol |= VHOST_PROTOCOL(BACKEND_REQ);
    }
    f->queues_there = f->setup.queues;
    f->stand_in = true;
    f->state = FRONT_IDLE;
    return 0;
}

/* 0: connected or trying again; -errno with text: it cannot work at all. */
static int connect_now(struct vhost_front *f)
{
    int fd = f->env->open ? f->env->open(f->env->ctx, f->setup.socket, VM_OPEN_CONNECT)
                          : vm_fail(-EACCES, "%s: nothing may be opened here", f->setup.socket);

    if (fd >= 0)
        return take(f, fd);
    if (fd == -ENOTCONN && !f->made)
        return stand_in(f);
    if (fd != -ECONNREFUSED && fd != -ENOENT && fd != -EAGAIN)
        return fd;
    vm_error_save(fd, &f->lost);
    retry_later(f);
    return 0;
}

static void try_again(struct vm_timer *timer)
{
    struct vhost_front *f = container_of(timer, struct vhost_front, retry);
    int rc;

    enter(f);
    rc = connect_now(f);
    if (rc)
        vhost_front_gone_with(f, rc);
    leave(f);
}

static void retry_later(struct vhost_front *f)
{
    f->retry_ns = f->retry_ns ? f->retry_ns * 2 : RETRY_NS;
    if (f->retry_ns > RETRY_MOST_NS)
        f->retry_ns = RETRY_MOST_NS;
    (void)vm_timer_set(f->env->loop, &f->retry, after(f, f->retry_ns), try_again);
}

static int listen_here(struct vhost_front *f)
{
    int rc;

    f->listen_fd = f->env->open
                       ? f->env->open(f->env->ctx, f->setup.socket, VM_OPEN_LISTEN)
                       : vm_fail(-EACCES, "%s: nothing may be opened here", f->setup.socket);
    if (f->listen_fd == -ENOTCONN)
        return stand_in(f);
    if (f->listen_fd < 0)
        return f->listen_fd;
    rc = vm_watch_add(f->env->loop, &f->listener, f->listen_fd, EPOLLIN, accept_ready);
    return rc ? vm_wrap(rc, "%s", f->setup.socket) : 0;
}

int vhost_front_link_open(struct vhost_front *f)
{
    int fd = f->setup.fd;

    f->setup.fd = -1;
    if (fd >= 0)
        return take(f, fd);
    if (!f->setup.socket)
        return vm_fail(-ENOTCONN, "there is no other socket to connect to");
    if (f->setup.server)
        return f->listen_fd >= 0 ? 0 : listen_here(f);
    if (!f->made)
        return connect_now(f);
    retry_later(f);
    return 0;
}

void vhost_front_link_close(struct vhost_front *f)
{
    vm_timer_cancel(&f->deadline);
    vm_timer_cancel(&f->retry);
    vhost_channel_free(f->channel);
    vhost_channel_free(f->requests);
    f->channel = f->requests = NULL;
    f->calls = f->call_at = 0;
    f->protocol = 0;
}

/* The end of the socket pair that goes to the back end is closed here once it was sent. */
int vhost_front_requests_open(struct vhost_front *f)
{
    static const struct vhost_channel_ops ops = { on_request, on_closed };
    struct vhost_message m = vhost_front_message(VHOST_USER_SET_BACKEND_REQ_FD, 0);
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail_errno("vhost-user: socket for the back end's requests");
    rc = vhost_channel_new(f->env, pair[0], VHOST_FRONT, false, &ops, f, &f->requests);
    if (!rc) {
        vhost_channel_set_protocol(f->requests, f->protocol);
        m.fds = 1;
        m.fd[0] = pair[1];
        rc = vhost_front_tell(f, &m);
    }
    vm_close(&pair[1]);
    return rc;
}
