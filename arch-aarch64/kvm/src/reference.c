/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Hosts that are made up, for vmm abi: one whose KVM can give a guest everything and whose ID registers have every bit set, and
 * one that can give nothing and has none. What the policy takes from a register shows in the one, what it adds in the other.
 * (KVM itself takes from the ID registers what it does not give; a made-up host does not.)
 */
#include "arm.h"

#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

enum { IPA_BITS = 48 };

static const struct host {
    struct varch_reference what;
    bool features;
} hosts[] = {
    { { "every feature", 0 }, true },
    { { "no feature", 0 }, false },
};

static int set_caps(struct hv *hv, bool features)
{
    static const struct {
        uint32_t cap;
        int value;
    } caps[] = {
        { KVM_CAP_ARM_PMU_V3, 1 },          { KVM_CAP_ARM_SVE, 1 },
        { KVM_CAP_ARM_PTRAUTH_ADDRESS, 1 }, { KVM_CAP_ARM_PTRAUTH_GENERIC, 1 },
        { KVM_CAP_STEAL_TIME, 1 },          { KVM_CAP_ARM_VM_IPA_SIZE, IPA_BITS },
        { KVM_CAP_VCPU_ATTRIBUTES, 1 },     { KVM_CAP_ARM_NISV_TO_USER, 1 },
    };
    int rc = 0;

    for (unsigned i = 0; !rc && features && i < VM_ARRAY_SIZE(caps); i++)
        rc = hv_fake_set_cap(hv, caps[i].cap, caps[i].value);
    return rc;
}

/* The space of ID registers: op0 3, op1 0, CRn 0, CRm 1 to 7 (Arm ARM, D19.3.1); and what is the host's besides. */
static int set_regs(struct hv *hv, bool features)
{
    uint64_t value = features ? UINT64_MAX : 0;
    int rc = hv_fake_set_reg(hv, ARM64_SYS_REG(3, 0, 0, 0, 0), value); /* MIDR_EL1 */

    for (unsigned m = 1; m < 8; m++)
        for (unsigned op2 = 0; !rc && op2 < 8; op2++)
            rc = hv_fake_set_reg(hv, ARM64_SYS_REG(3, 0, 0, m, op2), value);
    if (!rc)
        rc = hv_fake_set_reg(hv, ARM64_SYS_REG(3, 3, 0, 0, 1), value); /* CTR_EL0 */
    return rc;
}

int varch_reference_new(const struct vm_env *env, unsigned n, struct hv **ret_hv,
                        struct varch_reference *ret_reference)
{
    struct hv *hv;
    int rc;

    if (n >= VM_ARRAY_SIZE(hosts))
        return -ENOENT;
    rc = hv_fake_new(env, &hv);
    if (rc)
        return rc;
    rc = set_caps(hv, hosts[n].features);
    if (!rc)
        rc = set_regs(hv, hosts[n].features);
    if (rc) {
        hv_free(hv);
        return rc;
    }
    *ret_reference = hosts[n].what;
    *ret_hv = hv;
    return 0;
}
