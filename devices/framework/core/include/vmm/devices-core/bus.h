/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Buses: who answers a memory or port access. A bus maps addresses to regions of devices; vCPU
 * threads read it without a lock (vmm/base/version.h), and whoever changes it publishes the next
 * map.
 *
 * Order: vdev_bus_new(), regions are added, each vCPU makes a reader; regions may be added, moved
 * and removed while accesses run.
 *
 * Threads: readers belong to one thread each; add, move and del may be called by any thread, also
 * from inside an access (a guest that moves a BAR). They serialise on the bus's lock, which ranks
 * as a lane (the versioned map's leaf lock is taken below it): the caller may hold its machine's
 * and its device's lock, no lane's and no leaf's.
 */
#ifndef VMM_DEVICES_CORE_BUS_H
#define VMM_DEVICES_CORE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/base/lock.h>
#include <vmm/base/version.h>

struct vdev;
struct vdev_bus;

/* What a region does with an access of 1, 2, 4 or 8 bytes (also odd lengths from broken guests:
 * 1 to 8) that lies wholly inside it. Called with the region's lock held. data is little endian.
 * Returns 0, or -EINPROGRESS: the vCPU must park until vdev_unpark(dev) (its write has started
 * something that the specification does not let the guest poll), or another -errno: an error of
 * the device, logged and counted. */
struct vdev_region_ops {
    int (*read)(void *self, uint64_t offset, uint8_t *data, unsigned len);
    int (*write)(void *self, uint64_t offset, const uint8_t *data, unsigned len);
    /* Optional, instead of both: the region is a window onto others (PCI's configuration space).
     * Gives the region that answers in its place, which need not be on the bus, and changes
     * *offset to one in that; NULL: nobody answers. Called without a lock; what it gives lives
     * as a region of the bus does: until vdev_bus_del() called gone(). */
    struct vdev_region *(*window)(void *self, uint64_t *offset, unsigned len);
};

struct vdev_region {
    const char *name; /* borrowed; "serial0", "0000:00:01.0 bar 4" */
    uint64_t base, size;
    const struct vdev_region_ops *ops;
    void *self; /* first argument of ops */
    struct vm_lock *lock; /* taken around ops; NULL: ops are thread safe by themselves */
    struct vdev *dev; /* owner, for parking; may be NULL */
    /* Higher wins where regions overlap (a guest may move a BAR anywhere); equal: the one that
     * came to its place first wins. 0 for BARs, 1 for the platform's. An access goes whole to the region that its
     * first byte hits, so that a register inside another's dword (0xcf9 in 0xcf8) does not cut
     * it in two. */
    unsigned priority;

    /* The bus's own; zeroed by the caller at first. */
    struct vm_list node;
    bool on_bus;
    uint64_t order; /* of the add or the last move */
    struct vdev_region *below; /* while a map is made */
    uint64_t gone_after; /* no map before this number may be in use */
    void (*gone)(void *ctx);
    void *gone_ctx;
};

/* Addresses are [0, limit] inclusive. env and name are borrowed for the bus's life. 0 or
 * -ENOMEM. */
int vdev_bus_new(const struct vm_env *env, const char *name, uint64_t limit,
                 struct vdev_bus **ret_bus);
/* No reader may be left. Regions are not freed; a gone() that was still owed is called. */
void vdev_bus_free(struct vdev_bus *bus);

/* The region stays the caller's and unchanged while it is on the bus. 0; -EINVAL (empty, wraps,
 * beyond the limit) or -ENOMEM, with text. */
int vdev_bus_add(struct vdev_bus *bus, struct vdev_region *region);
/* Takes the region to another base, where it is the last that came. As vdev_bus_add(); on error it
 * is where it was. */
int vdev_bus_move(struct vdev_bus *bus, struct vdev_region *region, uint64_t base);
/* Whether an access at addr is this region's now. Once it is, regions of its priority that come
 * later do not change that; regions that leave may make it so. */
bool vdev_bus_reaches(struct vdev_bus *bus, uint64_t addr, const struct vdev_region *region);
/* Off the bus. An access that began before may still be running: the region and its self must
 * live until gone() is called: before this returns, or later from another thread, so gone()
 * takes no lock that the caller may hold; it posts. gone may be NULL when the caller knows that
 * no access runs, or when the region outlives every access for another reason (then it may be
 * added again at once). A region that is not on the bus is allowed (what a window gave): then
 * this only waits for the accesses that began before. */
void vdev_bus_del(struct vdev_bus *bus, struct vdev_region *region, void (*gone)(void *ctx),
                  void *ctx);

/* A reader, one per thread. */
struct vdev_bus_reader {
    struct vm_reader reader;
    struct vdev_bus *bus;
    uint64_t unclaimed; /* accesses that nobody answered: a metric */
    uint64_t failed; /* accesses that ended in an error of the device: a metric */
    size_t hint; /* where the last one was found */
};
void vdev_bus_reader_init(struct vdev_bus *bus, struct vdev_bus_reader *reader);
void vdev_bus_reader_exit(struct vdev_bus_reader *reader);

/* One access of 1 to 8 bytes (other lengths: as if nobody answered). A read that nobody answers,
 * or that crosses a region's end, gives all ones; such a write is ignored; both return -ENODEV.
 * Otherwise what the region said; for -EINPROGRESS *ret_dev is who to wait for. It is written
 * (atomically) before the access counts as ended: who takes a device away looks there after gone(). */
int vdev_bus_read(struct vdev_bus_reader *reader, uint64_t addr, uint8_t *data, unsigned len,
                  struct vdev **ret_dev);
int vdev_bus_write(struct vdev_bus_reader *reader, uint64_t addr, const uint8_t *data, unsigned len,
                   struct vdev **ret_dev);

/* Calls visit for each range as an access sees it, lowest first (vmm plan). */
void vdev_bus_walk(struct vdev_bus *bus,
                   void (*visit)(void *ctx, uint64_t base, uint64_t size, const char *name),
                   void *ctx);

#endif
