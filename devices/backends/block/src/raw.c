/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Raw images: requests. Each is done at once by the calling thread: at depth 1 that is the cheapest
 * way (a request through io_uring costs 9,000 to 31,000 instructions more).
 *
 * Zeroes and holes: fallocate(2) does them for files and, on a multiple of the logical block, for
 * block devices. Where a file system cannot, zeroes are written.
 */
#include "block_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>

#include <vmm/base/fd.h>

enum { ZERO_BYTES = 4096, ZERO_VECTORS = 64 };
static const _Alignas(RAW_MEMORY_ALIGN) uint8_t zeroes[ZERO_BYTES];

static struct vblock_raw *raw_of(struct vblock *disk)
{
    return container_of(disk, struct vblock_raw, disk);
}

/* ---- bytes ---- */

static bool must_bounce(const struct vblock_raw *raw, const struct vblock_req *req)
{
    uintptr_t bases = 0, lengths = 0;

    if (!raw->bounce)
        return false;
    for (int i = 0; i < req->iovs; i++) {
        bases |= (uintptr_t)req->iov[i].iov_base;
        lengths |= req->iov[i].iov_len;
    }
    return bases & (raw->memory_align - 1) || lengths & (raw->disk.info.block_bytes - 1);
}

/* Moves n bytes between the bounce buffer and the front of the vector, which moves on. */
static void copy_part(struct vblock_raw *raw, struct vblock_req *req, size_t n)
{
    size_t at = 0;

    while (at < n) {
        struct iovec *v = req->iov;
        size_t part = v->iov_len < n - at ? v->iov_len : n - at;

        if (req->op == VBLOCK_READ)
            memcpy(v->iov_base, raw->bounce + at, part);
        else
            memcpy(raw->bounce + at, v->iov_base, part);
        at += part;
        v->iov_base = (uint8_t *)v->iov_base + part;
        v->iov_len -= part;
        if (!v->iov_len)
            req->iov++;
    }
}

static ssize_t move(struct vblock_raw *raw, enum vblock_op op, struct iovec *iov, int iovs,
                    uint64_t offset)
{
    return op == VBLOCK_READ ? vm_preadv_full(raw->fd, iov, iovs, offset)
                             : vm_pwritev_full(raw->fd, iov, iovs, offset);
}

/* Less than asked: the file was cut short behind our back, or the disk is full. */
static int whole(ssize_t moved, uint64_t bytes)
{
    if (moved < 0)
        return (int)moved;
    return (uint64_t)moved == bytes ? 0 : -EIO;
}

static int move_bounced(struct vblock_raw *raw, struct vblock_req *req)
{
    uint64_t at = 0;

    while (at < req->bytes) {
        uint64_t left = req->bytes - at;
        size_t n = left < RAW_BOUNCE_BYTES ? (size_t)left : RAW_BOUNCE_BYTES;
        struct iovec v = { raw->bounce, n };
        int rc;

        if (req->op == VBLOCK_WRITE)
            copy_part(raw, req, n);
        rc = whole(move(raw, req->op, &v, 1, req->offset + at), n);
        if (rc)
            return rc;
        if (req->op == VBLOCK_READ)
            copy_part(raw, req, n);
        at += n;
    }
    return 0;
}

static int transfer(struct vblock_raw *raw, struct vblock_req *req)
{
    if (must_bounce(raw, req))
        return move_bounced(raw, req);
    return whole(move(raw, req->op, req->iov, req->iovs, req->offset), req->bytes);
}

static int sync_data(const struct vblock_raw *raw)
{
    int rc;

    do {
        rc = fdatasync(raw->fd);
    } while (rc && errno == EINTR);
    return rc ? -errno : 0;
}

static int raw_read(struct vblock *disk, struct vblock_req *req)
{
    return transfer(raw_of(disk), req);
}

/* Once: what comes in parts is not all in memory. */
static int raw_read_now(struct vblock *disk, const struct vblock_req *req)
{
    const struct vblock_raw *raw = raw_of(disk);
    ssize_t n = preadv2(raw->fd, req->iov, req->iovs, (off_t)req->offset, raw->now_flags);

    return n >= 0 && (uint64_t)n == req->bytes ? 0 : -EAGAIN;
}

