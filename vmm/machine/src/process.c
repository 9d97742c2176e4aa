/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device in a process of its own (docs/sandbox.md). The machine has a vhost-user front end in its place, whose opener is here: when the
 * front end wants a connection it gets one end of a socket pair, and a new process the other one. So a process that dies is
 * started again by what makes every front end connect again, with its patience, and takes up the requests in flight as any
 * back end would.
 *
 *     I/O loop                                    control loop (which has the spawner)
 *     the front end wants a connection    ->      the old process is killed, the next one started
 *     OPEN comes                          ->      the name is opened; OPENED goes
 *
 * Before the machine runs there is one thread, and both sides are served by it at once.
 *
 * What the process may open: names that stand in the device's options, before the machine runs. From then on, for the process may be the
 * guest's, only what was opened so far, in the same way; a file is not emptied again, but appended to.
 */
#include "machine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/jail/profile.h>
#include <vmm/machine/process.h>
#include <vmm/vhost/frontend.h>

enum { OPENS_MAX = 16, LINE_MAX = 200, MESSAGES_PER_ROUND = 16, FDS_MAX = 16 };
/* A process has this long to make its device; it may have to wait for another one's lock. */
#define READY_NS (10ULL * 1000000000ULL)
#define WORDS_NS (200ULL * 1000000ULL)

/* The log of requests in flight is a file in memory. */
#define LOG_BYTES_MAX (64ULL << 20)

/* Our ends, or a process's, of its three sockets. */
struct ends {
    int vhost, channel, err;
};

struct process {
    struct vmm_machine *m;
    const struct vdev_class *real;
    struct vdev_class cls; /* what the front end's device is to the machine */
    struct vm_env env; /* the I/O loop's, with our opener */
    char id[VDEV_ID_MAX + 1];
    char *text; /* NAME,KEY=VALUE,...: the process's options */
    void *config; /* a copy, which borrows what the caller's points at */
    int profile_fd;
    struct vmm_child_fd user_fd[FDS_MAX];
    size_t user_fds;
    bool live;

    /* The I/O loop's thread. */
    struct vm_watch channel, err;
    char line[LINE_MAX];
    size_t line_len;
    bool shaped; /* READY has come at least once: */
    struct vmm_process_shape shape;
    bool ready, failed; /* this process has said so */
    struct vm_error why;
    struct vm_ratelimit chatter;
    struct {
        char *name;
        unsigned how;
    } opened[OPENS_MAX];
    unsigned opens;

    struct vhost_front *front; /* NULL: not yet, or no more */
    struct vm_work ended_work;

    pthread_mutex_t lock; /* guards what follows */
    struct ends ours, theirs; /* theirs: of a process that is still to be started */
    bool start, asked, kill; /* what the control loop is to do */
    bool runs; /* a process that was started has not told its end */
    bool detached; /* nobody is there any more who would want to know of it */
    struct vmm_process_message question; /* OPEN */

    /* The control loop's thread. */
    struct vm_work work;
    struct vmm_child *child;
};

static void close_ends(struct ends *e)
{
    vm_close(&e->vhost);
    vm_close(&e->channel);
    vm_close(&e->err);
}

/* ---- the control loop's side: starting, opening ---- */

static void serve_soon(struct process *p);

/* On the I/O loop. */
static void ended_posted(struct vm_work *work)
{
    struct process *p = container_of(work, struct process, ended_work);

    if (p->front)
        vhost_front_still_now(p->front);
}

/* Only now is it sure that it does not write to the guest's memory any more: not when it closed its sockets. */
static void tell_end(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    p->runs = false;
    if (!p->detached)
        vm_loop_post(p->env.loop, &p->ended_work, ended_posted);
    pthread_mutex_unlock(&p->lock);
}

static void ended(void *ctx, int code, int wait_status)
{
    struct process *p = ctx;
    char text[128];

    if (code)
        vm_log(p->m->config.env, VM_LOG_WARN, "%s: its process did not start: %s", p->id,
               vm_error_text());
    else if (wait_status) {
        vmm_jail_explain_status(wait_status, text, sizeof(text));
        vm_log(p->m->config.env, VM_LOG_WARN, "%s: its process ended: %s", p->id, text);
    }
    vmm_child_free(p->child);
    p->child = NULL;
    tell_end(p);
    serve_soon(p); /* the next one may have waited for it */
}

