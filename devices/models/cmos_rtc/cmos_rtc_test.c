/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "cmos_rtc_test.h"

struct saved_time {
    int64_t s;
    uint32_t ns;
};
/* As the device's table saves it. */
struct saved {
    uint8_t index, a, b, c;
    struct saved_time offset, mark;
    uint8_t ram[128];
};

TestSuite(cmos_rtc, .init = rtc_open, .fini = rtc_close);

/* ---- time ---- */

Test(cmos_rtc, shows_the_hosts_wall_time_in_bcd)
{
    cr_assert_eq(bcd_time(), 20231114221320);
    cr_assert_eq(get(WEEKDAY), 3);
}

Test(cmos_rtc, time_passes)
{
    plat_pass(&p, 100 * SECOND);

    cr_assert_eq(bcd_time(), 20231114221500);
}

Test(cmos_rtc, follows_the_hosts_clock_when_it_jumps)
{
    p.wall_ns += 3600 * SECOND;
    cr_assert_eq(bcd_time(), 20231114231320);

    p.wall_ns -= 7200 * SECOND;

    cr_assert_eq(bcd_time(), 20231114211320);
}

Test(cmos_rtc, binary_mode_shows_binary)
{
    set(B, BINARY | H24);

    cr_assert_eq(get(CENTURY), 20);
    cr_assert_eq(get(YEAR), 23);
    cr_assert_eq(get(DAY), 14);
    cr_assert_eq(get(HOUR), 22);
    cr_assert_eq(get(SEC), 20);
}

Test(cmos_rtc, twelve_hour_mode_shows_the_afternoon)
{
    set(B, 0);
    cr_assert_eq(get(HOUR), 0x90);

    set(B, BINARY);

    cr_assert_eq(get(HOUR), 0x80 | 10);
}

Test(cmos_rtc, guest_sets_the_time_as_linux_does)
{
    linux_set_time();

    cr_assert_eq(bcd_time(), 20301231235958);
    cr_assert_eq(get(WEEKDAY), 3, "2030-12-31 is a Tuesday");
}

Test(cmos_rtc, first_update_comes_half_a_second_after_the_divider_starts)
{
    plat_pass(&p, 123 * MS);
    linux_set_time();

    plat_pass(&p, 499 * MS);
    cr_assert_eq(get(SEC), 0x58);
    plat_pass(&p, 2 * MS);

    cr_assert_eq(get(SEC), 0x59);
}

Test(cmos_rtc, time_that_was_set_goes_on_over_the_century)
{
    set(B, SET | H24);
    set(YEAR, 0x99);
    set(MONTH, 0x12);
    set(DAY, 0x31);
    set(HOUR, 0x23);
    set(MIN, 0x59);
    set(SEC, 0x59);
    set(CENTURY, 0x19);
    set(B, H24);

    plat_pass(&p, SECOND);

    cr_assert_eq(bcd_time(), 20000101000000);
    cr_assert_eq(get(WEEKDAY), 7);
}

Test(cmos_rtc, set_freezes_the_registers)
{
    set(B, SET | H24);

    plat_pass(&p, 10 * SECOND);

    cr_assert_eq(bcd_time(), 20231114221320);
}

Test(cmos_rtc, set_keeps_the_place_within_the_second)
{
    plat_pass(&p, 700 * MS);
    set(B, SET | H24);
    set(SEC, 0x30);
    set(B, H24);

    plat_pass(&p, 299 * MS);
    cr_assert_eq(get(SEC), 0x30);
    plat_pass(&p, 2 * MS);

    cr_assert_eq(get(SEC), 0x31);
}

Test(cmos_rtc, set_and_cleared_untouched_goes_on_from_where_it_stopped)
{
    set(B, SET | H24);
    plat_pass(&p, 10 * SECOND);

    set(B, H24);

    cr_assert_eq(bcd_time(), 20231114221320);
    plat_pass(&p, SECOND);
    cr_assert_eq(bcd_time(), 20231114221321);
}

Test(cmos_rtc, divider_in_reset_stops_the_clock)
{
    set(A, STOP | 6);

    plat_pass(&p, 10 * SECOND);
    cr_assert_eq(bcd_time(), 20231114221320);
    set(A, RUN | 6);

    plat_pass(&p, 501 * MS);
    cr_assert_eq(bcd_time(), 20231114221321);
}

Test(cmos_rtc, divider_started_under_set_counts_nothing_until_set_is_cleared)
{
    set(B, SET | H24);
    set(A, STOP | 6);
    set(A, RUN | 6);

    plat_pass(&p, 10 * SECOND);
    cr_assert_eq(bcd_time(), 20231114221320);
    set(B, H24);
    plat_pass(&p, 499 * MS);
    cr_assert_eq(get(SEC), 0x20);
    plat_pass(&p, 2 * MS);

    cr_assert_eq(get(SEC), 0x21, "in phase with the divider's start");
}

