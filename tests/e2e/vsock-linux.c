/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Cases about what the guest's Linux tells of its buffers and of what it sent: vsock-cases.c. */
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <linux/vm_sockets.h>

#include "vsock-cases.h"

enum {
    /* Of linux/socket.h and of 6.7's linux/vm_sockets.h. */
    LEVEL_VSOCK = 287,
    TYPE_RECVERR = 1,
    VECTORS = 3,
    BUFFER = 128 << 10,
    STEP =
        64
        << 10, /* what Linux leaves of its buffer before it tells of room: VIRTIO_VSOCK_MAX_PKT_BUF_SIZE */
    STREAM_ALLOC = 256 << 10, /* what the guest may send before it is read: virtio_vsock.md */
    FILLED = 2 << 20, /* more than that and a Unix socket's buffer */
    MERGED = 32,
};

/* ---- without a copy ---- */

static const struct sending {
    struct {
        unsigned pages, bytes, skew;
    } part[VECTORS];
    bool option; /* SO_ZEROCOPY */
    bool hole; /* the middle one is not there */
    bool copied; /* though it was asked for: the completion says so */
    bool streams; /* only */
} sendings[] = {
    { .part = { { 1, 0, 0 }, { 1, 0, 0 }, { 0, 200, 0 } }, .option = true },
    { .part = { { 1, 0, 0 }, { 2, 0, 0 }, { 3, 0, 0 } }, .option = true },
    { .part = { { 8, 0, 0 }, { 8, 0, 0 }, { 8, 0, 0 } }, .option = true }, /* more than a packet */
    { .part = { { 1, 0, 0 }, { 0, 100, 1 }, { 1, 0, 0 } }, .option = true },
    { .part = { { 1, 0, 0 }, { 1, 0, 0 }, { 1, 0, 0 } }, .option = true, .hole = true },
    { .part = { { 1, 0, 0 } } },
    /* More than the device takes at a time. */
    { .part = { { 100, 0, 0 } }, .option = true, .copied = true, .streams = true },
};

/* The bytes of a sending, one behind the other; vectors, if given, are copies of them in memory of their own. */
static uint8_t *make_sending(const struct sending *s, struct iovec iov[VECTORS], size_t *ret_len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), at = 0;
    uint8_t *data;

    *ret_len = 0;
    for (int i = 0; i < VECTORS; i++) {
        iov[i].iov_len = s->part[i].pages * page + s->part[i].bytes;
        *ret_len += iov[i].iov_len;
    }
    data = malloc(*ret_len);
    CHECK(data);
    fill(data, *ret_len, port);
    for (int i = 0; i < VECTORS; i++) {
        size_t room = iov[i].iov_len + page;
        uint8_t *to = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        CHECK(to != MAP_FAILED);
        iov[i].iov_base = to + s->part[i].skew;
        memcpy(iov[i].iov_base, data + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    return data;
}

static void free_sending(const struct sending *s, const struct iovec iov[VECTORS], uint8_t *data)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (int i = 0; i < VECTORS; i++)
        CHECK(!munmap((uint8_t *)iov[i].iov_base - s->part[i].skew, iov[i].iov_len + page));
    free(data);
}

/* The pages are the sender's again. */
static void expect_completion(int fd, bool copied)
{
    char control[128];
    struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
    struct sock_extended_err e;
    struct cmsghdr *c;

    await_events(fd, POLLERR);
    CHECK(recvmsg(fd, &msg, MSG_ERRQUEUE) == 0);
    c = CMSG_FIRSTHDR(&msg);
    CHECK(c && c->cmsg_level == LEVEL_VSOCK && c->cmsg_type == TYPE_RECVERR);
    memcpy(&e, CMSG_DATA(c), sizeof(e));
    CHECK(e.ee_origin == SO_EE_ORIGIN_ZEROCOPY && !e.ee_errno && !e.ee_info);
    CHECK(!(e.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) == !copied);
}

