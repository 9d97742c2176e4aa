/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of space.c and change.c: two phases, roll back, old maps, views, threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory_test.h"

/* A listener that writes down what it hears, and answers as it is told to. */
struct heard {
    struct gm_listener listener;
    char log[256]; /* "+1" region at page 1 added, "-1" removed */
    int refuse_page; /* add of it gives -ENOSPC; -1: none */
    bool add_later, remove_later, refuse_remove;
};

static void write_down(struct heard *h, char sign, const struct gm_region *region)
{
    size_t used = strlen(h->log);

    snprintf(h->log + used, sizeof(h->log) - used, "%c%d", sign,
             (int)(gm_region_base(region) / PAGE));
}

static int hear_add(struct gm_listener *listener, struct gm_region *region)
{
    struct heard *h = container_of(listener, struct heard, listener);

    write_down(h, '+', region);
    if (h->add_later)
        return -EINPROGRESS;
    if ((int)(gm_region_base(region) / PAGE) == h->refuse_page)
        return vm_fail(-ENOSPC, "no slot left");
    return 0;
}

static int hear_remove(struct gm_listener *listener, struct gm_region *region)
{
    struct heard *h = container_of(listener, struct heard, listener);

    write_down(h, '-', region);
    if (h->remove_later)
        return -EINPROGRESS;
    return h->refuse_remove ? vm_fail(-EBADF, "the peer is gone") : 0;
}

static void listen_to(struct gm_space *space, struct heard *h, const char *name)
{
    *h = (struct heard){ .refuse_page = -1 };
    h->listener = (struct gm_listener){ .name = name, .add = hear_add, .remove = hear_remove };
    cr_assert_eq(gm_listener_add(space, &h->listener), 0);
    h->log[0] = 0;
}

/* Counts the calls of done and removed. */
struct told {
    int done, code, removed;
    char text[256];
};

static void tell_done(void *ctx, int code)
{
    struct told *t = ctx;

    t->done++;
    t->code = code;
    snprintf(t->text, sizeof(t->text), "%s", vm_error_text());
}

static void tell_removed(void *ctx)
{
    struct told *t = ctx;

    t->removed++;
}

static int change_one(struct gm_space *space, struct gm_region *add, struct gm_region *remove,
                      struct told *told)
{
    struct gm_change change = { .add = &add,
                                .remove = &remove,
                                .add_count = !!add,
                                .remove_count = !!remove,
                                .done = tell_done,
                                .removed = tell_removed,
                                .ctx = told };

    return gm_space_change(space, &change);
}

static size_t count_regions(struct gm_space *space)
{
    struct gm_map *map = gm_space_map(space);
    size_t count = gm_map_count(map);

    gm_map_unref(map);
    return count;
}

/* --- changes without listeners --- */

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

/* --- listeners, at once --- */

Test(listener, hears_of_present_regions_when_it_registers)
{
    struct gm_space *space = make_space(NULL);
    struct heard h = { .refuse_page = -1,
                       .listener = { .name = "kvm", .add = hear_add, .remove = hear_remove } };

    give_region(space, make_ram(PAGE, PAGE));
    give_region(space, make_ram(5 * PAGE, PAGE));

    cr_assert_eq(gm_listener_add(space, &h.listener), 0);

    cr_assert_str_eq(h.log, "+1+5");
    gm_listener_del(&h.listener);
    cr_assert_str_eq(h.log, "+1+5", "nothing is taken away on the way out");
    gm_space_free(space);
}

Test(listener, that_refuses_a_present_region_is_not_registered)
{
    struct gm_space *space = make_space(NULL);
    struct heard h = { .refuse_page = 7,
                       .listener = { .name = "kvm", .add = hear_add, .remove = hear_remove } };

    give_region(space, make_ram(PAGE, PAGE));
    give_region(space, make_ram(5 * PAGE, PAGE));
    give_region(space, make_ram(7 * PAGE, PAGE));

    cr_assert_eq(gm_listener_add(space, &h.listener), -ENOSPC);

    cr_assert_str_eq(vm_error_text(), "kvm refuses the memory region at 0x7000: no slot left");
    cr_assert_str_eq(h.log, "+1+5+7-5-1");
    gm_listener_del(&h.listener);
    give_region(space, make_ram(9 * PAGE, PAGE));
    cr_assert_str_eq(h.log, "+1+5+7-5-1");
    gm_space_free(space);
}

