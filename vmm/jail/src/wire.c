/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Packets with fds (unix(7)). */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spawn.h"

union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int) * VMM_SPAWN_FDS)];
};

ssize_t vmm_spawn_send(int sock, const void *packet, size_t len, const int *fd, size_t fds)
{
    struct iovec iov = { .iov_base = (void *)packet, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union control control = { .room = { 0 } };
    ssize_t n;

    if (fds) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int) * fds);
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fd, sizeof(int) * fds);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void take_fds(struct msghdr *msg, int fd[VMM_SPAWN_FDS], size_t *ret_fds)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        *ret_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fd, CMSG_DATA(c), *ret_fds * sizeof(int));
    }
}

ssize_t vmm_spawn_receive(int sock, void *packet, size_t size, int fd[VMM_SPAWN_FDS],
                          size_t *ret_fds)
{
    struct iovec iov = { .iov_base = packet, .iov_len = size };
    union control control;
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof(control.room) };
    ssize_t n;

    *ret_fds = 0;
    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    take_fds(&msg, fd, ret_fds);
    if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return n;
    while (*ret_fds)
        close(fd[--*ret_fds]);
    return -EMSGSIZE;
}
