/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A virtqueue, device side: split and packed rings, indirect tables, event index, in-order use and
 * notification suppression (VIRTIO 1.2, sections 2.7 and 2.8).
 *
 * Order: vq_init(), the transport sets size and addresses while the queue is stopped, vq_start();
 * then
 *
 *     while ((rc = vq_next(q, &c)) > 0) {     one chain, copied once and checked once
 *         ... vq_pull(), vq_push(), vq_iov() ...
 *         vq_done(q, &c);                     used, with the bytes that were written
 *     }
 *     if (vq_wants_notify(q)) interrupt;      once per batch
 *
 * vq_next() says 0 only after it asked the driver for a notification and looked again, so a kick is
 * never lost. -EPROTO means that the driver broke the rules: the queue is stopped for good, until
 * it is reset. A chain or descriptor that does not fit the specification is -EPROTO too; a buffer
 * that is not RAM is -EPROTO, one that this device cannot reach is found by vq_pull/vq_push/vq_iov
 * (-EIO).
 *
 * Behind an IOMMU whose translations come from elsewhere (gm_iommu: -EAGAIN) vq_next() says 0 as long as
 * an address of the next chain is not known, and the owner looks again when it is told.
 *
 * Everything the driver writes is read once. Queues are used under their owner's lock, which is
 * also the lock of the view.
 *
 * What is in flight can be logged in shared memory, so that another process finishes it: inflight.h.
 */
#ifndef VMM_VIRTIO_QUEUE_QUEUE_H
#define VMM_VIRTIO_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmm/vm-memory/view.h>

/* Bound of one chain, indirect table included. VIRTIO 2.7.5.3.1 and 2.8.17 forbid drivers to make
 * one longer than the queue; we allow this much in a table whatever the queue's size, as other
 * devices do. */
enum { VQ_SIZE_MAX = 32768, VQ_CHAIN_MAX = 1024 };

/* The features a queue cares about (VIRTIO 6). Bits of the negotiated set. */
#define VQ_F_INDIRECT       (1ULL << 28)
#define VQ_F_EVENT_IDX      (1ULL << 29)
#define VQ_F_VERSION_1      (1ULL << 32)
#define VQ_F_RING_PACKED    (1ULL << 34)
#define VQ_F_IN_ORDER       (1ULL << 35)
#define VQ_F_ORDER_PLATFORM (1ULL << 36)
#define VQ_F_RING_RESET     (1ULL << 40)

/* One buffer of a chain: guest address and length, checked. */
struct vq_buf {
    gpa_t addr;
    uint32_t len;
};

/* A chain: first the buffers that the device reads, then those that it writes. Valid until
 * vq_done(), and for chains from vq_next() at most until the next vq_next(). */
struct vq_chain {
    struct vq_buf *buf;
    uint16_t readable, writable; /* numbers of buffers */
    uint64_t readable_bytes, writable_bytes;
    uint64_t pulled, pushed; /* moved by vq_pull() and vq_push(); vq_done() reports pushed */
    uint16_t id; /* head index, or buffer id */
    uint16_t slots; /* ring entries it takes: split 1, packed one per descriptor */
    uint16_t order; /* place in the order of availability */
    uint16_t at_buf[2]; /* the cursors' buffer and offset in it: readable, writable */
    bool replayed,
        marked; /* taken by somebody who died, who had called vq_mark_done(): inflight.h */
    uint32_t at_byte[2];
};

struct vq_pool;
struct vq_log;

/* Whether the driver was told to notify us. UNKNOWN: after vq_start(). */
enum vq_kicks { VQ_KICKS_UNKNOWN, VQ_KICKS_WANTED, VQ_KICKS_OFF };

struct vq {
    struct gm_view *view; /* borrowed */

    /* What the transport sets while stopped. */
    uint16_t size; /* as chosen by the driver */
    uint16_t size_max; /* as offered */
    gpa_t desc, driver, device; /* descriptor area, driver (available) area, device (used) area */

