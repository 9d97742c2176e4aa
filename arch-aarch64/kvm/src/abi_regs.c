/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Registers of a vCPU in words, of those KVM lists (KVM_GET_REG_LIST; Linux Documentation/virt/kvm/api.rst, 4.68): the ID
 * registers, whatever they hold; system registers and KVM's own that are not 0. Not timers, which move, and vectors.
 */
#include "arm.h"

#include <errno.h>
#include <stdlib.h>

#include <vmm/base/error.h>

enum { REGS_MAX = 2048 };

/* A system register's number, in the manual's fields (Arm ARM, C5.1.2; KVM's arch/arm64/include/uapi/asm/kvm.h). */
static unsigned field(uint64_t id, uint64_t mask, unsigned shift)
{
    return (unsigned)((id & mask) >> shift);
}
#define OP0(id) field(id, KVM_REG_ARM64_SYSREG_OP0_MASK, KVM_REG_ARM64_SYSREG_OP0_SHIFT)
#define OP1(id) field(id, KVM_REG_ARM64_SYSREG_OP1_MASK, KVM_REG_ARM64_SYSREG_OP1_SHIFT)
#define CRN(id) field(id, KVM_REG_ARM64_SYSREG_CRN_MASK, KVM_REG_ARM64_SYSREG_CRN_SHIFT)
#define CRM(id) field(id, KVM_REG_ARM64_SYSREG_CRM_MASK, KVM_REG_ARM64_SYSREG_CRM_SHIFT)
#define OP2(id) field(id, KVM_REG_ARM64_SYSREG_OP2_MASK, KVM_REG_ARM64_SYSREG_OP2_SHIFT)

/* Those with op0 3, op1 0, CRn 0 (Arm ARM, D19.3.1, and the registers' own pages): [CRm][op2]. */
static const char *const id_names[8][8] = {
    { "MIDR_EL1", NULL, NULL, NULL, NULL, "MPIDR_EL1", "REVIDR_EL1", NULL },
    { "ID_PFR0_EL1", "ID_PFR1_EL1", "ID_DFR0_EL1", "ID_AFR0_EL1", "ID_MMFR0_EL1", "ID_MMFR1_EL1",
      "ID_MMFR2_EL1", "ID_MMFR3_EL1" },
    { "ID_ISAR0_EL1", "ID_ISAR1_EL1", "ID_ISAR2_EL1", "ID_ISAR3_EL1", "ID_ISAR4_EL1",
      "ID_ISAR5_EL1", "ID_MMFR4_EL1", "ID_ISAR6_EL1" },
    { "MVFR0_EL1", "MVFR1_EL1", "MVFR2_EL1", NULL, "ID_PFR2_EL1", "ID_DFR1_EL1", "ID_MMFR5_EL1",
      NULL },
    { "ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1", "ID_AA64PFR2_EL1", NULL, "ID_AA64ZFR0_EL1",
      "ID_AA64SMFR0_EL1", NULL, "ID_AA64FPFR0_EL1" },
    { "ID_AA64DFR0_EL1", "ID_AA64DFR1_EL1", "ID_AA64DFR2_EL1", NULL, "ID_AA64AFR0_EL1",
      "ID_AA64AFR1_EL1", NULL, NULL },
    { "ID_AA64ISAR0_EL1", "ID_AA64ISAR1_EL1", "ID_AA64ISAR2_EL1", "ID_AA64ISAR3_EL1", NULL, NULL,
      NULL, NULL },
    { "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1", "ID_AA64MMFR3_EL1",
      "ID_AA64MMFR4_EL1", NULL, NULL, NULL },
};

/* MIDR_EL1 and its like, the features, CTR_EL0: what says what the processor is. */
static bool is_id(uint64_t id)
{
    return OP0(id) == 3 && CRN(id) == 0;
}

static const char *name_of(uint64_t id)
{
    if (is_id(id) && OP1(id) == 0 && CRM(id) < 8)
        return id_names[CRM(id)][OP2(id)];
    switch (id) {
    case ARM64_SYS_REG(3, 1, 0, 0, 1): return "CLIDR_EL1";
    case ARM64_SYS_REG(3, 1, 0, 0, 7): return "AIDR_EL1";
    case ARM64_SYS_REG(3, 3, 0, 0, 1): return "CTR_EL0";
    default: return NULL;
    }
}

/* The generic timer's: CRn 14 of op1 3, and KVM's names for three of them. */
static bool is_timer(uint64_t id)
{
    return OP0(id) == 3 && OP1(id) == 3 && CRN(id) == 14;
}

static void tell_sysreg(uint64_t id, uint64_t value, struct vm_report *r)
{
    const char *name = name_of(id);

    if (is_timer(id) || (!is_id(id) && !value))
        return;
    if (name)
        vm_report_add(r, "  %s", name);
    else
        vm_report_add(r, "  S%u_%u_C%u_C%u_%u", OP0(id), OP1(id), CRN(id), CRM(id), OP2(id));
    vm_report_add(r, ": %016llx\n", (unsigned long long)value);
}

static int tell(struct hv_vcpu *vcpu, uint64_t id, struct vm_report *r)
{
    uint64_t value = 0;
    int rc;

    if ((id & KVM_REG_SIZE_MASK) != KVM_REG_SIZE_U64)
        return 0;
    switch (id & KVM_REG_ARM_COPROC_MASK) {
    case KVM_REG_ARM64_SYSREG:
        rc = hv_vcpu_get_reg(vcpu, id, &value);
        if (!rc)
            tell_sysreg(id, value, r);
        return rc;
    case KVM_REG_ARM_FW:
    case KVM_REG_ARM_FW_FEAT_BMAP:
        rc = hv_vcpu_get_reg(vcpu, id, &value);
        if (!rc && value)
            vm_report_add(r, "  KVM register %#llx: %#llx\n", (unsigned long long)(id & 0xfffffff),
                          (unsigned long long)value);
        return rc;
    default: return 0;
    }
}

int varch_arm_abi_regs(struct hv_vcpu *vcpu, struct vm_report *r)
{
    size_t size = sizeof(struct kvm_reg_list) + REGS_MAX * sizeof(uint64_t);
    struct kvm_reg_list *list = calloc(1, size);
    int rc;

    if (!list)
        return vm_fail(-ENOMEM, "registers: out of memory");
    list->n = REGS_MAX;
    rc = hv_vcpu_get(vcpu, HV_STATE_REG_LIST, list, size);
    for (uint64_t i = 0; !rc && i < list->n; i++)
        rc = tell(vcpu, list->reg[i], r);
    free(list);
    return rc;
}
