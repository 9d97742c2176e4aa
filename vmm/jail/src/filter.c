/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The rows of a filter: taken in, judged, printed. compile.c makes the program. */
#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/util.h>

#include "filter_private.h"

enum { ARGUMENTS = 6, ERRNO_MAX = 4095 };

static const char *const actions[] = {
    [VMM_JAIL_KILL] = "kill", [VMM_JAIL_TRAP] = "trap", [VMM_JAIL_LOG] = "log"
};

static const struct {
    const char *name;
    uint32_t audit;
} arches[VMM_JAIL_ARCHES] = {
    [VMM_JAIL_X86_64] = { "x86_64", AUDIT_ARCH_X86_64 },
    [VMM_JAIL_AARCH64] = { "aarch64", AUDIT_ARCH_AARCH64 },
};

int vmm_jail_action_parse(const char *untrusted, enum vmm_jail_action *ret_action)
{
    for (unsigned i = 0; i < VM_ARRAY_SIZE(actions); i++) {
        if (!strcmp(untrusted, actions[i])) {
            *ret_action = (enum vmm_jail_action)i;
            return 0;
        }
    }
    return vm_fail(-EINVAL, "seccomp action '%s': must be kill, trap or log", untrusted);
}

const char *vmm_jail_action_name(enum vmm_jail_action action)
{
    return actions[action];
}

uint32_t vmm_jail_arch_audit(enum vmm_jail_arch arch)
{
    return arches[arch].audit;
}

enum vmm_jail_arch vmm_jail_arch_native(void)
{
    return seccomp_arch_native() == SCMP_ARCH_AARCH64 ? VMM_JAIL_AARCH64 : VMM_JAIL_X86_64;
}

const char *vmm_jail_arch_name(enum vmm_jail_arch arch)
{
    return arches[arch].name;
}

/* ---- rows ---- */

int vmm_jail_filter_new(const char *name, struct vmm_jail_filter **ret_filter)
{
    struct vmm_jail_filter *filter = calloc(1, sizeof(*filter));

    if (!filter)
        return vm_fail(-ENOMEM, "filter of %s: no memory", name);
    snprintf(filter->name, sizeof(filter->name), "%s", name);
    *ret_filter = filter;
    return 0;
}

void vmm_jail_filter_free(struct vmm_jail_filter *filter)
{
    if (!filter)
        return;
    free(filter->row);
    free(filter);
}

/* libseccomp gives names that it knows, but that an architecture lacks, negative numbers. */
static int resolve(struct vmm_jail_row *row)
{
    for (unsigned a = 0; a < VMM_JAIL_ARCHES; a++) {
        row->number[a] = seccomp_syscall_resolve_name_arch(arches[a].audit, row->rule->syscall);
        if (row->number[a] == __NR_SCMP_ERROR)
            return -EINVAL;
    }
    return 0;
}

static const char *broken_check(const struct vm_jail_rule *rule)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(rule->check); i++) {
        const struct vm_jail_check *c = &rule->check[i];

        if (c->argument >= ARGUMENTS)
            return "arguments are arg0 to arg5";
        if (c->value & ~c->mask)
            return "the value has bits that the mask does not have: no call can match";
    }
    return rule->error > ERRNO_MAX ? "an errno is at most 4095" : NULL;
}

static int check_row(const struct vmm_jail_filter *filter, const char *table, size_t n,
                     struct vmm_jail_row *row)
{
    const char *broken = broken_check(row->rule);

    if (resolve(row))
        return vm_fail(-EINVAL, "filter of %s: %s, row %zu: there is no system call '%s'",
                       filter->name, table, n + 1, row->rule->syscall);
    if (broken)
        return vm_fail(-EINVAL, "filter of %s: %s, row %zu (%s): %s", filter->name, table, n + 1,
                       row->rule->syscall, broken);
    return 0;
}

int vmm_jail_filter_add(struct vmm_jail_filter *filter, const char *table,
                        const struct vm_jail_rule *rows)
{
    size_t more = 0;
    void *room;

    while (rows && rows[more].syscall)
        more++;
    if (!more)
        return 0;
    if (more > VMM_JAIL_ROWS_MAX - filter->count)
        return vm_fail(-E2BIG, "filter of %s: %s: over %d rows", filter->name, table,
                       VMM_JAIL_ROWS_MAX);
    room = realloc(filter->row, (filter->count + more) * sizeof(*filter->row));
    if (!room)
        return vm_fail(-ENOMEM, "filter of %s: no memory for %zu rows", filter->name, more);
    filter->row = room;
    for (size_t i = 0; i < more; i++) {
        struct vmm_jail_row *row = &filter->row[filter->count + i];
        int rc;

        row->rule = &rows[i];
        rc = check_row(filter, table, i, row);
        if (rc)
            return rc;
    }
    filter->count += more;
    return 0;
}

/* ---- text ---- */

static int print_check(char *text, size_t size, const struct vm_jail_check *c, const char *before)
{
    if (c->mask == UINT64_MAX)
        return snprintf(text, size, "%sarg%u == 0x%" PRIx64, before, c->argument, c->value);
    return snprintf(text, size, "%sarg%u & 0x%" PRIx64 " == 0x%" PRIx64, before, c->argument,
                    c->mask, c->value);
}

/* 256 bytes hold the longest name, two checks, an errno and most of the remarks; a longer remark is cut. */
static void print_rule(const struct vm_jail_rule *rule, char *text, size_t size)
{
    const char *before = ": ";
    size_t at = (size_t)snprintf(text, size, "%s", rule->syscall);

    for (size_t i = 0; i < VM_ARRAY_SIZE(rule->check) && at < size; i++) {
        if (!rule->check[i].mask)
            continue;
        at += (size_t)print_check(text + at, size - at, &rule->check[i], before);
        before = " && ";
    }
    if (rule->error && at < size)
        at += (size_t)snprintf(text + at, size - at, "%sreturn %u",
                               strcmp(before, ": ") ? "; " : before, rule->error);
    for (size_t i = 0; i < VM_ARRAY_SIZE(rule->check) && at < size; i++) {
        if (rule->check[i].mask && rule->check[i].name)
            at += (size_t)snprintf(text + at, size - at, "  # %s", rule->check[i].name);
    }
}

void vmm_jail_filter_print(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch,
                           void (*line)(void *ctx, const char *text), void *ctx)
{
    char text[256];

    for (size_t i = 0; i < filter->count; i++) {
        if (filter->row[i].number[arch] < 0)
            continue;
        print_rule(filter->row[i].rule, text, sizeof(text));
        line(ctx, text);
    }
}

static bool counted_before(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (filter->row[i].number[arch] == filter->row[n].number[arch] &&
            !filter->row[i].rule->error)
            return true;
    return false;
}

size_t vmm_jail_filter_calls(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch)
{
    size_t calls = 0;

    for (size_t i = 0; i < filter->count; i++)
        calls += filter->row[i].number[arch] >= 0 && !filter->row[i].rule->error &&
                 !counted_before(filter, arch, i);
    return calls;
}
