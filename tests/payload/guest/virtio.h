/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The machine guest's virtio driver (VIRTIO 1.2): one queue of a device, over virtio-pci or, with
 * the option bus=mmio, over virtio-mmio; split ring, or packed with the option ring=packed; polled,
 * or with the option irq=on by MSI-X (virtio-pci) or a pin of the interrupt controller (virtio-mmio).
 */
#ifndef PAYLOAD_GUEST_VIRTIO_H
#define PAYLOAD_GUEST_VIRTIO_H

#include "pci.h"

enum {
    VIRTIO_BLK = 2,
    VIRTIO_RNG = 4,
    SLOTS = 16, /* requests in flight */
    SEGMENTS = 4, /* buffers of one */
    RING = SLOTS * SEGMENTS,
    CONFIG_VECTOR = 0,
    QUEUE_VECTOR = 1, /* MSI-X entries */
    DEVICES = 4,
    /* struct virtio_pci_common_cfg, 4.1.4.3 */
    COMMON_FEATURE_SELECT = 0x00,
    COMMON_FEATURE = 0x04,
    COMMON_DRIVER_SELECT = 0x08,
    COMMON_DRIVER = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_QUEUES = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_QUEUE_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_RESET = 0x3a,
    MSIX_ENABLE = 0x8000, /* PCI Local Bus 3.0, 6.8.2.3 */
    MSIX_MASK_ALL = 0x4000,
};

struct segment {
    void *at;
    uint32_t bytes;
    bool device_writes;
};

struct virtio {
    unsigned type, nth;
    bool mmio, packed, irq;
    uint8_t vector; /* of the queue's interrupt */
    unsigned dev; /* on PCI */
    unsigned pin; /* of the interrupt controller: virtio-mmio */
    struct pci_bar bar;
    uint64_t base; /* of the BAR or of the window: where it is now */
    uint32_t common, isr, config, notify; /* in it */
    unsigned msix; /* capability */
    uint32_t msix_table, msix_pba;
    unsigned interrupts; /* that came and were not waited for yet */
    struct queue *q;
};

/* The nth device of that type; it must be there. It has vector FIRST_VECTOR + its slot in the driver. */
struct virtio *virtio_find(unsigned type, unsigned nth);
/* From reset to DRIVER_OK. */
void virtio_start(struct virtio *v);
/* Reset, waited for. */
void virtio_reset(struct virtio *v);
/* Its queue alone: stopped, waited for (2.6.1, 4.2.2.2); and begun anew. */
void virtio_stop_queue(struct virtio *v);
void virtio_start_queue(struct virtio *v);
uint8_t virtio_status(struct virtio *v);
/* Whether the device shows its registers at base: a read that a device elsewhere would not answer so. */
bool virtio_answers(struct virtio *v);
void virtio_move(struct virtio *v, uint64_t address);
uint64_t virtio_doorbell(const struct virtio *v);

void virtio_offer(struct virtio *v, unsigned slot, const struct segment *s, unsigned n);
void virtio_kick(struct virtio *v);
/* A request that has ended: its slot; or -1. */
int virtio_done(struct virtio *v, uint32_t *ret_len);
/* Waits, polling or by interrupt, until the slot's request has ended: the bytes that were written. */
uint32_t virtio_wait(struct virtio *v, unsigned slot);

/* One MSI-X table entry. */
void msix_entry(struct virtio *v, unsigned n, uint32_t address, uint32_t data, bool masked);
bool msix_pending(struct virtio *v, unsigned n);
void msix_control(struct virtio *v, uint16_t set, uint16_t clear);

/* Disk number nth holds 128 sectors, at first the pattern; tests write the pattern's complement to the second half. */
enum { SECTOR = 512, SECTORS = 128, FIRST_WRITABLE = 64, BLK_SECTORS = 2 };
static inline uint64_t disk_word(unsigned nth, uint64_t offset)
{
    return (offset + nth + 1) * 0x9e3779b97f4a7c15ull;
}
/* Reads or writes BLK_SECTORS sectors from sector on; with write the second half only. */
void blk_offer(struct virtio *v, unsigned slot, uint64_t sector, bool write);
/* Waits for it and compares what was read with what the disk must hold there. */
void blk_finish(struct virtio *v, unsigned slot);
/* One write and two reads, all compared. */
void blk_traffic(struct virtio *v);

/* Bytes from the entropy device; with the option fifo=on it gets them from the test, which sends them when told "@feed". */
void rng_offer(struct virtio *v, unsigned slot, uint32_t bytes);
void rng_feed(uint32_t bytes);
void rng_finish(struct virtio *v, unsigned slot);
void rng_traffic(struct virtio *v);

/* After a reset: fills what the device might have written, its rings too, and looks whether it did. */
void requests_poison(struct virtio *v);
void requests_check_poison(struct virtio *v);

/* Whichever of the two it is. */
void traffic(struct virtio *v);

#endif
