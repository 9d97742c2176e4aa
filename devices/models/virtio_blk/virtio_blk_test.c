/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the requests of a block device (VIRTIO 1.2, 5.2.6). */
#include <criterion/criterion.h>

#include "virtio_blk_test.h"

static struct vh h;
static struct ram_disk disk;

enum { OK = VIRTIO_BLK_S_OK, IOERR = VIRTIO_BLK_S_IOERR, UNSUPP = VIRTIO_BLK_S_UNSUPP };

static void open_way(const struct vh_config *way)
{
    cr_assert_eq(vh_open(&h, way), 0);
    ram_disk_init(&disk);
}

static void begin(void)
{
    struct vh_config way = { .transport = VH_PCI };

    open_way(&way);
}

static void start(uint64_t want)
{
    cr_assert_eq(ram_disk_plug(&disk, &h, NULL), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, want), 0);
}

static void end(void)
{
    vh_close(&h);
}

static const uint8_t *guest(uint64_t at)
{
    return h.guest.host + at;
}

static void assert_pattern(const uint8_t *bytes, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(bytes[i], ram_disk_pattern(offset + i), "byte %zu", i);
}

TestSuite(virtio_blk, .init = begin, .fini = end);

Test(virtio_blk, a_read_brings_its_sectors)
{
    int len;

    start(0);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_IN, 7, 4096, true, &len), OK);

    cr_assert_eq(len, 4097);
    assert_pattern(guest(ASK_DATA), 7 * 512, 4096);
}

Test(virtio_blk, a_write_changes_its_sectors)
{
    int len;

    start(0);
    memset(h.guest.host + ASK_DATA, 0x42, 1024);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_OUT, 3, 1024, false, &len), OK);

    cr_assert_eq(len, 1);
    cr_assert_arr_eq(disk.bytes + 3 * 512, guest(ASK_DATA), 1024);
    assert_pattern(disk.bytes, 0, 3 * 512);
    assert_pattern(disk.bytes + 5 * 512, 5 * 512, 512);
}

static const struct vh_config every_way[] = {
    { .transport = VH_PCI },
    { .transport = VH_PCI, .packed = true },
    { .transport = VH_PCI, .no_event_idx = true },
    { .transport = VH_PCI, .no_indirect = true, .packed = true },
    { .transport = VH_MMIO_BUS },
    { .transport = VH_MMIO_BUS, .packed = true },
};

Test(virtio_blk, what_was_written_is_read_over_every_transport_and_ring)
{
    vh_close(&h);
    for (size_t i = 0; i < VM_ARRAY_SIZE(every_way); i++) {
        open_way(&every_way[i]);
        start(0);
        for (unsigned k = 0; k < 600; k++) {
            memset(h.guest.host + ASK_DATA, (int)(k & 0xff), 512);
            cr_assert_eq(ask_write(&h, k, 512), OK);
            cr_assert_eq(ask_read(&h, k / 2, 512), OK);
            cr_assert_eq(*guest(ASK_DATA), (uint8_t)(k / 2 & 0xff), "way %zu sector %u", i, k / 2);
        }
        vh_close(&h);
    }
    begin();
}

/* 2.7.4: the layout of descriptors means nothing. parts: lengths, readable ones first; 0 ends. */
static int ask_in_parts(uint32_t type, uint64_t sector, const uint32_t *readable,
                        const uint32_t *writable)
{
    struct fake_buf b[64];
    size_t n = 0;
    gpa_t at = ASK_HEADER;

    for (; *readable; readable++) {
        b[n++] = (struct fake_buf){ at, *readable, false };
        at += *readable;
    }
    for (at = ASK_DATA; *writable; writable++) {
        b[n++] = (struct fake_buf){ at, *writable, true };
        at += *writable;
    }
    ask_header(&h, type, sector);
    return vh_request(&h, 0, b, n);
}

Test(virtio_blk, a_read_works_in_every_layout_of_descriptors)
{
    static const uint32_t readable[][18] = {
        { 16 },      { 8, 8 },  { 1, 15 }, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
        { 4, 4, 8 }, { 16, 5 }, /* more than a header */
    };
    static const uint32_t writable[][10] = {
        { 1025 }, { 1024, 1 }, { 1, 1023, 1 }, { 512, 513 }, { 100, 200, 300, 424, 1 }, { 1023, 2 },
    };

    start(0);
    for (size_t r = 0; r < VM_ARRAY_SIZE(readable); r++)
        for (size_t w = 0; w < VM_ARRAY_SIZE(writable); w++) {
            memset(h.guest.host + ASK_DATA, 0xee, 1026);
            cr_assert_eq(ask_in_parts(VIRTIO_BLK_T_IN, 9, readable[r], writable[w]), 1025);
            assert_pattern(guest(ASK_DATA), 9 * 512, 1024);
            cr_assert_eq(guest(ASK_DATA)[1024], OK);
            cr_assert_eq(guest(ASK_DATA)[1025], 0xee);
        }
}

