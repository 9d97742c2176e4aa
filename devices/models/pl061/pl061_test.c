/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class pl061_class;

#define MS 1000000ULL

enum {
    BASE = 0x9030000,
    DATA = BASE + 0x3fc, /* all pins */
    DIR = BASE + 0x400,
    IS = BASE + 0x404,
    IBE = BASE + 0x408,
    IEV = BASE + 0x40c,
    IE = BASE + 0x410,
    RIS = BASE + 0x414,
    MIS = BASE + 0x418,
    IC = BASE + 0x41c,
    AFSEL = BASE + 0x420,
    KEY = 0x08,
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    cr_assert_eq(plat_create(&p, &pl061_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(pl061, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* As Linux's driver: bytes. */
static uint8_t in(uint32_t reg)
{
    return (uint8_t)plat_read(&p, reg, 1);
}

static void out(uint32_t reg, uint8_t v)
{
    plat_write(&p, reg, 1, v);
}

static void press(void)
{
    vm_lock_acquire(&p.dev->lock);
    cr_assert_eq(p.dev->ops->power_button(p.dev), 0);
    vm_lock_release(&p.dev->lock);
    plat_idle(&p);
}

/* ---- registers ---- */

Test(pl061, reset_values_are_zero)
{
    for (uint32_t reg = BASE; reg < BASE + 0xfe0; reg += 4)
        cr_assert_eq(plat_read(&p, reg, 4), 0, "%#x", reg);
    cr_assert_not(p.pin[0].level);
}

Test(pl061, identifies_itself)
{
    static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

    for (unsigned i = 0; i < sizeof(id); i++)
        cr_assert_eq(in(BASE + 0xfe0 + 4 * i), id[i]);
}

Test(pl061, registers_have_8_bits)
{
    static const uint32_t regs[] = { DIR, IS, IBE, IEV, IE, AFSEL };

    for (size_t i = 0; i < sizeof(regs) / sizeof(*regs); i++) {
        plat_write(&p, regs[i], 4, 0xffffffa5);
        cr_assert_eq(plat_read(&p, regs[i], 4), 0xa5, "%#x", regs[i]);
    }
}

Test(pl061, status_is_read_only)
{
    plat_write(&p, RIS, 4, 0xff);
    plat_write(&p, MIS, 4, 0xff);

    cr_assert_eq(in(RIS), 0);
    cr_assert_eq(in(MIS), 0);
}

Test(pl061, firmware_row_says_what_it_is)
{
    cr_assert_str_eq(p.dev->firmware.compatible, "arm,pl061 arm,primecell");
    cr_assert_str_eq(p.dev->firmware.node, "gpio");
}

Test(pl061, outputs_keep_what_is_written)
{
    out(DIR, 0xf0);

    out(DATA, 0xa5);

    cr_assert_eq(in(DATA), 0xa0);
}

Test(pl061, address_masks_what_is_written)
{
    out(DIR, 0xff);
    out(DATA, 0xff);

    out(BASE + (0x12 << 2), 0x02);

    cr_assert_eq(in(DATA), 0xef);
}

Test(pl061, address_masks_what_is_read)
{
    out(DIR, 0xff);
    out(DATA, 0xff);

    cr_assert_eq(in(BASE + (0x81 << 2)), 0x81);
    cr_assert_eq(in(BASE), 0);
}

Test(pl061, inputs_take_no_data)
{
    out(DATA, 0xff);
    out(DIR, 0xff);

    cr_assert_eq(in(DATA), 0);
}

Test(pl061, output_comes_back_when_the_pin_is_one_again)
{
    out(DIR, 0x01);
    out(DATA, 0x01);

    out(DIR, 0);
    cr_assert_eq(in(DATA), 0);

    out(DIR, 0x01);
    cr_assert_eq(in(DATA), 0x01);
}

Test(pl061, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    for (uint32_t reg = DIR; reg <= AFSEL; reg += 4)
        out(reg, 0xff);
    out(DATA, 0xff);
    press();
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    cr_assert_not(p.pin[0].level);
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

/* ---- the power key ---- */

Test(pl061, key_is_high_for_100_ms)
{
    press();
    cr_assert_eq(in(DATA), KEY);

    plat_pass(&p, 100 * MS - 1);
    cr_assert_eq(in(DATA), KEY);

    plat_pass(&p, 1);
    cr_assert_eq(in(DATA), 0);
    cr_assert_eq(plat_metric(&p, "presses"), 1);
}

Test(pl061, second_press_keeps_the_key_down)
{
    press();
    plat_pass(&p, 60 * MS);

    press();

    plat_pass(&p, 99 * MS);
    cr_assert_eq(in(DATA), KEY);
    plat_pass(&p, 1 * MS);
    cr_assert_eq(in(DATA), 0);
}

Test(pl061, key_can_be_pressed_again_later)
{
    press();
    plat_pass(&p, 500 * MS);

    press();

    cr_assert_eq(in(DATA), KEY);
    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(DATA), 0);
}

Test(pl061, driver_with_both_edges_sees_both)
{
    out(IBE, KEY);
    out(IE, KEY);

    press();
    cr_assert(p.pin[0].level);
    cr_assert_eq(in(MIS), KEY);
    out(IC, KEY);
    cr_assert_not(p.pin[0].level);

    plat_pass(&p, 100 * MS);
    cr_assert(p.pin[0].level);
}

Test(pl061, reset_releases_the_key)
{
    press();

    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    plat_pass(&p, 200 * MS);

    cr_assert_eq(in(DATA), 0);
    cr_assert_eq(in(RIS), 0);
}

Test(pl061, idle_gpio_wakes_nobody)
{
    press();
    plat_pass(&p, 200 * MS);

    cr_assert_eq(plat_pass(&p, 1000 * MS), 0);
}

/* ---- interrupts ---- */

Test(pl061, rising_edge_is_chosen_by_iev)
{
    out(IEV, KEY);

    press();
    cr_assert_eq(in(RIS), KEY);

    out(IC, KEY);
    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(RIS), 0);
}

Test(pl061, falling_edge_is_the_other)
{
    press();
    cr_assert_eq(in(RIS), 0);

    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(RIS), KEY);
}

Test(pl061, masked_edge_is_remembered)
{
    out(IEV, KEY);

    press();
    cr_assert_eq(in(MIS), 0);
    cr_assert_not(p.pin[0].level);

    out(IE, KEY);
    cr_assert(p.pin[0].level);
}

Test(pl061, clearing_clears_what_is_written_only)
{
    out(IEV, KEY);
    press();

    out(IC, (uint8_t)~KEY);
    cr_assert_eq(in(RIS), KEY);

    out(IC, KEY);
    cr_assert_eq(in(RIS), 0);
}

Test(pl061, high_level_interrupts_as_long_as_it_lasts)
{
    out(IS, KEY);
    out(IEV, KEY);
    out(IE, KEY);
    cr_assert_not(p.pin[0].level);

    press();
    cr_assert(p.pin[0].level);
    out(IC, KEY);
    cr_assert(p.pin[0].level);

    plat_pass(&p, 100 * MS);
    cr_assert_not(p.pin[0].level);
}

Test(pl061, low_level_is_the_other)
{
    out(IS, 0xff);

    cr_assert_eq(in(RIS), 0xff);

    press();
    cr_assert_eq(in(RIS), (uint8_t)~KEY);
}

Test(pl061, second_press_while_the_key_is_down_makes_no_edge)
{
    out(IEV, KEY);
    press();
    out(IC, KEY);

    press();

    cr_assert_eq(in(RIS), 0);
}

Test(pl061, pin_that_becomes_level_sensitive_shows_its_level)
{
    out(IBE, KEY);
    out(IEV, KEY);
    press();
    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(RIS), KEY);

    out(IS, KEY);

    cr_assert_eq(in(RIS), 0);
}

Test(pl061, key_at_an_output_makes_no_edge)
{
    out(IBE, 0xff);
    out(DIR, 0xff);

    press();

    cr_assert_eq(in(RIS), 0);
}

/* ---- life ---- */

Test(pl061, state_survives_a_round_trip_and_the_key_comes_up)
{
    out(DIR, 0x03);
    out(DATA, 0x02);
    out(IBE, KEY);
    out(IE, KEY);
    press();

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(in(DATA), KEY | 0x02);
    cr_assert(p.pin[0].level);
    out(IC, KEY);
    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(DATA), 0x02);
    cr_assert(p.pin[0].level);
}

