/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class acpi_ged_class;

enum { BASE = 0x600, SLEEP_CONTROL = BASE, SLEEP_STATUS, RESET, EVENTS = BASE + 4 };

/* As the device's table saves it. */
struct saved {
    uint32_t events;
    uint8_t sleep_control;
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, BASE, 8 };
    cr_assert_eq(plat_create(&p, &acpi_ged_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(acpi_ged, .init = setup, .fini = teardown);

static void press(void)
{
    cr_assert_eq(p.dev->ops->power_button(p.dev), 0);
}

Test(acpi_ged, power_button_sets_its_event_and_sends_an_edge)
{
    press();

    cr_assert_eq(p.pin[0].rises, 1);
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);
    cr_assert_eq(plat_metric(&p, "events"), 1);
}

Test(acpi_ged, reading_events_clears_them)
{
    press();

    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);

    cr_assert_eq(plat_in(&p, EVENTS, 4), 0);
}

Test(acpi_ged, events_read_with_another_width_stay)
{
    press();

    cr_assert_eq(plat_in(&p, EVENTS, 1), 0);
    cr_assert_eq(plat_in(&p, EVENTS, 2), 0);

    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);
}

Test(acpi_ged, each_press_sends_an_edge_also_before_the_guest_has_looked)
{
    press();
    press();

    cr_assert_eq(p.pin[0].rises, 2);
    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);
}

Test(acpi_ged, sleep_s5_switches_off)
{
    plat_out(&p, SLEEP_CONTROL, 1, 5 << 2 | 1 << 5);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_POWEROFF);
}

Test(acpi_ged, another_sleep_type_sleeps)
{
    plat_out(&p, SLEEP_CONTROL, 1, 3 << 2 | 1 << 5);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_SLEEP);
    cr_assert_eq(p.event[0].value, 3);
}

Test(acpi_ged, sleep_type_without_enable_does_nothing)
{
    plat_out(&p, SLEEP_CONTROL, 1, 5 << 2);

    cr_assert_eq(p.events, 0);
    cr_assert_eq(plat_in(&p, SLEEP_CONTROL, 1), 5 << 2);
}

Test(acpi_ged, sleep_enable_reads_as_zero)
{
    plat_out(&p, SLEEP_CONTROL, 1, 0xff);

    cr_assert_eq(plat_in(&p, SLEEP_CONTROL, 1), 0xdf);
}

Test(acpi_ged, sleep_status_is_zero)
{
    plat_out(&p, SLEEP_STATUS, 1, 0xff);

    cr_assert_eq(plat_in(&p, SLEEP_STATUS, 1), 0);
}

Test(acpi_ged, reset_value_resets)
{
    plat_out(&p, RESET, 1, 1);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_RESET);
}

Test(acpi_ged, other_values_do_not_reset)
{
    for (unsigned v = 0; v < 256; v++)
        if (v != 1)
            plat_out(&p, RESET, 1, v);

    cr_assert_eq(p.events, 0);
}

Test(acpi_ged, registers_are_bytes)
{
    for (unsigned len = 2; len <= 8; len++) {
        plat_out(&p, SLEEP_CONTROL, len, 5 << 2 | 1 << 5);
        plat_out(&p, RESET, len, 1);
    }

    cr_assert_eq(p.events, 0);
    cr_assert_eq(plat_in(&p, SLEEP_CONTROL, 1), 0);
}

Test(acpi_ged, writes_to_events_and_gaps_do_nothing)
{
    press();

    for (unsigned at = 3; at < 8; at++)
        plat_out(&p, (uint16_t)(BASE + at), 1, 0xff);

    cr_assert_eq(p.events, 0);
    cr_assert_eq(plat_in(&p, BASE + 3, 1), 0);
    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);
}

Test(acpi_ged, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    press();
    plat_out(&p, SLEEP_CONTROL, 1, 5 << 2);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    cr_assert_eq(plat_in(&p, EVENTS, 4), 0);
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

Test(acpi_ged, state_survives_a_round_trip)
{
    press();
    plat_out(&p, SLEEP_CONTROL, 1, 3 << 2);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(plat_in(&p, SLEEP_CONTROL, 1), 3 << 2);
    cr_assert_eq(plat_in(&p, EVENTS, 4), 1);
}

Test(acpi_ged, resume_tells_what_waits_once_more)
{
    press();
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);

    cr_assert_eq(vdev_resume(p.dev), 0);

    cr_assert_eq(p.pin[0].rises, 2);
}

Test(acpi_ged, resume_with_nothing_waiting_is_silent)
{
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);

    cr_assert_eq(vdev_resume(p.dev), 0);

    cr_assert_eq(p.pin[0].rises, 0);
}

Test(acpi_ged, nonsense_is_not_loaded)
{
    struct saved events = { .events = 2 }, control = { .sleep_control = 1 << 5 };

    cr_assert_eq(plat_load_state(&p, &events), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: events 0x2, sleep control 0 cannot be");
    cr_assert_eq(plat_load_state(&p, &control), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: events 0, sleep control 0x20 cannot be");
}

Test(acpi_ged, needs_its_place_on_the_bus)
{
    struct plat other;

    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0xfffe, 8 };

    cr_assert_eq(plat_create(&other, &acpi_ged_class), -EINVAL);

    plat_close(&other);
}
