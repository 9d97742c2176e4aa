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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

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
    return chr->out_fd >= 0 && !(vchar_poll(chr->out_fd, 0) & (POLLHUP | POLLERR));
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

int vchar_socket_open(struct vchar *chr, const struct vchar_config *config)
{
    int fd = vchar_open_made(chr, config->socket, VM_OPEN_LISTEN);

    if (fd == -ENOTCONN)
        return 0;
    if (fd < 0)
        return fd;
    chr->own_fd = fd;
    return vm_watch_add(chr->env->loop, &chr->listen_watch, chr->own_fd, EPOLLIN, on_client);
}
