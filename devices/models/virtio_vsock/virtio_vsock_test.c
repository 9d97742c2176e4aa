/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the socket device: how connections are made, used and ended. */
#include "virtio_vsock_steps.h"

TestSuite(virtio_vsock, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* ---- connections from the host ---- */

Test(virtio_vsock, the_guest_finds_its_address_in_configuration_space)
{
    struct le64 cid;

    vh_config_read(&t.h, 0, &cid, sizeof(cid));

    cr_assert_eq(le64_get(cid), VT_CID);
}

Test(virtio_vsock, a_client_is_connected_by_its_line)
{
    const struct vt_packet *p;
    int fd = vt_client(&t, SOCK_STREAM);

    say(fd, "CONNECT 52\n");
    p = expect(VSOCK_OP_REQUEST);

    cr_assert_eq(le64_get(p->hdr.src_cid), VSOCK_CID_HOST);
    cr_assert_eq(le32_get(p->hdr.src_port), VSOCK_PORT_FIRST);
    cr_assert_eq(le32_get(p->hdr.dst_port), 52);
    cr_assert_eq(le16_get(p->hdr.type), VSOCK_STREAM);
    cr_assert_eq(le32_get(p->hdr.buf_alloc), VSOCK_STREAM_ALLOC);
    hears_nothing(fd);
    send_op(VSOCK_OP_RESPONSE, VSOCK_STREAM, 0, NULL, 0, 52, VSOCK_PORT_FIRST);
    hears(fd, "OK 1073741824\n");
    cr_assert_eq(vt_count(&t, "accepts"), 1);
    close(fd);
}

Test(virtio_vsock, bytes_go_both_ways)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    say(fd, "hello guest");
    expect_bytes("hello guest");
    send_bytes("hello host", 10, port);
    hears(fd, "hello host");
    close(fd);
}

Test(virtio_vsock, a_line_may_come_in_pieces_and_what_follows_it_are_bytes)
{
    const struct vt_packet *p;
    int fd = vt_client(&t, SOCK_STREAM);

    say(fd, "CONN");
    expect_none();
    say(fd, "ECT 7");
    expect_none();
    say(fd, "\nearly bytes");
    p = expect(VSOCK_OP_REQUEST);
    send_op(VSOCK_OP_RESPONSE, VSOCK_STREAM, 0, NULL, 0, 7, le32_get(p->hdr.src_port));

    expect_bytes("early bytes");
    close(fd);
}

Test(virtio_vsock, a_line_that_is_none_closes_its_client)
{
    static const char *const lines[] = {
        "CONNECT\n",
        "CONNECT \n",
        "connect 5\n",
        "CONNECT -1\n",
        "CONNECT 5 \n",
        "CONNECT 4294967295\n",
        "CONNECT 00000000005\n",
        "\n",
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT 11111111111111111111111111111111111",
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(lines); i++) {
        int fd = vt_client(&t, SOCK_STREAM);

        say(fd, lines[i]);
        expect_none();

        is_closed(fd, lines[i]);
        close(fd);
    }
    cr_assert_eq(vt_count(&t, "bad_clients"), VM_ARRAY_SIZE(lines));
    cr_assert_eq(vt_device(&t)->conns, 0);
}

Test(virtio_vsock, a_client_that_never_ends_its_line_is_closed_in_time)
{
    int fd = vt_client(&t, SOCK_STREAM);

    say(fd, "CONNECT 5");
    vh_pass(&t.h, VSOCK_HELLO_NS - 1);
    cr_assert_eq(vt_device(&t)->conns, 1);
    vh_pass(&t.h, 2);

    is_closed(fd, "in time");
    cr_assert_eq(vt_device(&t)->conns, 0);
    close(fd);
}

Test(virtio_vsock, a_guest_that_refuses_ends_the_client)
{
    const struct vt_packet *p;
    int fd = vt_client(&t, SOCK_STREAM);

    say(fd, "CONNECT 52\n");
    p = expect(VSOCK_OP_REQUEST);
    send_op(VSOCK_OP_RST, VSOCK_STREAM, 0, NULL, 0, 52, le32_get(p->hdr.src_port));

    hears_the_end(fd);
    expect_none();
    close(fd);
}

Test(virtio_vsock, a_guest_that_says_nothing_is_not_waited_for)
{
    int fd = vt_client(&t, SOCK_STREAM);

    say(fd, "CONNECT 52\n");
    expect(VSOCK_OP_REQUEST);
    vh_pass(&t.h, VSOCK_HELLO_NS);

    expect(VSOCK_OP_RST);
    hears_the_end(fd);
    close(fd);
}

