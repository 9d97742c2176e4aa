/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm abi: everything a guest can see of a configuration, as text: address map, devices, PCI configuration spaces, ACPI tables or
 * device tree, what boot code leaves for the kernel, and the processors. The files tests/abi/machine-N.txt hold it per machine
 * version; a change there is a change a guest may notice. docs/abi.md tells what is in it and what cannot be.
 *
 * Processors are the host's, changed by the machine: so they are told as they would be on hosts that are made up
 * (vmm/arch/abi.h), where the report is the same everywhere, or on the host this runs on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/abi.h>
#include <vmm/base/error.h>
#include <vmm/control/control.h>
#include <vmm/pci/pci.h>
#include <vmm/virtio/device.h>

#include "abi.h"
#include "commands.h"
#include "dry.h"
#include "report.h"

static void add_range(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    vm_report_add(ctx, "  0x%012llx + %#llx %s\n", (unsigned long long)base,
                  (unsigned long long)size, name);
}

static void add_function(void *ctx, struct vpci_function *fn)
{
    const struct vpci_root_config *root = vpci_root_config_of(fn->root);

    vm_report_add(ctx, "  %04x:%02x:%02x.%x %s\n", root->segment, root->first_bus, fn->device,
                  fn->function, fn->name);
    vm_report_hex(ctx, 4, fn->config, VPCI_CONFIG_BYTES);
    vm_report_add(ctx, "   writable\n");
    vm_report_hex(ctx, 4, fn->writable, VPCI_CONFIG_BYTES);
}

static void add_device(void *ctx, struct vdev *dev)
{
    vm_report_add(ctx, "  %s: %s\n", dev->id, dev->cls->name);
    for (unsigned i = 0; i < VDEV_RESOURCES_MAX && dev->firmware.resource[i].type != VDEV_RES_END;
         i++)
        vm_report_add(ctx, "    resource %u: %u %#llx %#llx\n", i,
                      (unsigned)dev->firmware.resource[i].type,
                      (unsigned long long)dev->firmware.resource[i].base,
                      (unsigned long long)dev->firmware.resource[i].size);
    if (dev->cls->kind == VDEV_VIRTIO) {
        const struct virtio_dev *v = container_of(dev, struct virtio_dev, dev);

        vm_report_add(ctx, "    virtio: %u features %#018llx queues", v->id,
                      (unsigned long long)v->offered);
        for (uint16_t n = 0; n < v->queues; n++)
            vm_report_add(ctx, " %u", v->queue[n].size_max);
        vm_report_add(ctx, " config %u\n", v->config_bytes);
    }
}

static int add_acpi(struct vm_report *r, struct dry *d)
{
    struct vacpi_image image;
    int rc = vmm_machine_acpi(d->machine, &image);

    if (rc)
        return rc == -ENOTSUP ? 0 : rc;
    vm_report_add(r, "acpi\n");
    for (unsigned i = 0; i < image.place_count; i++) {
        vm_report_add(r, "  %s: %u bytes\n", image.places[i].signature, image.places[i].len);
        vm_report_hex(r, 4, image.bytes.data + image.places[i].offset, image.places[i].len);
    }
    vacpi_image_free(&image);
    return 0;
}

/* What does not depend on the processor; the boot section comes last, since it writes to the machine. */
static int add_machine(struct vm_report *r, struct dry *d)
{
    struct varch_range ram[8];
    unsigned n;
    int rc;

    vm_report_add(r, "memory\n");
    n = vmm_machine_ram(d->machine, ram, VM_ARRAY_SIZE(ram));
    for (unsigned i = 0; i < n; i++)
        add_range(r, ram[i].base, ram[i].size, "RAM");
    n = vmm_machine_extra(d->machine, ram, VM_ARRAY_SIZE(ram));
    for (unsigned i = 0; i < n; i++)
        add_range(r, ram[i].base, ram[i].size, "time stolen from vCPUs");
    vmm_machine_walk_bus(d->machine, false, add_range, r);
    vm_report_add(r, "ports\n");
    vmm_machine_walk_bus(d->machine, true, add_range, r);
    vm_report_add(r, "devices\n");
    vmm_machine_walk_devices(d->machine, add_device, r);
    vm_report_add(r, "pci\n");
    for (unsigned i = 0; vmm_machine_pci(d->machine, i); i++)
        vpci_root_walk(vmm_machine_pci(d->machine, i), add_function, r);
    rc = add_acpi(r, d);
    return rc ? rc : vmm_machine_abi_boot(d->machine, r);
}

/* --- processors --- */

enum { HOSTS_MAX = 8 };
struct host {
    char name[48];
    bool made_up;
    struct vm_report first; /* rows of its first vCPU */
};

/* A report's only errors. */
static int enough_memory(int code)
{
    return code ? vm_fail(code, "report: out of memory") : 0;
}

