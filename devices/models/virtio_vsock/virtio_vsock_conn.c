/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Connections of the socket device: the table, credit (VIRTIO 1.2, 5.10.6.3), and the bytes that the host does not take at once.
 *
 * The guest may send as much as it was promised whether the host reads or not. What a socket does not take is copied into a ring of
 * exactly that size, which is there only while bytes wait; all rings together have a bound, beyond which a connection is reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <vmm/base/fd.h>

#include "virtio_vsock_private.h"

/* ---- table ---- */

static struct vsock_conn **bucket(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port)
{
    /* Multiply-shift of the pair: the upper bits of the sum are as good as random to who does not know the keys. Sums wrap. */
    unsigned __int128 h = (unsigned __int128)guest_port * v->hash_key[0] +
                          (unsigned __int128)host_port * v->hash_key[1];

    return &v->hash[(uint64_t)h >> 52];
}

_Static_assert(VSOCK_HASH == 1 << 12, "12 bits are taken");

static bool is_live(const struct vsock_conn *c)
{
    return c->state != VSOCK_LINGER && c->state != VSOCK_DEAD;
}

struct vsock_conn *virtio_vsock_conn_find(struct virtio_vsock *v, uint32_t guest_port,
                                          uint32_t host_port)
{
    struct vsock_conn *c = *bucket(v, guest_port, host_port);

    while (c && (c->guest_port != guest_port || c->host_port != host_port || !is_live(c)))
        c = c->next;
    return c;
}

bool virtio_vsock_conn_ends(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port)
{
    for (struct vsock_conn *c = *bucket(v, guest_port, host_port); c; c = c->next)
        if (c->guest_port == guest_port && c->host_port == host_port && c->owed & VSOCK_OWE_RST)
            return true;
    return false;
}

void virtio_vsock_conn_enter(struct vsock_conn *c)
{
    struct vsock_conn **head = bucket(c->vsock, c->guest_port, c->host_port);

    c->next = *head;
    *head = c;
    if (c->vsock->s.used)
        return;
    c->vsock->s.used = 1; /* before the guest sees an answer */
    vdev_ledger_changed(&c->vsock->dev.dev);
}

void virtio_vsock_conn_leave(struct vsock_conn *c)
{
    struct vsock_conn **at = bucket(c->vsock, c->guest_port, c->host_port);

    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    c->next = NULL;
}

void virtio_vsock_conn_ready(struct vsock_conn *c)
{
    bool can = c->owed || c->state == VSOCK_OPEN;

    if (can && vm_list_empty(&c->ready))
        vm_list_add(&c->vsock->ready, &c->ready);
}

/* ---- life ---- */

static void ring_free(struct vsock_conn *c)
{
    if (c->ring.data)
        c->vsock->waiting_bytes -= c->alloc;
    free(c->ring.data);
    c->ring = (struct vsock_ring){ 0 };
}

struct vsock_conn *virtio_vsock_conn_new(struct virtio_vsock *v, uint16_t type, bool from_host)
{
    struct vsock_conn *c;

    /* A quarter is the guest's alone: clients cannot keep it from dialling. */
    if (v->conns >= v->conns_max || (from_host && v->clients >= v->conns_max - v->conns_max / 4))
        return NULL;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->vsock = v;
    c->fd = -1;
    c->type = type;
    c->from_host = from_host;
    c->alloc = type == VSOCK_STREAM ? VSOCK_STREAM_ALLOC : VSOCK_MESSAGE_ALLOC;
    vm_list_init(&c->ready);
    vm_list_init(&c->dial);
    vm_list_add(&v->all, &c->node);
    v->conns++;
    v->clients += from_host;
    return c;
}

void virtio_vsock_conn_free(struct vsock_conn *c)
{
    struct virtio_vsock *v = c->vsock;

    virtio_vsock_record_drop(c);
    virtio_vsock_dial_forget(c);
    virtio_vsock_conn_leave(c);
    vm_list_del(&c->ready);
    vm_list_del(&c->node);
    vm_timer_cancel(&c->timer);
    vm_watch_del(&c->watch);
    vm_close(&c->fd);
    ring_free(c);
    v->conns--;
    v->clients -= c->from_host;
    if (c->state == VSOCK_HELLO)
        virtio_vsock_hello_over(c);
    free(c);
    virtio_vsock_accept_more(v);
}

