/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a guest finds besides devices and tables: its processors, and what the boot code leaves for its kernel. For vmm abi.
 *
 * It is told of a machine that was built and never runs, by reading back what the machine's own code has set. So it can be
 * told of any hypervisor; on a host that is made up (below) it is the same everywhere.
 *
 * Rows are "  KEY: VALUE"; what belongs to one stands below it, further to the right. A line that does not begin with a blank
 * begins a section. Order and text are a function of configuration and hypervisor.
 *
 * Threads: the thread that built the machine.
 */
#ifndef VMM_ARCH_ABI_H
#define VMM_ARCH_ABI_H

#include <vmm/arch/arch.h>
#include <vmm/base/report.h>

/* A host that is made up: hypervisor/fake.h with the processor of reference.c. */
struct varch_reference {
    const char *name;
    unsigned like; /* the number of the one that has the same but for features; its own: none has */
};

/* The n-th; *ret_hv is the caller's (hv_free()), env borrowed until then. -ENOENT, without text: there are only n; -ENOMEM. */
int varch_reference_new(const struct vm_env *env, unsigned n, struct hv **ret_hv,
                        struct varch_reference *ret_reference);

/* Sections about what a kernel finds at its entry, by each boot protocol there is: the first vCPU's registers and memory. It writes
 * to both: not for a machine that shall run. The kernel is made up, without a header of its own, its entry where Linux has it by
 * default; the payload's kernel and initrd are not looked at. As varch_load(). */
int varch_abi_boot(struct varch *arch, struct gm_view *memory, struct hv_vcpu *vcpu,
                   const struct varch_payload *payload, struct vm_report *report);

/* Rows about a vCPU as varch_vcpu_init() leaves it. -errno of the hypervisor, with text. */
int varch_abi_vcpu(struct varch *arch, struct hv_vcpu *vcpu, struct vm_report *report);

#endif