Test(virtio_vsock, clients_without_a_line_are_bounded_and_the_others_wait_their_turn)
{
    enum { MANY = VSOCK_HELLOS_MAX + 10 };
    int fd[MANY];

    for (int i = 0; i < MANY; i++)
        fd[i] = vt_client(&t, SOCK_STREAM);
    run();
    cr_assert_eq(vt_device(&t)->conns, VSOCK_HELLOS_MAX);

    say(fd[MANY - 1], "CONNECT 9\n"); /* not yet looked at */
    expect_none();
    vh_pass(&t.h, VSOCK_HELLO_NS);

    expect(VSOCK_OP_REQUEST);
    cr_assert_eq(vt_device(&t)->conns, 10);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
}

Test(virtio_vsock, clients_of_one_socket_do_not_hold_up_those_of_the_other)
{
    int fd[VSOCK_HELLOS_MAX], other;

    for (int i = 0; i < VSOCK_HELLOS_MAX; i++)
        fd[i] = vt_client(&t, SOCK_STREAM);
    run();

    other = vt_client(&t, SOCK_SEQPACKET);
    say(other, "CONNECT 9\n");

    expect(VSOCK_OP_REQUEST);
    close(other);
    for (int i = 0; i < VSOCK_HELLOS_MAX; i++)
        close(fd[i]);
}

Test(virtio_vsock, a_client_that_leaves_before_the_guest_heard_of_it_is_forgotten)
{
    int fd;

    t.rx_bytes = 0; /* no buffers: it cannot be told */
    cr_assert_eq(vh_reset(&t.h, SECOND), 0);
    cr_assert_eq(vt_start(&t, 0), 0);
    fd = vt_client(&t, SOCK_STREAM);
    say(fd, "CONNECT 52\n");
    run();
    cr_assert_eq(vt_device(&t)->conns, 1);
    vh_pass(&t.h, VSOCK_HELLO_NS);

    cr_assert_eq(vt_device(&t)->conns, 0);
    close(fd);
}

/* ---- connections from the guest ---- */

Test(virtio_vsock, the_guest_reaches_a_program_that_listens_at_the_port)
{
    int fd = dialled(SOCK_STREAM);

    send_bytes("from the guest", 14, HOST);
    hears(fd, "from the guest");
    say(fd, "to the guest");
    expect_bytes("to the guest");
    cr_assert_eq(vt_count(&t, "connects"), 1);
    close(fd);
}

Test(virtio_vsock, nobody_at_the_port_is_a_reset)
{
    const struct vt_packet *p;

    send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, 77);

    p = expect(VSOCK_OP_RST);
    cr_assert_eq(le32_get(p->hdr.src_port), 77);
    cr_assert_eq(le32_get(p->hdr.dst_port), GUEST);
    cr_assert_eq(vt_device(&t)->conns, 0);
}

Test(virtio_vsock, a_program_that_does_not_take_the_connection_is_a_reset_in_time)
{
    vm_watch_del(&t.watch[0]); /* who connects is busy for ever */
    send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST);
    expect_none();

    vh_pass(&t.h, VSOCK_HELLO_NS);

    expect(VSOCK_OP_RST);
    cr_assert_eq(vt_device(&t)->conns, 0);
    cr_assert_eq(vt_device(&t)->dials_out, 0);
}

/* It would take the reset of the old one for that of the new one. */
Test(virtio_vsock, ports_whose_reset_is_on_its_way_are_not_connected_again)
{
    int listener = vt_listen(&t, HOST, SOCK_STREAM);

    send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST);
    expect(VSOCK_OP_RESPONSE);
    t.rx_bytes = 0; /* what is posted is used up first */
    for (unsigned i = 0; i < VT_RX; i++)
        send_op(VSOCK_OP_CREDIT_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST);
    send_op(VSOCK_OP_RESPONSE, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST); /* breaks the rules */
    cr_assert_eq(vt_count(&t, "bad_packets"), 1);

    send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST);

    cr_assert_eq(vt_device(&t)->conns, 1, "the old one's reset, nothing else");
    cr_assert_eq(vt_count(&t, "connects"), 1);
    close(listener);
}

Test(virtio_vsock, another_address_than_the_hosts_is_a_reset_from_there)
{
    struct vsock_hdr h = vt_header(&t, VSOCK_OP_REQUEST, VSOCK_STREAM, GUEST, HOST);

    h.dst_cid = le64_make(7);
    cr_assert_eq(vt_put(&t, &h, NULL, 0), 0);

    cr_assert_eq(le64_get(expect(VSOCK_OP_RST)->hdr.src_cid), 7);
}

Test(virtio_vsock, a_forged_source_is_dropped_and_told_once)
{
    struct vsock_hdr h = vt_header(&t, VSOCK_OP_REQUEST, VSOCK_STREAM, GUEST, HOST);

    h.src_cid = le64_make(VT_CID + 1);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(vt_put(&t, &h, NULL, 0), 0);

    expect_none();
    cr_assert_eq(vt_count(&t, "bad_packets"), 100);
    cr_assert(vh_logged(&t.h, "not from its own address"));
    cr_assert_leq(t.h.log_lines, 10);
}

