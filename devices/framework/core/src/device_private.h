/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between device.c and ledger.c. */
#ifndef DEVICE_PRIVATE_H
#define DEVICE_PRIVATE_H

#include <vmm/devices-core/device.h>

/* The class's table and version, also where it has none. */
const struct vm_state_field *vdev_state_fields(const struct vdev_class *cls);
uint16_t vdev_state_version(const struct vdev_class *cls);
/* Under the lock: a zeroed state struct, then what the device would save now. NULL with text: no memory. */
void *vdev_state_now(struct vdev *dev);
/* Under the lock, as vdev_load(): on error the device is reset. */
int vdev_state_load(struct vdev *dev, const struct vm_state_field *fields, const void *untrusted,
                    size_t size);

/* ledger.c; under the lock. Nothing where there is no ledger. */
void vdev_ledger_whole(struct vdev *dev);

#endif
