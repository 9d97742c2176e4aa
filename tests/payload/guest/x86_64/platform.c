/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices of the platform and the interrupt controllers: serial port, clock, power button, sleep and reset registers, I/O APIC. */
#include "virtio.h"

enum {
    VECTOR = 0x60, /* beyond those of the virtio devices */
    PIN_SERIAL = 4, /* vmm/x86_64-boot/map.h */
    PIN_RTC = 8,
    PIN_GED = 9,
    /* 16550 (PC16550D data sheet), 8.0 */
    DATA = PORT_SERIAL,
    IER = PORT_SERIAL + 1,
    IIR = PORT_SERIAL + 2,
    MCR = PORT_SERIAL + 4,
    LSR = PORT_SERIAL + 5,
    IER_RX = 1,
    IER_THRE = 2,
    IIR_NONE = 1,
    IIR_THRE = 2,
    IIR_RX = 4,
    MCR_OUT2 = 8,
    MCR_LOOP = 16,
    LSR_READY = 1,
    /* MC146818 */
    CMOS_INDEX = 0x70,
    CMOS_DATA = 0x71,
    RTC_ALARM_SECONDS = 1,
    RTC_ALARM_MINUTES = 3,
    RTC_ALARM_HOURS = 5,
    RTC_B = 11,
    RTC_C = 12,
    RTC_B_UPDATE = 0x10,
    RTC_B_ALARM = 0x20,
    RTC_ANY = 0xff,
    RTC_C_IRQ = 0x80,
    MMIO_INTERRUPT_STATUS = 0x060, /* VIRTIO 1.2, 4.2.2 */
    MMIO_INTERRUPT_ACK = 0x064,
};

void test_serial_interrupt(void)
{
    irq_init();
    pin_set(PIN_SERIAL, VECTOR);
    check_eq(in8(IIR) & 0xf, IIR_NONE);
    out8(MCR, MCR_OUT2);
    out8(IER, IER_THRE); /* the transmitter is empty: at once */
    irq_take_end(VECTOR);
    check_eq(in8(IIR) & 0xf, IIR_THRE);
    check_eq(in8(IIR) & 0xf, IIR_NONE); /* reading it was the acknowledgement */
    out8(IER, 0);
    out8(MCR, MCR_OUT2 | MCR_LOOP);
    out8(DATA, 'x'); /* comes in again, and nobody wants to know */
    while (!(in8(LSR) & LSR_READY))
        ;
    check(!irq_waits(VECTOR));
    out8(IER, IER_RX);
    irq_take_end(VECTOR);
    check_eq(in8(IIR) & 0xf, IIR_RX);
    check_eq(in8(DATA), 'x');
    check_eq(in8(IIR) & 0xf, IIR_NONE);
    out8(DATA, 'y');
    irq_take_end(VECTOR);
    check_eq(in8(DATA), 'y');
    out8(IER, 0);
    out8(MCR, 0);
    check(!irq_waits(VECTOR));
}

static uint8_t cmos_read(uint8_t reg)
{
    out8(CMOS_INDEX, reg);
    return in8(CMOS_DATA);
}

static void cmos_write(uint8_t reg, uint8_t value)
{
    out8(CMOS_INDEX, reg);
    out8(CMOS_DATA, value);
}

/* An alarm that matches every second, then the end of an update. */
void test_rtc_interrupt(void)
{
    uint8_t b = cmos_read(RTC_B);

    irq_init();
    pin_set(PIN_RTC, VECTOR);
    cmos_write(RTC_ALARM_SECONDS, RTC_ANY);
    cmos_write(RTC_ALARM_MINUTES, RTC_ANY);
    cmos_write(RTC_ALARM_HOURS, RTC_ANY);
    (void)cmos_read(RTC_C);
    cmos_write(RTC_B, b | RTC_B_ALARM);
    irq_take_end(VECTOR);
    check_eq(cmos_read(RTC_C) & (RTC_C_IRQ | RTC_B_ALARM), RTC_C_IRQ | RTC_B_ALARM);
    check_eq(cmos_read(RTC_C) & RTC_C_IRQ, 0);
    cmos_write(RTC_B, b | RTC_B_UPDATE);
    irq_take_end(VECTOR);
    check_eq(cmos_read(RTC_C) & (RTC_C_IRQ | RTC_B_UPDATE), RTC_C_IRQ | RTC_B_UPDATE);
    cmos_write(RTC_B, b);
    check(!irq_waits(VECTOR));
}

