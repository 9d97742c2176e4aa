/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device classes of this build: a table that is generated from the vmm_device() lines. Thread safe. */
#ifndef VMM_DEVICES_CLASSES_H
#define VMM_DEVICES_CLASSES_H

#include <vmm/devices-core/device.h>

/* In the order of the lines; ends with NULL. */
extern const struct vdev_class *const vdev_classes[];

/* By class name ("virtio-rng"); NULL when this build has none. name need not be terminated. */
const struct vdev_class *vdev_class_find(const char *name, size_t len);

#endif
