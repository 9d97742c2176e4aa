/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The interrupt controller in the kernel (Linux Documentation/virt/kvm/devices/arm-vgic-v3.rst, arm-vgic-its.rst, arm-vgic.rst) and
 * the messages that reach it: by an ITS per PCI segment, or, with a GICv2, by the frame of GICv2m (Arm Base System
 * Architecture DEN0094, appendix on GICv2m), which raises SPIs.
 */
#include "arm.h"

#include <errno.h>

#include <vmm/base/error.h>

/* KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION: how many, where, flags 0, index 0. */
#define REDIST_REGION(base, count) ((uint64_t)(count) << 52 | (base))

static bool has(const struct varch *arch, uint32_t type)
{
    return !hv_vm_device_new(arch->vm, type, NULL);
}

static int refuse(const struct varch *arch)
{
    switch (arch->config.irqchip) {
    case VARCH_IRQCHIP_GICV3:
        return vm_fail(-ENOTSUP, "this host's KVM gives guests no GICv3: leave --irqchip out");
    case VARCH_IRQCHIP_GICV2:
        return vm_fail(-ENOTSUP, "this host's KVM gives guests no GICv2: leave --irqchip out");
    case VARCH_IRQCHIP_DEFAULT:
        return vm_fail(-ENOTSUP, "this host's KVM gives guests no interrupt controller: neither "
                                 "GICv3 nor GICv2");
    default:
        return vm_fail(-EINVAL, "AArch64 machines have a GIC: --irqchip can be gicv3 or gicv2");
    }
}

static int check_cpus(const struct varch *arch)
{
    bool v3 = arch->gic == VBOOT_ARM_GIC_V3;
    unsigned most = v3 ? VBOOT_ARM_CPUS_MAX : VBOOT_ARM_CPUS_MAX_V2;

    if (arch->config.cpus > most)
        return vm_fail(-EINVAL, "%u vCPUs: a GICv%d takes at most %u: give fewer%s",
                       arch->config.cpus, v3 ? 3 : 2, most, v3 ? "" : ", or --irqchip gicv3");
    return 0;
}

int varch_arm_gic_choose(struct varch *arch)
{
    enum varch_irqchip want = arch->config.irqchip;
    bool v3 = want == VARCH_IRQCHIP_DEFAULT || want == VARCH_IRQCHIP_GICV3;
    bool v2 = want == VARCH_IRQCHIP_DEFAULT || want == VARCH_IRQCHIP_GICV2;

    if (v3 && (!arch->vm || has(arch, KVM_DEV_TYPE_ARM_VGIC_V3)))
        arch->gic = VBOOT_ARM_GIC_V3;
    else if (v2 && (!arch->vm || has(arch, KVM_DEV_TYPE_ARM_VGIC_V2)))
        arch->gic = VBOOT_ARM_GIC_V2;
    else
        return refuse(arch);
    arch->msi = arch->config.segments > 0;
    if (arch->vm && arch->gic == VBOOT_ARM_GIC_V3)
        arch->msi = arch->msi && has(arch, KVM_DEV_TYPE_ARM_VGIC_ITS);
    return check_cpus(arch);
}

static int set(struct hv_device *device, uint32_t group, uint64_t attr, uint64_t value)
{
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

    return hv_device_attr(device, HV_ATTR_SET, &a);
}

static int init(struct hv_device *device)
{
    struct kvm_device_attr a = { .group = KVM_DEV_ARM_VGIC_GRP_CTRL,
                                 .attr = KVM_DEV_ARM_VGIC_CTRL_INIT };

    return hv_device_attr(device, HV_ATTR_SET, &a);
}

/* One region for all; kernels before 4.18 only know it without a count, which is the same. */
static int set_redistributors(const struct varch *arch)
{
    struct kvm_device_attr a = { .group = KVM_DEV_ARM_VGIC_GRP_ADDR,
                                 .attr = KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION };

    if (hv_device_attr(arch->vgic, HV_ATTR_HAS, &a))
        return set(arch->vgic, a.group, KVM_VGIC_V3_ADDR_TYPE_REDIST, VBOOT_ARM_GICR_BASE);
    return set(arch->vgic, a.group, a.attr, REDIST_REGION(VBOOT_ARM_GICR_BASE, arch->config.cpus));
}

