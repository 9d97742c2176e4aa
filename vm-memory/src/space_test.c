/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of space.c: changes of the map, old maps that are still in use, views, threads. */
#include <pthread.h>
#include <stdlib.h>

#include "space_test.h"

Test(space, begins_empty)
{
    struct gm_space *space = make_space(NULL);

    cr_assert_eq(count_regions(space), 0);
    gm_space_free(space);
    gm_space_free(NULL);
}

Test(space, a_change_adds_and_removes_at_once)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, PAGE), *b = make_ram(PAGE, PAGE);
    struct told told = { 0 };

    give_region(space, a);
    cr_assert_eq(change_one(space, b, a, &told), 0);

    cr_assert_eq(count_regions(space), 1);
    cr_assert_eq(told.done, 0, "a change that is over at once tells by its result");
    cr_assert_eq(told.removed, 1);
    gm_region_unref(b);
    gm_space_free(space);
}

Test(space, removed_comes_at_publication_where_nothing_is_removed)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, PAGE);
    struct told told = { 0 };

    cr_assert_eq(change_one(space, a, NULL, &told), 0);

    cr_assert_eq(told.removed, 1);
    gm_region_unref(a);
    gm_space_free(space);
}

Test(space, overlap_changes_nothing)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, 2 * PAGE), *b = make_ram(PAGE, PAGE);
    struct heard h;
    struct told told = { 0 };

    give_region(space, a);
    listen_to(space, &h, "kvm");

    cr_assert_eq(change_one(space, b, NULL, &told), -EINVAL);
    cr_assert_str_eq(h.log, "");
    cr_assert_eq(told.removed, 0);
    cr_assert_eq(add_region(space, a), -EINVAL, "twice the same");
    cr_assert_eq(count_regions(space), 1);
    gm_listener_del(&h.listener);
    gm_region_unref(b);
    gm_space_free(space);
}

Test(space, removing_what_is_not_there_is_refused)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, PAGE), *twin = make_ram(0, PAGE);
    struct gm_region *twice[2] = { a, a };
    struct gm_change change = { .remove = twice, .remove_count = 2 };

    give_region(space, a);

    cr_assert_eq(remove_region(space, twin), -EINVAL, "another region at the same address");
    cr_assert_eq(gm_space_change(space, &change), -EINVAL, "named twice");
    cr_assert_eq(count_regions(space), 1);
    gm_region_unref(twin);
    gm_space_free(space);
}

Test(space, replacing_a_region_in_place_needs_two_changes)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, PAGE), *b = make_ram(0, PAGE);

    give_region(space, a);

    cr_assert_eq(change_one(space, b, a, NULL), -EINVAL);
    cr_assert(strstr(vm_error_text(), "make it two changes"), "%s", vm_error_text());
    cr_assert_eq(remove_region(space, a), 0);
    cr_assert_eq(add_region(space, b), 0);
    gm_region_unref(b);
    gm_space_free(space);
}

Test(space, more_regions_than_the_limit_are_refused)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(0, PAGE), *many[GM_REGIONS_MAX + 1];
    struct gm_change change = { .add = many, .add_count = GM_REGIONS_MAX + 1 };

    for (int i = 0; i <= GM_REGIONS_MAX; i++)
        many[i] = a;

    cr_assert_eq(gm_space_change(space, &change), -EINVAL);
    gm_region_unref(a);
    gm_space_free(space);
}

/* --- old maps --- */

Test(space, removal_waits_for_the_last_map_that_holds_the_region)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE), *b = make_ram(2 * PAGE, PAGE);
    struct gm_map *older, *old;
    struct told told = { 0 };
    struct heard h;

    listen_to(space, &h, "kvm");
    give_region(space, a);
    older = gm_space_map(space);
    give_region(space, b);
    old = gm_space_map(space);

    cr_assert_eq(change_one(space, NULL, a, &told), 0);
    cr_assert_str_eq(h.log, "+1+2");
    memset(gm_region_host(a), 1, PAGE);
    gm_map_unref(old);
    cr_assert_str_eq(h.log, "+1+2", "an older map still holds it");
    cr_assert_eq(told.removed, 0);
    gm_map_unref(older);

    cr_assert_str_eq(h.log, "+1+2-1");
    cr_assert_eq(told.removed, 1);
    gm_listener_del(&h.listener);
    gm_space_free(space);
}

