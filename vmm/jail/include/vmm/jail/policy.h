/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Policy files: filters that a user gives in place of, or beside, the built-in rows. A file is DIR/ARCHITECTURE/NAME.policy,
 * for instance policies/x86_64/virtio-blk.policy. One row a line, several rows of a call are alternatives:
 *
 *     # a remark
 *     @default                                 the built-in rows, too (without it the file is the whole filter)
 *     read                                     or "read: 1", as minijail has it
 *     ioctl: arg1 & 0xffffffff == 0x5421       ioctl requests are 32 bits wide
 *     mmap: arg2 & 4 == 0                      PROT_EXEC is not set
 *     prctl: arg0 == 38 && arg1 == 1           at most two comparisons
 *     socket: arg0 == 1 || arg0 == 2           as two rows
 *     openat: return 13                        refused with an errno; also "openat: arg2 == 0; return 13"
 *
 * Numbers are decimal, hexadecimal (0x) or octal (0). This is the form in which vmm_jail_filter_print() writes.
 *
 * The bytes of a file are not trusted: -EINVAL with name, line and reason. Threads: a policy is constant.
 * ABI: none promised before 1.0.
 */
#ifndef VMM_JAIL_POLICY_H
#define VMM_JAIL_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include <vmm/base/jail_rule.h>
#include <vmm/jail/filter.h>

struct vmm_jail_policy;

enum { VMM_JAIL_POLICY_MAX = 65536 /* bytes of a file */ };

/* name is for messages, for instance the file's. 0, -EINVAL, -E2BIG or -ENOMEM with text. */
int vmm_jail_policy_parse(const char *name, const char *untrusted, size_t len,
                          struct vmm_jail_policy **ret_policy);

/* Reads the file of a device class or thread, for arch. 0 and NULL where there is none, but a folder dir; -errno with text. */
int vmm_jail_policy_open(const char *dir, enum vmm_jail_arch arch, const char *name,
                         struct vmm_jail_policy **ret_policy);

void vmm_jail_policy_free(struct vmm_jail_policy *policy);

/* A table for vmm_jail_filter_add(); borrowed for the policy's life, like everything in it. */
const struct vm_jail_rule *vmm_jail_policy_rows(const struct vmm_jail_policy *policy);
/* The built-in rows count, too. */
bool vmm_jail_policy_keeps_default(const struct vmm_jail_policy *policy);

#endif
