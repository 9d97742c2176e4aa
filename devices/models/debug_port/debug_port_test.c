/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class debug_port_class;

enum { POST = 0x80, TEXT = 0x402, LINE_BYTES = 160 };

/* As the device's table saves it. */
struct saved {
    uint8_t post;
    uint32_t line_len;
    uint8_t line[LINE_BYTES];
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, POST, 1 };
    p.resource[1] = (struct vdev_resource){ VDEV_RES_PIO, TEXT, 1 };
    cr_assert_eq(plat_create(&p, &debug_port_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(debug_port, .init = setup, .fini = teardown);

static void say(const char *text)
{
    for (; *text; text++)
        plat_out(&p, TEXT, 1, (uint8_t)*text);
}

Test(debug_port, post_code_is_an_event_and_a_metric)
{
    plat_out(&p, POST, 1, 0x3a);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_DEBUG);
    cr_assert_eq(p.event[0].value, 0x3a);
    cr_assert_eq(plat_metric(&p, "post"), 0x3a);
    cr_assert_eq(plat_metric(&p, "posts"), 1);
    cr_assert_eq(plat_in(&p, POST, 1), 0x3a);
}

Test(debug_port, first_code_is_news_also_when_it_is_0)
{
    plat_out(&p, POST, 1, 0);

    cr_assert_eq(p.events, 1);
}

Test(debug_port, same_code_again_is_no_event)
{
    for (unsigned i = 0; i < 5; i++)
        plat_out(&p, POST, 1, 0x3a);

    cr_assert_eq(p.events, 1);
    cr_assert_eq(plat_metric(&p, "posts"), 5);
}

Test(debug_port, events_have_a_rate_limit)
{
    for (unsigned i = 0; i < 10000; i++)
        plat_out(&p, POST, 1, i & 0xff);
    cr_assert_eq(p.events, 100);

    plat_pass(&p, 1000000001);
    plat_out(&p, POST, 1, 0x77);

    cr_assert_eq(p.events, 101);
}

Test(debug_port, text_port_says_that_it_is_there)
{
    cr_assert_eq(plat_in(&p, TEXT, 1), 0xe9);
}

Test(debug_port, text_is_logged_by_lines)
{
    say("SecCore");
    cr_assert_eq(p.log_lines, 0);

    say("StartupWithStack\r\n\nnext\n");

    cr_assert_eq(p.log_lines, 2, "no line for an empty one");
    cr_assert_str_eq(p.log[0], "dut: SecCoreStartupWithStack");
    cr_assert_str_eq(p.log[1], "dut: next");
    cr_assert_eq(p.level[0], VM_LOG_DEBUG);
    cr_assert_eq(plat_metric(&p, "text"), 31);
}

Test(debug_port, long_line_is_cut)
{
    for (unsigned i = 0; i < LINE_BYTES + 1; i++)
        say("x");
    cr_assert_eq(p.log_lines, 1);
    cr_assert_eq(strlen(p.log[0]), strlen("dut: ") + LINE_BYTES);

    say("\n");

    cr_assert_str_eq(p.log[1], "dut: x");
}

Test(debug_port, bytes_that_steer_a_terminal_are_replaced)
{
    say("a\033[2Jb\tc\x80\n");

    cr_assert_str_eq(p.log[0], "dut: a?[2Jb c?");
}

Test(debug_port, format_characters_are_text)
{
    say("%s%n\n");

    cr_assert_str_eq(p.log[0], "dut: %s%n");
}

Test(debug_port, lines_have_a_rate_limit)
{
    for (unsigned i = 0; i < 1000; i++)
        say("x\n");
    cr_assert_eq(p.log_lines, 200);

    plat_pass(&p, 1000000001);
    say("y\n");

    cr_assert_gt(p.log_lines, 200);
}

Test(debug_port, wider_accesses_reach_nobody)
{
    for (unsigned len = 2; len <= 8; len++) {
        cr_assert_eq(plat_out(&p, POST, len, 0x0a41), -ENODEV);
        cr_assert_eq(plat_out(&p, TEXT, len, 0x0a41), -ENODEV);
    }

    cr_assert_eq(p.events, 0);
    cr_assert_eq(p.log_lines, 0);
}

Test(debug_port, what_waits_for_its_newline_is_told_at_the_end)
{
    say("last words");

    plat_destroy(&p);

    cr_assert_str_eq(p.log[0], "dut: last words");
}

Test(debug_port, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), after;

    plat_out(&p, POST, 1, 0x3a);
    say("abc");
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    after = plat_save(&p);

    cr_assert_eq(fresh.len, after.len);
    cr_assert_arr_eq(fresh.data, after.data, fresh.len);
    cr_assert_str_eq(p.log[0], "dut: abc");
    cr_assert_eq(plat_in(&p, POST, 1), 0);
    vm_buffer_free(&fresh);
    vm_buffer_free(&after);
}

Test(debug_port, state_survives_a_round_trip)
{
    struct vm_buffer b;

    plat_out(&p, POST, 1, 0x3a);
    say("abc");
    cr_assert_eq(plat_round_trip(&p), 0);
    b = plat_save(&p);
    plat_destroy(&p);
    cr_assert_eq(plat_create(&p, &debug_port_class), 0);
    p.log_lines = 0;

    cr_assert_eq(vdev_load(p.dev, b.data, b.len), 0);

    say("def\n");
    cr_assert_str_eq(p.log[0], "dut: abcdef");
    cr_assert_eq(plat_in(&p, POST, 1), 0x3a);
    cr_assert_eq(plat_metric(&p, "post"), 0x3a);
    vm_buffer_free(&b);
}

Test(debug_port, nonsense_is_not_loaded)
{
    struct saved full = { .line_len = LINE_BYTES }, escape = { .line_len = 1, .line = { 27 } };

    memset(full.line, 'x', sizeof(full.line));
    cr_assert_eq(plat_load_state(&p, &full), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: a line of 160 bytes waits: at most 159 can");
    cr_assert_eq(plat_load_state(&p, &escape), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "dut: byte 0x1b in the line that waits");
}

Test(debug_port, needs_both_places_on_the_bus)
{
    struct plat other;

    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, POST, 1 };
    other.resource[1] = (struct vdev_resource){ VDEV_RES_PIO, 0x10000, 1 };

    cr_assert_eq(plat_create(&other, &debug_port_class), -EINVAL);
    cr_assert_eq(plat_in(&other, POST, 1), 0xff, "nothing is left on the bus");

    plat_close(&other);
}
