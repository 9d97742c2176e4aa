/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Changes of a space and their listeners: a change is checked, told to the listeners region by
 * region (enum gm_step), published, and its removed regions are taken from the listeners when no
 * live map holds them. One region at a time, so that gm_listener_done() need not say which one it
 * means.
 *
 * Everything here runs in the thread that changes the space.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>

#include "memory_private.h"

/* gm_listener.pending */
enum { AWAITED = 1, TOOK_IT = 2 };

static void free_departure(struct gm_departure *departure)
{
    if (!departure)
        return;
    for (size_t i = 0; i < departure->count; i++)
        gm_region_unref(departure->item[i].region);
    free(departure);
}

static void free_pending(struct gm_pending *change)
{
    if (change->map)
        gm_map_unref(change->map);
    free_departure(change->departure);
    free(change);
}

/* --- listeners --- */

static struct gm_listener *listener_of(struct vm_list *node)
{
    return container_of(node, struct gm_listener, node);
}

static void log_refused_remove(const struct gm_space *space, const struct gm_listener *listener,
                               const struct gm_region *region)
{
    vm_log(space->env, VM_LOG_ERROR,
           "memory listener %s: could not take away the region at 0x%" PRIx64 ": %s",
           listener->name, region->base, vm_error_text());
}

/* What a listener said about the region of the running step. */
static void note_answer(struct gm_space *space, struct gm_listener *listener, int code)
{
    listener->pending &= ~AWAITED;
    if (space->step != GM_STEP_ADD) {
        if (code)
            log_refused_remove(space, listener, space->step_region);
        return;
    }
    if (!code) {
        listener->pending |= TOOK_IT;
        return;
    }
    if (!space->change->error.code) { /* the first refusal is the one that is told */
        vm_wrap(code, "%s refuses the memory region at 0x%" PRIx64, listener->name,
                space->step_region->base);
        vm_error_save(code, &space->change->error);
    }
}

static bool takes_part(const struct gm_space *space, const struct gm_listener *listener)
{
    switch (space->step) {
    case GM_STEP_UNDO: return !space->step_partial || listener->pending & TOOK_IT;
    case GM_STEP_REMOVE: return listener->since < space->step_departure->serial;
    default: return true;
    }
}

static void ask(struct gm_space *space, struct gm_listener *listener)
{
    int rc;

    /* Counted before the call: an answer from inside it does no harm. */
    listener->pending |= AWAITED;
    space->waiting++;
    vm_error_clear();
    if (space->step == GM_STEP_ADD)
        rc = listener->add(listener, space->step_region);
    else
        rc = listener->remove(listener, space->step_region);
    if (rc == -EINPROGRESS || !(listener->pending & AWAITED))
        return;
    space->waiting--;
    note_answer(space, listener, rc);
}

/* --- the end of a step --- */

static void finish_item(struct gm_space *space)
{
    struct gm_departure *departure = space->step_departure;
    struct gm_leaving *item = &departure->item[space->step_item];
    struct gm_region *region = item->region;
    bool last;

    vm_lock_acquire(&space->lock);
    item->region = NULL;
    last = !--departure->left;
    if (last)
        vm_list_del(&departure->node);
    vm_lock_release(&space->lock);
    gm_region_unref(region);
    if (!last)
        return;
    if (departure->removed)
        departure->removed(departure->ctx);
    free_departure(departure);
}

static void end_step(struct gm_space *space)
{
    enum gm_step step = space->step;

    space->step = GM_STEP_IDLE;
    switch (step) {
    case GM_STEP_ADD:
        if (space->change->error.code)
            space->step_partial = true; /* the next step takes it from those who have it */
        else
            space->change->told++;
        break;
    case GM_STEP_UNDO: space->step_partial = false; break;
    case GM_STEP_REMOVE: finish_item(space); break;
    case GM_STEP_IDLE: break;
    }
}

