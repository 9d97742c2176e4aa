/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The spawner's process: makes the shared part of the jails, then serves one socket. A child is
 *
 *     starting   its pipe is open: the program does not run yet       -> running (pipe ends), or failed (pipe has an error)
 *     running    STARTED was sent                                     -> ended
 *     failed     ENDED with the error was sent; it is still to be reaped
 *
 * and its record goes when its pidfd says that it ended and it was reaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

#include "spawn.h"
#include "stages_private.h"

struct record {
    uint32_t id;
    pid_t pid;
    int pidfd, pipe; /* pipe is -1 once it was read to its end */
    bool failed;
};

struct server {
    int sock, binary_fd, null_fd;
    bool foreign;
    int (*entry)(int argc, char **argv);
    struct vmm_jail_result result;
    struct record child[VMM_SPAWNER_CHILDREN_MAX];
    size_t children;
    struct vmm_spawn_request request;
};

/* ---- events ---- */

/* The VMM takes its packets, or is gone, and then so are we. */
static void tell(struct server *s, struct vmm_spawn_event *event, int fd)
{
    if (vm_socket_send(s->sock, event, sizeof(*event), &fd, fd >= 0, 0) < 0)
        _exit(0);
}

static void tell_ended(struct server *s, uint32_t id, int code, int status)
{
    struct vmm_spawn_event event = {
        .type = VMM_SPAWN_ENDED, .id = id, .code = code, .status = status
    };

    if (code)
        strncpy(event.text, vm_error_text(), sizeof(event.text) - 1);
    tell(s, &event, -1);
}

static void tell_started(struct server *s, const struct record *child)
{
    struct vmm_spawn_event event = { .type = VMM_SPAWN_STARTED,
                                     .id = child->id,
                                     .pid = child->pid };

    tell(s, &event, child->pidfd);
}

/* ---- requests ---- */

static bool strings_sound(const struct vmm_spawn_request *r)
{
    uint32_t count = 0;

    if (!r->text_len || r->text_len > sizeof(r->text) || r->text[r->text_len - 1])
        return false;
    for (uint32_t i = 0; i < r->text_len; i++)
        count += !r->text[i];
    return count == r->argc && r->argc <= VMM_SPAWNER_ARGS_MAX;
}

static void start(struct server *s, const int *fd, size_t fds)
{
    const struct vmm_spawn_request *r = &s->request;
    bool own = r->flags & VMM_SPAWN_OWN_BINARY;
    struct record record = { .id = r->id };
    struct vmm_spawn_child child = { .request = r,
                                     .fd = fd,
                                     .binary_fd = s->binary_fd,
                                     .null_fd = s->null_fd,
                                     .foreign = s->foreign,
                                     .entry = own ? NULL : s->entry,
                                     .result = &s->result };

    if (r->fds + own != fds || !strings_sound(r)) {
        tell_ended(s, r->id, vm_fail(-EPROTO, "spawner: a broken request"), 0);
        return;
    }
    if (s->children == VMM_SPAWNER_CHILDREN_MAX) {
        tell_ended(s, r->id,
                   vm_fail(-EAGAIN, "spawner: %d processes run already", VMM_SPAWNER_CHILDREN_MAX),
                   0);
        return;
    }
    if (own)
        child.binary_fd = fd[fds - 1];
    record.pid = vmm_spawn_process(&child, &record.pidfd, &record.pipe);
    if (record.pid < 0)
        tell_ended(s, r->id, vm_wrap(record.pid, "spawner"), 0);
    else
        s->child[s->children++] = record;
}

static void stop(struct server *s)
{
    for (size_t i = 0; i < s->children; i++)
        if (s->child[i].id == s->request.id)
            syscall(SYS_pidfd_send_signal, s->child[i].pidfd, SIGKILL, NULL, 0);
}

static void ram(struct server *s)
{
    int fd = s->foreign ? -EINVAL : vmm_jail_ram_file(s->request.size);
    struct vmm_spawn_event event = { .type = VMM_SPAWN_RAM,
                                     .id = s->request.id,
                                     .code = fd < 0 ? fd : 0 };

    if (fd < 0)
        vmm_jail_why_refused(-fd, false, event.text, sizeof(event.text));
    tell(s, &event, fd);
    vm_close(&fd);
}

static void serve_request(struct server *s)
{
    int fd[VMM_SPAWN_FDS];
    size_t fds;
    ssize_t n =
        vm_socket_receive(s->sock, &s->request, sizeof(s->request), fd, VMM_SPAWN_FDS, &fds, 0);

    if (n == 0 || (n < 0 && n != -EMSGSIZE))
        _exit(0); /* the VMM ended; children follow by their death signal */
    if (n >= (ssize_t)offsetof(struct vmm_spawn_request, text)) {
        if (s->request.text_len > (size_t)n - offsetof(struct vmm_spawn_request, text))
            s->request.text_len = 0; /* start() refuses it */
        if (s->request.type == VMM_SPAWN_START)
            start(s, fd, fds);
        else if (s->request.type == VMM_SPAWN_KILL)
            stop(s);
        else if (s->request.type == VMM_SPAWN_RAM)
            ram(s);
    }
    while (fds)
        close(fd[--fds]);
}

