/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Unix stream sockets by name. For who may open names: the top of a program, and what it lends its environment to
 * (vm_env.open). The sockets are CLOEXEC and non-blocking. Thread safe.
 */
#ifndef VMM_BASE_SOCKET_H
#define VMM_BASE_SOCKET_H

enum { VM_SOCKET_PATH_MAX = 107 }; /* sockaddr_un(7), with its zero byte */

/* A socket that listens at path, mode 0600; one that a program left behind is removed first. The fd; -EINVAL (the path has no or too
 * many bytes), -EEXIST (a file that is no socket), -EADDRINUSE (somebody listens) or -errno, with text. */
int vm_socket_listen(const char *path, int backlog);
/* A connection to who listens at path. The fd; -ECONNREFUSED, -ENOENT (nobody does), -EAGAIN (too many wait there already), -ENOTSOCK, -EINVAL or
 * -errno, with text. */
int vm_socket_connect(const char *path);

#endif
