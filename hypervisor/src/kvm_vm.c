/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A KVM virtual machine (Linux Documentation/virt/kvm/api.rst). */
#include <errno.h>
#include <stdlib.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "kvm_private.h"

static int vm_ioctl(struct hv_vm *vm, unsigned long request, const void *arg)
{
    return hv_kvm_ioctl(to_machine(vm)->fd, request, (uintptr_t)arg);
}

static void machine_free(struct hv_vm *vm)
{
    struct kvm_machine *m = to_machine(vm);

    vm_close(&m->fd);
    free(m);
}

static int machine_cap(struct hv_vm *vm, uint32_t cap)
{
    return hv_kvm_cap(to_machine(vm)->fd, cap);
}

static int machine_enable_cap(struct hv_vm *vm, const struct kvm_enable_cap *cap)
{
    return hv_kvm_enable_cap(to_machine(vm)->fd, cap);
}

static int machine_get(struct hv_vm *vm, enum hv_state kind, void *buf, size_t size)
{
    return hv_kvm_get(to_machine(vm)->fd, HV_OBJECT_VM, kind, buf, size);
}

static int machine_set(struct hv_vm *vm, enum hv_state kind, const void *buf, size_t size)
{
    return hv_kvm_set(to_machine(vm)->fd, HV_OBJECT_VM, kind, buf, size);
}

static int machine_attr(struct hv_vm *vm, enum hv_attr what, struct kvm_device_attr *attr)
{
    return hv_kvm_attr(to_machine(vm)->fd, what, attr);
}

static int machine_set_slot(struct hv_vm *vm, const struct hv_slot *slot)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot->id,
        .flags = (slot->flags & HV_SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
                 (slot->flags & HV_SLOT_READ_ONLY ? KVM_MEM_READONLY : 0),
        .guest_phys_addr = slot->gpa,
        .memory_size = slot->size,
        .userspace_addr = (uintptr_t)slot->host,
    };

    if (slot->flags & ~(uint32_t)(HV_SLOT_LOG_DIRTY | HV_SLOT_READ_ONLY))
        return vm_fail(-EINVAL, "memory slot %u: unknown flags 0x%x", slot->id, slot->flags);
    if (vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return hv_kvm_fail("memory slot %u: 0x%llx bytes at 0x%llx, flags 0x%x", slot->id,
                           (unsigned long long)slot->size, (unsigned long long)slot->gpa,
                           slot->flags);
    return 0;
}

static int machine_dirty_get(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *ret_bitmap)
{
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = ret_bitmap };

    (void)pages; /* KVM knows the slot's size */
    if (vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log) < 0)
        return hv_kvm_fail("dirty log of slot %u", slot);
    return 0;
}

static int machine_dirty_clear(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t pages,
                               const uint64_t *bitmap)
{
    struct kvm_clear_dirty_log log = { .slot = slot, .first_page = first };

    if (pages > UINT32_MAX)
        return vm_fail(-EINVAL, "clearing the dirty log of slot %u: %llu pages at once", slot,
                       (unsigned long long)pages);
    log.num_pages = (uint32_t)pages;
    /* KVM only reads the bitmap; the uapi struct has no const. */
    log.dirty_bitmap = (void *)(uintptr_t)bitmap;
    if (vm_ioctl(vm, KVM_CLEAR_DIRTY_LOG, &log) < 0)
        return hv_kvm_fail("clearing the dirty log of slot %u, pages %llu to %llu", slot,
                           (unsigned long long)first, (unsigned long long)(first + pages));
    return 0;
}

/* arm64's KVM keeps to single pages only where a slot has a bitmap (mmu.c, memslot_is_logging()): elsewhere it maps huge pages, and the
 * ring would name one page of each. With the bitmap beside the ring (api.rst, 8.29) slots have one. x86 has no such capability. */
static int ring_with_bitmap(struct hv_vm *vm)
{
    struct kvm_enable_cap enable = { .cap = KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP };

    return machine_cap(vm, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) ? machine_enable_cap(vm, &enable)
                                                               : 0;
}

static int machine_dirty_ring_enable(struct hv_vm *vm, uint32_t entries)
{
    struct kvm_enable_cap enable = { .cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL };
    int bytes = machine_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
    int rc;

#if defined(__x86_64__)
    /* The older capability means the same where stores are ordered anyway (api.rst, 8.29). */
    if (!bytes) {
        enable.cap = KVM_CAP_DIRTY_LOG_RING;
        bytes = machine_cap(vm, KVM_CAP_DIRTY_LOG_RING);
    }
#endif
    if (!bytes)
        return vm_fail(-ENOTSUP, "this KVM has no dirty ring: use the dirty log");
    enable.args[0] = (uint64_t)entries * sizeof(struct kvm_dirty_gfn);
    if (!vm_is_pow2(entries))
        return vm_fail(-EINVAL, "dirty ring of %u entries: give a power of two", entries);
    if (enable.args[0] > (uint64_t)bytes)
        return vm_fail(-E2BIG, "dirty ring of %u entries: at most %zu", entries,
                       (size_t)bytes / sizeof(struct kvm_dirty_gfn));
    rc = machine_enable_cap(vm, &enable);
    if (!rc)
        rc = ring_with_bitmap(vm);
    if (rc)
        return vm_wrap(rc, "dirty ring of %u entries", entries);
    vm->dirty_ring_entries = entries;
    return 0;
}

