/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The log of a packed ring: vhost-user specification, "Inflight I/O tracking", QueueRegionPacked. Used
 * descriptors overwrite the ring, so a chain's descriptors are kept here: as many entries as it takes
 * in the ring, from the free list. free_head and old_free_head move to behind a chain in one store:
 * until then its entries are free, whatever they hold.
 */
#include "inflight_private.h"

#include <vmm/base/error.h>

enum { DESC_BOTH = VQ_DESC_AVAIL | VQ_DESC_USED };
enum { SEEN_NOT, SEEN_FREE, SEEN_CHAIN };

static inline void store_head(const struct vq_log *log, uint16_t old_free_head)
{
    vq_log_store(log, VQ_LOG_HEAD,
                 vq_log_quad(VQ_LOG_VERSION, log->desc_num, log->head, old_free_head));
}

static inline void store_entry(const struct vq_log *log, uint16_t at, bool inflight)
{
    const struct vq_log_entry *e = &log->entry[at];

    vq_log_store(log, vq_log_packed_at(at),
                 vq_log_quad(vq_log_pair(inflight, 0), e->next, e->last, e->num));
}

/* The whole word: index and wrap counter, old and new, are never seen half changed. */
static inline void store_used(struct vq_log *log, const struct vq *q, bool done)
{
    log->used.idx = q->next_used;
    log->used.wrap = q->used_wrap;
    if (done) {
        log->used.old_idx = q->next_used;
        log->used.old_wrap = q->used_wrap;
    }
    vq_log_store(log, VQ_LOG_USED,
                 vq_log_quad(log->used.idx, log->used.old_idx,
                             vq_log_pair(log->used.wrap, log->used.old_wrap), 0));
}

void vq_log_packed_init(struct vq *q)
{
    struct vq_log *log = q->log;

    for (uint16_t at = 0; at < log->desc_num; at++) {
        log->entry[at].next = (uint16_t)(at + 1);
        store_entry(log, at, false);
    }
    log->free = log->desc_num;
    log->head = 0;
    log->used.word = 0;
    store_used(log, q, true);
    store_head(log, 0);
}

static struct vq_word load_flags(struct vq *q, uint16_t at)
{
    return vq_load64(q, q->desc_host, q->desc, (uint64_t)at * VQ_DESC_BYTES + 8);
}

static uint64_t ring_flags(uint64_t word)
{
    return word >> 48 & DESC_BOTH;
}

/* AVAIL and USED as the driver sets them in the round with that wrap counter (VIRTIO 1.2, 2.8.1). */
static uint64_t avail_flags(bool wrap)
{
    return wrap ? VQ_DESC_AVAIL : VQ_DESC_USED;
}

/*
 * The last batch took place or it did not: used index and free list are the new ones or the old ones.
 * Its first descriptor, which is stored last, says which. Two things the specification's text does not
 * see: a batch that fills the ring moves the wrap counter alone; and others store the old index before
 * the old wrap counter, which then belong to different rounds: the free list tells these two apart.
 */
static bool is_published(union vq_log_head head, union vq_log_used used, uint64_t word)
{
    if (used.idx == used.old_idx && head.head == head.tail)
        return true;
    return ring_flags(word) != avail_flags(used.old_wrap);
}

static int decide(struct vq *q, union vq_log_head *head, union vq_log_used *used, bool *ret_forward)
{
    struct vq_word word;

    if (used->idx >= q->size || used->old_idx >= q->size || used->wrap > 1 || used->old_wrap > 1)
        return vm_fail(-EPROTO, "queue: in-flight log: used index %u/%u or %u/%u in a ring of %u",
                       used->idx, used->wrap, used->old_idx, used->old_wrap, q->size);
    *ret_forward = false;
    if (used->idx != used->old_idx || used->wrap != used->old_wrap) {
        word = load_flags(q, used->old_idx);
        if (word.rc)
            return vm_fail(-EINVAL, "queue: the ring at 0x%llx cannot be read",
                           (unsigned long long)q->desc);
        *ret_forward = is_published(*head, *used, word.v);
    }
    if (*ret_forward) {
        head->tail = head->head;
        used->old_idx = used->idx;
        used->old_wrap = used->wrap;
    }
    head->head = head->tail;
    used->idx = used->old_idx;
    used->wrap = used->old_wrap;
    return 0;
}

static void copy(struct vq_log *log)
{
    union vq_log_packed e;

    for (uint16_t at = 0; at < log->desc_num; at++) {
        e.word = vq_log_load(log, vq_log_packed_at(at));
        log->entry[at].next = e.next;
        log->entry[at].last = e.last;
        log->entry[at].num = e.num;
        log->entry[at].inflight = e.inflight;
    }
}

/* An index outside ends the list: others end it so, too. */
static int find_free(struct vq_log *log, uint16_t free_head)
{
    log->free = 0;
    log->head = free_head;
    for (uint16_t at = free_head; at < log->desc_num; at = log->entry[at].next) {
        if (log->entry[at].seen)
            return vm_fail(-EPROTO, "queue: in-flight log: the free list loops at %u", at);
        log->entry[at].seen = SEEN_FREE;
        log->free++;
    }
    return 0;
}

