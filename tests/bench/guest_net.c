/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "guest_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MS = 5000,
    PORT_ECHO = 7, /* RFC 862 */
    PORT_DISCARD = 9, /* RFC 863 */
    PORT_SOURCE = 19, /* as RFC 864, but it is told how much */
    SMALL = 18, /* with 42 bytes of headers and 4 of check sequence the shortest Ethernet frame */
    CHUNK = 64 * 1024,
};

static char chunk[CHUNK];

static void complain(const char *what)
{
    fprintf(stderr, "@failed %s: %s\n", what, strerror(errno));
}

static struct sockaddr_in address(const char *text, unsigned port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    inet_pton(AF_INET, text, &at.sin_addr);
    return at;
}

static int set_address(int fd, unsigned long request, struct ifreq *r, const char *text)
{
    struct sockaddr_in at = address(text, 0);

    memcpy(&r->ifr_addr, &at, sizeof(at));
    return ioctl(fd, request, r);
}

static int interface_up(void)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
    struct ifreq r = { .ifr_name = "eth0" };

    for (int ms = 0; ioctl(fd, SIOCGIFINDEX, &r) && ms < WAIT_MS; ms++)
        nanosleep(&pause, NULL);
    rc = set_address(fd, SIOCSIFADDR, &r, "10.0.0.2");
    if (!rc)
        rc = set_address(fd, SIOCSIFNETMASK, &r, "255.255.255.0");
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    if (!rc)
        rc = ioctl(fd, SIOCSIFFLAGS, &r);
    close(fd);
    return rc;
}

static int reach(int type, unsigned port)
{
    const struct timeval patience = { .tv_sec = 2 };
    struct sockaddr_in at = address("10.0.0.1", port);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        connect(fd, (struct sockaddr *)&at, sizeof(at)))
        complain("connect");
    return fd;
}

/* The module may come after us. */
static int reach_host(unsigned port)
{
    const struct timeval patience = { .tv_sec = 2 };
    const struct sockaddr_vm at = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_HOST,
                                    .svm_port = port };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        connect(fd, (const struct sockaddr *)&at, sizeof(at)))
        complain("connect");
    return fd;
}

static void send_datagrams(long count)
{
    int fd = reach(SOCK_DGRAM, PORT_DISCARD);

    for (long i = 0; i < count; i++)
        if (send(fd, chunk, SMALL, 0) != SMALL) {
            complain("send");
            return;
        }
    close(fd);
}

static void ask_and_wait(int fd, long count)
{
    for (long i = 0; i < count; i++)
        if (send(fd, chunk, 1, 0) != 1 || recv(fd, chunk, 1, 0) != 1) {
            complain("echo");
            return;
        }
    close(fd);
}

/* The other side ends the connection when it has read all of it. */
static void send_stream(int fd, long kib)
{
    for (long left = kib * 1024; left > 0;) {
        ssize_t n = write(fd, chunk, left < CHUNK ? (size_t)left : CHUNK);

        if (n <= 0) {
            complain("write");
            return;
        }
        left -= n;
    }
    if (shutdown(fd, SHUT_WR) || read(fd, chunk, 1))
        complain("end");
    close(fd);
}

static void receive_stream(int fd, long kib)
{
    long left = kib * 1024;
    ssize_t n;

    if (write(fd, &left, sizeof(left)) != (ssize_t)sizeof(left))
        complain("write");
    while ((n = read(fd, chunk, CHUNK)) > 0)
        left -= n;
    if (n || left)
        complain("read");
    close(fd);
}

static void by_vsock(const char *what, long count)
{
    if (!strcmp(what, "vrr"))
        ask_and_wait(reach_host(PORT_ECHO), count);
    else if (!strcmp(what, "vout"))
        send_stream(reach_host(PORT_DISCARD), count);
    else if (!strcmp(what, "vin"))
        receive_stream(reach_host(PORT_SOURCE), count);
}

void guest_net(const char *what, long count)
{
    if (*what == 'v')
        by_vsock(what, count);
    else if (interface_up())
        complain("eth0");
    else if (!strcmp(what, "udp"))
        send_datagrams(count);
    else if (!strcmp(what, "rr"))
        ask_and_wait(reach(SOCK_DGRAM, PORT_ECHO), count);
    else if (!strcmp(what, "out"))
        send_stream(reach(SOCK_STREAM, PORT_DISCARD), count);
    else if (!strcmp(what, "in"))
        receive_stream(reach(SOCK_STREAM, PORT_SOURCE), count);
}
