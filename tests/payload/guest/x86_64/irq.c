/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts of the machine guest: local APIC in its memory-mapped form (Intel SDM, volume 3, chapter 11), I/O APIC (82093AA). */
#include "guest.h"

enum {
    LAPIC_EOI = 0xb0,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_ISR = 0x100,
    LAPIC_IRR = 0x200,
    IOAPIC_WINDOW = 0x10,
    IOAPIC_ENTRY = 0x10,
    SPURIOUS = 0x1ff,
    GATE = 0x8e00, /* present, interrupt gate */
};

struct gate {
    uint16_t low, selector, type, middle;
    uint32_t high, reserved;
};
static struct gate idt[256] __attribute__((aligned(16)));

void irq_init(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };
    uint16_t cs;

    __asm__ volatile("mov %%cs, %0" : "=r"(cs));
    for (unsigned v = 0; v < 256; v++) {
        uint64_t at = (uint64_t)irq_stubs + 16ull * v;

        idt[v] = (struct gate){
            .low = (uint16_t)at, .selector = cs, .type = GATE, .middle = (uint16_t)(at >> 16)
        };
    }
    __asm__ volatile("lidt %0" : : "m"(idtr) : "memory");
    write32(LAPIC + LAPIC_SPURIOUS, SPURIOUS);
}

void irq_take(uint8_t vector)
{
    check_eq(irq_sleep(), vector);
}

void irq_take_end(uint8_t vector)
{
    irq_take(vector);
    irq_end();
}

void irq_check(void)
{
    check_eq(read32(LAPIC + LAPIC_SPURIOUS), SPURIOUS);
}

/* Software KVM has ended a level interrupt when it delivered it, but tells our I/O APIC so only when the vCPU leaves the
 * guest for another reason, and not when it halts: hence the port that nobody has. */
void irq_end(void)
{
    if (!options.strict)
        out8(PORT_NOBODY, 0);
    write32(LAPIC + LAPIC_EOI, 0);
}

static bool bit(unsigned reg, uint8_t vector)
{
    return read32(LAPIC + reg + vector / 32 * 0x10u) >> vector % 32 & 1;
}

bool irq_waits(uint8_t vector)
{
    return bit(LAPIC_IRR, vector);
}

bool irq_in_service(uint8_t vector)
{
    return bit(LAPIC_ISR, vector);
}

/* The half with the mask last when it comes on, first when it goes off: destination 0 always. */
void pin_set(unsigned pin, uint32_t entry)
{
    write32(IOAPIC, IOAPIC_ENTRY + 2 * pin + 1);
    write32(IOAPIC + IOAPIC_WINDOW, 0);
    write32(IOAPIC, IOAPIC_ENTRY + 2 * pin);
    write32(IOAPIC + IOAPIC_WINDOW, entry);
}

uint32_t pin_get(unsigned pin)
{
    write32(IOAPIC, IOAPIC_ENTRY + 2 * pin);
    return read32(IOAPIC + IOAPIC_WINDOW);
}

void line_set(unsigned pin, uint8_t vector)
{
    pin_set(pin, vector ? vector | PIN_LEVEL : PIN_MASKED);
}

struct message message_for(unsigned dev, uint8_t vector)
{
    (void)dev;
    return (struct message){ .address = LAPIC, .data = vector };
}
