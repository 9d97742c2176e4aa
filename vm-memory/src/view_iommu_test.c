/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of view.c behind an IOMMU: translations, pieces, what is asked when. */
#include "view_test.h"

TestSuite(view_iommu, .init = setup, .fini = teardown);

enum { IOVA_PAGES = 64 };

/* One level: page i of the IOVA space goes to page[i], where it is mapped. */
struct table {
    gpa_t page[IOVA_PAGES];
    unsigned allowed[IOVA_PAGES];
    int code;
    bool lies; /* gives more than was asked for */
    unsigned asked;
};

static int translate(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    struct table *table = ctx;
    uint64_t page = iova / PAGE, rest = PAGE - iova % PAGE;

    table->asked++;
    if (table->code)
        return table->code;
    if (page >= IOVA_PAGES || (table->allowed[page] & access) != access)
        return -EFAULT;
    *ret_gpa = table->page[page] + iova % PAGE;
    if (table->lies)
        *ret_len += 100;
    else if (*ret_len > rest)
        *ret_len = rest;
    return 0;
}

static struct table table;
static struct gm_iommu iommu;

/* IOVA pages 0 and 1 are the low region's in reverse order, 2 may only be read, 3 is a hole. */
static void add_iommu(void)
{
    table = (struct table){ .page = { 0x2000, 0x1000, 0x8000 }, .allowed = { 3, 3, GM_READ } };
    iommu = (struct gm_iommu){ .ctx = &table, .translate = translate };
    gm_view_set_iommu(&view, &iommu);
}

Test(view_iommu, copies_follow_translations_that_are_not_contiguous)
{
    uint8_t out[16], in[16] = { 0 };

    add_iommu();
    count_up(out, sizeof(out));

    cr_assert_eq(gm_write(&view, 0xff8, out, 16), 0);
    cr_assert_eq(gm_read(&view, 0xff8, in, 16), 0);

    cr_assert_arr_eq(host(low) + PAGE + 0xff8, out, 8);
    cr_assert_arr_eq(host(low), out + 8, 8);
    cr_assert_arr_eq(in, out, 16);
}

Test(view_iommu, translated_copies_are_all_or_nothing)
{
    uint8_t buf[2 * PAGE];

    add_iommu();
    memset(buf, 0xee, sizeof(buf));

    cr_assert_eq(gm_write(&view, 0x1800, buf, PAGE), -EFAULT, "page 2 is read only");
    cr_assert_eq(gm_read(&view, 0x2800, buf, PAGE), -EFAULT, "page 3 is not mapped");

    cr_assert_eq(host(low)[0x800], 0);
    cr_assert_eq(buf[0], 0xee);
    cr_assert_eq(gm_read(&view, 0x2000, buf, 8), 0);
}

Test(view_iommu, every_access_asks_the_iommu_again)
{
    uint8_t byte = 0;
    uint32_t v32 = 0;

    add_iommu();
    cr_assert_eq(gm_read(&view, 0x0, &byte, 1), 0);
    cr_assert_eq(gm_load32(&view, 0x0, &v32), 0);
    table.allowed[0] = 0;

    cr_assert_eq(gm_read(&view, 0x0, &byte, 1), -EFAULT);
    cr_assert_eq(gm_load32(&view, 0x0, &v32), -EFAULT);
    cr_assert_eq(gm_store32(&view, 0x0, v32), -EFAULT);
}

Test(view_iommu, ranges_remembered_without_an_iommu_are_not_used_behind_it)
{
    uint8_t byte = 0;

    cr_assert_eq(gm_read(&view, 0x1000, &byte, 1), 0);
    host(low)[PAGE] = 1;
    host(low)[0] = 2;
    add_iommu();

    cr_assert_eq(gm_read(&view, 0x1000, &byte, 1), 0);
    cr_assert_eq(byte, 2, "iova 0x1000 is gpa 0x1000");
    cr_assert_eq(gm_read(&view, 0x0, &byte, 1), 0);
    cr_assert_eq(byte, 1, "iova 0 is gpa 0x2000");
    cr_assert_eq(gm_write(&view, 0x3000, &byte, 1), -EFAULT);
}

