/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The table of state kinds (Linux Documentation/virt/kvm/api.rst, section 4). */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/uapi.h>

#include "state_table.h"

#define ROW(kind, text, whose, bits, elem, bytes, getter, setter) \
    [HV_STATE_##kind] = { .name = (text),                         \
                          .object = HV_OBJECT_##whose,            \
                          .flags = (bits),                        \
                          .entry = (elem),                        \
                          .size = (bytes),                        \
                          .get = (getter),                        \
                          .set = (setter) }
#define FIXED(kind, text, whose, type, getter, setter) \
    ROW(kind, text, whose, 0, 0, sizeof(type), getter, setter)
#define VALUE(kind, text, whose, type, getter, setter) \
    ROW(kind, text, whose, STATE_BY_VALUE, 0, sizeof(type), getter, setter)
#define NONE(kind, text, whose, setter) ROW(kind, text, whose, 0, 0, 0, 0, setter)
/* Of the other architecture: only name and object. */
#define OTHER(kind, text, whose) ROW(kind, text, whose, 0, 0, 0, 0, 0)

#if defined(__x86_64__)
enum { CPUID_ENTRY = sizeof(struct kvm_cpuid_entry2), MSR_ENTRY = sizeof(struct kvm_msr_entry) };
#define CPUID_LIST(kind, text, whose, getter, setter) \
    ROW(kind, text, whose, 0, CPUID_ENTRY, sizeof(struct kvm_cpuid2), getter, setter)
#define MSR_LIST(kind, text, whose, getter, setter) \
    ROW(kind, text, whose, 0, MSR_ENTRY, sizeof(struct kvm_msrs), getter, setter)
#define INDEX_LIST(kind, text, getter) \
    ROW(kind, text, SYSTEM, 0, sizeof(uint32_t), sizeof(struct kvm_msr_list), getter, 0)
#endif

