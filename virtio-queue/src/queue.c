/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A virtqueue's life, and what both ring formats share: VIRTIO 1.2, 2.6 to 2.8. */
#include "inflight_private.h"

#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

int vq_init(struct vq *q, struct gm_view *view, uint16_t size_max)
{
    assert(vm_is_pow2(size_max) && size_max <= VQ_SIZE_MAX);
    *q = (struct vq){ .view = view, .size_max = size_max, .gate = true };
    /* Not cleared: a page that no chain needs is never touched. */
    q->scratch = malloc(VQ_CHAIN_MAX * sizeof(*q->scratch));
    q->held = malloc(size_max * sizeof(*q->held));
    q->held_valid = calloc(size_max, sizeof(*q->held_valid));
    q->taken = calloc(size_max, sizeof(*q->taken));
    if (!q->scratch || !q->held || !q->held_valid || !q->taken) {
        vq_exit(q);
        return -ENOMEM;
    }
    vq_reset(q);
    return 0;
}

void vq_exit(struct vq *q)
{
    free(q->scratch);
    free(q->held);
    free(q->held_valid);
    free(q->taken);
    vq_log_free(q->log);
    *q = (struct vq){ .gate = true };
}

void vq_reset(struct vq *q)
{
    if (q->log)
        vq_log_forget(q->log);
    *q = (struct vq){
        .view = q->view,
        .size = q->size_max,
        .size_max = q->size_max,
        .gate = true,
        .avail_wrap = true, /* 2.8.1 */
        .used_wrap = true,
        .scratch = q->scratch,
        .held = q->held,
        .held_valid = q->held_valid,
        .taken = q->taken,
        .log = q->log,
    };
    memset(q->held_valid, 0, q->size_max);
    memset(q->taken, 0, q->size_max);
}

__attribute__((cold, noinline)) int vq_break(struct vq *q, const char *why, uint32_t value)
{
    if (!q->broken) {
        q->broken = true;
        q->gate = true;
        q->why = why;
        q->why_value = value;
    }
    return -EPROTO;
}

__attribute__((cold, noinline)) struct vq_word vq_view_load(struct vq *q, gpa_t gpa, unsigned bytes)
{
    struct vq_word w = { 0 };
    uint32_t v32 = 0;
    uint16_t v16 = 0;

    switch (bytes) {
    case 2:
        w.rc = gm_load16(q->view, gpa, &v16);
        w.v = v16;
        break;
    case 4:
        w.rc = gm_load32(q->view, gpa, &v32);
        w.v = v32;
        break;
    default: w.rc = gm_load64(q->view, gpa, &w.v); break;
    }
    return w;
}

__attribute__((cold, noinline)) int vq_view_store(struct vq *q, gpa_t gpa, unsigned bytes,
                                                  uint64_t v)
{
    switch (bytes) {
    case 2: return gm_store16(q->view, gpa, (uint16_t)v);
    case 4: return gm_store32(q->view, gpa, (uint32_t)v);
    default: return gm_store64(q->view, gpa, v);
    }
}

/* The view marks what it stores: where writes are tracked, they go by it. So do rings that an IOMMU moves to an address of
 * another alignment, which it refuses: AArch64 has no unaligned acquire and release (DDI 0487, B2, "Alignment of data
 * accesses"), the device's process would die of SIGBUS. */
static uint8_t *find_area(struct vq *q, gpa_t gpa, uint64_t len, unsigned access)
{
    void *host;

    if (access & GM_WRITE && q->view->dirty)
        return NULL;
    if (gm_host(q->view, gpa, len, access, &host))
        return NULL;
    return ((uintptr_t)host ^ gpa) % sizeof(uint64_t) ? NULL : host;
}

__attribute__((cold, noinline)) void vq_find_areas(struct vq *q)
{
    unsigned desc = vq_is_packed(q) ? GM_READ | GM_WRITE : GM_READ;

    q->stamp = gm_view_stamp(q->view);
    q->desc_host = find_area(q, q->desc, vq_desc_bytes(q), desc);
    q->driver_host = find_area(q, q->driver, vq_driver_bytes(q), GM_READ);
    q->device_host = find_area(q, q->device, vq_device_bytes(q), GM_READ | GM_WRITE);
}

struct area {
    const char *name;
    gpa_t gpa;
    uint64_t bytes, align;
    unsigned access;
};

static int check_area(struct vq *q, const struct area *a)
{
    uint64_t end;
    void *host;
    int rc;

    if (a->gpa & (a->align - 1))
        return vm_fail(-EINVAL, "queue: %s area at 0x%llx is not aligned to %llu", a->name,
                       (unsigned long long)a->gpa, (unsigned long long)a->align);
    if (!vm_add(a->gpa, a->bytes, &end))
        return vm_fail(-EINVAL, "queue: %s area at 0x%llx wraps around the address space", a->name,
                       (unsigned long long)a->gpa);
    rc = gm_host(q->view, a->gpa, a->bytes, a->access, &host);
    if (rc && rc != -EXDEV)
        return vm_fail(-EINVAL, "queue: %s area 0x%llx-0x%llx is not RAM that the device can use",
                       a->name, (unsigned long long)a->gpa, (unsigned long long)end - 1);
    return 0;
}

