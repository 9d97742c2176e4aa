/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A hypervisor behind a small table of operations: Linux's KVM (kvm.h), and a fake for tests and
 * simulation (fake.h). The words are KVM's (Documentation/virt/kvm/api.rst of Linux), the payloads
 * its uapi structs.
 *
 *   struct hv        the system: capabilities, what it can give a guest; makes VMs
 *   struct hv_vm     one VM: memory slots, interrupt controller, routes, event fds; makes vCPUs
 *   struct hv_vcpu   one vCPU: run, state
 *
 * Order: hv_kvm_new() or hv_fake_new(), hv_vm_new(), capabilities of the VM, dirty ring, all memory
 * slots; x86: interrupt controller, then vCPUs; Arm: vCPUs (HV_STATE_VCPU_INIT each), then the VGIC
 * device; then routes once, irqfds, ioeventfds; then hv_vcpu_run(). (Since Linux 6.18 a slot that
 * comes after the interrupt controller or an ioeventfd costs some 7.5 ms.) Freeing goes the other
 * way: vCPUs and devices, VM, system. KVM ties a VM to the address space that made it: a fork
 * cannot use it.
 *
 * Threads: everything of struct hv and struct hv_vm may be called from any thread at any time, but
 * that two changes of the same slot, or of the same vCPU id, must not meet. A vCPU is used by one
 * thread at a time, its own while it runs: KVM makes others wait until the vCPU is out. Only
 * hv_vcpu_set_immediate_exit() may come from anywhere, and dirty ring harvesting from one other
 * thread.
 *
 * Errors: 0 or -errno with text (base's error.h); what each errno means stands at the call.
 * Everywhere: -ENOTSUP, this hypervisor, kernel or architecture does not have it; -ENOMEM.
 * hv_vcpu_run() and hv_vm_signal_msi() are data paths and leave no text.
 */
#ifndef VMM_HYPERVISOR_HYPERVISOR_H
#define VMM_HYPERVISOR_HYPERVISOR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/hypervisor/exit.h>
#include <vmm/hypervisor/state.h>
#include <vmm/hypervisor/uapi.h>

struct hv;
struct hv_vm;
struct hv_vcpu;
struct hv_device;
struct kvm_msrs; /* x86 */

/* --- what the calls take --- */

/* Zeroed is right for x86 and for Arm with KVM's default of 40 address bits. */
struct hv_vm_config {
    uint32_t type; /* KVM_VM_TYPE_* without Arm's address size */
    /* Arm: bits of guest-physical address, 0 or 32 to hv_cap(KVM_CAP_ARM_VM_IPA_SIZE). */
    uint32_t ipa_bits;
};

enum {
    HV_SLOT_LOG_DIRTY = 1, /* = KVM_MEM_LOG_DIRTY_PAGES */
    HV_SLOT_READ_ONLY = 2, /* = KVM_MEM_READONLY: the guest's writes come as HV_EXIT_MMIO */
};

/* Guest-physical memory. gpa, size and host are multiples of the host's page size. */
struct hv_slot {
    uint32_t id; /* 0 to hv_vm_cap(KVM_CAP_NR_MEMSLOTS) - 1 */
    uint32_t flags; /* HV_SLOT_* */
    uint64_t gpa;
    uint64_t size; /* 0 removes the slot */
    void *host; /* borrowed until the slot is removed or the VM freed */
};

enum hv_irqchip {
    HV_IRQCHIP_KERNEL, /* x86: local APICs, IOAPIC and the two PICs in the kernel */
    HV_IRQCHIP_SPLIT, /* x86: only the local APICs; the IOAPIC is ours */
};

/* A message-signalled interrupt as a device writes it. */
struct hv_msi {
    uint64_t addr;
    uint32_t data;
    uint32_t devid; /* Arm ITS: who writes; counts only with has_devid */
    bool has_devid;
};

enum hv_route_type { HV_ROUTE_PIN, HV_ROUTE_MSI };

/* What an interrupt number (GSI) does: a pin of an interrupt controller in the kernel, or a
 * message. */
struct hv_route {
    uint32_t gsi;
    enum hv_route_type type;
    union {
        struct {
            uint32_t chip; /* x86: KVM_IRQCHIP_*; Arm: 0 */
            uint32_t pin;
        } pin;
        struct hv_msi msi;
    };
};

/* An eventfd that the guest signals by writing to an address. */
struct hv_ioeventfd {
    uint64_t addr;
    uint64_t datamatch; /* with match: only this value signals */
    uint32_t len; /* 1, 2, 4, 8: only writes of this width; 0: any width (no match) */
    int fd; /* borrowed during the call: KVM holds the eventfd itself */
    bool pio; /* x86: I/O port instead of memory */
    bool match;
};

/* One page the guest wrote to, from the dirty ring. */
struct hv_dirty_page {
    uint32_t slot; /* slot id; address space in the high half */
    uint64_t page; /* from the slot's start */
};

/* A write that KVM collected (hv_vm_coalesced_add()). */
struct hv_coalesced {
    uint64_t addr;
    uint32_t len;
    bool pio;
    uint8_t data[8];
};

enum hv_attr { HV_ATTR_HAS, HV_ATTR_GET, HV_ATTR_SET };

/* --- the tables --- */

/* What an implementation provides; every member is there. Users call the wrappers below, whose
 * comments are the contract. get and set return what the ioctl returned (>= 0) or -errno with text.
 * */
struct hv_ops {
    const char *name; /* "kvm", "fake" */
    void (*free)(struct hv *hv);
    int (*cap)(struct hv *hv, uint32_t cap);
    int (*get)(struct hv *hv, enum hv_state kind, void *buf, size_t size);
    int (*attr)(struct hv *hv, enum hv_attr what, struct kvm_device_attr *attr);
    int (*vm_new)(struct hv *hv, const struct hv_vm_config *config, struct hv_vm **ret_vm);
};

struct hv_vm_ops {
    void (*free)(struct hv_vm *vm);
    int (*cap)(struct hv_vm *vm, uint32_t cap);
    int (*enable_cap)(struct hv_vm *vm, const struct kvm_enable_cap *cap);
    int (*get)(struct hv_vm *vm, enum hv_state kind, void *buf, size_t size);
    int (*set)(struct hv_vm *vm, enum hv_state kind, const void *buf, size_t size);
    int (*attr)(struct hv_vm *vm, enum hv_attr what, struct kvm_device_attr *attr);
    int (*set_slot)(struct hv_vm *vm, const struct hv_slot *slot);
    int (*dirty_get)(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *ret_bitmap);
    int (*dirty_clear)(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t pages,
                       const uint64_t *bitmap);
    int (*dirty_ring_enable)(struct hv_vm *vm, uint32_t entries);
    int (*dirty_ring_reset)(struct hv_vm *vm);
    int (*irqchip_new)(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins);
    int (*set_routes)(struct hv_vm *vm, const struct hv_route *routes, size_t count);
    int (*irqfd)(struct hv_vm *vm, bool add, int fd, uint32_t gsi, int resample_fd);
    int (*ioeventfd)(struct hv_vm *vm, bool add, const struct hv_ioeventfd *event);
    int (*signal_msi)(struct hv_vm *vm, const struct hv_msi *msi);
    int (*irq_line)(struct hv_vm *vm, uint32_t irq, bool level);
    int (*coalesced)(struct hv_vm *vm, bool add, uint64_t addr, uint32_t size, bool pio);
    int (*stats_fd)(struct hv_vm *vm);
    int (*device_new)(struct hv_vm *vm, uint32_t type, struct hv_device **ret_device);
    int (*vcpu_new)(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu);
};

struct hv_vcpu_ops {
    void (*free)(struct hv_vcpu *vcpu);
    int (*run)(struct hv_vcpu *vcpu, struct hv_exit *ret_exit);
    int (*enable_cap)(struct hv_vcpu *vcpu, const struct kvm_enable_cap *cap);
    int (*get)(struct hv_vcpu *vcpu, enum hv_state kind, void *buf, size_t size);
    int (*set)(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size);
    int (*attr)(struct hv_vcpu *vcpu, enum hv_attr what, struct kvm_device_attr *attr);
    int (*stats_fd)(struct hv_vcpu *vcpu);
};

struct hv_device_ops {
    void (*free)(struct hv_device *device);
    int (*attr)(struct hv_device *device, enum hv_attr what, struct kvm_device_attr *attr);
};

/* The objects. Users read only what has a comment; an implementation puts its own struct around
 * each. */
struct hv {
    const struct hv_ops *ops;
    const struct vm_env *env; /* borrowed */
    int api_version; /* 12 */
    size_t run_bytes; /* size of a vCPU's mapping */
};

struct hv_vm {
    const struct hv_vm_ops *ops;
    struct hv *hv; /* borrowed */
    uint32_t dirty_ring_entries; /* 0: no dirty ring */
};

struct hv_vcpu {
    const struct hv_vcpu_ops *ops;
    struct hv_vm *vm; /* borrowed */
    struct kvm_run *run; /* the page shared with the hypervisor; the vCPU's thread only */
    uint32_t id; /* as given to hv_vcpu_new(); x86: its APIC id */
    uint32_t ring_next;
    struct kvm_dirty_gfn *ring;
    struct kvm_coalesced_mmio_ring *coalesced;
    uint32_t coalesced_max;
};

struct hv_device {
    const struct hv_device_ops *ops;
    struct hv_vm *vm; /* borrowed */
};

/* --- the system --- */

/* No VM of it may be left. hv may be NULL. */
static inline void hv_free(struct hv *hv)
{
    if (hv)
        hv->ops->free(hv);
}

/* The value of KVM_CAP_*: 0 means no; what else it says is the capability's own affair. Never
 * negative. Some differ by VM: ask hv_vm_cap() once there is one. */
static inline int hv_cap(struct hv *hv, uint32_t cap)
{
    return hv->ops->cap(hv, cap);
}

/* The most vCPUs a VM may have, and the number the host can really run at once. */
uint32_t hv_vcpus_max(struct hv *hv);
uint32_t hv_vcpus_recommended(struct hv *hv);

/* Reads a HV_STATE_* of the system. 0; -E2BIG (list too short); -EINVAL (size does not fit the
 * kind, or not the system's); -ENOENT (HV_STATE_FEATURE_MSRS: one of them is unknown; nmsrs is then
 * the number that was read). */
int hv_get(struct hv *hv, enum hv_state kind, void *buf, size_t size);

/* KVM_GET_DEVICE_ATTR on the system (x86: KVM_X86_XCOMP_GUEST_SUPP). As hv_device_attr(). */
static inline int hv_attr(struct hv *hv, enum hv_attr what, struct kvm_device_attr *attr)
{
    return hv->ops->attr(hv, what, attr);
}

/* --- VM --- */

/* config is copied. 0; -EINVAL (type or address size this host does not have); -ENOMEM; -EMFILE;
 * with text. The VM belongs to the caller: hv_vm_free(). */
static inline int hv_vm_new(struct hv *hv, const struct hv_vm_config *config, struct hv_vm **ret_vm)
{
    return hv->ops->vm_new(hv, config, ret_vm);
}

/* No vCPU or device of it may be left. Its slots, irqfds and ioeventfds end with it. vm may be
 * NULL. */
static inline void hv_vm_free(struct hv_vm *vm)
{
    if (vm)
        vm->ops->free(vm);
}

/* As hv_cap(), for this VM. */
static inline int hv_vm_cap(struct hv_vm *vm, uint32_t cap)
{
    return vm->ops->cap(vm, cap);
}

/* Turns a capability on, after it has been asked for: KVM accepts some enables that then do nothing
 * (BUS_LOCK_EXIT on hosts without it), so an enable is never trusted alone. args may be NULL (all
 * 0). Capabilities whose value is a set of flags (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
 * KVM_CAP_X86_DISABLE_EXITS, KVM_CAP_X86_BUS_LOCK_EXIT) must have every flag of args[0]. Which
 * order a capability wants is its own affair (most: before the first vCPU). 0; -ENOTSUP
 * (hv_vm_cap() is 0 or lacks a flag); -EINVAL (wrong argument or too late); -EBUSY; with text. */
int hv_vm_enable_cap(struct hv_vm *vm, uint32_t cap, const uint64_t args[4]);

/* HV_STATE_* of a VM. 0; -EINVAL (size does not fit the kind, not a VM's, refused value); -ENXIO
 * (no such controller in this VM); -EBUSY or -EEXIST (too late, there already); with text. */
int hv_vm_get(struct hv_vm *vm, enum hv_state kind, void *buf, size_t size);
int hv_vm_set(struct hv_vm *vm, enum hv_state kind, const void *buf, size_t size);

/* As hv_device_attr(), on the VM (Arm: KVM_ARM_VM_*). */
static inline int hv_vm_attr(struct hv_vm *vm, enum hv_attr what, struct kvm_device_attr *attr)
{
    return vm->ops->attr(vm, what, attr);
}

/* Makes, moves, changes the flags of, or (size 0) removes a slot. A slot's size cannot change:
 * remove it first. 0; -EINVAL (not page aligned, id too high, unknown flag, size changed, removing
 * what is not there); -EEXIST (overlaps another slot); -ENOMEM; with text. */
static inline int hv_vm_set_slot(struct hv_vm *vm, const struct hv_slot *slot)
{
    return vm->ops->set_slot(vm, slot);
}

/* Copies a slot's dirty bitmap, bit n of word n / 64 for page n, and, without manual protect,
 * clears it. pages must be the slot's size in pages; ret_bitmap has room for pages rounded up to
 * 64. 0; -ENOENT (slot absent or not logged); -ENXIO (the VM has a dirty ring instead); with text.
 * */
static inline int hv_vm_dirty_get(struct hv_vm *vm, uint32_t slot, uint64_t pages,
                                  uint64_t *ret_bitmap)
{
    return vm->ops->dirty_get(vm, slot, pages, ret_bitmap);
}

/* With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 on: clears (and write-protects again) the pages set in
 * bitmap, bit 0 being page first. first must be a multiple of 64; pages too unless it reaches the
 * slot's end. 0; -EINVAL; -ENOENT; with text. */
static inline int hv_vm_dirty_clear(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t pages,
                                    const uint64_t *bitmap)
{
    return vm->ops->dirty_clear(vm, slot, first, pages, bitmap);
}

/* Gives every vCPU a ring of entries (a power of two, at least a page of 16-byte entries) in place
 * of the bitmap; before the first slot and the first vCPU. On Arm the bitmap is there, too, for what
 * no vCPU writes (tables of an ITS). KVM keeps some entries in reserve and leaves with
 * HV_EXIT_DIRTY_RING_FULL before the end. 0; -ENOTSUP; -EINVAL (too late, not a power of two);
 * -E2BIG (more than the capability's bytes / 16); with text. */
static inline int hv_vm_dirty_ring_enable(struct hv_vm *vm, uint32_t entries)
{
    return vm->ops->dirty_ring_enable(vm, entries);
}

/* Takes what hv_vcpu_dirty_take() marked back from all rings and protects the pages again. The
 * caller must have transferred or recorded those pages after harvesting. The number of entries
 * freed (>= 0), or -EINVAL (no ring). */
static inline int hv_vm_dirty_ring_reset(struct hv_vm *vm)
{
    return vm->ops->dirty_ring_reset(vm);
}

/* x86: makes the interrupt controller, before the first vCPU. pins: HV_IRQCHIP_SPLIT only, the
 * lowest that many GSIs (up to 4096, 24 per usual IOAPIC; 0 is allowed) are our IOAPIC's, whose
 * level interrupts end in HV_EXIT_EOI; KVM finds them by the routes of those GSIs. 0; -EEXIST
 * (there already); -EINVAL (too late, too many pins); -ENOTSUP (Arm: make a VGIC with
 * hv_vm_device_new()); with text. */
static inline int hv_vm_irqchip_new(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins)
{
    return vm->ops->irqchip_new(vm, kind, pins);
}

/* Replaces the whole routing table in one call; routes is copied. A kernel irqchip starts with pins
 * 0 to 23 routed: the new table must say that again. 0; -EINVAL (a GSI too high, a pin twice, no
 * interrupt controller, a pin route under a split irqchip); -E2BIG (over
 * hv_vm_cap(KVM_CAP_IRQ_ROUTING)); -ENOMEM; with text. */
static inline int hv_vm_set_routes(struct hv_vm *vm, const struct hv_route *routes, size_t count)
{
    return vm->ops->set_routes(vm, routes, count);
}

/* From now on a signal of eventfd fd raises gsi. resample_fd >= 0 makes it a level: the line stays
 * up until the guest's end of interrupt, which signals resample_fd. The eventfds stay the caller's
 * and are referenced by KVM until del or the VM's end. 0; -EINVAL (resample with a split irqchip;
 * no interrupt controller); -EBADF; -EBUSY (fd is an irqfd already); with text. */
static inline int hv_vm_irqfd_add(struct hv_vm *vm, int fd, uint32_t gsi, int resample_fd)
{
    return vm->ops->irqfd(vm, true, fd, gsi, resample_fd);
}

/* Waits until no signal of fd is on its way any more. 0 also where there was none; -EINVAL; with
 * text. */
static inline int hv_vm_irqfd_del(struct hv_vm *vm, int fd, uint32_t gsi)
{
    return vm->ops->irqfd(vm, false, fd, gsi, -1);
}

/* From now on the guest's matching write signals event->fd and does not exit. 0; -EINVAL (len,
 * match with len 0); -EEXIST (same address, width and match already there); -ENOSPC (KVM's bus is
 * full: 1000 devices); -ENOTSUP (PIO on Arm); with text. */
static inline int hv_vm_ioeventfd_add(struct hv_vm *vm, const struct hv_ioeventfd *event)
{
    return vm->ops->ioeventfd(vm, true, event);
}

/* event as given to add. 0; -ENOENT; with text. */
static inline int hv_vm_ioeventfd_del(struct hv_vm *vm, const struct hv_ioeventfd *event)
{
    return vm->ops->ioeventfd(vm, false, event);
}

/* Sends one message. 1 (delivered), 0 (the guest blocks it), -EINVAL (no such destination, no
 * interrupt controller in the kernel); no text. */
static inline int hv_vm_signal_msi(struct hv_vm *vm, const struct hv_msi *msi)
{
    return vm->ops->signal_msi(vm, msi);
}

/* Sets an input of the controller in the kernel. irq: a GSI on x86, KVM_ARM_IRQ_* coded on Arm. An
 * edge is true then false. 0; -ENXIO (no controller); -EINVAL; with text. */
static inline int hv_vm_irq_line(struct hv_vm *vm, uint32_t irq, bool level)
{
    return vm->ops->irq_line(vm, irq, level);
}

/* Writes to [addr, addr + size) are collected instead of exiting; hv_vcpu_coalesced_next() gives
 * them, before the next exit that does come. Add after at least one vCPU exists, to let them be
 * fetched. 0; -EINVAL; -ENOSPC; -ENOENT (del: not there); with text. */
static inline int hv_vm_coalesced_add(struct hv_vm *vm, uint64_t addr, uint32_t size, bool pio)
{
    return vm->ops->coalesced(vm, true, addr, size, pio);
}
static inline int hv_vm_coalesced_del(struct hv_vm *vm, uint64_t addr, uint32_t size, bool pio)
{
    return vm->ops->coalesced(vm, false, addr, size, pio);
}

/* A new fd with KVM's binary statistics (KVM_CAP_BINARY_STATS_FD), the caller's; or -errno with
 * text. */
static inline int hv_vm_stats_fd(struct hv_vm *vm)
{
    return vm->ops->stats_fd(vm);
}

/* --- devices in the kernel (VGIC, ITS, VFIO) --- */

/* type: KVM_DEV_TYPE_*. 0; -ENODEV (unknown type); -EEXIST; with text. The device is the caller's.
 * ret_device NULL: nothing is made; whether it could be. */
static inline int hv_vm_device_new(struct hv_vm *vm, uint32_t type, struct hv_device **ret_device)
{
    return vm->ops->device_new(vm, type, ret_device);
}

/* Before its VM. Drops our handle; what the kernel made of it stays until the VM ends. device may
 * be NULL. */
static inline void hv_device_free(struct hv_device *device)
{
    if (device)
        device->ops->free(device);
}

/* Asks for, reads or writes the attribute attr->group/attr->attr; attr->addr leads to the value. 0;
 * -ENXIO (no such attribute; HV_ATTR_HAS leaves no text then); -EBUSY (a vCPU runs); -EPERM;
 * -EINVAL; with text. */
static inline int hv_device_attr(struct hv_device *device, enum hv_attr what,
                                 struct kvm_device_attr *attr)
{
    return device->ops->attr(device, what, attr);
}

/* --- vCPU --- */

/* id: below hv_vm_cap(KVM_CAP_MAX_VCPU_ID); x86: its APIC id. An id cannot be used again in this
 * VM, even after hv_vcpu_free(): a vCPU that is plugged out is kept and plugged in again. 0;
 * -EEXIST; -EINVAL (id or number too high); -ENOMEM; -EMFILE; with text. The vCPU belongs to the
 * caller. */
static inline int hv_vcpu_new(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu)
{
    return vm->ops->vcpu_new(vm, id, ret_vcpu);
}

/* Not while it runs; before its VM. vcpu may be NULL. */
static inline void hv_vcpu_free(struct hv_vcpu *vcpu)
{
    if (vcpu)
        vcpu->ops->free(vcpu);
}

/* Completes the last exit, then lets the guest run until the next one and decodes it into
 * *ret_exit, whose other bytes are left as they were (do not clear it on each turn). 0, also for a
 * signal or immediate exit (HV_EXIT_INTR); -EFAULT (bad slot memory); -ENOEXEC (Arm: not
 * initialised); another -errno: the vCPU cannot go on. No text. */
static inline int hv_vcpu_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit)
{
    return vcpu->ops->run(vcpu, ret_exit);
}