static int bad_chain(uint16_t head, const char *why, uint32_t value)
{
    return vm_fail(-EPROTO, "queue: in-flight log: chain at %u: %s (%u)", head, why, value);
}

static int find_chain(struct vq *q, uint16_t head)
{
    struct vq_log *log = q->log;
    uint16_t at = head, num = log->entry[head].num, last = head;
    union vq_log_desc first, id;

    if (log->entry[head].inflight > 1)
        return bad_chain(head, "it is neither in flight nor not", log->entry[head].inflight);
    if (!num || num > q->size - q->slots_out)
        return bad_chain(head, "wrong length", num);
    for (uint16_t n = 0; n < num; n++) {
        if (at >= log->desc_num || log->entry[at].seen)
            return bad_chain(head, "entry that is not its own", at);
        log->entry[at].seen = SEEN_CHAIN;
        last = at;
        at = log->entry[at].next;
    }
    if (log->entry[head].last != last)
        return bad_chain(head, "ends elsewhere", last);
    first.word = vq_log_load(log, vq_log_packed_at(head) + VQ_LOG_DESC);
    id.word = vq_log_load(log, vq_log_packed_at(last) + VQ_LOG_DESC);
    if (id.id >= q->size || q->taken[id.id])
        return bad_chain(head, "wrong buffer id", id.id);
    q->taken[id.id] = 1;
    q->slots_out = (uint16_t)(q->slots_out + num);
    log->entry[head].marked = (first.flags & DESC_BOTH) == DESC_BOTH;
    log->entry[id.id].head = head;
    vq_log_found(log, head, id.id, vq_log_load(log, vq_log_packed_at(head) + VQ_LOG_COUNTER));
    return 0;
}

static int find_chains(struct vq *q)
{
    struct vq_log *log = q->log;
    int rc = 0;

    for (uint16_t at = 0; !rc && at < log->desc_num; at++)
        if (log->entry[at].inflight && log->entry[at].seen == SEEN_NOT)
            rc = find_chain(q, at);
        else if (log->entry[at].inflight && log->entry[at].seen == SEEN_CHAIN)
            rc = bad_chain(at, "it lies in another chain", at);
    return rc;
}

/* Entries of nobody's are free, and what is free is not in flight. */
static void clean(struct vq_log *log)
{
    for (uint16_t at = 0; at < log->desc_num; at++) {
        if (log->entry[at].seen == SEEN_CHAIN)
            continue;
        if (log->entry[at].seen == SEEN_NOT) {
            log->entry[at].next = log->head;
            log->head = at;
            log->free++;
        }
        store_entry(log, at, false);
    }
}

/* A batch that was not published may already have written used descriptors behind its first one. The
 * driver would take them for its own chains once it gets there: they are made available again. */
static int heal_ring(struct vq *q)
{
    uint16_t at = q->next_used;
    bool wrap = q->used_wrap;
    struct vq_word word;

    for (uint16_t n = 0; n < q->slots_out; n++) {
        word = load_flags(q, at);
        if (!word.rc && ring_flags(word.v) == (wrap ? DESC_BOTH : 0)) {
            if (!n)
                return vm_fail(-EPROTO, "queue: in-flight log: it does not know of used entry %u",
                               at);
            word.v &= ~((uint64_t)DESC_BOTH << 48);
            word.v |= avail_flags(wrap) << 48;
            word.rc = vq_packed_store(q, at, word.v);
        }
        if (word.rc)
            return vm_fail(-EINVAL, "queue: the ring at 0x%llx cannot be used",
                           (unsigned long long)q->desc);
        vq_packed_advance(q, &at, &wrap, 1);
    }
    return 0;
}

int vq_log_packed_recover(struct vq *q, union vq_log_head head)
{
    struct vq_log *log = q->log;
    bool forward;
    int rc;

    log->used.word = vq_log_load(log, VQ_LOG_USED);
    rc = decide(q, &head, &log->used, &forward);
    if (rc)
        return rc;
    copy(log);
    q->slots_out = 0;
    rc = find_free(log, head.head);
    if (!rc)
        rc = find_chains(q);
    if (rc)
        return rc;
    q->next_used = q->next_avail = log->used.idx;
    q->used_wrap = q->avail_wrap = log->used.wrap;
    rc = heal_ring(q);
    if (rc)
        return rc;
    vq_packed_advance(q, &q->next_avail, &q->avail_wrap, q->slots_out);
    clean(log);
    /* Who dies between these two leaves what leads to the same decision. */
    if (forward)
        store_head(log, log->head);
    store_used(log, q, true);
    if (!forward)
        store_head(log, log->head);
    return 0;
}

static int replay_desc(struct vq *q, struct vq_chain *chain, struct vq_build *build, uint16_t at,
                       bool alone)
{
    const struct vq_log *log = q->log;
    uint64_t addr = vq_log_load(log, vq_log_packed_at(at) + VQ_LOG_ADDR);
    union vq_log_desc d = { .word = vq_log_load(log, vq_log_packed_at(at) + VQ_LOG_DESC) };

    if (!(d.flags & VQ_DESC_INDIRECT))
        return vq_build_add(q, build, addr, d.len, d.flags);
    if (!alone)
        return vq_refuse(q, "in-flight log: indirect descriptor in a list", at);
    vq_build_store(q, build, chain);
    return vq_chain_packed_table(q, chain, addr, d.len, d.flags);
}

