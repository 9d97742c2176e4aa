/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A hypervisor without KVM, for tests, simulation, and what is told without a host (vmm abi). It keeps what it is told (slots, routes,
 * irqfds, ioeventfds, state), delivers interrupts into a list, and lets a call-back play each
 * vCPU's guest. Every call can be made to fail. What the real one refuses by rule (overlapping
 * slots, vCPU id twice, resample irqfd under a split irqchip, irqchip after the first vCPU ...) is
 * refused with the same errno.
 *
 * It has no threads, clock or random source of its own: the same calls give the same results.
 * Threads: one lock per hypervisor; a guest's call-backs run in the thread of hv_vcpu_run() without
 * it.
 */
#ifndef VMM_HYPERVISOR_FAKE_H
#define VMM_HYPERVISOR_FAKE_H

#include <vmm/hypervisor/hypervisor.h>

/* The calls that are counted and can fail: one per member of the tables. */
enum hv_fake_call {
    HV_FAKE_SYSTEM_GET,
    HV_FAKE_SYSTEM_ATTR,
    HV_FAKE_VM_NEW,
    HV_FAKE_VM_ENABLE_CAP,
    HV_FAKE_VM_GET,
    HV_FAKE_VM_SET,
    HV_FAKE_VM_ATTR,
    HV_FAKE_SET_SLOT,
    HV_FAKE_DIRTY_GET,
    HV_FAKE_DIRTY_CLEAR,
    HV_FAKE_DIRTY_RING_ENABLE,
    HV_FAKE_DIRTY_RING_RESET,
    HV_FAKE_IRQCHIP_NEW,
    HV_FAKE_SET_ROUTES,
    HV_FAKE_IRQFD,
    HV_FAKE_IOEVENTFD,
    HV_FAKE_SIGNAL_MSI,
    HV_FAKE_IRQ_LINE,
    HV_FAKE_COALESCED,
    HV_FAKE_STATS_FD,
    HV_FAKE_DEVICE_NEW,
    HV_FAKE_DEVICE_ATTR,
    HV_FAKE_VCPU_NEW,
    HV_FAKE_RUN,
    HV_FAKE_VCPU_ENABLE_CAP,
    HV_FAKE_VCPU_GET,
    HV_FAKE_VCPU_SET,
    HV_FAKE_VCPU_ATTR,
    HV_FAKE_CALLS
};

/* env is borrowed. -ENOMEM. Everything is freed with hv_free(), hv_vm_free(), hv_vcpu_free(), as
 * with KVM. */
int hv_fake_new(const struct vm_env *env, struct hv **ret_hv);

/* Capabilities begin as a recent KVM's on x86 (the list stands in fake.c); value 0 takes one away.
 * Of the system and of all its VMs, old and new. -ENOMEM. */
int hv_fake_set_cap(struct hv *hv, uint32_t cap, int value);
/* What hv_get() is to give for a kind; copied. Supported CPUID and the MSR lists begin with a small
 * sane set. -ENOMEM; -EINVAL (not a kind of the system). */
int hv_fake_set_system(struct hv *hv, enum hv_state kind, const void *buf, size_t size);

/* A register that vCPUs begin with from now on: Arm, KVM's id of it; x86, an MSR. -ENOMEM. */
int hv_fake_set_reg(struct hv *hv, uint64_t id, uint64_t value);

/* The call after the next skip ones returns code (negative errno) once and changes nothing; code 0
 * takes the order back. One order per call at a time. */
void hv_fake_fail(struct hv *hv, enum hv_fake_call call, unsigned skip, int code);
/* How often it was called, failed calls included. */
uint64_t hv_fake_calls(struct hv *hv, enum hv_fake_call call);

/* --- what the VM was told --- */

/* Number of slots, routes, irqfds, ioeventfds; and the i-th, in order of creation. False: there is
 * none. */
size_t hv_fake_slots(struct hv_vm *vm);
bool hv_fake_slot_at(struct hv_vm *vm, size_t i, struct hv_slot *ret_slot);
size_t hv_fake_routes(struct hv_vm *vm);
bool hv_fake_route_at(struct hv_vm *vm, size_t i, struct hv_route *ret_route);

struct hv_fake_irqfd {
    int fd;
    int resample_fd;
    uint32_t gsi;
};
size_t hv_fake_irqfds(struct hv_vm *vm);
bool hv_fake_irqfd_at(struct hv_vm *vm, size_t i, struct hv_fake_irqfd *ret_irqfd);
size_t hv_fake_ioeventfds(struct hv_vm *vm);
bool hv_fake_ioeventfd_at(struct hv_vm *vm, size_t i, struct hv_ioeventfd *ret_event);