/* While it is on, hv_vcpu_run() completes the last exit and comes back at once with HV_EXIT_INTR.
 * To kick a vCPU out of the guest: set it, then signal its thread with a signal whose handler does
 * nothing; a signal that arrives before KVM_RUN is then not lost. The vCPU's thread takes it back
 * itself, before it looks at what it was kicked for. Any thread. */
static inline void hv_vcpu_set_immediate_exit(struct hv_vcpu *vcpu, bool on)
{
    /* Sequentially consistent: partner of the caller's store to whatever the vCPU thread is to look
     * at. */
    __atomic_store_n(&vcpu->run->immediate_exit, (uint8_t)on, __ATOMIC_SEQ_CST);
}

/* As hv_vm_enable_cap(); the capability is asked of the VM. */
int hv_vcpu_enable_cap(struct hv_vcpu *vcpu, uint32_t cap, const uint64_t args[4]);

/* HV_STATE_* of a vCPU. 0; -EINVAL (size does not fit the kind, not a vCPU's, refused value);
 * -E2BIG (list too short); -ENOENT (an MSR or register that KVM does not take; text names it); with
 * text. */
int hv_vcpu_get(struct hv_vcpu *vcpu, enum hv_state kind, void *buf, size_t size);
int hv_vcpu_set(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size);

