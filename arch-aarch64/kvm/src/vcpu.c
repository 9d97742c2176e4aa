/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vCPUs: features, registers at the kernel's entry, state in words (Linux Documentation/virt/kvm/api.rst, 4.82 and 4.68). */
#include "arm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

#define CORE_REG(member)                                   \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
     (__u64)(offsetof(struct kvm_regs, member) / sizeof(__u32)))
/* op0, op1, CRn, CRm, op2 as in the Arm Architecture Reference Manual, D19. */
#define REG_MPIDR ARM64_SYS_REG(3, 0, 0, 0, 5)
#define REG_ESR   ARM64_SYS_REG(3, 0, 5, 2, 0)
#define REG_FAR   ARM64_SYS_REG(3, 0, 6, 0, 0)
#define REG_VBAR  ARM64_SYS_REG(3, 0, 12, 0, 0)
#define REG_SCTLR ARM64_SYS_REG(3, 0, 1, 0, 0)
#define REG_TTBR0 ARM64_SYS_REG(3, 0, 2, 0, 0)
#define REG_TTBR1 ARM64_SYS_REG(3, 0, 2, 0, 1)
enum { PVTIME_BYTES = 64 };
#define MPIDR_AFFINITY 0xff00ffffffULL /* Aff3, Aff2, Aff1, Aff0 */

static void want(struct kvm_vcpu_init *init, unsigned feature)
{
    init->features[feature / 32] |= 1U << feature % 32;
}

void varch_arm_features(const struct varch *arch, bool first, struct kvm_vcpu_init *init)
{
    struct hv_vm *vm = arch->vm;

    want(init, KVM_ARM_VCPU_PSCI_0_2);
    if (!first) /* PSCI CPU_ON starts it */
        want(init, KVM_ARM_VCPU_POWER_OFF);
    if (arch->pmu)
        want(init, KVM_ARM_VCPU_PMU_V3);
    if (hv_vm_cap(vm, KVM_CAP_ARM_SVE))
        want(init, KVM_ARM_VCPU_SVE);
    /* KVM takes both or none. */
    if (hv_vm_cap(vm, KVM_CAP_ARM_PTRAUTH_ADDRESS) && hv_vm_cap(vm, KVM_CAP_ARM_PTRAUTH_GENERIC)) {
        want(init, KVM_ARM_VCPU_PTRAUTH_ADDRESS);
        want(init, KVM_ARM_VCPU_PTRAUTH_GENERIC);
    }
}

int varch_arm_vcpu_init(struct varch *arch, struct hv_vcpu *vcpu)
{
    struct kvm_vcpu_init init;
    int sve = KVM_ARM_VCPU_SVE;
    int rc = hv_vm_get(arch->vm, HV_STATE_PREFERRED_TARGET, &init, sizeof(init));

    if (rc)
        return rc;
    varch_arm_features(arch, !arch->vcpus, &init);
    rc = hv_vcpu_set(vcpu, HV_STATE_VCPU_INIT, &init, sizeof(init));
    if (!rc && hv_vm_cap(arch->vm, KVM_CAP_ARM_SVE))
        rc = hv_vcpu_set(vcpu, HV_STATE_VCPU_FINALIZE, &sve, sizeof(sve));
    if (!rc)
        arch->vcpu[arch->vcpus++] = vcpu;
    return rc;
}

/* Documentation/virt/kvm/devices/vcpu.rst, 3: 64 bytes for each vCPU, which the guest finds by a call (Arm DEN0057). */
static int set_pvtime(const struct varch *arch, struct hv_vcpu *vcpu)
{
    uint64_t at = VBOOT_ARM_PVTIME_BASE + (uint64_t)vcpu->id * PVTIME_BYTES;
    struct kvm_device_attr attr = { .group = KVM_ARM_VCPU_PVTIME_CTRL,
                                    .attr = KVM_ARM_VCPU_PVTIME_IPA,
                                    .addr = (uintptr_t)&at };
    int rc = arch->pvtime ? hv_vcpu_attr(vcpu, HV_ATTR_SET, &attr) : 0;

    return rc ? vm_wrap(rc, "stolen time of vCPU %u", vcpu->id) : 0;
}

