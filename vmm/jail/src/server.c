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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/shed.h>
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
    struct rlimit files; /* as it was */
    int (*entry)(int argc, char **argv);
    struct vmm_jail_result result;
    struct record child[VMM_SPAWNER_CHILDREN_MAX];
    size_t children;
    bool shed; /* vm_shed() was called */
    struct vmm_spawn_request request;
};

/* ---- events ---- */

/* The VMM takes its packets (also while it waits for something else), or is gone, and then so are we. Short ones, so that hundreds wait
 * in the socket. */
static void tell(struct server *s, struct vmm_spawn_event *event, int fd)
{
    if (vm_socket_send(s->sock, event, vmm_spawn_event_bytes(event), &fd, fd >= 0, 0) < 0)
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

/* The program that this process runs: it need not be loaded again. */
static bool is_ours(const struct server *s, int fd)
{
    struct stat ours, other;

    return !fstat(s->binary_fd, &ours) && !fstat(fd, &other) && ours.st_dev == other.st_dev &&
           ours.st_ino == other.st_ino;
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
                                     .files = s->files,
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
    if (own) {
        child.binary_fd = fd[fds - 1];
        child.entry = is_ours(s, child.binary_fd) ? s->entry : NULL;
    }
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
    struct vmm_spawn_event event = { .type = VMM_SPAWN_RAM, .id = s->request.id };
    int fd;

    signal(SIGXFSZ, SIG_IGN); /* a user's RLIMIT_FSIZE is an error (EFBIG) here, not our end */
    fd = s->foreign ? -EINVAL : vmm_jail_ram_file(s->request.size);
    signal(SIGXFSZ, SIG_DFL);
    event.code = fd < 0 ? fd : 0;
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
    if (n == -EMSGSIZE &&
        s->request.type == VMM_SPAWN_START) /* what came is ours, so fds were cut off */
        tell_ended(s, s->request.id, vm_fail(-EMFILE, "spawner: too few open files are allowed"),
                   0);
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
    switch (poll(p, 1 + 2 * count, s->shed ? -1 : VM_SHED_AFTER_MS)) {
    case -1: return;
    case 0: /* the machine runs */
        vm_shed();
        s->shed = true;
        return;
    default: break;
    }
    serve_children(s, p + 1, count);
    if (p[0].revents)
        serve_request(s);
}

/* ---- beginning ---- */

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
static void raise_fd_limit(struct rlimit *ret_before)
{
    struct rlimit limit;

    *ret_before = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    *ret_before = limit;
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
    /* Nothing of the VMM's but the socket, the program and the three standard ones. */
    vmm_spawn_close_others((const int[]){ sock, binary_fd, s->null_fd }, 3);
    setsid(); /* the terminal's signals are the VMM's business */
    raise_fd_limit(&s->files);
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
