/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The VMM's side of the spawner: its start and end, its messages. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

#include "client.h"

enum { END_TIMEOUT_MS = 2000, EVENTS_PER_ROUND = 64, NS_PER_MS = 1000000 };

/* ---- messages ---- */

static void say_missing(void *ctx, const char *text)
{
    const struct vmm_spawner *s = ctx;

    vm_log(s->env, VM_LOG_WARN, "device processes: %s", text);
}

static void take_ready(struct vmm_spawner *s, const struct vmm_spawn_event *event)
{
    s->result = event->result;
    s->ready = true;
    if (!s->foreign)
        vmm_jail_result_reasons(&s->result, say_missing, s);
}

static void take_ram(struct vmm_spawner *s, const struct vmm_spawn_event *event, int fd)
{
    if (!s->ram.id || event->id != s->ram.id) { /* nobody waits any more */
        vm_close(&fd);
        return;
    }
    s->ram.id = 0;
    s->ram.fd = event->code ? event->code : fd;
    memcpy(s->ram.text, event->text, sizeof(s->ram.text));
}

static void take_event(struct vmm_spawner *s, struct vmm_spawn_event *event, int fd)
{
    event->text[sizeof(event->text) - 1] = '\0';
    switch (event->type) {
    case VMM_SPAWN_READY:
        vm_close(&fd);
        take_ready(s, event);
        break;
    case VMM_SPAWN_RAM: take_ram(s, event, fd); break;
    case VMM_SPAWN_STARTED:
    case VMM_SPAWN_ENDED: vmm_spawn_child_event(s, event, fd); break;
    default: vm_close(&fd);
    }
}

static void lose(struct vmm_spawner *s)
{
    if (s->gone)
        return;
    s->gone = true;
    vm_watch_del(&s->watch);
    vm_watch_del(&s->also);
    vmm_spawn_drop_queue(s);
    vmm_spawn_children_lost(s);
    if (s->lost)
        s->lost(s->ctx);
}

/* One message that is there. False when there is none, or none will come. */
static bool receive(struct vmm_spawner *s)
{
    struct vmm_spawn_event event;
    int fd[VMM_SPAWN_FDS];
    size_t fds;
    ssize_t n;

    if (s->gone)
        return false;
    n = vm_socket_receive(s->sock, &event, sizeof(event), fd, VMM_SPAWN_FDS, &fds, 0);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        lose(s);
        return false;
    }
    while (fds > 1)
        close(fd[--fds]);
    if (n >= (ssize_t)sizeof(event.type) && n == (ssize_t)vmm_spawn_event_bytes(&event))
        take_event(s, &event, fds ? fd[0] : -1);
    else if (fds)
        close(fd[0]);
    return true;
}

static void serve(struct vmm_spawner *s, uint32_t events)
{
    if (events & EPOLLOUT)
        vmm_spawn_flush(s);
    for (int i = 0; i < EVENTS_PER_ROUND && receive(s); i++) {
        /* level-triggered: what is left comes in the next round */
    }
}

static void ready(struct vm_watch *watch, uint32_t events)
{
    serve(container_of(watch, struct vmm_spawner, watch), events);
}

static void also_ready(struct vm_watch *watch, uint32_t events)
{
    serve(container_of(watch, struct vmm_spawner, also), events);
}

/* ---- start ---- */

/* The file this program runs from. Without /proc, by the name it was started with. */
static int open_program(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN);
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

    if (fd < 0 && name)
        fd = open(name, O_PATH | O_CLOEXEC);
    return fd;
}

static int fork_spawner(struct vmm_spawner *s, const struct vmm_spawner_config *config)
{
    int sock[2], program = open_program(), rc = 0;

    if (program < 0)
        return vm_fail_errno("spawner: this program's file");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock)) {
        rc = vm_fail_errno("spawner: socketpair");
        goto close_program;
    }
    s->pid = fork();
    if (!s->pid) {
        close(sock[0]);
        vmm_spawn_serve(sock[1], program, config);
    }
    if (s->pid < 0 && errno == EAGAIN)
        rc = vm_fail(-EAGAIN, "spawner: fork: raise the limit of processes (ulimit -u)");
    else if (s->pid < 0 || fcntl(sock[0], F_SETFL, O_NONBLOCK) < 0)
        rc = vm_fail_errno("spawner: fork");
    close(sock[1]);
    s->sock = sock[0];
    s->pidfd = s->pid > 0 ? (int)syscall(SYS_pidfd_open, s->pid, 0) : -1;
close_program:
    vm_close(&program);
    return rc;
}

