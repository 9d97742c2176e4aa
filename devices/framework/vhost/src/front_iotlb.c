/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a back end asks of a driver's addresses (VIRTIO_F_ACCESS_PLATFORM; "IOMMU support"). They are those of the device's view: its
 * IOMMU's, or without one guest-physical addresses. User addresses are the guest's (front_rings.c).
 *
 * A back end keeps what it was told. When a translation changes it is told to forget it, and the change has not ended before it has
 * said that it did, or is gone.
 */
#include "front.h"

#include <errno.h>
#include <inttypes.h>

enum { IOTLB_MISS = 1, IOTLB_UPDATE, IOTLB_INVALIDATE, IOTLB_ACCESS_FAIL };

static int told(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)f;
    (void)queue;
    if (!untrusted->payload.u64)
        return 0;
    return vm_fail(-EPROTO, "IOTLB_MSG: the back end refuses it (%#" PRIx64 ")",
                   untrusted->payload.u64);
}

static int send(struct vhost_front *f, const struct vhost_iotlb *entry,
                int (*answered)(struct vhost_front *f, uint16_t queue,
                                struct vhost_message *untrusted))
{
    struct vhost_message m = vhost_front_message(VHOST_USER_IOTLB_MSG, sizeof(struct vhost_iotlb));

    m.payload.iotlb = *entry;
    return vhost_front_call(f, &m, 0, answered);
}

/* ---- changes ---- */

static int invalidate(struct vhost_front *f, uint64_t iova, uint64_t size,
                      int (*answered)(struct vhost_front *f, uint16_t queue,
                                      struct vhost_message *untrusted))
{
    const struct vhost_iotlb entry = { .iova = iova, .size = size, .type = IOTLB_INVALIDATE };

    return send(f, &entry, answered);
}

static int forgotten(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = told(f, queue, untrusted);

    if (!rc)
        gm_iommu_listener_done(&f->iotlb.listener);
    return rc;
}

static void change_posted(struct vm_work *work)
{
    struct vhost_front *f = container_of(work, struct vhost_front, iotlb.work);
    uint64_t size = f->iotlb.last - f->iotlb.iova;
    int rc = 0;

    vm_lock_acquire(&f->dev.dev.lock);
    if (f->state >= FRONT_STARTING)
        rc = invalidate(f, f->iotlb.iova, size == UINT64_MAX ? size : size + 1, forgotten);
    else
        gm_iommu_listener_done(&f->iotlb.listener);
    if (rc)
        vhost_front_gone_with(f, rc);
    vm_lock_release(&f->dev.dev.lock);
}

/* In the thread of who changes it; one change at a time. */
static int changed(struct gm_iommu_listener *listener, uint64_t iova, uint64_t last)
{
    struct vhost_front *f = container_of(listener, struct vhost_front, iotlb.listener);

    f->iotlb.iova = iova;
    f->iotlb.last = last;
    vm_loop_post(f->env->loop, &f->iotlb.work, change_posted);
    return -EINPROGRESS;
}

/* Who tells a back end of a translation hears of its end. */
static void listen(struct vhost_front *f)
{
    const struct gm_iommu *iommu = f->dev.view.iommu;
    struct gm_iommu_watch *watch = iommu ? iommu->watch : NULL;

    if (f->iotlb.listener.watch == watch)
        return;
    gm_iommu_listener_del(&f->iotlb.listener);
    f->iotlb.listener.changed = changed;
    if (watch)
        gm_iommu_listener_add(watch, &f->iotlb.listener);
}

/* ---- questions ---- */

/* The memory that the back end has at gpa. */
static struct gm_region *region_at(const struct vhost_front *f, gpa_t gpa)
{
    for (size_t i = 0; i < f->sent_count; i++)
        if (gpa >= gm_region_base(f->sent[i]) &&
            gpa - gm_region_base(f->sent[i]) < gm_region_size(f->sent[i]))
            return f->sent[i];
    return NULL;
}

static uint8_t allowed(const struct gm_region *region, unsigned access)
{
    return (uint8_t)(gm_region_read_only(region) ? access & GM_READ : access);
}

/* Without an IOMMU a whole region at once. */
static int look_up_plain(const struct vhost_front *f, uint64_t iova, struct vhost_iotlb *ret)
{
    struct gm_region *region = region_at(f, iova);

    if (!region)
        return -EFAULT;
    ret->iova = ret->user_addr = gm_region_base(region);
    ret->size = gm_region_size(region);
    ret->permissions = allowed(region, GM_READ | GM_WRITE);
    return 0;
}

static int look_up(const struct vhost_front *f, uint64_t iova, unsigned access,
                   struct vhost_iotlb *ret)
{
    const struct gm_iommu *iommu = f->dev.view.iommu;
    uint64_t page = iova & ~(uint64_t)(GM_PAGE_BYTES - 1), len = UINT64_MAX - page, rest;
    unsigned granted = GM_READ | GM_WRITE;
    struct gm_region *region;
    gpa_t gpa;
    int rc;

    if (!iommu)
        return look_up_plain(f, iova, ret);
    rc = iommu->translate(iommu->ctx, page, granted, &gpa, &len);
    if (rc) {
        granted = access;
        rc = iommu->translate(iommu->ctx, page, granted, &gpa, &len);
    }
    region = rc ? NULL : region_at(f, gpa);
    if (!region)
        return -EFAULT;
    rest = gm_region_size(region) - (gpa - gm_region_base(region));
    *ret = (struct vhost_iotlb){ .iova = page,
                                 .size = len < rest ? len : rest,
                                 .user_addr = gpa,
                                 .permissions = allowed(region, granted) };
    return 0;
}

static int answer_miss(struct vhost_front *f, const struct vhost_iotlb *untrusted)
{
    unsigned access = untrusted->permissions & (GM_READ | GM_WRITE);
    struct vhost_iotlb entry = { 0 };

    listen(f); /* first, or a change in between would be missed */
    if (f->state < FRONT_STARTING || look_up(f, untrusted->iova, access, &entry) ||
        (entry.permissions & access) != access)
        return 1;
    entry.type = IOTLB_UPDATE;
    return send(f, &entry, told);
}

bool vhost_front_iotlb_on(const struct vhost_front *f)
{
    return f->dev.features & VIRTIO_FEATURE_ACCESS_PLATFORM;
}

int vhost_front_iotlb_asked(struct vhost_front *f, const struct vhost_iotlb *untrusted)
{
    if (untrusted->type == IOTLB_MISS)
        return answer_miss(f, untrusted);
    if (untrusted->type != IOTLB_ACCESS_FAIL)
        return 1;
    vm_log_limited(f->env, &f->dev.complaints, VM_LOG_WARN,
                   "%s: the back end was refused access (%u) to %#" PRIx64, f->dev.dev.id,
                   untrusted->permissions, untrusted->iova);
    return 0;
}

/* ---- with the rings ---- */

int vhost_front_iotlb_forget(struct vhost_front *f)
{
    return vhost_front_iotlb_on(f) ? invalidate(f, 0, UINT64_MAX, told) : 0;
}

void vhost_front_iotlb_lost(struct vhost_front *f)
{
    gm_iommu_listener_done(&f->iotlb.listener);
}

void vhost_front_iotlb_free(struct vhost_front *f)
{
    gm_iommu_listener_del(&f->iotlb.listener);
    vm_work_cancel(f->env->loop, &f->iotlb.work);
}
