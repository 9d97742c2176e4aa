/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that writes whatever it likes: the input is a list of accesses to ECAM, the CAM ports and
 * the windows, mixed with what devices and the machine do (interrupts, reset, unplug, snapshots
 * with spoilt bytes). After each step the world must still make sense: see check().
 */
#include "pci_test.h"

enum { CARDS = 3, STEPS_MAX = 400 };

struct input {
    const uint8_t *data;
    size_t left;
};

struct fuzz {
    struct world w;
    struct card *card[CARDS];
    struct vpci_state *state;
};

static const char *const card_addr[CARDS] = { "3", "3.1", "1f.7" };

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

#define MUST(condition)                                                             \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            __builtin_trap();                                                       \
        }                                                                           \
    } while (0)

static void add_parts(struct card *card, unsigned kind)
{
    unsigned at;

    switch (kind) {
    case 0:
        MUST(!card_bar(card, 0, VPCI_BAR_IO, 0x20));
        MUST(!card_bar(card, 1, VPCI_BAR_MEM32, 0x4000));
        MUST(!card_bar(card, 4, VPCI_BAR_MEM64, 0x4000));
        MUST(!vpci_msix_add(&card->fn, 65, 1, 0x1000, 0x3000));
        break;
    case 1:
        MUST(!card_bar(card, 0, VPCI_BAR_MEM32, 0x10));
        MUST(!card_bar(card, 5, VPCI_BAR_MEM32, 0x100000));
        break;
    default:
        MUST(!card_bar(card, 2, VPCI_BAR_MEM64_PREFETCH, 0x80000000));
        MUST(!vpci_msix_add(&card->fn, 2, 2, 0, 0x7ffffff8));
        MUST(!vpci_express_cap_add(&card->fn, false));
        MUST(!vpci_ext_cap_add(&card->fn, 1, 2, NULL, 0x48, &at));
    }
}

static void plug(struct fuzz *f, unsigned i)
{
    f->card[i] = card_new(card_addr[i]);
    add_parts(f->card[i], i);
    MUST(!vpci_plug(f->w.root, &f->card[i]->fn, card_addr[i]));
}

static void open_world(struct fuzz *f, uint8_t flags)
{
    world_open(&f->w);
    f->w.config.assign = flags & 1;
    if (flags & 2)
        f->w.config.mem64 = (struct vpci_window){ 0 };
    world_root(&f->w);
    f->state = calloc(1, sizeof(*f->state));
    MUST(f->state);
    for (unsigned i = 0; i < CARDS; i++)
        plug(f, i);
}

static void close_world(struct fuzz *f)
{
    for (unsigned i = 0; i < CARDS; i++)
        card_free(f->card[i]);
    free(f->state);
    world_close(&f->w);
}

/* A place in one of the windows, near their ends as often as inside. */
static uint64_t somewhere(const struct fuzz *f, struct input *input)
{
    uint64_t at = take(input, 3);

    switch (at & 3) {
    case 0: return MEM32_BASE + (at >> 2 & 0xffffff);
    case 1: return MEM32_BASE + MEM32_SIZE - (at >> 2 & 0xff);
    case 2: return f->w.config.mem64.base + (at >> 2 & 0xffffff);
    default: return (f->card[at >> 2 & 1]->fn.bar[1].region.base + (at >> 3 & 0x3fff));
    }
}

/* Where a guest that knows what it does would put a BAR. */
static void place_bar(struct fuzz *f, struct input *input)
{
    unsigned pick = (unsigned)take(input, 1);
    struct card *card = f->card[pick % CARDS];
    uint64_t at = ecam_at(card->fn.device, card->fn.function, 0x10 + pick / CARDS % 6 * 4);

    poke(&f->w, at, 4, pick & 0x80 ? somewhere(f, input) : take(input, 4));
}

