/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm vsock connect SOCKET PORT: standard input and output as a program of the guest has them, by the protocol of virtio-vsock's socket
 * (devices/models/virtio_vsock/virtio_vsock.md).
 *
 * Each direction ends by itself: the end of the input is told to the guest, and its bytes still come out.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/socket.h>
#include <vmm/control/control.h>

#include "verbs.h"

enum {
    ANSWER_MS = 15000, /* the device gives up after 10 s */
    LINE_MAX_BYTES = 32,
    PART_BYTES = 128 << 10, /* also the longest message */
};

/* What was read and not written yet. */
struct part {
    char *data;
    size_t at, len;
    bool ended; /* no more will be read */
};

struct pump {
    int sock;
    struct part in, out; /* to the guest, from it */
};

static int parse_port(const char *text, uint32_t *ret_port)
{
    char *end;
    unsigned long long port;

    errno = 0;
    port = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || port >= UINT32_MAX)
        return vm_fail(-EINVAL, "vsock: port %.32s: a number from 0 to 4294967294", text);
    *ret_port = (uint32_t)port;
    return 0;
}

/* Byte by byte, for what comes behind the line is the guest's. A message is read at once. */
static int read_answer(int sock, bool messages, char line[LINE_MAX_BYTES])
{
    size_t n = 0;

    while (n + 1 < LINE_MAX_BYTES && (!n || line[n - 1] != '\n')) {
        struct pollfd p = { .fd = sock, .events = POLLIN };
        ssize_t got;
        int rc = poll(&p, 1, ANSWER_MS);

        if (rc == 0)
            return -ETIMEDOUT;
        if (rc < 0 && errno != EINTR)
            return -errno;
        got = recv(sock, line + n, messages ? LINE_MAX_BYTES - 1 : 1, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0)
            return got && errno != ECONNRESET ? -errno : -ECONNREFUSED;
        n += (size_t)got;
    }
    line[n] = '\0';
    return strncmp(line, "OK ", 3) || line[n - 1] != '\n' ? -EPROTO : 0;
}

static int greet(int sock, bool messages, const char *path, uint32_t port)
{
    char line[LINE_MAX_BYTES];
    int len = snprintf(line, sizeof(line), "CONNECT %u\n", port), rc;

    if (send(sock, line, (size_t)len, MSG_NOSIGNAL) != len)
        return vm_fail_errno("vsock: %s", path);
    rc = read_answer(sock, messages, line);
    switch (rc) {
    case 0: return 0;
    case -ECONNREFUSED:
        return vm_fail(rc,
                       "vsock: port %u of the guest: nobody there takes the connection: start the "
                       "program that listens on it",
                       port);
    case -ETIMEDOUT:
        return vm_fail(rc, "vsock: %s: no answer in %d s: is it the socket of a machine's --vsock?",
                       path, ANSWER_MS / 1000);
    case -EPROTO:
        return vm_fail(rc, "vsock: %s speaks another protocol: give the socket of --vsock", path);
    default: return vm_fail(rc, "vsock: %s: %s", path, strerror(-rc));
    }
}

/* ---- bytes ---- */

static int fill(struct part *p, int fd)
{
    ssize_t n = vm_read(fd, p->data, PART_BYTES);

    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return vm_fail((int)n, "vsock: reading: %s", strerror((int)-n));
    p->at = 0;
    p->len = (size_t)n;
    p->ended = !n;
    return 0;
}

static void took(struct part *p, ssize_t n)
{
    p->at += (size_t)n;
    p->len -= (size_t)n;
}

static int to_guest(struct pump *p)
{
    ssize_t n = send(p->sock, p->in.data + p->in.at, p->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0) {
        took(&p->in, n);
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno != EPIPE)
        return vm_fail_errno("vsock: to the guest");
    p->in.len = 0; /* it takes no more, but may still send */
    p->in.ended = true;
    return 0;
}

/* What a pipe takes without waiting when it says that it is ready: pipe(7). */
static int to_output(struct pump *p)
{
    size_t len = p->out.len < PIPE_BUF ? p->out.len : PIPE_BUF;
    ssize_t n = vm_write(STDOUT_FILENO, p->out.data + p->out.at, len);

    if (n < 0 && n != -EAGAIN)
        return vm_fail((int)n, "vsock: standard output: %s", strerror((int)-n));
    took(&p->out, n < 0 ? 0 : n);
    return 0;
}

static int from_input(struct pump *p)
{
    int rc = fill(&p->in, STDIN_FILENO);

    if (!rc && p->in.ended)
        shutdown(p->sock, SHUT_WR);
    return rc;
}

static int once(struct pump *p)
{
    struct pollfd fd[] = {
        { p->in.len || p->in.ended ? -1 : STDIN_FILENO, POLLIN, 0 },
        { p->out.len ? STDOUT_FILENO : -1, POLLOUT, 0 },
        { p->sock, (short)((p->in.len ? POLLOUT : 0) | (p->out.len ? 0 : POLLIN)), 0 },
    };
    int rc = 0;

    if (!fd[2].events)
        fd[2].fd = -1;
    if (poll(fd, 3, -1) < 0)
        return errno == EINTR ? 0 : vm_fail_errno("vsock: poll");
    if (fd[0].revents)
        rc = from_input(p);
    if (!rc && fd[1].revents)
        rc = to_output(p);
    if (!rc && fd[2].revents && p->in.len)
        rc = to_guest(p);
    if (!rc && fd[2].revents && !p->out.len)
        rc = fill(&p->out, p->sock);
    return rc;
}

static int pump(int sock)
{
    struct pump p = { .sock = sock };
    int rc = 0;

    p.in.data = malloc(PART_BYTES);
    p.out.data = malloc(PART_BYTES);
    if (!p.in.data || !p.out.data)
        rc = vm_fail(-ENOMEM, "vsock: out of memory");
    while (!rc && !(p.out.ended && !p.out.len))
        rc = once(&p);
    free(p.in.data);
    free(p.out.data);
    return rc;
}

int vmm_command_vsock(struct session *s)
{
    uint32_t port;
    int sock, rc;

    if (strcmp(s->values[0], "connect") != 0) {
        vm_fail(-EINVAL,
                "vsock: %.32s: the only thing to do is connect: vmm vsock connect SOCKET PORT",
                s->values[0]);
        return vmm_command_fail(-EINVAL);
    }
    rc = parse_port(s->values[2], &port);
    if (rc)
        return vmm_command_fail(rc);
    sock = vm_socket_connect_as(s->values[1], s->messages ? SOCK_SEQPACKET : SOCK_STREAM);
    if (sock < 0)
        return vmm_command_fail(vm_wrap(sock, "vsock"));
    rc = greet(sock, s->messages, s->values[1], port);
    if (!rc)
        rc = pump(sock);
    vm_close(&sock);
    return rc ? vmm_command_fail(rc) : VMM_EXIT_OK;
}
