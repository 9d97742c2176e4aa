/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The log of chains in flight: what both ring formats share. vhost-user specification, "Inflight I/O
 * tracking". */
#include "inflight_private.h"

#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { REGION_ALIGN = 64 };

/* Our counters begin far above those of others, who begin at 0, within what a mark holds of them:
 * docs/in-flight.md. */
#define COUNTER_BASE (1ULL << 38)

size_t vq_inflight_bytes(uint16_t size, bool packed)
{
    size_t bytes = packed ? vq_log_packed_at(size) : vq_log_split_at(size);

    return (bytes + REGION_ALIGN - 1) / REGION_ALIGN * REGION_ALIGN;
}

static int attach(struct vq_log *log, void *region, size_t bytes)
{
    uint64_t fit = (bytes - VQ_LOG_SPLIT_ENTRIES) / VQ_LOG_SPLIT_BYTES;

    log->region = region;
    log->bytes = bytes;
    log->entries = fit < VQ_SIZE_MAX ? (uint32_t)fit : VQ_SIZE_MAX;
    /* Not cleared: a page that no chain needs is never touched. */
    log->entry = malloc(log->entries * sizeof(*log->entry));
    log->replay = malloc(log->entries * sizeof(*log->replay));
    return log->entry && log->replay ? 0 : -ENOMEM;
}

int vq_set_inflight(struct vq *q, void *region, size_t bytes)
{
    struct vq_log *log;
    int rc;

    if (q->started)
        return vm_fail(-EINVAL, "queue: it runs: its in-flight log cannot be changed");
    vq_log_free(q->log);
    q->log = NULL;
    if (!region)
        return 0;
    if ((uintptr_t)region % sizeof(uint64_t))
        return vm_fail(-EINVAL, "queue: in-flight log is not aligned to 8 bytes");
    if (bytes < VQ_LOG_SPLIT_ENTRIES + VQ_LOG_SPLIT_BYTES)
        return vm_fail(-EINVAL, "queue: in-flight log of %zu bytes holds no descriptor", bytes);
    log = calloc(1, sizeof(*log));
    if (!log)
        return -ENOMEM;
    rc = attach(log, region, bytes);
    if (rc) {
        vq_log_free(log);
        return rc;
    }
    q->log = log;
    return 0;
}

void vq_log_free(struct vq_log *log)
{
    if (!log)
        return;
    free(log->entry);
    free(log->replay);
    free(log);
}

/* Version 0: not initialised. */
void vq_log_forget(struct vq_log *log)
{
    vq_log_store(log, VQ_LOG_HEAD, 0);
    log->replays = log->replay_at = 0;
}

static int by_counter(const void *a, const void *b)
{
    const struct vq_log_replay *ra = a, *rb = b;

    if (ra->counter != rb->counter)
        return ra->counter < rb->counter ? -1 : 1;
    return (int)ra->entry - (int)rb->entry;
}

void vq_log_found(struct vq_log *log, uint16_t entry, uint16_t id, uint64_t counter)
{
    log->replay[log->replays++] = (struct vq_log_replay){ counter, entry, id };
}

/* What does not depend on the format. A queue may be smaller than what its region was made for: the
 * driver chooses. */
static int check_head(const struct vq *q, union vq_log_head head)
{
    const struct vq_log *log = q->log;
    uint64_t features = vq_log_load(log, VQ_LOG_FEATURES), bytes;

    if (head.version != VQ_LOG_VERSION)
        return vm_fail(-EINVAL, "queue: in-flight log has version %u: we know %d", head.version,
                       VQ_LOG_VERSION);
    if (features)
        return vm_fail(-EINVAL, "queue: in-flight log has features 0x%llx: we know none",
                       (unsigned long long)features);
    bytes = vq_is_packed(q) ? vq_log_packed_at(head.desc_num) : vq_log_split_at(head.desc_num);
    if (head.desc_num > log->entries || bytes > log->bytes)
        return vm_fail(-EINVAL, "queue: in-flight log of %zu bytes is for %u descriptors: too many",
                       log->bytes, head.desc_num);
    if (head.desc_num < q->size)
        return vm_fail(-EINVAL, "queue: in-flight log is for %u descriptors, the queue has %u",
                       head.desc_num, q->size);
    return 0;
}