/* True when the VM has an irqchip. */
bool hv_fake_irqchip(struct hv_vm *vm, enum hv_irqchip *ret_kind, uint32_t *ret_pins);
/* args of the last enable of cap; false when it was not enabled. */
bool hv_fake_enabled(struct hv_vm *vm, uint32_t cap, uint64_t ret_args[4]);

/* The i-th attribute that was set of the VM's devices and vCPUs, in order; value: the 64 bits at its address, 0 without
 * one. vCPUs take attributes where the fake has KVM_CAP_VCPU_ATTRIBUTES, and
 * give those that were set. */
struct hv_fake_attr {
    bool of_vcpu;
    uint32_t of; /* device's type, or vCPU's number */
    uint32_t group;
    uint64_t attr, value;
};
bool hv_fake_attr_at(struct hv_vm *vm, size_t i, struct hv_fake_attr *ret_attr);
/* What was set last for a kind of state, also for one that can only be set. False: nothing, or not of this size. */
bool hv_fake_vcpu_was_set(struct hv_vcpu *vcpu, enum hv_state kind, void *ret_buf, size_t size);

/* --- interrupts --- */

enum hv_fake_irq_type { HV_FAKE_BY_MSI, HV_FAKE_BY_LINE };

/* One interrupt as it reached the controller. A pin that is raised and lowered gives two (level 1,
 * level 0). */
struct hv_fake_irq {
    enum hv_fake_irq_type type;
    uint32_t irq; /* BY_LINE: the GSI, or as given to hv_vm_irq_line() */
    bool level; /* BY_LINE */
    struct hv_msi msi; /* BY_MSI */
};

/* Takes the oldest one; false when there is none. Looks at the irqfds first. At most 4096 wait;
 * more are counted in hv_fake_irqs_lost(). */
bool hv_fake_irq_take(struct hv_vm *vm, struct hv_fake_irq *ret_irq);
uint64_t hv_fake_irqs_lost(struct hv_vm *vm);
/* Takes the count of every irqfd's eventfd and delivers by the routes. hv_vcpu_run() does it too.
 * True: something came. */
bool hv_fake_irqfd_poll(struct hv_vm *vm);
/* The guest's end of interrupt for gsi: lowers its resample irqfds and signals their resample_fd.
 * */
void hv_fake_eoi(struct hv_vm *vm, uint32_t gsi);

/* --- the guest --- */

/* Plays a vCPU's guest. answer (may be NULL) comes when an exit is completed: on the next
 * hv_vcpu_run(), also with immediate exit; exit->pio.data and the like then hold what the VMM
 * answered. next makes the following exit with the functions below and returns 0, or -errno for
 * hv_vcpu_run() to give. A write that an ioeventfd catches signals it, and next is asked again, up
 * to 64 times in one run. */
struct hv_fake_guest {
    void (*answer)(void *ctx, struct hv_vcpu *vcpu, const struct hv_exit *exit);
    int (*next)(void *ctx, struct hv_vcpu *vcpu, struct hv_exit *ret_exit);
    void *ctx;
};

/* Copied. Without a guest a vCPU gives HV_EXIT_HLT for ever. */
void hv_fake_set_guest(struct hv_vcpu *vcpu, const struct hv_fake_guest *guest);

/* Fill ret_exit, with data in the vCPU's run page. value: what is written; ignored for reads. */
void hv_fake_exit_pio(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint16_t port,
                      uint8_t size, uint32_t value);
/* count values of size bytes each from data (writes; NULL: zeros). At most 4096 bytes in all: fewer
 * fit, fewer go. */
void hv_fake_exit_pio_string(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write,
                             uint16_t port, uint8_t size, uint32_t count, const void *data);
void hv_fake_exit_mmio(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint64_t addr,
                       uint32_t len, uint64_t value);
void hv_fake_exit_msr(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint32_t index,
                      uint64_t value);
void hv_fake_exit_eoi(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint8_t vector);
void hv_fake_exit_system_event(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint32_t type,
                               uint64_t data);
void hv_fake_exit_internal_error(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint32_t suberror,
                                 uint64_t data);
/* HV_EXIT_INTR, _HLT, _SHUTDOWN, _DIRTY_RING_FULL and others without payload. */
void hv_fake_exit_plain(struct hv_exit *ret_exit, enum hv_exit_reason reason);

/* The guest's access to memory through the slots. A write marks the dirty log or the vCPU's dirty
 * ring. 0; -EFAULT (not all of it in slots, or a write that meets a read-only one: the guest should
 * make an MMIO exit); -ENOSPC (dirty ring full: nothing was written, make HV_EXIT_DIRTY_RING_FULL).
 * */
int hv_fake_read(struct hv_vcpu *vcpu, uint64_t gpa, void *ret_data, size_t len);
int hv_fake_write(struct hv_vcpu *vcpu, uint64_t gpa, const void *data, size_t len);

#endif
