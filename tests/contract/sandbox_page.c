/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The system calls that each jailed device may make, and each thread of the VMM, as Markdown (sandbox-page.sh puts them into
 * docs/sandbox-syscalls.md). Fails where a device may make more than 25 once it runs: the project's promise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>
#include <vmm/jail/rows.h>
#include <vmm/machine/machine.h>

enum { CALLS_MAX = 25, LINES_MAX = 256, ARCHS = 2 };

struct lines {
    char *text[LINES_MAX];
    size_t count;
};

static bool has(const struct lines *lines, const char *text)
{
    for (size_t i = 0; i < lines->count; i++)
        if (!strcmp(lines->text[i], text))
            return true;
    return false;
}

/* Tables overlap: each line once. */
static void keep(void *ctx, const char *text)
{
    struct lines *lines = ctx;

    if (!has(lines, text) && lines->count < LINES_MAX)
        lines->text[lines->count++] = strdup(text);
}

static void forget(struct lines lines[ARCHS])
{
    for (unsigned arch = 0; arch < ARCHS; arch++)
        while (lines[arch].count)
            free(lines[arch].text[--lines[arch].count]);
}

static void collect(const struct vmm_jail_filter *filter, struct lines lines[ARCHS])
{
    for (unsigned arch = 0; arch < ARCHS; arch++)
        vmm_jail_filter_print(filter, (enum vmm_jail_arch)arch, keep, &lines[arch]);
}

/* Those that are not in `known` already, as lines of a policy file. */
static void put_lines(const struct lines lines[ARCHS], const struct lines known[ARCHS])
{
    printf("\n```\n");
    for (unsigned arch = 0; arch < ARCHS; arch++)
        for (size_t i = 0; i < lines[arch].count; i++) {
            const char *text = lines[arch].text[i];
            bool both = has(&lines[!arch], text);

            if (has(&known[arch], text) || (both && arch))
                continue;
            printf("%s", text);
            if (!both)
                printf("%s %s only", strchr(text, '#') ? "," : "  #",
                       vmm_jail_arch_name((enum vmm_jail_arch)arch));
            printf("\n");
        }
    printf("```\n");
}

static void put_count(const char *what, const struct vmm_jail_filter *filter)
{
    printf("\n%s: %zu system calls on x86_64, %zu on AArch64.\n", what,
           vmm_jail_filter_calls(filter, VMM_JAIL_X86_64),
           vmm_jail_filter_calls(filter, VMM_JAIL_AARCH64));
}

static bool few(const struct vdev_class *cls, const struct vmm_jail_filter *filter)
{
    bool ok = true;

    for (unsigned arch = 0; arch < ARCHS; arch++) {
        size_t calls = vmm_jail_filter_calls(filter, (enum vmm_jail_arch)arch);

        if (calls > CALLS_MAX)
            fprintf(stderr, "%s may make %zu system calls in its loop on %s, %d is the most\n",
                    cls->name, calls, vmm_jail_arch_name((enum vmm_jail_arch)arch), CALLS_MAX);
        ok = ok && calls <= CALLS_MAX;
    }
    return ok;
}

/* What a vCPU needs for a device that is on a thread. */
static int put_vcpu(const struct vdev_class *cls)
{
    struct lines lines[ARCHS] = { 0 };
    const struct lines none[ARCHS] = { 0 };
    struct vmm_jail_filter *filter;
    int rc = cls->jail_vcpu ? vmm_jail_filter_new(cls->name, &filter) : 0;

    if (rc || !cls->jail_vcpu)
        return rc;
    rc = vmm_jail_filter_add(filter, cls->name, cls->jail_vcpu);
    if (!rc) {
        collect(filter, lines);
        printf("\nOn a thread of the VMM, a vCPU besides its own:\n");
        put_lines(lines, none);
        forget(lines);
    }
    vmm_jail_filter_free(filter);
    return rc;
}

static int put_device(const struct vdev_class *cls)
{
    struct lines loop_lines[ARCHS] = { 0 }, start_lines[ARCHS] = { 0 };
    const struct lines none[ARCHS] = { 0 };
    struct vmm_jail_filter *loop, *start;
    int rc = vmm_machine_device_filter(cls, false, &loop);

    if (rc)
        return rc;
    rc = vmm_machine_device_filter(cls, true, &start);
    if (!rc) {
        collect(loop, loop_lines);
        collect(start, start_lines);
        printf("\n## %s\n", cls->name);
        put_count("In its loop", loop);
        put_lines(loop_lines, none);
        put_count("Until its device is made", start);
        printf("Besides those of the loop:\n");
        put_lines(start_lines, loop_lines);
        rc = few(cls, loop) ? 0 : vm_fail(-E2BIG, "%s: too many system calls", cls->name);
        forget(loop_lines);
        forget(start_lines);
        vmm_jail_filter_free(start);
    }
    vmm_jail_filter_free(loop);
    return rc ? rc : put_vcpu(cls);
}

static int put_thread(const char *what, const char *table, const struct vm_jail_rule *rows)
{
    struct lines lines[ARCHS] = { 0 };
    const struct lines none[ARCHS] = { 0 };
    struct vmm_jail_filter *filter;
    int rc = vmm_jail_filter_new(table, &filter);

    if (!rc)
        rc = vmm_jail_filter_add(filter, table, rows);
    if (rc)
        return rc;
    printf("\n## %s\n", what);
    put_count(table, filter);
    collect(filter, lines);
    put_lines(lines, none);
    forget(lines);
    vmm_jail_filter_free(filter);
    return 0;
}

int main(void)
{
    int rc = 0;

    for (size_t i = 0; !rc && vdev_classes[i]; i++)
        if (vdev_classes[i]->kind == VDEV_VIRTIO && vdev_classes[i]->placements & VDEV_PROCESS)
            rc = put_device(vdev_classes[i]);
    if (!rc)
        rc = put_thread("vCPU threads", "vmm-vcpu", vmm_jail_rows_vcpu);
    if (!rc)
        rc = put_thread("The I/O thread", "vmm-io", vmm_jail_rows_io);
    if (!rc)
        rc = put_thread("The main thread", "vmm-main", vmm_jail_rows_main);
    if (rc)
        fprintf(stderr, "sandbox-page: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
