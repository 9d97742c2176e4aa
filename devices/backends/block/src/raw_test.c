/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests to raw images. */
#include "block_test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/vfs.h>

enum { IMAGE = 1 << 20 };

static struct block_test t;

static void begin(void)
{
    block_test_begin(&t);
}

static void end(void)
{
    block_test_end(&t);
}

static void open_image(bool sparse)
{
    block_test_image(&t, IMAGE, sparse);
    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());
}

/* The bytes are those of block_test_image(). */
static void assert_pattern(const uint8_t *bytes, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;

        cr_assert_eq(bytes[i], (uint8_t)((at / VBLOCK_SECTOR + at) & 0xff), "byte %zu", i);
    }
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

TestSuite(raw, .init = begin, .fini = end);

Test(raw, a_read_gives_the_bytes_of_its_place)
{
    uint8_t in[1024];

    open_image(false);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 5 * 512, in, sizeof(in)), 0);

    assert_pattern(in, 5 * 512, sizeof(in));
}

static int read_now(uint64_t offset, uint8_t *bytes, size_t len)
{
    struct iovec v = { bytes, len };
    struct vblock_req req = {
        .op = VBLOCK_READ, .offset = offset, .bytes = len, .iov = &v, .iovs = 1
    };

    return vblock_read_now(t.disk, &req);
}

Test(raw, what_is_in_memory_can_be_read_now)
{
    uint8_t in[1024];

    open_image(false);
    if (!t.disk->info.read_now)
        cr_skip_test("this file system cannot tell");

    cr_assert_eq(read_now(5 * 512, in, sizeof(in)), 0);

    assert_pattern(in, 5 * 512, sizeof(in));
    cr_assert_eq(read_now(IMAGE - 512, in, 1024), -EAGAIN, "beyond the end");
    cr_assert_eq(read_now(1, in, 512), -EAGAIN, "not a sector");
}

Test(raw, a_disk_that_goes_around_the_page_cache_reads_nothing_now)
{
    uint8_t in[512];

    t.config.direct = true;
    block_test_image(&t, IMAGE, false);
    if (block_test_open(&t))
        cr_skip_test("%s", vm_error_text());

    cr_assert_not(t.disk->info.read_now);
    cr_assert_eq(read_now(0, in, sizeof(in)), -EAGAIN);
}

Test(raw, a_file_that_was_cut_short_is_not_read_now)
{
    uint8_t in[1024];

    open_image(false);
    cr_assert_eq(truncate(t.path, IMAGE - 512), 0);

    cr_assert_eq(read_now(IMAGE - 1024, in, sizeof(in)), -EAGAIN);
}

Test(raw, a_file_in_memory_can_always_be_read_now)
{
    uint8_t in[512];

    block_test_end(&t);
    block_test_begin_in(&t, "/dev/shm");
    block_test_image(&t, IMAGE, true);
    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());
    cr_assert_eq(read_now(512, in, sizeof(in)), 0);
}

Test(raw, a_read_fills_its_vector_in_order)
{
    uint8_t a[100], b[900], c[24];
    struct iovec v[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
    struct vblock_req req = {
        .op = VBLOCK_READ, .offset = 512, .bytes = 1024, .iov = v, .iovs = 3
    };

    open_image(false);

    cr_assert_eq(vblock_submit(t.disk, &req), 0);

    assert_pattern(a, 512, sizeof(a));
    assert_pattern(b, 612, sizeof(b));
    assert_pattern(c, 1512, sizeof(c));
}

Test(raw, a_write_changes_its_place_and_nothing_else)
{
    uint8_t out[512], file[1536];

    open_image(false);
    memset(out, 0xee, sizeof(out));

    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 1024, out, sizeof(out)), 0);

    block_test_peek(&t, 512, file, sizeof(file));
    assert_pattern(file, 512, 512);
    cr_assert_arr_eq(file + 512, out, sizeof(out));
    assert_pattern(file + 1024, 1536, 512);
}

