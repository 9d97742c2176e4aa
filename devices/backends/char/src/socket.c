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
#include <sys/un.h>
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

/* A socket of a program that ended without removing it refuses connections. */
static int remove_stale(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
    struct stat st;

    if (fd < 0)
        return vm_fail_errno("socket %s", addr->sun_path);
    rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
    close(fd);
    if (lstat(addr->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return vm_fail(-EEXIST,
                       "socket %s: there is a file that is not a socket: choose another "
                       "name, or remove it",
                       addr->sun_path);
    if (rc != -ECONNREFUSED)
        return vm_fail(-EADDRINUSE, "socket %s: another program listens on it: choose another name",
                       addr->sun_path);
    if (unlink(addr->sun_path) && errno != ENOENT)
        return vm_fail_errno("socket %s: removing the old one", addr->sun_path);
    return 0;
}

static int bind_name(int fd, const struct sockaddr_un *addr)
{
    const struct sockaddr *name = (const struct sockaddr *)addr;
    int rc;

    if (bind(fd, name, sizeof(*addr)) == 0)
        return 0;
    if (errno == EADDRINUSE) {
        rc = remove_stale(addr);
        if (rc || bind(fd, name, sizeof(*addr)) == 0)
            return rc;
    }
    return vm_fail_errno("socket %s", addr->sun_path);
}

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
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t len = strlen(config->socket);
    int rc;

    if (!len || len >= sizeof(addr.sun_path))
        return vm_fail(-EINVAL, "socket %s: %zu bytes are too %s for a socket's path (1 to %zu)",
                       config->socket, len, len ? "long" : "short", sizeof(addr.sun_path) - 1);
    memcpy(addr.sun_path, config->socket, len);
    chr->own_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (chr->own_fd < 0)
        return vm_fail_errno("socket %s", config->socket);
    /* The name gets the socket's own mode: there is no moment at which others may connect. */
    if (fchmod(chr->own_fd, 0600))
        return vm_fail_errno("socket %s: mode 0600", config->socket);
    rc = bind_name(chr->own_fd, &addr);
    if (!rc)
        rc = remember(chr, config->socket);
    if (rc)
        return rc;
    if (listen(chr->own_fd, 1))
        return vm_fail_errno("socket %s: listen", config->socket);
    return vm_watch_add(chr->env->loop, &chr->listen_watch, chr->own_fd, EPOLLIN, on_client);
}
