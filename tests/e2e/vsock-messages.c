/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Cases of messages (SOCK_SEQPACKET): vsock-cases.c. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <linux/vm_sockets.h>

#include "vsock-cases.h"

enum { MESSAGES = 64, MESSAGE_MAX = 65536, SMALL = 64 << 10, LOOK = 64 };

/* Nothing, a part, all; and then all is still there. */
void look_before_reading(int type, bool client)
{
    int fd = connection(type, client);
    uint8_t data[LOOK], got[LOOK];

    fill(data, sizeof(data), port);
    if (!client)
        CHECK(recv(fd, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN);
    meet();
    if (client) {
        CHECK(send(fd, data, LOOK, MSG_NOSIGNAL) == LOOK);
    } else {
        CHECK(recv(fd, got, LOOK / 2, MSG_PEEK) == LOOK / 2 && !memcmp(got, data, LOOK / 2));
        CHECK(recv(fd, got, LOOK, MSG_PEEK) == LOOK && !memcmp(got, data, LOOK));
        if (type == SOCK_SEQPACKET)
            CHECK(recv(fd, got, LOOK / 2, MSG_PEEK | MSG_TRUNC) == LOOK);
        CHECK(recv(fd, got, LOOK, 0) == LOOK && !memcmp(got, data, LOOK));
        CHECK(recv(fd, got, LOOK, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    }
    meet();
    close(fd);
}

void message_peeked(bool client)
{
    look_before_reading(SOCK_SEQPACKET, client);
}

void message_bounds(bool client)
{
    static uint8_t data[MESSAGE_MAX], got[2 * MESSAGE_MAX];
    int fd = connection(SOCK_SEQPACKET, client);
    uint32_t seed = 77;

    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t len = 1 + draw(&seed) % MESSAGE_MAX;

        fill(data, len, i);
        if (client)
            CHECK(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
        else
            CHECK(recv(fd, got, sizeof(got), 0) == (ssize_t)len && !memcmp(data, got, len));
    }
    meet();
    close(fd);
}

void message_truncated(bool client)
{
    int fd = connection(SOCK_SEQPACKET, client);
    char data[100] = "long", got[50];
    struct iovec iov = { got, sizeof(got) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (client) {
        CHECK(send(fd, data, sizeof(data), MSG_NOSIGNAL) == sizeof(data));
        CHECK(send(fd, "next", 4, MSG_NOSIGNAL) == 4);
    } else {
        CHECK(recvmsg(fd, &msg, MSG_TRUNC) == sizeof(data));
        CHECK(msg.msg_flags & MSG_TRUNC);
        CHECK(recv(fd, got, sizeof(got), 0) == 4 && !memcmp(got, "next", 4));
    }
    meet();
    close(fd);
}

void message_late(bool client)
{
    const struct timeval soon = { .tv_usec = 200000 };
    int fd = connection(SOCK_SEQPACKET, client);
    char got[8];

    if (!client) {
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)));
        CHECK(recv(fd, got, sizeof(got), 0) < 0 && errno == EAGAIN);
    }
    meet();
    if (client)
        CHECK(send(fd, "late", 4, MSG_NOSIGNAL) == 4);
    meet();
    while (!client && recv(fd, got, sizeof(got), 0) != 4)
        CHECK(errno == EAGAIN);
    meet();
    close(fd);
}

/* recv(2) of a message that has nowhere to go. */
static void lose(int fd, void *where, size_t len)
{
    CHECK(recv(fd, where, len, 0) < 0 && (errno == EFAULT || errno == ENOMEM)); /* Linux 6.1 */
}

/* A part of it has no place: the message is lost, the next one is whole. */
void message_hole(bool client)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 3 * page;
    int fd = connection(SOCK_SEQPACKET, client);
    uint8_t *data = malloc(len), *kept = malloc(len), *got;

    CHECK(data && kept);
    fill(data, len, 1);
    fill(kept, len, 2);
    if (client) {
        CHECK(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
        CHECK(send(fd, kept, len, MSG_NOSIGNAL) == (ssize_t)len);
    } else {
        got = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(got != MAP_FAILED && !munmap(got + page, page));
        lose(fd, got, len);
        CHECK(recv(fd, data, len, 0) == (ssize_t)len && !memcmp(data, kept, len));
        CHECK(!munmap(got, page) && !munmap(got + 2 * page, page));
    }
    free(data);
    free(kept);
    meet();
    close(fd);
}

/* All of it: nothing is left of it, and what comes then is read. */
void message_nowhere(bool client)
{
    int fd = connection(SOCK_SEQPACKET, client);
    uint8_t data[512];

    fill(data, sizeof(data), port);
    if (client)
        CHECK(send(fd, data, sizeof(data), MSG_NOSIGNAL) == sizeof(data));
    else
        lose(fd, NULL, sizeof(data));
    if (!client)
        CHECK(recv(fd, data, sizeof(data), MSG_DONTWAIT) < 0 && errno == EAGAIN);
    meet();
    if (client)
        CHECK(send(fd, "kept", 4, MSG_NOSIGNAL) == 4);
    else
        CHECK(recv(fd, data, sizeof(data), 0) == 4 && !memcmp(data, "kept", 4));
    meet();
    close(fd);
}

/* Before Linux 6.3 the guest says so by another name. */
static void refused_as_too_big(int fd, const uint8_t *data, size_t len)
{
    CHECK(send(fd, data, len, MSG_NOSIGNAL) < 0);
    CHECK(errno == EMSGSIZE || (is_guest && plan.linux_of_guest < 6003 && errno == ENOMEM));
}

/* The guest's Linux knows what the device takes as one, and that it takes a whole buffer's. */
static void guest_sends_too_much(int fd, uint8_t *data)
{
    uint64_t own = 0;
    socklen_t len = sizeof(own);

    CHECK(!getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &own, &len));
    CHECK(own > MESSAGE_ALLOC && own < 2 * 1024 * 1024);
    refused_as_too_big(fd, data, own + 1);
    refused_as_too_big(fd, data, MESSAGE_ALLOC + 1);
    CHECK(send(fd, data, MESSAGE_ALLOC, MSG_NOSIGNAL) == MESSAGE_ALLOC);
}