static void send_without_copy(int fd, const struct sending *s, struct iovec *iov, size_t len)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = VECTORS };
    struct pollfd p = { .fd = fd };
    int on = 1;

    if (s->option)
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
    if (s->hole) {
        CHECK(!mprotect(iov[1].iov_base, iov[1].iov_len, PROT_NONE));
        CHECK(sendmsg(fd, &msg, MSG_ZEROCOPY | MSG_NOSIGNAL) < 0 && errno == ENOMEM);
        CHECK(!shutdown(fd, SHUT_WR));
        return;
    }
    CHECK(sendmsg(fd, &msg, MSG_ZEROCOPY | MSG_NOSIGNAL) == (ssize_t)len);
    if (s->option)
        expect_completion(fd, s->copied);
    else
        CHECK(poll(&p, 1, 100) == 0);
}

static void receive_sending(int fd, int type, const struct sending *s, uint8_t *data, size_t len)
{
    uint8_t *got = malloc(len);

    CHECK(got);
    if (s->hole)
        expect_end(fd);
    else if (type == SOCK_STREAM)
        expect_bytes(fd, data, len);
    else
        CHECK(recv(fd, got, len, 0) == (ssize_t)len && !memcmp(got, data, len));
    free(got);
}

/* The guest sends. */
static void without_copy(int type, bool client)
{
    for (size_t i = 0; i < sizeof(sendings) / sizeof(sendings[0]); i++) {
        const struct sending *s = &sendings[i];
        struct iovec iov[VECTORS];
        uint8_t *data;
        size_t len;
        int fd;

        if (type != SOCK_STREAM && s->streams)
            continue;
        fd = connection(type, client);
        data = make_sending(s, iov, &len);
        if (is_guest)
            send_without_copy(fd, s, iov, len);
        else
            receive_sending(fd, type, s, data, len);
        meet();
        free_sending(s, iov, data);
        close(fd);
    }
}

void zero_copy(bool client)
{
    without_copy(SOCK_STREAM, client);
}

void zero_copy_messages(bool client)
{
    without_copy(SOCK_SEQPACKET, client);
}

void no_completion(bool client)
{
    char control[128];
    struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
    int fd = connection(SOCK_STREAM, client);

    if (is_guest)
        CHECK(recvmsg(fd, &msg, MSG_ERRQUEUE) < 0 && errno == EAGAIN);
    meet();
    close(fd);
}

/* ---- what has gone ---- */

static void nothing_is_left(int type, bool client)
{
    int fd = connection(type, client), left = -1;
    uint8_t data[64], got[64];

    fill(data, sizeof(data), port);
    if (client)
        CHECK(send(fd, data, sizeof(data), MSG_NOSIGNAL) == sizeof(data));
    else
        CHECK(recv(fd, got, sizeof(got), MSG_WAITALL) == sizeof(got) &&
              !memcmp(data, got, sizeof(got)));
    meet();
    for (int i = 0; client && left && i < 100 * PATIENCE_S; i++) {
        CHECK(!ioctl(fd, SIOCOUTQ, &left));
        CHECK(left >= 0);
        if (left)
            pause_ms(10);
    }
    CHECK(!client || !left);
    meet();
    close(fd);
}

void all_sent(bool client)
{
    nothing_is_left(SOCK_STREAM, client);
}

void all_messages_sent(bool client)
{
    nothing_is_left(SOCK_SEQPACKET, client);
}

/* ---- credit ---- */

static void set_low_water(int fd, int bytes)
{
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)));
}

static void small_buffer(int fd)
{
    const uint64_t size = BUFFER;

    CHECK(!setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)));
}

/* The other side has used all the credit that it had. */
static void await_full_buffer(int fd)
{
    static uint8_t got[BUFFER];
    int tries = 0;

    while (recv(fd, got, BUFFER, MSG_PEEK) != BUFFER) {
        CHECK(tries++ < 100 * PATIENCE_S);
        pause_ms(10);
    }
}

/* The last byte of one more than the buffer holds comes when the guest has told of room: it tells if it reads below its low-water mark,
 * and if that is raised. */
