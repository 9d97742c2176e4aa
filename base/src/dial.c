/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Connections for who may open no name: both ends of the pair. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum { PER_ROUND = 16 };

struct question {
    uint32_t tag, port;
};

struct answer {
    uint32_t tag, port;
    int32_t code;
};

int vm_dial_new(const char *path, unsigned how, struct vm_dial *dial, int *ret_fd)
{
    bool exact = how & VM_OPEN_CONNECT;
    size_t len = strlen(path), most = exact ? VM_SOCKET_PATH_MAX : VM_DIAL_PATH_MAX;
    int pair[2];

    if (!len || len > most)
        return vm_fail(-ENAMETOOLONG, "%.64s: %zu bytes: %sa socket's path has 1 to %zu", path, len,
                       exact ? "" : "with a port behind it ", most);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail_errno("%s: socketpair", path);
    dial->fd = pair[0];
    dial->exact = exact;
    dial->type = how & VM_OPEN_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
    memcpy(dial->path, path, len + 1);
    *ret_fd = pair[1];
    return 0;
}

void vm_dial_end(struct vm_dial *dial)
{
    vm_close(&dial->fd);
}

int vm_dial_question(int fd, uint32_t *ret_tag, uint32_t *ret_port)
{
    struct question q;
    size_t fds;

    for (int i = 0; i < PER_ROUND; i++) { /* what is none is passed over */
        ssize_t n = vm_socket_receive(fd, &q, sizeof(q), NULL, 0, &fds, MSG_DONTWAIT);

        if (n == -EAGAIN)
            return -EAGAIN;
        if (n == 0 || (n < 0 && n != -EMSGSIZE))
            return -ECONNRESET;
        if (n == (ssize_t)sizeof(q)) {
            *ret_tag = q.tag;
            *ret_port = q.port;
            return 0;
        }
    }
    return -EAGAIN;
}

/* Who asks more than he reads gets no answer. Where the kernel does not carry the connection (unix(7), ETOOMANYREFS) he hears that. */
static int send_answer(int fd, const struct answer *a, int connection)
{
    ssize_t n = vm_socket_send(fd, a, sizeof(*a), &connection, connection >= 0, MSG_DONTWAIT);
    struct answer none = { a->tag, a->port, (int32_t)n };

    if (n < 0 && n != -EAGAIN && connection >= 0)
        (void)vm_socket_send(fd, &none, sizeof(none), NULL, 0, MSG_DONTWAIT);
    return n < 0 ? (int)n : 0;
}

int vm_dial_answer(int fd, uint32_t tag, uint32_t port, int connection)
{
    return send_answer(fd, &(struct answer){ tag, port, 0 }, connection);
}

static void answer(struct vm_dial *dial, uint32_t tag, uint32_t port)
{
    char name[VM_SOCKET_PATH_MAX + 1];
    struct answer a = { tag, port, 0 };
    int fd;

    if (dial->exact)
        memcpy(name, dial->path, sizeof(name));
    else
        snprintf(name, sizeof(name), "%.*s_%u", VM_DIAL_PATH_MAX, dial->path, port);
    fd = vm_socket_connect_as(name, dial->type);
    a.code = fd < 0 ? fd : 0;
    (void)send_answer(dial->fd, &a, fd);
    vm_close(&fd);
}

int vm_dial_serve(struct vm_dial *dial)
{
    for (int i = 0; i < PER_ROUND; i++) {
        uint32_t tag, port;
        int rc = vm_dial_question(dial->fd, &tag, &port);

        if (rc)
            return rc == -EAGAIN ? 0 : rc;
        answer(dial, tag, port);
    }
    return 0;
}

int vm_dial_ask(int fd, uint32_t tag, uint32_t port)
{
    const struct question q = { tag, port };
    ssize_t n = vm_socket_send(fd, &q, sizeof(q), NULL, 0, MSG_DONTWAIT);

    return n < 0 ? (int)n : 0;
}

int vm_dial_take(int fd, struct vm_dial_answer *ret)
{
    struct answer a = { 0 };
    size_t fds = 0;
    int got = -1;
    ssize_t n = vm_socket_receive(fd, &a, sizeof(a), &got, 1, &fds, MSG_DONTWAIT);

    if (n == -EAGAIN)
        return -EAGAIN;
    /* This process has no descriptor for the connection (recvmsg(2), MSG_CTRUNC), or it is no answer at all. */
    if (n == -EMSGSIZE) {
        *ret = (struct vm_dial_answer){ a.tag, a.port, -EMFILE, -1 };
        return 0;
    }
    if (n <= 0)
        return -ECONNRESET;
    if (n != (ssize_t)sizeof(a) || (a.code != 0) == (fds != 0) || a.code > 0) {
        if (fds)
            vm_close(&got);
        return -EPROTO;
    }
    *ret = (struct vm_dial_answer){ a.tag, a.port, a.code, fds ? got : -1 };
    return 0;
}
