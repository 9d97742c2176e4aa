/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Packets to the guest, and events (VIRTIO 1.2, 5.10.6.2, 5.10.6.7): one packet per chain. A buffer is taken when there is something to
 * send, in turns: RSTs for strangers, the rest of a message that was begun, then each connection a packet.
 *
 * A stream's bytes are read from its socket into the guest's buffer, behind the place of the header. A message has to be read as a
 * whole, and the guest's buffers may be small: it is held meanwhile.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "virtio_vsock_private.h"

enum { HDR = sizeof(struct vsock_hdr) };

_Static_assert(sizeof(struct vsock_hdr) == 44, "5.10.6");

/* What became of a connection's turn. LATER: nothing for the guest, but there may be more to look at. */
enum turn { NOTHING, WRITTEN, BAD_BUFFER, LATER };

struct to_guest {
    struct virtio_vsock *v;
    struct vq *q;
    struct vq_chain *chain;
};

/* ---- one packet ---- */

static struct vsock_hdr header(struct vsock_conn *c, enum vsock_op op, uint32_t len, uint32_t flags)
{
    c->told_fwd = c->fwd_cnt;
    c->owed &= (uint8_t)~VSOCK_OWE_UPDATE; /* each packet says so */
    return (struct vsock_hdr){ .src_cid = le64_make(VSOCK_CID_HOST),
                               .dst_cid = le64_make(c->vsock->cid),
                               .src_port = le32_make(c->host_port),
                               .dst_port = le32_make(c->guest_port),
                               .len = le32_make(len),
                               .type = le16_make(c->type),
                               .op = le16_make((uint16_t)op),
                               .flags = le32_make(flags),
                               .buf_alloc = le32_make(c->alloc),
                               .fwd_cnt = le32_make(c->fwd_cnt) };
}

static enum turn put(struct to_guest *g, const struct vsock_hdr *h)
{
    if (vq_push(g->q, g->chain, h, HDR))
        return BAD_BUFFER;
    vm_count(&g->v->count.rx_packets, 1);
    return WRITTEN;
}

static enum turn put_op(struct to_guest *g, struct vsock_conn *c, enum vsock_op op, uint32_t flags)
{
    struct vsock_hdr h = header(c, op, 0, flags);

    return put(g, &h);
}

static void sent(struct vsock_conn *c, uint32_t len)
{
    c->tx_cnt = virtio_vsock_sum(c->tx_cnt, len);
    vm_count(&c->vsock->count.rx_bytes, len);
}

/* ---- RSTs for strangers ---- */

void virtio_vsock_rst(struct virtio_vsock *v, uint64_t src_cid, uint32_t src_port,
                      uint32_t dst_port, uint16_t type)
{
    if (v->rst_len == VSOCK_RSTS) /* who takes packets looks before */
        return;
    v->rst[(v->rst_at + v->rst_len++) % VSOCK_RSTS] =
        (struct vsock_rst){ src_cid, src_port, dst_port, type };
    vm_count(&v->count.resets, 1);
}

static enum turn put_rst(struct to_guest *g)
{
    struct virtio_vsock *v = g->v;
    const struct vsock_rst *r = &v->rst[v->rst_at];
    const struct vsock_hdr h = { .src_cid = le64_make(r->src_cid),
                                 .dst_cid = le64_make(v->cid),
                                 .src_port = le32_make(r->src_port),
                                 .dst_port = le32_make(r->dst_port),
                                 .type = le16_make(r->type),
                                 .op = le16_make(VSOCK_OP_RST) };
    enum turn turn = put(g, &h);

    if (turn == WRITTEN) {
        v->rst_at = (v->rst_at + 1) % VSOCK_RSTS;
        v->rst_len--;
    }
    return turn;
}

/* ---- messages ---- */

void virtio_vsock_record_drop(struct vsock_conn *c)
{
    if (c->vsock->record.conn == c)
        c->vsock->record.conn = NULL;
}

static enum turn put_record(struct to_guest *g)
{
    struct virtio_vsock *v = g->v;
    struct vsock_conn *c = v->record.conn;
    uint64_t room = vq_push_left(g->chain) - HDR;
    uint32_t left = v->record.len - v->record.at, len = left < room ? left : (uint32_t)room;
    struct vsock_hdr h;

    if (!room)
        return BAD_BUFFER;
    len = len < VSOCK_PACKET_MAX ? len : VSOCK_PACKET_MAX;
    h = header(c, VSOCK_OP_RW, len, len == left ? VSOCK_EOM : 0);
    if (put(g, &h) == BAD_BUFFER || vq_push(g->q, g->chain, v->record.data + v->record.at, len))
        return BAD_BUFFER;
    v->record.at += len;
    sent(c, len);
    if (len == left)
        v->record.conn = NULL;
    return WRITTEN;
}

static ssize_t receive(struct vsock_conn *c, struct iovec *iov, int iovs, int flags)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)iovs };
    ssize_t n;

    do {
        n = recvmsg(c->fd, &msg, MSG_DONTWAIT | flags);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN)
        c->readable = false;
    else
        virtio_vsock_conn_abort(c);
    return -errno;
}

