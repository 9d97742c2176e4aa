/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The inside of the log: vhost-user specification, "Inflight I/O tracking". Numbers are in the
 * machine's byte order. Fields that belong together are stored together, as one word of 8 bytes: a
 * process dies between two words, never inside one.
 *
 * Barriers. Each store to the region releases. Partner: the acquiring loads of vq_start() in the
 * process that comes after. It sees some prefix of the stores of the dead one, ring and log alike, in
 * the order in which they stand here.
 */
#ifndef VQ_INFLIGHT_PRIVATE_H
#define VQ_INFLIGHT_PRIVATE_H

#include "ring.h"

#include <vmm/virtio-queue/inflight.h>

enum { VQ_LOG_VERSION = 1 };

/* Offsets of the words: of the head, then of each entry. */
enum {
    VQ_LOG_FEATURES = 0,
    VQ_LOG_HEAD = 8,
    VQ_LOG_USED = 16, /* packed */
    VQ_LOG_SPLIT_ENTRIES = 16,
    VQ_LOG_PACKED_ENTRIES = 32,
    VQ_LOG_STATE = 0,
    VQ_LOG_COUNTER = 8,
    VQ_LOG_SPLIT_BYTES = 16,
    VQ_LOG_DESC = 16, /* packed: id, flags, length */
    VQ_LOG_ADDR = 24, /* packed */
    VQ_LOG_PACKED_BYTES = 32,
};

union vq_log_head {
    struct {
        uint16_t version, desc_num;
        uint16_t head; /* split: last_batch_head; packed: free_head */
        uint16_t tail; /* split: used_idx; packed: old_free_head */
    };
    uint64_t word;
};

union vq_log_used { /* packed */
    struct {
        uint16_t idx, old_idx;
        uint8_t wrap, old_wrap, padding[2];
    };
    uint64_t word;
};

/* mark and tag are padding to others. They hold 39 bits of the counter: others leave marks where they
 * are, but give each chain a counter of its own (docs/in-flight.md). */
union vq_log_split {
    struct {
        uint8_t inflight, mark;
        uint16_t tag[2], next;
    };
    uint64_t word;
};

union vq_log_packed {
    struct {
        uint8_t inflight, padding;
        uint16_t next, last, num;
    };
    uint64_t word;
};

/* A mark are both AVAIL and USED in the first descriptor's flags: no descriptor that a driver offers
 * has them both, and others store its flags anew for each chain. */
union vq_log_desc { /* packed */
    struct {
        uint16_t id, flags;
        uint32_t len;
    };
    uint64_t word;
};

/* What we keep of an entry: the region is not read again. */
struct vq_log_entry {
    uint16_t next; /* split: in the list of the last batch; packed: in the chain or the free list */
    uint16_t last, num; /* packed: heads */
    uint16_t link; /* in the batch that is not published */
    uint16_t head; /* packed: the entry of the chain with this id */
    bool marked; /* heads */
    uint8_t inflight, seen; /* while it is recovered */
};

struct vq_log_replay {
    uint64_t counter;
    uint16_t entry, id;
};

struct vq_log {
    uint8_t *region;
    size_t bytes;
    struct vq_log_entry *entry;
    struct vq_log_replay *replay; /* by counter */
    uint32_t entries; /* of both arrays */
    uint32_t replays, replay_at; /* there are; handed out */
    uint32_t batch; /* chains put and not published */
    uint16_t batch_head;
    uint16_t desc_num;
    uint16_t head; /* split: last_batch_head; packed: free_head */
    uint16_t free; /* packed: entries in the free list */
    union vq_log_used used; /* packed: as it stands in the region */
    uint64_t counter;
};

static inline uint64_t vq_log_load(const struct vq_log *log, size_t at)
{
    return __atomic_load_n((const uint64_t *)(const void *)(log->region + at), __ATOMIC_ACQUIRE);
}

static inline void vq_log_store(const struct vq_log *log, size_t at, uint64_t word)
{
    __atomic_store_n((uint64_t *)(void *)(log->region + at), word, __ATOMIC_RELEASE);
}

static inline size_t vq_log_split_at(uint32_t entry)
{
    return VQ_LOG_SPLIT_ENTRIES + (size_t)entry * VQ_LOG_SPLIT_BYTES;
}

static inline size_t vq_log_packed_at(uint32_t entry)
{
    return VQ_LOG_PACKED_ENTRIES + (size_t)entry * VQ_LOG_PACKED_BYTES;
}

/* A word from its fields, in the order of their addresses: in registers, where a union would be put
 * together in memory and loaded from there. */
static inline uint16_t vq_log_pair(uint8_t a, uint8_t b)
{
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        return (uint16_t)(a | b << 8);
    return (uint16_t)(a << 8 | b);
}

static inline uint64_t vq_log_quad(uint16_t a, uint16_t b, uint16_t c, uint16_t d)
{
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        return a | (uint64_t)b << 16 | (uint64_t)c << 32 | (uint64_t)d << 48;
    return (uint64_t)a << 48 | (uint64_t)b << 32 | (uint64_t)c << 16 | d;
}

/* The next chain's counter. */
static inline uint64_t vq_log_count(struct vq_log *log)
{
    uint64_t counter = log->counter;

    /* It wraps where a hostile region began near the end. */
    if (__builtin_add_overflow(counter, 1, &log->counter))
        log->counter = 0;
    return counter;
}

/* inflight.c */
void vq_log_free(struct vq_log *log);
void vq_log_forget(struct vq_log *log);
int vq_log_start(struct vq *q);
int vq_log_next(struct vq *q, struct vq_chain *chain);
void vq_log_undo(struct vq *q, const struct vq_chain *chain);
void vq_log_undo_replay(struct vq_log *log);
void vq_log_put(struct vq *q, uint16_t id);
/* False: nothing was put. */
bool vq_log_before_publish(struct vq *q);
void vq_log_after_publish(struct vq *q);
/* For the formats: one more chain that was in flight. */
void vq_log_found(struct vq_log *log, uint16_t entry, uint16_t id, uint64_t counter);

/* The formats: inflight_split.c and inflight_packed.c. init and recover: at vq_start(), into a private
 * state that is empty. */
void vq_log_split_init(struct vq *q);
int vq_log_split_recover(struct vq *q, union vq_log_head head);
int vq_log_split_replay(struct vq *q, struct vq_chain *chain, uint16_t id);
int vq_log_split_take(struct vq *q, struct vq_chain *chain);
void vq_log_split_undo(struct vq *q, uint16_t id);
void vq_log_split_before(struct vq *q);
void vq_log_split_after(struct vq *q);
void vq_log_split_mark(struct vq *q, uint16_t id);

void vq_log_packed_init(struct vq *q);
int vq_log_packed_recover(struct vq *q, union vq_log_head head);
int vq_log_packed_replay(struct vq *q, struct vq_chain *chain, uint16_t entry);
int vq_log_packed_take(struct vq *q, struct vq_chain *chain);
void vq_log_packed_undo(struct vq *q, uint16_t id);
void vq_log_packed_before(struct vq *q);
void vq_log_packed_after(struct vq *q);
void vq_log_packed_mark(struct vq *q, uint16_t id);

#endif