Test(cmos_rtc, format_may_change_under_set)
{
    set(B, SET | BINARY | H24);
    set(YEAR, 30);
    set(MONTH, 12);
    set(DAY, 31);
    set(HOUR, 23);
    set(MIN, 59);
    set(SEC, 58);
    set(CENTURY, 20);
    set(B, BINARY | H24);

    cr_assert_eq(get(SEC), 58);
    set(B, H24);
    cr_assert_eq(bcd_time(), 20301231235958);
}

Test(cmos_rtc, one_register_may_be_written_while_the_clock_runs)
{
    plat_pass(&p, 700 * MS);

    set(MIN, 0x45);

    cr_assert_eq(bcd_time(), 20231114224520);
    plat_pass(&p, 301 * MS);
    cr_assert_eq(bcd_time(), 20231114224521);
}

Test(cmos_rtc, uip_is_set_just_before_an_update_only)
{
    plat_pass(&p, SECOND - 245000);
    cr_assert_eq(get(A) & UIP, 0);
    plat_pass(&p, 2000);
    cr_assert_eq(get(A) & UIP, UIP, "244 us before");
    plat_pass(&p, 243000);

    cr_assert_eq(get(A) & UIP, 0);
    cr_assert_eq(get(SEC), 0x21);
}

Test(cmos_rtc, uip_never_lasts_longer_than_its_244_microseconds)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < 10000; i++) {
        plat_pass(&p, 100000);
        seen += get(A) & UIP ? 1 : 0;
    }

    cr_assert_leq(seen, 3);
    cr_assert_geq(seen, 2);
}

Test(cmos_rtc, uip_is_clear_while_no_update_comes)
{
    plat_pass(&p, SECOND - 100000);
    set(B, SET | H24);
    cr_assert_eq(get(A) & UIP, 0);
    set(B, H24);
    set(A, STOP | 6);

    cr_assert_eq(get(A) & UIP, 0);
}

/* ---- registers ---- */

Test(cmos_rtc, control_registers_at_power_on)
{
    cr_assert_eq(get(A), 0x26);
    cr_assert_eq(get(B), H24);
    cr_assert_eq(get(C), 0);
    cr_assert_eq(get(D), 0x80);
}

Test(cmos_rtc, uip_cannot_be_written)
{
    set(A, 0xff);

    cr_assert_eq(get(A), 0x7f);
}

Test(cmos_rtc, c_and_d_cannot_be_written)
{
    set(C, 0xff);
    set(D, 0);

    cr_assert_eq(get(C), 0);
    cr_assert_eq(get(D), 0x80);
}

Test(cmos_rtc, set_clears_the_update_enable)
{
    set(B, SET | UIE | AIE | H24);

    cr_assert_eq(get(B), SET | AIE | H24);
}

Test(cmos_rtc, ram_is_zero_and_keeps_what_is_written)
{
    for (unsigned i = 0x0e; i < 128; i++)
        if (i != CENTURY)
            cr_assert_eq(get((uint8_t)i), 0);
    for (unsigned i = 0x0e; i < 128; i++)
        if (i != CENTURY)
            set((uint8_t)i, (uint8_t)(i ^ 0xa5));

    for (unsigned i = 0x0e; i < 128; i++)
        if (i != CENTURY)
            cr_assert_eq(get((uint8_t)i), i ^ 0xa5);
}

Test(cmos_rtc, nmi_mask_is_no_part_of_the_index)
{
    set(0x80 | 0x40, 0x5a);

    cr_assert_eq(get(0x40), 0x5a);
}

Test(cmos_rtc, index_cannot_be_read)
{
    plat_out(&p, 0x70, 1, 0x0d);

    cr_assert_eq(plat_in(&p, 0x70, 1), 0xff);
}

Test(cmos_rtc, word_is_two_cycles_of_a_byte)
{
    plat_out(&p, 0x70, 2, 0x5a40);

    cr_assert_eq(get(0x40), 0x5a);
    cr_assert_eq(plat_in(&p, 0x70, 2), 0x5aff);
}

Test(cmos_rtc, wider_accesses_than_the_ports_reach_nobody)
{
    set(0x40, 0x5a);
    plat_out(&p, 0x70, 4, 0);
    plat_out(&p, 0x71, 2, 0);

    cr_assert_eq(get(0x40), 0x5a);
    cr_assert_eq(plat_in(&p, 0x71, 2), 0xffff);
}

/* ---- life ---- */