Test(virtio_blk, a_write_works_in_every_layout_of_descriptors)
{
    static const uint32_t readable[][8] = { { 528 }, { 16, 512 }, { 20, 508 }, { 3, 13, 500, 12 } };
    static const uint32_t status[] = { 1, 0 };

    start(0);
    for (size_t r = 0; r < VM_ARRAY_SIZE(readable); r++) {
        memset(h.guest.host + ASK_HEADER + 16, (int)(0x10 + r), 512);
        cr_assert_eq(ask_in_parts(VIRTIO_BLK_T_OUT, 20 + r, readable[r], status), 1);
        cr_assert_eq(guest(ASK_DATA)[0], OK);
        cr_assert_arr_eq(disk.bytes + (20 + r) * 512, guest(ASK_HEADER + 16), 512);
    }
}

Test(virtio_blk, the_status_is_the_last_writable_byte_also_before_empty_descriptors)
{
    struct fake_buf b[] = { { ASK_HEADER, 16, false },
                            { ASK_DATA, 513, true },
                            { ASK_STATUS, 0, true },
                            { ASK_STATUS, 0, true } };

    start(0);
    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    h.guest.host[ASK_DATA + 512] = 0xff;

    cr_assert_eq(vh_request(&h, 0, b, 4), 513);

    cr_assert_eq(guest(ASK_DATA)[512], OK);
    cr_assert_eq(*guest(ASK_STATUS), 0xff);
}

Test(virtio_blk, a_chain_of_many_small_buffers_is_one_request)
{
    struct fake_buf b[1 + 512 + 1] = { { ASK_HEADER, 16, false } };

    start(0);
    for (unsigned i = 0; i < 512; i++) /* not side by side */
        b[1 + i] = (struct fake_buf){ ASK_DATA + 2 * i, 1, true };
    b[513] = (struct fake_buf){ ASK_STATUS, 1, true };
    ask_header(&h, VIRTIO_BLK_T_IN, 1);

    cr_assert_geq(fake_driver_offer_indirect(&h.drv[0], b, 514), 0);
    cr_assert_eq(vh_serve(&h, 0), 0);

    cr_assert_eq(*guest(ASK_STATUS), OK);
    for (unsigned i = 0; i < 512; i++)
        cr_assert_eq(*guest(ASK_DATA + 2 * i), ram_disk_pattern(512 + i));
    cr_assert_eq(disk.calls, 1);
}

Test(virtio_blk, sectors_beyond_the_end_are_an_io_error)
{
    uint64_t last = RAM_DISK_BYTES / 512 - 1;
    int len;

    start(0);

    cr_assert_eq(ask_read(&h, last, 512), OK);
    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_IN, last, 1024, true, &len), IOERR);
    cr_assert_eq(len, 0); /* nothing from the first byte on is valid */
    cr_assert_eq(ask_read(&h, last + 1, 512), IOERR);
    cr_assert_eq(ask_write(&h, last + 1, 512), IOERR);
    cr_assert_eq(ask_read(&h, UINT64_MAX / 512, 512), IOERR);
    cr_assert_eq(ask_read(&h, UINT64_MAX, 512), IOERR);
    cr_assert_eq(ask_write(&h, 1ULL << 55, 512), IOERR); /* times 512 it would be 0 */
    cr_assert_eq(disk.calls, 1);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_blk, lengths_that_are_not_sectors_are_an_io_error)
{
    start(0);

    cr_assert_eq(ask_read(&h, 0, 511), IOERR);
    cr_assert_eq(ask_write(&h, 0, 1), IOERR);
    cr_assert_eq(ask_write(&h, 0, 513), IOERR);
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, no_data_at_all_is_no_error)
{
    start(0);

    cr_assert_eq(ask_read(&h, 0, 0), OK);
    cr_assert_eq(ask_write(&h, 0, 0), OK);
}