    bool started;
    bool broken; /* the driver broke the rules; only vq_reset() clears it */
    bool gate; /* stopped, broken or logged: not for the short way */
    bool used_from_ring; /* split: vq_start() takes next_used from the used ring */
    uint64_t features;
    const char *why; /* what rule was broken; constant text; NULL: none */
    uint32_t why_value;

    /* Where we are. Split: free-running indexes. Packed: ring offsets, with the wrap counters. */
    uint16_t next_avail, next_used;
    bool avail_wrap, used_wrap;
    uint64_t unsignalled; /* entries used since the last decision to notify */
    enum vq_kicks kicks; /* what the driver was last told */
    uint16_t slots_out; /* packed: ring entries of the chains in flight */
    uint8_t *taken; /* by id: it is in flight */

    /* Packed: the first descriptor that vq_put() wrote since the last vq_publish(); it is stored
     * last. */
    bool batch;
    uint16_t batch_at;
    uint64_t batch_word;

    struct vq_buf *scratch; /* buffers of the chain from vq_next(): VQ_CHAIN_MAX */
    struct vq_chain *held; /* in-order: done ahead of their turn; by order modulo size */
    uint8_t *held_valid;
    uint16_t next_order, done_order; /* chains taken, chains back in the used ring */
    /* Host addresses of the areas, valid while stamp matches; NULL: go by the view. */
    uint8_t *desc_host, *driver_host, *device_host;
    uint64_t stamp;

    struct vq_log *log; /* inflight.h; NULL: none */
};

/* Chains taken and not yet back in the used ring. */
static inline uint16_t vq_in_flight(const struct vq *q)
{
    return (uint16_t)(q->next_order - q->done_order);
}

/* size_max: a power of two up to VQ_SIZE_MAX. view is borrowed. 0 or -ENOMEM. */
int vq_init(struct vq *q, struct gm_view *view, uint16_t size_max);
void vq_exit(struct vq *q);

/* Back to the state after vq_init(): addresses 0, size = size_max, indexes 0. A log is forgotten, too:
 * its region stays, marked as not initialised. */
void vq_reset(struct vq *q);

/* A part of the ring lies in [from, to]. */
bool vq_touches(const struct vq *q, uint64_t from, uint64_t to);
/* Checks what the transport set against the features and starts, at the indexes the queue has (0
 * after vq_init() and vq_reset()), or, with a log, where the log says. 0, or with text -EINVAL: size
 * not allowed, area misaligned (2.7, 2.8.10.1), wrapping, or not RAM, or a log that is not for this
 * queue; -EPROTO: a log that says what cannot be. */
int vq_start(struct vq *q, uint64_t features);
/* No chain may be in flight, unless there is a log: vq_start() takes them up again. Indexes stay, for
 * vq_state. */
void vq_stop(struct vq *q);

/* For owners that find a rule broken in a request: the queue is broken as if vq_next() had found
 * it. why: constant text; the first reason stays. Returns -EPROTO. */
int vq_break(struct vq *q, const char *why, uint32_t value);

/* 1: *ret_chain is the next chain; 0: none, and the driver will kick; -EPROTO: broken, q->why says
 * it. A stopped or broken queue has none. */
int vq_next(struct vq *q, struct vq_chain *ret_chain);

/* Gives the last chain back as if it had not been taken: it comes again. Not after another
 * vq_next(), not in-order. */
void vq_undo(struct vq *q, const struct vq_chain *chain);

/* Returns the chain to the driver with chain->pushed written bytes (an owner that knows that less
 * is valid makes it smaller before). In-order: it is kept until its turn. 0 or -EPROTO: the ring is
 * not RAM any more, or the queue is broken or stopped; then nothing is written. */
int vq_done(struct vq *q, struct vq_chain *chain);

