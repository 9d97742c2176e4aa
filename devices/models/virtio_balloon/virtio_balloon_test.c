/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the balloon: pages. */
#include "virtio_balloon_test.h"

Test(virtio_balloon, pages_put_in_go_back_to_the_host_as_one_run_in_any_order)
{
    const uint32_t pages[] = { 0x405, 0x403, 0x404, 0x406, 0x500 };

    balloon_start(NULL, 0);
    balloon_fill(0x400, 0x110);

    balloon_send(VIRTIO_BALLOON_INFLATE, pages, VM_ARRAY_SIZE(pages));

    for (unsigned i = 0; i < VM_ARRAY_SIZE(pages); i++)
        cr_assert_eq(balloon_byte(pages[i]), 0);
    cr_assert_eq(balloon_byte(0x402), BALLOON_FILL);
    cr_assert_eq(balloon_byte(0x407), BALLOON_FILL);
    cr_assert_eq(balloon()->count.discards, 2);
    cr_assert_eq(balloon()->count.discarded, 5 * 4096);
    vh_close(&balloon_h);
}

Test(virtio_balloon, the_same_holds_for_a_memfd_and_on_virtio_mmio_with_packed_rings)
{
    const struct vh_config ways[] = { { .transport = VH_PCI, .shared = true },
                                      { .transport = VH_MMIO_BUS },
                                      { .transport = VH_PCI, .packed = true } };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(ways); i++) {
        balloon_start_in(ways[i], NULL, 0);
        balloon_fill(0x400, 16);

        cr_assert_eq(balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x400, 16), 0);

        cr_assert_eq(balloon_byte(0x400), 0, "%u", i);
        cr_assert_eq(balloon_byte(0x40f), 0);
        cr_assert_eq(balloon()->count.discards, 1);
        vh_close(&balloon_h);
    }
}

Test(virtio_balloon, what_comes_out_can_go_in_again)
{
    balloon_start(NULL, 0);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x400, 300);

    cr_assert_eq(balloon_send_run(VIRTIO_BALLOON_DEFLATE, 0x400, 300), 0);
    balloon_fill(0x400, 300);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x480, 1);

    cr_assert_eq(balloon_byte(0x47f), BALLOON_FILL);
    cr_assert_eq(balloon_byte(0x480), 0);
    cr_assert_eq(balloon()->count.inflated, 301);
    cr_assert_eq(balloon()->count.deflated, 300);
    cr_assert_eq(balloon()->count.refused, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, pages_that_are_no_ram_are_dropped_counted_and_logged)
{
    const uint32_t pages[] = { BALLOON_PAGES, 0xe0000, UINT32_MAX, BALLOON_PAGES - 1 };

    balloon_start(NULL, 0);
    balloon_fill(BALLOON_PAGES - 1, 1);

    cr_assert_eq(balloon_send(VIRTIO_BALLOON_INFLATE, pages, VM_ARRAY_SIZE(pages)), 0);

    cr_assert_eq(balloon()->count.refused, 3);
    cr_assert_eq(balloon()->count.inflated, 1);
    cr_assert_eq(balloon_byte(BALLOON_PAGES - 1), 0);
    cr_assert(vh_logged(&balloon_h, "3 pages that the driver put in are no RAM"));
    cr_assert(!(vh_status(&balloon_h) & VIRTIO_NEEDS_RESET));
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_driver_that_says_wrong_things_for_ever_fills_no_log)
{
    const uint32_t page = UINT32_MAX;
    unsigned before;

    balloon_start(NULL, 0);
    before = balloon_h.log_lines;

    for (unsigned i = 0; i < 100; i++)
        balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);

    cr_assert_eq(balloon()->count.refused, 100);
    cr_assert_leq(balloon_h.log_lines - before, 10);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_page_that_is_in_it_already_is_dropped)
{
    const uint32_t pages[] = { 0x400, 0x401, 0x400 };

    balloon_start(NULL, 0);
    balloon_send(VIRTIO_BALLOON_INFLATE, pages, 3);
    cr_assert_eq(balloon()->count.refused, 1);
    balloon_fill(0x401, 1);

    balloon_send(VIRTIO_BALLOON_INFLATE, &pages[1], 1);

    cr_assert_eq(balloon()->count.refused, 2);
    cr_assert_eq(balloon_byte(0x401), BALLOON_FILL);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_driver_that_need_not_tell_may_put_a_page_in_again)
{
    const uint32_t page = 0x400;

    balloon_start(NULL, VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_FREE_PAGE_HINT);
    balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);
    balloon_fill(page, 1);

    balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);

    cr_assert_eq(balloon_byte(page), 0);
    cr_assert_eq(balloon()->count.refused, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_page_that_is_not_in_it_does_not_come_out)
{
    balloon_start(NULL, 0);

    balloon_send_run(VIRTIO_BALLOON_DEFLATE, 0x400, 2);

    cr_assert_eq(balloon()->count.deflated, 0);
    cr_assert_eq(balloon()->count.refused, 2);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_list_in_pieces_with_half_a_number_is_taken_as_far_as_it_goes)
{
    struct fake_buf b[2] = { { BALLOON_LIST, 6, false }, { BALLOON_LIST + 0x1000, 5, false } };
    const uint8_t first[6] = { 0x00, 0x04, 0, 0, 0x01, 0x04 }, second[5] = { 0, 0, 0x02, 0x04, 0 };

    balloon_start(NULL, 0);
    balloon_fill(0x400, 3);
    memcpy(balloon_h.guest.host + b[0].addr, first, sizeof(first));
    memcpy(balloon_h.guest.host + b[1].addr, second, sizeof(second));

    cr_assert_eq(vh_request(&balloon_h, VIRTIO_BALLOON_INFLATE, b, 2), 0);

    cr_assert_eq(balloon_byte(0x400), 0);
    cr_assert_eq(balloon_byte(0x401), 0);
    cr_assert_eq(balloon_byte(0x402), BALLOON_FILL);
    vh_close(&balloon_h);
}

