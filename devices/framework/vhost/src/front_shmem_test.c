/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory that a back end maps into the guest: GET_SHMEM_CONFIG, SHMEM_MAP, SHMEM_UNMAP. */
#include "front_test.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <vmm/virtio/shm.h>

enum { SIZE = 0x10000 };
#define ABLE (VHOST_PROTOCOL(SHMEM) | VHOST_PROTOCOL(BACKEND_SEND_FD))

static int file;

static void open_able(void)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= ABLE;
    ft.back.shmem[0] = ft.back.shmem[2] = SIZE;
    ft.back.shmem_count = 2;
    file = memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(file, SIZE), 0);
    cr_assert_eq(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static void quit(void)
{
    vm_close(&file);
    ft_close();
}

TestSuite(front_shmem, .init = open_able, .fini = quit);

static struct vhost_message piece(uint32_t request, uint8_t id, uint64_t at, uint64_t len)
{
    struct vhost_message m = { .request = request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_NEED_REPLY,
                               .size = sizeof(struct vhost_shmem_map) };

    m.payload.shmem_map =
        (struct vhost_shmem_map){ .id = id, .shm_offset = at, .len = len, .flags = 1 };
    if (request == VHOST_USER_BACKEND_SHMEM_MAP)
        m.fd[m.fds++] = file;
    return m;
}

/* What the front end answers; UINT64_MAX: nothing. */
static uint64_t say(const struct vhost_message *m)
{
    unsigned before = ft.back.asks_answers;

    cr_assert_eq(fbe_ask(&ft.back, m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return ft.back.asks_answers == before ? UINT64_MAX : ft.back.asks_answer;
}

static uint64_t map(uint8_t id, uint64_t at, uint64_t len)
{
    const struct vhost_message m = piece(VHOST_USER_BACKEND_SHMEM_MAP, id, at, len);

    return say(&m);
}

static uint64_t unmap(uint8_t id, uint64_t at, uint64_t len)
{
    const struct vhost_message m = piece(VHOST_USER_BACKEND_SHMEM_UNMAP, id, at, len);

    return say(&m);
}

Test(front_shmem, regions_are_as_the_back_end_says)
{
    ft_run();

    cr_assert_eq(virtio_shm_count(ft_dev()), 3);
    cr_assert_eq(virtio_shm_size(ft_dev(), 0), SIZE);
    cr_assert_eq(virtio_shm_size(ft_dev(), 1), 0);
    cr_assert_eq(virtio_shm_size(ft_dev(), 2), SIZE);
    cr_assert_eq(ft.back.set_protocol & ABLE, ABLE);
}

Test(front_shmem, is_not_negotiated_without_what_it_needs)
{
    ft.back.protocol &= ~VHOST_PROTOCOL(BACKEND_SEND_FD);

    ft_run();

    cr_assert_not(ft.back.set_protocol & ABLE);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_SHMEM_CONFIG), 0);
    cr_assert_eq(virtio_shm_count(ft_dev()), 0);
}

Test(front_shmem, what_is_mapped_is_the_guests)
{
    ft_run();

    cr_assert_eq(map(2, 0x2000, 0x3000), 0);

    cr_assert_eq(vh_memories(&ft.h), 1);
    cr_assert(vh_find_memory(&ft.h, ft.h.bar[2] + SIZE + 0x2000));
    cr_assert_eq(unmap(2, 0x2000, 0x3000), 0);
    cr_assert_eq(vh_memories(&ft.h), 0);
}

Test(front_shmem, without_the_flag_it_is_read_only)
{
    struct vhost_message m = piece(VHOST_USER_BACKEND_SHMEM_MAP, 0, 0, 0x1000);

    ft_run();
    m.payload.shmem_map.flags = 0;

    cr_assert_eq(say(&m), 0);

    cr_assert(vh_find_memory(&ft.h, ft.h.bar[2])->read_only);
}

Test(front_shmem, what_cannot_be_mapped_is_refused_and_nothing_happens)
{
    struct vhost_message odd = piece(VHOST_USER_BACKEND_SHMEM_MAP, 0, 0x4000, 0x1000);

    ft_run();
    cr_assert_eq(map(0, 0, 0x1000), 0);
    odd.payload.shmem_map.flags = 2;

    cr_assert_eq(say(&odd), 1);
    cr_assert_eq(map(0, 0, 0x1000), 1);
    cr_assert_eq(map(1, 0, 0x1000), 1);
    cr_assert_eq(map(0, SIZE, 0x1000), 1);
    cr_assert_eq(map(0, UINT64_MAX - 0xfff, 0x2000), 1);
    cr_assert_eq(map(0, 0x1000, UINT64_MAX - 0xfff), 1);
    cr_assert_eq(unmap(0, 0, 0x2000), 1);

    cr_assert_eq(vh_memories(&ft.h), 1);
    cr_assert_eq(ft.back.closed, 0);
}

Test(front_shmem, who_does_not_want_to_know_of_a_refusal_is_sent_away)
{
    struct vhost_message m = piece(VHOST_USER_BACKEND_SHMEM_MAP, 1, 0, 0x1000);

    ft_run();
    m.flags = VHOST_MESSAGE_VERSION;
    cr_assert_eq(fbe_ask(&ft.back, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.closed, 1);
}

Test(front_shmem, a_reset_by_the_driver_ends_it)
{
    ft_run();
    cr_assert_eq(map(0, 0, 0x1000), 0);

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert_eq(vh_memories(&ft.h), 0);
}

Test(front_shmem, the_back_ends_death_ends_it_and_the_next_one_maps_anew)
{
    ft_run();
    cr_assert_eq(map(0, 0, 0x1000), 0);

    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(vh_memories(&ft.h), 0);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(map(0, 0, 0x1000), 0);
    cr_assert_eq(vh_memories(&ft.h), 1);
}

Test(front_shmem, a_back_end_that_comes_back_with_other_regions_is_refused)
{
    ft_run();
    ft.back.shmem[2] = SIZE * 2;

    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
    cr_assert_geq(ft.back.closed, 1);

    ft.back.shmem[2] = SIZE;
    cr_assert_eq(vh_pass(&ft.h, 3 * SECOND), 0);
    cr_assert_eq(map(2, 0, 0x1000), 0);
}

static int make_with(uint64_t size, uint32_t count)
{
    int rc;

    ft.back.shmem[0] = size;
    ft.back.shmem_count = count;
    rc = ft_make();
    fbe_die(&ft.back);
    return rc;
}

Test(front_shmem, regions_that_cannot_be_are_the_end_of_the_back_end)
{
    cr_assert_eq(make_with(0x1800, 2), -EPROTO);
    cr_assert_eq(make_with(UINT64_MAX - 0xfff, 2), -EINVAL);
    cr_assert_eq(make_with(SIZE, 1), -EPROTO);
    cr_assert_eq(make_with(SIZE, 5), -EPROTO, "more than the payload has room for");
}

Test(front_shmem, descriptors_are_only_sent_where_that_was_negotiated)
{
    const uint64_t p = VHOST_PROTOCOL(SHMEM) | VHOST_PROTOCOL(BACKEND_REQ);
    struct vhost_message m = piece(VHOST_USER_BACKEND_SHMEM_MAP, 0, 0, 0x1000);

    cr_assert_eq(vhost_message_check(VHOST_BACK, &m, false, p), -EPROTO);
    cr_assert_eq(vhost_message_check(VHOST_BACK, &m, false, p | VHOST_PROTOCOL(BACKEND_SEND_FD)),
                 0);
}
