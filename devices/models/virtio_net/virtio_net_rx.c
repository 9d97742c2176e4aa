/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From the back end to the guest (VIRTIO 1.2, 5.1.6.3 and 5.1.6.4): frames are read straight into the guest's buffers.
 *
 * How long the next frame is nobody knows before it has been read. So buffers are taken from the ring ahead, as many as the
 * longest frame of late would need, and what is longer flows over into memory of ours and is copied from there: into
 * further buffers or, where the ring has none, later. At the end of a round those that hold nothing go back into the ring, the
 * newest first.
 *
 *   held:  [used | first ... count)      chains, oldest first
 *   iov:   [used | their vectors ... )   the element before the first one is free: for the header
 *
 * With mergeable buffers a frame goes over several chains; without, one chain has to hold it. Its header is written last.
 *
 * Where frames are shared out by their hash (5.1.6.5.7) one may have come by another queue's door than its own: it is copied. So that
 * it does not wait for buffers of a queue that it is not for, it is read into our memory where there is none.
 */
#include "virtio_net_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    HELD = 128,
    VECTORS = 1022, /* IOV_MAX, less our header and overflow */
    HEADER_MOST = sizeof(struct virtio_net_header_hash),
    USUAL = 1514, /* a frame without offloads */
    PATIENCE = 256, /* looks at the ring for a frame that is kept */
    CALM = 256, /* frames without a long one, until buffers are taken for short ones again */
};

struct held {
    struct vq_req *req;
    uint32_t bytes; /* of it */
    int iov, iovs; /* its vectors */
};

struct trimmed {
    int at, count;
    struct iovec saved[HEADER_MOST];
};

struct virtio_net_rx {
    struct vq_pool *pool;
    struct held held[HELD];
    struct iovec iov[1 + VECTORS + 1];
    unsigned first, count;
    int vectors; /* in use, from iov[1] on */
    uint64_t room; /* of the chains from first on */
    uint32_t want, calm, header; /* bytes; of the last: before each frame */
    unsigned unpublished;
    bool blocked; /* behind those that are held comes one that will be refused */
    /* What could not be put into the ring yet: kept_len bytes of a frame. */
    struct virtio_net_digest digest; /* of the frame that is kept, or being put into the ring */
    struct trimmed trimmed; /* while a frame is read */
    struct vnet_header kept_header;
    uint32_t kept_len, kept_for;
    uint8_t over[VNET_FRAME_MAX];
};

int virtio_net_rx_new(struct virtio_net *net, uint16_t pair)
{
    struct virtio_net_rx *rx =
        malloc(sizeof(*rx)); /* not cleared: the overflow is seldom touched */
    int rc;

    if (!rx)
        return -ENOMEM;
    memset(rx, 0, offsetof(struct virtio_net_rx, over));
    rx->want = USUAL + HEADER_MOST;
    rc = vq_pool_new(&net->dev.queue[2 * pair], 0, &rx->pool);
    if (rc) {
        free(rx);
        return rc;
    }
    net->rx[pair] = rx;
    return 0;
}

void virtio_net_rx_free(struct virtio_net_rx *rx)
{
    if (!rx)
        return;
    vq_pool_free(rx->pool);
    free(rx);
}

void virtio_net_rx_reset(struct virtio_net_rx *rx)
{
    rx->kept_len = 0;
    rx->want = USUAL + HEADER_MOST;
}

/* ---- buffers ahead ---- */

static void compact(struct virtio_net_rx *rx)
{
    int at = rx->count > rx->first ? rx->held[rx->first].iov : rx->vectors + 1, gone = at - 1;

    memmove(rx->iov + 1, rx->iov + at, (size_t)(rx->vectors - gone) * sizeof(rx->iov[0]));
    memmove(rx->held, rx->held + rx->first, (rx->count - rx->first) * sizeof(rx->held[0]));
    rx->count -= rx->first;
    rx->first = 0;
    rx->vectors -= gone;
    for (unsigned i = 0; i < rx->count; i++)
        rx->held[i].iov -= gone;
}

static void put_back(struct vq *q, struct virtio_net_rx *rx, struct vq_req *req)
{
    vq_undo(q, &req->chain);
    vq_req_drop(rx->pool, req);
}

