/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of a block device's options, config space and life, over real images and one in memory. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "virtio_blk_test.h"

static struct vh h;
static struct ram_disk disk;
static char path[] = "/tmp/virtio-blk-XXXXXX";

enum { IMAGE = 1 << 20, SPACE = 60 };

static int open_name(void *ctx, const char *name, unsigned how)
{
    int fd = open(name, (how & VM_OPEN_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);

    (void)ctx;
    return fd < 0 ? -errno : fd;
}

static void begin(void)
{
    struct vh_config way = { .transport = VH_PCI };
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, IMAGE), 0);
    close(fd);
    cr_assert_eq(vh_open(&h, &way), 0);
    h.open = open_name;
    ram_disk_init(&disk);
}

static void end(void)
{
    vh_close(&h);
    unlink(path);
}

static int create(const char *options)
{
    char all[256];

    snprintf(all, sizeof(all), "path=%s%s%s", path, options ? "," : "", options ? options : "");
    return vh_create(&h, &virtio_blk_class, all);
}

static uint64_t space(unsigned at, unsigned len)
{
    uint8_t data[8] = { 0 };

    vh_config_read(&h, at, data, len);
    return vm_load_le(data, len);
}

TestSuite(virtio_blk_config, .init = begin, .fini = end);

Test(virtio_blk_config, an_image_is_read_and_written)
{
    uint8_t file[512];
    int fd;

    cr_assert_eq(create(NULL), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
    memset(h.guest.host + ASK_DATA, 0x77, 512);

    cr_assert_eq(ask_write(&h, 2, 512), VIRTIO_BLK_S_OK);
    cr_assert_eq(ask_flush(&h), VIRTIO_BLK_S_OK);
    memset(h.guest.host + ASK_DATA, 0, 512);
    cr_assert_eq(ask_read(&h, 2, 512), VIRTIO_BLK_S_OK);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, file, 512, 1024), 512);
    close(fd);
    cr_assert_eq(file[0], 0x77);
    cr_assert_arr_eq(h.guest.host + ASK_DATA, file, 512);
}

Test(virtio_blk_config, the_space_of_a_plain_image)
{
    cr_assert_eq(create(NULL), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(space(0, 8), IMAGE / 512);
    cr_assert_eq(space(12, 4), 254); /* seg_max */
    cr_assert_eq(space(16, 4), 0); /* no geometry */
    cr_assert_eq(space(20, 4), 512);
    cr_assert_eq(space(24, 1), 3); /* physical blocks of 4096 */
    cr_assert_eq(space(26, 2), 8);
    cr_assert_eq(space(32, 1), 1); /* write-back */
    cr_assert_eq(space(34, 2), 1);
    cr_assert_eq(space(36, 4), VIRTIO_BLK_DISCARD_SECTORS);
    cr_assert_eq(space(40, 4), VIRTIO_BLK_DISCARD_SEGMENTS);
    cr_assert_eq(space(44, 4), 8);
    cr_assert_eq(space(48, 4), VIRTIO_BLK_ZEROES_SECTORS);
    cr_assert_eq(space(52, 4), VIRTIO_BLK_ZEROES_SEGMENTS);
    cr_assert_eq(space(56, 1), 1);
    cr_assert_eq(h.virtio->config_bytes, SPACE);
}

static uint64_t own_features(void)
{
    return vh_offered(&h) & 0xffffff;
}

Test(virtio_blk_config, what_is_offered_follows_from_the_options)
{
    uint64_t always = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
                      VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_CONFIG_WCE;
    static const struct {
        const char *options;
        uint64_t features;
    } cases[] = {
        { NULL, VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES },
        { "readonly", VIRTIO_BLK_F_RO },
        { "ro=on", VIRTIO_BLK_F_RO },
        { "sparse=off", VIRTIO_BLK_F_WRITE_ZEROES },
        { "num_queues=2", VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES | VIRTIO_BLK_F_MQ },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(cases); i++) {
        cr_assert_eq(create(cases[i].options), 0, "%s", vm_error_text());
        cr_assert_eq(own_features(), always | cases[i].features, "%zu", i);
        vh_destroy(&h);
    }
}

Test(virtio_blk_config, queues_and_their_size_can_be_chosen)
{
    cr_assert_eq(create("num_queues=3,queue_size=64"), 0);

    cr_assert_eq(vh_queues(&h), 3);
    cr_assert_eq(vh_queue_size_max(&h, 2), 64);
    cr_assert_eq(space(34, 2), 3);
    cr_assert_eq(space(12, 4), 62);
}

Test(virtio_blk_config, the_block_size_can_be_chosen)
{
    cr_assert_eq(create("block_size=4096"), 0);

    cr_assert_eq(space(20, 4), 4096);
    cr_assert_eq(space(24, 1), 0);
    cr_assert_eq(space(26, 2), 1);
    cr_assert_eq(space(0, 8), IMAGE / 512); /* always sectors of 512 */
}

Test(virtio_blk_config, values_that_cannot_be_name_what_can)
{
    static const struct {
        const char *options, *text;
    } cases[] = {
        { "queue_size=100", "queue_size=100 is not a power of two" },
        { "queue_size=2", "queue_size" },
        { "queue_size=65536", "queue_size" },
        { "num_queues=0", "num_queues" },
        { "num_queues=257", "num_queues" },
        { "block_size=256", "block_size=256; it can be 512" },
        { "block_size=1000", "block_size=1000; it can be 512" },
        { "block_size=8192", "block_size" },
        { "serial=123456789012345678901", "serial" },
        { "colour=red", "colour" },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(cases); i++) {
        cr_assert_lt(create(cases[i].options), 0, "%s", cases[i].options);
        cr_assert_not_null(strstr(vm_error_text(), cases[i].text), "%s", vm_error_text());
    }
}

Test(virtio_blk_config, an_image_that_is_no_multiple_of_the_block_is_refused)
{
    cr_assert_eq(truncate(path, 4096 + 512), 0);

    cr_assert_eq(create("block_size=4096"), -EINVAL);

    cr_assert_not_null(strstr(vm_error_text(), "truncate -s %4096"), "%s", vm_error_text());
    cr_assert_eq(create(NULL), 0); /* the failed one has let go of it */
}

Test(virtio_blk_config, a_block_smaller_than_the_back_ends_is_refused)
{
    struct virtio_blk_config config = { .disk = { .path = path, .lock = true, .direct = true },
                                        .num_queues = 1,
                                        .queue_size = 256,
                                        .block_size = 512 };
    struct vblock *backend;

    cr_assert_eq(vblock_open(&h.env, &config.disk, &backend), 0, "%s", vm_error_text());
    if (backend->info.block_bytes == 512) {
        vblock_close(backend);
        cr_assert_eq(create("direct=on,block_size=512"), 0);
        return;
    }
    vblock_close(backend);
    cr_assert_eq(create("direct=on,block_size=512"), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), "leave block_size out"), "%s", vm_error_text());
}