Test(listener, hears_of_an_added_region_before_it_is_published)
{
    struct gm_space *space = make_space(NULL);
    struct heard h;

    listen_to(space, &h, "kvm");
    h.add_later = true;
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct told told = { 0 };

    cr_assert_eq(change_one(space, a, NULL, &told), -EINPROGRESS);
    cr_assert_str_eq(h.log, "+1");
    cr_assert_eq(count_regions(space), 0);
    gm_listener_done(&h.listener, 0);

    cr_assert_eq(count_regions(space), 1);
    cr_assert_eq(told.done, 1);
    cr_assert_eq(told.code, 0);
    gm_listener_del(&h.listener);
    gm_region_unref(a);
    gm_space_free(space);
}

Test(listener, refusal_rolls_back_all_regions_and_all_listeners)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *r[3] = { make_ram(PAGE, PAGE), make_ram(2 * PAGE, PAGE),
                               make_ram(3 * PAGE, PAGE) };
    struct gm_change change = { .add = r, .add_count = 3 };
    struct heard first, second, third;

    listen_to(space, &first, "first");
    listen_to(space, &second, "second");
    listen_to(space, &third, "third");
    second.refuse_page = 2;

    cr_assert_eq(gm_space_change(space, &change), -ENOSPC);

    cr_assert_str_eq(vm_error_text(), "second refuses the memory region at 0x2000: no slot left");
    cr_assert_str_eq(first.log, "+1+2-2-1");
    cr_assert_str_eq(second.log, "+1+2-1");
    cr_assert_str_eq(third.log, "+1-1");
    cr_assert_eq(count_regions(space), 0);
    second.refuse_page = -1;
    cr_assert_eq(gm_space_change(space, &change), 0, "the way is free again");
    cr_assert_str_eq(third.log, "+1-1+1+2+3");
    gm_listener_del(&first.listener);
    gm_listener_del(&second.listener);
    gm_listener_del(&third.listener);
    for (int i = 0; i < 3; i++)
        gm_region_unref(r[i]);
    gm_space_free(space);
}

Test(listener, hears_of_a_removal_within_the_change_where_nobody_uses_it)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct heard h;

    give_region(space, a);
    listen_to(space, &h, "kvm");

    cr_assert_eq(remove_region(space, a), 0);

    cr_assert_str_eq(h.log, "-1");
    gm_listener_del(&h.listener);
    gm_space_free(space);
}

static void keep_line(void *ctx, enum vm_level level, const char *text)
{
    snprintf(ctx, 256, "%d %s", (int)level, text);
}

Test(listener, that_cannot_remove_is_logged_and_counts_as_done)
{
    char line[256] = "";
    struct vm_env env = { .ctx = line, .log = keep_line };
    struct gm_space *space = make_space(&env);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct told told = { 0 };
    struct heard h;

    give_region(space, a);
    listen_to(space, &h, "vhost");
    h.refuse_remove = true;

    cr_assert_eq(change_one(space, NULL, a, &told), 0);

    cr_assert_eq(told.removed, 1);
    cr_assert_str_eq(line, "0 memory listener vhost: could not take away the region at 0x1000: "
                           "the peer is gone");
    gm_listener_del(&h.listener);
    gm_space_free(space);
}

/* --- listeners, later --- */

