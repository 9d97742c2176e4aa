/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The back end's log of requests in flight, made, taken back, and used by the next back end. */
#include "backend_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(backend_inflight, .init = lab_behind, .fini = close_lab);

/* The log's descriptor, or what the back end did instead. */
static int get_log(uint16_t queues, uint16_t size, struct vhost_inflight *ret_log)
{
    struct vhost_inflight i = { .queues = queues, .queue_size = size };
    struct vhost_message m = ffe_message(VHOST_USER_GET_INFLIGHT_FD, &i, sizeof(i)), reply;
    int rc = ffe_ask(front(), &m, &reply);

    if (rc)
        return rc;
    *ret_log = reply.payload.inflight;
    return reply.fds == 1 ? reply.fd[0] : -EPROTO;
}

static int set_log(const struct vhost_inflight *log, int fd)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_INFLIGHT_FD, log, sizeof(*log));

    m.fd[m.fds++] = fd;
    return ffe_do(front(), &m);
}

Test(backend_inflight, what_was_in_flight_is_finished_by_the_next_back_end)
{
    uint8_t *ram = malloc(front()->ram_bytes), *log, *dead;
    struct vhost_inflight i = { 0 };
    uint16_t id;
    uint32_t len;
    int fd;

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    fd = get_log(LAB_QUEUES, 16, &i);
    cr_assert_geq(fd, 0);
    cr_assert_eq(set_log(&i, fd), 0);
    start_ring(0);
    lab->hold = true;
    cr_assert_eq(ask(0), -EAGAIN);
    cr_assert_eq(ask(0), -EAGAIN);
    virtio_enter(&lab->dev); /* the second comes back first */
    cr_assert_eq(vq_req_done(lab->pool, lab->held[--lab->held_count]), 0);
    virtio_leave(&lab->dev);
    /* What would be found if the back end died here. */
    dead = malloc(i.mmap_size);
    log = mmap(NULL, i.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(dead, log, i.mmap_size);
    memcpy(ram, front()->ram, front()->ram_bytes);
    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    memcpy(front()->ram, ram, front()->ram_bytes);
    memcpy(log, dead, i.mmap_size);
    lab->hold = false;

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    cr_assert_eq(set_log(&i, fd), 0);
    cr_assert_eq(set_ring(0, 1), 0); /* as far as the used ring tells */
    cr_assert_eq(ffe_ring_on(front(), 0), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1);
    cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1, "without a kick: it was lost");
    cr_assert_eq(len, 4);
    cr_assert_eq(fake_driver_in_flight(&h.drv[0]), 0);
    munmap(log, i.mmap_size);
    close(fd);
    free(dead);
    free(ram);
}

Test(backend_inflight, a_log_cannot_be_cut_short)
{
    struct vhost_inflight i = { 0 };
    int fd;

    hello(USUAL);
    fd = get_log(1, 16, &i);

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, 0), -1);
    cr_assert_eq(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK, F_SEAL_SHRINK);
    close(fd);
}

Test(backend_inflight, logs_that_cannot_be_are_refused)
{
    struct vhost_inflight i = { 0 }, bad;
    int fd;

    hello(USUAL);
    fd = get_log(1, 16, &i);
    cr_assert_geq(fd, 0);

    bad = i;
    bad.mmap_size -= 64;
    cr_assert_eq(set_log(&bad, fd), FFE_REFUSED);
    bad = i;
    bad.mmap_size = UINT64_MAX;
    cr_assert_eq(set_log(&bad, fd), FFE_REFUSED);
    bad = i;
    bad.mmap_offset = 1 << 20;
    cr_assert_eq(set_log(&bad, fd), FFE_REFUSED);
    bad = i;
    bad.queues = LAB_QUEUES + 1;
    cr_assert_eq(set_log(&bad, fd), FFE_REFUSED);
    cr_assert_eq(set_log(&i, front()->fd), FFE_REFUSED);

    cr_assert_eq(set_log(&i, fd), 0);
    close(fd);
}
