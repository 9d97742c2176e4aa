/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A child of the spawner: made with its pidfd and its PID namespace (clone(2)), and what it does between that and the program it
 * becomes. The spawner has one thread, and its child runs on a copy of its memory, so that ordinary code is fine there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "spawn.h"
#include "stages_private.h"

enum { HIGH = VMM_SPAWNER_NUMBER_MAX + 1 /* fds that are out of the way of the numbers wanted */ };

/* ---- making it ---- */

/* Like fork(): 0 in the child. clone3(2) first; a container's filter may hide it (ENOSYS), and then the pid is not reaped by
 * anyone but us, so that it still is the child's when its pidfd is opened. */
static pid_t clone_process(uint64_t flags, int *ret_pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

    if (pid >= 0 || (errno != ENOSYS && errno != EINVAL))
        return pid;
    pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid <= 0)
        return pid;
    *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*ret_pidfd >= 0)
        return pid;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return -1;
}

bool vmm_spawn_refuses_pid(int error)
{
    return error == EPERM || error == EINVAL || error == ENOSYS || error == ENOSPC ||
           error == EUSERS;
}

bool vmm_spawn_has_pid_namespaces(void)
{
    int pidfd = -1;
    pid_t pid = clone_process(CLONE_NEWPID, &pidfd);

    if (!pid)
        _exit(0);
    if (pid < 0)
        return !vmm_spawn_refuses_pid(errno);
    vm_close(&pidfd);
    waitpid(pid, NULL, 0);
    return true;
}

/* From one that is kept to the next one; close_range(2) since Linux 5.9. */
void vmm_spawn_close_others(const int *keep, size_t count)
{
    unsigned from = STDERR_FILENO + 1;

    for (;;) {
        unsigned next = UINT_MAX;

        for (size_t i = 0; i < count; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > from)
            syscall(SYS_close_range, from, next - 1, 0);
        if (next == UINT_MAX)
            return;
        from = next + 1;
    }
}

/* ---- in the child ---- */

/* If this is the spawner's death, it comes now or never: after prctl() its end is a signal, before it the pipe has nobody at
 * its other end. */
static int die_with_parent(int pipe_fd)
{
    struct pollfd p = { .fd = pipe_fd };

    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        return vm_fail_errno("PR_SET_PDEATHSIG");
    if (poll(&p, 1, 0) == 1 && p.revents & POLLERR)
        _exit(1);
    return 0;
}

/* A number out of the way. EINVAL is the limit's fault (fcntl(2)). */
static int high_number(int fd, const char *what)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);

    if (high < 0 && (errno == EINVAL || errno == EMFILE))
        return vm_fail(-EMFILE, "%s: a process needs numbers of open files from %d on", what, HIGH);
    return high < 0 ? vm_fail_errno("%s", what) : high;
}

/* Through numbers above all that are wanted, so that no fd is overwritten before it was moved. Everything else has CLOEXEC. */
static int place_fds(const struct vmm_spawn_child *child)
{
    const struct vmm_spawn_request *r = child->request;
    int high[VMM_SPAWNER_FDS_MAX];

    for (uint32_t i = 0; i < r->fds; i++) {
        high[i] = high_number(child->fd[i], "its fds");
        if (high[i] < 0)
            return high[i];
    }
    for (int std = 0; std < 3; std++)
        if (dup2(child->null_fd, std) < 0)
            return vm_fail_errno("/dev/null as fd %d", std);
    for (uint32_t i = 0; i < r->fds; i++)
        if (dup2(high[i], r->number[i]) < 0)
            return vm_fail_errno("fd %u of the process", r->number[i]);
    return 0;
}

static int jail_stages(const struct vmm_spawn_child *child)
{
    struct vmm_jail_result result = { 0 };
    int rc = child->foreign ? 0 : vmm_jail_leave_root(child->result);

    if (rc)
        return vm_fail(rc, "cannot leave root: %s", strerror(-rc));
    if (!child->foreign) {
        vmm_jail_drop_caps(&result);
        if (!vmm_jail_reached(&result, VMM_JAIL_CAPS))
            return vm_fail(-EPERM, "it keeps capabilities: %.100s", result.why[VMM_JAIL_CAPS]);
    }
    vmm_jail_no_new_privs(&result);
    return 0;
}

/* The end of the pipe, which has CLOEXEC as well, says that it runs. */
static void close_as_exec(const struct vmm_spawn_request *r)
{
    int number[VMM_SPAWNER_FDS_MAX];

    for (uint32_t i = 0; i < r->fds; i++)
        number[i] = r->number[i];
    vmm_spawn_close_others(number, r->fds);
}

static int become(const struct vmm_spawn_child *child, int binary)
{
    const struct vmm_spawn_request *r = child->request;
    const char *at = r->text;
    char *argv[VMM_SPAWNER_ARGS_MAX + 1], *envp[] = { NULL };

    for (uint32_t i = 0; i < r->argc; i++) {
        argv[i] = (char *)at;
        at += strlen(at) + 1;
    }
    argv[r->argc] = NULL;
    if (child->entry) {
        close_as_exec(r);
        environ = envp;
        exit(child->entry((int)r->argc, argv));
    }
    syscall(SYS_execveat, binary, "", argv, envp, AT_EMPTY_PATH);
    return vm_fail_errno("execveat");
}

static int child_steps(const struct vmm_spawn_child *child, int pipe_fd)
{
    const struct rlimit no_core = { 0, 0 };
    int binary = high_number(child->binary_fd, "its program"), rc;

    if (binary < 0)
        return binary;
    setsid();
    setrlimit(RLIMIT_CORE, &no_core);
    rc = jail_stages(child);
    if (!rc)
        rc = die_with_parent(pipe_fd);
    if (!rc)
        rc = place_fds(child);
    if (!rc &&
        child
            ->foreign) /* some programs cannot do with many (select(2)), others close all that could be */
        setrlimit(RLIMIT_NOFILE, &child->files);
    return rc ? rc : become(child, binary);
}

static void run_child(const struct vmm_spawn_child *child, int pipe_fd)
{
    struct vm_error error;
    /* Out of the way as well: a wanted number could be the pipe's. */
    int report = fcntl(pipe_fd, F_DUPFD_CLOEXEC, HIGH);

    if (report < 0)
        report = pipe_fd; /* to say that there are not enough */
    else
        close(pipe_fd);
    vm_error_save(child_steps(child, report), &error);
    if (vm_write_full(report, &error, sizeof(error))) {
        /* the spawner is gone, and this process with it */
    }
    _exit(127);
}

pid_t vmm_spawn_process(const struct vmm_spawn_child *child, int *ret_pidfd, int *ret_pipe)
{
    bool pid_namespace = !child->foreign && vmm_jail_reached(child->result, VMM_JAIL_PID);
    int fd[2], pidfd = -1, saved;
    pid_t pid;

    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
        return vm_fail_errno("pipe");
    pid = clone_process(pid_namespace ? CLONE_NEWPID : 0, &pidfd);
    if (!pid) {
        close(fd[0]);
        run_child(child, fd[1]);
    }
    saved = errno;
    vm_close(&fd[1]);
    if (pid < 0) {
        vm_close(&fd[0]);
        errno = saved;
        return vm_fail_errno("clone");
    }
    *ret_pidfd = pidfd;
    *ret_pipe = fd[0];
    return pid;
}