Test(listener, a_change_waits_for_every_listener_region_by_region)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *r[2] = { make_ram(PAGE, PAGE), make_ram(2 * PAGE, PAGE) };
    struct told told = { 0 };
    struct gm_change change = { .add = r, .add_count = 2, .done = tell_done, .ctx = &told };
    struct heard a, b;

    listen_to(space, &a, "a");
    listen_to(space, &b, "b");
    a.add_later = b.add_later = true;

    cr_assert_eq(gm_space_change(space, &change), -EINPROGRESS);
    cr_assert_eq(gm_space_change(space, &change), -EBUSY);
    cr_assert_str_eq(a.log, "+1");
    cr_assert_str_eq(b.log, "+1", "side by side");
    gm_listener_done(&b.listener, 0);
    cr_assert_str_eq(b.log, "+1");
    gm_listener_done(&b.listener, 0); /* a second answer counts for nothing */
    cr_assert_str_eq(b.log, "+1");
    gm_listener_done(&a.listener, 0);
    cr_assert_str_eq(a.log, "+1+2");
    gm_listener_done(&a.listener, 0);
    cr_assert_eq(told.done, 0);
    gm_listener_done(&b.listener, 0);

    cr_assert_eq(told.done, 1);
    cr_assert_eq(count_regions(space), 2);
    gm_listener_del(&a.listener);
    gm_listener_del(&b.listener);
    gm_region_unref(r[0]);
    gm_region_unref(r[1]);
    gm_space_free(space);
}

Test(listener, a_late_refusal_rolls_back_with_its_text)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *r[2] = { make_ram(PAGE, PAGE), make_ram(2 * PAGE, PAGE) };
    struct told told = { 0 };
    struct gm_change change = {
        .add = r, .add_count = 2, .done = tell_done, .removed = tell_removed, .ctx = &told
    };
    struct heard now, late;

    listen_to(space, &now, "now");
    listen_to(space, &late, "late");
    late.add_later = now.remove_later = true;

    cr_assert_eq(gm_space_change(space, &change), -EINPROGRESS);
    gm_listener_done(&late.listener, 0);
    gm_listener_done(&late.listener, vm_fail(-ENOMEM, "peer: no room"));
    cr_assert_str_eq(now.log, "+1+2-2");
    cr_assert_eq(told.done, 0, "the roll back is awaited");
    vm_fail(-EIO, "something else");
    gm_listener_done(&now.listener, 0);
    cr_assert_str_eq(now.log, "+1+2-2-1");
    cr_assert_str_eq(late.log, "+1+2-1");
    gm_listener_done(&now.listener, 0);

    cr_assert_eq(told.done, 1);
    cr_assert_eq(told.code, -ENOMEM);
    cr_assert_str_eq(told.text, "late refuses the memory region at 0x2000: peer: no room");
    cr_assert_eq(told.removed, 0);
    cr_assert_eq(count_regions(space), 0);
    gm_listener_del(&now.listener);
    gm_listener_del(&late.listener);
    gm_region_unref(r[0]);
    gm_region_unref(r[1]);
    gm_space_free(space);
}

Test(listener, cannot_register_while_a_change_is_under_way)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct heard h, other = { .refuse_page = -1, .listener = { .name = "other", .add = hear_add } };

    listen_to(space, &h, "kvm");
    h.add_later = true;
    cr_assert_eq(add_region(space, a), -EINPROGRESS);

    cr_assert_eq(gm_listener_add(space, &other.listener), -EBUSY);
    gm_listener_done(&h.listener, 0);
    cr_assert_eq(gm_listener_add(space, &other.listener), 0);
    cr_assert_str_eq(other.log, "+1");
    gm_listener_del(&other.listener);
    gm_listener_del(&h.listener);
    gm_region_unref(a);
    gm_space_free(space);
}

Test(listener, that_goes_away_is_not_waited_for)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct told told = { 0 };
    struct heard h;

    listen_to(space, &h, "kvm");
    h.add_later = true;
    cr_assert_eq(change_one(space, a, NULL, &told), -EINPROGRESS);

    gm_listener_del(&h.listener);

    cr_assert_eq(told.done, 1);
    cr_assert_eq(count_regions(space), 1);
    gm_listener_done(&h.listener, 0); /* too late: harmless */
    gm_listener_del(&h.listener);
    gm_region_unref(a);
    gm_space_free(space);
}

static int answer_inside(struct gm_listener *listener, struct gm_region *region)
{
    (void)region;
    gm_listener_done(listener, 0);
    return -EINPROGRESS;
}

