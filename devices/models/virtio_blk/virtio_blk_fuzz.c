/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A driver that asks whatever it likes: the input is a list of chains with headers, of writes into
 * rings and tables behind the driver's back, of resets and config writes, and of a disk that holds,
 * ends and fails requests.
 *
 * Nothing may reach the disk but ranges that lie on it; a driver that did not lie gets every chain
 * back, with a status byte that exists.
 */
#include "virtio_blk_test.h"

enum { STEPS_MAX = 64, BUFS_MAX = 6, WINDOW = 0x10000 };

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
    struct ram_disk disk;
    struct vblock_ops ops; /* the disk's, with checks before them */
    bool lied;
};

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

static int checked_submit(struct vblock *disk, struct vblock_req *req)
{
    uint64_t in_vectors = 0;

    if (req->op == VBLOCK_FLUSH)
        return ram_disk_submit(disk, req);
    MUST(vm_range_in(req->offset, req->bytes, RAM_DISK_BYTES) && req->bytes);
    MUST(!((req->offset | req->bytes) % VBLOCK_SECTOR));
    MUST(req->op == VBLOCK_READ || !disk->info.readonly);
    for (int i = 0; i < req->iovs; i++)
        in_vectors += req->iov[i].iov_len;
    MUST(req->op > VBLOCK_WRITE || in_vectors == req->bytes);
    return ram_disk_submit(disk, req);
}

static uint64_t own_features(unsigned kind)
{
    uint64_t f =
        VIRTIO_BLK_F_RO | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;

    if (kind & 8)
        f |= VIRTIO_BLK_F_FLUSH;
    return kind & 16 ? f | VIRTIO_BLK_F_CONFIG_WCE : f;
}

static int begin(struct fuzz *f, unsigned kind)
{
    struct vh_config way = { .transport = kind & 1 ? VH_MMIO_BUS : VH_PCI, .packed = kind & 2 };
    int rc = vh_open(&f->h, &way);

    ram_disk_setup(&f->disk);
    for (unsigned op = 0; op < VBLOCK_OPS; op++)
        f->ops.submit[op] = checked_submit;
    f->ops.close = ram_disk_close;
    f->disk.disk.ops = &f->ops;
    f->disk.disk.info.readonly = kind & 4;
    f->lied = false;
    if (!rc)
        rc = ram_disk_plug(&f->disk, &f->h, "queue_size=16");
    return rc ? rc : vh_start(&f->h, own_features(kind));
}

/* Ranges for discard and write zeroes. */
static void put_ranges(struct fuzz *f, struct input *in, const struct fake_buf *b)
{
    for (uint32_t at = 0; at + sizeof(struct virtio_blk_range) <= b->len && at < 64;
         at += (uint32_t)sizeof(struct virtio_blk_range)) {
        uint64_t sector = take(in, 2);
        uint32_t sectors = (uint32_t)take(in, 1), flags = take(in, 1) == 1;
        struct virtio_blk_range range = range_make(sector, sectors, flags);

        memcpy(f->h.guest.host + b->addr + at, &range, sizeof(range));
    }
}

/* A chain whose first buffer begins with a header, as a rule; status bytes are marked first. */
static void offer(struct fuzz *f, struct input *in)
{
    static const uint32_t lengths[] = { 0, 1, 15, 16, 17, 20, 32, 512, 513, 4096, 65536 };
    struct fake_buf b[BUFS_MAX];
    size_t n = 1 + take(in, 1) % BUFS_MAX, readable = take(in, 1) % (n + 1);
    struct virtio_blk_header header = { .type = le32_make((uint32_t)take(in, 1)),
                                        .sector = le64_make(take(in, 2)) };

    for (size_t i = 0; i < n; i++) {
        unsigned pick = (unsigned)take(in, 1);

        b[i] = (struct fake_buf){ ASK_HEADER + take(in, 2), lengths[pick % VM_ARRAY_SIZE(lengths)],
                                  i >= readable };
    }
    if (readable > 1 && le32_get(header.type) >= VIRTIO_BLK_T_DISCARD)
        put_ranges(f, in, &b[1]);
    memcpy(f->h.guest.host + b[0].addr, &header, sizeof(header));
    if (b[n - 1].len && b[n - 1].write)
        f->h.guest.host[b[n - 1].addr + b[n - 1].len - 1] = 0xff;
    (void)fake_driver_offer(&f->h.drv[0], b, n);
}

static void collect(struct fuzz *f)
{
    uint16_t id;
    uint32_t len;
    int rc;

    while ((rc = fake_driver_collect(&f->h.drv[0], &id, &len)) > 0)
        ;
    MUST(!rc || f->lied);
}

static void end_held(struct fuzz *f, unsigned at)
{
    if (f->disk.held_count)
        ram_disk_end(&f->disk, at % f->disk.held_count);
}

static void reset(struct fuzz *f, unsigned kind)
{
    vh_set_status(&f->h, 0);
    while (f->disk.held_count)
        end_held(f, 0);
    MUST(!vh_reset(&f->h, 1000000000));
    f->lied = false;
    MUST(!vh_start(&f->h, own_features(kind)));
}

static void step(struct fuzz *f, struct input *in, unsigned kind)
{
    static const int results[] = { 0, 0, 0, -EIO, -ENOSPC, -EOPNOTSUPP };
    uint8_t byte;

    switch (take(in, 1) % 16) {
    case 9: f->disk.hold = !f->disk.hold; break;
    case 10: end_held(f, (unsigned)take(in, 1)); break;
    case 11: f->disk.rc = results[take(in, 1) % VM_ARRAY_SIZE(results)]; break;
    case 12:
        byte = (uint8_t)take(in, 1);
        vh_config_write(&f->h, (uint32_t)take(in, 1) % 64, &byte, 1);
        break;
    case 13: reset(f, kind); break;
    case 14: /* the rings lie at the start of the heap */
        f->lied = true;
        f->h.guest.host[f->h.drv[0].desc + take(in, 2) % WINDOW] = (uint8_t)take(in, 1);
        break;
    case 15: /* not waiting for it */
        offer(f, in);
        offer(f, in);
        break;
    default: offer(f, in); break;
    }
    (void)vh_kick(&f->h, 0);
    MUST(!vh_idle(&f->h));
    collect(f);
}

static void finish(struct fuzz *f)
{
    f->disk.hold = false;
    while (f->disk.held_count)
        end_held(f, 0);
    MUST(!vh_idle(&f->h));
    collect(f);
    MUST(!virtio_blk_of(f->h.virtio)->in_flight);
    if (!f->lied && !(vh_status(&f->h) & VIRTIO_NEEDS_RESET))
        MUST(!fake_driver_in_flight(&f->h.drv[0]));
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
