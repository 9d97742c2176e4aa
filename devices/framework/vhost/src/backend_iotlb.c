/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Addresses of a driver behind an IOMMU (VIRTIO_F_ACCESS_PLATFORM; "IOMMU support"): what the front end has told of them
 * (IOTLB_MSG), and what it is asked for (BACKEND_IOTLB_MSG).
 *
 * Nobody waits. A view that does not know an address notes it here and says so (gm_iommu); the queue leaves the chain in the ring, or
 * the ring is not started, the question goes out, and whatever the front end then tells has all rings looked at again. Of what a
 * device has taken out of a ring all buffers are known: they are looked up when it takes it. So nothing is forgotten while a request is
 * in flight, and an INVALIDATE is answered when none is.
 *
 * Under the device's lock, which is the view's.
 */
#include "backend_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    IOTLB_MISS = 1,
    IOTLB_UPDATE,
    IOTLB_INVALIDATE,
    IOTLB_ENTRIES_MAX = 1 << 16, /* then all are forgotten, and asked for again */
};

static struct vhost_iotlb_cache *cache_of(struct vhost_backend *b)
{
    return &b->iotlb;
}

bool vhost_backend_iotlb_on(const struct vhost_backend *b)
{
    return b->features & VIRTIO_FEATURE_ACCESS_PLATFORM;
}

/* ---- what is known: ranges in order, none overlaps another ---- */

/* The first range that does not end before iova. */
static size_t find(const struct vhost_iotlb_cache *c, uint64_t iova)
{
    size_t low = 0, high = c->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->entry[mid].last < iova)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Room for one more at `at`. */
static int open_gap(struct vhost_iotlb_cache *c, size_t at)
{
    if (c->count == c->room) {
        size_t room = c->room ? c->room * 2 : 64;
        struct vhost_iotlb_entry *entry = realloc(c->entry, room * sizeof(*entry));

        if (!entry)
            return -ENOMEM;
        c->entry = entry;
        c->room = room;
    }
    memmove(c->entry + at + 1, c->entry + at, (c->count - at) * sizeof(*c->entry));
    c->count++;
    return 0;
}

static void close_gap(struct vhost_iotlb_cache *c, size_t at)
{
    memmove(c->entry + at, c->entry + at + 1, (--c->count - at) * sizeof(*c->entry));
}

/* Of a range that [from, to] lies within, the part behind it. */
static int split_behind(struct vhost_iotlb_cache *c, size_t at, uint64_t to)
{
    struct vhost_iotlb_entry rest = c->entry[at];
    int rc;

    if (rest.last <= to)
        return 0;
    rest.gpa += to + 1 - rest.iova;
    rest.iova = to + 1;
    rc = open_gap(c, at + 1);
    if (!rc)
        c->entry[at + 1] = rest;
    return rc;
}

/* Nothing of [from, to] is known any more. Where there is no memory for what is left, more is forgotten. */
static void forget(struct vhost_iotlb_cache *c, uint64_t from, uint64_t to)
{
    size_t at = find(c, from);

    if (at < c->count && c->entry[at].iova < from) {
        (void)split_behind(c, at, to);
        c->entry[at].last = from - 1;
        at++;
    }
    while (at < c->count && c->entry[at].iova <= to) {
        (void)split_behind(c, at, to);
        close_gap(c, at);
    }
    /* release: pairs with gm_view_stamp() */
    __atomic_fetch_add(&c->iommu.generation, 1, __ATOMIC_RELEASE);
}

static int learn(struct vhost_iotlb_cache *c, const struct vhost_iotlb_entry *e)
{
    size_t at;
    int rc;

    forget(c, e->iova, e->last);
    at = find(c, e->iova);
    rc = open_gap(c, at);
    if (!rc)
        c->entry[at] = *e;
    return rc;
}

/* ---- what is asked ---- */

static struct vhost_iotlb_miss *find_miss(struct vhost_iotlb_cache *c, uint64_t page,
                                          unsigned access)
{
    for (unsigned i = 0; i < c->misses; i++)
        if (c->miss[i].iova == page && c->miss[i].access == access)
            return &c->miss[i];
    return NULL;
}

static void drop_miss(struct vhost_iotlb_cache *c, const struct vhost_iotlb_miss *m)
{
    c->miss[m - c->miss] = c->miss[--c->misses];
}

