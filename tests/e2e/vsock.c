/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Bytes through a connection, for guests and the emulated host (static):
 *
 *   vsock echo ADDRESS    waits for one connection, says "@listens ADDRESS", sends back what comes, to its end
 *   vsock send ADDRESS    standard input to who listens there, what it sends back to standard output; each direction to its end
 *
 * ADDRESS: a port of AF_VSOCK, with CID: before it (send: without it of the host, CID 2), or the path of a Unix socket.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { BYTES = 64 << 10 };

static void die(const char *what)
{
    printf("\n@failed vsock: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_address(const char *address, int listens)
{
    const char *colon = strchr(address, ':');
    struct sockaddr_vm vm = { .svm_family = AF_VSOCK,
                              .svm_port = (unsigned)strtoul(colon ? colon + 1 : address, NULL, 10),
                              .svm_cid = colon     ? (unsigned)strtoul(address, NULL, 10)
                                         : listens ? VMADDR_CID_ANY
                                                   : VMADDR_CID_HOST };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int is_path = *address == '/', fd = socket(is_path ? AF_UNIX : AF_VSOCK, SOCK_STREAM, 0);
    const struct sockaddr *name = is_path ? (const void *)&un : (const void *)&vm;
    socklen_t len = is_path ? sizeof(un) : sizeof(vm);

    strncpy(un.sun_path, address, sizeof(un.sun_path) - 1);
    if (fd < 0 || (listens ? bind(fd, name, len) || listen(fd, 1) : connect(fd, name, len)))
        die(address);
    return fd;
}

static void put(int fd, const char *data, ssize_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, (size_t)len);

        if (n < 0)
            die("write");
        data += n;
        len -= n;
    }
}

static void echo(const char *address)
{
    static char data[BYTES];
    int listener = open_address(address, 1), fd;
    ssize_t n;

    printf("\n@listens %s\n", address);
    fflush(stdout);
    fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    while ((n = read(fd, data, sizeof(data))) > 0)
        put(fd, data, n);
    if (n < 0)
        die("read");
}

/* Not more than what the echo, which reads nothing while it writes, has room for is on its way. */
static void send_all(const char *address)
{
    static char data[BYTES];
    int fd = open_address(address, 0);
    struct pollfd p[2] = { { STDIN_FILENO, POLLIN, 0 }, { fd, POLLIN, 0 } };
    size_t out = 0; /* sent and not come back */
    int ended = 0;

    for (;;) {
        ssize_t n;

        p[0].fd = ended || out >= BYTES ? -1 : STDIN_FILENO;
        p[0].revents = 0;
        if (poll(p, 2, -1) < 0)
            die("poll");
        if (p[1].revents) {
            n = read(fd, data, sizeof(data));
            if (n < 0)
                die("read");
            if (!n)
                return;
            put(STDOUT_FILENO, data, n);
            out -= (size_t)n;
        }
        if (p[0].revents) {
            n = read(STDIN_FILENO, data, BYTES - out);
            if (n < 0)
                die("standard input");
            put(fd, data, n);
            out += (size_t)n;
            ended = !n;
            if (ended)
                shutdown(fd, SHUT_WR);
        }
    }
}

int main(int argc, char *argv[])
{
    if (argc == 3 && !strcmp(argv[1], "echo"))
        echo(argv[2]);
    else if (argc == 3 && !strcmp(argv[1], "send"))
        send_all(argv[2]);
    else
        die("usage: vsock echo|send ADDRESS");
    return 0;
}
