/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bytes' way through the PL011: from standard input to the guest and from the guest to standard output. */
#include <criterion/criterion.h>

#include "line_harness.h"
#include "pl011_test.h"

static struct plat p;
static struct line line;

static void setup(void)
{
    cr_assert_eq(line_open(&line), 0);
    cr_assert_eq(pl011_plat(&p, VCHAR_TTY), 0);
}

static void teardown(void)
{
    plat_close(&p);
    line_close(&line);
}

TestSuite(pl011_line, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint32_t in(uint32_t reg)
{
    return (uint32_t)plat_read(&p, reg, 4);
}

static void out(uint32_t reg, uint32_t v)
{
    plat_write(&p, reg, 4, v);
}

static void type(const char *keys)
{
    cr_assert(line_type(&line, &p, keys));
}

/* Reads as a driver does. */
static size_t take(char *text, size_t room)
{
    size_t n = 0;

    while (n < room && !(in(FR)&RXFE)) {
        text[n++] = (char)(in(DR)&0xff);
        plat_idle(&p);
    }
    return n;
}

Test(pl011_line, guest_bytes_come_out)
{
    char text[10];

    for (const char *c = "hello"; *c; c++)
        out(DR, (uint8_t)*c);

    cr_assert_eq(line_read(&line, &p, text, sizeof(text)), 5);
    cr_assert_arr_eq(text, "hello", 5);
}

Test(pl011_line, loop_back_sends_nothing_out)
{
    char byte;

    out(CR, LOOP);
    out(DR, 'x');

    cr_assert_eq(line_read(&line, &p, &byte, 1), -1);
}

Test(pl011_line, key_interrupts)
{
    out(CR, ON);
    out(LCR_H, FEN);
    out(IMSC, RX | RT);

    type("k");

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(MIS), RT);
    cr_assert_eq(in(DR), 'k');
    cr_assert_not(p.pin[0].level);
}

Test(pl011_line, more_than_the_fifo_holds_waits_outside)
{
    static const char keys[] = "The quick brown fox jumps over the lazy dog and sleeps";
    char text[100];

    out(CR, ON);
    out(LCR_H, FEN);
    type(keys);

    cr_assert_eq(plat_metric(&p, "rx_bytes"), 32);
    cr_assert_eq(take(text, sizeof(text)), strlen(keys));
    cr_assert_arr_eq(text, keys, strlen(keys));
    cr_assert_eq(plat_metric(&p, "overruns"), 0);
}

Test(pl011_line, without_fifo_bytes_come_one_by_one)
{
    char text[10];

    out(CR, ON);
    type("hello");

    cr_assert_eq(plat_metric(&p, "rx_bytes"), 1);
    cr_assert_eq(take(text, sizeof(text)), 5);
    cr_assert_arr_eq(text, "hello", 5);
}

Test(pl011_line, receiver_that_is_off_lets_bytes_wait)
{
    char text[10];

    type("hi");
    cr_assert_eq(in(FR)&RXFE, RXFE);

    out(CR, ON);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
}

Test(pl011_line, guest_in_loop_back_hears_the_line_afterwards)
{
    char text[10];

    out(CR, LOOP);
    type("hi");
    cr_assert_eq(in(FR)&RXFE, RXFE);

    out(CR, ON);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
}

Test(pl011_line, emptying_the_fifo_makes_room)
{
    char text[10];

    out(CR, ON);
    out(LCR_H, FEN);
    type("0123456789abcdefghijklmnopqrstuvXYZ");

    out(LCR_H, 0);
    out(LCR_H, FEN);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 3);
    cr_assert_arr_eq(text, "XYZ", 3);
}

Test(pl011_line, quiesced_device_takes_nothing_until_it_resumes)
{
    char text[10];

    out(CR, ON);
    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);
    type("hi");
    cr_assert_eq(plat_metric(&p, "rx_bytes"), 0);

    cr_assert_eq(vdev_resume(p.dev), 0);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
}

Test(pl011_line, input_goes_on_after_a_load)
{
    char text[10];
    struct vm_buffer listening;

    out(CR, ON);
    listening = plat_save(&p);
    type("abc");
    cr_assert_eq(vdev_load(p.dev, listening.data, listening.len), 0);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
    vm_buffer_free(&listening);
}

Test(pl011_line, escape_key_is_an_event_of_the_machine)
{
    type("\001x");

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_ESCAPE);
    cr_assert_eq(p.event[0].value, 'x');
}

Test(pl011_line, reader_that_does_not_read_never_blocks_the_guest)
{
    for (int i = 0; i < 400000; i++) {
        out(DR, 'x');
        if (i % 1000 == 0)
            plat_pass(&p, 2000000);
    }

    cr_assert_eq(in(FR), IDLE);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 400000);
    cr_assert_gt(plat_metric(&p, "tx_dropped"), 0);
    cr_assert_lt(plat_metric(&p, "tx_dropped"), 400000);
}

Test(pl011_line, back_end_that_cannot_be_opened_is_no_device)
{
    struct plat other;

    cr_assert_eq(pl011_plat(&other, VCHAR_FILE), -EINVAL);

    plat_close(&other);
}
