/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the VMM and its spawner: packets over a SOCK_SEQPACKET socket, fds beside them. Both ends are one program, forked
 * from each other, so a packet is a struct as it lies in memory; its length says how much of text is used.
 *
 *     VMM -> spawner    START id, argument strings, fd numbers (fds: the child's, and its program's with OWN_BINARY)
 *                       KILL id
 *                       RAM id, size
 *     spawner -> VMM    READY result
 *                       STARTED id, pid (fd: its pidfd)      or ENDED id, code, text
 *                       ENDED id, wait status
 *                       RAM id, code (fd: the file)
 */
#ifndef VMM_JAIL_SPAWN_H
#define VMM_JAIL_SPAWN_H

#include <stddef.h>
#include <sys/resource.h>

#include <vmm/base/error.h>
#include <vmm/jail/spawner.h>

enum vmm_spawn_type {
    VMM_SPAWN_START = 1,
    VMM_SPAWN_KILL,
    VMM_SPAWN_RAM,
    VMM_SPAWN_READY,
    VMM_SPAWN_STARTED,
    VMM_SPAWN_ENDED
};

enum { VMM_SPAWN_OWN_BINARY = 1, VMM_SPAWN_FDS = VMM_SPAWNER_FDS_MAX + 1 };

struct vmm_spawn_request {
    uint32_t type, id, flags;
    uint32_t fds; /* numbers */
    uint64_t size;
    uint32_t argc, text_len;
    uint8_t number[VMM_SPAWNER_FDS_MAX];
    char text[VMM_SPAWNER_TEXT_MAX];
};

struct vmm_spawn_event {
    uint32_t type, id;
    int32_t code, status, pid;
    char text[VM_ERROR_TEXT];
    struct vmm_jail_result result; /* of READY; no other one has it */
};

/* What is sent of it. */
static inline size_t vmm_spawn_event_bytes(const struct vmm_spawn_event *event)
{
    return event->type == VMM_SPAWN_READY ? sizeof(*event)
                                          : offsetof(struct vmm_spawn_event, result);
}

/* server.c: the spawner's whole life. Does not return. */
_Noreturn void vmm_spawn_serve(int sock, int binary_fd, const struct vmm_spawner_config *config);

/* What a child is started with. */
struct vmm_spawn_child {
    const struct vmm_spawn_request *request;
    const int *fd; /* request->fds of them */
    int binary_fd, null_fd;
    bool foreign;
    struct rlimit files; /* RLIMIT_NOFILE of a foreign one: the VMM's as it was started */
    int (*entry)(int argc, char **argv); /* instead of the program's file; NULL: that */
    const struct vmm_jail_result *result; /* what the spawner has reached */
};

/* process.c: makes the process. Its pid; *ret_pidfd and *ret_pipe (which ends when the program runs, and before may bring a
 * struct vm_error) are the caller's. -errno with text. */
pid_t vmm_spawn_process(const struct vmm_spawn_child *child, int *ret_pidfd, int *ret_pipe);
/* Closes all fds but the three standard ones and those of keep; negative ones mean nothing. */
void vmm_spawn_close_others(const int *keep, size_t count);
/* Whether this errno of clone(2) means that there are no PID namespaces here, not only no memory or process just now. */
bool vmm_spawn_refuses_pid(int error);
/* Whether processes can have PID namespaces of their own here. What fails for another reason now may do later, and until then no process
 * is started without. */
bool vmm_spawn_has_pid_namespaces(void);

#endif
