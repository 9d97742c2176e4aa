/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The UART's registers, as a driver sees them. The bytes' way in and out: serial_line_test.c. */
#include <criterion/criterion.h>

#include "serial_test.h"

static struct plat p;

static void setup(void)
{
    cr_assert_eq(serial_plat(&p, VCHAR_NULL), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(serial, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint8_t in(uint16_t port)
{
    return (uint8_t)plat_in(&p, port, 1);
}

static void out(uint16_t port, uint8_t v)
{
    plat_out(&p, port, 1, v);
}

/* Loop-back: what is written is received. */
static void loop_bytes(unsigned n)
{
    out(MCR, 0x10);
    for (unsigned i = 0; i < n; i++)
        out(DATA, (uint8_t)(0x30 + i));
}

/* ---- registers ---- */

Test(serial, reset_values)
{
    cr_assert_eq(in(IER), 0);
    cr_assert_eq(in(IIR), 0x01);
    cr_assert_eq(in(LCR), 0);
    cr_assert_eq(in(MCR), 0);
    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(in(MSR), 0xb0);
    cr_assert_eq(in(SCR), 0);
    cr_assert_not(p.pin[0].level);
}

Test(serial, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), again;

    for (uint16_t port = PORT; port < PORT + 8; port++)
        out(port, 0x5b);
    out(MCR, 0x1f);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);

    again = plat_save(&p);
    cr_assert_eq(again.len, fresh.len);
    cr_assert_eq(memcmp(again.data, fresh.data, fresh.len), 0);
    vm_buffer_free(&fresh);
    vm_buffer_free(&again);
}

Test(serial, plain_registers_hold_what_they_have_bits_for)
{
    out(SCR, 0xa5);
    out(LCR, 0x7f);
    out(IER, 0xff);
    out(MCR, 0xff);

    cr_assert_eq(in(SCR), 0xa5);
    cr_assert_eq(in(LCR), 0x7f);
    cr_assert_eq(in(IER), 0x0f);
    cr_assert_eq(in(MCR), 0x1f);
}

Test(serial, status_registers_are_read_only)
{
    out(LSR, 0xff);
    out(MSR, 0xff);

    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(in(MSR), 0xb0);
}

Test(serial, dlab_puts_the_divisor_in_place_of_data_and_ier)
{
    out(IER, 0x05);
    out(LCR, 0x83);
    cr_assert_eq(in(DATA), 12);

    out(DATA, 0x34);
    out(IER, 0x12);

    cr_assert_eq(in(DATA), 0x34);
    cr_assert_eq(in(IER), 0x12);
    out(LCR, 0x03);
    cr_assert_eq(in(IER), 0x05);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 0);
}

Test(serial, wide_access_is_registers_in_turn)
{
    plat_out(&p, LCR, 2, 0x0b03);

    cr_assert_eq(in(LCR), 0x03);
    cr_assert_eq(in(MCR), 0x0b);
    cr_assert_eq(plat_in(&p, LCR, 4), 0xb0600b03);
    cr_assert_eq(plat_in(&p, PORT, 8), 0x00b0600b03010000);
}

Test(serial, access_across_the_end_is_nobodys)
{
    out(SCR, 0x11);

    plat_out(&p, SCR, 2, 0x2222);

    cr_assert_eq(plat_in(&p, SCR, 2), 0xffff);
    cr_assert_eq(in(SCR), 0x11);
}

/* ---- what Linux's 8250 driver looks for ---- */

Test(serial, linux_finds_a_16550a)
{
    out(IER, 0);
    cr_assert_eq(in(IER)&0x0f, 0);
    out(IER, 0x0f);
    cr_assert_eq(in(IER)&0x0f, 0x0f);
    out(IER, 0);

    out(MCR, 0x1a); /* loop-back: OUT2 and RTS come back as DCD and CTS */
    cr_assert_eq(in(MSR)&0xf0, 0x90);
    out(MCR, 0);

    out(FCR, 0x01);
    cr_assert_eq(in(IIR) >> 6, 3);
    out(LCR, 0x80); /* no second register file of later chips behind it */
    cr_assert_neq(in(IIR), 0);
    out(LCR, 0xbf);
    cr_assert_neq(in(IIR), 0);
    out(FCR, 0x21); /* no 64-byte FIFO of a 16750 */
    cr_assert_eq(in(IIR) >> 5, 6);
    out(LCR, 0);
    out(IER, 0x40); /* no unit enable of an XScale */
    cr_assert_eq(in(IER), 0);
}

Test(serial, thre_comes_again_when_it_is_enabled_again)
{
    uint8_t first, second;

    out(IER, 0x02);
    first = in(IIR);
    out(IER, 0);
    out(IER, 0x02);
    second = in(IIR);

    cr_assert_eq(first, 0x02);
    cr_assert_eq(second, 0x02);
}

/* ---- THRE ---- */

Test(serial, reading_iir_takes_thre_away)
{
    out(IER, 0x02);

    cr_assert_eq(in(IIR), 0x02);

    cr_assert_eq(in(IIR), 0x01);
}

