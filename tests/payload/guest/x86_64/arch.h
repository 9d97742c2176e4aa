/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is x86_64's own of the machine guest: ports, accesses, barriers, interrupt controllers, the map (vmm/x86_64-boot/map.h). */
#ifndef PAYLOAD_GUEST_ARCH_H
#define PAYLOAD_GUEST_ARCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PORT_SERIAL = 0x3f8,
    PORT_SLEEP = 0x600,
    PORT_RESET = 0x602,
    PORT_EVENTS = 0x604,
    PORT_NOBODY = 0xed,
};

/* Version 1, 256 MiB of RAM and one segment. */
#define ECAM      0xe0000000ull
#define MEM32     0xc0000000ull
#define MEM32_END 0xe0000000ull
#define MEM64     0x200000000ull
enum { MMIO_WINDOWS = 0xfeb00000, MMIO_COUNT = 5 };
enum { IOAPIC = 0xfec00000, LAPIC = 0xfee00000 };
#define IRQ_CONTROLLER LAPIC
/* Where no window is. */
#define PLACES_OUTSIDE                                                                         \
    0, /* RAM */                                                                               \
        0xa0000, /* no memory and no window */                                                 \
        ECAM, ECAM + 0x8000, MMIO_WINDOWS, IOAPIC, LAPIC, 0xffff8000, /* the end of 4 GiB */   \
        MEM32 - 0x8000, MEM64 - 0x8000, 0x100000000, /* behind 4 GiB, where there is no RAM */ \
        1ull << 46, 0xffffffffffff8000 /* the end of it all */

static inline unsigned mmio_pin(unsigned window)
{
    static const uint8_t pins[MMIO_COUNT] = { 5, 6, 7, 10, 11 };

    return pins[window];
}

static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void out16(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline uint8_t in8(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

/* One access of just this width each. */
#define MMIO(bits)                                                \
    static inline uint##bits##_t read##bits(uint64_t at)          \
    {                                                             \
        return *(volatile uint##bits##_t *)at;                    \
    }                                                             \
    static inline void write##bits(uint64_t at, uint##bits##_t v) \
    {                                                             \
        *(volatile uint##bits##_t *)at = v;                       \
    }
MMIO(8)
MMIO(16)
MMIO(32)
MMIO(64)
#undef MMIO

/* Orders all accesses before it to memory before all after it, for the device's side, too. */
static inline void barrier(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

/* Waits for this vector; another one fails the test. The interrupt is in service: irq_end(). */
void irq_take(uint8_t vector);
void irq_take_end(uint8_t vector);
/* Whether the local APIC has the vector waiting, or in service. */
bool irq_waits(uint8_t vector);
bool irq_in_service(uint8_t vector);
/* I/O APIC: entry of an input. */
enum { PIN_MASKED = 1 << 16, PIN_LEVEL = 1 << 15, PIN_REMOTE_IRR = 1 << 14 };
void pin_set(unsigned pin, uint32_t entry);
uint32_t pin_get(unsigned pin);

/* start.S */
extern const uint8_t irq_stubs[];

#define ARCH_TESTS(T)   \
    T(msix_masked)      \
    T(msix_anywhere)    \
    T(serial_interrupt) \
    T(rtc_interrupt)    \
    T(power_button)     \
    T(sleep_register)   \
    T(reset_register)   \
    T(level_interrupt)

#endif