/* One answer less to wait for. */
static void answered(struct gm_space *space)
{
    if (--space->waiting == 0)
        end_step(space);
}

/* Last act of a change: the struct is gone before anybody is told, so that the next one may begin.
 */
static void finish_change(struct gm_space *space)
{
    struct gm_pending *change = space->change;
    void (*done)(void *ctx, int code) = change->done;
    void (*removed)(void *ctx) = change->removed;
    struct vm_error error = change->error;
    void *ctx = change->ctx;

    space->change = NULL;
    if (change->sync_result) {
        *change->sync_result = error.code;
        done = NULL;
    }
    free_pending(change);
    if (error.code)
        vm_error_restore(&error);
    if (done)
        done(ctx, error.code);
    if (removed && !error.code)
        removed(ctx);
}

static void publish(struct gm_space *space)
{
    struct gm_pending *change = space->change;
    struct gm_map *map = change->map;

    if (change->departure) {
        change->departure->serial = ++space->serial;
        change->removed = NULL; /* the departure tells */
    }
    gm_space_publish(space, map, change->departure);
    change->map = NULL;
    change->departure = NULL;
    finish_change(space);
}

/* --- the next step --- */

/* Asks all listeners; ends the step when none is awaited. */
static void begin_step(struct gm_space *space, enum gm_step step, struct gm_region *region)
{
    space->step = step;
    space->step_region = region;
    space->waiting = 1; /* ours: answers that come meanwhile do not end the step */
    vm_list_for_each (node, &space->listeners) {
        struct gm_listener *listener = listener_of(node);

        if (step == GM_STEP_ADD)
            listener->pending = 0;
        if (step == GM_STEP_ADD && space->change->error.code)
            continue; /* refused: the others are not asked, only cleared */
        if (takes_part(space, listener))
            ask(space, listener);
    }
    answered(space);
}

static void step_change(struct gm_space *space)
{
    struct gm_pending *change = space->change;

    if (!change->error.code && change->told < change->add_count)
        begin_step(space, GM_STEP_ADD, change->add[change->told]);
    else if (!change->error.code)
        publish(space);
    else if (space->step_partial)
        begin_step(space, GM_STEP_UNDO, change->add[change->told]);
    else if (change->told)
        begin_step(space, GM_STEP_UNDO, change->add[--change->told]);
    else
        finish_change(space);
}

/* Finds a region that no live map holds. Not while the loop has been told of one: its work would
 * find a space that may be gone. */
static bool pick_ready(struct gm_space *space)
{
    bool found = false;

    vm_lock_acquire(&space->lock);
    if (!space->posted) {
        vm_list_for_each (node, &space->departures) {
            struct gm_departure *departure = container_of(node, struct gm_departure, node);

            for (size_t i = 0; i < departure->count && !found; i++) {
                if (!departure->item[i].region || departure->item[i].maps)
                    continue;
                space->step_departure = departure;
                space->step_item = i;
                found = true;
            }
            if (found)
                break;
        }
    }
    vm_lock_release(&space->lock);
    return found;
}

/* A loop, not a recursion: a change may have hundreds of steps. Call-backs may begin the next
 * change. */
void gm_space_advance(struct gm_space *space)
{
    gm_space_ref(space); /* a call-back may free the space once nothing is left to do */
    while (space->step == GM_STEP_IDLE) {
        if (space->change)
            step_change(space);
        else if (pick_ready(space))
            begin_step(space, GM_STEP_REMOVE, space->step_departure->item[space->step_item].region);
        else
            break;
    }
    gm_space_unref(space);
}

/* --- registration --- */

/* The listener refused its region number count: takes the ones before back, and keeps the text. */
static int tell_back(struct gm_listener *listener, const struct gm_map *map, size_t count, int code)
{
    struct vm_error error;

    vm_error_save(code, &error);
    for (size_t i = count; i > 0; i--)
        (void)listener->remove(listener, map->slot[i - 1].region);
    return vm_error_restore(&error);
}

