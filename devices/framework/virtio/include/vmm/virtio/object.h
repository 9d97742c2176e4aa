/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Objects that virtio devices of one machine share by name (VIRTIO 1.2, 2.13 "Exporting Objects"; vhost-user, SHARED_OBJECT): a device
 * that has some says so, another asks for one and gets its descriptor. For devices behind a vhost-user front end that knows it; elsewhere
 * -ENOTSUP.
 *
 * One question at a time, that of shared memory (vmm/virtio/shm.h) included: -EINPROGRESS, and ops->object_done() once later; -EBUSY while one is
 * under way; -ENOTCONN. Whoever asks for what this device has added is answered by ops->object_get().
 *
 * Threads: the device's loop, under its lock.
 */
#ifndef VMM_VIRTIO_OBJECT_H
#define VMM_VIRTIO_OBJECT_H

#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/virtio/device.h>

enum virtio_object_ask { VIRTIO_OBJECT_ADD, VIRTIO_OBJECT_REMOVE, VIRTIO_OBJECT_LOOKUP };
enum { VIRTIO_OBJECT_NAME = 16 };

static inline int virtio_object(struct virtio_dev *dev, enum virtio_object_ask what,
                                const uint8_t name[VIRTIO_OBJECT_NAME])
{
    if (!dev->transport || !dev->transport->object_ask)
        return vm_fail(-ENOTSUP, "%s: nobody shares objects here", dev->dev.id);
    return dev->transport->object_ask(dev->transport, what, name);
}

#endif
