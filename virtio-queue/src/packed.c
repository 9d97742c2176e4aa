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
static struct vq_word load_word(struct vq *q, uint16_t at)
{
    return vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8);
}

static uint16_t word_flags(uint64_t word)
{
    return (uint16_t)(word >> 48);
}

static inline bool is_available(const struct vq *q, struct vq_word word)
{
    bool avail = word_flags(word.v) & VQ_DESC_AVAIL, used = word_flags(word.v) & VQ_DESC_USED;

    return !word.rc && avail == q->avail_wrap && used != q->avail_wrap;
}

/* The ring was found empty: asks for a kick, then looks again. */
static struct vq_word ask_and_look(struct vq *q)
{
    uint32_t event = vq_has_event_idx(q) ? event_word(q->next_avail, q->avail_wrap, EVENT_DESC)
                                         : event_word(0, false, EVENT_ENABLE);
    struct vq_word w = { .rc = vq_store32(q, q->device_host, q->device, 0, event) };

    if (w.rc)
        return w;
    q->kicks = VQ_KICKS_WANTED;
    /* Partner: the driver's barrier between its store of the flags and its load of our event
     * suppression (2.8.21.2.1). Either it sees that we ask or we see what it added. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_word(q, q->next_avail);
}

/* We are looking anyway. With the event index that is what the driver assumes. */
static int stop_kicks(struct vq *q)
{
    q->kicks = VQ_KICKS_OFF;
    if (vq_has_event_idx(q))
        return 0;
    return vq_store32(q, q->device_host, q->device, 0, event_word(0, false, EVENT_DISABLE));
}

/* The first or the last look of a batch: tells the driver whether to kick. */
__attribute__((noinline)) static struct vq_word turn(struct vq *q, struct vq_word word)
{
    if (!is_available(q, word) && q->kicks != VQ_KICKS_WANTED)
        word = ask_and_look(q);
    if (is_available(q, word) && q->kicks != VQ_KICKS_OFF)
        word.rc = stop_kicks(q);
    return word;
}

/* A list of direct descriptors, or one table (2.8.5: never both). The id stands in the last one
 * (2.8.6); AVAIL and USED of the others do not matter, since the first one was published last. */
__attribute__((always_inline)) static inline int walk(struct vq *q, struct vq_chain *chain,
                                                      uint64_t first, struct vq_first *ret_first,
                                                      uint16_t *ret_id, uint16_t *ret_slots)
{
    struct vq_word addr, word = { .v = first };
    uint16_t at = q->next_avail, slots = 1, flags;
    struct vq_build build = { 0 };
    bool wrap = false;
    int rc;

    for (;; slots++) {
        addr = vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES);
        if (VQ_UNLIKELY(addr.rc))
            return vq_ring_lost(q);
        flags = word_flags(word.v);
        if (ret_first && slots == 1)
            *ret_first = (struct vq_first){ addr.v, word.v };
        if (flags & VQ_DESC_INDIRECT)
            break;
        rc = vq_build_add(q, &build, addr.v, (uint32_t)word.v, flags);
        if (rc)
            return rc;
        if (!(flags & VQ_DESC_NEXT))
            break;
        if (slots == q->size) /* 2.8.17 */
            return vq_refuse(q, "chain loops", at);
        vq_packed_advance(q, &at, &wrap, 1);
        word = load_word(q, at);
        if (VQ_UNLIKELY(word.rc))
            return vq_ring_lost(q);
    }
    vq_build_store(q, &build, chain);
    *ret_id = (uint16_t)(word.v >> 32);
    *ret_slots = slots;
    if (!(flags & VQ_DESC_INDIRECT))
        return 0;
    if (slots > 1 || flags & VQ_DESC_NEXT) /* 2.8.19 */
        return vq_refuse(q, "indirect descriptor in a list", at);
    return vq_chain_packed_table(q, chain, addr.v, (uint32_t)word.v, flags);
}

__attribute__((always_inline)) static inline int next(struct vq *q, struct vq_chain *chain,
                                                      struct vq_first *ret_first)
{
    struct vq_word word = load_word(q, q->next_avail);
    uint16_t id, slots;
    uint32_t out;
    int rc;

    if (!word.rc && VQ_UNLIKELY(!is_available(q, word) || q->kicks != VQ_KICKS_OFF))
        word = turn(q, word);
    if (VQ_UNLIKELY(word.rc))
        return vq_ring_lost(q);
    if (!is_available(q, word))
        return 0;
    rc = walk(q, chain, word.v, ret_first, &id, &slots);
    if (VQ_UNLIKELY(rc))
        return rc;
    /* 2.8.22: drivers keep what they know of a buffer in an array of the queue's size. */
    if (VQ_UNLIKELY(id >= q->size))
        return vq_refuse(q, "buffer id is not below the queue's size", id);
    out = (uint32_t)q->slots_out + slots;
    if (VQ_UNLIKELY(out > q->size))
        return vq_refuse(q, "more is in flight than the ring holds", out);
    rc = vq_chain_take(q, chain, id, slots);
    if (VQ_UNLIKELY(rc))
        return rc;
    q->slots_out = (uint16_t)out;
    vq_packed_advance(q, &q->next_avail, &q->avail_wrap, slots);
    return 1;
}

int vq_packed_next(struct vq *q, struct vq_chain *chain)
{
    return next(q, chain, NULL);
}

int vq_packed_next_logged(struct vq *q, struct vq_chain *chain, struct vq_first *ret_first)
{
    return next(q, chain, ret_first);
}

/* One used descriptor for the whole list; the ring goes on behind it (2.8.6). */
int vq_packed_put(struct vq *q, uint16_t id, uint16_t slots, uint32_t len)
{
    uint64_t flags = q->used_wrap ? VQ_DESC_AVAIL | VQ_DESC_USED : 0, word;
    uint16_t at = q->next_used;

    if (len)
        flags |= VQ_DESC_WRITE; /* 2.8.3 */
    word = (uint64_t)len | (uint64_t)id << 32 | flags << 48;
    q->slots_out = (uint16_t)(q->slots_out - slots);
    vq_packed_advance(q, &q->next_used, &q->used_wrap, slots);
    if (q->batch)
        return vq_packed_store(q, at, word);
    q->batch = true;
    q->batch_at = at;
    q->batch_word = word;
    return 0;
}

/* Place in two rounds of the ring: one for each value of the wrap counter. */
static uint32_t place(const struct vq *q, uint16_t at, bool wrap)
{
    return at + (wrap ? 0U : q->size);
}

/* 2.8.10: `used` ring entries were passed since the last time. */
bool vq_packed_wants_notify(struct vq *q, uint64_t used)
{
    struct vq_word event = vq_load32(q, q->driver_host, q->driver, 0);
    uint32_t flags = event.v >> 16 & EVENT_FLAGS, rounds = 2U * q->size, behind;

    if (event.rc)
        return vq_ring_lost(q), false;
    if (flags == EVENT_DISABLE)
        return false;
    if (flags != EVENT_DESC || !vq_has_event_idx(q))
        return true;
    /* The entry at the event's place is among them. A place outside the ring means nothing: any
     * answer will do. */
    behind = rounds + place(q, q->next_used, q->used_wrap) - 1;
    behind -= place(q, (uint16_t)((event.v & (WRAP_BIT - 1)) % q->size), event.v & WRAP_BIT);
    return behind % rounds < used;
}
