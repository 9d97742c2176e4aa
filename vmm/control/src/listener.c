/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Named sockets that are removed at their end. */
#include "listener.h"

#include <stdio.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

int vmm_listener_open(const char *path, int backlog, struct listener *ret_listener)
{
    int fd = vm_socket_listen(path, backlog), rc;

    if (fd < 0)
        return fd;
    if (lstat(path, &ret_listener->own)) {
        rc = vm_fail_errno("socket %s", path);
        vm_close(&fd);
        return rc;
    }
    ret_listener->fd = fd;
    snprintf(ret_listener->path, sizeof(ret_listener->path), "%s", path);
    return 0;
}

void vmm_listener_close(struct listener *l)
{
    struct stat st;

    vm_close(&l->fd);
    if (!lstat(l->path, &st) && st.st_ino == l->own.st_ino && st.st_dev == l->own.st_dev)
        unlink(l->path);
}