static void ask_again(struct vm_timer *timer)
{
    struct vsock_conn *c = container_of(timer, struct vsock_conn, timer);
    struct virtio_vsock *v = c->vsock;

    vm_lock_acquire(&v->dev.dev.lock);
    c->asked_credit = false;
    virtio_vsock_conn_ready(c);
    vm_lock_release(&v->dev.dev.lock);
    virtio_kick_later(&v->dev, VSOCK_RX);
}

/* The guest tells of room by itself when it has some (5.10.6.3). To one that tells nobody who does not ask it is a question a second. */
static void wants_credit(struct vsock_conn *c)
{
    struct vm_loop *loop = c->vsock->dev.dev.env->loop;

    if (c->asked_credit)
        return;
    vm_count(&c->vsock->count.credit_waits, 1);
    c->asked_credit = true;
    c->owed |= VSOCK_OWE_ASK;
    (void)vm_timer_set(loop, &c->timer, vm_loop_now_ns(loop) + VSOCK_ASK_NS, ask_again);
}

/* Bytes of messages that it has sent and we have not read (unix(7), SIOCINQ, which is FIONREAD). */
static bool has_bytes(const struct vsock_conn *c)
{
    int n = 0;

    return !ioctl(c->fd, FIONREAD, &n) && n > 0;
}

/* The length of what it has next, 0: nothing, or -EAGAIN: look again, for messages without bytes were dropped. One of a client that has
 * left looks like the end, but for the bytes behind it. */
static ssize_t peek_record(struct vsock_conn *c)
{
    struct iovec none = { NULL, 0 };

    for (int i = 0; i < VSOCK_EMPTY_PER_TURN; i++) {
        ssize_t n = receive(c, &none, 1, MSG_PEEK | MSG_TRUNC);

        if (n)
            return n > 0 ? n : 0;
        if (c->ended && !has_bytes(c)) {
            c->host_eof = true;
            return 0;
        }
        if (receive(c, &none, 1, 0))
            return 0;
        vm_count(&c->vsock->count.empty_messages, 1);
    }
    return -EAGAIN;
}

/* That length, 0: none that can go now, or -EAGAIN. */
static ssize_t next_record(struct vsock_conn *c)
{
    struct virtio_vsock *v = c->vsock;
    ssize_t n = peek_record(c);

    if (n <= 0)
        return n;
    if (n > VSOCK_RECORD_MAX || (uint64_t)n > c->peer_alloc) {
        virtio_vsock_complain(v,
                              "port %u: a message of %zd bytes, the guest takes %u: connection "
                              "reset",
                              v->dev.dev.id, c->host_port, n, c->peer_alloc);
        virtio_vsock_conn_abort(c);
        return 0;
    }
    if ((uint32_t)n <= virtio_vsock_conn_credit(c))
        return n;
    wants_credit(c);
    return 0;
}

static enum turn put_message(struct to_guest *g, struct vsock_conn *c)
{
    struct virtio_vsock *v = g->v;
    ssize_t n = next_record(c);
    struct iovec iov = { v->record.data, n > 0 ? (size_t)n : 0 };

    if (n <= 0)
        return n ? LATER : NOTHING;
    n = receive(c, &iov, 1, 0);
    if (n <= 0)
        return NOTHING;
    v->record.conn = c;
    v->record.at = 0;
    v->record.len = (uint32_t)n;
    return put_record(g);
}

/* ---- streams ---- */

static enum turn put_bytes(struct to_guest *g, struct vsock_conn *c)
{
    struct vq_chain head = *g->chain;
    uint64_t room = vq_push_left(g->chain) - HDR;
    uint32_t credit = virtio_vsock_conn_credit(c);
    struct vsock_hdr h;
    ssize_t n;
    int iovs;

    if (!credit) {
        wants_credit(c);
        return NOTHING;
    }
    room = room < credit ? room : credit;
    room = room < VSOCK_PACKET_MAX ? room : VSOCK_PACKET_MAX;
    if (!room || vq_iov(g->q, g->chain, GM_WRITE, HDR, g->v->iov, VQ_CHAIN_MAX) < 0)
        return BAD_BUFFER;
    iovs = vq_iov(g->q, g->chain, GM_WRITE, room, g->v->iov, VQ_CHAIN_MAX);
    if (iovs < 0)
        return BAD_BUFFER;
    n = receive(c, g->v->iov, iovs, 0);
    *g->chain = head;
    c->host_eof = c->host_eof || !n;
    if (n <= 0)
        return NOTHING;
    h = header(c, VSOCK_OP_RW, (uint32_t)n, 0);
    if (put(g, &h) == BAD_BUFFER) {
        virtio_vsock_conn_abort(c); /* its bytes are lost */
        return BAD_BUFFER;
    }
    g->chain->pushed = HDR + (uint64_t)n;
    sent(c, (uint32_t)n);
    return WRITTEN;
}

/* ---- turns ---- */

static bool may_read(const struct vsock_conn *c)
{
    return c->state == VSOCK_OPEN && c->readable && !c->host_eof &&
           !(c->guest_shut & VSOCK_NO_RECEIVE);
}

