/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Unix sockets (unix(7)): streams by name, and file descriptors beside bytes. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
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

static int new_socket(const char *path, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? vm_fail_errno("socket %s", path) : fd;
}

/* A socket of a program that ended without removing it refuses connections; one that stands refuses another type. */
static int remove_stale(const struct sockaddr_un *addr)
{
    int fd = new_socket(addr->sun_path, SOCK_STREAM), rc;
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
    return vm_file_fail("socket", addr->sun_path, true);
}

int vm_socket_listen_as(const char *path, int backlog, int type)
{
    struct sockaddr_un addr;
    int fd, rc = make_address(path, &addr);

    if (rc)
        return rc;
    fd = new_socket(path, type);
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

int vm_socket_listen(const char *path, int backlog)
{
    return vm_socket_listen_as(path, backlog, SOCK_STREAM);
}

int vm_socket_connect_as(const char *path, int type)
{
    struct sockaddr_un addr;
    struct stat st;
    int fd, rc = make_address(path, &addr);

    if (rc)
        return rc;
    fd = new_socket(path, type);
    if (fd < 0)
        return fd;
    do {
        rc = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
    } while (rc == -EINTR);
    if (!rc)
        return fd;
    vm_close(&fd);
    if (rc == -ECONNREFUSED && !stat(path, &st) && !S_ISSOCK(st.st_mode)) /* unix(7) says no more */
        return vm_fail(-ENOTSOCK,
                       "socket %s: there is a file that is not a socket: give the path that the "
                       "other side listens on",
                       path);
    return vm_fail(rc, "socket %s: %s", path, strerror(-rc));
}

int vm_socket_connect(const char *path)
{
    return vm_socket_connect_as(path, SOCK_STREAM);
}

/* ---- file descriptors ---- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * VM_SOCKET_FDS_MAX)];
};

ssize_t vm_socket_send(int sock, const void *data, size_t len, const int *fds, size_t count,
                       int flags)
{
    struct iovec iov = { (void *)(uintptr_t)data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union control control = { .bytes = { 0 } };
    ssize_t n;

    if (count > VM_SOCKET_FDS_MAX)
        return -EINVAL;
    if (count) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * count);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* unix(7), ETOOMANYREFS: what all processes of the sender's user have sent and nobody has received yet is compared with the sender's own
 * RLIMIT_NOFILE. */
int vm_socket_send_failed(ssize_t error, const char *what)
{
    if (error != -ETOOMANYREFS)
        return vm_fail((int)error, "%s: %s", what, strerror((int)-error));
    return vm_fail((int)error,
                   "%s: processes of this user have sent more open files than may be on their way "
                   "at once (RLIMIT_NOFILE of this one): give more by ulimit -n, or end the "
                   "program that does not take them",
                   what);
}

/* The kernel gives as many as there is room for, which may be padded by one: what does not fit max is closed. False: one did not. */
static bool take_fds(struct msghdr *msg, int *ret_fds, size_t max, size_t *ret_count)
{
    bool fit = true;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count = c->cmsg_len >= CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (*ret_count < max) {
                ret_fds[(*ret_count)++] = fd;
            } else {
                fit = false;
                vm_close(&fd);
            }
        }
    }
    return fit;
}

ssize_t vm_socket_receive(int sock, void *buf, size_t len, int *ret_fds, size_t max,
                          size_t *ret_count, int flags)
{
    struct iovec iov = { buf, len };
    union control control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    bool fit;
    ssize_t n;

    *ret_count = 0;
    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    fit = take_fds(&msg, ret_fds, max, ret_count);
    if (fit && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return n;
    while (*ret_count)
        vm_close(&ret_fds[--*ret_count]);
    return -EMSGSIZE;
}