/* Alignment: the tables in 2.7 and 2.8.10.1. */
static int check_areas(struct vq *q)
{
    bool packed = vq_is_packed(q);
    const struct area area[] = {
        { "descriptor", q->desc, vq_desc_bytes(q), 16, packed ? GM_READ | GM_WRITE : GM_READ },
        { "driver", q->driver, vq_driver_bytes(q), packed ? 4 : 2, GM_READ },
        { "device", q->device, vq_device_bytes(q), 4, GM_READ | GM_WRITE },
    };
    int rc;

    for (size_t i = 0; i < VM_ARRAY_SIZE(area); i++) {
        rc = check_area(q, &area[i]);
        if (rc)
            return rc;
    }
    return 0;
}

/* 2.7: split sizes are powers of two; 2.8.10.1: packed ones need not be. */
static int check_size(const struct vq *q)
{
    if (!q->size || q->size > q->size_max)
        return vm_fail(-EINVAL, "queue: size %u is not between 1 and %u", q->size, q->size_max);
    if (!vq_is_packed(q) && !vm_is_pow2(q->size))
        return vm_fail(-EINVAL, "queue: size %u of a split ring is not a power of two", q->size);
    if (vq_is_packed(q) && (q->next_avail >= q->size || q->next_used >= q->size))
        return vm_fail(-EINVAL, "queue: positions %u and %u are not in a ring of %u", q->next_avail,
                       q->next_used, q->size);
    return 0;
}

/* vhost-user, SET_VRING_BASE: of a split ring only the available index is told. */
static int find_used(struct vq *q)
{
    struct vq_word idx;

    if (vq_is_packed(q) || !q->used_from_ring)
        return 0;
    idx = vq_split_used_idx(q);
    if (idx.rc)
        return vm_fail(-EINVAL, "queue: the used ring at 0x%llx cannot be read",
                       (unsigned long long)q->device);
    q->next_used = (uint16_t)idx.v;
    q->used_from_ring = false;
    return 0;
}

int vq_start(struct vq *q, uint64_t features)
{
    int rc;

    if (q->started)
        return vm_fail(-EINVAL, "queue: it runs already");
    q->features = features;
    rc = check_size(q);
    if (!rc)
        rc = check_areas(q);
    if (rc)
        return rc;
    vq_find_areas(q);
    rc = find_used(q);
    if (!rc && q->log)
        rc = vq_log_start(q);
    if (rc)
        return rc;
    q->unsignalled = q->log ? VQ_UNSIGNALLED_UNKNOWN : 0;
    q->kicks = VQ_KICKS_UNKNOWN;
    q->started = true;
    q->gate = q->broken || q->log;
    return 0;
}

bool vq_touches(const struct vq *q, uint64_t from, uint64_t to)
{
    uint64_t len = to - from == UINT64_MAX ? UINT64_MAX : to - from + 1;

    return vm_ranges_overlap(q->desc, vq_desc_bytes(q), from, len) ||
           vm_ranges_overlap(q->driver, vq_driver_bytes(q), from, len) ||
           vm_ranges_overlap(q->device, vq_device_bytes(q), from, len);
}

void vq_stop(struct vq *q)
{
    q->started = false;
    q->gate = true;
    q->slots_out = 0;
    q->next_order = q->done_order = 0;
    q->batch = false;
    memset(q->held_valid, 0, q->size_max);
    memset(q->taken, 0, q->size_max);
}

/* Behind an IOMMU that has to ask for a translation the chain stays in the ring: nothing but the break has happened. */
__attribute__((cold, noinline)) static int next_failed(struct vq *q, int rc)
{
    if (!q->view->awaited)
        return rc;
    q->view->awaited = false;
    q->broken = false;
    q->gate = q->log;
    q->why = NULL;
    return 0;
}

__attribute__((noinline)) static int next_gated(struct vq *q, struct vq_chain *ret_chain)
{
    int rc;

    if (!q->started || q->broken)
        return 0;
    vq_sync(q);
    rc = vq_log_next(q, ret_chain);
    return rc < 0 ? next_failed(q, rc) : rc;
}

int vq_next(struct vq *q, struct vq_chain *ret_chain)
{
    int rc;

    if (VQ_UNLIKELY(q->gate))
        return next_gated(q, ret_chain);
    vq_sync(q);
    rc = vq_is_packed(q) ? vq_packed_next(q, ret_chain) : vq_split_next(q, ret_chain);
    return VQ_UNLIKELY(rc < 0) ? next_failed(q, rc) : rc;
}

/* Back over so many entries. */
static void retreat(struct vq *q, uint16_t slots)
{
    if (!vq_is_packed(q)) {
        q->next_avail = (uint16_t)(q->next_avail - slots);
        return;
    }
    q->slots_out = (uint16_t)(q->slots_out - slots);
    if (q->next_avail < slots) {
        q->next_avail = (uint16_t)(q->next_avail + q->size);
        q->avail_wrap = !q->avail_wrap;
    }
    q->next_avail = (uint16_t)(q->next_avail - slots);
}

