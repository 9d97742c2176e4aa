/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* MSI-X: masks and pending bits, and messages to the local APIC and to anywhere else. */
#include "virtio.h"

/* The request has ended; its message waits in the pending bit array. */
static void pend(struct virtio *v)
{
    blk_offer(v, 1, 8, false);
    virtio_kick(v);
    while (!msix_pending(v, QUEUE_VECTOR))
        ;
    check(!irq_waits(v->vector));
    v->irq = false;
    blk_finish(v, 1);
    v->irq = true;
}

static void arrives(struct virtio *v, uint8_t vector)
{
    irq_take(vector);
    irq_end();
    check(!msix_pending(v, QUEUE_VECTOR));
    check(!irq_waits(vector));
}

void test_msix_masked(void)
{
    struct virtio *v;
    uint64_t home;

    irq_init();
    v = virtio_find(VIRTIO_BLK, 0);
    check(v->irq);
    virtio_start(v);
    home = v->base;
    blk_traffic(v);
    v->interrupts = 0;
    /* By the vector's mask; the BAR with table and bits moves meanwhile. */
    msix_entry(v, QUEUE_VECTOR, LAPIC, v->vector, true);
    pend(v);
    virtio_move(v, MEM64 + 0x500000);
    check(msix_pending(v, QUEUE_VECTOR));
    msix_entry(v, QUEUE_VECTOR, LAPIC, v->vector, false);
    arrives(v, v->vector);
    /* By the function's mask, with another vector in the entry when it goes. */
    msix_control(v, MSIX_MASK_ALL, 0);
    pend(v);
    msix_entry(v, QUEUE_VECTOR, LAPIC, FIRST_VECTOR + 9, false);
    virtio_move(v, home);
    check(!irq_waits(FIRST_VECTOR + 9));
    msix_control(v, 0, MSIX_MASK_ALL);
    arrives(v, FIRST_VECTOR + 9);
    /* A pending bit is not a message twice. */
    msix_entry(v, QUEUE_VECTOR, LAPIC, v->vector, true);
    msix_entry(v, QUEUE_VECTOR, LAPIC, v->vector, false);
    check(!irq_waits(v->vector) && !irq_waits(FIRST_VECTOR + 9));
    blk_traffic(v);
}

/* A driver may write any address and data: what reaches nobody is lost, and nothing else happens. Delivery modes 2, 4, 5 and 7
 * (SMI, NMI, INIT, ExtINT: Intel SDM, volume 3, 11.11.2) are left out: a CPU hears them. */
void test_msix_anywhere(void)
{
    static const uint32_t addresses[] = { 0, 0xfffffffc, 0xfee55000, 0xfeeff00c, IOAPIC, 0x1000 };
    static const uint32_t modes[] = { 0, 1, 3, 6 };
    struct virtio *v;

    irq_init();
    v = virtio_find(VIRTIO_BLK, 0);
    check(v->irq);
    virtio_start(v);
    for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        for (unsigned mode = 0; mode < sizeof(modes) / sizeof(modes[0]); mode++) {
            msix_entry(v, QUEUE_VECTOR, addresses[i], modes[mode] << 8 | 3, false);
            v->irq = false;
            blk_traffic(v);
        }
    v->irq = true;
    msix_entry(v, QUEUE_VECTOR, LAPIC, v->vector, false);
    blk_traffic(v);
}
