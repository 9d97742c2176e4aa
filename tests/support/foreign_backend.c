/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Somebody else's back end and its in-flight log. */
#include "foreign_backend.h"

#include <stdlib.h>

enum {
    NEXT = 1,
    WRITE = 2,
    INDIRECT = 4,
    AVAIL = 1 << 7,
    USED = 1 << 15,
    BOTH = AVAIL | USED,
};

/* The fields of the specification. */
struct state_split {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;
    uint64_t counter;
};

struct region_split {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct state_split desc[];
};

struct state_packed {
    uint8_t inflight;
    uint8_t padding;
    uint16_t next;
    uint16_t last;
    uint16_t num;
    uint64_t counter;
    uint16_t id;
    uint16_t flags;
    uint32_t len;
    uint64_t addr;
};

struct region_packed {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t free_head;
    uint16_t old_free_head;
    uint16_t used_idx;
    uint16_t old_used_idx;
    uint8_t used_wrap_counter;
    uint8_t old_used_wrap_counter;
    uint8_t padding[7];
    struct state_packed desc[];
};

struct ring_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t a, b; /* split: flags, next; packed: id, flags */
};

struct used_elem {
    uint32_t id, len;
};

/* Every store of ring or region: the dead do not store. */
#define STORE(f, lvalue, value)                                            \
    do {                                                                   \
        if ((f)->life) {                                                   \
            (f)->life--;                                                   \
            (lvalue) = (__typeof__(lvalue))(value);                        \
            __atomic_signal_fence(__ATOMIC_SEQ_CST); /* as written here */ \
        }                                                                  \
    } while (0)

static struct region_split *split_region(const struct foreign_backend *f)
{
    return (void *)f->region;
}

static struct region_packed *packed_region(const struct foreign_backend *f)
{
    return (void *)f->region;
}

static struct ring_desc *ring(const struct foreign_backend *f)
{
    return (void *)(f->host + f->desc);
}

static uint16_t *avail_ring(const struct foreign_backend *f)
{
    return (void *)(f->host + f->driver);
}

static uint16_t *used_idx(const struct foreign_backend *f)
{
    return (void *)(f->host + f->device + 2);
}

static struct used_elem *used_ring(const struct foreign_backend *f)
{
    return (void *)(f->host + f->device + 4);
}

void foreign_init(struct foreign_backend *f)
{
    struct region_packed *p = packed_region(f);

    f->avail_wrap = f->used_wrap = true;
    if (!f->packed) {
        STORE(f, split_region(f)->desc_num, f->size);
        STORE(f, split_region(f)->version, 1);
        return;
    }
    STORE(f, p->used_wrap_counter, 1);
    STORE(f, p->old_used_wrap_counter, 1);
    for (uint16_t i = 0; i < f->size; i++)
        STORE(f, p->desc[i].next, i + 1);
    STORE(f, p->desc_num, f->size);
    STORE(f, p->version, 1);
}

static void advance(const struct foreign_backend *f, uint16_t *at, bool *wrap, uint16_t slots)
{
    *at = (uint16_t)(*at + slots);
    if (*at >= f->size) {
        *at = (uint16_t)(*at - f->size);
        *wrap = !*wrap;
    }
}

static void note_buf(struct foreign_chain *c, uint64_t addr, uint32_t len, bool write)
{
    if (!write && !c->in)
        c->in = addr;
    if (write) {
        c->out = addr;
        c->out_bytes = len;
    }
}

/* A table of n entries: split ones are linked, here one after the other. */
static void note_table(const struct foreign_backend *f, struct foreign_chain *c, uint64_t addr,
                       uint32_t bytes)
{
    const struct ring_desc *d = (const void *)(f->host + addr);

    for (uint32_t i = 0; i < bytes / sizeof(*d); i++)
        note_buf(c, d[i].addr, d[i].len, (f->packed ? d[i].b : d[i].a) & WRITE);
}

static void note_desc(const struct foreign_backend *f, struct foreign_chain *c, uint64_t addr,
                      uint32_t len, uint16_t flags)
{
    if (flags & INDIRECT)
        note_table(f, c, addr, len);
    else
        note_buf(c, addr, len, flags & WRITE);
}

static void walk_split(const struct foreign_backend *f, struct foreign_chain *c)
{
    const struct ring_desc *d = &ring(f)[c->id];

    for (;; d = &ring(f)[d->b]) {
        note_desc(f, c, d->addr, d->len, d->a);
        if (!(d->a & NEXT))
            break;
    }
}

