/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Root buses: ECAM, CAM, host bridge, plugging and unplugging, addresses. */
#include <pthread.h>

#include <criterion/criterion.h>

#include "pci_test.h"

static struct world w;

static struct card *plugged(const char *name, const char *addr)
{
    struct card *card = card_new(name);

    cr_assert_eq(vpci_plug(w.root, &card->fn, addr), 0, "%s", vm_error_text());
    return card;
}

static uint32_t cam_read(unsigned device, unsigned function, unsigned reg, unsigned len)
{
    out(&w, 0xcf8, 4, 0x80000000u | device << 11 | function << 8 | (reg & 0xfc));
    return in(&w, (uint16_t)(0xcfc + (reg & 3)), len);
}

static void cam_write(unsigned device, unsigned function, unsigned reg, unsigned len,
                      uint32_t value)
{
    out(&w, 0xcf8, 4, 0x80000000u | device << 11 | function << 8 | (reg & 0xfc));
    out(&w, (uint16_t)(0xcfc + (reg & 3)), len, value);
}

static void setup(void)
{
    world_open(&w);
}

static void teardown(void)
{
    world_close(&w);
}

TestSuite(root, .init = setup, .fini = teardown);

Test(root, the_host_bridge_shows_where_ecam_is)
{
    uint64_t base, bytes;
    world_root(&w);

    cr_assert_eq(peek(&w, ecam_at(0, 0, 0), 4), 0x29c08086);
    cr_assert_eq(peek(&w, ecam_at(0, 0, 8), 4), 0x06000000);
    cr_assert_eq(peek(&w, ecam_at(0, 0, 0x60), 8), ECAM_BASE | 1, "256 MiB, enabled");
    cr_assert_eq(peek(&w, ecam_at(0, 0, 0x3d), 1), 0, "no pin");
    poke(&w, ecam_at(0, 0, 0x60), 8, 0);

    cr_assert_eq(peek(&w, ecam_at(0, 0, 0x60), 8), ECAM_BASE | 1, "read only");
    cr_assert(vpci_root_ecam(w.root, &base, &bytes));
    cr_assert_eq(base, ECAM_BASE);
    cr_assert_eq(bytes, 256 << 20);
}

Test(root, a_shorter_ecam_is_shown_by_its_length)
{
    w.config.last_bus = 63;
    w.config.ecam_base = 0xd4000000;
    world_root(&w);

    cr_assert_eq(peek(&w, 0xd4000060, 8), 0xd4000005);
}

Test(root, ecam_that_pciexbar_cannot_say_is_not_shown)
{
    w.config.ecam_base = 0x1000000000;
    world_root(&w);

    cr_assert_eq(peek(&w, 0x1000000060, 8), 0);
    cr_assert_eq(peek(&w, 0x1000000000, 4), 0x29c08086);
}

Test(root, ecam_of_a_length_that_pciexbar_cannot_say_is_not_shown)
{
    w.config.last_bus = 7;
    w.config.ecam_base = 0xd4000000;
    world_root(&w);

    cr_assert_eq(peek(&w, 0xd4000060, 8), 0);
}

Test(root, firmware_may_move_ecam_and_switch_it_off)
{
    uint64_t base = 0, bytes = 0;
    w.config.assign = false;
    world_root(&w);
    cr_assert_eq(cam_read(0, 0, 0x60, 4), 0xe0000001);

    cam_write(0, 0, 0x60, 4, 0);
    cr_assert_eq(peek(&w, ECAM_BASE, 4), 0xffffffff);
    cr_assert_not(vpci_root_ecam(w.root, &base, &bytes));
    cam_write(0, 0, 0x64, 4, 2);
    cam_write(0, 0, 0x60, 4, 0xb0000001);
    cr_assert_eq(peek(&w, 0x2b0000000, 4), 0x29c08086);
    cam_write(0, 0, 0x64, 4, 0);
    cr_assert_eq(peek(&w, 0xb0000000, 4), 0x29c08086);
    cr_assert_eq(peek(&w, 0x2b0000000, 4), 0xffffffff);
    cam_write(0, 0, 0x60, 4, 0xb0000007);
    cr_assert_not(vpci_root_ecam(w.root, &base, &bytes), "reserved length");
    cam_write(0, 0, 0x60, 4, 0xfff00001);

    cr_assert_eq(cam_read(0, 0, 0x60, 4), 0xfc000001);
    cr_assert(vpci_root_ecam(w.root, &base, &bytes));
    cr_assert_eq(base, 0xf0000000, "aligned to its length");
    vpci_root_reset(w.root);
    cr_assert_eq(peek(&w, ECAM_BASE, 4), 0x29c08086);
    cr_assert_eq(in(&w, 0xcf8, 4), 0);
}

