/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Sessions, features, configuration space, status and reset of the back end. */
#include "backend_test.h"

#include <sys/socket.h>
#include <unistd.h>

TestSuite(backend, .init = lab_behind, .fini = close_lab);

static uint64_t get(uint32_t request)
{
    uint64_t v = 0;

    cr_assert_eq(ffe_get_u64(front(), request, &v), 0);
    return v;
}

/* ---- features ---- */

Test(backend, a_front_end_is_offered_the_devices_features_and_those_of_the_protocol)
{
    hello(FFE_ALL);

    cr_assert_eq(front()->offered, lab->dev.offered | VHOST_FEATURE_LOG_ALL |
                                       VHOST_FEATURE_PROTOCOL | VIRTIO_FEATURE_ACCESS_PLATFORM);
    cr_assert_eq(get(VHOST_USER_GET_QUEUE_NUM), LAB_QUEUES);
    cr_assert_eq(get(VHOST_USER_GET_MAX_MEM_SLOTS), GM_REGIONS_MAX);
}

Test(backend, a_request_is_served_without_any_protocol_feature)
{
    connect_front();
    cr_assert_eq(ffe_get_u64(front(), VHOST_USER_GET_FEATURES, &front()->offered), 0);
    cr_assert_eq(ffe_table(front()), 0);

    start_ring(1);

    cr_assert_eq(ask(1), 4);
    cr_assert_eq(h.drv[1].notified, 1);
}

Test(backend, a_request_is_served_with_all_protocol_features)
{
    hello(FFE_ALL & ~VHOST_PROTOCOL(STATUS));
    start_ring(1);

    cr_assert_eq(ask(1), 4);
}

Test(backend, features_that_are_not_offered_are_refused)
{
    hello(USUAL);

    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | 1ULL << 36), FFE_REFUSED);
    cr_assert(vh_logged(&h, "SET_FEATURES"));
}

Test(backend, what_is_refused_ends_the_connection_where_no_answer_is_wanted)
{
    connect_front();
    cr_assert_eq(ffe_get_u64(front(), VHOST_USER_GET_FEATURES, &front()->offered), 0);

    cr_assert_eq(ffe_set_features(front(), 1ULL << 33), -ECONNRESET);

    cr_assert_not(vhost_backend_busy(backend()));
    cr_assert_eq(harness()->why.code, -EINVAL);
}

Test(backend, features_may_not_change_while_a_ring_runs_but_for_logging)
{
    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | LAB_F_ONE), FFE_REFUSED);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VHOST_FEATURE_LOG_ALL), 0);

    cr_assert_eq(ask(1), 4);
}

Test(backend, other_features_after_all_rings_were_stopped_begin_anew)
{
    uint32_t base;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(ffe_ring_stop(front(), 1, &base), 0);

    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | LAB_F_ONE), 0);
    start_ring(1);

    cr_assert_eq(ask(1), 4);
    cr_assert_eq(lab->dev.features, VQ_F_VERSION_1 | LAB_F_ONE);
    cr_assert_eq(lab->starts, 2);
}

Test(backend, a_driver_without_virtio_1_is_told_by_the_rings_error)
{
    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), LAB_F_ONE), 0);
    start_ring(1);

    cr_assert_eq(ask(1), -EAGAIN);

    cr_assert_eq(errors(), 1);
    cr_assert(vh_logged(&h, "VIRTIO 1.0"));
}

Test(backend, in_band_notifications_alone_are_an_error)
{
    connect_front();

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_PROTOCOL_FEATURES,
                            VHOST_PROTOCOL(INBAND_NOTIFICATIONS) | VHOST_PROTOCOL(REPLY_ACK)),
                 -ECONNRESET);
}

Test(backend, to_stop_a_ring_without_waiting_needs_the_log_of_what_is_in_flight)
{
    connect_front();

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_PROTOCOL_FEATURES,
                            SKIP_DRAIN | VHOST_PROTOCOL(REPLY_ACK)),
                 -ECONNRESET);
}

Test(backend, a_message_that_was_not_negotiated_ends_the_connection)
{
    connect_front();

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 1), -ECONNRESET);
}

Test(backend, a_message_that_is_not_offered_is_refused_with_an_answer)
{
    struct vhost_message m = ffe_message(VHOST_USER_CHECK_DEVICE_STATE, NULL, 0);

    hello(USUAL);

    cr_assert_eq(ffe_do(front(), &m), -ECONNRESET, "it has an answer of its own, and none is true");
}

/* ---- configuration space ---- */

