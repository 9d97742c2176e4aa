/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The payload VMs of x86. */
#ifndef PAYLOAD_ARCH_H
#define PAYLOAD_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/hypervisor/uapi.h>

enum {
    PAYLOAD_AT = 0x1000, /* where the code goes */
    RESULT = 0x2000, /* where it leaves what it read */
    GDT_AT = 0x3000,
    IDT_AT = 0x4000,
    TABLES_AT = 0x6000, /* page tables, three pages */
    STACK_AT = 0xf000,
    HANDLERS_AT = 0x10000, /* handler of vector v at HANDLERS_AT + v * 0x100 */
    LOW_BYTES = 0x80000, /* slot 0: what lies above is no memory */
    ROM_AT = 0x90000, /* slots of tests' own */
    MMIO_AT = 0xa0000, /* never memory */
    HIGH_AT = 0x100000, /* slot 1, if asked for */

    DONE = 0xf4, /* the port that ends a guest */
    SIDE = 0x510, /* ports without meaning */
    BELL = 0x520, /* ioeventfds */
    TOLD = 0x521, /* the port where interrupt handlers tell their vector */

    /* Interrupt numbers that mean nothing by themselves: only the route says what they do. */
    EDGE_GSI = 40,
    LEVEL_GSI = 41,
    EDGE_TOLD = 0x24,
    LEVEL_TOLD = 0x25,
    MESSAGE_TOLD = 0x40,

    BELL_IS_PORT = true,
    BELL_COLLECTED = KVM_CAP_COALESCED_PIO,
    NOP_BYTES = 1,
    /* Pages of slot 0, a bit each, that the machine may write to by itself. Where KVM maps a page for an instruction fetch
     * it may make it writable at once, and then logs it. */
    OWN_PAGES = 1 << PAYLOAD_AT / 0x1000,
};

enum payload_mode {
    REAL_MODE,
    FLAT_MODE, /* reaches 4 GiB */
    LONG_MODE /* has accesses of 8 bytes */
};

struct payload_arch_config {
    bool kernel_irqchip, split_irqchip; /* split: 24 pins of ours */
    uint64_t user_msrs; /* KVM_CAP_X86_USER_SPACE_MSR's */
};

#define payload_load_handler(p, vector, name) \
    payload_load_at(p, (uint32_t)(HANDLERS_AT + (vector)*0x100), name)

struct payload;
/* A guest with its local APIC on, which waits for vectors 0x40 and 0x41. */
void payload_apic_guest(struct payload *p, bool split);
struct hv_msi payload_apic_message(uint8_t vector, bool level);

/* The exit is this access; value is what was written, little endian. */
bool payload_is_out(const struct payload *p, uint16_t port, unsigned size, uint32_t value);
bool payload_is_in(const struct payload *p, uint16_t port, unsigned size);

#define PAYLOAD(name) extern const uint8_t payload_##name[], payload_##name##_end[]
PAYLOAD(pio);
PAYLOAD(pio_string);
PAYLOAD(mmio);
PAYLOAD(mmio64);
PAYLOAD(rom);
PAYLOAD(dirty);
PAYLOAD(dirty_many);
PAYLOAD(msr);
PAYLOAD(doorbells);
PAYLOAD(spin);
PAYLOAD(hlt);
PAYLOAD(nops);
PAYLOAD(meet);
PAYLOAD(tell);
PAYLOAD(triple);
PAYLOAD(pic);
PAYLOAD(apic);
PAYLOAD(apic_irq40);
PAYLOAD(apic_irq41);
#undef PAYLOAD

#endif
