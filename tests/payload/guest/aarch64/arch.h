/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is AArch64's own of the machine guest: accesses, barriers, the map (vmm/aarch64-boot/map.h). */
#ifndef PAYLOAD_GUEST_ARCH_H
#define PAYLOAD_GUEST_ARCH_H

#include <stdbool.h>
#include <stdint.h>

/* Version 1, at most 1 GiB of RAM, one segment. */
#define ECAM      0x80000000ull
#define MEM32     0x10000000ull
#define MEM32_END 0x3fff0000ull
#define MEM64     0x180000000ull
enum {
    GICD = 0x08000000,
    ITS = 0x08080000,
    UART = 0x09000000,
    RTC = 0x09100000,
    GPIO = 0x09200000,
    MMIO_WINDOWS = 0x0a000000,
    GICR = 0x0c000000,
    RAM = 0x40000000,
    MMIO_COUNT = 8, /* those that are looked at */
    SPI_UART = 0,
    SPI_RTC = 4,
    SPI_GPIO = 5,
    SPI_MMIO = 16,
};
#define IRQ_CONTROLLER GICD
/* Where no window is. */
#define PLACES_OUTSIDE                                                         \
    0, /* flash, if there were firmware */                                     \
        GICD, ITS, UART, MMIO_WINDOWS, GICR, MEM32_END, /* ports */            \
        RAM, ECAM, ECAM + 0x8000, MEM64 - 0x8000, /* ECAM of other segments */ \
        0xffff8000, /* the end of 4 GiB */                                     \
        RAM + 0x20000000, /* behind the RAM */                                 \
        1ull << 46, 0xffffffffffff8000 /* the end of it all */

static inline unsigned mmio_pin(unsigned window)
{
    return SPI_MMIO + window;
}

/* One access of just this width each, by an instruction whose syndrome says all of it (Arm ARM, ESR_ELx.ISV): no pairs, no
 * address that is written back. */
#define MMIO(bits, suffix, reg)                                                           \
    static inline uint##bits##_t read##bits(uint64_t at)                                  \
    {                                                                                     \
        uint##bits##_t v;                                                                 \
                                                                                          \
        __asm__ volatile("ldr" suffix " %" reg "0, [%1]" : "=r"(v) : "r"(at) : "memory"); \
        return v;                                                                         \
    }                                                                                     \
    static inline void write##bits(uint64_t at, uint##bits##_t v)                         \
    {                                                                                     \
        __asm__ volatile("str" suffix " %" reg "0, [%1]" : : "r"(v), "r"(at) : "memory"); \
    }
MMIO(8, "b", "w")
MMIO(16, "h", "w")
MMIO(32, "", "w")
MMIO(64, "", "x")
#undef MMIO

/* Orders all accesses before it to memory before all after it, for the device's side, too, registers included. */
static inline void barrier(void)
{
    __asm__ volatile("dmb sy" : : : "memory");
}

#define ARCH_TESTS(T)   \
    T(serial_interrupt) \
    T(rtc_interrupt)    \
    T(power_key)        \
    T(psci)             \
    T(psci_reset)       \
    T(cpus)             \
    T(second_cpu)

#endif