/* -EAGAIN: it is asked for; -EFAULT: it was, and there is no such address. */
static int missing(struct vhost_iotlb_cache *c, uint64_t iova, unsigned access)
{
    uint64_t page = iova & ~(uint64_t)(GM_PAGE_BYTES - 1);
    struct vhost_iotlb_miss *m = find_miss(c, page, access);

    if (m && m->refused) {
        drop_miss(c, m);
        return -EFAULT;
    }
    if (!m && c->misses < VHOST_IOTLB_MISSES) {
        c->miss[c->misses++] = (struct vhost_iotlb_miss){ page, (uint8_t)access, false, false };
        vhost_backend_notify_soon(container_of(c, struct vhost_backend, iotlb));
    }
    return -EAGAIN;
}

static int translate(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    struct vhost_iotlb_cache *c = ctx;
    const struct vhost_iotlb_entry *e;
    size_t at = find(c, iova);

    if (at == c->count || c->entry[at].iova > iova || (c->entry[at].access & access) != access)
        return missing(c, iova, access);
    e = &c->entry[at];
    *ret_gpa = e->gpa + (iova - e->iova);
    if (*ret_len > e->last - iova)
        *ret_len = e->last - iova + 1;
    return 0;
}

bool vhost_backend_iotlb_ask(struct vhost_backend *b, struct vhost_iotlb *ret_question)
{
    struct vhost_iotlb_cache *c = cache_of(b);

    for (unsigned i = 0; i < c->misses; i++) {
        struct vhost_iotlb_miss *m = &c->miss[i];

        if (m->asked)
            continue;
        m->asked = true;
        c->question = *m;
        *ret_question = (struct vhost_iotlb){
            .iova = m->iova, .size = GM_PAGE_BYTES, .permissions = m->access, .type = IOTLB_MISS
        };
        return true;
    }
    return false;
}

/* Rings that wait for an address are looked at again. */
static void look_again(struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (b->ring[n].active)
            virtio_queue_kick(b->dev, n);
}

void vhost_backend_iotlb_answered(struct vhost_backend *b, bool refused)
{
    struct vhost_iotlb_cache *c = cache_of(b);
    struct vhost_iotlb_miss *m = find_miss(c, c->question.iova, c->question.access);

    if (!m)
        return;
    if (!refused) { /* what was asked has come, or comes: on another socket */
        drop_miss(c, m);
        return;
    }
    m->refused = true;
    look_again(b);
}

void vhost_backend_iotlb_unasked(struct vhost_backend *b)
{
    for (unsigned i = 0; i < b->iotlb.misses; i++)
        b->iotlb.miss[i].asked = false;
}

/* ---- what the front end tells ---- */

static void clear(struct vhost_iotlb_cache *c)
{
    c->count = 0;
    c->misses = 0;
    __atomic_fetch_add(&c->iommu.generation, 1, __ATOMIC_RELEASE);
}

/* What was asked for a moment ago need not be asked: it is there, or the front end has heard it. */
static void drop_misses(struct vhost_iotlb_cache *c, const struct vhost_iotlb_entry *e)
{
    uint64_t from = e->iova & ~(uint64_t)(GM_PAGE_BYTES - 1);

    for (unsigned i = 0; i < c->misses;) {
        const struct vhost_iotlb_miss *m = &c->miss[i];

        if (m->iova >= from && m->iova <= e->last && (m->access & e->access) == m->access)
            drop_miss(c, m);
        else
            i++;
    }
}

static int finish(struct vhost_backend *b, int rc)
{
    struct vhost_message reply = { .request = VHOST_USER_IOTLB_MSG,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = sizeof(uint64_t) };

    if (rc)
        vm_log_limited(b->env, &b->complaints, VM_LOG_WARN, "%s: vhost-user: %s", b->dev->dev.id,
                       vm_error_text());
    reply.payload.u64 = rc ? 1 : 0;
    (void)vhost_channel_send(b->channel, &reply);
    return 0;
}

static int read_entry(const struct vhost_backend *b, const struct vhost_iotlb *i,
                      struct vhost_iotlb_entry *ret)
{
    if (!i->size || i->size - 1 > UINT64_MAX - i->iova)
        return vm_fail(-EINVAL, "IOTLB_MSG: %#llx bytes at %#llx", (unsigned long long)i->size,
                       (unsigned long long)i->iova);
    *ret = (struct vhost_iotlb_entry){ .iova = i->iova,
                                       .last = i->iova + (i->size - 1),
                                       .access = i->permissions };
    if (i->type == IOTLB_INVALIDATE)
        return 0;
    if (i->type != IOTLB_UPDATE || !i->permissions || i->permissions > (GM_READ | GM_WRITE))
        return vm_fail(-EINVAL, "IOTLB_MSG: type %u, permissions %u", i->type, i->permissions);
    if (!vhost_backend_range_to_guest(b, i->user_addr, i->size, &ret->gpa))
        return vm_fail(-EFAULT, "IOTLB_MSG: %#llx bytes at %#llx are in no memory region",
                       (unsigned long long)i->size, (unsigned long long)i->user_addr);
    return 0;
}

