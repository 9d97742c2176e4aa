/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Filters of the machine's own threads. A vCPU's and the I/O thread's load theirs first thing; the main thread loads its own when they run, for
 * a thread inherits the filters of who starts it. The I/O thread may be made later, by the main one, and made anew when a device moves: so
 * that one's filter allows all that any I/O thread's does. The I/O thread's is as tight as what it serves.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/jail/policy.h>
#include <vmm/jail/rows.h>
#include <vmm/vhost/backend.h>

enum { TABLES_MAX = 64, DEVICE_TABLES = 6 };

/* The log of requests in flight is a file in memory. */
#define LOG_BYTES_MAX (64ULL << 20)

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

/* The tables of a device's process, ending with NULL: in its loop, or also with what it takes to get there. */
static void device_tables(const struct vdev_class *cls, bool alone, bool starting,
                          const struct vm_jail_rule *ret_tables[DEVICE_TABLES])
{
    unsigned n = 0;

    ret_tables[n++] = vmm_jail_rows_child_loop;
    if (starting)
        ret_tables[n++] = vmm_jail_rows_child_start;
    if (alone)
        ret_tables[n++] = vmm_jail_rows_child_alone;
    ret_tables[n++] = vhost_backend_jail;
    ret_tables[n++] = cls->jail;
    ret_tables[n] = NULL;
}

int vmm_machine_device_profile(const struct vmm_machine_sandbox *sandbox,
                               const struct vdev_class *cls, const char *id, bool alone,
                               struct vmm_jail_profile *ret_profile)
{
    const struct vm_jail_rule *tables[DEVICE_TABLES];
    int rc = 0;

    *ret_profile = (struct vmm_jail_profile){
        .spawned = !alone,
        .max_fds = cls->fds,
        .max_file_bytes = cls->backend == VDEV_BACKEND_NONE ? LOG_BYTES_MAX : UINT64_MAX,
    };
    snprintf(ret_profile->who, sizeof(ret_profile->who), "%.20s %.24s", cls->name, id);
    device_tables(cls, alone, true, tables);
    if (sandbox->filters)
        rc = vmm_machine_filter(sandbox, cls->name, tables, &ret_profile->enter);
    device_tables(cls, alone, false, tables);
    if (!rc && sandbox->filters)
        rc = vmm_machine_filter(sandbox, cls->name, tables, &ret_profile->narrow);
    if (rc)
        vmm_jail_profile_free(ret_profile);
    return rc;
}

int vmm_machine_device_filter(const struct vdev_class *cls, bool starting,
                              struct vmm_jail_filter **ret_filter)
{
    const struct vm_jail_rule *tables[DEVICE_TABLES];
    int rc = vmm_jail_filter_new(cls->name, ret_filter);

    if (rc)
        return rc;
    device_tables(cls, false, starting, tables);
    rc = add_tables(*ret_filter, cls->name, tables);
    if (rc)
        vmm_jail_filter_free(*ret_filter);
    return rc;
}

/* One table more, if it is not there; they end with NULL. */
static int add_table(const struct vm_jail_rule **tables, const struct vm_jail_rule *table)
{
    unsigned n = 0;

    while (tables[n] && tables[n] != table)
        n++;
    if (!table || tables[n])
        return 0;
    if (n == TABLES_MAX - 1)
        return vm_fail(-E2BIG, "filters: devices of more than %d classes", TABLES_MAX);
    tables[n] = table;
    tables[n + 1] = NULL;
    return 0;
}

/* Rows of the classes that the VMM serves itself. movable: and of those that it may come to serve. vcpu: what its vCPUs need for them. */
static int list_tables(const struct vmm_machine *m, bool movable, bool vcpu,
                       const struct vm_jail_rule **tables)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < m->config.device_count; i++) {
        const struct vmm_machine_device *d = &m->config.devices[i];

        if (!d->process || (movable && !vmm_machine_why_stays(m, d->cls, d->config)))
            rc = add_table(tables, vcpu ? d->cls->jail_vcpu : d->cls->jail);
        if (!rc && !vcpu && !d->process && d->cls->jail_more)
            rc = add_table(tables, d->cls->jail_more(d->config));
    }
    return rc;
}

/* Of a thread can become less only, and the main one makes the others: it has the rows of every device that may move here, and so have
 * vCPUs, which are never made again. */
static int make_main(struct vmm_machine *m)
{
    const struct vm_jail_rule *tables[TABLES_MAX + 1] = { vmm_jail_rows_main, vmm_jail_rows_io };
    int rc = list_tables(m, true, false, tables);

    return rc ? rc : vmm_machine_filter(&m->config.sandbox, "vmm-main", tables, &m->filter.main);
}

static int make_vcpu(struct vmm_machine *m)
{
    const struct vm_jail_rule *tables[TABLES_MAX + 1] = { vmm_jail_rows_vcpu };
    int rc = list_tables(m, true, true, tables);

    return rc ? rc : vmm_machine_filter(&m->config.sandbox, "vmm-vcpu", tables, &m->filter.vcpu);
}

int vmm_machine_filters_new(struct vmm_machine *m)
{
    const struct vm_jail_rule *tables[TABLES_MAX + 1] = { vmm_jail_rows_io };
    int rc;

    if (!m->config.sandbox.filters)
        return 0;
    rc = list_tables(m, false, false, tables);
    if (!rc)
        rc = vmm_machine_filter(&m->config.sandbox, "vmm-io", tables, &m->filter.io);
    if (!rc)
        rc = make_vcpu(m);
    return rc ? rc : make_main(m);
}

int vmm_machine_filter_io(struct vmm_machine *m, const struct machine_device *d,
                          struct vmm_jail_program **ret_program)
{
    const struct vm_jail_rule *tables[TABLES_MAX + 1] = { vmm_jail_rows_io };
    int rc = 0;

    *ret_program = NULL;
    if (!m->config.sandbox.filters)
        return 0;
    for (const struct machine_device *o = m->devices; !rc && o; o = o->next)
        if (o->cls && (o == d || !o->process)) {
            rc = add_table(tables, o->cls->jail);
            if (!rc && o->cls->jail_more && o->given)
                rc = add_table(tables, o->cls->jail_more(o->given));
        }
    if (!rc)
        rc = add_table(tables, vmm_jail_rows_io_make);
    return rc ? rc : vmm_machine_filter(&m->config.sandbox, "vmm-io", tables, ret_program);
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