/* A chain that can hold nothing goes back empty, but not ahead of those that are held: these may have to go back into the ring. 1, 0
 * (it stays in the ring), or -errno. */
static int refuse(struct virtio_net *net, struct vq *q, struct virtio_net_rx *rx,
                  struct vq_req *req, const char *why)
{
    int rc;

    rx->blocked = rx->count > rx->first;
    if (rx->blocked) {
        put_back(q, rx, req);
        return 0;
    }
    virtio_net_complain(net, "a receive buffer", why);
    req->chain.pushed = 0;
    rc = vq_put(q, &req->chain);
    vq_req_drop(rx->pool, req);
    rx->unpublished++;
    return rc ? rc : 1;
}

/* 1: one more is held (or was refused); 0: there is none, or no place for it. */
static int take(struct virtio_net *net, struct vq *q, struct virtio_net_rx *rx)
{
    struct held *h = &rx->held[rx->count];
    struct vq_req *req;
    int rc, n;

    if (rx->count == HELD)
        return 0;
    rc = vq_next_req(q, rx->pool, &req);
    if (rc <= 0)
        return rc;
    if (vq_push_left(&req->chain) <= rx->header || vq_push_left(&req->chain) > UINT32_MAX)
        return refuse(net, q, rx, req, "not of a size for frames");
    h->bytes = (uint32_t)vq_push_left(&req->chain);
    n = vq_iov(q, &req->chain, GM_WRITE, h->bytes, rx->iov + 1 + rx->vectors,
               VECTORS - rx->vectors);
    if (n < 0)
        return refuse(net, q, rx, req,
                      n == -E2BIG ? "too many pieces" : "memory that cannot be reached");
    h->req = req;
    h->iov = 1 + rx->vectors;
    h->iovs = n;
    rx->vectors += n;
    rx->room += h->bytes;
    rx->count++;
    return 1;
}

/* Buffers for so many bytes, header included, as far as there are any; where frames are not spread over several: one. */
static int take_for(struct virtio_net *net, struct vq *q, struct virtio_net_rx *rx, uint64_t bytes)
{
    bool mergeable = virtio_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF);
    int rc = 1;

    for (unsigned n = 0; rc > 0 && (rx->first == rx->count || (mergeable && rx->room < bytes));
         n++) {
        if (n == VIRTIO_NET_ROUND) { /* of which the driver gave no end of bad ones */
            virtio_kick_later(&net->dev, (uint16_t)(q - net->dev.queue));
            return 0;
        }
        if (rx->first && (rx->first == rx->count || rx->count == HELD || rx->vectors > VECTORS / 2))
            compact(rx);
        rc = take(net, q, rx);
    }
    return rc < 0 ? rc : 0;
}

static void undo(struct vq *q, struct virtio_net_rx *rx)
{
    while (rx->count > rx->first)
        put_back(q, rx, rx->held[--rx->count].req);
    rx->first = rx->count = 0;
    rx->blocked = false;
    rx->vectors = 0;
    rx->room = 0;
}

/* ---- a frame in them ---- */

/* Bytes between the frame's memory (behind the header) and ours: to the guest, or back from it. */
static void move(struct virtio_net_rx *rx, uint64_t at, void *ours, uint64_t len, bool in)
{
    uint8_t *p = ours;

    for (int i = rx->held[rx->first].iov; i <= rx->vectors && len; i++) {
        uint64_t skip = at < rx->iov[i].iov_len ? at : rx->iov[i].iov_len;
        uint64_t n = rx->iov[i].iov_len - skip < len ? rx->iov[i].iov_len - skip : len;
        uint8_t *there = (uint8_t *)rx->iov[i].iov_base + skip;

        memcpy(in ? there : p, in ? p : there, n);
        at -= skip;
        p += n;
        len -= n;
    }
}

