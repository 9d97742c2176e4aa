/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The VMM's side: spawner.c (the spawner as a whole) and children.c (requests and children). */
#ifndef VMM_JAIL_CLIENT_H
#define VMM_JAIL_CLIENT_H

#include <vmm/base/loop.h>

#include "spawn.h"

/* A request that the socket did not take yet. */
struct vmm_spawn_pending {
    struct vm_list node;
    size_t len, fds;
    int fd[VMM_SPAWN_FDS]; /* duplicates */
    struct vmm_spawn_request *request;
};

struct vmm_spawner {
    const struct vm_env *env;
    void (*lost)(void *ctx);
    void *ctx;
    bool foreign, gone, ready;
    int sock, pidfd;
    pid_t pid;
    uint32_t last_id;
    struct vmm_jail_result result;
    struct vm_loop *loop;
    struct vm_watch watch, also; /* of the loop, and of the one it is lent to */
    struct vm_list children; /* struct vmm_child */
    struct vm_list queue; /* struct vmm_spawn_pending */
    size_t queued;
    struct {
        uint32_t id; /* 0: nothing is asked */
        int fd;
        char text[VM_ERROR_TEXT];
    } ram;
};

/* 0 is no id: it is that of events without one. */
static inline uint32_t vmm_spawn_next_id(struct vmm_spawner *spawner)
{
    if (!++spawner->last_id)
        spawner->last_id = 1;
    return spawner->last_id;
}

/* Sends, or queues with duplicates of the fds. 0, -EAGAIN, -EPIPE, -ENOMEM or -EMFILE with text. */
int vmm_spawn_post(struct vmm_spawner *spawner, const struct vmm_spawn_request *request,
                   const int *fd, size_t fds);
/* The loops wait for what there is to wait for. 0 or -errno with text. */
int vmm_spawn_watch(struct vmm_spawner *spawner);
/* The socket has room again. */
void vmm_spawn_flush(struct vmm_spawner *spawner);
void vmm_spawn_drop_queue(struct vmm_spawner *spawner);

/* An event of a child. fd is the pidfd of STARTED; it is taken. */
void vmm_spawn_child_event(struct vmm_spawner *spawner, const struct vmm_spawn_event *event,
                           int fd);
/* Its start could not be sent. */
void vmm_spawn_child_refused(struct vmm_spawner *spawner, uint32_t id, ssize_t error);
/* Those that were freed, but have not told their end. */
void vmm_spawn_children_free(struct vmm_spawner *spawner);
/* All children have ended: the spawner is gone. */
void vmm_spawn_children_lost(struct vmm_spawner *spawner);

#endif
