/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the files of vm-memory share, and nobody else.
 *
 *   space.c    owns the live maps and the views; publishes
 *   change.c   the two phases: decides when listeners are told what
 *   backing.c  where a region's bytes come from
 *   discard.c  and how they go back
 */
#ifndef VMM_VM_MEMORY_PRIVATE_H
#define VMM_VM_MEMORY_PRIVATE_H

#include <pthread.h>

#include <vmm/base/error.h>
#include <vmm/base/lock.h>
#include <vmm/base/loop.h>
#include <vmm/vm-memory/memory.h>
#include <vmm/vm-memory/view.h>

#define GM_ADDRESS_END \
    (1ULL << 52) /* Intel SDM 3A 4.1.4: MAXPHYADDR is at most 52; Arm ARM: LPA 52 */
#define GM_HUGE_BYTES \
    (2ULL << 20) /* what THP and KVM's stage 2 map at once: x86, and Arm with 4K pages */

struct gm_region {
    uint32_t refs;
    bool read_only;
    bool mapped; /* host is a mapping of ours: unmapped at the end */
    bool shared; /* ... and writes reach the file */
    gpa_t base;
    uint64_t size;
    uint8_t *host; /* NULL: this process cannot reach it */
    int fd;
    uint64_t fd_offset;
};

/* backing.c. Fill host, mapped, fd and fd_offset of a region whose other fields are set; and undo
 * it. */
int gm_backing_open(struct gm_region *region, const struct gm_backing *backing);
void gm_backing_close(struct gm_region *region);
/* Makes every page present. use_madvise false: as on a kernel before 5.14. */
int gm_backing_prefault(uint8_t *host, uint64_t size, bool writable, bool use_madvise);

/* The host base and size stand beside the region's pointer: a search touches this array only. */
struct gm_slot {
    gpa_t base;
    uint64_t size;
    uint8_t *host;
    struct gm_region *region;
    bool read_only;
};

struct gm_map {
    uint32_t refs;
    uint32_t count;
    struct gm_space *space; /* that published it (a reference), or NULL */
    struct vm_list node; /* in the space's live maps */
    struct gm_slot slot[];
};

/* The slot that holds gpa, or NULL. */
const struct gm_slot *gm_map_slot(const struct gm_map *map, gpa_t gpa);
bool gm_map_holds(const struct gm_map *map, const struct gm_region *region);

/* One region on its way out of a space. */
struct gm_leaving {
    struct gm_region *region; /* a reference; NULL once the listeners have let go */
    uint32_t maps; /* live maps that still hold it */
};

/* The removed regions of one change. */
struct gm_departure {
    struct vm_list node;
    void (*removed)(void *ctx);
    void *ctx;
    uint64_t serial; /* listeners that came later never knew the regions */
    size_t count, left;
    struct gm_leaving item[];
};

/* A change between gm_space_change() and its publication. */
struct gm_pending {
    struct gm_map *map; /* the next one */
    struct gm_departure *departure; /* NULL: nothing is removed */
    void (*done)(void *ctx, int code);
    void (*removed)(void *ctx);
    void *ctx;
    int *sync_result; /* set while gm_space_change() has not returned; then done tells */
    struct vm_error error; /* code 0: all is well so far */
    size_t told; /* regions of add[] that every listener knows */
    size_t add_count;
    struct gm_region *add[]; /* borrowed from map */
};

/*
 * What the listeners are being told: one region at a time, all listeners side by side.
 *
 *   IDLE  ->  ADD     next region of the change
 *         ->  UNDO    after a refusal: first those who took the refused region, then the earlier
 * regions
 *         ->  REMOVE  a region that left and that no live map holds
 *   each  ->  IDLE    when no listener is awaited
 */
enum gm_step { GM_STEP_IDLE, GM_STEP_ADD, GM_STEP_UNDO, GM_STEP_REMOVE };

struct gm_space;
/* Listeners that were abandoned are forgotten. */
void gm_space_reap(struct gm_space *space);

struct gm_space {
    uint32_t refs; /* the owner's and one per live map */
    const struct vm_env *env;

    /* lock guards these. Nothing is called while it is held. */
    struct vm_lock lock;
    struct vm_cond view_free; /* publishing went NULL */
    struct gm_map *map;
    struct vm_list live; /* published maps with references left */
    struct vm_list departures;
    struct vm_list views, stale; /* stale: still with the map before */
    struct gm_view *publishing; /* whose lock the space waits for or holds */
    struct vm_list pins, discards;
    bool
        posted; /* work is on its way to the loop; until it runs nothing else takes up departures */

    /* Of the thread that changes the space. */
    struct vm_work work, reap_work;
    struct vm_list listeners;
    struct gm_pending *change;
    uint64_t serial;
    enum gm_step step;
    struct gm_region *step_region;
    struct gm_departure *step_departure; /* REMOVE: whose item it is */
    size_t step_item;
    bool step_partial; /* UNDO: only listeners that took the refused region */
    uint32_t waiting; /* listeners that have not said done */
};

/* As gm_map_unref(), for the space's own thread: what becomes ready waits for the next advance. */
void gm_map_put(struct gm_map *map);
/* space.c: the last reference to a published map is gone. post: in a thread that is not the
 * space's, or under who knows what locks; then true means that gm_space_kick() has to be called. */
bool gm_space_map_gone(struct gm_space *space, struct gm_map *map, bool post);
/* space.c: has ready departures taken up: in the loop's thread, or without a loop here. */
void gm_space_kick(struct gm_space *space);
struct gm_space *gm_space_ref(struct gm_space *space);
void gm_space_unref(struct gm_space *space);
/* space.c: makes map (its reference is taken over) the current one in the space and all views. */
void gm_space_publish(struct gm_space *space, struct gm_map *map, struct gm_departure *departure);
/* view.c: forgets the last hits and changes the generation. */
void gm_view_forget(struct gm_view *view);
/* view.c: under the view's lock. Returns the map before, whose reference is now the caller's. */
struct gm_map *gm_view_swap(struct gm_view *view, struct gm_map *map);
/* change.c: takes every step that can be taken now. In the space's thread. */
void gm_space_advance(struct gm_space *space);

#endif
