/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The other side of guest_net.c, in the host: takes datagrams and streams at port 9, sends each datagram at port 7 back, and sends as
 * many bytes as eight bytes at port 19 say; the streams also at these ports of AF_VSOCK and at Unix sockets /vsock_PORT. Prints "@ready" when all of them listen, and runs until it is killed; one connection at a
 * time. It runs outside of the control group whose cost is measured.
 */
#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, SERVERS = 10 };

static char chunk[CHUNK];

static int at_address(int family, int type, const void *at, socklen_t len)
{
    const int yes = 1;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    if ((family == AF_INET && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes))) ||
        bind(fd, at, len) || (type == SOCK_STREAM && listen(fd, 4))) {
        perror("net_peer");
        exit(1);
    }
    return fd;
}

static int at_port(int family, int type, unsigned port)
{
    const struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    const struct sockaddr_vm vm = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_ANY,
                                    .svm_port = port };
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    snprintf(un.sun_path, sizeof(un.sun_path), "/vsock_%u", port);
    switch (family) {
    case AF_INET: return at_address(family, type, &in, sizeof(in));
    case AF_VSOCK: return at_address(family, type, &vm, sizeof(vm));
    default: return at_address(family, type, &un, sizeof(un));
    }
}

static void take_datagrams(int fd)
{
    for (;;)
        (void)!recv(fd, chunk, sizeof(chunk), 0);
}

static void echo(int fd)
{
    struct sockaddr_in from;

    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, chunk, sizeof(chunk), 0, (struct sockaddr *)&from, &len);

        if (n >= 0)
            (void)!sendto(fd, chunk, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
}

static void echo_streams(int fd)
{
    for (;;) {
        int client = accept(fd, NULL, NULL);
        ssize_t n;

        while ((n = read(client, chunk, sizeof(chunk))) > 0 && write(client, chunk, (size_t)n) == n)
            ;
        close(client);
    }
}

static void take_streams(int fd)
{
    for (;;) {
        int client = accept(fd, NULL, NULL);

        while (read(client, chunk, sizeof(chunk)) > 0)
            ;
        close(client);
    }
}

static void send_streams(int fd)
{
    for (;;) {
        int client = accept(fd, NULL, NULL);
        long left = 0;
        ssize_t n = read(client, &left, sizeof(left));

        while (n > 0 && left > 0) {
            n = write(client, chunk, left < CHUNK ? (size_t)left : CHUNK);
            left -= n;
        }
        close(client);
    }
}

int main(void)
{
    static const struct {
        int family, type;
        unsigned port;
        void (*serve)(int fd);
    } server[SERVERS] = {
        { AF_INET, SOCK_DGRAM, 9, take_datagrams },  { AF_INET, SOCK_DGRAM, 7, echo },
        { AF_INET, SOCK_STREAM, 9, take_streams },   { AF_INET, SOCK_STREAM, 19, send_streams },
        { AF_VSOCK, SOCK_STREAM, 7, echo_streams },  { AF_UNIX, SOCK_STREAM, 7, echo_streams },
        { AF_VSOCK, SOCK_STREAM, 9, take_streams },  { AF_UNIX, SOCK_STREAM, 9, take_streams },
        { AF_VSOCK, SOCK_STREAM, 19, send_streams }, { AF_UNIX, SOCK_STREAM, 19, send_streams },
    };
    int fd[SERVERS];

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SERVERS; i++)
        fd[i] = at_port(server[i].family, server[i].type, server[i].port);
    printf("@ready\n");
    fflush(stdout);
    for (int i = 1; i < SERVERS; i++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            server[i].serve(fd[i]);
        }
    server[0].serve(fd[0]);
}
