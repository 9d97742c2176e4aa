/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* ELF vmlinux (System V gABI, chapter 5; PVH note: Xen's public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY). */
#include "load.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    PHDRS_MAX = 64,
    NOTE_PHYS32_ENTRY = 18,
    CMDLINE_MAX = 2047, /* COMMAND_LINE_SIZE 2048 with the zero: arch/x86/include/asm/setup.h */
    INITRD_MAX = 0x7fffffff, /* what kernels give in initrd_addr_max */
    NOTE_HEADER = 12,
};

/* How most of what cannot be loaded came about. */
#define DAMAGED ": the file is damaged (copy or build it again)"

struct elf {
    const struct vm_file *file;
    Elf64_Ehdr e;
    Elf64_Phdr p[PHDRS_MAX];
};

static int read_headers(struct elf *f)
{
    const char *name = f->file->name;
    uint64_t bytes;
    int rc;

    if (f->file->size < sizeof(f->e))
        return vm_fail(-EINVAL, "%s is cut off (copy it again) inside the ELF header", name);
    rc = f->file->read(f->file, &f->e, sizeof(f->e), 0);
    if (rc)
        return rc;
    if (f->e.e_ident[EI_CLASS] != ELFCLASS64 || f->e.e_ident[EI_DATA] != ELFDATA2LSB ||
        f->e.e_machine != EM_X86_64)
        return vm_fail(-EINVAL,
                       "%s is an ELF file for another machine (class %u, machine %u): an x86_64 "
                       "kernel is wanted",
                       name, f->e.e_ident[EI_CLASS], f->e.e_machine);
    if (f->e.e_type != ET_EXEC && f->e.e_type != ET_DYN)
        return vm_fail(
            -EINVAL,
            "%s is an ELF file of type %u, not an executable: give the vmlinux that was linked",
            name, f->e.e_type);
    if (!f->e.e_phnum || f->e.e_phnum > PHDRS_MAX || f->e.e_phentsize != sizeof(Elf64_Phdr))
        return vm_fail(-EINVAL,
                       "%s: %u program headers of %u bytes: 1 to %u of %zu are understood" DAMAGED,
                       name, f->e.e_phnum, f->e.e_phentsize, PHDRS_MAX, sizeof(Elf64_Phdr));
    bytes = f->e.e_phnum * sizeof(Elf64_Phdr);
    if (!vm_range_in(f->e.e_phoff, bytes, f->file->size))
        return vm_fail(
            -EINVAL, "%s is cut off (copy it again): its program headers lie behind the end", name);
    return f->file->read(f->file, f->p, bytes, f->e.e_phoff);
}

static int check_segment(const struct elf *f, unsigned i, struct vboot_x86_kernel *k)
{
    const Elf64_Phdr *p = &f->p[i];
    uint64_t end;

    if (p->p_filesz > p->p_memsz)
        return vm_fail(-EINVAL, "%s: segment %u has more bytes in the file than in memory" DAMAGED,
                       f->file->name, i);
    if (!p->p_memsz)
        return 0;
    if (!vm_add(p->p_paddr, p->p_memsz, &end))
        return vm_fail(-EINVAL, "%s: segment %u at 0x%llx wraps around the address space" DAMAGED,
                       f->file->name, i, (unsigned long long)p->p_paddr);
    for (unsigned j = 0; j < i; j++)
        if (f->p[j].p_type == PT_LOAD &&
            vm_ranges_overlap(f->p[j].p_paddr, f->p[j].p_memsz, p->p_paddr, p->p_memsz))
            return vm_fail(-EINVAL, "%s: segments %u and %u overlap at 0x%llx" DAMAGED,
                           f->file->name, j, i, (unsigned long long)p->p_paddr);
    if (p->p_paddr < k->start)
        k->start = p->p_paddr;
    if (end > k->end)
        k->end = end;
    return 0;
}

/* What the file does not give (bss) is zero because RAM is fresh: see vboot_x86_kernel_load(). */
static int load_segment(const struct vboot_x86_map *map, struct gm_view *memory,
                        const struct elf *f, unsigned i)
{
    const Elf64_Phdr *p = &f->p[i];
    char what[24] = "segment ";
    int rc;

    what[8] = (char)('0' + i / 10);
    what[9] = (char)('0' + i % 10);
    rc = vboot_x86_check_room(map, f->file, what, p->p_paddr, p->p_paddr + p->p_memsz);
    if (!rc)
        rc = vboot_x86_load_piece(map, memory, f->file, what, p->p_offset, p->p_filesz, p->p_paddr);
    return rc;
}

