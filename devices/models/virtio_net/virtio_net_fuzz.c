/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A driver and a network that do whatever they like: packets with any header, buffers of any shape, commands, frames of any length with any
 * header, writes into rings behind the driver's back, resets, a back end without room or link.
 *
 * What reaches the back end has a header that the kernel would take as it is: within the packet, and only what was negotiated. A
 * driver that did not lie gets every packet and command back, and each answer is one that exists.
 */
#include "virtio_net_test.h"

enum {
    STEPS_MAX = 64,
    BUFS_MAX = 6,
    WINDOW = 0x8000,
    RECEIVED = 0x400000,
    COMMAND = 0x100000,
    ACK = 0x180000
};

#define MUST(condition)       \
    do {                      \
        if (!(condition))     \
            __builtin_trap(); \
    } while (0)

struct input {
    const uint8_t *data;
    size_t left;
};

struct fuzz {
    struct vh h;
    struct wire wire;
    struct vnet_ops ops;
    bool lied;
};

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

static uint64_t wanted(unsigned kind)
{
    uint64_t all = ~0ULL;

    if (kind & 4)
        all &= ~VIRTIO_NET_F_MRG_RXBUF;
    if (kind & 8)
        all &= ~(VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 |
                 VIRTIO_NET_F_HOST_ECN | VIRTIO_NET_F_HOST_UFO | VIRTIO_NET_F_HOST_USO);
    if (kind & 16)
        all &= ~(VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN | VIRTIO_NET_F_MQ);
    if (!(kind & 32))
        all &= ~VIRTIO_NET_F_RSS;
    if (!(kind & 64))
        all &= ~VIRTIO_NET_F_HASH_REPORT;
    return all;
}

static int checked_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    uint64_t features = wire_of(net)->dev->dev.features;
    struct vnet_header h;
    size_t bytes = 0;

    MUST(count > 1 && iov[0].iov_len == VNET_HEADER && count <= 1024 &&
         queue < wire_of(net)->pairs);
    memcpy(&h, iov[0].iov_base, sizeof(h));
    for (int i = 1; i < count; i++)
        bytes += iov[i].iov_len;
    MUST(bytes >= VNET_ETHER && bytes <= VNET_FRAME_MAX);
    MUST(h.flags <= 1 && (!h.flags || features & VIRTIO_NET_F_CSUM));
    if (h.flags)
        MUST((size_t)le16_get(h.csum_start) + le16_get(h.csum_offset) + 2 <= bytes);
    if (h.gso_type)
        MUST(h.flags && le16_get(h.gso_size) && le16_get(h.hdr_len) <= bytes);
    return wire_send(net, queue, iov, count);
}

static int begin(struct fuzz *f, unsigned kind)
{
    struct vh_config way = { .transport = kind & 1 ? VH_MMIO_BUS : VH_PCI, .packed = kind & 2 };
    int rc = vh_open(&f->h, &way);

    wire_init(&f->wire);
    f->ops = *f->wire.net.ops;
    f->ops.send = checked_send;
    f->wire.net.ops = &f->ops;
    f->lied = false;
    if (!rc)
        rc = wire_plug(&f->wire, &f->h,
                       "mac=52:54:00:12:34:56,num_queues=4,queue_size=16,"
                       "rss=on,hash=on");
    return rc ? rc : vh_start(&f->h, wanted(kind) & vh_offered(&f->h));
}

static size_t shape(struct input *in, gpa_t at, bool write, struct fake_buf b[BUFS_MAX])
{
    static const uint32_t lengths[] = { 0, 1, 5, 12, 13, 14, 60, 100, 1526, 4096, 65535 };
    size_t n = 1 + take(in, 1) % BUFS_MAX;

    for (size_t i = 0; i < n; i++)
        b[i] = (struct fake_buf){ at + take(in, 2), lengths[take(in, 1) % VM_ARRAY_SIZE(lengths)],
                                  write };
    return n;
}

static void offer_tx(struct fuzz *f, struct input *in)
{
    struct virtio_net_header header = { .h = { .flags = (uint8_t)take(in, 1),
                                               .gso_type = (uint8_t)take(in, 1),
                                               .hdr_len = le16_make((uint16_t)take(in, 1)),
                                               .gso_size = le16_make((uint16_t)take(in, 1)),
                                               .csum_start = le16_make((uint16_t)take(in, 1)),
                                               .csum_offset = le16_make((uint16_t)take(in, 1)) } };
    struct fake_buf b[BUFS_MAX];
    unsigned q = take(in, 1) & 1 ? 3 : 1;
    size_t n = shape(in, PACKET, false, b);

    memcpy(f->h.guest.host + b[0].addr, &header, sizeof(header));
    (void)fake_driver_offer(&f->h.drv[q], b, n);
    (void)vh_kick(&f->h, (uint16_t)q);
}

