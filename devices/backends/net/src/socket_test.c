/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of frames in stream sockets. */
#include "net_test.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/dial.h>
#include <vmm/base/socket.h>

static struct side a, b;
static uint8_t data[VNET_FRAME_MAX + 64];
static char folder[] = "/tmp/vnet-XXXXXX", path[64];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    side_fill(data, sizeof(data));
}

static void teardown(void)
{
    side_close(&a);
    side_close(&b);
    cr_expect_eq(rmdir(folder), 0); /* the socket is gone, too */
}

TestSuite(vnet_socket, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static void link_both(void)
{
    const struct vnet_config server = { .socket = path, .server = true },
                             client = { .socket = path };

    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());
    cr_assert_eq(side_open(&b, &client, 1), 0, "%s", vm_error_text());
    side_turn(&a);
    side_turn(&b);
    cr_assert(a.net->info.link && b.net->info.link);
}

/* A peer of ours that speaks bytes. */
static int raw_peer(void)
{
    const struct vnet_config server = { .socket = path, .server = true };
    int fd;

    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());
    fd = vm_socket_connect(path);
    cr_assert_geq(fd, 0);
    side_turn(&a);
    return fd;
}

Test(vnet_socket, frames_cross_it_both_ways_whole_and_in_order)
{
    link_both();
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(side_send(&a, data + i, 60 + i * 50), 0);
    cr_assert_eq(side_send(&b, data, 1514), 0);

    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(side_await(&b, 0, data + i, 60), 60 + i * 50);
        cr_assert_arr_eq(b.data, data + i, 60 + i * 50);
    }
    cr_assert_eq(side_receive(&b, 0), -EAGAIN);
    cr_assert_eq(side_await(&a, 0, data, 60), 1514);
}

Test(vnet_socket, a_frame_stands_behind_its_length)
{
    static const uint8_t wire[] = { 0, 0, 0, 60 };
    uint8_t got[64];
    int fd = raw_peer();

    cr_assert_eq(side_send(&a, data, 60), 0);

    cr_assert_eq(read(fd, got, sizeof(got)), 64);
    cr_assert_arr_eq(got, wire, 4);
    cr_assert_arr_eq(got + 4, data, 60);
    close(fd);
}

Test(vnet_socket, a_frame_may_come_in_pieces)
{
    uint8_t wire[104] = { 0, 0, 0, 100 };
    int fd = raw_peer();

    memcpy(wire + 4, data, 100);
    for (unsigned i = 0; i < 103; i++) {
        cr_assert_eq(write(fd, wire + i, 1), 1);
        cr_assert_eq(side_receive(&a, 0), -EAGAIN);
    }
    cr_assert_eq(write(fd, wire + 103, 1), 1);

    cr_assert_eq(side_receive(&a, 0), 100);
    cr_assert_arr_eq(a.data, data, 100);
    close(fd);
}

Test(vnet_socket, a_peer_that_reads_nothing_is_waited_for_and_gets_every_frame)
{
    unsigned sent = 0, got = 0;

    link_both();
    while (!side_send(&a, data, 60000))
        sent++;
    cr_assert_eq(side_send(&a, data, 60000), -EAGAIN);
    side_turn(&a);
    a.writable = 0;

    for (; got < sent; got++) {
        cr_assert_eq(side_await(&b, 0, data, 60000), 60000);
        side_turn(&a);
    }

    cr_assert_gt(a.writable, 0);
    cr_assert_eq(side_send(&a, data, 100), 0);
    cr_assert_eq(side_await(&b, 0, data, 60), 100);
}

Test(vnet_socket, a_length_that_cannot_be_ends_the_connection)
{
    int fd = raw_peer();

    cr_assert_eq(write(fd, "\xff\xff\xff\xff", 4), 4);

    cr_assert_eq(side_receive(&a, 0), -ENETDOWN);
    side_turn(&a);
    cr_assert_not(a.net->info.link);
    cr_assert_eq(a.links, 2);
    close(fd);
}

Test(vnet_socket, a_server_takes_the_next_peer)
{
    int fd = raw_peer(), second;

    cr_assert_eq(side_receive(&a, 0), -EAGAIN);
    close(fd);
    side_turn(&a);
    cr_assert_not(a.net->info.link);
    cr_assert_eq(side_send(&a, data, 60), -ENETDOWN);
    second = vm_socket_connect(path);
    side_turn(&a);

    cr_assert(a.net->info.link);
    cr_assert_eq(side_send(&a, data, 60), 0);
    close(second);
}

