/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* BARs: sizing, decoding, moving under traffic, overlap, outside the window. */
#include <pthread.h>

#include <criterion/criterion.h>

#include "pci_test.h"

static struct world w;
static struct card *card;

static void setup(void)
{
    world_open(&w);
    world_root(&w);
    card = card_new("card");
}

static void teardown(void)
{
    card_free(card);
    world_close(&w);
}

TestSuite(bar, .init = setup, .fini = teardown);

static void plug(void)
{
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0, "%s", vm_error_text());
}

static void set_bar(unsigned n, uint32_t value)
{
    poke(&w, ecam_at(3, 0, 0x10 + 4 * n), 4, value);
}

static uint32_t get_bar(unsigned n)
{
    return (uint32_t)peek(&w, ecam_at(3, 0, 0x10 + 4 * n), 4);
}

static void set_command(uint16_t value)
{
    poke(&w, ecam_at(3, 0, 4), 2, value);
}

Test(bar, writing_ones_tells_the_size)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x4000), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_IO, 0x40), 0);
    cr_assert_eq(card_bar(card, 2, VPCI_BAR_MEM64, 0x200000000ULL), 0);
    cr_assert_eq(card_bar(card, 4, VPCI_BAR_MEM64_PREFETCH, 0x1000), 0);
    plug();

    for (unsigned n = 0; n < 6; n++)
        set_bar(n, 0xffffffff);

    cr_assert_eq(get_bar(0), 0xffffc000);
    cr_assert_eq(get_bar(1), 0xffffffc1);
    cr_assert_eq(get_bar(2), 0x00000004);
    cr_assert_eq(get_bar(3), 0xfffffffe);
    cr_assert_eq(get_bar(4), 0xfffff00c);
    cr_assert_eq(get_bar(5), 0xffffffff);
}

Test(bar, a_bar_that_is_not_there_reads_zero)
{
    plug();

    set_bar(0, 0xffffffff);

    cr_assert_eq(get_bar(0), 0);
}

Test(bar, it_answers_only_while_its_decode_bit_is_set)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_IO, 0x20), 0);
    plug();
    set_bar(0, MEM32_BASE + 0x5000);
    set_bar(1, IO_BASE + 0x40);
    cr_assert_eq(peek(&w, MEM32_BASE + 0x5000, 1), 0xff);

    set_command(2);
    cr_assert_eq(peek(&w, MEM32_BASE + 0x5123, 1), 0xb0);
    cr_assert_eq(card->last_offset, 0x123);
    cr_assert_eq(in(&w, IO_BASE + 0x40, 1), 0xff);
    set_command(1);

    cr_assert_eq(peek(&w, MEM32_BASE + 0x5000, 1), 0xff);
    cr_assert_eq(in(&w, IO_BASE + 0x5f, 1), 0xb1);
    cr_assert_eq(card->moved[0], 2);
    cr_assert_eq(card->moved_to[0], 0);
    cr_assert_eq(card->moved_to[1], IO_BASE + 0x40);
}

Test(bar, it_follows_its_register)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    plug();
    set_command(2);

    set_bar(0, MEM32_BASE);
    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xb0);
    set_bar(0, MEM32_BASE + 0x1000);

    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xff);
    cr_assert_eq(peek(&w, MEM32_BASE + 0x1fff, 1), 0xb0);
    cr_assert_eq(card->fn.bar[0].region.base, MEM32_BASE + 0x1000);
    cr_assert_eq(card->moved[0], 2);
    cr_assert_eq(card->moved_to[0], MEM32_BASE + 0x1000);
}

Test(bar, writing_the_same_address_again_moves_nothing)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    plug();
    set_command(2);
    set_bar(0, MEM32_BASE);

    set_bar(0, MEM32_BASE);

    cr_assert_eq(card->moved[0], 1);
}

Test(bar, sizing_while_decoding_takes_it_away_and_back)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    plug();
    set_command(2);
    set_bar(0, MEM32_BASE);

    set_bar(0, 0xffffffff);
    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xff);
    cr_assert_eq(peek(&w, 0xfffff000, 1), 0xff);
    set_bar(0, MEM32_BASE);

    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xb0);
}

Test(bar, outside_the_window_it_answers_nothing)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x20000), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_IO, 0x100), 0);
    plug();
    set_command(3);

    set_bar(0, MEM32_BASE - 0x20000);
    cr_assert_not(card->fn.bar[0].mapped);
    set_bar(0, MEM32_BASE + MEM32_SIZE);
    cr_assert_not(card->fn.bar[0].mapped);
    set_bar(0, 0xfffe0000);
    cr_assert_not(card->fn.bar[0].mapped);
    set_bar(1, 0x10000 + IO_BASE);
    cr_assert_not(card->fn.bar[1].mapped);
    set_bar(0, MEM32_BASE + MEM32_SIZE - 0x20000);
    set_bar(1, IO_BASE + IO_SIZE - 0x100);

    cr_assert(card->fn.bar[0].mapped);
    cr_assert(card->fn.bar[1].mapped);
}

Test(bar, it_cannot_hide_configuration_space)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    plug();
    set_command(2);

    set_bar(0, (uint32_t)ecam_at(3, 0, 0));

    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 2), 0x1af4);
}

