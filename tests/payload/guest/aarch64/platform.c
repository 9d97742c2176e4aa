/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices of the platform: serial port (PL011, Arm DDI 0183), clock (PL031, DDI 0224), power key (PL061, DDI 0190), PSCI. */
#include "psci.h"

enum {
    VECTOR = 0x60, /* beyond those of the virtio devices */
    /* PL011 */
    UART_DR = 0x00,
    UART_FR = 0x18,
    UART_CR = 0x30,
    UART_IMSC = 0x38,
    UART_RIS = 0x3c,
    UART_MIS = 0x40,
    UART_ICR = 0x44,
    FR_RXFE = 1 << 4,
    CR_UARTEN = 1 << 0,
    CR_LBE = 1 << 7,
    CR_TXE = 1 << 8,
    CR_RXE = 1 << 9,
    INT_RX = 1 << 4,
    /* PL031 */
    RTC_DR = 0x00,
    RTC_MR = 0x04,
    RTC_IMSC = 0x10,
    RTC_RIS = 0x14,
    RTC_MIS = 0x18,
    RTC_ICR = 0x1c,
    RTC_LONG_AGO = 1600000000, /* seconds since 1970 */
    /* PL061 */
    GPIO_IS = 0x404,
    GPIO_IBE = 0x408,
    GPIO_IEV = 0x40c,
    GPIO_IE = 0x410,
    GPIO_RIS = 0x414,
    GPIO_MIS = 0x418,
    GPIO_IC = 0x41c,
    GPIO_ALL = 0xff << 2, /* the address is the mask */
    KEY = 1 << 3,
    ID = 0xfe0, /* of each: four bytes, part number first */
};

static uint32_t part(uint64_t base)
{
    return (read32(base + ID) | read32(base + ID + 4) << 8) & 0xfff;
}

/* In a loop: what is sent comes in again. */
void test_serial_interrupt(void)
{
    irq_init();
    check_eq(part(UART), 0x011);
    line_set(SPI_UART, VECTOR);
    write32(UART + UART_CR, CR_UARTEN | CR_LBE | CR_TXE | CR_RXE);
    for (unsigned c = 'x'; c <= 'z'; c++) {
        check(read32(UART + UART_FR) & FR_RXFE);
        write32(UART + UART_IMSC, 0);
        write32(UART + UART_DR, c);
        while (read32(UART + UART_FR) & FR_RXFE)
            ;
        check(read32(UART + UART_RIS) & INT_RX);
        check_eq(read32(UART + UART_MIS), 0);
        write32(UART + UART_IMSC, INT_RX);
        check_eq(irq_sleep(), VECTOR);
        check_eq(read32(UART + UART_MIS), INT_RX);
        check_eq(read32(UART + UART_DR), c); /* takes the interrupt back, too */
        check_eq(read32(UART + UART_RIS) & INT_RX, 0);
        irq_end();
    }
    write32(UART + UART_IMSC, 0);
    write32(UART + UART_CR, CR_UARTEN | CR_TXE | CR_RXE);
}

/* An alarm in the next second, twice. */
void test_rtc_interrupt(void)
{
    irq_init();
    check_eq(part(RTC), 0x031);
    check(read32(RTC + RTC_DR) > RTC_LONG_AGO);
    line_set(SPI_RTC, VECTOR);
    for (unsigned round = 0; round < 2; round++) {
        uint32_t at = read32(RTC + RTC_DR) + 1;

        write32(RTC + RTC_MR, at);
        write32(RTC + RTC_IMSC, 1);
        check_eq(irq_sleep(), VECTOR);
        check(read32(RTC + RTC_DR) >= at);
        check_eq(read32(RTC + RTC_RIS), 1);
        check_eq(read32(RTC + RTC_MIS), 1);
        write32(RTC + RTC_ICR, 1);
        check_eq(read32(RTC + RTC_RIS), 0);
        write32(RTC + RTC_IMSC, 0);
        irq_end();
    }
}

/* A rising edge; the key comes up by itself. */
void test_power_key(void)
{
    irq_init();
    check_eq(part(GPIO), 0x061);
    line_set(SPI_GPIO, VECTOR);
    check_eq(read32(GPIO + GPIO_ALL), 0);
    write32(GPIO + GPIO_IS, 0);
    write32(GPIO + GPIO_IBE, 0);
    write32(GPIO + GPIO_IEV, KEY);
    write32(GPIO + GPIO_IE, KEY);
    print("@button\n");
    check_eq(irq_sleep(), VECTOR);
    check_eq(read32(GPIO + GPIO_MIS), KEY);
    write32(GPIO + GPIO_IC, KEY);
    irq_end();
    while (read32(GPIO + GPIO_ALL))
        ;
    check_eq(read32(GPIO + GPIO_RIS), 0); /* nobody asked for falling edges */
}

/* What KVM and vmm offer, and that what nobody offers is told so and harms nobody. */
void test_psci(void)
{
    check(psci(PSCI_VERSION, 0) >> 16 >= 1);
    check_eq(psci(PSCI_FEATURES, PSCI_SYSTEM_OFF), 0);
    check_eq(psci(PSCI_FEATURES, PSCI_SYSTEM_RESET), 0);
    check_eq(psci(0x8400ffff, 0), PSCI_NOT_SUPPORTED);
}

void test_psci_reset(void)
{
    print("still here\n");
    reset_machine();
}
