/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The PCI transport between its files.
 *
 * One memory BAR of 16 KiB + one page (rounded up to a power of two) holds everything, so that moving one BAR moves all:
 *
 *   0x0000 common configuration   0x1000 ISR status      0x2000 device configuration
 *   0x3000 notifications (4 bytes per queue)             after them, page aligned: MSI-X table, then PBA
 */
#ifndef VIRTIO_PCI_PRIVATE_H
#define VIRTIO_PCI_PRIVATE_H

#include "virtio_private.h"

#include <vmm/virtio/transport.h>

enum {
    PCI_BAR = 4,
    PCI_COMMON = 0x0000,
    PCI_COMMON_BYTES = 0x40,
    PCI_ISR = 0x1000,
    PCI_DEVICE = 0x2000,
    PCI_NOTIFY = 0x3000,
    PCI_NOTIFY_STEP = 4, /* notify_off_multiplier */
    ISR_QUEUE = 1,
    ISR_CONFIG = 2,
};

struct virtio_pci {
    struct virtio_transport transport;
    struct virtio_dev *dev;
    struct vpci_function fn;
    uint32_t msix_at; /* in the BAR */
    unsigned window; /* offset of the configuration access capability (4.1.4.9) */

    /* Registers of the common structure. */
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint16_t *vector; /* per queue */
    uint8_t isr;
    bool leaves; /* it is being unplugged */
    bool *doorbell; /* per queue: installed */
    uint64_t doorbell_base;
    struct pci_call {
        int fd; /* its signals are messages; -1: not */
        uint32_t number; /* the machine's */
    } * call; /* per queue */
};

/* pci_regs.c */
extern const struct vdev_region_ops virtio_pci_bar_ops;
int virtio_pci_bar_read(void *self, uint64_t offset, uint8_t *data, unsigned len);
int virtio_pci_bar_write(void *self, uint64_t offset, const uint8_t *data, unsigned len);

/* pci_shm.c: the device's regions as a BAR with its capabilities; -ENOSPC: too many. And the BAR was moved. */
int virtio_pci_shm_add(struct virtio_pci *p);
void virtio_pci_shm_moved(struct virtio_pci *p, unsigned bar, uint64_t base);

/* pci.c */
void virtio_pci_vectors_reset(struct virtio_pci *p);
/* Queue n's vector is another one, or what is behind vectors has changed. */
void virtio_pci_call_update(struct virtio_pci *p, uint16_t n);
void virtio_pci_calls_update(struct virtio_pci *p);

#endif
