/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Namespaces (namespaces(7), user_namespaces(7)). An ordinary user needs a user namespace to have the others. Root would not,
 * but takes one too, as a user that nothing on the host belongs to: then not even a found way out leads to root's files.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "stages_private.h"

/* Users that no distribution and no container manager gives out (systemd's UIDS-GIDS.md: unused), one per process id, which is
 * below 2^22: two machines of root's are strangers to each other. */
#define PRIVATE_UID_BASE 0x7fb00000u
#define PRIVATE_UID_MASK 0x003fffffu
#define UID_NOBODY       65534u

struct namespace
{
    enum vmm_jail_stage stage;
    int flag;
};

static const struct namespace namespaces[] = {
    { VMM_JAIL_MOUNT, CLONE_NEWNS },
    { VMM_JAIL_NET, CLONE_NEWNET },
    { VMM_JAIL_IPC, CLONE_NEWIPC },
    { VMM_JAIL_UTS, CLONE_NEWUTS },
};

static const char *const stage_names[] = {
    [VMM_JAIL_USER] = "user namespace",    [VMM_JAIL_MOUNT] = "mount namespace",
    [VMM_JAIL_NET] = "network namespace",  [VMM_JAIL_IPC] = "IPC namespace",
    [VMM_JAIL_UTS] = "UTS namespace",      [VMM_JAIL_PID] = "PID namespace",
    [VMM_JAIL_ROOT] = "empty root",        [VMM_JAIL_SESSION] = "own session",
    [VMM_JAIL_LIMITS] = "resource limits", [VMM_JAIL_CAPS] = "no capabilities",
    [VMM_JAIL_PRIVS] = "no_new_privs",     [VMM_JAIL_UNDUMPABLE] = "not dumpable",
    [VMM_JAIL_LANDLOCK] = "Landlock",      [VMM_JAIL_SECCOMP] = "seccomp",
};
_Static_assert(VM_ARRAY_SIZE(stage_names) == VMM_JAIL_STAGES, "a stage has no name");

/* ---- results ---- */

const char *vmm_jail_stage_name(enum vmm_jail_stage stage)
{
    return stage_names[stage];
}

void vmm_jail_stage_reached(struct vmm_jail_result *result, enum vmm_jail_stage stage)
{
    result->reached |= 1u << stage;
    result->refused &= ~(1u << stage);
}

void vmm_jail_stage_refused(struct vmm_jail_result *result, enum vmm_jail_stage stage,
                            const char *format, ...)
{
    va_list args;

    result->refused |= 1u << stage;
    result->reached &= ~(1u << stage);
    va_start(args, format);
    vsnprintf(result->why[stage], sizeof(result->why[stage]), format, args);
    va_end(args);
}

void vmm_jail_result_print(const struct vmm_jail_result *result,
                           void (*line)(void *ctx, const char *text), void *ctx)
{
    char text[192];

    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++) {
        const char *answer = result->reached & 1u << s   ? "yes"
                             : result->refused & 1u << s ? "no"
                                                         : NULL;

        if (!answer)
            continue;
        snprintf(text, sizeof(text), "%s: %s%s%.111s", stage_names[s], answer,
                 *result->why[s] ? ": " : "", result->why[s]);
        line(ctx, text);
    }
}

bool vmm_jail_result_missing(const struct vmm_jail_result *result, char *ret_text, size_t size)
{
    const char *why = NULL;
    size_t at = 0;

    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++) {
        if (!(result->refused & 1u << s))
            continue;
        if (at < size)
            at += (size_t)snprintf(ret_text + at, size - at, "%s%s",
                                   why ? ", " : "the jail lacks: ", stage_names[s]);
        if (!why)
            why = result->why[s];
    }
    if (why && at < size)
        snprintf(ret_text + at, size - at, " (%.111s)", why);
    return why != NULL;
}

/* All that was refused for the same reason as `first`. */
static uint32_t refused_like(const struct vmm_jail_result *result, unsigned first)
{
    uint32_t same = 0;

    for (unsigned s = first; s < VMM_JAIL_STAGES; s++)
        if (result->refused & 1u << s && !strcmp(result->why[s], result->why[first]))
            same |= 1u << s;
    return same;
}

void vmm_jail_result_reasons(const struct vmm_jail_result *result,
                             void (*line)(void *ctx, const char *text), void *ctx)
{
    struct vmm_jail_result one = *result;
    uint32_t left = result->refused;
    char text[512];

    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++) {
        if (!(left & 1u << s))
            continue;
        one.refused = refused_like(result, s);
        left &= ~one.refused;
        (void)vmm_jail_result_missing(&one, text, sizeof(text));
        line(ctx, text);
    }
}

/* ---- why not ---- */

/* The number in a file of /proc/sys, or -1. */
static int sysctl_value(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[16] = "";
    ssize_t n = -1;

    if (fd >= 0)
        n = vm_read(fd, text, sizeof(text) - 1);
    vm_close(&fd);
    return n > 0 ? (int)strtol(text, NULL, 10) : -1;
}

void vmm_jail_why_refused(int error, bool for_namespaces, char *ret_text, size_t size)
{
    char what[64];

    if (for_namespaces && !sysctl_value("/proc/sys/user/max_user_namespaces"))
        snprintf(ret_text, size, "the sysctl user.max_user_namespaces is 0");
    else if (for_namespaces && geteuid() &&
             !sysctl_value("/proc/sys/kernel/unprivileged_userns_clone"))
        snprintf(ret_text, size, "the sysctl kernel.unprivileged_userns_clone is 0");
    else if (sysctl_value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        snprintf(ret_text, size,
                 "AppArmor forbids it (kernel.apparmor_restrict_unprivileged_userns is 1)");
    else if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2)
        snprintf(ret_text, size,
                 "this process is under a seccomp filter already, as in a container: %s",
                 strerror_r(error, what, sizeof(what)));
    else if (error == EINVAL || error == ENOSYS)
        snprintf(ret_text, size, "this kernel does not have it");
    else
        snprintf(ret_text, size, "the host refuses it: %s", strerror_r(error, what, sizeof(what)));
}

