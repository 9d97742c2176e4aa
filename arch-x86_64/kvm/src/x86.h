/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the x86_64 architecture.
 *
 *   x86.c        map, platform devices, boot       cpuid.c      the policy of CPUID
 *   registers.c  MSRs, local APIC, registers       probe.c      small guests for vmm doctor
 *   reference.c  hosts that are made up            abi.c, abi_boot.c  what a guest finds, in words
 */
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

/* cpuid.c: the policy is a function of the host's table and of these. */
enum { VARCH_X86_CPUID_MAX = 256, VARCH_X86_CPUID_OWN = 3 /* 0xb.1, 0x1f.1, timing */ };
#define VARCH_X86_CPUID_BYTES \
    (sizeof(struct kvm_cpuid2) + VARCH_X86_CPUID_MAX * sizeof(struct kvm_cpuid_entry2))
struct varch_x86_cpu {
    uint32_t id, cpus;
    uint32_t tsc_khz; /* 0: not known */
    bool tsc_deadline; /* KVM's timer can do it */
};
/* host: at most VARCH_X86_CPUID_MAX - VARCH_X86_CPUID_OWN entries; ret_guest: VARCH_X86_CPUID_BYTES. */
void varch_x86_cpuid_make(const struct varch_x86_cpu *cpu, const struct kvm_cpuid2 *host,
                          struct kvm_cpuid2 *ret_guest);
int varch_x86_cpuid_load(struct varch *arch);
int varch_x86_cpuid_set(struct varch *arch, struct hv_vcpu *vcpu);
/* x86.c: reset vector and ACPI tables; *ret_rsdp: 0 without ACPI. */
int varch_x86_firmware_load(struct varch *arch, struct gm_view *memory,
                            const struct varch_payload *payload, uint64_t *ret_rsdp);
/* registers.c: the MSRs that are not as KVM has them at power-on. */
extern const struct kvm_msr_entry varch_x86_msrs[];
extern const uint32_t varch_x86_msr_count;
int varch_x86_msrs_set(struct hv_vcpu *vcpu);
int varch_x86_lapic_set(struct hv_vcpu *vcpu);
int varch_x86_start_set(struct hv_vcpu *vcpu, const struct vboot_x86_start *start);

#endif
