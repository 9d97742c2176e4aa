/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Requests (VIRTIO 1.2, 5.2.6): header, payload and status byte lie in the chain in any layout of
 * descriptors (2.7.4): the header is its first 16 readable bytes, the status its last writable one,
 * and the payload what lies between. The payload stays in the guest's memory: the back end reads
 * and writes it there.
 *
 * Whatever a sound chain asks for gets a status byte. One without room for it breaks the rules.
 */
#include "virtio_blk_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/le.h>

enum { RANGE_UNMAP = 1 << 0 }; /* flags of a range */

/* The device's part of a pool's request. What one request does not need is never touched. */
struct virtio_blk_request {
    struct vblock_req io; /* first: see of_io() */
    struct virtio_blk *blk;
    struct vq_req *req;
    struct virtio_blk_request *next; /* of those that wait for the loop */
    uint64_t room; /* writable bytes before the status */
    uint64_t valid; /* ... of them valid if all goes well */
    gpa_t status_at;
    uint16_t queue;
    uint16_t ranges, next_range;
    uint64_t range_bytes; /* of all that were begun */
    struct virtio_blk_range range[VIRTIO_BLK_DISCARD_SEGMENTS];
    struct iovec iov[VQ_CHAIN_MAX];
};

static struct virtio_blk_request *of_io(struct vblock_req *io)
{
    return container_of(io, struct virtio_blk_request, io);
}

size_t virtio_blk_request_bytes(void)
{
    return sizeof(struct virtio_blk_request);
}

/* ---- the end ---- */