Test(raw, a_stable_write_and_a_flush_end_well)
{
    uint8_t out[512] = { 1 };
    struct iovec v = { out, sizeof(out) };
    struct vblock_req req = {
        .op = VBLOCK_WRITE, .stable = true, .bytes = sizeof(out), .iov = &v, .iovs = 1
    };

    open_image(false);

    cr_assert_eq(vblock_submit(t.disk, &req), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_FLUSH, 0, NULL, 0), 0);
}

/* /dev/zero takes every write and refuses fdatasync(): that shows who calls it. */
static void refuse_sync(void)
{
    struct vblock_raw *raw = (struct vblock_raw *)t.disk;

    close(raw->fd);
    raw->fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    raw->no_zero_range = true;
}

Test(raw, a_stable_write_is_synced_before_it_ends)
{
    uint8_t out[512] = { 1 };
    struct iovec v = { out, sizeof(out) };
    struct vblock_req req = {
        .op = VBLOCK_WRITE, .stable = true, .bytes = sizeof(out), .iov = &v, .iovs = 1
    };

    open_image(false);
    refuse_sync();

    cr_assert_eq(vblock_submit(t.disk, &req), -EINVAL);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 0, out, sizeof(out)), 0);
}

Test(raw, stable_zeroes_are_synced_before_they_end)
{
    struct vblock_req req = { .op = VBLOCK_WRITE_ZEROES, .stable = true, .bytes = 512 };

    open_image(false);
    refuse_sync();

    cr_assert_eq(vblock_submit(t.disk, &req), -EINVAL);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE_ZEROES, 0, NULL, 512), 0);
}

Test(raw, a_flush_that_fails_says_so)
{
    open_image(false);
    refuse_sync();

    cr_assert_eq(block_test_do(&t, VBLOCK_FLUSH, 0, NULL, 0), -EINVAL);
}

Test(raw, a_flush_of_a_read_only_disk_touches_nothing)
{
    t.config.readonly = true;
    open_image(false);
    refuse_sync();

    cr_assert_eq(block_test_do(&t, VBLOCK_FLUSH, 0, NULL, 0), 0);
}

Test(raw, a_read_only_disk_is_read_only)
{
    uint8_t buf[512] = { 0 };

    t.config.readonly = true;
    open_image(false);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 0, buf, 512), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 0, buf, 512), -EROFS);
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 0, NULL, 512), -EROFS);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE_ZEROES, 0, NULL, 512), -EROFS);
    cr_assert_not(vblock_can(t.disk, VBLOCK_WRITE));
    cr_assert_not(vblock_can(t.disk, VBLOCK_DISCARD));
    cr_assert(vblock_can(t.disk, VBLOCK_READ));
}

Test(raw, what_lies_beyond_the_end_is_refused)
{
    uint8_t buf[1024];

    open_image(false);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, IMAGE - 512, buf, 512), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, IMAGE - 512, buf, 1024), -ERANGE);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, IMAGE, buf, 512), -ERANGE);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, UINT64_MAX - 511, buf, 1024), -ERANGE);
}

Test(raw, what_is_no_multiple_of_the_block_is_refused)
{
    uint8_t buf[1024];

    open_image(false);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 0, buf, 100), -EINVAL);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 100, buf, 512), -EINVAL);
}

Test(raw, an_empty_request_does_nothing)
{
    open_image(false);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 512, NULL, 0), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, IMAGE, NULL, 0), 0);
}

Test(raw, a_file_cut_short_behind_our_back_is_an_io_error)
{
    uint8_t buf[1024];

    open_image(false);
    cr_assert_eq(truncate(t.path, IMAGE - 512), 0);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, IMAGE - 1024, buf, sizeof(buf)), -EIO);
}

/* ---- a full disk ---- */

Test(raw, a_write_beyond_the_file_size_limit_is_an_error_and_no_more)
{
    struct rlimit limit = { IMAGE / 2, IMAGE / 2 };
    uint8_t buf[512] = { 0 };

    open_image(true);
    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);

    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, IMAGE / 2, buf, sizeof(buf)), -EFBIG);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 0, buf, sizeof(buf)), 0);
}

