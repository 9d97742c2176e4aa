/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device tree of an AArch64 machine: root, chosen, memory and what every such machine has. */
#include "fdt_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/util.h>

/* ---- input ---- */

static int check_topology(const struct vboot_arm_fdt *c)
{
    const unsigned of[] = { c->topology.sockets, c->topology.clusters, c->topology.cores,
                            c->topology.threads };
    uint64_t room = 1;

    for (size_t i = 0; i < VM_ARRAY_SIZE(of); i++) {
        if (of[i] > VBOOT_ARM_CPUS_MAX)
            return vm_fail(-EINVAL, "topology: %u of a kind: at most %u are possible", of[i],
                           VBOOT_ARM_CPUS_MAX);
        room *= of[i] ? of[i] : 1;
    }
    if (room > 1 && room < c->cpu_count)
        return vm_fail(-EINVAL,
                       "topology: %llu CPUs by sockets, clusters, cores and threads, but the "
                       "machine has %zu",
                       (unsigned long long)room, c->cpu_count);
    return 0;
}

static int check_cpus(const struct vboot_arm_fdt *c)
{
    bool v2 = c->gic == VBOOT_ARM_GIC_V2;
    unsigned max = v2 ? VBOOT_ARM_CPUS_MAX_V2 : VBOOT_ARM_CPUS_MAX;

    if (!c->cpu_count || c->cpu_count > max)
        return vm_fail(-EINVAL, "%zu CPUs: a machine with %s has 1 to %u", c->cpu_count,
                       v2 ? "GICv2" : "GICv3", max);
    for (size_t i = 0; i < c->cpu_count; i++)
        for (size_t j = 0; j < i; j++)
            if (!((c->cpus[i].mpidr ^ c->cpus[j].mpidr) & VBOOT_ARM_AFFINITY))
                return vm_fail(-EINVAL, "CPUs %zu and %zu have the same MPIDR 0x%llx", j, i,
                               (unsigned long long)(c->cpus[i].mpidr & VBOOT_ARM_AFFINITY));
    return check_topology(c);
}

static int check(const struct vboot_arm_fdt *c)
{
    size_t len = c->cmdline ? strlen(c->cmdline) : 0;

    if (len > VBOOT_ARM_CMDLINE_MAX)
        return vm_fail(
            -EINVAL,
            "command line of %zu bytes: AArch64 kernels take %u at most; give a shorter one", len,
            VBOOT_ARM_CMDLINE_MAX);
    return check_cpus(c);
}

/* ---- nodes ---- */

void vboot_arm_fdt_label(struct vboot_arm_tree *t, const char *name, const char *path,
                         uint32_t phandle)
{
    if (t->labels == VBOOT_ARM_LABELS) {
        vacpi_fdt_fail(&t->fdt, -EINVAL, "FDT: no room for label %s", name);
        return;
    }
    snprintf(t->label[t->labels].name, VBOOT_ARM_LABEL_MAX, "%s", name);
    snprintf(t->label[t->labels].path, VBOOT_ARM_PATH_MAX, "%s", path);
    t->labels++;
    vacpi_fdt_phandle(&t->fdt, phandle ? phandle : vacpi_fdt_phandle_new(&t->fdt));
}

/* What overlays may refer to: as `dtc -@` writes it. */
static void add_symbols(struct vboot_arm_tree *t)
{
    vacpi_fdt_begin(&t->fdt, "__symbols__");
    for (unsigned i = 0; i < t->labels; i++)
        vacpi_fdt_string(&t->fdt, t->label[i].name, t->label[i].path);
    vacpi_fdt_end(&t->fdt);
}

/* Devicetree Specification, 3.6; Linux: Documentation/devicetree/usage-model.rst and chosen.yaml of dtschema. */
static void add_chosen(struct vboot_arm_tree *t)
{
    const struct vboot_arm_fdt *c = t->config;
    const struct vdev_firmware *uart = vboot_arm_fdt_at(c, VBOOT_ARM_UART_BASE);
    char path[VBOOT_ARM_PATH_MAX];
    struct vacpi_fdt *fdt = &t->fdt;

    vacpi_fdt_begin(fdt, "chosen");
    if (c->cmdline)
        vacpi_fdt_string(fdt, "bootargs", c->cmdline);
    if (uart) {
        vboot_arm_fdt_path(uart, path);
        vacpi_fdt_string(fdt, "stdout-path", path);
    }
    if (c->initrd.size) {
        vacpi_fdt_u64(fdt, "linux,initrd-start", c->initrd.base);
        vacpi_fdt_u64(fdt, "linux,initrd-end", c->initrd.base + c->initrd.size);
    }
    if (c->seed) {
        vacpi_fdt_bytes(fdt, "rng-seed", c->seed, VBOOT_ARM_SEED_BYTES - 8);
        vacpi_fdt_bytes(fdt, "kaslr-seed", c->seed + VBOOT_ARM_SEED_BYTES - 8, 8);
    }
    vacpi_fdt_end(fdt);
}

/* UART n is ttyAMAn, whatever the order of the nodes. */
static void add_aliases(struct vboot_arm_tree *t)
{
    char name[VBOOT_ARM_LABEL_MAX], path[VBOOT_ARM_PATH_MAX];

    vacpi_fdt_begin(&t->fdt, "aliases");
    for (unsigned i = 0; i < VBOOT_ARM_UARTS; i++) {
        const struct vdev_firmware *uart =
            vboot_arm_fdt_at(t->config, VBOOT_ARM_UART_BASE + i * VBOOT_ARM_UART_STRIDE);

        if (!uart)
            continue;
        snprintf(name, sizeof(name), "serial%u", i);
        vboot_arm_fdt_path(uart, path);
        vacpi_fdt_string(&t->fdt, name, path);
    }
    vacpi_fdt_end(&t->fdt);
}

