/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the socket device: credit, messages, and packets that break the rules. */
#include "virtio_vsock_steps.h"

TestSuite(virtio_vsock_flow, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* The only connection. */
static struct vsock_conn *conn(void)
{
    return container_of(vt_device(&t)->all.next, struct vsock_conn, node);
}

static void update(uint32_t alloc, uint32_t fwd, uint16_t type, uint32_t port)
{
    t.alloc = alloc;
    t.fwd = fwd;
    send_op(VSOCK_OP_CREDIT_UPDATE, type, 0, NULL, 0, GUEST, port);
}

/* ---- credit ---- */

Test(virtio_vsock_flow, the_guest_is_sent_what_it_has_room_for)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    update(4, 0, VSOCK_STREAM, port);
    say(fd, "abcdefghij");
    expect_bytes("abcd");
    expect(VSOCK_OP_CREDIT_REQUEST);
    expect_none();
    update(4, 1, VSOCK_STREAM, port);
    expect_bytes("e");
    expect(VSOCK_OP_CREDIT_REQUEST);
    update(100, 5, VSOCK_STREAM, port);

    expect_bytes("fghij");
    cr_assert_eq(vt_count(&t, "credit_waits"), 2);
    close(fd);
}

Test(virtio_vsock_flow, a_guest_that_has_no_more_room_than_before_is_asked_again_after_a_while)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    update(4, 0, VSOCK_STREAM, port);
    say(fd, "abcdefgh");
    expect_bytes("abcd");
    expect(VSOCK_OP_CREDIT_REQUEST);
    update(4, 0, VSOCK_STREAM, port);
    expect_none();
    vh_pass(&t.h, VSOCK_ASK_NS - 1);
    expect_none();
    vh_pass(&t.h, 1);
    expect(VSOCK_OP_CREDIT_REQUEST);
    update(4, 0, VSOCK_STREAM, port);
    expect_none();
    update(8, 4, VSOCK_STREAM, port);

    expect_bytes("efgh");
    vh_pass(&t.h, VSOCK_ASK_NS);
    expect_none();
    close(fd);
}

Test(virtio_vsock_flow, a_message_without_room_is_asked_for_once_however_often_the_guest_says_so)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    update(8, 0, VSOCK_SEQPACKET, port);
    say(fd, "12345");
    say(fd, "67890");
    expect_bytes("12345");
    expect(VSOCK_OP_CREDIT_REQUEST);
    update(8, 0, VSOCK_SEQPACKET, port);
    expect_none();
    update(8, 1, VSOCK_SEQPACKET, port);
    expect(VSOCK_OP_CREDIT_REQUEST);
    update(8, 5, VSOCK_SEQPACKET, port);

    expect_bytes("67890");
    close(fd);
}

Test(virtio_vsock_flow, a_connection_that_was_asked_for_its_room_may_close_before_it_is_asked_again)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    update(4, 0, VSOCK_STREAM, port);
    say(fd, "abcdefgh");
    expect_bytes("abcd");
    expect(VSOCK_OP_CREDIT_REQUEST);
    send_op(VSOCK_OP_SHUTDOWN, VSOCK_STREAM, VSOCK_CLOSED, NULL, 0, GUEST, port);
    vh_pass(&t.h, VSOCK_ASK_NS);

    expect(VSOCK_OP_RST);
    expect_none();
    close(fd);
}

Test(virtio_vsock_flow, a_room_that_shrinks_below_what_is_out_is_none)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    say(fd, "0123456789");
    expect_bytes("0123456789");
    update(5, 0, VSOCK_STREAM, port);
    say(fd, "more");

    expect(VSOCK_OP_CREDIT_REQUEST);
    expect_none();
    close(fd);
}

Test(virtio_vsock_flow, counters_of_credit_wrap)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);
    struct vsock_conn *c = conn();

    c->tx_cnt = c->peer_fwd = t.fwd = UINT32_MAX - 1;
    c->rx_cnt = c->fwd_cnt = c->told_fwd = UINT32_MAX - 2;
    send_bytes("12345", 5, port);
    hears(fd, "12345");
    say(fd, "abcd");

    cr_assert_eq(le32_get(expect(VSOCK_OP_RW)->hdr.fwd_cnt), 2);
    cr_assert_eq(c->tx_cnt, 2);
    cr_assert_eq(virtio_vsock_conn_credit(c), t.alloc - 4);
    close(fd);
}

