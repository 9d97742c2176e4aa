/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared by the device's tests and its fuzz target: a disk in memory that ends requests at once,
 * later or badly, as the test says, and a guest's driver that asks.
 */
#ifndef VIRTIO_BLK_TEST_H
#define VIRTIO_BLK_TEST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "virtio_blk_private.h"
#include "virtio_harness.h"

enum { RAM_DISK_BYTES = 1 << 20, RAM_DISK_HELD = 64, RAM_DISK_CALLS = 64 };

struct ram_disk_call {
    enum vblock_op op;
    uint64_t offset, bytes;
    bool stable, may_unmap;
};

struct ram_disk {
    struct vblock disk;
    uint8_t bytes[RAM_DISK_BYTES];
    bool hold; /* end requests later: ram_disk_end() */
    bool waits; /* has nothing in memory: where disk.info.read_now is set */
    int rc; /* != 0: every request ends with it */
    void (*meanwhile)(void); /* comes once, while the disk works on a request */
    struct vblock_req *held[RAM_DISK_HELD];
    unsigned held_count;
    struct ram_disk_call call[RAM_DISK_CALLS]; /* the first ones */
    unsigned calls, nows, closed;
};

static inline int ram_disk_do(struct ram_disk *d, struct vblock_req *req)
{
    uint64_t at = req->offset;

    if (d->rc)
        return d->rc;
    for (int i = 0; i < req->iovs && req->op <= VBLOCK_WRITE; i++) {
        if (req->op == VBLOCK_READ)
            memcpy(req->iov[i].iov_base, d->bytes + at, req->iov[i].iov_len);
        else
            memcpy(d->bytes + at, req->iov[i].iov_base, req->iov[i].iov_len);
        at += req->iov[i].iov_len;
    }
    if (req->op == VBLOCK_WRITE_ZEROES || req->op == VBLOCK_DISCARD)
        memset(d->bytes + req->offset, 0, req->bytes);
    return 0;
}

static inline int ram_disk_submit(struct vblock *disk, struct vblock_req *req)
{
    struct ram_disk *d = container_of(disk, struct ram_disk, disk);

    if (d->calls < RAM_DISK_CALLS)
        d->call[d->calls] =
            (struct ram_disk_call){ req->op, req->offset, req->bytes, req->stable, req->may_unmap };
    d->calls++;
    if (d->meanwhile) {
        void (*meanwhile)(void) = d->meanwhile;

        d->meanwhile = NULL;
        meanwhile();
    }
    if (!d->hold || d->held_count == RAM_DISK_HELD)
        return ram_disk_do(d, req);
    d->held[d->held_count++] = req;
    return -EINPROGRESS;
}

static inline int ram_disk_read_now(struct vblock *disk, const struct vblock_req *req)
{
    struct ram_disk *d = container_of(disk, struct ram_disk, disk);
    struct vblock_req copy = *req;

    d->nows++;
    return d->waits || ram_disk_do(d, &copy) ? -EAGAIN : 0;
}

/* The held request number at (in the order they came) ends. */
static inline void ram_disk_end(struct ram_disk *d, unsigned at)
{
    struct vblock_req *req = d->held[at];

    d->held_count--;
    memmove(d->held + at, d->held + at + 1, (d->held_count - at) * sizeof(d->held[0]));
    req->done(req, ram_disk_do(d, req));
}

static inline void ram_disk_close(struct vblock *disk)
{
    container_of(disk, struct ram_disk, disk)->closed++;
}

static const struct vblock_ops ram_disk_ops = {
    .submit = { ram_disk_submit, ram_disk_submit, ram_disk_submit, ram_disk_submit,
                ram_disk_submit },
    .read_now = ram_disk_read_now,
    .close = ram_disk_close,
};

/* Byte n of sector s is s + n. */
static inline uint8_t ram_disk_pattern(uint64_t at)
{
    return (uint8_t)((at / VBLOCK_SECTOR + at) & 0xff);
}