static void add_memory_node(struct vacpi_fdt *fdt, struct vboot_arm_range range,
                            const struct vboot_arm_memory *memory)
{
    vacpi_fdt_begin_at(fdt, "memory", range.base);
    vacpi_fdt_string(fdt, "device_type", "memory");
    vacpi_fdt_reg(fdt, range.base, range.size);
    if (memory)
        vacpi_fdt_u32(fdt, "numa-node-id", memory->node);
    vacpi_fdt_end(fdt);
}

static void add_memory(struct vboot_arm_tree *t)
{
    const struct vboot_arm_fdt *c = t->config;

    for (size_t i = 0; i < c->memory_count; i++)
        add_memory_node(&t->fdt, c->memory[i].range, &c->memory[i]);
    if (!c->memory_count)
        add_memory_node(&t->fdt, c->map->ram, NULL);
}

/* Linux: bindings/arm/psci.yaml. The hypervisor answers HVC. */
static void add_psci(struct vacpi_fdt *fdt)
{
    static const char *const compatible[] = { "arm,psci-1.0", "arm,psci-0.2" };

    vacpi_fdt_begin(fdt, "psci");
    vacpi_fdt_strings(fdt, "compatible", compatible, VM_ARRAY_SIZE(compatible));
    vacpi_fdt_string(fdt, "method", "hvc");
    vacpi_fdt_end(fdt);
}

/* Linux: bindings/timer/arm,arch_timer.yaml: secure, physical, virtual, hypervisor. */
static void add_timer(struct vboot_arm_tree *t)
{
    static const uint32_t ppi[] = { VBOOT_ARM_PPI_TIMER_SECURE, VBOOT_ARM_PPI_TIMER_PHYS,
                                    VBOOT_ARM_PPI_TIMER_VIRT, VBOOT_ARM_PPI_TIMER_HYP };
    uint32_t cells[3 * VM_ARRAY_SIZE(ppi)], flags = vboot_arm_fdt_ppi_flags(t->config);

    for (size_t i = 0; i < VM_ARRAY_SIZE(ppi); i++) {
        cells[3 * i] = VBOOT_ARM_IRQ_PPI;
        cells[3 * i + 1] = ppi[i];
        cells[3 * i + 2] = flags;
    }
    vacpi_fdt_begin(&t->fdt, "timer");
    vacpi_fdt_string(&t->fdt, "compatible", "arm,armv8-timer");
    vacpi_fdt_cells(&t->fdt, "interrupts", cells, VM_ARRAY_SIZE(cells));
    vacpi_fdt_empty(&t->fdt, "always-on");
    vacpi_fdt_end(&t->fdt);
}

/* Linux: bindings/arm/pmu.yaml. */
static void add_pmu(struct vboot_arm_tree *t)
{
    const uint32_t cells[] = { VBOOT_ARM_IRQ_PPI, VBOOT_ARM_PPI_PMU,
                               vboot_arm_fdt_ppi_flags(t->config) };

    vacpi_fdt_begin(&t->fdt, "pmu");
    vacpi_fdt_string(&t->fdt, "compatible", "arm,armv8-pmuv3");
    vacpi_fdt_cells(&t->fdt, "interrupts", cells, VM_ARRAY_SIZE(cells));
    vacpi_fdt_end(&t->fdt);
}

/* The bus clock that PrimeCells are bound to have. */
static void add_clock(struct vboot_arm_tree *t)
{
    vacpi_fdt_begin(&t->fdt, "clock-24000000");
    vacpi_fdt_string(&t->fdt, "compatible", "fixed-clock");
    vacpi_fdt_u32(&t->fdt, "#clock-cells", 0);
    vacpi_fdt_u32(&t->fdt, "clock-frequency", VBOOT_ARM_APB_HZ);
    vacpi_fdt_string(&t->fdt, "clock-output-names", "clk24mhz");
    vboot_arm_fdt_label(t, "apb_clk", "/clock-24000000", t->clock);
    vacpi_fdt_end(&t->fdt);
}

int vboot_arm_fdt_make(const struct vboot_arm_fdt *config, struct vm_buffer *ret_blob)
{
    struct vboot_arm_tree t = { .config = config };
    struct vacpi_fdt *fdt = &t.fdt;
    int rc = check(config);

    if (rc)
        return rc;
    t.gic = vacpi_fdt_phandle_new(fdt);
    t.clock = vacpi_fdt_phandle_new(fdt);
    t.gpio = vacpi_fdt_phandle_new(fdt);
    vacpi_fdt_begin(fdt, "");
    vacpi_fdt_string(fdt, "compatible", "linux,dummy-virt");
    vacpi_fdt_string(fdt, "model", "linux,dummy-virt");
    vacpi_fdt_u32(fdt, "#address-cells", 2);
    vacpi_fdt_u32(fdt, "#size-cells", 2);
    vacpi_fdt_u32(fdt, "interrupt-parent", t.gic);
    vacpi_fdt_empty(fdt, "dma-coherent");
    add_chosen(&t);
    add_aliases(&t);
    vboot_arm_fdt_cpus(&t);
    add_memory(&t);
    add_psci(fdt);
    add_timer(&t);
    if (config->pmu)
        add_pmu(&t);
    vboot_arm_fdt_gic(&t);
    add_clock(&t);
    vboot_arm_fdt_devices(&t);
    if (config->pci)
        vboot_arm_fdt_pci(&t);
    add_symbols(&t);
    vacpi_fdt_end(fdt);
    rc = vacpi_fdt_finish(fdt, ret_blob);
    return rc ? vm_wrap(rc, "device tree") : 0;
}
