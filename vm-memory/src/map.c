/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Maps: immutable arrays of regions in the order of their addresses, searched by halving. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vmm/base/check.h>

#include "memory_private.h"

static int by_base(const void *a, const void *b)
{
    const struct gm_slot *x = a, *y = b;

    return x->base < y->base ? -1 : x->base > y->base;
}

static void fill_slots(struct gm_map *map, struct gm_region *const *regions)
{
    for (size_t i = 0; i < map->count; i++) {
        struct gm_region *region = regions[i];

        map->slot[i] =
            (struct gm_slot){ region->base, region->size, region->host, region, region->read_only };
    }
    if (map->count)
        qsort(map->slot, map->count, sizeof(map->slot[0]), by_base);
}

static int check_overlap(const struct gm_map *map)
{
    for (size_t i = 1; i < map->count; i++) {
        const struct gm_slot *a = &map->slot[i - 1], *b = &map->slot[i];

        if (b->base - a->base < a->size)
            return vm_fail(-EINVAL,
                           "memory map: the regions at 0x%" PRIx64 ", size 0x%" PRIx64
                           " and at 0x%" PRIx64 ", size 0x%" PRIx64 " overlap",
                           a->base, a->size, b->base, b->size);
    }
    return 0;
}

int gm_map_new(struct gm_region *const *regions, size_t count, struct gm_map **ret_map)
{
    struct gm_map *map;
    int rc;

    if (count > GM_REGIONS_MAX)
        return vm_fail(-EINVAL, "memory map: %zu regions are more than %d", count, GM_REGIONS_MAX);
    map = calloc(1, sizeof(*map) + count * sizeof(map->slot[0]));
    if (!map)
        return vm_fail(-ENOMEM, "memory map: no memory for %zu entries", count);
    map->refs = 1;
    map->count = (uint32_t)count;
    vm_list_init(&map->node);
    fill_slots(map, regions);
    rc = check_overlap(map);
    if (rc) {
        free(map);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        gm_region_ref(map->slot[i].region);
    *ret_map = map;
    return 0;
}

struct gm_map *gm_map_ref(struct gm_map *map)
{
    /* relaxed: who can call this holds a reference, or the lock of who does */
    __atomic_fetch_add(&map->refs, 1, __ATOMIC_RELAXED);
    return map;
}

static bool release(struct gm_map *map, bool post)
{
    bool kick = false;

    /* acq_rel: pairs with itself; accesses through the map are over before a region goes */
    if (__atomic_sub_fetch(&map->refs, 1, __ATOMIC_ACQ_REL))
        return false;
    if (map->space)
        kick = gm_space_map_gone(map->space, map, post);
    for (size_t i = 0; i < map->count; i++)
        gm_region_unref(map->slot[i].region);
    free(map);
    return kick;
}

void gm_map_put(struct gm_map *map)
{
    release(map, false);
}

void gm_map_unref(struct gm_map *map)
{
    struct gm_space *space;

    if (!map)
        return;
    space = map->space;
    if (space)
        gm_space_ref(space); /* the map's own reference goes with the map, before the kick */
    if (release(map, true))
        gm_space_kick(space);
    if (space)
        gm_space_unref(space);
}

size_t gm_map_count(const struct gm_map *map)
{
    return map->count;
}

struct gm_region *gm_map_region(const struct gm_map *map, size_t i)
{
    return i < map->count ? map->slot[i].region : NULL;
}

const struct gm_slot *gm_map_slot(const struct gm_map *map, gpa_t gpa)
{
    size_t low = 0, high = map->count;

    while (low < high) { /* the last slot with base <= gpa stands before low */
        size_t middle = (low + high) / 2;

        if (map->slot[middle].base <= gpa)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    low--;
    return gpa - map->slot[low].base < map->slot[low].size ? &map->slot[low] : NULL;
}

struct gm_region *gm_map_find(const struct gm_map *map, gpa_t gpa)
{
    const struct gm_slot *slot = gm_map_slot(map, gpa);

    return slot ? slot->region : NULL;
}

bool gm_map_holds(const struct gm_map *map, const struct gm_region *region)
{
    return gm_map_find(map, region->base) == region;
}

uint64_t gm_map_bytes(const struct gm_map *map)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < map->count; i++)
        bytes += map->slot[i].size;
    return bytes;
}

gpa_t gm_map_end(const struct gm_map *map)
{
    const struct gm_slot *last;

    if (!map->count)
        return 0;
    last = &map->slot[map->count - 1];
    return last->base + last->size;
}
