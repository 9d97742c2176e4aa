/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the virtio framework.
 *
 *   device.c  creation, life cycle    status.c  status machine, features, config space
 *   queue.c   queues, doorbells       stop.c    reset and quiesce           state.c   save and load
 *   pci.c pci_regs.c pci_state.c pci_shm.c      the PCI transport      mmio.c  the MMIO transport
 *   shm.c     shared memory
 */
#ifndef VIRTIO_PRIVATE_H
#define VIRTIO_PRIVATE_H

#include <vmm/virtio/device.h>

/* How long a device may take to stop before it is given up. */
#define VIRTIO_STOP_NS (10ULL * 1000000000ULL)

static inline struct virtio_dev *virtio_of(struct vdev *dev)
{
    return container_of(dev, struct virtio_dev, dev);
}

/* Back to power-on; power_on: also the transport's registers that a driver's reset leaves. 0 or -EINPROGRESS. */
int virtio_reset_begin(struct virtio_dev *dev, bool power_on);
/* Requests are finished, none is begun. 0, -EINPROGRESS (vdev_done() follows) or what the device said. */
int virtio_pause_begin(struct virtio_dev *dev);
/* The pause that is under way has failed. Any thread. */
void virtio_pause_give_up(struct virtio_dev *dev);

/* Serves every queue soon. Who serves a remote one looks at it by himself when the device starts and goes on: remote_too says that it would not
 * now. */
void virtio_kick_all(struct virtio_dev *dev, bool remote_too);
/* The transport's may_dma() may have changed. 0, or -EINPROGRESS: the vCPU that brought it about parks on the device. */
int virtio_dma_changed(struct virtio_dev *dev);
/* A configuration interrupt, now or when the machine goes on. */
void virtio_tell_config(struct virtio_dev *dev);
/* Interrupts that were held back. */
void virtio_tell_late(struct virtio_dev *dev);
/* Queue n stops and has its initial values (MMIO's QueueReady 0). 0; -EINPROGRESS: transport->queue_stopped() follows, or, where the
 * device stops as a whole, its reset(). */
int virtio_queue_stop(struct virtio_dev *dev, uint16_t n);
/* A queue is to stop by itself and has not yet. */
bool virtio_queues_resetting(const struct virtio_dev *dev);
/* One has begun to: its time runs. One has ended. */
void virtio_queue_wait(struct virtio_dev *dev);
void virtio_queue_waited(struct virtio_dev *dev);

/* Its regions, and all that is mapped. */
void virtio_shm_exit(struct virtio_dev *dev);

/* Queues and negotiation, without the device's own state. */
extern const struct vm_state_field virtio_state_fields[];
enum { VIRTIO_STATE_VERSION = 1 };
int virtio_core_save(struct virtio_dev *dev, struct vm_buffer *buffer);
/* Into a device that was just created or reset. */
int virtio_core_load(struct virtio_dev *dev, const void *untrusted, size_t size);

/* For transports that swap their devices. -EINVAL with text: a driver would see another device. */
int virtio_same_shape(const struct virtio_dev *now, const struct virtio_dev *next);
/* One leaves its transport, the other one is behind it. */
void virtio_leave_transport(struct virtio_dev *dev);
void virtio_enter_transport(struct virtio_dev *dev, struct virtio_transport *transport);

/* A snapshot of three sections: transport, core, device; each with its length before it (u32). */
struct virtio_sections {
    const void *data[3];
    size_t size[3];
};
int virtio_section_add(struct vm_buffer *buffer, const struct vm_buffer *section);
int virtio_sections_split(const void *untrusted, size_t size, struct virtio_sections *ret_sections);
/* Adds core and device sections behind the transport's. */
int virtio_save_rest(struct virtio_dev *dev, struct vm_buffer *buffer);
/* Under the lock, before the transport takes its registers: everything is at power-on. -EBUSY with text. */
int virtio_load_begin(struct virtio_dev *dev);
/* Not under the lock, after the transport has taken its registers. On error all is at power-on again. */
int virtio_load_rest(struct virtio_dev *dev, const struct virtio_sections *sections);

#endif
