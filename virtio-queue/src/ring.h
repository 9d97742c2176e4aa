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

/* Loads acquire and stores release, as those of the view do; on x86 that costs nothing. */
static inline int vq_load16(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at,
                            uint16_t *ret)
{
    if (VQ_UNLIKELY(!host))
        return gm_load16(q->view, base + at, ret);
    *ret = le16toh(__atomic_load_n((const uint16_t *)(const void *)(host + at), __ATOMIC_ACQUIRE));
    return 0;
}

static inline int vq_load32(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at,
                            uint32_t *ret)
{
    if (VQ_UNLIKELY(!host))
        return gm_load32(q->view, base + at, ret);
    *ret = le32toh(__atomic_load_n((const uint32_t *)(const void *)(host + at), __ATOMIC_ACQUIRE));
    return 0;
}

static inline int vq_load64(struct vq *q, const uint8_t *host, gpa_t base, uint64_t at,
                            uint64_t *ret)
{
    if (VQ_UNLIKELY(!host))
        return gm_load64(q->view, base + at, ret);
    *ret = le64toh(__atomic_load_n((const uint64_t *)(const void *)(host + at), __ATOMIC_ACQUIRE));
    return 0;
}

static inline void vq_wrote(struct vq *q, gpa_t gpa, uint64_t len)
{
    if (VQ_UNLIKELY(q->view->dirty))
        gm_written(q->view, gpa, len);
}

static inline int vq_store16(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint16_t v)
{
    if (VQ_UNLIKELY(!host))
        return gm_store16(q->view, base + at, v);
    __atomic_store_n((uint16_t *)(void *)(host + at), htole16(v), __ATOMIC_RELEASE);
    vq_wrote(q, base + at, sizeof(v));
    return 0;
}

static inline int vq_store32(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint32_t v)
{
    if (VQ_UNLIKELY(!host))
        return gm_store32(q->view, base + at, v);
    __atomic_store_n((uint32_t *)(void *)(host + at), htole32(v), __ATOMIC_RELEASE);
    vq_wrote(q, base + at, sizeof(v));
    return 0;
}

static inline int vq_store64(struct vq *q, uint8_t *host, gpa_t base, uint64_t at, uint64_t v)
{
    if (VQ_UNLIKELY(!host))
        return gm_store64(q->view, base + at, v);
    __atomic_store_n((uint64_t *)(void *)(host + at), htole64(v), __ATOMIC_RELEASE);
    vq_wrote(q, base + at, sizeof(v));
    return 0;
}

/* A ring that went away under a running queue. */
int vq_ring_lost(struct vq *q);

/* The ring formats: split.c and packed.c. */
int vq_split_next(struct vq *q, struct vq_chain *chain);
int vq_split_put(struct vq *q, uint16_t id, uint32_t len);
int vq_split_publish(struct vq *q);
bool vq_split_wants_notify(struct vq *q, uint32_t used);

int vq_packed_next(struct vq *q, struct vq_chain *chain);
int vq_packed_put(struct vq *q, uint16_t id, uint16_t slots, uint32_t len);
int vq_packed_publish(struct vq *q);
bool vq_packed_wants_notify(struct vq *q, uint32_t used);
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

/* chain.c: a chain is begun, gets one buffer after the other, and is taken when it is whole. */
void vq_chain_begin(struct vq *q, struct vq_chain *chain);
int vq_chain_add(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc);
/* The buffers of the indirect table that desc refers to. */
int vq_chain_split_table(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc);
int vq_chain_packed_table(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc);
int vq_chain_take(struct vq *q, struct vq_chain *chain, uint16_t id, uint16_t slots);
void vq_chain_untake(struct vq *q, uint16_t id, uint16_t slots);
/* Marks as dirty what the owner wrote through host vectors. */
void vq_chain_mark(struct vq *q, const struct vq_chain *chain);

#endif