Test(root, absent_functions_and_buses_read_as_ones)
{
    world_root(&w);

    cr_assert_eq(peek(&w, ecam_at(1, 0, 0), 4), 0xffffffff);
    cr_assert_eq(peek(&w, ecam_at(0, 1, 0), 4), 0xffffffff);
    cr_assert_eq(peek(&w, ECAM_BASE + (1 << 20), 4), 0xffffffff);
    cr_assert_eq(cam_read(1, 0, 0, 4), 0xffffffff);
    cr_assert_eq(poke(&w, ecam_at(1, 0, 0), 4, 0), -ENODEV);
}

Test(root, cam_reads_and_writes_config_space)
{
    struct card *card;
    world_root(&w);
    card = plugged("card", "1f.7");

    cr_assert_eq(cam_read(0x1f, 7, 0, 4), 0x10441af4);
    cr_assert_eq(cam_read(0x1f, 7, 2, 2), 0x1044);
    cr_assert_eq(cam_read(0x1f, 7, 3, 1), 0x10);
    cam_write(0x1f, 7, 0x3c, 1, 0x0a);
    cr_assert_eq(peek(&w, ecam_at(0x1f, 7, 0x3c), 1), 0x0a);

    cr_assert_eq(in(&w, 0xcff, 2), 0xffff, "beyond the data ports");
    card_free(card);
}

Test(root, cam_wants_its_enable_bit_and_its_bus)
{
    world_root(&w);

    out(&w, 0xcf8, 4, 0);
    cr_assert_eq(in(&w, 0xcfc, 4), 0xffffffff);
    out(&w, 0xcf8, 4, 0x80010000);
    cr_assert_eq(in(&w, 0xcfc, 4), 0xffffffff);
    out(&w, 0xcf8, 4, 0x80000000);
    cr_assert_eq(in(&w, 0xcfc, 4), 0x29c08086);
}

Test(root, the_cam_address_is_a_dword_with_reserved_bits)
{
    world_root(&w);

    out(&w, 0xcf8, 4, 0xffffffff);
    cr_assert_eq(in(&w, 0xcf8, 4), 0x80fffffc);
    out(&w, 0xcf8, 1, 0);
    out(&w, 0xcfa, 2, 0);

    cr_assert_eq(in(&w, 0xcf8, 4), 0x80fffffc);
    cr_assert_eq(in(&w, 0xcf8, 2), 0xffff);
    cr_assert_eq(in(&w, 0xcf9, 1), 0xff);
}

Test(root, without_cam_the_ports_are_free)
{
    w.config.cam = false;
    world_root(&w);

    cr_assert_eq(out(&w, 0xcf8, 4, 0x80000000), -ENODEV);
    cr_assert_eq(in(&w, 0xcfc, 4), 0xffffffff);
}

Test(root, a_root_may_have_no_port_bus_and_other_first_bus)
{
    struct card *card = card_new("card");
    w.config.cam = false;
    w.config.pio = NULL;
    w.config.first_bus = 0x20;
    w.config.segment = 3;
    world_root(&w);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_IO, 0x10), 0);
    cr_assert_eq(card_bar(card, 1, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(vpci_msix_add(&card->fn, 1, 1, 0, 0x800), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, NULL), 0);

    poke(&w, ecam_at(1, 0, 0x10), 4, IO_BASE);
    poke(&w, ecam_at(1, 0, 4), 2, 7);
    poke(&w, ecam_at(1, 0, 0x42), 2, 0x8000);
    card->fn.msix.entry[0].control = 0;
    vpci_msix_notify(&card->fn, 0);

    cr_assert_not(card->fn.bar[0].mapped);
    cr_assert_eq(w.msi.devid, vpci_sbdf(3, 0x20, 1, 0));
    cr_assert_str_eq(card->fn.bar[0].name, "0003:20:01.0 bar 0");
    card_free(card);
}

static int try_root(void)
{
    return vpci_root_new(&w.env, &w.config, &w.root);
}

Test(root, ranges_that_make_no_sense_are_refused)
{
    struct vpci_root_config good = w.config;

    w.config.ecam_base += 0x1000;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.ecam_base = 0xfffffffff0100000;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.first_bus = 1;
    w.config.last_bus = 0;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.mmio = NULL;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.mem32.size = 0x80000000;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.mem32.size = 0x30000000;
    cr_assert_eq(try_root(), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "PCI segment 0: ECAM at 0xe0000000 lies in a BAR window");
    w.config = good;
    w.config.io.base = 0x10000;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    w.config.segment = 1;
    cr_assert_eq(try_root(), -EINVAL);
    w.config = good;
    world_root(&w);
}