static int raw_write(struct vblock *disk, struct vblock_req *req)
{
    int rc = transfer(raw_of(disk), req);

    return rc || !req->stable ? rc : sync_data(raw_of(disk));
}

/* Nothing that we wrote can be unstable in a disk that is only read. */
static int raw_flush(struct vblock *disk, struct vblock_req *req)
{
    (void)req;
    return disk->info.readonly ? 0 : sync_data(raw_of(disk));
}

/* ---- holes and zeroes ---- */

static int allocate(const struct vblock_raw *raw, int mode, const struct vblock_req *req)
{
    int rc;

    do {
        rc = fallocate(raw->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)req->offset, (off_t)req->bytes);
    } while (rc && errno == EINTR);
    return rc ? -errno : 0;
}

static bool unsupported(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOSYS;
}

/* A hint: where it is not possible the space stays in use. */
static int raw_discard(struct vblock *disk, struct vblock_req *req)
{
    const struct vblock_raw *raw = raw_of(disk);
    uint64_t range[2] = { req->offset, req->bytes };
    int rc;

    if (raw->device)
        rc = ioctl(raw->fd, BLKDISCARD, range) ? -errno : 0;
    else
        rc = allocate(raw, FALLOC_FL_PUNCH_HOLE, req);
    return unsupported(rc) ? 0 : rc;
}

static int write_zeroes_by_hand(struct vblock_raw *raw, const struct vblock_req *req)
{
    uint64_t at = 0;

    while (at < req->bytes) {
        struct iovec iov[ZERO_VECTORS];
        uint64_t bytes = 0;
        int n = 0, rc;

        while (n < ZERO_VECTORS && at + bytes < req->bytes) {
            uint64_t left = req->bytes - at - bytes;
            size_t part = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;

            iov[n++] = (struct iovec){ (void *)(uintptr_t)zeroes, part };
            bytes += part;
        }
        rc = whole(vm_pwritev_full(raw->fd, iov, n, req->offset + at), bytes);
        if (rc)
            return rc;
        at += bytes;
    }
    return 0;
}

static int make_zeroes(struct vblock_raw *raw, const struct vblock_req *req)
{
    int rc = -EOPNOTSUPP;

    if (req->may_unmap)
        rc = allocate(raw, FALLOC_FL_PUNCH_HOLE, req);
    if (unsupported(rc) && !raw->no_zero_range) {
        rc = allocate(raw, FALLOC_FL_ZERO_RANGE, req);
        raw->no_zero_range = unsupported(rc);
    }
    return unsupported(rc) ? write_zeroes_by_hand(raw, req) : rc;
}

static int raw_write_zeroes(struct vblock *disk, struct vblock_req *req)
{
    int rc = make_zeroes(raw_of(disk), req);

    return rc || !req->stable ? rc : sync_data(raw_of(disk));
}

/* ---- the tables ---- */

static void raw_close(struct vblock *disk)
{
    struct vblock_raw *raw = raw_of(disk);

    vm_close(&raw->fd);
    free(raw->bounce);
    free(raw);
}

const struct vblock_ops vblock_raw_ops = {
    .submit = {
        [VBLOCK_READ] = raw_read,
        [VBLOCK_WRITE] = raw_write,
        [VBLOCK_FLUSH] = raw_flush,
        [VBLOCK_DISCARD] = raw_discard,
        [VBLOCK_WRITE_ZEROES] = raw_write_zeroes,
    },
    .read_now = raw_read_now,
    .close = raw_close,
};

const struct vblock_ops vblock_raw_dense_ops = {
    .submit = {
        [VBLOCK_READ] = raw_read,
        [VBLOCK_WRITE] = raw_write,
        [VBLOCK_FLUSH] = raw_flush,
        [VBLOCK_WRITE_ZEROES] = raw_write_zeroes,
    },
    .read_now = raw_read_now,
    .close = raw_close,
};
