/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Addresses for BARs. */
#include <criterion/criterion.h>

#include "pci_test.h"

static struct world w;

static struct card *with_bar(const char *name, const char *addr, unsigned n,
                             enum vpci_bar_kind kind, uint64_t size)
{
    struct card *card = card_new(name);

    cr_assert_eq(card_bar(card, n, kind, size), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, addr), 0);
    return card;
}

static void setup(void)
{
    world_open(&w);
}

static void teardown(void)
{
    world_close(&w);
}

TestSuite(assign, .init = setup, .fini = teardown);

Test(assign, largest_first_then_by_place)
{
    struct card *a, *b, *c;
    world_root(&w);
    c = with_bar("c", "4", 0, VPCI_BAR_MEM32, 0x1000);
    a = with_bar("a", "2", 1, VPCI_BAR_MEM32, 0x1000);
    b = with_bar("b", "3", 0, VPCI_BAR_MEM32, 0x10000);

    cr_assert_eq(vpci_root_assign(w.root), 0, "%s", vm_error_text());

    cr_assert_eq(vpci_bar_address(&b->fn, 0), MEM32_BASE);
    cr_assert_eq(vpci_bar_address(&a->fn, 1), MEM32_BASE + 0x10000);
    cr_assert_eq(vpci_bar_address(&c->fn, 0), MEM32_BASE + 0x11000);
    cr_assert_eq(peek(&w, MEM32_BASE + 0x10000, 1), 0xb1);
    cr_assert_eq(peek(&w, ecam_at(2, 0, 4), 2), 2);
    card_free(a);
    card_free(b);
    card_free(c);
}

Test(assign, each_kind_has_its_window)
{
    struct card *card = card_new("card");
    world_root(&w);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_IO, 0x20), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_MEM32, 0x10), 0);
    cr_assert_eq(card_bar(card, 2, VPCI_BAR_MEM64, 0x4000), 0);
    cr_assert_eq(card_bar(card, 4, VPCI_BAR_MEM64_PREFETCH, 0x100000), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, "1"), 0);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&card->fn, 0), IO_BASE);
    cr_assert_eq(vpci_bar_address(&card->fn, 1), MEM32_BASE);
    cr_assert_eq(vpci_bar_address(&card->fn, 4), MEM64_BASE);
    cr_assert_eq(vpci_bar_address(&card->fn, 2), MEM64_BASE + 0x100000);
    cr_assert_eq(peek(&w, ecam_at(1, 0, 4), 2), 3);
    for (unsigned n = 0; n < 5; n++)
        cr_assert_eq(card->fn.bar[n].mapped, n != 3);
    card_free(card);
}

Test(assign, ports_and_memory_do_not_stand_in_each_others_way)
{
    struct card *card = card_new("card");
    w.config.mem32 = (struct vpci_window){ IO_BASE, 0x10000 };
    world_root(&w);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_IO, 0x1000), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, NULL), 0);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&card->fn, 0), IO_BASE);
    cr_assert_eq(vpci_bar_address(&card->fn, 1), IO_BASE);
    card_free(card);
}

Test(assign, without_a_window_above_64_bit_bars_go_below)
{
    struct card *card;
    w.config.mem64 = (struct vpci_window){ 0 };
    world_root(&w);
    card = with_bar("card", NULL, 0, VPCI_BAR_MEM64, 0x4000);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&card->fn, 0), MEM32_BASE);
    card_free(card);
}

Test(assign, small_memory_bars_do_not_share_a_page)
{
    struct card *a, *b;
    world_root(&w);
    a = with_bar("a", "1", 0, VPCI_BAR_MEM32, 0x10);
    b = with_bar("b", "2", 0, VPCI_BAR_MEM32, 0x10);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&b->fn, 0), MEM32_BASE + 0x1000);
    card_free(a);
    card_free(b);
}