Test(virtio_vsock, more_dials_than_are_asked_at_once_are_all_answered)
{
    enum { MANY = 100 };

    for (uint32_t i = 0; i < MANY; i++) {
        struct vsock_hdr h = vt_header(&t, VSOCK_OP_REQUEST, VSOCK_STREAM, GUEST + i, HOST);

        cr_assert_eq(vt_offer(&t, &h, NULL, 0), 0);
        if (i % VT_TX == VT_TX - 1)
            vh_kick(&t.h, VSOCK_TX);
        if (i % VT_TX == VT_TX - 1)
            cr_assert_eq(vh_idle(&t.h), 0);
    }
    vh_kick(&t.h, VSOCK_TX);
    cr_assert_eq(vh_idle(&t.h), 0);

    for (uint32_t i = 0; i < MANY; i++)
        expect(VSOCK_OP_RST);
    cr_assert_eq(vt_device(&t)->dials_out, 0);
}

Test(virtio_vsock, without_somebody_who_connects_the_guest_is_refused)
{
    vm_watch_del(&t.watch[0]);
    vm_dial_end(&t.dial[0]);
    run();

    send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST, HOST);

    expect(VSOCK_OP_RST);
    cr_assert(vh_logged(&t.h, "nobody connects to programs"));
}

Test(virtio_vsock, connections_have_a_bound_and_clients_three_quarters_of_it)
{
    static const struct vh_config way = { .transport = VH_PCI };
    int fd[8], listener;

    teardown();
    open_way(&way, "connections=8");
    for (int i = 0; i < 8; i++)
        fd[i] = vt_client(&t, SOCK_STREAM);
    run();
    cr_assert_eq(vt_device(&t)->conns, 6);
    listener = vt_listen(&t, HOST, SOCK_STREAM);

    for (uint32_t i = 0; i < 3; i++)
        send_op(VSOCK_OP_REQUEST, VSOCK_STREAM, 0, NULL, 0, GUEST + i, HOST);

    expect(VSOCK_OP_RESPONSE);
    expect(VSOCK_OP_RESPONSE);
    expect(VSOCK_OP_RST);
    cr_assert_eq(vt_device(&t)->conns, 8);
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    close(listener);
}

/* ---- the end of a connection ---- */

Test(virtio_vsock, a_client_that_shuts_its_side_still_hears_the_guest)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    say(fd, "last words");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    expect_bytes("last words");
    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_NO_SEND);
    send_bytes("answer", 6, port);

    hears(fd, "answer");
    close(fd);
}

Test(virtio_vsock, a_client_that_leaves_closes_both_sides_after_its_bytes)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    say(fd, "bye");
    close(fd);
    expect_bytes("bye");
    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_CLOSED);

    cr_assert_eq(vt_device(&t)->conns, 0);
    send_bytes("x", 1, port);
    expect(VSOCK_OP_RST);
    send_op(VSOCK_OP_RST, VSOCK_STREAM, 0, NULL, 0, GUEST, port);
    expect_none();
}

Test(virtio_vsock, a_client_that_reads_no_more_makes_the_guest_stop_sending)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    cr_assert_eq(shutdown(fd, SHUT_RD), 0);
    send_bytes("x", 1, port);
    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_NO_RECEIVE);
    say(fd, "still here");

    expect_bytes("still here");
    close(fd);
}

Test(virtio_vsock, a_guest_that_sends_no_more_ends_the_clients_input_after_its_bytes)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    send_bytes("end", 3, port);
    send_op(VSOCK_OP_SHUTDOWN, VSOCK_STREAM, VSOCK_NO_SEND, NULL, 0, GUEST, port);
    hears(fd, "end");
    hears_the_end(fd);
    say(fd, "noted");

    expect_bytes("noted");
    send_bytes("x", 1, port); /* it said that it would not */
    expect(VSOCK_OP_RST);
    close(fd);
}

Test(virtio_vsock, a_guest_that_receives_no_more_ends_the_clients_output)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    send_op(VSOCK_OP_SHUTDOWN, VSOCK_STREAM, VSOCK_NO_RECEIVE, NULL, 0, GUEST, port);
    cr_assert_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    cr_assert_eq(errno, EPIPE);
    expect_none();
    send_bytes("but sends", 9, port);

    hears(fd, "but sends");
    close(fd);
    cr_assert_eq(le32_get(expect(VSOCK_OP_SHUTDOWN)->hdr.flags), VSOCK_CLOSED);
}

