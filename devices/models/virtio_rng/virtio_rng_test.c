/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the entropy device. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "virtio_harness.h"

extern const struct vdev_class virtio_rng_class;

static struct vh h;
static int source[2] = { -1, -1 };

static int open_source(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    cr_assert_eq(how, VM_OPEN_READ);
    if (!strcmp(name, "dir"))
        return open("/", O_RDONLY | O_CLOEXEC);
    return !strcmp(name, "pipe") ? dup(source[0]) : vm_fail(-ENOENT, "%s is not there", name);
}

static int make(const char *options)
{
    struct vh_config c = { .transport = VH_PCI };

    cr_assert_eq(vh_open(&h, &c), 0);
    h.open = open_source;
    return vh_create(&h, &virtio_rng_class, options);
}

static void start(const char *options)
{
    cr_assert_eq(make(options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

static int set(const char *key_value)
{
    const struct vm_prop *prop;
    void *config;
    int rc = vdev_config_parse(h.dev, key_value, &prop, &config);

    if (rc)
        return rc;
    rc = vdev_set(h.dev, prop, config);
    vdev_config_free(h.dev, config);
    return rc;
}

/* len bytes at 0x8000: how many came, and whether any is not zero. */
static int ask(uint32_t len)
{
    struct fake_buf b = { 0x8000, len, true };

    return vh_request(&h, 0, &b, 1);
}

Test(virtio_rng, fills_a_buffer_with_bytes_that_differ_each_time)
{
    uint8_t first[32], second[32];

    start(NULL);
    cr_assert_eq(ask(32), 32);
    memcpy(first, h.guest.host + 0x8000, 32);
    cr_assert_eq(ask(32), 32);
    memcpy(second, h.guest.host + 0x8000, 32);

    cr_assert_arr_neq(first, second, 32);
    cr_assert_eq(h.drv[0].notified, 2);
    vh_close(&h);
}

Test(virtio_rng, never_writes_beyond_the_buffer)
{
    start(NULL);
    memset(h.guest.host + 0x8000, 0, 4096);

    cr_assert_eq(ask(1000), 1000);

    for (unsigned i = 1000; i < 4096; i++)
        cr_assert_eq(h.guest.host[0x8000 + i], 0);
    vh_close(&h);
}

Test(virtio_rng, fills_scattered_buffers_and_ignores_what_it_may_only_read)
{
    struct fake_buf b[3] = { { 0x7000, 8, false }, { 0x8000, 300, true }, { 0x9000, 5, true } };

    start(NULL);

    cr_assert_eq(vh_request(&h, 0, b, 3), 305);

    vh_close(&h);
}

Test(virtio_rng, a_request_without_room_is_answered_with_nothing)
{
    struct fake_buf b = { 0x8000, 8, false };

    start(NULL);

    cr_assert_eq(vh_request(&h, 0, &b, 1), 0);
    cr_assert_eq(ask(4), 4);
    vh_close(&h);
}

Test(virtio_rng, gives_no_more_than_max_bytes_per_request)
{
    start("max_bytes=100");

    cr_assert_eq(ask(4096), 100);
    vh_close(&h);
}

Test(virtio_rng, max_bytes_can_be_changed_at_run_time)
{
    start(NULL);

    cr_assert_eq(set("max_bytes=7"), 0);

    cr_assert_eq(ask(100), 7);
    cr_assert_eq(set("src=x"), -ENOTSUP);
    vh_close(&h);
}

Test(virtio_rng, max_bytes_out_of_range_is_refused)
{
    cr_assert_eq(make("max_bytes=0"), -ERANGE);
    vh_close(&h);
    cr_assert_eq(make("max_bytes=2M"), -ERANGE);
    vh_close(&h);
}

Test(virtio_rng, more_requests_than_one_round_takes_are_all_answered)
{
    struct fake_buf b = { 0x8000, 16, true };
    uint16_t id;
    uint32_t len;
    unsigned done = 0;

    start(NULL);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[0], &b, 1), 0);

    cr_assert_eq(vh_serve(&h, 0), 0);

    while (fake_driver_collect(&h.drv[0], &id, &len) > 0)
        done++;
    cr_assert_eq(done, 64);
    vh_close(&h);
}

Test(virtio_rng, bytes_come_from_the_source)
{
    cr_assert_eq(pipe2(source, O_CLOEXEC), 0);
    start("src=pipe");
    cr_assert_eq(write(source[1], "abcdef", 6), 6);

    cr_assert_eq(ask(16), 6);

    cr_assert_arr_eq(h.guest.host + 0x8000, "abcdef", 6);
    vh_close(&h);
}

Test(virtio_rng, a_source_without_bytes_is_waited_for_without_standing_still)
{
    uint16_t id;
    uint32_t len;

    cr_assert_eq(pipe2(source, O_CLOEXEC), 0);
    start("src=pipe");
    cr_assert_eq(ask(16), -EAGAIN);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);
    cr_assert_not(fake_driver_pending(&h.drv[0]));

    cr_assert_eq(write(source[1], "xy", 2), 2);
    cr_assert_eq(vh_pass(&h, 20000000), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1);
    cr_assert_eq(len, 2);
    vh_close(&h);
}

