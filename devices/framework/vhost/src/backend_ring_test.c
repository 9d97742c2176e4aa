/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Rings of the back end: when they start and stop, what may be set, who is told. */
#include "backend_test.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(backend_ring, .init = lab_behind, .fini = close_lab);

static void offer(uint16_t n)
{
    struct fake_buf b[2] = { { 0x1000, 4, false }, { 0x2000, 16, true } };

    cr_assert_geq(fake_driver_offer(&h.drv[n], b, 2), 0);
}

/* ---- start ---- */

Test(backend_ring, a_ring_starts_with_its_kick_descriptor_and_needs_no_kick)
{
    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(1);
    offer(1);
    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);
    cr_assert_not(fake_driver_pending(&h.drv[1]));

    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, features_without_those_of_the_protocol_enable_all_rings)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 0), 0);
    cr_assert_eq(ask(1), -EAGAIN);

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_FEATURES, VQ_F_VERSION_1), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, the_driver_of_a_continued_ring_is_called)
{
    uint32_t base;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);
    cr_assert_eq(base, 1);
    offer(1);

    cr_assert_eq(set_ring(1, base), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, a_disabled_ring_waits_until_it_is_enabled)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 0), 0);
    cr_assert_eq(ask(1), -EAGAIN);

    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, a_running_ring_is_disabled_and_goes_on_where_it_was)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 0), 0);
    cr_assert_eq(ask(1), -EAGAIN);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
    cr_assert_eq(lab->starts, 1);
}

Test(backend_ring, packed_rings_are_served_stopped_and_continued)
{
    uint32_t base;

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VQ_F_RING_PACKED), 0);
    start_ring(1);
    for (unsigned i = 0; i < 9; i++)
        cr_assert_eq(ask(1), 4);
    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);
    cr_assert_eq(base, 0x00020002, "the 18th of 16 entries: its second round");

    cr_assert_eq(set_ring(1, base), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);

    cr_assert_eq(ask(1), 4);
}

Test(backend_ring, without_a_kick_descriptor_the_ring_is_looked_at_by_time)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_KICK, 1, -1), 0);
    offer(1);

    cr_assert_eq(vh_pass(&h, 1000000), 0);
    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, a_kick_in_band_starts_and_serves_a_ring)
{
    hello(FFE_ALL & ~VHOST_PROTOCOL(STATUS));
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(1);
    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
    offer(1);

    cr_assert_eq(ffe_do_state(front(), VHOST_USER_VRING_KICK, 1, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
    cr_assert_eq(h.drv[1].notified, 1, "the call came in band");
    offer(1);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_VRING_KICK, 1, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(h.drv[1].notified, 2);
}

/* A socket for the back end's requests, and the front end's end of it. */
static void give_request_socket(void)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0);
    int fd[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
    m.fd[m.fds++] = fd[1];
    cr_assert_eq(ffe_do(front(), &m), 0);
    close(fd[1]);
    vm_close(&front()->back_fd);
    front()->back_fd = fd[0];
}

static void serve_one_in_band(void)
{
    make_ring(1);
    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
    offer(1);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_VRING_KICK, 1, 0), 0);
}

Test(backend_ring, a_call_in_band_that_is_due_before_there_is_a_socket_comes_with_it)
{
    connect_front();
    front()->protocol = USUAL | VHOST_PROTOCOL(INBAND_NOTIFICATIONS);
    cr_assert_eq(ffe_get_u64(front(), VHOST_USER_GET_FEATURES, &front()->offered), 0);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_PROTOCOL_FEATURES, front()->protocol), 0);
    cr_assert_eq(ffe_table(front()), 0);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    serve_one_in_band();
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(h.drv[1].notified, 0);

    give_request_socket();
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(h.drv[1].notified, 1);
}

Test(backend_ring, a_call_in_band_that_was_not_acknowledged_is_told_to_the_next_socket)
{
    hello(FFE_ALL & ~VHOST_PROTOCOL(STATUS));
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    serve_one_in_band(); /* the front end does not look at its socket */

    give_request_socket();
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(h.drv[1].notified, 1);
}

Test(backend_ring, what_is_set_twice_or_in_another_order_starts_all_the_same)
{
    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(1);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    ffe_kick(front(), 1);
    offer(1);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
}