Test(virtio_blk_config, the_path_is_required)
{
    cr_assert_eq(vh_create(&h, &virtio_blk_class, "path=/nowhere/at/all"), -ENOENT);

    cr_assert_not_null(strstr(vm_error_text(), "/nowhere/at/all"));
}

Test(virtio_blk_config, a_second_device_on_the_same_image_is_refused)
{
    static struct vh other;
    struct vh_config way = { .transport = VH_PCI };
    char options[64];

    cr_assert_eq(create(NULL), 0);
    snprintf(options, sizeof(options), "path=%s", path);
    cr_assert_eq(vh_open(&other, &way), 0);
    other.open = open_name;

    cr_assert_eq(vh_create(&other, &virtio_blk_class, options), -EBUSY);

    vh_close(&other);
}

/* ---- writeback ---- */

static void start_ram(uint64_t want)
{
    cr_assert_eq(ram_disk_plug(&disk, &h, NULL), 0);
    cr_assert_eq(vh_start(&h, want), 0);
}

static void set_cache(uint8_t v)
{
    vh_config_write(&h, 32, &v, 1);
}

Test(virtio_blk_config, writeback_reads_as_what_holds)
{
    start_ram(VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_FLUSH);
    cr_assert_eq(space(32, 1), 1);

    set_cache(0);
    cr_assert_eq(space(32, 1), 0);
    set_cache(2);
    cr_assert_eq(space(32, 1), 0);
    set_cache(1);
    cr_assert_eq(space(32, 1), 1);
}

Test(virtio_blk_config, with_config_wce_but_without_flush_it_begins_as_write_through)
{
    start_ram(VIRTIO_BLK_F_CONFIG_WCE);

    cr_assert_eq(space(32, 1), 0);
}

Test(virtio_blk_config, without_config_wce_it_cannot_be_changed)
{
    start_ram(VIRTIO_BLK_F_FLUSH);

    set_cache(0);

    cr_assert_eq(space(32, 1), 1);
}