static void guest_makes_room(int fd, const uint8_t *data, bool by_low_water)
{
    small_buffer(fd);
    if (!by_low_water)
        set_low_water(fd, STEP + 1);
    send_byte(fd, 'r');
    await_full_buffer(fd);
    expect_bytes(fd, data, STEP);
    if (by_low_water)
        set_low_water(fd, STEP + 1);
    await_events(fd, POLLIN);
    expect_bytes(fd, data + STEP, BUFFER + 1 - STEP);
}

static void host_uses_room(int fd, const uint8_t *data)
{
    expect_byte(fd, 'r');
    send_all(fd, data, BUFFER + 1);
}

/* Until nothing goes for a moment: all that the device allows, and what waits on the way to the host's program. */
static size_t fill_up(int fd, const uint8_t *data)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    size_t sent = 0;
    ssize_t n;

    while (poll(&p, 1, 500)) {
        CHECK(sent < FILLED); /* or there is no bound */
        n = send(fd, data + sent, FILLED - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        CHECK(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
    }
    return sent;
}

static void guest_uses_room(int fd, const uint8_t *data)
{
    size_t sent = fill_up(fd, data);

    CHECK(sent >= STREAM_ALLOC);
    meet();
    await_events(fd, POLLOUT);
    meet();
    send_all(fd, data + sent, FILLED - sent);
}

/* As much as the device allows at a time, of more than that: then the guest may send again. */
static void host_makes_room(int fd, const uint8_t *data)
{
    meet();
    expect_bytes(fd, data, STREAM_ALLOC);
    meet();
    expect_bytes(fd, data + STREAM_ALLOC, FILLED - STREAM_ALLOC);
}

static void credit(bool client, bool by_low_water)
{
    int fd = connection(SOCK_STREAM, client);
    uint8_t *data = malloc(FILLED);

    CHECK(data);
    fill(data, FILLED, port);
    if (is_guest && client)
        guest_uses_room(fd, data);
    else if (is_guest)
        guest_makes_room(fd, data, by_low_water);
    else if (client)
        host_uses_room(fd, data);
    else
        host_makes_room(fd, data);
    free(data);
    meet();
    close(fd);
}

void credit_by_low_water(bool client)
{
    credit(client, true);
}

void credit_by_reading(bool client)
{
    credit(client, false);
}

/* Pieces that the guest's Linux puts together, the first of which was read in part: all their room comes back. */
void credit_of_merged(bool client)
{
    int fd = connection(SOCK_STREAM, client);
    uint8_t *data = malloc(BUFFER), got[8];

    CHECK(data);
    fill(data, BUFFER, port);
    if (!client && is_guest)
        small_buffer(fd);
    for (int i = 0; i < MERGED; i++) {
        if (client)
            send_all(fd, data, 5);
        else
            CHECK(recv(fd, got, 2, MSG_WAITALL) == 2);
        meet();
        if (client)
            send_all(fd, data + 5, 5);
        meet();
        if (!client)
            CHECK(recv(fd, got, 8, MSG_WAITALL) == 8 && !memcmp(got, data + 2, 8));
    }
    meet();
    if (client)
        send_all(fd, data, BUFFER);
    else if (is_guest)
        await_full_buffer(fd);
    if (!client)
        expect_bytes(fd, data, BUFFER);
    free(data);
    meet();
    close(fd);
}

/* A guest that does not read is asked for room now and then, not as fast as it answers. */
void no_room(bool client)
{
    int fd = connection(SOCK_STREAM, client);
    unsigned long waits = 0;
    uint8_t *data = malloc(BUFFER + 1);

    CHECK(data);
    fill(data, BUFFER + 1, port);
    if (is_guest) {
        small_buffer(fd);
        send_byte(fd, 'r');
    } else {
        expect_byte(fd, 'r');
        waits = device_metric("credit_waits");
        send_all(fd, data, BUFFER + 1);
        pause_ms(2500);
        waits = device_metric("credit_waits") - waits;
        CHECK(waits <= 10);
    }
    meet();
    if (is_guest)
        expect_bytes(fd, data, BUFFER + 1);
    free(data);
    meet();
    close(fd);
}
