/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One channel on a loop in virtual time; the test is the peer at the other end of its socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/vhost/channel.h>

static struct {
    struct vm_env env;
    struct vhost_channel *channel;
    int peer;
    int answer; /* what message() returns */
    bool keep_fd, free_when_closed;
    unsigned messages, ends;
    struct vhost_message last;
    int kept;
    struct vm_error why;
} t;

static uint64_t now_ns(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static int on_message(void *ctx, struct vhost_message *m)
{
    (void)ctx;
    t.messages++;
    t.last = *m;
    if (t.keep_fd)
        t.kept = vhost_message_take_fd(m, 0);
    return t.answer ? vm_fail(t.answer, "the owner says no") : 0;
}

static void on_closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    t.ends++;
    t.why = *why;
    if (t.free_when_closed)
        vhost_channel_free(t.channel);
}

static void open_channel(enum vhost_role role, bool requests)
{
    static const struct vhost_channel_ops ops = { on_message, on_closed };
    int fd[2];

    memset(&t, 0, sizeof(t));
    t.env.now_ns = now_ns;
    cr_assert_eq(vm_loop_new(&t.env, VM_LOOP_VIRTUAL, &t.env.loop), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    t.peer = fd[1];
    cr_assert_eq(vhost_channel_new(&t.env, fd[0], role, requests, &ops, NULL, &t.channel), 0);
}

static void back_end(void)
{
    open_channel(VHOST_BACK, false);
}

static void close_all(void)
{
    vhost_channel_free(t.channel);
    vm_close(&t.peer);
    vm_loop_free(t.env.loop);
}

static void run(void)
{
    while (vm_loop_step(t.env.loop, 0) > 0)
        ;
}

static void send_fds(const void *data, size_t len, const int *fds, unsigned count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * 16)];
    } control = { .bytes = { 0 } };
    struct iovec iov = { (void *)(uintptr_t)data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (count) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * count);
    }
    cr_assert_eq(sendmsg(t.peer, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static struct vhost_message number(uint32_t request, uint32_t flags, uint64_t value)
{
    struct vhost_message m = { .request = request,
                               .flags = VHOST_MESSAGE_VERSION | flags,
                               .size = 8 };

    m.payload.u64 = value;
    return m;
}

static void peer_sends(struct vhost_message m)
{
    send_fds(&m.request, VHOST_HEADER_BYTES + m.size, NULL, 0);
}

static struct vhost_message peer_gets(void)
{
    struct vhost_message m = { 0 };

    cr_assert_eq(vm_read_full(t.peer, &m.request, VHOST_HEADER_BYTES), 0);
    cr_assert_eq(vm_read_full(t.peer, &m.payload, m.size), 0);
    return m;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

Test(channel, a_request_reaches_the_owner_whole)
{
    back_end();

    peer_sends(number(VHOST_USER_SET_FEATURES, 0, 0x1234));
    run();

    cr_assert_eq(t.messages, 1);
    cr_assert_eq(t.last.payload.u64, 0x1234);
    cr_assert_eq(t.ends, 0);
    close_all();
}

Test(channel, a_request_may_come_byte_by_byte)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 0x1234);

    back_end();
    for (size_t i = 0; i < VHOST_HEADER_BYTES + 8; i++) {
        cr_assert_eq(t.messages, 0);
        send_fds((uint8_t *)&m.request + i, 1, NULL, 0);
        run();
    }

    cr_assert_eq(t.messages, 1);
    cr_assert_eq(t.last.payload.u64, 0x1234);
    close_all();
}

Test(channel, several_requests_in_one_packet_come_one_by_one)
{
    uint8_t both[2 * (VHOST_HEADER_BYTES + 8)];
    struct vhost_message a = number(VHOST_USER_SET_FEATURES, 0, 1),
                         b = number(VHOST_USER_SET_FEATURES, 0, 2);

    back_end();
    memcpy(both, &a.request, 20);
    memcpy(both + 20, &b.request, 20);
    send_fds(both, sizeof(both), NULL, 0);

    cr_assert_eq(vm_loop_step(t.env.loop, 0), 1);
    cr_assert_eq(t.last.payload.u64, 1);
    run();
    cr_assert_eq(t.messages, 2);
    cr_assert_eq(t.last.payload.u64, 2);
    close_all();
}

Test(channel, an_fd_that_the_owner_takes_is_its_own_and_others_are_closed)
{
    struct vhost_message m = number(VHOST_USER_SET_VRING_KICK, 0, 0);
    int fd = vm_eventfd();

    back_end();
    t.keep_fd = true;
    send_fds(&m.request, 20, &fd, 1);
    run();
    t.keep_fd = false;
    send_fds(&m.request, 20, &fd, 1);
    run();

    cr_assert_eq(t.messages, 2);
    cr_assert(is_open(t.kept));
    cr_assert(fcntl(t.kept, F_GETFD) & FD_CLOEXEC);
    cr_assert_not(is_open(t.last.fd[0]));
    close_all();
}

Test(channel, fds_belong_to_the_message_they_came_with)
{
    struct vhost_message plain = number(VHOST_USER_SET_FEATURES, 0, 0),
                         kick = number(VHOST_USER_SET_VRING_KICK, 0, 0);
    int fd = vm_eventfd();

    back_end();
    peer_sends(plain);
    send_fds(&kick.request, 20, &fd, 1);

    vm_loop_step(t.env.loop, 0);
    cr_assert_eq(t.last.fds, 0);
    run();
    cr_assert_eq(t.last.fds, 1);
    close_all();
}

Test(channel, more_fds_than_a_message_may_have_end_the_connection_and_leak_nothing)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 0);
    int fds[9], before, after;

    back_end();
    for (int i = 0; i < 9; i++)
        fds[i] = vm_eventfd();
    before = dup(0);
    close(before);
    send_fds(&m.request, 20, fds, 9);
    run();

    after = dup(0);
    cr_assert_eq(t.why.code, -EPROTO);
    cr_assert_str_eq(t.why.text, "more than 8 file descriptors in one message");
    cr_assert_leq(after, before); /* our own end is closed too */
    close_all();
}

