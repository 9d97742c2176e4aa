/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a guest finds, read back from the hypervisor: interrupt controller, vCPUs, what the boot code leaves for a kernel. */
#include "arm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

/* --- interrupt controller --- */

static int tell_attr(struct hv_device *device, uint32_t group, uint64_t attr, const char *key,
                     struct vm_report *r)
{
    uint64_t value = 0;
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };
    int rc = hv_device_attr(device, HV_ATTR_GET, &a);

    if (!rc)
        vm_report_add(r, "  %s: %#llx\n", key, (unsigned long long)value);
    return rc;
}

static int tell_gic(const struct varch *arch, struct vm_report *r)
{
    bool v3 = arch->gic == VBOOT_ARM_GIC_V3;
    char key[24];
    int rc;

    vm_report_add(r, "interrupt controller\n  type: GICv%d, messages %s\n", v3 ? 3 : 2,
                  !arch->msi ? "none"
                  : v3       ? "by ITS"
                             : "by GICv2m");
    rc = tell_attr(arch->vgic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, "INTIDs", r);
    if (!rc)
        rc = tell_attr(arch->vgic, KVM_DEV_ARM_VGIC_GRP_ADDR,
                       v3 ? KVM_VGIC_V3_ADDR_TYPE_DIST : KVM_VGIC_V2_ADDR_TYPE_DIST, "distributor",
                       r);
    if (!rc && !v3)
        rc = tell_attr(arch->vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_CPU,
                       "CPU interface", r);
    for (unsigned s = 0; !rc && s < VBOOT_ARM_SEGMENTS && arch->its[s]; s++) {
        snprintf(key, sizeof(key), "ITS of segment %u", s);
        rc = tell_attr(arch->its[s], KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, key, r);
    }
    return rc;
}

/* --- vCPUs --- */

static void tell_features(const struct varch *arch, const struct hv_vcpu *vcpu, struct vm_report *r)
{
    static const struct {
        unsigned feature;
        const char *name;
    } names[] = {
        { KVM_ARM_VCPU_POWER_OFF, "power-off" },
        { KVM_ARM_VCPU_EL1_32BIT, "el1-32bit" },
        { KVM_ARM_VCPU_PSCI_0_2, "psci-0.2" },
        { KVM_ARM_VCPU_PMU_V3, "pmu-v3" },
        { KVM_ARM_VCPU_SVE, "sve" },
        { KVM_ARM_VCPU_PTRAUTH_ADDRESS, "ptrauth-address" },
        { KVM_ARM_VCPU_PTRAUTH_GENERIC, "ptrauth-generic" },
    };
    struct kvm_vcpu_init init = { 0 };

    varch_arm_features(arch, arch->vcpu[0] == vcpu, &init);
    vm_report_add(r, "  features: %#x", init.features[0]);
    for (unsigned i = 0; i < VM_ARRAY_SIZE(names); i++)
        if (init.features[names[i].feature / 32] & 1U << names[i].feature % 32)
            vm_report_add(r, " %s", names[i].name);
    vm_report_add(r, "\n");
}

/* What has an attribute in place of a register. */
static int tell_vcpu_attr(struct hv_vcpu *vcpu, uint32_t group, uint64_t attr, const char *key,
                          struct vm_report *r)
{
    uint64_t value = 0;
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };
    int rc = hv_vcpu_attr(vcpu, HV_ATTR_GET, &a);

    if (!rc)
        vm_report_add(r, "  %s: %#llx\n", key, (unsigned long long)value);
    return rc;
}

int varch_abi_vcpu(struct varch *arch, struct hv_vcpu *vcpu, struct vm_report *r)
{
    int rc = 0;

    tell_features(arch, vcpu, r);
    if (arch->pmu)
        rc = tell_vcpu_attr(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, "PMU's INTID",
                            r);
    if (!rc && arch->pvtime)
        rc = tell_vcpu_attr(vcpu, KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA, "stolen time",
                            r);
    if (!rc)
        rc = varch_arm_abi_regs(vcpu, r);
    return rc ? vm_wrap(rc, "vCPU %u", vcpu->id) : 0;
}

/* --- boot --- */

static int tell_core(struct hv_vcpu *vcpu, struct vm_report *r)
{
    static const struct {
        const char *name;
        size_t at;
    } rows[] = {
        { "pc", offsetof(struct kvm_regs, regs.pc) },
        { "pstate", offsetof(struct kvm_regs, regs.pstate) },
        { "sp_el0", offsetof(struct kvm_regs, regs.sp) },
        { "sp_el1", offsetof(struct kvm_regs, sp_el1) },
        { "elr_el1", offsetof(struct kvm_regs, elr_el1) },
    };
    const uint64_t core = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE;
    uint64_t value;
    int rc = 0;

    for (unsigned i = 0; !rc && i < VM_ARRAY_SIZE(rows); i++) {
        rc = hv_vcpu_get_reg(vcpu, core | rows[i].at / sizeof(uint32_t), &value);
        if (!rc && value)
            vm_report_add(r, "  %s: %#llx\n", rows[i].name, (unsigned long long)value);
    }
    for (unsigned i = 0; !rc && i < 31; i++) {
        rc = hv_vcpu_get_reg(vcpu, core | KVM_REG_ARM_CORE_REG(regs.regs[i]), &value);
        if (!rc && value)
            vm_report_add(r, "  x%u: %#llx\n", i, (unsigned long long)value);
    }
    return rc;
}

/* Without the seeds and the initrd, which only a start decides. */
int varch_abi_boot(struct varch *arch, struct gm_view *memory, struct hv_vcpu *vcpu,
                   const struct varch_payload *payload, struct vm_report *r)
{
    const struct vboot_arm_kernel kernel = { .entry = VBOOT_ARM_KERNEL_MIN };
    struct vm_buffer tree = { 0 };
    int rc = tell_gic(arch, r);

    if (!rc)
        rc = varch_arm_tree_make(arch, payload, &kernel.initrd, NULL, &tree);
    if (!rc)
        rc = vboot_arm_dtb_load(&arch->map, memory, tree.data, tree.len, &kernel, &arch->start);
    if (!rc)
        rc = varch_boot(arch, vcpu);
    vm_report_add(r, "boot\n  command line: ");
    vm_report_string(r, payload->cmdline, strlen(payload->cmdline));
    vm_report_add(r, "\n");
    if (!rc)
        rc = tell_core(vcpu, r);
    vm_report_add(r, "device tree\n  size: %zu bytes\n", tree.len);
    if (!rc)
        rc = vboot_arm_fdt_tell(tree.data, tree.len, r);
    vm_buffer_free(&tree);
    return rc;
}