Test(backend_ring, a_ring_that_cannot_be_is_told_and_may_be_mended)
{
    struct fake_driver *drv;

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(1);
    drv = &h.drv[1];
    cr_assert_eq(ffe_ring(front(), 1, drv->size, drv->desc + 1, drv->driver, drv->device, 0), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    cr_assert_eq(ask(1), -EAGAIN);
    cr_assert_eq(errors(), 1);
    cr_assert(vh_logged(&h, "not aligned"));

    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(drv));
}

Test(backend_ring, rings_in_no_memory_or_with_an_index_beyond_their_end_do_not_start)
{
    struct fake_driver *drv;

    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(1);
    drv = &h.drv[1];
    cr_assert_eq(ffe_ring(front(), 1, 16, 1ULL << 40, drv->driver, drv->device, 0), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    cr_assert_eq(ask(1), -EAGAIN);
    cr_assert_eq(errors(), 1);

    cr_assert_eq(set_ring(1, 0x10000), 0);
    ffe_kick(front(), 1);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(errors(), 1);
    cr_assert_not(lab->dev.running);
}

Test(backend_ring, a_packed_base_beyond_the_ring_is_an_error)
{
    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VQ_F_RING_PACKED), 0);
    make_ring(1);
    cr_assert_eq(set_ring(1, 0x7fff8000), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);

    cr_assert_eq(ask(1), -EAGAIN);

    cr_assert_eq(errors(), 1);
}

Test(backend_ring, a_stop_that_does_not_wait_says_where_the_ring_was)
{
    struct vhost_ring_state state = { 1, 0 };
    struct vhost_message m =
        ffe_message(VHOST_USER_GET_VRING_BASE_SKIP_DRAIN, &state, sizeof(state));
    struct vhost_message reply;

    hello(USUAL | SKIP_DRAIN);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);

    cr_assert_eq(reply.payload.state.index, 1);
    cr_assert_eq(reply.payload.state.num, 1);
    cr_assert_eq(ask(1), -EAGAIN);
}

/* ---- what may be set ---- */

Test(backend_ring, a_ring_that_does_not_exist_is_refused_by_every_message)
{
    uint32_t base;
    int fd = vm_eventfd();

    hello(FFE_ALL);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_NUM, LAB_QUEUES, 16), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_BASE, UINT32_MAX, 0), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, LAB_QUEUES, 1), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_VRING_KICK, LAB_QUEUES, 0), FFE_REFUSED);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_KICK, 255, fd), FFE_REFUSED);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_CALL, LAB_QUEUES, fd), FFE_REFUSED);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_ERR, LAB_QUEUES, fd), FFE_REFUSED);
    cr_assert_eq(ffe_ring_stop(front(), LAB_QUEUES, &base), -ECONNRESET,
                 "there is no answer to give");

    vm_close(&fd);
}

Test(backend_ring, sizes_that_the_device_does_not_have_are_refused)
{
    hello(USUAL);

    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_NUM, 0, 0), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_NUM, 0, LAB_SIZE * 2), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_NUM, 0, 65536 + 16), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_ENABLE, 0, 2), FFE_REFUSED);
}

Test(backend_ring, a_ring_that_runs_keeps_size_base_and_addresses)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_NUM, 1, 8), FFE_REFUSED);
    cr_assert_eq(ffe_do_state(front(), VHOST_USER_SET_VRING_BASE, 1, 0), FFE_REFUSED);
    h.drv[1].desc += 0x1000;
    cr_assert_neq(set_ring(1, 1), 0);
    h.drv[1].desc -= 0x1000;

    cr_assert_eq(ask(1), 4);
}

Test(backend_ring, descriptors_of_another_kind_are_refused)
{
    int pipes[2];

    hello(USUAL);
    cr_assert_eq(pipe(pipes), 0);

    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_KICK, 1, pipes[0]), FFE_REFUSED);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_CALL, 1, front()->ram_fd), FFE_REFUSED);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_ERR, 1, front()->fd), FFE_REFUSED);

    close(pipes[0]);
    close(pipes[1]);
}

