/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The machine guest: a freestanding kernel that `vmm run` boots, one test per boot, named by the
 * command line ("test=NAME"). It prints on the serial port; a passed test ends by switching the machine
 * off, a failed one says where and resets it. Everything is mapped one to one. What is an architecture's
 * own is in x86_64/ and aarch64/.
 */
#ifndef PAYLOAD_GUEST_H
#define PAYLOAD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"

/* guest.c */
void print(const char *text);
void print_number(uint64_t value);
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
    bool gicv2; /* gic=v2: AArch64, a GICv2 is the controller */
    bool strict; /* strict=on: KVM is no software */
};
extern struct options options;

/* ARCH/machine.c. boot: what the boot protocol hands over. Returns the command line. */
const char *arch_start(const void *boot);
void put_char(char c);
_Noreturn void power_off(void);
_Noreturn void reset_machine(void);

/* ARCH/irq.c: vectors FIRST_VECTOR to 0xef are for tests. */
enum { FIRST_VECTOR = 0x40 };
void irq_init(void);
/* Waits for an interrupt and gives its vector. It is in service: irq_end(). */
uint32_t irq_sleep(void);
void irq_end(void);
/* The controller's registers are still where they were. */
void irq_check(void);
/* From now on that input of the controller, a level, is this vector; 0: it is masked. */
void line_set(unsigned pin, uint8_t vector);
/* The message of a PCI device that is this vector. */
struct message {
    uint32_t address, data;
};
struct message message_for(unsigned dev, uint8_t vector);

/* ARCH/machine.c; the compiler makes calls of these, too. */
void *memset(void *to, int byte, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);

/* The tests; arch.h has those of one architecture. */
#define TESTS(T)               \
    T(bars_are_sized_and_read) \
    T(bars_move)               \
    T(bars_swap)               \
    T(bars_overlap)            \
    T(bars_outside)            \
    T(bars_in_flight)          \
    T(decode_off)              \
    T(bus_master_off)          \
    T(intx_status)             \
    T(traffic)                 \
    T(reset_in_flight)         \
    T(stop_queue_in_flight)    \
    T(unplug)
#define T(name) void test_##name(void);
TESTS(T)
ARCH_TESTS(T)
#undef T

#endif
