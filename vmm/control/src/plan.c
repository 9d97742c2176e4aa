/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm plan and vmm abi: what a configuration would be, without starting it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/control/control.h>
#include <vmm/pci/pci.h>

#include "commands.h"
#include "dry.h"
#include "report.h"

/* Rows are collected as JSON and written as text or as they are: one source for both. */
static void add_range(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    char range[48];

    snprintf(range, sizeof(range), "0x%012llx-0x%012llx", (unsigned long long)base,
             (unsigned long long)(base + size - 1));
    json_array_append_new(ctx, json_pack("{s:s,s:I,s:I,s:s}", "range", range, "base",
                                         (json_int_t)base, "size", (json_int_t)size, "name", name));
}

static void add_function(void *ctx, struct vpci_function *fn)
{
    const struct vpci_root_config *root = vpci_root_config_of(fn->root);
    json_t *bars = json_array();
    char address[16], ids[12];

    snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", root->segment, root->first_bus,
             fn->device, fn->function);
    snprintf(ids, sizeof(ids), "%02x%02x:%02x%02x", fn->config[1], fn->config[0], fn->config[3],
             fn->config[2]);
    for (unsigned i = 0; i < VPCI_BARS; i++)
        if (fn->bar[i].kind != VPCI_BAR_NONE)
            json_array_append_new(bars, json_pack("{s:i,s:I,s:I}", "bar", (int)i, "base",
                                                  (json_int_t)fn->bar[i].region.base, "size",
                                                  (json_int_t)fn->bar[i].size));
    json_array_append_new(ctx,
                          json_pack("{s:s,s:s,s:s,s:i,s:o}", "address", address, "ids", ids, "name",
                                    fn->name, "vectors", (int)fn->msix.vectors, "bars", bars));
}

struct device_rows {
    struct vmm_machine *machine;
    json_t *rows;
    const struct run_inputs *inputs;
    size_t next; /* of inputs' devices, which come in this order behind the platform's */
};

static void add_line(void *ctx, const char *text)
{
    json_array_append_new(ctx, json_string(text));
}

/* Who serves a device; and what its process may call. */
static void add_sandbox(struct device_rows *d, json_t *row, const struct vdev_class *cls)
{
    bool ours = cls->kind != VDEV_PLATFORM && d->next < d->inputs->machine.device_count;
    const struct vmm_machine_device *device = ours ? &d->inputs->devices[d->next++] : NULL;
    bool process = device && device->process;
    struct vmm_jail_filter *filter = NULL;
    json_t *lines;
    char text[96];

    if (!process || vmm_machine_device_filter(cls, false, &filter)) {
        json_object_set_new(row, "sandbox",
                            json_string(device && vmm_machine_program_of(cls, device->config)
                                            ? "not ours: another program, which we start"
                                        : cls->placements == VDEV_FOREIGN
                                            ? "not ours: another program"
                                            : "none: a thread of the VMM"));
        return;
    }
    lines = json_array();
    snprintf(text, sizeof(text), "a jailed process, %zu system calls",
             vmm_jail_filter_calls(filter, vmm_jail_arch_native()));
    vmm_jail_filter_print(filter, vmm_jail_arch_native(), add_line, lines);
    json_object_set_new(row, "sandbox", json_string(text));
    json_object_set_new(row, "filter", lines);
    vmm_jail_filter_free(filter);
}

static void add_device(void *ctx, struct vdev *dev)
{
    struct device_rows *d = ctx;
    json_t *irqs = json_array(), *row;
    char place[64];

    vmm_machine_place(d->machine, dev, place, sizeof(place));
    for (unsigned i = 0; i < VDEV_RESOURCES_MAX && dev->firmware.resource[i].type != VDEV_RES_END;
         i++)
        if (dev->firmware.resource[i].type == VDEV_RES_IRQ)
            json_array_append_new(irqs, json_integer((json_int_t)dev->firmware.resource[i].base));
    row = json_pack("{s:s,s:s,s:s,s:o}", "id", dev->id, "class", dev->cls->name, "place", place,
                    "interrupts", irqs);
    add_sandbox(d, row, dev->cls);
    json_array_append_new(d->rows, row);
}