static void guest_access(struct fuzz *f, struct input *input, unsigned op)
{
    unsigned len = (unsigned)take(input, 1) % 8 + 1;
    unsigned i = (unsigned)take(input, 1) % CARDS;
    const struct vpci_function *fn = &f->card[i]->fn;
    uint64_t config = ecam_at(fn->device, fn->function, 0);

    switch (op) {
    case 0: poke(&f->w, config + take(input, 1), len, take(input, len)); break;
    case 1: poke(&f->w, config + (take(input, 2) & 0xfff), len, take(input, len)); break;
    case 2: poke(&f->w, config + 4, 2, take(input, 2)); break;
    case 3: place_bar(f, input); break;
    case 4: poke(&f->w, somewhere(f, input), len, take(input, len)); break;
    case 5: (void)peek(&f->w, somewhere(f, input), len); break;
    case 6: (void)peek(&f->w, config + (take(input, 2) & 0xfff), len); break;
    case 7:
        out(&f->w, (uint16_t)(0xcf8 + take(input, 1) % 8), len, (uint32_t)take(input, 4));
        break;
    case 8: (void)in(&f->w, (uint16_t)(0xcf8 + take(input, 1) % 8), len); break;
    default: poke(&f->w, ECAM_BASE + (take(input, 4) & 0xfffffff), len, take(input, len));
    }
}

/* Loads what was saved, with something spoilt; the state codec's own fuzzer does the bytes below
 * this. */
static void reload(struct fuzz *f, struct card *card, struct input *input)
{
    uint16_t at = (uint16_t)take(input, 2);
    uint32_t flip = (uint32_t)take(input, 4);
    struct vpci_msix_state *entry = &f->state->entry[at >> 4 & 0x7f];

    vpci_save(&card->fn, f->state);
    switch (at & 7) {
    case 0: entry->addr ^= flip; break;
    case 1: entry->data ^= flip; break;
    case 2: entry->control ^= flip; break;
    case 3: entry->pending = flip & 1; break;
    case 4: f->state->vectors ^= flip & 0x7ff; break;
    default: f->state->config[at >> 3 & 0xfff] ^= (uint8_t)(flip & 0xff);
    }
    vm_lock_acquire(&card->dev.lock);
    (void)vpci_load(&card->fn, f->state);
    vm_lock_release(&card->dev.lock);
}

static void reload_root(struct fuzz *f, struct input *input)
{
    struct vpci_root_state state;

    vpci_root_save(f->w.root, &state);
    state.cam_address ^= (uint32_t)take(input, 4);
    state.bridge[take(input, 1)] ^= (uint8_t)take(input, 1);
    (void)vpci_root_load(f->w.root, &state);
}

static void replug(struct fuzz *f, unsigned i)
{
    card_free(f->card[i]);
    plug(f, i);
}

static void host_does(struct fuzz *f, struct input *input, unsigned op)
{
    unsigned i = (unsigned)take(input, 1) % CARDS;
    struct card *card = f->card[i];

    if (op == 0)
        replug(f, i);
    else if (op == 1)
        reload(f, card, input);
    else if (op == 2)
        (void)vpci_root_assign(f->w.root);
    else if (op == 3)
        vpci_root_reset(f->w.root);
    else if (op == 4)
        reload_root(f, input);
    if (op < 5)
        return;
    vm_lock_acquire(&card->dev.lock);
    if (op == 5)
        vpci_msix_notify(&card->fn, (unsigned)take(input, 1));
    else if (op == 6)
        vpci_intx_set(&card->fn, take(input, 1) & 1);
    else
        vpci_function_reset(&card->fn);
    vm_lock_release(&card->dev.lock);
}

static bool in_window(const struct vpci_window *window, uint64_t base, uint64_t size)
{
    return base >= window->base && size <= window->size &&
           base - window->base <= window->size - size;
}

