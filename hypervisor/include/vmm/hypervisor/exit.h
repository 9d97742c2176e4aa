/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Why a vCPU came back from hv_vcpu_run(). Decoded, not copied: the pointers lead into the vCPU's
 * run page and are borrowed until its next hv_vcpu_run(). (Linux Documentation/virt/kvm/api.rst,
 * section 5.)
 *
 * Reads (pio and mmio with is_write 0, HV_EXIT_RDMSR) are answered by writing to *data; the guest
 * gets the answer when the vCPU is run again. Until then the exit is half done: before a vCPU's
 * state is saved it must be entered once more with immediate exit set.
 */
#ifndef VMM_HYPERVISOR_EXIT_H
#define VMM_HYPERVISOR_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/hypervisor/uapi.h>

enum hv_exit_reason {
    HV_EXIT_PIO, /* pio */
    HV_EXIT_MMIO, /* mmio; also a guest's write to a read-only slot */
    HV_EXIT_INTR, /* a signal or immediate exit: nothing happened; run again */
    HV_EXIT_HLT, /* only without an interrupt controller in the kernel */
    HV_EXIT_EOI, /* eoi: end of a level interrupt under a split irqchip */
    HV_EXIT_RDMSR, /* msr: set *value, or *error = 1 for a #GP in the guest */
    HV_EXIT_WRMSR, /* msr: *value is what the guest wrote; *error as above */
    HV_EXIT_DIRTY_RING_FULL, /* harvest and hv_vm_dirty_ring_reset(), then run again */
    HV_EXIT_DEBUG, /* debug: a breakpoint or a single step (HV_STATE_GUEST_DEBUG) */
    HV_EXIT_SHUTDOWN, /* x86: triple fault */
    HV_EXIT_SYSTEM_EVENT, /* system_event: PSCI and others ask for power off, reset, suspend */
    HV_EXIT_INTERNAL_ERROR, /* internal_error: often an instruction KVM cannot emulate */
    HV_EXIT_FAIL_ENTRY, /* fail_entry: the hardware refused the vCPU's state */
    HV_EXIT_MEMORY_FAULT, /* memory_fault: memory that this VM does not have in the asked form */
    HV_EXIT_ARM_NISV, /* nisv: access that no syndrome describes */
    HV_EXIT_IRQ_WINDOW, /* can take an interrupt (no controller in the kernel) */
    HV_EXIT_BUS_LOCK, /* a bus lock was taken */
    HV_EXIT_OTHER, /* other: any KVM_EXIT_* not in this list */
    HV_EXIT_COUNT
};

struct hv_exit {
    enum hv_exit_reason reason;
    union {
        /* The first four are laid out as in struct kvm_run. data holds size * count bytes: count >
         * 1 is a string instruction (ins, outs) that moves count values to or from the same port.
         * size is 1, 2 or 4. */
        struct {
            uint8_t is_write;
            uint8_t size;
            uint16_t port;
            uint32_t count;
            uint8_t *data;
        } pio;
        struct {
            uint64_t addr;
            uint8_t *data;
            uint32_t len; /* 1 to 8 */
            bool is_write;
        } mmio;
        struct {
            uint8_t vector;
        } eoi;
        struct {
            uint64_t *value;
            uint8_t *error;
            uint32_t index;
            uint32_t why; /* KVM_MSR_EXIT_REASON_* */
        } msr;
        struct {
            const struct kvm_debug_exit_arch *arch;
        } debug;
        struct {
            const uint64_t *data;
            uint32_t type; /* KVM_SYSTEM_EVENT_* */
            uint32_t count;
        } system_event;
        struct {
            const uint64_t *data;
            uint32_t suberror; /* KVM_INTERNAL_ERROR_* */
            uint32_t count;
        } internal_error;
        struct {
            uint64_t reason; /* as the hardware gives it */
            uint32_t cpu;
        } fail_entry;
        struct {
            uint64_t gpa;
            uint64_t size;
            uint64_t flags;
        } memory_fault;
        struct {
            uint64_t esr_iss;
            uint64_t ipa;
        } nisv;
        struct {
            uint32_t kvm_reason; /* KVM_EXIT_*; details in vcpu->run */
        } other;
    };
};

/* "pio", "mmio" ... for messages; "?" for a number that is none. */
const char *hv_exit_name(enum hv_exit_reason reason);

#endif
