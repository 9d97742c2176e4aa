/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that comes and goes while a back end serves the rings. */
#include "front_test.h"

enum { MORE = 1 << 20 };
#define AT (1ULL << 32)

static struct {
    struct gm_region *region;
    unsigned dones, removals;
    int code;
} m;

static void on_done(void *ctx, int code)
{
    (void)ctx;
    m.dones++;
    m.code = code;
}

static void on_removed(void *ctx)
{
    (void)ctx;
    m.removals++;
}

static void quit(void)
{
    gm_region_unref(m.region);
    ft_close();
}

static void run_with(uint64_t protocol)
{
    const struct gm_backing backing = { .kind = GM_MEMFD };

    memset(&m, 0, sizeof(m));
    ft_open_all(VH_PCI);
    ft.back.protocol |= protocol;
    cr_assert_eq(gm_region_new(AT, MORE, &backing, &m.region), 0);
    ft_run();
}

static int change(bool add)
{
    struct gm_change c = { .done = on_done, .removed = on_removed };

    if (add) {
        c.add = &m.region;
        c.add_count = 1;
    } else {
        c.remove = &m.region;
        c.remove_count = 1;
    }
    return gm_space_change(ft.h.guest.space, &c);
}

static bool is_there(void)
{
    struct gm_map *map = gm_space_map(ft.h.guest.space);
    bool there = gm_map_find(map, AT);

    gm_map_unref(map);
    return there;
}

static void add_now(void)
{
    cr_assert_eq(change(true), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(m.code, 0);
    cr_assert(is_there());
    m.removals = 0;
}

Test(front_memory, what_comes_can_be_used_when_the_back_end_has_it, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    ft.back.silent = VHOST_USER_GET_FEATURES; /* which asks whether it has */

    cr_assert_eq(change(true), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.last_added.guest_addr, AT);
    cr_assert_eq(ft.back.last_added.user_addr, AT);
    cr_assert_eq(ft.back.last_added.size, MORE);
    cr_assert_not(is_there());
    cr_assert_eq(m.dones, 0);
}

Test(front_memory, rings_run_on_while_it_comes_and_goes, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));

    add_now();
    (void)change(false);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(m.removals, 1);
    cr_assert_not(is_there());
    cr_assert_eq(ft.back.last_removed.guest_addr, AT);
    cr_assert_eq(ft.back.removed, 1);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 0);
    cr_assert_eq(ft.back.closed, 0);
}

Test(front_memory, what_goes_is_gone_when_the_back_end_has_given_it_up, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    add_now();
    ft.back.silent = VHOST_USER_GET_FEATURES;

    (void)change(false);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.removed, 1);
    cr_assert_eq(m.removals, 0);
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(m.removals, 1, "who is gone uses nothing");
}

Test(front_memory, what_the_back_end_does_not_take_is_not_added, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    ft.back.refuses = VHOST_USER_ADD_MEM_REG;

    cr_assert_eq(change(true), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(m.dones, 1);
    cr_assert_eq(m.code, -ENOSPC);
    cr_assert_not(is_there());
    cr_assert_eq(ft.back.closed, 0, "it serves on");
}

Test(front_memory, and_may_be_added_later_all_the_same, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    ft.back.refuses = VHOST_USER_ADD_MEM_REG;
    cr_assert_eq(change(true), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);
    ft.back.refuses = 0;

    add_now();

    cr_assert_eq(ft.back.regions, 3);
}

Test(front_memory, more_regions_than_it_has_slots_are_refused_at_once, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    fbe_die(&ft.back);
    ft.back.slots = 1;
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(change(true), -ENOTSUP);

    cr_assert_eq(ft.back.closed, 0);
    cr_assert_not(is_there());
}

Test(front_memory, without_slots_the_whole_table_is_told, .fini = quit)
{
    run_with(0);

    add_now();

    cr_assert_eq(ft.back.table.count, 2);
    cr_assert_eq(ft.back.table.region[1].guest_addr, AT);
}

Test(front_memory, nobody_waits_for_a_back_end_that_is_away, .fini = quit)
{
    run_with(VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
    ft.absences = 1000;
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(change(true), 0);
    ft.absences = 0;
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(ft.back.regions, 2, "the next one is told");
}

Test(front_memory, of_memory_that_goes_no_translation_is_left, .fini = quit)
{
    memset(&m, 0, sizeof(m));
    ft_open_all(VH_PCI);
    ft.back.features |= VIRTIO_FEATURE_ACCESS_PLATFORM;
    ft.back.protocol |= VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS);
    ft.setup.platform = true;
    cr_assert_eq(gm_region_new(AT, MORE, &(struct gm_backing){ .kind = GM_MEMFD }, &m.region), 0);
    cr_assert_eq(ft_make(), 0);
    cr_assert_eq(vh_start(&ft.h, VIRTIO_FEATURE_ACCESS_PLATFORM), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    add_now();
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_IOTLB_MSG), 1);

    (void)change(false);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_IOTLB_MSG), 2);
    cr_assert_lt(fbe_when(&ft.back, VHOST_USER_IOTLB_MSG),
                 fbe_when(&ft.back, VHOST_USER_REM_MEM_REG));
}