Test(root, places_that_are_taken_on_a_bus_still_make_a_root)
{
    struct vdev_region other = { .name = "other", .base = 0xcf9, .size = 1, .priority = 2 };
    static const struct vdev_region_ops ops = { .read = NULL };
    other.ops = &ops;
    cr_assert_eq(vdev_bus_add(w.pio, &other), 0);
    world_root(&w);

    out(&w, 0xcf8, 4, 0x80000000);

    cr_assert_eq(in(&w, 0xcf8, 4), 0x80000000, "the reset port lies inside");
    vdev_bus_del(w.pio, &other, NULL, NULL);
}

Test(root, an_ecam_beyond_the_bus_is_refused)
{
    struct vdev_bus *small;
    world_root(&w);
    cr_assert_eq(vdev_bus_new(&w.env, "small", 0xfffff, &small), 0);
    struct vpci_root_config config = w.config;
    struct vpci_root *root = NULL;

    config.mmio = small;
    cr_assert_eq(vpci_root_new(&w.env, &config, &root), -EINVAL);
    config.mmio = w.mmio;
    config.ecam_base = 0x90000000;
    config.pio = small;
    cr_assert_eq(vpci_root_new(&w.env, &config, &root), 0);

    vpci_root_free(root);
    vpci_root_free(NULL);
    vdev_bus_free(small);
}

Test(root, addresses_are_hexadecimal_device_and_function)
{
    unsigned d = 99, f = 99;

    cr_assert(vpci_addr_parse("1f", &d, &f));
    cr_assert(d == 0x1f && f == 0);
    cr_assert(vpci_addr_parse("A.7", &d, &f));
    cr_assert(d == 0xa && f == 7);
    cr_assert(vpci_addr_parse("03.0", &d, &f));
    cr_assert(d == 3 && f == 0);
    static const char *const bad[] = { "",   "20",    "1g",  "1f.",  "1f.8", "1f.0.", "001",
                                       ".0", "1f.0 ", " 1f", "0x1f", "-1",   "1f:0",  "1f.00" };
    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++)
        cr_assert_not(vpci_addr_parse(bad[i], &d, &f), "'%s'", bad[i]);
}

Test(root, a_wrong_address_is_explained)
{
    struct card *card = card_new("net0");
    world_root(&w);

    cr_assert_eq(vpci_plug(w.root, &card->fn, "2g"), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "net0: addr '2g' is no PCI address: write DD or DD.F in "
                                      "hexadecimal, device 0 to 1f, function 0 to 7");
    card_free(card);
}

Test(root, a_taken_address_names_its_owner)
{
    struct card *first, *second = card_new("net1");
    world_root(&w);
    first = plugged("net0", "1f.0");

    cr_assert_eq(vpci_plug(w.root, &second->fn, "1f"), -EEXIST);
    cr_assert_str_eq(
        vm_error_text(),
        "net1: PCI address 0000:00:1f.0 is taken by net0: choose another addr=, or leave it out");
    cr_assert_eq(vpci_plug(w.root, &second->fn, "0"), -EEXIST);

    cr_assert_str_eq(vm_error_text(), "net1: PCI address 0000:00:00.0 is taken by host bridge: "
                                      "choose another addr=, or leave it out");
    card_free(first);
    card_free(second);
}

Test(root, the_next_free_device_is_given_until_all_are_taken)
{
    struct card *card[31], *more = card_new("more");
    world_root(&w);
    card[0] = plugged("card", "2.3");
    for (unsigned i = 1; i < 31; i++)
        card[i] = plugged("card", NULL);

    cr_assert_eq(card[1]->fn.device, 1);
    cr_assert_eq(card[2]->fn.device, 3, "device 2 has a function");
    cr_assert_eq(card[30]->fn.device, 0x1f);
    cr_assert_eq(vpci_plug(w.root, &more->fn, NULL), -ENOSPC);
    cr_assert_str_eq(vm_error_text(),
                     "more: PCI segment 0 has no free device; give addr=DD.F for a "
                     "function of one, or another pci_segment");
    for (unsigned i = 0; i < 31; i++)
        card_free(card[i]);
    card_free(more);
}

Test(root, several_functions_show_the_multi_function_bit)
{
    struct card *a, *b, *c, *d;
    world_root(&w);
    a = plugged("a", "5");
    cr_assert_eq(peek(&w, ecam_at(5, 0, 0xe), 1), 0);

    b = plugged("b", "5.3");
    c = plugged("c", "6.0");
    d = plugged("d", "7.1");

    cr_assert_eq(peek(&w, ecam_at(5, 0, 0xe), 1), 0x80);
    cr_assert_eq(peek(&w, ecam_at(5, 0, 0xc), 4), 0x00800000);
    cr_assert_eq(peek(&w, ecam_at(5, 3, 0xe), 2), 0x80);
    cr_assert_eq(peek(&w, ecam_at(6, 0, 0xe), 1), 0);
    cr_assert_eq(peek(&w, ecam_at(7, 1, 0xe), 1), 0x80, "function 0 may come");
    card_free(d);
    card_free(a);
    card_free(b);
    card_free(c);
}