/* A file system of 256 KiB, for this test's process only: root may. (User namespaces want a
 * process without threads.) */
static bool small_tmpfs(void)
{
    return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("tmpfs", t.dir, "tmpfs", 0, "size=256k");
}

Test(raw, a_full_file_system_behind_a_sparse_image_is_an_error_and_no_more)
{
    static uint8_t buf[IMAGE / 2];

    if (!small_tmpfs())
        BLOCK_TEST_SKIP(&t, "only root can mount");
    open_image(true);

    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 0, buf, sizeof(buf)), -ENOSPC);
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 0, NULL, sizeof(buf)), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 0, buf, 65536), 0);
    umount2(t.dir, MNT_DETACH);
}

/* ---- holes and zeroes ---- */

Test(raw, a_discard_gives_space_back)
{
    uint64_t before;

    open_image(false);
    before = block_test_allocated(&t);

    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, IMAGE / 2, NULL, IMAGE / 4), 0);

    cr_assert_leq(block_test_allocated(&t) + IMAGE / 4, before);
}

Test(raw, a_dense_disk_has_no_discard)
{
    t.config.sparse = false;
    open_image(false);

    cr_assert_not(vblock_can(t.disk, VBLOCK_DISCARD));
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 0, NULL, 512), -EOPNOTSUPP);
    cr_assert(vblock_can(t.disk, VBLOCK_WRITE_ZEROES));
}

static void zero_middle(bool may_unmap)
{
    struct vblock_req req = { .op = VBLOCK_WRITE_ZEROES,
                              .offset = 4096,
                              .bytes = IMAGE / 2,
                              .may_unmap = may_unmap,
                              .stable = true };
    static uint8_t file[IMAGE];

    cr_assert_eq(vblock_submit(t.disk, &req), 0);

    block_test_peek(&t, 0, file, sizeof(file));
    assert_pattern(file, 0, 4096);
    cr_assert(is_zero(file + 4096, IMAGE / 2));
    assert_pattern(file + 4096 + IMAGE / 2, 4096 + IMAGE / 2, IMAGE / 2 - 4096);
}

Test(raw, zeroes_are_zeroes_and_the_space_stays)
{
    uint64_t before;

    open_image(false);
    before = block_test_allocated(&t);

    zero_middle(false);

    cr_assert_eq(block_test_allocated(&t), before);
}

Test(raw, zeroes_may_give_space_back)
{
    uint64_t before;

    open_image(false);
    before = block_test_allocated(&t);

    zero_middle(true);

    cr_assert_leq(block_test_allocated(&t) + IMAGE / 2, before);
}

/* As on tmpfs, which has no such zeroes. */
Test(raw, where_the_file_system_cannot_zeroes_are_written)
{
    open_image(false);
    ((struct vblock_raw *)t.disk)->no_zero_range = true;

    zero_middle(false);
}

Test(raw, zeroes_on_a_memory_file_system_are_written_and_the_way_is_remembered)
{
    struct statfs fs;

    if (statfs("/dev/shm", &fs) || fs.f_type != 0x01021994)
        BLOCK_TEST_SKIP(&t, "no tmpfs at /dev/shm");
    block_test_end(&t);
    block_test_begin_in(&t, "/dev/shm");
    open_image(false);

    zero_middle(false);

    cr_assert(((struct vblock_raw *)t.disk)->no_zero_range);
}

Test(raw, zeroes_that_do_not_fit_a_page_are_written_to_the_byte)
{
    uint8_t file[3 * 4096];
    struct vblock_req req = { .op = VBLOCK_WRITE_ZEROES, .offset = 512, .bytes = 2 * 4096 + 512 };

    open_image(false);
    ((struct vblock_raw *)t.disk)->no_zero_range = true;

    cr_assert_eq(vblock_submit(t.disk, &req), 0);

    block_test_peek(&t, 0, file, sizeof(file));
    assert_pattern(file, 0, 512);
    cr_assert(is_zero(file + 512, 2 * 4096 + 512));
    assert_pattern(file + 1024 + 2 * 4096, 1024 + 2 * 4096, 4096 - 1024);
}

