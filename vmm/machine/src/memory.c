/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* RAM: regions where the architecture wants them, each a slot of the hypervisor. */
#include "machine_private.h"

#include <errno.h>
#include <sys/mman.h>

#include <vmm/base/error.h>

enum { LOW_BYTES = 2 << 20 };

static int slot_add(struct gm_listener *listener, struct gm_region *region)
{
    struct vmm_machine *m = container_of(listener, struct vmm_machine, slots);
    struct hv_slot slot = {
        .gpa = gm_region_base(region),
        .size = gm_region_size(region),
        .host = gm_region_host(region),
        .flags = gm_region_read_only(region) ? HV_SLOT_READ_ONLY : 0,
    };
    int rc;

    while (slot.id < MACHINE_SLOTS && m->slot[slot.id])
        slot.id++;
    if (slot.id == MACHINE_SLOTS)
        return vm_fail(-ENOSPC, "guest memory: all %u slots are taken", MACHINE_SLOTS);
    rc = m->vm ? hv_vm_set_slot(m->vm, &slot) : 0;
    if (rc)
        return rc;
    m->slot[slot.id] = region;
    if (m->vm)
        vmm_sigbus_add(m, region);
    return 0;
}

static int slot_remove(struct gm_listener *listener, struct gm_region *region)
{
    struct vmm_machine *m = container_of(listener, struct vmm_machine, slots);
    struct hv_slot slot = { .gpa = gm_region_base(region), .host = gm_region_host(region) };

    while (slot.id < MACHINE_SLOTS && m->slot[slot.id] != region)
        slot.id++;
    if (slot.id == MACHINE_SLOTS)
        return 0;
    m->slot[slot.id] = NULL;
    vmm_sigbus_remove(m, region);
    return m->vm ? hv_vm_set_slot(m->vm, &slot) : 0;
}

/* ---- what devices map ---- */

static int take_slot(struct vmm_machine *m)
{
    int n = 0;

    vm_lock_acquire(&m->slot_lock);
    while (n < MACHINE_DEVICE_SLOTS && m->device_slot[n])
        n++;
    if (n < MACHINE_DEVICE_SLOTS)
        m->device_slot[n] = true;
    vm_lock_release(&m->slot_lock);
    return n < MACHINE_DEVICE_SLOTS
               ? n
               : vm_fail(-ENOSPC, "all %d memory slots of devices are taken", MACHINE_DEVICE_SLOTS);
}

static void give_slot(struct vmm_machine *m, int n)
{
    vm_lock_acquire(&m->slot_lock);
    m->device_slot[n] = false;
    vm_lock_release(&m->slot_lock);
}

int vmm_machine_device_memory_add(struct vdev_machine *base, uint64_t gpa, uint64_t size,
                                  void *host, bool read_only)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_slot slot = {
        .gpa = gpa, .size = size, .host = host, .flags = read_only ? HV_SLOT_READ_ONLY : 0
    };
    int n = take_slot(m), rc;

    if (n < 0)
        return n;
    slot.id = MACHINE_SLOTS + (unsigned)n;
    rc = m->vm ? hv_vm_set_slot(m->vm, &slot) : 0;
    if (!rc)
        return n;
    give_slot(m, n);
    return rc;
}

int vmm_machine_device_memory_del(struct vdev_machine *base, int n)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_slot slot = { .id = MACHINE_SLOTS + (unsigned)n };
    int rc = m->vm ? hv_vm_set_slot(m->vm, &slot) : 0;

    if (!rc)
        give_slot(m, n);
    return rc;
}

/* At address 0 there are a few pages of boot data, and then the kernel keeps off: to clear a huge page for them would be a
 * fifth of what it costs to start and end a machine. Advice: no error where the kernel has none. */
static void keep_low_pages_small(const struct vmm_machine *m, struct gm_region *region)
{
    if (m->config.ram.thp && !gm_region_base(region) && gm_region_size(region) > LOW_BYTES)
        (void)madvise(gm_region_host(region), LOW_BYTES, MADV_NOHUGEPAGE);
}

static int add_memory(struct vmm_machine *m, const struct varch_range *range,
                      const struct gm_backing *backing)
{
    struct gm_change change = { .add_count = 1 };
    struct gm_region *region;
    int rc = gm_region_new(range->base, range->size, backing, &region);

    if (rc)
        return rc;
    keep_low_pages_small(m, region);
    change.add = &region;
    rc = gm_space_change(m->memory, &change);
    gm_region_unref(region);
    return rc;
}

/* Several regions of one file follow each other in it. */
static int add_ram(struct vmm_machine *m, const struct varch_range *ram, unsigned n)
{
    struct gm_backing backing = m->config.ram;
    int rc = 0;

    for (unsigned i = 0; !rc && i < n; i++) {
        rc = add_memory(m, &ram[i], &backing);
        backing.fd_offset += ram[i].size;
    }
    return rc;
}

int vmm_machine_memory_new(struct vmm_machine *m)
{
    static const struct gm_backing plain = { 0 };
    struct varch_range ram[8], extra[4];
    unsigned n = varch_ram(m->arch, ram, VM_ARRAY_SIZE(ram));
    unsigned extras = varch_extra(m->arch, extra, VM_ARRAY_SIZE(extra));
    int rc = gm_space_new(m->config.env, &m->memory);

    if (rc)
        return rc;
    m->slots =
        (struct gm_listener){ .name = "memory slots", .add = slot_add, .remove = slot_remove };
    rc = gm_listener_add(m->memory, &m->slots);
    if (rc) {
        gm_space_free(m->memory);
        m->memory = NULL;
        return rc;
    }
    if (!rc && m->vm)
        rc = add_ram(m, ram, n);
    for (unsigned i = 0; !rc && m->vm && i < extras; i++)
        rc = add_memory(m, &extra[i], &plain);
    gm_view_init(&m->view, m->memory, NULL);
    if (rc == -ENOMEM)
        return vm_wrap(
            rc, "guest memory of %llu MiB is more than this host gives: make --memory smaller",
            (unsigned long long)m->config.arch.ram_bytes >> 20);
    if (rc == -EFBIG)
        return vm_wrap(
            -ENOMEM,
            "guest memory of %llu MiB is more than the limit of file sizes allows: raise "
            "it (ulimit -f), or give --sandbox thread",
            (unsigned long long)m->config.arch.ram_bytes >> 20);
    return rc ? vm_wrap(rc, "guest memory") : 0;
}

void vmm_machine_memory_free(struct vmm_machine *m)
{
    vmm_sigbus_end(m);
    if (!m->memory)
        return;
    gm_view_exit(&m->view);
    gm_listener_del(&m->slots);
    gm_space_free(m->memory);
    m->memory = NULL;
}
