/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Flags, interrupts and the timer behind them. */
#include <pthread.h>

#include "cmos_rtc_test.h"

TestSuite(cmos_rtc_flags, .init = rtc_open, .fini = rtc_close);

Test(cmos_rtc_flags, idle_clock_never_wakes_the_loop)
{
    cr_assert_eq(plat_pass(&p, 1000 * SECOND), 0);
}

Test(cmos_rtc_flags, flags_are_set_without_their_enables)
{
    set(SEC_ALARM, 0x21);
    set(MIN_ALARM, 0x13);
    set(HOUR_ALARM, 0x22);

    cr_assert_eq(plat_pass(&p, SECOND), 0);

    cr_assert_eq(get(C), PF | AF | UF);
    cr_assert_eq(get(C), 0, "a read takes them away");
    cr_assert_eq(p.pin[0].rises, 0);
}

Test(cmos_rtc_flags, update_interrupt_comes_each_second)
{
    plat_pass(&p, 300 * MS);
    set(B, UIE | H24);

    for (unsigned i = 0; i < 3; i++) {
        get(C);
        plat_pass(&p, i ? 999 * MS : 699 * MS);
        cr_assert_not(p.pin[0].level);
        plat_pass(&p, 1 * MS);
        cr_assert(p.pin[0].level);
    }

    cr_assert_eq(p.pin[0].rises, 3);
    cr_assert_eq(get(C) & (IRQF | UF), IRQF | UF);
    cr_assert_not(p.pin[0].level, "a read of C lowers the line");
    cr_assert_eq(plat_metric(&p, "interrupts"), 3);
}

Test(cmos_rtc_flags, interrupt_that_is_not_acknowledged_wakes_nobody_again)
{
    set(B, UIE | PIE | AIE | H24);
    set(SEC_ALARM, 0xff);
    set(MIN_ALARM, 0xff);
    set(HOUR_ALARM, 0xff);
    plat_pass(&p, 2 * SECOND);

    cr_assert_eq(plat_pass(&p, 1000 * SECOND), 0);
    cr_assert_eq(p.pin[0].rises, 1);
}

Test(cmos_rtc_flags, disabling_lowers_the_line_and_stops_the_timer)
{
    set(B, UIE | H24);
    plat_pass(&p, SECOND);
    cr_assert(p.pin[0].level);

    set(B, H24);
    plat_idle(&p);

    cr_assert_not(p.pin[0].level);
    cr_assert_eq(plat_pass(&p, 1000 * SECOND), 0);
    cr_assert_eq(get(C) & UF, UF, "the flag stays");
}

Test(cmos_rtc_flags, disabling_before_the_time_stops_the_timer)
{
    set(B, UIE | H24);
    plat_pass(&p, 100 * MS);

    set(B, H24);
    plat_idle(&p);

    cr_assert_eq(plat_pass(&p, 1000 * SECOND), 0);
}

Test(cmos_rtc_flags, enabling_with_the_flag_set_interrupts_at_once)
{
    plat_pass(&p, SECOND);

    set(B, UIE | H24);

    cr_assert(p.pin[0].level);
}

Test(cmos_rtc_flags, alarm_interrupts_at_its_second)
{
    set(SEC_ALARM, 0x05);
    set(MIN_ALARM, 0x14);
    set(HOUR_ALARM, 0x22);
    set(B, AIE | H24);

    plat_pass(&p, 44999 * MS);
    cr_assert_eq(p.pin[0].rises, 0);
    plat_pass(&p, 1 * MS);

    cr_assert_eq(p.pin[0].rises, 1);
    cr_assert_eq(bcd_time(), 20231114221405);
    cr_assert_eq(get(C) & (IRQF | AF), IRQF | AF);
    cr_assert_leq(plat_pass(&p, 80000 * SECOND), 2, "and sleeps until the next day");
}

Test(cmos_rtc_flags, alarm_comes_again_the_next_day)
{
    set(SEC_ALARM, 0x05);
    set(MIN_ALARM, 0x14);
    set(HOUR_ALARM, 0x22);
    set(B, AIE | H24);
    plat_pass(&p, 45 * SECOND);
    get(C);

    plat_pass(&p, 86400 * SECOND);

    cr_assert_eq(p.pin[0].rises, 2);
}

Test(cmos_rtc_flags, alarm_with_wildcards_comes_each_minute)
{
    set(SEC_ALARM, 0x30);
    set(MIN_ALARM, 0xff);
    set(HOUR_ALARM, 0xc0);
    set(B, AIE | H24);

    for (unsigned i = 0; i < 3; i++) {
        plat_pass(&p, i ? 60 * SECOND : 10 * SECOND);
        cr_assert_eq(get(C) & AF, AF);
    }

    cr_assert_eq(p.pin[0].rises, 3);
}

Test(cmos_rtc_flags, alarm_is_in_the_clocks_format)
{
    set(B, AIE); /* BCD, 12 h */
    set(SEC_ALARM, 0x21);
    set(MIN_ALARM, 0x13);
    set(HOUR_ALARM, 0x90);
    get(C);

    plat_pass(&p, SECOND);

    cr_assert_eq(p.pin[0].rises, 1);
}