Test(raw, a_discard_that_fails_says_so_but_not_where_it_is_impossible)
{
    struct vblock_raw *raw;
    int pipes[2];

    open_image(false);
    raw = (struct vblock_raw *)t.disk;
    close(raw->fd);
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    raw->fd = pipes[1];
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 0, NULL, 512), -ESPIPE);

    close(raw->fd);
    raw->fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 0, NULL, 512), 0);
    close(pipes[0]);
}

/* ---- direct I/O ---- */

static bool open_direct(void)
{
    t.config.direct = true;
    block_test_image(&t, IMAGE, false);
    return block_test_open(&t) == 0;
}

Test(raw, direct_reads_and_writes_aligned_buffers_in_place)
{
    uint8_t *buf = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t file[4096];

    if (!open_direct())
        BLOCK_TEST_SKIP(&t, "no direct I/O on this file system");
    memset(((struct vblock_raw *)t.disk)->bounce, 0x77, RAW_BOUNCE_BYTES);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 4096, buf, 8192), 0);
    assert_pattern(buf, 4096, 8192);
    memset(buf, 0xab, 4096);
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 8192, buf, 4096), 0);

    block_test_peek(&t, 8192, file, sizeof(file));
    cr_assert_arr_eq(file, buf, sizeof(file));
    cr_assert_eq(((struct vblock_raw *)t.disk)->bounce[0], 0x77); /* was not needed */
}

Test(raw, direct_takes_buffers_of_any_alignment)
{
    static uint8_t in[3 * RAW_BOUNCE_BYTES + 1], out[3 * RAW_BOUNCE_BYTES + 1];
    static uint8_t file[3 * RAW_BOUNCE_BYTES];
    struct iovec v[] = { { out + 1, 1000 },
                         { out + 1001, RAW_BOUNCE_BYTES },
                         { out + 1001 + RAW_BOUNCE_BYTES, 2 * RAW_BOUNCE_BYTES - 1000 } };
    struct vblock_req req = {
        .op = VBLOCK_WRITE, .offset = 4096, .bytes = 3 * RAW_BOUNCE_BYTES, .iov = v, .iovs = 3
    };

    if (!open_direct())
        BLOCK_TEST_SKIP(&t, "no direct I/O on this file system");
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 & 0xff);

    cr_assert_eq(vblock_submit(t.disk, &req), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 4096, in + 1, 3 * RAW_BOUNCE_BYTES), 0);

    cr_assert_arr_eq(in + 1, out + 1, 3 * RAW_BOUNCE_BYTES);
    block_test_peek(&t, 4096, file, sizeof(file));
    cr_assert_arr_eq(file, out + 1, sizeof(file));
}

Test(raw, direct_errors_are_handed_on_from_the_bounce_buffer)
{
    uint8_t buf[4097];

    if (!open_direct())
        BLOCK_TEST_SKIP(&t, "no direct I/O on this file system");
    cr_assert_eq(truncate(t.path, 0), 0);

    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 4096, buf + 1, 4096), -EIO);
}

Test(raw, direct_zeroes_by_hand_are_aligned)
{
    if (!open_direct())
        BLOCK_TEST_SKIP(&t, "no direct I/O on this file system");
    ((struct vblock_raw *)t.disk)->no_zero_range = true;

    zero_middle(false);
}

Test(raw, direct_where_it_is_not_possible_names_the_way_out)
{
    /* sysfs: files of one page, without direct I/O */
    t.config = (struct vblock_config){ .path = (char *)(uintptr_t) "/sys/kernel/uevent_seqnum",
                                       .readonly = true,
                                       .direct = true };
    if (access(t.config.path, R_OK))
        BLOCK_TEST_SKIP(&t, "no sysfs here");

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert_not_null(strstr(vm_error_text(), "direct=off"), "%s", vm_error_text());
}
