/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared memory regions of virtio devices (VIRTIO 1.2, 2.10): stretches of guest addresses, known by a number, into which the device maps
 * pieces of files while it works. A driver finds them by its transport: as a BAR of their own (PCI, 4.1.4.7), or by registers
 * (MMIO, 4.2.2). What is not mapped reads as zeros, and writes to it are lost.
 *
 *   virtio_shm_offer() in create -> virtio_shm_map(), virtio_shm_unmap() ... -> virtio_exit()
 *
 * A piece is mapped into this process and, where the guest has put its region, made a memory slot of the hypervisor. Behind a vhost-user
 * front end the same calls become its messages: then -EINPROGRESS, and ops->shm_done() once later.
 *
 * All mappings end with the driver's reset; also the device may end them all. Guest memory of other devices' requests this is not.
 *
 * Threads: as for the device's other calls, under its lock.
 */
#ifndef VMM_VIRTIO_SHM_H
#define VMM_VIRTIO_SHM_H

#include <vmm/virtio/device.h>

enum { VIRTIO_SHM_REGIONS = 256, VIRTIO_SHM_MAPS = 256 /* pieces of one device */ };
#define VIRTIO_SHM_BYTES (1ULL << 46) /* of all regions of a device */

/* In create, after virtio_init(): region n has size[n] bytes, 0: there is none. 0; -EINVAL (not whole pages, too many, too large);
 * -ENOMEM; with text. */
int virtio_shm_offer(struct virtio_dev *dev, const uint64_t *size, unsigned count);
/* Bytes of region id; 0: there is none. */
uint64_t virtio_shm_size(const struct virtio_dev *dev, unsigned id);
/* One more than the largest id. */
unsigned virtio_shm_count(const struct virtio_dev *dev);

/* A piece: where in which region, and what of the file. */
struct virtio_shm_piece {
    uint8_t id;
    bool writable;
    uint64_t at, bytes, fd_offset;
};

/* fd is borrowed, and untrusted like the numbers: a file that can still be cut short would end the guest, so it has to be a memory file that
 * is sealed against that (F_SEAL_SHRINK). 0; -EINVAL (no such region, not within it, not whole pages, not
 * within the file); -EEXIST (something is mapped there); -ENOSPC (too many); -EPERM (not sealed), -EACCES (not open for that); -errno of
 * mmap or the hypervisor; with text: nothing was mapped. -EINPROGRESS, -EBUSY: see above, one at a time. */
int virtio_shm_map(struct virtio_dev *dev, const struct virtio_shm_piece *untrusted, int fd);
/* Exactly what was mapped by one call. 0; -ENOENT; -EINPROGRESS, -EBUSY. */
int virtio_shm_unmap(struct virtio_dev *dev, const struct virtio_shm_piece *untrusted);
void virtio_shm_clear(struct virtio_dev *dev);

/* For transports: region id is at guest address gpa now, or (present false) nowhere. What the hypervisor does not take there is logged,
 * and not seen by the guest. */
void virtio_shm_place(struct virtio_dev *dev, unsigned id, bool present, gpa_t gpa);
/* Where that is; false: nowhere. */
bool virtio_shm_placed(const struct virtio_dev *dev, unsigned id, gpa_t *ret_gpa);

#endif
