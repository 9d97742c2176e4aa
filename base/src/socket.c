/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Unix stream sockets by name (unix(7)). */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

static int make_address(const char *path, struct sockaddr_un *addr)
{
    size_t len = strlen(path);

    _Static_assert(sizeof(addr->sun_path) == VM_SOCKET_PATH_MAX + 1, "unix(7)");
    if (!len || len > VM_SOCKET_PATH_MAX)
        return vm_fail(-EINVAL, "socket %s: %zu bytes are too %s for a socket's path (1 to %d)",
                       path, len, len ? "long" : "short", VM_SOCKET_PATH_MAX);
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(addr->sun_path, path, len);
    return 0;
}

static int new_socket(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? vm_fail_errno("socket %s", path) : fd;
}

/* A socket of a program that ended without removing it refuses connections. */
static int remove_stale(const struct sockaddr_un *addr)
{
    int fd = new_socket(addr->sun_path), rc;
    struct stat st;

    if (fd < 0)
        return fd;
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

    /* The name gets the socket's own mode: there is no moment at which others may connect. */
    if (fchmod(fd, 0600))
        return vm_fail_errno("socket %s: mode 0600", addr->sun_path);
    if (bind(fd, name, sizeof(*addr)) == 0)
        return 0;
    if (errno == EADDRINUSE) {
        rc = remove_stale(addr);
        if (rc || bind(fd, name, sizeof(*addr)) == 0)
            return rc;
    }
    return vm_fail_errno("socket %s", addr->sun_path);
}

int vm_socket_listen(const char *path, int backlog)
{
    struct sockaddr_un addr;
    int fd, rc = make_address(path, &addr);

    if (rc)
        return rc;
    fd = new_socket(path);
    if (fd < 0)
        return fd;
    rc = bind_name(fd, &addr);
    if (!rc && listen(fd, backlog))
        rc = vm_fail_errno("socket %s: listen", path);
    if (!rc)
        return fd;
    vm_close(&fd);
    return rc;
}

int vm_socket_connect(const char *path)
{
    struct sockaddr_un addr;
    struct stat st;
    int fd, rc = make_address(path, &addr);

    if (rc)
        return rc;
    fd = new_socket(path);
    if (fd < 0)
        return fd;
    do {
        rc = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
    } while (rc == -EINTR);
    if (!rc)
        return fd;
    vm_close(&fd);
    if (rc == -ECONNREFUSED && !stat(path, &st) && !S_ISSOCK(st.st_mode)) /* unix(7) says no more */
        return vm_fail(-ENOTSOCK, "socket %s: there is a file that is not a socket", path);
    return vm_fail(rc, "socket %s: %s", path, strerror(-rc));
}
