/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the library's tests: guest memory, and kernel images that are right until a test breaks them. */
#ifndef VBOOT_X86_BOOT_TEST_H
#define VBOOT_X86_BOOT_TEST_H

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "load.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* The call fails with that code and exactly that line. */
#define FAILS(call, code, text)                          \
    do {                                                 \
        vm_error_clear();                                \
        cr_assert_eq(call, code, "%s", vm_error_text()); \
        cr_assert_str_eq(vm_error_text(), text);         \
    } while (0)
#define WORKS(call) cr_assert_eq(call, 0, "%s", vm_error_text())

struct boot {
    struct vm_env env;
    struct vboot_x86_map map;
    struct gm_region *low;
    struct gm_space *space;
    struct gm_view view;
    struct vm_file file;
    struct vboot_x86_kernel kernel;
};

static inline uint64_t boot_now(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

/* A machine with so much memory, of which host_bytes can really be touched (0: all of the low part). */
static inline void boot_open(struct boot *b, uint64_t ram_bytes, uint64_t host_bytes)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    struct gm_change change = { .add = &b->low, .add_count = 1 };

    *b = (struct boot){ .env = { .now_ns = boot_now } };
    WORKS(vboot_x86_map_make(1, ram_bytes, 40, 1, &b->map));
    WORKS(gm_region_new(0, host_bytes ? host_bytes : b->map.ram_low.size, &anonymous, &b->low));
    WORKS(gm_space_new(&b->env, &b->space));
    WORKS(gm_space_change(b->space, &change));
    gm_view_init(&b->view, b->space, NULL);
}

static inline void boot_close(struct boot *b)
{
    gm_view_exit(&b->view);
    gm_space_free(b->space);
    gm_region_unref(b->low);
}

static inline int boot_load(struct boot *b, const void *image, size_t len)
{
    vm_file_data("kernel", image, len, &b->file);
    return vboot_x86_kernel_load(&b->map, &b->view, &b->file, &b->kernel);
}

static inline uint64_t guest_get(struct boot *b, gpa_t gpa, unsigned len)
{
    uint8_t bytes[8] = { 0 };

    cr_assert_eq(gm_read(&b->view, gpa, bytes, len), 0);
    return vm_load_le(bytes, 8);
}

/* ---- ELF ---- */

enum { ELF_TEXT_BYTES = 0x1000, ELF_NOTE_BYTES = 64 };
#define ELF_BASE 0x1000000ULL

/* Segment 0: text at 16 MiB, with a page of bss behind. Segment 1: a page at 16 MiB + 64 KiB from the same bytes.
 * Row 2: nothing, or the notes. */
struct elf_image {
    Elf64_Ehdr e;
    Elf64_Phdr p[3];
    uint8_t notes[ELF_NOTE_BYTES];
    uint8_t text[ELF_TEXT_BYTES];
};

static inline void elf_init(struct elf_image *f)
{
    *f = (struct elf_image){
        .e = { .e_type = ET_EXEC,
               .e_machine = EM_X86_64,
               .e_version = 1,
               .e_entry = ELF_BASE,
               .e_phoff = offsetof(struct elf_image, p),
               .e_ehsize = sizeof(Elf64_Ehdr),
               .e_phentsize = sizeof(Elf64_Phdr),
               .e_phnum = 3 },
        .p = { { .p_type = PT_LOAD,
                 .p_offset = offsetof(struct elf_image, text),
                 .p_paddr = ELF_BASE,
                 .p_vaddr = 0xffffffff81000000,
                 .p_filesz = ELF_TEXT_BYTES,
                 .p_memsz = 2 * ELF_TEXT_BYTES },
               { .p_type = PT_LOAD,
                 .p_offset = offsetof(struct elf_image, text),
                 .p_paddr = ELF_BASE + 0x10000,
                 .p_filesz = ELF_TEXT_BYTES,
                 .p_memsz = ELF_TEXT_BYTES },
               { .p_type = PT_NULL } },
    };
    memcpy(f->e.e_ident, ELFMAG, SELFMAG);
    f->e.e_ident[EI_CLASS] = ELFCLASS64;
    f->e.e_ident[EI_DATA] = ELFDATA2LSB;
    f->e.e_ident[EI_VERSION] = EV_CURRENT;
    for (unsigned i = 0; i < ELF_TEXT_BYTES; i++)
        f->text[i] = (uint8_t)(i * 7 + 1);
}

/* Appends one note; returns the new length. */
static inline size_t elf_note(struct elf_image *f, size_t at, const char *name, uint32_t type,
                              uint32_t value)
{
    uint32_t name_bytes = (uint32_t)strlen(name) + 1;

    vm_store_le(f->notes + at, 4, name_bytes);
    vm_store_le(f->notes + at + 4, 4, 4);
    vm_store_le(f->notes + at + 8, 4, type);
    memcpy(f->notes + at + 12, name, name_bytes);
    at += 12 + ((name_bytes + 3) & ~3U);
    vm_store_le(f->notes + at, 4, value);
    at += 4;
    f->p[2] = (Elf64_Phdr){ .p_type = PT_NOTE,
                            .p_offset = offsetof(struct elf_image, notes),
                            .p_filesz = at,
                            .p_memsz = at };
    return at;
}

/* ---- bzImage ---- */

enum { BZ_SETUP = 2048, BZ_PAYLOAD = 0x1000 };
#define BZ_BASE 0x1000000ULL
#define BZ_NEED 0x400000ULL

struct bz_image {
    uint8_t b[BZ_SETUP + BZ_PAYLOAD];
};

static inline void bz_set(struct bz_image *f, unsigned offset, unsigned len, uint64_t v)
{
    vm_store_le(f->b + offset, len, v);
}

/* As a distribution's kernel of protocol 2.15. */
static inline void bz_init(struct bz_image *f)
{
    *f = (struct bz_image){ { 0 } };
    bz_set(f, 0x1f1, 1, BZ_SETUP / 512 - 1);
    bz_set(f, 0x1f4, 4, BZ_PAYLOAD / 16);
    bz_set(f, 0x1fe, 2, 0xaa55);
    bz_set(f, 0x200, 2, 0x6aeb); /* jmp: the header ends at 0x26c */
    memcpy(f->b + 0x202, "HdrS", 4);
    bz_set(f, 0x206, 2, 0x20f);
    bz_set(f, 0x211, 1, 1);
    bz_set(f, 0x22c, 4, 0x7fffffff);
    bz_set(f, 0x230, 4, 0x200000);
    bz_set(f, 0x234, 1, 1);
    bz_set(f, 0x236, 2, 0x7f);
    bz_set(f, 0x238, 4, 2047);
    bz_set(f, 0x258, 8, BZ_BASE);
    bz_set(f, 0x260, 4, BZ_NEED);
    for (unsigned i = 0; i < BZ_PAYLOAD; i++)
        f->b[BZ_SETUP + i] = (uint8_t)(i * 5 + 3);
}

#endif
