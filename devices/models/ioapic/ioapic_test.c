/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class ioapic_class;

#define BASE   0xfec00000ULL
#define SELECT (BASE + 0x00)
#define WINDOW (BASE + 0x10)
#define EOI    (BASE + 0x40)

#define LEVEL  0x8000U
#define MASKED 0x10000U
#define IRR    0x4000U

/* As the device's table saves it (docs: ioapic.md). */
struct saved {
    uint8_t select, id;
    uint32_t levels;
    uint32_t entry_count;
    uint64_t entry[24];
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    cr_assert_eq(plat_create(&p, &ioapic_class), 0);
}

static void teardown(void)
{
    plat_close(&p);
}

TestSuite(ioapic, .init = setup, .fini = teardown);

static uint32_t reg_get(uint8_t index)
{
    plat_write(&p, SELECT, 4, index);
    return (uint32_t)plat_read(&p, WINDOW, 4);
}

static void reg_set(uint8_t index, uint32_t value)
{
    plat_write(&p, SELECT, 4, index);
    plat_write(&p, WINDOW, 4, value);
}

static uint8_t low(unsigned pin)
{
    return (uint8_t)(0x10 + 2 * pin);
}

static void entry_set(unsigned pin, uint8_t dest, uint32_t value)
{
    reg_set(low(pin) + 1, (uint32_t)dest << 24);
    reg_set(low(pin), value);
}

static void input(unsigned pin, bool level)
{
    vdev_irq_set(p.dev->ops->irq_line(p.dev, pin), level);
}

static void eoi(uint8_t vector)
{
    p.dev->ops->eoi(p.dev, vector);
}

static struct saved state_now(void)
{
    struct saved s = { 0 };

    p.dev->ops->save(p.dev, &s);
    return s;
}

Test(ioapic, version_says_24_entries)
{
    cr_assert_eq(reg_get(1), 0x170020);
}

Test(ioapic, entries_are_masked_at_power_on)
{
    for (unsigned n = 0; n < 24; n++) {
        cr_assert_eq(reg_get(low(n)), MASKED);
        cr_assert_eq(reg_get(low(n) + 1), 0);
    }
}

Test(ioapic, id_has_four_bits_and_shows_as_arbitration_id)
{
    reg_set(0, 0xffffffff);

    cr_assert_eq(reg_get(0), 0x0f000000);
    cr_assert_eq(reg_get(2), 0x0f000000);
}

Test(ioapic, version_and_arbitration_cannot_be_written)
{
    reg_set(1, 0);
    reg_set(2, 0x05000000);

    cr_assert_eq(reg_get(1), 0x170020);
    cr_assert_eq(reg_get(2), 0);
}

Test(ioapic, read_only_bits_of_an_entry_keep_their_value)
{
    reg_set(low(3), 0xffffffff);
    reg_set(low(3) + 1, 0xffffffff);

    cr_assert_eq(reg_get(low(3)), 0x1afff, "delivery status and remote IRR are not the guest's");
    cr_assert_eq(reg_get(low(3) + 1), 0xff000000);
}

Test(ioapic, indexes_that_do_not_exist_read_zero_and_ignore_writes)
{
    struct vm_buffer before, after;
    static const uint8_t none[] = { 3, 0xf, 0x40, 0x41, 0xff };

    plat_write(&p, SELECT, 4, 0xff);
    before = plat_save(&p);
    for (unsigned i = 0; i < sizeof(none); i++) {
        reg_set(none[i], 0xffffffff);
        cr_assert_eq(reg_get(none[i]), 0);
    }
    after = plat_save(&p);

    cr_assert_eq(before.len, after.len);
    cr_assert_arr_eq(before.data, after.data, before.len);
    vm_buffer_free(&before);
    vm_buffer_free(&after);
}

Test(ioapic, select_reads_back)
{
    plat_write(&p, SELECT, 4, 0xffffff12);

    cr_assert_eq(plat_read(&p, SELECT, 4), 0x12);
}