Test(virtio_blk, a_short_header_is_an_io_error)
{
    struct fake_buf b[] = { { ASK_HEADER, 15, false }, { ASK_STATUS, 1, true } };

    start(0);
    ask_header(&h, VIRTIO_BLK_T_FLUSH, 0);

    cr_assert_eq(vh_request(&h, 0, b, 2), 1);
    cr_assert_eq(*guest(ASK_STATUS), IOERR);
    b[0] = b[1];
    cr_assert_eq(vh_request(&h, 0, b, 1), 1);
    cr_assert_eq(*guest(ASK_STATUS), IOERR);
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, a_chain_without_a_status_byte_breaks_the_queue)
{
    struct fake_buf b[] = { { ASK_HEADER, 16, false }, { ASK_DATA, 512, false } };

    start(0);
    ask_header(&h, VIRTIO_BLK_T_OUT, 0);

    cr_assert_eq(vh_request(&h, 0, b, 2), -EAGAIN);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
    cr_assert(vh_logged(&h, "status byte"));
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, it_works_again_after_the_driver_reset_it)
{
    struct fake_buf b = { ASK_HEADER, 16, false };

    start(0);
    cr_assert_eq(vh_request(&h, 0, &b, 1), -EAGAIN);
    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(ask_read(&h, 1, 512), OK);
}

Test(virtio_blk, unknown_types_are_unsupported)
{
    static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 0x80000000, 0xffffffff };

    start(0);
    for (size_t i = 0; i < VM_ARRAY_SIZE(types); i++)
        cr_assert_eq(ask_len(&h, types[i], 0, 512, true, NULL), UNSUPP, "%u", types[i]);
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, a_failing_disk_is_an_io_error_and_a_line_in_the_log)
{
    start(0);
    disk.rc = -ENOSPC;

    cr_assert_eq(ask_write(&h, 4, 512), IOERR);

    cr_assert(vh_logged(&h, "write of 512 bytes at 2048: No space left on device"));
    disk.rc = 0;
    cr_assert_eq(ask_write(&h, 4, 512), OK);
}

Test(virtio_blk, a_failing_disk_cannot_flood_the_log)
{
    start(0);
    disk.rc = -EIO;

    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(ask_read(&h, 0, 512), IOERR);

    cr_assert_leq(h.log_lines, 12);
}

Test(virtio_blk, what_the_driver_asks_wrong_is_not_logged)
{
    start(0);

    cr_assert_eq(ask_read(&h, UINT64_MAX / 512, 512), IOERR);
    cr_assert_eq(ask_read(&h, 0, 100), IOERR);
    cr_assert_eq(ask_len(&h, 99, 0, 0, true, NULL), UNSUPP);

    cr_assert_eq(h.log_lines, 0);
}

/* ---- identification ---- */

Test(virtio_blk, the_id_is_the_serial_filled_up_with_zeroes)
{
    static const uint8_t want[20] = "disk-7";
    int len;

    cr_assert_eq(ram_disk_plug(&disk, &h, "serial=disk-7"), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    memset(h.guest.host + ASK_DATA, 0xee, 32);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 20, true, &len), OK);

    cr_assert_eq(len, 21);
    cr_assert_arr_eq(guest(ASK_DATA), want, 20);
    cr_assert_eq(guest(ASK_DATA)[20], 0xee);
}

Test(virtio_blk, the_id_may_fill_all_20_bytes)
{
    cr_assert_eq(ram_disk_plug(&disk, &h, "serial=12345678901234567890"), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 20, true, NULL), OK);

    cr_assert_arr_eq(guest(ASK_DATA), "12345678901234567890", 20);
}

Test(virtio_blk, without_a_serial_the_id_is_the_back_ends)
{
    start(0);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 20, true, NULL), OK);

    cr_assert_arr_eq(guest(ASK_DATA), "ram\0\0", 5);
}

Test(virtio_blk, a_buffer_that_is_not_20_bytes_gets_as_much_of_the_id_as_fits)
{
    int len;

    start(0);
    memset(h.guest.host + ASK_DATA, 0xee, 64);

    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 2, true, &len), OK);
    cr_assert_arr_eq(guest(ASK_DATA), "ra\xee", 3);
    cr_assert_eq(len, 3);
    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 64, true, &len), OK);
    cr_assert_eq(len, 20); /* and then bytes that were not written */
    cr_assert_eq(guest(ASK_DATA)[20], 0xee);
}

/* ---- stable writes ---- */

Test(virtio_blk, with_flush_writes_are_not_stable_and_a_flush_reaches_the_disk)
{
    start(VIRTIO_BLK_F_FLUSH);

    cr_assert_eq(ask_write(&h, 0, 512), OK);
    cr_assert_eq(ask_flush(&h), OK);

    cr_assert_not(disk.call[0].stable);
    cr_assert_eq(disk.call[1].op, VBLOCK_FLUSH);
}

