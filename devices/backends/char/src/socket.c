/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A listening Unix socket: one client at a time. A client that comes late gets what nobody has seen yet, at least the last
 * KEEP_BYTES of it; a second one is closed at once.
 *
 * A client's fd is held twice, for input and for output: each side ends by itself (a client that only sends, or has sent all, is
 * no reason to stop output, and what it sent before it left is still read).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

#include "char_private.h"

void vchar_socket_end(struct vchar *chr)
{
    vchar_in_detach(chr);
}

void vchar_socket_hang_up(struct vchar *chr)
{
    vchar_out_detach(chr, OUT_NOBODY);
}

static bool has_client(const struct vchar *chr)
{
    struct pollfd p = { .fd = chr->out_fd };

    if (chr->out_fd < 0)
        return false;
    return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLHUP | POLLERR));
}

static void on_client(struct vm_watch *watch, uint32_t events)
{
    struct vchar *chr = container_of(watch, struct vchar, listen_watch);
    int fd = accept4(chr->own_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), twin;

    (void)events;
    if (fd < 0)
        return;
    twin = has_client(chr) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (twin < 0) {
        close(fd);
        return;
    }
    /* Of the one before there may be input left that the guest did not want. */
    vchar_in_detach(chr);
    vchar_out_detach(chr, OUT_NOBODY);
    if (vchar_in_attach(chr, fd)) {
        close(fd);
        close(twin);
        return;
    }
    vchar_out_attach(chr, OUT_SOCKET, twin);
}

/* ---- the socket's name ---- */

static int remember(struct vchar *chr, const char *path)
{
    struct stat st;

    chr->path = strdup(path);
    if (!chr->path)
        return vm_fail(-ENOMEM, "out of memory");
    if (lstat(path, &st))
        return vm_fail_errno("socket %s", path);
    chr->path_dev = st.st_dev;
    chr->path_ino = st.st_ino;
    return 0;
}

int vchar_socket_open(struct vchar *chr, const struct vchar_config *config)
{
    int fd = vm_socket_listen(config->socket, 1), rc;

    if (fd < 0)
        return fd;
    chr->own_fd = fd;
    rc = remember(chr, config->socket);
    return rc ? rc
              : vm_watch_add(chr->env->loop, &chr->listen_watch, chr->own_fd, EPOLLIN, on_client);
}