Test(cmos_rtc_flags, alarm_registers_read_back)
{
    set(SEC_ALARM, 0x11);
    set(MIN_ALARM, 0xff);
    set(HOUR_ALARM, 0x99);

    cr_assert_eq(get(SEC_ALARM), 0x11);
    cr_assert_eq(get(MIN_ALARM), 0xff);
    cr_assert_eq(get(HOUR_ALARM), 0x99);
}

Test(cmos_rtc_flags, alarm_written_later_moves_the_timer)
{
    set(SEC_ALARM, 0x59);
    set(MIN_ALARM, 0x59);
    set(HOUR_ALARM, 0x22);
    set(B, AIE | H24);
    plat_idle(&p);

    set(MIN_ALARM, 0x13);
    set(SEC_ALARM, 0x25);
    plat_pass(&p, 5 * SECOND);

    cr_assert_eq(p.pin[0].rises, 1);
}

Test(cmos_rtc_flags, setting_the_time_moves_the_alarm)
{
    set(SEC_ALARM, 0x59);
    set(MIN_ALARM, 0x59);
    set(HOUR_ALARM, 0x23);
    set(B, AIE | H24);
    linux_set_time();
    cr_assert_eq(p.pin[0].rises, 0, "a time that is set is no update");

    plat_pass(&p, 501 * MS);

    cr_assert_eq(p.pin[0].rises, 1);
}

Test(cmos_rtc_flags, nothing_updates_under_set)
{
    set(SEC_ALARM, 0xff);
    set(MIN_ALARM, 0xff);
    set(HOUR_ALARM, 0xff);
    set(A, RUN);
    set(B, SET | AIE | H24);

    plat_pass(&p, 10 * SECOND);

    cr_assert_eq(p.pin[0].rises, 0);
    cr_assert_eq(get(C), 0);
}

Test(cmos_rtc_flags, periodic_rates_are_the_data_sheets)
{
    static const unsigned per_second[16] = { 0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                             256, 128, 64,  32,   16,   8,    4,    2 };

    for (uint8_t rate = 0; rate < 16; rate++) {
        unsigned count = 0;

        set(B, H24);
        set(A, RUN | rate);
        get(C);
        set(B, PIE | H24);
        for (unsigned i = 0; i < 40000; i++) {
            plat_pass(&p, 25000);
            count += get(C) & PF ? 1 : 0;
        }
        cr_assert_eq(count, per_second[rate], "rate %u: %u", rate, count);
    }
}

Test(cmos_rtc_flags, periodic_interrupt_does_not_drift)
{
    set(A, RUN | 6);
    set(B, PIE | H24);

    for (unsigned i = 0; i < 1024 * 10; i++) {
        plat_pass(&p, 976562);
        while (!p.pin[0].level)
            plat_pass(&p, 1);
        get(C);
    }

    cr_assert_eq(p.pin[0].rises, 10240);
    cr_assert_lt(plat_time(&p) - 10 * SECOND, 2000);
}

Test(cmos_rtc_flags, periodic_interrupt_goes_on_under_set_but_not_in_divider_reset)
{
    set(A, RUN | 15);
    set(B, SET | PIE | H24);
    plat_pass(&p, 501 * MS);
    cr_assert_eq(get(C), IRQF | PF);

    set(A, STOP | 15);
    plat_pass(&p, 10 * SECOND);

    cr_assert_eq(get(C), 0);
}

Test(cmos_rtc_flags, host_clock_that_jumps_back_raises_nothing)
{
    set(B, UIE | H24);
    get(C);
    p.wall_ns -= 3600 * SECOND;

    cr_assert_eq(get(C), 0);
    plat_pass(&p, SECOND);

    cr_assert_eq(p.pin[0].rises, 1, "and goes on from there");
}

Test(cmos_rtc_flags, host_clock_that_jumps_over_an_alarm_raises_it)
{
    set(SEC_ALARM, 0);
    set(MIN_ALARM, 0);
    set(HOUR_ALARM, 0x23);
    set(B, AIE | H24);
    plat_idle(&p);

    p.wall_ns += 7200 * SECOND;

    cr_assert_eq(get(C) & AF, AF);
}

static void *enable_from_a_vcpu(void *arg)
{
    (void)arg;
    set(B, UIE | H24);
    return NULL;
}

Test(cmos_rtc_flags, vcpu_threads_leave_the_timer_to_the_loop)
{
    pthread_t vcpu;

    plat_idle(
        &p); /* the loop is this thread's from here on: it asserts that others keep off its timers */
    cr_assert_eq(pthread_create(&vcpu, NULL, enable_from_a_vcpu, NULL), 0);
    cr_assert_eq(pthread_join(vcpu, NULL), 0);

    plat_pass(&p, SECOND);

    cr_assert_eq(p.pin[0].rises, 1);
}
