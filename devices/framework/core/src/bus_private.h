/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bus's inside: the map that readers see, and how it is made from the regions. */
#ifndef VMM_DEVICES_CORE_BUS_PRIVATE_H
#define VMM_DEVICES_CORE_BUS_PRIVATE_H

#include <vmm/devices-core/bus.h>

/* Addresses [base, last] belong to region, whose byte at base is offset. */
struct bus_range {
    uint64_t base, last, offset;
    struct vdev_region
        *region; /* atomic: becomes NULL when a region leaves and no new map can be made */
};

/* Immutable but for bus_range.region. Ranges are sorted and do not overlap. */
struct bus_map {
    struct vm_version version; /* first: the reader's pointer is the map's */
    struct vdev_bus *bus;
    struct bus_map *next_dead;
    struct vm_list node; /* vdev_bus.maps */
    uint64_t number;
    size_t count;
    struct bus_range range[];
};

/* Memory for a map. In a file of its own, so that a test can put one in its place that fails. */
void *vdev_bus_map_alloc(size_t bytes);

/* The map of the regions in list (sorted by base; count of them), or NULL. */
struct bus_map *vdev_bus_flatten(const struct vm_list *list, size_t count);

#endif