Test(virtio_vsock_flow, a_guest_that_asks_for_its_credit_is_told)
{
    const struct vt_packet *p;
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    send_bytes("12345", 5, port);
    expect_none();
    send_op(VSOCK_OP_CREDIT_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, port);

    p = expect(VSOCK_OP_CREDIT_UPDATE);
    cr_assert_eq(le32_get(p->hdr.buf_alloc), VSOCK_STREAM_ALLOC);
    cr_assert_eq(le32_get(p->hdr.fwd_cnt), 5);
    close(fd);
}

Test(virtio_vsock_flow, credit_is_told_by_itself_when_half_of_it_is_used)
{
    static uint8_t data[VSOCK_STREAM_ALLOC / 4], got[sizeof(data)];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    send_bytes(data, sizeof(data), port);
    cr_assert_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), (ssize_t)sizeof(got));
    expect_none();
    send_bytes(data, sizeof(data), port);

    cr_assert_eq(le32_get(expect(VSOCK_OP_CREDIT_UPDATE)->hdr.fwd_cnt), sizeof(data) * 2);
    close(fd);
}

Test(virtio_vsock_flow, a_host_that_does_not_read_gets_all_that_was_promised_and_no_more)
{
    static uint8_t data[VSOCK_STREAM_ALLOC / 4], got[VSOCK_STREAM_ALLOC * 4];
    uint32_t port, sent = 0, told = 0;
    int fd = connected(SOCK_STREAM, &port);
    const struct vt_packet *p;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 253);
    while (sent - told + sizeof(data) <= VSOCK_STREAM_ALLOC) {
        send_bytes(data, sizeof(data), port);
        sent += (uint32_t)sizeof(data);
        while ((p = vt_next(&t)))
            told = le32_get(p->hdr.fwd_cnt);
    }
    cr_assert_gt(vt_device(&t)->waiting_bytes, 0);
    for (uint32_t n = 0; n < sent; run()) {
        ssize_t part = recv(fd, got + n, sizeof(got) - n, MSG_DONTWAIT);

        cr_assert_gt(part, 0, "at %u of %u", n, sent);
        n += (uint32_t)part;
    }

    for (uint32_t n = 0; n < sent; n += (uint32_t)sizeof(data))
        cr_assert_arr_eq(got + n, data, sizeof(data));
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    cr_assert_eq(conn()->fwd_cnt, sent);
    close(fd);
}

Test(virtio_vsock_flow, more_than_was_promised_is_a_reset)
{
    static uint8_t data[VSOCK_STREAM_ALLOC / 4];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);
    const struct vt_packet *p;

    for (int i = 0; i < 16; i++) /* whatever it was told */
        send_bytes(data, sizeof(data), port);

    while ((p = vt_next(&t)) && le16_get(p->hdr.op) != VSOCK_OP_RST)
        ;
    cr_assert(p);
    cr_assert(vh_logged(&t.h, "sends more than it was allowed to"));
    cr_assert_eq(vt_device(&t)->conns, 0);
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    close(fd);
}

Test(virtio_vsock_flow, what_waits_for_all_programs_together_has_a_bound)
{
    static uint8_t data[VSOCK_STREAM_ALLOC / 4];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    vt_device(&t)->waiting_bytes = VSOCK_WAITING_MAX - VSOCK_STREAM_ALLOC + 1;
    for (int i = 0; i < 4; i++)
        send_bytes(data, sizeof(data), port);

    cr_assert(vh_logged(&t.h, "over 64 MiB wait"));
    cr_assert_eq(vt_device(&t)->conns, 0);
    cr_assert_eq(vt_device(&t)->waiting_bytes, VSOCK_WAITING_MAX - VSOCK_STREAM_ALLOC + 1);
    vt_device(&t)->waiting_bytes = 0;
    close(fd);
}

/* ---- messages ---- */

static void send_part(const void *data, uint32_t len, uint32_t flags, uint32_t port)
{
    send_op(VSOCK_OP_RW, VSOCK_SEQPACKET, flags, data, len, GUEST, port);
}

Test(virtio_vsock_flow, messages_keep_their_bounds_to_the_host)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    send_part("first", 5, VSOCK_EOM, port);
    send_part("in ", 3, 0, port);
    hears(fd, "first");
    hears_nothing(fd);
    send_part("parts", 5, VSOCK_EOM | VSOCK_EOR, port);
    send_part("x", 1, VSOCK_EOM, port);

    hears(fd, "in parts");
    hears(fd, "x");
    hears_nothing(fd);
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    close(fd);
}