static bool take_split(struct foreign_backend *f, struct foreign_chain *c)
{
    struct region_split *r = split_region(f);

    if (avail_ring(f)[1] == f->next_avail)
        return false;
    c->id = c->entry = avail_ring(f)[2 + f->next_avail % f->size];
    c->slots = 1;
    f->next_avail++;
    STORE(f, r->desc[c->id].counter, f->counter);
    f->counter++;
    STORE(f, r->desc[c->id].inflight, 1);
    walk_split(f, c);
    return true;
}

static bool take_packed(struct foreign_backend *f, struct foreign_chain *c)
{
    const struct ring_desc *d = &ring(f)[f->next_avail];
    struct region_packed *r = packed_region(f);
    uint16_t head = r->old_free_head, at;

    if ((d->b & BOTH) != (f->avail_wrap ? AVAIL : USED))
        return false;
    c->entry = head;
    for (bool first = true;; first = false) {
        d = &ring(f)[f->next_avail];
        if (first) {
            STORE(f, r->desc[head].num, 0);
            STORE(f, r->desc[head].counter, f->counter);
            f->counter++;
            STORE(f, r->desc[head].inflight, 1);
        }
        at = r->free_head;
        if (!(d->b & NEXT))
            STORE(f, r->desc[head].last, at);
        STORE(f, r->desc[head].num, r->desc[head].num + 1);
        STORE(f, r->desc[at].addr, d->addr);
        STORE(f, r->desc[at].len, d->len);
        STORE(f, r->desc[at].flags, d->b);
        STORE(f, r->desc[at].id, d->a);
        STORE(f, r->free_head, r->desc[at].next);
        note_desc(f, c, d->addr, d->len, d->b);
        c->slots++;
        c->id = d->a;
        advance(f, &f->next_avail, &f->avail_wrap, 1);
        if (!(d->b & NEXT))
            break;
        if (!f->life) /* nothing it reads back is true any more */
            break;
    }
    STORE(f, r->old_free_head, r->free_head);
    return true;
}

bool foreign_take(struct foreign_backend *f, struct foreign_chain *ret_chain)
{
    *ret_chain = (struct foreign_chain){ 0 };
    if (!f->life)
        return false;
    return f->packed ? take_packed(f, ret_chain) : take_split(f, ret_chain);
}

static void put_split(struct foreign_backend *f, const struct foreign_chain *c)
{
    struct region_split *r = split_region(f);
    struct used_elem *e = &used_ring(f)[f->next_used % f->size];

    STORE(f, e->id, c->id);
    STORE(f, e->len, c->out_bytes);
    f->next_used++;
    STORE(f, r->desc[c->id].next, r->last_batch_head);
    STORE(f, r->last_batch_head, c->id);
    f->batched[f->batch++] = c->id;
}

/* The first one's flags are written by foreign_publish(). */
static void put_packed(struct foreign_backend *f, const struct foreign_chain *c)
{
    struct region_packed *r = packed_region(f);
    struct ring_desc *d = &ring(f)[f->next_used];
    uint16_t flags = (uint16_t)((f->used_wrap ? BOTH : 0) | (c->out_bytes ? WRITE : 0));

    STORE(f, d->a, c->id);
    STORE(f, d->len, c->out_bytes);
    if (f->batch) {
        STORE(f, d->b, flags);
    } else {
        f->first_at = f->next_used;
        f->first_flags = flags;
        f->put_slots = 0;
    }
    advance(f, &f->next_used, &f->used_wrap, c->slots);
    f->put_slots += c->slots;
    STORE(f, r->desc[r->desc[c->entry].last].next, r->free_head);
    STORE(f, r->free_head, c->entry);
    f->batched[f->batch++] = c->entry;
}

void foreign_put(struct foreign_backend *f, const struct foreign_chain *chain)
{
    if (!f->life)
        return;
    if (f->packed)
        put_packed(f, chain);
    else
        put_split(f, chain);
}

static void publish_split(struct foreign_backend *f)
{
    struct region_split *r = split_region(f);

    STORE(f, *used_idx(f), f->next_used);
    for (uint16_t i = 0; i < f->batch; i++)
        STORE(f, r->desc[f->batched[i]].inflight, 0);
    STORE(f, r->used_idx, f->next_used);
}

