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
    OVERLAY_MAX = 128 << 10,
    DEPTH_MAX = 32,
};

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

static int check(const void *overlay, size_t len, const char *name)
{
    int rc;

    if (len > OVERLAY_MAX)
        return vm_fail(-E2BIG, "%s has %zu bytes: overlays have at most %u", name, len,
                       OVERLAY_MAX);
    if (len < sizeof(struct fdt_header) || fdt_magic(overlay) != FDT_MAGIC)
        return vm_fail(-EINVAL, "%s is not a device tree blob (.dtbo)", name);
    if (fdt_totalsize(overlay) > len)
        return vm_fail(-EINVAL, "%s is cut off: %u bytes, %zu are there", name,
                       fdt_totalsize(overlay), len);
    rc = fdt_check_full(overlay, len);
    if (rc)
        return vm_fail(-EINVAL, "%s is a broken device tree blob: %s", name, fdt_strerror(rc));
    return check_nodes(overlay, name);
}

/* Both blobs are destroyed on failure. */
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

int vboot_arm_fdt_overlay(struct vm_buffer *blob, const char *name, const void *untrusted,
                          size_t len)
{
    struct vm_buffer result = { 0 };
    void *tree = malloc(VBOOT_ARM_DTB_BYTES), *overlay = malloc(len ? len : 1);
    int rc;

    if (!tree || !overlay) {
        rc = vm_fail(-ENOMEM, "%s: out of memory", name);
        goto out;
    }
    memcpy(overlay, untrusted, len);
    rc = check(overlay, len, name);
    if (rc)
        goto out;
    rc = fdt_open_into(blob->data, tree, (int)VBOOT_ARM_DTB_BYTES);
    if (rc) {
        rc = vm_fail(-EINVAL, "device tree: %s", fdt_strerror(rc));
        goto out;
    }
    rc = apply(tree, overlay, name);
    if (rc)
        goto out;
    fdt_pack(tree);
    rc = vm_buffer_add(&result, tree, fdt_totalsize(tree));
    if (rc) {
        rc = vm_fail(rc, "%s: out of memory", name);
        goto out;
    }
    vm_buffer_free(blob);
    *blob = result;
out:
    free(overlay);
    free(tree);
    return rc;
}
