/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of view.c without an IOMMU: copies, single accesses, host addresses, vectors, marks. */
#include "view_test.h"

TestSuite(view, .init = setup, .fini = teardown);

/* --- copies --- */

Test(view, write_then_read_gives_the_same_bytes)
{
    uint8_t out[100], in[100] = { 0 };

    count_up(out, sizeof(out));

    cr_assert_eq(gm_write(&view, 0x1ff0, out, sizeof(out)), 0);
    cr_assert_eq(gm_read(&view, 0x1ff0, in, sizeof(in)), 0);

    cr_assert_arr_eq(in, out, sizeof(out));
    cr_assert_arr_eq(host(low) + 0xff0, out, sizeof(out));
}

Test(view, a_hit_is_remembered_for_both_directions_but_rom_not_for_writes)
{
    uint8_t byte = 0;

    cr_assert_eq(gm_read(&view, 0x1000, &byte, 1), 0);
    cr_assert_eq(view.read.base, 0x1000);
    cr_assert_eq(view.write.base, 0x1000);
    cr_assert_eq(gm_read(&view, 0x4000, &byte, 1), 0);

    cr_assert_eq(view.read.base, 0x4000);
    cr_assert_eq(view.write.base, 0x1000);
    cr_assert_eq(gm_write(&view, 0x4000, &byte, 1), -EFAULT);
}

Test(view, copies_span_adjacent_regions)
{
    uint8_t out[2 * PAGE], in[2 * PAGE] = { 0 };

    count_up(out, sizeof(out));

    cr_assert_eq(gm_write(&view, 0x2000, out, sizeof(out)), 0);
    cr_assert_eq(gm_read(&view, 0x2000, in, sizeof(in)), 0);

    cr_assert_arr_eq(in, out, sizeof(out));
    cr_assert_arr_eq(host(next), out + PAGE, PAGE);
}

Test(view, a_copy_that_reaches_a_hole_moves_nothing)
{
    uint8_t buf[2 * PAGE];

    memset(buf, 0xee, sizeof(buf));

    cr_assert_eq(gm_write(&view, 0x8800, buf, PAGE), -EFAULT);
    cr_assert_eq(gm_read(&view, 0x4800, buf, PAGE), -EFAULT);

    cr_assert_eq(host(island)[0x800], 0);
    cr_assert_eq(buf[0], 0xee);
}

Test(view, a_write_that_reaches_rom_moves_nothing)
{
    uint8_t buf[32];

    memset(buf, 0xee, sizeof(buf));

    cr_assert_eq(gm_write(&view, 0x3ff0, buf, sizeof(buf)), -EFAULT);
    cr_assert_eq(gm_fill(&view, 0x3ff0, 1, 32), -EFAULT);

    cr_assert_eq(host(next)[0xff0], 0);
    cr_assert_eq(gm_read(&view, 0x3ff0, buf, sizeof(buf)), 0);
}

Test(view, unreachable_ram_is_an_io_error)
{
    uint8_t byte = 0;
    void *at = NULL;

    cr_assert_eq(gm_read(&view, 0xa000, &byte, 1), -EIO);
    cr_assert_eq(gm_write(&view, 0xa000, &byte, 1), -EIO);
    cr_assert_eq(gm_host(&view, 0xa000, 1, GM_READ, &at), -EIO);
}

Test(view, ranges_that_wrap_are_refused)
{
    uint8_t buf[16] = { 0 };
    struct iovec iov;
    void *at = NULL;
    int count = 0;

    cr_assert_eq(gm_read(&view, UINT64_MAX - 7, buf, any(16)), -EFAULT);
    cr_assert_eq(gm_write(&view, UINT64_MAX, buf, any(2)), -EFAULT);
    cr_assert_eq(gm_read(&view, 0x1000, buf, any(SIZE_MAX)), -EFAULT);
    cr_assert_eq(gm_read(&view, 0x1000, buf, any(SIZE_MAX - 0xfff)), -EFAULT);
    cr_assert_eq(gm_fill(&view, 0x1001, 0, SIZE_MAX), -EFAULT);
    cr_assert_eq(gm_iov(&view, 0x1001, UINT64_MAX, GM_READ, &iov, 1, &count), -EFAULT);
    cr_assert_eq(gm_host(&view, 0x1001, UINT64_MAX, GM_READ, &at), -EFAULT);
    gm_written(&view, 0x1001, UINT64_MAX);
}

