/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Packets from the guest (VIRTIO 1.2, 5.10.6): the header is copied once and checked here, field by field; the bytes go from the guest's
 * buffers to the socket.
 *
 * What breaks the rules ends its connection, by RST; a packet that does not even say who it is from or for is dropped.
 */
#include "virtio_vsock_private.h"

struct packet {
    struct virtio_vsock *v;
    struct vq *q;
    struct vq_chain *chain;
    uint64_t src_cid, dst_cid;
    uint32_t guest_port, host_port, len, flags, buf_alloc, fwd_cnt;
    uint16_t type, op;
};

static void read_header(struct packet *p, const struct vsock_hdr *untrusted)
{
    p->src_cid = le64_get(untrusted->src_cid);
    p->dst_cid = le64_get(untrusted->dst_cid);
    p->guest_port = le32_get(untrusted->src_port);
    p->host_port = le32_get(untrusted->dst_port);
    p->len = le32_get(untrusted->len);
    p->type = le16_get(untrusted->type);
    p->op = le16_get(untrusted->op);
    p->flags = le32_get(untrusted->flags);
    p->buf_alloc = le32_get(untrusted->buf_alloc);
    p->fwd_cnt = le32_get(untrusted->fwd_cnt);
}

static void drop(struct packet *p, const char *why)
{
    vm_count(&p->v->count.bad_packets, 1);
    virtio_vsock_complain(p->v, "a packet of the guest's %s: dropped", p->v->dev.dev.id, why);
}

static void refuse(struct packet *p)
{
    if (p->op != VSOCK_OP_RST)
        virtio_vsock_rst(p->v, p->dst_cid, p->host_port, p->guest_port, p->type);
}

/* It does not fit the connection that it names. */
static void misfit(struct packet *p, struct vsock_conn *c, const char *why)
{
    vm_count(&p->v->count.bad_packets, 1);
    virtio_vsock_complain(p->v, "port %u: the guest %s: connection reset", p->v->dev.dev.id,
                          p->host_port, why);
    virtio_vsock_conn_abort(c);
}

static bool type_known(const struct packet *p)
{
    return p->type == VSOCK_STREAM ||
           (p->type == VSOCK_SEQPACKET && virtio_has(&p->v->dev, VIRTIO_VSOCK_F_SEQPACKET));
}

static void set_credit(struct vsock_conn *c, const struct packet *p)
{
    uint32_t before = virtio_vsock_conn_credit(c);

    c->peer_alloc = p->buf_alloc;
    c->peer_fwd = p->fwd_cnt;
    /* An answer without more room than before would be asked for again, and answered, as fast as both can. */
    if (virtio_vsock_conn_credit(c) > before)
        c->asked_credit = false;
    if (c->readable)
        virtio_vsock_conn_ready(c);
}

static void take_request(struct packet *p)
{
    struct vsock_conn *c;

    /* The guest takes the RST that is on its way for the answer to this. */
    if (virtio_vsock_conn_ends(p->v, p->guest_port, p->host_port))
        return;
    c = virtio_vsock_conn_new(p->v, p->type, false);
    if (!c) {
        vm_count(&p->v->count.refused, 1);
        refuse(p);
        return;
    }
    c->guest_port = p->guest_port;
    c->host_port = p->host_port;
    c->state = VSOCK_DIALLING;
    set_credit(c, p);
    virtio_vsock_conn_enter(c);
    virtio_vsock_dial(c);
}

static void take_bytes(struct packet *p, struct vsock_conn *c)
{
    int iovs;

    if (c->state != VSOCK_OPEN || c->guest_shut & VSOCK_NO_SEND) {
        misfit(p, c, "sends where it may not");
        return;
    }
    if (p->len > vq_pull_left(p->chain)) {
        misfit(p, c, "sends a packet that is shorter than it says");
        return;
    }
    if (p->len > c->alloc - virtio_vsock_since(c->rx_cnt, c->fwd_cnt)) {
        misfit(p, c, "sends more than it was allowed to");
        return;
    }
    iovs = vq_iov(p->q, p->chain, GM_READ, p->len, p->v->iov, VQ_CHAIN_MAX);
    if (iovs < 0)
        misfit(p, c, "sends from memory that is not there");
    else
        virtio_vsock_conn_send(c, p->v->iov, iovs, p->len, p->flags & VSOCK_EOM);
}

static void take(struct packet *p, struct vsock_conn *c)
{
    set_credit(c, p);
    switch (p->op) {
    case VSOCK_OP_RESPONSE:
        if (c->state != VSOCK_ASKED || c->owed & VSOCK_OWE_REQUEST)
            misfit(p, c, "answers what it was not asked");
        else
            virtio_vsock_accepted(c);
        break;
    case VSOCK_OP_RST: virtio_vsock_conn_free(c); break;
    case VSOCK_OP_SHUTDOWN:
        if (c->state == VSOCK_OPEN)
            virtio_vsock_conn_shut(c, p->flags & VSOCK_CLOSED);
        else
            misfit(p, c, "closes what is not open");
        break;
    case VSOCK_OP_RW: take_bytes(p, c); break;
    case VSOCK_OP_CREDIT_UPDATE: break;
    case VSOCK_OP_CREDIT_REQUEST:
        c->owed |= VSOCK_OWE_UPDATE;
        virtio_vsock_conn_ready(c);
        break;
    default: misfit(p, c, "sends a packet of a kind that makes no sense here"); break;
    }
}

static void take_packet(struct packet *p)
{
    struct vsock_conn *c;

    if (p->src_cid != p->v->cid) {
        drop(p, "is not from its own address");
        return;
    }
    /* A RST may answer a client that came before the driver had said what it speaks. */
    if (p->dst_cid != VSOCK_CID_HOST || (!type_known(p) && p->op != VSOCK_OP_RST)) {
        vm_count(&p->v->count.bad_packets, 1);
        refuse(p);
        return;
    }
    c = virtio_vsock_conn_find(p->v, p->guest_port, p->host_port);
    if (c && c->type != p->type)
        misfit(p, c, "changes the type of a connection");
    else if (c)
        take(p, c);
    else if (p->op == VSOCK_OP_REQUEST)
        take_request(p);
    else
        refuse(p);
}

int virtio_vsock_tx(struct virtio_vsock *v, struct vq *q)
{
    uint64_t bytes = 0;
    struct vq_chain c;
    int rc = 0, done = 0;

    while (done < VSOCK_PACKETS_PER_KICK && bytes < VSOCK_BYTES_PER_KICK &&
           v->rst_len < VSOCK_RSTS && (rc = vq_next(q, &c)) > 0) {
        struct packet p = { .v = v, .q = q, .chain = &c };
        struct vsock_hdr h;

        vm_count(&v->count.tx_packets, 1);
        bytes += c.readable_bytes;
        if (vq_pull(q, &c, &h, sizeof(h))) {
            drop(&p, "has no header");
        } else {
            read_header(&p, &h);
            take_packet(&p);
        }
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    v->tx_waits =
        v->rst_len == VSOCK_RSTS; /* 5.10.6.2.1: the guest's answers must not pile up here */
    if (done == VSOCK_PACKETS_PER_KICK || bytes >= VSOCK_BYTES_PER_KICK)
        virtio_kick_later(&v->dev, VSOCK_TX);
    if (done)
        virtio_notify(&v->dev, VSOCK_TX);
    virtio_kick_later(&v->dev, VSOCK_RX);
    return rc < 0 ? rc : 0;
}
