/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * BARs that the guest moves under traffic: within the windows, above 4 GiB, onto each other, outside
 * of every window, with decoding off. After each move the devices must serve as before, at the new
 * place and only there.
 */
#include "virtio.h"

enum { BYTES_READ_MAX = 0x8000, PAGE = 0x1000, PAGE_PART = 0x100, ALL = 3 };
#define NOBODY 0xffffffffu

static struct virtio *all[ALL];

static void start_all(void)
{
    irq_init();
    all[0] = virtio_find(VIRTIO_BLK, 0);
    all[1] = virtio_find(VIRTIO_BLK, 1);
    all[2] = virtio_find(VIRTIO_RNG, 0);
    for (unsigned i = 0; i < ALL; i++) {
        check(all[i]->bar.size && all[i]->bar.is_64);
        virtio_start(all[i]);
        traffic(all[i]);
    }
}

static void all_work(void)
{
    for (unsigned i = 0; i < ALL; i++) {
        check(virtio_answers(all[i]));
        traffic(all[i]);
    }
}

static void step(const struct virtio *v, uint64_t to)
{
    print("device ");
    print_number(v->dev);
    print(" to ");
    print_number(to);
    print("\n");
}

static void read_bar(const struct pci_bar *b)
{
    uint64_t bytes = b->size < BYTES_READ_MAX ? b->size : BYTES_READ_MAX;

    for (uint64_t at = 0; at < bytes; at += at % PAGE == PAGE_PART ? PAGE - PAGE_PART : 8) {
        (void)read8(b->address + at + 1);
        (void)read16(b->address + at + 2);
        (void)read32(b->address + at + 4);
        (void)read64(b->address + at);
    }
}

/* PCI Local Bus 3.0, 6.2.5.1: a power of two, in a window, aligned to its size, apart from the others. */
void test_bars_are_sized_and_read(void)
{
    unsigned functions = 0, bars = 0;
    uint64_t end = 0;

    for (unsigned dev = 0; dev < PCI_DEVICES; dev++) {
        if (!pci_present(dev))
            continue;
        functions++;
        check_eq(pci_read(dev, PCI_ROM), 0);
        for (unsigned n = 0; n < PCI_BARS; n++) {
            struct pci_bar b, again;

            pci_bar(dev, n, &b);
            if (!b.size)
                continue;
            bars++;
            check_eq(b.size & (b.size - 1), 0);
            check_eq(b.address & (b.size - 1), 0);
            check(b.address >= end);
            end = b.address + b.size;
            read_bar(&b);
            pci_bar(dev, n, &again);
            check_eq(again.address, b.address);
            check_eq(again.size, b.size);
            n += b.is_64;
        }
    }
    check_eq(functions, ALL + 1); /* and the host bridge */
    check_eq(bars, ALL);
    start_all();
}

/* Both halves, and the doorbells: requests go through the new place. The old one is empty. */
static void move_and_work(struct virtio *v, uint64_t to)
{
    uint64_t from = v->base;

    step(v, to);
    virtio_move(v, to);
    check(virtio_answers(v));
    if (from != to) {
        check_eq(read32(from + v->common), NOBODY);
        write16(from + v->notify, 0); /* to nobody */
    }
    all_work();
}

void test_bars_move(void)
{
    start_all();
    for (unsigned i = 0; i < ALL; i++) {
        struct virtio *v = all[i];
        uint64_t home = v->base, size = v->bar.size;

        move_and_work(v, MEM32);
        move_and_work(v, MEM32 + size);
        move_and_work(v, MEM32_END - size); /* the last place of the window */
        move_and_work(v, MEM64 + 0x100000 * (i + 1));
        move_and_work(v, MEM64 + 0x123400000); /* another 4 GiB: the high half changes */
        move_and_work(v, home);
    }
}

/* Each gets the place of another: what one leaves behind would be in the other's way. */
void test_bars_swap(void)
{
    start_all();
    for (unsigned i = 0; i < ALL; i++) {
        struct virtio *a = all[i], *b = all[(i + 1) % ALL];
        uint64_t at_a = a->base, at_b = b->base;

        step(a, at_b);
        virtio_move(a, MEM32 + 0x200000);
        virtio_move(b, at_a);
        virtio_move(a, at_b);
        all_work();
    }
}

