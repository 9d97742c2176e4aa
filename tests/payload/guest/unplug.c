/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device that is pulled out with a request under way, as a driver sees it. */
#include "virtio.h"

enum { BYTES = 48, TURNS = 4 };

static void all_ones(struct virtio *v)
{
    if (!v->mmio) {
        check_eq(pci_read(v->dev, PCI_VENDOR), 0xffffffff);
        check_eq(pci_read(v->dev, PCI_BAR0), 0xffffffff);
        check_eq(pci_read8(v->dev, PCI_CAPS), 0xff);
    }
    check_eq(read32(v->base + v->common), 0xffffffff);
    check_eq(virtio_status(v), 0xff);
}

/* Its parts vanish one after the other; a processor may look in between. */
static int is_gone(struct virtio *v)
{
    return (v->mmio || pci_read(v->dev, PCI_VENDOR) == 0xffffffff) &&
           read32(v->base + v->common) == 0xffffffff && virtio_status(v) == 0xff;
}

/* What a driver that does not know yet may still do. */
static void write_blindly(struct virtio *v)
{
    if (!v->mmio)
        pci_command(v->dev, COMMAND_MEMORY | COMMAND_MASTER, 0);
    virtio_kick(v);
    write32(v->base + v->common, 0);
    virtio_kick(v);
}

void test_unplug(void)
{
    struct virtio *disk, *rng;

    irq_init();
    disk = virtio_find(VIRTIO_BLK, 0);
    rng = virtio_find(VIRTIO_RNG, 0);
    virtio_start(disk);
    virtio_start(rng);
    traffic(disk);
    traffic(rng);
    rng_offer(rng, 1, BYTES); /* nobody feeds it */
    virtio_kick(rng);
    print("@remove virtio-rng0\n");
    while (!is_gone(rng))
        traffic(disk);
    /* Its memory is ours again. */
    requests_poison(rng);
    all_ones(rng);
    write_blindly(rng);
    rng_feed(BYTES);
    for (unsigned i = 0; i < TURNS; i++)
        traffic(disk);
    all_ones(rng);
    requests_check_poison(rng);
}
