/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the AArch64 architecture.
 *
 *   arm.c   map, platform devices, boot     gic.c    interrupt controller and messages
 *   vcpu.c  registers and features          probe.c  small guests for vmm doctor
 *   reference.c  hosts that are made up     abi.c, abi_regs.c  what a guest finds, in words
 */
#ifndef VARCH_ARM_H
#define VARCH_ARM_H

#include <vmm/aarch64-boot/fdt.h>
#include <vmm/aarch64-boot/kernel.h>
#include <vmm/aarch64-boot/map.h>
#include <vmm/arch/abi.h>
#include <vmm/arch/arch.h>

struct varch {
    const struct vm_env *env;
    struct hv_vm *vm; /* NULL: plan only */
    struct varch_config config;
    struct vboot_arm_map map;
    enum vboot_arm_gic gic;
    bool msi; /* messages reach the guest: ITS, or GICv2m */
    bool pmu;
    bool pvtime; /* the host tells guests how much time it stole */
    struct hv_device *vgic, *its[VBOOT_ARM_SEGMENTS];
    struct hv_vcpu *vcpu[VBOOT_ARM_CPUS_MAX]; /* borrowed, as they were initialised */
    unsigned vcpus;
    struct vboot_arm_start start;
};

/* gic.c */
/* Which one this host can give; in a plan the newest. -ENOTSUP, -EINVAL with text. */
int varch_arm_gic_choose(struct varch *arch);
int varch_arm_gic_new(struct varch *arch);
void varch_arm_gic_free(struct varch *arch);

/* vcpu.c */
int varch_arm_vcpu_init(struct varch *arch, struct hv_vcpu *vcpu);
/* What can only be set when the interrupt controller is there. */
int varch_arm_vcpu_settle(const struct varch *arch, struct hv_vcpu *vcpu);
int varch_arm_vcpu_start(struct hv_vcpu *vcpu, const struct vboot_arm_start *start);
/* What is asked of KVM for a vCPU: by what this host can do, on top of its preferred target. */
void varch_arm_features(const struct varch *arch, bool first, struct kvm_vcpu_init *init);
int varch_arm_mpidr(struct hv_vcpu *vcpu, uint64_t *ret_mpidr);
/* arm.c: the tree as a guest gets it; seed: NULL, or VBOOT_ARM_SEED_BYTES. */
int varch_arm_tree_make(struct varch *arch, const struct varch_payload *payload,
                        const struct vboot_arm_range *initrd, const uint8_t *seed,
                        struct vm_buffer *ret_blob);
/* abi_regs.c: rows about the registers that have a number of their own. */
int varch_arm_abi_regs(struct hv_vcpu *vcpu, struct vm_report *r);
/* vcpu.c: An access without syndrome: the guest gets an external abort. */
int varch_arm_abort(struct hv_vcpu *vcpu);

#endif
