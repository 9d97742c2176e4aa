/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The memory that the kernel's rings are in and point to: VHOST_SET_MEM_TABLE, all regions at each change. The kernel finishes what it has
 * under way before that call returns, so a region that goes away has gone when remove_region() ends.
 *
 * It belongs to the space, which frees it, for a device may be destroyed in another thread than the space's.
 */
#include "kernel.h"

#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

struct kernel_memory {
    struct gm_listener listener;
    struct vm_lock lock; /* guards what follows; a leaf */
    struct vhost_kernel *kernel; /* NULL: it is gone */
    unsigned files;
    struct vhost_memory *table; /* room for GM_REGIONS_MAX */
};

/* Under the lock. */
static int tell(struct kernel_memory *m)
{
    for (unsigned i = 0; m->kernel && i < m->files; i++) {
        int rc = vhost_kernel_file_control(m->kernel, i, VHOST_SET_MEM_TABLE, m->table);

        if (rc == -E2BIG)
            return vm_fail(rc,
                           "the kernel's vhost takes fewer than %u regions of guest memory: load "
                           "its module with a larger max_mem_regions",
                           m->table->nregions);
        if (rc < 0)
            return vm_fail(rc, "VHOST_SET_MEM_TABLE: %s", strerror(-rc));
    }
    return 0;
}

/* The kernel writes wherever a driver tells it to within its table: what the guest must not write is not in it. */
static int add(struct gm_listener *listener, struct gm_region *region)
{
    struct kernel_memory *m = container_of(listener, struct kernel_memory, listener);
    int rc = 0;

    if (gm_region_read_only(region))
        return 0;
    vm_lock_acquire(&m->lock);
    if (m->table->nregions == GM_REGIONS_MAX)
        rc = vm_fail(-ENOSPC, "more than %d memory regions", GM_REGIONS_MAX);
    if (!rc) {
        m->table->regions[m->table->nregions++] = (struct vhost_memory_region){
            .guest_phys_addr = gm_region_base(region),
            .memory_size = gm_region_size(region),
            .userspace_addr = (uintptr_t)gm_region_host(region),
        };
        rc = tell(m);
        m->table->nregions -= rc ? 1 : 0;
    }
    vm_lock_release(&m->lock);
    return rc;
}

static int remove_region(struct gm_listener *listener, struct gm_region *region)
{
    struct kernel_memory *m = container_of(listener, struct kernel_memory, listener);
    struct vhost_memory *t = m->table;
    int rc = 0;

    vm_lock_acquire(&m->lock);
    for (unsigned i = 0; i < t->nregions; i++)
        if (t->regions[i].guest_phys_addr == gm_region_base(region)) {
            t->regions[i] = t->regions[--t->nregions];
            rc = tell(m);
            break;
        }
    vm_lock_release(&m->lock);
    return rc;
}

static void abandoned(struct gm_listener *listener)
{
    struct kernel_memory *m = container_of(listener, struct kernel_memory, listener);

    vm_lock_destroy(&m->lock);
    free(m->table);
    free(m);
}

int vhost_kernel_memory_new(struct vhost_kernel *k, unsigned files, struct gm_space *memory,
                            struct kernel_memory **ret_memory)
{
    struct kernel_memory *m = calloc(1, sizeof(*m));
    int rc;

    if (m)
        m->table =
            calloc(1, sizeof(*m->table) + GM_REGIONS_MAX * sizeof(struct vhost_memory_region));
    if (!m || !m->table) {
        free(m);
        return vm_fail(-ENOMEM, "vhost: out of memory");
    }
    vm_lock_init(&m->lock, VM_RANK_LEAF, "kernel's memory");
    m->kernel = k;
    m->files = files;
    m->listener = (struct gm_listener){
        .name = "vhost", .add = add, .remove = remove_region, .abandoned = abandoned
    };
    rc = gm_listener_add(memory, &m->listener);
    if (rc) {
        abandoned(&m->listener);
        return rc;
    }
    *ret_memory = m;
    return 0;
}

void vhost_kernel_memory_free(struct kernel_memory *m)
{
    if (!m)
        return;
    vm_lock_acquire(&m->lock);
    m->kernel = NULL;
    vm_lock_release(&m->lock);
    gm_listener_abandon(&m->listener);
}
