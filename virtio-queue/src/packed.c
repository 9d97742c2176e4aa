/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Packed rings: VIRTIO 1.2, 2.8. */
#include "ring.h"

/* Event suppression (2.8.10): 16 bits of offset and wrap counter, then 2 bits of flags. */
enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, EVENT_FLAGS = 3 };
enum { WRAP_BIT = 1 << 15 };

static uint32_t event_word(uint16_t offset, bool wrap, uint32_t flags)
{
    return (uint32_t)offset | (wrap ? WRAP_BIT : 0) | flags << 16;
}

/* Length, id and flags of a descriptor are one aligned word of 8 bytes: one load sees them as of
 * one moment. Partner of this acquire: the driver's barrier before it writes the flags of a list's
 * first descriptor (2.8.21.1). */
static int load_word(struct vq *q, uint16_t at, uint64_t *ret_word)
{
    return vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8, ret_word);
}

static uint16_t word_flags(uint64_t word)
{
    return (uint16_t)(word >> 48);
}

static bool is_available(const struct vq *q, uint64_t word)
{
    bool avail = word_flags(word) & VQ_DESC_AVAIL, used = word_flags(word) & VQ_DESC_USED;

    return avail == q->avail_wrap && used != q->avail_wrap;
}

/* The ring was found empty: asks for a kick, then looks again. */
static int ask_and_look(struct vq *q, uint64_t *ret_word)
{
    uint32_t word = vq_has_event_idx(q) ? event_word(q->next_avail, q->avail_wrap, EVENT_DESC)
                                        : event_word(0, false, EVENT_ENABLE);
    int rc;

    rc = vq_store32(q, q->device_host, q->device, 0, word);
    if (rc)
        return rc;
    q->kicks = VQ_KICKS_WANTED;
    /* Partner: the driver's barrier between its store of the flags and its load of our event
     * suppression (2.8.21.2.1). Either it sees that we ask or we see what it added. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_word(q, q->next_avail, ret_word);
}

/* We are looking anyway. With the event index that is what the driver assumes. */
static int stop_kicks(struct vq *q)
{
    q->kicks = VQ_KICKS_OFF;
    if (vq_has_event_idx(q))
        return 0;
    return vq_store32(q, q->device_host, q->device, 0, event_word(0, false, EVENT_DISABLE));
}

/* 1: the next descriptor is available, its word is in *ret_word; 0: it is not, and the driver will
 * kick. */
static int look(struct vq *q, uint64_t *ret_word)
{
    bool ready;
    int rc;

    rc = load_word(q, q->next_avail, ret_word);
    ready = !rc && is_available(q, *ret_word);
    if (!rc && !ready && q->kicks != VQ_KICKS_WANTED) {
        rc = ask_and_look(q, ret_word);
        ready = !rc && is_available(q, *ret_word);
    }
    if (ready && q->kicks != VQ_KICKS_OFF)
        rc = stop_kicks(q);
    return VQ_UNLIKELY(rc) ? vq_ring_lost(q) : ready;
}

/* The rest of the descriptor whose word was loaded. */
static int load_desc(struct vq *q, uint16_t at, uint64_t word, struct vq_desc *ret)
{
    if (vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES, &ret->addr))
        return vq_ring_lost(q);
    ret->len = (uint32_t)word;
    ret->last = (uint16_t)(word >> 32);
    ret->flags = word_flags(word);
    return 0;
}

/* A list of direct descriptors, or one table (2.8.5: never both). The id stands in the last one
 * (2.8.6); AVAIL and USED of the others do not matter, since the first one was published last. */