static void count(void *ctx, struct vpci_function *fn)
{
    char *text = ctx;

    strcat(text, fn->name);
    strcat(text, " ");
}

Test(root, walk_visits_each_function_in_order)
{
    struct card *a, *b;
    char text[64] = "";
    world_root(&w);
    a = plugged("a", "7");
    b = plugged("b", "2.1");

    vpci_root_walk(w.root, count, text);

    cr_assert_str_eq(text, "host bridge b a ");
    card_free(a);
    card_free(b);
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

Test(root, unplug_takes_everything_away)
{
    struct card *card = card_new("card");
    bool gone = false;
    world_root(&w);
    cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0);
    poke(&w, ecam_at(3, 0, 0x10), 4, MEM32_BASE);
    poke(&w, ecam_at(3, 0, 4), 2, 2);

    vpci_unplug(&card->fn, set_flag, &gone);

    cr_assert(gone);
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 4), 0xffffffff);
    cr_assert_eq(peek(&w, MEM32_BASE, 1), 0xff);
    cr_assert_eq(card->moved_to[0], 0);
    gone = false;
    vpci_unplug(&card->fn, set_flag, &gone);
    cr_assert(gone, "not plugged: nothing to wait for");
    cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0, "it may come back");
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0), 4), 0x10441af4);
    card_free(card);
}

Test(root, functions_of_one_device_are_neighbours)
{
    struct card *first, *second, *alone;
    world_root(&w);
    first = plugged("first", "4");
    second = plugged("second", "4.3");
    alone = plugged("alone", "5");

    cr_assert_eq(vpci_neighbour(&first->fn), &second->fn);
    cr_assert_eq(vpci_neighbour(&second->fn), &first->fn);
    cr_assert_null(vpci_neighbour(&alone->fn));
    vpci_unplug(&second->fn, NULL, NULL);

    cr_assert_null(vpci_neighbour(&first->fn));
    cr_assert_null(vpci_neighbour(&second->fn));
    card_free(first);
    card_free(second);
    card_free(alone);
}

/* Two vCPUs read a card by ECAM, CAM and BAR while it is unplugged, freed in its gone(), and a
 * new one comes. */
struct traffic {
    unsigned stop, seen;
};

static void *read_card(void *ctx)
{
    struct traffic *t = ctx;
    struct vdev_bus_reader mmio, pio;

    vdev_bus_reader_init(w.mmio, &mmio);
    vdev_bus_reader_init(w.pio, &pio);
    while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
        uint8_t data[4] = { 0 };

        (void)vdev_bus_read(&mmio, ecam_at(3, 0, 0), data, 4, NULL);
        if (data[0] == 0xf4)
            __atomic_fetch_add(&t->seen, 1, __ATOMIC_RELAXED);
        (void)vdev_bus_read(&mmio, MEM32_BASE, data, 4, NULL);
        vm_store_le(data, 4, 0x80001800);
        (void)vdev_bus_write(&pio, 0xcf8, data, 4, NULL);
        (void)vdev_bus_read(&pio, 0xcfc, data, 4, NULL);
    }
    vdev_bus_reader_exit(&mmio);
    vdev_bus_reader_exit(&pio);
    return NULL;
}

static void free_card(void *ctx)
{
    struct card *card = ctx;

    vpci_function_exit(&card->fn);
    vm_lock_destroy(&card->dev.lock);
    memset(card, 0xee, sizeof(*card));
    free(card);
}

Test(root, unplug_while_accesses_run)
{
    struct traffic t = { 0 };
    pthread_t thread[2];
    world_root(&w);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, read_card, &t);

    for (unsigned i = 0; i < 500 || __atomic_load_n(&t.seen, __ATOMIC_RELAXED) < 50; i++) {
        struct card *card = card_new("card");

        cr_assert_eq(card_bar(card, 0, VPCI_BAR_MEM32, 0x1000), 0);
        cr_assert_eq(vpci_plug(w.root, &card->fn, "3"), 0);
        poke(&w, ecam_at(3, 0, 0x10), 4, MEM32_BASE);
        poke(&w, ecam_at(3, 0, 4), 2, 2);
        vpci_unplug(&card->fn, free_card, card);
    }
    __atomic_store_n(&t.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
}
