/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared memory regions on PCI (VIRTIO 1.2, 4.1.4.7): all of a device's in one prefetchable 64-bit BAR, one behind the other, and a
 * capability for each. What is mapped there the hypervisor serves; the rest reads as zeros.
 */
#include "pci.h"

#include <string.h>

#include <vmm/base/le.h>
#include <vmm/virtio/shm.h>

/* 4.1.4, struct virtio_pci_cap64: offset and length have their upper halves at the end. */
enum {
    SHM_BAR = 2,
    CAP_VENDOR = 0x09,
    CFG_SHARED_MEMORY = 8,
    CAP64_BYTES = 24,
    CAP_TYPE = 3, /* offsets in the capability */
    CAP_BAR = 4,
    CAP_ID = 5,
    CAP_OFFSET = 8,
    CAP_LENGTH = 12,
    CAP_OFFSET_HI = 16,
    CAP_LENGTH_HI = 20,
};
#define LARGE_PAGE \
    (2ULL << 20) /* regions of that size begin at such an address, for the host's huge pages */

static int zeros_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    (void)self;
    (void)offset;
    memset(data, 0, len);
    return 0;
}

static int lost_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    (void)self;
    (void)offset;
    (void)data;
    (void)len;
    return 0;
}

static const struct vdev_region_ops unmapped_ops = { .read = zeros_read, .write = lost_write };

static int add_cap(struct virtio_pci *p, unsigned id, uint64_t offset, uint64_t length)
{
    uint8_t body[CAP64_BYTES] = { CAP_VENDOR,        0,       CAP64_BYTES,
                                  CFG_SHARED_MEMORY, SHM_BAR, (uint8_t)id };
    unsigned at;

    vm_store_le(body + CAP_OFFSET, 4, offset & UINT32_MAX);
    vm_store_le(body + CAP_LENGTH, 4, length & UINT32_MAX);
    vm_store_le(body + CAP_OFFSET_HI, 4, offset >> 32);
    vm_store_le(body + CAP_LENGTH_HI, 4, length >> 32);
    return vpci_cap_add(&p->fn, CAP_VENDOR, body, NULL, sizeof(body), &at);
}

/* Where the region behind this address begins. */
static uint64_t place(uint64_t at, uint64_t size)
{
    return size < LARGE_PAGE ? at : (at + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
}

int virtio_pci_shm_add(struct virtio_pci *p)
{
    uint64_t at = 0, bar = GM_PAGE_BYTES;
    int rc = 0;

    for (unsigned id = 0; !rc && id < virtio_shm_count(p->dev); id++) {
        uint64_t size = virtio_shm_size(p->dev, id);

        if (!size)
            continue;
        at = place(at, size);
        rc = add_cap(p, id, at, size);
        at += size;
    }
    if (rc || !at)
        return rc;
    while (bar < at) /* at is at most VIRTIO_SHM_BYTES and the gaps */
        bar *= 2;
    return vpci_bar_add(&p->fn, SHM_BAR, VPCI_BAR_MEM64_PREFETCH, bar, &unmapped_ops, p);
}

/* Under another device's BAR the addresses are that one's. */
void virtio_pci_shm_moved(struct virtio_pci *p, unsigned bar, uint64_t base)
{
    uint64_t at = 0;

    if (bar != SHM_BAR)
        return;
    for (unsigned id = 0; id < virtio_shm_count(p->dev); id++) {
        uint64_t size = virtio_shm_size(p->dev, id);

        if (!size)
            continue;
        at = place(at, size);
        virtio_shm_place(p->dev, id, base && vpci_bar_reached(&p->fn, SHM_BAR, at), base + at);
        at += size;
    }
}