static void offer_rx(struct fuzz *f, struct input *in)
{
    unsigned q = take(in, 1) & 1 ? 2 : 0;
    struct fake_buf b[BUFS_MAX];
    size_t n = shape(in, RECEIVED, true, b);

    (void)fake_driver_offer(&f->h.drv[q], b, n);
    (void)vh_kick(&f->h, (uint16_t)q);
}

static void command(struct fuzz *f, struct input *in, uint16_t control)
{
    uint32_t len = (uint32_t)take(in, 1) % 80;
    struct fake_buf b[] = { { COMMAND, 2 + len, false }, { ACK, 9, true } };
    uint8_t *at = f->h.guest.host + COMMAND;

    at[0] = (uint8_t)take(in, 1) % 8;
    at[1] = (uint8_t)take(in, 1) % 8;
    for (uint32_t i = 0; i < len; i++)
        at[2 + i] = (uint8_t)take(in, 1);
    f->h.guest.host[ACK] = VIRTIO_NET_ERR;
    (void)fake_driver_offer(&f->h.drv[control], b, 2);
    (void)vh_kick(&f->h, control);
    MUST(!vh_idle(&f->h));
    MUST(f->h.guest.host[ACK] <= VIRTIO_NET_ERR);
}

static void arrive(struct fuzz *f, struct input *in, unsigned kind)
{
    static uint8_t data[VNET_FRAME_MAX];
    struct vnet_header header = { .flags = (uint8_t)take(in, 1), .gso_type = (uint8_t)take(in, 1) };
    size_t len = take(in, 2) * (1 + take(in, 1) % 2);

    for (unsigned i = 0; i < 18; i++)
        data[i] = (uint8_t)take(in, 1);
    for (size_t i = 18, n = kind & 96 ? take(in, 1) % 100 : 0; i < 18 + n;
         i++) /* what hashes are made of */
        data[i] = (uint8_t)take(in, 1);
    if (f->wire.ins < WIRE_FRAMES)
        wire_put(&f->wire, (unsigned)take(in, 1) % 2, &header, data,
                 len > VNET_FRAME_MAX ? VNET_FRAME_MAX : len);
    virtio_net_events.readable(f->wire.dev, 0);
    virtio_net_events.readable(f->wire.dev, 1);
}

static void collect(struct fuzz *f)
{
    for (uint16_t q = 0; q < 5; q++) {
        uint16_t id;
        uint32_t len;
        int rc;

        while ((rc = fake_driver_collect(&f->h.drv[q], &id, &len)) > 0)
            ;
        MUST(!rc || f->lied);
    }
}

static void empty(struct fuzz *f)
{
    while (f->wire.outs)
        free(f->wire.out[--f->wire.outs].data);
}

static void step(struct fuzz *f, struct input *in, unsigned kind)
{
    switch (take(in, 1) % 16) {
    case 0:
    case 1:
    case 2:
    case 3: offer_tx(f, in); break;
    case 4:
    case 5:
    case 6: offer_rx(f, in); break;
    case 7:
    case 8: arrive(f, in, kind); break;
    case 9:
    case 10: command(f, in, kind & 16 && !(kind & 32) ? 2 : 4); break;
    case 11:
        f->wire.full = take(in, 1) & 1;
        virtio_net_events.writable(f->wire.dev, 0);
        virtio_net_events.writable(f->wire.dev, 1);
        break;
    case 12:
        f->wire.down = take(in, 1) & 1;
        f->wire.net.info.link = !f->wire.down;
        virtio_net_events.link(f->wire.dev);
        break;
    case 13:
        vh_set_status(&f->h, 0);
        MUST(!vh_reset(&f->h, 1000000000));
        f->lied = false;
        MUST(!vh_start(&f->h, wanted(kind) & vh_offered(&f->h)));
        break;
    case 14: /* the rings lie at the start of the heap */
        f->lied = true;
        f->h.guest.host[f->h.drv[take(in, 1) % 5].desc + take(in, 2) % WINDOW] =
            (uint8_t)take(in, 1);
        break;
    default:
        if (kind & 128)
            MUST(!vh_pass(&f->h, take(in, 2) * 1000));
        arrive(f, in, kind);
        offer_rx(f, in);
        break;
    }
    MUST(!vh_idle(&f->h));
    collect(f);
    empty(f);
}

static void finish(struct fuzz *f)
{
    f->wire.full = false;
    virtio_net_events.writable(f->wire.dev, 0);
    virtio_net_events.writable(f->wire.dev, 1);
    (void)vh_kick(&f->h, 1);
    (void)vh_kick(&f->h, 3);
    MUST(!vh_idle(&f->h));
    collect(f);
    if (f->lied || vh_status(&f->h) & VIRTIO_NEEDS_RESET)
        return;
    MUST(!fake_driver_in_flight(&f->h.drv[1]) && !fake_driver_in_flight(&f->h.drv[3]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;
    struct input in = { data, size };
    unsigned kind = (unsigned)take(&in, 1);

    MUST(!begin(&f, kind));
    for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
        step(&f, &in, kind);
    finish(&f);
    vh_close(&f.h);
    return 0;
}