Test(listener, may_answer_before_it_returns)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct gm_listener quick = { .name = "quick", .add = answer_inside, .remove = answer_inside };
    struct heard after;

    cr_assert_eq(gm_listener_add(space, &quick), 0);
    listen_to(space, &after, "after");

    cr_assert_eq(add_region(space, a), 0);
    cr_assert_str_eq(after.log, "+1");
    cr_assert_eq(remove_region(space, a), 0);
    cr_assert_str_eq(after.log, "+1-1");
    gm_listener_del(&quick);
    gm_listener_del(&after.listener);
    gm_region_unref(a);
    gm_space_free(space);
}

Test(listener, a_change_waits_while_a_removal_is_under_way)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE), *b = make_ram(2 * PAGE, PAGE);
    struct told gone = { 0 }, come = { 0 };
    struct heard h;

    give_region(space, a);
    listen_to(space, &h, "vhost");
    h.remove_later = true;

    cr_assert_eq(change_one(space, NULL, a, &gone), 0);
    cr_assert_eq(gone.removed, 0);
    cr_assert_eq(change_one(space, b, NULL, &come), -EINPROGRESS);
    cr_assert_str_eq(h.log, "-1");
    gm_listener_done(&h.listener, 0);

    cr_assert_eq(gone.removed, 1);
    cr_assert_str_eq(h.log, "-1+2");
    cr_assert_eq(come.done, 1);
    gm_listener_del(&h.listener);
    gm_region_unref(b);
    gm_space_free(space);
}

Test(listener, an_address_is_free_only_when_the_listeners_have_let_go)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE), *b = make_ram(PAGE, PAGE);
    struct heard h;

    give_region(space, a);
    listen_to(space, &h, "vhost");
    h.remove_later = true;
    cr_assert_eq(remove_region(space, a), 0);

    cr_assert_eq(add_region(space, b), -EBUSY);
    cr_assert(strstr(vm_error_text(), "still use the memory that was removed at 0x1000"), "%s",
              vm_error_text());
    gm_listener_done(&h.listener, 0);
    cr_assert_eq(add_region(space, b), 0);
    gm_listener_del(&h.listener);
    gm_region_unref(b);
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

/* --- call-backs that go on --- */

struct chain {
    struct gm_space *space;
    struct gm_region *add, *remove;
    int rc;
};

static void add_next(void *ctx)
{
    struct chain *c = ctx;
    struct gm_region *region = c->add;

    c->add = NULL;
    if (region)
        c->rc = add_region(c->space, region);
}

Test(space, the_next_change_may_begin_in_removed)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct chain chain = { space, make_ram(PAGE, PAGE), a, -1 };
    struct gm_change change = {
        .remove = &a, .remove_count = 1, .removed = add_next, .ctx = &chain
    };
    struct gm_region *b = chain.add;
    struct heard h;

    give_region(space, a);
    listen_to(space, &h, "kvm");

    cr_assert_eq(gm_space_change(space, &change), 0);

    cr_assert_eq(chain.rc, 0);
    cr_assert_str_eq(h.log, "-1+1");
    cr_assert_eq(count_regions(space), 1);
    gm_listener_del(&h.listener);
    gm_region_unref(b);
    gm_space_free(space);
}

static void remove_in_done(void *ctx, int code)
{
    struct chain *c = ctx;

    cr_assert_eq(code, 0);
    c->rc = remove_region(c->space, c->remove);
}

Test(space, the_next_change_may_begin_in_done_and_be_asynchronous)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct chain chain = { space, NULL, a, -1 };
    struct gm_change change = { .add = &a, .add_count = 1, .done = remove_in_done, .ctx = &chain };
    struct heard h;

    listen_to(space, &h, "kvm");
    h.add_later = h.remove_later = true;
    cr_assert_eq(gm_space_change(space, &change), -EINPROGRESS);
    gm_listener_done(&h.listener, 0);
    cr_assert_eq(chain.rc, 0);
    cr_assert_str_eq(h.log, "+1-1");
    gm_listener_done(&h.listener, 0);

    cr_assert_eq(count_regions(space), 0);
    gm_listener_del(&h.listener);
    gm_region_unref(a);
    gm_space_free(space);
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

Test(space, readers_under_their_locks_never_see_memory_that_is_gone, .timeout = 60)
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
