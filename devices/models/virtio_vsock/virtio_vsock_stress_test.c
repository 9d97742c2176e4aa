/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Many connections at once, in the manner of Linux's tools/testing/vsock: a guest whose program sends back what it gets, honest about its
 * credit, and clients that compare every byte with what they sent.
 */
#include <sys/resource.h>

#include "virtio_vsock_steps.h"

enum {
    CLIENTS = 100,
    CLIENT_BYTES = 150000,
    ROOM = 4096, /* of a connection in the guest: small, so that credit decides */
    THOUSANDS = 2000,
};

/* A connection as the guest has it. */
struct guest_conn {
    uint32_t port; /* the host's; 0: none */
    uint32_t fwd, rx, tx, host_fwd, host_alloc;
    uint8_t data[ROOM];
    uint32_t len; /* to be sent back */
    bool shut;
};
static struct guest_conn guest[THOUSANDS];

static struct client {
    int fd;
    uint32_t sent, got;
} client[THOUSANDS];

static uint8_t pattern(unsigned i, uint32_t at)
{
    return (uint8_t)(i * 31 + at * 7 + at / 251);
}

static void reply(struct guest_conn *g, enum vsock_op op, uint32_t flags, const void *data,
                  uint32_t len)
{
    struct vsock_hdr h = vt_header(&t, op, VSOCK_STREAM, GUEST, g->port);

    h.buf_alloc = le32_make(ROOM);
    h.fwd_cnt = le32_make(g->fwd);
    h.flags = le32_make(flags);
    h.len = le32_make(len);
    cr_assert_eq(vt_put(&t, &h, data, len), 0);
}

/* What the host has room for goes back; it frees as much of ours. */
static void echo(struct guest_conn *g)
{
    uint32_t room = g->host_alloc - (g->tx - g->host_fwd), len = g->len < room ? g->len : room;

    if (len) {
        g->fwd += len;
        reply(g, VSOCK_OP_RW, 0, g->data, len);
        g->tx += len;
        g->len -= len;
        memmove(g->data, g->data + len, g->len);
    }
    if (g->shut && !g->len) {
        reply(g, VSOCK_OP_SHUTDOWN, VSOCK_CLOSED, NULL, 0);
        g->shut = false;
    }
}

static void take(struct guest_conn *g, const struct vt_packet *p)
{
    g->host_alloc = le32_get(p->hdr.buf_alloc);
    g->host_fwd = le32_get(p->hdr.fwd_cnt);
    switch (le16_get(p->hdr.op)) {
    case VSOCK_OP_REQUEST: reply(g, VSOCK_OP_RESPONSE, 0, NULL, 0); break;
    case VSOCK_OP_RW:
        g->rx += p->bytes;
        cr_assert_leq(g->len + p->bytes, ROOM, "more than the guest has room for");
        memcpy(g->data + g->len, p->data, p->bytes);
        g->len += p->bytes;
        break;
    case VSOCK_OP_CREDIT_REQUEST: reply(g, VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0); break;
    case VSOCK_OP_SHUTDOWN: g->shut = true; break;
    case VSOCK_OP_RST: g->port = 0; break;
    default: cr_assert_eq(le16_get(p->hdr.op), VSOCK_OP_CREDIT_UPDATE);
    }
}

static void serve_guest(void)
{
    const struct vt_packet *p;

    run();
    while ((p = vt_next(&t))) {
        struct vt_packet copy = *p;
        struct guest_conn *g = &guest[le32_get(copy.hdr.src_port) % THOUSANDS];

        if (le16_get(copy.hdr.op) == VSOCK_OP_REQUEST)
            *g = (struct guest_conn){ .port = le32_get(copy.hdr.src_port) };
        take(g, &copy);
        if (g->port)
            echo(g);
    }
    cr_assert_eq(t.lost, 0);
}

static void connect_client(unsigned i)
{
    char line[32];
    ssize_t n;

    client[i] = (struct client){ .fd = vt_client(&t, SOCK_STREAM) };
    cr_assert_geq(client[i].fd, 0, "%s", vm_error_text());
    say(client[i].fd, "CONNECT 5000\n");
    serve_guest();
    n = recv(client[i].fd, line, sizeof(line), MSG_DONTWAIT);
    cr_assert(n > 3 && !memcmp(line, "OK ", 3), "client %u: %zd", i, n);
}

/* A part of what is left to send, and all that came back. False: all is done. */
static bool talk(unsigned i)
{
    struct client *c = &client[i];
    uint8_t data[7000];
    uint32_t len = 1 + (uint32_t)(vh_random(&t.h) % sizeof(data));
    ssize_t n;

    len = len < CLIENT_BYTES - c->sent ? len : CLIENT_BYTES - c->sent;
    for (uint32_t b = 0; b < len; b++)
        data[b] = pattern(i, c->sent + b);
    n = len ? send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    c->sent += n > 0 ? (uint32_t)n : 0;
    if (n > 0 && c->sent == CLIENT_BYTES)
        shutdown(c->fd, SHUT_WR);
    while ((n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        for (ssize_t b = 0; b < n; b++)
            cr_assert_eq(data[b], pattern(i, c->got++), "client %u, byte %u", i, c->got - 1);
    return n != 0;
}

static void many_talk(bool packed)
{
    const struct vh_config way = { .transport = VH_PCI, .packed = packed, .seed = 7 };
    unsigned ended = 0;

    open_way(&way, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        connect_client(i);
    for (unsigned round = 0; ended < CLIENTS && round < 4000; round++) {
        for (unsigned i = 0; i < CLIENTS; i++)
            if (client[i].fd >= 0 && !talk(i)) {
                cr_assert_eq(client[i].got, CLIENT_BYTES, "client %u", i);
                close(client[i].fd);
                client[i].fd = -1;
                ended++;
            }
        serve_guest();
    }
    cr_assert_eq(ended, CLIENTS);
    cr_assert_eq(vt_count(&t, "tx_bytes"), (uint64_t)CLIENTS * CLIENT_BYTES);
    cr_assert_eq(vt_count(&t, "rx_bytes"), (uint64_t)CLIENTS * CLIENT_BYTES);
    cr_assert_eq(vt_device(&t)->conns, 0);
    cr_assert_eq(vt_device(&t)->waiting_bytes, 0);
    teardown();
}

Test(virtio_vsock_stress, many_clients_get_all_of_their_bytes_back_over_split_rings,
     .timeout = TEST_TIMEOUT)
{
    many_talk(false);
}

Test(virtio_vsock_stress, many_clients_get_all_of_their_bytes_back_over_packed_rings,
     .timeout = TEST_TIMEOUT)
{
    many_talk(true);
}

Test(virtio_vsock_stress, thousands_of_connections_stand_at_once, .timeout = TEST_TIMEOUT)
{
    const struct vh_config way = { .transport = VH_PCI };
    struct rlimit files;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < 2 * THOUSANDS + 100)
        cr_skip_test("ulimit -Hn is %llu", (unsigned long long)files.rlim_max);
    open_way(&way, NULL);
    for (unsigned i = 0; i < THOUSANDS; i++)
        connect_client(i);
    cr_assert_eq(vt_device(&t)->conns, THOUSANDS);
    for (unsigned i = 0; i < THOUSANDS; i += 100) {
        say(client[i].fd, "still there");
        serve_guest();
        hears(client[i].fd, "still there");
    }
    for (unsigned i = 0; i < THOUSANDS; i++) {
        close(client[i].fd);
        if (i % 100 == 99)
            serve_guest();
    }
    cr_assert_eq(vt_device(&t)->conns, 0);
    teardown();
}