Test(view, addresses_around_the_remembered_range_are_not_taken_for_it)
{
    uint8_t byte = 0;

    cr_assert_eq(gm_read(&view, 0x8000, &byte, 1), 0);

    cr_assert_eq(gm_read(&view, 0x7fff, &byte, 1), -EFAULT);
    cr_assert_eq(gm_read(&view, 0x9000, &byte, 1), -EFAULT);
    cr_assert_eq(gm_read(&view, 0, &byte, 1), -EFAULT);
    cr_assert_eq(gm_write(&view, 0x7fff, &byte, any(2)), -EFAULT);
}

Test(view, nothing_is_copied_from_anywhere)
{
    struct iovec iov;
    int count = 0;

    cr_assert_eq(gm_read(&view, 0x7777, &count, any(0)), 0);
    cr_assert_eq(gm_write(&view, UINT64_MAX, &count, any(0)), 0);
    cr_assert_eq(gm_fill(&view, 0x7777, 1, 0), 0);
    cr_assert_eq(gm_iov(&view, 0x7777, 0, GM_WRITE, &iov, 0, &count), 0);
    cr_assert_eq(count, 0);
}

Test(view, fill_sets_the_range_and_nothing_else)
{
    cr_assert_eq(gm_fill(&view, 0x2ffe, 0xab, 4), 0);

    cr_assert_eq(host(low)[0x1ffd], 0);
    cr_assert_eq(host(low)[0x1ffe], 0xab);
    cr_assert_eq(host(next)[1], 0xab);
    cr_assert_eq(host(next)[2], 0);
}

/* --- single accesses --- */

Test(view, loads_and_stores_are_little_endian)
{
    static const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    uint16_t v16 = 0;
    uint32_t v32 = 0;
    uint64_t v64 = 0;

    cr_assert_eq(gm_write(&view, 0x1000, bytes, 8), 0);

    cr_assert_eq(gm_load16(&view, 0x1002, &v16), 0);
    cr_assert_eq(gm_load32(&view, 0x1004, &v32), 0);
    cr_assert_eq(gm_load64(&view, 0x1000, &v64), 0);
    cr_assert_eq(v16, 0x0403);
    cr_assert_eq(v32, 0x08070605);
    cr_assert_eq(v64, 0x0807060504030201);
    cr_assert_eq(gm_store16(&view, 0x1006, 0x1122), 0);
    cr_assert_eq(gm_store32(&view, 0x1008, 0x33445566), 0);
    cr_assert_eq(gm_store64(&view, 0x1010, 0x778899aabbccddee), 0);
    cr_assert_eq(host(low)[6], 0x22);
    cr_assert_eq(host(low)[8], 0x66);
    cr_assert_eq(host(low)[0x17], 0x77);
}

Test(view, single_accesses_must_be_aligned)
{
    uint16_t v16 = 0;
    uint32_t v32 = 0;
    uint64_t v64 = 0;
    bool done = false;

    cr_assert_eq(gm_load16(&view, 0x1001, &v16), -EFAULT);
    cr_assert_eq(gm_load32(&view, 0x1002, &v32), -EFAULT);
    cr_assert_eq(gm_load64(&view, 0x1004, &v64), -EFAULT);
    cr_assert_eq(gm_store16(&view, 0x1001, 1), -EFAULT);
    cr_assert_eq(gm_store32(&view, 0x1002, 1), -EFAULT);
    cr_assert_eq(gm_store64(&view, 0x1004, 1), -EFAULT);
    cr_assert_eq(gm_cmpxchg64(&view, 0x1004, &v64, 1, &done), -EFAULT);
}

