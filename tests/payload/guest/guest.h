/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The machine guest: a freestanding kernel that `vmm run` boots, one test per boot, named by the
 * command line ("test=NAME"). It prints on COM1; a passed test ends by switching the machine off, a
 * failed one says where and resets it. Everything is mapped one to one.
 */
#ifndef PAYLOAD_GUEST_H
#define PAYLOAD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PORT_SERIAL = 0x3f8,
    PORT_SLEEP = 0x600, /* vmm/x86_64-boot/map.h */
    PORT_RESET = 0x602,
    PORT_EVENTS = 0x604,
    PORT_NOBODY = 0xed,
};

/* guest.c */
void print(const char *text);
void print_number(uint64_t value);
_Noreturn void power_off(void);
_Noreturn void fail(const char *file, unsigned line, const char *what, uint64_t a, uint64_t b);
#define check(what)                                \
    do {                                           \
        if (!(what))                               \
            fail(__FILE__, __LINE__, #what, 0, 0); \
    } while (0)
#define check_eq(a, b)                                             \
    do {                                                           \
        uint64_t left_ = (uint64_t)(a), right_ = (uint64_t)(b);    \
        if (left_ != right_)                                       \
            fail(__FILE__, __LINE__, #a " == " #b, left_, right_); \
    } while (0)
/* Words "KEY=VALUE" of the command line (software KVM is slow: looked at once). */
struct options {
    bool cam; /* config=cam: configuration space by ports */
    bool mmio; /* bus=mmio: virtio-mmio */
    bool packed; /* ring=packed */
    bool irq; /* irq=on: by interrupt, not polled */
    bool fifo; /* fifo=on: the test feeds the entropy device */
    bool strict; /* strict=on: KVM is no software */
};
extern struct options options;

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

/* irq.c: vectors FIRST_VECTOR to 0xef are for tests. */
enum { FIRST_VECTOR = 0x40, IOAPIC = 0xfec00000, LAPIC = 0xfee00000 };
void irq_init(void);
/* Waits for this vector; another one fails the test. The interrupt is in service: irq_end(). */
void irq_take(uint8_t vector);
void irq_end(void);
static inline void irq_take_end(uint8_t vector)
{
    irq_take(vector);
    irq_end();
}
/* Whether the local APIC has the vector waiting, or in service. */
bool irq_waits(uint8_t vector);
bool irq_in_service(uint8_t vector);
/* I/O APIC: entry of an input. */
enum { PIN_MASKED = 1 << 16, PIN_LEVEL = 1 << 15, PIN_REMOTE_IRR = 1 << 14 };
void pin_set(unsigned pin, uint32_t entry);
uint32_t pin_get(unsigned pin);

/* guest.c; the compiler makes calls of these, too. */
void *memset(void *to, int byte, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);

/* start.S */
uint32_t irq_sleep(void);
extern const uint8_t irq_stubs[];

/* The tests. */
#define TESTS(T)               \
    T(bars_are_sized_and_read) \
    T(bars_move)               \
    T(bars_swap)               \
    T(bars_overlap)            \
    T(bars_outside)            \
    T(bars_in_flight)          \
    T(decode_off)              \
    T(bus_master_off)          \
    T(msix_masked)             \
    T(msix_anywhere)           \
    T(intx_status)             \
    T(traffic)                 \
    T(reset_in_flight)         \
    T(serial_interrupt)        \
    T(rtc_interrupt)           \
    T(power_button)            \
    T(sleep_register)          \
    T(reset_register)          \
    T(level_interrupt)
#define T(name) void test_##name(void);
TESTS(T)
#undef T

#endif