static int start(struct process *p, const struct ends *theirs)
{
    struct vmm_child_fd fd[FDS_MAX + 4] = {
        { theirs->err, STDERR_FILENO },
        { theirs->vhost, VMM_PROCESS_FD_VHOST },
        { theirs->channel, VMM_PROCESS_FD_CHANNEL },
        { p->profile_fd, VMM_PROCESS_FD_PROFILE },
    };
    char vhost[8], channel[8], profile[8];
    const char *argv[] = { "vmm",       "device", p->text,  "--fd",  vhost,
                           "--channel", channel,  "--jail", profile, NULL };
    struct vmm_child_config config = {
        .argv = argv, .fd = fd, .fds = 4, .binary_fd = -1, .ended = ended, .ctx = p
    };

    for (size_t i = 0; i < p->user_fds; i++)
        fd[config.fds++] = p->user_fd[i];
    snprintf(vhost, sizeof(vhost), "%d", VMM_PROCESS_FD_VHOST);
    snprintf(channel, sizeof(channel), "%d", VMM_PROCESS_FD_CHANNEL);
    snprintf(profile, sizeof(profile), "%d", VMM_PROCESS_FD_PROFILE);
    return vmm_child_start(p->m->config.sandbox.spawner, &config, &p->child);
}

static int open_name(struct process *p, const struct vmm_process_message *question)
{
    const struct vm_env *env = p->m->config.env;
    unsigned how = question->value;
    int fd;

    if (!env->open)
        return vm_fail(-EACCES, "%s: nothing may be opened", question->text);
    if (p->live)
        how &= ~(unsigned)VM_OPEN_TRUNCATE;
    fd = env->open(env->ctx, question->text, how);
    if (fd >= 0 && how != question->value && fcntl(fd, F_SETFL, O_APPEND)) {
        vm_close(&fd);
        return vm_fail_errno("%s: append", question->text);
    }
    return fd;
}

/* What is sent to a process that asked and went away meanwhile reaches the next one, which takes it for a broken channel and ends, too:
 * so the answer goes only while the question stands. */
static void answer(struct process *p, const struct vmm_process_message *question)
{
    struct vmm_process_message m;
    int fd = open_name(p, question);

    vmm_process_message(&m, VMM_PROCESS_OPENED, fd < 0 ? fd : 0, 0, fd < 0 ? vm_error_text() : "");
    pthread_mutex_lock(&p->lock);
    if (p->asked && p->ours.channel >= 0 && vmm_process_send(p->ours.channel, &m, fd))
        shutdown(p->ours.vhost, SHUT_RDWR); /* it does not read: the front end sees its end */
    p->asked = false;
    pthread_mutex_unlock(&p->lock);
    vm_close(&fd);
}

