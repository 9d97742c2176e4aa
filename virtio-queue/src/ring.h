/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The inside of the queue: how ring memory is touched, and what both ring formats share.
 *
 * An area that lies in one piece of host memory is touched by its address, another one (behind an
 * IOMMU, across regions) by the view; whoever is above does not see the difference.
 */
#ifndef VQ_RING_H
#define VQ_RING_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>

#include <vmm/base/le.h>
#include <vmm/virtio-queue/queue.h>

#define VQ_LIKELY(x)   __builtin_expect(!!(x), 1)
#define VQ_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Descriptor flags: VIRTIO 1.2, 2.7.5 and 2.8.1. */
enum {
    VQ_DESC_NEXT = 1,
    VQ_DESC_WRITE = 2,
    VQ_DESC_INDIRECT = 4,
    VQ_DESC_AVAIL = 1 << 7,
    VQ_DESC_USED = 1 << 15,
    VQ_DESC_BYTES = 16,
};

/* 2.7.5.2: no chain may be longer in total. */
#define VQ_CHAIN_BYTES_MAX (1ULL << 32)

/* Whether the driver was told of what was used is not known: more than any index can tell apart. */
#define VQ_UNSIGNALLED_UNKNOWN (1ULL << 32)

/* One descriptor of the ring or of a table, copied once. last: next (split) or id (packed). */
struct vq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, last;
};

static inline bool vq_is_packed(const struct vq *q)
{
    return q->features & VQ_F_RING_PACKED;
}

static inline bool vq_has_event_idx(const struct vq *q)
{
    return q->features & VQ_F_EVENT_IDX;
}

/* Bytes of the three areas: 2.7 and 2.8.10.1. */
static inline uint64_t vq_desc_bytes(const struct vq *q)
{
    return (uint64_t)VQ_DESC_BYTES * q->size;
}
static inline uint64_t vq_driver_bytes(const struct vq *q)
{
    return vq_is_packed(q) ? 4 : 6 + 2 * (uint64_t)q->size;
}
static inline uint64_t vq_device_bytes(const struct vq *q)
{
    return vq_is_packed(q) ? 4 : 6 + 8 * (uint64_t)q->size;
}

/* Looks the host addresses up anew. */
void vq_find_areas(struct vq *q);

static inline void vq_sync(struct vq *q)
{
    if (VQ_UNLIKELY(q->stamp != gm_view_stamp(q->view)))
        vq_find_areas(q);
}

/* A value, or why there is none: in two registers, so that nothing goes over the stack. */
struct vq_word {
    uint64_t v;
    int rc;
};

/* By the view. */
struct vq_word vq_view_load(struct vq *q, gpa_t gpa, unsigned bytes);
int vq_view_store(struct vq *q, gpa_t gpa, unsigned bytes, uint64_t v);

/* Loads acquire and stores release, as those of the view do; on x86 that costs nothing. Where
 * writes are tracked, host has no address for areas that we write. */
static inline struct vq_word vq_load16(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at)
{
    const uint16_t *p;

    if (VQ_UNLIKELY(!host))
        return vq_view_load(q, base + at, sizeof(*p));
    p = (const void *)(host + at);
    return (struct vq_word){ le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)), 0 };
}

static inline struct vq_word vq_load32(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at)
{
    const uint32_t *p;

    if (VQ_UNLIKELY(!host))
        return vq_view_load(q, base + at, sizeof(*p));
    p = (const void *)(host + at);
    return (struct vq_word){ le32toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)), 0 };
}

static inline struct vq_word vq_load64(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at)
{
    const uint64_t *p;

    if (VQ_UNLIKELY(!host))
        return vq_view_load(q, base + at, sizeof(*p));
    p = (const void *)(host + at);
    return (struct vq_word){ le64toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)), 0 };
}

static inline int vq_store16(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint16_t v)
{
    if (VQ_UNLIKELY(!host))
        return vq_view_store(q, base + at, sizeof(v), v);
    __atomic_store_n((uint16_t *)(void *)(host + at), htole16(v), __ATOMIC_RELEASE);
    return 0;
}

static inline int vq_store32(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint32_t v)
{
    if (VQ_UNLIKELY(!host))
        return vq_view_store(q, base + at, sizeof(v), v);
    __atomic_store_n((uint32_t *)(void *)(host + at), htole32(v), __ATOMIC_RELEASE);
    return 0;
}

static inline int vq_store64(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint64_t v)
{
    if (VQ_UNLIKELY(!host))
        return vq_view_store(q, base + at, sizeof(v), v);
    __atomic_store_n((uint64_t *)(void *)(host + at), htole64(v), __ATOMIC_RELEASE);
    return 0;
}

/* vq_break() with a result that the compiler knows. */
static inline int vq_refuse(struct vq *q, const char *why, uint32_t value)
{
    vq_break(q, why, value);
    return -EPROTO;
}

/* A ring that went away under a running queue. */
static inline int vq_ring_lost(struct vq *q)
{
    return vq_refuse(q, "ring is not RAM", q->next_avail);
}

