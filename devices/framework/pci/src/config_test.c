/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Configuration space: header, capabilities, INTx, reset. */
#include <criterion/criterion.h>

#include "pci_test.h"

static struct world w;

static struct card *plugged(const char *addr)
{
    struct card *card = card_new("card");

    cr_assert_eq(vpci_plug(w.root, &card->fn, addr), 0, "%s", vm_error_text());
    return card;
}

static void setup(void)
{
    world_open(&w);
    world_root(&w);
}

static void teardown(void)
{
    world_close(&w);
}

TestSuite(config, .init = setup, .fini = teardown);

Test(config, ids_stand_where_the_specification_says)
{
    struct card *card = plugged("3");

    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 4), 0x10441af4);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 8), 4), 0x00ff0101);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x2c), 4), 0x11001af4);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x0e), 1), 0);
    card_free(card);
}

Test(config, ids_cannot_be_written)
{
    struct card *card = plugged("3");

    for (unsigned reg = 0; reg < 0x40; reg += 4)
        cr_assert_eq(poke(&w, ecam_at(3, 0, reg), 4, 0xffffffff), 0);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 4), 0x10441af4);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 8), 4), 0x00ff0101);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x0c), 4), 0x000000ff, "cache line size only");
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x2c), 4), 0x11001af4);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x30), 4), 0, "no expansion ROM");
    card_free(card);
}

Test(config, the_command_register_has_its_implemented_bits_only)
{
    struct card *card = plugged("3");

    poke(&w, ecam_at(3, 0, 4), 2, 0xffff);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 4), 2), 0x0507);
    cr_assert(vpci_bus_master(&card->fn));
    poke(&w, ecam_at(3, 0, 4), 2, 3);
    cr_assert_not(vpci_bus_master(&card->fn));
    card_free(card);
}

Test(config, status_errors_are_cleared_by_writing_ones)
{
    struct card *card = plugged("3");
    vm_store_le(card->fn.config + REG_STATUS, 2, 0xf900);

    poke(&w, ecam_at(3, 0, 6), 2, 0x3000);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2), 0xc900);
    poke(&w, ecam_at(3, 0, 6), 2, 0);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2), 0xc900);
    card_free(card);
}

Test(config, interrupt_line_is_the_guests_to_use)
{
    struct card *card = plugged("3");

    poke(&w, ecam_at(3, 0, 0x3c), 2, 0xaa0b);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x3c), 2), 0x010b);
    card_free(card);
}

Test(config, accesses_not_inside_one_dword_do_nothing)
{
    struct card *card = card_new("card");

    cr_assert_eq(vpci_config_read(&card->fn, 2, 4), UINT32_MAX);
    cr_assert_eq(vpci_config_read(&card->fn, 0, 3), UINT32_MAX);
    cr_assert_eq(vpci_config_read(&card->fn, 4096, 1), UINT32_MAX);
    cr_assert_eq(vpci_config_read(&card->fn, UINT32_MAX, 2), UINT32_MAX);
    cr_assert_eq(vpci_config_write(&card->fn, 5, 4, UINT32_MAX), 0);
    cr_assert_eq(vpci_config_read(&card->fn, 4, 4), 0);
    cr_assert_eq(card->written, 0);
    card_free(card);
}

Test(config, any_width_and_alignment_of_ecam_works)
{
    struct card *card = plugged("3");
    poke(&w, ecam_at(3, 0, 0x3c), 1, 0x77);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 8), 0x0000000010441af4ULL);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 1), 2), 0x441a);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 3), 4), 0x00000010);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 1), 8), 0x010000000010441aULL);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x39), 4), 0x77000000);
    cr_assert_eq(poke(&w, ecam_at(3, 0, 0x09), 8, 0x5500000055ULL << 24), 0);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x0c), 1), 0x55);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0xffd), 4), 0xffffffff, "beyond the function");
    card_free(card);
}

Test(config, an_eight_byte_write_is_two_dwords)
{
    struct card *card = plugged("3");
    card_free(card);
    card = card_new("card");
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM64, 0x1000), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0);

    poke(&w, ecam_at(3, 0, 0x10), 8, 0x900000000ULL);

    cr_assert_eq(card->written, 2);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x10), 8), 0x900000004ULL);
    card_free(card);
}

Test(config, the_device_sees_reads_before_and_writes_after)
{
    struct card *card = plugged("3");
    struct vdev *who = NULL;
    uint8_t zero[4] = { 0 };

    peek(&w, ecam_at(3, 0, 0), 4);
    cr_assert_eq(card->refreshed, 1);
    card->write_rc = -EINPROGRESS;
    cr_assert_eq(vdev_bus_write(&w.reader, ecam_at(3, 0, 0x40), zero, 4, &who), -EINPROGRESS);

    cr_assert_eq(who, &card->dev);
    cr_assert_eq(card->written, 1);
    card_free(card);
}

