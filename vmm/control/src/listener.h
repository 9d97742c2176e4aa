/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A Unix stream socket with a name that others connect to: the control socket, a device's vhost-user socket. */
#ifndef VMM_CONTROL_LISTENER_H
#define VMM_CONTROL_LISTENER_H

#include <sys/stat.h>

#include <vmm/base/socket.h>

struct listener {
    int fd; /* non-blocking */
    char path[VM_SOCKET_PATH_MAX + 1];
    struct stat own; /* the socket's file, to remove no successor's */
};

/* As vm_socket_listen(). */
int vmm_listener_open(const char *path, int backlog, struct listener *ret_listener);
/* Removes its file, unless it is another one's by now. */
void vmm_listener_close(struct listener *l);

#endif
