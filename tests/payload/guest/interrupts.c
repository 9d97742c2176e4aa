/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bus mastering, INTx, resets, all with requests under way. */
#include "virtio.h"

enum { IN_FLIGHT = 8, ROUNDS = 12, ISR_QUEUE = 1 };

/* Without bus mastering the device touches neither rings nor data; what it was told meanwhile it does afterwards, wherever
 * its BAR is by then. */
void test_bus_master_off(void)
{
    struct virtio *a, *b;
    uint32_t len;

    irq_init();
    a = virtio_find(VIRTIO_BLK, 0);
    b = virtio_find(VIRTIO_BLK, 1);
    virtio_start(a);
    virtio_start(b);
    for (unsigned round = 0; round < ROUNDS / 2; round++) {
        pci_command(a->dev, 0, COMMAND_MASTER);
        blk_offer(a, 3, FIRST_WRITABLE + BLK_SECTORS * round, true);
        virtio_kick(a);
        blk_traffic(b); /* the same thread serves it */
        check_eq(virtio_done(a, &len), -1);
        if (round & 1)
            virtio_move(a, MEM32 + 0x10000 * round);
        pci_command(a->dev, COMMAND_MASTER, 0);
        blk_finish(a, 3);
        blk_traffic(a);
    }
}

/* Without MSI-X a request ends with ISR and the status bit of config space; reading ISR takes both back. The pin itself is
 * wired where the machine says so. */
void test_intx_status(void)
{
    struct virtio *v;

    irq_init();
    v = virtio_find(VIRTIO_BLK, 0);
    check(!v->irq);
    virtio_start(v);
    check(!(pci_read16(v->dev, PCI_COMMAND + 2) & STATUS_INTX));
    blk_offer(v, 0, 0, false);
    virtio_kick(v);
    blk_finish(v, 0);
    while (!(pci_read16(v->dev, PCI_COMMAND + 2) & STATUS_INTX))
        ;
    virtio_move(v, MEM32 + 0x600000);
    check_eq(read8(v->base + v->isr), ISR_QUEUE);
    check_eq(read8(v->base + v->isr), 0);
    check(!(pci_read16(v->dev, PCI_COMMAND + 2) & STATUS_INTX));
    blk_traffic(v);
}

/* All devices, several requests each, all rings round several times. */
void test_traffic(void)
{
    struct virtio *blk, *rng;

    irq_init();
    blk = virtio_find(VIRTIO_BLK, 0);
    rng = virtio_find(VIRTIO_RNG, 0);
    virtio_start(blk);
    virtio_start(rng);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned slot = 0; slot < IN_FLIGHT; slot++) {
            blk_offer(blk, slot, slot * BLK_SECTORS, false);
            rng_offer(rng, slot, 16);
        }
        rng_feed(16 * IN_FLIGHT);
        virtio_kick(rng);
        virtio_kick(blk);
        for (unsigned slot = 0; slot < IN_FLIGHT; slot++) {
            blk_finish(blk, slot);
            rng_finish(rng, slot);
        }
        blk_traffic(blk);
    }
}

/* A reset with requests on their way: once it is over the device touches nothing of theirs, and it starts anew. */
static void reset_one(struct virtio *v, struct virtio *other, void (*stop)(struct virtio *v),
                      void (*start)(struct virtio *v))
{
    for (unsigned slot = 0; slot < IN_FLIGHT; slot++)
        if (v->type == VIRTIO_BLK)
            blk_offer(v, slot, slot * BLK_SECTORS, false);
        else
            rng_offer(v, slot, 16); /* these wait: nothing was fed */
    virtio_kick(v);
    stop(v);
    requests_poison(v);
    rng_feed(v->type == VIRTIO_RNG ? 16 * IN_FLIGHT : 0);
    traffic(other);
    requests_check_poison(v);
    start(v);
    if (v->type == VIRTIO_RNG) { /* what was fed is still there */
        for (unsigned slot = 0; slot < IN_FLIGHT; slot++)
            rng_offer(v, slot, 16);
        virtio_kick(v);
        for (unsigned slot = 0; slot < IN_FLIGHT; slot++)
            rng_finish(v, slot);
    }
    traffic(v);
}

static void reset_rounds(void (*stop)(struct virtio *v), void (*start)(struct virtio *v))
{
    struct virtio *blk, *rng;

    irq_init();
    blk = virtio_find(VIRTIO_BLK, 0);
    rng = virtio_find(VIRTIO_RNG, 0);
    virtio_start(blk);
    virtio_start(rng);
    for (unsigned round = 0; round < ROUNDS / 2; round++) {
        reset_one(blk, rng, stop, start);
        reset_one(rng, blk, stop, start);
    }
}

void test_reset_in_flight(void)
{
    reset_rounds(virtio_reset, virtio_start);
}

void test_stop_queue_in_flight(void)
{
    reset_rounds(virtio_stop_queue, virtio_start_queue);
}
