/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* MSI-X: table, masks, pending bits, messages. */
#include <criterion/criterion.h>

#include "pci_test.h"

enum { TABLE = 0x1000, PBA = 0x2000, CAP = 0x40, VECTORS = 70 };

static struct world w;
static struct card *card;

static void setup(void)
{
    world_open(&w);
    w.config.first_bus = 0;
    world_root(&w);
    card = card_new("card");
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_MEM32, 0x4000), 0);
    cr_assert_eq(vpci_msix_add(&card->fn, VECTORS, 1, TABLE, PBA), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0);
    poke(&w, ecam_at(3, 0, 0x14), 4, MEM32_BASE);
    poke(&w, ecam_at(3, 0, 4), 2, 6);
}

static void teardown(void)
{
    card_free(card);
    world_close(&w);
}

TestSuite(msix, .init = setup, .fini = teardown);

static uint64_t entry(unsigned vector, unsigned reg)
{
    return MEM32_BASE + TABLE + vector * 16 + reg;
}

static void control(uint16_t value)
{
    poke(&w, ecam_at(3, 0, CAP + 2), 2, value);
}

static void program(unsigned vector, uint32_t data, bool masked)
{
    poke(&w, entry(vector, 0), 8, 0xfee01000);
    poke(&w, entry(vector, 8), 4, data);
    poke(&w, entry(vector, 12), 4, masked);
}

Test(msix, the_capability_shows_size_and_places)
{
    cr_assert_eq(peek(&w, ecam_at(3, 0, CAP), 4), 0x00450011);
    cr_assert_eq(peek(&w, ecam_at(3, 0, CAP + 4), 4), TABLE | 1);
    cr_assert_eq(peek(&w, ecam_at(3, 0, CAP + 8), 4), PBA | 1);
    control(0xffff);
    cr_assert_eq(peek(&w, ecam_at(3, 0, CAP + 2), 2), 0xc045, "only enable and mask are writable");
}

Test(msix, entries_start_masked_and_empty)
{
    cr_assert_eq(peek(&w, entry(69, 0), 8), 0);
    cr_assert_eq(peek(&w, entry(69, 8), 8), 1ULL << 32);
    cr_assert_eq(vpci_msix_table_bytes(&card->fn), 70 * 16);
}

Test(msix, the_table_is_written_in_dwords_and_qwords)
{
    poke(&w, entry(2, 0), 8, 0x1122334455667788);
    poke(&w, entry(2, 8), 8, 0xfffffffe99aabbcc);
    cr_assert_eq(peek(&w, entry(2, 0), 8), 0x1122334455667788);
    cr_assert_eq(peek(&w, entry(2, 8), 8), 0x99aabbcc, "reserved control bits stay 0");
    poke(&w, entry(2, 4), 4, 0xdeadbeef);
    poke(&w, entry(2, 0), 4, 0xffffffff);

    cr_assert_eq(peek(&w, entry(2, 0), 8), 0xdeadbeeffffffffc, "address is a multiple of 4");
}

Test(msix, other_writes_to_the_table_are_ignored)
{
    program(2, 0x1234, true);

    poke(&w, entry(2, 8), 1, 0xff);
    poke(&w, entry(2, 8), 2, 0xffff);
    poke(&w, entry(2, 10), 4, 0xffffffff);
    poke(&w, entry(2, 4), 8, UINT64_MAX);

    cr_assert_eq(peek(&w, entry(2, 0), 8), 0xfee01000);
    cr_assert_eq(peek(&w, entry(2, 8), 8), 0x100001234);
}

Test(msix, reads_of_any_width_are_answered)
{
    program(2, 0xa1b2c3d4, true);

    cr_assert_eq(peek(&w, entry(2, 9), 1), 0xc3);
    cr_assert_eq(peek(&w, entry(2, 10), 2), 0xa1b2);
    cr_assert_eq(peek(&w, entry(2, 10), 4), 0x0001a1b2);
    cr_assert_eq(peek(&w, entry(69, 12), 8), 1, "across the table's end: zeros");
    cr_assert_eq(peek(&w, MEM32_BASE + TABLE - 4, 8), 0);
}

Test(msix, the_rest_of_the_bar_is_the_devices)
{
    uint8_t byte;

    cr_assert_not(vpci_msix_read(&card->fn, TABLE - 1, &byte, 1));
    cr_assert(vpci_msix_read(&card->fn, TABLE, &byte, 1));
    cr_assert(vpci_msix_read(&card->fn, TABLE + 70 * 16 - 1, &byte, 1));
    cr_assert_not(vpci_msix_read(&card->fn, TABLE + 70 * 16, &byte, 1));
    cr_assert(vpci_msix_write(&card->fn, PBA + 15, &byte, 1));
    cr_assert_not(vpci_msix_write(&card->fn, PBA + 16, &byte, 1));
    cr_assert_not(vpci_msix_write(&card->fn, UINT64_MAX - 7, &byte, 8));
    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xb1);
}

Test(msix, an_unmasked_vector_is_sent_with_the_requester_id)
{
    program(1, 0x4041, false);
    control(0x8000);

    vpci_msix_notify(&card->fn, 1);

    cr_assert_eq(w.sent, 1);
    cr_assert_eq(w.msi.addr, 0xfee01000);
    cr_assert_eq(w.msi.data, 0x4041);
    cr_assert_eq(w.msi.devid, vpci_sbdf(0, 0, 3, 0));
    cr_assert_eq(peek(&w, MEM32_BASE + PBA, 8), 0);
}

