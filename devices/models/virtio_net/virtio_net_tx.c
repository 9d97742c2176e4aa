/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From the guest to the back end (VIRTIO 1.2, 5.1.6.2). The header is copied and checked, the frame goes out from where it lies.
 * What is wrong is dropped and counted: a packet has no answer.
 */
#include "virtio_net_private.h"

#include <errno.h>

static bool is_gso_offered(const struct virtio_net *net, uint8_t type)
{
    switch (type) {
    case VIRTIO_NET_GSO_TCPV4: return virtio_has(&net->dev, VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_GSO_TCPV6: return virtio_has(&net->dev, VIRTIO_NET_F_HOST_TSO6);
    case VIRTIO_NET_GSO_UDP: return virtio_has(&net->dev, VIRTIO_NET_F_HOST_UFO);
    case VIRTIO_NET_GSO_UDP_L4: return virtio_has(&net->dev, VIRTIO_NET_F_HOST_USO);
    default: return false;
    }
}

/* 5.1.6.2.1: what goes with each kind of packet. NULL: all of it holds. */
static const char *check_gso(const struct virtio_net *net, const struct vnet_header *h,
                             uint64_t bytes)
{
    uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_GSO_ECN;

    if (h->gso_type == VIRTIO_NET_GSO_NONE)
        return NULL;
    if (!is_gso_offered(net, type))
        return "a kind of segmentation that was not negotiated";
    if (h->gso_type & VIRTIO_NET_GSO_ECN &&
        (!virtio_has(&net->dev, VIRTIO_NET_F_HOST_ECN) ||
         (type != VIRTIO_NET_GSO_TCPV4 && type != VIRTIO_NET_GSO_TCPV6)))
        return "ECN that was not negotiated";
    if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return "segmentation without checksum";
    if (!le16_get(h->gso_size))
        return "segments of 0 bytes";
    return le16_get(h->hdr_len) > bytes ? "headers longer than the packet" : NULL;
}

/* Bits that do not exist for packets of a driver are ignored, and taken out. */
static const char *check(const struct virtio_net *net, struct vnet_header *h, uint64_t bytes)
{
    uint32_t start = le16_get(h->csum_start), end = start + le16_get(h->csum_offset) + 2;

    h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (bytes < VNET_ETHER)
        return "a packet shorter than its Ethernet header";
    if (bytes > VNET_FRAME_MAX)
        return "a packet longer than there are any";
    if (!h->flags) {
        h->csum_start = h->csum_offset = le16_make(0);
        if (h->gso_type == VIRTIO_NET_GSO_NONE)
            h->hdr_len = h->gso_size = le16_make(0);
        return check_gso(net, h, bytes);
    }
    if (!virtio_has(&net->dev, VIRTIO_NET_F_CSUM))
        return "a checksum to be made, which was not negotiated";
    if (start < VNET_ETHER || end > bytes)
        return "a checksum outside of the packet";
    if (h->gso_type == VIRTIO_NET_GSO_NONE) /* they mean nothing then */
        h->hdr_len = h->gso_size = le16_make(0);
    return check_gso(net, h, bytes);
}

static int bad(struct virtio_net *net, const char *why)
{
    vm_count(&net->count.tx_bad, 1);
    virtio_net_complain(net, "a packet", why);
    return 0;
}

/* 0: the chain is done with; -EAGAIN: not yet. */
static int transmit(struct virtio_net *net, uint16_t pair, struct vq *q, struct vq_chain *c)
{
    struct virtio_net_header_hash header; /* the hash means nothing here */
    struct vnet_header *h = &header.v1.h;
    uint64_t bytes;
    const char *why;
    int n, rc;

    if (vq_pull(q, c, &header, virtio_net_header_bytes(net)))
        return bad(net, "no header");
    bytes = vq_pull_left(c);
    why = check(net, h, bytes);
    if (why)
        return bad(net, why);
    n = vq_iov(q, c, GM_READ, bytes, net->iov + 1, (int)VM_ARRAY_SIZE(net->iov) - 1);
    if (n < 0)
        return bad(net, n == -E2BIG ? "too many pieces" : "memory that cannot be reached");
    net->iov[0] = (struct iovec){ h, VNET_HEADER };
    rc = vnet_send(net->net, virtio_net_tx_way(net, pair), net->iov, n + 1);
    if (rc == -EAGAIN)
        return rc;
    if (rc) {
        vm_count(&net->count.tx_dropped, 1);
        return 0;
    }
    vm_count(&net->count.tx_frames, 1);
    vm_count(&net->count.tx_bytes, bytes);
    return 0;
}

int virtio_net_tx_kick(struct virtio_net *net, uint16_t pair)
{
    uint16_t n = (uint16_t)(2 * pair + 1);
    struct vq *q = &net->dev.queue[n];
    unsigned done = 0, open = 0;
    struct vq_chain c;
    int rc = 0;

    net->tx_waits[pair] = false;
    while (done < VIRTIO_NET_ROUND && (rc = vq_next(q, &c)) > 0) {
        if (transmit(net, pair, q, &c)) {
            net->tx_waits[pair] = true;
            vq_undo(q, &c);
            rc = 0;
            break;
        }
        rc = vq_put(q, &c);
        done++;
        if (!rc && ++open == VIRTIO_NET_PUBLISH) {
            open = 0;
            rc = vq_publish(q);
        }
        if (rc)
            return rc;
    }
    if (open) {
        int published = vq_publish(q);

        rc = rc < 0 ? rc : published;
    }
    if (done)
        virtio_net_notify(net, n, done);
    if (done == VIRTIO_NET_ROUND)
        virtio_kick_later(&net->dev, n);
    return rc < 0 ? rc : 0;
}
