/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library x86_64-boot alone (it works on any host): the address map of a machine with the given MiB of RAM, and the
 * memory map its guest is told.
 */
#include <stdio.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/x86_64-boot/kernel.h>

enum { MACHINE = 1, PHYS_BITS = 40, SEGMENTS = 1 };

static void show(const char *what, struct vboot_x86_range r)
{
    if (r.size)
        printf("%-6s %#13llx + %#llx\n", what, (unsigned long long)r.base,
               (unsigned long long)r.size);
}

int main(int argc, char *argv[])
{
    uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 0) : 4096;
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    struct vboot_x86_map map;
    unsigned count;

    if (vboot_x86_map_make(MACHINE, mib << 20, PHYS_BITS, SEGMENTS, &map)) {
        fprintf(stderr, "x86_64-boot: %s\n", vm_error_text());
        return 1;
    }
    show("RAM", map.ram_low);
    show("RAM", map.ram_high);
    show("mem32", map.mem32);
    show("ECAM", map.ecam[0]);
    show("mem64", map.mem64[0]);
    count = vboot_x86_e820_make(&map, rows);
    for (unsigned i = 0; i < count; i++)
        printf("e820   %#13llx + %#llx %s\n", (unsigned long long)rows[i].base,
               (unsigned long long)rows[i].size, rows[i].type == 1 ? "usable" : "reserved");
    return 0;
}
