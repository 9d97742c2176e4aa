/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From regions that may overlap to the ranges an access sees: one sweep over the addresses.
 *
 * The regions come sorted by base. At each place the sweep keeps those that are open there in a
 * list, the best (highest priority, then longest on the bus) first; the best one owns the addresses
 * up to its end or to the next region's base, whichever comes first. Neighbours of one region are
 * joined, so n regions give at most 2n - 1 ranges.
 */
#include "bus_private.h"

static uint64_t last_of(const struct vdev_region *region)
{
    return region->base + (region->size - 1);
}

static bool better(const struct vdev_region *a, const struct vdev_region *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return a->order < b->order;
}

static void open_region(struct vdev_region **open, struct vdev_region *region)
{
    while (*open && better(*open, region))
        open = &(*open)->below;
    region->below = *open;
    *open = region;
}

/* Forgets what ended before the place; what lies deeper is forgotten when it gets to the top. */
static struct vdev_region *open_at(struct vdev_region *open, uint64_t place)
{
    while (open && last_of(open) < place)
        open = open->below;
    return open;
}

/* A region's ranges with nothing between them lie side by side: it is open all the way. */
static void emit(struct bus_map *map, uint64_t base, uint64_t last, struct vdev_region *region)
{
    struct bus_range *before = map->count ? &map->range[map->count - 1] : NULL;

    if (before && before->region == region) {
        before->last = last;
        return;
    }
    map->range[map->count++] = (struct bus_range){
        .base = base, .last = last, .offset = base - region->base, .region = region
    };
}

static struct vdev_region *region_at(const struct vm_list *list, struct vm_list *node)
{
    return node == list ? NULL : container_of(node, struct vdev_region, node);
}

static void sweep(const struct vm_list *list, struct bus_map *map)
{
    struct vdev_region *next = region_at(list, list->next), *open = NULL;
    uint64_t place = 0, last;

    while (open || next) {
        if (!open)
            place = next->base;
        for (; next && next->base == place; next = region_at(list, next->node.next))
            open_region(&open, next);
        last = last_of(open);
        if (next && next->base <= last)
            last = next->base - 1;
        emit(map, place, last, open);
        if (last == UINT64_MAX)
            break;
        place = last + 1;
        open = open_at(open, place);
    }
}

struct bus_map *vdev_bus_flatten(const struct vm_list *list, size_t count)
{
    struct bus_map *map;

    map = vdev_bus_map_alloc(sizeof(*map) + 2 * count * sizeof(map->range[0]));
    if (!map)
        return NULL;
    *map = (struct bus_map){ 0 };
    sweep(list, map);
    return map;
}
