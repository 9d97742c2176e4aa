/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that a front end shares, and the log of what is written to it. */
#include "backend_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(backend_memory, .init = lab_behind, .fini = close_lab);

enum { PAGE = GM_PAGE_BYTES };

static int send_region(uint32_t request, struct vhost_region r, int fd)
{
    struct vhost_single single = { .region = r };
    struct vhost_message m = ffe_message(request, &single, sizeof(single));

    if (fd >= 0)
        m.fd[m.fds++] = fd;
    return ffe_do(front(), &m);
}

static int add(struct vhost_region r, int fd)
{
    return send_region(VHOST_USER_ADD_MEM_REG, r, fd);
}

static int drop(struct vhost_region r)
{
    return send_region(VHOST_USER_REM_MEM_REG, r, -1);
}

static int set_table(const struct vhost_region *r, unsigned count, int fd)
{
    struct vhost_table table = { .count = count };
    struct vhost_message m;

    memcpy(table.region, r, count * sizeof(*r));
    m = ffe_message(VHOST_USER_SET_MEM_TABLE, &table, (uint32_t)(8 + count * sizeof(*r)));
    for (unsigned i = 0; i < count; i++)
        m.fd[m.fds++] = fd;
    return ffe_do(front(), &m);
}

static size_t regions(void)
{
    struct gm_map *map = gm_space_map(h.device_memory);
    size_t count = gm_map_count(map);

    gm_map_unref(map);
    return count;
}

/* Somewhere above the front end's own memory. */
static struct vhost_region page_at(unsigned n)
{
    return (struct vhost_region){ .guest_addr = 0x100000000ULL + 2ULL * PAGE * n,
                                  .size = PAGE,
                                  .user_addr = FFE_USER + 0x100000000ULL + (uint64_t)PAGE * n,
                                  .mmap_offset = 0 };
}

