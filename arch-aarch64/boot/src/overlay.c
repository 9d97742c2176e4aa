/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Device tree overlays (Linux: Documentation/devicetree/dynamic-resolution-notes.rst), over libfdt. */
#include <vmm/aarch64-boot/fdt.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libfdt.h>

#include <vmm/base/error.h>

enum {
    /* libfdt moves the tree for each property and calls itself for each level. */
    DEPTH_MAX = 32,
    VERSION = 17, /* dtc's since 2005; libfdt stumbles over names of those before 16 */
    CELL = 4,
};

/* ---- what libfdt 1.6 does not check ---- */

/* libfdt takes an overlay without fragments, and does nothing. */
static int check_nodes(const void *overlay, const char *name)
{
    int fragments = 0, depth = -1, node; /* the root is at depth 0 */

    for (node = fdt_next_node(overlay, -1, &depth); node >= 0 && depth >= 0;
         node = fdt_next_node(overlay, node, &depth)) {
        if (depth > DEPTH_MAX)
            return vm_fail(-EINVAL, "%s: nodes are nested deeper than %u", name, DEPTH_MAX);
        if (depth == 1 && fdt_subnode_offset(overlay, node, "__overlay__") >= 0)
            fragments++;
    }
    if (!fragments)
        return vm_fail(-EINVAL,
                       "%s has no fragments: it is not an overlay (dtc makes them of /plugin/ "
                       "sources)",
                       name);
    return 0;
}

/* There is a cell at that place of a property. libfdt reads local ones unchecked, and others modulo 2^32. */
static bool has_cell(const void *overlay, int node, const char *name, int name_len, uint64_t at)
{
    int len;

    return fdt_getprop_namelen(overlay, node, name, name_len, &len) && len >= CELL &&
           at <= (uint64_t)len - CELL;
}

/* Nodes of fixups, which must not be changed by fixups: what was checked would not be what is used. */
static bool is_fixups(const void *overlay, int node)
{
    return node == fdt_subnode_offset(overlay, 0, "__fixups__") ||
           node == fdt_subnode_offset(overlay, 0, "__local_fixups__");
}

/* Properties of these names are changed before the fixups are read. */
static bool is_phandle(const char *name)
{
    return !strcmp(name, "phandle") || !strcmp(name, "linux,phandle");
}

/* /__local_fixups__ has the shape of the tree; its properties are the places of phandles in those of the tree. */
static bool local_fixups_ok(const void *overlay, int fixups, int tree)
{
    int property, child;

    fdt_for_each_property_offset(property, overlay, fixups)
    {
        const char *name;
        int len;
        const fdt32_t *places = fdt_getprop_by_offset(overlay, property, &name, &len);

        if (!places || len % CELL || is_phandle(name))
            return false;
        for (int i = 0; i < len / CELL; i++)
            if (!has_cell(overlay, tree, name, (int)strlen(name), fdt32_ld(&places[i])))
                return false;
    }
    fdt_for_each_subnode(child, overlay, fixups)
    {
        const char *name = fdt_get_name(overlay, child, NULL);
        int of = name ? fdt_subnode_offset(overlay, tree, name) : -1;

        if (of < 0 || is_fixups(overlay, of) || !local_fixups_ok(overlay, child, of))
            return false;
    }
    return true;
}

/* "path:property:offset", terminated. */
static bool fixup_ok(const void *overlay, const char *text)
{
    const char *name = strchr(text, ':'), *place = name ? strchr(name + 1, ':') : NULL;
    uint64_t at = 0;
    int node;

    if (!place || !place[1] || strlen(place) > 10)
        return false;
    for (const char *c = place + 1; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        at = at * 10 + (uint64_t)(*c - '0');
    }
    node = fdt_path_offset_namelen(overlay, text, (int)(name - text));
    return node >= 0 &&
           (!node || !is_fixups(overlay, fdt_supernode_atdepth_offset(overlay, node, 1, NULL))) &&
           has_cell(overlay, node, name + 1, (int)(place - name - 1), at);
}

/* Each property of /__fixups__ is a label of the machine's tree, and a list of the places where its phandle belongs. */
static bool fixups_ok(const void *overlay, int fixups)
{
    int property;

    fdt_for_each_property_offset(property, overlay, fixups)
    {
        const char *name, *text;
        int len;

        text = fdt_getprop_by_offset(overlay, property, &name, &len);
        if (!text || len < 1 || text[len - 1])
            return false;
        for (const char *end = text + len; text < end; text += strlen(text) + 1)
            if (!fixup_ok(overlay, text))
                return false;
    }
    return true;
}