/* The frame of so many bytes lies in the first chains, which the driver gets. */
static int finish(struct virtio_net *net, struct vq *q, struct virtio_net_rx *rx,
                  const struct vnet_header *h, uint64_t bytes)
{
    struct virtio_net_header_hash header = { .v1.h = *h };
    uint64_t left = bytes + rx->header;
    unsigned n = 0;
    int rc = 0;

    for (uint64_t sum = 0; sum < left; n++)
        sum += rx->held[rx->first + n].bytes;
    header.v1.num_buffers = le16_make((uint16_t)n);
    if (net->hashing) {
        header.hash_value = le32_make(rx->digest.value);
        header.hash_report = le16_make(rx->digest.kind);
    }
    move(rx, 0, &header, rx->header, true);
    for (; n && !rc; n--, rx->first++) {
        struct held *held = &rx->held[rx->first];
        uint32_t used = left < held->bytes ? (uint32_t)left : held->bytes;

        held->req->chain.pushed = used;
        rc = vq_put(q, &held->req->chain);
        vq_req_drop(rx->pool, held->req);
        rx->room -= held->bytes;
        left -= used;
    }
    rx->unpublished++;
    vm_count(&net->count.rx_frames, 1);
    vm_count(&net->count.rx_bytes, bytes);
    return rc;
}

/* What was kept goes first. 1: it has gone (or never will); 0: it has to wait. */
static int deliver_kept(struct virtio_net *net, struct vq *q, struct virtio_net_rx *rx)
{
    uint64_t len = rx->kept_len;
    int rc = take_for(net, q, rx, len + rx->header);

    if (rc)
        return rc;
    if (rx->room >= len + rx->header && rx->first < rx->count) {
        move(rx, rx->header, rx->over, len, true);
        rx->kept_len = 0;
        rc = finish(net, q, rx, &rx->kept_header, len);
        return rc ? rc : 1;
    }
    /* More than the driver gives at once will never be there. */
    if (!rx->blocked && vq_in_flight(q) < q->size && rx->count - rx->first < HELD &&
        ++rx->kept_for < PATIENCE)
        return 0;
    rx->kept_len = 0;
    vm_count(&net->count.rx_dropped, 1);
    return 1;
}

static void keep(struct virtio_net_rx *rx, const struct vnet_header *h, uint64_t len)
{
    rx->kept_header = *h;
    rx->kept_len = (uint32_t)len;
    rx->kept_for = 0;
}

/* ---- of another queue ---- */

/* The receiver of that pair, if it can take a frame now. The driver of a queue that is full, or not there, loses what is for it. */
static struct virtio_net_rx *open_door(struct virtio_net *net, uint16_t pair)
{
    struct virtio_net_rx *rx = net->rx[pair];

    if (!rx->kept_len && virtio_queue_live(&net->dev, (uint16_t)(2 * pair)))
        return rx;
    vm_count(&net->count.rx_dropped, 1);
    return NULL;
}

/* A frame lies in the memory of that pair, whose round does not come from its own queue. */
static int hand_over(struct virtio_net *net, uint16_t pair, const struct vnet_header *h,
                     uint64_t len, const struct virtio_net_digest *d)
{
    struct virtio_net_rx *rx = net->rx[pair];
    int rc;

    rx->header = virtio_net_header_bytes(net);
    rx->digest = *d;
    keep(rx, h, len);
    net->steered |= 1U << pair;
    rc = deliver_kept(net, &net->dev.queue[2 * pair], rx);
    return rc < 0 ? rc : 1;
}

/* A frame in our memory, of len bytes, finds its queue. */
static int sort(struct virtio_net *net, uint16_t pair, struct vq *q, struct virtio_net_rx *rx,
                const struct vnet_header *h, uint64_t len)
{
    struct virtio_net_rx *other;
    uint16_t to = pair;

    if (net->hashing) {
        rx->digest = virtio_net_hash(&net->hash, net->s.hash_types, rx->over,
                                     len < VIRTIO_NET_HASHED ? len : VIRTIO_NET_HASHED);
        to = virtio_net_target(net, pair, &rx->digest);
    }
    if (to == pair) {
        keep(rx, h, len);
        return deliver_kept(net, q, rx);
    }
    other = open_door(net, to);
    if (!other)
        return 1;
    memcpy(other->over, rx->over, len);
    return hand_over(net, to, h, len, &rx->digest);
}