static const struct state_row rows[HV_STATE_COUNT] = {
    FIXED(MP_STATE, "MP state", VCPU, struct kvm_mp_state, KVM_GET_MP_STATE, KVM_SET_MP_STATE),
    FIXED(VCPU_EVENTS, "vCPU events", VCPU, struct kvm_vcpu_events, KVM_GET_VCPU_EVENTS,
          KVM_SET_VCPU_EVENTS),
    FIXED(GUEST_DEBUG, "guest debug", VCPU, struct kvm_guest_debug, 0, KVM_SET_GUEST_DEBUG),
#if defined(__x86_64__)
    CPUID_LIST(SUPPORTED_CPUID, "supported CPUID", SYSTEM, KVM_GET_SUPPORTED_CPUID, 0),
    CPUID_LIST(EMULATED_CPUID, "emulated CPUID", SYSTEM, KVM_GET_EMULATED_CPUID, 0),
    INDEX_LIST(MSR_INDEX_LIST, "MSR list", KVM_GET_MSR_INDEX_LIST),
    INDEX_LIST(MSR_FEATURE_LIST, "feature MSR list", KVM_GET_MSR_FEATURE_INDEX_LIST),
    MSR_LIST(FEATURE_MSRS, "feature MSRs", SYSTEM, KVM_GET_MSRS, 0),
    FIXED(IRQCHIP, "irqchip", VM, struct kvm_irqchip, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP),
    FIXED(PIT_CREATE, "PIT creation", VM, struct kvm_pit_config, 0, KVM_CREATE_PIT2),
    FIXED(PIT, "PIT", VM, struct kvm_pit_state2, KVM_GET_PIT2, KVM_SET_PIT2),
    FIXED(CLOCK, "clock", VM, struct kvm_clock_data, KVM_GET_CLOCK, KVM_SET_CLOCK),
    FIXED(MSR_FILTER, "MSR filter", VM, struct kvm_msr_filter, 0, KVM_X86_SET_MSR_FILTER),
    VALUE(TSS_ADDR, "TSS address", VM, uint64_t, 0, KVM_SET_TSS_ADDR),
    FIXED(IDENTITY_MAP, "identity map address", VM, uint64_t, 0, KVM_SET_IDENTITY_MAP_ADDR),
    VALUE(BOOT_CPU, "boot CPU", VM, uint64_t, 0, KVM_SET_BOOT_CPU_ID),
    VALUE(VM_TSC_KHZ, "TSC frequency of the VM", VM, uint32_t, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ),
    OTHER(PREFERRED_TARGET, "preferred target", VM),
    FIXED(REGS, "registers", VCPU, struct kvm_regs, KVM_GET_REGS, KVM_SET_REGS),
    FIXED(SREGS, "system registers", VCPU, struct kvm_sregs, KVM_GET_SREGS, KVM_SET_SREGS),
    FIXED(SREGS2, "system registers 2", VCPU, struct kvm_sregs2, KVM_GET_SREGS2, KVM_SET_SREGS2),
    FIXED(FPU, "FPU", VCPU, struct kvm_fpu, KVM_GET_FPU, KVM_SET_FPU),
    FIXED(XSAVE, "XSAVE area", VCPU, struct kvm_xsave, KVM_GET_XSAVE, KVM_SET_XSAVE),
    ROW(XSAVE2, "XSAVE area 2", VCPU, STATE_AT_LEAST, 0, sizeof(struct kvm_xsave), KVM_GET_XSAVE2,
        KVM_SET_XSAVE),
    FIXED(XCRS, "XCRs", VCPU, struct kvm_xcrs, KVM_GET_XCRS, KVM_SET_XCRS),
    FIXED(DEBUGREGS, "debug registers", VCPU, struct kvm_debugregs, KVM_GET_DEBUGREGS,
          KVM_SET_DEBUGREGS),
    FIXED(LAPIC, "local APIC", VCPU, struct kvm_lapic_state, KVM_GET_LAPIC, KVM_SET_LAPIC),
    CPUID_LIST(CPUID2, "CPUID", VCPU, KVM_GET_CPUID2, KVM_SET_CPUID2),
    MSR_LIST(MSRS, "MSRs", VCPU, KVM_GET_MSRS, KVM_SET_MSRS),
    VALUE(TSC_KHZ, "TSC frequency", VCPU, uint32_t, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ),
    NONE(NMI, "NMI", VCPU, KVM_NMI),
    NONE(CLOCK_PAUSED, "clock pause", VCPU, KVM_KVMCLOCK_CTRL),
    FIXED(TRANSLATION, "translation", VCPU, struct kvm_translation, KVM_TRANSLATE, 0),
    OTHER(VCPU_INIT, "vCPU init", VCPU),
    OTHER(VCPU_FINALIZE, "vCPU finalize", VCPU),
    OTHER(ONE_REG, "register", VCPU),
    OTHER(REG_LIST, "register list", VCPU),
#elif defined(__aarch64__)
    OTHER(SUPPORTED_CPUID, "supported CPUID", SYSTEM),
    OTHER(EMULATED_CPUID, "emulated CPUID", SYSTEM),
    OTHER(MSR_INDEX_LIST, "MSR list", SYSTEM),
    OTHER(MSR_FEATURE_LIST, "feature MSR list", SYSTEM),
    OTHER(FEATURE_MSRS, "feature MSRs", SYSTEM),
    OTHER(IRQCHIP, "irqchip", VM),
    OTHER(PIT_CREATE, "PIT creation", VM),
    OTHER(PIT, "PIT", VM),
    OTHER(CLOCK, "clock", VM),
    OTHER(MSR_FILTER, "MSR filter", VM),
    OTHER(TSS_ADDR, "TSS address", VM),
    OTHER(IDENTITY_MAP, "identity map address", VM),
    OTHER(BOOT_CPU, "boot CPU", VM),
    OTHER(VM_TSC_KHZ, "TSC frequency of the VM", VM),
    FIXED(PREFERRED_TARGET, "preferred target", VM, struct kvm_vcpu_init, KVM_ARM_PREFERRED_TARGET,
          0),
    OTHER(REGS, "registers", VCPU),
    OTHER(SREGS, "system registers", VCPU),
    OTHER(SREGS2, "system registers 2", VCPU),
    OTHER(FPU, "FPU", VCPU),
    OTHER(XSAVE, "XSAVE area", VCPU),
    OTHER(XSAVE2, "XSAVE area 2", VCPU),
    OTHER(XCRS, "XCRs", VCPU),
    OTHER(DEBUGREGS, "debug registers", VCPU),
    OTHER(LAPIC, "local APIC", VCPU),
    OTHER(CPUID2, "CPUID", VCPU),
    OTHER(MSRS, "MSRs", VCPU),
    OTHER(TSC_KHZ, "TSC frequency", VCPU),
    OTHER(NMI, "NMI", VCPU),
    OTHER(CLOCK_PAUSED, "clock pause", VCPU),
    OTHER(TRANSLATION, "translation", VCPU),
    FIXED(VCPU_INIT, "vCPU init", VCPU, struct kvm_vcpu_init, 0, KVM_ARM_VCPU_INIT),
    FIXED(VCPU_FINALIZE, "vCPU finalize", VCPU, int, 0, KVM_ARM_VCPU_FINALIZE),
    FIXED(ONE_REG, "register", VCPU, struct kvm_one_reg, KVM_GET_ONE_REG, KVM_SET_ONE_REG),
    ROW(REG_LIST, "register list", VCPU, STATE_COUNT_64, sizeof(uint64_t),
        sizeof(struct kvm_reg_list), KVM_GET_REG_LIST, 0),
#endif
};