Test(backend_memory, regions_that_cannot_be_are_refused)
{
    struct vhost_region r;
    int fd = front()->ram_fd;

    hello(USUAL);
#define REFUSED(member, value)                                     \
    do {                                                           \
        r = page_at(0);                                            \
        r.member = (value);                                        \
        cr_assert_eq(add(r, fd), FFE_REFUSED, #member " " #value); \
    } while (0)
    REFUSED(size, 0);
    REFUSED(size, PAGE + 1);
    REFUSED(size, UINT64_MAX & ~(uint64_t)(PAGE - 1));
    REFUSED(guest_addr, 0x100000001ULL);
    REFUSED(guest_addr, UINT64_MAX & ~(uint64_t)(PAGE - 1));
    REFUSED(guest_addr, 0); /* overlaps */
    REFUSED(guest_addr, 1ULL << 52);
    REFUSED(user_addr, FFE_USER + 0x1000); /* overlaps */
    REFUSED(user_addr, UINT64_MAX - 100);
    REFUSED(mmap_offset, 512);
    REFUSED(mmap_offset, front()->ram_bytes);
    REFUSED(mmap_offset, UINT64_MAX & ~(uint64_t)(PAGE - 1));
#undef REFUSED

    cr_assert_eq(regions(), 1);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
}

Test(backend_memory, files_of_the_wrong_kind_are_refused)
{
    char path[32];
    int pipes[2], ro;

    hello(USUAL);
    cr_assert_eq(pipe(pipes), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", front()->ram_fd);
    ro = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(ro, 0);

    cr_assert_eq(add(page_at(0), pipes[0]), FFE_REFUSED);
    cr_assert_eq(add(page_at(0), front()->fd), FFE_REFUSED);
    cr_assert_eq(add(page_at(0), ro), FFE_REFUSED);

    close(ro);
    close(pipes[0]);
    close(pipes[1]);
    cr_assert_eq(regions(), 1);
}

Test(backend_memory, a_file_that_is_too_short_is_refused)
{
    struct vhost_region r = page_at(0);
    int fd = memfd_create("short", MFD_CLOEXEC);

    hello(USUAL);
    cr_assert_eq(ftruncate(fd, PAGE + 100), 0);

    r.mmap_offset = PAGE;
    cr_assert_eq(add(r, fd), FFE_REFUSED);
    r.mmap_offset = 0;
    cr_assert_eq(add(r, fd), 0);

    close(fd);
}

Test(backend_memory, as_many_regions_as_were_said_and_no_more)
{
    hello(USUAL);
    for (unsigned i = 1; i < GM_REGIONS_MAX; i++)
        cr_assert_eq(add(page_at(i), front()->ram_fd), 0, "%u: %s", i, vm_error_text());

    cr_assert_eq(add(page_at(GM_REGIONS_MAX), front()->ram_fd), FFE_REFUSED);

    cr_assert_eq(regions(), GM_REGIONS_MAX);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(drop(page_at(7)), 0);
    cr_assert_eq(regions(), GM_REGIONS_MAX - 1);
}

Test(backend_memory, a_region_that_is_announced_again_is_there_once_until_each_was_taken_back)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(add(page_at(1), front()->ram_fd), 0);

    cr_assert_eq(add(page_at(1), front()->ram_fd), 0, "%s", vm_error_text());
    cr_assert_eq(add(ffe_region(front()), front()->ram_fd), 0, "%s", vm_error_text());

    cr_assert_eq(regions(), 2);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(drop(page_at(1)), 0);
    cr_assert_eq(regions(), 2);
    cr_assert_eq(drop(page_at(1)), 0);
    cr_assert_eq(regions(), 1);
    cr_assert_eq(drop(page_at(1)), FFE_REFUSED);
}

Test(backend_memory, another_file_or_address_in_a_regions_place_is_no_repetition)
{
    int fd = memfd_create("other", MFD_CLOEXEC);
    struct vhost_region r = page_at(1);

    hello(USUAL);
    cr_assert_eq(ftruncate(fd, PAGE), 0);
    cr_assert_eq(add(r, front()->ram_fd), 0);

    cr_assert_eq(add(r, fd), FFE_REFUSED);
    r.user_addr += PAGE;
    cr_assert_eq(add(r, front()->ram_fd), FFE_REFUSED);

    cr_assert_eq(regions(), 2);
    close(fd);
}

Test(backend_memory, a_region_is_removed_by_all_of_its_numbers)
{
    struct vhost_region r = page_at(1);

    hello(USUAL);
    cr_assert_eq(add(r, front()->ram_fd), 0);
    r.size *= 2;
    cr_assert_eq(drop(r), FFE_REFUSED);
    r = page_at(1);
    r.user_addr += PAGE;
    cr_assert_eq(drop(r), FFE_REFUSED);

    cr_assert_eq(drop(page_at(1)), 0);
    cr_assert_eq(drop(page_at(1)), FFE_REFUSED);
    cr_assert_eq(regions(), 1);
}

Test(backend_memory, a_ring_goes_on_when_other_memory_comes_and_goes)
{
    struct vhost_region table[2];

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    table[0] = ffe_region(front());
    table[1] = page_at(3);

    cr_assert_eq(set_table(table, 2, front()->ram_fd), 0);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(regions(), 2);
    cr_assert_eq(set_table(table, 1, front()->ram_fd), 0);

    cr_assert_eq(ask(1), 4);
    cr_assert_eq(regions(), 1);
}

Test(backend_memory, a_ring_whose_memory_is_taken_away_is_told_and_writes_no_more)
{
    uint8_t *before = malloc(front()->ram_bytes);

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(drop(ffe_region(front())), 0);
    cr_assert_eq(errors(), 1);

    memcpy(before, front()->ram, front()->ram_bytes);
    cr_assert_eq(ask(1), -EAGAIN);

    cr_assert_eq(regions(), 0);
    free(before);
}

Test(backend_memory, other_memory_at_the_same_address_takes_the_old_ones_place)
{
    int fd = memfd_create("other", MFD_CLOEXEC);
    struct vhost_region r = ffe_region(front());

    hello(USUAL);
    start_ring(1);
    ffe_kick(front(), 1);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(ftruncate(fd, (off_t)front()->ram_bytes), 0);

    cr_assert_eq(set_table(&r, 1, fd), 0);

    cr_assert_eq(ask(1), -EAGAIN, "the ring is in the other file");
    cr_assert_eq(set_table(&r, 1, front()->ram_fd), 0);
    ffe_kick(front(), 1);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert(fake_driver_pending(&h.drv[1]));
    close(fd);
}

Test(backend_memory, with_guest_addresses_user_addresses_mean_nothing)
{
    hello(USUAL | VHOST_PROTOCOL(GPA_ADDRESSES));
    start_ring(1);

    cr_assert_eq(ask(1), 4);
}

/* ---- the log ---- */

enum { LOG_BYTES = 256 };

static int set_log(int fd, uint64_t size, uint64_t offset)
{
    struct vhost_log log = { size, offset };
    struct vhost_message m = ffe_message(VHOST_USER_SET_LOG_BASE, &log, sizeof(log)), reply;

    m.fd[m.fds++] = fd;
    return ffe_ask(front(), &m, &reply);
}

static int log_file(uint8_t **ret_log)
{
    int fd = memfd_create("log", MFD_CLOEXEC);

    cr_assert_eq(ftruncate(fd, 2 * PAGE), 0);
    *ret_log = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return fd;
}

static bool marked(const uint8_t *log, gpa_t gpa)
{
    return log[gpa / PAGE / 8] >> gpa / PAGE % 8 & 1;
}

Test(backend_memory, what_is_written_is_marked_while_logging_is_on)
{
    struct fake_buf b[2] = { { 0x1000, 4, false }, { 0x5000, 16, true } };
    uint8_t *log;
    int fd = log_file(&log);

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(set_log(fd, LOG_BYTES, 100), 0);
    cr_assert_eq(ask(1), 4);
    for (unsigned i = 0; i < 2 * PAGE; i++)
        cr_assert_eq(log[i], 0, "not before it is asked for");

    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VHOST_FEATURE_LOG_ALL), 0);
    fake_driver_offer(&h.drv[1], b, 2);
    ffe_kick(front(), 1);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(marked(log + 100, 0x5000));
    cr_assert(marked(log + 100, h.drv[1].device));
    cr_assert_not(marked(log + 100, 0x1000));
    munmap(log, 2 * PAGE);
    close(fd);
}