/* The same of a frame in the guest's buffers, which it may leave again. Not inline: what it has on its stack is cleared. */
__attribute__((noinline)) static int share_out(struct virtio_net *net, uint16_t pair, struct vq *q,
                                               struct virtio_net_rx *rx,
                                               const struct vnet_header *h, uint64_t len)
{
    uint64_t hashed = len < VIRTIO_NET_HASHED ? len : VIRTIO_NET_HASHED;
    uint8_t head[VIRTIO_NET_HASHED];
    struct virtio_net_rx *other;
    uint16_t to;
    int rc;

    move(rx, rx->header, head, hashed, false);
    rx->digest = virtio_net_hash(&net->hash, net->s.hash_types, head, hashed);
    to = virtio_net_target(net, pair, &rx->digest);
    if (to == pair) {
        rc = finish(net, q, rx, h, len);
        return rc ? rc : 1;
    }
    other = open_door(net, to);
    if (!other)
        return 1;
    move(rx, rx->header, other->over, len, false);
    return hand_over(net, to, h, len, &rx->digest);
}

/* ---- a frame ---- */

/* The frame's first `fit` bytes lie in the guest's buffers, the rest of its len bytes in ours. */
static int overflow(struct virtio_net *net, uint16_t pair, struct vq *q, struct virtio_net_rx *rx,
                    const struct vnet_header *h, uint64_t fit, uint64_t len)
{
    if (len > VNET_FRAME_MAX || !virtio_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF)) {
        vm_count(&net->count.rx_dropped, 1);
        return 1;
    }
    memmove(rx->over + fit, rx->over, len - fit);
    move(rx, rx->header, rx->over, fit, false);
    rx->want = VNET_FRAME_MAX + rx->header;
    rx->calm = 0;
    if (!virtio_net_wanted(net, rx->over)) {
        vm_count(&net->count.rx_filtered, 1);
        return 1;
    }
    return sort(net, pair, q, rx, h, len);
}

/* The header's place at the start of the buffers is left out while the frame is read; what was there puts it back. */
static void trim(struct virtio_net_rx *rx)
{
    struct trimmed *t = &rx->trimmed;
    size_t left = rx->header;

    t->at = rx->held[rx->first].iov;
    for (t->count = 0; left; t->count++) {
        struct iovec *v = &rx->iov[t->at + t->count];
        size_t n = v->iov_len < left ? v->iov_len : left;

        t->saved[t->count] = *v;
        *v = (struct iovec){ (uint8_t *)v->iov_base + n, v->iov_len - n };
        left -= n;
    }
}

static void untrim(struct virtio_net_rx *rx)
{
    const struct trimmed *t = &rx->trimmed;

    memcpy(rx->iov + t->at, t->saved, (size_t)t->count * sizeof(t->saved[0]));
}

static void adapt(struct virtio_net_rx *rx, uint64_t len)
{
    if (len > USUAL) {
        rx->want = VNET_FRAME_MAX + rx->header;
        rx->calm = 0;
    } else if (++rx->calm >= CALM) {
        rx->want = USUAL + rx->header;
    }
}

/* What the driver has not taken on is not left to it (5.1.6.4.1): frames for the one before it may come still, and tap interfaces say
 * DATA_VALID to everybody. False: it is for nobody. */