void vq_undo(struct vq *q, const struct vq_chain *chain)
{
    if (!q->started || q->broken)
        return;
    assert((uint16_t)(chain->order + 1) == q->next_order);
    q->next_order = chain->order;
    if (chain->replayed) { /* the indexes are beyond it since vq_start() */
        vq_log_undo_replay(q->log);
        return;
    }
    retreat(q, chain->slots);
    q->taken[chain->id] = 0;
    if (q->log)
        vq_log_undo(q, chain);
}

/* The chain goes into the used ring. logged: a constant, here and below. */
__attribute__((always_inline)) static inline int use(struct vq *q, const struct vq_chain *c,
                                                     bool logged)
{
    uint32_t len = c->pushed > UINT32_MAX ? UINT32_MAX : (uint32_t)c->pushed;
    int rc;

    assert(q->taken[c->id]);
    q->taken[c->id] = 0;
    q->done_order = (uint16_t)(q->done_order + 1);
    q->unsignalled += c->slots;
    if (logged)
        vq_log_put(q, c->id);
    rc = vq_is_packed(q) ? vq_packed_put(q, c->id, c->slots, len) : vq_split_put(q, c->id, len);
    return VQ_UNLIKELY(rc) ? vq_ring_lost(q) : 0;
}

/* In-order: first its turn, then those that waited for it (2.7.9, 2.8.8). */
static inline int use_in_order(struct vq *q, const struct vq_chain *c, bool logged)
{
    uint16_t mask = (uint16_t)(q->size_max - 1), at = c->order & mask;
    int rc;

    if (c->order != q->done_order) {
        assert(!q->held_valid[at]);
        q->held[at] = *c;
        q->held_valid[at] = 1;
        return 0;
    }
    for (rc = use(q, c, logged); !rc; rc = use(q, &q->held[at], logged)) {
        at = q->done_order & mask;
        if (!q->held_valid[at])
            break;
        q->held_valid[at] = 0;
    }
    return rc;
}

/* What few queues do; out of line for the others. */
__attribute__((noinline)) static int put_rare(struct vq *q, struct vq_chain *chain, bool logged)
{
    if (q->view->dirty)
        vq_chain_mark(q, chain);
    return q->features & VQ_F_IN_ORDER ? use_in_order(q, chain, logged) : use(q, chain, logged);
}

__attribute__((always_inline)) static inline int put(struct vq *q, struct vq_chain *chain,
                                                     bool logged)
{
    assert(chain->pushed <= chain->writable_bytes);
    if (VQ_UNLIKELY(q->view->dirty || q->features & VQ_F_IN_ORDER))
        return put_rare(q, chain, logged);
    return use(q, chain, logged);
}

static inline int publish(struct vq *q)
{
    int rc = vq_is_packed(q) ? vq_packed_publish(q) : vq_split_publish(q);

    return VQ_UNLIKELY(rc) ? vq_ring_lost(q) : 0;
}

/* The log before the ring, and the ring before the log forgets: vhost-user, "When supplying used
 * buffers". */
static int publish_logged(struct vq *q)
{
    int rc;

    if (!vq_log_before_publish(q))
        return 0;
    rc = publish(q);
    if (!rc)
        vq_log_after_publish(q);
    return rc;
}

__attribute__((noinline)) static int done_gated(struct vq *q, struct vq_chain *chain,
                                                bool publish_too)
{
    int rc;

    if (!q->started || q->broken)
        return -EPROTO;
    vq_sync(q);
    rc = put(q, chain, true);
    return rc || !publish_too ? rc : publish_logged(q);
}

int vq_put(struct vq *q, struct vq_chain *chain)
{
    if (VQ_UNLIKELY(q->gate))
        return done_gated(q, chain, false);
    vq_sync(q);
    return put(q, chain, false);
}

int vq_publish(struct vq *q)
{
    if (VQ_UNLIKELY(!q->started || q->broken))
        return -EPROTO;
    vq_sync(q);
    return q->log ? publish_logged(q) : publish(q);
}

int vq_done(struct vq *q, struct vq_chain *chain)
{
    int rc;

    if (VQ_UNLIKELY(q->gate))
        return done_gated(q, chain, true);
    vq_sync(q);
    rc = put(q, chain, false);
    return rc ? rc : publish(q);
}

bool vq_wants_notify(struct vq *q)
{
    uint64_t used = q->unsignalled;

    if (!q->started || q->broken || !used)
        return false;
    q->unsignalled = 0;
    vq_sync(q);
    /* Partner: the driver's barrier between asking for an interrupt and looking at the used ring
     * again (2.7.14, 2.8.22). Either it sees what we published or we see what it asked for. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return vq_is_packed(q) ? vq_packed_wants_notify(q, used) : vq_split_wants_notify(q, used);
}