static int walk(struct vq *q, struct vq_chain *chain, uint64_t word, uint16_t *ret_id,
                uint16_t *ret_slots)
{
    uint16_t at = q->next_avail, slots;
    struct vq_desc desc;
    bool wrap = false;
    int rc;

    for (slots = 1;; slots++) {
        rc = load_desc(q, at, word, &desc);
        if (rc)
            return rc;
        if (desc.flags & VQ_DESC_INDIRECT) {
            if (slots > 1 || desc.flags & VQ_DESC_NEXT) /* 2.8.19 */
                return vq_break(q, "indirect descriptor in a list", at);
            rc = vq_chain_packed_table(q, chain, &desc);
        } else {
            rc = vq_chain_add(q, chain, &desc);
        }
        if (rc)
            return rc;
        if (!(desc.flags & VQ_DESC_NEXT))
            break;
        if (slots == q->size) /* 2.8.17 */
            return vq_break(q, "chain loops", at);
        vq_packed_advance(q, &at, &wrap, 1);
        if (load_word(q, at, &word))
            return vq_ring_lost(q);
    }
    *ret_id = desc.last;
    *ret_slots = slots;
    return 0;
}

int vq_packed_next(struct vq *q, struct vq_chain *chain)
{
    uint16_t id = 0, slots = 0;
    uint64_t word;
    int rc;

    rc = look(q, &word);
    if (rc <= 0)
        return rc;
    vq_chain_begin(q, chain);
    rc = walk(q, chain, word, &id, &slots);
    if (VQ_UNLIKELY(rc))
        return rc;
    /* 2.8.22: drivers keep what they know of a buffer in an array of the queue's size. */
    if (VQ_UNLIKELY(id >= q->size))
        return vq_break(q, "buffer id is not below the queue's size", id);
    rc = vq_chain_take(q, chain, id, slots);
    if (VQ_UNLIKELY(rc))
        return rc;
    vq_packed_advance(q, &q->next_avail, &q->avail_wrap, slots);
    return 1;
}

static int store_word(struct vq *q, uint16_t at, uint64_t word)
{
    /* Partner of this release: the driver's barrier between its load of the flags and its reads of
     * id, length and buffers (2.8.22). */
    return vq_store64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8, word);
}

/* One used descriptor for the whole list; the ring goes on behind it (2.8.6). */
int vq_packed_put(struct vq *q, uint16_t id, uint16_t slots, uint32_t len)
{
    uint64_t flags = q->used_wrap ? VQ_DESC_AVAIL | VQ_DESC_USED : 0, word;
    uint16_t at = q->next_used;

    if (len)
        flags |= VQ_DESC_WRITE; /* 2.8.3 */
    word = (uint64_t)len | (uint64_t)id << 32 | flags << 48;
    vq_packed_advance(q, &q->next_used, &q->used_wrap, slots);
    if (q->batch)
        return store_word(q, at, word);
    q->batch = true;
    q->batch_at = at;
    q->batch_word = word;
    return 0;
}

/* 2.8.9: the first one of several last. */
int vq_packed_publish(struct vq *q)
{
    if (!q->batch)
        return 0;
    q->batch = false;
    return store_word(q, q->batch_at, q->batch_word);
}

/* Place in two rounds of the ring: one for each value of the wrap counter. */
static uint32_t place(const struct vq *q, uint16_t at, bool wrap)
{
    return at + (wrap ? 0U : q->size);
}

/* 2.8.10: `used` ring entries were passed since the last time. */
bool vq_packed_wants_notify(struct vq *q, uint32_t used)
{
    uint32_t event, flags, rounds = 2U * q->size, behind;

    if (vq_load32(q, q->driver_host, q->driver, 0, &event))
        return vq_ring_lost(q), false;
    flags = event >> 16 & EVENT_FLAGS;
    if (flags == EVENT_DISABLE)
        return false;
    if (flags != EVENT_DESC || !vq_has_event_idx(q))
        return true;
    /* The entry at the event's place is among them. A place outside the ring means nothing: any
     * answer will do. */
    behind = rounds + place(q, q->next_used, q->used_wrap) - 1;
    behind -= place(q, (uint16_t)((event & (WRAP_BIT - 1)) % q->size), event & WRAP_BIT);
    return behind % rounds < used;
}
