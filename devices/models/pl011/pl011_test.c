/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The PL011's registers, as a driver sees them. The bytes' way in and out: pl011_line_test.c. */
#include <criterion/criterion.h>

#include "pl011_test.h"

static struct plat p;

static void setup(void)
{
    cr_assert_eq(pl011_plat(&p, VCHAR_NULL), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(pl011, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint32_t in(uint32_t reg)
{
    return (uint32_t)plat_read(&p, reg, 4);
}

static void out(uint32_t reg, uint32_t v)
{
    plat_write(&p, reg, 4, v);
}

/* Loop-back: what is written is received. */
static void loop_bytes(uint32_t lcr_h, unsigned n)
{
    out(LCR_H, lcr_h);
    out(CR, LOOP);
    out(ICR, ALL);
    for (unsigned i = 0; i < n; i++)
        out(DR, 0x30 + i);
}

/* ---- registers ---- */

Test(pl011, reset_values)
{
    static const struct {
        uint32_t reg, value;
    } rows[] = { { DR, 0 },   { RSR, 0 },   { FR, IDLE },  { ILPR, 0 },    { IBRD, 0 },
                 { FBRD, 0 }, { LCR_H, 0 }, { CR, 0x300 }, { IFLS, 0x12 }, { IMSC, 0 },
                 { RIS, 0 },  { MIS, 0 },   { ICR, 0 },    { DMACR, 0 } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_assert_eq(in(rows[i].reg), rows[i].value, "%#x: %#x", rows[i].reg, in(rows[i].reg));
    cr_assert_not(p.pin[0].level);
}

Test(pl011, identifies_itself_as_r1p5)
{
    static const uint8_t id[] = { 0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

    for (unsigned i = 0; i < sizeof(id); i++)
        cr_assert_eq(in(BASE + 0xfe0 + 4 * i), id[i]);
}

Test(pl011, reset_is_power_on)
{
    struct vm_buffer fresh = plat_save(&p), again;

    for (uint32_t reg = BASE + 4; reg <= DMACR; reg += 4)
        out(reg, 0xffff5b5b);
    cr_assert_eq(vdev_reset(p.dev, NULL), 0);

    again = plat_save(&p);
    cr_assert_eq(again.len, fresh.len);
    cr_assert_arr_eq(again.data, fresh.data, fresh.len);
    vm_buffer_free(&fresh);
    vm_buffer_free(&again);
}

Test(pl011, registers_hold_what_they_have_bits_for)
{
    static const struct {
        uint32_t reg, mask;
    } rows[] = { { ILPR, 0xff }, { IBRD, 0xffff }, { FBRD, 0x3f },  { LCR_H, 0xff },
                 { CR, 0xff87 }, { IFLS, 0x3f },   { IMSC, 0x7ff }, { DMACR, 0x07 } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        out(rows[i].reg, UINT32_MAX);
        cr_assert_eq(in(rows[i].reg), rows[i].mask, "%#x", rows[i].reg);
    }
}

Test(pl011, status_and_identification_are_read_only)
{
    static const uint32_t regs[] = { FR, RIS, MIS, BASE + 0xfe0, LAST };

    for (size_t i = 0; i < sizeof(regs) / sizeof(*regs); i++) {
        uint32_t before = in(regs[i]);

        out(regs[i], 0xffff);
        cr_assert_eq(in(regs[i]), before, "%#x", regs[i]);
    }
}

Test(pl011, unknown_offsets_read_as_zero_and_ignore_writes)
{
    struct vm_buffer before = plat_save(&p), after;

    for (uint32_t reg = BASE; reg < BASE + 0xfe0; reg += 4)
        if ((reg > ECR && reg < FR) || reg == BASE + 0x1c || reg > DMACR) {
            out(reg, UINT32_MAX);
            cr_assert_eq(in(reg), 0, "%#x", reg);
        }

    after = plat_save(&p);
    cr_assert_arr_eq(before.data, after.data, after.len);
    vm_buffer_free(&before);
    vm_buffer_free(&after);
}

Test(pl011, narrow_reads_give_the_bytes_they_ask_for)
{
    cr_assert_eq(plat_read(&p, CR, 1), 0x00);
    cr_assert_eq(plat_read(&p, CR, 2), 0x0300);
    cr_assert_eq(plat_read(&p, CR + 1, 1), 0x03);
    cr_assert_eq(plat_read(&p, CR + 2, 2), 0);
    cr_assert_eq(plat_read(&p, CR, 8), 0x0000001200000300);
}

Test(pl011, narrow_writes_write_the_register)
{
    out(IMSC, 0x7ff);
    plat_write(&p, IMSC, 1, 0x10);
    cr_assert_eq(in(IMSC), 0x10);

    plat_write(&p, IMSC, 2, 0x550);
    cr_assert_eq(in(IMSC), 0x550);
}

Test(pl011, writes_to_other_bytes_of_a_register_do_nothing)
{
    plat_write(&p, IMSC + 1, 1, 0x07);
    plat_write(&p, IMSC + 2, 2, 0xffff);

    cr_assert_eq(in(IMSC), 0);
}

Test(pl011, write_of_8_bytes_is_two_registers)
{
    plat_write(&p, IBRD, 8, 0x0000003200000010);

    cr_assert_eq(in(IBRD), 0x10);
    cr_assert_eq(in(FBRD), 0x32);
}

Test(pl011, firmware_row_says_what_and_where)
{
    const struct vdev_firmware *f = &p.dev->firmware;

    cr_assert_str_eq(f->compatible, "arm,pl011 arm,primecell");
    cr_assert_str_eq(f->node, "serial");
    cr_assert_str_eq(f->clocks, "uartclk apb_pclk");
    cr_assert_eq(f->resource[0].base, BASE);
    cr_assert_eq(f->resource[0].size, 0x1000);
    cr_assert_eq(f->resource[1].type, VDEV_RES_IRQ);
    cr_assert_eq(f->resource[1].base, 33);
    cr_assert_eq(f->resource[1].size, 1);
    cr_assert_eq(f->resource[2].type, VDEV_RES_END);
}

/* ---- transmitter ---- */

Test(pl011, transmit_interrupt_does_not_come_before_the_first_byte)
{
    out(CR, ON);
    out(IMSC, TX);

    cr_assert_eq(in(RIS), 0);
    cr_assert_not(p.pin[0].level);
}

Test(pl011, transmit_interrupt_comes_when_a_byte_has_gone)
{
    out(IMSC, TX);

    out(DR, 'x');

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(MIS), TX);
    cr_assert_eq(in(FR), IDLE);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 1);
}

Test(pl011, transmit_interrupt_goes_when_it_is_cleared_and_comes_again)
{
    out(IMSC, TX);
    out(DR, 'x');

    out(ICR, TX);
    cr_assert_not(p.pin[0].level);
    cr_assert_eq(in(RIS), 0);

    out(DR, 'y');
    cr_assert(p.pin[0].level);
}

Test(pl011, burst_makes_one_edge)
{
    out(IMSC, TX);

    for (unsigned i = 0; i < 100; i++)
        out(DR, i);

    cr_assert_eq(p.pin[0].rises, 1);
    cr_assert_eq(p.pin[0].falls, 0);
}

Test(pl011, early_console_writes_without_enabling_anything)
{
    out(CR, 0);

    plat_write(&p, DR, 1, 'x');

    cr_assert_eq(plat_metric(&p, "tx_bytes"), 1);
    cr_assert_eq(in(FR), IDLE);
}

/* ---- interrupts ---- */

Test(pl011, masked_interrupt_stays_inside)
{
    out(DR, 'x');

    cr_assert_eq(in(RIS), TX);
    cr_assert_eq(in(MIS), 0);
    cr_assert_not(p.pin[0].level);

    out(IMSC, TX);
    cr_assert(p.pin[0].level);
}

Test(pl011, clearing_one_interrupt_leaves_the_others)
{
    loop_bytes(0, 2); /* the second overruns */

    out(ICR, TX);

    cr_assert_eq(in(RIS), RX | RT | OE);
}

/* ---- receiver, by loop-back ---- */

Test(pl011, without_fifo_one_byte_fills_it)
{
    loop_bytes(0, 1);

    cr_assert_eq(in(FR) & (RXFE | RXFF), RXFF);
    cr_assert_eq(in(RIS), RX | TX | RT);
    cr_assert_eq(in(DR), 0x30);
    cr_assert_eq(in(FR) & (RXFE | RXFF), RXFE);
    cr_assert_eq(in(RIS), TX);
}

Test(pl011, fifo_holds_32_bytes_in_order)
{
    loop_bytes(FEN, 31);
    cr_assert_eq(in(FR) & (RXFE | RXFF), 0);

    out(DR, 0x30 + 31);

    cr_assert_eq(in(FR) & (RXFE | RXFF), RXFF);
    for (unsigned i = 0; i < 32; i++)
        cr_assert_eq(in(DR), 0x30 + i);
    cr_assert_eq(in(FR) & (RXFE | RXFF), RXFE);
    cr_assert_eq(plat_metric(&p, "rx_bytes"), 32);
}

Test(pl011, empty_fifo_reads_as_zero_and_stays_empty)
{
    loop_bytes(FEN, 1);
    in(DR);

    cr_assert_eq(in(DR), 0);
    cr_assert_eq(in(FR)&RXFE, RXFE);
}

Test(pl011, receive_interrupt_comes_with_the_byte_that_reaches_the_level)
{
    static const unsigned levels[] = { 4, 8, 16, 24, 28, 28, 28, 28 };

    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(vdev_reset(p.dev, NULL), 0);
        out(IFLS, i << 3);
        loop_bytes(FEN, levels[i] - 1);
        cr_assert_eq(in(RIS)&RX, 0, "%u", i);

        out(DR, 'x');

        cr_assert_eq(in(RIS)&RX, RX, "%u", i);
    }
}

Test(pl011, receive_interrupt_goes_below_the_level)
{
    loop_bytes(FEN, 17);

    in(DR);
    cr_assert_eq(in(RIS)&RX, RX);

    in(DR);
    cr_assert_eq(in(RIS)&RX, 0);
}

Test(pl011, cleared_receive_interrupt_comes_at_the_next_way_through_the_level)
{
    loop_bytes(FEN, 16);
    out(ICR, RX);
    cr_assert_eq(in(RIS)&RX, 0);

    out(DR, 'x');
    cr_assert_eq(in(RIS)&RX, 0);

    in(DR);
    in(DR);
    out(DR, 'y');
    cr_assert_eq(in(RIS)&RX, RX);
}

Test(pl011, receive_timeout_stands_until_all_is_read)
{
    loop_bytes(FEN, 2);
    out(IMSC, RT);
    cr_assert(p.pin[0].level);

    in(DR);
    cr_assert(p.pin[0].level);

    in(DR);
    cr_assert_not(p.pin[0].level);
}

Test(pl011, cleared_receive_timeout_is_over_again_at_once)
{
    loop_bytes(FEN, 1);

    out(ICR, RT);

    cr_assert_eq(in(RIS)&RT, RT);
}

Test(pl011, overrun_is_told_at_once)
{
    out(IMSC, OE);

    loop_bytes(FEN, 33);

    cr_assert_eq(in(RSR), 0x8);
    cr_assert_eq(in(RIS)&OE, OE);
    cr_assert(p.pin[0].level);
    cr_assert_eq(plat_metric(&p, "overruns"), 1);
}

Test(pl011, overrun_goes_with_the_next_byte_into_the_fifo)
{
    loop_bytes(FEN, 33);
    cr_assert_eq(in(DR), 0x30);

    out(DR, 'x');
    out(DR, 'y'); /* no room again */

    for (unsigned i = 1; i < 32; i++)
        cr_assert_eq(in(DR), 0x30 + i);
    cr_assert_eq(in(DR), 0x800 | 'x');
    cr_assert_eq(in(FR)&RXFE, RXFE);
}

Test(pl011, overrun_is_told_with_one_byte_only)
{
    loop_bytes(0, 2);
    in(DR);
    out(DR, 'x');
    in(DR);

    out(DR, 'y');

    cr_assert_eq(in(DR), 'y');
}

Test(pl011, error_register_is_cleared_by_any_write)
{
    loop_bytes(0, 2);
    cr_assert_eq(in(RSR), 0x8);

    out(ECR, 0);

    cr_assert_eq(in(RSR), 0);
}

Test(pl011, overrun_interrupt_is_cleared_by_icr_alone)
{
    loop_bytes(0, 2);

    out(ECR, 0);
    cr_assert_eq(in(RIS)&OE, OE);

    out(ICR, OE);
    cr_assert_eq(in(RIS)&OE, 0);
}

Test(pl011, break_in_loop_back_is_one_character_of_zeros)
{
    loop_bytes(FEN, 0);
    out(IMSC, BE);

    out(LCR_H, FEN | BRK);
    out(DR, 'x'); /* the line is held low */

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(DR), 0x400);
    cr_assert_eq(in(RSR), 0x4);
    cr_assert_eq(in(FR)&RXFE, RXFE);
}

Test(pl011, status_is_that_of_the_byte_read_last)
{
    loop_bytes(FEN, 0);
    out(LCR_H, FEN | BRK);
    out(LCR_H, FEN);
    out(DR, 'x');

    in(DR);
    cr_assert_eq(in(RSR), 0x4);

    in(DR);
    cr_assert_eq(in(RSR), 0);
}

Test(pl011, break_outside_loop_back_is_nothing_to_the_receiver)
{
    out(CR, ON);

    out(LCR_H, BRK);

    cr_assert_eq(in(FR), IDLE);
    cr_assert_eq(in(RIS), 0);
}

Test(pl011, switching_the_fifos_empties_them)
{
    loop_bytes(FEN, 20);

    out(LCR_H, 0);

    cr_assert_eq(in(FR)&RXFE, RXFE);
    cr_assert_eq(in(RIS) & (RX | RT), 0);
}

Test(pl011, other_bits_of_lcr_h_leave_the_fifo_alone)
{
    loop_bytes(FEN, 2);

    out(LCR_H, FEN | 0x60);

    cr_assert_eq(in(DR), 0x30);
}

Test(pl011, receiver_that_is_off_hears_nothing_in_loop_back)
{
    out(CR, LBE | 0x101);
    out(DR, 'x');
    out(CR, LBE | 0x300);
    out(DR, 'x');

    cr_assert_eq(in(FR)&RXFE, RXFE);
    cr_assert_eq(plat_metric(&p, "tx_bytes"), 0);
}

/* ---- modem lines ---- */

Test(pl011, loop_back_joins_modem_outputs_and_inputs)
{
    static const struct {
        uint32_t cr, fr;
    } rows[] = { { 0x400, 0x002 }, { 0x800, 0x001 }, { 0x1000, 0x004 }, { 0x2000, 0x100 } };

    for (unsigned i = 0; i < 4; i++) {
        out(CR, LBE | rows[i].cr);
        cr_assert_eq(in(FR)&0x107, rows[i].fr, "%u", i);
    }
}

Test(pl011, changed_modem_lines_interrupt)
{
    out(CR, LOOP | 0x1c00); /* as they are outside */
    out(ICR, ALL);

    out(CR, LOOP | 0x2000);

    cr_assert_eq(in(RIS), 0xf);
    out(ICR, 0x3);
    cr_assert_eq(in(RIS), 0xc);
}

/* ---- life ---- */

Test(pl011, state_survives_a_round_trip)
{
    loop_bytes(FEN, 33);
    out(IMSC, RX | RT);
    out(IBRD, 0x1234);
    out(FBRD, 0x15);
    out(ILPR, 0x77);
    out(DMACR, 0x05);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert(p.pin[0].level);
    cr_assert_eq(in(IBRD), 0x1234);
    cr_assert_eq(in(DR), 0x30);
    out(DR, 'x'); /* the overrun was not forgotten */
    for (unsigned i = 1; i < 32; i++)
        in(DR);
    cr_assert_eq(in(DR), 0x800 | 'x');
}

/* As the device's table saves it. */
struct saved {
    uint16_t ibrd, cr, imsc, ris;
    uint8_t rsr, ilpr, fbrd, lcr_h, ifls, dmacr;
    bool overrun;
    uint32_t rx_count;
    struct {
        uint8_t byte, errors;
    } rx[32];
};

Test(pl011, nonsense_is_not_loaded)
{
    const struct saved bad[] = {
        { .cr = 0x08 },
        { .imsc = 0x800 },
        { .ris = RT },
        { .ris = 0x80 },
        { .ris = RX },
        { .rsr = 0x01 },
        { .fbrd = 0x40 },
        { .ifls = 0x40 },
        { .dmacr = 0x08 },
        { .rx_count = 2 },
        { .rx_count = 1, .rx = { { 0, 0x01 } } },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_eq(plat_load_state(&p, &bad[i]), -EINVAL, "%zu", i);
    cr_assert_str_eq(vm_error_text(), "dut: registers LCR_H 0, CR 0, IFLS 0, IMSC 0, RIS 0, RSR 0, "
                                      "FBRD 0, DMACR 0 with 1 characters cannot be");
}

Test(pl011, refused_state_leaves_the_device_as_after_reset)
{
    const struct saved bad = { .cr = 0x08 };
    out(DR, 'x');
    out(IMSC, TX);

    cr_assert_eq(plat_load_state(&p, &bad), -EINVAL);

    cr_assert_eq(in(RIS), 0);
    cr_assert_not(p.pin[0].level);
}

Test(pl011, needs_its_place_on_the_bus)
{
    struct pl011_config config = { .chr = { .mode = VCHAR_NULL } };
    struct plat other;
    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, UINT64_MAX - 0xff, 0x1000 };
    other.context.config = &config;

    cr_assert_eq(plat_create(&other, &pl011_class), -EINVAL);

    plat_close(&other);
}

Test(pl011, works_without_an_interrupt)
{
    struct pl011_config config = { .chr = { .mode = VCHAR_NULL } };
    struct plat other;
    cr_assert_eq(plat_open(&other), 0);
    other.irqs[0] = NULL;
    other.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    other.context.config = &config;

    cr_assert_eq(plat_create(&other, &pl011_class), 0);
    plat_write(&other, IMSC, 4, TX);
    plat_write(&other, DR, 4, 'x');

    cr_assert_eq(plat_read(&other, MIS, 4), TX);
    plat_close(&other);
}