Test(virtio_balloon, an_empty_list_and_one_to_be_written_are_answered)
{
    struct fake_buf none = { BALLOON_LIST, 0, false }, writable = { BALLOON_LIST, 64, true };

    balloon_start(NULL, 0);

    cr_assert_eq(vh_request(&balloon_h, VIRTIO_BALLOON_INFLATE, &none, 1), 0);
    cr_assert_eq(vh_request(&balloon_h, VIRTIO_BALLOON_DEFLATE, &writable, 1), 0);

    cr_assert_eq(balloon()->count.discards, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_list_of_half_the_memory_is_one_call_whatever_its_order)
{
    static uint32_t pages[1024];

    balloon_start(NULL, 0);
    for (unsigned i = 0; i < 1024; i++) /* 7 and 1024 have no common factor: each page once */
        pages[i] = 0x400 + i * 7 % 1024;

    balloon_send(VIRTIO_BALLOON_INFLATE, pages, 1024);

    cr_assert_eq(balloon()->count.inflated, 1024);
    cr_assert_eq(balloon()->count.discards, 1);
    cr_assert_eq(balloon()->count.discarded, 4 << 20);
    vh_close(&balloon_h);
}

Test(virtio_balloon, more_chains_than_one_round_takes_are_all_served)
{
    struct fake_buf b = { BALLOON_LIST, 0, false };
    unsigned done = 0;
    uint16_t id;
    uint32_t len;

    balloon_start(NULL, 0);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_geq(fake_driver_offer(&balloon_h.drv[0], &b, 1), 0);

    cr_assert_eq(vh_serve(&balloon_h, 0), 0);

    while (fake_driver_collect(&balloon_h.drv[0], &id, &len) > 0)
        done++;
    cr_assert_eq(done, 64);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_host_with_larger_pages_gets_them_when_they_are_whole)
{
    balloon_start(NULL, 0);
    balloon()->unit = 16;
    balloon_fill(0x400, 0x40);

    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x408, 16);
    cr_assert_eq(balloon()->count.discards, 0);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x400, 8);
    cr_assert_eq(balloon()->count.discarded, 16 * 4096);
    cr_assert_eq(balloon_byte(0x400), 0);
    cr_assert_eq(balloon_byte(0x40f), 0);
    cr_assert_eq(balloon_byte(0x410), BALLOON_FILL);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x418, 8);

    cr_assert_eq(balloon()->count.discarded, 32 * 4096);
    cr_assert_eq(balloon_byte(0x41f), 0);
    cr_assert_eq(balloon_byte(0x420), BALLOON_FILL);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_larger_page_that_is_in_use_in_part_stays)
{
    balloon_start(NULL, 0);
    balloon()->unit = 16;
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x400, 8);
    balloon_send_run(VIRTIO_BALLOON_DEFLATE, 0x403, 1);
    balloon_fill(0x400, 16);

    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x408, 8);

    cr_assert_eq(balloon_byte(0x403), BALLOON_FILL);
    cr_assert_eq(balloon()->count.discards, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_larger_page_is_not_made_up_from_requests_of_a_driver_that_need_not_tell)
{
    balloon_start(NULL, VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_FREE_PAGE_HINT);
    balloon()->unit = 16;
    balloon_fill(0x400, 64);

    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x400, 8);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x408, 8);
    cr_assert_eq(balloon()->count.discards, 0);
    balloon_send_run(VIRTIO_BALLOON_INFLATE, 0x410, 17);

    cr_assert_eq(balloon()->count.discarded, 16 * 4096);
    cr_assert_eq(balloon_byte(0x420), BALLOON_FILL);
    vh_close(&balloon_h);
}

/* ---- reports ---- */

static int report(uint64_t addr, uint32_t len)
{
    struct fake_buf b = { addr, len, true };

    return vh_request(&balloon_h, VIRTIO_BALLOON_REPORT, &b, 1);
}

