/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The interrupt controller in the device tree (Linux: bindings/interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml). */
#include "fdt_private.h"

#include <stdio.h>

#include <vmm/base/util.h>

#define GIC_NAME "interrupt-controller"
#define GIC_PATH "/" GIC_NAME "@8000000"
_Static_assert(VBOOT_ARM_GICD_BASE == 0x8000000, "GIC_PATH");

/* What is there of the 64 KiB that the map keeps for each (IHI 0048B, 4.1.2 and 4.1.3). */
enum { GICV2_GICD_BYTES = 0x1000, GICV2_GICC_BYTES = 0x2000 };

uint32_t vboot_arm_fdt_ppi_flags(const struct vboot_arm_fdt *config)
{
    uint32_t cpus = config->gic == VBOOT_ARM_GIC_V2 ? (1U << config->cpu_count) - 1 : 0;

    return cpus << 8 | VBOOT_ARM_IRQ_LEVEL;
}

static void add_its(struct vboot_arm_tree *t, unsigned segment)
{
    uint64_t base = VBOOT_ARM_ITS_BASE + segment * VBOOT_ARM_ITS_BYTES;
    char label[VBOOT_ARM_LABEL_MAX], path[VBOOT_ARM_PATH_MAX];

    t->msi[segment] = vacpi_fdt_phandle_new(&t->fdt);
    snprintf(label, sizeof(label), "its%u", segment);
    snprintf(path, sizeof(path), GIC_PATH "/msi-controller@%llx", (unsigned long long)base);
    vacpi_fdt_begin_at(&t->fdt, "msi-controller", base);
    vacpi_fdt_string(&t->fdt, "compatible", "arm,gic-v3-its");
    vacpi_fdt_empty(&t->fdt, "msi-controller");
    vacpi_fdt_u32(&t->fdt, "#msi-cells", 1);
    vacpi_fdt_reg(&t->fdt, base, VBOOT_ARM_ITS_BYTES);
    vboot_arm_fdt_label(t, label, path, t->msi[segment]);
    vacpi_fdt_end(&t->fdt);
}

static void add_v2m(struct vboot_arm_tree *t)
{
    t->msi[0] = vacpi_fdt_phandle_new(&t->fdt);
    for (unsigned s = 1; s < t->config->map->segments; s++)
        t->msi[s] = t->msi[0];
    vacpi_fdt_begin_at(&t->fdt, "v2m", VBOOT_ARM_V2M_BASE);
    vacpi_fdt_string(&t->fdt, "compatible", "arm,gic-v2m-frame");
    vacpi_fdt_empty(&t->fdt, "msi-controller");
    vacpi_fdt_reg(&t->fdt, VBOOT_ARM_V2M_BASE, VBOOT_ARM_V2M_BYTES);
    vboot_arm_fdt_label(t, "v2m", GIC_PATH "/v2m@8020000", t->msi[0]);
    vacpi_fdt_end(&t->fdt);
}
_Static_assert(VBOOT_ARM_V2M_BASE == 0x8020000, "path of v2m");

static void add_registers(struct vboot_arm_tree *t)
{
    const struct vacpi_fdt_range v2[] = { { VBOOT_ARM_GICD_BASE, GICV2_GICD_BYTES },
                                          { VBOOT_ARM_GICC_BASE, GICV2_GICC_BYTES } };
    const struct vacpi_fdt_range v3[] = { { VBOOT_ARM_GICD_BASE, VBOOT_ARM_GICD_BYTES },
                                          { VBOOT_ARM_GICR_BASE,
                                            t->config->cpu_count * VBOOT_ARM_GICR_BYTES } };

    if (t->config->gic == VBOOT_ARM_GIC_V2) {
        vacpi_fdt_string(&t->fdt, "compatible", "arm,cortex-a15-gic");
        vacpi_fdt_regs(&t->fdt, v2, VM_ARRAY_SIZE(v2));
    } else {
        vacpi_fdt_string(&t->fdt, "compatible", "arm,gic-v3");
        vacpi_fdt_regs(&t->fdt, v3, VM_ARRAY_SIZE(v3));
        vacpi_fdt_u32(&t->fdt, "#redistributor-regions", 1);
    }
}

void vboot_arm_fdt_gic(struct vboot_arm_tree *t)
{
    vacpi_fdt_begin_at(&t->fdt, GIC_NAME, VBOOT_ARM_GICD_BASE);
    add_registers(t);
    vacpi_fdt_empty(&t->fdt, "interrupt-controller");
    vacpi_fdt_u32(&t->fdt, "#interrupt-cells", 3);
    vacpi_fdt_u32(&t->fdt, "#address-cells", 2);
    vacpi_fdt_u32(&t->fdt, "#size-cells", 2);
    vacpi_fdt_empty(&t->fdt, "ranges");
    vboot_arm_fdt_label(t, "gic", GIC_PATH, t->gic);
    if (t->config->msi && t->config->gic == VBOOT_ARM_GIC_V2)
        add_v2m(t);
    for (unsigned s = 0;
         t->config->msi && t->config->gic == VBOOT_ARM_GIC_V3 && s < t->config->map->segments; s++)
        add_its(t, s);
    vacpi_fdt_end(&t->fdt);
}