/* ---- children ---- */

/* What the pipe says: nothing yet, that the program runs, or why not. */
static void serve_pipe(struct server *s, struct record *child)
{
    struct vm_error error;
    ssize_t n;

    if (child->pipe < 0)
        return;
    n = vm_read(child->pipe, &error, sizeof(error));
    if (n == -EAGAIN)
        return;
    vm_close(&child->pipe);
    if (n == (ssize_t)sizeof(error)) {
        child->failed = true;
        tell_ended(s, child->id, vm_error_restore(&error), 0);
    } else {
        tell_started(s, child);
    }
}

/* True when the record is free again. */
static bool serve_end(struct server *s, struct record *child)
{
    int status = 0;

    if (waitpid(child->pid, &status, WNOHANG) != child->pid)
        return false;
    serve_pipe(s, child);
    vm_close(&child->pipe);
    vm_close(&child->pidfd);
    if (!child->failed)
        tell_ended(s, child->id, 0, status);
    return true;
}

/* p has a pidfd and a pipe per child. From the last one on: the last record fills a hole. */
static void serve_children(struct server *s, const struct pollfd *p, size_t count)
{
    for (size_t n = count; n; n--) {
        struct record *child = &s->child[n - 1];

        if (p[2 * n - 1].revents)
            serve_pipe(s, child);
        if (p[2 * n - 2].revents && serve_end(s, child))
            *child = s->child[--s->children];
    }
}

static void serve(struct server *s)
{
    struct pollfd p[1 + 2 * VMM_SPAWNER_CHILDREN_MAX];
    size_t count = s->children;

    p[0] = (struct pollfd){ .fd = s->sock, .events = POLLIN };
    for (size_t i = 0; i < count; i++) {
        p[1 + 2 * i] = (struct pollfd){ .fd = s->child[i].pidfd, .events = POLLIN };
        p[2 + 2 * i] = (struct pollfd){ .fd = s->child[i].pipe, .events = POLLIN };
    }
    if (poll(p, 1 + 2 * count, -1) < 0)
        return;
    serve_children(s, p + 1, count);
    if (p[0].revents)
        serve_request(s);
}

/* ---- beginning ---- */

/* Nothing of the VMM's but the socket, the program and the three standard ones. */
static void close_others(struct server *s)
{
    int keep[] = { s->sock, s->binary_fd, s->null_fd };
    unsigned from = 3;

    for (int round = 0; round < 3; round++) {
        int next = -1;

        for (int i = 0; i < 3; i++)
            if (keep[i] >= (int)from && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            break;
        if (next > (int)from)
            syscall(SYS_close_range, from, (unsigned)next - 1, 0);
        from = (unsigned)next + 1;
    }
    syscall(SYS_close_range, from, ~0u, 0);
}

/* For this process and, since ignored signals stay ignored over an exec, for all its children. Packets are sent with
 * MSG_NOSIGNAL. */
static void default_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Room above the numbers that children want. */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void make_jail(struct server *s)
{
    struct vmm_jail_result *r = &s->result;

    vmm_jail_namespaces(r);
    vmm_jail_empty_root(r);
    if (vmm_spawn_has_pid_namespaces())
        vmm_jail_stage_reached(r, VMM_JAIL_PID);
    else
        vmm_jail_stage_refused(r, VMM_JAIL_PID, "%s",
                               r->refused & 1u << VMM_JAIL_USER ? r->why[VMM_JAIL_USER]
                                                                : "the host refuses it");
    vmm_jail_stage_reached(r, VMM_JAIL_SESSION);
    vmm_jail_stage_reached(r, VMM_JAIL_CAPS); /* no child is started that would keep some */
    vmm_jail_stage_reached(r, VMM_JAIL_PRIVS);
}

/* The loader of a program that is not static lies where it was mapped (getauxval(3)): a static one has none. */
static bool needs_loader(void)
{
    return getauxval(AT_BASE) != 0;
}

_Noreturn void vmm_spawn_serve(int sock, int binary_fd, const struct vmm_spawner_config *config)
{
    static const char *const names[] = { "vmm-spawner", "vmm-spawner-ext" };
    struct server *s = calloc(1, sizeof(*s));
    struct vmm_spawn_event ready = { .type = VMM_SPAWN_READY };

    if (!s)
        _exit(1);
    s->sock = sock;
    s->binary_fd = binary_fd;
    s->foreign = config->foreign;
    s->entry = !config->foreign && needs_loader() ? config->entry : NULL;
    s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    close_others(s);
    setsid(); /* the terminal's signals are the VMM's business */
    raise_fd_limit();
    prctl(PR_SET_NAME, names[s->foreign], 0, 0, 0);
    default_signals();
    if (!s->foreign)
        make_jail(s);
    /* After the change of user, which clears both. If the VMM is gone before, the socket has an end. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    ready.result = s->result;
    tell(s, &ready, -1);
    for (;;)
        serve(s);
}
