/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* CPUs in the device tree (Linux: bindings/arm/cpus.yaml and bindings/cpu/cpu-topology.txt). */
#include "fdt_private.h"

#include <stdio.h>

/* Aff3 needs a second cell; nothing else does. */
static bool two_cells(const struct vboot_arm_fdt *c)
{
    for (size_t i = 0; i < c->cpu_count; i++)
        if ((c->cpus[i].mpidr & VBOOT_ARM_AFFINITY) >> 32)
            return true;
    return false;
}

static void add_cpu(struct vboot_arm_tree *t, const struct vboot_arm_cpu *cpu, bool wide,
                    uint32_t phandle)
{
    uint64_t mpidr = cpu->mpidr & VBOOT_ARM_AFFINITY;

    vacpi_fdt_begin_at(&t->fdt, "cpu", mpidr);
    vacpi_fdt_string(&t->fdt, "device_type", "cpu");
    vacpi_fdt_string(&t->fdt, "compatible", "arm,armv8");
    if (wide)
        vacpi_fdt_u64(&t->fdt, "reg", mpidr);
    else
        vacpi_fdt_u32(&t->fdt, "reg", (uint32_t)mpidr);
    vacpi_fdt_string(&t->fdt, "enable-method", "psci");
    if (t->config->memory_count)
        vacpi_fdt_u32(&t->fdt, "numa-node-id", cpu->node);
    if (phandle)
        vacpi_fdt_phandle(&t->fdt, phandle);
    vacpi_fdt_end(&t->fdt);
}

/* ---- topology ---- */

enum { LEVELS = 4, CORE = 2, THREAD = 3 };

/* "socket0", or "core3" ... A core of one thread is the CPU itself. level: of the node. */
static void add_level(struct vboot_arm_tree *t, const unsigned *of, unsigned level, uint32_t first,
                      size_t *next)
{
    static const char *const names[LEVELS] = { "socket", "cluster", "core", "thread" };
    unsigned last = of[THREAD] > 1 ? THREAD : CORE;
    char name[24];

    for (unsigned i = 0; i < of[level] && *next < t->config->cpu_count; i++) {
        snprintf(name, sizeof(name), "%s%u", names[level], i);
        vacpi_fdt_begin(&t->fdt, name);
        if (level == last)
            vacpi_fdt_u32(&t->fdt, "cpu", first + (uint32_t)(*next)++);
        else
            add_level(t, of, level + 1, first, next);
        vacpi_fdt_end(&t->fdt);
    }
}

static unsigned at_least_1(unsigned n)
{
    return n ? n : 1;
}

void vboot_arm_fdt_cpus(struct vboot_arm_tree *t)
{
    const struct vboot_arm_fdt *c = t->config;
    const unsigned of[LEVELS] = { at_least_1(c->topology.sockets), at_least_1(c->topology.clusters),
                                  at_least_1(c->topology.cores), at_least_1(c->topology.threads) };
    bool mapped = of[0] > 1 || of[1] > 1 || of[CORE] > 1 || of[THREAD] > 1, wide = two_cells(c);
    uint32_t first = 0;
    size_t next = 0;

    vacpi_fdt_begin(&t->fdt, "cpus");
    vacpi_fdt_u32(&t->fdt, "#address-cells", wide ? 2 : 1);
    vacpi_fdt_u32(&t->fdt, "#size-cells", 0);
    for (size_t i = 0; i < c->cpu_count; i++) {
        uint32_t phandle = mapped ? vacpi_fdt_phandle_new(&t->fdt) : 0;

        if (!i)
            first = phandle;
        add_cpu(t, &c->cpus[i], wide, phandle);
    }
    if (mapped) {
        vacpi_fdt_begin(&t->fdt, "cpu-map");
        add_level(t, of, 0, first, &next);
        vacpi_fdt_end(&t->fdt);
    }
    vacpi_fdt_end(&t->fdt);
}
