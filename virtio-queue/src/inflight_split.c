/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The log of a split ring: vhost-user specification, "Inflight I/O tracking", QueueRegionSplit. An
 * entry belongs to the descriptor of the same number. */
#include "inflight_private.h"

#include <vmm/base/error.h>

enum { MARKED = 0x80 };

static inline void store_head(const struct vq *q, uint16_t used_idx)
{
    const struct vq_log *log = q->log;

    vq_log_store(log, VQ_LOG_HEAD, vq_log_quad(VQ_LOG_VERSION, log->desc_num, log->head, used_idx));
}

static uint64_t load_counter(const struct vq_log *log, uint16_t id)
{
    return vq_log_load(log, vq_log_split_at(id) + VQ_LOG_COUNTER);
}

/* 39 bits of the counter and the one that says that there is a mark. */
static void set_mark(union vq_log_split *e, uint64_t counter)
{
    e->mark = (uint8_t)(MARKED | (counter >> 32 & 0x7f));
    e->tag[0] = (uint16_t)counter;
    e->tag[1] = (uint16_t)(counter >> 16);
}

static bool has_mark(union vq_log_split e, uint64_t counter)
{
    union vq_log_split wanted = e;

    set_mark(&wanted, counter);
    return e.word == wanted.word;
}

static inline void store_entry(const struct vq_log *log, uint16_t id, bool inflight)
{
    union vq_log_split e = { .inflight = inflight, .next = log->entry[id].next };

    if (VQ_LIKELY(!inflight || !log->entry[id].marked))
        e.word = vq_log_quad(vq_log_pair(inflight, 0), 0, 0, log->entry[id].next);
    else
        set_mark(&e, load_counter(log, id));
    vq_log_store(log, vq_log_split_at(id), e.word);
}

void vq_log_split_init(struct vq *q)
{
    q->log->head = 0;
    store_head(q, q->next_used);
}

/* The private copy of all entries; what is not in flight loses its mark, so that nobody's later chain
 * finds it. */
static int copy(struct vq_log *log)
{
    union vq_log_split e;
    uint64_t counter;

    for (uint16_t id = 0; id < log->desc_num; id++) {
        e.word = vq_log_load(log, vq_log_split_at(id));
        if (e.inflight > 1)
            return vm_fail(-EPROTO, "queue: in-flight log: entry %u says %u", id, e.inflight);
        counter = load_counter(log, id);
        log->entry[id].next = e.next;
        log->entry[id].inflight = e.inflight;
        log->entry[id].marked = has_mark(e, counter);
        if (!e.inflight && (e.mark || e.tag[0] || e.tag[1]))
            store_entry(log, id, false);
    }
    return 0;
}

static bool any_inflight(const struct vq_log *log)
{
    for (uint16_t id = 0; id < log->desc_num; id++)
        if (log->entry[id].inflight)
            return true;
    return false;
}

/* So many of the last batch were in the used ring when the log was not told so any more. */
static int commit(struct vq_log *log, uint16_t size, uint16_t count)
{
    uint16_t id = log->head;

    if (count > size && !any_inflight(log))
        return 0; /* the ring began anew with nothing in flight */
    if (count > size)
        return vm_fail(-EPROTO, "queue: in-flight log: a batch of %u chains in a ring of %u", count,
                       size);
    for (; count; count--) {
        if (id >= size)
            return vm_fail(-EPROTO, "queue: in-flight log: last batch holds descriptor %u of %u",
                           id, size);
        log->entry[id].inflight = 0;
        store_entry(log, id, false);
        id = log->entry[id].next;
    }
    return 0;
}

static int find(struct vq *q)
{
    struct vq_log *log = q->log;

    for (uint16_t id = 0; id < log->desc_num; id++) {
        if (!log->entry[id].inflight)
            continue;
        if (id >= q->size)
            return vm_fail(-EPROTO, "queue: in-flight log: descriptor %u of %u is in flight", id,
                           q->size);
        q->taken[id] = 1;
        vq_log_found(log, id, id, load_counter(log, id));
    }
    return 0;
}

int vq_log_split_recover(struct vq *q, union vq_log_head head)
{
    struct vq_word used = vq_split_used_idx(q);
    struct vq_log *log = q->log;
    int rc;

    if (used.rc)
        return vm_fail(-EINVAL, "queue: the used ring at 0x%llx cannot be read",
                       (unsigned long long)q->device);
    log->head = head.head;
    rc = copy(log);
    if (!rc)
        rc = commit(log, q->size, (uint16_t)((int)used.v - head.tail));
    if (!rc)
        rc = find(q);
    if (rc)
        return rc;
    if (log->head >= log->desc_num) /* nobody follows it, but it becomes a link */
        log->head = 0;
    store_head(q, (uint16_t)used.v);
    q->next_used = (uint16_t)used.v;
    q->next_avail = (uint16_t)((uint32_t)used.v + log->replays);
    return 0;
}

int vq_log_split_replay(struct vq *q, struct vq_chain *chain, uint16_t id)
{
    return vq_split_walk(q, chain, id);
}

int vq_log_split_take(struct vq *q, struct vq_chain *chain)
{
    struct vq_log *log = q->log;
    int rc = vq_split_next(q, chain);

    if (rc <= 0)
        return rc;
    log->entry[chain->id].marked = false;
    vq_log_store(log, vq_log_split_at(chain->id) + VQ_LOG_COUNTER, vq_log_count(log));
    store_entry(log, chain->id, true);
    return rc;
}

void vq_log_split_undo(struct vq *q, uint16_t id)
{
    store_entry(q->log, id, false);
}

void vq_log_split_before(struct vq *q)
{
    struct vq_log *log = q->log;
    uint16_t id = log->batch_head, used = (uint16_t)(q->next_used - log->batch);

    for (uint32_t n = log->batch; n; n--) {
        log->entry[id].next = log->head;
        log->head = id;
        store_entry(log, id, true);
        id = log->entry[id].link;
    }
    store_head(q, used);
}

void vq_log_split_after(struct vq *q)
{
    struct vq_log *log = q->log;
    uint16_t id = log->batch_head;

    for (uint32_t n = log->batch; n; n--) {
        store_entry(log, id, false);
        id = log->entry[id].link;
    }
    store_head(q, q->next_used);
}

void vq_log_split_mark(struct vq *q, uint16_t id)
{
    q->log->entry[id].marked = true;
    store_entry(q->log, id, true);
}
