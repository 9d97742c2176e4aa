/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* PCI host bridges in the device tree (Linux: bindings/pci/host-generic-pci.yaml; IEEE 1275 PCI Bus Binding 2.1, 2.2.1). */
#include "fdt_private.h"

#include <stdio.h>

#include <vmm/base/util.h>

enum {
    /* No bridges: all devices are on bus 0. A guest looks at 32 places of every bus that is promised. */
    LAST_BUS = 0,
    PINS = 4,
    DEVICE_SHIFT = 11, /* of the device number in the first address cell */
    MAP_CELLS = 10, /* address 3, pin 1, controller 1, its address 2, interrupt 3 */
    REQUESTERS = 0x10000,
};
/* Space codes of the first address cell. The 64-bit window is not prefetchable: Linux puts any kind of BAR into such a one. */
#define SPACE_IO    0x01000000U
#define SPACE_MEM32 0x02000000U
#define SPACE_MEM64 0x03000000U

/* One row of "ranges": PCI address (3 cells), CPU address (2), size (2). */
static size_t add_window(uint32_t *cells, size_t n, uint32_t space, uint64_t pci,
                         struct vboot_arm_range window)
{
    const uint32_t row[] = { space,
                             (uint32_t)(pci >> 32),
                             (uint32_t)(pci & UINT32_MAX),
                             (uint32_t)(window.base >> 32),
                             (uint32_t)(window.base & UINT32_MAX),
                             (uint32_t)(window.size >> 32),
                             (uint32_t)(window.size & UINT32_MAX) };

    for (size_t i = 0; i < VM_ARRAY_SIZE(row); i++)
        cells[n++] = row[i];
    return n;
}

static void add_windows(struct vboot_arm_tree *t, unsigned s)
{
    const struct vboot_arm_map *map = t->config->map;
    uint32_t cells[3 * 7];
    size_t n = 0;

    if (s == 0 && t->config->pci_io)
        n = add_window(cells, n, SPACE_IO, 0, map->pci_io);
    if (s == 0)
        n = add_window(cells, n, SPACE_MEM32, map->mem32.base, map->mem32);
    n = add_window(cells, n, SPACE_MEM64, map->mem64[s].base, map->mem64[s]);
    vacpi_fdt_cells(&t->fdt, "ranges", cells, n);
}

/* Pins go round by device number, so four devices say it all. */
static void add_pins(struct vboot_arm_tree *t)
{
    static const uint32_t mask[] = { (PINS - 1) << DEVICE_SHIFT, 0, 0, 7 };
    uint32_t cells[PINS * PINS * MAP_CELLS];
    size_t n = 0;

    for (uint32_t device = 0; device < PINS; device++)
        for (uint32_t pin = 0; pin < PINS; pin++) {
            const uint32_t row[MAP_CELLS] = { device << DEVICE_SHIFT,
                                              0,
                                              0,
                                              pin + 1,
                                              t->gic,
                                              0,
                                              0,
                                              VBOOT_ARM_IRQ_SPI,
                                              VBOOT_ARM_SPI_PCI + (device + pin) % PINS,
                                              VBOOT_ARM_IRQ_LEVEL };

            for (size_t i = 0; i < MAP_CELLS; i++)
                cells[n++] = row[i];
        }
    vacpi_fdt_u32(&t->fdt, "#interrupt-cells", 1);
    vacpi_fdt_cells(&t->fdt, "interrupt-map-mask", mask, VM_ARRAY_SIZE(mask));
    vacpi_fdt_cells(&t->fdt, "interrupt-map", cells, n);
}

/* An ITS tells devices apart by requester id, the frame of GICv2m does not. */
static void add_messages(struct vboot_arm_tree *t, unsigned s)
{
    const uint32_t row[] = { 0, t->msi[s], 0, REQUESTERS };

    if (!t->msi[s])
        return;
    if (t->config->gic == VBOOT_ARM_GIC_V2)
        vacpi_fdt_u32(&t->fdt, "msi-parent", t->msi[s]);
    else
        vacpi_fdt_cells(&t->fdt, "msi-map", row, VM_ARRAY_SIZE(row));
}

static void add_bridge(struct vboot_arm_tree *t, unsigned s)
{
    static const uint32_t buses[] = { 0, LAST_BUS };
    const struct vboot_arm_range ecam = t->config->map->ecam[s];
    char label[VBOOT_ARM_LABEL_MAX], path[VBOOT_ARM_PATH_MAX];
    struct vacpi_fdt *fdt = &t->fdt;

    snprintf(label, sizeof(label), "pcie%u", s);
    snprintf(path, sizeof(path), "/pcie@%llx", (unsigned long long)ecam.base);
    vacpi_fdt_begin_at(fdt, "pcie", ecam.base);
    vacpi_fdt_string(fdt, "compatible", "pci-host-ecam-generic");
    vacpi_fdt_string(fdt, "device_type", "pci");
    vacpi_fdt_u32(fdt, "#address-cells", 3);
    vacpi_fdt_u32(fdt, "#size-cells", 2);
    vacpi_fdt_reg(fdt, ecam.base, ecam.size);
    vacpi_fdt_cells(fdt, "bus-range", buses, VM_ARRAY_SIZE(buses));
    vacpi_fdt_u32(fdt, "linux,pci-domain", s);
    vacpi_fdt_empty(fdt, "dma-coherent");
    add_windows(t, s);
    add_messages(t, s);
    if (s == 0 && t->config->pci_intx)
        add_pins(t);
    vboot_arm_fdt_label(t, label, path, 0);
    vacpi_fdt_end(fdt);
}

void vboot_arm_fdt_pci(struct vboot_arm_tree *t)
{
    for (unsigned s = 0; s < t->config->map->segments; s++)
        add_bridge(t, s);
}
