/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Looking up a device class. */
#include <vmm/devices/classes.h>

#include <string.h>

const struct vdev_class *vdev_class_find(const char *name, size_t len)
{
    for (const struct vdev_class *const *c = vdev_classes; *c; c++)
        if (strlen((*c)->name) == len && !memcmp((*c)->name, name, len))
            return *c;
    return NULL;
}