void test_power_button(void)
{
    irq_init();
    pin_set(PIN_GED, VECTOR);
    check_eq(in32(PORT_EVENTS), 0);
    print("@button\n");
    irq_take_end(VECTOR);
    check_eq(in32(PORT_EVENTS), 1);
    check_eq(in32(PORT_EVENTS), 0); /* reading took it */
    check(!irq_waits(VECTOR));
}

/* What does not switch off: another sleep type, the type without the enable bit, another width. ACPI 6.5, 4.8.3.7. */
void test_sleep_register(void)
{
    out8(PORT_SLEEP, 3 << 2 | 1 << 5);
    out8(PORT_SLEEP, 5 << 2);
    out16(PORT_SLEEP, 5 << 2 | 1 << 5);
    check_eq(in8(PORT_SLEEP) & 1 << 5, 0);
    check_eq(in8(PORT_SLEEP + 1), 0);
    print("still here\n");
}

void test_reset_register(void)
{
    out8(PORT_RESET, 2);
    out16(PORT_RESET, 1);
    print("still here\n");
    out8(PORT_RESET, 1);
    for (;;)
        ;
}

static uint32_t line_of(const struct virtio *v)
{
    return read32(v->base + MMIO_INTERRUPT_STATUS);
}

static void lower(const struct virtio *v)
{
    write32(v->base + MMIO_INTERRUPT_ACK, line_of(v));
    check_eq(line_of(v), 0);
}

/* A request that ends, and the device's line is up. */
static void raise(struct virtio *v)
{
    v->irq = false;
    blk_offer(v, 0, 0, false);
    virtio_kick(v);
    blk_finish(v, 0);
    while (!line_of(v))
        ;
}

/* Software KVM ends an interrupt as soon as it delivers it: its in-service register reads 0, and what shall wait for the end
 * of interrupt does not. Only where KVM has an in-service register the order is checked. */
static bool strict(void)
{
    return options.strict;
}

/* Nothing is left: what came too early elsewhere is taken. */
static void settle(const struct virtio *v)
{
    while (pin_get(v->pin) & PIN_REMOTE_IRR || (!strict() && irq_waits(v->vector)))
        if (!strict() && irq_waits(v->vector)) {
            irq_take(v->vector);
            irq_end();
        }
    check(!irq_waits(v->vector));
}

/* Level-triggered inputs (82093AA, 3.2.4): one message per end of interrupt as long as the line is up. */
void test_level_interrupt(void)
{
    struct virtio *v;

    irq_init();
    v = virtio_find(VIRTIO_BLK, 0);
    check(v->mmio && v->irq);
    virtio_start(v);
    for (unsigned round = 0; round < 3; round++) {
        raise(v);
        irq_take(v->vector);
        check(!strict() || irq_in_service(v->vector));
        check(!strict() || pin_get(v->pin) & PIN_REMOTE_IRR);
        check(!strict() || !irq_waits(v->vector));
        irq_end(); /* the line is still up: again */
        irq_take(v->vector);
        lower(v);
        raise(v); /* asserted anew before the end */
        check(!strict() || !irq_waits(v->vector));
        irq_end();
        irq_take(v->vector);
        lower(v);
        irq_end();
        settle(v);
        /* A level that a mask hid comes when that goes. */
        pin_set(v->pin, v->vector | PIN_LEVEL | PIN_MASKED);
        raise(v);
        check(!irq_waits(v->vector));
        pin_set(v->pin, v->vector | PIN_LEVEL);
        irq_take(v->vector);
        lower(v);
        irq_end();
        settle(v);
    }
}