Test(view, single_accesses_need_ram_and_stores_writable_ram)
{
    uint16_t v16 = 0;
    uint64_t v64 = 0;
    bool done = false;

    cr_assert_eq(gm_load16(&view, 0x5000, &v16), -EFAULT);
    cr_assert_eq(gm_load16(&view, 0x4000, &v16), 0);
    cr_assert_eq(gm_store16(&view, 0x4000, 1), -EFAULT);
    cr_assert_eq(gm_cmpxchg64(&view, 0x4000, &v64, 1, &done), -EFAULT);
    cr_assert_eq(gm_load64(&view, 0xa000, &v64), -EIO);
}

Test(view, compare_and_exchange_replaces_only_what_was_expected)
{
    uint64_t expected = 5;
    bool done = true;

    cr_assert_eq(gm_store64(&view, 0x1000, 7), 0);
    cr_assert_eq(gm_cmpxchg64(&view, 0x1000, &expected, 9, &done), 0);
    cr_assert(!done);
    cr_assert_eq(expected, 7);
    cr_assert_eq(gm_cmpxchg64(&view, 0x1000, &expected, 9, &done), 0);

    cr_assert(done);
    cr_assert_eq(host(low)[0], 9);
}

/* --- host addresses and vectors --- */

Test(view, host_gives_the_address_of_a_contiguous_range)
{
    void *at = NULL;

    cr_assert_eq(gm_host(&view, 0x1800, PAGE, GM_READ | GM_WRITE, &at), 0);
    cr_assert_eq(at, host(low) + 0x800);
    cr_assert_eq(gm_host(&view, 0x4000, PAGE, GM_READ, &at), 0);
    cr_assert_eq(at, host(rom));
    cr_assert_eq(gm_host(&view, 0x4000, PAGE, GM_WRITE, &at), -EFAULT);
    cr_assert_eq(gm_host(&view, 0x8000, PAGE + 1, GM_READ, &at), -EFAULT);
    cr_assert_eq(gm_host(&view, 0x8fff, 0, GM_READ, &at), 0);
    cr_assert_eq(at, host(island) + 0xfff);
    cr_assert_eq(gm_host(&view, 0x9000, 0, GM_READ, &at), -EFAULT);
}

/* Two adjacent guest pages of which the host addresses are far apart, or adjacent. */
static struct gm_view *pair(bool adjacent, uint8_t *memory)
{
    static struct gm_view two;
    struct gm_space *s = make_space(NULL);

    for (int i = 0; i < 2; i++) {
        struct gm_backing backing = { .kind = GM_BORROWED,
                                      .host = memory + (adjacent ? i : 2 * (1 - i)) * PAGE };
        struct gm_region *region = NULL;

        cr_assert_eq(gm_region_new((gpa_t)i * PAGE, PAGE, &backing, &region), 0);
        give_region(s, region);
    }
    gm_view_init(&two, s, NULL);
    return &two;
}

static void free_pair(struct gm_view *two)
{
    struct gm_space *s = two->space;

    gm_view_exit(two);
    gm_space_free(s);
}

static _Alignas(GM_PAGE_BYTES) uint8_t borrowed[3 * GM_PAGE_BYTES];

Test(view, host_of_ram_that_is_not_contiguous_says_exdev)
{
    struct gm_view *two = pair(false, borrowed);
    void *at = NULL;

    cr_assert_eq(gm_host(two, 0xf00, 0x200, GM_READ, &at), -EXDEV);
    cr_assert_null(at);
    free_pair(two);
}

