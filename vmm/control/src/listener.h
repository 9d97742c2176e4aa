/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A Unix stream socket with a name that others connect to: the control socket, a device's vhost-user socket. */
#ifndef VMM_CONTROL_LISTENER_H
#define VMM_CONTROL_LISTENER_H

#include <sys/stat.h>
#include <sys/un.h>

struct listener {
    int fd; /* non-blocking */
    struct sockaddr_un addr;
    struct stat own; /* the socket's file, to remove no successor's */
};

/* 0, or -EINVAL with text: too long. what: "control socket". */
int vmm_listener_address(const char *what, const char *path, struct sockaddr_un *ret_addr);
/* Only this user may connect. A socket's file that nobody listens on is replaced. -EEXIST, -errno with text; user: "machine". */
int vmm_listener_open(const char *what, const char *user, const struct sockaddr_un *addr,
                      int backlog, struct listener *ret_listener);
/* Removes its file, unless it is another one's by now. */
void vmm_listener_close(struct listener *l);

#endif