Test(bar, a_64_bit_bar_goes_above_4_gib_in_two_writes)
{
    cr_assert_eq(card_bar(card, 2, VPCI_BAR_MEM64, 0x4000), 0);
    plug();
    set_command(2);

    set_bar(2, 0x8000);
    cr_assert_not(card->fn.bar[2].mapped, "half written: 0x8000 is in no window");
    set_bar(3, 0x8);

    cr_assert_eq(peek(&w, MEM64_BASE + 0x8000, 1), 0xb2);
    cr_assert_eq(get_bar(2), 0x8004);
    set_bar(2, 0xc0004000);
    cr_assert_eq(peek(&w, MEM64_BASE + 0xc0004000ULL, 1), 0xb2, "half written: still above");
    set_bar(3, 0);
    cr_assert_eq(peek(&w, 0xc0004000ULL, 1), 0xb2, "a 64-bit BAR may lie below too");
}

Test(bar, of_two_on_one_place_the_first_answers)
{
    struct card *other = card_new("other");
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(card_bar(other, 1, VPCI_BAR_MEM32, 0x2000), 0);
    plug();
    cr_assert_eq(vpci_plug(w.root, &other->fn, "4"), 0);
    set_command(2);
    set_bar(0, MEM32_BASE);
    poke(&w, ecam_at(4, 0, 4), 2, 2);

    poke(&w, ecam_at(4, 0, 0x14), 4, MEM32_BASE);

    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xb0);
    cr_assert_eq(peek(&w, MEM32_BASE + 0x1000, 1), 0xb1);
    set_bar(0, MEM32_BASE + 0x10000);
    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xb1);
    card_free(other);
}

Test(bar, byte_writes_move_it_byte_by_byte)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    plug();
    set_command(2);
    set_bar(0, MEM32_BASE);

    poke(&w, ecam_at(3, 0, 0x12), 1, 0x34);

    cr_assert_eq(peek(&w, MEM32_BASE + 0x340000, 1), 0xb0);
}

Test(bar, what_makes_no_sense_is_refused)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 24), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "card: BAR 0 of 0x18 bytes: use a power of two from 16 to "
                                      "0x80000000");
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 8), -EINVAL);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 1ULL << 32), -EINVAL);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_IO, 1ULL << 17), -EINVAL);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_NONE, 16), -EINVAL);
    cr_assert_eq(card_bar(card, 6, VPCI_BAR_MEM32, 16), -EINVAL);
    cr_assert_eq(card_bar(card, 5, VPCI_BAR_MEM64, 16), -EINVAL);
    cr_assert_eq(card_bar(card, 2, VPCI_BAR_MEM64, 16), 0);
    cr_assert_eq(card_bar(card, 3, VPCI_BAR_IO, 16), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "card: BAR 3 is taken or not there");
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_MEM64, 16), -EINVAL);
    plug();
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_IO, 16), -EINVAL);
}

Test(bar, unplugged_functions_map_nothing)
{
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);

    vpci_config_write(&card->fn, 0x10, 4, MEM32_BASE);
    vpci_config_write(&card->fn, 4, 2, 2);

    cr_assert_not(card->fn.bar[0].mapped);
}

/* One vCPU moves a BAR, toggles decoding and lays it over another; two others read all places
 * and config space. */
struct traffic {
    unsigned stop, hits, wrong;
};

static void *read_places(void *ctx)
{
    struct traffic *t = ctx;
    struct vdev_bus_reader reader;

    vdev_bus_reader_init(w.mmio, &reader);
    while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
        for (unsigned i = 0; i < 8; i++) {
            uint8_t byte = 0, id[2] = { 0 };

            (void)vdev_bus_read(&reader, MEM32_BASE + i * 0x1000, &byte, 1, NULL);
            if (byte != 0xff && byte != 0xb0 && byte != 0xb1)
                __atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
            if (byte != 0xff)
                __atomic_fetch_add(&t->hits, 1, __ATOMIC_RELAXED);
            (void)vdev_bus_read(&reader, ecam_at(3, 0, 0), id, 2, NULL);
            if (vm_load_le(id, 2) != 0x1af4)
                __atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
        }
    }
    vdev_bus_reader_exit(&reader);
    return NULL;
}

Test(bar, moves_under_traffic_are_safe)
{
    struct card *other = card_new("other");
    struct traffic t = { 0 };
    pthread_t thread[2];
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(card_bar(other, 1, VPCI_BAR_MEM32, 0x2000), 0);
    plug();
    cr_assert_eq(vpci_plug(w.root, &other->fn, "4"), 0);
    poke(&w, ecam_at(4, 0, 0x14), 4, MEM32_BASE + 0x2000);
    poke(&w, ecam_at(4, 0, 4), 2, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, read_places, &t);

    for (unsigned i = 0; i < 2000 || __atomic_load_n(&t.hits, __ATOMIC_RELAXED) < 100; i++) {
        set_bar(0, (uint32_t)(MEM32_BASE + i % 8 * 0x1000));
        set_command(i % 5 ? 2 : 0);
        if (i % 7 == 0)
            set_bar(0, 0xffffffff);
    }
    __atomic_store_n(&t.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);

    cr_assert_eq(t.wrong, 0);
    card_free(other);
}