Test(virtio_vsock_flow, messages_that_wait_keep_their_bounds)
{
    char text[32];
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        send_part(text, (uint32_t)strlen(text), VSOCK_EOM, port);
    }
    cr_assert_gt(vt_device(&t)->waiting_bytes, 0, "the test is about those that wait");
    for (int i = 0; i < 500; i++, run()) {
        snprintf(text, sizeof(text), "message %d", i);

        hears(fd, text);
    }
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    close(fd);
}

Test(virtio_vsock_flow, the_longest_message_arrives_as_one)
{
    static uint8_t data[VSOCK_MESSAGE_ALLOC], got[VSOCK_MESSAGE_ALLOC + 1];
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 11 + i / 251);
    for (uint32_t at = 0; at < sizeof(data); at += 32 << 10)
        send_part(data + at, 32 << 10, at + (32 << 10) == sizeof(data) ? VSOCK_EOM : 0, port);

    cr_assert_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), (ssize_t)sizeof(data));
    cr_assert_arr_eq(got, data, sizeof(data));
    close(fd);
}

Test(virtio_vsock_flow, messages_keep_their_bounds_to_the_guest)
{
    const struct vt_packet *p;
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    say(fd, "one");
    say(fd, "two");

    p = expect(VSOCK_OP_RW);
    cr_assert_eq(p->bytes, 3);
    cr_assert_eq(le32_get(p->hdr.flags), VSOCK_EOM);
    cr_assert_eq(le16_get(p->hdr.type), VSOCK_SEQPACKET);
    expect_bytes("two");
    close(fd);
}

Test(virtio_vsock_flow, a_message_longer_than_a_buffer_ends_in_its_last_packet)
{
    static uint8_t data[10000], got[sizeof(data)];
    const struct vt_packet *p;
    uint32_t port, n = 0;
    int fd = connected(SOCK_SEQPACKET, &port);

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 3 + i / 255);
    cr_assert_eq(send(fd, data, sizeof(data), 0), (ssize_t)sizeof(data));
    do {
        p = expect(VSOCK_OP_RW);
        memcpy(got + n, p->data, p->bytes);
        n += p->bytes;
        cr_assert_eq(le32_get(p->hdr.flags), n == sizeof(data) ? VSOCK_EOM : 0);
    } while (n < sizeof(data));

    cr_assert_arr_eq(got, data, n);
    expect_none();
    close(fd);
}

Test(virtio_vsock_flow, a_message_waits_for_room_for_all_of_it)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    update(8, 0, VSOCK_SEQPACKET, port);
    say(fd, "12345");
    say(fd, "6789");
    expect_bytes("12345");
    expect(VSOCK_OP_CREDIT_REQUEST);
    expect_none();
    update(8, 5, VSOCK_SEQPACKET, port);

    expect_bytes("6789");
    close(fd);
}

Test(virtio_vsock_flow, a_message_for_which_the_guest_never_has_room_is_a_reset)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    update(4, 0, VSOCK_SEQPACKET, port);
    say(fd, "12345");

    expect(VSOCK_OP_RST);
    cr_assert(vh_logged(&t.h, "a message of 5 bytes, the guest takes 4"));
    close(fd);
}

Test(virtio_vsock_flow, empty_messages_are_dropped_and_are_no_end)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    send_part(NULL, 0, VSOCK_EOM, port);
    send_part("part", 4, 0, port);
    send_part(NULL, 0, VSOCK_EOM, port);
    hears(fd, "part");
    hears_nothing(fd);
    cr_assert_eq(send(fd, "", 0, 0), 0);
    say(fd, "not the end");

    expect_bytes("not the end");
    cr_assert_eq(vt_count(&t, "empty_messages"), 2);
    close(fd);
}

Test(virtio_vsock_flow, many_empty_messages_are_not_dropped_in_one_turn)
{
    enum { MANY = VSOCK_EMPTY_PER_TURN * 2 };
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    for (int i = 0; i < MANY; i++)
        cr_assert_eq(send(fd, "", 0, MSG_DONTWAIT), 0, "%d: errno %d", i, errno);
    say(fd, "behind them");
    vm_lock_acquire(&vt_device(&t)->dev.dev.lock);
    conn()->readable = true;
    virtio_vsock_conn_ready(conn());
    cr_assert_eq(virtio_vsock_rx(vt_device(&t), &vt_device(&t)->dev.queue[VSOCK_RX]), 0);
    vm_lock_release(&vt_device(&t)->dev.dev.lock);

    cr_assert_eq(vt_count(&t, "empty_messages"), VSOCK_EMPTY_PER_TURN);
    expect_bytes("behind them");
    cr_assert_eq(vt_count(&t, "empty_messages"), MANY);
    close(fd);
}