static void refused(struct vmm_jail_result *result, enum vmm_jail_stage stage, int error)
{
    char why[sizeof(result->why[0])];

    vmm_jail_why_refused(error, true, why, sizeof(why));
    vmm_jail_stage_refused(result, stage, "%s", why);
}

/* ---- user ---- */

/* One thread, and no need to tell other ones: the system calls themselves. */
static int set_ids(uint32_t id, uint32_t saved)
{
    if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, id, id, id) ||
        syscall(SYS_setresuid, id, id, saved))
        return -errno;
    return 0;
}

/* Root takes another user's place, but keeps the way back until it is clear that a user namespace can be had. */
static uint32_t take_private_user(void)
{
    uint32_t id = PRIVATE_UID_BASE + ((uint32_t)getpid() & PRIVATE_UID_MASK);

    /* In a container's user namespace only some ids exist. */
    if (set_ids(id, 0) && set_ids(id = UID_NOBODY, 0)) {
        if (syscall(SYS_setresgid, 0, 0, 0)) {
            /* it was 0 all the time, or stays nobody's */
        }
        return 0;
    }
    return id;
}

static void take_root_back(void)
{
    if (syscall(SYS_setresuid, 0, 0, 0) || syscall(SYS_setresgid, 0, 0, 0)) {
        /* cannot fail: 0 is the saved id */
    }
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), rc;

    if (fd < 0)
        return -errno;
    rc = vm_write(fd, text, strlen(text)) < 0 ? -errno : 0;
    vm_close(&fd);
    return rc;
}

/* The one user there is inside has the number it has outside. Without /proc it has none (65534): nothing needs one. */
static void write_maps(struct vmm_jail_result *result, uint32_t uid, uint32_t gid)
{
    char line[64];
    int rc;

    write_file("/proc/self/setgroups",
               "deny"); /* gid_map wants it (user_namespaces(7)); absent before Linux 3.19 */
    snprintf(line, sizeof(line), "%u %u 1\n", gid, gid);
    rc = write_file("/proc/self/gid_map", line);
    snprintf(line, sizeof(line), "%u %u 1\n", uid, uid);
    if (!rc)
        rc = write_file("/proc/self/uid_map", line);
    if (rc)
        snprintf(result->why[VMM_JAIL_USER], sizeof(result->why[0]),
                 "without a user in it: /proc/self/uid_map: %s", strerror(-rc));
}

/* In a user namespace of its own a process without capabilities would have all of them again, and with them much more of the
 * kernel to try. The limit is this namespace's; where /proc is missing, the filter alone refuses. */
static void forbid_more(void)
{
    write_file("/proc/sys/user/max_user_namespaces", "0");
}

/* ---- all of them ---- */

static int all_flags(void)
{
    int flags = 0;

    for (size_t i = 0; i < VM_ARRAY_SIZE(namespaces); i++)
        flags |= namespaces[i].flag;
    return flags;
}

static void others_reached(struct vmm_jail_result *result)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(namespaces); i++)
        vmm_jail_stage_reached(result, namespaces[i].stage);
}

/* At once does not go: those that go. */
static void one_by_one(struct vmm_jail_result *result)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(namespaces); i++) {
        if (!unshare(namespaces[i].flag))
            vmm_jail_stage_reached(result, namespaces[i].stage);
        else
            refused(result, namespaces[i].stage, errno);
    }
}

/* True when the process is in a new user namespace. */
static bool user_namespace(struct vmm_jail_result *result)
{
    uint32_t uid = geteuid(), gid = getegid();
    bool root = !uid, all;

    if (root) {
        uid = take_private_user();
        if (uid)
            gid = uid;
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* /proc/self is another user's else */
    }
    all = !unshare(CLONE_NEWUSER | all_flags());
    if (!all && unshare(CLONE_NEWUSER)) {
        refused(result, VMM_JAIL_USER, errno);
        if (root)
            take_root_back();
        result->uid = uid;
        return false;
    }
    vmm_jail_stage_reached(result, VMM_JAIL_USER);
    result->uid = uid;
    write_maps(result, uid, gid);
    /* Without a map no user can be named any more, the root that is saved neither. */
    if (root && uid && syscall(SYS_setresuid, uid, uid, uid) && errno != EINVAL)
        vmm_jail_stage_refused(result, VMM_JAIL_USER, "cannot leave root: %s", strerror(errno));
    if (all)
        others_reached(result);
    else
        one_by_one(result);
    forbid_more();
    return true;
}

void vmm_jail_namespaces(struct vmm_jail_result *result)
{
    if (!user_namespace(result)) {
        if (!unshare(all_flags()))
            others_reached(result);
        else
            one_by_one(result);
    }
    /* The host's name is nobody's business inside. */
    if (vmm_jail_reached(result, VMM_JAIL_UTS) && sethostname("jail", 4)) {
        /* then it keeps the host's name */
    }
}

int vmm_jail_leave_root(const struct vmm_jail_result *result)
{
    if (geteuid() || vmm_jail_reached(result, VMM_JAIL_USER) || !result->uid)
        return 0;
    return set_ids(result->uid, result->uid);
}
