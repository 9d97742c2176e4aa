/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Split rings: VIRTIO 1.2, 2.7. */
#include "ring.h"

/* Offsets in the available and the used ring (2.7.6, 2.7.8). */
enum {
    AVAIL_FLAGS = 0,
    AVAIL_IDX = 2,
    AVAIL_RING = 4,
    USED_FLAGS = 0,
    USED_IDX = 2,
    USED_RING = 4
};
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

static uint64_t used_event_at(const struct vq *q)
{
    return AVAIL_RING + 2 * (uint64_t)q->size;
}

static uint64_t avail_event_at(const struct vq *q)
{
    return USED_RING + 8 * (uint64_t)q->size;
}

/* Partner of this acquire: the driver's barrier between what it writes to the descriptors and the
 * ring and its store of the index (2.7.13.3.1). */
static struct vq_word load_avail_idx(struct vq *q)
{
    return vq_load16(q, q->driver_host, q->driver, AVAIL_IDX);
}

/* The ring was found empty: asks for a kick, then looks again. */
static struct vq_word ask_and_look(struct vq *q)
{
    struct vq_word w = { 0 };

    if (vq_has_event_idx(q))
        w.rc = vq_store16(q, q->device_host, q->device, avail_event_at(q), q->next_avail);
    else
        w.rc = vq_store16(q, q->device_host, q->device, USED_FLAGS, 0);
    if (w.rc)
        return w;
    q->kicks = VQ_KICKS_WANTED;
    /* Partner: the driver's barrier between its store of the available index and its load of flags
     * or avail_event (2.7.13.4.1). Either it sees that we ask or we see what it added. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_avail_idx(q);
}

/* We are looking anyway. With the event index that is what the driver assumes. */
static int stop_kicks(struct vq *q)
{
    q->kicks = VQ_KICKS_OFF;
    if (vq_has_event_idx(q))
        return 0;
    return vq_store16(q, q->device_host, q->device, USED_FLAGS, USED_NO_NOTIFY);
}

/* The first or the last look of a batch: tells the driver whether to kick. */
__attribute__((noinline)) static struct vq_word turn(struct vq *q, struct vq_word idx)
{
    if (idx.v == q->next_avail && q->kicks != VQ_KICKS_WANTED)
        idx = ask_and_look(q);
    if (!idx.rc && idx.v != q->next_avail && q->kicks != VQ_KICKS_OFF)
        idx.rc = stop_kicks(q);
    return idx;
}

/* 1: a chain is available; 0: none, and the driver will kick. */
static inline int look(struct vq *q)
{
    struct vq_word idx = load_avail_idx(q);
    uint16_t pending;

    if (!idx.rc && VQ_UNLIKELY(idx.v == q->next_avail || q->kicks != VQ_KICKS_OFF))
        idx = turn(q, idx);
    if (VQ_UNLIKELY(idx.rc))
        return vq_ring_lost(q);
    pending = (uint16_t)((int)idx.v - q->next_avail);
    /* Every chain in flight keeps a descriptor of its own: this also bounds what is taken. */
    if (VQ_UNLIKELY(pending + vq_in_flight(q) > q->size))
        return vq_refuse(q, "available index jumps", (uint16_t)idx.v);
    return pending > 0;
}

/* The descriptors were ordered by load_avail_idx(). 2.7.5.3.2: a table may end a list of direct
 * ones. */
__attribute__((always_inline)) static inline int walk(struct vq *q, struct vq_chain *chain,
                                                      uint16_t at)
{
    uint8_t *const host = q->desc_host;
    uint16_t flags, size = q->size;
    struct vq_build build = { 0 };
    struct vq_word low, high;
    uint32_t seen = 0;
    int rc;

    for (;;) {
        low = vq_load64(q, host, q->desc, (uint64_t)at * VQ_DESC_BYTES);
        high = vq_load64(q, host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8);
        if (VQ_UNLIKELY(low.rc || high.rc))
            return vq_ring_lost(q);
        flags = (uint16_t)(high.v >> 32);
        if (flags & VQ_DESC_INDIRECT) {
            vq_build_store(q, &build, chain);
            return vq_chain_split_table(q, chain, low.v, (uint32_t)high.v, flags);
        }
        rc = vq_build_add(q, &build, low.v, (uint32_t)high.v, flags);
        if (rc)
            return rc;
        if (!(flags & VQ_DESC_NEXT))
            break;
        at = (uint16_t)(high.v >> 48);
        if (at >= size)
            return vq_refuse(q, "next descriptor is not in the table", at);
        if (++seen == size)
            return vq_refuse(q, "chain loops", at);
    }
    vq_build_store(q, &build, chain);
    return 0;
}

int vq_split_next(struct vq *q, struct vq_chain *chain)
{
    struct vq_word head;
    uint64_t at;
    int rc;

    rc = look(q);
    if (rc <= 0)
        return rc;
    at = AVAIL_RING + 2 * (uint64_t)(q->next_avail & (q->size - 1U));
    head = vq_load16(q, q->driver_host, q->driver, at);
    if (VQ_UNLIKELY(head.rc))
        return vq_ring_lost(q);
    if (VQ_UNLIKELY(head.v >= q->size))
        return vq_refuse(q, "head is not in the table", (uint16_t)head.v);
    rc = walk(q, chain, (uint16_t)head.v);
    if (!rc)
        rc = vq_chain_take(q, chain, (uint16_t)head.v, 1);
    if (VQ_UNLIKELY(rc))
        return rc;
    q->next_avail = (uint16_t)(q->next_avail + 1);
    return 1;
}

int vq_split_walk(struct vq *q, struct vq_chain *chain, uint16_t head)
{
    return walk(q, chain, head);
}

struct vq_word vq_split_used_idx(struct vq *q)
{
    return vq_load16(q, q->device_host, q->device, USED_IDX);
}

int vq_split_put(struct vq *q, uint16_t id, uint32_t len)
{
    uint64_t at = USED_RING + 8 * (uint64_t)(q->next_used & (q->size - 1U));
    uint8_t *const host = q->device_host;
    int rc;

    /* Entries are aligned to 4 only. */
    rc = vq_store32(q, host, q->device, at, id);
    if (!rc)
        rc = vq_store32(q, host, q->device, at + 4, len);
    q->next_used = (uint16_t)(q->next_used + 1);
    return rc;
}

int vq_split_publish(struct vq *q)
{
    /* Partner of this release: the driver's barrier between its load of the used index and its
     * reads of the entries and the buffers (2.7.14). */
    return vq_store16(q, q->device_host, q->device, USED_IDX, q->next_used);
}

/* 2.7.7.2: `used` entries were written since the last time. */
bool vq_split_wants_notify(struct vq *q, uint64_t used)
{
    struct vq_word w;

    if (vq_has_event_idx(q))
        w = vq_load16(q, q->driver_host, q->driver, used_event_at(q));
    else
        w = vq_load16(q, q->driver_host, q->driver, AVAIL_FLAGS);
    if (w.rc)
        return vq_ring_lost(q), false;
    if (!vq_has_event_idx(q))
        return !(w.v & AVAIL_NO_INTERRUPT);
    /* The entry at the driver's event is among them. */
    return (uint16_t)(q->next_used - 1 - (int)w.v) < used;
}
