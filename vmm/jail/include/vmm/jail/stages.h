/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The stages of a jail, in the order in which they are taken: namespaces and an empty root while names and capabilities are still
 * there, then no capabilities, then no system calls. Each is its own wall; a host that refuses one leaves the others.
 *
 * Order: a device's process calls vmm_jail_enter() first thing, with what the VMM gave it (profile.h), opens nothing more, and
 * calls vmm_jail_narrow() when it enters its loop. If the spawner (spawner.h) started it, namespaces, root, session and
 * capabilities are behind it already; a program that somebody else started takes all stages in vmm_jail_enter().
 *
 * What a host refuses (user namespaces forbidden by sysctl or AppArmor, inside a container, under another filter, without
 * /proc) is no error: struct vmm_jail_result says what is missing and why, one line each. Only a filter that cannot be loaded
 * is one.
 *
 * Threads: before the second thread of the process (user namespaces and capabilities are per thread).
 * ABI: none promised before 1.0.
 */
#ifndef VMM_JAIL_STAGES_H
#define VMM_JAIL_STAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm_jail_profile;

enum vmm_jail_stage {
    VMM_JAIL_USER, /* namespaces: capabilities mean nothing outside */
    VMM_JAIL_MOUNT,
    VMM_JAIL_NET, /* no interfaces, no abstract sockets of the host */
    VMM_JAIL_IPC,
    VMM_JAIL_UTS,
    VMM_JAIL_PID, /* no other process can be named */
    VMM_JAIL_ROOT, /* "/" is an empty directory that cannot be written */
    VMM_JAIL_SESSION, /* no terminal to control or to be signalled by */
    VMM_JAIL_LIMITS, /* no core dumps of guest memory, a number of fds, a size of files */
    VMM_JAIL_CAPS, /* no capabilities, and none to be gained */
    VMM_JAIL_PRIVS, /* no_new_privs: set-user-id programs give nothing */
    VMM_JAIL_UNDUMPABLE, /* nobody of the same user may trace it or open its memory */
    VMM_JAIL_LANDLOCK, /* no names but below given directories, even if a root were found */
    VMM_JAIL_SECCOMP,
    VMM_JAIL_STAGES
};

/* "user namespace", "empty root" ... */
const char *vmm_jail_stage_name(enum vmm_jail_stage stage);

/* Plain data: it is sent between processes. */
struct vmm_jail_result {
    uint32_t reached; /* bits 1 << enum vmm_jail_stage */
    uint32_t refused; /* tried, but the host does not let us; neither bit: not tried */
    uint32_t uid; /* of jailed processes, as the host sees it */
    char why[VMM_JAIL_STAGES]
            [112]; /* of what was refused; a remark where it was reached in another way */
};

static inline bool vmm_jail_reached(const struct vmm_jail_result *result, enum vmm_jail_stage stage)
{
    return result->reached & 1u << stage;
}

/* Calls line() per stage that was tried: "empty root: yes", "user namespace: no: user.max_user_namespaces is 0". */
void vmm_jail_result_print(const struct vmm_jail_result *result,
                           void (*line)(void *ctx, const char *text), void *ctx);

/* One line that names all that was refused and why the first one was; false where nothing was refused. */
bool vmm_jail_result_missing(const struct vmm_jail_result *result, char *ret_text, size_t size);

/* Likewise, calls line() once per reason, for all that was refused for it: "the jail lacks: Landlock (this kernel does not have it)". */
void vmm_jail_result_reasons(const struct vmm_jail_result *result,
                             void (*line)(void *ctx, const char *text), void *ctx);

/* Takes the stages that are not behind the process yet, up to the first filter, and adds them to *result, which the caller
 * zeroed. From here on a refused call is reported as vmm_jail_report() says. 0, or -errno with text: then the process shall end. */
int vmm_jail_enter(const struct vmm_jail_profile *profile, struct vmm_jail_result *result);

/* Loads the second filter, of what the loop needs, for all threads of the process. 0, or -errno with text: the process shall
 * end. */
int vmm_jail_narrow(const struct vmm_jail_profile *profile);

/* What this host would let a spawner's child reach; and whether a spawner could make guest memory on a tmpfs of its own. */
struct vmm_jail_host {
    struct vmm_jail_result jail;
    bool ram_file;
    char why_no_ram_file[112];
};

/* Tried in a process of its own, for doctor. The caller has one thread. 0 or -errno with text. */
int vmm_jail_probe(struct vmm_jail_host *ret_host);

#endif
