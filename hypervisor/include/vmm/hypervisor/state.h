/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What hv_get()/hv_set(), hv_vm_get()/hv_vm_set() and hv_vcpu_get()/hv_vcpu_set() move: one kind
 * per KVM call, the KVM uapi struct as payload. Behind each kind: object, payload, G (can be got),
 * S (can be set).
 *
 * "list": a struct that ends in entries[]; its count field says how many there is room for (get) or
 * how many there are (set), and size must cover them. A get of a list that is too short is -E2BIG,
 * with the count set to what is needed where KVM tells it. "value": a plain integer. "none": pass
 * NULL and 0. A kind of the other architecture is -ENOTSUP.
 */
#ifndef VMM_HYPERVISOR_STATE_H
#define VMM_HYPERVISOR_STATE_H

enum hv_state {
    /* The system. x86. */
    HV_STATE_SUPPORTED_CPUID, /* list kvm_cpuid2, G */
    HV_STATE_EMULATED_CPUID, /* list kvm_cpuid2, G */
    HV_STATE_MSR_INDEX_LIST, /* list kvm_msr_list, G: what a snapshot must save */
    HV_STATE_MSR_FEATURE_LIST, /* list kvm_msr_list, G */
    HV_STATE_FEATURE_MSRS, /* list kvm_msrs, G: all, or -ENOENT */

    /* A VM. x86 unless noted. */
    HV_STATE_IRQCHIP, /* kvm_irqchip, chip_id says which, GS; kernel irqchip only */
    HV_STATE_PIT_CREATE, /* kvm_pit_config, S: makes the PIT; kernel irqchip only */
    HV_STATE_PIT, /* kvm_pit_state2, GS */
    HV_STATE_CLOCK, /* kvm_clock_data, GS */
    HV_STATE_MSR_FILTER, /* kvm_msr_filter, S; needs KVM_CAP_X86_MSR_FILTER */
    HV_STATE_TSS_ADDR, /* value uint64_t, S: 3 pages below 4 GiB in no slot; before the vCPUs */
    HV_STATE_IDENTITY_MAP, /* value uint64_t, S: one page, likewise, before the vCPUs */
    HV_STATE_BOOT_CPU, /* value uint64_t, S: vCPU id of the bootstrap processor; before the vCPUs */
    HV_STATE_VM_TSC_KHZ, /* value uint32_t, GS: of new vCPUs; KVM_CAP_VM_TSC_CONTROL */
    HV_STATE_PREFERRED_TARGET, /* kvm_vcpu_init, G; Arm */

    /* A vCPU, both architectures. */
    HV_STATE_MP_STATE, /* kvm_mp_state, GS */
    HV_STATE_VCPU_EVENTS, /* kvm_vcpu_events, GS */
    HV_STATE_GUEST_DEBUG, /* kvm_guest_debug, S */
    /* x86 */
    HV_STATE_REGS, /* kvm_regs, GS */
    HV_STATE_SREGS, /* kvm_sregs, GS */
    HV_STATE_SREGS2, /* kvm_sregs2, GS; needs KVM_CAP_SREGS2 */
    HV_STATE_FPU, /* kvm_fpu, GS */
    HV_STATE_XSAVE, /* kvm_xsave of 4096 bytes, GS */
    HV_STATE_XSAVE2, /* hv_vm_cap(KVM_CAP_XSAVE2) bytes, at least 4096, GS */
    HV_STATE_XCRS, /* kvm_xcrs, GS */
    HV_STATE_DEBUGREGS, /* kvm_debugregs, GS */
    HV_STATE_LAPIC, /* kvm_lapic_state, GS */
    HV_STATE_CPUID2, /* list kvm_cpuid2, GS; set before the vCPU first runs */
    HV_STATE_MSRS, /* list kvm_msrs, GS: all, or -ENOENT (hv_vcpu_get_msrs() tells how many) */
    HV_STATE_TSC_KHZ, /* value uint32_t, GS; a rate the host cannot give is -EINVAL */
    HV_STATE_NMI, /* none, S: one NMI */
    HV_STATE_CLOCK_PAUSED, /* none, S: kvmclock learns of a stop; -EINVAL when it is off */
    HV_STATE_TRANSLATION, /* kvm_translation, G: linear_address in, the rest out */
    /* Arm */
    HV_STATE_VCPU_INIT, /* kvm_vcpu_init, S: first call on a new vCPU, and its reset */
    HV_STATE_VCPU_FINALIZE, /* value int, S: feature to finish (SVE) */
    HV_STATE_ONE_REG, /* kvm_one_reg, GS: addr leads to the value */
    HV_STATE_REG_LIST, /* list kvm_reg_list, G */

    HV_STATE_COUNT
};

enum hv_object { HV_OBJECT_SYSTEM, HV_OBJECT_VM, HV_OBJECT_VCPU };

/* "supported CPUID", "registers" ... for messages; "?" for a number that is none. */
const char *hv_state_name(enum hv_state kind);
/* Whose state it is; also for kinds of the other architecture. */
enum hv_object hv_state_object(enum hv_state kind);

#endif