/* One at a time: the next process begins when the last one is dead. */
static void serve(struct process *p)
{
    struct ends theirs = { -1, -1, -1 };
    bool begin, asked, end;

    pthread_mutex_lock(&p->lock);
    begin = p->start && !p->child;
    end = p->child && (p->start || p->kill);
    asked = p->asked && !p->start;
    p->kill = false;
    if (begin) {
        theirs = p->theirs;
        p->theirs = (struct ends){ -1, -1, -1 };
        p->start = false;
        p->runs = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (end)
        vmm_child_kill(p->child);
    if (begin && start(p, &theirs)) {
        vm_log(p->m->config.env, VM_LOG_WARN, "%s: %s", p->id, vm_error_text());
        tell_end(p);
    }
    close_ends(&theirs); /* the process has its own, or the front end sees the end of it */
    if (asked)
        answer(p, &p->question);
}

static void serve_posted(struct vm_work *work)
{
    serve(container_of(work, struct process, work));
}

static void serve_soon(struct process *p)
{
    if (p->live)
        vm_loop_post(p->m->config.env->loop, &p->work, serve_posted);
    else
        serve(p);
}

/* ---- the I/O loop's side: what the process says ---- */

/* The process is not what it should be: the front end sees the end of the connection, and another one is started. */
static void give_up(struct process *p, const char *why)
{
    vm_log_limited(p->m->config.env, &p->chatter, VM_LOG_WARN, "%s: its process %s: it is replaced",
                   p->id, why);
    pthread_mutex_lock(&p->lock);
    shutdown(p->ours.vhost, SHUT_RDWR);
    pthread_mutex_unlock(&p->lock);
    vm_watch_del(&p->channel);
}

static void say(struct process *p, enum vm_level level, const char *untrusted, size_t len)
{
    char text[LINE_MAX + 1];
    bool named = len > strlen(p->id) && !memcmp(untrusted, p->id, strlen(p->id));

    vm_prop_show(untrusted, len, text, sizeof(text));
    vm_log_limited(p->m->config.env, &p->chatter, level, "%s%s%s", named ? "" : p->id,
                   named ? "" : ": ", text);
}

static bool stands_in(const struct vm_prop *props, const void *object, const char *name)
{
    for (; props->name; props++) {
        const char *place = (const char *)object + props->offset;

        if (props->type == VM_PROP_OBJECT && stands_in(props->props, place, name))
            return true;
        if (props->type == VM_PROP_PATH && *(char *const *)(const void *)place &&
            !strcmp(*(char *const *)(const void *)place, name))
            return true;
    }
    return false;
}

static bool allowed(struct process *p, const struct vmm_process_message *m)
{
    for (unsigned i = 0; i < p->opens; i++)
        if (p->opened[i].how == m->value && !strcmp(p->opened[i].name, m->text))
            return true;
    if (p->live || p->opens == OPENS_MAX || !stands_in(p->real->props, p->config, m->text))
        return false;
    p->opened[p->opens].name = strdup(m->text);
    p->opened[p->opens].how = m->value;
    return p->opened[p->opens].name && ++p->opens;
}

static void take_open(struct process *p, const struct vmm_process_message *m)
{
    struct vmm_process_message no;
    bool twice;

    if (!allowed(p, m)) {
        vmm_process_message(&no, VMM_PROCESS_OPENED, -EACCES, 0,
                            "not a name that this device was given");
        vm_log_limited(p->m->config.env, &p->chatter, VM_LOG_WARN,
                       "%s: its process asks for a name that it was not given: refused", p->id);
        if (vmm_process_send(p->ours.channel, &no, -1))
            give_up(p, "does not read its channel");
        return;
    }
    pthread_mutex_lock(&p->lock);
    twice = p->asked;
    if (!twice) {
        p->asked = true;
        p->question = *m;
    }
    pthread_mutex_unlock(&p->lock);
    if (twice)
        give_up(p, "asks before it was answered");
    else
        serve_soon(p);
}

static bool sound(const struct vmm_process_shape *s)
{
    if (!s->id || s->id > 63 || !s->queues || s->queues > VHOST_QUEUES_MAX ||
        s->config_bytes > VHOST_CONFIG_MAX)
        return false;
    for (uint32_t n = 0; n < s->queues; n++)
        if (!s->queue_size[n] || s->queue_size[n] > VQ_SIZE_MAX)
            return false;
    return true;
}

static void take_ready(struct process *p, const struct vmm_process_shape *shape)
{
    if (p->ready || !sound(shape)) {
        give_up(p, "says what makes no sense");
    } else if (p->shaped && memcmp(&p->shape, shape, sizeof(*shape)) != 0) {
        give_up(p, "has made another device than the one before it");
    } else {
        p->shape = *shape;
        p->shaped = p->ready = true;
    }
}

static void take_failed(struct process *p, const struct vmm_process_message *m)
{
    char text[LINE_MAX];

    vm_prop_show(m->text, strlen(m->text), text, sizeof(text));
    vm_error_save(vm_fail(m->code < 0 ? m->code : -EPROTO, "%s", text), &p->why);
    if (p->live)
        say(p, VM_LOG_WARN, m->text, strlen(m->text));
    p->failed = true;
}

static void take(struct process *p, const struct vmm_process_message *m)
{
    switch (m->type) {
    case VMM_PROCESS_OPEN: take_open(p, m); break;
    case VMM_PROCESS_READY: take_ready(p, &m->shape); break;
    case VMM_PROCESS_FAILED: take_failed(p, m); break;
    case VMM_PROCESS_LOG:
        say(p, m->value <= VM_LOG_DEBUG ? (enum vm_level)m->value : VM_LOG_WARN, m->text,
            strlen(m->text));
        break;
    default: give_up(p, "says what makes no sense");
    }
}

/* Level-triggered: what is left comes in the next round. */
static void channel_ready(struct vm_watch *watch, uint32_t events)
{
    struct process *p = container_of(watch, struct process, channel);
    struct vmm_process_message m;
    int fd, rc = 0;

    (void)events;
    for (int i = 0; i < MESSAGES_PER_ROUND && watch->active && !rc; i++) {
        rc = vmm_process_receive(watch->fd, &m, &fd);
        vm_close(&fd); /* none is wanted */
        if (!rc)
            take(p, &m);
    }
    if (rc == -EPROTO)
        give_up(p, "says what makes no sense");
    else if (rc == -ECONNRESET)
        vm_watch_del(watch);
}

/* What it writes to standard error: a sanitizer's report, or which system call was refused. */
static void err_ready(struct vm_watch *watch, uint32_t events)
{
    struct process *p = container_of(watch, struct process, err);
    ssize_t n = vm_read(watch->fd, p->line + p->line_len, sizeof(p->line) - p->line_len);
    char *end;

    (void)events;
    if (n == -EAGAIN)
        return;
    if (n <= 0)
        vm_watch_del(watch);
    else
        p->line_len += (size_t)n;
    while ((end = memchr(p->line, '\n', p->line_len))) {
        size_t len = (size_t)(end - p->line);

        say(p, VM_LOG_WARN, p->line, len);
        p->line_len -= len + 1;
        memmove(p->line, end + 1, p->line_len);
    }
    if (p->line_len && (n <= 0 || p->line_len == sizeof(p->line))) {
        say(p, VM_LOG_WARN, p->line, p->line_len);
        p->line_len = 0;
    }
}

/* ---- connections ---- */

static void disconnect(struct process *p)
{
    vm_watch_del(&p->channel);
    vm_watch_del(&p->err);
    p->line_len = 0;
    p->ready = p->failed = false;
    pthread_mutex_lock(&p->lock);
    close_ends(&p->ours);
    close_ends(&p->theirs);
    p->asked = p->start = false;
    pthread_mutex_unlock(&p->lock);
}

static int pair(int type, int *ret_ours, int *ret_theirs)
{
    int fd[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd))
        return vm_fail_errno("sockets of a process");
    *ret_ours = fd[0];
    *ret_theirs = fd[1];
    return fcntl(fd[0], F_SETFL, O_NONBLOCK) ? vm_fail_errno("sockets of a process") : 0;
}

