/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is checked in a chain whatever the ring: total length, memory the device may not use. */
#include <criterion/criterion.h>

#include <errno.h>
#include <sys/mman.h>

#include "fake_queue.h"

/* 2 GiB that nobody touches: chains near 2^32 bytes. */
static const uint64_t huge = 2ULL << 30;
static struct fake_queue fq;

static void begin(uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, 8, features, huge), 0);
}

static void chain_of(uint32_t last, uint64_t features, int expected)
{
    struct fake_buf b[3] = { { 0, 1U << 30, false }, { 0, 1U << 30, true }, { 0, 1U << 30, true } };
    struct fake_buf all[5] = { b[0], b[1], b[1], b[1], { 0, last, true } };
    struct vq_chain c;

    begin(features);
    cr_assert_geq(fake_driver_offer(&fq.drv, all, 5), 0);
    cr_assert_eq(vq_next(&fq.q, &c), expected);
    if (expected < 0)
        cr_assert_str_eq(fq.q.why, "chain is longer than 2^32 bytes");
    else
        cr_assert_eq(c.readable_bytes + c.writable_bytes, 1ULL << 32);
    fake_queue_exit(&fq);
}

Test(chain, may_have_two_to_the_32_bytes)
{
    chain_of(0, 0, 1);
    chain_of(0, VQ_F_RING_PACKED, 1);
}

Test(chain, may_not_have_one_byte_more)
{
    chain_of(1, 0, -EPROTO);
    chain_of(1, VQ_F_RING_PACKED, -EPROTO);
}

Test(chain, reports_no_more_than_fits_the_used_length)
{
    struct fake_buf all[4];
    struct vq_chain c;
    uint32_t len;
    uint16_t id;

    begin(0);
    for (int i = 0; i < 4; i++)
        all[i] = (struct fake_buf){ 0, 1U << 30, true };
    fake_driver_offer(&fq.drv, all, 4);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    c.pushed = c.writable_bytes;
    vq_done(&fq.q, &c);

    cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    cr_assert_eq(len, UINT32_MAX);
    fake_queue_exit(&fq);
}

/* A second region behind the first one: read-only, and a third with a hole before it. */
static struct gm_region *add(gpa_t base, bool read_only)
{
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .read_only = read_only };
    struct gm_change change = { .add_count = 1 };
    struct gm_region *region;

    cr_assert_eq(gm_region_new(base, 4096, &backing, &region), 0);
    change.add = &region;
    cr_assert_eq(gm_space_change(fq.guest.space, &change), 0);
    return region;
}

Test(chain, may_read_rom_but_not_write_it)
{
    struct fake_buf out = { 1 << 21, 16, false }, in = { 1 << 21, 16, true };
    struct gm_region *rom;
    struct vq_chain c;

    cr_assert_eq(fake_queue_init(&fq, 8, 0, 1 << 21), 0);
    rom = add(1 << 21, true);
    fake_driver_offer(&fq.drv, &out, 1);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    fake_driver_offer(&fq.drv, &in, 1);

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);

    cr_assert_str_eq(fq.q.why, "buffer is not RAM");
    gm_region_unref(rom);
    fake_queue_exit(&fq);
}

Test(chain, buffer_may_lie_across_two_regions)
{
    struct fake_buf out = { (1 << 21) - 8, 16, false };
    struct gm_region *more;
    struct vq_chain c;
    uint64_t got[2];

    cr_assert_eq(fake_queue_init(&fq, 8, 0, 1 << 21), 0);
    more = add(1 << 21, false);
    fake_driver_write(&fq.drv, out.addr, "0123456789abcdef", 16);
    fake_driver_offer(&fq.drv, &out, 1);
    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(vq_pull(&fq.q, &c, got, 16), 0);

    cr_assert_arr_eq((char *)got, "0123456789abcdef", 16);
    gm_region_unref(more);
    fake_queue_exit(&fq);
}

/* The device cannot reach this page. */
static int unreachable(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    (void)ctx;
    (void)access;
    if (iova >= 0x100000 && iova < 0x101000)
        return -EIO;
    *ret_gpa = iova;
    if (*ret_len > 4096 - iova % 4096)
        *ret_len = 4096 - iova % 4096;
    return 0;
}

Test(chain, buffer_out_of_the_devices_reach_is_an_error_of_the_request_only)
{
    struct fake_buf out = { 0x100000, 16, false };
    struct gm_iommu iommu = { .translate = unreachable };
    struct vq_chain c;
    uint8_t got;

    cr_assert_eq(fake_queue_init(&fq, 8, 0, 1 << 21), 0);
    gm_view_set_iommu(&fq.view, &iommu);
    fake_driver_offer(&fq.drv, &out, 1);
    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(vq_pull(&fq.q, &c, &got, 1), -EIO);

    cr_assert_eq(vq_pull_left(&c), 16);
    cr_assert_eq(vq_done(&fq.q, &c), 0);
    gm_view_set_iommu(&fq.view, NULL);
    fake_queue_exit(&fq);
}

static int by_one(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    (void)ctx, (void)access, (void)ret_len;
    *ret_gpa = iova + 1;
    return 0;
}

static void ring_at_odd_address(uint64_t features)
{
    struct gm_iommu iommu = { .translate = by_one };
    struct vq_chain c;

    cr_assert_eq(fake_queue_init(&fq, 8, features, 1 << 20), 0);
    gm_view_set_iommu(&fq.view, &iommu);

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);

    cr_assert_str_eq(fq.q.why, "ring is not RAM");
    gm_view_set_iommu(&fq.view, NULL);
    fake_queue_exit(&fq);
}

Test(chain, ring_that_an_iommu_moves_to_an_odd_address_is_no_ring)
{
    ring_at_odd_address(0);
    ring_at_odd_address(VQ_F_RING_PACKED);
}

/* The page at 1 MiB is not known before it was asked for. */
static bool known;

static int later(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    (void)ctx, (void)access, (void)ret_len;
    if (iova >= 0x100000 && !known)
        return -EAGAIN;
    *ret_gpa = iova;
    return 0;
}

static void chain_that_waits(uint64_t features)
{
    struct gm_iommu iommu = { .translate = later };
    struct fake_buf b[2] = { { 0x1000, 16, false }, { 0x100000, 16, true } };
    struct vq_chain c;

    known = false;
    cr_assert_eq(fake_queue_init(&fq, 8, features, 1 << 21), 0);
    gm_view_set_iommu(&fq.view, &iommu);
    fake_driver_offer(&fq.drv, b, 2);

    cr_assert_eq(vq_next(&fq.q, &c), 0);
    cr_assert_not(fq.q.broken);
    known = true;
    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable + c.writable, 2);
    cr_assert_eq(vq_done(&fq.q, &c), 0);
    cr_assert_eq(vq_next(&fq.q, &c), 0);
    gm_view_set_iommu(&fq.view, NULL);
    fake_queue_exit(&fq);
}

Test(chain, whose_address_is_not_known_yet_stays_in_the_ring)
{
    chain_that_waits(0);
    chain_that_waits(VQ_F_RING_PACKED);
}
