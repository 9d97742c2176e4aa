/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The spawner: one small single-threaded process without guest memory that starts, reaps and reports jailed device processes,
 * because the VMM cannot: its filters would be its children's, too, and forking it would copy what it maps.
 *
 * Order: vmm_spawner_start() before the VMM's first thread, filter and guest byte. vmm_spawner_ready() and vmm_spawner_ram()
 * wait for an answer, with a deadline: for the machine's creation, before vmm_spawner_attach(). After that everything is
 * asynchronous: children are asked for and ended, and their call-backs come in the loop. At the end children are freed, then
 * vmm_spawner_free().
 *
 * A VMM has two of them at most: the inside one makes shared namespaces and the empty root once and starts our own programs
 * there, each in a PID namespace of its own, without capabilities, with no_new_privs, an empty environment and the fds it is
 * given; what remains the child does in vmm_jail_enter() with `spawned` set in its profile. The outside one (foreign) starts
 * other people's programs (passt, virtiofsd) with the namespaces, user and capabilities of the VMM, but with no_new_privs,
 * an empty environment and no fds but those it is given.
 *
 * Ends: children die with the spawner, and the spawner with the VMM, however these end. A child that exits is reaped at once.
 *
 * Threads: all of it belongs to the thread that calls vmm_spawner_start(), which is the loop's.
 * ABI: none promised before 1.0.
 */
#ifndef VMM_JAIL_SPAWNER_H
#define VMM_JAIL_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmm/base/env.h>
#include <vmm/jail/stages.h>

struct vmm_spawner;
struct vmm_child;

enum {
    VMM_SPAWNER_FDS_MAX = 64, /* of one child */
    VMM_SPAWNER_NUMBER_MAX = 255, /* largest fd number in a child */
    VMM_SPAWNER_ARGS_MAX = 256,
    VMM_SPAWNER_TEXT_MAX = 16384, /* bytes of a child's arguments, with their zero bytes */
    VMM_SPAWNER_CHILDREN_MAX = 256, /* at a time */
    VMM_SPAWNER_QUEUE_MAX = 512, /* requests that the spawner has not taken yet */
};

struct vmm_spawner_config {
    const struct vm_env *env; /* log and clock; borrowed for the spawner's life */
    bool foreign;
    /* A program that needs a loader (one that is not static: a sanitizer's) cannot be run again where there are no files: children of the
     * inside spawner call this, in a copy of the process as it was at vmm_spawner_start(), and exit with what it returns. argv ends
     * with NULL. NULL: they run the program all the same. */
    int (*entry)(int argc, char **argv);
    /* The spawner is gone, unasked; ended() of all children has come before. May be NULL. */
    void (*lost)(void *ctx);
    void *ctx;
};

/* Forks. The program that children run is this process's own, as it is now: a newer file in its place changes nothing.
 * 0 or -errno with text. */
int vmm_spawner_start(const struct vmm_spawner_config *config, struct vmm_spawner **ret_spawner);

/* Ends all its children and itself and waits for that (at most 2 s, then by SIGKILL). No call-back comes. NULL is allowed. */
void vmm_spawner_free(struct vmm_spawner *spawner);

/* Serves the spawner's messages in loop from now on. 0 or -errno with text. */
int vmm_spawner_attach(struct vmm_spawner *spawner, struct vm_loop *loop);

/* Serves them in another loop of the same thread as well, for who waits there for what a child does: the spawner waits when nobody takes
 * its messages. Until vmm_spawner_take_back(). 0 or -errno with text. */
int vmm_spawner_lend(struct vmm_spawner *spawner, struct vm_loop *loop);
void vmm_spawner_take_back(struct vmm_spawner *spawner);

/* Waits at most timeout_ns until the spawner has made its namespaces. 0, -ETIMEDOUT, or -EPIPE (it is gone), with text. */
int vmm_spawner_ready(struct vmm_spawner *spawner, uint64_t timeout_ns);

/* What its children get of a jail before they run; NULL until it is ready. What is missing was logged as one warning. */
const struct vmm_jail_result *vmm_spawner_result(const struct vmm_spawner *spawner);

/* Asks for a file of size bytes for guest memory on a tmpfs of the spawner's, with huge pages (huge=within_size): as fast as
 * private memory, while a memfd costs a boot 45 % more. It cannot be sealed: whoever gets it with write access can cut it short.
 * The fd (CLOEXEC) is the caller's. The fd, or -errno with text: the host refuses the mount (take a sealed memfd), -ETIMEDOUT,
 * -EPIPE, -EINVAL (outside one). */
int vmm_spawner_ram(struct vmm_spawner *spawner, uint64_t size, uint64_t timeout_ns);

struct vmm_child_fd {
    int fd; /* borrowed for the call */
    int number; /* in the child, 0 to VMM_SPAWNER_NUMBER_MAX; 0 to 2 are /dev/null unless given */
};

struct vmm_child_config {
    const char *const *argv; /* ends with NULL */
    const struct vmm_child_fd *fd;
    size_t fds;
    int binary_fd; /* another program (an ELF file; borrowed for the call), or -1 */
    /* It runs. pid is the host's; pidfd is borrowed until ended(). May be NULL. */
    void (*started)(void *ctx, pid_t pid, int pidfd);
    /* The last call-back: it ended with wait_status (code 0), or was never started (code -errno, with vm_error_text()). */
    void (*ended)(void *ctx, int code, int wait_status);
    void *ctx;
};

/* Asks for a child; to start one again is to ask again. 0; -EINVAL, -E2BIG (more fds, arguments or text than above), -EAGAIN (the queue
 * is full), -EPIPE (the spawner is gone), -ENOMEM or -EMFILE, with text: then no call-back comes. */
int vmm_child_start(struct vmm_spawner *spawner, const struct vmm_child_config *config,
                    struct vmm_child **ret_child);

/* SIGKILL, also to one that is about to start; ended() comes. Harmless after its end. */
void vmm_child_kill(struct vmm_child *child);

/* Kills it if it runs; no call-back comes any more. Allowed in its call-backs. NULL is allowed. */
void vmm_child_free(struct vmm_child *child);

#endif
