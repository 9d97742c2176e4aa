/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the kernel finds at entry: command line, struct boot_params (Documentation/arch/x86/zero-page.rst) or PVH's start
 * info (Xen's public/arch-x86/hvm/start_info.h), descriptor and page tables, and the first CPU's registers.
 */
#include "load.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum { E820_RAM = 1, E820_RESERVED = 2 };

/* Offsets in struct boot_params. */
enum {
    BP_ACPI_RSDP = 0x70,
    BP_EXT_RAMDISK_IMAGE = 0xc0,
    BP_EXT_RAMDISK_SIZE = 0xc4,
    BP_E820_ENTRIES = 0x1e8,
    BP_HEADER = 0x1f1,
    BP_BOOT_FLAG = 0x1fe,
    BP_MAGIC = 0x202,
    BP_VERSION = 0x206,
    BP_TYPE_OF_LOADER = 0x210,
    BP_LOADFLAGS = 0x211,
    BP_RAMDISK_IMAGE = 0x218,
    BP_RAMDISK_SIZE = 0x21c,
    BP_CMD_LINE_PTR = 0x228,
    BP_E820 = 0x2d0,
    BP_E820_ROW = 20,
    BP_BYTES = 4096,
    LOADER_UNKNOWN = 0xff, /* no id of our own is registered */
    LOADED_HIGH = 1,
};

/* PVH: three structures in one page. */
enum {
    PVH_MODLIST = 0x40,
    PVH_MEMMAP = 0x80,
    PVH_MEMMAP_ROW = 24,
    PVH_VERSION = 1,
    PVH_BYTES = PVH_MEMMAP + VBOOT_X86_E820_MAX * PVH_MEMMAP_ROW,
};
#define PVH_MAGIC 0x336ec578U

/* Control registers and EFER (Intel SDM 3A, 2.5 and 2.2.1). */
#define CR0_PE   (1ULL << 0)
#define CR0_ET   (1ULL << 4)
#define CR0_PG   (1ULL << 31)
#define CR4_PAE  (1ULL << 5)
#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

static void add_row(struct vboot_x86_e820 *rows, unsigned *n, uint64_t base, uint64_t end,
                    uint32_t type)
{
    if (base < end && *n < VBOOT_X86_E820_MAX)
        rows[(*n)++] = (struct vboot_x86_e820){ base, end - base, type };
}

unsigned vboot_x86_e820_make(const struct vboot_x86_map *map,
                             struct vboot_x86_e820 ret_rows[VBOOT_X86_E820_MAX])
{
    unsigned n = 0;

    add_row(ret_rows, &n, 0, VBOOT_X86_LEGACY_HOLE, E820_RAM);
    add_row(ret_rows, &n, VBOOT_X86_ACPI_BASE, VBOOT_X86_ACPI_BASE + VBOOT_X86_ACPI_BYTES,
            E820_RESERVED);
    add_row(ret_rows, &n, VBOOT_X86_KERNEL_MIN, map->ram_low.size, E820_RAM);
    /* Linux uses an ECAM only where the E820 map or a PNP0C02 device reserves it. */
    add_row(ret_rows, &n, map->ecam[0].base,
            map->ecam[map->segments - 1].base + map->ecam[map->segments - 1].size, E820_RESERVED);
    if (map->ram_high.size)
        add_row(ret_rows, &n, map->ram_high.base, map->ram_high.base + map->ram_high.size,
                E820_RAM);
    return n;
}

static int check_cmdline(const struct vboot_x86_kernel *k, size_t len)
{
    size_t max = k->cmdline_max;

    if (max >= VBOOT_X86_CMDLINE_ROOM)
        max = VBOOT_X86_CMDLINE_ROOM - 1;
    if (len > max)
        return vm_fail(-EINVAL,
                       "the kernel command line has %zu bytes: this kernel takes at most %zu; give "
                       "a shorter one",
                       len, max);
    return 0;
}

static void put(uint8_t *page, unsigned offset, unsigned len, uint64_t v)
{
    vm_store_le(page + offset, len, v);
}

static int write_zero_page(const struct vboot_x86_map *map, struct gm_view *memory,
                           const struct vboot_x86_kernel *k, uint64_t rsdp)
{
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    unsigned n = vboot_x86_e820_make(map, rows);
    uint8_t page[BP_BYTES] = { 0 };

    memcpy(page + BP_HEADER, k->header, k->header_bytes);
    if (!k->header_bytes) { /* vmlinux brings no header: what the kernel looks at of one */
        put(page, BP_BOOT_FLAG, 2, 0xaa55);
        memcpy(page + BP_MAGIC, "HdrS", 4);
        put(page, BP_VERSION, 2, 0x20f);
        put(page, BP_LOADFLAGS, 1, LOADED_HIGH);
    }
    put(page, BP_TYPE_OF_LOADER, 1, LOADER_UNKNOWN);
    put(page, BP_CMD_LINE_PTR, 4, VBOOT_X86_AT_CMDLINE);
    put(page, BP_ACPI_RSDP, 8, rsdp);
    put(page, BP_RAMDISK_IMAGE, 4, k->initrd.base & UINT32_MAX);
    put(page, BP_RAMDISK_SIZE, 4, k->initrd.size & UINT32_MAX);
    put(page, BP_EXT_RAMDISK_IMAGE, 4, k->initrd.base >> 32);
    put(page, BP_EXT_RAMDISK_SIZE, 4, k->initrd.size >> 32);
    put(page, BP_E820_ENTRIES, 1, n);
    for (unsigned i = 0; i < n; i++) {
        put(page, BP_E820 + i * BP_E820_ROW, 8, rows[i].base);
        put(page, BP_E820 + i * BP_E820_ROW + 8, 8, rows[i].size);
        put(page, BP_E820 + i * BP_E820_ROW + 16, 4, rows[i].type);
    }
    return gm_write(memory, VBOOT_X86_AT_ZERO_PAGE, page, sizeof(page));
}

static int write_pvh(const struct vboot_x86_map *map, struct gm_view *memory,
                     const struct vboot_x86_kernel *k, uint64_t rsdp)
{
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    unsigned n = vboot_x86_e820_make(map, rows);
    uint8_t page[PVH_BYTES] = { 0 };

    put(page, 0, 4, PVH_MAGIC);
    put(page, 4, 4, PVH_VERSION);
    if (k->initrd.size) {
        put(page, 12, 4, 1); /* number of modules */
        put(page, 16, 8, VBOOT_X86_AT_PVH + PVH_MODLIST);
        put(page, PVH_MODLIST, 8, k->initrd.base);
        put(page, PVH_MODLIST + 8, 8, k->initrd.size);
    }
    put(page, 24, 8, VBOOT_X86_AT_CMDLINE);
    put(page, 32, 8, rsdp);
    put(page, 40, 8, VBOOT_X86_AT_PVH + PVH_MEMMAP);
    put(page, 48, 4, n);
    for (unsigned i = 0; i < n; i++) {
        put(page, PVH_MEMMAP + i * PVH_MEMMAP_ROW, 8, rows[i].base);
        put(page, PVH_MEMMAP + i * PVH_MEMMAP_ROW + 8, 8, rows[i].size);
        put(page, PVH_MEMMAP + i * PVH_MEMMAP_ROW + 16, 4, rows[i].type);
    }
    return gm_write(memory, VBOOT_X86_AT_PVH, page, sizeof(page));
}

/* The first GiB at its own address, by 2 MiB pages (Intel SDM 3A, 4.5: present, writable, page size). */
static int write_page_tables(struct gm_view *memory)
{
    struct le64 table[512] = { { 0 } };
    int rc;

    table[0] = le64_make(VBOOT_X86_AT_PAGE_TABLES + 0x1000 + 3);
    rc = gm_write(memory, VBOOT_X86_AT_PAGE_TABLES, table, sizeof(table));
    table[0] = le64_make(VBOOT_X86_AT_PAGE_TABLES + 0x2000 + 3);
    if (!rc)
        rc = gm_write(memory, VBOOT_X86_AT_PAGE_TABLES + 0x1000, table, sizeof(table));
    for (unsigned i = 0; i < 512; i++)
        table[i] = le64_make(((uint64_t)i << 21) + 0x83);
    return rc ? rc : gm_write(memory, VBOOT_X86_AT_PAGE_TABLES + 0x2000, table, sizeof(table));
}

/* A descriptor of the GDT (Intel SDM 3A, 3.4.5); base 0. */
static uint64_t descriptor(const struct vboot_x86_segment *s)
{
    bool pages = s->limit > 0xfffff;
    uint64_t limit = pages ? s->limit >> 12 : s->limit, v = limit & 0xffff;

    v |= (uint64_t)s->type << 40;
    v |= (uint64_t)(s->system ? 0 : 1) << 44;
    v |= 1ULL << 47; /* present */
    v |= (limit >> 16) << 48;
    v |= (uint64_t)s->long_mode << 53;
    v |= (uint64_t)(s->long_mode || s->system ? 0 : 1) << 54; /* 32-bit default size */
    v |= (uint64_t)pages << 55;
    return v;
}

/* Selectors as the boot protocol names them: __BOOT_CS 0x10, __BOOT_DS 0x18. */
static int write_gdt(struct gm_view *memory, struct vboot_x86_start *s)
{
    struct le64 gdt[5] = { { 0 } };

    s->gdt_base = VBOOT_X86_AT_GDT;
    s->gdt_limit = sizeof(gdt) - 1;
    s->cs = (struct vboot_x86_segment){ .selector = 0x10, .type = 0xb, .limit = UINT32_MAX };
    s->cs.long_mode = s->efer & EFER_LMA;
    s->ds = (struct vboot_x86_segment){ .selector = 0x18, .type = 0x3, .limit = UINT32_MAX };
    s->tss =
        (struct vboot_x86_segment){ .selector = 0x20, .type = 0xb, .limit = 0x67, .system = true };
    gdt[2] = le64_make(descriptor(&s->cs));
    gdt[3] = le64_make(descriptor(&s->ds));
    gdt[4] = le64_make(descriptor(&s->tss));
    return gm_write(memory, VBOOT_X86_AT_GDT, gdt, sizeof(gdt));
}

int vboot_x86_boot_params(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vboot_x86_kernel *kernel, const char *cmdline, uint64_t rsdp,
                          struct vboot_x86_start *ret_start)
{
    struct vboot_x86_start s = { .rip = kernel->entry, .cr0 = CR0_PE | CR0_ET };
    size_t len = strlen(cmdline);
    int rc = check_cmdline(kernel, len);

    if (rc)
        return rc;
    rc = gm_write(memory, VBOOT_X86_AT_CMDLINE, cmdline, len + 1);
    if (!rc && kernel->protocol == VBOOT_X86_ENTRY_PVH) {
        s.rbx = VBOOT_X86_AT_PVH;
        rc = write_pvh(map, memory, kernel, rsdp);
    } else if (!rc) {
        s.rsi = VBOOT_X86_AT_ZERO_PAGE;
        rc = write_zero_page(map, memory, kernel, rsdp);
    }
    if (!rc && kernel->protocol == VBOOT_X86_ENTRY_64) {
        s.cr0 |= CR0_PG;
        s.cr3 = VBOOT_X86_AT_PAGE_TABLES;
        s.cr4 = CR4_PAE;
        s.efer = EFER_LME | EFER_LMA;
        rc = write_page_tables(memory);
    }
    if (!rc)
        rc = write_gdt(memory, &s);
    if (rc)
        return vm_fail(rc, "boot data does not fit into the first MiB of memory");
    *ret_start = s;
    return 0;
}