Test(view, host_of_regions_that_are_adjacent_here_too_is_contiguous)
{
    struct gm_view *two = pair(true, borrowed);
    void *at = NULL;

    cr_assert_eq(gm_host(two, 0xf00, 0x200, GM_READ, &at), 0);
    cr_assert_eq(at, borrowed + 0xf00);
    free_pair(two);
}

Test(view, iov_joins_what_is_adjacent_here_and_splits_what_is_not)
{
    struct gm_view *two = pair(true, borrowed);
    struct iovec iov[4];
    int count = 0;

    cr_assert_eq(gm_iov(two, 0, 2 * PAGE, GM_WRITE, iov, 4, &count), 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(iov[0].iov_len, 2 * PAGE);
    free_pair(two);
    two = pair(false, borrowed);
    count = 0;
    cr_assert_eq(gm_iov(two, 0xf00, 0x200, GM_WRITE, iov, 4, &count), 0);

    cr_assert_eq(count, 2);
    cr_assert_eq(iov[0].iov_base, borrowed + 2 * PAGE + 0xf00);
    cr_assert_eq(iov[0].iov_len, 0x100);
    cr_assert_eq(iov[1].iov_base, borrowed);
    cr_assert_eq(iov[1].iov_len, 0x100);
    free_pair(two);
}

Test(view, iov_appends_and_joins_with_the_last_element)
{
    struct iovec iov[4];
    int count = 0;

    cr_assert_eq(gm_iov(&view, 0x8000, 16, GM_READ, iov, 4, &count), 0);
    cr_assert_eq(gm_iov(&view, 0x1000, 16, GM_READ, iov, 4, &count), 0);
    cr_assert_eq(gm_iov(&view, 0x1010, 16, GM_READ, iov, 4, &count), 0);

    cr_assert_eq(count, 2);
    cr_assert_eq(iov[1].iov_base, host(low));
    cr_assert_eq(iov[1].iov_len, 32);
}

Test(view, iov_keeps_to_its_limit_and_undoes_a_join)
{
    struct gm_view *two = pair(false, borrowed);
    struct iovec iov[2];
    int count = 0;

    cr_assert_eq(gm_iov(two, 0, 0x10, GM_READ, iov, 1, &count), 0);

    cr_assert_eq(gm_iov(two, 0x10, PAGE, GM_READ, iov, 1, &count), -E2BIG);
    cr_assert_eq(count, 1);
    cr_assert_eq(iov[0].iov_len, 0x10);
    count = 0;
    cr_assert_eq(gm_iov(two, 0, 0x10, GM_READ, iov, 0, &count), -E2BIG);
    cr_assert_eq(count, 0);
    free_pair(two);
}

Test(view, iov_into_a_hole_or_rom_leaves_the_vector_as_it_was)
{
    struct iovec iov[4];
    int count = 0;

    cr_assert_eq(gm_iov(&view, 0x8000, 16, GM_READ, iov, 4, &count), 0);

    cr_assert_eq(gm_iov(&view, 0x8010, PAGE, GM_READ, iov, 4, &count), -EFAULT);
    cr_assert_eq(gm_iov(&view, 0x3000, 2 * PAGE, GM_WRITE, iov, 4, &count), -EFAULT);
    cr_assert_eq(count, 1);
    cr_assert_eq(iov[0].iov_len, 16);
}

/* --- dirty tracking --- */

Test(view, every_kind_of_write_marks_its_pages)
{
    struct gm_dirty *dirty = track(&view);
    uint8_t buf[2 * PAGE] = { 0 };
    uint64_t expected = 0;
    bool done = false;

    cr_assert_eq(gm_write(&view, 0x1000, buf, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 1);
    cr_assert_eq(gm_write(&view, 0x2fff, buf, 2), 0);
    cr_assert_eq(take16(dirty), 1 << 2 | 1 << 3);
    cr_assert_eq(gm_fill(&view, 0x8000, 1, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 8);
    cr_assert_eq(gm_store16(&view, 0x1ffe, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 1);
    cr_assert_eq(gm_store32(&view, 0x2000, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 2);
    cr_assert_eq(gm_store64(&view, 0x3000, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 3);
    cr_assert_eq(gm_cmpxchg64(&view, 0x8008, &expected, 1, &done), 0);
    cr_assert_eq(take16(dirty), 1 << 8);
    gm_written(&view, 0x1fff, 2);
    cr_assert_eq(take16(dirty), 1 << 1 | 1 << 2);
    gm_dirty_free(dirty);
}

Test(view, what_did_not_write_does_not_mark)
{
    struct gm_dirty *dirty = track(&view);
    uint8_t buf[2 * PAGE] = { 0 };
    uint64_t expected = 1;
    struct iovec iov;
    bool done = true;
    int count = 0;
    void *at;

    cr_assert_eq(gm_read(&view, 0x1000, buf, 8), 0);
    cr_assert_eq(gm_write(&view, 0x8800, buf, PAGE), -EFAULT);
    cr_assert_eq(gm_cmpxchg64(&view, 0x1000, &expected, 1, &done), 0);
    cr_assert_eq(gm_host(&view, 0x1000, 8, GM_WRITE, &at), 0);
    cr_assert_eq(gm_iov(&view, 0x1000, 8, GM_WRITE, &iov, 1, &count), 0);
    gm_written(&view, 0x1000, 0);

    cr_assert_eq(take16(dirty), 0);
    gm_dirty_free(dirty);
}

Test(view, writes_after_a_remembered_hit_mark_too_once_tracking_is_on)
{
    struct gm_dirty *dirty;
    uint8_t byte = 1;

    cr_assert_eq(gm_write(&view, 0x1000, &byte, 1), 0);
    dirty = track(&view);
    cr_assert_eq(gm_write(&view, 0x1000, &byte, 1), 0);

    cr_assert_eq(take16(dirty), 1 << 1);
    gm_view_set_dirty(&view, NULL);
    cr_assert_eq(gm_write(&view, 0x1000, &byte, 1), 0);
    gm_written(&view, 0x1000, 1);
    cr_assert_eq(take16(dirty), 0);
    gm_dirty_free(dirty);
}

Test(view, two_views_have_separate_bitmaps)
{
    struct gm_view other;
    struct gm_dirty *mine = track(&view), *theirs;
    uint8_t byte = 1;

    gm_view_init(&other, space, NULL);
    theirs = track(&other);

    cr_assert_eq(gm_write(&view, 0x1000, &byte, 1), 0);
    cr_assert_eq(gm_write(&other, 0x8000, &byte, 1), 0);

    cr_assert_eq(take16(mine), 1 << 1);
    cr_assert_eq(take16(theirs), 1 << 8);
    gm_view_exit(&other);
    gm_dirty_free(mine);
    gm_dirty_free(theirs);
}

Test(view, a_change_of_bitmap_or_iommu_changes_the_stamp)
{
    struct gm_iommu iommu = { .generation = 1 };
    uint64_t stamp = gm_view_stamp(&view);
    struct gm_dirty *dirty = track(&view);

    cr_assert_neq(gm_view_stamp(&view), stamp);
    gm_view_set_dirty(&view, NULL);
    stamp = gm_view_stamp(&view);
    gm_view_set_iommu(&view, &iommu);
    cr_assert_neq(gm_view_stamp(&view), stamp);
    stamp = gm_view_stamp(&view);
    __atomic_fetch_add(&iommu.generation, 1, __ATOMIC_RELEASE);
    cr_assert_neq(gm_view_stamp(&view), stamp);
    gm_dirty_free(dirty);
}

Test(view, the_stamp_survives_the_wrap_of_its_counter)
{
    view.generation = UINT32_MAX;

    gm_view_set_dirty(&view, NULL);

    cr_assert_eq(view.generation, 0);
}
