/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files of the x86_64 architecture. */
#ifndef VARCH_X86_H
#define VARCH_X86_H

#include <vmm/arch/arch.h>
#include <vmm/x86_64-boot/kernel.h>
#include <vmm/x86_64-boot/map.h>
#include <vmm/x86_64-boot/tables.h>

struct varch {
    const struct vm_env *env;
    struct hv_vm *vm; /* NULL: plan only */
    struct varch_config config;
    struct vboot_x86_map map;
    struct kvm_cpuid2 *cpuid; /* what the host supports, before it is made one vCPU's */
    struct vboot_x86_start start;
    unsigned phys_bits;
};

/* cpuid.c */
int varch_x86_cpuid_load(struct varch *arch);
int varch_x86_cpuid_set(struct varch *arch, struct hv_vcpu *vcpu);
/* registers.c */
int varch_x86_msrs_set(struct hv_vcpu *vcpu);
int varch_x86_lapic_set(struct hv_vcpu *vcpu);
int varch_x86_start_set(struct hv_vcpu *vcpu, const struct vboot_x86_start *start);

#endif