Test(channel, a_peer_that_closes_ends_the_connection)
{
    back_end();

    vm_close(&t.peer);
    run();

    cr_assert_eq(t.ends, 1);
    cr_assert_eq(t.why.code, -ECONNRESET);
    cr_assert_str_eq(t.why.text, "the peer has closed the vhost-user socket");
    close_all();
}

Test(channel, a_peer_that_closes_within_a_message_is_told)
{
    back_end();

    send_fds("\1\0\0", 3, NULL, 0);
    vm_close(&t.peer);
    run();

    cr_assert_str_eq(t.why.text, "the peer has closed the vhost-user socket within a message");
    close_all();
}

Test(channel, half_a_message_that_keeps_the_peers_own_end_open_is_not_awaited_for_ever)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 1);

    back_end();
    send_fds(&m.request, VHOST_HEADER_BYTES, &t.peer, 1);
    vm_close(&t.peer);
    run();
    cr_assert_eq(t.ends, 0);
    vm_loop_step(t.env.loop, VHOST_MESSAGE_NS);

    cr_assert_eq(t.ends, 1);
    cr_assert_eq(t.why.code, -EPROTO);
    cr_assert_str_eq(t.why.text, "12 bytes of a message and no more for 5 s");
    close_all();
}

Test(channel, the_rest_of_a_message_is_awaited_while_we_do_not_read)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 1);

    back_end();
    send_fds(&m.request, VHOST_HEADER_BYTES, NULL, 0);
    run();
    vhost_channel_pause(t.channel, true);
    vm_loop_step(t.env.loop, VHOST_MESSAGE_NS);
    send_fds(&m.payload, 8, NULL, 0);
    vhost_channel_pause(t.channel, false);
    run();

    cr_assert_eq(t.messages, 1);
    cr_assert_eq(t.ends, 0);
    close_all();
}

Test(channel, messages_that_end_in_time_may_go_on_for_ever)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 1);

    back_end();
    for (int i = 0; i < 4; i++) {
        send_fds(&m.request, VHOST_HEADER_BYTES, NULL, 0);
        run();
        vm_loop_step(t.env.loop, VHOST_MESSAGE_NS / 2);
        send_fds(&m.payload, 8, NULL, 0);
        run();
    }

    cr_assert_eq(t.messages, 4);
    cr_assert_eq(t.ends, 0);
    close_all();
}

Test(channel, what_was_sent_before_the_peer_closed_is_delivered)
{
    back_end();

    peer_sends(number(VHOST_USER_SET_FEATURES, 0, 1));
    vm_close(&t.peer);
    run();

    cr_assert_eq(t.messages, 1);
    cr_assert_eq(t.ends, 1);
    close_all();
}

Test(channel, a_broken_header_ends_the_connection_before_its_payload_comes)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 0);

    back_end();
    m.size = VHOST_PAYLOAD_MAX + 1;
    send_fds(&m.request, VHOST_HEADER_BYTES, NULL, 0);
    run();

    cr_assert_eq(t.why.code, -EPROTO);
    cr_assert_eq(t.messages, 0);
    close_all();
}

Test(channel, the_owners_no_ends_the_connection_with_its_text)
{
    back_end();

    t.answer = -EINVAL;
    peer_sends(number(VHOST_USER_SET_FEATURES, 0, 0));
    run();

    cr_assert_eq(t.ends, 1);
    cr_assert_str_eq(t.why.text, "the owner says no");
    cr_assert_eq(vhost_channel_send(t.channel, &t.last), -ENOTCONN);
    close_all();
}

Test(channel, the_owner_may_free_it_when_it_has_ended)
{
    back_end();

    t.free_when_closed = true;
    vm_close(&t.peer);
    run();

    cr_assert_eq(t.ends, 1);
    vm_loop_free(t.env.loop);
}

Test(channel, an_unknown_request_that_wants_an_answer_gets_one)
{
    struct vhost_message reply;

    back_end();
    vhost_channel_set_protocol(t.channel, VHOST_PROTOCOL(REPLY_ACK));
    peer_sends(number(99, VHOST_MESSAGE_NEED_REPLY, 0));
    run();

    reply = peer_gets();
    cr_assert_eq(reply.request, 99);
    cr_assert_eq(reply.flags, VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY);
    cr_assert_neq(reply.payload.u64, 0);
    cr_assert_eq(t.ends, 0);
    close_all();
}