Test(virtio_blk_config, all_else_of_the_space_cannot_be_written)
{
    uint8_t before[SPACE], after[SPACE], junk[SPACE];

    start_ram(VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_FLUSH);
    vh_config_read(&h, 0, before, SPACE);
    memset(junk, 0xff, sizeof(junk));

    vh_config_write(&h, 0, junk, SPACE);

    vh_config_read(&h, 0, after, SPACE);
    cr_assert_arr_eq(before, after, SPACE);
}

Test(virtio_blk_config, a_reset_brings_the_cache_back)
{
    start_ram(VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_FLUSH);
    set_cache(0);

    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    cr_assert_eq(vh_start(&h, VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_FLUSH), 0);

    cr_assert_eq(space(32, 1), 1);
}

/* ---- snapshots ---- */

Test(virtio_blk_config, the_cache_mode_is_saved)
{
    struct vm_buffer saved = { 0 }, again = { 0 };

    start_ram(VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_FLUSH);
    set_cache(0);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &saved), 0);
    vh_destroy(&h);
    cr_assert_eq(ram_disk_plug(&disk, &h, NULL), 0);

    cr_assert_eq(vh_load(&h, saved.data, saved.len), 0, "%s", vm_error_text());

    cr_assert_eq(virtio_blk_of(h.virtio)->cache, VIRTIO_BLK_CACHE_THROUGH);
    cr_assert_eq(vh_save(&h, &again), 0);
    cr_assert_eq(again.len, saved.len);
    cr_assert_arr_eq(again.data, saved.data, saved.len);
    vm_buffer_free(&saved);
    vm_buffer_free(&again);
}

Test(virtio_blk_config, a_cache_mode_that_does_not_exist_is_not_loaded)
{
    uint8_t state = 3;
    struct vm_buffer section = { 0 };

    start_ram(0);
    cr_assert_eq(vm_state_save(virtio_blk_class.state, 1, &state, &section), 0);

    cr_assert_eq(vdev_load(h.dev, section.data, section.len), -EINVAL);

    cr_assert_not_null(strstr(vm_error_text(), "cache mode 3"));
    vm_buffer_free(&section);
}

/* ---- back ends that end later ---- */

static struct fake_buf one_read[] = { { ASK_HEADER, 16, false },
                                      { ASK_DATA, 512, true },
                                      { ASK_STATUS, 1, true } };

static int offer_read(uint64_t sector)
{
    ask_header(&h, VIRTIO_BLK_T_IN, sector);
    cr_assert_geq(fake_driver_offer(&h.drv[0], one_read, 3), 0);
    return vh_serve(&h, 0);
}

static int collected(void)
{
    uint16_t id;
    uint32_t len;
    int n = 0;

    while (fake_driver_collect(&h.drv[0], &id, &len) == 1)
        n++;
    return n;
}

Test(virtio_blk_config, a_request_that_ends_later_is_used_then_and_not_before)
{
    start_ram(0);
    disk.hold = true;

    cr_assert_eq(offer_read(3), 0);
    cr_assert_eq(collected(), 0);
    cr_assert_eq(disk.held_count, 1);
    ram_disk_end(&disk, 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(collected(), 1);
    cr_assert_eq(h.guest.host[ASK_STATUS], VIRTIO_BLK_S_OK);
    cr_assert_eq(h.guest.host[ASK_DATA], ram_disk_pattern(3 * 512));
    cr_assert_geq(h.drv[0].notified, 1);
}

Test(virtio_blk_config, requests_end_in_any_order_with_their_own_result)
{
    start_ram(0);
    disk.hold = true;
    cr_assert_eq(offer_read(0), 0);
    cr_assert_eq(offer_read(1), 0);
    cr_assert_eq(offer_read(2), 0);

    ram_disk_end(&disk, 1);
    cr_assert_eq(h.guest.host[ASK_STATUS], VIRTIO_BLK_S_OK);
    disk.rc = -EIO;
    ram_disk_end(&disk, 1);
    cr_assert_eq(h.guest.host[ASK_STATUS], VIRTIO_BLK_S_IOERR);
    disk.rc = 0;
    ram_disk_end(&disk, 0);

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(collected(), 3);
}

Test(virtio_blk_config, ranges_that_end_later_follow_each_other)
{
    struct virtio_blk_range r[] = { range_make(0, 1, 0), range_make(8, 1, 0), range_make(9, 1, 0) };

    start_ram(0);
    disk.hold = true;
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, 3), -EAGAIN);

    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(disk.calls, i + 1);
        cr_assert_eq(h.guest.host[ASK_STATUS], 0xff);
        ram_disk_end(&disk, 0);
    }

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(h.guest.host[ASK_STATUS], VIRTIO_BLK_S_OK);
    cr_assert_eq(collected(), 1);
}