Test(virtio_vsock_flow, a_message_behind_an_empty_one_of_a_client_that_left_arrives)
{
    uint32_t port;
    int fd = connected(SOCK_SEQPACKET, &port);

    cr_assert_eq(send(fd, "", 0, 0), 0);
    say(fd, "the last one");
    cr_assert_eq(send(fd, "", 0, 0), 0);
    close(fd);

    expect_bytes("the last one");
    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_CLOSED);
}

Test(virtio_vsock_flow, the_guest_reaches_a_program_for_messages_under_the_other_name)
{
    int fd = dialled(SOCK_SEQPACKET);

    send_part("a message", 9, VSOCK_EOM, HOST);
    hears(fd, "a message");
    close(fd);

    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_CLOSED);
}

Test(virtio_vsock_flow, messages_that_were_not_negotiated_are_refused)
{
    cr_assert_eq(vh_reset(&t.h, SECOND), 0);
    cr_assert_eq(vt_start(&t, VIRTIO_VSOCK_F_STREAM), 0);

    send_op(VSOCK_OP_REQUEST, VSOCK_SEQPACKET, 0, NULL, 0, GUEST, HOST);

    cr_assert_eq(le16_get(expect(VSOCK_OP_RST)->hdr.type), VSOCK_SEQPACKET);
}

Test(virtio_vsock_flow, a_client_for_messages_hears_at_once_that_the_driver_speaks_none)
{
    int fd;

    cr_assert_eq(vh_reset(&t.h, SECOND), 0);
    cr_assert_eq(vt_start(&t, VIRTIO_VSOCK_F_STREAM), 0);
    fd = vt_client(&t, SOCK_SEQPACKET);
    say(fd, "CONNECT 7\n");

    expect_none();

    hears_the_end(fd);
    cr_assert_eq(vt_count(&t, "bad_clients"), 1);
    close(fd);
}

/* ---- packets that break the rules ---- */

Test(virtio_vsock_flow, strangers_get_a_reset_but_not_for_a_reset)
{
    for (unsigned op = 0; op < 12; op++) {
        send_op((enum vsock_op)op, VSOCK_STREAM, 0, NULL, 0, GUEST, 1);

        if (op == VSOCK_OP_RST)
            expect_none();
        else
            expect(VSOCK_OP_RST);
    }
}

Test(virtio_vsock_flow, an_unknown_type_is_a_reset)
{
    send_op(VSOCK_OP_REQUEST, 3, 0, NULL, 0, GUEST, HOST);

    cr_assert_eq(le16_get(expect(VSOCK_OP_RST)->hdr.type), 3);
}

Test(virtio_vsock_flow, what_does_not_fit_a_connection_resets_it)
{
    static const struct {
        uint16_t op, type;
        const char *why;
    } bad[] = {
        { VSOCK_OP_REQUEST, VSOCK_STREAM, "makes no sense here" },
        { VSOCK_OP_RESPONSE, VSOCK_STREAM, "answers what it was not asked" },
        { VSOCK_OP_INVALID, VSOCK_STREAM, "makes no sense here" },
        { 8, VSOCK_STREAM, "makes no sense here" },
        { VSOCK_OP_RW, VSOCK_SEQPACKET, "changes the type" },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++) {
        uint32_t port;
        int fd = connected(SOCK_STREAM, &port);

        send_op((enum vsock_op)bad[i].op, bad[i].type, 0, NULL, 0, GUEST, port);

        expect(VSOCK_OP_RST);
        cr_assert(vh_logged(&t.h, bad[i].why), "%s", bad[i].why);
        hears_the_end(fd);
        cr_assert_eq(vt_device(&t)->conns, 0);
        close(fd);
    }
}

Test(virtio_vsock_flow, bytes_before_the_answer_are_a_reset)
{
    int fd = vt_client(&t, SOCK_STREAM);
    uint32_t port;

    say(fd, "CONNECT 5000\n");
    port = le32_get(expect(VSOCK_OP_REQUEST)->hdr.src_port);
    send_bytes("x", 1, port);

    expect(VSOCK_OP_RST);
    hears_the_end(fd);
    close(fd);
}