/* What config space says about a BAR, read without the library's help. */
static bool expected(const struct fuzz *f, const struct vpci_function *fn, unsigned n,
                     uint64_t *ret_base)
{
    const struct vpci_root_config *c = &f->w.config;
    uint8_t command = fn->config[4];
    uint64_t base = vm_load_le(fn->config + 0x10 + 4 * n, 4);

    switch (fn->bar[n].kind) {
    case VPCI_BAR_IO:
        *ret_base = base & ~3ULL;
        return (command & 1) && in_window(&c->io, *ret_base, fn->bar[n].size);
    case VPCI_BAR_MEM64:
    case VPCI_BAR_MEM64_PREFETCH: base |= vm_load_le(fn->config + 0x14 + 4 * n, 4) << 32; break;
    default: break;
    }
    *ret_base = base & ~15ULL;
    return (command & 2) && (in_window(&c->mem32, *ret_base, fn->bar[n].size) ||
                             in_window(&c->mem64, *ret_base, fn->bar[n].size));
}

/* Somebody answers there: this BAR or one that lies on it; or the guest has put ECAM on it, where nobody answers for functions that
 * are not there. */
static bool answered(const struct fuzz *f, struct vdev_bus_reader *reader, uint64_t at)
{
    uint64_t base, bytes;
    uint8_t byte;

    if (reader == &f->w.reader && vpci_root_ecam(f->w.root, &base, &bytes) && at >= base &&
        at - base < bytes)
        return true;
    return !vdev_bus_read(reader, at, &byte, 1, NULL);
}

static void check_bars(struct fuzz *f, struct card *card)
{
    for (unsigned n = 0; n < VPCI_BARS; n++) {
        const struct vpci_bar *bar = &card->fn.bar[n];
        struct vdev_bus_reader *reader = bar->kind == VPCI_BAR_IO ? &f->w.io : &f->w.reader;
        uint64_t base, want;

        if (bar->kind == VPCI_BAR_NONE)
            continue;
        MUST(bar->mapped == expected(f, &card->fn, n, &want));
        MUST(bar->mapped == bar->region.on_bus);
        MUST(card->moved_to[n] == (bar->mapped ? want : 0));
        if (!bar->mapped)
            continue;
        base = bar->region.base;
        MUST(base == want);
        MUST(answered(f, reader, base));
        MUST(answered(f, reader, base + bar->size - 1));
    }
}

/* Every capability once, and an end. */
static void check_list(const struct vpci_function *fn)
{
    unsigned at = fn->config[0x34], seen = 0;

    for (; at; at = fn->config[at + 1], seen++)
        MUST(at >= 0x40 && !(at & 3) && seen < 4);
    MUST(seen == (fn->msix.cap ? 1u : 0u) + (fn->last_ext_cap ? 1u : 0u));
}

static void check_vectors(const struct vpci_function *fn)
{
    for (unsigned v = 0; v < fn->msix.vectors; v++) {
        const struct vpci_msix_entry *entry = &fn->msix.entry[v];

        MUST(!(entry->addr & 3) && !(entry->control & ~1u));
        MUST(!entry->pending || !vpci_bus_master(fn) || !vpci_vector_on(fn, v));
    }
}

static void check_lines(const struct fuzz *f)
{
    bool high[4] = { false };

    for (unsigned i = 0; i < CARDS; i++) {
        const struct vpci_function *fn = &f->card[i]->fn;
        bool disabled = fn->config[5] & 4;

        if (fn->intx_level && !disabled && !fn->msix.enabled)
            high[(fn->device + fn->function) % 4] = true;
    }
    for (unsigned i = 0; i < 4; i++)
        MUST(f->w.wire[i].level == high[i]);
}

static void check(struct fuzz *f)
{
    for (unsigned i = 0; i < CARDS; i++) {
        struct vpci_function *fn = &f->card[i]->fn;

        MUST(vm_load_le(fn->config, 4) == 0x10441af4);
        check_bars(f, f->card[i]);
        check_list(fn);
        check_vectors(fn);
    }
    check_lines(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { .data = data, .left = size };
    struct fuzz f = { 0 };

    open_world(&f, (uint8_t)take(&input, 1));
    for (unsigned step = 0; step < STEPS_MAX && input.left; step++) {
        unsigned op = (unsigned)take(&input, 1) % 32;

        if (op < 8)
            host_does(&f, &input, op);
        else
            guest_access(&f, &input, (op - 8) % 10);
        check(&f);
    }
    close_world(&f);
    return 0;
}
