/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library aarch64-boot alone (it works on any host): the address map of a machine with the given MiB of RAM, and the
 * device tree of such a machine with two CPUs, written to a file if one is named: `dtc FILE` shows it.
 */
#include <stdio.h>
#include <stdlib.h>

#include <vmm/aarch64-boot/fdt.h>
#include <vmm/base/error.h>

enum { MACHINE = 1, ADDRESS_BITS = 40, SEGMENTS = 1, CPUS = 2 };

static void show(const char *what, struct vboot_arm_range r)
{
    printf("%-6s %#13llx + %#llx\n", what, (unsigned long long)r.base, (unsigned long long)r.size);
}

static int write_tree(const struct vboot_arm_map *map, const char *name)
{
    struct vboot_arm_cpu cpus[CPUS];
    struct vboot_arm_fdt config = { .map = map,
                                    .cpus = cpus,
                                    .cpu_count = CPUS,
                                    .gic = VBOOT_ARM_GIC_V3,
                                    .msi = true,
                                    .pci = true,
                                    .cmdline = "console=hvc0" };
    struct vm_buffer blob = { 0 };
    FILE *file;
    int rc;

    for (unsigned i = 0; i < CPUS; i++)
        cpus[i] = (struct vboot_arm_cpu){ .mpidr = vboot_arm_mpidr(i) };
    rc = vboot_arm_fdt_make(&config, &blob);
    if (rc)
        return rc;
    file = fopen(name, "wb");
    if (!file || fwrite(blob.data, 1, blob.len, file) != blob.len)
        rc = vm_fail_errno("%s", name);
    if (file && fclose(file) && !rc)
        rc = vm_fail_errno("%s", name);
    if (!rc)
        printf("%s: %zu bytes\n", name, blob.len);
    vm_buffer_free(&blob);
    return rc;
}

int main(int argc, char *argv[])
{
    uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 0) : 4096;
    struct vboot_arm_map map;
    int rc = vboot_arm_map_make(MACHINE, mib << 20, ADDRESS_BITS, SEGMENTS, &map);

    if (!rc) {
        show("mem32", map.mem32);
        show("RAM", map.ram);
        show("ECAM", map.ecam[0]);
        show("mem64", map.mem64[0]);
        if (argc > 2)
            rc = write_tree(&map, argv[2]);
    }
    if (rc)
        fprintf(stderr, "aarch64-boot: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
