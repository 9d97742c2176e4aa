/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Spaces: the current map, the older ones that are still in use, and the views.
 *
 * The space's lock is a leaf, so it cannot be held while a view's lock is taken. Publishing
 * therefore puts all views on the stale list and takes them one by one: with space->publishing set,
 * gm_view_exit() of that view waits, and no other call of any view does.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "memory_private.h"

struct vm_loop *gm_space_loop(const struct gm_space *space)
{
    return space->env ? space->env->loop : NULL;
}

int gm_space_new(const struct vm_env *env, struct gm_space **ret_space)
{
    struct gm_space *space = calloc(1, sizeof(*space));
    struct gm_map *map;
    int rc;

    if (!space)
        return vm_fail(-ENOMEM, "memory space: no memory");
    rc = gm_map_new(NULL, 0, &map);
    if (rc) {
        free(space);
        return rc;
    }
    space->refs = 1;
    space->env = env;
    vm_lock_init(&space->lock, VM_RANK_LEAF, "memory space");
    vm_cond_init(&space->view_free);
    vm_list_init(&space->live);
    vm_list_init(&space->departures);
    vm_list_init(&space->views);
    vm_list_init(&space->stale);
    vm_list_init(&space->pins);
    vm_list_init(&space->discards);
    vm_list_init(&space->listeners);
    gm_space_publish(space, map, NULL);
    *ret_space = space;
    return 0;
}

struct gm_space *gm_space_ref(struct gm_space *space)
{
    __atomic_fetch_add(&space->refs, 1, __ATOMIC_RELAXED);
    return space;
}

void gm_space_unref(struct gm_space *space)
{
    /* acq_rel: pairs with itself */
    if (__atomic_sub_fetch(&space->refs, 1, __ATOMIC_ACQ_REL))
        return;
    vm_cond_destroy(&space->view_free);
    vm_lock_destroy(&space->lock);
    free(space);
}

void gm_space_free(struct gm_space *space)
{
    if (!space)
        return;
    if (gm_space_loop(space))
        vm_work_cancel(gm_space_loop(space), &space->reap_work);
    gm_space_reap(space);
    assert(vm_list_empty(&space->views) && vm_list_empty(&space->stale));
    assert(vm_list_empty(&space->listeners) && vm_list_empty(&space->departures));
    assert(vm_list_empty(&space->pins) && vm_list_empty(&space->discards));
    assert(!space->change && !space->posted);
    gm_map_put(space->map);
    gm_space_unref(space); /* maps still held by others keep the rest */
}

struct gm_map *gm_space_map(struct gm_space *space)
{
    struct gm_map *map;

    vm_lock_acquire(&space->lock);
    map = gm_map_ref(space->map);
    vm_lock_release(&space->lock);
    return map;
}

/* Counts the live maps that hold each leaving region: the current one and those of requests in
 * flight. */
static void count_users(const struct gm_space *space, struct gm_departure *departure)
{
    for (size_t i = 0; i < departure->count; i++) {
        struct gm_leaving *item = &departure->item[i];

        vm_list_for_each (node, &space->live) {
            const struct gm_map *map = container_of(node, struct gm_map, node);

            if (gm_map_holds(map, item->region))
                item->maps++;
        }
    }
}

/* Puts the map in place and every view on the stale list; the map before comes back. */
static struct gm_map *replace_map(struct gm_space *space, struct gm_map *map,
                                  struct gm_departure *departure)
{
    struct gm_map *old;

    map->space = gm_space_ref(space);
    vm_lock_acquire(&space->lock);
    if (departure) {
        count_users(space, departure);
        vm_list_add(&space->departures, &departure->node);
    }
    vm_list_add(&space->live, &map->node);
    old = space->map;
    space->map = map;
    while (!vm_list_empty(&space->views)) {
        struct vm_list *node = space->views.next;

        vm_list_del(node);
        vm_list_add(&space->stale, node);
    }
    vm_lock_release(&space->lock);
    return old;
}

/* The next view with an old map; gm_view_exit() of it waits from now on. NULL: none is left. */
static struct gm_view *next_stale(struct gm_space *space)
{
    struct gm_view *view = NULL;

    vm_lock_acquire(&space->lock);
    if (space->publishing) {
        space->publishing = NULL;
        vm_cond_wake(&space->view_free);
    }
    if (!vm_list_empty(&space->stale)) {
        view = container_of(space->stale.next, struct gm_view, node);
        vm_list_del(&view->node);
        vm_list_add(&space->views, &view->node);
        space->publishing = view;
    }
    vm_lock_release(&space->lock);
    return view;
}

void gm_space_publish(struct gm_space *space, struct gm_map *map, struct gm_departure *departure)
{
    struct gm_map *old = replace_map(space, map, departure);
    struct gm_view *view;

    while ((view = next_stale(space))) {
        struct gm_map *before;

        if (view->lock)
            vm_lock_acquire(view->lock);
        before = gm_view_swap(view, gm_map_ref(map));
        if (view->lock)
            vm_lock_release(view->lock);
        gm_map_put(before);
    }
    if (old)
        gm_map_put(old);
}

/* True when the departure has a region that no live map holds any more. */
static bool forget_map(struct gm_departure *departure, const struct gm_map *map)
{
    bool ready = false;

    for (size_t i = 0; i < departure->count; i++) {
        struct gm_leaving *item = &departure->item[i];

        if (item->region && item->maps && gm_map_holds(map, item->region) && !--item->maps)
            ready = true;
    }
    return ready;
}

bool gm_space_map_gone(struct gm_space *space, struct gm_map *map, bool post)
{
    bool ready = false;

    vm_lock_acquire(&space->lock);
    vm_list_del(&map->node);
    vm_list_for_each (node, &space->departures) {
        if (forget_map(container_of(node, struct gm_departure, node), map))
            ready = true;
    }
    if (ready && post && space->env && space->env->loop) {
        ready = !space->posted;
        space->posted = true;
    }
    vm_lock_release(&space->lock);
    gm_space_unref(space);
    return ready;
}

static void run_departures(struct vm_work *work)
{
    struct gm_space *space = container_of(work, struct gm_space, work);

    vm_lock_acquire(&space->lock);
    space->posted = false;
    vm_lock_release(&space->lock);
    gm_space_advance(space);
}

void gm_space_kick(struct gm_space *space)
{
    if (space->env && space->env->loop)
        vm_loop_post(space->env->loop, &space->work, run_departures);
    else
        gm_space_advance(space);
}

void gm_view_init(struct gm_view *view, struct gm_space *space, struct vm_lock *lock)
{
    *view = (struct gm_view){ .space = space, .lock = lock };
    gm_view_forget(view);
    vm_lock_acquire(&space->lock);
    view->map = gm_map_ref(space->map);
    vm_list_add(&space->views, &view->node);
    vm_lock_release(&space->lock);
}

void gm_view_exit(struct gm_view *view)
{
    struct gm_space *space = view->space;

    if (!space)
        return;
    vm_lock_acquire(&space->lock);
    while (space->publishing == view)
        vm_cond_wait(&space->view_free, &space->lock);
    vm_list_del(&view->node);
    vm_lock_release(&space->lock);
    gm_map_unref(view->map);
    *view = (struct gm_view){ 0 };
}
