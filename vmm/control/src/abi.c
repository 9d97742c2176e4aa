/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm abi: everything a guest can see of a configuration, as text: address map, ACPI tables, PCI configuration spaces, virtio features. The files
 * tests/abi/machine-N.txt hold it per machine version; a change there is a change a guest may notice.
 *
 * Not in it: what the host's CPU gives (CPUID beyond docs/cpuid.md, MSRs).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/control/control.h>
#include <vmm/pci/pci.h>
#include <vmm/virtio/device.h>

#include "commands.h"
#include "dry.h"
#include "report.h"

enum { GOLDEN_BYTES_MAX = 4 << 20 };

static void add_range(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    vmm_report_add(ctx, "  0x%012llx + %#llx %s\n", (unsigned long long)base,
                   (unsigned long long)size, name);
}

static void add_function(void *ctx, struct vpci_function *fn)
{
    const struct vpci_root_config *root = vpci_root_config_of(fn->root);

    vmm_report_add(ctx, "  %04x:%02x:%02x.%x %s\n", root->segment, root->first_bus, fn->device,
                   fn->function, fn->name);
    vmm_report_hex(ctx, fn->config, VPCI_CONFIG_BYTES);
    vmm_report_add(ctx, "   writable\n");
    vmm_report_hex(ctx, fn->writable, VPCI_CONFIG_BYTES);
}

static void add_device(void *ctx, struct vdev *dev)
{
    vmm_report_add(ctx, "  %s %s\n", dev->id, dev->cls->name);
    for (unsigned i = 0; i < VDEV_RESOURCES_MAX && dev->firmware.resource[i].type != VDEV_RES_END;
         i++)
        vmm_report_add(ctx, "    resource %u %#llx %#llx\n",
                       (unsigned)dev->firmware.resource[i].type,
                       (unsigned long long)dev->firmware.resource[i].base,
                       (unsigned long long)dev->firmware.resource[i].size);
    if (dev->cls->kind == VDEV_VIRTIO) {
        const struct virtio_dev *v = container_of(dev, struct virtio_dev, dev);

        vmm_report_add(ctx, "    virtio %u features %#018llx queues", v->id,
                       (unsigned long long)v->offered);
        for (uint16_t n = 0; n < v->queues; n++)
            vmm_report_add(ctx, " %u", v->queue[n].size_max);
        vmm_report_add(ctx, " config %u\n", v->config_bytes);
    }
}

static int add_acpi(struct report *r, struct dry *d)
{
    struct vacpi_image image;
    int rc = vmm_machine_acpi(d->machine, &image);

    if (rc == -ENOTSUP)
        return 0;
    if (rc)
        return rc;
    for (unsigned i = 0; i < image.place_count; i++) {
        vmm_report_add(r, "  %s %u bytes\n", image.places[i].signature, image.places[i].len);
        vmm_report_hex(r, image.bytes.data + image.places[i].offset, image.places[i].len);
    }
    vacpi_image_free(&image);
    return 0;
}

static int add_dtb(struct report *r, struct dry *d)
{
    struct vm_buffer blob = { 0 };
    int rc = vmm_machine_dtb(d->machine, &blob);

    if (rc)
        return rc == -ENOTSUP ? 0 : rc;
    vmm_report_add(r, "device tree\n  %zu bytes\n", blob.len);
    vmm_report_hex(r, blob.data, blob.len);
    vm_buffer_free(&blob);
    return 0;
}

static int make_report(struct session *s, struct report *r)
{
    struct varch_range ram[8];
    struct dry d;
    unsigned n;
    int rc = vmm_dry_new(&s->model, s->config, &d);

    if (rc)
        return rc;
    vmm_report_add(r, "memory\n");
    n = vmm_machine_ram(d.machine, ram, VM_ARRAY_SIZE(ram));
    for (unsigned i = 0; i < n; i++)
        add_range(r, ram[i].base, ram[i].size, "RAM");
    n = vmm_machine_extra(d.machine, ram, VM_ARRAY_SIZE(ram));
    for (unsigned i = 0; i < n; i++)
        add_range(r, ram[i].base, ram[i].size, "time stolen from vCPUs");
    vmm_machine_walk_bus(d.machine, false, add_range, r);
    vmm_report_add(r, "ports\n");
    vmm_machine_walk_bus(d.machine, true, add_range, r);
    vmm_report_add(r, "devices\n");
    vmm_machine_walk_devices(d.machine, add_device, r);
    vmm_report_add(r, "pci\n");
    for (unsigned i = 0; vmm_machine_pci(d.machine, i); i++)
        vpci_root_walk(vmm_machine_pci(d.machine, i), add_function, r);
    vmm_report_add(r, "acpi\n");
    rc = add_acpi(r, &d);
    if (!rc)
        rc = add_dtb(r, &d);
    vmm_dry_free(&d);
    return rc ? rc : r->code;
}

static int read_golden(const char *path, char **ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
    void *data;
    size_t len;

    if (fd < 0)
        return vm_fail_errno("%s", path);
    rc = vm_read_file(fd, path, GOLDEN_BYTES_MAX, &data, &len);
    close(fd);
    if (!rc)
        *ret_text = data;
    return rc;
}

/* Line by line from the first difference on, as many as tell what changed. */
static int compare(const char *path, const char *theirs, const char *ours)
{
    struct report r = { 0 };
    unsigned line = 1, told = 0;

    while ((*theirs || *ours) && told < 20) {
        size_t a = strcspn(theirs, "\n"), b = strcspn(ours, "\n");

        if (a != b || memcmp(theirs, ours, a)) {
            vmm_report_add(&r, "%s:%u\n- %.*s\n+ %.*s\n", path, line, (int)(a < 200 ? a : 200),
                           theirs, (int)(b < 200 ? b : 200), ours);
            told++;
        }
        theirs += a + (theirs[a] != 0);
        ours += b + (ours[b] != 0);
        line++;
    }
    if (!told) {
        vmm_report_add(&r, "no difference\n");
        return vmm_report_print(&r);
    }
    vmm_report_print(&r);
    return VMM_EXIT_FAILED;
}

int vmm_command_abi(struct session *s)
{
    struct report r = { 0 };
    char *golden = NULL;
    int rc = make_report(s, &r), code;

    if (!rc && s->compare) {
        rc = read_golden(s->compare, &golden);
        if (!rc) {
            rc = vm_buffer_add(&r.text, "", 1);
            code =
                rc ? vmm_command_fail(rc) : compare(s->compare, golden, (const char *)r.text.data);
            free(golden);
            vm_buffer_free(&r.text);
            return code;
        }
    }
    if (rc) {
        vm_buffer_free(&r.text);
        return vmm_command_fail(rc);
    }
    return vmm_report_print(&r);
}