Test(ioapic, select_is_a_byte_and_takes_any_width)
{
    for (unsigned len = 1; len <= 8; len++) {
        plat_write(&p, SELECT, len, 0x10 + len);
        cr_assert_eq(plat_read(&p, SELECT, 1), 0x10 + len);
    }
}

Test(ioapic, window_takes_and_gives_words_only)
{
    reg_set(0, 0x03000000);

    for (unsigned len = 1; len <= 8; len++) {
        if (len == 4)
            continue;
        plat_write(&p, WINDOW, len, 0x0500000005000000ULL);
        cr_assert_eq(plat_read(&p, WINDOW, len), 0);
    }

    cr_assert_eq(reg_get(0), 0x03000000);
}

Test(ioapic, the_rest_of_the_page_is_zero)
{
    for (uint64_t at = 0; at < 0x1000; at += 4)
        if (at != 0 && at != 0x10) {
            plat_write(&p, BASE + at, 4, 0xffffffff);
            cr_assert_eq(plat_read(&p, BASE + at, 4), 0);
        }
}

Test(ioapic, has_24_inputs)
{
    cr_assert_not_null(p.dev->ops->irq_line(p.dev, 23));
    cr_assert_eq(p.dev->ops->irq_line(p.dev, 23)->number, 23);
    cr_assert_null(p.dev->ops->irq_line(p.dev, 24));
}

Test(ioapic, rising_edge_sends_one_message)
{
    entry_set(4, 7, 0x31);

    input(4, true);
    input(4, true);
    input(4, false);

    cr_assert_eq(p.messages, 1);
    cr_assert_eq(p.message[0].addr, 0xfee07000);
    cr_assert_eq(p.message[0].data, 0x31);
    cr_assert_eq(plat_metric(&p, "sent"), 1);
}

Test(ioapic, each_edge_sends_without_an_end_of_interrupt)
{
    entry_set(4, 0, 0x31);

    for (unsigned i = 0; i < 3; i++) {
        input(4, true);
        input(4, false);
    }

    cr_assert_eq(p.messages, 3);
    cr_assert_eq(reg_get(low(4)) & IRR, 0);
}

Test(ioapic, message_carries_logical_destination_and_mode)
{
    entry_set(4, 0x0f, 0x31 | 1 << 8 | 1 << 11);

    input(4, true);

    cr_assert_eq(p.message[0].addr, 0xfee0f004);
    cr_assert_eq(p.message[0].data, 0x131);
}

Test(ioapic, edge_at_a_masked_pin_is_lost)
{
    entry_set(4, 0, 0x31 | MASKED);

    input(4, true);
    reg_set(low(4), 0x31);

    cr_assert_eq(p.messages, 0, "82093AA, 3.2.4: ignored, not held pending");
}

Test(ioapic, level_input_sends_once_and_sets_remote_irr)
{
    entry_set(10, 2, 0x41 | LEVEL);

    input(10, true);
    input(10, false);
    input(10, true);

    cr_assert_eq(p.messages, 1);
    cr_assert_eq(p.message[0].addr, 0xfee02000);
    cr_assert_eq(p.message[0].data, 0x41 | 0xc000);
    cr_assert_eq(reg_get(low(10)), 0x41 | LEVEL | IRR);
}

Test(ioapic, end_of_interrupt_clears_remote_irr)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);
    input(10, false);

    eoi(0x41);

    cr_assert_eq(p.messages, 1);
    cr_assert_eq(reg_get(low(10)), 0x41 | LEVEL);
    cr_assert_eq(plat_metric(&p, "ended"), 1);
}

Test(ioapic, level_that_is_still_high_is_sent_again_at_the_end)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    eoi(0x41);

    cr_assert_eq(p.messages, 2);
    cr_assert_eq(reg_get(low(10)) & IRR, IRR);
}

Test(ioapic, end_of_another_vector_changes_nothing)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    eoi(0x42);

    cr_assert_eq(p.messages, 1);
    cr_assert_eq(reg_get(low(10)) & IRR, IRR);
}