Test(virtio_blk, without_flush_every_write_is_stable)
{
    start(VIRTIO_BLK_F_WRITE_ZEROES);

    cr_assert_eq(ask_write(&h, 0, 512), OK);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES,
                            (struct virtio_blk_range[]){ range_make(0, 1, 0) }, 1),
                 OK);

    cr_assert(disk.call[0].stable);
    cr_assert(disk.call[1].stable);
}

Test(virtio_blk, the_driver_turns_the_cache_off_and_on)
{
    uint8_t off = 0, on = 1;

    start(VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE);

    vh_config_write(&h, 32, &off, 1);
    cr_assert_eq(ask_write(&h, 0, 512), OK);
    vh_config_write(&h, 32, &on, 1);
    cr_assert_eq(ask_write(&h, 0, 512), OK);

    cr_assert(disk.call[0].stable);
    cr_assert_not(disk.call[1].stable);
}

Test(virtio_blk, a_flush_that_fails_is_an_io_error)
{
    start(0);
    disk.rc = -EIO;

    cr_assert_eq(ask_flush(&h), IOERR);
}

/* ---- discard, write zeroes ---- */

Test(virtio_blk, a_discard_reaches_the_disk_range_by_range)
{
    struct virtio_blk_range r[] = { range_make(8, 8, 0), range_make(100, 1, 0),
                                    range_make(0, 0, 0) };

    start(0);

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, 3), OK);

    cr_assert_eq(disk.calls, 2); /* the empty one is nothing to do */
    cr_assert_eq(disk.call[0].op, VBLOCK_DISCARD);
    cr_assert_eq(disk.call[0].offset, 4096);
    cr_assert_eq(disk.call[0].bytes, 4096);
    cr_assert_eq(disk.call[1].offset, 51200);
    cr_assert_eq(disk.call[1].bytes, 512);
}

Test(virtio_blk, zeroes_are_written_with_the_leave_to_unmap)
{
    struct virtio_blk_range keep = range_make(2, 2, 0), unmap = range_make(6, 1, 1);
    uint8_t zero[1024] = { 0 };

    start(0);

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, &keep, 1), OK);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, &unmap, 1), OK);

    cr_assert_arr_eq(disk.bytes + 1024, zero, 1024);
    assert_pattern(disk.bytes + 2048, 2048, 512);
    cr_assert_not(disk.call[0].may_unmap);
    cr_assert(disk.call[1].may_unmap);
}

Test(virtio_blk, flags_that_are_not_known_are_unsupported)
{
    struct virtio_blk_range unmap = range_make(0, 1, 1), other = range_make(0, 1, 2);

    start(0);

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, &unmap, 1), UNSUPP);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, &other, 1), UNSUPP);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, &other, 1), UNSUPP);
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, ranges_are_checked_before_the_first_one_has_an_effect)
{
    uint64_t end = RAM_DISK_BYTES / 512;
    struct virtio_blk_range beyond[] = { range_make(0, 8, 0), range_make(end, 1, 0) };
    struct virtio_blk_range wraps[] = { range_make(0, 8, 0), range_make(UINT64_MAX, 2, 0) };
    struct virtio_blk_range large = range_make(0, VIRTIO_BLK_DISCARD_SECTORS + 1, 0);
    struct virtio_blk_range zeroes = range_make(0, VIRTIO_BLK_ZEROES_SECTORS + 1, 0);

    disk.disk.info.bytes = 1ULL << 40; /* of which the test touches nothing */
    start(0);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, &large, 1), IOERR);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, &zeroes, 1), IOERR);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, wraps, 2), IOERR);
    disk.disk.info.bytes = RAM_DISK_BYTES;
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, beyond, 2), IOERR);

    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk, too_many_ranges_or_parts_of_one_are_an_io_error)
{
    static struct virtio_blk_range r[VIRTIO_BLK_DISCARD_SEGMENTS + 1];

    start(0);

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, VIRTIO_BLK_DISCARD_SEGMENTS), OK);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, VIRTIO_BLK_DISCARD_SEGMENTS + 1), IOERR);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, r, 2), IOERR);
    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_DISCARD, 0, 17, false, NULL), IOERR);
    cr_assert_eq(ask_len(&h, VIRTIO_BLK_T_DISCARD, 0, 0, false, NULL), IOERR);
}

Test(virtio_blk, a_range_that_fails_ends_the_request)
{
    struct virtio_blk_range r[] = { range_make(0, 8, 0), range_make(8, 8, 0) };

    start(0);
    disk.rc = -EIO;

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, 2), IOERR);

    cr_assert_eq(disk.calls, 1);
}