const struct state_row *hv_state_row(enum hv_state kind)
{
    return (unsigned)kind < HV_STATE_COUNT ? &rows[kind] : NULL;
}

const char *hv_state_name(enum hv_state kind)
{
    const struct state_row *row = hv_state_row(kind);

    return row ? row->name : "?";
}

enum hv_object hv_state_object(enum hv_state kind)
{
    const struct state_row *row = hv_state_row(kind);

    return row ? (enum hv_object)row->object : HV_OBJECT_SYSTEM;
}

uint64_t hv_state_count(const struct state_row *row, const void *buf)
{
    uint64_t n = 0;

    /* A count of 32 bits stands first in each list struct; both architectures are little endian. */
    memcpy(&n, buf, row->flags & STATE_COUNT_64 ? sizeof(uint64_t) : sizeof(uint32_t));
    return n;
}

static int check_size(const struct state_row *row, const void *buf, size_t size)
{
    if (row->entry) {
        if (size < row->size)
            return vm_fail(-EINVAL, "%s: %zu bytes are less than the list's head of %u", row->name,
                           size, row->size);
        if (hv_state_count(row, buf) > (size - row->size) / row->entry)
            return vm_fail(-EINVAL, "%s: %zu bytes do not hold the %llu entries of the count",
                           row->name, size, (unsigned long long)hv_state_count(row, buf));
        return 0;
    }
    if (size == row->size || (size > row->size && row->flags & STATE_AT_LEAST))
        return 0;
    return vm_fail(-EINVAL, "%s: %zu bytes given, it has %u", row->name, size, row->size);
}

int hv_state_check(enum hv_state kind, enum hv_object object, int is_set, const void *buf,
                   size_t size)
{
    static const char *const owner[] = { "the system", "a VM", "a vCPU" };
    const struct state_row *row = hv_state_row(kind);

    if (!row || row->object != object)
        return vm_fail(-EINVAL, "%s (%d) is not state of %s", hv_state_name(kind), (int)kind,
                       owner[object]);
    if (!(is_set ? row->set : row->get))
        return vm_fail(-ENOTSUP, "%s cannot be %s here", row->name, is_set ? "set" : "read");
    return check_size(row, buf, size);
}