static int init(struct vq *q)
{
    size_t room = vq_is_packed(q) ? vq_log_packed_at(q->size) : vq_log_split_at(q->size);

    if (room > q->log->bytes)
        return vm_fail(-EINVAL, "queue: in-flight log of %zu bytes is too small for %u descriptors",
                       q->log->bytes, q->size);
    q->log->desc_num = q->size;
    for (size_t at = 0; at < room; at += sizeof(uint64_t))
        vq_log_store(q->log, at, 0);
    if (vq_is_packed(q))
        vq_log_packed_init(q);
    else
        vq_log_split_init(q);
    return 0;
}

static int recover(struct vq *q, union vq_log_head head)
{
    struct vq_log *log = q->log;
    uint64_t newest;
    int rc;

    rc = check_head(q, head);
    if (rc)
        return rc;
    log->desc_num = head.desc_num;
    rc = vq_is_packed(q) ? vq_log_packed_recover(q, head) : vq_log_split_recover(q, head);
    if (rc || !log->replays)
        return rc;
    qsort(log->replay, log->replays, sizeof(*log->replay), by_counter);
    newest = log->replay[log->replays - 1].counter;
    if (newest >= COUNTER_BASE) {
        log->counter = newest;
        (void)vq_log_count(log);
    }
    return 0;
}

int vq_log_start(struct vq *q)
{
    struct vq_log *log = q->log;
    union vq_log_head head = { .word = vq_log_load(log, VQ_LOG_HEAD) };
    int rc;

    log->replays = log->replay_at = log->batch = 0;
    log->counter = COUNTER_BASE;
    memset(log->entry, 0, log->entries * sizeof(*log->entry));
    rc = head.version ? recover(q, head) : init(q);
    if (rc) {
        log->replays = 0;
        memset(q->taken, 0, q->size_max);
    }
    return rc;
}

uint32_t vq_replays(const struct vq *q)
{
    return q->log ? q->log->replays - q->log->replay_at : 0;
}

/* It is in flight since vq_start(): no index moves. */
static int replay(struct vq *q, struct vq_chain *chain)
{
    const struct vq_log_replay *r = &q->log->replay[q->log->replay_at];
    const struct vq_log_entry *e = &q->log->entry[r->entry];
    int rc;

    rc = vq_is_packed(q) ? vq_log_packed_replay(q, chain, r->entry)
                         : vq_log_split_replay(q, chain, r->entry);
    if (rc)
        return rc;
    chain->id = r->id;
    chain->slots = vq_is_packed(q) ? e->num : 1;
    chain->order = q->next_order;
    chain->replayed = true;
    chain->marked = e->marked;
    q->next_order = (uint16_t)(q->next_order + 1);
    q->log->replay_at++;
    return 1;
}

int vq_log_next(struct vq *q, struct vq_chain *chain)
{
    if (q->log->replay_at < q->log->replays)
        return replay(q, chain);
    return vq_is_packed(q) ? vq_log_packed_take(q, chain) : vq_log_split_take(q, chain);
}

void vq_log_undo(struct vq *q, const struct vq_chain *chain)
{
    if (vq_is_packed(q))
        vq_log_packed_undo(q, chain->id);
    else
        vq_log_split_undo(q, chain->id);
}

void vq_log_undo_replay(struct vq_log *log)
{
    log->replay_at--;
}

void vq_log_put(struct vq *q, uint16_t id)
{
    struct vq_log *log = q->log;
    uint16_t entry = vq_is_packed(q) ? log->entry[id].head : id;

    log->entry[entry].link = log->batch_head;
    log->batch_head = entry;
    log->batch++;
}

bool vq_log_before_publish(struct vq *q)
{
    if (!q->log->batch)
        return false;
    if (vq_is_packed(q))
        vq_log_packed_before(q);
    else
        vq_log_split_before(q);
    return true;
}

void vq_log_after_publish(struct vq *q)
{
    if (vq_is_packed(q))
        vq_log_packed_after(q);
    else
        vq_log_split_after(q);
    q->log->batch = 0;
}

void vq_mark_done(struct vq *q, const struct vq_chain *chain)
{
    if (!q->log || !q->started || q->broken)
        return;
    if (vq_is_packed(q))
        vq_log_packed_mark(q, chain->id);
    else
        vq_log_split_mark(q, chain->id);
}