static uint32_t read_config(uint32_t offset, uint32_t len, uint8_t *ret_bytes)
{
    struct vhost_config c = { .offset = offset, .size = len };
    struct vhost_message m = ffe_message(VHOST_USER_GET_CONFIG, &c, VHOST_CONFIG_HEADER + len);
    struct vhost_message reply;

    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);
    memcpy(ret_bytes, reply.payload.config.bytes, len);
    return reply.size;
}

static int write_config(uint32_t offset, uint32_t len, uint32_t flags)
{
    struct vhost_config c = { offset, len, flags, { 0x11, 0x22, 0x33, 0x44 } };
    struct vhost_message m = ffe_message(VHOST_USER_SET_CONFIG, &c, VHOST_CONFIG_HEADER + len);

    return ffe_do(front(), &m);
}

Test(backend, config_space_is_read_and_has_zeros_behind_its_end)
{
    uint8_t bytes[64];

    hello(USUAL);

    cr_assert_eq(read_config(8, 64, bytes), VHOST_CONFIG_HEADER + 64);
    cr_assert_eq(bytes[0], 0xc8);
    cr_assert_eq(bytes[3], 0xcb);
    cr_assert_eq(bytes[4], 0);
    cr_assert_eq(read_config(4090, 64, bytes), 0, "an empty payload says that it is an error");
}

Test(backend, config_space_is_written_inside_only)
{
    hello(USUAL);

    cr_assert_eq(write_config(4, 4, VHOST_CONFIG_WRITABLE), 0);
    cr_assert_eq(write_config(LAB_CONFIG - 2, 4, VHOST_CONFIG_WRITABLE), FFE_REFUSED);
    cr_assert_eq(write_config(UINT32_MAX, 4, VHOST_CONFIG_WRITABLE), FFE_REFUSED);
    cr_assert_eq(write_config(0, 4, 2), FFE_REFUSED);

    cr_assert_eq(lab->writes, 1);
    cr_assert_eq(lab->written[4], 0x11);
}

static void change_config(void)
{
    virtio_enter(&lab->dev);
    virtio_config_changed(&lab->dev);
    virtio_leave(&lab->dev);
    cr_assert_eq(vh_idle(&h), 0);
}

Test(backend, a_changed_configuration_is_told_by_message)
{
    unsigned before = h.config_interrupts;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    change_config();

    cr_assert_eq(h.config_interrupts, before + 1);
}

Test(backend, a_second_request_socket_replaces_the_first)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0);
    unsigned before;
    int fd[2];

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
    m.fd[m.fds++] = fd[1];
    cr_assert_eq(ffe_do(front(), &m), 0);
    close(fd[1]);
    vm_close(&front()->back_fd);
    front()->back_fd = fd[0];
    before = h.config_interrupts;

    change_config();

    cr_assert_eq(h.config_interrupts, before + 1);
}

Test(backend, a_request_socket_that_is_no_socket_is_refused)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0);

    hello(USUAL);
    m.fd[m.fds++] = front()->ram_fd;

    cr_assert_eq(ffe_do(front(), &m), FFE_REFUSED);
}

Test(backend, a_request_socket_that_is_closed_harms_nothing)
{
    hello(USUAL);
    start_ring(1);
    vm_close(&front()->back_fd);

    change_config();

    cr_assert_eq(ask(1), 4);
}

/* ---- status and reset ---- */

/* The connection is as good as open: nobody can tell. */
Test(backend, a_front_end_that_lends_its_own_end_and_leaves_is_ended_from_our_side)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0);

    hello(USUAL);
    m.fd[m.fds++] = front()->fd;
    cr_assert_eq(ffe_send(front(), &m), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(vhost_harness_disconnect(&h), -ETIME);
    vhost_backend_end(backend());

    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    cr_assert_eq(vhost_harness_connect(&h), 0);
}

Test(backend, the_status_is_the_front_ends_where_it_was_negotiated)
{
    hello(USUAL | VHOST_PROTOCOL(STATUS));
    start_ring(1);
    cr_assert_eq(ask(1), -EAGAIN, "not before DRIVER_OK");

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 11), 0);
    cr_assert_eq(get(VHOST_USER_GET_STATUS), 11);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 15), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(fake_driver_pending(&h.drv[1]));
    cr_assert_eq(get(VHOST_USER_GET_STATUS), 15);
}

Test(backend, a_front_end_that_tells_half_of_the_status_is_served)
{
    hello(USUAL | VHOST_PROTOCOL(STATUS));
    start_ring(1);

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, VIRTIO_FEATURES_OK), 0);

    cr_assert_eq(ask(1), 4);
}