/* HV_STATE_MSRS for who wants to skip what KVM does not take: KVM goes through the list in order
 * and stops at the first such MSR. *ret_done, always set, is the number moved. 0: all; -ENOENT:
 * msrs->entries[*ret_done] was refused; with text. size: bytes of msrs with its entries. */
int hv_vcpu_get_msrs(struct hv_vcpu *vcpu, struct kvm_msrs *msrs, size_t size, uint32_t *ret_done);
int hv_vcpu_set_msrs(struct hv_vcpu *vcpu, const struct kvm_msrs *msrs, size_t size,
                     uint32_t *ret_done);

/* Arm: one register; value has as many bytes as its id says (KVM_REG_SIZE). As HV_STATE_ONE_REG. */
int hv_vcpu_get_reg(struct hv_vcpu *vcpu, uint64_t id, void *ret_value);
int hv_vcpu_set_reg(struct hv_vcpu *vcpu, uint64_t id, const void *value);

/* As hv_device_attr(), on the vCPU (Arm: timers, PMU, PVTime; x86: TSC offset). */
static inline int hv_vcpu_attr(struct hv_vcpu *vcpu, enum hv_attr what,
                               struct kvm_device_attr *attr)
{
    return vcpu->ops->attr(vcpu, what, attr);
}

static inline int hv_vcpu_stats_fd(struct hv_vcpu *vcpu)
{
    return vcpu->ops->stats_fd(vcpu);
}

/* Harvests up to max entries of the vCPU's dirty ring; they become free with the next
 * hv_vm_dirty_ring_reset(). May run beside the guest, in one thread at a time. The number of
 * entries written; 0 without a ring. */
size_t hv_vcpu_dirty_take(struct hv_vcpu *vcpu, struct hv_dirty_page *ret_pages, size_t max);

/* Whether there are collected writes of the VM (all its vCPUs share one ring) that are not done. Any
 * thread: who hears "no" sees what every vCPU's done ones did. */
static inline bool hv_vcpu_coalesced_any(const struct hv_vcpu *vcpu)
{
    const struct kvm_coalesced_mmio_ring *ring = vcpu->coalesced;

    /* Partner: the release in hv_vcpu_coalesced_done(). */
    return ring && __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) !=
                       __atomic_load_n(&ring->last, __ATOMIC_RELAXED);
}
/* The oldest of them, until hv_vcpu_coalesced_done() takes it away; false when there is none. One thread
 * at a time per VM. */
bool hv_vcpu_coalesced_next(struct hv_vcpu *vcpu, struct hv_coalesced *ret_write);
void hv_vcpu_coalesced_done(struct hv_vcpu *vcpu);

#endif
