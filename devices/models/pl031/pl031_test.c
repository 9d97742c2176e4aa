/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class pl031_class;

#define SECOND 1000000000ULL
/* 2023-11-14 22:13:20 UTC */
#define EPOCH 1700000000U

enum {
    BASE = 0x9010000,
    DR = BASE,
    MR = BASE + 0x04,
    LR = BASE + 0x08,
    CR = BASE + 0x0c,
    IMSC = BASE + 0x10,
    RIS = BASE + 0x14,
    MIS = BASE + 0x18,
    ICR = BASE + 0x1c,
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.wall_ns = EPOCH * SECOND;
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    cr_assert_eq(plat_create(&p, &pl031_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(pl031, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint32_t in(uint32_t reg)
{
    return (uint32_t)plat_read(&p, reg, 4);
}

static void out(uint32_t reg, uint32_t v)
{
    plat_write(&p, reg, 4, v);
}

static void set_alarm(uint32_t in_s)
{
    out(MR, in(DR) + in_s);
    out(IMSC, 1);
}

/* ---- registers ---- */

Test(pl031, reset_values)
{
    cr_assert_eq(in(DR), EPOCH);
    cr_assert_eq(in(MR), 0);
    cr_assert_eq(in(LR), 0);
    cr_assert_eq(in(CR), 1);
    cr_assert_eq(in(IMSC), 0);
    cr_assert_eq(in(RIS), 0);
    cr_assert_eq(in(MIS), 0);
    cr_assert_eq(in(ICR), 0);
    cr_assert_not(p.pin[0].level);
}

Test(pl031, identifies_itself)
{
    static const uint8_t id[] = { 0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

    for (unsigned i = 0; i < sizeof(id); i++)
        cr_assert_eq(in(BASE + 0xfe0 + 4 * i), id[i]);
}

Test(pl031, registers_hold_what_they_have_bits_for)
{
    out(MR, 0xfedcba98);
    out(IMSC, UINT32_MAX);
    out(CR, 0);
    out(RIS, 1);
    out(DR, 5);

    cr_assert_eq(in(MR), 0xfedcba98);
    cr_assert_eq(in(IMSC), 1);
    cr_assert_eq(in(CR), 1);
    cr_assert_eq(in(RIS), 0);
    cr_assert_eq(in(DR), EPOCH);
}

Test(pl031, firmware_row_says_what_it_is)
{
    cr_assert_str_eq(p.dev->firmware.compatible, "arm,pl031 arm,primecell");
    cr_assert_str_eq(p.dev->firmware.node, "rtc");
}

Test(pl031, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    out(LR, 77);
    set_alarm(0);
    plat_pass(&p, 3 * SECOND);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(in(DR), EPOCH + 3);
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

/* ---- the clock ---- */

Test(pl031, clock_goes_with_the_wall_clock)
{
    plat_pass(&p, 90 * SECOND);
    cr_assert_eq(in(DR), EPOCH + 90);

    p.wall_ns -= 3600 * SECOND;
    cr_assert_eq(in(DR), EPOCH + 90 - 3600);
}

Test(pl031, load_register_sets_the_clock)
{
    out(LR, 1000);
    plat_pass(&p, 5 * SECOND);

    cr_assert_eq(in(DR), 1005);
    cr_assert_eq(in(LR), 1000);
}

Test(pl031, clock_that_was_set_still_follows_the_wall_clock)
{
    out(LR, 1000);

    p.wall_ns += 100 * SECOND;

    cr_assert_eq(in(DR), 1100);
}

Test(pl031, clock_wraps)
{
    out(LR, UINT32_MAX);

    plat_pass(&p, 2 * SECOND);

    cr_assert_eq(in(DR), 1);
}

Test(pl031, clock_beyond_32_bits_shows_the_lower_ones)
{
    p.wall_ns = ((1ULL << 32) + 7) * SECOND;

    cr_assert_eq(in(DR), 7);
}

/* ---- the alarm ---- */

Test(pl031, alarm_interrupts_at_its_second)
{
    p.wall_ns += SECOND / 4; /* the second has begun */
    set_alarm(10);

    plat_pass(&p, 10 * SECOND - SECOND / 4 - 1);
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(in(RIS), 0);

    plat_pass(&p, 1);
    cr_assert(p.pin[0].level);
    cr_assert_eq(in(MIS), 1);
    cr_assert_eq(plat_metric(&p, "alarms"), 1);
}

Test(pl031, alarm_of_this_second_comes_at_once)
{
    set_alarm(0);

    cr_assert(p.pin[0].level);
}

Test(pl031, clock_that_is_set_to_the_alarm_brings_it)
{
    out(MR, 1234);
    out(IMSC, 1);

    out(LR, 1234);

    cr_assert(p.pin[0].level);
}

Test(pl031, alarm_in_the_past_is_one_of_the_next_round)
{
    out(MR, EPOCH - 1);
    out(IMSC, 1);

    plat_pass(&p, 10 * SECOND);
    cr_assert_not(p.pin[0].level);

    p.wall_ns += (1ULL << 32) * SECOND;
    cr_assert_eq(in(RIS), 1);
}

Test(pl031, cleared_alarm_does_not_come_again)
{
    set_alarm(1);
    plat_pass(&p, SECOND);

    out(ICR, 1);

    cr_assert_not(p.pin[0].level);
    plat_pass(&p, 1000 * SECOND);
    cr_assert_eq(in(RIS), 0);
}

Test(pl031, zero_clears_nothing)
{
    set_alarm(0);

    out(ICR, 0);

    cr_assert_eq(in(RIS), 1);
}

Test(pl031, masked_alarm_is_seen_in_the_raw_status_alone)
{
    out(MR, EPOCH + 2);

    plat_pass(&p, 5 * SECOND);

    cr_assert_eq(in(RIS), 1);
    cr_assert_eq(in(MIS), 0);
    cr_assert_not(p.pin[0].level);
    out(IMSC, 1);
    cr_assert(p.pin[0].level);
}

Test(pl031, taking_the_mask_away_lowers_the_line)
{
    set_alarm(0);

    out(IMSC, 0);

    cr_assert_not(p.pin[0].level);
    cr_assert_eq(in(RIS), 1);
}

Test(pl031, alarm_moves_with_the_clock_that_is_set)
{
    set_alarm(1000);
    out(LR, EPOCH + 990);

    plat_pass(&p, 10 * SECOND);

    cr_assert(p.pin[0].level);
}

Test(pl031, host_clock_that_jumps_over_the_alarm_brings_it_within_a_minute)
{
    set_alarm(100000);
    plat_idle(&p);

    p.wall_ns += 200000 * SECOND;
    plat_pass(&p, 60 * SECOND);

    cr_assert(p.pin[0].level);
}

Test(pl031, host_clock_that_is_set_back_delays_the_alarm)
{
    set_alarm(10);
    plat_idle(&p);

    p.wall_ns -= 50 * SECOND;

    plat_pass(&p, 60 * SECOND - 1);
    cr_assert_not(p.pin[0].level);
    plat_pass(&p, 1);
    cr_assert(p.pin[0].level);
}

Test(pl031, clock_that_is_set_back_meets_the_alarm_again)
{
    set_alarm(1);
    plat_pass(&p, SECOND);
    out(ICR, 1);

    p.wall_ns -= 10 * SECOND;
    plat_pass(&p, 10 * SECOND);

    cr_assert(p.pin[0].level);
}

Test(pl031, idle_clock_wakes_nobody)
{
    out(MR, EPOCH + 100);
    plat_idle(&p);

    cr_assert_eq(plat_pass(&p, 1000 * SECOND), 0);
}

/* ---- life ---- */

Test(pl031, state_survives_a_round_trip)
{
    out(LR, 5000);
    set_alarm(30);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(in(DR), 5000);
    cr_assert_eq(in(LR), 5000);
    cr_assert_eq(in(MR), 5030);
    plat_pass(&p, 30 * SECOND);
    cr_assert(p.pin[0].level);
}

Test(pl031, alarm_that_passed_while_a_snapshot_slept_comes_with_the_resume)
{
    struct vm_buffer saved;

    set_alarm(30);
    saved = plat_save(&p);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);
    p.wall_ns += 86400 * SECOND;
    cr_assert_eq(vdev_load(p.dev, saved.data, saved.len), 0);
    plat_idle(&p);
    cr_assert_not(p.pin[0].level);

    cr_assert_eq(vdev_resume(p.dev), 0);
    plat_idle(&p);

    cr_assert(p.pin[0].level);
    vm_buffer_free(&saved);
}

Test(pl031, quiesced_clock_does_not_interrupt)
{
    set_alarm(10);
    plat_idle(&p);
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);

    plat_pass(&p, 20 * SECOND);

    cr_assert_not(p.pin[0].level);
}

/* As the device's table saves it. */
struct saved {
    uint64_t match_s;
    uint32_t mr, lr, offset;
    bool im, ris;
};

Test(pl031, match_that_does_not_fit_is_not_loaded)
{
    const struct saved bad = { .match_s = 100, .mr = 100, .offset = 1 };

    cr_assert_eq(plat_load_state(&p, &bad), -EINVAL);
    cr_assert_str_eq(vm_error_text(),
                     "dut: match 0x64 is not what the clock shows at 0x64, 0x1 off");
}

Test(pl031, any_other_state_is_loaded)
{
    const struct saved far = { .match_s = UINT64_MAX, .mr = 41, .offset = 42, .lr = 7, .im = true };

    cr_assert_eq(plat_load_state(&p, &far), 0);
    plat_pass(&p, 100 * SECOND);

    cr_assert_eq(in(DR), EPOCH + 142);
    cr_assert_not(p.pin[0].level);
}

Test(pl031, needs_its_place_on_the_bus)
{
    struct plat other;
    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, UINT64_MAX - 0xff, 0x1000 };

    cr_assert_eq(plat_create(&other, &pl031_class), -EINVAL);

    plat_close(&other);
}