int gm_listener_add(struct gm_space *space, struct gm_listener *listener)
{
    const struct gm_map *map = space->map;
    int rc;

    if (space->change)
        return vm_fail(-EBUSY, "memory listener %s: a change of the memory map is under way",
                       listener->name);
    for (size_t i = 0; i < map->count; i++) {
        rc = listener->add(listener, map->slot[i].region);
        assert(rc != -EINPROGRESS);
        if (rc) {
            rc = vm_wrap(rc, "%s refuses the memory region at 0x%" PRIx64, listener->name,
                         map->slot[i].base);
            return tell_back(listener, map, i, rc);
        }
    }
    listener->space = space;
    listener->since = space->serial;
    listener->pending = 0;
    vm_list_add(&space->listeners, &listener->node);
    return 0;
}

void gm_listener_del(struct gm_listener *listener)
{
    struct gm_space *space = listener->space;

    if (!space)
        return;
    listener->space = NULL;
    vm_list_del(&listener->node);
    if (!(listener->pending & AWAITED))
        return;
    listener->pending = 0;
    answered(space);
    gm_space_advance(space);
}

void gm_space_reap(struct gm_space *space)
{
    struct vm_list *node = space->listeners.next;

    while (node != &space->listeners) {
        struct gm_listener *l = listener_of(node);

        node = node->next;
        if (!__atomic_load_n(&l->left, __ATOMIC_ACQUIRE)) /* pairs with gm_listener_abandon() */
            continue;
        gm_listener_del(l);
        l->abandoned(l);
        node = space->listeners.next; /* a change may have ended */
    }
}

static void reap_posted(struct vm_work *work)
{
    gm_space_reap(container_of(work, struct gm_space, reap_work));
}

void gm_listener_abandon(struct gm_listener *listener)
{
    struct gm_space *space = listener->space;
    struct vm_loop *loop = gm_space_loop(space);

    __atomic_store_n(&listener->left, true, __ATOMIC_RELEASE);
    if (loop && !vm_loop_is_mine(loop))
        vm_loop_post(loop, &space->reap_work, reap_posted);
    else
        gm_space_reap(space);
}

void gm_listener_done(struct gm_listener *listener, int code)
{
    struct gm_space *space = listener->space;

    if (!space || !(listener->pending & AWAITED))
        return; /* unregistered meanwhile */
    assert(code != -EINPROGRESS);
    note_answer(space, listener, code);
    answered(space);
    gm_space_advance(space);
}

/* --- a new change --- */

static bool in_list(struct gm_region *const *list, size_t count, const struct gm_region *region)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == region)
            return true;
    }
    return false;
}

static int check_removed(const struct gm_space *space, const struct gm_change *change)
{
    for (size_t i = 0; i < change->remove_count; i++) {
        const struct gm_region *region = change->remove[i];

        if (!gm_map_holds(space->map, region) || in_list(change->remove, i, region))
            return vm_fail(-EINVAL,
                           "memory map: the region at 0x%" PRIx64
                           " is to be removed, but is not there (or is named twice)",
                           region->base);
    }
    return 0;
}

static bool overlap(const struct gm_region *a, const struct gm_region *b)
{
    return vm_ranges_overlap(a->base, a->size, b->base, b->size);
}

/* A listener must let go of an address before it can be told of another region there. */
static int check_added(struct gm_space *space, const struct gm_change *change,
                       const struct gm_region *region)
{
    int rc = 0;

    for (size_t i = 0; i < change->remove_count; i++) {
        if (overlap(region, change->remove[i]))
            return vm_fail(
                -EINVAL,
                "memory map: the region at 0x%" PRIx64
                " takes the place of one removed in the same change; make it two changes",
                region->base);
    }
    vm_lock_acquire(&space->lock);
    vm_list_for_each (node, &space->departures) {
        const struct gm_departure *departure = container_of(node, struct gm_departure, node);

        for (size_t i = 0; i < departure->count && !rc; i++) {
            if (departure->item[i].region && overlap(region, departure->item[i].region))
                rc = vm_fail(-EBUSY,
                             "memory map: requests in flight still use the memory that was removed "
                             "at 0x%" PRIx64 "; try again when its removal is complete",
                             departure->item[i].region->base);
        }
    }
    vm_lock_release(&space->lock);
    return rc;
}

