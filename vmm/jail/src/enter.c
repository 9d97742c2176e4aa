/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A process jails itself: stages.h has the order and its reasons. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "stages_private.h"

/* Soft and hard. A limit that is lower already stays. */
static int limit(int what, uint64_t value, const char *name, struct vmm_jail_result *result)
{
    struct rlimit now, wanted = { value, value };

    if (getrlimit((__rlimit_resource_t)what, &now))
        return -errno;
    if (now.rlim_max < value)
        wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    if (!setrlimit((__rlimit_resource_t)what, &wanted))
        return 0;
    vmm_jail_stage_refused(result, VMM_JAIL_LIMITS, "%s: %s", name, strerror(errno));
    return -EPERM;
}

/* CORE: a dump would be guest memory on disk. NOFILE: sockets hand in fds. FSIZE: what a device may write to, and memory files
 * that grow. No NPROC: it counts all processes of the user; starting some is the filter's business. */
static void limits(const struct vmm_jail_profile *profile, struct vmm_jail_result *result)
{
    int rc = limit(RLIMIT_CORE, 0, "RLIMIT_CORE", result);

    if (!rc)
        rc = limit(RLIMIT_NOFILE, profile->max_fds ? profile->max_fds : VMM_JAIL_FDS_DEFAULT,
                   "RLIMIT_NOFILE", result);
    if (!rc && profile->max_file_bytes != UINT64_MAX)
        rc = limit(RLIMIT_FSIZE, profile->max_file_bytes, "RLIMIT_FSIZE", result);
    if (!rc)
        vmm_jail_stage_reached(result, VMM_JAIL_LIMITS);
}

/* What the spawner does for its children. A process cannot move itself into another PID namespace. */
static void outer_stages(struct vmm_jail_result *result)
{
    int rc, death = 0;

    prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
    vmm_jail_namespaces(result);
    vmm_jail_stage_refused(result, VMM_JAIL_PID,
                           "a process cannot change its own; the spawner's children have one");
    vmm_jail_empty_root(result);
    if (setsid() < 0 && getsid(0) != getpid())
        vmm_jail_stage_refused(result, VMM_JAIL_SESSION, "%s", strerror(errno));
    else
        vmm_jail_stage_reached(result, VMM_JAIL_SESSION);
    rc = vmm_jail_leave_root(result);
    if (rc)
        vmm_jail_stage_refused(result, VMM_JAIL_CAPS, "cannot leave root: %s", strerror(-rc));
    if (death) /* another user: it was cleared (prctl(2)) */
        prctl(PR_SET_PDEATHSIG, death, 0, 0, 0);
}

static void undumpable(struct vmm_jail_result *result)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        vmm_jail_stage_refused(result, VMM_JAIL_UNDUMPABLE, "%s", strerror(errno));
    else
        vmm_jail_stage_reached(result, VMM_JAIL_UNDUMPABLE);
}

int vmm_jail_enter(const struct vmm_jail_profile *profile, struct vmm_jail_result *result)
{
    int rc;

    if (!profile->spawned)
        outer_stages(result);
    limits(profile, result);
    vmm_jail_drop_caps(result);
    vmm_jail_no_new_privs(result);
    undumpable(result);
    vmm_jail_landlock(profile->dir, profile->dirs, result);
    rc = vmm_jail_report(profile->who);
    if (!rc && profile->enter) {
        rc = vmm_jail_load(profile->enter, profile->own_threads);
        if (!rc)
            vmm_jail_stage_reached(result, VMM_JAIL_SECCOMP);
    }
    return rc ? vm_wrap(rc, "%s", profile->who) : 0;
}

int vmm_jail_narrow(const struct vmm_jail_profile *profile)
{
    int rc = profile->narrow ? vmm_jail_load(profile->narrow, profile->own_threads) : 0;

    return rc ? vm_wrap(rc, "%s", profile->who) : 0;
}

/* ---- what would be possible ---- */

/* A filter that allows all: whether one may be loaded. */
static struct vmm_jail_program *allow_all(void)
{
    static const struct sock_filter allow = { .code = BPF_RET | BPF_K,
                                              .k = 0x7fff0000 /* SECCOMP_RET_ALLOW */ };
    struct vmm_jail_program *program = malloc(sizeof(*program) + sizeof(allow));

    if (program) {
        program->count = 1;
        memcpy(program->insn, &allow, sizeof(allow));
    }
    return program;
}

static void probe_ram(struct vmm_jail_host *host)
{
    int fd = vmm_jail_ram_file(1);

    host->ram_file = fd >= 0;
    if (fd < 0)
        vmm_jail_why_refused(-fd, false, host->why_no_ram_file, sizeof(host->why_no_ram_file));
    vm_close(&fd);
}

/* As the spawner and its child would, in one process; a PID namespace for the first child of it. */
static void probe_child(int fd)
{
    struct vmm_jail_profile profile = {
        .who = "probe", .spawned = true, .max_file_bytes = UINT64_MAX, .enter = allow_all()
    };
    struct vmm_jail_host host = { 0 };
    struct vmm_jail_result *result = &host.jail;
    bool pid_namespace;

    vmm_jail_namespaces(result);
    probe_ram(&host);
    pid_namespace = !unshare(CLONE_NEWPID);
    vmm_jail_empty_root(result);
    if (setsid() >= 0)
        vmm_jail_stage_reached(result, VMM_JAIL_SESSION);
    if (vmm_jail_leave_root(result))
        vmm_jail_stage_refused(result, VMM_JAIL_CAPS, "cannot leave root");
    if (vmm_jail_enter(&profile, result))
        vmm_jail_stage_refused(result, VMM_JAIL_SECCOMP, "%.100s", vm_error_text());
    if (pid_namespace)
        vmm_jail_stage_reached(result, VMM_JAIL_PID);
    else
        vmm_jail_stage_refused(result, VMM_JAIL_PID, "the host refuses it");
    _exit(vm_write_full(fd, &host, sizeof(host)) ? 1 : 0);
}

int vmm_jail_probe(struct vmm_jail_host *ret_host)
{
    struct vmm_jail_host host;
    int fd[2], rc;
    pid_t pid;

    if (pipe2(fd, O_CLOEXEC))
        return vm_fail_errno("jail: pipe");
    pid = fork();
    if (!pid)
        probe_child(fd[1]);
    vm_close(&fd[1]);
    rc = pid < 0 ? vm_fail_errno("jail: fork") : vm_read_full(fd[0], &host, sizeof(host));
    vm_close(&fd[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        /* again */
    }
    if (!rc)
        *ret_host = host;
    return rc ? vm_wrap(rc, "jail: trying the stages") : 0;
}
