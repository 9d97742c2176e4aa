/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Named sockets: made, left over, removed. */
#include "listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

int vmm_listener_address(const char *what, const char *path, struct sockaddr_un *ret_addr)
{
    int n;

    *ret_addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    n = snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s", path);
    if (n <= 0 || (size_t)n >= sizeof(ret_addr->sun_path))
        return vm_fail(-EINVAL, "%s %s: the path has %d bytes, a socket's at most 107", what, path,
                       n);
    return 0;
}

/* A socket that nobody listens on is a left-over. Only a socket: connect(2) refuses a regular file with the same error. */
static bool is_left_over(const struct sockaddr_un *addr)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;
    bool dead = probe >= 0 && !lstat(addr->sun_path, &st) && S_ISSOCK(st.st_mode) &&
                connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) &&
                errno == ECONNREFUSED;

    vm_close(&probe);
    return dead;
}

static int bind_address(const char *what, const char *user, int fd, const struct sockaddr_un *addr)
{
    const struct sockaddr *to = (const struct sockaddr *)addr;

    if (!bind(fd, to, sizeof(*addr)))
        return 0;
    if (errno != EADDRINUSE)
        return vm_fail_errno("%s %s", what, addr->sun_path);
    if (is_left_over(addr) && !unlink(addr->sun_path) && !bind(fd, to, sizeof(*addr)))
        return 0;
    return vm_fail(-EEXIST, "%s %s exists: another %s uses it, or it is a file; give another path",
                   what, addr->sun_path, user);
}

int vmm_listener_open(const char *what, const char *user, const struct sockaddr_un *addr,
                      int backlog, struct listener *ret_listener)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
    mode_t mask;

    if (fd < 0)
        return vm_fail_errno("%s", what);
    mask = umask(077); /* who may write to the socket owns what is behind it */
    rc = bind_address(what, user, fd, addr);
    umask(mask);
    if (!rc && (stat(addr->sun_path, &ret_listener->own) || listen(fd, backlog)))
        rc = vm_fail_errno("%s %s", what, addr->sun_path);
    if (rc) {
        vm_close(&fd);
        return rc;
    }
    ret_listener->fd = fd;
    ret_listener->addr = *addr;
    return 0;
}

void vmm_listener_close(struct listener *l)
{
    struct stat st;

    vm_close(&l->fd);
    if (!stat(l->addr.sun_path, &st) && st.st_ino == l->own.st_ino && st.st_dev == l->own.st_dev)
        unlink(l->addr.sun_path);
}