Test(ioapic, pins_that_share_a_vector_end_together)
{
    entry_set(10, 0, 0x41 | LEVEL);
    entry_set(11, 1, 0x41 | LEVEL);
    input(10, true);
    input(11, true);
    input(10, false);

    eoi(0x41);

    cr_assert_eq(p.messages, 3, "pin 11 is still high");
    cr_assert_eq(p.message[2].addr, 0xfee01000);
    cr_assert_eq(reg_get(low(10)) & IRR, 0);
    cr_assert_eq(reg_get(low(11)) & IRR, IRR);
}

Test(ioapic, register_ends_interrupts_too)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);
    input(10, false);

    plat_write(&p, EOI, 1, 0x41);
    cr_assert_eq(reg_get(low(10)) & IRR, IRR, "32 bits wide");
    plat_write(&p, EOI, 4, 0x41);

    cr_assert_eq(reg_get(low(10)) & IRR, 0);
    cr_assert_eq(plat_read(&p, EOI, 4), 0);
}

Test(ioapic, high_level_is_sent_when_the_pin_is_unmasked)
{
    entry_set(10, 0, 0x41 | LEVEL | MASKED);
    input(10, true);
    cr_assert_eq(p.messages, 0);

    reg_set(low(10), 0x41 | LEVEL);

    cr_assert_eq(p.messages, 1);
}

Test(ioapic, unmasking_does_not_send_what_is_in_service)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    reg_set(low(10), 0x41 | LEVEL | MASKED);
    reg_set(low(10), 0x41 | LEVEL);

    cr_assert_eq(p.messages, 1);
}

Test(ioapic, interrupt_masked_in_service_ends_and_comes_again_when_unmasked)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);
    reg_set(low(10), 0x41 | LEVEL | MASKED);

    eoi(0x41);
    cr_assert_eq(p.messages, 1);
    reg_set(low(10), 0x41 | LEVEL);

    cr_assert_eq(p.messages, 2);
}

Test(ioapic, switching_to_edge_clears_remote_irr)
{
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    reg_set(low(10), 0x41 | MASKED);

    cr_assert_eq(reg_get(low(10)), 0x41 | MASKED);
}

static void lower(void *ctx)
{
    (*(unsigned *)ctx)++;
    input(10, false);
}

Test(ioapic, driver_of_the_line_may_lower_it_at_the_end)
{
    struct vdev_irq *irq = p.dev->ops->irq_line(p.dev, 10);
    unsigned calls = 0;

    irq->eoi = lower;
    irq->eoi_ctx = &calls;
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    eoi(0x41);

    cr_assert_eq(calls, 1);
    cr_assert_eq(p.messages, 1, "told before the line was looked at");
}

Test(ioapic, driver_of_a_line_that_is_low_is_not_told)
{
    struct vdev_irq *irq = p.dev->ops->irq_line(p.dev, 10);
    unsigned calls = 0;

    irq->eoi = lower;
    irq->eoi_ctx = &calls;
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);
    input(10, false);

    eoi(0x41);

    cr_assert_eq(calls, 0);
    cr_assert_eq(reg_get(low(10)) & IRR, 0);
}

Test(ioapic, machine_hears_of_level_pins_only)
{
    entry_set(4, 0, 0x31);
    cr_assert_eq(p.routed, 0);

    entry_set(10, 3, 0x41 | LEVEL);

    cr_assert_eq(p.routed, 1);
    cr_assert(p.route[10].on);
    cr_assert_eq(p.route[10].msi.addr, 0xfee03000);
    cr_assert_eq(p.route[10].msi.data, 0xc041);
}

Test(ioapic, machine_hears_of_changes_and_nothing_twice)
{
    entry_set(10, 3, 0x41 | LEVEL);

    reg_set(low(10), 0x41 | LEVEL);
    cr_assert_eq(p.routed, 1);
    reg_set(low(10), 0x42 | LEVEL);

    cr_assert_eq(p.routed, 2);
    cr_assert_eq(p.route[10].msi.data, 0xc042);
}

