/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm device, started by hand: the process that the user sees stays outside, and each device has a jailed one of its own. To that the
 * parent is what a VMM is to its device processes (vmm/machine/process.h): it opens the names that stand in the device's options until
 * the device is made, tells what the device says, and removes the socket at the end. So whatever a device reads, it reads in its jail.
 */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/pty.h>
#include <vmm/control/control.h>
#include <vmm/jail/profile.h>
#include <vmm/machine/process.h>

#include "commands.h"
#include "device_dial.h"
#include "device_passt.h"

struct child {
    struct device_service *service;
    pid_t pid; /* 0: ended */
    int channel; /* -1: not jailed, or it has nothing to say any more */
    unsigned opens;
    struct {
        char *name;
        struct vm_made made;
    } made[VMM_PROCESS_NAMES_MAX]; /* to be removed at the end */
    struct device_dials dials; /* for it, as long as it lives */
    bool ready; /* the device is made: nothing is opened any more */
    struct vm_ratelimit chatter;
};

struct parent {
    struct child child[DEVICE_PARTS_MAX];
    unsigned count, left;
    const struct vmm_machine_sandbox *sandbox;
    struct vm_env env;
    int signal_fd, code;
};

/* ---- what a child says, which may be somebody else's by now ---- */

static int open_name(struct child *c, const char *name, unsigned how, struct vm_env *env)
{
    unsigned n = c->opens++;
    const struct device_service *s = c->service;
    int fd;

    if (vmm_device_is_dial(how))
        fd = vmm_device_dial(&c->dials, name, how);
    else if (how == VM_OPEN_USER)
        fd = vmm_device_passt(s->id, name, (enum vm_level)s->log_level);
    else
        fd = env->open(env->ctx, name, how);

    if (fd >= 0 && vmm_process_makes(how) && !vm_made_note(name, &c->made[n].made))
        c->made[n].name = strdup(name); /* NULL: it is left behind */
    return fd;
}

static void remove_names(struct child *c)
{
    for (unsigned i = 0; i < c->opens; i++) {
        if (c->made[i].name)
            vm_made_remove(c->made[i].name, &c->made[i].made);
        free(c->made[i].name);
    }
}

static void answer(struct child *c, const struct vmm_process_message *question, struct vm_env *env)
{
    const struct device_service *s = c->service;
    struct vmm_process_message m;
    int fd;

    if (c->ready || c->opens == VMM_PROCESS_NAMES_MAX ||
        !vmm_process_may_open(s->cls, s->config, question->text, question->value))
        fd = vm_fail(-EACCES, "%s: not a name that this device was given", s->id);
    else
        fd = open_name(c, question->text, question->value, env);
    vmm_process_message(&m, VMM_PROCESS_OPENED, fd < 0 ? fd : 0, 0, fd < 0 ? vm_error_text() : "");
    if (vmm_process_send(c->channel, &m, fd))
        vm_close(&c->channel); /* it does not read: it sees the end of its channel and ends */
    vm_close(&fd);
}

static void take(struct parent *p, struct child *c)
{
    struct vmm_process_message m;
    char text[256];
    int fd, rc = vmm_process_receive(c->channel, &m, &fd);

    vm_close(&fd);
    if (rc == -EAGAIN)
        return;
    if (rc) {
        vm_close(&c->channel);
        return;
    }
    switch (m.type) {
    case VMM_PROCESS_OPEN: answer(c, &m, &p->env); break;
    case VMM_PROCESS_READY: c->ready = true; break;
    case VMM_PROCESS_FAILED:
        vm_prop_show(m.text, strlen(m.text), text, sizeof(text));
        vm_log(&p->env, VM_LOG_ERROR, "%s", text);
        break;
    case VMM_PROCESS_LOG:
        vm_prop_show(m.text, strlen(m.text), text, sizeof(text));
        vm_log_limited(&p->env, &c->chatter,
                       m.value <= VM_LOG_DEBUG ? (enum vm_level)m.value : VM_LOG_WARN, "%s", text);
        break;
    default: vm_close(&c->channel);
    }
}

/* ---- processes ---- */

/* A socket has one owner: who is connected to it must see its end when that process ends, whatever becomes of the others. */
static void disown(struct device_service *service)
{
    vm_close(&service->listener.fd);
    vm_close(&service->fd);
}

/* A terminal's fds are needed by who is on it: such a device has no jail. */
static bool is_jailed(const struct parent *p, const struct device_service *s)
{
    const char *reason = s->cls->thread_reason ? s->cls->thread_reason(s->config) : NULL;

    if (p->sandbox->filters && reason)
        vm_log(&p->env, VM_LOG_WARN, "%s: it is not jailed: %s", s->id, reason);
    return p->sandbox->filters && !reason;
}

/* Compiled here, for policy files have names. */
static int make_jail(struct parent *p, struct device_service *s, int pair[2])
{
    struct vmm_jail_profile profile;
    int rc = vmm_machine_device_profile(p->sandbox, s->cls, s->id, true, &profile);

    if (rc)
        return rc;
    profile.spawned = !s->namespaces;
    rc = vmm_jail_profile_write(&profile);
    vmm_jail_profile_free(&profile);
    if (rc < 0)
        return rc;
    s->profile_fd = rc;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)
               ? vm_fail_errno("%s: socketpair", s->id)
               : 0;
}

static _Noreturn void be_child(struct parent *p, struct child *self, int channel, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a jailed one has the end of its channel, too */
    vm_close(&p->signal_fd);
    for (unsigned i = 0; i < p->count; i++) {
        vm_close(&p->child[i].channel);
        if (&p->child[i] != self)
            disown(p->child[i].service);
    }
    self->service->channel_fd = channel;
    _exit(getppid() == parent ? vmm_device_serve(self->service) : VMM_EXIT_STOPPED);
}

