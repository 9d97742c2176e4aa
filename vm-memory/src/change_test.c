/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of change.c: the two phases, at once and later; roll back; what call-backs may begin. */
#include "space_test.h"

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

static unsigned abandonments;

static void count_abandoned(struct gm_listener *listener)
{
    (void)listener;
    abandonments++;
}

Test(listener, that_is_abandoned_is_forgotten_and_not_waited_for)
{
    struct gm_space *space = make_space(NULL);
    struct gm_region *a = make_ram(PAGE, PAGE);
    struct heard h;

    abandonments = 0;
    listen_to(space, &h, "device");
    h.listener.abandoned = count_abandoned;
    h.add_later = true;
    cr_assert_eq(add_region(space, a), -EINPROGRESS);

    gm_listener_abandon(&h.listener);

    cr_assert_eq(abandonments, 1);
    cr_assert_eq(count_regions(space), 1);
    gm_region_unref(a);
    gm_space_free(space);
}
