/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Filters of the machine's own threads. A vCPU's and the I/O thread's load theirs first thing; the main thread loads its own when they run, for
 * a thread inherits the filters of who starts it. The I/O thread may be made later, by the main one: so that one's filter allows
 * all that the I/O thread's does.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>

#include <vmm/jail/policy.h>
#include <vmm/jail/rows.h>
#include <vmm/vhost/backend.h>

enum { TABLES_MAX = 64 };

static int add_tables(struct vmm_jail_filter *filter, const char *name,
                      const struct vm_jail_rule *const *tables)
{
    int rc = 0;

    for (; !rc && *tables; tables++)
        rc = vmm_jail_filter_add(filter, name, *tables);
    return rc;
}

static int compile(const struct vmm_machine_sandbox *sandbox, const char *name,
                   const struct vmm_jail_policy *policy, const struct vm_jail_rule *const *tables,
                   struct vmm_jail_program **ret_program)
{
    struct vmm_jail_filter *filter;
    int rc = vmm_jail_filter_new(name, &filter);

    if (rc)
        return rc;
    if (policy)
        rc = vmm_jail_filter_add(filter, name, vmm_jail_policy_rows(policy));
    if (!rc && (!policy || vmm_jail_policy_keeps_default(policy)))
        rc = add_tables(filter, name, tables);
    if (!rc)
        rc = vmm_jail_filter_compile(filter, vmm_jail_arch_native(), sandbox->action, ret_program);
    vmm_jail_filter_free(filter);
    return rc;
}

int vmm_machine_filter(const struct vmm_machine_sandbox *sandbox, const char *name,
                       const struct vm_jail_rule *const *tables,
                       struct vmm_jail_program **ret_program)
{
    struct vmm_jail_policy *policy = NULL;
    int rc = 0;

    if (sandbox->policy_dir)
        rc = vmm_jail_policy_open(sandbox->policy_dir, vmm_jail_arch_native(), name, &policy);
    if (!rc)
        rc = compile(sandbox, name, policy, tables, ret_program);
    vmm_jail_policy_free(policy);
    return rc;
}

void vmm_machine_device_tables(const struct vdev_class *cls, bool starting,
                               const struct vm_jail_rule *ret_tables[MACHINE_TABLES])
{
    unsigned n = 0;

    ret_tables[n++] = vmm_jail_rows_child_loop;
    if (starting)
        ret_tables[n++] = vmm_jail_rows_child_start;
    ret_tables[n++] = vhost_backend_jail;
    ret_tables[n++] = cls->jail;
    ret_tables[n] = NULL;
}

int vmm_machine_device_filter(const struct vdev_class *cls, struct vmm_jail_filter **ret_filter)
{
    const struct vm_jail_rule *tables[MACHINE_TABLES];
    int rc = vmm_jail_filter_new(cls->name, ret_filter);

    if (rc)
        return rc;
    vmm_machine_device_tables(cls, false, tables);
    rc = add_tables(*ret_filter, cls->name, tables);
    if (rc)
        vmm_jail_filter_free(*ret_filter);
    return rc;
}

/* Rows of the classes that this process serves, each once, behind those of the thread. */
static int list_tables(const struct vmm_machine *m, const struct vm_jail_rule **tables, unsigned n)
{
    for (size_t i = 0; i < m->config.device_count; i++) {
        const struct vmm_machine_device *d = &m->config.devices[i];
        bool known = d->process || !d->cls->jail;

        for (unsigned k = 0; !known && k < n; k++)
            known = tables[k] == d->cls->jail;
        if (known)
            continue;
        if (n == TABLES_MAX - 1)
            return vm_fail(-E2BIG, "filters: devices of more than %d classes", TABLES_MAX);
        tables[n++] = d->cls->jail;
    }
    tables[n] = NULL;
    return 0;
}

int vmm_machine_filters_new(struct vmm_machine *m)
{
    static const struct vm_jail_rule *const vcpu[] = { vmm_jail_rows_vcpu, NULL };
    const struct vmm_machine_sandbox *sandbox = &m->config.sandbox;
    const struct vm_jail_rule *tables[TABLES_MAX] = { vmm_jail_rows_main, vmm_jail_rows_io };
    int rc;

    if (!sandbox->filters)
        return 0;
    rc = list_tables(m, tables, 2);
    if (!rc)
        rc = vmm_machine_filter(sandbox, "vmm-vcpu", vcpu, &m->filter.vcpu);
    if (!rc)
        rc = vmm_machine_filter(sandbox, "vmm-io", tables + 1, &m->filter.io);
    return rc ? rc : vmm_machine_filter(sandbox, "vmm-main", tables, &m->filter.main);
}

void vmm_machine_filters_free(struct vmm_machine *m)
{
    free(m->filter.vcpu);
    free(m->filter.io);
    free(m->filter.main);
}

int vmm_machine_filter_load(const struct vmm_jail_program *program, const char *who)
{
    int rc = program ? vmm_jail_report(who) : 0;

    if (!rc && program)
        rc = vmm_jail_load(program, false);
    return rc ? vm_wrap(rc, "filter of %s", who) : 0;
}

/* At its end a sanitizer's program looks for leaks, with another process that traces this one: no filter of ours allows that. */
#if defined(__SANITIZE_ADDRESS__)
#define LOOKS_FOR_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOOKS_FOR_LEAKS 1
#endif
#endif
#ifndef LOOKS_FOR_LEAKS
#define LOOKS_FOR_LEAKS 0
#endif

int vmm_machine_confine(struct vmm_machine *m)
{
    return LOOKS_FOR_LEAKS ? 0 : vmm_machine_filter_load(m->filter.main, "the main thread");
}