static void publish_packed(struct foreign_backend *f)
{
    struct region_packed *r = packed_region(f);

    STORE(f, r->used_wrap_counter, f->used_wrap);
    STORE(f, r->used_idx, f->next_used);
    STORE(f, ring(f)[f->first_at].b, f->first_flags);
    for (uint16_t i = 0; i < f->batch; i++)
        STORE(f, r->desc[f->batched[i]].inflight, 0);
    STORE(f, r->old_free_head, r->free_head);
    STORE(f, r->old_used_idx, f->next_used);
    STORE(f, r->old_used_wrap_counter, f->used_wrap);
}

void foreign_publish(struct foreign_backend *f)
{
    if (!f->life || !f->batch)
        return;
    if (f->packed)
        publish_packed(f);
    else
        publish_split(f);
    f->batch = 0;
}

struct found {
    uint64_t counter;
    uint16_t entry;
};

static int by_counter(const void *a, const void *b)
{
    const struct found *fa = a, *fb = b;

    return fa->counter < fb->counter ? -1 : fa->counter > fb->counter;
}

static void recover_split(struct foreign_backend *f)
{
    struct region_split *r = split_region(f);
    uint16_t used = *used_idx(f), n = (uint16_t)(used - r->used_idx), at = r->last_batch_head;

    for (; n; n--) {
        STORE(f, r->desc[at].inflight, 0);
        at = r->desc[at].next;
    }
    STORE(f, r->used_idx, used);
    f->next_used = used;
}

static void recover_packed(struct foreign_backend *f)
{
    struct region_packed *r = packed_region(f);
    uint16_t flags, at;

    if (r->used_idx != r->old_used_idx) {
        flags = ring(f)[r->old_used_idx].b & BOTH;
        if (flags != (r->old_used_wrap_counter ? AVAIL : USED)) {
            STORE(f, r->old_free_head, r->free_head);
            STORE(f, r->old_used_idx, r->used_idx);
            STORE(f, r->old_used_wrap_counter, r->used_wrap_counter);
        }
    }
    STORE(f, r->free_head, r->old_free_head);
    STORE(f, r->used_idx, r->old_used_idx);
    STORE(f, r->used_wrap_counter, r->old_used_wrap_counter);
    at = r->free_head;
    for (uint16_t n = 0; n < f->size && at < f->size; n++) {
        STORE(f, r->desc[at].inflight, 0);
        at = r->desc[at].next;
    }
    f->next_used = r->used_idx;
    f->used_wrap = r->used_wrap_counter;
}

static struct foreign_chain again(const struct foreign_backend *f, uint16_t entry)
{
    const struct region_packed *r = packed_region(f);
    struct foreign_chain c = { .entry = entry, .id = entry, .slots = 1 };
    uint16_t at = entry;

    if (!f->packed) {
        walk_split(f, &c);
        return c;
    }
    c.slots = r->desc[entry].num;
    for (uint16_t n = 0; n < c.slots; n++) {
        note_desc(f, &c, r->desc[at].addr, r->desc[at].len, r->desc[at].flags);
        c.id = r->desc[at].id;
        at = r->desc[at].next;
    }
    return c;
}

size_t foreign_recover(struct foreign_backend *f, struct foreign_chain *ret_chain)
{
    struct found found[FOREIGN_CHAINS_MAX] = { 0 };
    size_t n = 0;

    if (f->packed)
        recover_packed(f);
    else
        recover_split(f);
    for (uint16_t i = 0; i < f->size && n < FOREIGN_CHAINS_MAX; i++)
        if (f->packed ? packed_region(f)->desc[i].inflight : split_region(f)->desc[i].inflight) {
            found[n].entry = i;
            found[n++].counter =
                f->packed ? packed_region(f)->desc[i].counter : split_region(f)->desc[i].counter;
        }
    qsort(found, n, sizeof(found[0]), by_counter);
    f->counter = n ? found[n - 1].counter + 1 : 0;
    f->next_avail = f->next_used;
    f->avail_wrap = f->used_wrap;
    f->batch = 0;
    for (size_t i = 0; i < n; i++) {
        ret_chain[i] = again(f, found[i].entry);
        if (f->packed)
            advance(f, &f->next_avail, &f->avail_wrap, ret_chain[i].slots);
        else
            f->next_avail++;
    }
    return n;
}

size_t foreign_free(const struct foreign_backend *f)
{
    const struct region_packed *r = packed_region(f);
    size_t n = 0;

    for (uint16_t at = r->free_head; at < f->size && n <= f->size; at = r->desc[at].next)
        n++;
    return n;
}