static void update(struct vhost_backend *b, const struct vhost_iotlb_entry *e, int *ret_rc)
{
    struct vhost_iotlb_cache *c = cache_of(b);

    vhost_backend_lock(b);
    *ret_rc = learn(c, e) ? vm_fail(-ENOMEM, "IOTLB_MSG: out of memory") : 0;
    if (!*ret_rc)
        drop_misses(c, e);
    look_again(b);
    vhost_backend_unlock(b);
}

static bool is_full(const struct vhost_iotlb_cache *c)
{
    return c->count + 2 > IOTLB_ENTRIES_MAX;
}

/* At rest. Rings look for their memory anew. */
static void update_at_rest(struct vhost_backend *b)
{
    const struct vhost_iotlb_entry e = b->iotlb.told;
    int rc;

    if (is_full(&b->iotlb))
        vhost_backend_iotlb_forget(b);
    update(b, &e, &rc);
    (void)finish(b, rc);
    vhost_backend_proceed(b);
}

/* At rest: what is in flight may be in that memory. */
static void invalidate(struct vhost_backend *b)
{
    vhost_backend_lock(b);
    forget(&b->iotlb, b->iotlb.told.iova, b->iotlb.told.last);
    vhost_backend_unlock(b);
    vhost_backend_rings_translate(b);
    (void)finish(b, 0);
    vhost_backend_proceed(b);
}

static bool in_flight(const struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (vq_in_flight(&b->dev->queue[n]))
            return true;
    return false;
}

/* Under the lock: whether a device may be using what changes. */
static bool must_rest(const struct vhost_backend *b, const struct vhost_iotlb_entry *e, bool learns)
{
    const struct vhost_iotlb_cache *c = &b->iotlb;
    size_t at = find(c, e->iova);

    if (learns && is_full(c))
        return true;
    if (at == c->count || c->entry[at].iova > e->last) /* nothing of it is known */
        return false;
    return in_flight(b) || vhost_backend_rings_touch(b, e->iova, e->last);
}

int vhost_backend_iotlb(struct vhost_backend *b, struct vhost_message *m)
{
    bool learns = m->payload.iotlb.type == IOTLB_UPDATE, rest;
    struct vhost_iotlb_entry e = { 0 };
    int rc = vhost_backend_iotlb_on(b)
                 ? read_entry(b, &m->payload.iotlb, &e)
                 : vm_fail(-EINVAL, "IOTLB_MSG: VIRTIO_F_ACCESS_PLATFORM was not negotiated");

    if (rc)
        return finish(b, rc);
    vhost_backend_lock(b);
    rest = must_rest(b, &e, learns);
    if (!rest && !learns)
        forget(&b->iotlb, e.iova, e.last);
    vhost_backend_unlock(b);
    if (!rest && learns)
        update(b, &e, &rc);
    if (!rest)
        return finish(b, rc);
    b->iotlb.told = e;
    vhost_backend_rest_then(b, learns ? update_at_rest : invalidate);
    return vhost_backend_later(b, m);
}

/* ---- with the session ---- */

void vhost_backend_iotlb_forget(struct vhost_backend *b)
{
    if (!vhost_backend_iotlb_on(b))
        return;
    vhost_backend_lock(b);
    clear(&b->iotlb);
    vhost_backend_unlock(b);
    vhost_backend_rings_translate(b);
}

void vhost_backend_iotlb_update(struct vhost_backend *b)
{
    const struct gm_iommu *want = vhost_backend_iotlb_on(b) ? &b->iotlb.iommu : NULL;

    vhost_backend_lock(b);
    b->iotlb.iommu.translate = translate;
    b->iotlb.iommu.ctx = &b->iotlb;
    if (b->dev->view.iommu != want) {
        clear(&b->iotlb);
        gm_view_set_iommu(&b->dev->view, want);
    }
    vhost_backend_unlock(b);
}

void vhost_backend_iotlb_free(struct vhost_backend *b)
{
    free(b->iotlb.entry);
    b->iotlb.entry = NULL;
    b->iotlb.count = b->iotlb.room = 0;
}
