/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files that make the device tree. */
#ifndef VBOOT_ARM_FDT_PRIVATE_H
#define VBOOT_ARM_FDT_PRIVATE_H

#include <vmm/aarch64-boot/fdt.h>
#include <vmm/acpi/fdt.h>

/* Cells of an interrupt (Linux: Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml). */
enum {
    VBOOT_ARM_IRQ_SPI = 0,
    VBOOT_ARM_IRQ_PPI = 1,
    VBOOT_ARM_IRQ_EDGE = 1, /* rising */
    VBOOT_ARM_IRQ_LEVEL = 4, /* high */
};

enum {
    VBOOT_ARM_LABEL_MAX = 16,
    VBOOT_ARM_PATH_MAX = 80,
    /* gic, apb_clk, its and pcie of each segment, UARTs, clock, GPIO */
    VBOOT_ARM_LABELS = 4 + 2 * VBOOT_ARM_SEGMENTS + VBOOT_ARM_UARTS,
};

/* MPIDR_EL1: Aff3 is bits 39:32, Aff2 to Aff0 are bits 23:0. */
#define VBOOT_ARM_AFFINITY 0xff00ffffffULL

/* A tree in the making. */
struct vboot_arm_tree {
    struct vacpi_fdt fdt;
    const struct vboot_arm_fdt *config;
    uint32_t gic, clock, gpio; /* phandles */
    uint32_t msi[VBOOT_ARM_SEGMENTS]; /* what each segment's messages go to; 0: none */
    struct {
        char name[VBOOT_ARM_LABEL_MAX], path[VBOOT_ARM_PATH_MAX];
    } label[VBOOT_ARM_LABELS];
    unsigned labels;
};

/* The open node, which lies at path, gets a phandle and a row in /__symbols__. phandle 0: a new one. */
void vboot_arm_fdt_label(struct vboot_arm_tree *t, const char *name, const char *path,
                         uint32_t phandle);

void vboot_arm_fdt_cpus(struct vboot_arm_tree *t);
void vboot_arm_fdt_gic(struct vboot_arm_tree *t);
/* Flags cell of a private interrupt. GICv2 wants to know which CPUs have it. */
uint32_t vboot_arm_fdt_ppi_flags(const struct vboot_arm_fdt *config);
void vboot_arm_fdt_pci(struct vboot_arm_tree *t);
/* Nodes of all devices, and the power key. */
void vboot_arm_fdt_devices(struct vboot_arm_tree *t);
/* Path of the device's node. */
void vboot_arm_fdt_path(const struct vdev_firmware *fw, char ret_path[VBOOT_ARM_PATH_MAX]);
/* Address of its first registers; 0: it has none, or is not in the tree. */
uint64_t vboot_arm_fdt_base(const struct vdev_firmware *fw);
/* The device whose registers begin there; NULL: none. */
const struct vdev_firmware *vboot_arm_fdt_at(const struct vboot_arm_fdt *config, uint64_t base);

#endif