Test(assign, who_has_an_address_keeps_it)
{
    struct card *a, *b;
    world_root(&w);
    a = with_bar("a", "1", 0, VPCI_BAR_MEM32, 0x1000);
    b = with_bar("b", "2", 0, VPCI_BAR_MEM32, 0x2000);
    poke(&w, ecam_at(1, 0, 0x10), 4, MEM32_BASE + 0x1000);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&a->fn, 0), MEM32_BASE + 0x1000);
    cr_assert_eq(vpci_bar_address(&b->fn, 0), MEM32_BASE + 0x2000);
    cr_assert_eq(vpci_root_assign(w.root), 0, "again");
    cr_assert_eq(vpci_bar_address(&b->fn, 0), MEM32_BASE + 0x2000);
    card_free(a);
    card_free(b);
}

Test(assign, after_reset_the_same_addresses_come_again)
{
    struct card *a, *b;
    world_root(&w);
    a = with_bar("a", "1", 0, VPCI_BAR_MEM32, 0x1000);
    b = with_bar("b", "2", 0, VPCI_BAR_MEM32, 0x2000);
    cr_assert_eq(vpci_root_assign(w.root), 0);
    poke(&w, ecam_at(1, 0, 0x10), 4, MEM32_BASE + 0x8000);

    vpci_function_reset(&a->fn);
    vpci_function_reset(&b->fn);
    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&a->fn, 0), MEM32_BASE + 0x2000);
    cr_assert_eq(vpci_bar_address(&b->fn, 0), MEM32_BASE);
    card_free(a);
    card_free(b);
}

Test(assign, address_0_is_never_given)
{
    struct card *card;
    w.config.io = (struct vpci_window){ 0, 0x1000 };
    world_root(&w);
    card = with_bar("card", NULL, 0, VPCI_BAR_IO, 0x40);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&card->fn, 0), 0x40);
    card_free(card);
}

Test(assign, a_full_window_is_explained_and_nothing_is_written)
{
    struct card *a, *b;
    world_root(&w);
    a = with_bar("a", "1", 0, VPCI_BAR_MEM32, 0x8000000);
    b = with_bar("b", "2", 2, VPCI_BAR_MEM32, 0x10000000);

    cr_assert_eq(vpci_root_assign(w.root), -ENOSPC);

    cr_assert_str_eq(vm_error_text(),
                     "a: BAR 0 of 0x8000000 bytes finds no room in the window of 0x10000000 bytes "
                     "at 0xc0000000 of PCI segment 0");
    cr_assert_eq(vpci_bar_address(&b->fn, 2), 0);
    cr_assert_eq(peek(&w, ecam_at(2, 0, 4), 2), 0);
    card_free(a);
    card_free(b);
}

Test(assign, no_window_at_all_is_full_too)
{
    struct card *card;
    w.config.io.size = 0;
    world_root(&w);
    card = with_bar("card", NULL, 0, VPCI_BAR_IO, 0x40);

    cr_assert_eq(vpci_root_assign(w.root), -ENOSPC);
    card_free(card);
}

Test(assign, firmwares_work_is_left_to_firmware)
{
    struct card *card;
    w.config.assign = false;
    world_root(&w);
    card = with_bar("card", NULL, 0, VPCI_BAR_MEM32, 0x40);

    cr_assert_eq(vpci_root_assign(w.root), 0);

    cr_assert_eq(vpci_bar_address(&card->fn, 0), 0);
    card_free(card);
}

Test(assign, a_device_without_function_0_is_refused)
{
    struct card *card;
    world_root(&w);
    card = with_bar("net0", "5.1", 0, VPCI_BAR_MEM32, 0x40);

    cr_assert_eq(vpci_root_assign(w.root), -EINVAL);

    cr_assert_str_eq(vm_error_text(),
                     "net0: PCI device 05 has function 1 but no function 0: guests "
                     "do not look for it; give one of its functions addr=05.0");
    card_free(card);
}