/* A section about one vCPU: all of it, or what is not as in like. */
static int add_vcpu(struct vm_report *r, unsigned cpu, const struct host *host,
                    const struct vm_report *rows, const struct vm_report *like, const char *than)
{
    vm_report_add(r, "vcpu %u, %s%s", cpu, host->made_up ? "policy on reference host " : "",
                  host->name);
    if (!like) {
        vm_report_add(r, "\n");
        return enough_memory(vm_buffer_add(&r->text, rows->text.data, rows->text.len));
    }
    vm_report_add(r, ", where not as %s\n", than);
    return enough_memory(vmm_abi_without(&like->text, &rows->text, r));
}

/* like: the host that this one differs from by features only; itself: there is none. */
static int add_vcpus(struct vm_report *r, struct dry *d, struct host *host, const struct host *like)
{
    char than[sizeof(like->name) + 8];
    int rc = vmm_machine_abi_vcpu(d->machine, 0, &host->first);

    if (!rc)
        rc = enough_memory(host->first.code);
    snprintf(than, sizeof(than), "on %s", like->name);
    if (!rc)
        rc = add_vcpu(r, 0, host, &host->first, like == host ? NULL : &like->first, than);
    for (unsigned i = 1; !rc && i < d->inputs.machine.arch.cpus; i++) {
        struct vm_report rows = { 0 };

        rc = vmm_machine_abi_vcpu(d->machine, i, &rows);
        if (!rc)
            rc = enough_memory(rows.code);
        if (!rc)
            rc = add_vcpu(r, i, host, &rows, &host->first, "vcpu 0");
        vm_report_free(&rows);
    }
    return rc;
}

/* The first host's report has the machine, too. -ENOENT: there is no n-th reference host. */
static int add_host(struct vm_report *r, struct session *s, unsigned n, struct host *hosts)
{
    struct host *host = &hosts[n], *like = host;
    struct dry d;
    int rc = vmm_dry_new(&s->model, s->config, s->on_host ? DRY_ON_HOST : DRY_ON_REFERENCE, n, &d);

    if (rc)
        return rc;
    host->made_up = !s->on_host;
    if (s->on_host) {
        snprintf(host->name, sizeof(host->name), "this host");
    } else {
        snprintf(host->name, sizeof(host->name), "'%s'", d.reference.name);
        like = &hosts[d.reference.like];
    }
    if (!n)
        rc = add_machine(r, &d);
    if (!rc)
        rc = add_vcpus(r, &d, host, like);
    vmm_dry_free(&d);
    return rc;
}

static int make_report(struct session *s, struct vm_report *r)
{
    struct host hosts[HOSTS_MAX] = { 0 };
    unsigned n = 0;
    int rc = 0;

    vm_report_add(r, ABI_FIRST "\nreport\n  processors: %s\n",
                  s->on_host ? "of the host it was made on"
                             : "policy on reference hosts, which are made up");
    for (; !rc && n < (s->on_host ? 1 : HOSTS_MAX); n++)
        rc = add_host(r, s, n, hosts);
    if (rc == -ENOENT && n > 1) /* that was the last reference host */
        rc = 0;
    vm_report_add(r, ABI_LAST "\n");
    for (unsigned i = 0; i < HOSTS_MAX; i++)
        vm_report_free(&hosts[i].first);
    return rc ? rc : enough_memory(r->code);
}

/* --- the command --- */

/* What is wrong with a file is the user's, whatever the kernel calls it. */
static int fail_file(int rc)
{
    int code = vmm_command_fail(rc);

    return code == VMM_EXIT_FAILED ? VMM_EXIT_USAGE : code;
}

/* Two files. */
static int compare_files(struct session *s)
{
    struct vm_buffer old = { 0 }, new = { 0 };
    int rc = vmm_abi_read(s->compare, &old), code;

    if (!rc)
        rc = vmm_abi_read(s->compare_with, &new);
    code = rc ? fail_file(rc) : vmm_abi_compare(s->compare, &old, s->compare_with, &new);
    vm_buffer_free(&old);
    vm_buffer_free(&new);
    return code;
}

/* A file and this configuration. */
static int compare_report(struct session *s, struct vm_report *r)
{
    struct vm_buffer old = { 0 };
    int rc = vmm_abi_read(s->compare, &old), code;

    code = rc ? fail_file(rc) : vmm_abi_compare(s->compare, &old, "this configuration", &r->text);
    vm_buffer_free(&old);
    vm_report_free(r);
    return code;
}

int vmm_command_abi(struct session *s)
{
    struct vm_report r = { 0 };
    int rc;

    if (s->compare_with)
        return compare_files(s);
    rc = make_report(s, &r);
    if (rc) {
        vm_report_free(&r);
        return vmm_command_fail(rc);
    }
    return s->compare ? compare_report(s, &r) : vmm_report_print(&r);
}