static int machine_dirty_ring_reset(struct hv_vm *vm)
{
    int rc = vm_ioctl(vm, KVM_RESET_DIRTY_RINGS, NULL);

    return rc < 0 ? hv_kvm_fail("KVM_RESET_DIRTY_RINGS") : rc;
}

#if defined(__x86_64__)
static int machine_irqchip_new(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins)
{
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { pins } };

    if (kind == HV_IRQCHIP_SPLIT) {
        int rc = machine_enable_cap(vm, &split);

        return rc && !machine_cap(vm, KVM_CAP_SPLIT_IRQCHIP)
                   ? vm_fail(-ENOTSUP, "this KVM has no split irqchip: use the kernel's")
                   : rc;
    }
    return vm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL) < 0 ? hv_kvm_fail("KVM_CREATE_IRQCHIP") : 0;
}
#else
static int machine_irqchip_new(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins)
{
    (void)vm, (void)kind, (void)pins;
    return vm_fail(-ENOTSUP, "no irqchip on Arm: make a VGIC device");
}
#endif

static struct kvm_irq_routing_entry route_entry(const struct hv_route *route)
{
    struct kvm_irq_routing_entry e = { .gsi = route->gsi };

    if (route->type == HV_ROUTE_PIN) {
        e.type = KVM_IRQ_ROUTING_IRQCHIP;
        e.u.irqchip.irqchip = route->pin.chip;
        e.u.irqchip.pin = route->pin.pin;
        return e;
    }
    e.type = KVM_IRQ_ROUTING_MSI;
    e.flags = route->msi.has_devid ? KVM_MSI_VALID_DEVID : 0;
    e.u.msi.address_lo = (uint32_t)(route->msi.addr & UINT32_MAX);
    e.u.msi.address_hi = (uint32_t)(route->msi.addr >> 32);
    e.u.msi.data = route->msi.data;
    e.u.msi.devid = route->msi.devid;
    return e;
}

static int machine_set_routes(struct hv_vm *vm, const struct hv_route *routes, size_t count)
{
    enum { MOST = 4096 }; /* KVM_MAX_IRQ_ROUTES, include/linux/kvm_host.h */
    struct kvm_irq_routing *table;
    int rc = 0;

    if (count > MOST)
        return vm_fail(-E2BIG, "%zu interrupt routes: KVM takes %d", count, (int)MOST);
    table = calloc(1, sizeof(*table) + count * sizeof(table->entries[0]));
    if (!table)
        return vm_fail(-ENOMEM, "no memory for %zu interrupt routes", count);
    table->nr = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        table->entries[i] = route_entry(&routes[i]);
    if (vm_ioctl(vm, KVM_SET_GSI_ROUTING, table) < 0)
        rc = hv_kvm_fail("KVM_SET_GSI_ROUTING: %zu routes", count);
    free(table);
    return rc;
}

static int machine_irqfd(struct hv_vm *vm, bool add, int fd, uint32_t gsi, int resample_fd)
{
    struct kvm_irqfd irqfd = { .gsi = gsi, .flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

    irqfd.fd = (uint32_t)fd;
    if (add && resample_fd >= 0) {
        irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)resample_fd;
    }
    if (vm_ioctl(vm, KVM_IRQFD, &irqfd) < 0)
        return hv_kvm_fail("%s irqfd %d of interrupt %u%s", add ? "adding" : "removing", fd, gsi,
                           irqfd.flags & KVM_IRQFD_FLAG_RESAMPLE ? " with resample" : "");
    return 0;
}

