/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The two transports of VIRTIO 1.2: PCI (4.1, modern only) and MMIO (4.2, version 2). Both take a virtio_dev that was just
 * created and own it: destroying the transport destroys the device.
 */
#ifndef VMM_VIRTIO_TRANSPORT_H
#define VMM_VIRTIO_TRANSPORT_H

#include <vmm/pci/pci.h>
#include <vmm/virtio/device.h>

/* A virtio device as a PCI function 1af4:1040+id, one BAR: common, ISR, device config, notify, MSI-X. Plugged in at addr (NULL:
 * next free). On error the device is still the caller's. */
struct virtio_pci;
int virtio_pci_new(struct virtio_dev *dev, struct vpci_root *root, const char *addr,
                   struct virtio_pci **ret_pci);
void virtio_pci_free(struct virtio_pci *pci);
/* Takes the function out of a running machine, as if it had been pulled out: reads of its configuration space and BARs give all ones,
 * writes reach nobody, its line is low, its doorbells and messages are off. The device is at rest (vdev_remove()); no lock is held.
 * gone: as for vdev_bus_del(), no access reaches device or transport any more. virtio_pci_free() comes after it. */
void virtio_pci_unplug(struct virtio_pci *pci, void (*gone)(void *ctx), void *ctx);
struct vpci_function *virtio_pci_function(struct virtio_pci *pci);

/* A virtio device as a 512-byte register window with a level interrupt. */
enum { VIRTIO_MMIO_BYTES = 0x200 };
struct virtio_mmio;
int virtio_mmio_new(struct virtio_dev *dev, struct vdev_bus *mmio, uint64_t base,
                    struct vdev_irq *irq, struct virtio_mmio **ret_mmio);
void virtio_mmio_free(struct virtio_mmio *mmio);
/* The window likewise. */
void virtio_mmio_unplug(struct virtio_mmio *mmio, void (*gone)(void *ctx), void *ctx);

/* Puts another device in the place of the one behind the transport, which becomes the caller's; registers stay as they are, bit for bit.
 * next has taken over from it (virtio_take_over()), and has its type, queues and config space (-EINVAL with text if not: nothing has
 * happened). The machine is paused, both are quiesced, no lock is held. */
int virtio_pci_swap(struct virtio_pci *pci, struct virtio_dev *next);
int virtio_mmio_swap(struct virtio_mmio *mmio, struct virtio_dev *next);

/* Snapshot sections: the device's own, its queues and the transport's registers together. As vdev_save() and vdev_load(). */
int virtio_pci_save(struct virtio_pci *pci, struct vm_buffer *buffer);
int virtio_pci_load(struct virtio_pci *pci, const void *untrusted, size_t size);
int virtio_mmio_save(struct virtio_mmio *mmio, struct vm_buffer *buffer);
int virtio_mmio_load(struct virtio_mmio *mmio, const void *untrusted, size_t size);

#endif
