/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * <linux/kvm.h>, and what headers of Linux 6.1 (Debian 12) do not have yet. Numbers are those of
 * include/uapi/linux/kvm.h and arch/<arch>/include/uapi/asm/kvm.h; the kernel version behind each
 * one is the first that has it. Nothing here says that the running kernel knows it: that is
 * hv_cap()'s answer.
 */
#ifndef VMM_HYPERVISOR_UAPI_H
#define VMM_HYPERVISOR_UAPI_H

#include <linux/kvm.h>

/* Page of a vCPU's mapping where its dirty ring begins: 64 on x86 (5.11) and on arm64 (6.2; there
 * headers of 6.1 give KVM_DIRTY_LOG_PAGE_OFFSET as 0). */
#define HV_DIRTY_RING_PAGE 64

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL /* 6.1 */
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP /* 6.2 */
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP 225
#endif
#ifndef KVM_CAP_COUNTER_OFFSET /* 6.4 */
#define KVM_CAP_COUNTER_OFFSET 227
#endif
#ifndef KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES /* 6.4 */
#define KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES 229
#endif
#ifndef KVM_CAP_USER_MEMORY2 /* 6.8 */
#define KVM_CAP_USER_MEMORY2 231
#endif
#ifndef KVM_CAP_MEMORY_FAULT_INFO /* 6.8 */
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_CAP_GUEST_MEMFD /* 6.8 */
#define KVM_CAP_GUEST_MEMFD 234
#endif
#ifndef KVM_CAP_VM_TYPES /* 6.8 */
#define KVM_CAP_VM_TYPES 235
#endif
#ifndef KVM_CAP_PRE_FAULT_MEMORY /* 6.11 */
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif
#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS /* 6.11 */
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237
#endif

#ifndef KVM_EXIT_MEMORY_FAULT /* 6.8 */
#define KVM_EXIT_MEMORY_FAULT 39
#endif

/* What KVM_EXIT_MEMORY_FAULT leaves in struct kvm_run's union (6.8). */
struct hv_uapi_memory_fault {
    __u64 flags;
    __u64 gpa;
    __u64 size;
};

#endif
