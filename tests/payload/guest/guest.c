/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Start, end, output and command line of the machine guest. */
#include "guest.h"

enum {
    SLEEP_TYPE_5 = 5 << 2, /* ACPI 6.5, 4.8.3.7 */
    SLEEP_ENABLE = 1 << 5,
    CMDLINE_PTR = 0x228, /* struct boot_params, hdr.cmd_line_ptr */
    MAPPED_GIB = 16, /* RAM, and BARs above 4 GiB */
};

struct options options;

static const char *cmdline;
static uint64_t pml4[512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[MAPPED_GIB][512] __attribute__((aligned(4096)));

void *memset(void *to, int byte, size_t n)
{
    void *d = to;

    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *d = to;

    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void print(const char *text)
{
    while (*text)
        out8(PORT_SERIAL, (uint8_t)*text++);
}

void print_number(uint64_t value)
{
    print("0x");
    for (int shift = value >> 32 ? 60 : 28; shift >= 0; shift -= 4)
        out8(PORT_SERIAL, (uint8_t) "0123456789abcdef"[value >> shift & 15]);
}

void power_off(void)
{
    out8(PORT_SLEEP, SLEEP_TYPE_5 | SLEEP_ENABLE);
    for (;;)
        __asm__ volatile("hlt");
}

void fail(const char *file, unsigned line, const char *what, uint64_t a, uint64_t b)
{
    print("FAILED ");
    print(file);
    print(":");
    print_number(line);
    print(": ");
    print(what);
    print(" (");
    print_number(a);
    print(", ");
    print_number(b);
    print(")\n");
    out8(PORT_RESET, 1);
    for (;;)
        __asm__ volatile("hlt");
}

_Noreturn void guest_exception(uint32_t vector, const uint64_t *frame);
_Noreturn void guest_exception(uint32_t vector, const uint64_t *frame)
{
    print("exception: ");
    print_number(frame[0]);
    print(" ");
    print_number(frame[1]);
    fail("start.S", vector, "no exception", vector, frame[0]);
}

/* 2 MiB pages, one to one: present, writable, large (Intel SDM, volume 3, 4.5). */
static void map_everything(void)
{
    pml4[0] = (uint64_t)pdpt | 3;
    for (uint64_t g = 0; g < MAPPED_GIB; g++) {
        pdpt[g] = (uint64_t)pd[g] | 3;
        for (uint64_t i = 0; i < 512; i++)
            pd[g][i] = g << 30 | i << 21 | 0x83;
    }
    __asm__ volatile("mov %0, %%cr3" : : "r"(pml4) : "memory");
}

static size_t length(const char *text)
{
    size_t n = 0;

    while (text[n])
        n++;
    return n;
}

static bool begins(const char *text, const char *with)
{
    while (*with)
        if (*text++ != *with++)
            return false;
    return true;
}

static bool option(const char *key, const char *value)
{
    for (const char *at = cmdline; *at; at++) {
        const char *end = at + length(key);

        if ((at == cmdline || at[-1] == ' ') && begins(at, key) && *end == '=' &&
            begins(end + 1, value)) {
            end += 1 + length(value);
            if (!*end || *end == ' ')
                return true;
        }
    }
    return false;
}

static void read_options(void)
{
    options = (struct options){
        .cam = option("config", "cam"),
        .mmio = option("bus", "mmio"),
        .packed = option("ring", "packed"),
        .irq = option("irq", "on"),
        .fifo = option("fifo", "on"),
        .strict = option("strict", "on"),
    };
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define T(name) { #name, test_##name },
    TESTS(T)
#undef T
};

_Noreturn void guest_main(const uint8_t *boot_params);
_Noreturn void guest_main(const uint8_t *boot_params)
{
    cmdline = (const char *)(uint64_t) * (const uint32_t *)(boot_params + CMDLINE_PTR);
    map_everything();
    read_options();
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (option("test", tests[i].name)) {
            tests[i].run();
            print("PASSED\n");
            power_off();
        }
    fail(__FILE__, __LINE__, "test=NAME is known", 0, 0);
}