Test(space, regions_of_one_change_leave_one_by_one_and_are_told_together)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *r[2] = { make_ram(PAGE, PAGE), make_ram(2 * PAGE, PAGE) };
    struct gm_map *old;
    struct told told = { 0 };
    struct gm_change change = {
        .remove = r, .remove_count = 2, .removed = tell_removed, .ctx = &told
    };
    struct heard h;

    listen_to(space, &h, "kvm");
    give_region(space, r[0]);
    old = gm_space_map(space); /* holds the first only */
    give_region(space, r[1]);

    cr_assert_eq(gm_space_change(space, &change), 0);
    cr_assert_str_eq(h.log, "+1+2-2");
    cr_assert_eq(told.removed, 0);
    gm_map_unref(old);

    cr_assert_str_eq(h.log, "+1+2-2-1");
    cr_assert_eq(told.removed, 1);
    gm_listener_del(&h.listener);
    gm_space_free(space);
}

Test(listener, that_came_after_a_removal_is_not_told_of_it)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct gm_map *old;
    struct heard before, after;

    give_region(space, a);
    listen_to(space, &before, "before");
    old = gm_space_map(space);
    cr_assert_eq(remove_region(space, a), 0);
    listen_to(space, &after, "after");
    gm_map_unref(old);

    cr_assert_str_eq(before.log, "-1");
    cr_assert_str_eq(after.log, "");
    gm_listener_del(&before.listener);
    gm_listener_del(&after.listener);
    gm_space_free(space);
}

Test(space, maps_may_outlive_their_space)
{
    struct gm_space *space = make_space(NULL);
    struct gm_map *map;

    give_region(space, make_ram(PAGE, PAGE));
    map = gm_space_map(space);
    gm_space_free(space);

    memset(gm_region_host(gm_map_region(map, 0)), 1, PAGE);
    gm_map_unref(map);
}

/* --- the loop --- */

static uint64_t no_time(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static void *unref_map(void *map)
{
    gm_map_unref(map);
    return NULL;
}

Test(space, with_a_loop_the_removal_is_posted_whatever_the_thread)
{
    struct vm_env env = { .now_ns = no_time };
    struct gm_space *space;
    struct gm_region *a = make_ram(PAGE, PAGE), *b = make_ram(2 * PAGE, PAGE);
    struct gm_map *old;
    struct told told = { 0 };
    struct heard h;
    pthread_t thread;

    cr_assert_eq(vm_loop_new(&env, VM_LOOP_VIRTUAL, &env.loop), 0);
    space = make_space(&env);
    give_region(space, a);
    give_region(space, b);
    listen_to(space, &h, "kvm");
    old = gm_space_map(space);
    cr_assert_eq(change_one(space, NULL, a, &told), 0);
    cr_assert_eq(pthread_create(&thread, NULL, unref_map, old), 0);
    pthread_join(thread, NULL);
    cr_assert_str_eq(h.log, "", "not in a foreign thread");

    vm_loop_step(env.loop, 0);

    cr_assert_str_eq(h.log, "-1");
    cr_assert_eq(told.removed, 1);
    old = gm_space_map(space);
    cr_assert_eq(change_one(space, NULL, b, &told), 0);
    gm_map_unref(old);
    cr_assert_str_eq(h.log, "-1", "nor under the locks of who drops the map");
    vm_loop_step(env.loop, 0);
    cr_assert_str_eq(h.log, "-1-2");
    gm_listener_del(&h.listener);
    gm_space_free(space);
    vm_loop_free(env.loop);
}

/* --- views --- */

Test(space, views_get_the_new_map_and_forget_the_old_addresses)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct gm_view view;
    uint64_t stamp;
    uint8_t byte = 1;

    gm_view_init(&view, space, NULL);
    cr_assert_eq(gm_read(&view, PAGE, &byte, 1), -EFAULT);
    give_region(space, a);
    cr_assert_eq(gm_write(&view, PAGE, &byte, 1), 0);
    stamp = gm_view_stamp(&view);
    cr_assert_eq(remove_region(space, a), 0);

    cr_assert_neq(gm_view_stamp(&view), stamp);
    cr_assert_eq(gm_read(&view, PAGE, &byte, 1), -EFAULT);
    cr_assert_eq(gm_write(&view, PAGE, &byte, 1), -EFAULT);
    gm_view_exit(&view);
    gm_view_exit(&view); /* harmless */
    gm_space_free(space);
}

Test(space, a_request_keeps_its_memory_while_its_view_goes_on)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct told told = { 0 };
    struct gm_view view;
    struct gm_map *kept;
    void *host = NULL;
    uint8_t byte = 1;

    give_region(space, a);
    gm_view_init(&view, space, NULL);
    cr_assert_eq(gm_host(&view, PAGE, PAGE, GM_WRITE, &host), 0);
    kept = gm_view_map(&view);

    cr_assert_eq(change_one(space, NULL, a, &told), 0);
    cr_assert_eq(gm_read(&view, PAGE, &byte, 1), -EFAULT, "the view has the new map");
    memset(host, 3, PAGE);
    cr_assert_eq(told.removed, 0);
    gm_map_unref(kept);

    cr_assert_eq(told.removed, 1);
    gm_view_exit(&view);
    gm_space_free(space);
}