int vq_log_packed_replay(struct vq *q, struct vq_chain *chain, uint16_t entry)
{
    const struct vq_log_entry *head = &q->log->entry[entry];
    struct vq_build build = { 0 };
    uint16_t at = entry;
    int rc;

    *chain = (struct vq_chain){ 0 };
    for (uint16_t n = 0; n < head->num; n++) {
        rc = replay_desc(q, chain, &build, at, head->num == 1);
        if (rc)
            return rc;
        at = q->log->entry[at].next;
    }
    if (build.n)
        vq_build_store(q, &build, chain);
    return 0;
}

/* One descriptor of a chain, as it stood in the ring. */
static inline void store_desc(const struct vq_log *log, uint16_t at, const struct vq_buf *buf,
                              uint16_t id, uint16_t flags)
{
    uint64_t word = (uint64_t)id << 48 | (uint64_t)flags << 32 | buf->len;

    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        word = id | (uint64_t)flags << 16 | (uint64_t)buf->len << 32;
    vq_log_store(log, vq_log_packed_at(at) + VQ_LOG_ADDR, buf->addr);
    vq_log_store(log, vq_log_packed_at(at) + VQ_LOG_DESC, word);
}

/* From what was copied out of the ring: it is not read again. Returns the entry behind the last. */
static inline uint16_t store_descs(const struct vq *q, const struct vq_chain *chain,
                                   const struct vq_first *first, uint16_t *ret_last)
{
    const struct vq_log *log = q->log;
    uint16_t flags = (uint16_t)(first->word >> 48), at = log->head, write;
    const struct vq_buf table = { first->addr, (uint32_t)first->word };

    if (flags & VQ_DESC_INDIRECT) {
        store_desc(log, at, &table, chain->id, flags);
        *ret_last = at;
        return log->entry[at].next;
    }
    for (uint16_t n = 0; n < chain->slots; n++) {
        write = n >= chain->readable ? VQ_DESC_WRITE : 0;
        flags = (uint16_t)((flags & DESC_BOTH) | write);
        if (n + 1 < chain->slots)
            flags |= VQ_DESC_NEXT;
        store_desc(log, at, &chain->buf[n], chain->id, flags);
        *ret_last = at;
        at = log->entry[at].next;
    }
    return at;
}

int vq_log_packed_take(struct vq *q, struct vq_chain *chain)
{
    struct vq_log *log = q->log;
    uint16_t head = log->head, next, last = head;
    struct vq_first first;
    int rc;

    rc = vq_packed_next_logged(q, chain, &first);
    if (rc <= 0)
        return rc;
    if (chain->slots > log->free) /* what was put is not published yet: no honest driver knows it */
        return vq_refuse(q, "more is in flight than the ring holds", chain->slots);
    next = store_descs(q, chain, &first, &last);
    log->entry[chain->id].head = head;
    log->entry[head].last = last;
    log->entry[head].num = chain->slots;
    vq_log_store(log, vq_log_packed_at(head) + VQ_LOG_COUNTER, vq_log_count(log));
    store_entry(log, head, true);
    log->head = next;
    log->free = (uint16_t)(log->free - chain->slots);
    store_head(log, next);
    return rc;
}

/* Its entries go to the front of the free list; the region's head does not know yet. */
static void release(struct vq_log *log, uint16_t head)
{
    uint16_t last = log->entry[head].last;

    log->entry[last].next = log->head;
    store_entry(log, last, last == head);
    log->head = head;
    log->free = (uint16_t)(log->free + log->entry[head].num);
}

void vq_log_packed_undo(struct vq *q, uint16_t id)
{
    struct vq_log *log = q->log;
    uint16_t head = log->entry[id].head;

    release(log, head);
    store_head(log, head);
    store_entry(log, head, false);
}

void vq_log_packed_before(struct vq *q)
{
    struct vq_log *log = q->log;
    uint16_t old = log->head, head = log->batch_head;

    for (uint32_t n = log->batch; n; n--) {
        release(log, head);
        head = log->entry[head].link;
    }
    store_head(log, old);
    store_used(log, q, false);
}

void vq_log_packed_after(struct vq *q)
{
    struct vq_log *log = q->log;
    uint16_t head = log->batch_head;

    for (uint32_t n = log->batch; n; n--) {
        store_entry(log, head, false);
        head = log->entry[head].link;
    }
    store_head(log, log->head);
    store_used(log, q, true);
}

/* What is read goes back, unlooked at. */
void vq_log_packed_mark(struct vq *q, uint16_t id)
{
    const struct vq_log *log = q->log;
    size_t at = vq_log_packed_at(log->entry[id].head) + VQ_LOG_DESC;
    union vq_log_desc d = { .word = vq_log_load(log, at) };

    d.flags |= DESC_BOTH;
    vq_log_store(log, at, d.word);
}
