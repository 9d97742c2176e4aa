/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Start, end, output and memory of the machine guest on AArch64. */
#include "psci.h"

/* Devicetree Specification 0.4, chapter 5. */
enum {
    FDT_STRUCT = 8, /* offsets in the header */
    FDT_STRINGS = 12,
    FDT_BEGIN_NODE = 1,
    FDT_END_NODE = 2,
    FDT_PROP = 3,
    FDT_NOP = 4,
};
#define FDT_MAGIC 0xd00dfeed

void *memset(void *to, int byte, size_t n)
{
    for (char *d = to; n; n--)
        *d++ = (char)byte;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    const char *s = from;

    for (char *d = to; n; n--)
        *d++ = *s++;
    return to;
}

/* The device has always room. */
void put_char(char c)
{
    write32(UART, (uint8_t)c);
}

void power_off(void)
{
    (void)psci(PSCI_SYSTEM_OFF, 0);
    for (;;)
        __asm__ volatile("wfi");
}

void reset_machine(void)
{
    (void)psci(PSCI_SYSTEM_RESET, 0);
    for (;;)
        __asm__ volatile("wfi");
}

_Noreturn void guest_exception(uint64_t vector, uint64_t syndrome, uint64_t at, uint64_t address);
_Noreturn void guest_exception(uint64_t vector, uint64_t syndrome, uint64_t at, uint64_t address)
{
    print("exception: syndrome ");
    print_number(syndrome);
    print(" address ");
    print_number(address);
    print(" ");
    fail("start.S", (unsigned)vector, "no exception", vector, at);
}

static uint32_t big(const void *at)
{
    return __builtin_bswap32(*(const uint32_t *)at);
}

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* The property bootargs: no node but /chosen has one. */
static const char *bootargs(const char *tree)
{
    const char *at = tree + big(tree + FDT_STRUCT), *strings = tree + big(tree + FDT_STRINGS);

    check_eq(big(tree), FDT_MAGIC);
    for (;;) {
        uint32_t token = big(at);

        at += 4;
        if (token == FDT_BEGIN_NODE) {
            while (*at++)
                ;
        } else if (token == FDT_PROP) {
            if (same(strings + big(at + 4), "bootargs"))
                return at + 8;
            at += 8 + big(at);
        } else {
            check(token == FDT_END_NODE || token == FDT_NOP);
        }
        at = (const char *)(((uint64_t)at + 3) & ~3ull);
    }
}

const char *arch_start(const void *boot)
{
    return bootargs(boot);
}
