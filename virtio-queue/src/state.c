/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A queue's state for snapshots, and its indexes for vhost-user. */
#include "ring.h"

#include <vmm/base/error.h>

enum { WRAP_BIT = 1 << 15 };

void vq_save(const struct vq *q, struct vq_state *ret_state)
{
    *ret_state = (struct vq_state){
        .desc = q->desc,
        .driver = q->driver,
        .device = q->device,
        .size = q->size,
        .next_avail = q->next_avail,
        .next_used = q->next_used,
        .started = q->started,
        .broken = q->broken,
        .avail_wrap = q->avail_wrap,
        .used_wrap = q->used_wrap,
    };
}

/* What vq_start() does not check, since a queue that runs cannot get it wrong. */
static int check(const struct vq *q, uint64_t features, const struct vq_state *s)
{
    if (s->size > q->size_max)
        return vm_fail(-EINVAL, "queue state: size %u is above %u", s->size, q->size_max);
    if (s->started && !s->broken && s->next_avail != s->next_used)
        return vm_fail(-EINVAL, "queue state: chains are in flight (next available %u, used %u)",
                       s->next_avail, s->next_used);
    if (s->started && !s->broken && features & VQ_F_RING_PACKED && s->avail_wrap != s->used_wrap)
        return vm_fail(-EINVAL, "queue state: wrap counters %d and %d differ", s->avail_wrap,
                       s->used_wrap);
    return 0;
}

int vq_load(struct vq *q, uint64_t features, const struct vq_state *untrusted)
{
    const struct vq_state s = *untrusted;
    int rc;

    if (q->started)
        return vm_fail(-EINVAL, "queue: it runs already");
    vq_reset(q);
    rc = check(q, features, &s);
    if (rc)
        return rc;
    q->features = features;
    q->desc = s.desc;
    q->driver = s.driver;
    q->device = s.device;
    q->size = s.size;
    q->next_avail = s.next_avail;
    q->next_used = s.next_used;
    q->avail_wrap = s.avail_wrap;
    q->used_wrap = s.used_wrap;
    if (s.broken) {
        q->started = s.started;
        vq_break(q, "it was broken when its state was saved", 0);
        return 0;
    }
    if (!s.started)
        return 0;
    rc = vq_start(q, features);
    if (rc) {
        vq_reset(q);
        return rc;
    }
    q->unsignalled = VQ_UNSIGNALLED_UNKNOWN;
    return 0;
}

static uint32_t base_half(uint16_t at, bool wrap)
{
    return at | (wrap ? WRAP_BIT : 0U);
}

uint32_t vq_base(const struct vq *q)
{
    if (!vq_is_packed(q))
        return q->next_avail;
    return base_half(q->next_avail, q->avail_wrap) | base_half(q->next_used, q->used_wrap) << 16;
}

void vq_set_base(struct vq *q, uint32_t base)
{
    if (!vq_is_packed(q)) {
        q->next_avail = q->next_used = (uint16_t)base;
        q->used_from_ring = true;
        return;
    }
    q->next_avail = base & (WRAP_BIT - 1);
    q->avail_wrap = base & WRAP_BIT;
    q->next_used = base >> 16 & (WRAP_BIT - 1);
    q->used_wrap = base >> 31;
}