Test(ioapic, masking_takes_the_route_away)
{
    entry_set(10, 3, 0x41 | LEVEL);

    reg_set(low(10), 0x41 | LEVEL | MASKED);

    cr_assert_not(p.route[10].on);
}

Test(ioapic, route_stays_while_a_masked_interrupt_is_in_service)
{
    entry_set(10, 3, 0x41 | LEVEL);
    input(10, true);

    reg_set(low(10), 0x41 | LEVEL | MASKED);

    cr_assert(p.route[10].on, "without it the hypervisor does not report the end");
}

Test(ioapic, switching_to_edge_takes_the_route_away)
{
    entry_set(10, 3, 0x41 | LEVEL);

    reg_set(low(10), 0x41);

    cr_assert_not(p.route[10].on);
}

Test(ioapic, works_where_nobody_asks_for_routes)
{
    static const struct vdev_machine_ops silent = { .event = plat_note_event };

    p.machine.ops = &silent;
    entry_set(10, 0, 0x41 | LEVEL);
    input(10, true);

    cr_assert_eq(p.messages, 1);
}

Test(ioapic, reset_is_power_on_but_for_the_inputs)
{
    reg_set(0, 0x03000000);
    entry_set(10, 3, 0x41 | LEVEL);
    input(10, true);

    cr_assert_eq(vdev_reset(p.dev, NULL), 0);

    cr_assert_eq(plat_read(&p, SELECT, 4), 0);
    cr_assert_eq(reg_get(0), 0);
    cr_assert_eq(reg_get(low(10)), MASKED);
    cr_assert_eq(reg_get(low(10) + 1), 0);
    cr_assert_not(p.route[10].on);
    reg_set(low(10), 0x41 | LEVEL);
    cr_assert_eq(p.messages, 2, "the wire is still high");
}

Test(ioapic, state_survives_a_round_trip)
{
    reg_set(0, 0x03000000);
    entry_set(10, 3, 0x41 | LEVEL);
    entry_set(4, 1, 0x31);
    input(10, true);

    cr_assert_eq(plat_round_trip(&p), 0);

    cr_assert_eq(reg_get(0), 0x03000000);
    cr_assert_eq(reg_get(low(10)), 0x41 | LEVEL | IRR);
    cr_assert(p.route[10].on, "a load tells the routes");
    cr_assert_eq(p.messages, 1);
    eoi(0x41);
    cr_assert_eq(p.messages, 2, "the input is still high");
}

#define REFUSED(change, text)                           \
    do {                                                \
        struct saved s = state_now();                   \
        change;                                         \
        cr_assert_eq(plat_load_state(&p, &s), -EINVAL); \
        cr_assert_str_eq(vm_error_text(), text);        \
    } while (0)

Test(ioapic, nonsense_is_not_loaded)
{
    REFUSED(s.entry_count = 23, "dut: 23 entries, id 0, inputs 0 cannot be");
    REFUSED(s.id = 16, "dut: 24 entries, id 16, inputs 0 cannot be");
    REFUSED(s.levels = 1 << 24, "dut: 24 entries, id 0, inputs 0x1000000 cannot be");
    REFUSED(s.entry[5] = 1 << 12, "dut: entry 5: 0x1000 has bits that do not exist");
    REFUSED(s.entry[5] = 1 << 14, "dut: entry 5: 0x4000 has remote IRR on an edge");
}

Test(ioapic, refused_state_leaves_the_device_reset)
{
    struct saved s;

    entry_set(10, 3, 0x41 | LEVEL);
    s = state_now();
    s.id = 0xff;

    cr_assert_eq(plat_load_state(&p, &s), -EINVAL);

    cr_assert_eq(reg_get(low(10)), MASKED);
}

Test(ioapic, needs_its_place_on_the_bus)
{
    struct plat other;

    cr_assert_eq(plat_open(&other), 0);
    other.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0 };

    cr_assert_eq(plat_create(&other, &ioapic_class), -EINVAL);

    plat_close(&other);
}