static int make_v3(struct varch *arch)
{
    int rc = hv_vm_device_new(arch->vm, KVM_DEV_TYPE_ARM_VGIC_V3, &arch->vgic);

    if (!rc)
        rc = set(arch->vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
                 VBOOT_ARM_GICD_BASE);
    if (!rc)
        rc = set_redistributors(arch);
    if (!rc)
        rc = set(arch->vgic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, VBOOT_ARM_INTIDS);
    return rc ? rc : init(arch->vgic);
}

static int make_v2(struct varch *arch)
{
    int rc = hv_vm_device_new(arch->vm, KVM_DEV_TYPE_ARM_VGIC_V2, &arch->vgic);

    if (!rc)
        rc = set(arch->vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_DIST,
                 VBOOT_ARM_GICD_BASE);
    if (!rc)
        rc = set(arch->vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_CPU,
                 VBOOT_ARM_GICC_BASE);
    if (!rc)
        rc = set(arch->vgic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, VBOOT_ARM_INTIDS_V2);
    return rc ? rc : init(arch->vgic);
}

static int make_its(struct varch *arch, unsigned s)
{
    int rc = hv_vm_device_new(arch->vm, KVM_DEV_TYPE_ARM_VGIC_ITS, &arch->its[s]);

    if (!rc)
        rc = set(arch->its[s], KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE,
                 VBOOT_ARM_ITS_BASE + s * VBOOT_ARM_ITS_BYTES);
    return rc ? rc : init(arch->its[s]);
}

/* All vCPUs exist: KVM takes none after INIT. */
int varch_arm_gic_new(struct varch *arch)
{
    bool v3 = arch->gic == VBOOT_ARM_GIC_V3;
    int rc = v3 ? make_v3(arch) : make_v2(arch);

    if (rc)
        return vm_wrap(rc, "GICv%d", v3 ? 3 : 2);
    for (unsigned s = 0; !rc && v3 && arch->msi && s < arch->config.segments; s++)
        rc = make_its(arch, s);
    return rc ? vm_wrap(rc, "ITS") : 0;
}

void varch_arm_gic_free(struct varch *arch)
{
    for (unsigned s = 0; s < VBOOT_ARM_SEGMENTS; s++)
        hv_device_free(arch->its[s]);
    hv_device_free(arch->vgic);
}

/* GICv2m: the message names an interrupt; an edge. */
static int send_v2m(struct varch *arch, const struct vdev_msi *msi)
{
    const uint32_t first = 32 + VBOOT_ARM_SPI_V2M;
    uint32_t intid = msi->data & 0x3ff;
    uint32_t line;

    if (msi->addr != VBOOT_ARM_V2M_BASE + VBOOT_ARM_V2M_DOORBELL || intid < first ||
        intid >= first + VBOOT_ARM_V2M_SPIS)
        return -EINVAL;
    line = varch_irq_code(arch, intid - 32);
    if (hv_vm_irq_line(arch->vm, line, true))
        return -EINVAL;
    return hv_vm_irq_line(arch->vm, line, false);
}

/* KVM finds the ITS by the doorbell's address; there is one for each segment, so the device's id is what is left. */
static struct hv_msi message(const struct vdev_msi *msi)
{
    return (struct hv_msi){
        .addr = msi->addr, .data = msi->data, .devid = msi->devid & 0xffff, .has_devid = true
    };
}

/* GICv2m's messages are wired interrupts to KVM. */
int varch_msi_route(const struct varch *arch, const struct vdev_msi *msi, struct hv_msi *ret_msi)
{
    if (!arch->vm || !arch->msi)
        return -ENODEV;
    if (arch->gic == VBOOT_ARM_GIC_V2)
        return -ENOTSUP;
    *ret_msi = message(msi);
    return 0;
}

int varch_msi_send(struct varch *arch, const struct vdev_msi *msi)
{
    struct hv_msi to = message(msi);
    int rc;

    if (!arch->vm || !arch->msi)
        return -ENODEV;
    if (arch->gic == VBOOT_ARM_GIC_V2)
        return send_v2m(arch, msi);
    rc = hv_vm_signal_msi(arch->vm, &to);
    return rc < 0 ? rc : 0;
}
