/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of map.c: order, overlap, search, totals, references. */
#include "memory_test.h"

Test(map, regions_come_in_the_order_of_their_addresses)
{
    struct gm_region *r[3] = { make_ram(0x9000, PAGE), make_ram(0, PAGE), make_ram(0x4000, PAGE) };
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(r, 3, &map), 0);

    cr_assert_eq(gm_map_count(map), 3);
    cr_assert_eq(gm_map_region(map, 0), r[1]);
    cr_assert_eq(gm_map_region(map, 1), r[2]);
    cr_assert_eq(gm_map_region(map, 2), r[0]);
    cr_assert_null(gm_map_region(map, 3));
    gm_map_unref(map);
    for (int i = 0; i < 3; i++)
        gm_region_unref(r[i]);
}

Test(map, overlapping_regions_are_refused)
{
    struct gm_region *r[2] = { make_ram(0x1000, 2 * PAGE), make_ram(0x2000, PAGE) };
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(r, 2, &map), -EINVAL);

    cr_assert_null(map);
    cr_assert_str_eq(vm_error_text(), "memory map: the regions at 0x1000, size 0x2000 and at "
                                      "0x2000, size 0x1000 overlap");
    gm_region_unref(r[0]);
    gm_region_unref(r[1]);
}

Test(map, the_same_region_twice_is_refused)
{
    struct gm_region *one = make_ram(0, PAGE), *r[2] = { one, one };
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(r, 2, &map), -EINVAL);
    gm_region_unref(one);
}

Test(map, more_regions_than_the_limit_are_refused)
{
    struct gm_region *one = make_ram(0, PAGE), *r[GM_REGIONS_MAX + 1];
    struct gm_map *map = NULL;

    for (int i = 0; i <= GM_REGIONS_MAX; i++)
        r[i] = one;

    cr_assert_eq(gm_map_new(r, GM_REGIONS_MAX + 1, &map), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "memory map: 513 regions are more than 512");
    gm_region_unref(one);
}

Test(map, search_finds_first_and_last_byte_and_nothing_beside)
{
    struct gm_region *r[3] = { make_ram(0x1000, PAGE), make_ram(0x2000, PAGE),
                               make_ram((1ULL << 52) - PAGE, PAGE) };
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(r, 3, &map), 0);

    cr_assert_null(gm_map_find(map, 0));
    cr_assert_null(gm_map_find(map, 0xfff));
    cr_assert_eq(gm_map_find(map, 0x1000), r[0]);
    cr_assert_eq(gm_map_find(map, 0x1fff), r[0]);
    cr_assert_eq(gm_map_find(map, 0x2000), r[1]);
    cr_assert_eq(gm_map_find(map, 0x2fff), r[1]);
    cr_assert_null(gm_map_find(map, 0x3000));
    cr_assert_eq(gm_map_find(map, (1ULL << 52) - 1), r[2]);
    cr_assert_null(gm_map_find(map, 1ULL << 52));
    cr_assert_null(gm_map_find(map, UINT64_MAX));
    gm_map_unref(map);
    for (int i = 0; i < 3; i++)
        gm_region_unref(r[i]);
}

Test(map, totals_leave_out_the_holes)
{
    struct gm_region *r[2] = { make_ram(0x8000, 2 * PAGE), make_ram(0x1000, PAGE) };
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(r, 2, &map), 0);

    cr_assert_eq(gm_map_bytes(map), 3 * PAGE);
    cr_assert_eq(gm_map_end(map), 0xa000);
    gm_map_unref(map);
    gm_region_unref(r[0]);
    gm_region_unref(r[1]);
}

Test(map, an_empty_map_holds_nothing)
{
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(NULL, 0, &map), 0);

    cr_assert_eq(gm_map_count(map), 0);
    cr_assert_eq(gm_map_bytes(map), 0);
    cr_assert_eq(gm_map_end(map), 0);
    cr_assert_null(gm_map_find(map, 0));
    gm_map_unref(map);
    gm_map_unref(NULL);
}

Test(map, regions_live_as_long_as_a_map_holds_them)
{
    struct gm_region *region = make_ram(0, PAGE);
    struct gm_map *map = NULL;

    cr_assert_eq(gm_map_new(&region, 1, &map), 0);
    gm_region_unref(region);
    gm_map_ref(map);
    gm_map_unref(map);

    memset(gm_region_host(gm_map_region(map, 0)), 1, PAGE); /* faults if it were unmapped */
    gm_map_unref(map);
}