/* The two halves, for batches (several chains become visible at once: mergeable receive buffers).
 */
int vq_put(struct vq *q, struct vq_chain *chain);
int vq_publish(struct vq *q);

/* The driver wants an interrupt for what was done since the last call. After vq_load() the first
 * answer is yes unless the driver wants none at all: what was done before the state was saved is
 * not known. */
bool vq_wants_notify(struct vq *q);

/* Copies the next len bytes of the readable part out, or buf into the writable part. 0; -EFAULT or
 * -EIO of the memory; -ENODATA / -ENOSPC: the chain has fewer (nothing is moved). The cursors move
 * on. */
int vq_pull(struct vq *q, struct vq_chain *chain, void *buf, size_t len);
int vq_push(struct vq *q, struct vq_chain *chain, const void *buf, size_t len);

/* Bytes behind the cursors. */
static inline uint64_t vq_pull_left(const struct vq_chain *chain)
{
    return chain->readable_bytes - chain->pulled;
}
static inline uint64_t vq_push_left(const struct vq_chain *chain)
{
    return chain->writable_bytes - chain->pushed;
}

/* The next len bytes of the readable (GM_READ) or writable (GM_WRITE) part as host vectors, payload
 * in place; the cursor moves on. The iovec is valid under the lock, or as long as the request's map
 * reference. Returns the number of elements or -E2BIG, -ENODATA, -ENOSPC, -EFAULT, -EIO. Device
 * writes through it are marked by vq_done(). */
int vq_iov(struct vq *q, struct vq_chain *chain, unsigned access, uint64_t len, struct iovec *iov,
           int max);

/*
 * Requests: chains that live beyond the next vq_next(), for devices that finish later and in any
 * order. The pool has as many as the queue can hold, with extra bytes each for the device's own;
 * nothing is allocated per request and nothing is cleared that is not read.
 */
struct vq_req {
    struct vq_chain chain;
    struct vq *q;
    struct gm_map *map; /* referenced: the request's iovecs stay valid without the lock */
    struct vq_req *next_free;
    __attribute__((aligned(16))) uint8_t own[];
};

int vq_pool_new(struct vq *q, size_t own_bytes, struct vq_pool **ret_pool);
/* No request may be out. */
void vq_pool_free(struct vq_pool *pool);
/* As vq_next(); -ENOBUFS: all requests are out although the queue is not full (the owner reset the
 * queue without dropping them). */
int vq_next_req(struct vq *q, struct vq_pool *pool, struct vq_req **ret_req);
/* As vq_done(); the request goes back to its pool. */
int vq_req_done(struct vq_pool *pool, struct vq_req *req);
/* Drops it without telling the driver: around vq_reset(), or vq_stop() of a queue that will be
 * reset. */
void vq_req_drop(struct vq_pool *pool, struct vq_req *req);

/* What a snapshot needs; loading distrusts it. */
struct vq_state {
    uint64_t desc, driver, device;
    uint16_t size, next_avail, next_used;
    bool started, broken, avail_wrap, used_wrap;
};
void vq_save(const struct vq *q, struct vq_state *ret_state);
/* Into a stopped queue; starts it where the state says so. -EINVAL with text; then the queue is as
 * after vq_reset(). The owner looks at the ring by itself afterwards: the kick may have come
 * before. */
int vq_load(struct vq *q, uint64_t features, const struct vq_state *untrusted);

/* Indexes for vhost-user's GET/SET_VRING_BASE ("Vring descriptor index for split virtqueues",
 * "... indices for packed virtqueues"). Split: next_avail; vq_start() then reads next_used from the
 * used ring. Packed (q->features must be set before): bits 0 to 14 next_avail, 15 avail_wrap, 16 to
 * 30 next_used, 31 used_wrap. Values that do not fit the ring are refused by vq_start(). */
uint32_t vq_base(const struct vq *q);
void vq_set_base(struct vq *q, uint32_t base);

#endif