static int make_ends(struct ends *ours, struct ends *theirs)
{
    int rc = pair(SOCK_STREAM, &ours->vhost, &theirs->vhost);

    if (!rc)
        rc = pair(SOCK_SEQPACKET, &ours->channel, &theirs->channel);
    return rc ? rc : pair(SOCK_STREAM, &ours->err, &theirs->err);
}

/* A new process is under way; the fd is our end of its vhost-user socket. */
static int connect_process(struct process *p)
{
    struct ends ours = { -1, -1, -1 }, theirs = { -1, -1, -1 };
    int rc, fd = -1;

    disconnect(p);
    rc = make_ends(&ours, &theirs);
    if (!rc)
        rc = vm_watch_add(p->env.loop, &p->channel, ours.channel, EPOLLIN, channel_ready);
    if (!rc)
        rc = vm_watch_add(p->env.loop, &p->err, ours.err, EPOLLIN, err_ready);
    if (!rc) {
        fd = fcntl(ours.vhost, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        rc = fd < 0 ? vm_fail_errno("sockets of a process") : 0;
    }
    pthread_mutex_lock(&p->lock);
    p->ours = ours;
    p->theirs = theirs;
    p->start = !rc;
    pthread_mutex_unlock(&p->lock);
    if (rc) {
        disconnect(p);
        return rc;
    }
    serve_soon(p);
    return fd;
}

/* The front end has given the process up, or sees that it is gone. */
static int front_gone(struct vhost_front *front)
{
    struct process *p = vhost_front_user(front);
    bool runs;

    pthread_mutex_lock(&p->lock);
    runs = p->runs;
    p->kill = runs;
    pthread_mutex_unlock(&p->lock);
    if (runs)
        serve_soon(p);
    return runs ? -EINPROGRESS : 0;
}

/* ---- the front end's environment ---- */

static void env_log(void *ctx, enum vm_level level, const char *text)
{
    const struct vm_env *env = ((struct process *)ctx)->m->config.env;

    if (env->log)
        env->log(env->ctx, level, text);
}

static uint64_t env_now(void *ctx, enum vm_clock clock)
{
    const struct vm_env *env = ((struct process *)ctx)->m->config.env;

    return env->now_ns(env->ctx, clock);
}

static int env_random(void *ctx, void *buf, size_t len)
{
    const struct vm_env *env = ((struct process *)ctx)->m->config.env;

    return env->random(env->ctx, buf, len);
}

/* Whatever is short now may be there later: -EAGAIN makes the front end try again. */
static int env_open(void *ctx, const char *name, unsigned how)
{
    int rc = how == VM_OPEN_CONNECT ? connect_process(ctx) : -EACCES;

    if (rc == -EACCES)
        return vm_fail(rc, "%s: nothing is opened here", name);
    return rc < 0 ? vm_wrap(-EAGAIN, "%s", name) : rc;
}

/* ---- creation ---- */

/* bus, addr and the like are the machine's; what the user gave as fds keeps its number. */
static int print_options(struct process *p)
{
    struct vm_buffer text = { 0 };
    struct vdev_common *common = p->config;
    int rc;

    common->id = p->id;
    common->bus = VDEV_BUS_AUTO;
    common->addr = NULL;
    common->pci_segment = 0;
    common->placement = VDEV_PLACE_AUTO;
    rc = vm_buffer_add(&text, p->real->name, strlen(p->real->name));
    if (!rc)
        rc = vm_buffer_add(&text, ",", 1);
    if (!rc)
        rc = vm_prop_print(p->real->props, p->config, p->real->config_size, &text);
    p->text = (char *)text.data;
    return rc;
}

static int list_fds(struct process *p)
{
    for (const struct vm_prop *prop = p->real->props; prop->name; prop++) {
        int fd;

        if (prop->type != VM_PROP_FD)
            continue;
        fd = *(const int *)(const void *)((const char *)p->config + prop->offset);
        if (fd < 0)
            continue;
        if (fd <= STDERR_FILENO || fd >= VMM_PROCESS_FDS_USER || p->user_fds == FDS_MAX)
            return vm_fail(-EINVAL, "%s=%d: a device in a process takes fds from 3 to %d",
                           prop->name, fd, VMM_PROCESS_FDS_USER - 1);
        p->user_fd[p->user_fds++] = (struct vmm_child_fd){ fd, fd };
    }
    return 0;
}

/* The filters, compiled once: each process loads them at its start. */
static int make_profile(struct process *p)
{
    const struct vm_jail_rule *tables[MACHINE_TABLES];
    const struct vmm_machine_sandbox *sandbox = &p->m->config.sandbox;
    struct vmm_jail_profile profile = {
        .spawned = true,
        .max_file_bytes = p->real->backend == VDEV_BACKEND_NONE ? LOG_BYTES_MAX : UINT64_MAX,
    };
    int rc = 0;

    snprintf(profile.who, sizeof(profile.who), "%.20s %.24s", p->real->name, p->id);
    vmm_machine_device_tables(p->real, true, tables);
    if (sandbox->filters)
        rc = vmm_machine_filter(sandbox, p->real->name, tables, &profile.enter);
    vmm_machine_device_tables(p->real, false, tables);
    if (!rc && sandbox->filters)
        rc = vmm_machine_filter(sandbox, p->real->name, tables, &profile.narrow);
    if (!rc)
        rc = p->profile_fd = vmm_jail_profile_write(&profile);
    vmm_jail_profile_free(&profile);
    return rc < 0 ? rc : 0;
}

/* It has closed its channel, so it is ending. */
static void hear_last_words(struct process *p)
{
    struct vm_loop *loop = p->env.loop;
    uint64_t start = vm_loop_now_ns(loop), passed = 0;

    while (p->err.active && passed < WORDS_NS && vm_loop_step(loop, WORDS_NS - passed) >= 0)
        passed = vm_loop_now_ns(loop) - start;
}

static int wait_for_ready(struct process *p)
{
    struct vm_loop *loop = p->env.loop;
    uint64_t start = vm_loop_now_ns(loop), passed = 0;

    while (!p->ready && !p->failed && p->channel.active && passed < READY_NS) {
        if (vm_loop_step(loop, READY_NS - passed) < 0)
            return vm_fail(-EIO, "event loop");
        passed = vm_loop_now_ns(loop) - start;
    }
    if (p->failed)
        return vm_error_restore(&p->why);
    if (p->ready)
        return 0;
    hear_last_words(p);
    return passed < READY_NS ? vm_fail(-ECHILD, "its process ended before the device was made")
                             : vm_fail(-ETIMEDOUT, "its process did not make the device in %llu s",
                                       READY_NS / 1000000000ULL);
}

static int make_front(struct process *p, int fd, const struct vdev_context *context,
                      struct vhost_front **ret_front)
{
    static const struct vhost_front_ops ops = { .gone = front_gone };
    struct vdev_context c = *context;
    struct vhost_front_setup setup = {
        .user = p,
        .id = p->shape.id,
        .queues = (uint16_t)p->shape.queues,
        .queues_min = (uint16_t)p->shape.queues,
        .queue_sizes = p->shape.queue_size,
        .config_bytes = p->shape.config_bytes,
        .packed = true, /* the device's options have decided */
        .socket = p->id,
        .fd = fd,
        .wait_ns = READY_NS,
        .reconnect_ns = UINT64_MAX,
    };

    for (uint32_t n = 0; n < p->shape.queues; n++)
        if (p->shape.queue_size[n] > setup.queue_size)
            setup.queue_size = p->shape.queue_size[n];
    c.env = &p->env;
    return vhost_front_new(&p->cls, &c, &setup, &ops, ret_front);
}

static int set_up(struct process *p, struct vmm_machine *m, const struct vmm_machine_device *want,
                  const struct vdev_context *context)
{
    pthread_mutex_init(&p->lock, NULL);
    p->m = m;
    p->real = want->cls;
    p->cls = *want->cls;
    p->cls.state = NULL;
    p->cls.state_size = 0;
    p->cls.ledger = NULL;
    p->cls.metrics = vhost_front_metrics;
    p->ours = p->theirs = (struct ends){ -1, -1, -1 };
    p->profile_fd = -1;
    p->chatter = (struct vm_ratelimit){ .burst = 50, .interval_ns = READY_NS };
    p->env = m->io_env;
    p->env.ctx = p;
    p->env.log = env_log;
    p->env.now_ns = env_now;
    p->env.random = env_random;
    p->env.open = env_open;
    snprintf(p->id, sizeof(p->id), "%s", context->id);
    p->config = malloc(p->real->config_size);
    if (!p->config)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(p->config, want->config, p->real->config_size);
    return 0;
}

int vmm_process_new(struct vmm_machine *m, const struct vmm_machine_device *want,
                    const struct vdev_context *context, struct process **ret_process,
                    struct vdev **ret_dev)
{
    struct process *p = calloc(1, sizeof(*p));
    struct vhost_front *front;
    int rc, fd;

    if (!p)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    rc = set_up(p, m, want, context);
    if (!rc)
        rc = print_options(p);
    if (!rc)
        rc = list_fds(p);
    if (!rc)
        rc = make_profile(p);
    if (!rc)
        rc = fd = connect_process(p);
    if (rc >= 0) {
        rc = wait_for_ready(p);
        if (rc)
            vm_close(&fd);
        else
            rc = make_front(p, fd, context, &front);
    }
    if (rc) {
        struct vm_error error;

        vm_error_save(rc, &error);
        vmm_process_detach(p);
        vmm_process_free(p);
        return vm_error_restore(&error);
    }
    p->front = front;
    *ret_process = p;
    *ret_dev = &vhost_front_dev(front)->dev;
    return 0;
}

void vmm_process_live(struct process *p)
{
    p->live = true;
}

void vmm_process_detach(struct process *p)
{
    p->front = NULL;
    pthread_mutex_lock(&p->lock);
    p->detached = true;
    pthread_mutex_unlock(&p->lock);
    if (p->env.loop)
        vm_work_cancel(p->env.loop, &p->ended_work);
    disconnect(p);
}

void vmm_process_free(struct process *p)
{
    if (!p)
        return;
    if (p->m->config.env->loop)
        vm_work_cancel(p->m->config.env->loop, &p->work);
    vmm_child_free(p->child);
    for (unsigned i = 0; i < p->opens; i++)
        free(p->opened[i].name);
    vm_close(&p->profile_fd);
    pthread_mutex_destroy(&p->lock);
    free(p->config);
    free(p->text);
    free(p);
}

const struct vdev_class *vmm_process_class(const struct process *p)
{
    return p->real;
}

/* The next process begins with the new value. */
int vmm_process_set(struct process *p, const struct vm_prop *prop, const void *config,
                    const char *key_value)
{
    struct vmm_process_message m;
    int rc;

    memcpy((char *)p->config + prop->offset, (const char *)config + prop->offset,
           vm_prop_type_size(prop->type));
    free(p->text);
    rc = print_options(p);
    if (rc)
        return rc;
    vmm_process_message(&m, VMM_PROCESS_SET, 0, 0, key_value);
    pthread_mutex_lock(&p->lock);
    rc = p->ours.channel < 0 ? -ENOTCONN : vmm_process_send(p->ours.channel, &m, -1);
    pthread_mutex_unlock(&p->lock);
    return rc ? vm_fail(rc, "%s: its process does not take it now: try again", p->id) : 0;
}
