/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The host's side of the socket device: the protocol that Firecracker's docs/vsock.md describes, which cloud-hypervisor has too.
 *
 *   from the host   a client connects to the socket and says "CONNECT PORT\n"; when a program of the guest has taken the connection it
 *                   reads "OK PORT\n", the port being the host's end; otherwise the connection ends
 *   from the guest  a connection to port P of CID 2 goes to who listens at SOCKET_P
 *
 * Messages (SOCK_SEQPACKET) have sockets of their own, of that type too: their boundaries are then the kernel's on all the way, and a
 * program of the host needs no framing. The CONNECT line is the first message.
 *
 * The device opens no name: who made it connects (vmm/base/dial.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "virtio_vsock_private.h"

enum { ACCEPTS_PER_ROUND = 32 };

/* ---- clients ---- */

static void bad_client(struct vsock_conn *c, const char *why)
{
    struct virtio_vsock *v = c->vsock;

    vm_count(&v->count.bad_clients, 1);
    vm_log_limited(v->dev.dev.env, &v->limit, VM_LOG_INFO, "%s: a client of the socket %s: closed",
                   v->dev.dev.id, why);
    virtio_vsock_conn_free(c);
}

static void too_late(struct vm_timer *timer)
{
    struct vsock_conn *c = container_of(timer, struct vsock_conn, timer);
    struct virtio_vsock *v = c->vsock;

    vm_lock_acquire(&v->dev.dev.lock);
    if (c->state == VSOCK_HELLO) {
        bad_client(c, "did not say CONNECT in time");
    } else { /* ASKED, DIALLING: the other side says nothing */
        vm_count(&v->count.refused, 1);
        virtio_vsock_conn_abort(c);
    }
    vm_lock_release(&v->dev.dev.lock);
}

/* The port, or -1: no such line. Exactly "CONNECT ", one to ten digits, newline. */
static int64_t parse_line(const char *untrusted, size_t len)
{
    static const char word[] = "CONNECT ";
    const size_t head = sizeof(word) - 1;
    uint64_t port = 0;

    if (len < head + 2 || len > head + 11 || memcmp(untrusted, word, head) != 0)
        return -1;
    for (size_t i = head; i < len - 1; i++) {
        if (untrusted[i] < '0' || untrusted[i] > '9')
            return -1;
        port = port * 10 + (uint64_t)(untrusted[i] - '0');
    }
    return port < UINT32_MAX ? (int64_t)port : -1; /* the last one is VMADDR_PORT_ANY */
}

static ssize_t receive(int fd, char *to, size_t len, int flags)
{
    struct iovec iov = { to, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    do {
        n = recvmsg(fd, &msg, MSG_DONTWAIT | flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Up to the newline, the rest stays in the socket. -EAGAIN: it has not come; 0: the end. */
static ssize_t read_line(struct vsock_conn *c, char line[VSOCK_LINE_MAX])
{
    ssize_t n = receive(c->fd, line, VSOCK_LINE_MAX, MSG_PEEK);
    const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;

    if (n <= 0)
        return n;
    if (end)
        return receive(c->fd, line, (size_t)(end + 1 - line), 0);
    return n == VSOCK_LINE_MAX || c->ended || c->type == VSOCK_SEQPACKET ? -EPROTO : -EAGAIN;
}

/* Not one that stands; there are more ports than connections. */
static uint32_t free_port(struct virtio_vsock *v, uint32_t guest_port)
{
    uint32_t port;

    do {
        port = VSOCK_PORT_FIRST + v->s.ports % (UINT32_MAX - VSOCK_PORT_FIRST);
        v->s.ports = virtio_vsock_sum(v->s.ports, 1);
    } while (virtio_vsock_conn_find(v, guest_port, port));
    vdev_ledger_changed(&v->dev.dev);
    return port;
}

void virtio_vsock_hello_over(struct vsock_conn *c)
{
    c->vsock->hellos--;
    c->vsock->listener[c->type == VSOCK_SEQPACKET].hellos--;
}

static void ask_guest(struct vsock_conn *c, uint32_t port)
{
    struct virtio_vsock *v = c->vsock;

    virtio_vsock_hello_over(c);
    c->state = VSOCK_ASKED;
    c->owed = VSOCK_OWE_REQUEST;
    c->guest_port = port;
    c->host_port = free_port(v, port);
    virtio_vsock_conn_enter(c);
    virtio_vsock_conn_ready(c);
    virtio_vsock_accept_more(v);
}

/* Messages are for a driver that has said so, if one is there already; streams are for any: Linux's does not say STREAM (5.10.3). */
static bool is_spoken(const struct vsock_conn *c)
{
    const struct virtio_dev *dev = &c->vsock->dev;

    return c->type == VSOCK_STREAM || !virtio_queue_live(dev, VSOCK_RX) ||
           virtio_has(dev, VIRTIO_VSOCK_F_SEQPACKET);
}

void virtio_vsock_hello(struct vsock_conn *c)
{
    char line[VSOCK_LINE_MAX];
    ssize_t n = read_line(c, line);
    int64_t port = n > 0 ? parse_line(line, (size_t)n) : -1;

    if (n == -EAGAIN)
        return;
    if (n == 0)
        bad_client(c, "left before it said CONNECT");
    else if (port < 0)
        bad_client(c, "says no \"CONNECT PORT\"");
    else if (!is_spoken(c))
        bad_client(c, "asks for messages, which the guest's driver does not speak");
    else
        ask_guest(c, (uint32_t)port);
}

void virtio_vsock_accepted(struct vsock_conn *c)
{
    char line[VSOCK_LINE_MAX];
    int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

    vm_timer_cancel(&c->timer);
    c->state = VSOCK_OPEN;
    vm_count(&c->vsock->count.accepts, 1);
    /* The first bytes on a new socket: there is room, or it is gone. */
    if (vm_socket_send(c->fd, line, (size_t)len, NULL, 0, MSG_DONTWAIT) != len) {
        virtio_vsock_conn_abort(c);
        return;
    }
    virtio_vsock_conn_ready(c);
}

static void no_descriptor(struct virtio_vsock *v);

static void take_client(struct vsock_listener *l, int fd)
{
    struct virtio_vsock *v = l->vsock;
    struct vm_loop *loop = v->dev.dev.env->loop;
    struct vsock_conn *c = virtio_vsock_conn_new(v, l->type, true);
    int rc = -ENOMEM;

    if (c) {
        v->hellos++; /* VSOCK_HELLO */
        l->hellos++;
        rc = vm_timer_set(loop, &c->timer, vm_loop_now_ns(loop) + VSOCK_HELLO_NS, too_late);
    }
    if (!rc)
        rc = virtio_vsock_conn_attach(c, fd);
    if (!rc)
        return;
    vm_count(&v->count.refused, 1);
    vm_close(&fd);
    if (c)
        virtio_vsock_conn_free(c);
}

static bool has_room(const struct vsock_listener *l)
{
    const struct virtio_vsock *v = l->vsock;

    return l->hellos < VSOCK_HELLOS_MAX && v->clients < v->conns_max - v->conns_max / 4 &&
           v->conns < v->conns_max;
}

static void on_clients(struct vm_watch *watch, uint32_t events)
{
    struct vsock_listener *l = container_of(watch, struct vsock_listener, watch);
    struct virtio_vsock *v = l->vsock;
    int fd;

    (void)events;
    vm_lock_acquire(&v->dev.dev.lock);
    for (int i = 0; i < ACCEPTS_PER_ROUND && has_room(l); i++) {
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
            no_descriptor(v);
        if (fd < 0)
            break;
        take_client(l, fd);
    }
    if (!has_room(l)) /* they wait in the queue of the socket */
        vm_watch_set(watch, 0);
    vm_lock_release(&v->dev.dev.lock);
}

void virtio_vsock_accept_more(struct virtio_vsock *v)
{
    if (v->retry.slot)
        return;
    for (unsigned i = 0; i < VM_ARRAY_SIZE(v->listener); i++)
        if (v->listener[i].watch.active && has_room(&v->listener[i]))
            vm_watch_set(&v->listener[i].watch, EPOLLIN);
}

static void on_retry(struct vm_timer *timer)
{
    struct virtio_vsock *v = container_of(timer, struct virtio_vsock, retry);

    vm_lock_acquire(&v->dev.dev.lock);
    virtio_vsock_accept_more(v);
    vm_lock_release(&v->dev.dev.lock);
}

static void no_descriptor(struct virtio_vsock *v)
{
    struct vm_loop *loop = v->dev.dev.env->loop;

    virtio_vsock_complain(v, "no file descriptor for a client: the limit is what ulimit -n says",
                          v->dev.dev.id);
    if (vm_timer_set(loop, &v->retry, vm_loop_now_ns(loop) + VSOCK_RETRY_NS, on_retry))
        return;
    for (unsigned i = 0; i < VM_ARRAY_SIZE(v->listener); i++)
        if (v->listener[i].watch.active)
            vm_watch_set(&v->listener[i].watch, 0);
}

/* ---- dialling ---- */

static struct vsock_dialler *dialler_of(struct vsock_conn *c)
{
    return &c->vsock->dialler[c->type == VSOCK_SEQPACKET];
}

static void dial_failed(struct vsock_conn *c)
{
    vm_count(&c->vsock->count.refused, 1);
    virtio_vsock_conn_abort(c);
}

/* As many as may be asked at once, in the order in which they came. */
static void dial_next(struct virtio_vsock *v)
{
    struct vm_list *next;

    for (struct vm_list *at = v->dials.next; at != &v->dials && v->dials_out < VSOCK_DIALS_MAX;
         at = next) {
        struct vsock_conn *c = container_of(at, struct vsock_conn, dial);

        next = at->next;
        if (c->asked_dial)
            continue;
        c->tag = v->next_tag;
        v->next_tag = virtio_vsock_sum(v->next_tag, 1);
        if (dialler_of(c)->fd < 0 || vm_dial_ask(dialler_of(c)->fd, c->tag, c->host_port)) {
            dial_failed(c);
            continue;
        }
        c->asked_dial = true;
        v->dials_out++;
    }
}

void virtio_vsock_dial(struct vsock_conn *c)
{
    struct vm_loop *loop = c->vsock->dev.dev.env->loop;

    /* Without the timer it may stay until the guest gives up. */
    (void)vm_timer_set(loop, &c->timer, vm_loop_now_ns(loop) + VSOCK_HELLO_NS, too_late);
    vm_list_add(&c->vsock->dials, &c->dial);
    dial_next(c->vsock);
}

void virtio_vsock_dial_forget(struct vsock_conn *c)
{
    if (c->asked_dial)
        c->vsock->dials_out--;
    if (c->state == VSOCK_DIALLING)
        vm_timer_cancel(&c->timer);
    c->asked_dial = false;
    vm_list_del(&c->dial);
}

static struct vsock_conn *dialled(struct vsock_dialler *d, const struct vm_dial_answer *answer)
{
    vm_list_for_each (at, &d->vsock->dials) {
        struct vsock_conn *c = container_of(at, struct vsock_conn, dial);

        if (c->asked_dial && c->tag == answer->tag && c->host_port == answer->port &&
            c->type == d->type)
            return c;
    }
    return NULL;
}

static void take_answer(struct vsock_dialler *d, struct vm_dial_answer *answer)
{
    struct vsock_conn *c = dialled(d, answer);

    if (!c) { /* the guest, or the process before this one, gave up */
        vm_close(&answer->fd);
        return;
    }
    virtio_vsock_dial_forget(c);
    if (answer->fd < 0 || virtio_vsock_conn_attach(c, answer->fd)) {
        vm_close(&answer->fd);
        dial_failed(c);
        return;
    }
    c->state = VSOCK_OPEN;
    c->owed |= VSOCK_OWE_RESPONSE;
    vm_count(&d->vsock->count.connects, 1);
    virtio_vsock_conn_ready(c);
}

static void dialler_gone(struct vsock_dialler *d)
{
    struct virtio_vsock *v = d->vsock;
    struct vm_list *next;

    vm_watch_del(&d->watch);
    vm_close(&d->fd);
    for (struct vm_list *at = v->dials.next; at != &v->dials; at = next) {
        struct vsock_conn *c = container_of(at, struct vsock_conn, dial);

        next = at->next;
        if (c->type == d->type)
            dial_failed(c);
    }
    vm_log(v->dev.dev.env, VM_LOG_WARN,
           "%s: nobody connects to programs of the host for it any more", v->dev.dev.id);
}

static void on_answer(struct vm_watch *watch, uint32_t events)
{
    struct vsock_dialler *d = container_of(watch, struct vsock_dialler, watch);
    struct virtio_vsock *v = d->vsock;
    struct vm_dial_answer answer;
    int rc = 0;

    (void)events;
    vm_lock_acquire(&v->dev.dev.lock);
    for (int i = 0; i < VSOCK_DIALS_MAX && !(rc = vm_dial_take(d->fd, &answer)); i++)
        take_answer(d, &answer);
    if (rc && rc != -EAGAIN)
        dialler_gone(d);
    dial_next(v);
    vm_lock_release(&v->dev.dev.lock);
    virtio_kick_later(&v->dev, VSOCK_RX);
}

/* ---- names ---- */

static int open_name(struct virtio_vsock *v, const char *name, unsigned how, int *ret_fd)
{
    const struct vm_env *env = v->dev.dev.env;
    int fd = env->open ? env->open(env->ctx, name, how) : -EACCES;

    if (fd == -ENOTCONN) /* a plan: nobody is there */
        return 0;
    if (fd < 0)
        return env->open ? vm_wrap(fd, "%s: socket", v->dev.dev.id)
                         : vm_fail(fd, "%s: %s may not be opened here", v->dev.dev.id, name);
    *ret_fd = fd;
    return 0;
}

static int open_pair(struct virtio_vsock *v, const char *name, unsigned i)
{
    struct vm_loop *loop = v->dev.dev.env->loop;
    struct vsock_listener *l = &v->listener[i];
    struct vsock_dialler *d = &v->dialler[i];
    unsigned type = i ? VM_OPEN_SEQPACKET : 0;
    int rc = open_name(v, name, VM_OPEN_LISTEN | type, &l->fd);

    if (!rc)
        rc = open_name(v, name, VM_OPEN_DIAL | type, &d->fd);
    if (!rc && l->fd >= 0)
        rc = vm_watch_add(loop, &l->watch, l->fd, EPOLLIN, on_clients);
    if (!rc && d->fd >= 0)
        rc = vm_watch_add(loop, &d->watch, d->fd, EPOLLIN, on_answer);
    return rc;
}

void virtio_vsock_host_init(struct virtio_vsock *v)
{
    for (unsigned i = 0; i < VM_ARRAY_SIZE(v->listener); i++) {
        v->listener[i] = (struct vsock_listener){ .vsock = v, .fd = -1 };
        v->dialler[i] = (struct vsock_dialler){ .vsock = v, .fd = -1 };
        v->listener[i].type = v->dialler[i].type = i ? VSOCK_SEQPACKET : VSOCK_STREAM;
    }
    v->next_tag = (uint32_t)vm_now_ns(v->dev.dev.env, VM_CLOCK_MONOTONIC);
}

int virtio_vsock_host_open(struct virtio_vsock *v, const struct virtio_vsock_config *config)
{
    int rc = 0;

    if (config->socket)
        rc = open_pair(v, config->socket, 0);
    if (!rc && config->seqpacket)
        rc = open_pair(v, config->seqpacket, 1);
    return rc;
}

void virtio_vsock_host_close(struct virtio_vsock *v)
{
    vm_timer_cancel(&v->retry);
    for (unsigned i = 0; i < VM_ARRAY_SIZE(v->listener); i++) {
        vm_watch_del(&v->listener[i].watch);
        vm_watch_del(&v->dialler[i].watch);
        vm_close(&v->listener[i].fd);
        vm_close(&v->dialler[i].fd);
    }
}
