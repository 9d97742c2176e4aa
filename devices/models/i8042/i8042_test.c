/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class i8042_class;

enum { DATA = 0x60, COMMAND = 0x64, OBF = 0x01, IBF = 0x02, SYSTEM = 0x04, LAST = 0x08 };

/* As the device's table saves it. */
struct saved {
    uint8_t config, output, command, reply;
    bool replied, last_command;
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, DATA, 1 };
    p.resource[1] = (struct vdev_resource){ VDEV_RES_PIO, COMMAND, 1 };
    cr_assert_eq(plat_create(&p, &i8042_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(i8042, .init = setup, .fini = teardown);

static void command(uint8_t v)
{
    plat_out(&p, COMMAND, 1, v);
}

static uint8_t answer(uint8_t v)
{
    command(v);
    cr_assert(plat_in(&p, COMMAND, 1) & OBF);
    return (uint8_t)plat_in(&p, DATA, 1);
}

Test(i8042, linux_finds_no_controller_after_16_bytes)
{
    unsigned bytes = 0;

    while (bytes <= 16 && plat_in(&p, COMMAND, 1) & OBF) {
        cr_assert_eq(plat_in(&p, DATA, 1), 0xff);
        bytes++;
    }

    cr_assert_gt(bytes, 16, "i8042_flush() gives up where the buffer does not get empty");
}

Test(i8042, status_says_receive_timeout_where_there_is_no_reply)
{
    cr_assert_eq(plat_in(&p, COMMAND, 1), 0x55);

    command(0xaa);
    cr_assert_eq(plat_in(&p, COMMAND, 1), 0x1d);
    plat_in(&p, DATA, 1);

    cr_assert_eq(plat_in(&p, COMMAND, 1), 0x5d);
}

Test(i8042, input_buffer_is_always_empty)
{
    for (unsigned v = 0; v < 256; v++) {
        command((uint8_t)v);
        cr_assert_eq(plat_in(&p, COMMAND, 1) & IBF, 0);
        plat_out(&p, DATA, 1, v);
        cr_assert_eq(plat_in(&p, COMMAND, 1) & IBF, 0);
    }
}

Test(i8042, command_bit_tells_the_last_write)
{
    command(0xad);
    cr_assert(plat_in(&p, COMMAND, 1) & LAST);

    plat_out(&p, DATA, 1, 0);

    cr_assert_not(plat_in(&p, COMMAND, 1) & LAST);
}

Test(i8042, tests_are_passed)
{
    cr_assert_eq(answer(0xaa), 0x55);
    cr_assert_eq(answer(0xab), 0x00);
    cr_assert_eq(plat_metric(&p, "commands"), 2);
}

Test(i8042, reply_is_read_once)
{
    cr_assert_eq(answer(0xaa), 0x55);

    cr_assert_eq(plat_in(&p, DATA, 1), 0xff);
}

Test(i8042, configuration_byte_reads_back)
{
    cr_assert_eq(answer(0x20), SYSTEM);

    command(0x60);
    plat_out(&p, DATA, 1, 0x61);

    cr_assert_eq(answer(0x20), 0x61);
    cr_assert_not(plat_in(&p, COMMAND, 1) & SYSTEM);
}

Test(i8042, self_test_sets_the_system_bit)
{
    command(0x60);
    plat_out(&p, DATA, 1, 0);

    answer(0xaa);

    cr_assert(plat_in(&p, COMMAND, 1) & SYSTEM);
}

Test(i8042, keyboard_is_switched_in_the_configuration_byte)
{
    command(0xad);
    cr_assert_eq(answer(0x20), SYSTEM | 0x10);

    command(0xae);

    cr_assert_eq(answer(0x20), SYSTEM);
}

Test(i8042, data_goes_to_the_command_before_it_only)
{
    command(0x60);
    command(0xae);

    plat_out(&p, DATA, 1, 0x61);

    cr_assert_eq(answer(0x20), SYSTEM, "a keyboard's byte, and there is none");
}

Test(i8042, ports_of_the_chip_can_be_read)
{
    cr_assert_eq(answer(0xc0), 0xa0);
    cr_assert_eq(answer(0xd0), 0xd3);

    command(0xd1);
    plat_out(&p, DATA, 1, 0xdf);

    cr_assert_eq(answer(0xd0), 0xdf);
    cr_assert_eq(p.events, 0, "A20 on, as Linux writes it");
}

Test(i8042, pulse_of_the_reset_line_resets)
{
    command(0xfe);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_RESET);
}

Test(i8042, only_commands_that_pulse_bit_0_reset)
{
    for (unsigned v = 0; v < 256; v++) {
        unsigned before = p.events;

        command((uint8_t)v);
        cr_assert_eq(p.events - before, v >= 0xf0 && !(v & 1), "command %#x", v);
    }
}

Test(i8042, output_port_bit_0_resets)
{
    command(0xd1);
    plat_out(&p, DATA, 1, 0xfe);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_RESET);
}

Test(i8042, data_without_a_command_does_not_reset)
{
    plat_out(&p, DATA, 1, 0xfe);
    plat_out(&p, DATA, 1, 0x00);

    cr_assert_eq(p.events, 0);
}

Test(i8042, wider_accesses_reach_nobody)
{
    for (unsigned len = 2; len <= 8; len++) {
        cr_assert_eq(plat_out(&p, COMMAND, len, 0xfe), -ENODEV);
        cr_assert_eq(plat_out(&p, DATA, len, 0xfe), -ENODEV);
    }

    cr_assert_eq(p.events, 0);
    cr_assert_eq(plat_in(&p, COMMAND, 2), 0xffff);
}

Test(i8042, ports_between_are_free)
{
    for (uint16_t port = 0x61; port < 0x64; port++)
        cr_assert_eq(plat_in(&p, port, 1), 0xff);
    cr_assert_eq(plat_out(&p, 0x61, 1, 0), -ENODEV);
}

Test(i8042, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    command(0x60);
    plat_out(&p, DATA, 1, 0x61);
    command(0xd1);
    plat_out(&p, DATA, 1, 0xdd);
    command(0xaa);
    command(0xd1);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

Test(i8042, state_survives_a_round_trip)
{
    command(0xaa);
    command(0xd1);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(plat_in(&p, DATA, 1), 0x55);
    plat_out(&p, DATA, 1, 0);
    cr_assert_eq(p.events, 1, "the command still waited for its data");
}

Test(i8042, nonsense_is_not_loaded)
{
    struct saved command_state = { .output = 1, .command = 0xaa }, output = { .output = 2 },
                 reply = { .output = 1, .reply = 5 };

    cr_assert_eq(plat_load_state(&p, &command_state), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: command 0xaa does not wait for data");
    cr_assert_eq(plat_load_state(&p, &output), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: output port 0x2, reply 0 cannot be");
    cr_assert_eq(plat_load_state(&p, &reply), -EINVAL);
}

Test(i8042, needs_both_places_on_the_bus)
{
    struct plat other;

    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, DATA, 1 };
    other.resource[1] = (struct vdev_resource){ VDEV_RES_PIO, 0x10000, 1 };

    cr_assert_eq(plat_create(&other, &i8042_class), -EINVAL);
    cr_assert_eq(plat_in(&other, DATA, 1), 0xff, "nothing is left on the bus");

    plat_close(&other);
}
