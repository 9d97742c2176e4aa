/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The tiny kernels for x86_64: 64-bit ELF files with one segment at 1 MiB. */
#include "cli.h"

#include <elf.h>
#include <string.h>

enum { LOAD = 0x100000 };

/* mov dx, port; mov al, value; out dx, al */
#define OUT(port, value) 0x66, 0xba, (port)&0xff, (port) >> 8, 0xb0, (value), 0xee
#define OFF              OUT(0x600, 5 << 2 | 1 << 5)
#define FOREVER          0xeb, 0xfe

static const uint8_t code_off[] = { OFF, FOREVER };
static const uint8_t code_reset[] = { OUT(0x602, 1), FOREVER };
static const uint8_t code_triple[] = { 0x0f, 0x0b };
static const uint8_t code_loop[] = { FOREVER };
static const uint8_t code_hello[] = { OUT(0x3f8, 'h'),
                                      OUT(0x3f8, 'e'),
                                      OUT(0x3f8, 'l'),
                                      OUT(0x3f8, 'l'),
                                      OUT(0x3f8, 'o'),
                                      OUT(0x3f8, '\n'),
                                      OFF,
                                      FOREVER };
static const uint8_t code_ports[] = {
    OUT(0x3f8, '1'), OUT(0x2f8, '2'), OUT(0x3e8, '3'), OUT(0x2e8, '4'), OFF, FOREVER
};
/* mov ecx, 0x40000; mov dx, 0x3f8; mov al, '.'; again: out dx, al; dec ecx; jnz again */
static const uint8_t code_flood[] = { 0xb9, 0x00, 0x00, 0x04, 0x00, 0x66, 0xba, 0xf8, 0x03,
                                      0xb0, '.',  0xee, 0xff, 0xc9, 0x75, 0xfb, OFF,  FOREVER };
/* mov dx, 0x604; again: in eax, dx; test al, 1; jz again */
static const uint8_t code_button[] = { 0x66, 0xba, 0x04, 0x06, 0xed,   0xa8,
                                       0x01, 0x74, 0xfb, OFF,  FOREVER };

/* mov eax, 0x20000000: neither memory nor a device. There: jmp rax; or mov [rax], eax. */
#define NOWHERE 0xb8, 0x00, 0x00, 0x00, 0x20
static const uint8_t code_jump[] = { NOWHERE, 0xff, 0xe0 };
static const uint8_t code_write[] = { NOWHERE, 0x89, 0x00, OFF, FOREVER };

#define WAIT_SIZE(cols, rows) 0x8b, 0x06, 0x3d, (cols), 0, (rows), 0, 0x75, 0xf7
static const uint8_t code_window[] = {
    0x0f,
    0x20,
    0xd8, /* mov rax, cr3 */
    0x48,
    0x8b,
    0x00, /* mov rax, [rax]: the table of GiBs */
    0x25,
    0x00,
    0xf0,
    0xff,
    0xff, /* and eax, ~0xfff */
    0xc7,
    0x40,
    0x18,
    0x03,
    0x00,
    0x20,
    0x00, /* mov dword [rax + 3 * 8], 0x200003: the fourth */
    0xc7,
    0x04,
    0x25,
    0xa8,
    0x0f,
    0x20,
    0x00, /* mov dword [0x200000 + 0x1f5 * 8], */
    0x83,
    0x00,
    0xa0,
    0xfe, /* 0xfea00083: 2 MiB around the first virtio-mmio slot */
    0xbe,
    0x00,
    0x01,
    0xb0,
    0xfe, /* mov esi, 0xfeb00100: its configuration space */
    WAIT_SIZE(80, 24), /* again: mov eax, [rsi]; cmp eax, rows << 16 | cols; jnz again */
    OUT(0x3f8, '1'),
    WAIT_SIZE(100, 50),
    OFF,
    FOREVER
};

static const struct {
    const uint8_t *code;
    size_t len;
} kernels[] = {
    [TINY_POWEROFF] = { code_off, sizeof(code_off) },
    [TINY_RESET] = { code_reset, sizeof(code_reset) },
    [TINY_TRIPLE] = { code_triple, sizeof(code_triple) },
    [TINY_LOOP] = { code_loop, sizeof(code_loop) },
    [TINY_HELLO] = { code_hello, sizeof(code_hello) },
    [TINY_PORTS] = { code_ports, sizeof(code_ports) },
    [TINY_FLOOD] = { code_flood, sizeof(code_flood) },
    [TINY_BUTTON] = { code_button, sizeof(code_button) },
    [TINY_JUMP] = { code_jump, sizeof(code_jump) },
    [TINY_WRITE] = { code_write, sizeof(code_write) },
    [TINY_WINDOW] = { code_window, sizeof(code_window) },
};

enum { SEGMENTS = 2, CODE_BYTES = 128 };
struct kernel_file {
    Elf64_Ehdr e;
    Elf64_Phdr p[SEGMENTS];
    uint8_t code[SEGMENTS][CODE_BYTES];
};

static Elf64_Phdr segment(unsigned n, uint64_t at, uint64_t bytes)
{
    return (Elf64_Phdr){ .p_type = PT_LOAD,
                         .p_flags = PF_R | PF_X,
                         .p_offset = offsetof(struct kernel_file, code) + n * CODE_BYTES,
                         .p_paddr = at,
                         .p_vaddr = at,
                         .p_filesz = bytes,
                         .p_memsz = bytes };
}

static Elf64_Ehdr header(uint16_t segments)
{
    return (Elf64_Ehdr){ .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                         .e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_entry = LOAD,
                         .e_phoff = offsetof(struct kernel_file, p),
                         .e_ehsize = sizeof(Elf64_Ehdr),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = segments };
}

const char *const cli_irqchips[] = { "split", "kernel", NULL };

void cli_kernel(const char *path, enum tiny what)
{
    struct kernel_file file = { .e = header(1), .p = { segment(0, LOAD, CODE_BYTES) } };

    memcpy(file.code[0], kernels[what].code, kernels[what].len);
    cli_file(path, &file, sizeof(file));
}

void cli_kernel_of(const char *path, const uint64_t at[2], const uint64_t bytes[2])
{
    struct kernel_file file = { .e = header(SEGMENTS) };

    for (unsigned i = 0; i < SEGMENTS; i++)
        file.p[i] = segment(i, at[i], bytes[i]);
    cli_file(path, &file, sizeof(file));
}