void virtio_vsock_conn_abort(struct vsock_conn *c)
{
    /* Of a client that the guest has not heard of it hears nothing now. */
    bool unknown = c->state == VSOCK_HELLO ||
                   (c->state == VSOCK_LINGER && !(c->owed & VSOCK_OWE_RST)) ||
                   (c->state == VSOCK_ASKED && c->owed & VSOCK_OWE_REQUEST);

    if (unknown) {
        virtio_vsock_conn_free(c);
        return;
    }
    vm_count(&c->vsock->count.resets, 1);
    virtio_vsock_record_drop(c);
    virtio_vsock_dial_forget(c);
    vm_timer_cancel(&c->timer);
    vm_watch_del(&c->watch);
    vm_close(&c->fd);
    ring_free(c);
    c->state = VSOCK_DEAD;
    c->owed = VSOCK_OWE_RST;
    virtio_vsock_conn_ready(c);
    virtio_kick_later(&c->vsock->dev, VSOCK_RX);
}

/* ---- the host's socket ---- */

static void ready(struct vm_watch *watch, uint32_t events)
{
    struct vsock_conn *c = container_of(watch, struct vsock_conn, watch);
    struct virtio_vsock *v = c->vsock;

    vm_lock_acquire(&v->dev.dev.lock);
    c->readable = c->readable || events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    c->ended = c->ended || events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    c->hung_up = c->hung_up || events & (EPOLLHUP | EPOLLERR);
    c->writable = c->writable || events & EPOLLOUT;
    if (c->state == VSOCK_HELLO)
        virtio_vsock_hello(c);
    else if (virtio_vsock_conn_flush(c))
        virtio_vsock_conn_ready(c);
    vm_lock_release(&v->dev.dev.lock);
    virtio_kick_later(&v->dev, VSOCK_RX);
}

int virtio_vsock_conn_attach(struct vsock_conn *c, int fd)
{
    struct vm_loop *loop = c->vsock->dev.dev.env->loop;
    /* Edges only: a connection that the guest, or the host, does not read costs nothing while it stands. */
    int rc = vm_watch_add(loop, &c->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, ready);

    if (!rc)
        c->fd = fd;
    return rc;
}

/* -EAGAIN: it takes nothing now. */
static ssize_t send_now(struct vsock_conn *c, struct iovec *iov, int iovs)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)iovs };
    ssize_t n;

    do {
        n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN)
        c->writable = false;
    return -errno;
}

/* ---- credit ---- */