Test(virtio_balloon, reported_pages_go_back_and_buffers_that_touch_are_one)
{
    struct fake_buf b[3] = { { 0x400000, 0x20000, true },
                             { 0x420000, 0x10000, true },
                             { 0x500000, 0x1000, true } };

    balloon_start("free_page_reporting=on", 0);
    balloon_fill(0x400, 0x200);

    cr_assert_eq(vh_request(&balloon_h, VIRTIO_BALLOON_REPORT, b, 3), 0);

    cr_assert_eq(balloon_byte(0x400), 0);
    cr_assert_eq(balloon_byte(0x42f), 0);
    cr_assert_eq(balloon_byte(0x430), BALLOON_FILL);
    cr_assert_eq(balloon_byte(0x500), 0);
    cr_assert_eq(balloon()->count.discards, 2);
    cr_assert_eq(balloon()->count.reported, 0x31000);
    vh_close(&balloon_h);
}

Test(virtio_balloon, parts_of_pages_at_the_ends_of_a_report_stay)
{
    balloon_start("free_page_reporting=on", 0);
    balloon_fill(0x400, 4);

    report(0x400800, 0x2000);

    cr_assert_eq(balloon_byte(0x400), BALLOON_FILL);
    cr_assert_eq(balloon_byte(0x401), 0);
    cr_assert_eq(balloon_byte(0x402), BALLOON_FILL);
    cr_assert_eq(report(0x402800, 0x1000), 0);
    cr_assert_eq(balloon_byte(0x403), BALLOON_FILL);
    vh_close(&balloon_h);
}

Test(virtio_balloon, poisoned_pages_are_left_as_they_are)
{
    balloon_start("free_page_reporting=on", 0);
    balloon_fill(0x400, 1);
    vh_reset(&balloon_h, 1000);
    cr_assert_eq(vh_negotiate(&balloon_h, 0), 0);
    balloon_write(offsetof(struct virtio_balloon_space, poison_val), 0x5a5a5a5a);
    for (uint16_t n = 0; n < VIRTIO_BALLOON_QUEUES; n++)
        cr_assert_eq(vh_queue(&balloon_h, n, 0), 0);
    vh_set_status(&balloon_h, vh_status(&balloon_h) | VIRTIO_DRIVER_OK);

    cr_assert_eq(report(0x400000, 4096), 0);

    cr_assert_eq(balloon_byte(0x400), BALLOON_FILL);
    cr_assert_eq(balloon()->count.report_kept, 4096);
    cr_assert_eq(balloon()->count.discards, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, the_poison_value_cannot_be_changed_while_the_driver_runs)
{
    balloon_start(NULL, 0);

    balloon_write(offsetof(struct virtio_balloon_space, poison_val), 7);

    cr_assert_eq(le32_get(balloon_space().poison_val), 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, without_the_option_there_is_no_reporting_and_no_queue_for_it)
{
    balloon_start(NULL, 0);

    cr_assert(!(vh_offered(&balloon_h) & VIRTIO_BALLOON_F_PAGE_REPORTING));
    cr_assert_eq(vh_queues(&balloon_h), VIRTIO_BALLOON_REPORT);
    vh_close(&balloon_h);
}

/* Linux before 6.12: a queue that was not negotiated has no number. */
Test(virtio_balloon, a_driver_that_leaves_no_gaps_between_its_queues_is_understood)
{
    struct fake_buf b = { 0x400000, 4096, true };

    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, "free_page_reporting=on"),
                 0);
    cr_assert_eq(
        vh_negotiate(&balloon_h, VIRTIO_BALLOON_F_MUST_TELL_HOST | VIRTIO_BALLOON_F_PAGE_REPORTING),
        0);
    for (uint16_t n = 0; n < 3; n++)
        cr_assert_eq(vh_queue(&balloon_h, n, 0), 0);
    vh_set_status(&balloon_h, vh_status(&balloon_h) | VIRTIO_DRIVER_OK);
    balloon_fill(0x400, 1);

    cr_assert_eq(vh_request(&balloon_h, 2, &b, 1), 0);

    cr_assert_eq(balloon_byte(0x400), 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon, a_driver_with_gaps_between_its_queues_is_understood)
{
    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, "free_page_reporting=on"),
                 0);
    cr_assert_eq(
        vh_negotiate(&balloon_h, VIRTIO_BALLOON_F_MUST_TELL_HOST | VIRTIO_BALLOON_F_PAGE_REPORTING),
        0);
    cr_assert_eq(vh_queue(&balloon_h, 0, 0), 0);
    cr_assert_eq(vh_queue(&balloon_h, 1, 0), 0);
    cr_assert_eq(vh_queue(&balloon_h, VIRTIO_BALLOON_REPORT, 0), 0);
    vh_set_status(&balloon_h, vh_status(&balloon_h) | VIRTIO_DRIVER_OK);
    balloon_fill(0x400, 1);

    cr_assert_eq(report(0x400000, 4096), 0);

    cr_assert_eq(balloon_byte(0x400), 0);
    vh_close(&balloon_h);
}
