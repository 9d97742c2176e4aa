/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bytes' way through the UART: from standard input to the guest and from the guest to standard output. */
#include <criterion/criterion.h>

#include "line_harness.h"
#include "serial_test.h"

static struct plat p;
static struct line line;

static void setup(void)
{
    cr_assert_eq(line_open(&line), 0);
    cr_assert_eq(serial_plat(&p, VCHAR_TTY), 0);
}

static void teardown(void)
{
    plat_close(&p);
    line_close(&line);
}

TestSuite(serial_line, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint8_t in(uint16_t port)
{
    return (uint8_t)plat_in(&p, port, 1);
}

static void out(uint16_t port, uint8_t v)
{
    plat_out(&p, port, 1, v);
}

static void type(const char *keys)
{
    cr_assert(line_type(&line, &p, keys));
}

/* Reads as a driver does. */
static size_t take(char *text, size_t room)
{
    size_t n = 0;

    while (n < room && in(LSR)&1) {
        text[n++] = (char)in(DATA);
        plat_idle(&p);
    }
    return n;
}

Test(serial_line, guest_bytes_come_out)
{
    char text[10];

    for (const char *c = "hello"; *c; c++)
        out(DATA, (uint8_t)*c);

    cr_assert_eq(line_read(&line, &p, text, sizeof(text)), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 5);
}

Test(serial_line, loop_back_sends_nothing_out)
{
    char byte;

    out(MCR, 0x10);
    out(DATA, 'x');

    cr_assert_eq(line_read(&line, &p, &byte, 1), -1);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 0);
}

Test(serial_line, key_interrupts)
{
    out(MCR, 0x08);
    out(IER, 0x01);

    type("k");

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(IIR), 0x04);
    cr_assert_eq(in(DATA), 'k');
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(plat_metric(&p, "rx_bytes"), 1);
}

Test(serial_line, more_than_the_fifo_holds_waits_outside)
{
    static const char keys[] = "The quick brown fox jumps over the lazy dog";
    char text[100];

    out(FCR, 0x01);
    type(keys);

    cr_assert_eq(plat_metric(&p, "rx_bytes"), 16);
    cr_assert_eq(take(text, sizeof(text)), strlen(keys));
    cr_assert_eq(memcmp(text, keys, strlen(keys)), 0);
    cr_assert_eq(plat_metric(&p, "overruns"), 0);
}

Test(serial_line, without_fifos_bytes_come_one_by_one)
{
    char text[10];

    type("hello");

    cr_assert_eq(plat_metric(&p, "rx_bytes"), 1);
    cr_assert_eq(take(text, sizeof(text)), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
}

Test(serial_line, guest_in_loop_back_hears_the_line_afterwards)
{
    char text[10];

    out(MCR, 0x10);
    type("hi");
    cr_assert_eq(in(LSR), 0x60);

    out(MCR, 0x00);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
}

Test(serial_line, input_goes_on_after_a_reset)
{
    char text[10];

    type("abc");
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
    cr_assert_eq(memcmp(text, "bc", 2), 0);
}

Test(serial_line, clearing_the_fifo_makes_room)
{
    char text[10];

    out(FCR, 0x01);
    type("0123456789abcdefXYZ");

    out(FCR, 0x03);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 3);
    cr_assert_eq(memcmp(text, "XYZ", 3), 0);
}

Test(serial_line, quiesced_device_takes_nothing_until_it_resumes)
{
    char text[10];

    cr_assert_eq(vdev_quiesce(p.dev, NULL), 0);
    type("hi");
    cr_assert_eq(plat_metric(&p, "rx_bytes"), 0);

    cr_assert_eq(vdev_resume(p.dev), 0);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
}

Test(serial_line, loading_a_state_makes_room_too)
{
    struct vm_buffer empty = plat_save(&p);
    char text[10];

    type("abc");
    cr_assert_eq(vdev_load(p.dev, empty.data, empty.len), 0);
    plat_idle(&p);

    cr_assert_eq(take(text, sizeof(text)), 2);
    vm_buffer_free(&empty);
}

Test(serial_line, escape_key_is_an_event_of_the_machine)
{
    type("\001x");

    cr_assert_eq(p.events, 1);
    cr_assert_eq(p.event[0].event, VDEV_EVENT_ESCAPE);
    cr_assert_eq(p.event[0].value, 'x');
}

Test(serial_line, reader_that_does_not_read_never_blocks_the_guest)
{
    for (int i = 0; i < 400000; i++) {
        out(DATA, 'x');
        if (i % 1000 == 0)
            plat_pass(&p, 2000000);
    }

    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 400000);
    cr_assert_gt(plat_metric(&p, "tx_dropped"), 0);
    cr_assert_lt(plat_metric(&p, "tx_dropped"), 400000);
}

Test(serial_line, back_end_that_cannot_be_opened_is_no_device)
{
    static struct plat q;
    struct serial_config config = { .chr = { .mode = VCHAR_FILE } };
    cr_assert_eq(plat_open(&q), 0);
    q.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, PORT, 8 };
    q.context.config = &config;

    cr_assert_eq(plat_create(&q, &serial_class), -EINVAL);

    vdev_bus_reader_exit(&q.mmio_reader);
    vdev_bus_reader_exit(&q.pio_reader);
    vdev_bus_free(q.mmio);
    vdev_bus_free(q.pio);
    vm_loop_free(q.loop);
}