Test(channel, an_unknown_request_that_wants_none_ends_the_connection)
{
    back_end();

    peer_sends(number(99, 0, 0));
    run();

    cr_assert_eq(t.ends, 1);
    cr_assert_str_eq(t.why.text, "request 99: not known");
    close_all();
}

Test(channel, an_answer_is_sent_only_where_it_was_negotiated_and_asked_for)
{
    struct vhost_message asked = number(VHOST_USER_SET_VRING_ADDR, VHOST_MESSAGE_NEED_REPLY, 0);
    struct vhost_message not_asked = number(VHOST_USER_SET_VRING_ADDR, 0, 0);

    back_end();
    cr_assert_eq(vhost_channel_ack(t.channel, &asked, 1), 0);
    vhost_channel_set_protocol(t.channel, VHOST_PROTOCOL(REPLY_ACK));
    cr_assert_eq(vhost_channel_ack(t.channel, &not_asked, 2), 0);
    cr_assert_eq(vhost_channel_ack(t.channel, &asked, 3), 0);

    cr_assert_eq(peer_gets().payload.u64, 3);
    cr_assert_lt(recv(t.peer, &asked, 1, MSG_DONTWAIT), 0);
    close_all();
}

Test(channel, a_front_end_gets_replies_and_no_requests)
{
    open_channel(VHOST_FRONT, true);

    peer_sends(number(VHOST_USER_GET_FEATURES, VHOST_MESSAGE_REPLY, 7));
    run();
    cr_assert_eq(t.last.payload.u64, 7);
    peer_sends(number(VHOST_USER_SET_FEATURES, 0, 7));
    run();

    cr_assert_str_eq(t.why.text, "SET_FEATURES: request where a reply was awaited");
    close_all();
}

Test(channel, a_front_end_gets_the_back_ends_requests_on_the_other_socket)
{
    open_channel(VHOST_FRONT, false);

    vhost_channel_set_protocol(t.channel, VHOST_PROTOCOL(INBAND_NOTIFICATIONS));
    peer_sends(number(VHOST_USER_BACKEND_VRING_CALL, 0, 3));
    run();

    cr_assert_eq(t.last.payload.state.index, 3);
    close_all();
}

Test(channel, what_the_socket_does_not_take_goes_later_in_order_with_its_fds)
{
    struct vhost_message m = number(VHOST_USER_SET_VRING_CALL, 0, 0), got;
    unsigned sent = 0, received = 0;

    open_channel(VHOST_FRONT, true);
    m.fds = 1;
    m.fd[0] = vm_eventfd();
    for (; !vhost_channel_sending(t.channel) || sent % 100; sent++) {
        m.payload.u64 = sent;
        cr_assert_eq(vhost_channel_send(t.channel, &m), 0);
    }
    close(m.fd[0]);

    for (; received < sent; received++) {
        got = peer_gets();
        cr_assert_eq(got.payload.u64, received);
        run();
    }
    cr_assert_not(vhost_channel_sending(t.channel));
    close_all();
}

Test(channel, a_peer_that_never_reads_ends_the_connection_at_the_bound)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 0);
    size_t sent = 0;
    int rc;

    open_channel(VHOST_FRONT, true);
    while (!(rc = vhost_channel_send(t.channel, &m)))
        sent += 20;

    cr_assert_eq(rc, -ENOBUFS);
    cr_assert_lt(sent, 8 * VHOST_QUEUE_BYTES);
    cr_assert_eq(t.ends, 0); /* not inside our own call */
    run();
    cr_assert_eq(t.ends, 1);
    cr_assert_str_eq(t.why.text, "the peer does not read its vhost-user socket");
    close_all();
}

Test(channel, sending_to_a_peer_that_has_gone_ends_the_connection)
{
    struct vhost_message m = number(VHOST_USER_SET_FEATURES, 0, 0);

    open_channel(VHOST_FRONT, true);
    vm_close(&t.peer);

    cr_assert_eq(vhost_channel_send(t.channel, &m), -EPIPE);
    run();
    cr_assert_eq(t.ends, 1);
    close_all();
}

Test(channel, what_a_short_payload_leaves_out_is_zero)
{
    struct vhost_message m = { .request = VHOST_USER_IOTLB_MSG, .flags = 1, .size = 32 };

    back_end();
    memset(m.payload.bytes, 0xff, 32);
    peer_sends(m);
    m.size = 26;
    peer_sends(m);
    run();

    cr_assert_eq(t.messages, 2);
    cr_assert_eq(t.last.payload.bytes[25], 0xff);
    cr_assert_eq(t.last.payload.bytes[26], 0);
    close_all();
}

Test(channel, freeing_it_closes_its_socket)
{
    char byte;

    back_end();
    vhost_channel_free(t.channel);
    t.channel = NULL;

    cr_assert_eq(recv(t.peer, &byte, 1, 0), 0);
    close_all();
}
