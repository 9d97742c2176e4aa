/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Saving and loading functions and roots. */
#include <criterion/criterion.h>

#include "pci_test.h"

static struct world w;
static struct card *card;
static struct vpci_state *state;

static struct card *make(void)
{
    struct card *c = card_new("card");

    cr_assert_eq(card_bar(c, 0, VPCI_BAR_MEM64, 0x4000), 0);
    cr_assert_eq(vpci_msix_add(&c->fn, 3, 0, 0x1000, 0x2000), 0);
    cr_assert_eq(vpci_plug(w.root, &c->fn, "3"), 0);
    return c;
}

static void setup(void)
{
    world_open(&w);
    w.config.assign = false;
    world_root(&w);
    card = make();
    state = calloc(1, sizeof(*state));
}

static void teardown(void)
{
    free(state);
    card_free(card);
    world_close(&w);
}

TestSuite(state, .init = setup, .fini = teardown);

/* BAR above 4 GiB; vector 0 on, vector 1 masked and pending; INTx held down by MSI-X. */
static void use(void)
{
    poke(&w, ecam_at(3, 0, 0x10), 8, MEM64_BASE);
    poke(&w, ecam_at(3, 0, 4), 2, 6);
    poke(&w, ecam_at(3, 0, 0x42), 2, 0x8000);
    poke(&w, MEM64_BASE + 0x1000, 8, 0xfee00000);
    poke(&w, MEM64_BASE + 0x1008, 8, 0x31);
    vpci_msix_notify(&card->fn, 1);
    vpci_intx_set(&card->fn, true);
}

static void restart(void)
{
    card_free(card);
    card = make();
}

Test(state, a_new_function_takes_over)
{
    use();
    vpci_save(&card->fn, state);
    restart();
    cr_assert_eq(peek(&w, MEM64_BASE, 1), 0xff);

    cr_assert_eq(vpci_load(&card->fn, state), 0, "%s", vm_error_text());

    cr_assert_eq(peek(&w, MEM64_BASE, 1), 0xb0);
    cr_assert_eq(card->moved_to[0], MEM64_BASE);
    cr_assert(card->vector_on);
    cr_assert_eq(card->vector, 0);
    cr_assert_eq(card->vectors_told, 1);
    cr_assert_eq(peek(&w, MEM64_BASE + 0x2000, 8), 2);
    cr_assert_eq(w.sent, 0);
    poke(&w, MEM64_BASE + 0x101c, 4, 0);
    cr_assert_eq(w.sent, 1, "what was pending still comes");
    poke(&w, ecam_at(3, 0, 0x42), 2, 0);
    cr_assert(w.wire[3].level, "so does the line");
}

Test(state, save_load_save_is_equal)
{
    struct vpci_state *again = calloc(1, sizeof(*again));
    struct vm_buffer a = { 0 }, b = { 0 };
    use();
    poke(&w, ecam_at(3, 0, 0x42), 2, 0);
    cr_assert_eq(card->fn.config[6] & 8, 8);
    vpci_save(&card->fn, state);
    cr_assert_eq(state->config[6] & 8, 0, "it follows from the level");
    cr_assert_eq(vm_state_save(vpci_state_fields, 1, state, &a), 0);
    restart();

    cr_assert_eq(vm_state_load(vpci_state_fields, 1, a.data, a.len, again, sizeof(*again)), 0, "%s",
                 vm_error_text());
    cr_assert_eq(vpci_load(&card->fn, again), 0);
    memset(again, 0, sizeof(*again));
    vpci_save(&card->fn, again);
    cr_assert_eq(vm_state_save(vpci_state_fields, 1, again, &b), 0);

    cr_assert_eq(a.len, b.len);
    cr_assert_arr_eq(a.data, b.data, a.len);
    cr_assert_lt(a.len, 600);
    vm_buffer_free(&a);
    vm_buffer_free(&b);
    free(again);
}

static void refused(const char *text)
{
    uint8_t before[256];
    unsigned told = card->vectors_told;
    memcpy(before, card->fn.config, sizeof(before));

    cr_assert_eq(vpci_load(&card->fn, state), -EINVAL);

    if (text)
        cr_assert_str_eq(vm_error_text(), text);
    cr_assert_arr_eq(card->fn.config, before, sizeof(before));
    cr_assert_eq(card->vectors_told, told);
    vpci_save(&card->fn, state);
}

