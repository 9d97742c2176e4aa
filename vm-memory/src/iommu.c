/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Changes of an IOMMU's translations, told to those who keep copies of them. */
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/vm-memory/view.h>

void gm_iommu_watch_init(struct gm_iommu_watch *watch)
{
    *watch = (struct gm_iommu_watch){ 0 };
    vm_lock_init(&watch->lock, VM_RANK_LEAF, "iommu");
    vm_list_init(&watch->listeners);
}

void gm_iommu_watch_exit(struct gm_iommu_watch *watch)
{
    vm_lock_destroy(&watch->lock);
}

void gm_iommu_listener_add(struct gm_iommu_watch *watch, struct gm_iommu_listener *l)
{
    vm_lock_acquire(&watch->lock);
    l->watch = watch;
    l->awaited = false;
    vm_list_add(&watch->listeners, &l->node);
    vm_lock_release(&watch->lock);
}

/* One answer less; the last one ends the change. */
static void answered(struct gm_iommu_watch *w, struct gm_iommu_listener *l, bool leaves)
{
    void (*done)(void *ctx) = NULL;

    vm_lock_acquire(&w->lock);
    if (leaves)
        vm_list_del(&l->node);
    if (l->awaited) {
        l->awaited = false;
        if (!--w->waiting) {
            w->busy = false;
            done = w->done;
        }
    }
    vm_lock_release(&w->lock);
    if (done)
        done(w->ctx);
}

void gm_iommu_listener_del(struct gm_iommu_listener *l)
{
    struct gm_iommu_watch *w = l->watch;

    if (!w)
        return;
    l->watch = NULL;
    answered(w, l, true);
}

void gm_iommu_listener_done(struct gm_iommu_listener *l)
{
    if (l->watch)
        answered(l->watch, l, false);
}

int gm_iommu_changed(struct gm_iommu *iommu, uint64_t iova, uint64_t last, void (*done)(void *ctx),
                     void *ctx)
{
    struct gm_iommu_watch *w = iommu->watch;
    unsigned waiting;

    /* release: pairs with gm_view_stamp() */
    __atomic_fetch_add(&iommu->generation, 1, __ATOMIC_RELEASE);
    if (!w)
        return 0;
    vm_lock_acquire(&w->lock);
    if (w->busy) {
        vm_lock_release(&w->lock);
        return vm_fail(-EBUSY, "a change of these translations is under way");
    }
    w->done = done;
    w->ctx = ctx;
    for (struct vm_list *node = w->listeners.next; node != &w->listeners; node = node->next) {
        struct gm_iommu_listener *l = container_of(node, struct gm_iommu_listener, node);

        if (l->changed(l, iova, last) == -EINPROGRESS) {
            l->awaited = true;
            w->waiting++;
        }
    }
    waiting = w->waiting;
    w->busy = waiting;
    vm_lock_release(&w->lock);
    return waiting ? -EINPROGRESS : 0;
}