Test(virtio_vsock, a_guest_that_closes_gets_its_reset_and_the_client_all_bytes)
{
    static uint8_t data[60000], got[sizeof(data) * 4];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);
    size_t n = 0;
    ssize_t part;

    for (int i = 0; i < 4; i++) /* more than the socket takes */
        send_bytes(data, sizeof(data), port);
    send_op(VSOCK_OP_SHUTDOWN, VSOCK_STREAM, VSOCK_CLOSED, NULL, 0, GUEST, port);
    while (le16_get(vt_next(&t)->hdr.op) != VSOCK_OP_RST)
        ;
    cr_assert_eq(vt_device(&t)->conns, 1, "what waits is kept");
    send_bytes("x", 1, port);
    expect(VSOCK_OP_RST);
    do {
        part = recv(fd, got, sizeof(got), MSG_DONTWAIT);
        n += part > 0 ? (size_t)part : 0;
        run();
    } while (part > 0);

    cr_assert_eq(part, 0);
    cr_assert_eq(n, sizeof(data) * 4);
    cr_assert_eq(vt_device(&t)->conns, 0);
    close(fd);
}

Test(virtio_vsock, bytes_of_a_closed_connection_do_not_wait_for_ever)
{
    static uint8_t data[60000];
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    for (int i = 0; i < 4; i++)
        send_bytes(data, sizeof(data), port);
    send_op(VSOCK_OP_SHUTDOWN, VSOCK_STREAM, VSOCK_CLOSED, NULL, 0, GUEST, port);
    run();
    cr_assert_eq(vt_device(&t)->conns, 1);
    vh_pass(&t.h, VSOCK_LINGER_NS);

    cr_assert_eq(vt_device(&t)->conns, 0);
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    close(fd);
}

Test(virtio_vsock, a_reset_of_the_guests_closes_the_client)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    send_op(VSOCK_OP_RST, VSOCK_STREAM, 0, NULL, 0, GUEST, port);

    hears_the_end(fd);
    expect_none();
    close(fd);
}

Test(virtio_vsock, a_driver_that_resets_the_device_closes_all)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port), other = vt_client(&t, SOCK_STREAM);

    run();
    cr_assert_eq(vh_reset(&t.h, SECOND), 0);

    hears_the_end(fd);
    hears_the_end(other);
    cr_assert_eq(vt_device(&t)->conns, 0);
    close(fd);
    close(other);
}

/* ---- who comes after ---- */

Test(virtio_vsock, a_guest_whose_connections_are_gone_is_told_so)
{
    struct vm_buffer state = { 0 };
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    cr_assert_eq(vh_quiesce(&t.h), 0);
    cr_assert_eq(vh_save(&t.h, &state), 0);
    cr_assert_eq(vh_load(&t.h, state.data, state.len), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_resume(t.h.dev), 0);
    run();

    cr_assert_eq(t.resets, 1);
    hears_the_end(fd);
    send_bytes("x", 1, port);
    expect(VSOCK_OP_RST);
    vm_buffer_free(&state);
    close(fd);
}

Test(virtio_vsock, a_guest_without_connections_hears_nothing)
{
    struct vm_buffer state = { 0 };

    cr_assert_eq(vh_quiesce(&t.h), 0);
    cr_assert_eq(vh_save(&t.h, &state), 0);
    cr_assert_eq(vh_load(&t.h, state.data, state.len), 0);
    cr_assert_eq(vdev_resume(t.h.dev), 0);
    run();

    cr_assert_eq(t.resets, 0);
    vm_buffer_free(&state);
}

Test(virtio_vsock, connections_outlive_a_pause)
{
    uint32_t port;
    int fd = connected(SOCK_STREAM, &port);

    cr_assert_eq(vh_quiesce(&t.h), 0);
    say(fd, "meanwhile");
    cr_assert_eq(vh_idle(&t.h), 0);
    cr_assert_eq(vt_collect(&t), 0);
    cr_assert_eq(t.inbox_len, 0, "a paused device writes nothing");
    cr_assert_eq(vdev_resume(t.h.dev), 0);

    expect_bytes("meanwhile");
    close(fd);
}

Test(virtio_vsock, ports_go_on_after_a_restart)
{
    struct virtio_vsock_state s = { .used = 1, .ports = 5 };
    const struct vt_packet *p;
    int fd;

    cr_assert_eq(t.h.virtio->ops->load(t.h.virtio, &s), 0);
    fd = vt_client(&t, SOCK_STREAM);
    say(fd, "CONNECT 52\n");

    p = expect(VSOCK_OP_REQUEST);
    cr_assert_eq(le32_get(p->hdr.src_port), VSOCK_PORT_FIRST + 5);
    close(fd);
}

Test(virtio_vsock, a_state_that_cannot_be_is_refused)
{
    const struct virtio_vsock_state bad = { .used = 2 };

    cr_assert_eq(t.h.virtio->ops->load(t.h.virtio, &bad), -EINVAL);
}