int vmm_spawner_start(const struct vmm_spawner_config *config, struct vmm_spawner **ret_spawner)
{
    struct vmm_spawner *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "spawner: no memory");
    s->env = config->env;
    s->foreign = config->foreign;
    s->lost = config->lost;
    s->ctx = config->ctx;
    s->sock = s->pidfd = -1;
    vm_list_init(&s->children);
    vm_list_init(&s->queue);
    rc = fork_spawner(s, config);
    if (rc) {
        s->lost = NULL;
        vmm_spawner_free(s);
        return rc;
    }
    *ret_spawner = s;
    return 0;
}

/* It ends when its socket does; what hangs is killed. */
static void wait_for_end(struct vmm_spawner *s)
{
    struct pollfd p = { .fd = s->pidfd, .events = POLLIN };

    if (s->pid <= 0)
        return;
    if (s->pidfd < 0 || poll(&p, 1, END_TIMEOUT_MS) <= 0)
        kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
        /* again */
    }
}

void vmm_spawner_free(struct vmm_spawner *s)
{
    if (!s)
        return;
    vm_watch_del(&s->watch);
    vm_watch_del(&s->also);
    vm_close(&s->sock);
    wait_for_end(s);
    vm_close(&s->pidfd);
    vmm_spawn_drop_queue(s);
    vmm_spawn_children_free(s);
    free(s);
}

int vmm_spawner_attach(struct vmm_spawner *s, struct vm_loop *loop)
{
    int rc;

    if (s->gone)
        return vm_fail(-EPIPE, "the spawner is gone");
    rc = vm_watch_add(loop, &s->watch, s->sock, s->queued ? EPOLLIN | EPOLLOUT : EPOLLIN, ready);
    if (!rc)
        s->loop = loop;
    return rc;
}

int vmm_spawner_lend(struct vmm_spawner *s, struct vm_loop *loop)
{
    if (s->gone || loop == s->loop || s->also.active)
        return 0;
    return vm_watch_add(loop, &s->also, s->sock, s->queued ? EPOLLIN | EPOLLOUT : EPOLLIN,
                        also_ready);
}

void vmm_spawner_take_back(struct vmm_spawner *s)
{
    vm_watch_del(&s->also);
}

int vmm_spawn_watch(struct vmm_spawner *s)
{
    uint32_t events = s->queued ? EPOLLIN | EPOLLOUT : EPOLLIN;
    int rc = s->watch.active ? vm_watch_set(&s->watch, events) : 0;

    return !rc && s->also.active ? vm_watch_set(&s->also, events) : rc;
}

/* ---- what is waited for ---- */

static bool is_ready(const struct vmm_spawner *s)
{
    return s->ready;
}

static bool has_ram(const struct vmm_spawner *s)
{
    return !s->ram.id;
}

/* Serves messages until done() or the deadline. */
static int wait_until(struct vmm_spawner *s, bool (*done)(const struct vmm_spawner *s),
                      uint64_t timeout_ns)
{
    uint64_t start = vm_now_ns(s->env, VM_CLOCK_MONOTONIC), spent = 0;
    struct pollfd p = { .fd = s->sock, .events = POLLIN };

    for (;;) {
        vmm_spawn_flush(s);
        while (!done(s) && receive(s)) {
            /* more of them */
        }
        if (done(s))
            return 0;
        if (s->gone)
            return vm_fail(-EPIPE, "the spawner ended");
        spent = vm_now_ns(s->env, VM_CLOCK_MONOTONIC) - start;
        if (spent >= timeout_ns)
            return vm_fail(-ETIMEDOUT, "the spawner did not answer in %llu ms",
                           (unsigned long long)(timeout_ns / NS_PER_MS));
        poll(&p, 1, (int)((timeout_ns - spent) / NS_PER_MS) + 1);
    }
}

int vmm_spawner_ready(struct vmm_spawner *s, uint64_t timeout_ns)
{
    return wait_until(s, is_ready, timeout_ns);
}

const struct vmm_jail_result *vmm_spawner_result(const struct vmm_spawner *s)
{
    return s->ready ? &s->result : NULL;
}

int vmm_spawner_ram(struct vmm_spawner *s, uint64_t size, uint64_t timeout_ns)
{
    struct vmm_spawn_request r = { .type = VMM_SPAWN_RAM, .size = size };
    int rc;

    r.id = s->ram.id = vmm_spawn_next_id(s);
    rc = vmm_spawn_post(s, &r, NULL, 0);
    if (!rc)
        rc = wait_until(s, has_ram, timeout_ns);
    if (rc) {
        s->ram.id = 0;
        return vm_wrap(rc, "guest memory on a tmpfs");
    }
    return s->ram.fd < 0 ? vm_fail(s->ram.fd, "guest memory on a tmpfs: %.200s", s->ram.text)
                         : s->ram.fd;
}
