/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * passt(1) for a network device (mode=user): a program of the host's that is started for it, and again when it dies. The device has one
 * end of a socket (VM_OPEN_USER), by which it asks for a connection whenever it has none, as vmm/base/dial.h has it; that starts a
 * program, whose other end of the connection is its descriptor 3. So it does not matter who serves the device, and who serves it next.
 *
 *     [idle] --asked--> [waits for its turn] --the last one is dead, and its delay over--> [runs] --it ends--> [idle]
 *
 * The first one is waited for: what it cannot do is told before a guest runs. It says that it is ready by writing to descriptor 4.
 *
 * Order: before any filter of this thread, for ports of the host are tried. Threads: that of env->loop, after the spawner's
 * vmm_spawner_attach() to it. ABI: none promised before 1.0.
 */
#ifndef VMM_MACHINE_PASST_H
#define VMM_MACHINE_PASST_H

#include <vmm/base/env.h>
#include <vmm/jail/spawner.h>

struct vmm_passt;

struct vmm_passt_setup {
    const struct vm_env *env; /* log, clock and loop; borrowed, as spawner is */
    struct vmm_spawner *spawner; /* a foreign one */
    const char *id; /* the device's; copied */
    const char *text; /* the program's words, as in program= (docs/vhost-user.md); copied */
    void (*died)(void *ctx, const char *how); /* not of one that we ended; may be NULL */
    void (*alone)(void *ctx); /* nobody has the other end any more; may be NULL */
    void *ctx;
};

/* *ret_fd is the caller's, for the device. 0, or -errno with text: -ENOENT (there is no such program), -EADDRINUSE, -EACCES (ports that are
 * to be forwarded), -ECHILD (it ended, with its last words), -ETIMEDOUT ... */
int vmm_passt_new(const struct vmm_passt_setup *setup, struct vmm_passt **ret_passt, int *ret_fd);
/* Ends the program. NULL is allowed. */
void vmm_passt_free(struct vmm_passt *passt);

#endif