uint32_t virtio_vsock_conn_credit(const struct vsock_conn *c)
{
    uint32_t out = virtio_vsock_since(c->tx_cnt, c->peer_fwd);

    return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

/* These bytes need no room here any more. The guest hears of it in time, not of each. */
static void forwarded(struct vsock_conn *c, uint32_t len)
{
    c->fwd_cnt = virtio_vsock_sum(c->fwd_cnt, len);
    if (virtio_vsock_since(c->rx_cnt, c->told_fwd) >= c->alloc / 2 && c->fwd_cnt != c->told_fwd) {
        c->owed |= VSOCK_OWE_UPDATE;
        virtio_vsock_conn_ready(c);
    }
}

/* ---- bytes that wait ---- */

static uint8_t *ends_of(const struct vsock_conn *c)
{
    return c->ring.data + c->alloc;
}

static bool ring_make(struct vsock_conn *c)
{
    struct virtio_vsock *v = c->vsock;

    if (c->ring.data)
        return true;
    if (v->waiting_bytes + c->alloc > VSOCK_WAITING_MAX)
        return false;
    c->ring.data = malloc(c->alloc + c->alloc / 8);
    if (!c->ring.data)
        return false;
    if (c->type == VSOCK_SEQPACKET)
        memset(ends_of(c), 0, c->alloc / 8);
    v->waiting_bytes += c->alloc;
    return true;
}

static void ring_put(struct vsock_conn *c, const uint8_t *data, size_t len)
{
    uint32_t at = (c->ring.at + c->ring.len) % c->alloc;
    size_t first = len < c->alloc - at ? len : c->alloc - at;

    memcpy(c->ring.data + at, data, first);
    memcpy(c->ring.data, data + first, len - first);
    c->ring.len += (uint32_t)len;
}

/* The guest's vectors without their first skip bytes; credit has made sure that there is room. */
static bool ring_add(struct vsock_conn *c, const struct iovec *iov, int iovs, size_t skip)
{
    if (!ring_make(c))
        return false;
    for (int i = 0; i < iovs; i++) {
        size_t part = skip < iov[i].iov_len ? skip : iov[i].iov_len;

        skip -= part;
        ring_put(c, (const uint8_t *)iov[i].iov_base + part, iov[i].iov_len - part);
    }
    return true;
}

static void ring_end_message(struct vsock_conn *c)
{
    uint32_t last = (c->ring.at + c->ring.len - 1) % c->alloc;

    ends_of(c)[last / 8] |= (uint8_t)(1U << last % 8);
    c->ring.whole = c->ring.len;
}

/* Bytes that may go now as one: all of a stream, one message. */
static uint32_t ring_next(const struct vsock_conn *c)
{
    uint32_t n = 0;

    if (c->type == VSOCK_STREAM || !c->ring.whole)
        return c->type == VSOCK_STREAM ? c->ring.len : 0;
    for (;;) {
        uint32_t at = (c->ring.at + n++) % c->alloc;

        if (ends_of(c)[at / 8] & 1U << at % 8)
            return n;
    }
}

static void ring_take(struct vsock_conn *c, uint32_t len)
{
    uint32_t last = (c->ring.at + len - 1) % c->alloc;

    if (c->type == VSOCK_SEQPACKET) {
        ends_of(c)[last / 8] &= (uint8_t) ~(1U << last % 8);
        c->ring.whole -= len;
    }
    c->ring.at = (c->ring.at + len) % c->alloc;
    c->ring.len -= len;
    forwarded(c, len);
    if (!c->ring.len)
        ring_free(c);
}

static void ring_drop(struct vsock_conn *c)
{
    uint32_t len = c->ring.len;

    ring_free(c);
    forwarded(c, len);
}

/* ---- both ---- */

/* The guest may still wait for its RST. */
static void end_linger(struct vsock_conn *c)
{
    if (!(c->owed & VSOCK_OWE_RST)) {
        virtio_vsock_conn_free(c);
        return;
    }
    vm_timer_cancel(&c->timer);
    vm_watch_del(&c->watch);
    vm_close(&c->fd);
    ring_free(c);
    c->state = VSOCK_DEAD;
}

/* The host has taken all there is: what had to wait for that. False: the connection is gone. */
static bool drained(struct vsock_conn *c)
{
    if (c->ring.len)
        return true;
    if (c->state == VSOCK_LINGER) {
        end_linger(c);
        return false;
    }
    if (c->guest_shut & VSOCK_NO_SEND)
        shutdown(c->fd, SHUT_WR); /* the client sees the end of its input */
    return true;
}

/* What send_now() said. False: the connection is gone. */
static bool failed(struct vsock_conn *c, ssize_t rc)
{
    if (rc == -EAGAIN)
        return true;
    if (rc == -EPIPE && c->state == VSOCK_OPEN) { /* it reads no more, but may still send */
        c->host_gone = true;
        ring_drop(c);
        virtio_vsock_conn_ready(c);
        return true;
    }
    virtio_vsock_conn_abort(c);
    return false;
}

bool virtio_vsock_conn_flush(struct vsock_conn *c)
{
    uint32_t len;

    while (c->writable && c->ring.data && (len = ring_next(c))) {
        uint32_t first = len < c->alloc - c->ring.at ? len : c->alloc - c->ring.at;
        struct iovec iov[2] = { { c->ring.data + c->ring.at, first },
                                { c->ring.data, len - first } };
        ssize_t n = send_now(c, iov, len > first ? 2 : 1);

        if (n < 0)
            return failed(c, n);
        ring_take(c, (uint32_t)n);
        if (!c->ring.data)
            return drained(c);
    }
    return true;
}

static void wait_for_host(struct vsock_conn *c, const struct iovec *iov, int iovs, size_t skip,
                          bool end)
{
    struct virtio_vsock *v = c->vsock;

    if (!ring_add(c, iov, iovs, skip)) {
        virtio_vsock_complain(v,
                              "port %u: over %u MiB wait for programs of the host that do not "
                              "read: connection reset",
                              v->dev.dev.id, c->host_port, VSOCK_WAITING_MAX >> 20);
        virtio_vsock_conn_abort(c);
        return;
    }
    if (end)
        ring_end_message(c);
    (void)virtio_vsock_conn_flush(c);
}

/* What came so far was all of the message; an empty one would look like the end to its reader, and is dropped. */
static void end_empty(struct vsock_conn *c)
{
    if (c->ring.len == c->ring.whole) {
        vm_count(&c->vsock->count.empty_messages, 1);
        return;
    }
    ring_end_message(c);
    (void)virtio_vsock_conn_flush(c);
}

void virtio_vsock_conn_send(struct vsock_conn *c, struct iovec *iov, int iovs, uint32_t len,
                            bool end)
{
    bool whole = c->type == VSOCK_STREAM || (end && !c->ring.len);
    ssize_t n = 0;

    c->rx_cnt = virtio_vsock_sum(c->rx_cnt, len);
    vm_count(&c->vsock->count.tx_bytes, len);
    if (!len) {
        if (c->type == VSOCK_SEQPACKET && end)
            end_empty(c);
        return;
    }
    if (c->host_gone) {
        forwarded(c, len);
        return;
    }
    if (whole && !c->ring.len && c->writable) {
        n = send_now(c, iov, iovs);
        if (n < 0 && n != -EAGAIN) {
            if (failed(c, n))
                forwarded(c, len);
            return;
        }
        n = n < 0 ? 0 : n;
        forwarded(c, (uint32_t)n);
    }
    if ((uint32_t)n < len)
        wait_for_host(c, iov, iovs, (size_t)n, c->type == VSOCK_SEQPACKET && end);
}

/* ---- the end ---- */

static void linger_over(struct vm_timer *timer)
{
    struct vsock_conn *c = container_of(timer, struct vsock_conn, timer);
    struct virtio_vsock *v = c->vsock;

    vm_lock_acquire(&v->dev.dev.lock);
    end_linger(c);
    vm_lock_release(&v->dev.dev.lock);
}

/* The guest's part is over (5.10.6.4: RST is the answer); what it sent goes on to the host. */
static void close_gently(struct vsock_conn *c)
{
    struct vm_loop *loop = c->vsock->dev.dev.env->loop;

    virtio_vsock_record_drop(c);
    if (!c->ring.data || !ring_next(c) ||
        vm_timer_set(loop, &c->timer, vm_loop_now_ns(loop) + VSOCK_LINGER_NS, linger_over)) {
        vm_watch_del(&c->watch);
        vm_close(&c->fd);
        c->state = VSOCK_DEAD;
    } else {
        c->state = VSOCK_LINGER;
    }
    c->owed = VSOCK_OWE_RST;
    virtio_vsock_conn_ready(c);
}

void virtio_vsock_conn_shut(struct vsock_conn *c, uint8_t flags)
{
    c->guest_shut |= flags;
    if (c->guest_shut == VSOCK_CLOSED) {
        close_gently(c);
        return;
    }
    if (c->guest_shut & VSOCK_NO_RECEIVE) {
        virtio_vsock_record_drop(c);
        shutdown(c->fd, SHUT_RD); /* a client that writes sees it */
    }
    (void)drained(c);
}

uint8_t virtio_vsock_conn_untold(const struct vsock_conn *c)
{
    uint8_t now = c->host_gone ? VSOCK_NO_RECEIVE : 0;

    /* A socket both sides of which are shut is nobody's any more, once it was read to its end. */
    if (c->host_eof || (c->hung_up && c->guest_shut & VSOCK_NO_RECEIVE))
        now |= c->hung_up ? VSOCK_CLOSED : VSOCK_NO_SEND;
    return now & (uint8_t)~c->told_shut;
}