static inline void ram_disk_setup(struct ram_disk *d)
{
    d->disk.ops = &ram_disk_ops;
    d->disk.info = (struct vblock_info){
        .bytes = RAM_DISK_BYTES, .block_bytes = 512, .physical_bytes = 4096, .id = "ram"
    };
    d->hold = d->waits = false;
    d->rc = 0;
    d->meanwhile = NULL;
    d->held_count = d->calls = d->nows = d->closed = 0;
}

static inline void ram_disk_init(struct ram_disk *d)
{
    ram_disk_setup(d);
    for (unsigned i = 0; i < RAM_DISK_BYTES; i++)
        d->bytes[i] = ram_disk_pattern(i);
}

/* A device over it, plugged in. options as on the command line, without path; NULL: defaults. */
static inline int ram_disk_plug(struct ram_disk *d, struct vh *h, const char *options)
{
    const struct vdev_class *cls = &virtio_blk_class;
    struct virtio_blk_config config = { 0 };
    struct vdev *dev;
    int rc = vm_prop_defaults(cls->props, &config);
    char all[128];

    snprintf(all, sizeof(all), "path=ram%s%s", options ? "," : "", options ? options : "");
    if (!rc)
        rc = vm_prop_parse(cls->props, &config, cls->name, NULL, all);
    if (!rc)
        rc = virtio_blk_new(&h->context, &config, &d->disk, &dev);
    vm_prop_free(cls->props, &config);
    return rc ? rc : vh_plug(h, container_of(dev, struct virtio_dev, dev));
}

/* ---- the driver ---- */

/* Where a request of ask() lies in the guest. */
enum { ASK_HEADER = 0x100000, ASK_DATA = 0x200000, ASK_STATUS = 0x180000 };

static inline void ask_header(struct vh *h, uint32_t type, uint64_t sector)
{
    struct virtio_blk_header header = { .type = le32_make(type), .sector = le64_make(sector) };

    memcpy(h->guest.host + ASK_HEADER, &header, sizeof(header));
    h->guest.host[ASK_STATUS] = 0xff;
}

/* One request with its data at ASK_DATA. Its status byte, or -errno; *ret_len (may be NULL): the
 * used length. */
static inline int ask_len(struct vh *h, uint32_t type, uint64_t sector, uint32_t bytes, bool write,
                          int *ret_len)
{
    struct fake_buf b[] = { { ASK_HEADER, sizeof(struct virtio_blk_header), false },
                            { ASK_DATA, bytes, write },
                            { ASK_STATUS, 1, true } };
    int rc;

    ask_header(h, type, sector);
    if (!bytes)
        b[1] = b[2];
    rc = vh_request(h, 0, b, bytes ? 3 : 2);
    if (ret_len)
        *ret_len = rc;
    return rc < 0 ? rc : h->guest.host[ASK_STATUS];
}

static inline int ask_read(struct vh *h, uint64_t sector, uint32_t bytes)
{
    return ask_len(h, VIRTIO_BLK_T_IN, sector, bytes, true, NULL);
}

static inline int ask_write(struct vh *h, uint64_t sector, uint32_t bytes)
{
    return ask_len(h, VIRTIO_BLK_T_OUT, sector, bytes, false, NULL);
}

static inline int ask_flush(struct vh *h)
{
    return ask_len(h, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL);
}

/* n ranges at ASK_DATA. */
static inline int ask_ranges(struct vh *h, uint32_t type, const struct virtio_blk_range *range,
                             unsigned n)
{
    memcpy(h->guest.host + ASK_DATA, range, n * sizeof(*range));
    return ask_len(h, type, 0, (uint32_t)(n * sizeof(*range)), false, NULL);
}

static inline struct virtio_blk_range range_make(uint64_t sector, uint32_t sectors, uint32_t flags)
{
    return (struct virtio_blk_range){ le64_make(sector), le32_make(sectors), le32_make(flags) };
}

#endif