Test(virtio_blk_config, a_range_that_fails_later_ends_the_request)
{
    struct virtio_blk_range r[] = { range_make(0, 1, 0), range_make(8, 1, 0) };

    start_ram(0);
    disk.hold = true;
    cr_assert_eq(ask_ranges(&h, VIRTIO_BLK_T_DISCARD, r, 2), -EAGAIN);
    disk.rc = -EIO;

    ram_disk_end(&disk, 0);

    cr_assert_eq(disk.calls, 1);
    cr_assert_eq(h.guest.host[ASK_STATUS], VIRTIO_BLK_S_IOERR);
}

Test(virtio_blk_config, a_quiesce_waits_for_what_is_in_flight)
{
    start_ram(0);
    disk.hold = true;
    cr_assert_eq(offer_read(0), 0);
    cr_assert_eq(offer_read(1), 0);

    h.done = false;
    cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);
    ram_disk_end(&disk, 0);
    cr_assert_not(h.done);
    ram_disk_end(&disk, 0);

    cr_assert(h.done);
    cr_assert_eq(h.code, 0);
    cr_assert_eq(collected(), 2);
}

Test(virtio_blk_config, a_drivers_reset_waits_for_what_is_in_flight)
{
    start_ram(0);
    disk.hold = true;
    cr_assert_eq(offer_read(0), 0);

    vh_set_status(&h, 0);
    cr_assert_neq(vh_status(&h), 0);
    ram_disk_end(&disk, 0);

    cr_assert_eq(vh_status(&h), 0);
    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    disk.hold = false;
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(ask_read(&h, 0, 512), VIRTIO_BLK_S_OK);
}

/* ---- a disk that lets its caller wait ---- */

static bool lock_was_free;

static void try_lock(void)
{
    lock_was_free = vm_lock_try(&h.dev->lock);
    if (lock_was_free)
        vm_lock_release(&h.dev->lock);
}

Test(virtio_blk_config, nobody_waits_for_the_lock_while_the_disk_works)
{
    start_ram(0);
    disk.meanwhile = try_lock;

    cr_assert_eq(ask_read(&h, 0, 512), VIRTIO_BLK_S_OK);

    cr_assert(lock_was_free);
}

static uint8_t status_meanwhile;

static void reset_meanwhile(void)
{
    vh_set_status(&h, 0);
    status_meanwhile = vh_status(&h);
}

Test(virtio_blk_config, a_reset_while_the_disk_works_ends_after_the_request)
{
    start_ram(0);
    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    cr_assert_geq(fake_driver_offer(&h.drv[0], one_read, 3), 0);
    disk.meanwhile = reset_meanwhile;

    cr_assert_eq(offer_read(0), 0);

    cr_assert_neq(status_meanwhile, 0);
    cr_assert_eq(vh_status(&h), 0);
    cr_assert_eq(disk.calls, 1, "nothing more is taken");
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(ask_read(&h, 0, 512), VIRTIO_BLK_S_OK);
}

static int quiesce_code;

static void quiesce_meanwhile(void)
{
    quiesce_code = vdev_quiesce(h.dev, vh_done);
}

Test(virtio_blk_config, a_quiesce_while_the_disk_works_ends_after_the_request)
{
    start_ram(0);
    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    cr_assert_geq(fake_driver_offer(&h.drv[0], one_read, 3), 0);
    disk.meanwhile = quiesce_meanwhile;
    h.done = false;

    cr_assert_eq(offer_read(0), 0);

    cr_assert_eq(quiesce_code, -EINPROGRESS);
    cr_assert(h.done);
    cr_assert_eq(disk.calls, 1);
    cr_assert_eq(vdev_resume(h.dev), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(collected(), 2);
}

Test(virtio_blk_config, a_broken_queue_takes_nothing_back_and_a_reset_mends_it)
{
    struct fake_buf no_status = { ASK_HEADER, 16, false };

    start_ram(0);
    disk.hold = true;
    cr_assert_eq(offer_read(0), 0);
    cr_assert_geq(fake_driver_offer(&h.drv[0], &no_status, 1), 0);
    cr_assert_eq(vh_serve(&h, 0), 0);
    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);

    ram_disk_end(&disk, 0);

    cr_assert_eq(collected(), 0);
    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    disk.hold = false;
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(ask_read(&h, 0, 512), VIRTIO_BLK_S_OK);
}

Test(virtio_blk_config, destroying_the_device_closes_its_back_end)
{
    start_ram(0);

    vh_destroy(&h);

    cr_assert_eq(disk.closed, 1);
}
