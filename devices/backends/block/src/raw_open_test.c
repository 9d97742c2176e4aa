/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Opening raw images: each thing that can be wrong, and what it says. */
#include "block_test.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/loop.h>

static struct block_test t;

static void begin(void)
{
    block_test_begin(&t);
}

static void end(void)
{
    block_test_end(&t);
}

static bool error_has(const char *text)
{
    return strstr(vm_error_text(), text) != NULL;
}

static int refuse(void *ctx, const char *name, unsigned how)
{
    (void)name;
    (void)how;
    return ((struct block_test *)ctx)->config.direct ? -EROFS : -EACCES;
}

static void set_readonly(bool on)
{
    t.config.readonly = on;
}

TestSuite(raw_open, .init = begin, .fini = end);

Test(raw_open, an_image_has_its_size_and_sector_blocks)
{
    block_test_image(&t, 1 << 20, true);

    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());

    cr_assert_eq(t.disk->info.bytes, 1 << 20);
    cr_assert_eq(t.disk->info.block_bytes, 512);
    cr_assert_eq(t.disk->info.physical_bytes, 4096);
    cr_assert_not(t.disk->info.readonly);
    cr_assert_not(t.disk->info.async);
}

Test(raw_open, the_id_is_the_same_each_time_and_differs_between_images)
{
    char first[VBLOCK_ID_MAX + 1], other[160];
    struct vblock *second;

    block_test_image(&t, 4096, true);
    cr_assert_eq(block_test_open(&t), 0);
    memcpy(first, t.disk->info.id, sizeof(first));
    vblock_close(t.disk);
    cr_assert_eq(block_test_open(&t), 0);
    cr_assert_str_eq(t.disk->info.id, first);
    cr_assert_gt(strlen(first), 2);

    snprintf(other, sizeof(other), "%s/other", t.dir);
    cr_assert_eq(symlink("disk", other), 0);
    t.config.path = other;
    t.config.readonly = true;
    t.config.lock = false;
    cr_assert_eq(vblock_open(&t.env, &t.config, &second), 0);
    cr_assert_str_eq(second->info.id, first); /* the same image by another name */
    vblock_close(second);
    unlink(other);

    close(open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    cr_assert_eq(truncate(other, 512), 0);
    cr_assert_eq(vblock_open(&t.env, &t.config, &second), 0);
    cr_assert_str_neq(second->info.id, first);
    vblock_close(second);
    unlink(other);
}

Test(raw_open, a_missing_image_is_told_with_a_way_to_make_one)
{
    cr_assert_eq(block_test_open(&t), -ENOENT);

    cr_assert(error_has(t.path) && error_has("no such file") && error_has("truncate -s"));
    cr_assert_null(t.disk);
}

Test(raw_open, a_directory_is_refused_for_reading_and_for_writing)
{
    t.config.path = t.dir;

    cr_assert_eq(block_test_open(&t), -EISDIR);
    cr_assert(error_has("is a directory"));
    set_readonly(true);
    cr_assert_eq(block_test_open(&t), -EISDIR);
    cr_assert(error_has("is a directory"));
}

Test(raw_open, a_fifo_is_refused)
{
    cr_assert_eq(mkfifo(t.path, 0600), 0);

    cr_assert_eq(block_test_open(&t), -EINVAL);
    cr_assert(error_has("is a FIFO"));
    set_readonly(true);
    cr_assert_eq(block_test_open(&t), -EINVAL);
    cr_assert(error_has("is a FIFO"));
}

Test(raw_open, a_socket_is_refused)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", t.path);
    cr_assert_eq(bind(fd, (void *)&a, sizeof(a)), 0);

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert(error_has("is a socket"));
    close(fd);
}