Test(serial, writing_a_byte_brings_thre)
{
    out(IER, 0x02);
    in(IIR);

    out(DATA, 'x');

    cr_assert_eq(in(IIR), 0x02);
    cr_assert_eq(in(LSR), 0x60);
}

Test(serial, writing_ier_without_a_change_brings_no_thre)
{
    out(IER, 0x02);
    in(IIR);

    out(IER, 0x03);

    cr_assert_eq(in(IIR), 0x01);
}

Test(serial, reading_iir_of_another_interrupt_leaves_thre)
{
    loop_bytes(1);
    out(IER, 0x03);

    cr_assert_eq(in(IIR), 0x04);

    in(DATA);
    cr_assert_eq(in(IIR), 0x02);
}

/* ---- FIFOs ---- */

Test(serial, fifo_bits_show_in_iir)
{
    out(FCR, 0x01);
    cr_assert_eq(in(IIR), 0xc1);

    out(FCR, 0x00);

    cr_assert_eq(in(IIR), 0x01);
}

static void trigger_at(uint8_t fcr, unsigned level)
{
    out(FCR, fcr);
    out(IER, 0x01);

    loop_bytes(level - 1);
    if (level > 1)
        cr_assert_eq(in(IIR), 0xcc, "level %u", level);
    loop_bytes(1);
    cr_assert_eq(in(IIR), 0xc4, "level %u", level);

    out(FCR, 0x03);
    cr_assert_eq(in(IIR), 0xc1, "level %u", level);
}

Test(serial, trigger_levels)
{
    trigger_at(0x01, 1);
    trigger_at(0x41, 4);
    trigger_at(0x81, 8);
    trigger_at(0xc1, 14);
}

Test(serial, bytes_come_in_order_until_none_is_left)
{
    out(FCR, 0x01);
    loop_bytes(3);

    cr_assert_eq(in(LSR), 0x61);
    cr_assert_eq(in(DATA), 0x30);
    cr_assert_eq(in(DATA), 0x31);
    cr_assert_eq(in(LSR), 0x61);
    cr_assert_eq(in(DATA), 0x32);

    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(in(IIR), 0xc1);
}

Test(serial, clearing_the_fifo_empties_it)
{
    out(FCR, 0x01);
    loop_bytes(5);

    out(FCR, 0x03);

    cr_assert_eq(in(LSR), 0x60);
    loop_bytes(1);
    cr_assert_eq(in(DATA), 0x30);
}

Test(serial, switching_fifos_empties_them)
{
    out(FCR, 0x01);
    loop_bytes(5);

    out(FCR, 0x00);

    cr_assert_eq(in(LSR), 0x60);
}

Test(serial, fifo_control_needs_its_enable_bit)
{
    loop_bytes(1);

    out(FCR, 0xc2);

    cr_assert_eq(in(LSR), 0x61);
    out(IER, 0x01);
    cr_assert_eq(in(IIR), 0x04);
}

Test(serial, full_fifo_keeps_its_bytes_and_reports_overrun)
{
    out(FCR, 0x01);
    out(IER, 0x05);

    loop_bytes(17);

    cr_assert_eq(in(IIR), 0xc6);
    cr_assert_eq(in(LSR), 0x63);
    cr_assert_eq(in(LSR), 0x61);
    for (unsigned i = 0; i < 16; i++)
        cr_assert_eq(in(DATA), 0x30 + i);
    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(plat_metric(&p, "overruns"), 1);
}

Test(serial, without_fifos_the_last_byte_wins_and_overrun_is_reported)
{
    loop_bytes(2);

    cr_assert_eq(in(LSR), 0x63);
    cr_assert_eq(in(DATA), 0x31);
    cr_assert_eq(in(LSR), 0x60);
    cr_assert_eq(in(DATA), 0x31);
}

/* ---- interrupts ---- */

Test(serial, interrupts_have_their_order)
{
    out(FCR, 0x01);
    loop_bytes(17);
    out(MCR, 0x12); /* RTS: CTS changes */
    out(IER, 0x0f);

    cr_assert_eq(in(IIR), 0xc6);
    in(LSR);
    cr_assert_eq(in(IIR), 0xc4);
    for (int i = 0; i < 16; i++)
        in(DATA);
    cr_assert_eq(in(IIR), 0xc2);
    cr_assert_eq(in(IIR), 0xc0);
    in(MSR);
    cr_assert_eq(in(IIR), 0xc1);
}

Test(serial, out2_lets_the_interrupt_out)
{
    out(IER, 0x02);
    cr_assert_not(p.pin[0].level);

    out(MCR, 0x08);

    cr_assert(p.pin[0].level);
    out(MCR, 0x00);
    cr_assert_not(p.pin[0].level);
}

Test(serial, guest_that_only_looks_at_lsr_gets_an_edge_for_each_burst)
{
    out(MCR, 0x08);
    out(IER, 0x02);
    in(LSR);

    out(DATA, 'a');
    out(DATA, 'b');
    in(LSR);
    out(DATA, 'c');

    cr_assert_eq(p.pin[0].rises, 3, "the first one by IER");
    cr_assert(p.pin[0].level);
}