static int check_fixups(const void *overlay, const char *name)
{
    int local = fdt_subnode_offset(overlay, 0, "__local_fixups__");
    int others = fdt_subnode_offset(overlay, 0, "__fixups__");

    if ((local >= 0 && !local_fixups_ok(overlay, local, 0)) ||
        (others >= 0 && !fixups_ok(overlay, others)))
        return vm_fail(-EINVAL, "%s is broken: a fixup leads to no property", name);
    return 0;
}

static int check(const void *overlay, size_t len, const char *name)
{
    int rc;

    if (len < sizeof(struct fdt_header) || fdt_magic(overlay) != FDT_MAGIC)
        return vm_fail(-EINVAL, "%s is not a device tree blob (.dtbo): make one by dtc -@ -O dtb",
                       name);
    if (fdt_version(overlay) < VERSION)
        return vm_fail(-EINVAL, "%s is a device tree blob of version %u: make one of version %u",
                       name, fdt_version(overlay), VERSION);
    if (fdt_totalsize(overlay) > len)
        return vm_fail(-EINVAL, "%s is cut off (copy it again): %u bytes, %zu are there", name,
                       fdt_totalsize(overlay), len);
    rc = fdt_check_full(overlay, len);
    if (rc)
        return vm_fail(-EINVAL, "%s is a broken device tree blob: %s (copy or make it again)", name,
                       fdt_strerror(rc));
    rc = check_nodes(overlay, name);
    return rc ? rc : check_fixups(overlay, name);
}

/* Destroys both on failure. */
static int apply(void *tree, void *overlay, const char *name)
{
    int rc = fdt_overlay_apply(tree, overlay);

    switch (rc) {
    case 0: return 0;
    case -FDT_ERR_NOSPACE:
        return vm_fail(-E2BIG, "%s: the device tree would have more than 2 MiB", name);
    case -FDT_ERR_NOTFOUND:
        return vm_fail(-EINVAL,
                       "%s does not apply: the machine's device tree does not have the node or "
                       "label that it refers to (vmm plan --dump-dtb shows the tree)",
                       name);
    default: return vm_fail(-EINVAL, "%s does not apply: %s", name, fdt_strerror(rc));
    }
}

/* Works on a copy with room to grow, which takes the tree's place when all went well. */
static int merge(struct vm_buffer *blob, void *overlay, const char *name)
{
    struct vm_buffer result = { 0 };
    void *tree = malloc(VBOOT_ARM_DTB_BYTES);
    int rc;

    if (!tree)
        return vm_fail(-ENOMEM, "%s: out of memory", name);
    rc = fdt_open_into(blob->data, tree, (int)VBOOT_ARM_DTB_BYTES);
    if (rc)
        rc = vm_fail(-EINVAL, "device tree: %s", fdt_strerror(rc));
    else
        rc = apply(tree, overlay, name);
    if (!rc) {
        fdt_pack(tree);
        if (vm_buffer_add(&result, tree, fdt_totalsize(tree)))
            rc = vm_fail(-ENOMEM, "%s: out of memory", name);
    }
    free(tree);
    if (rc)
        return rc;
    vm_buffer_free(blob);
    *blob = result;
    return 0;
}

int vboot_arm_fdt_overlay(struct vm_buffer *blob, const char *name, const void *untrusted,
                          size_t len)
{
    struct vm_buffer copy = { 0 }; /* libfdt changes it, and wants it aligned */
    int rc;

    if (len > VBOOT_ARM_OVERLAY_BYTES)
        return vm_fail(-E2BIG, "%s has %zu bytes: overlays have at most %u", name, len,
                       VBOOT_ARM_OVERLAY_BYTES);
    /* The zero is for libfdt, which takes a fragment's target-path to be terminated. */
    if (vm_buffer_add(&copy, untrusted, len) || vm_buffer_add(&copy, "", 1)) {
        vm_buffer_free(&copy);
        return vm_fail(-ENOMEM, "%s: out of memory", name);
    }
    rc = check(copy.data, len, name);
    if (!rc)
        rc = merge(blob, copy.data, name);
    vm_buffer_free(&copy);
    return rc;
}