Test(virtio_vsock_flow, a_packet_shorter_than_it_says_is_a_reset)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);
    struct vsock_hdr h = vt_header(&t, VSOCK_OP_RW, VSOCK_STREAM, GUEST, port);

    h.len = le32_make(6);
    cr_assert_eq(vt_put(&t, &h, "12345", 5), 0);

    expect(VSOCK_OP_RST);
    hears_the_end(fd);
    close(fd);
}

Test(virtio_vsock_flow, a_chain_without_a_header_is_dropped)
{
    struct fake_buf b = { t.tx[0], 43, false }, w = { t.tx[0], 100, true };

    cr_assert_eq(vh_request(&t.h, VSOCK_TX, &b, 1), 0);
    cr_assert_eq(vh_request(&t.h, VSOCK_TX, &w, 1), 0);

    cr_assert_eq(vt_count(&t, "bad_packets"), 2);
    cr_assert_not(vh_status(&t.h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_vsock_flow, bytes_scattered_over_many_buffers_arrive_in_order)
{
    struct fake_buf bufs[60];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);
    struct vsock_hdr h = vt_header(&t, VSOCK_OP_RW, VSOCK_STREAM, GUEST, port);
    uint8_t *bytes = t.h.guest.host + t.tx[0];

    h.len = le32_make(15);
    memcpy(bytes, &h, sizeof(h));
    memcpy(bytes + sizeof(h), "one by one byte", 15);
    for (uint32_t i = 0; i < 59; i++)
        bufs[i] = (struct fake_buf){ t.tx[0] + i, 1, false };
    cr_assert_eq(vh_request(&t.h, VSOCK_TX, bufs, 59), 0);

    hears(fd, "one by one byte");
    close(fd);
}

Test(virtio_vsock_flow, a_buffer_that_holds_no_packet_comes_back_empty)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port), other;

    t.rx_bytes = 44; /* a header, and no byte */
    cr_assert_eq(vh_reset(&t.h, SECOND), 0);
    cr_assert_eq(vt_start(&t, 0), 0);
    other = connected(SOCK_STREAM, &port);
    say(other, "x");
    run();

    cr_assert_gt(vt_count(&t, "bad_buffers"), 0);
    t.rx_bytes = VT_RX_BYTES;
    t.inbox_len = 0;
    for (int i = 0; i < VT_RX; i++)
        run();
    cr_assert_gt(t.inbox_len, 0, "and its byte in another one");
    close(fd);
    close(other);
}

Test(virtio_vsock_flow, answers_to_strangers_do_not_pile_up)
{
    uint16_t id;
    uint32_t len;

    cr_assert_eq(vh_reset(&t.h, SECOND), 0);
    t.rx_bytes = 0; /* no buffers for the answers */
    cr_assert_eq(vt_start(&t, 0), 0);
    for (uint32_t i = 0; i < 256 + VSOCK_RSTS; i++) {
        struct vsock_hdr h = vt_header(&t, VSOCK_OP_RW, VSOCK_STREAM, i, HOST);

        if (vt_offer(&t, &h, NULL, 0))
            break; /* the ring is full: the device takes no more */
        cr_assert_eq(vh_serve(&t.h, VSOCK_TX), 0);
        while (fake_driver_collect(&t.h.drv[VSOCK_TX], &id, &len) > 0)
            ;
    }
    cr_assert_eq(vt_device(&t)->rst_len, VSOCK_RSTS);
    cr_assert(vt_device(&t)->tx_waits);
    t.rx_bytes = VT_RX_BYTES;
    for (int i = 0; i < 16; i++)
        run();

    cr_assert_eq(t.inbox_len, 2 * VSOCK_RSTS);
    cr_assert_not(vt_device(&t)->tx_waits);
}

/* ---- options ---- */

static void refused(const char *options, const char *why)
{
    static const struct vh_config way = { .transport = VH_PCI };
    static struct vh other;

    cr_assert_eq(vh_open(&other, &way), 0);
    cr_assert_lt(vh_create(&other, &virtio_vsock_class, options), 0, "%s", options);
    cr_assert(strstr(vm_error_text(), why), "%s: %s", options, vm_error_text());
    vh_close(&other);
}

Test(virtio_vsock_flow, options_that_cannot_be_are_refused)
{
    char longer[200] = "cid=3,socket=/";

    memset(longer + strlen(longer), 'x', 96);
    refused("cid=2,socket=/v", "3");
    refused("cid=4294967295,socket=/v", "4294967294");
    refused("cid=3,socket=/v,seqpacket=/v", "two sockets");
    refused("cid=3,socket=/v,connections=3", "4");
    refused(longer, "96");
}