/* vcpu.rst, 1: the PMU's interrupt, then INIT, which needs the VGIC's own. */
static int set_pmu(const struct varch *arch, struct hv_vcpu *vcpu)
{
    uint64_t intid = 16 + VBOOT_ARM_PPI_PMU; /* KVM reads an int: its low half */
    struct kvm_device_attr attr = { .group = KVM_ARM_VCPU_PMU_V3_CTRL,
                                    .attr = KVM_ARM_VCPU_PMU_V3_IRQ,
                                    .addr = (uintptr_t)&intid };
    int rc;

    if (!arch->pmu)
        return 0;
    rc = hv_vcpu_attr(vcpu, HV_ATTR_SET, &attr);
    attr = (struct kvm_device_attr){ .group = KVM_ARM_VCPU_PMU_V3_CTRL,
                                     .attr = KVM_ARM_VCPU_PMU_V3_INIT };
    if (!rc)
        rc = hv_vcpu_attr(vcpu, HV_ATTR_SET, &attr);
    return rc ? vm_wrap(rc, "performance counters of vCPU %u", vcpu->id) : 0;
}

int varch_arm_vcpu_settle(const struct varch *arch, struct hv_vcpu *vcpu)
{
    int rc = set_pvtime(arch, vcpu);

    return rc ? rc : set_pmu(arch, vcpu);
}

int varch_arm_vcpu_start(struct hv_vcpu *vcpu, const struct vboot_arm_start *start)
{
    int rc = hv_vcpu_set_reg(vcpu, CORE_REG(regs.pc), &start->pc);

    if (!rc)
        rc = hv_vcpu_set_reg(vcpu, CORE_REG(regs.regs[0]), &start->x0);
    return rc ? rc : hv_vcpu_set_reg(vcpu, CORE_REG(regs.pstate), &start->pstate);
}

int varch_arm_mpidr(struct hv_vcpu *vcpu, uint64_t *ret_mpidr)
{
    int rc = hv_vcpu_get_reg(vcpu, REG_MPIDR, ret_mpidr);

    *ret_mpidr &= MPIDR_AFFINITY;
    return rc;
}

int varch_arm_abort(struct hv_vcpu *vcpu)
{
    struct kvm_vcpu_events events = { .exception.ext_dabt_pending = 1 };

    return hv_vcpu_set(vcpu, HV_STATE_VCPU_EVENTS, &events, sizeof(events));
}

static uint64_t reg(struct hv_vcpu *vcpu, uint64_t id)
{
    uint64_t value = 0;

    (void)hv_vcpu_get_reg(vcpu, id, &value);
    return value;
}

void varch_dump(struct varch *arch, struct hv_vcpu *vcpu, char *ret_text, size_t room)
{
    size_t at;

    (void)arch;
    if (!room)
        return;
    at = (size_t)snprintf(
        ret_text, room,
        "vCPU %u\npc %016llx sp_el1 %016llx sp_el0 %016llx pstate %08llx\n"
        "esr %08llx far %016llx vbar %016llx sctlr %016llx\nttbr0 %016llx ttbr1 %016llx elr "
        "%016llx",
        vcpu->id, (unsigned long long)reg(vcpu, CORE_REG(regs.pc)),
        (unsigned long long)reg(vcpu, CORE_REG(sp_el1)),
        (unsigned long long)reg(vcpu, CORE_REG(regs.sp)),
        (unsigned long long)reg(vcpu, CORE_REG(regs.pstate)),
        (unsigned long long)reg(vcpu, REG_ESR), (unsigned long long)reg(vcpu, REG_FAR),
        (unsigned long long)reg(vcpu, REG_VBAR), (unsigned long long)reg(vcpu, REG_SCTLR),
        (unsigned long long)reg(vcpu, REG_TTBR0), (unsigned long long)reg(vcpu, REG_TTBR1),
        (unsigned long long)reg(vcpu, CORE_REG(elr_el1)));
    for (unsigned i = 0; i < 31 && at < room; i++)
        at +=
            (size_t)snprintf(ret_text + at, room - at, "%sx%-2u %016llx", i % 4 ? " " : "\n", i,
                             (unsigned long long)reg(vcpu, CORE_REG(regs.regs[0]) +
                                                               i * sizeof(__u64) / sizeof(__u32)));
}