static int open_socket(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    (void)name;
    (void)how;
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

Test(raw_open, an_opener_that_gives_a_socket_is_refused)
{
    t.env.open = open_socket;

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert(error_has("is a socket"));
}

Test(raw_open, a_character_device_is_refused)
{
    t.config.path = (char *)(uintptr_t) "/dev/zero";

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert(error_has("is a character device"));
}

Test(raw_open, no_permission_to_write_names_readonly)
{
    t.env.open = refuse;

    cr_assert_eq(block_test_open(&t), -EACCES);
    cr_assert(error_has("for writing (readonly=on") && error_has("Permission denied"));
    t.config.direct = true;
    cr_assert_eq(block_test_open(&t), -EROFS);
    cr_assert(error_has("for writing (readonly=on") && error_has("Read-only file system"));
}

Test(raw_open, no_permission_to_read_does_not)
{
    t.env.open = refuse;
    set_readonly(true);

    cr_assert_eq(block_test_open(&t), -EACCES);

    cr_assert(error_has("cannot be opened: Permission denied"));
}

Test(raw_open, without_an_opener_nothing_opens)
{
    t.env.open = NULL;

    cr_assert_eq(block_test_open(&t), -EACCES);
}

Test(raw_open, another_error_of_the_opener_is_handed_on)
{
    static char path[5000];

    memset(path, 'x', sizeof(path) - 1);
    t.config.path = path;

    cr_assert_eq(block_test_open(&t), -ENAMETOOLONG);
}

Test(raw_open, an_empty_image_is_refused)
{
    block_test_image(&t, 0, true);

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert(error_has("is empty") && error_has("truncate -s"));
}

Test(raw_open, a_size_that_is_no_multiple_of_the_sector_is_refused)
{
    block_test_image(&t, 1000, true);

    cr_assert_eq(block_test_open(&t), -EINVAL);

    cr_assert(error_has("1000 bytes") && error_has("512-byte sector") &&
              error_has("truncate -s %512"));
}

Test(raw_open, a_second_writer_is_locked_out)
{
    struct vblock *second = NULL;

    block_test_image(&t, 4096, true);
    cr_assert_eq(block_test_open(&t), 0);

    cr_assert_eq(vblock_open(&t.env, &t.config, &second), -EBUSY);

    cr_assert_null(second);
    cr_assert(error_has("locked by another") && error_has("readonly=on"));
}

Test(raw_open, a_reader_beside_a_writer_is_locked_out)
{
    struct vblock *second = NULL;

    block_test_image(&t, 4096, true);
    cr_assert_eq(block_test_open(&t), 0);
    set_readonly(true);

    cr_assert_eq(vblock_open(&t.env, &t.config, &second), -EBUSY);

    cr_assert(error_has("locked it for writing"));
}

Test(raw_open, a_writer_beside_a_reader_is_locked_out)
{
    struct vblock *second = NULL;

    block_test_image(&t, 4096, true);
    set_readonly(true);
    cr_assert_eq(block_test_open(&t), 0);
    set_readonly(false);

    cr_assert_eq(vblock_open(&t.env, &t.config, &second), -EBUSY);
}

Test(raw_open, readers_share_an_image)
{
    struct vblock *second = NULL;

    block_test_image(&t, 4096, true);
    set_readonly(true);
    cr_assert_eq(block_test_open(&t), 0);

    cr_assert_eq(vblock_open(&t.env, &t.config, &second), 0);

    vblock_close(second);
}

Test(raw_open, closing_gives_the_lock_back)
{
    block_test_image(&t, 4096, true);
    cr_assert_eq(block_test_open(&t), 0);
    vblock_close(t.disk);
    t.disk = NULL;

    cr_assert_eq(block_test_open(&t), 0);
}

Test(raw_open, a_failed_opening_gives_the_lock_back)
{
    block_test_image(&t, 1000, true);
    cr_assert_eq(block_test_open(&t), -EINVAL);
    cr_assert_eq(truncate(t.path, 1024), 0);

    cr_assert_eq(block_test_open(&t), 0);
}

Test(raw_open, lock_off_neither_takes_nor_respects_a_lock)
{
    struct vblock *second = NULL;

    block_test_image(&t, 4096, true);
    cr_assert_eq(block_test_open(&t), 0);
    t.config.lock = false;

    cr_assert_eq(vblock_open(&t.env, &t.config, &second), 0);

    vblock_close(second);
}

static int open_path_only(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    (void)how;
    return open(name, O_PATH | O_CLOEXEC);
}

Test(raw_open, a_lock_that_cannot_be_had_names_the_way_out)
{
    block_test_image(&t, 4096, true);
    t.env.open = open_path_only;

    cr_assert_eq(block_test_open(&t), -EBADF);

    cr_assert(error_has("cannot be locked (lock=off"));
}

Test(raw_open, a_qcow2_header_earns_a_warning_and_nothing_else)
{
    int fd;

    block_test_image(&t, 4096, true);
    fd = open(t.path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(write(fd, "QFI\xfb", 4), 4);
    close(fd);

    cr_assert_eq(block_test_open(&t), 0);

    cr_assert_not_null(strstr(t.log, "qcow2"));
    cr_assert_eq(t.disk->info.bytes, 4096);
}

Test(raw_open, closing_nothing_is_allowed)
{
    vblock_close(NULL);
}

/* ---- block devices: where this host has loop devices ---- */

static int loop_attach(uint32_t block, bool readonly, char name[32])
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct loop_config config = { .block_size = block,
                                  .info.lo_flags =
                                      LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0) };
    int loop = -1;

    if (control < 0)
        return -1;
    for (int tries = 0; loop < 0 && tries < 20; tries++) { /* others take free numbers too */
        snprintf(name, 32, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
        loop = open(name, O_RDWR | O_CLOEXEC);
        if (loop < 0)
            break;
        config.fd = (uint32_t)open(t.path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (ioctl(loop, LOOP_CONFIGURE, &config)) {
            close(loop);
            loop = -1;
        }
        close((int)config.fd);
    }
    close(control);
    return loop;
}

Test(raw_open, a_block_device_has_its_own_sizes)
{
    char name[32];
    int loop;

    block_test_image(&t, 1 << 20, false);
    loop = loop_attach(4096, false, name);
    if (loop < 0)
        BLOCK_TEST_SKIP(&t, "no loop devices here");
    t.config.path = name;

    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());

    cr_assert_eq(t.disk->info.bytes, 1 << 20);
    cr_assert_eq(t.disk->info.block_bytes, 4096);
    cr_assert_eq(t.disk->info.physical_bytes, 4096);
    cr_assert_gt(strlen(t.disk->info.id), 2);
    close(loop);
}

Test(raw_open, a_block_device_reads_writes_discards_and_zeroes)
{
    uint8_t out[8192], in[8192];
    char name[32];
    int loop;

    block_test_image(&t, 1 << 20, false);
    loop = loop_attach(512, false, name);
    if (loop < 0)
        BLOCK_TEST_SKIP(&t, "no loop devices here");
    t.config.path = name;
    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());
    memset(out, 0x5a, sizeof(out));

    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE, 8192, out, sizeof(out)), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_FLUSH, 0, NULL, 0), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 8192, in, sizeof(in)), 0);
    cr_assert_arr_eq(in, out, sizeof(in));
    cr_assert_eq(block_test_do(&t, VBLOCK_WRITE_ZEROES, 8192, NULL, 4096), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_DISCARD, 12288, NULL, 4096), 0);
    cr_assert_eq(block_test_do(&t, VBLOCK_READ, 8192, in, sizeof(in)), 0);

    memset(out, 0, sizeof(out));
    cr_assert_arr_eq(in, out, sizeof(in)); /* a loop device's discard is a hole, too */
    close(loop);
}

Test(raw_open, a_read_only_block_device_is_not_opened_for_writing)
{
    char name[32];
    int loop;

    block_test_image(&t, 1 << 20, false);
    loop = loop_attach(512, true, name);
    if (loop < 0)
        BLOCK_TEST_SKIP(&t, "no loop devices here");
    t.config.path = name;

    cr_assert_lt(block_test_open(&t), 0);
    cr_assert(error_has("readonly=on"), "%s", vm_error_text());
    set_readonly(true);
    cr_assert_eq(block_test_open(&t), 0, "%s", vm_error_text());
    close(loop);
}
