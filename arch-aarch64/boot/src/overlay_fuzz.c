/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Any bytes as an overlay on the tree of a small machine. It must end with an error and the tree as before, or with a tree that
 * libfdt finds whole.
 */
#include <stdlib.h>
#include <string.h>

#include <libfdt.h>

#include <vmm/aarch64-boot/fdt.h>
#include <vmm/base/error.h>

static void make_tree(struct vm_buffer *blob)
{
    static const struct vdev_firmware uart = { .compatible = "arm,pl011 arm,primecell",
                                               .node = "serial",
                                               .resource = { { VDEV_RES_MMIO, VBOOT_ARM_UART_BASE,
                                                               VBOOT_ARM_PRIMECELL_BYTES },
                                                             { VDEV_RES_IRQ, 0, 1 } } };
    static const struct vdev_firmware *const devices[] = { &uart };
    static const struct vboot_arm_cpu cpu = { 0 };
    struct vboot_arm_map map;
    const struct vboot_arm_fdt config = {
        .map = &map, .cpus = &cpu, .cpu_count = 1, .devices = devices, .device_count = 1
    };

    if (vboot_arm_map_make(1, 1 << 30, 40, 1, &map) || vboot_arm_fdt_make(&config, blob))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vm_buffer before;
    struct vm_buffer blob = { 0 };

    if (!before.data)
        make_tree(&before);
    if (vm_buffer_add(&blob, before.data, before.len))
        abort();
    vm_error_clear();
    if (vboot_arm_fdt_overlay(&blob, "overlay", data, size)) {
        if (!vm_error_text()[0] || blob.len != before.len ||
            memcmp(blob.data, before.data, before.len))
            abort();
    } else if (fdt_totalsize(blob.data) != blob.len || fdt_check_full(blob.data, blob.len)) {
        abort();
    }
    vm_buffer_free(&blob);
    return 0;
}