Test(view_iommu, translated_addresses_must_be_ram_too)
{
    uint8_t byte = 0;

    add_iommu();
    table.page[0] = 0x6000;
    table.page[1] = 0xa000;

    cr_assert_eq(gm_read(&view, 0, &byte, 1), -EFAULT);
    cr_assert_eq(gm_read(&view, 0x1000, &byte, 1), -EIO);
    table.page[0] = 0x4000;
    cr_assert_eq(gm_write(&view, 0, &byte, 1), -EFAULT, "ROM stays ROM");
}

Test(view_iommu, errors_of_the_iommu_are_fault_or_io_error)
{
    uint8_t byte = 0;

    add_iommu();
    table.code = -EIO;
    cr_assert_eq(gm_read(&view, 0, &byte, 1), -EIO);
    table.code = -EPERM;
    cr_assert_eq(gm_read(&view, 0, &byte, 1), -EFAULT);
}

Test(view_iommu, an_iommu_that_gives_more_than_asked_is_cut)
{
    uint8_t buf[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

    add_iommu();
    table.lies = true;

    cr_assert_eq(gm_write(&view, 0, buf, 8), 0);
    cr_assert_eq(host(low)[PAGE + 8], 0);
}

static int translate_to_nothing(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa,
                                uint64_t *ret_len)
{
    (void)ctx;
    (void)access;
    *ret_gpa = iova;
    *ret_len = 0;
    return 0;
}

Test(view_iommu, an_iommu_that_gives_nothing_is_a_fault_and_not_a_loop)
{
    uint8_t byte = 0;

    add_iommu();
    iommu.translate = translate_to_nothing;

    cr_assert_eq(gm_read(&view, 0x1000, &byte, 1), -EFAULT);
}

static int translate_odd(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa,
                         uint64_t *ret_len)
{
    const uint64_t *len = ctx;

    (void)access;
    *ret_gpa = 0x1001 + iova;
    if (*ret_len > *len)
        *ret_len = *len;
    return 0;
}

Test(view_iommu, single_accesses_stay_aligned_and_whole_behind_an_iommu)
{
    uint64_t len = 8, v64 = 0;

    add_iommu();
    iommu.translate = translate_odd;
    iommu.ctx = &len;

    cr_assert_eq(gm_load64(&view, 0, &v64), -EFAULT, "odd host address");
    len = 4;
    cr_assert_eq(gm_load64(&view, 0, &v64), -EFAULT, "half an access");
}

Test(view_iommu, vectors_and_host_addresses_follow_translations)
{
    struct iovec iov[4];
    void *at = NULL;
    int count = 0;

    add_iommu();

    cr_assert_eq(gm_iov(&view, 0x800, PAGE, GM_WRITE, iov, 4, &count), 0);
    cr_assert_eq(count, 2);
    cr_assert_eq(iov[0].iov_base, host(low) + PAGE + 0x800);
    cr_assert_eq(iov[1].iov_base, host(low));
    cr_assert_eq(gm_host(&view, 0x800, PAGE, GM_READ, &at), -EXDEV);
    cr_assert_eq(gm_host(&view, 0x800, 0x800, GM_READ, &at), 0);
    cr_assert_eq(at, host(low) + PAGE + 0x800);
}

Test(view_iommu, vectors_join_pages_that_an_iommu_maps_side_by_side)
{
    struct iovec iov[4];
    void *at = NULL;
    int count = 0;

    add_iommu();
    table.page[0] = 0x1000;
    table.page[1] = 0x2000;

    cr_assert_eq(gm_iov(&view, 0, 2 * PAGE, GM_WRITE, iov, 4, &count), 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(gm_host(&view, 0, 2 * PAGE, GM_WRITE, &at), 0);
    cr_assert_eq(at, host(low));
}

Test(view_iommu, copies_of_more_pieces_than_are_kept_are_whole)
{
    static uint8_t out[IOVA_PAGES * GM_PAGE_BYTES], in[sizeof(out)];

    add_iommu();
    for (unsigned i = 0; i < IOVA_PAGES; i++) { /* each IOVA page twice on a RAM page */
        table.page[i] = i % 2 ? 0x1000 : 0x8000;
        table.allowed[i] = GM_READ | GM_WRITE;
    }
    memset(out, 5, sizeof(out));

    cr_assert_eq(gm_write(&view, 0, out, sizeof(out)), 0);
    cr_assert_eq(gm_read(&view, 0, in, sizeof(in)), 0);
    cr_assert_arr_eq(in, out, sizeof(out));
    table.allowed[IOVA_PAGES - 1] = 0;
    memset(in, 9, sizeof(in));
    cr_assert_eq(gm_write(&view, 0, in, sizeof(in)), -EFAULT);
    cr_assert_eq(host(low)[0], 5, "not one byte moved");
}

/* Unmaps the last page when it is asked about it for the second time. */
static int translate_then_unmap(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa,
                                uint64_t *ret_len)
{
    struct table *t = ctx;

    if (t->asked >= IOVA_PAGES + 10)
        t->code = -EFAULT;
    return translate(ctx, iova, access, ret_gpa, ret_len);
}

Test(view_iommu, an_iommu_that_unmaps_during_a_long_copy_is_a_fault)
{
    static uint8_t out[IOVA_PAGES * GM_PAGE_BYTES];

    add_iommu();
    iommu.translate = translate_then_unmap;
    for (unsigned i = 0; i < IOVA_PAGES; i++) {
        table.page[i] = 0x1000;
        table.allowed[i] = GM_READ | GM_WRITE;
    }

    cr_assert_eq(gm_write(&view, 0, out, sizeof(out)), -EFAULT);
}

Test(view_iommu, marks_are_of_guest_physical_pages)
{
    struct gm_dirty *dirty = track(&view);
    uint8_t buf[16] = { 0 };

    add_iommu();

    cr_assert_eq(gm_write(&view, 0x1000, buf, 1), 0);
    cr_assert_eq(take16(dirty), 1 << 1);
    gm_written(&view, 0xfff, 2);
    cr_assert_eq(take16(dirty), 1 << 1 | 1 << 2);
    table.allowed[0] = 0;
    gm_written(&view, 0, 2 * PAGE);
    cr_assert_eq(take16(dirty), 1 << 1, "what is not mapped any more is passed over");
    gm_written(&view, 0x2800, 0x10);
    cr_assert_eq(take16(dirty), 0);
    gm_dirty_free(dirty);
}

static int translate_all_to_low(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa,
                                uint64_t *ret_len)
{
    (void)ctx;
    (void)access;
    (void)ret_len;
    *ret_gpa = 0x1000 + iova % PAGE;
    return 0;
}

Test(view_iommu, iova_ranges_may_end_with_the_last_byte_but_not_wrap)
{
    struct gm_dirty *dirty = track(&view);
    uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct iovec iov[1];
    int count = 0;

    add_iommu();
    iommu.translate = translate_all_to_low;

    cr_assert_eq(gm_write(&view, UINT64_MAX - 7, buf, 8), 0);
    cr_assert_eq(gm_iov(&view, UINT64_MAX - 7, 8, GM_WRITE, iov, 1, &count), 0);
    gm_written(&view, UINT64_MAX - 7, 8);
    cr_assert_eq(host(low)[0xfff], 8);
    cr_assert_eq(gm_write(&view, UINT64_MAX - 7, buf, any(9)), -EFAULT);
    cr_assert_eq(gm_iov(&view, UINT64_MAX - 7, 9, GM_WRITE, iov, 1, &count), -EFAULT);
    gm_dirty_free(dirty);
}