static bool fit_header(const struct virtio_net *net, struct vnet_header *h)
{
    static const unsigned of_type[] = { [VIRTIO_NET_GSO_TCPV4] = VNET_TSO4,
                                        [VIRTIO_NET_GSO_UDP] = VNET_UFO,
                                        [VIRTIO_NET_GSO_TCPV6] = VNET_TSO6,
                                        [VIRTIO_NET_GSO_UDP_L4] = VNET_USO4 | VNET_USO6 };
    unsigned type = h->gso_type & ~(unsigned)VIRTIO_NET_GSO_ECN, gives;

    if (!h->flags && !h->gso_type)
        return true;
    gives = virtio_net_gives(net);
    if (!(gives & VNET_CSUM) && h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        return false;
    h->flags &= gives & VNET_CSUM ? VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID : 0;
    if (h->gso_type & VIRTIO_NET_GSO_ECN && !(gives & VNET_ECN))
        return false;
    return type == VIRTIO_NET_GSO_NONE || (type < VM_ARRAY_SIZE(of_type) && of_type[type] & gives);
}

/* 1: a frame; 0: none, or no buffer for it. */
static int receive(struct virtio_net *net, uint16_t pair, struct vq *q, struct virtio_net_rx *rx)
{
    uint8_t head[VNET_ETHER + 4] = { 0 };
    struct vnet_header h;
    uint64_t fit;
    ssize_t len;
    int n, at;

    trim(rx);
    at = rx->trimmed.at;
    fit = rx->room - rx->header;
    n = rx->vectors - at + 1;
    if (!virtio_has(&net->dev,
                    VIRTIO_NET_F_MRG_RXBUF)) { /* what is held beyond the first is none of its */
        n = rx->held[rx->first].iovs;
        fit = rx->held[rx->first].bytes - rx->header;
    }
    rx->iov[at - 1] = (struct iovec){ &h, VNET_HEADER };
    rx->iov[at + n] = (struct iovec){ rx->over, sizeof(rx->over) };
    len = vnet_receive(net->net, pair, rx->iov + at - 1, n + 2);
    untrim(rx);
    if (len < 0)
        return 0;
    adapt(rx, (uint64_t)len);
    if (!fit_header(net, &h)) {
        vm_count(&net->count.rx_dropped, 1);
        return 1;
    }
    if ((uint64_t)len > fit)
        return overflow(net, pair, q, rx, &h, fit, (uint64_t)len);
    if (len < VNET_ETHER) {
        vm_count(&net->count.rx_dropped, 1);
        return 1;
    }
    move(rx, rx->header, head, (size_t)len < sizeof(head) ? (size_t)len : sizeof(head), false);
    if (!virtio_net_wanted(net, head)) {
        vm_count(&net->count.rx_filtered, 1);
        return 1;
    }
    if (net->hashing)
        return share_out(net, pair, q, rx, &h, (uint64_t)len);
    n = finish(net, q, rx, &h, (uint64_t)len);
    return n ? n : 1;
}

/* There is no buffer, but the frame may be for another queue. */
static int receive_blind(struct virtio_net *net, uint16_t pair, struct vq *q,
                         struct virtio_net_rx *rx)
{
    struct vnet_header h;
    struct iovec iov[] = { { &h, VNET_HEADER }, { rx->over, sizeof(rx->over) } };
    ssize_t len = vnet_receive(net->net, pair, iov, 2);

    if (len < 0)
        return 0;
    if (len < VNET_ETHER || len > VNET_FRAME_MAX || !fit_header(net, &h)) {
        vm_count(&net->count.rx_dropped, 1);
        return 1;
    }
    if ((size_t)len < VNET_ETHER + 4)
        memset(rx->over + len, 0, 4);
    if (!virtio_net_wanted(net, rx->over)) {
        vm_count(&net->count.rx_filtered, 1);
        return 1;
    }
    return sort(net, pair, q, rx, &h, (uint64_t)len);
}

static int serve(struct virtio_net *net, uint16_t pair, struct vq *q, struct virtio_net_rx *rx)
{
    int rc = 1;

    for (unsigned done = 0; rc > 0 && done < VIRTIO_NET_ROUND; done++) {
        if (rx->kept_len) {
            rc = deliver_kept(net, q, rx);
            continue;
        }
        if (pair >= net->reading) /* only others' frames come here */
            return 0;
        rc = take_for(net, q, rx, rx->want);
        if (!rc)
            rc = rx->first < rx->count ? receive(net, pair, q, rx)
                 : net->s.steering     ? receive_blind(net, pair, q, rx)
                                       : 0;
    }
    if (rc > 0)
        virtio_kick_later(&net->dev, (uint16_t)(2 * pair));
    return rc < 0 ? rc : 0;
}

/* The end of a round: what is not used goes back, and what is used the driver is told of. */
static int end(struct virtio_net *net, uint16_t pair, int rc)
{
    struct vq *q = &net->dev.queue[2 * pair];
    struct virtio_net_rx *rx = net->rx[pair];

    undo(q, rx);
    if (rx->unpublished && !rc) {
        rc = vq_publish(q);
        virtio_net_notify(net, (uint16_t)(2 * pair), rx->unpublished);
    }
    rx->unpublished = 0;
    return rc;
}

int virtio_net_rx_kick(struct virtio_net *net, uint16_t pair)
{
    struct vq *q = &net->dev.queue[2 * pair];
    struct virtio_net_rx *rx = net->rx[pair];
    int rc;

    if (pair >= net->reading && !rx->kept_len)
        return 0;
    rx->header = virtio_net_header_bytes(net);
    rc = serve(net, pair, q, rx);
    for (uint16_t other = 0; net->steered; other++, net->steered >>= 1)
        if (net->steered & 1)
            rc = end(net, other, rc);
    return end(net, pair, rc);
}