Test(backend, status_0_resets_the_device)
{
    hello(USUAL | VHOST_PROTOCOL(STATUS));
    start_ring(1);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 15), 0);

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 0), 0);

    cr_assert_eq(get(VHOST_USER_GET_STATUS), 0);
    cr_assert_eq(ask(1), -EAGAIN);
    cr_assert_eq(lab->resets, 2, "that of the session before, and this one");
}

Test(backend, a_status_that_cannot_be_is_refused)
{
    hello(USUAL | VHOST_PROTOCOL(STATUS));

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SET_STATUS, 256), FFE_REFUSED);
}

Test(backend, reset_device_disables_all_rings_and_the_device_can_be_used_again)
{
    struct vhost_message m = ffe_message(VHOST_USER_RESET_DEVICE, NULL, 0);
    unsigned resets;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    resets = lab->resets;

    cr_assert_eq(ffe_do(front(), &m), 0);

    cr_assert_eq(lab->resets, resets + 1);
    cr_assert_eq(ask(1), -EAGAIN);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
}

Test(backend, the_answer_to_a_reset_waits_for_the_device)
{
    struct vhost_message m = ffe_message(VHOST_USER_RESET_DEVICE, NULL, 0), reply;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
    lab->stop_late = true;
    m.flags |= VHOST_MESSAGE_NEED_REPLY;
    cr_assert_eq(ffe_send(front(), &m), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);

    virtio_enter(&lab->dev);
    virtio_stopped(&lab->dev);
    virtio_leave(&lab->dev);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.payload.u64, 0);
}

Test(backend, owner_messages_change_nothing)
{
    struct vhost_message m = ffe_message(VHOST_USER_RESET_OWNER, NULL, 0);

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ffe_do(front(), &m), 0);

    cr_assert_eq(ask(1), 4);
}

/* ---- sessions ---- */

Test(backend, only_one_front_end_is_served_at_a_time)
{
    int fd[2];

    hello(USUAL);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);

    cr_assert_eq(vhost_backend_serve(backend(), fd[0]), -EBUSY);

    close(fd[1]);
    start_ring(1);
    cr_assert_eq(ask(1), 4);
}

Test(backend, a_device_that_another_process_serves_is_not_served_on)
{
    struct vhost_backend *none = NULL;

    lab->dev.kick[0].remote = true;

    cr_assert_eq(vhost_backend_new(&lab->dev, NULL, NULL, NULL, &none), -EINVAL);
    cr_assert_null(none);
    lab->dev.kick[0].remote = false;
}

Test(backend, what_is_no_stream_socket_is_not_served)
{
    int fd[2];

    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    cr_assert_eq(vhost_backend_serve(backend(), vm_eventfd()), -ENOTSOCK);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
    cr_assert_eq(vhost_backend_serve(backend(), fd[0]), -EINVAL);

    close(fd[1]);
}

Test(backend, a_front_end_that_leaves_leaves_nothing_behind)
{
    struct gm_map *map;

    hello(USUAL);
    start_ring(1);
    cr_assert_eq(ask(1), 4);

    cr_assert_eq(vhost_harness_disconnect(&h), 0);

    cr_assert_eq(lab->dev.status, 0);
    map = gm_space_map(h.device_memory);
    cr_assert_eq(gm_map_count(map), 0);
    gm_map_unref(map);
    cr_assert_eq(harness()->why.code, -ECONNRESET);
}

Test(backend, the_end_of_a_session_waits_for_requests_in_flight)
{
    hello(USUAL);
    start_ring(0);
    lab->hold = lab->quiesce_late = true;
    cr_assert_eq(ask(0), -EAGAIN);
    ffe_disconnect(front());
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert(vhost_backend_busy(backend()));

    virtio_enter(&lab->dev);
    lab_finish(lab);
    virtio_stopped(&lab->dev);
    virtio_leave(&lab->dev);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_not(vhost_backend_busy(backend()));
    cr_assert(fake_driver_pending(&h.drv[0]), "finished, not dropped");
}

Test(backend, a_session_can_be_ended_from_our_side)
{
    struct vhost_message m;

    hello(USUAL);
    start_ring(1);

    vhost_backend_end(backend());
    vhost_backend_end(backend());
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_not(vhost_backend_busy(backend()));
    cr_assert_eq(harness()->why.code, -ECANCELED);
    cr_assert_eq(ffe_receive(front(), &m), -ECONNRESET);
}