/* Where RAM's bytes will come from: the user's words back, with the defaults. */
static void ram_text(const struct run_inputs *in, char *text, size_t room)
{
    const struct run_memory *m = &in->config->memory;
    char node[24] = "";

    if (m->node.count)
        snprintf(node, sizeof(node), ", host node %u", *(const uint32_t *)m->node.items);
    if (m->hugepages && m->hugepage_size)
        snprintf(text, room, "huge pages of %llu bytes%s", (unsigned long long)m->hugepage_size,
                 node);
    else
        snprintf(text, room, "%s%s",
                 m->hugepages ? "huge pages of the host's default size"
                 : in->shared ? "a sealed memfd, shared with the programs that serve devices"
                 : in->processes
                     ? "a file on a private tmpfs with huge pages, shared with the processes of "
                       "devices (a sealed memfd where the host refuses the mount)"
                 : m->thp ? "private, transparent huge pages"
                          : "private",
                 node);
    if (m->prefault)
        snprintf(text + strlen(text), room - strlen(text), ", touched before the start");
}

static json_t *ram_rows(struct dry *d)
{
    struct varch_range ram[8];
    unsigned n = vmm_machine_ram(d->machine, ram, VM_ARRAY_SIZE(ram));
    json_t *rows = json_array();
    char backing[192];

    ram_text(&d->inputs, backing, sizeof(backing));
    for (unsigned i = 0; i < n; i++) {
        add_range(rows, ram[i].base, ram[i].size, "RAM");
        json_object_set_new(json_array_get(rows, i), "backing", json_string(backing));
    }
    return rows;
}

static void extra_rows(struct dry *d, json_t *rows)
{
    struct varch_range extra[4];
    unsigned n = vmm_machine_extra(d->machine, extra, VM_ARRAY_SIZE(extra));

    for (unsigned i = 0; i < n; i++)
        add_range(rows, extra[i].base, extra[i].size, "time stolen from vCPUs");
}

static json_t *plan_json(struct dry *d)
{
    json_t *ports = json_array(), *memory = ram_rows(d), *pci = json_array();
    struct device_rows devices = { .machine = d->machine,
                                   .rows = json_array(),
                                   .inputs = &d->inputs };

    extra_rows(d, memory);
    vmm_machine_walk_bus(d->machine, false, add_range, memory);
    vmm_machine_walk_bus(d->machine, true, add_range, ports);
    for (unsigned s = 0; vmm_machine_pci(d->machine, s); s++)
        vpci_root_walk(vmm_machine_pci(d->machine, s), add_function, pci);
    vmm_machine_walk_devices(d->machine, add_device, &devices);
    return json_pack("{s:o,s:o,s:o,s:o,s:s}", "memory", memory, "ports", ports, "pci", pci,
                     "devices", devices.rows, "cmdline", d->inputs.cmdline);
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));

    return text ? text : "";
}

static void write_ranges(struct vm_report *r, const char *title, const json_t *rows)
{
    const json_t *row;
    size_t i;

    vm_report_add(r, "%s\n", title);
    json_array_foreach(rows, i, row)
    {
        const char *backing = text_of(row, "backing");

        vm_report_add(r, "  %s  %s%s%s\n", text_of(row, "range"), text_of(row, "name"),
                      *backing ? ": " : "", backing);
    }
}

static void write_pci(struct vm_report *r, const json_t *rows)
{
    const json_t *row, *bar;
    size_t i, j;

    vm_report_add(r, "PCI\n");
    json_array_foreach(rows, i, row)
    {
        vm_report_add(r, "  %s  %s  %-16s %lld MSI-X vectors\n", text_of(row, "address"),
                      text_of(row, "ids"), text_of(row, "name"),
                      (long long)json_integer_value(json_object_get(row, "vectors")));
        json_array_foreach(json_object_get(row, "bars"), j, bar)
            vm_report_add(r, "    BAR %lld at %#llx, %lld bytes\n",
                          (long long)json_integer_value(json_object_get(bar, "bar")),
                          (unsigned long long)json_integer_value(json_object_get(bar, "base")),
                          (long long)json_integer_value(json_object_get(bar, "size")));
    }
}