Test(serial, line_falls_when_its_reason_is_gone)
{
    out(MCR, 0x08);
    out(IER, 0x02);
    cr_assert(p.pin[0].level);

    in(IIR);

    cr_assert_not(p.pin[0].level);
    out(DATA, 'x');
    cr_assert(p.pin[0].level);
    out(IER, 0);
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(p.pin[0].rises, 2);
}

Test(serial, masked_interrupts_are_silent)
{
    out(FCR, 0x01);
    loop_bytes(17);

    cr_assert_eq(in(IIR), 0xc1);
    cr_assert_not(p.pin[0].level);
}

/* ---- modem lines ---- */

Test(serial, loop_back_joins_modem_lines)
{
    out(MCR, 0x10);
    cr_assert_eq(in(MSR)&0xf0, 0x00);
    out(MCR, 0x11);
    cr_assert_eq(in(MSR)&0xf0, 0x20); /* DTR, DSR */
    out(MCR, 0x12);
    cr_assert_eq(in(MSR)&0xf0, 0x10); /* RTS, CTS */
    out(MCR, 0x14);
    cr_assert_eq(in(MSR)&0xf0, 0x40); /* OUT1, RI */
    out(MCR, 0x18);
    cr_assert_eq(in(MSR)&0xf0, 0x80); /* OUT2, DCD */
    out(MCR, 0x00);
    cr_assert_eq(in(MSR)&0xf0, 0xb0);
}

Test(serial, changes_of_modem_lines_are_remembered_until_read)
{
    out(MCR, 0x10);
    cr_assert_eq(in(MSR), 0x0b); /* CTS, DSR and DCD fell */
    cr_assert_eq(in(MSR), 0x00);

    out(MCR, 0x11);
    out(MCR, 0x13);

    cr_assert_eq(in(MSR), 0x33);
}

Test(serial, only_the_end_of_a_ring_counts)
{
    out(MCR, 0x10);
    in(MSR);

    out(MCR, 0x14);
    cr_assert_eq(in(MSR), 0x40);
    out(MCR, 0x10);

    cr_assert_eq(in(MSR), 0x04);
}

Test(serial, modem_change_interrupts)
{
    out(IER, 0x08);
    out(MCR, 0x10);
    cr_assert_eq(in(IIR), 0x00);

    in(MSR);

    cr_assert_eq(in(IIR), 0x01);
}

Test(serial, break_acts_on_the_line_and_not_on_loop_back)
{
    out(IER, 0x04);
    out(MCR, 0x10);

    out(LCR, 0x40);

    cr_assert_eq(in(IIR), 0x01);
    cr_assert_eq(in(LSR), 0x60);
}

/* ---- state ---- */

Test(serial, save_load_save_gives_the_same)
{
    out(FCR, 0x81);
    loop_bytes(17);
    out(LCR, 0x1b);
    out(SCR, 0x77);
    out(IER, 0x0f);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(in(IIR), 0xc6);
    cr_assert_eq(in(DATA), 0x30);
    cr_assert(p.pin[0].level);
}

/* As in serial.c, which keeps it to itself. */
struct serial_state {
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr, dll, dlm;
    bool thre;
    uint32_t rx_count;
    uint8_t rx[16];
};

Test(serial, state_that_cannot_be_is_refused)
{
    static const struct serial_state bad[] = {
        { .ier = 0x10, .msr = 0xb0 },
        { .fcr = 0x40, .msr = 0xb0 },
        { .fcr = 0x03, .msr = 0xb0 },
        { .mcr = 0x20, .msr = 0xb0 },
        { .lsr = 0x60, .msr = 0xb0 },
        { .lsr = 0x01, .msr = 0xb0 },
        { .msr = 0xb0, .rx_count = 1 },
        { .lsr = 0x01, .msr = 0xb0, .rx_count = 2 },
        { .msr = 0x00 },
        { .mcr = 0x10, .msr = 0xb0 },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++)
        cr_assert_eq(plat_load_state(&p, &bad[i]), -EINVAL, "%zu", i);

    cr_assert_eq(in(MSR), 0xb0);
    cr_assert_eq(plat_load_state(&p, &(struct serial_state){ .msr = 0xb0, .scr = 9 }), 0);
    cr_assert_eq(in(SCR), 9);
}

Test(serial, firmware_learns_of_port_and_interrupt)
{
    cr_assert_str_eq(p.dev->firmware.acpi_hid, "PNP0501");
    cr_assert_eq(p.dev->firmware.resource[0].base, PORT);
    cr_assert_eq(p.dev->firmware.resource[0].size, 8);
    cr_assert_eq(p.dev->firmware.resource[1].type, VDEV_RES_IRQ);
}

Test(serial, second_port_has_another_uid_than_the_first)
{
    static const struct serial_config config = { .chr = { .mode = VCHAR_NULL } };
    uint32_t first = p.dev->firmware.uid;

    plat_destroy(&p);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0x2f8, 8 };
    p.context.config = &config;
    cr_assert_eq(plat_create(&p, &serial_class), 0);

    cr_assert_eq(first, 0);
    cr_assert_eq(p.dev->firmware.uid, 1);
}