static int machine_ioeventfd(struct hv_vm *vm, bool add, const struct hv_ioeventfd *event)
{
    struct kvm_ioeventfd e = {
        .datamatch = event->datamatch,
        .addr = event->addr,
        .len = event->len,
        .fd = event->fd,
        .flags = (event->match ? (uint32_t)KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (event->pio ? (uint32_t)KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (add ? 0 : (uint32_t)KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    if (vm_ioctl(vm, KVM_IOEVENTFD, &e) < 0)
        return hv_kvm_fail("%s ioeventfd %d at %s 0x%llx, %u bytes", add ? "adding" : "removing",
                           event->fd, event->pio ? "port" : "address",
                           (unsigned long long)event->addr, event->len);
    return 0;
}

static int machine_signal_msi(struct hv_vm *vm, const struct hv_msi *msi)
{
    struct kvm_msi m = {
        .address_lo = (uint32_t)(msi->addr & UINT32_MAX),
        .address_hi = (uint32_t)(msi->addr >> 32),
        .data = msi->data,
        .flags = msi->has_devid ? KVM_MSI_VALID_DEVID : 0,
        .devid = msi->devid,
    };
    int rc = vm_ioctl(vm, KVM_SIGNAL_MSI, &m);

    return rc < 0 ? -errno : rc > 0;
}

static int machine_irq_line(struct hv_vm *vm, uint32_t irq, bool level)
{
    struct kvm_irq_level line = { .irq = irq, .level = level };

    return vm_ioctl(vm, KVM_IRQ_LINE, &line) < 0 ? hv_kvm_fail("interrupt line 0x%x", irq) : 0;
}

static int machine_coalesced(struct hv_vm *vm, bool add, uint64_t addr, uint32_t size, bool pio)
{
    struct kvm_coalesced_mmio_zone zone = { .addr = addr, .size = size, .pio = pio };
    uint32_t cap = pio ? KVM_CAP_COALESCED_PIO : KVM_CAP_COALESCED_MMIO;

    if (!machine_cap(vm, cap))
        return vm_fail(-ENOTSUP, "this KVM cannot coalesce %s writes", pio ? "port" : "memory");
    if (vm_ioctl(vm, add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone) < 0)
        return hv_kvm_fail("coalesced writes at 0x%llx", (unsigned long long)addr);
    return 0;
}

static int machine_stats_fd(struct hv_vm *vm)
{
    return hv_kvm_stats_fd(to_machine(vm)->fd);
}

static void dev_free(struct hv_device *device)
{
    struct kvm_dev *d = container_of(device, struct kvm_dev, device);

    vm_close(&d->fd);
    free(d);
}

static int dev_attr(struct hv_device *device, enum hv_attr what, struct kvm_device_attr *attr)
{
    return hv_kvm_attr(container_of(device, struct kvm_dev, device)->fd, what, attr);
}

static const struct hv_device_ops dev_ops = { .free = dev_free, .attr = dev_attr };

static int device_test(struct hv_vm *vm, uint32_t type)
{
    struct kvm_create_device create = { .type = type, .flags = KVM_CREATE_DEVICE_TEST };

    return vm_ioctl(vm, KVM_CREATE_DEVICE, &create) < 0
               ? hv_kvm_fail("KVM_CREATE_DEVICE: type %u", type)
               : 0;
}

static int machine_device_new(struct hv_vm *vm, uint32_t type, struct hv_device **ret_device)
{
    struct kvm_create_device create = { .type = type };
    struct kvm_dev *d;
    int rc;

    if (!ret_device)
        return device_test(vm, type);
    d = calloc(1, sizeof(*d));
    if (!d)
        return vm_fail(-ENOMEM, "no memory for a device");
    if (vm_ioctl(vm, KVM_CREATE_DEVICE, &create) < 0) {
        rc = hv_kvm_fail("KVM_CREATE_DEVICE: type %u", type);
        free(d);
        return rc;
    }
    d->device = (struct hv_device){ .ops = &dev_ops, .vm = vm };
    d->fd = (int)create.fd;
    *ret_device = &d->device;
    return 0;
}

static const struct hv_vm_ops machine_ops = {
    .free = machine_free,
    .cap = machine_cap,
    .enable_cap = machine_enable_cap,
    .get = machine_get,
    .set = machine_set,
    .attr = machine_attr,
    .set_slot = machine_set_slot,
    .dirty_get = machine_dirty_get,
    .dirty_clear = machine_dirty_clear,
    .dirty_ring_enable = machine_dirty_ring_enable,
    .dirty_ring_reset = machine_dirty_ring_reset,
    .irqchip_new = machine_irqchip_new,
    .set_routes = machine_set_routes,
    .irqfd = machine_irqfd,
    .ioeventfd = machine_ioeventfd,
    .signal_msi = machine_signal_msi,
    .irq_line = machine_irq_line,
    .coalesced = machine_coalesced,
    .stats_fd = machine_stats_fd,
    .device_new = machine_device_new,
    .vcpu_new = hv_kvm_vcpu_new,
};

/* Arm puts the size of the address space into the low byte of the type (api.rst, KVM_CREATE_VM). */
static int vm_type(const struct hv_vm_config *config, unsigned long *ret_type)
{
#if defined(__aarch64__)
    if (config->ipa_bits > 52)
        return vm_fail(-EINVAL, "%u address bits: at most 52", config->ipa_bits);
    *ret_type = config->type | KVM_VM_TYPE_ARM_IPA_SIZE(config->ipa_bits);
#else
    if (config->ipa_bits)
        return vm_fail(-EINVAL, "%u address bits: only Arm takes them", config->ipa_bits);
    *ret_type = config->type;
#endif
    return 0;
}

int hv_kvm_vm_new(struct hv *hv, int system_fd, const struct hv_vm_config *config,
                  struct hv_vm **ret_vm)
{
    struct kvm_machine *m;
    unsigned long type = 0;
    int rc = vm_type(config, &type);

    if (rc)
        return rc;
    m = calloc(1, sizeof(*m));
    if (!m)
        return vm_fail(-ENOMEM, "no memory for a VM");
    m->fd = hv_kvm_ioctl(system_fd, KVM_CREATE_VM, type);
    if (m->fd < 0) {
        rc = hv_kvm_fail("KVM_CREATE_VM: type 0x%lx", type);
        free(m);
        return rc;
    }
    m->vm = (struct hv_vm){ .ops = &machine_ops, .hv = hv };
    *ret_vm = &m->vm;
    return 0;
}