/* The host's own buffer is the first bound, the guest's (SMALL) the other, which only the device knows. */
static void host_sends_too_much(int fd, uint8_t *data)
{
    int own = 0;
    socklen_t len = sizeof(own);

    CHECK(!getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &own, &len));
    CHECK(own > SMALL && own < 2 * 1024 * 1024);
    refused_as_too_big(fd, data, (size_t)own + 1);
    expect_byte(fd, 's'); /* the guest's buffer is small */
    CHECK(send(fd, data, SMALL, MSG_NOSIGNAL) == SMALL);
    CHECK(send(fd, data, SMALL + 1, MSG_NOSIGNAL) == SMALL + 1);
    CHECK(recv(fd, data, 1, 0) < 0 && errno == ECONNRESET); /* nobody read it */
}

void message_too_big(bool client)
{
    const uint64_t small = SMALL;
    int fd = connection(SOCK_SEQPACKET, client);
    uint8_t *data = malloc(2 * 1024 * 1024), *got = malloc(MESSAGE_ALLOC);

    CHECK(data && got);
    fill(data, MESSAGE_ALLOC, port);
    if (client && is_guest) {
        guest_sends_too_much(fd, data);
    } else if (client) {
        host_sends_too_much(fd, data);
    } else if (is_guest) {
        CHECK(!setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &small, sizeof(small)));
        send_byte(fd, 's');
        CHECK(recv(fd, got, MESSAGE_ALLOC, 0) == SMALL && !memcmp(got, data, SMALL));
        expect_end(fd);
    } else {
        CHECK(recv(fd, got, MESSAGE_ALLOC, 0) == MESSAGE_ALLOC);
        CHECK(!memcmp(got, data, MESSAGE_ALLOC));
    }
    free(data);
    free(got);
    meet();
    close(fd);
}
