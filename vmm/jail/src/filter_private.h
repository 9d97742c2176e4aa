/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What filter.c (the rows) and compile.c (the program) share. */
#ifndef VMM_JAIL_FILTER_PRIVATE_H
#define VMM_JAIL_FILTER_PRIVATE_H

#include <vmm/jail/filter.h>

enum { VMM_JAIL_ARCHES = 2 };

struct vmm_jail_row {
    const struct vm_jail_rule *rule; /* borrowed */
    int number[VMM_JAIL_ARCHES]; /* negative: does not exist there */
};

struct vmm_jail_filter {
    char name[64];
    struct vmm_jail_row *row;
    size_t count;
};

/* The kernel's AUDIT_ARCH_ value, which is also libseccomp's. */
uint32_t vmm_jail_arch_audit(enum vmm_jail_arch arch);

static inline bool vmm_jail_rule_checks(const struct vm_jail_rule *rule)
{
    return rule->check[0].mask || rule->check[1].mask;
}

#endif
