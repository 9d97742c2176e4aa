/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Registers of a vCPU at power-on and at the kernel's entry (Intel SDM volume 3A; KVM fills in the rest). */
#include "x86.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    MSR_MISC_ENABLE = 0x1a0,
    MISC_ENABLE_FAST_STRING = 1,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MTRR_ENABLED_WRITE_BACK = 0x800 | 6,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LVT_MASKED = 0x10000,
    LVT_NMI = 4 << 8, /* delivery mode */
    RFLAGS_FIXED = 2,
};

const struct kvm_msr_entry varch_x86_msrs[] = {
    { .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
    /* Firmware would have set the MTRRs: all memory is write-back, and the kernel need not guess. */
    { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
};
const uint32_t varch_x86_msr_count = VM_ARRAY_SIZE(varch_x86_msrs);

int varch_x86_msrs_set(struct hv_vcpu *vcpu)
{
    _Alignas(struct kvm_msrs)
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(varch_x86_msrs)] = { 0 };
    struct kvm_msrs *msrs = (struct kvm_msrs *)room;

    msrs->nmsrs = varch_x86_msr_count;
    memcpy(msrs->entries, varch_x86_msrs, sizeof(varch_x86_msrs));
    return hv_vcpu_set(vcpu, HV_STATE_MSRS, msrs, sizeof(room));
}

/* No PIC is wired to LINT0; LINT1 is the NMI (Intel MultiProcessor Specification 1.4, 3.6.2.2). */
int varch_x86_lapic_set(struct hv_vcpu *vcpu)
{
    struct kvm_lapic_state lapic;
    int rc = hv_vcpu_get(vcpu, HV_STATE_LAPIC, &lapic, sizeof(lapic));

    if (rc)
        return rc;
    vm_store_le(lapic.regs + LAPIC_LVT_LINT0, 4, LVT_MASKED);
    vm_store_le(lapic.regs + LAPIC_LVT_LINT1, 4, LVT_NMI);
    return hv_vcpu_set(vcpu, HV_STATE_LAPIC, &lapic, sizeof(lapic));
}

static struct kvm_segment segment(const struct vboot_x86_segment *s)
{
    return (struct kvm_segment){
        .limit = s->limit,
        .selector = s->selector,
        .type = s->type & 0xf,
        .present = 1,
        .db = !s->long_mode && !s->system,
        .s = !s->system,
        .l = s->long_mode,
        .g = s->limit > 0xfffff,
    };
}

int varch_x86_start_set(struct hv_vcpu *vcpu, const struct vboot_x86_start *start)
{
    struct kvm_regs regs = { .rip = start->rip,
                             .rsi = start->rsi,
                             .rbx = start->rbx,
                             .rsp = start->rsp,
                             .rflags = RFLAGS_FIXED };
    struct kvm_sregs sregs;
    int rc = hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));

    if (rc)
        return rc;
    sregs.cs = segment(&start->cs);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(&start->ds);
    sregs.tr = segment(&start->tss);
    sregs.gdt.base = start->gdt_base;
    sregs.gdt.limit = start->gdt_limit;
    sregs.cr0 = start->cr0;
    sregs.cr3 = start->cr3;
    sregs.cr4 = start->cr4;
    sregs.efer = start->efer;
    rc = hv_vcpu_set(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));
    return rc ? rc : hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs));
}