static const struct {
    uint8_t owed;
    uint8_t op;
} replies[] = {
    { VSOCK_OWE_RST, VSOCK_OP_RST },
    { VSOCK_OWE_REQUEST, VSOCK_OP_REQUEST },
    { VSOCK_OWE_RESPONSE, VSOCK_OP_RESPONSE },
    { VSOCK_OWE_ASK, VSOCK_OP_CREDIT_REQUEST },
    { VSOCK_OWE_UPDATE, VSOCK_OP_CREDIT_UPDATE },
};

static enum turn put_owed(struct to_guest *g, struct vsock_conn *c, uint8_t which)
{
    enum turn turn;

    for (size_t i = 0; i < VM_ARRAY_SIZE(replies); i++) {
        if (!(replies[i].owed & which & c->owed))
            continue;
        turn = put_op(g, c, (enum vsock_op)replies[i].op, 0);
        if (turn == WRITTEN)
            c->owed &= (uint8_t)~replies[i].owed;
        return turn;
    }
    return NOTHING;
}

static enum turn put_shutdown(struct to_guest *g, struct vsock_conn *c)
{
    uint8_t untold = virtio_vsock_conn_untold(c);
    enum turn turn;

    if (c->state != VSOCK_OPEN || !untold)
        return NOTHING;
    turn = put_op(g, c, VSOCK_OP_SHUTDOWN, c->told_shut | untold);
    if (turn == WRITTEN)
        c->told_shut |= untold;
    return turn;
}

static enum turn take_turn(struct to_guest *g, struct vsock_conn *c)
{
    enum turn turn = put_owed(g, c, VSOCK_OWE_RST | VSOCK_OWE_REQUEST | VSOCK_OWE_RESPONSE);

    if (turn == NOTHING && may_read(c))
        turn = c->type == VSOCK_STREAM ? put_bytes(g, c) : put_message(g, c);
    if (turn == NOTHING)
        turn = put_shutdown(g, c);
    return turn == NOTHING ? put_owed(g, c, UINT8_MAX) : turn;
}

/* Both sides are done with it: what the guest still says is answered as to a stranger. */
static bool is_over(const struct vsock_conn *c)
{
    return (c->state == VSOCK_DEAD && !c->owed) || c->told_shut == VSOCK_CLOSED;
}

static enum turn next_packet(struct to_guest *g)
{
    struct virtio_vsock *v = g->v;
    enum turn turn = NOTHING;

    if (v->rst_len)
        return put_rst(g);
    if (v->record.conn)
        return put_record(g);
    while (turn == NOTHING && !vm_list_empty(&v->ready)) {
        struct vsock_conn *c = container_of(v->ready.next, struct vsock_conn, ready);

        vm_list_del(&c->ready);
        turn = take_turn(g, c);
        if (is_over(c))
            virtio_vsock_conn_free(c);
        else if (turn != NOTHING)
            virtio_vsock_conn_ready(c); /* behind the others */
    }
    return turn;
}

/* ---- queues ---- */

static bool has_any(const struct virtio_vsock *v)
{
    return v->rst_len || v->record.conn || !vm_list_empty(&v->ready);
}

int virtio_vsock_rx(struct virtio_vsock *v, struct vq *q)
{
    uint64_t bytes = 0;
    struct vq_chain c;
    int rc = 0, done = 0;

    while (done < VSOCK_PACKETS_PER_KICK && bytes < VSOCK_BYTES_PER_KICK && has_any(v) &&
           (rc = vq_next(q, &c)) > 0) {
        struct to_guest g = { v, q, &c };
        enum turn turn = vq_push_left(&c) < HDR ? BAD_BUFFER : next_packet(&g);

        if (turn == NOTHING || turn == LATER) {
            if (turn == LATER)
                virtio_kick_later(&v->dev, VSOCK_RX);
            vq_undo(q, &c);
            break;
        }
        if (turn == BAD_BUFFER) {
            vm_count(&v->count.bad_buffers, 1);
            c.pushed = 0;
        }
        bytes += c.pushed;
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done)
        virtio_notify(&v->dev, VSOCK_RX);
    if (done == VSOCK_PACKETS_PER_KICK || bytes >= VSOCK_BYTES_PER_KICK)
        virtio_kick_later(&v->dev, VSOCK_RX);
    if (v->tx_waits && v->rst_len < VSOCK_RSTS) {
        v->tx_waits = false;
        virtio_kick_later(&v->dev, VSOCK_TX);
    }
    return rc < 0 ? rc : 0;
}

int virtio_vsock_events(struct virtio_vsock *v, struct vq *q)
{
    const struct le32 event = le32_make(VSOCK_EVENT_RESET);
    struct vq_chain c;
    int rc = 0, done = 0;

    while (v->lost && done < VSOCK_RING && (rc = vq_next(q, &c)) > 0) {
        v->lost = vq_push(q, &c, &event, sizeof(event)) != 0;
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done && !v->lost) {
        v->s.used = v->conns > v->hellos;
        vdev_ledger_changed(&v->dev.dev);
    }
    if (done)
        virtio_notify(&v->dev, VSOCK_EVENT);
    return rc < 0 ? rc : 0;
}
