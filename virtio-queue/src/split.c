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
static int load_avail_idx(struct vq *q, uint16_t *ret_idx)
{
    return vq_load16(q, q->driver_host, q->driver, AVAIL_IDX, ret_idx);
}

/* The ring was found empty: asks for a kick, then looks again. */
static int ask_and_look(struct vq *q, uint16_t *ret_idx)
{
    int rc;

    if (vq_has_event_idx(q))
        rc = vq_store16(q, q->device_host, q->device, avail_event_at(q), q->next_avail);
    else
        rc = vq_store16(q, q->device_host, q->device, USED_FLAGS, 0);
    if (rc)
        return rc;
    q->kicks = VQ_KICKS_WANTED;
    /* Partner: the driver's barrier between its store of the available index and its load of flags
     * or avail_event (2.7.13.4.1). Either it sees that we ask or we see what it added. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_avail_idx(q, ret_idx);
}

/* We are looking anyway. With the event index that is what the driver assumes. */
static int stop_kicks(struct vq *q)
{
    q->kicks = VQ_KICKS_OFF;
    if (vq_has_event_idx(q))
        return 0;
    return vq_store16(q, q->device_host, q->device, USED_FLAGS, USED_NO_NOTIFY);
}

/* How many chains are available, in *ret_pending; 0 of them: the driver will kick. */
static int look(struct vq *q, uint16_t *ret_pending)
{
    uint16_t idx;
    int rc;

    *ret_pending = 0;
    rc = load_avail_idx(q, &idx);
    if (!rc && idx == q->next_avail && q->kicks != VQ_KICKS_WANTED)
        rc = ask_and_look(q, &idx);
    if (!rc && idx != q->next_avail && q->kicks != VQ_KICKS_OFF)
        rc = stop_kicks(q);
    if (VQ_UNLIKELY(rc))
        return vq_ring_lost(q);
    *ret_pending = (uint16_t)(idx - q->next_avail);
    if (VQ_UNLIKELY(*ret_pending > q->size))
        return vq_break(q, "available index jumps", idx);
    return 0;
}

/* The head's place and the descriptors were ordered by load_avail_idx(). */
static int load_desc(struct vq *q, uint16_t at, struct vq_desc *ret)
{
    uint64_t word[2];

    if (vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES, &word[0]) ||
        vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8, &word[1]))
        return vq_ring_lost(q);
    ret->addr = word[0];
    ret->len = (uint32_t)word[1];
    ret->flags = (uint16_t)(word[1] >> 32);
    ret->last = (uint16_t)(word[1] >> 48);
    return 0;
}

/* 2.7.5.3.2: a table may end a list of direct descriptors. */
static int walk(struct vq *q, struct vq_chain *chain, uint16_t at)
{
    struct vq_desc desc;
    uint32_t seen = 0;
    int rc;

    for (;;) {
        rc = load_desc(q, at, &desc);
        if (rc)
            return rc;
        if (desc.flags & VQ_DESC_INDIRECT)
            return vq_chain_split_table(q, chain, &desc);
        rc = vq_chain_add(q, chain, &desc);
        if (rc || !(desc.flags & VQ_DESC_NEXT))
            return rc;
        at = desc.last;
        if (at >= q->size)
            return vq_break(q, "next descriptor is not in the table", at);
        if (++seen == q->size)
            return vq_break(q, "chain loops", at);
    }
}

int vq_split_next(struct vq *q, struct vq_chain *chain)
{
    uint16_t pending, head;
    uint64_t at;
    int rc;

    rc = look(q, &pending);
    if (rc || !pending)
        return rc;
    at = AVAIL_RING + 2 * (uint64_t)(q->next_avail & (q->size - 1));
    if (VQ_UNLIKELY(vq_load16(q, q->driver_host, q->driver, at, &head)))
        return vq_ring_lost(q);
    if (VQ_UNLIKELY(head >= q->size))
        return vq_break(q, "head is not in the table", head);
    vq_chain_begin(q, chain);
    rc = walk(q, chain, head);
    if (!rc)
        rc = vq_chain_take(q, chain, head, 1);
    if (VQ_UNLIKELY(rc))
        return rc;
    q->next_avail = (uint16_t)(q->next_avail + 1);
    return 1;
}

int vq_split_put(struct vq *q, uint16_t id, uint32_t len)
{
    uint64_t at = USED_RING + 8 * (uint64_t)(q->next_used & (q->size - 1));
    int rc;

    /* Entries are aligned to 4 only. */
    rc = vq_store32(q, q->device_host, q->device, at, id);
    if (!rc)
        rc = vq_store32(q, q->device_host, q->device, at + 4, len);
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
bool vq_split_wants_notify(struct vq *q, uint32_t used)
{
    uint16_t flags, event;

    if (!vq_has_event_idx(q)) {
        if (vq_load16(q, q->driver_host, q->driver, AVAIL_FLAGS, &flags))
            return vq_ring_lost(q), false;
        return !(flags & AVAIL_NO_INTERRUPT);
    }
    if (vq_load16(q, q->driver_host, q->driver, used_event_at(q), &event))
        return vq_ring_lost(q), false;
    /* The entry at `event` is among them. */
    return (uint16_t)(q->next_used - 1 - event) < used;
}