static uint8_t status_of(int rc)
{
    if (!rc)
        return VIRTIO_BLK_S_OK;
    return rc == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* A guest may repeat it for ever. What it did wrong itself is not worth a line. */
static __attribute__((cold)) void complain(struct virtio_blk_request *r, int rc)
{
    static const char *const words[VBLOCK_OPS] = { "read", "write", "flush", "discard",
                                                   "write zeroes" };
    struct virtio_blk *blk = r->blk;

    vm_count(&blk->count.errors, 1);
    if (rc == -EOPNOTSUPP || rc == -EROFS || rc == -ERANGE || rc == -EINVAL)
        return;
    vm_log_limited(blk->dev.dev.env, &blk->complaints, VM_LOG_WARN,
                   "%s: %s of %llu bytes at %llu: %s; the guest gets an I/O error", blk->dev.dev.id,
                   words[r->io.op], (unsigned long long)r->io.bytes,
                   (unsigned long long)r->io.offset, strerrordesc_np(-rc));
}

/* 2.7.8.2: the length says how much is valid from the first writable byte on. */
static int end_request(struct virtio_blk_request *r, int rc)
{
    struct virtio_blk *blk = r->blk;
    struct vq_req *req = r->req;
    uint8_t status = status_of(rc);
    uint64_t valid = rc ? 0 : r->valid;

    if (rc)
        complain(r, rc);
    if (valid == r->room)
        valid++;
    /* Memory that this device cannot reach: there is no way to tell. */
    if (gm_write(req->q->view, r->status_at, &status, sizeof(status)))
        valid = 0;
    req->chain.pushed = valid;
    return vq_req_done(blk->pool[r->queue], req);
}

static void count_out(struct virtio_blk_request *r)
{
    r->blk->in_flight++;
    r->blk->of_queue[r->queue]++;
}

static void count_in(struct virtio_blk *blk, uint16_t queue)
{
    blk->in_flight--;
    blk->of_queue[queue]--;
}

/* Who waits for the end of all, or of a queue's, is told. */
static void tell_rest(struct virtio_blk *blk, uint16_t queue)
{
    if (!blk->of_queue[queue])
        virtio_queue_stopped(&blk->dev, queue);
    if (!blk->in_flight)
        virtio_stopped(&blk->dev);
}

static int next_ranges(struct virtio_blk_request *r);

/* The back end has ended what it took on. In the loop's thread, without the lock. */
static void ended(struct vblock_req *io, int rc)
{
    struct virtio_blk_request *r = of_io(io);
    struct virtio_blk *blk = r->blk;
    uint16_t n = r->queue;

    virtio_enter(&blk->dev);
    count_in(blk, n);
    if (!rc && r->next_range < r->ranges)
        rc = next_ranges(r);
    if (rc != -EINPROGRESS) {
        /* A queue that was broken meanwhile takes nothing back; its driver knows already. */
        if (!end_request(r, rc))
            virtio_notify(&blk->dev, n);
        tell_rest(blk, n);
    }
    virtio_leave(&blk->dev);
}

/* ---- what is asked for ---- */

/* What a vCPU's thread has taken off the ring and cannot do at once. As in kick(), the lock is free while the disk works. */
static void submit_waiting(struct vm_work *work)
{
    struct virtio_blk *blk = container_of(work, struct virtio_blk, waiting_work);
    struct virtio_blk_request *r, *next;
    int rc;

    virtio_enter(&blk->dev);
    next = blk->waiting;
    blk->waiting = NULL;
    blk->waiting_end = &blk->waiting;
    virtio_leave(&blk->dev);
    while ((r = next)) {
        next = r->next; /* before somebody else owns it */
        rc = vblock_submit(blk->disk, &r->io);
        if (rc != -EINPROGRESS)
            ended(&r->io, rc);
    }
}

void virtio_blk_drop_waiting(struct virtio_blk *blk)
{
    struct virtio_blk_request *r;

    if (blk->dev.dev.env->loop)
        vm_work_cancel(blk->dev.dev.env->loop, &blk->waiting_work);
    while ((r = blk->waiting)) {
        blk->waiting = r->next;
        vq_req_drop(blk->pool[r->queue], r->req);
    }
}

static int submit_now(struct virtio_blk_request *r)
{
    struct virtio_blk *blk = r->blk;

    if (r->io.op == VBLOCK_READ && r->io.bytes <= VIRTIO_BLK_NOW_BYTES &&
        !vblock_read_now(blk->disk, &r->io))
        return 0;
    count_out(r);
    r->next = NULL;
    *blk->waiting_end = r;
    blk->waiting_end = &r->next;
    vm_loop_post(blk->dev.dev.env->loop, &blk->waiting_work, submit_waiting);
    return -EINPROGRESS;
}

/* A disk may let its caller wait, for ever if its server is gone: nobody else shall wait for the
 * lock then. in_flight makes a stop that comes meanwhile wait for the request. */
static int submit(struct virtio_blk_request *r)
{
    struct virtio_blk *blk = r->blk;
    int rc;

    if (blk->now)
        return submit_now(r);
    count_out(r);
    virtio_leave(&blk->dev);
    rc = vblock_submit(blk->disk, &r->io);
    virtio_enter(&blk->dev);
    if (rc != -EINPROGRESS)
        count_in(blk, r->queue);
    return rc;
}

static int set_place(struct virtio_blk_request *r, uint64_t sector)
{
    return vm_mul(sector, (uint64_t)VBLOCK_SECTOR, &r->io.offset) ? 0 : -ERANGE;
}

static int read_sectors(struct virtio_blk_request *r, uint64_t sector)
{
    struct virtio_blk *blk = r->blk;

    r->io.op = VBLOCK_READ;
    r->io.bytes = r->valid = r->room;
    r->io.iovs =
        vq_iov(r->req->q, &r->req->chain, GM_WRITE, r->room, r->iov, VM_ARRAY_SIZE(r->iov));
    if (r->io.iovs < 0)
        return r->io.iovs;
    vm_count(&blk->count.reads, 1);
    vm_count(&blk->count.read_bytes, r->io.bytes);
    return set_place(r, sector);
}

static int write_sectors(struct virtio_blk_request *r, uint64_t sector)
{
    struct virtio_blk *blk = r->blk;

    r->io.op = VBLOCK_WRITE;
    r->io.bytes = vq_pull_left(&r->req->chain);
    r->io.stable = !virtio_blk_writeback(blk);
    r->io.iovs =
        vq_iov(r->req->q, &r->req->chain, GM_READ, r->io.bytes, r->iov, VM_ARRAY_SIZE(r->iov));
    if (r->io.iovs < 0)
        return r->io.iovs;
    vm_count(&blk->count.writes, 1);
    vm_count(&blk->count.write_bytes, r->io.bytes);
    return set_place(r, sector);
}

/* 5.2.6: 20 bytes, filled up with zeroes, without a terminator. */
static int get_id(struct virtio_blk_request *r)
{
    size_t n = r->room < VIRTIO_BLK_ID_BYTES ? (size_t)r->room : VIRTIO_BLK_ID_BYTES;

    vm_count(&r->blk->count.others, 1);
    r->valid = n;
    return vq_push(r->req->q, &r->req->chain, r->blk->serial, n);
}

/* All of them, before the first one has an effect. */
static int check_ranges(const struct virtio_blk_request *r)
{
    bool zeroes = r->io.op == VBLOCK_WRITE_ZEROES;
    uint32_t known = zeroes ? RANGE_UNMAP : 0;
    uint32_t most = zeroes ? VIRTIO_BLK_ZEROES_SECTORS : VIRTIO_BLK_DISCARD_SECTORS;
    uint64_t capacity = r->blk->disk->info.bytes / VBLOCK_SECTOR;

    for (unsigned i = 0; i < r->ranges; i++)
        if (le32_get(r->range[i].flags) & ~known)
            return -EOPNOTSUPP; /* 5.2.6.2 */
    for (unsigned i = 0; i < r->ranges; i++)
        if (le32_get(r->range[i].sectors) > most ||
            !vm_range_in(le64_get(r->range[i].sector), le32_get(r->range[i].sectors), capacity))
            return -ERANGE;
    return 0;
}

/* One after the other. */
static int next_ranges(struct virtio_blk_request *r)
{
    int rc = 0;

    while (!rc && r->next_range < r->ranges) {
        const struct virtio_blk_range *range = &r->range[r->next_range++];

        r->io.offset = le64_get(range->sector) * VBLOCK_SECTOR;
        r->io.bytes = (uint64_t)le32_get(range->sectors) * VBLOCK_SECTOR;
        r->io.may_unmap = le32_get(range->flags) & RANGE_UNMAP;
        r->range_bytes += r->io.bytes;
        rc = submit(r);
    }
    return rc;
}

static int change_ranges(struct virtio_blk_request *r, enum vblock_op op)
{
    bool zeroes = op == VBLOCK_WRITE_ZEROES;
    struct vq_chain *chain = &r->req->chain;
    uint64_t bytes = vq_pull_left(chain);
    size_t most = zeroes ? VIRTIO_BLK_ZEROES_SEGMENTS : VIRTIO_BLK_DISCARD_SEGMENTS;
    int rc;

    vm_count(&r->blk->count.others, 1);
    if (!virtio_has(&r->blk->dev, zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD))
        return -EOPNOTSUPP;
    r->io.op = op;
    r->io.stable = !virtio_blk_writeback(r->blk);
    if (!bytes || bytes % sizeof(r->range[0]) || bytes / sizeof(r->range[0]) > most)
        return -EINVAL;
    r->ranges = (uint16_t)(bytes / sizeof(r->range[0]));
    rc = vq_pull(r->req->q, chain, r->range, bytes);
    if (!rc)
        rc = check_ranges(r);
    return rc ? rc : next_ranges(r);
}

static int flush(struct virtio_blk_request *r)
{
    vm_count(&r->blk->count.flushes, 1);
    r->io.op = VBLOCK_FLUSH;
    return submit(r);
}

/* 0, -EINPROGRESS, or the -errno that decides the status. */
static int begin(struct virtio_blk_request *r)
{
    struct virtio_blk_header header;
    uint64_t sector;
    int rc = vq_pull(r->req->q, &r->req->chain, &header, sizeof(header));

    if (rc)
        return rc == -ENODATA ? -EINVAL : rc;
    sector = le64_get(header.sector);
    switch (le32_get(header.type)) {
    case VIRTIO_BLK_T_IN: rc = read_sectors(r, sector); break;
    case VIRTIO_BLK_T_OUT: rc = write_sectors(r, sector); break;
    case VIRTIO_BLK_T_FLUSH: return flush(r);
    case VIRTIO_BLK_T_GET_ID: return get_id(r);
    case VIRTIO_BLK_T_DISCARD: return change_ranges(r, VBLOCK_DISCARD);
    case VIRTIO_BLK_T_WRITE_ZEROES: return change_ranges(r, VBLOCK_WRITE_ZEROES);
    default: return -EOPNOTSUPP;
    }
    return rc ? rc : submit(r);
}

/* ---- the queue ---- */

/* Descriptors may be empty: the last byte lies in the last one that is not. */
static gpa_t last_byte(const struct vq_chain *chain)
{
    unsigned i = (unsigned)chain->readable + chain->writable - 1;

    while (!chain->buf[i].len)
        i--;
    return chain->buf[i].addr + (chain->buf[i].len - 1);
}

static void fill(struct virtio_blk_request *r, struct virtio_blk *blk, uint16_t n,
                 struct vq_req *req)
{
    r->io.op = VBLOCK_READ;
    r->io.stable = r->io.may_unmap = false;
    r->io.offset = r->io.bytes = 0;
    r->io.iov = r->iov;
    r->io.iovs = 0;
    r->io.done = ended;
    r->blk = blk;
    r->req = req;
    r->queue = n;
    r->ranges = r->next_range = 0;
    r->range_bytes = 0;
    r->room = req->chain.writable_bytes - 1;
    r->valid = 0;
    r->status_at = last_byte(&req->chain);
}

/* 1: ended; 0: the back end ends it later; -EPROTO. */
static int take(struct virtio_blk *blk, uint16_t n, struct vq_req *req, uint64_t *bytes)
{
    struct virtio_blk_request *r = (void *)req->own;
    int rc;

    if (!req->chain.writable_bytes) {
        struct vq *q = req->q;

        vq_req_drop(blk->pool[n], req);
        return vq_break(q, "block request without a status byte", 0);
    }
    fill(r, blk, n, req);
    rc = begin(r);
    *bytes += r->ranges ? r->range_bytes : r->io.bytes; /* a discard may have many ranges */
    if (rc == -EINPROGRESS)
        return 0;
    rc = end_request(r, rc);
    return rc ? rc : 1;
}

/* Takes requests until there is none or the round is full; *ret_done: how many have ended already. */
static int take_round(struct virtio_blk *blk, uint16_t n, unsigned requests, uint64_t bytes,
                      unsigned *ret_done)
{
    struct virtio_dev *dev = &blk->dev;
    uint64_t moved = 0;
    struct vq_req *req;
    int rc = 0;

    for (unsigned taken = 0; virtio_queue_live(dev, n);) {
        rc = vq_next_req(&dev->queue[n], blk->pool[n], &req);
        if (rc > 0)
            rc = take(blk, n, req, &moved);
        else if (!rc)
            return 0;
        if (rc < 0)
            return rc;
        *ret_done += (unsigned)rc;
        if (++taken == requests || moved >= bytes) {
            virtio_kick_later(dev, n);
            return 0;
        }
    }
    return 0;
}

/* The driver, or the machine, may stop the device while the disk works: see submit(). */
int virtio_blk_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_blk *blk = virtio_blk_of(dev);
    unsigned done = 0;
    int rc = take_round(blk, n, VIRTIO_BLK_ROUND_REQUESTS, VIRTIO_BLK_ROUND_BYTES, &done);

    if (done)
        virtio_notify(dev, n);
    tell_rest(blk, n);
    return rc;
}

/* On the thread of the vCPU that rang: what the host has in memory is read there and then. It costs the vCPU a copy, and saves
 * it the wait for another thread. */
int virtio_blk_kick_now(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_blk *blk = virtio_blk_of(dev);
    unsigned done = 0;
    int rc;

    blk->now = true;
    rc = take_round(blk, n, VIRTIO_BLK_NOW_REQUESTS, VIRTIO_BLK_NOW_BYTES, &done);
    blk->now = false;
    if (done)
        virtio_notify(dev, n);
    return rc;
}