Test(config, capabilities_form_a_list)
{
    struct card *card = card_new("card");
    const uint8_t body[] = { 0, 0, 0x11, 0x22, 0x33 }, mask[] = { 0xff, 0xff, 0, 0xff, 0 };
    unsigned first, second;

    cr_assert_eq(vpci_cap_add(&card->fn, 0x09, body, mask, sizeof(body), &first), 0);
    cr_assert_eq(vpci_cap_add(&card->fn, 0x05, NULL, NULL, 8, &second), 0);

    cr_assert_eq(first, 0x40);
    cr_assert_eq(second, 0x48, "aligned to a dword");
    cr_assert_eq(vpci_config_read(&card->fn, 0x34, 1), 0x40);
    cr_assert_eq(vpci_config_read(&card->fn, 6, 2), 0x10);
    cr_assert_eq(vpci_config_read(&card->fn, 0x40, 4), 0x22114809);
    cr_assert_eq(vpci_config_read(&card->fn, 0x48, 4), 0x00000005);
    vpci_config_write(&card->fn, 0x40, 4, 0xffffffff);
    cr_assert_eq(vpci_config_read(&card->fn, 0x40, 4), 0xff114809, "header and masked byte stay");
    card_free(card);
}

Test(config, a_capability_that_does_not_fit_changes_nothing)
{
    struct card *card = card_new("card");
    unsigned at = 7;

    cr_assert_eq(vpci_cap_add(&card->fn, 9, NULL, NULL, 0xc1, &at), -ENOSPC);
    cr_assert_str_eq(vm_error_text(), "card: capability 0x09 of 193 bytes does not fit at 0x40");
    cr_assert_eq(vpci_cap_add(&card->fn, 9, NULL, NULL, 1, &at), -ENOSPC);
    cr_assert_eq(vpci_cap_add(&card->fn, 9, NULL, NULL, UINT32_MAX, &at), -ENOSPC);

    cr_assert_eq(at, 7);
    cr_assert_eq(vpci_config_read(&card->fn, 0x34, 1), 0);
    cr_assert_eq(vpci_cap_add(&card->fn, 9, NULL, NULL, 0xc0, &at), 0);
    cr_assert_eq(vpci_cap_add(&card->fn, 9, NULL, NULL, 2, &at), -ENOSPC);
    card_free(card);
}

Test(config, extended_capabilities_begin_at_0x100)
{
    struct card *card = card_new("card");
    const uint8_t body[] = { 0, 0, 0, 0, 0xaa, 0xbb };
    unsigned first, second;

    cr_assert_eq(vpci_ext_cap_add(&card->fn, 0x0003, 1, body, sizeof(body), &first), 0);
    cr_assert_eq(vpci_ext_cap_add(&card->fn, 0x0001, 2, NULL, 4096 - 0x108, &second), 0);

    cr_assert_eq(first, 0x100);
    cr_assert_eq(second, 0x108);
    cr_assert_eq(vpci_config_read(&card->fn, 0x100, 4), 0x10810003);
    cr_assert_eq(vpci_config_read(&card->fn, 0x104, 4), 0x0000bbaa);
    cr_assert_eq(vpci_config_read(&card->fn, 0x108, 4), 0x00020001);
    cr_assert_eq(vpci_ext_cap_add(&card->fn, 1, 1, NULL, 4, &first), -ENOSPC);
    cr_assert_eq(vpci_ext_cap_add(&card->fn, 1, 1, NULL, 3, &first), -ENOSPC);
    card_free(card);
}

Test(config, the_express_capability_says_what_the_function_is)
{
    struct card *card = card_new("card"), *port = card_new("port");

    cr_assert_eq(vpci_express_cap_add(&card->fn, false), 0);
    cr_assert_eq(vpci_express_cap_add(&port->fn, true), 0);

    cr_assert_eq(vpci_config_read(&card->fn, 0x40, 4), 0x00920010);
    cr_assert_eq(vpci_config_read(&card->fn, 0x4c, 4), 0, "an integrated endpoint has no link");
    cr_assert_eq(vpci_config_read(&port->fn, 0x40, 4), 0x00420010);
    cr_assert_eq(vpci_config_read(&port->fn, 0x52, 2), 0x2011);
    cr_assert_eq(vpci_config_read(&card->fn, 0x48, 2), 0x2810);
    vpci_config_write(&card->fn, 0x48, 2, 0xffff);
    cr_assert_eq(vpci_config_read(&card->fn, 0x48, 2), 0x78ff);
    cr_assert_eq(vpci_express_cap_add(&card->fn, false) | vpci_express_cap_add(&card->fn, false) |
                     vpci_express_cap_add(&card->fn, false),
                 -ENOSPC);
    card_free(card);
    card_free(port);
}