/* The entry of the PVH note in one PT_NOTE segment; 0: none. Notes are 4-byte aligned triples: name and descriptor sizes, type. */
static uint32_t find_pvh(const uint8_t *notes, size_t len)
{
    size_t at = 0;

    while (len - at >= NOTE_HEADER) {
        uint64_t name = vm_load_le(notes + at, 4), desc = vm_load_le(notes + at + 4, 4);
        uint64_t type = vm_load_le(notes + at + 8, 4);
        uint64_t data = at + NOTE_HEADER + ((name + 3) & ~3ULL), next = data + ((desc + 3) & ~3ULL);

        if (data > len || desc > len - data)
            return 0;
        if (type == NOTE_PHYS32_ENTRY && name == 4 && desc >= 4 &&
            !memcmp(notes + at + NOTE_HEADER, "Xen", 4))
            return (uint32_t)vm_load_le(notes + data, 4);
        if (next >= len)
            return 0;
        at = (size_t)next;
    }
    return 0;
}

static int pvh_entry(const struct elf *f, uint32_t *ret_entry)
{
    uint8_t notes[4096];

    *ret_entry = 0;
    for (unsigned i = 0; i < f->e.e_phnum && !*ret_entry; i++) {
        const Elf64_Phdr *p = &f->p[i];
        uint64_t len = p->p_filesz < sizeof(notes) ? p->p_filesz : sizeof(notes);
        int rc;

        if (p->p_type != PT_NOTE || !len)
            continue;
        if (!vm_range_in(p->p_offset, p->p_filesz, f->file->size))
            return vm_fail(-EINVAL, "%s is cut off (copy it again): its notes lie behind the end",
                           f->file->name);
        rc = f->file->read(f->file, notes, (size_t)len, p->p_offset);
        if (rc)
            return rc;
        *ret_entry = find_pvh(notes, (size_t)len);
    }
    return 0;
}

static bool in_a_segment(const struct elf *f, uint64_t address)
{
    for (unsigned i = 0; i < f->e.e_phnum; i++)
        if (f->p[i].p_type == PT_LOAD && address >= f->p[i].p_paddr &&
            address - f->p[i].p_paddr < f->p[i].p_memsz)
            return true;
    return false;
}

static int check_entry(const struct elf *f, struct vboot_x86_kernel *k)
{
    uint32_t pvh;
    int rc = pvh_entry(f, &pvh);

    if (rc)
        return rc;
    k->protocol = pvh ? VBOOT_X86_ENTRY_PVH : VBOOT_X86_ENTRY_64;
    k->entry = pvh ? pvh : f->e.e_entry;
    if (!in_a_segment(f, k->entry))
        return vm_fail(
            -EINVAL, "%s: the entry point 0x%llx lies outside the kernel, 0x%llx to 0x%llx" DAMAGED,
            f->file->name, (unsigned long long)k->entry, (unsigned long long)k->start,
            (unsigned long long)k->end);
    if (!pvh && k->end > VBOOT_X86_MAPPED)
        return vm_fail(-EINVAL,
                       "%s ends at 0x%llx, beyond the first GiB, which the boot page tables map: "
                       "link it lower, or give it a PVH note",
                       f->file->name, (unsigned long long)k->end);
    return 0;
}

int vboot_x86_elf_load(const struct vboot_x86_map *map, struct gm_view *memory,
                       const struct vm_file *file, struct vboot_x86_kernel *ret_kernel)
{
    struct vboot_x86_kernel k = { .start = UINT64_MAX,
                                  .initrd_max = INITRD_MAX,
                                  .cmdline_max = CMDLINE_MAX };
    struct elf f = { .file = file };
    int rc = read_headers(&f);

    for (unsigned i = 0; !rc && i < f.e.e_phnum; i++)
        if (f.p[i].p_type == PT_LOAD)
            rc = check_segment(&f, i, &k);
    if (!rc && k.start == UINT64_MAX)
        rc = vm_fail(-EINVAL, "%s has no segment to load: give a vmlinux", file->name);
    if (!rc)
        rc = check_entry(&f, &k);
    for (unsigned i = 0; !rc && i < f.e.e_phnum; i++)
        if (f.p[i].p_type == PT_LOAD && f.p[i].p_memsz)
            rc = load_segment(map, memory, &f, i);
    if (!rc)
        *ret_kernel = k;
    return rc;
}