/* The ring formats: split.c and packed.c. */
int vq_split_next(struct vq *q, struct vq_chain *chain);
int vq_split_put(struct vq *q, uint16_t id, uint32_t len);
int vq_split_publish(struct vq *q);
bool vq_split_wants_notify(struct vq *q, uint64_t used);
/* The chain at a head that was taken before. */
int vq_split_walk(struct vq *q, struct vq_chain *chain, uint16_t head);
struct vq_word vq_split_used_idx(struct vq *q);

/* A chain's first descriptor as it was in the ring: address; length, id and flags. */
struct vq_first {
    uint64_t addr, word;
};

int vq_packed_next(struct vq *q, struct vq_chain *chain);
int vq_packed_next_logged(struct vq *q, struct vq_chain *chain, struct vq_first *ret_first);
int vq_packed_put(struct vq *q, uint16_t id, uint16_t slots, uint32_t len);
bool vq_packed_wants_notify(struct vq *q, uint64_t used);
/* Length, id and flags. */
static inline int vq_packed_store(struct vq *q, uint16_t at, uint64_t word)
{
    /* Partner of this release: the driver's barrier between its load of the flags and its reads of
     * id, length and buffers (2.8.22). */
    return vq_store64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8, word);
}
/* 2.8.9: the first one of several last. */
static inline int vq_packed_publish(struct vq *q)
{
    if (!q->batch)
        return 0;
    q->batch = false;
    return vq_packed_store(q, q->batch_at, q->batch_word);
}
/* Moves an offset and its wrap counter on by so many ring entries (at most the queue's size). */
static inline void vq_packed_advance(const struct vq *q, uint16_t *at, bool *wrap, uint16_t slots)
{
    uint32_t next = (uint32_t)*at + slots;

    if (next >= q->size) {
        next -= q->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

/*
 * chain.c. A chain grows in registers and is stored when it is whole; what every chain passes
 * through is inline, what most do not (tables, buffers away from the view's last hit) is not.
 */
struct vq_build {
    uint32_t n, writable; /* buffers */
    uint64_t bytes, writable_bytes;
};

/* RAM that the last hit of the view did not cover. */
bool vq_chain_is_ram(struct gm_view *view, uint64_t addr, uint32_t len, bool write);

static inline bool vq_is_near(const struct gm_fast *fast, uint64_t addr, uint32_t len)
{
    uint64_t at;

    return vm_sub(addr, fast->base, &at) && vm_range_in(at, len, fast->size);
}

/* Buffers of no bytes are allowed: nothing in 2.7.5 or 2.8.4 forbids them. */
__attribute__((always_inline)) static inline int vq_build_add(struct vq *q, struct vq_build *b,
                                                              uint64_t addr, uint32_t len,
                                                              uint16_t flags)
{
    const struct gm_fast *fast = &q->view->read;
    bool write = flags & VQ_DESC_WRITE;

    if (VQ_UNLIKELY(b->n == VQ_CHAIN_MAX))
        return vq_refuse(q, "chain is too long", b->n);
    if (write) {
        fast = &q->view->write;
        b->writable++;
        b->writable_bytes += len;
    } else if (VQ_UNLIKELY(b->writable)) { /* 2.7.4.2, 2.8.17 */
        return vq_refuse(q, "device-readable buffer behind a writable one", b->n);
    }
    b->bytes += len;
    if (VQ_UNLIKELY(b->bytes > VQ_CHAIN_BYTES_MAX))
        return vq_refuse(q, "chain is longer than 2^32 bytes", b->n);
    if (VQ_UNLIKELY(!vq_is_near(fast, addr, len)) && !vq_chain_is_ram(q->view, addr, len, write))
        return vq_refuse(q, "buffer is not RAM", b->n);
    q->scratch[b->n++] = (struct vq_buf){ addr, len };
    return 0;
}

static inline void vq_build_store(struct vq *q, const struct vq_build *b, struct vq_chain *ret)
{
    *ret = (struct vq_chain){
        .buf = q->scratch,
        .readable = (uint16_t)(b->n - b->writable),
        .writable = (uint16_t)b->writable,
        .readable_bytes = b->bytes - b->writable_bytes,
        .writable_bytes = b->writable_bytes,
    };
}

/* Adds the buffers of an indirect table to a stored chain. */
int vq_chain_split_table(struct vq *q, struct vq_chain *chain, uint64_t addr, uint32_t len,
                         uint16_t flags);
int vq_chain_packed_table(struct vq *q, struct vq_chain *chain, uint64_t addr, uint32_t len,
                          uint16_t flags);
/* Marks as dirty what the owner wrote through host vectors. */
void vq_chain_mark(struct vq *q, const struct vq_chain *chain);

/* Nothing is offered again before it is used. */
static inline int vq_chain_take(struct vq *q, struct vq_chain *chain, uint16_t id, uint16_t slots)
{
    if (VQ_UNLIKELY(q->taken[id]))
        return vq_refuse(q, "chain is offered again while it is in flight", id);
    q->taken[id] = 1;
    chain->id = id;
    chain->slots = slots;
    chain->order = q->next_order;
    q->next_order = (uint16_t)(q->next_order + 1);
    return 0;
}

#endif
