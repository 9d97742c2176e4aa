/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Makes the smallest kernels there are, for measuring a VMM and not its guest:
 *
 *     tiny off FILE                  ends at once
 *     tiny out PORT COUNT FILE       COUNT writes of one byte to PORT, then ends
 *     tiny polled COUNT FILE         COUNT bytes to the UART as a polling driver does: LSR, THR
 *     tiny fifo COUNT FILE           COUNT bytes in bursts of 16: LSR, then 16 times THR
 *
 * An ELF file with one segment and the PVH note (Xen: docs/misc/pvh.pandoc), so that every VMM can
 * load it. The same bytes run in 32-bit (PVH) and in 64-bit mode (Linux: Documentation/arch/x86/
 * boot.rst). The end is a write to our ACPI sleep register; where that is not a power-off, an
 * undefined instruction without an IDT: triple fault.
 */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD = 0x100000, CODE_MAX = 128, PVH_ENTRY = 18, UART = 0x3f8, LSR = 5, SLEEP_PORT = 0x600 };

struct code {
    uint8_t bytes[CODE_MAX];
    size_t len;
};

struct file {
    Elf64_Ehdr header;
    Elf64_Phdr segment[2];
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } note;
    uint8_t code[CODE_MAX];
};

static void emit(struct code *c, const void *bytes, size_t len)
{
    if (c->len + len > CODE_MAX)
        abort();
    memcpy(c->bytes + c->len, bytes, len);
    c->len += len;
}

#define EMIT(c, ...) \
    emit(c, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* mov dx, port */
static void port(struct code *c, unsigned number)
{
    EMIT(c, 0x66, 0xba, (uint8_t)number, (uint8_t)(number >> 8));
}

/* mov ecx, count; returns where the loop goes back to. */
static size_t loop(struct code *c, uint32_t count)
{
    EMIT(c, 0xb9);
    emit(c, &count, sizeof(count));
    return c->len;
}

/* dec ecx; jnz back */
static void again(struct code *c, size_t back)
{
    EMIT(c, 0xff, 0xc9, 0x75);
    EMIT(c, (uint8_t)(back - c->len - 1));
}

static void outs(struct code *c, unsigned number, uint32_t count)
{
    size_t back;

    port(c, number);
    EMIT(c, 0xb0, '.'); /* mov al, '.' */
    back = loop(c, count);
    EMIT(c, 0xee); /* out dx, al */
    again(c, back);
}

/* wait: in al, dx; test al, THRE; jz wait */
static void wait_empty(struct code *c)
{
    port(c, UART + LSR);
    EMIT(c, 0xec, 0xa8, 0x20, 0x74, 0xfb);
}

static void uart(struct code *c, uint32_t count, unsigned burst)
{
    size_t back;

    port(c, UART + 2);
    EMIT(c, 0xb0, 0x01, 0xee); /* FCR: FIFOs on */
    back = loop(c, count / burst);
    wait_empty(c);
    port(c, UART);
    EMIT(c, 0xb0, '.');
    for (unsigned i = 0; i < burst; i++)
        EMIT(c, 0xee);
    again(c, back);
}

static void end(struct code *c)
{
    port(c, SLEEP_PORT);
    EMIT(c, 0xb0, 5 << 2 | 1 << 5, 0xee, 0x0f, 0x0b); /* S5 and SLP_EN; ud2 */
}

static int write_elf(const struct code *c, const char *path)
{
    struct file f = {
        .header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_entry = LOAD,
                    .e_phoff = offsetof(struct file, segment),
                    .e_ehsize = sizeof(Elf64_Ehdr),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 2 },
        .segment = { { .p_type = PT_LOAD,
                       .p_flags = PF_R | PF_X,
                       .p_offset = offsetof(struct file, code),
                       .p_vaddr = LOAD,
                       .p_paddr = LOAD,
                       .p_filesz = CODE_MAX,
                       .p_memsz = CODE_MAX },
                     { .p_type = PT_NOTE,
                       .p_flags = PF_R,
                       .p_offset = offsetof(struct file, note),
                       .p_filesz = sizeof(f.note),
                       .p_memsz = sizeof(f.note),
                       .p_align = 4 } },
        .note = { { .n_namesz = 4, .n_descsz = 4, .n_type = PVH_ENTRY }, "Xen", LOAD },
    };
    FILE *out = fopen(path, "wbe");
    int rc;

    if (!out)
        return 1;
    memcpy(f.code, c->bytes, sizeof(f.code));
    rc = fwrite(&f, sizeof(f), 1, out) != 1;
    return fclose(out) || rc;
}

int main(int argc, char **argv)
{
    struct code c = { .len = 0 };
    const char *what = argc > 2 ? argv[1] : "";
    uint32_t count = argc > 3 ? (uint32_t)strtoul(argv[argc - 2], NULL, 0) : 0;

    if (!strcmp(what, "out") && argc == 5)
        outs(&c, (unsigned)strtoul(argv[2], NULL, 0), count);
    else if (!strcmp(what, "polled") && argc == 4)
        uart(&c, count, 1);
    else if (!strcmp(what, "fifo") && argc == 4)
        uart(&c, count, 16);
    else if (strcmp(what, "off") || argc != 3)
        return fprintf(stderr, "tiny: see the head of tiny.c\n"), 2;
    end(&c);
    if (write_elf(&c, argv[argc - 1]))
        return perror(argv[argc - 1]), 1;
    return 0;
}
