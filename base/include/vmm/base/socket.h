/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Unix sockets by name: streams, where no type is given. For who may open names: the top of a program, and what it lends its environment to
 * (vm_env.open). The sockets are CLOEXEC and non-blocking. Thread safe.
 */
#ifndef VMM_BASE_SOCKET_H
#define VMM_BASE_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

enum { VM_SOCKET_PATH_MAX = 107 }; /* sockaddr_un(7), with its zero byte */

/* A socket that listens at path, mode 0600; one that a program left behind is removed first. The fd; -EINVAL (the path has no or too
 * many bytes), -EEXIST (a file that is no socket), -EADDRINUSE (somebody listens) or -errno, with text. */
int vm_socket_listen(const char *path, int backlog);
/* A connection to who listens at path. The fd; -ECONNREFUSED, -ENOENT (nobody does), -EAGAIN (too many wait there already), -ENOTSOCK, -EINVAL or
 * -errno, with text. */
int vm_socket_connect(const char *path);

/* The same of another type: SOCK_STREAM, SOCK_SEQPACKET. */
int vm_socket_listen_as(const char *path, int backlog, int type);
int vm_socket_connect_as(const char *path, int type);

enum { VM_SOCKET_FDS_MAX = 253 }; /* SCM_MAX_FD, unix(7) */

/* One sendmsg(2), again after EINTR, with count fds (borrowed, at most VM_SOCKET_FDS_MAX); never SIGPIPE. flags: MSG_DONTWAIT. Bytes, or
 * -errno without text. */
ssize_t vm_socket_send(int sock, const void *data, size_t len, const int *fds, size_t count,
                       int flags);
/* Words what vm_socket_send() returned (-errno), with the cure where the kernel's text has none. Returns it. */
int vm_socket_send_failed(ssize_t error, const char *what);
/* One recvmsg(2), likewise. *ret_count fds (CLOEXEC, at most max, at most VM_SOCKET_FDS_MAX) are the caller's. Bytes, 0 at the end, or
 * -errno without text; -EMSGSIZE: bytes or fds did not fit, and no fd is left open. */
ssize_t vm_socket_receive(int sock, void *buf, size_t len, int *ret_fds, size_t max,
                          size_t *ret_count, int flags);

#endif
