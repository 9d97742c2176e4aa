/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device's own state by SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE; what network devices are told. */
#include "backend_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 4096 };

static uint8_t bytes[ROOM];
static size_t len;
static int pipes[2];

static void open_lab(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    lab_behind();
    hello(USUAL | VHOST_PROTOCOL(DEVICE_STATE));
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    cr_assert_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
}

static void close_all(void)
{
    vm_close(&pipes[0]);
    vm_close(&pipes[1]);
    close_lab();
}

TestSuite(backend_state, .init = open_lab, .fini = close_all);

/* Until nothing more goes in. */
static void fill(int fd)
{
    static const uint8_t zeros[512];

    while (write(fd, zeros, sizeof(zeros)) > 0)
        ;
}

/* What lies there, and whether its end does. */
static size_t drain(int fd, bool *ret_end)
{
    uint8_t piece[1024];
    size_t all = 0;
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) > 0)
        all += (size_t)n;
    *ret_end = !n;
    return all;
}

static void save(void)
{
    cr_assert_eq(ffe_state_save(front(), bytes, sizeof(bytes), &len), 0);
}

Test(backend_state, what_was_saved_is_loaded_by_the_next_device)
{
    lab->saved = 0x1234;
    save();
    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    lab->saved = 0;
    hello(USUAL | VHOST_PROTOCOL(DEVICE_STATE));

    cr_assert_eq(ffe_state_load(front(), bytes, len), 0);

    cr_assert_eq(lab->saved, 0x1234);
    cr_assert_str_eq((char *)bytes, "lab");
}

Test(backend_state, a_device_goes_on_after_its_state_was_saved)
{
    uint32_t base;

    start_ring(0);
    cr_assert_eq(ask(0), 4);
    cr_assert_eq(ffe_ring_stop(front(), 0, &base), 0);
    save();

    cr_assert_eq(set_ring(0, base), 0);
    cr_assert_eq(ffe_ring_on(front(), 0), 0);

    cr_assert_eq(ask(0), 4);
}

Test(backend_state, a_loaded_device_keeps_its_state_when_its_rings_start)
{
    unsigned resets;

    lab->saved = 7;
    save();
    lab->saved = 0;
    cr_assert_eq(ffe_state_load(front(), bytes, len), 0);
    resets = lab->resets;

    start_ring(0);

    cr_assert_eq(ask(0), 4);
    cr_assert_eq(lab->saved, 7);
    cr_assert_eq(lab->resets, resets);
}

Test(backend_state, is_not_given_while_a_ring_is_started)
{
    start_ring(0);

    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pipes[1]), FFE_REFUSED);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), FFE_REFUSED);

    cr_assert_eq(ask(0), 4);
}

Test(backend_state, is_not_taken_once_a_ring_was_started_meanwhile)
{
    save();
    lab->saved = 1;
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    cr_assert_eq(write(pipes[1], bytes, len), (ssize_t)len);
    vm_close(&pipes[1]);
    start_ring(0);

    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED);

    cr_assert_eq(lab->saved, 1);
    cr_assert_eq(ask(0), 4);
}

Test(backend_state, a_channel_that_takes_nothing_is_not_waited_for)
{
    uint64_t features;
    bool end;

    fill(pipes[1]);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pipes[1]), 0);
    vm_close(&pipes[1]);

    cr_assert_eq(ffe_get_u64(front(), VHOST_USER_GET_FEATURES, &features), 0);

    (void)drain(pipes[0], &end);
    cr_assert_not(end);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_gt(drain(pipes[0], &end), 64);
    cr_assert(end);
    cr_assert_eq(ffe_state_check(front()), 0);
}

Test(backend_state, the_answer_to_check_comes_when_all_bytes_have_gone)
{
    struct vhost_message check = ffe_message(VHOST_USER_CHECK_DEVICE_STATE, NULL, 0), reply;
    bool end;

    fill(pipes[1]);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pipes[1]), 0);
    vm_close(&pipes[1]);
    cr_assert_eq(ffe_send(front(), &check), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);

    (void)drain(pipes[0], &end);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.payload.u64, 0);
}

Test(backend_state, a_channel_that_is_never_closed_is_an_error_after_5_s)
{
    struct vhost_message check = ffe_message(VHOST_USER_CHECK_DEVICE_STATE, NULL, 0), reply;

    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    cr_assert_eq(ffe_send(front(), &check), 0);
    cr_assert_eq(vh_pass(&h, 4900000000ULL), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);

    cr_assert_eq(vh_pass(&h, 200000000ULL), 0);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.payload.u64, 1);
}

Test(backend_state, a_channel_that_is_silent_for_a_minute_is_closed)
{
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    vm_close(&pipes[0]);

    cr_assert_eq(vh_pass(&h, 61000000000ULL), 0);

    cr_assert_eq(write(pipes[1], "x", 1), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED);
}

Test(backend_state, nobody_who_reads_is_an_error)
{
    fill(pipes[1]);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pipes[1]), 0);

    vm_close(&pipes[0]);

    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED);
}

Test(backend_state, of_another_class_is_refused)
{
    save();
    memcpy(bytes, "virtio-lab", 11);

    cr_assert_eq(ffe_state_load(front(), bytes, len), FFE_REFUSED);
}

Test(backend_state, that_is_cut_off_or_too_long_is_refused)
{
    save();
    lab->saved = 5;

    for (size_t n = 0; n < len; n++)
        cr_assert_eq(ffe_state_load(front(), bytes, n), FFE_REFUSED, "%zu of %zu bytes", n, len);
    cr_assert_eq(ffe_state_load(front(), bytes, len + 1), FFE_REFUSED);

    cr_assert_eq(lab->saved, 5);
    start_ring(0);
    cr_assert_eq(ask(0), 4);
}