Test(cmos_rtc, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    set(B, SET | PIE | BINARY);
    set(0x40, 0x5a);
    set(SEC_ALARM, 1);
    set(YEAR, 99);
    set(B, PIE | BINARY);
    plat_out(&p, 0x70, 1, 0x44);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    cr_assert_eq(bcd_time(), 20231114221320);
    plat_idle(&p);
    cr_assert_eq(plat_pass(&p, 10 * SECOND), 0, "no timer is left");
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

Test(cmos_rtc, reset_lowers_the_line)
{
    set(B, UIE | H24);
    plat_pass(&p, SECOND);
    cr_assert(p.pin[0].level);

    cr_assert_eq(vdev_reset(p.dev, NULL), 0);

    cr_assert_not(p.pin[0].level);
}

Test(cmos_rtc, state_survives_a_round_trip)
{
    linux_set_time();
    set(0x40, 0x5a);
    set(SEC_ALARM, 0x59);
    set(MIN_ALARM, 0x59);
    set(HOUR_ALARM, 0x23);
    set(B, AIE | H24);
    plat_out(&p, 0x70, 1, 0x40);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(plat_in(&p, 0x71, 1), 0x5a);
    cr_assert_eq(bcd_time(), 20301231235958);
    plat_pass(&p, 501 * MS);
    cr_assert_eq(p.pin[0].rises, 1, "the alarm is armed again");
}

Test(cmos_rtc, frozen_registers_survive_a_round_trip)
{
    set(B, SET | H24);
    set(SEC, 0x42);
    plat_pass(&p, SECOND);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(bcd_time(), 20231114221342);
}

Test(cmos_rtc, load_restores_the_line)
{
    struct vm_buffer b;

    set(B, UIE | H24);
    plat_pass(&p, SECOND);
    b = plat_save(&p);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);

    cr_assert_eq(vdev_load(p.dev, b.data, b.len), 0);

    cr_assert(p.pin[0].level);
    cr_assert_eq(get(C) & (IRQF | UF), IRQF | UF);
    vm_buffer_free(&b);
}

Test(cmos_rtc, paused_device_is_silent_and_catches_up)
{
    set(B, UIE | H24);
    plat_idle(&p);
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);

    plat_pass(&p, 10 * SECOND);
    cr_assert_eq(p.pin[0].rises, 0);
    cr_assert_eq(vdev_resume(p.dev), 0);
    plat_idle(&p);

    cr_assert_eq(p.pin[0].rises, 1);
    get(C);
    plat_pass(&p, SECOND);
    cr_assert_eq(p.pin[0].rises, 2);
}

static struct saved state_now(void)
{
    struct saved s = { 0 };

    p.dev->ops->save(p.dev, &s);
    return s;
}

#define REFUSED(change, text)                                                                  \
    do {                                                                                       \
        struct saved s = state_now();                                                          \
        change;                                                                                \
        cr_assert_eq(plat_load_state(&p, &s), -EINVAL);                                        \
        cr_assert_not_null(strstr(vm_error_text(), text), "%s: %s", #change, vm_error_text()); \
    } while (0)

Test(cmos_rtc, nonsense_is_not_loaded)
{
    REFUSED(s.index = 0x80, "dut: index 0x80, registers A 0x26, B 0x2, C 0 cannot be");
    REFUSED(s.a = 0xa6, "A 0xa6");
    REFUSED(s.c = 1, "C 0x1");
    REFUSED(s.c = IRQF, "C 0x80");
    REFUSED((s.b = UIE, s.c = UF), "B 0x10, C 0x10");
    REFUSED(s.b = SET | UIE, "B 0x90");
    REFUSED(s.offset.ns = 1000000000, "not a time");
    REFUSED(s.mark.ns = 1000000000, "not a time");
    REFUSED(s.offset.s = INT64_MAX, "not a time");
    REFUSED(s.offset.s = INT64_MIN, "not a time");
    REFUSED(s.mark.s = INT64_MAX, "not a time");
    REFUSED(s.mark.s = INT64_MIN, "not a time");
}

Test(cmos_rtc, firmware_says_what_it_is)
{
    const struct vdev_firmware *f = &p.dev->firmware;

    cr_assert_str_eq(f->acpi_hid, "PNP0B00");
    cr_assert_eq(f->resource[0].type, VDEV_RES_PIO);
    cr_assert_eq(f->resource[0].base, 0x70);
    cr_assert_eq(f->resource[0].size, 2);
    cr_assert_eq(f->resource[1].type, VDEV_RES_IRQ);
    cr_assert_eq(f->resource[1].base, 8);
    cr_assert_eq(f->resource[1].size, 0, "edge");
    cr_assert_eq(f->resource[2].type, VDEV_RES_END);
}

Test(cmos_rtc, works_without_an_interrupt)
{
    plat_destroy(&p);
    p.irqs[0] = NULL;
    cr_assert_eq(plat_create(&p, &cmos_rtc_class), 0);

    set(B, UIE | H24);
    plat_pass(&p, SECOND);

    cr_assert_eq(get(C) & UF, UF);
    cr_assert_eq(p.dev->firmware.resource[1].type, VDEV_RES_END);
}

Test(cmos_rtc, may_go_with_its_timer_armed_and_work_posted)
{
    set(B, PIE | H24);
    plat_pass(&p, MS);
    get(C);

    plat_destroy(&p);

    cr_assert_eq(plat_pass(&p, SECOND), 0);
}

Test(cmos_rtc, needs_its_place_on_the_bus)
{
    struct plat other;

    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0xffff, 2 };

    cr_assert_eq(plat_create(&other, &cmos_rtc_class), -EINVAL);

    plat_close(&other);
}