static void write_devices(struct vm_report *r, const json_t *rows)
{
    const json_t *row, *irq;
    size_t i, j;

    vm_report_add(r, "Devices\n");
    json_array_foreach(rows, i, row)
    {
        vm_report_add(r, "  %-16s %-16s %-18s sandbox %s", text_of(row, "id"),
                      text_of(row, "class"), text_of(row, "place"), text_of(row, "sandbox"));
        json_array_foreach(json_object_get(row, "interrupts"), j, irq)
            vm_report_add(r, ", interrupt %lld", (long long)json_integer_value(irq));
        vm_report_add(r, "\n");
    }
}

static void write_text(struct vm_report *r, const json_t *plan)
{
    write_ranges(r, "Memory", json_object_get(plan, "memory"));
    write_ranges(r, "Ports", json_object_get(plan, "ports"));
    write_pci(r, json_object_get(plan, "pci"));
    write_devices(r, json_object_get(plan, "devices"));
    vm_report_add(r, "Command line\n  ");
    vm_report_add(r, "%.400s\n", text_of(plan, "cmdline"));
}

static int write_table(int dir, const struct vacpi_image *image, const struct vacpi_place *place,
                       unsigned n)
{
    char name[24];
    int fd, rc;

    snprintf(name, sizeof(name), n ? "%s%u.dat" : "%s.dat", place->signature, n);
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return vm_fail_errno("%s", name);
    rc = vm_write_full(fd, image->bytes.data + place->offset, place->len);
    close(fd);
    return rc ? vm_wrap(rc, "%s", name) : 0;
}

/* One file per table, as iasl -d and acpidump name them. */
static int dump_acpi(struct dry *d, const char *path)
{
    struct vacpi_image image;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (dir < 0)
        return vm_fail_errno("--dump-acpi %s: give a folder that exists", path);
    rc = vmm_machine_acpi(d->machine, &image);
    if (rc == -ENOTSUP)
        rc = vm_fail(-EINVAL, "--dump-acpi %s: %s: leave it out", path, vm_error_text());
    for (unsigned i = 0; !rc && i < image.place_count; i++) {
        unsigned n = 0;

        for (unsigned j = 0; j < i; j++)
            n += !strcmp(image.places[j].signature, image.places[i].signature);
        rc = write_table(dir, &image, &image.places[i], n);
    }
    if (!rc)
        vacpi_image_free(&image);
    close(dir);
    return rc;
}

static int dump_dtb(struct dry *d, const char *path)
{
    struct vm_buffer blob = { 0 };
    int rc = vmm_machine_dtb(d->machine, &blob), fd;

    if (rc == -ENOTSUP)
        return vm_fail(-EINVAL, "--dump-dtb %s: %s: leave it out", path, vm_error_text());
    if (rc)
        return vm_wrap(rc, "--dump-dtb %s", path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    rc = fd < 0 ? vm_file_fail("--dump-dtb", path, true) : vm_write_full(fd, blob.data, blob.len);
    if (fd >= 0)
        close(fd);
    vm_buffer_free(&blob);
    return rc;
}

/* What vmm run would refuse: an overlay is tried on the tree also where nobody wants to see that. */
static int try_overlay(struct dry *d)
{
    struct vm_buffer blob = { 0 };
    int rc = vmm_machine_dtb(d->machine, &blob);

    if (!rc)
        vm_buffer_free(&blob);
    return rc;
}

static int dump(struct session *s, struct dry *d)
{
    int rc = s->dump_dir ? dump_acpi(d, s->dump_dir) : 0;

    if (!rc && s->dump_dtb)
        return dump_dtb(d, s->dump_dtb);
    return !rc && s->config->payload.overlay ? try_overlay(d) : rc;
}

int vmm_command_plan(struct session *s)
{
    struct vm_report r = { 0 };
    struct dry d;
    json_t *plan;
    int rc = vmm_dry_new(&s->model, s->config, DRY_ON_NOTHING, 0, &d), code;

    if (rc)
        return vmm_command_fail(rc);
    rc = dump(s, &d);
    if (rc) {
        code = vmm_command_fail(rc);
        vmm_dry_free(&d);
        return code;
    }
    plan = plan_json(&d);
    if (s->json) {
        char *text = json_dumps(plan, JSON_INDENT(2));

        code = text ? vmm_command_print(text, strlen(text)) : VMM_EXIT_RESOURCE;
        if (!code)
            code = vmm_command_print("\n", 1);
        free(text);
    } else {
        write_text(&r, plan);
        code = vmm_report_print(&r);
    }
    json_decref(plan);
    vmm_dry_free(&d);
    return code;
}