Test(space, views_of_one_space_come_and_go_between_changes)
{
    struct gm_space *space = make_space(NULL);
    struct gm_view first, second;
    uint8_t byte = 0;

    gm_view_init(&first, space, NULL);
    give_region(space, make_ram(PAGE, PAGE));
    gm_view_init(&second, space, NULL);
    gm_view_exit(&first);
    give_region(space, make_ram(2 * PAGE, PAGE));

    cr_assert_eq(gm_read(&second, 2 * PAGE - 1, &byte, 1), 0);
    cr_assert_eq(gm_read(&second, 2 * PAGE, &byte, 1), 0);
    gm_view_exit(&second);
    gm_space_free(space);
}

/* Threads that use memory under their locks while it comes and goes: no access may fault, no
 * sanitizer may complain. */
struct user {
    struct gm_space *space;
    struct vm_lock lock;
    struct gm_view view;
    uint32_t stop;
    uint64_t reads, refused;
};

static void use_once(struct user *u)
{
    uint8_t buf[64];
    struct gm_map *kept = NULL;
    void *host;

    vm_lock_acquire(&u->lock);
    for (gpa_t page = 1; page <= 2; page++) {
        int rc = gm_read(&u->view, page * PAGE, buf, sizeof(buf));

        u->reads += !rc;
        u->refused += !!rc;
    }
    if (!gm_host(&u->view, 2 * PAGE, 8, GM_READ, &host))
        kept = gm_view_map(&u->view);
    vm_lock_release(&u->lock);
    if (kept) { /* a request in flight, without the lock */
        memcpy(buf, host, 8);
        gm_map_unref(kept);
    }
}

static void *use_memory(void *arg)
{
    struct user *u = arg;

    while (!__atomic_load_n(&u->stop, __ATOMIC_RELAXED))
        use_once(u);
    return NULL;
}

static void *view_comes_and_goes(void *arg)
{
    struct user *u = arg;
    struct gm_view view;
    uint8_t byte;

    while (!__atomic_load_n(&u->stop, __ATOMIC_RELAXED)) {
        gm_view_init(&view, u->space, &u->lock);
        vm_lock_acquire(&u->lock);
        u->refused += !!gm_read(&view, PAGE, &byte, 1);
        vm_lock_release(&u->lock);
        gm_view_exit(&view);
    }
    return NULL;
}

/* Removes and adds page 2 count times; with a loop, waits in it until the users let go. */
static void change_often(struct gm_space *space, struct vm_loop *loop, int count)
{
    struct gm_region *region = make_ram(2 * PAGE, PAGE);

    for (int i = 0; i < count; i++) {
        struct told told = { 0 };
        int rc;

        while ((rc = add_region(space, region)) == -EBUSY)
            vm_loop_step(loop, 0);
        cr_assert_eq(rc, 0, "%s", vm_error_text());
        cr_assert_eq(change_one(space, NULL, region, &told), 0);
        while (!told.removed)
            vm_loop_step(loop, 1000000);
    }
    gm_region_unref(region);
}

Test(space, readers_under_their_locks_never_see_memory_that_is_gone, .timeout = TEST_TIMEOUT)
{
    enum { USERS = 3 };
    struct vm_env env = { .now_ns = no_time };
    struct user *user = calloc(USERS, sizeof(*user));
    struct gm_space *space;
    struct heard h;
    pthread_t thread[USERS];

    cr_assert_eq(vm_loop_new(&env, VM_LOOP_VIRTUAL, &env.loop), 0);
    space = make_space(&env);
    listen_to(space, &h, "kvm");
    give_region(space, make_ram(PAGE, PAGE));
    for (int i = 0; i < USERS; i++) {
        user[i].space = space;
        vm_lock_init(&user[i].lock, i ? VM_RANK_LANE : VM_RANK_DEVICE, "user");
        if (i)
            gm_view_init(&user[i].view, space, &user[i].lock);
        cr_assert_eq(
            pthread_create(&thread[i], NULL, i ? use_memory : view_comes_and_goes, &user[i]), 0);
    }

    change_often(space, env.loop, 300);

    for (int i = 0; i < USERS; i++) {
        __atomic_store_n(&user[i].stop, 1, __ATOMIC_RELAXED);
        pthread_join(thread[i], NULL);
        gm_view_exit(&user[i].view);
        vm_lock_destroy(&user[i].lock);
    }
    cr_assert_eq(user[0].refused, 0, "page 1 was there all the time");
    gm_listener_del(&h.listener);
    gm_space_free(space);
    vm_loop_free(env.loop);
    free(user);
}
