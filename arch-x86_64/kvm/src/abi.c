/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A vCPU as the guest finds it, read back from the hypervisor: CPUID, MSRs, local APIC. */
#include "x86.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/abi.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

/* "cpuid 0x0000000b.1": leaf and subleaf; then EAX, EBX, ECX, EDX. */
static int tell_cpuid(struct hv_vcpu *vcpu, struct vm_report *r)
{
    struct kvm_cpuid2 *c = calloc(1, VARCH_X86_CPUID_BYTES);
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "CPUID: out of memory");
    c->nent = VARCH_X86_CPUID_MAX;
    rc = hv_vcpu_get(vcpu, HV_STATE_CPUID2, c, VARCH_X86_CPUID_BYTES);
    for (uint32_t i = 0; !rc && i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];

        vm_report_add(r, "  cpuid 0x%08x", e->function);
        if (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
            vm_report_add(r, ".%u", e->index);
        vm_report_add(r, ": %08x %08x %08x %08x\n", e->eax, e->ebx, e->ecx, e->edx);
    }
    free(c);
    return rc;
}

static int tell_msrs(struct hv_vcpu *vcpu, struct vm_report *r)
{
    size_t size = sizeof(struct kvm_msrs) + varch_x86_msr_count * sizeof(struct kvm_msr_entry);
    struct kvm_msrs *msrs = calloc(1, size);
    int rc;

    if (!msrs)
        return vm_fail(-ENOMEM, "MSRs: out of memory");
    msrs->nmsrs = varch_x86_msr_count;
    for (uint32_t i = 0; i < varch_x86_msr_count; i++)
        msrs->entries[i].index = varch_x86_msrs[i].index;
    rc = hv_vcpu_get(vcpu, HV_STATE_MSRS, msrs, size);
    for (uint32_t i = 0; !rc && i < msrs->nmsrs; i++)
        vm_report_add(r, "  msr 0x%08x: %#llx\n", msrs->entries[i].index,
                      (unsigned long long)msrs->entries[i].data);
    free(msrs);
    return rc;
}

/* Registers of 32 bits, 16 bytes apart (Intel SDM 3A, table 11-1), that are not 0. */
static int tell_lapic(struct hv_vcpu *vcpu, struct vm_report *r)
{
    struct kvm_lapic_state lapic;
    int rc = hv_vcpu_get(vcpu, HV_STATE_LAPIC, &lapic, sizeof(lapic));

    for (unsigned at = 0; !rc && at < sizeof(lapic.regs); at += 16) {
        uint64_t v = vm_load_le(lapic.regs + at, 4);

        if (v)
            vm_report_add(r, "  lapic 0x%03x: %#llx\n", at, (unsigned long long)v);
    }
    return rc;
}

int varch_abi_vcpu(struct varch *arch, struct hv_vcpu *vcpu, struct vm_report *r)
{
    uint32_t khz = 0;
    int rc = tell_cpuid(vcpu, r);

    (void)arch;
    if (!rc)
        rc = tell_msrs(vcpu, r);
    if (!rc)
        rc = tell_lapic(vcpu, r);
    if (!rc && !hv_vcpu_get(vcpu, HV_STATE_TSC_KHZ, &khz, sizeof(khz)))
        vm_report_add(r, "  tsc: %u kHz\n", khz);
    return rc ? vm_wrap(rc, "vCPU %u", vcpu->id) : 0;
}