Test(state, what_another_device_saved_is_refused)
{
    use();
    vpci_save(&card->fn, state);

    state->config[0] = 0x86;
    refused(
        "card: config space byte 0x0 is 0x86 in the state, 0xf4 here: it was saved from another "
        "device");
    state->config[0x10] ^= 8;
    refused(NULL);
    state->config[0x11] ^= 0x10;
    refused(NULL);
    state->config[0x34] ^= 4;
    refused(NULL);
    state->config[4] |= 0x10;
    refused(NULL);
    state->config_bytes = 4096;
    refused("card: config space of 4096 bytes in the state, 256 here");
    state->vectors = 2;
    refused("card: 2 MSI-X vectors in the state, 3 here");
    state->entry[2].control = 2;
    refused("card: MSI-X vector 2 cannot be: address 0x0, control 0x2, not pending");
    state->entry[2].addr = 0xfee00001;
    refused(NULL);
    state->entry[0].pending = true;
    refused("card: MSI-X vector 0 cannot be: address 0xfee00000, control 0x0, pending");
}

Test(state, the_guests_bits_are_not_refused)
{
    vpci_save(&card->fn, state);
    state->config[6] |= 8;
    state->config[7] |= 0xf9;
    state->config[0x3c] = 0x55;

    cr_assert_eq(vpci_load(&card->fn, state), 0);

    cr_assert_eq(peek(&w, ecam_at(3, 0, 6), 2), 0xf910, "the interrupt bit follows the level");
    cr_assert_eq(peek(&w, ecam_at(3, 0, 0x3c), 1), 0x55);
}

Test(state, extended_capabilities_are_saved_too)
{
    struct card *c = card_new("ext");
    unsigned at;
    cr_assert_eq(vpci_ext_cap_add(&c->fn, 1, 1, NULL, 8, &at), 0);
    c->fn.writable[at + 4] = 0xff;
    cr_assert_eq(vpci_plug(w.root, &c->fn, "4"), 0);
    poke(&w, ecam_at(4, 0, 0x104), 1, 0x77);
    vpci_save(&c->fn, state);
    poke(&w, ecam_at(4, 0, 0x104), 1, 0);

    cr_assert_eq(vpci_load(&c->fn, state), 0);

    cr_assert_eq(state->config_bytes, 4096);
    cr_assert_eq(peek(&w, ecam_at(4, 0, 0x104), 1), 0x77);
    card_free(c);
}

Test(state, loading_replaces_what_was_on)
{
    vpci_save(&card->fn, state);
    use();

    cr_assert_eq(vpci_load(&card->fn, state), 0);

    cr_assert_not(card->vector_on);
    cr_assert_eq(card->vectors_told, 2);
    cr_assert_not(card->fn.bar[0].mapped);
    cr_assert_not(w.wire[3].level);
}

Test(state, the_root_keeps_ecam_and_the_cam_address)
{
    struct vpci_root_state s, loaded = { 0 };
    struct vm_buffer buffer = { 0 };
    uint64_t base, bytes;
    poke(&w, ecam_at(0, 0, 0x60), 4, 0xb0000001);
    out(&w, 0xcf8, 4, 0x80001804);
    vpci_root_save(w.root, &s);
    cr_assert_eq(vm_state_save(vpci_root_state_fields, 1, &s, &buffer), 0);
    vpci_root_reset(w.root);

    cr_assert_eq(
        vm_state_load(vpci_root_state_fields, 1, buffer.data, buffer.len, &loaded, sizeof(loaded)),
        0);
    cr_assert_eq(vpci_root_load(w.root, &loaded), 0);

    cr_assert(vpci_root_ecam(w.root, &base, &bytes));
    cr_assert_eq(base, 0xb0000000);
    cr_assert_eq(in(&w, 0xcf8, 4), 0x80001804);
    s.bridge[0] = 0;
    cr_assert_eq(vpci_root_load(w.root, &s), -EINVAL);
    vm_buffer_free(&buffer);
}
