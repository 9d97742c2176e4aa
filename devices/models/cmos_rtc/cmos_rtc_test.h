/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the clock's tests: one clock in its machine, and its registers. */
#ifndef VMM_DEVICES_CMOS_RTC_TEST_H
#define VMM_DEVICES_CMOS_RTC_TEST_H

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class cmos_rtc_class;

#define MS     1000000ULL
#define SECOND 1000000000ULL
/* 2023-11-14 22:13:20 UTC, a Tuesday */
#define EPOCH 1700000000ULL

enum {
    SEC = 0,
    SEC_ALARM,
    MIN,
    MIN_ALARM,
    HOUR,
    HOUR_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    A,
    B,
    C,
    D,
    CENTURY = 0x32,
};
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2, UIP = 0x80 };
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10 };
enum { RUN = 0x20, STOP = 0x70 };

static struct plat p;

static inline void rtc_open(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.wall_ns = EPOCH * SECOND;
    p.pin[0].irq.number = 8;
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0x70, 2 };
    cr_assert_eq(plat_create(&p, &cmos_rtc_class), 0);
}

static inline void rtc_close(void)
{
    plat_close(&p);
}

static inline uint8_t get(uint8_t index)
{
    plat_out(&p, 0x70, 1, index);
    return (uint8_t)plat_in(&p, 0x71, 1);
}

static inline void set(uint8_t index, uint8_t v)
{
    plat_out(&p, 0x70, 1, index);
    plat_out(&p, 0x71, 1, v);
}

/* The time as one number, 20231114221320 (in 24-hour BCD). */
static inline uint64_t bcd_time(void)
{
    static const uint8_t order[] = { CENTURY, YEAR, MONTH, DAY, HOUR, MIN, SEC };
    uint64_t v = 0;

    for (unsigned i = 0; i < sizeof(order); i++) {
        uint8_t b = get(order[i]);

        v = v * 100 + (b >> 4) * 10U + (b & 0xfU);
    }
    return v;
}

/* What Linux's mc146818_set_time() writes, in its order. */
static inline void linux_set_time(void)
{
    uint8_t b = get(B), a = get(A);

    set(B, b | SET);
    set(A, a | STOP);
    set(YEAR, 0x30);
    set(MONTH, 0x12);
    set(DAY, 0x31);
    set(HOUR, 0x23);
    set(MIN, 0x59);
    set(SEC, 0x58);
    set(CENTURY, 0x20);
    set(B, b);
    set(A, a);
}

#endif