/* Two at one place: who was there first answers (docs: devices/framework/pci/src/bar.c); nothing is lost when they part. */
static void overlap(struct virtio *first, struct virtio *second)
{
    uint64_t home = second->base;
    struct virtio *other = all[0] != first && all[0] != second   ? all[0]
                           : all[1] != first && all[1] != second ? all[1]
                                                                 : all[2];

    step(second, first->base);
    virtio_move(second, first->base);
    check(virtio_answers(first));
    traffic(first);
    traffic(other);
    /* The first one goes: the second comes to light. */
    virtio_move(first, home);
    check(virtio_answers(second));
    all_work();
    /* And back, the other way round. */
    virtio_move(first, second->base);
    traffic(second);
    virtio_move(second, home);
    all_work();
}

void test_bars_overlap(void)
{
    start_all();
    for (unsigned i = 0; i < ALL; i++)
        for (unsigned j = 0; j < ALL; j++)
            if (i != j)
                overlap(all[i], all[j]);
    /* A device that is started while it lies under another one. */
    virtio_reset(all[0]);
    virtio_move(all[1], all[0]->base);
    virtio_start(all[0]);
    traffic(all[0]);
    virtio_move(all[1], MEM32);
    all_work();
}

static uint8_t ram[0x10000] __attribute__((aligned(0x8000)));

/* Nowhere: the registers are gone, what lies at the new place is what it was, and nobody else suffers. */
static void outside(struct virtio *v, uint64_t to)
{
    uint64_t home = v->base;

    step(v, to);
    virtio_move(v, to);
    check_eq(read32(home + v->common), NOBODY);
    check(to >= MEM64 || !virtio_answers(v)); /* farther up nothing is mapped */
    for (unsigned i = 0; i < sizeof(ram); i += 0x1000)
        check_eq(ram[i], 0x5a);
    irq_check();
    check_eq(read32(ECAM), pci_read(0, 0));
    for (unsigned i = 0; i < ALL; i++)
        if (all[i] != v)
            traffic(all[i]);
    virtio_move(v, home);
    check(virtio_answers(v));
    traffic(v);
}

void test_bars_outside(void)
{
    static const uint64_t places[] = { PLACES_OUTSIDE };

    start_all();
    memset(ram, 0x5a, sizeof(ram));
    for (unsigned i = 0; i < ALL; i++) {
        for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++)
            outside(all[i], places[p]);
        outside(all[i], (uint64_t)ram);
    }
}

/* Requests that the device has and cannot end yet: the entropy device waits for bytes from the test. Meanwhile its BAR goes
 * everywhere. */
void test_bars_in_flight(void)
{
    static const uint64_t places[] = { MEM32 + 0x300000, MEM64 + 0x300000, 0, IRQ_CONTROLLER,
                                       ECAM };
    const unsigned count = sizeof(places) / sizeof(places[0]);
    struct virtio *v;
    uint64_t home;

    start_all();
    v = all[2];
    home = v->base;
    check(options.fifo);
    for (unsigned i = 0; i < count; i++) {
        uint32_t len;

        step(v, places[i]);
        rng_offer(v, 1, 32);
        virtio_kick(v);
        check_eq(virtio_done(v, &len), -1);
        virtio_move(v, places[i]);
        blk_traffic(all[0]);
        rng_feed(32);
        rng_finish(v, 1); /* wherever its registers are: rings and interrupts do not care */
        if (i % 2)
            virtio_move(v, all[0]->base);
        virtio_move(v, home);
        rng_traffic(v);
    }
    all_work();
}

void test_decode_off(void)
{
    start_all();
    for (unsigned i = 0; i < ALL; i++) {
        struct virtio *v = all[i];

        step(v, 0);
        pci_command(v->dev, 0, COMMAND_MEMORY);
        check_eq(read32(v->base + v->common), NOBODY);
        write16(virtio_doorbell(v), 0);
        traffic(all[(i + 1) % ALL]);
        traffic(all[(i + 2) % ALL]);
        virtio_move(v, MEM32 + 0x400000 + i * 0x10000); /* while it is off */
        check_eq(read32(v->base + v->common), NOBODY);
        pci_command(v->dev, COMMAND_MEMORY, 0);
        check(virtio_answers(v));
        all_work();
    }
}
