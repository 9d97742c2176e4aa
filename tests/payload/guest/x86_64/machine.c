/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Start, end, output and memory of the machine guest on x86_64. */
#include "guest.h"

enum {
    SLEEP_TYPE_5 = 5 << 2, /* ACPI 6.5, 4.8.3.7 */
    SLEEP_ENABLE = 1 << 5,
    CMDLINE_PTR = 0x228, /* struct boot_params, hdr.cmd_line_ptr */
    MAPPED_GIB = 16, /* RAM, and BARs above 4 GiB */
};

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

void put_char(char c)
{
    out8(PORT_SERIAL, (uint8_t)c);
}

void power_off(void)
{
    out8(PORT_SLEEP, SLEEP_TYPE_5 | SLEEP_ENABLE);
    for (;;)
        __asm__ volatile("hlt");
}

void reset_machine(void)
{
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

const char *arch_start(const void *boot)
{
    uint32_t at = *(const uint32_t *)((const char *)boot + CMDLINE_PTR);

    map_everything();
    return (const char *)(uint64_t)at;
}