static int check_change(struct gm_space *space, const struct gm_change *change)
{
    int rc = check_removed(space, change);

    if (change->add_count > GM_REGIONS_MAX)
        return vm_fail(-EINVAL, "memory map: %zu new regions are more than %d", change->add_count,
                       GM_REGIONS_MAX);
    for (size_t i = 0; i < change->add_count && !rc; i++)
        rc = check_added(space, change, change->add[i]);
    return rc;
}

/* The current map without what is removed and with what is added. */
static int next_map(const struct gm_space *space, const struct gm_change *change,
                    struct gm_map **ret_map)
{
    size_t count = 0, room = space->map->count + change->add_count;
    struct gm_region **regions = calloc(room ? room : 1, sizeof(struct gm_region *));
    int rc;

    if (!regions)
        return vm_fail(-ENOMEM, "memory map: no memory for %zu entries", room);
    for (size_t i = 0; i < space->map->count; i++) {
        struct gm_region *region = space->map->slot[i].region;

        if (!in_list(change->remove, change->remove_count, region))
            regions[count++] = region;
    }
    for (size_t i = 0; i < change->add_count; i++)
        regions[count++] = change->add[i];
    rc = gm_map_new(regions, count, ret_map);
    free(regions);
    return rc;
}

static int new_departure(const struct gm_change *change, struct gm_departure **ret_departure)
{
    struct gm_departure *departure =
        calloc(1, sizeof(*departure) + change->remove_count * sizeof(departure->item[0]));

    if (!departure)
        return vm_fail(-ENOMEM, "memory map: no memory to remove %zu regions",
                       change->remove_count);
    departure->removed = change->removed;
    departure->ctx = change->ctx;
    departure->count = departure->left = change->remove_count;
    for (size_t i = 0; i < change->remove_count; i++)
        departure->item[i].region = gm_region_ref(change->remove[i]);
    *ret_departure = departure;
    return 0;
}

/* All that can fail for lack of memory happens here: after it only listeners can refuse. */
static int new_pending(const struct gm_space *space, const struct gm_change *change,
                       struct gm_pending **ret_pending)
{
    struct gm_pending *pending =
        calloc(1, sizeof(*pending) + change->add_count * sizeof(pending->add[0]));
    int rc;

    if (!pending)
        return vm_fail(-ENOMEM, "memory map: no memory to add %zu regions", change->add_count);
    pending->done = change->done;
    pending->removed = change->removed;
    pending->ctx = change->ctx;
    pending->add_count = change->add_count;
    if (change->add_count)
        memcpy(pending->add, change->add, change->add_count * sizeof(pending->add[0]));
    rc = next_map(space, change, &pending->map);
    if (!rc && change->remove_count)
        rc = new_departure(change, &pending->departure);
    if (rc) {
        free_pending(pending);
        return rc;
    }
    *ret_pending = pending;
    return 0;
}

int gm_space_change(struct gm_space *space, const struct gm_change *change)
{
    int rc, result = -EINPROGRESS;

    if (space->change)
        return vm_fail(-EBUSY, "memory map: another change is under way");
    rc = check_change(space, change);
    if (!rc)
        rc = new_pending(space, change, &space->change);
    if (rc)
        return rc;
    space->change->sync_result = &result;
    gm_space_advance(space);
    if (result == -EINPROGRESS)
        space->change->sync_result = NULL;
    return result;
}