Test(msix, nothing_happens_while_it_is_off_or_for_no_vector)
{
    program(1, 0x4041, false);

    vpci_msix_notify(&card->fn, 1);
    control(0x8000);
    vpci_msix_notify(&card->fn, VECTORS);
    vpci_msix_notify(&card->fn, 0xffff);

    cr_assert_eq(w.sent, 0);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA, 8), 0);
}

Test(msix, a_masked_vector_waits_in_the_pending_bits)
{
    program(65, 0x41, true);
    control(0x8000);
    vpci_msix_notify(&card->fn, 65);
    vpci_msix_notify(&card->fn, 65);
    cr_assert_eq(w.sent, 0);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA + 8, 8), 2);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA + 8, 1), 2);
    poke(&w, MEM32_BASE + PBA + 8, 8, 0);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA + 8, 8), 2, "the PBA is read only");

    poke(&w, entry(65, 12), 4, 0);

    cr_assert_eq(w.sent, 1, "once");
    cr_assert_eq(w.msi.data, 0x41);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA + 8, 8), 0);
    cr_assert_eq(card->vector, 65);
    cr_assert(card->vector_on);
}

Test(msix, a_message_changed_while_masked_is_the_one_sent)
{
    program(1, 0x41, true);
    control(0x8000);
    vpci_msix_notify(&card->fn, 1);

    poke(&w, entry(1, 8), 8, 0x42);

    cr_assert_eq(w.sent, 1);
    cr_assert_eq(w.msi.data, 0x42);
}

Test(msix, the_function_mask_holds_all_back)
{
    program(1, 0x41, false);
    program(2, 0x42, false);
    program(3, 0x43, true);
    control(0xc000);
    for (unsigned v = 1; v < 4; v++)
        vpci_msix_notify(&card->fn, v);
    cr_assert_eq(w.sent, 0);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA, 8), 0xe);

    control(0x8000);

    cr_assert_eq(w.sent, 2);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA, 8), 0x8);
}

Test(msix, without_bus_mastering_messages_wait)
{
    program(1, 0x41, false);
    control(0x8000);
    poke(&w, ecam_at(3, 0, 4), 2, 2);

    vpci_msix_notify(&card->fn, 1);
    cr_assert_eq(w.sent, 0);
    poke(&w, ecam_at(3, 0, 4), 2, 6);

    cr_assert_eq(w.sent, 1);
    cr_assert_eq(peek(&w, MEM32_BASE + PBA, 8), 0);
}

Test(msix, the_device_hears_of_each_vectors_change)
{
    program(1, 0x41, false);
    cr_assert_eq(card->vectors_told, 0);

    control(0x8000);
    cr_assert_eq(card->vectors_told, 1);
    cr_assert(card->vector_on);
    poke(&w, entry(1, 8), 4, 0x99);
    cr_assert_eq(card->vectors_told, 2, "message changed while unmasked");
    poke(&w, entry(1, 8), 4, 0x99);
    cr_assert_eq(card->vectors_told, 2, "not changed");
    poke(&w, entry(1, 12), 4, 1);
    cr_assert_eq(card->vectors_told, 3);
    cr_assert_not(card->vector_on);
    poke(&w, entry(1, 8), 4, 0x77);
    cr_assert_eq(card->vectors_told, 3, "masked");
    poke(&w, entry(1, 12), 4, 0);
    control(0xc000);
    cr_assert_eq(card->vectors_told, 5);
    cr_assert_not(card->vector_on);
    control(0x4000);
    cr_assert_eq(card->vectors_told, 5, "off is no more than masked");
}

Test(msix, reset_tells_of_the_vectors_that_were_on)
{
    program(1, 0x41, false);
    control(0x8000);

    vpci_function_reset(&card->fn);

    cr_assert_eq(card->vectors_told, 2);
    cr_assert_not(card->vector_on);
}

Test(msix, the_line_is_quiet_while_it_is_enabled)
{
    vpci_intx_set(&card->fn, true);
    cr_assert(w.wire[3].level);

    control(0x8000);
    cr_assert_not(w.wire[3].level);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2) & 8, 0);
    control(0);

    cr_assert(w.wire[3].level);
}

Test(msix, what_makes_no_sense_is_refused)
{
    struct card *other = card_new("other");
    cr_assert_eq(card_bar(other, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(card_bar(other, 1, VPCI_BAR_IO, 0x1000), 0);

    cr_assert_eq(vpci_msix_add(&other->fn, 0, 0, 0, 0x800), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "other: MSI-X with 0 vectors: use 1 to 2048, once");
    cr_assert_eq(vpci_msix_add(&other->fn, 2049, 0, 0, 0x800), -EINVAL);
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 1, 0, 0x800), -EINVAL, "an I/O BAR");
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 2, 0, 0x800), -EINVAL);
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 6, 0, 0x800), -EINVAL);
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 4, 0x800), -EINVAL);
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 0, 0x18), -EINVAL, "overlap");
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 0, 0x1000), -EINVAL, "outside");
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 0, 0xff8), 0);
    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 0, 0xff8), -EINVAL, "twice");
    card_free(other);
}

Test(msix, it_needs_room_for_its_capability)
{
    struct card *other = card_new("other");
    unsigned at;
    cr_assert_eq(card_bar(other, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(vpci_cap_add(&other->fn, 9, NULL, NULL, 0xb8, &at), 0);

    cr_assert_eq(vpci_msix_add(&other->fn, 2, 0, 0, 0x800), -ENOSPC);

    cr_assert_eq(other->fn.msix.cap, 0);
    card_free(other);
}
