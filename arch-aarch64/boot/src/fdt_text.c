/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device tree in words: one line for each property (Devicetree Specification 0.4, 2.2.4: the kinds of values). */
#include <vmm/aarch64-boot/fdt.h>

#include <errno.h>
#include <string.h>

#include <libfdt.h>

#include <vmm/base/error.h>

enum { DEPTH_MAX = 16, PATH_BYTES = 512 };

/* One or several strings, each of printable characters and none empty. */
static bool is_text(const char *value, size_t len)
{
    bool empty = true;

    for (size_t i = 0; i < len; i++) {
        if (!value[i] && empty)
            return false;
        if (value[i] && (value[i] < 0x20 || value[i] > 0x7e))
            return false;
        empty = !value[i];
    }
    return len && empty;
}

static void add_strings(struct vm_report *r, const char *value, size_t len)
{
    for (size_t at = 0; at < len; at += strlen(value + at) + 1) {
        vm_report_add(r, " ");
        vm_report_string(r, value + at, strlen(value + at));
    }
}

static void add_numbers(struct vm_report *r, const uint8_t *value, size_t len)
{
    size_t width = len % 4 ? 1 : 4;

    for (size_t i = 0; i < len; i += width)
        if (width == 4)
            vm_report_add(r, " %#x", fdt32_ld((const fdt32_t *)(const void *)(value + i)));
        else
            vm_report_add(r, " %02x", value[i]);
}

static int add_node(const void *fdt, int node, struct vm_report *r)
{
    char path[PATH_BYTES];
    const char *name;
    const void *value;
    int at, len, rc = fdt_get_path(fdt, node, path, sizeof(path));

    if (rc)
        return rc;
    fdt_for_each_property_offset(at, fdt, node)
    {
        value = fdt_getprop_by_offset(fdt, at, &name, &len);
        if (!value)
            return len;
        vm_report_add(r, "  %s %s:", path, name);
        if (!len)
            vm_report_add(r, " there");
        else if (is_text(value, (size_t)len))
            add_strings(r, value, (size_t)len);
        else
            add_numbers(r, value, (size_t)len);
        vm_report_add(r, "\n");
    }
    return at == -FDT_ERR_NOTFOUND ? 0 : at;
}

int vboot_arm_fdt_tell(const void *untrusted, size_t len, struct vm_report *report)
{
    int rc = len > INT32_MAX ? -FDT_ERR_BADSTATE : fdt_check_full(untrusted, len);
    int node = 0, depth = 0;

    while (!rc && node >= 0 && depth >= 0 && depth < DEPTH_MAX) {
        rc = add_node(untrusted, node, report);
        if (!rc)
            node = fdt_next_node(untrusted, node, &depth);
    }
    if (!rc && node < 0 && node != -FDT_ERR_NOTFOUND)
        rc = node;
    return rc ? vm_fail(-EINVAL, "device tree: %s", fdt_strerror(rc)) : 0;
}