Test(backend_ring, an_fd_where_the_message_says_none_is_refused)
{
    uint64_t none = 1 | VHOST_RING_NO_FD, one = 1;
    struct vhost_message m = ffe_message(VHOST_USER_SET_VRING_CALL, &none, sizeof(none));
    int fd = vm_eventfd();

    hello(USUAL);
    m.fd[m.fds++] = fd;
    cr_assert_eq(ffe_do(front(), &m), FFE_REFUSED);
    m = ffe_message(VHOST_USER_SET_VRING_CALL, &one, sizeof(one));
    cr_assert_eq(ffe_do(front(), &m), FFE_REFUSED);

    vm_close(&fd);
}

/* ---- calls ---- */

Test(backend_ring, a_new_call_descriptor_is_signalled_once_while_the_ring_runs)
{
    int fd = vm_eventfd();

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_CALL, 1, fd), 0);

    cr_assert_eq(vm_eventfd_take(fd), 1);
    vm_close(&fd);
}

Test(backend_ring, without_a_call_descriptor_nobody_is_told)
{
    hello(FFE_ALL & ~VHOST_PROTOCOL(STATUS));
    start_ring(1);
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_CALL, 1, -1), 0);

    cr_assert_eq(ask(1), 4);

    cr_assert_eq(h.drv[1].notified, 0);
}

Test(backend_ring, a_full_call_descriptor_is_not_waited_for)
{
    uint64_t most = UINT64_MAX - 1;
    int fd = eventfd(0, EFD_CLOEXEC); /* blocking */

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(write(fd, &most, sizeof(most)), (ssize_t)sizeof(most));
    cr_assert_eq(ffe_do_fd(front(), VHOST_USER_SET_VRING_CALL, 1, fd), 0);

    cr_assert_eq(ask(1), 4);

    vm_close(&fd);
}

/* ---- stop ---- */

Test(backend_ring, a_stopped_ring_is_left_alone_until_it_is_set_up_again)
{
    uint32_t base;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);

    cr_assert_eq(ask(1), -EAGAIN);
    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0, "twice is the same");
    cr_assert_eq(base, 1);
}

Test(backend_ring, other_rings_go_on_when_one_is_stopped)
{
    uint32_t base;

    hello(USUAL);
    start_ring(1);
    start_ring(2);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(ask(2), 4);

    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);

    cr_assert_eq(ask(2), 4);
}

Test(backend_ring, the_base_is_told_when_the_last_request_has_come_back)
{
    struct vhost_ring_state state = { 0, 0 };
    struct vhost_message m = ffe_message(VHOST_USER_GET_VRING_BASE, &state, sizeof(state)), reply;

    hello(USUAL);
    start_ring(0);
    lab->hold = lab->quiesce_late = true;
    cr_assert_eq(ask(0), -EAGAIN);
    cr_assert_eq(ffe_send(front(), &m), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);
    cr_assert_eq(vh_pass(&h, 30ULL * 1000000000), 0, "also longer than a device may take to stop");
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);

    virtio_enter(&lab->dev);
    lab->quiesce_late = false;
    lab_finish(lab);
    virtio_stopped(&lab->dev);
    virtio_leave(&lab->dev);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.payload.state.num, 1);
    cr_assert(fake_driver_pending(&h.drv[0]));
}

Test(backend_ring, no_message_overtakes_one_that_waits)
{
    struct vhost_ring_state state = { 0, 0 };
    struct vhost_message m = ffe_message(VHOST_USER_GET_VRING_BASE, &state, sizeof(state)), reply;
    struct vhost_message next = ffe_message(VHOST_USER_GET_FEATURES, NULL, 0);

    hello(USUAL);
    start_ring(0);
    lab->hold = lab->quiesce_late = true;
    cr_assert_eq(ask(0), -EAGAIN);
    cr_assert_eq(ffe_send(front(), &m), 0);
    cr_assert_eq(ffe_send(front(), &next), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);

    virtio_enter(&lab->dev);
    lab_finish(lab);
    virtio_stopped(&lab->dev);
    virtio_leave(&lab->dev);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.request, VHOST_USER_GET_VRING_BASE);
    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.request, VHOST_USER_GET_FEATURES);
}

/* ---- broken by the driver ---- */

Test(backend_ring, a_broken_ring_is_told_and_works_after_all_were_stopped)
{
    uint32_t base;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(fake_driver_corrupt_avail_idx(&h.drv[1], 5000), 0);
    ffe_kick(front(), 1);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(errors() > 0, true);
    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);

    start_ring(1);

    cr_assert_eq(ask(1), 4);
}