Test(vnet_socket, a_second_peer_is_sent_away)
{
    int fd = raw_peer(), second = vm_socket_connect(path);
    char byte;

    side_turn(&a);

    cr_assert_eq(read(second, &byte, 1), 0);
    cr_assert(a.net->info.link);
    close(fd);
    close(second);
}

Test(vnet_socket, a_server_without_descriptors_does_not_spin_and_takes_its_peer_later)
{
    const struct vnet_config server = { .socket = path, .server = true };
    struct rlimit files, few;
    unsigned turns = 0;
    int fd, next;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has descriptors of its own");
    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());
    fd = vm_socket_connect(path);
    next = dup(fd);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    few = files;
    few.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);

    while (turns < 100 && vm_loop_step(a.env.loop, 0) > 0)
        turns++;

    cr_assert_lt(turns, 100);
    cr_assert_not(a.net->info.link);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (int i = 0; i < 300 && !a.net->info.link; i++)
        vm_loop_step(a.env.loop, 10000000);
    cr_assert(a.net->info.link);
    close(fd);
}

Test(vnet_socket, a_client_comes_back)
{
    const struct vnet_config server = { .socket = path, .server = true };

    link_both();
    side_close(&a);
    side_turn(&b);
    cr_assert_not(b.net->info.link);
    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());
    for (unsigned i = 0; i < 500 && !b.net->info.link; i++)
        vm_loop_step(b.env.loop, 10000000);

    cr_assert(b.net->info.link);
    side_turn(&a);
    cr_assert_eq(side_send(&b, data, 60), 0);
    cr_assert_eq(side_await(&a, 0, data, 60), 60);
}

/* Outside of the jail: names are opened once, afterwards there is only the one who dials. */
static struct {
    struct vm_env host;
    struct vm_dial dial;
    bool closed;
} outside = { .dial = { .fd = -1 } };

static int open_outside(void *ctx, const char *name, unsigned how)
{
    int fd;

    (void)ctx;
    if (outside.closed)
        return vm_fail(-EACCES, "%s: nothing more may be opened", name);
    if (how != (VM_OPEN_DIAL | VM_OPEN_CONNECT))
        return outside.host.open(outside.host.ctx, name, how);
    outside.closed = true;
    return vm_dial_new(name, how, &outside.dial, &fd) ? -EACCES : fd;
}

static bool peer_comes(bool there)
{
    for (unsigned i = 0; i < 500 && b.net->info.link != there; i++) {
        vm_loop_step(b.env.loop, 10000000);
        cr_assert_eq(vm_dial_serve(&outside.dial), 0);
    }
    return b.net->info.link == there;
}

Test(vnet_socket, a_client_that_may_open_nothing_any_more_comes_back_too)
{
    const struct vnet_config server = { .socket = path, .server = true };

    vm_env_host(VM_LOG_ERROR, &b.env);
    outside.host = b.env;
    b.env.open = open_outside;
    link_both();
    side_close(&a);
    cr_assert(peer_comes(false));
    (void)peer_comes(true); /* nobody is there: the answer says so */

    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());

    cr_assert(peer_comes(true));
    side_turn(&a);
    cr_assert_eq(side_send(&b, data, 60), 0);
    cr_assert_eq(side_await(&a, 0, data, 60), 60);
    cr_assert_gt(b.links, 1);
    vm_dial_end(&outside.dial);
}

Test(vnet_socket, without_the_one_who_dials_a_client_connects_by_itself)
{
    const struct vnet_config server = { .socket = path, .server = true };

    vm_env_host(VM_LOG_ERROR, &b.env);
    outside.host = b.env;
    b.env.open = open_outside;
    link_both();
    vm_dial_end(&outside.dial);
    outside.closed = false;
    side_close(&a);
    side_turn(&b);
    cr_assert_eq(side_open(&a, &server, 1), 0, "%s", vm_error_text());
    for (unsigned i = 0; i < 500 && !b.net->info.link; i++)
        vm_loop_step(b.env.loop, 10000000);

    cr_assert(b.net->info.link);
    vm_dial_end(&outside.dial);
}

Test(vnet_socket, nobody_there_is_told_with_the_cure)
{
    const struct vnet_config client = { .socket = path };

    cr_assert_eq(side_open(&b, &client, 1), -ENOENT);

    cr_assert(strstr(vm_error_text(), "server=on"), "%s", vm_error_text());
}

Test(vnet_socket, an_open_one_can_be_given)
{
    int pair[2];
    struct vnet_config config = { .fd = { .items = &pair[0], .count = 1 } };

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_eq(side_send(&a, data, 60), 0);
    cr_assert_eq(read(pair[1], a.data, 100), 64);
    close(pair[0]);
    close(pair[1]);
}