static int start(struct parent *p, struct child *c)
{
    int pair[2] = { -1, -1 }, rc = 0;
    pid_t self = getpid();

    c->service->alone = true;
    if (is_jailed(p, c->service))
        rc = make_jail(p, c->service, pair);
    if (!rc) {
        c->pid = fork();
        if (!c->pid) {
            vm_close(&pair[0]);
            be_child(p, c, pair[1], self);
        }
        rc = c->pid < 0 ? vm_fail_errno("vmm device: fork") : 0;
    }
    vm_close(&pair[1]);
    vm_close(&c->service->profile_fd);
    c->channel = pair[0];
    if (rc)
        c->pid = 0;
    else
        p->left++;
    disown(c->service);
    return rc;
}

static void end_all(const struct parent *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->child[i].pid > 0)
            kill(p->child[i].pid, SIGTERM);
}

/* One has ended: the others go on, unless it could not even begin. */
static void ended(struct parent *p, struct child *c, int status)
{
    char text[128];

    while (c->channel >= 0 && poll(&(struct pollfd){ c->channel, POLLIN, 0 }, 1, 0) > 0)
        take(p, c);
    c->pid = 0;
    p->left--;
    if (WIFSIGNALED(status)) {
        vmm_jail_explain_status(status, text, sizeof(text));
        vm_log(&p->env, VM_LOG_ERROR, "%s: its process ended: %s", c->service->id, text);
    }
    if (!p->code)
        p->code = WIFEXITED(status) ? WEXITSTATUS(status) : VMM_EXIT_FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status))
        end_all(p);
}

static void reap(struct parent *p)
{
    int status;
    pid_t who;

    while ((who = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < p->count; i++)
            if (p->child[i].pid == who)
                ended(p, &p->child[i], status);
}

static void on_signal(struct parent *p)
{
    struct signalfd_siginfo info;

    while (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (info.ssi_signo != SIGCHLD)
            end_all(p);
    reap(p);
}

/* The ends of its dials, DEVICE_DIALS_MAX in any case. */
static void list_dials(const struct child *c, struct pollfd *fd)
{
    for (unsigned i = 0; i < DEVICE_DIALS_MAX; i++)
        fd[i] = (struct pollfd){ .fd = i < c->dials.count ? c->dials.row[i].dial.fd : -1,
                                 .events = POLLIN };
}

static void serve_dials(struct child *c, const struct pollfd *fd)
{
    for (unsigned i = 0; i < c->dials.count; i++)
        if (fd[i].fd >= 0 && fd[i].revents && vm_dial_serve(&c->dials.row[i].dial))
            vm_dial_end(&c->dials.row[i].dial);
}

static void wait_for_all(struct parent *p)
{
    enum { PER_CHILD = 1 + DEVICE_DIALS_MAX };
    struct pollfd fd[1 + DEVICE_PARTS_MAX * PER_CHILD];

    while (p->left) {
        fd[0] = (struct pollfd){ .fd = p->signal_fd, .events = POLLIN };
        for (unsigned i = 0; i < p->count; i++) {
            fd[1 + i * PER_CHILD] = (struct pollfd){ .fd = p->child[i].channel, .events = POLLIN };
            list_dials(&p->child[i], &fd[2 + i * PER_CHILD]);
        }
        if (poll(fd, 1 + p->count * PER_CHILD, -1) < 0)
            continue;
        for (unsigned i = 0; i < p->count; i++) {
            serve_dials(&p->child[i], &fd[2 + i * PER_CHILD]);
            if (fd[1 + i * PER_CHILD].revents && p->child[i].channel >= 0)
                take(p, &p->child[i]);
        }
        if (fd[0].revents)
            on_signal(p);
    }
}

static int take_signals(struct parent *p)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return p->signal_fd < 0 ? vm_fail_errno("signals") : 0;
}

static void start_all(struct parent *p)
{
    int rc = take_signals(p);

    for (unsigned i = 0; !rc && i < p->count; i++)
        rc = start(p, &p->child[i]);
    if (!rc)
        return;
    p->code = vmm_command_fail(rc);
    end_all(p);
}

static int serve_in_children(struct parent *p, struct device_service *service)
{
    vm_env_host((enum vm_level)service->log_level, &p->env);
    for (unsigned i = 0; i < p->count; i++)
        p->child[i] =
            (struct child){ .service = &service[i], .channel = -1, .chatter = { .burst = 50 } };
    start_all(p);
    wait_for_all(p);
    for (unsigned i = 0; i < p->count; i++) {
        vm_close(&p->child[i].channel);
        remove_names(&p->child[i]);
        vmm_device_dials_end(&p->child[i].dials);
    }
    vm_close(&p->signal_fd);
    return p->code;
}

/* The parent's memory is not on the stack: each page of that is touched (stack clash protection), also in a VMM's child, which is no parent. */
int vmm_device_serve_all(struct device_service *service, unsigned count,
                         const struct vmm_machine_sandbox *sandbox)
{
    struct parent *p;
    int code;

    if (count == 1 && (service->channel_fd >= 0 || !sandbox->filters)) { /* a VMM's; or plain */
        service->alone = service->channel_fd < 0;
        return vmm_device_serve(service);
    }
    p = calloc(1, sizeof(*p));
    if (!p)
        return vmm_command_fail(vm_fail(-ENOMEM, "vmm device: out of memory"));
    p->count = count;
    p->sandbox = sandbox;
    p->signal_fd = -1;
    code = serve_in_children(p, service);
    free(p);
    return code;
}