Test(backend_state, that_never_ends_is_not_kept)
{
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    vm_close(&pipes[0]);

    for (unsigned i = 0; i < 1000 && pipes[1] >= 0; i++) {
        fill(pipes[1]);
        cr_assert_eq(vh_idle(&h), 0);
        if (write(pipes[1], "x", 1) < 0 && errno == EPIPE)
            vm_close(&pipes[1]);
    }

    cr_assert_eq(pipes[1], -1, "it reads for ever");
    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED);
}

Test(backend_state, that_the_device_refuses_leaves_it_reset)
{
    unsigned resets = lab->resets;

    save();
    lab->load_rc = -EINVAL;

    cr_assert_eq(ffe_state_load(front(), bytes, len), FFE_REFUSED);

    cr_assert_eq(lab->resets, resets + 1);
    lab->load_rc = 0;
    cr_assert_eq(ffe_state_load(front(), bytes, len), 0);
}

Test(backend_state, by_what_is_no_channel_is_refused)
{
    int file = memfd_create("state", MFD_CLOEXEC), event = vm_eventfd();

    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, file), FFE_REFUSED);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, event), FFE_REFUSED);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pipes[0]), FFE_REFUSED);
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[1]), FFE_REFUSED);
    cr_assert_eq(ffe_state(front(), 2, pipes[1]), FFE_REFUSED);

    save();
    vm_close(&file);
    vm_close(&event);
}

Test(backend_state, is_only_checked_after_a_transfer)
{
    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED);
    save();
    cr_assert_eq(ffe_state_check(front()), FFE_REFUSED, "a second time");
}

Test(backend_state, a_second_transfer_takes_the_first_ones_place)
{
    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    vm_close(&pipes[0]);

    save();

    cr_assert_eq(write(pipes[1], "x", 1), -1);
    cr_assert_eq(errno, EPIPE);
}

Test(backend_state, goes_through_a_socket_too)
{
    int pair[2];

    lab->saved = 99;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);

    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_SAVE, pair[1]), 0);
    vm_close(&pair[1]);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_gt(read(pair[0], bytes, sizeof(bytes)), 64);
    cr_assert_eq(ffe_state_check(front()), 0);
    vm_close(&pair[0]);
}

Test(backend_state, the_end_of_a_session_is_the_end_of_its_transfer)
{
    struct vhost_message check = ffe_message(VHOST_USER_CHECK_DEVICE_STATE, NULL, 0);

    cr_assert_eq(ffe_state(front(), VHOST_TRANSFER_LOAD, pipes[0]), 0);
    vm_close(&pipes[0]);
    cr_assert_eq(ffe_send(front(), &check), 0);
    cr_assert_eq(vh_idle(&h), 0);

    vhost_backend_end(backend()); /* while the answer is awaited */
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_not(vhost_backend_busy(backend()));
    cr_assert_eq(write(pipes[1], "x", 1), -1);
    cr_assert_eq(errno, EPIPE);
}

/* ---- what network devices are told ---- */

static struct {
    uint8_t mac[6];
    uint16_t mtu;
    unsigned announced;
} heard;

static int net_announce(struct virtio_dev *dev, const uint8_t mac[6])
{
    (void)dev;
    heard.announced++;
    memcpy(heard.mac, mac, 6);
    return 0;
}

static int net_set_mtu(struct virtio_dev *dev, uint16_t mtu)
{
    (void)dev;
    if (mtu > 9000)
        return vm_fail(-EINVAL, "the network carries 9000");
    heard.mtu = mtu;
    return 0;
}

static void be_a_network(void)
{
    static struct virtio_ops ops;

    ops = lab_ops;
    ops.announce = net_announce;
    ops.set_mtu = net_set_mtu;
    lab->dev.ops = &ops;
    memset(&heard, 0, sizeof(heard));
}

Test(backend_net, rarp_and_mtu_are_offered_by_devices_that_know_them, .init = lab_behind,
     .fini = close_lab)
{
    const uint64_t both = VHOST_PROTOCOL(RARP) | VHOST_PROTOCOL(MTU);

    hello(USUAL);
    cr_assert_not(front()->protocol_offered & both);
    be_a_network();
    hello(USUAL);

    cr_assert_eq(front()->protocol_offered & both, both);
}

Test(backend_net, is_told_the_address_to_announce, .init = lab_behind, .fini = close_lab)
{
    static const uint8_t mac[8] = { 0x52, 0x54, 0, 1, 2, 3 };
    struct vhost_message m = ffe_message(VHOST_USER_SEND_RARP, mac, sizeof(mac));

    be_a_network();
    hello(USUAL | VHOST_PROTOCOL(RARP));

    cr_assert_eq(ffe_do(front(), &m), 0);

    cr_assert_eq(heard.announced, 1);
    cr_assert_arr_eq(heard.mac, mac, 6);
}

Test(backend_net, is_told_an_mtu_that_can_be, .init = lab_behind, .fini = close_lab)
{
    be_a_network();
    hello(USUAL | VHOST_PROTOCOL(MTU));

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_NET_SET_MTU, 1500), 0);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_NET_SET_MTU, 67), FFE_REFUSED);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_NET_SET_MTU, 65536), FFE_REFUSED);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_NET_SET_MTU, 9001), FFE_REFUSED);

    cr_assert_eq(heard.mtu, 1500);
}

Test(backend_net, words_that_were_not_negotiated_are_refused, .init = lab_behind, .fini = close_lab)
{
    be_a_network();
    hello(USUAL);

    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_NET_SET_MTU, 1500), FFE_REFUSED);
    cr_assert_eq(ffe_do_u64(front(), VHOST_USER_SEND_RARP, 1), FFE_REFUSED);

    cr_assert_eq(heard.announced, 0);
}