Test(config, intx_follows_level_and_command_register)
{
    struct card *card = plugged("3");
    cr_assert_eq(card->fn.intx->number, 19);

    vpci_intx_set(&card->fn, true);
    cr_assert(w.wire[3].level);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2) & 8, 8);
    poke(&w, ecam_at(3, 0, 4), 2, 0x400);
    cr_assert_not(w.wire[3].level);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2) & 8, 8, "the status still shows it");
    poke(&w, ecam_at(3, 0, 4), 2, 0);
    cr_assert(w.wire[3].level);
    vpci_intx_set(&card->fn, false);

    cr_assert_not(w.wire[3].level);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2) & 8, 0);
    cr_assert_eq(w.wire[3].changes, 4);
    card_free(card);
}

Test(config, a_shared_line_is_high_while_one_holds_it)
{
    struct card *a = plugged("3"), *b = plugged("7");

    vpci_intx_set(&a->fn, true);
    vpci_intx_set(&b->fn, true);
    vpci_intx_set(&a->fn, false);
    cr_assert(w.wire[3].level);
    vpci_intx_set(&b->fn, false);

    cr_assert_not(w.wire[3].level);
    card_free(a);
    card_free(b);
}

static struct vdev_irq *lowered_meanwhile;

/* Another thread lowers the line before this one has shown that it is high. */
static void slow_wire_set(struct vdev_irq *irq, bool level)
{
    struct vdev_irq *line = lowered_meanwhile;

    lowered_meanwhile = NULL;
    if (line)
        line->set(line, false);
    wire_set(irq, level);
}

Test(config, the_line_shows_the_last_count_whoever_is_late)
{
    struct card *card = plugged("3");
    w.wire[3].irq.set = slow_wire_set;
    lowered_meanwhile = card->fn.intx;

    card->fn.intx->set(card->fn.intx, true);

    cr_assert_not(w.wire[3].level);
    cr_assert_eq(w.wire[3].changes, 3);
    card_free(card);
}

Test(config, unplugging_lets_the_line_go)
{
    struct card *card = plugged("3");
    vpci_intx_set(&card->fn, true);

    card_free(card);

    cr_assert_not(w.wire[3].level);
}

Test(config, functions_use_pins_in_turn)
{
    struct card *a = plugged("4.0"), *b = plugged("4.1"), *c = plugged("4.6");
    struct card *none = card_new("none");
    none->fn.no_intx = true;
    cr_assert_eq(vpci_plug(w.root, &none->fn, "5"), 0);

    cr_assert_eq(peek(&w, ecam_at(4, 0, 0x3d), 1), 1);
    cr_assert_eq(peek(&w, ecam_at(4, 1, 0x3d), 1), 2);
    cr_assert_eq(peek(&w, ecam_at(4, 6, 0x3d), 1), 3);
    cr_assert_eq(peek(&w, ecam_at(5, 0, 0x3d), 1), 0);
    vpci_intx_set(&b->fn, true);
    cr_assert(w.wire[1].level);
    vpci_intx_set(&none->fn, true);
    cr_assert_eq(w.wire[0].changes + w.wire[2].changes + w.wire[3].changes, 0);
    card_free(a);
    card_free(b);
    card_free(c);
    card_free(none);
}

Test(config, reset_gives_the_power_on_state_back)
{
    struct card *card = card_new("card");
    uint8_t before[256];
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(vpci_express_cap_add(&card->fn, false), 0);
    cr_assert_eq(vpci_msix_add(&card->fn, 2, 0, 0, 0x800), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0);
    memcpy(before, card->fn.config, sizeof(before));
    poke(&w, ecam_at(3, 0, 0x10), 4, MEM32_BASE);
    for (unsigned reg = 0x3c; reg < 0x100; reg += 4)
        poke(&w, ecam_at(3, 0, reg), 4, 0xffffffff);
    poke(&w, ecam_at(3, 0, 4), 2, 7);
    poke(&w, MEM32_BASE, 4, 0xfee00000);
    vpci_intx_set(&card->fn, true);
    cr_assert(card->fn.bar[0].mapped);

    vpci_function_reset(&card->fn);

    cr_assert_arr_eq(card->fn.config, before, sizeof(before));
    cr_assert_not(card->fn.bar[0].mapped);
    cr_assert_eq(card->moved_to[0], 0);
    cr_assert_not(vpci_msix_enabled(&card->fn));
    cr_assert_eq(card->fn.msix.entry[0].addr, 0);
    cr_assert_eq(card->fn.msix.entry[0].control, 1);
    cr_assert_not(w.wire[3].level);
    cr_assert_eq(peek(&w, MEM32_BASE, 4), 0xffffffff);
    card_free(card);
}
