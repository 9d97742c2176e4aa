/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm device, started by hand, has neither a spawner nor a loop outside of the jail. So a process of its own starts passt: it has no file of
 * the device's, and ends with it.
 */
#include "device_passt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/socket.h>
#include <vmm/machine/passt.h>

#define SPAWNER_NS (10ULL * 1000000000ULL)

struct starter {
    struct vm_env env;
    struct vmm_spawner *spawner;
    struct vmm_passt *passt;
};

static void alone(void *ctx)
{
    vm_loop_stop(((struct starter *)ctx)->env.loop);
}

static int begin(struct starter *s, const char *id, const char *text, int *ret_fd)
{
    struct vmm_spawner_config config = { .env = &s->env, .foreign = true };
    struct vmm_passt_setup setup = { .env = &s->env, .id = id, .text = text, .alone = alone };
    int rc = vm_loop_new(&s->env, 0, &s->env.loop);

    if (!rc)
        rc = vmm_spawner_start(&config, &s->spawner);
    if (!rc)
        rc = vmm_spawner_ready(s->spawner, SPAWNER_NS);
    if (!rc)
        rc = vmm_spawner_attach(s->spawner, s->env.loop);
    setup.spawner = s->spawner;
    setup.ctx = s;
    return rc ? rc : vmm_passt_new(&setup, &s->passt, ret_fd);
}

/* The result goes to who forked: the fd, or the error. */
static void answer(int sock, int code, int fd)
{
    struct vm_error e = { 0 };

    if (code)
        vm_error_save(code, &e);
    (void)vm_socket_send(sock, &e, sizeof(e), &fd, fd >= 0, 0);
}

static _Noreturn void be_starter(int sock, const char *id, const char *text, enum vm_level level,
                                 pid_t parent)
{
    struct starter s = { 0 };
    int fd = -1, rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(sock, STDERR_FILENO + 1) < 0 ||
        syscall(SYS_close_range, STDERR_FILENO + 2, ~0U, 0))
        _exit(1);
    sock = STDERR_FILENO + 1;
    vm_env_host(level, &s.env);
    rc = begin(&s, id, text, &fd);
    answer(sock, rc, fd);
    vm_close(&fd);
    vm_close(&sock);
    if (!rc)
        rc = vm_loop_run(s.env.loop);
    vmm_passt_free(s.passt);
    vmm_spawner_free(s.spawner);
    _exit(rc ? 1 : 0);
}

int vmm_device_passt(const char *id, const char *text, enum vm_level log_level)
{
    struct vm_error e;
    pid_t self = getpid(), pid;
    size_t fds = 0;
    int pair[2], fd = -1;
    ssize_t n;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return vm_fail_errno("%s: socketpair", id);
    pid = fork();
    if (!pid)
        be_starter(pair[1], id, text, log_level, self);
    vm_close(&pair[1]);
    if (pid < 0) {
        vm_close(&pair[0]);
        return vm_fail_errno("%s: fork", id);
    }
    n = vm_socket_receive(pair[0], &e, sizeof(e), &fd, 1, &fds, 0);
    vm_close(&pair[0]);
    if (n == (ssize_t)sizeof(e) && fds && !e.code)
        return fd;
    if (fds)
        vm_close(&fd);
    return n == (ssize_t)sizeof(e) && e.code < 0
               ? vm_error_restore(&e)
               : vm_fail(-ECHILD, "%s: who starts passt has ended", id);
}