Test(virtio_blk, what_was_not_negotiated_is_unsupported)
{
    struct virtio_blk_range r = range_make(0, 8, 0);

    start(VIRTIO_BLK_F_FLUSH);

    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, &r, 1), UNSUPP);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_WRITE_ZEROES, &r, 1), UNSUPP);
}

Test(virtio_blk, a_read_only_disk_refuses_every_change)
{
    struct virtio_blk_range r = range_make(0, 8, 0);

    disk.disk.info.readonly = true;
    start(0);

    cr_assert_eq(ask_read(&h, 0, 512), OK);
    cr_assert_eq(ask_flush(&h), OK);
    cr_assert_eq(ask_write(&h, 0, 512), IOERR);
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, &r, 1), UNSUPP);
    assert_pattern(disk.bytes, 0, 4096);
}

/* ---- rounds ---- */

static void offer_reads(unsigned n)
{
    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    for (unsigned i = 0; i < n; i++) {
        struct fake_buf b[] = { { ASK_HEADER, 16, false },
                                { ASK_DATA, 512, true },
                                { ASK_STATUS, 1, true } };

        cr_assert_geq(fake_driver_offer_indirect(&h.drv[0], b, 3), 0);
    }
}

static unsigned collect(void)
{
    unsigned n = 0;
    uint32_t len;
    uint16_t id;

    while (fake_driver_collect(&h.drv[0], &id, &len) == 1)
        n++;
    return n;
}

Test(virtio_blk, a_round_is_bounded_and_the_rest_is_not_forgotten)
{
    start(0);
    offer_reads(VIRTIO_BLK_ROUND_REQUESTS + 10);

    vm_lock_acquire(&h.dev->lock);
    cr_assert_eq(virtio_blk_kick(h.virtio, 0), 0);
    vm_lock_release(&h.dev->lock);

    cr_assert_eq(disk.calls, VIRTIO_BLK_ROUND_REQUESTS);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(disk.calls, VIRTIO_BLK_ROUND_REQUESTS + 10);
    cr_assert_eq(collect(), VIRTIO_BLK_ROUND_REQUESTS + 10);
}

Test(virtio_blk, a_round_of_large_requests_is_bounded_by_their_bytes)
{
    struct fake_buf b[] = { { ASK_HEADER, 16, false },
                            { ASK_DATA, RAM_DISK_BYTES, true },
                            { ASK_STATUS, 1, true } };
    unsigned fit = VIRTIO_BLK_ROUND_BYTES / RAM_DISK_BYTES;

    start(0);
    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    for (unsigned i = 0; i < fit + 2; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[0], b, 3), 0);

    vm_lock_acquire(&h.dev->lock);
    cr_assert_eq(virtio_blk_kick(h.virtio, 0), 0);
    vm_lock_release(&h.dev->lock);

    cr_assert_eq(disk.calls, fit);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(collect(), fit + 2);
}

Test(virtio_blk, many_requests_cost_one_interrupt)
{
    unsigned before;

    start(0);
    offer_reads(32);
    before = (unsigned)h.drv[0].notified;

    cr_assert_eq(vh_serve(&h, 0), 0);

    cr_assert_eq(collect(), 32);
    cr_assert_eq(h.drv[0].notified - before, 1);
}

Test(virtio_blk, each_queue_of_several_serves)
{
    struct fake_buf b[] = { { ASK_HEADER, 16, false },
                            { ASK_DATA, 512, true },
                            { ASK_STATUS, 1, true } };

    cr_assert_eq(ram_disk_plug(&disk, &h, "num_queues=4"), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    for (uint16_t n = 0; n < 4; n++) {
        ask_header(&h, VIRTIO_BLK_T_IN, n);
        cr_assert_eq(vh_request(&h, n, b, 3), 513);
        assert_pattern(guest(ASK_DATA), 512U * n, 512);
    }
}

Test(virtio_blk, it_counts_what_it_did)
{
    struct virtio_blk *blk;

    start(0);
    blk = virtio_blk_of(h.virtio);
    ask_read(&h, 0, 1024);
    ask_write(&h, 0, 512);
    ask_flush(&h);
    ask_len(&h, VIRTIO_BLK_T_GET_ID, 0, 20, true, NULL);
    ask_len(&h, 99, 0, 0, true, NULL);

    cr_assert_eq(blk->count.reads, 1);
    cr_assert_eq(blk->count.read_bytes, 1024);
    cr_assert_eq(blk->count.writes, 1);
    cr_assert_eq(blk->count.write_bytes, 512);
    cr_assert_eq(blk->count.flushes, 1);
    cr_assert_eq(blk->count.others, 1);
    cr_assert_eq(blk->count.errors, 1);
}