Test(pl061, loaded_key_stays_down_for_its_whole_time)
{
    press();
    plat_pass(&p, 60 * MS);

    cr_assert_eq(plat_round_trip(&p), 0);

    plat_pass(&p, 99 * MS);
    cr_assert_eq(in(DATA), KEY);
}

Test(pl061, key_pressed_while_quiesced_interrupts_with_the_resume)
{
    out(IBE, KEY);
    out(IE, KEY);
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);
    press();
    plat_pass(&p, 500 * MS);
    cr_assert_eq(p.pin[0].rises, 0);

    cr_assert_eq(vdev_resume(p.dev), 0);
    plat_idle(&p);

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(DATA), KEY);
    plat_pass(&p, 100 * MS);
    cr_assert_eq(in(DATA), 0);
}

/* As the device's table saves it. */
struct saved {
    uint8_t data, dir, is, ibe, iev, ie, afsel, edges, in;
};

Test(pl061, inputs_that_nobody_drives_are_not_loaded)
{
    const struct saved bad = { .in = KEY | 0x01 };

    cr_assert_eq(plat_load_state(&p, &bad), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: inputs 0x9 are high, where only 0x8 has a key");
}

Test(pl061, needs_its_place_on_the_bus)
{
    struct plat other;
    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, UINT64_MAX - 0xff, 0x1000 };

    cr_assert_eq(plat_create(&other, &pl061_class), -EINVAL);

    plat_close(&other);
}