Test(backend_memory, a_log_that_is_not_there_ends_the_connection)
{
    uint8_t *log;
    int fd = log_file(&log);

    hello(USUAL);
    cr_assert_eq(set_log(fd, 3 * PAGE, 0), -ECONNRESET);
    hello(USUAL);
    cr_assert_eq(set_log(fd, UINT64_MAX, 0), -ECONNRESET);
    hello(USUAL);
    cr_assert_eq(set_log(fd, PAGE, UINT64_MAX - 100), -ECONNRESET);
    hello(USUAL);
    cr_assert_eq(set_log(fd, 0, 0), -ECONNRESET);
    hello(USUAL);
    cr_assert_eq(set_log(front()->fd, PAGE, 0), -ECONNRESET);

    munmap(log, 2 * PAGE);
    close(fd);
}

Test(backend_memory, a_log_that_is_too_short_for_the_memory_takes_what_it_can)
{
    uint8_t *log;
    int fd = log_file(&log);

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VHOST_FEATURE_LOG_ALL), 0);
    start_ring(1);
    cr_assert_eq(set_log(fd, 1, 0), 0);

    cr_assert_eq(ask(1), 4);

    for (unsigned i = 1; i < 2 * PAGE; i++)
        cr_assert_eq(log[i], 0);
    munmap(log, 2 * PAGE);
    close(fd);
}

Test(backend_memory, a_new_log_replaces_the_old_one)
{
    uint8_t *log, *second;
    int fd = log_file(&log), other = log_file(&second);

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VHOST_FEATURE_LOG_ALL), 0);
    start_ring(1);
    cr_assert_eq(set_log(fd, LOG_BYTES, 0), 0);
    cr_assert_eq(set_log(other, LOG_BYTES, 0), 0);

    cr_assert_eq(ask(1), 4);

    cr_assert_not(marked(log, h.drv[1].device));
    cr_assert(marked(second, h.drv[1].device));
    munmap(log, 2 * PAGE);
    munmap(second, 2 * PAGE);
    close(fd);
    close(other);
}

Test(backend_memory, a_used_ring_that_is_logged_elsewhere_is_refused)
{
    struct vhost_ring_addr addr = { .index = 1,
                                    .flags = VHOST_RING_LOG,
                                    .desc = FFE_USER,
                                    .avail = FFE_USER + 0x1000,
                                    .used = FFE_USER + 0x2000,
                                    .log = 0x3000 };
    struct vhost_message m = ffe_message(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));

    hello(USUAL);
    cr_assert_eq(ffe_do(front(), &m), FFE_REFUSED);
    m.payload.addr.log = 0x2000;
    m.flags = VHOST_MESSAGE_VERSION;

    cr_assert_eq(ffe_do(front(), &m), 0);
}
