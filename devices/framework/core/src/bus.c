/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Buses: accesses by many readers without a lock, changes by publishing the next map.
 *
 * When is a removed region no longer in use? Maps are numbered in the order they are published. A
 * region that is removed is in no map from the next number on; so its gone() is due as soon as
 * every older map was released. A map may be released inside vm_version_publish(), that is while
 * the bus's lock is held, or by a leaving reader: release only puts it on the list of dead maps,
 * and whoever made that possible (nobody else need look) buries them right after, without the lock.
 *
 * Locks: bus->lock guards the regions and the books about maps; it ranks as a lane because
 * publishing takes the versioned map's leaf lock below it.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices-core/bus.h>

#include "bus_private.h"

struct vdev_bus {
    const struct vm_env *env;
    const char *name;
    uint64_t limit;
    struct vm_versioned versioned;
    struct bus_map *dead; /* atomic: released, not yet freed */
    struct vm_lock lock;
    struct vm_list regions; /* by base */
    size_t region_count;
    struct vm_list leaving; /* regions that wait for their gone() */
    struct vm_list maps; /* not yet freed, oldest first; never empty */
    uint64_t next_number, next_order;
    struct vm_ratelimit complaints;
};

static void release_map(struct vm_version *version)
{
    struct bus_map *map = container_of(version, struct bus_map, version);
    struct bus_map **dead = &map->bus->dead;

    map->next_dead = __atomic_load_n(dead, __ATOMIC_RELAXED);
    /* Partner: the exchange in bury(). */
    while (!__atomic_compare_exchange_n(dead, &map->next_dead, map, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
}

/* Under the lock: frees the dead maps and moves the regions that are due from leaving to due. */
static void collect(struct vdev_bus *bus, struct vm_list *due)
{
    struct bus_map *map = __atomic_exchange_n(&bus->dead, NULL, __ATOMIC_ACQUIRE);
    struct vm_list *node, *next;
    uint64_t oldest;

    while (map) {
        struct bus_map *next_map = map->next_dead;

        vm_list_del(&map->node);
        free(map);
        map = next_map;
    }
    oldest = vm_list_empty(&bus->maps) ? UINT64_MAX
                                       : container_of(bus->maps.next, struct bus_map, node)->number;
    for (node = bus->leaving.next; node != &bus->leaving; node = next) {
        next = node->next;
        if (container_of(node, struct vdev_region, node)->gone_after <= oldest) {
            vm_list_del(node);
            vm_list_add(due, node);
        }
    }
}

static void call_gone(struct vm_list *due)
{
    while (!vm_list_empty(due)) {
        struct vdev_region *region = container_of(due->next, struct vdev_region, node);
        void (*gone)(void *ctx) = region->gone;

        vm_list_del(&region->node);
        gone(region->gone_ctx); /* the region may be freed by it */
    }
}

static void __attribute__((noinline)) bury_dead(struct vdev_bus *bus)
{
    struct vm_list due;

    vm_list_init(&due);
    vm_lock_acquire(&bus->lock);
    collect(bus, &due);
    vm_lock_release(&bus->lock);
    call_gone(&due);
}

static inline void bury(struct vdev_bus *bus)
{
    if (__builtin_expect(!!__atomic_load_n(&bus->dead, __ATOMIC_RELAXED), 0))
        bury_dead(bus);
}

/* Regions that left when no map could be made: this one is the first without them. */
static void settle_leaving(struct vdev_bus *bus, uint64_t number)
{
    vm_list_for_each (node, &bus->leaving) {
        struct vdev_region *region = container_of(node, struct vdev_region, node);

        if (region->gone_after == UINT64_MAX)
            region->gone_after = number;
    }
}

static struct bus_map *make_map(struct vdev_bus *bus)
{
    struct bus_map *map = vdev_bus_flatten(&bus->regions, bus->region_count);

    if (!map)
        return NULL;
    map->version.release = release_map;
    map->bus = bus;
    map->number = bus->next_number++;
    vm_list_add(&bus->maps, &map->node);
    return map;
}

/* Under the lock: the next map of the regions as they are now. */
static int publish(struct vdev_bus *bus)
{
    struct bus_map *map = make_map(bus);

    if (!map)
        return vm_fail(-ENOMEM, "bus %s: no memory for a map of %zu regions", bus->name,
                       bus->region_count);
    settle_leaving(bus, map->number);
    vm_version_publish(&bus->versioned, &map->version);
    return 0;
}

int vdev_bus_new(const struct vm_env *env, const char *name, uint64_t limit,
                 struct vdev_bus **ret_bus)
{
    struct vdev_bus *bus = calloc(1, sizeof(*bus));
    struct bus_map *first;

    if (!bus)
        return vm_fail(-ENOMEM, "bus %s: no memory", name);
    bus->env = env;
    bus->name = name;
    bus->limit = limit;
    vm_list_init(&bus->regions);
    vm_list_init(&bus->leaving);
    vm_list_init(&bus->maps);
    first = make_map(bus);
    if (!first) {
        free(bus);
        return vm_fail(-ENOMEM, "bus %s: no memory", name);
    }
    vm_lock_init(&bus->lock, VM_RANK_LANE, name);
    vm_versioned_init(&bus->versioned, name, &first->version);
    *ret_bus = bus;
    return 0;
}

void vdev_bus_free(struct vdev_bus *bus)
{
    struct vm_list due;

    if (!bus)
        return;
    vm_list_init(&due);
    vm_versioned_destroy(&bus->versioned);
    collect(bus, &due);
    call_gone(&due);
    vm_lock_destroy(&bus->lock);
    free(bus);
}

/* Behind the regions of the same base: the list stays sorted. */
static void insert(struct vdev_bus *bus, struct vdev_region *region)
{
    struct vm_list *place = bus->regions.prev;

    while (place != &bus->regions &&
           container_of(place, struct vdev_region, node)->base > region->base)
        place = place->prev;
    vm_list_add(place->next, &region->node);
}

static int check_place(const struct vdev_bus *bus, const struct vdev_region *region, uint64_t base)
{
    if (!region->size)
        return vm_fail(-EINVAL, "bus %s: region %s at 0x%" PRIx64 " is empty", bus->name,
                       region->name, base);
    if (base > bus->limit || region->size - 1 > bus->limit - base)
        return vm_fail(-EINVAL,
                       "bus %s: region %s at 0x%" PRIx64 " of 0x%" PRIx64
                       " bytes ends beyond the last address 0x%" PRIx64,
                       bus->name, region->name, base, region->size, bus->limit);
    return 0;
}

int vdev_bus_add(struct vdev_bus *bus, struct vdev_region *region)
{
    int rc = check_place(bus, region, region->base);

    if (rc)
        return rc;
    vm_lock_acquire(&bus->lock);
    assert(!region->on_bus);
    region->order = bus->next_order++;
    insert(bus, region);
    bus->region_count++;
    rc = publish(bus);
    if (rc) {
        vm_list_del(&region->node);
        bus->region_count--;
    }
    region->on_bus = !rc;
    vm_lock_release(&bus->lock);
    bury(bus);
    return rc;
}

static void place(struct vdev_bus *bus, struct vdev_region *region, uint64_t base, uint64_t order)
{
    vm_list_del(&region->node);
    region->base = base;
    region->order = order;
    insert(bus, region);
}

int vdev_bus_move(struct vdev_bus *bus, struct vdev_region *region, uint64_t base)
{
    int rc = check_place(bus, region, base);
    uint64_t before, order;

    if (rc)
        return rc;
    vm_lock_acquire(&bus->lock);
    assert(region->on_bus);
    before = region->base;
    order = region->order;
    place(bus, region, base, bus->next_order++);
    rc = publish(bus);
    if (rc)
        place(bus, region, before, order);
    vm_lock_release(&bus->lock);
    bury(bus);
    return rc;
}

/* Removing may not fail: without memory for a new map the region is taken out of the current one
 * in place, and its gone() waits for the next map. What it covered comes to light only then. */
static void punch(struct vdev_bus *bus, const struct vdev_region *region)
{
    struct bus_map *map =
        container_of(vm_version_current(&bus->versioned), struct bus_map, version);

    for (size_t i = 0; i < map->count; i++)
        if (map->range[i].region == region)
            __atomic_store_n(&map->range[i].region, NULL, __ATOMIC_RELAXED);
}

void vdev_bus_del(struct vdev_bus *bus, struct vdev_region *region, void (*gone)(void *ctx),
                  void *ctx)
{
    vm_lock_acquire(&bus->lock);
    if (region->on_bus) {
        vm_list_del(&region->node);
        bus->region_count--;
        region->on_bus = false;
    }
    if (gone) {
        region->gone = gone;
        region->gone_ctx = ctx;
        region->gone_after = UINT64_MAX; /* until publish() knows the number */
        vm_list_add(&bus->leaving, &region->node);
    }
    if (publish(bus))
        punch(bus, region);
    vm_lock_release(&bus->lock);
    bury(bus);
}

void vdev_bus_reader_init(struct vdev_bus *bus, struct vdev_bus_reader *reader)
{
    *reader = (struct vdev_bus_reader){ .bus = bus };
    vm_reader_add(&bus->versioned, &reader->reader);
}

void vdev_bus_reader_exit(struct vdev_bus_reader *reader)
{
    vm_reader_del(&reader->reader);
}

/* The first range that ends at or behind addr. */
static size_t search(const struct bus_map *map, uint64_t addr)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (map->range[middle].last < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool vdev_bus_reaches(struct vdev_bus *bus, uint64_t addr, const struct vdev_region *region)
{
    const struct bus_map *map;
    bool found;
    size_t at;

    vm_lock_acquire(&bus->lock);
    map = container_of(vm_version_current(&bus->versioned), struct bus_map, version);
    at = search(map, addr);
    found = at < map->count && addr >= map->range[at].base &&
            __atomic_load_n(&map->range[at].region, __ATOMIC_RELAXED) == region;
    vm_lock_release(&bus->lock);
    return found;
}

/* The range that holds addr. The hint is only a place to look first, as good for a gap as for a
 * range: what stands there is read anew each time. */
static inline const struct bus_range *find(const struct bus_map *map,
                                           struct vdev_bus_reader *reader, uint64_t addr)
{
    size_t at = reader->hint;

    if (at >= map->count || addr > map->range[at].last ||
        (addr < map->range[at].base && at && addr <= map->range[at - 1].last)) {
        at = search(map, addr);
        if (at == map->count)
            return NULL;
        reader->hint = at;
    }
    return addr < map->range[at].base ? NULL : &map->range[at];
}

/* Who answers an access, and where inside it; NULL: nobody. */
struct target {
    struct vdev_region *region;
    uint64_t offset;
};

/* Out of line: an address of a local variable would cost every access a stack guard. */
static struct target __attribute__((noinline))
through_window(struct vdev_region *region, uint64_t offset, unsigned len)
{
    struct target t = { .offset = offset };

    t.region = region->ops->window(region->self, &t.offset, len);
    if (t.region && (t.offset >= t.region->size || len > t.region->size - t.offset))
        t.region = NULL;
    return t;
}

/* Inside enter and leave. */
static inline __attribute__((always_inline)) struct target route(struct vdev_bus_reader *reader,
                                                                 uint64_t addr, unsigned len)
{
    struct vm_version *version = vm_version_enter(&reader->reader);
    const struct bus_range *range =
        find(container_of(version, struct bus_map, version), reader, addr);
    struct target t = { 0 };

    if (!range)
        return t;
    t.region = __atomic_load_n(&range->region, __ATOMIC_RELAXED);
    t.offset = range->offset + (addr - range->base);
    if (!t.region || len > t.region->size - t.offset)
        return (struct target){ 0 };
    if (__builtin_expect(!!t.region->ops->window, 0))
        return through_window(t.region, t.offset, len);
    return t;
}

static inline void leave(struct vdev_bus_reader *reader)
{
    if (__builtin_expect(vm_version_leave(&reader->reader), 0))
        bury(reader->bus);
}

static inline bool is_width(unsigned len)
{
    return len >= 1 && len <= 8;
}

/* The device's own trouble, worded once for all of them. */
static void __attribute__((cold))
complain(struct vdev_bus_reader *reader, const struct vdev_region *region, const char *what,
         uint64_t offset, unsigned len, int rc)
{
    struct vdev_bus *bus = reader->bus;
    const char *why = strerrordesc_np(-rc);
    uint32_t missed;
    bool ok;

    reader->failed++;
    vm_lock_acquire(&bus->lock);
    ok = vm_ratelimit_ok(&bus->complaints, vm_now_ns(bus->env, VM_CLOCK_MONOTONIC), &missed);
    vm_lock_release(&bus->lock);
    if (!ok)
        return;
    vm_log(bus->env, VM_LOG_WARN, "bus %s: %s of %u bytes at offset 0x%" PRIx64 " of %s: %s",
           bus->name, what, len, offset, region->name, why ? why : "unknown error");
    if (missed)
        vm_log(bus->env, VM_LOG_WARN, "bus %s: %u earlier lines were dropped", bus->name, missed);
}

/* After the call-back, still inside: an access that did not simply succeed. */
static void __attribute__((cold))
settle(struct vdev_bus_reader *reader, const struct vdev_region *region, const char *what,
       uint64_t offset, unsigned len, int rc, struct vdev **ret_dev)
{
    if (rc != -EINPROGRESS)
        complain(reader, region, what, offset, len, rc);
    else if (ret_dev)
        __atomic_store_n(ret_dev, region->dev, __ATOMIC_RELAXED);
}

static void all_ones(uint8_t *data, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        data[i] = 0xff;
}

int vdev_bus_read(struct vdev_bus_reader *reader, uint64_t addr, uint8_t *data, unsigned len,
                  struct vdev **ret_dev)
{
    int rc = -ENODEV;
    struct target t;

    if (!is_width(len))
        return rc;
    t = route(reader, addr, len);
    if (t.region) {
        if (t.region->lock)
            vm_lock_acquire(t.region->lock);
        rc = t.region->ops->read(t.region->self, t.offset, data, len);
        if (t.region->lock)
            vm_lock_release(t.region->lock);
        if (rc) {
            all_ones(data, len);
            settle(reader, t.region, "read", t.offset, len, rc, ret_dev);
        }
    } else {
        vm_count(&reader->unclaimed, 1);
        all_ones(data, len);
    }
    leave(reader);
    return rc;
}

int vdev_bus_write(struct vdev_bus_reader *reader, uint64_t addr, const uint8_t *data, unsigned len,
                   struct vdev **ret_dev)
{
    int rc = -ENODEV;
    struct target t;

    if (!is_width(len))
        return rc;
    t = route(reader, addr, len);
    if (t.region) {
        if (t.region->lock)
            vm_lock_acquire(t.region->lock);
        rc = t.region->ops->write(t.region->self, t.offset, data, len);
        if (t.region->lock)
            vm_lock_release(t.region->lock);
        if (rc)
            settle(reader, t.region, "write", t.offset, len, rc, ret_dev);
    } else {
        vm_count(&reader->unclaimed, 1);
    }
    leave(reader);
    return rc;
}

void vdev_bus_walk(struct vdev_bus *bus,
                   void (*visit)(void *ctx, uint64_t base, uint64_t size, const char *name),
                   void *ctx)
{
    struct vdev_bus_reader reader;
    const struct bus_map *map;

    vdev_bus_reader_init(bus, &reader);
    map = container_of(vm_version_enter(&reader.reader), struct bus_map, version);
    for (size_t i = 0; i < map->count; i++) {
        const struct bus_range *range = &map->range[i];
        const struct vdev_region *region = __atomic_load_n(&range->region, __ATOMIC_RELAXED);

        if (region)
            visit(ctx, range->base, range->last - range->base + 1, region->name);
    }
    leave(&reader);
    vdev_bus_reader_exit(&reader);
}