Test(virtio_rng, a_source_that_has_ended_stops_the_device)
{
    cr_assert_eq(pipe2(source, O_CLOEXEC), 0);
    start("src=pipe");
    close(source[1]);

    cr_assert_eq(ask(16), -EAGAIN);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
    vh_close(&h);
}

Test(virtio_rng, a_generator_that_fails_stops_the_device_until_it_is_reset)
{
    start(NULL);
    h.random_rc = -EIO;
    cr_assert_eq(ask(16), -EAGAIN);
    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);

    h.random_rc = 0;
    cr_assert_eq(vh_reset(&h, 0), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(ask(16), 16);
    vh_close(&h);
}

Test(virtio_rng, a_source_that_cannot_be_used_is_refused_by_name)
{
    cr_assert_eq(make("src=nowhere"), -ENOENT);
    cr_assert(strstr(vm_error_text(), "nowhere"));
    vh_close(&h);
    cr_assert_eq(make("src=dir"), -EISDIR);
    vh_close(&h);
}

Test(virtio_rng, where_nothing_may_be_opened_a_source_is_refused)
{
    struct vh_config c = { .transport = VH_PCI };

    cr_assert_eq(vh_open(&h, &c), 0);
    h.env.open = NULL;

    cr_assert_eq(vh_create(&h, &virtio_rng_class, "src=pipe"), -EACCES);
    vh_close(&h);
}

/* ---- limits ---- */

/* Buffers that came back, and their bytes. */
static unsigned collect(uint64_t *bytes)
{
    unsigned n = 0;
    uint16_t id;
    uint32_t len;

    while (fake_driver_collect(&h.drv[0], &id, &len) > 0) {
        *bytes += len;
        n++;
    }
    return n;
}

static void offer(uint32_t len, unsigned count)
{
    struct fake_buf b = { 0x8000, len, true };

    for (unsigned i = 0; i < count; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[0], &b, 1), 0);
    cr_assert_eq(vh_serve(&h, 0), 0);
}

Test(virtio_rng, a_limit_is_kept_to_the_byte_and_buffers_wait)
{
    uint64_t bytes = 0;

    start("rate_bytes=1000,rate_period=500");
    offer(100, 32);

    cr_assert_eq(collect(&bytes), 10);
    vh_pass(&h, 32000000ULL - 1); /* 2 bytes a millisecond: 64 after 32 */
    cr_assert_eq(collect(&bytes), 0);
    vh_pass(&h, 1);
    cr_assert_eq(collect(&bytes), 1);
    cr_assert_eq(bytes, 1064);
    vh_pass(&h, 9 * 32000000ULL);

    cr_assert_eq(collect(&bytes), 9);
    cr_assert_eq(bytes, 1000 + 10 * 64);
    vh_close(&h);
}

Test(virtio_rng, a_limit_smaller_than_a_request_answers_in_part)
{
    uint64_t bytes = 0;

    start("rate_bytes=10");
    offer(100, 3);

    cr_assert_eq(collect(&bytes), 1);
    cr_assert_eq(bytes, 10);
    vh_pass(&h, 999999999ULL);
    cr_assert_eq(collect(&bytes), 0);
    vh_pass(&h, 1);

    cr_assert_eq(collect(&bytes), 1);
    cr_assert_eq(bytes, 20);
    vh_close(&h);
}

Test(virtio_rng, a_limit_that_is_lifted_lets_waiting_buffers_go)
{
    uint64_t bytes = 0;

    start("rate_bytes=1,rate_period=86400000");
    offer(100, 3);
    cr_assert_eq(collect(&bytes), 1);

    cr_assert_eq(set("rate_bytes=0"), 0);
    vh_idle(&h);

    cr_assert_eq(collect(&bytes), 2);
    cr_assert_eq(bytes, 201);
    cr_assert_eq(set("rate_period=0"), -ERANGE);
    vh_close(&h);
}

Test(virtio_rng, a_descriptor_is_a_source_and_two_sources_are_one_too_many)
{
    char options[64];

    cr_assert_eq(pipe(source), 0);
    cr_assert_eq(write(source[1], "abcdef", 6), 6);
    snprintf(options, sizeof(options), "fd=%d", source[0]);
    start(options);
    close(source[0]); /* it has its own */

    cr_assert_eq(ask(6), 6);
    cr_assert_arr_eq(h.guest.host + 0x8000, "abcdef", 6);
    vh_close(&h);

    cr_assert_eq(pipe(source), 0);
    snprintf(options, sizeof(options), "src=pipe,fd=%d", source[0]);
    cr_assert_eq(make(options), -EINVAL);
    cr_assert(strstr(vm_error_text(), "give one source"), "%s", vm_error_text());
    vh_close(&h);
}

Test(virtio_rng, a_descriptor_that_is_not_open_is_refused)
{
    cr_assert_eq(make("fd=199"), -EBADF);

    cr_assert(strstr(vm_error_text(), "fd=199"), "%s", vm_error_text());
    vh_close(&h);
}
