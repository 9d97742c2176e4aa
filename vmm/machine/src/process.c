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
 * guest's, only what was opened so far: the very same open files, which stay open here (names.h).
 */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/devices-core/ledger.h>

#define WORDS_NS (2000ULL * 1000000ULL)

enum { FDS_LEAST = 64 }; /* of a process: a device with a few queues */

/* ---- connections ---- */

static void disconnect(struct process *p)
{
    vm_watch_del(&p->channel);
    vm_timer_cancel(&p->deadline);
    vmm_lines_end(&p->err);
    p->ready = p->failed = false;
    pthread_mutex_lock(&p->lock);
    vmm_process_ends_close(&p->ours);
    vmm_process_ends_close(&p->theirs);
    p->asked = p->start = p->set.heard = false;
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

static int make_ends(struct process_ends *ours, struct process_ends *theirs)
{
    int rc = pair(SOCK_STREAM, &ours->vhost, &theirs->vhost);

    if (!rc)
        rc = pair(SOCK_SEQPACKET, &ours->channel, &theirs->channel);
    return rc ? rc : pair(SOCK_STREAM, &ours->err, &theirs->err);
}

static bool is_held(struct process *p)
{
    bool held;

    pthread_mutex_lock(&p->lock);
    held = p->held;
    pthread_mutex_unlock(&p->lock);
    return held;
}

/* A new process is under way; the fd is our end of its vhost-user socket. */
static int connect_process(struct process *p)
{
    struct process_ends ours = { -1, -1, -1 }, theirs = { -1, -1, -1 };
    int rc, fd = -1;

    if (is_held(p))
        return vm_fail(-EAGAIN, "its process has been let go");
    disconnect(p);
    rc = make_ends(&ours, &theirs);
    if (!rc)
        rc = vm_watch_add(p->env.env.loop, &p->channel, ours.channel, EPOLLIN,
                          vmm_process_channel_ready);
    if (!rc)
        rc = vmm_lines_begin(&p->err, p->env.env.loop, ours.err);
    if (!rc) /* the last one has to end before it is started */
        rc = vm_timer_set(p->env.env.loop, &p->deadline,
                          vm_loop_now_ns(p->env.env.loop) + 2 * PROCESS_READY_NS,
                          vmm_process_too_late);
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
    vmm_process_serve_soon(p);
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
        vmm_process_serve_soon(p);
    return runs ? -EINPROGRESS : 0;
}

/* Whatever is short now may be there later: -EAGAIN makes the front end try again. */
static int env_open(void *ctx, const char *name, unsigned how)
{
    struct machine_env *env = ctx;
    int rc =
        how == VM_OPEN_CONNECT ? connect_process(container_of(env, struct process, env)) : -EACCES;

    if (rc == -EACCES)
        return vm_fail(rc, "%s: nothing is opened here", name);
    return rc < 0 ? vm_wrap(-EAGAIN, "%s", name) : rc;
}

/* ---- creation ---- */

/* bus, addr and the like are the machine's; what the user gave as fds keeps its number. */
int vmm_process_print_options(struct process *p)
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
    if (rc) {
        vm_buffer_free(&text);
        return rc;
    }
    free(p->text);
    p->text = (char *)text.data;
    return 0;
}

static int list_fd(struct process *p, const struct vm_prop *prop, int fd)
{
    if (fd < 0)
        return 0;
    if (fd <= STDERR_FILENO || fd >= VMM_PROCESS_FDS_USER || p->user_fds == PROCESS_FDS_MAX)
        return vm_fail(-EINVAL, "%s=%d: a device in a process takes fds from 3 to %d", prop->name,
                       fd, VMM_PROCESS_FDS_USER - 1);
    p->user_fd[p->user_fds++] = (struct vmm_child_fd){ fd, fd };
    return 0;
}

static int list_fds(struct process *p)
{
    int rc = 0;

    for (const struct vm_prop *prop = p->real->props; prop->name && !rc; prop++) {
        const void *place = (const char *)p->config + prop->offset;
        const struct vm_prop_list *list = place;

        if (prop->type == VM_PROP_FD)
            rc = list_fd(p, prop, *(const int *)place);
        else if (prop->type == VM_PROP_LIST && prop->element == VM_PROP_FD)
            for (uint32_t i = 0; i < list->count && !rc; i++)
                rc = list_fd(p, prop, ((const int *)list->items)[i]);
    }
    return rc;
}

/* Fds that processes of a user have sent and nobody has taken yet are counted together, and who sends is refused when they are more than its own
 * RLIMIT_NOFILE (unix(7), ETOOMANYREFS). So a process that floods its sockets is stopped long before the VMM would be. */
static uint32_t fds_of_a_process(const struct vdev_class *cls)
{
    uint32_t wanted = cls->fds ? cls->fds : VMM_JAIL_FDS_DEFAULT;
    struct rlimit ours;
    uint64_t most;

    if (getrlimit(RLIMIT_NOFILE, &ours))
        return VMM_JAIL_FDS_DEFAULT;
    if (ours.rlim_cur / 2 >= wanted)
        return wanted;
    most = ours.rlim_cur / 2;
    return most > FDS_LEAST ? (uint32_t)most : FDS_LEAST;
}

/* The filters, compiled once: each process loads them at its start. Another program may need other calls, and says so itself, unless the user
 * has said what is allowed. */
int vmm_process_profile(struct process *p, bool own_filters, int *ret_fd)
{
    struct vmm_machine_sandbox sandbox = p->m->config.sandbox;
    struct vmm_jail_profile profile;
    int rc;

    own_filters = own_filters && sandbox.filters && !sandbox.policy_dir;
    sandbox.filters = sandbox.filters && !own_filters;
    rc = vmm_machine_device_profile(&sandbox, p->real, p->id, false, &profile);
    if (rc)
        return rc;
    profile.own_filters = own_filters;
    profile.action = sandbox.action;
    profile.max_fds = fds_of_a_process(p->real);
    rc = *ret_fd = vmm_jail_profile_write(&profile);
    vmm_jail_profile_free(&profile);
    return rc < 0 ? rc : 0;
}

/* state (NULL: as after power-on) is what the first process begins with. */
static int make_ledger(struct process *p, const void *state)
{
    int rc;

    if (!p->real->state)
        return 0;
    rc = p->ledger_fd = vdev_ledger_new(p->id);
    if (rc >= 0)
        rc = state ? vdev_ledger_put(p->real, p->ledger_fd, state) : 0;
    return rc;
}

/* What a snapshot keeps of a device in a process is what it would keep of it on a thread: the process wrote it down when it made the
 * device, and when its rings came to rest. */
static void front_save(struct vhost_front *front, void *ret_state)
{
    struct process *p = vhost_front_user(front);

    if (vdev_ledger_get(p->real, p->ledger_fd, ret_state))
        vm_log(p->m->config.env, VM_LOG_WARN, "%s: its process has spoilt what it knew: %s", p->id,
               vm_error_text());
}

static void front_greeted(struct vhost_front *front)
{
    vmm_process_greeted(vhost_front_user(front));
}

static bool known(const struct process *p, const void *state)
{
    void *now = calloc(1, p->real->state_size);
    bool same = now && !vdev_ledger_get(p->real, p->ledger_fd, now) &&
                !memcmp(now, state, p->real->state_size);

    free(now);
    return same;
}

/* The next process begins with it. */
static int front_load(struct vhost_front *front, const void *untrusted)
{
    struct process *p = vhost_front_user(front);
    int rc;

    if (known(p, untrusted))
        return 0;
    rc = vdev_ledger_put(p->real, p->ledger_fd, untrusted);
    if (!rc)
        vhost_front_replace(front);
    return rc;
}

/* It has closed its channel, so it is ending: what it still says, and what became of it. */
static void hear_last_words(struct process *p)
{
    struct vm_loop *loop = p->env.env.loop;
    uint64_t start = vm_loop_now_ns(loop), passed = 0;

    while ((p->err.watch.active || !p->end_told) && passed < WORDS_NS &&
           vm_loop_step(loop, WORDS_NS - passed) >= 0)
        passed = vm_loop_now_ns(loop) - start;
}

static int wait_for_device(struct process *p)
{
    struct vm_loop *loop = p->env.env.loop;
    uint64_t start = vm_loop_now_ns(loop), passed = 0;

    while (!p->ready && !p->failed && p->channel.active && passed < PROCESS_READY_NS) {
        if (vm_loop_step(loop, PROCESS_READY_NS - passed) < 0)
            return vm_fail(-EIO, "event loop");
        passed = vm_loop_now_ns(loop) - start;
    }
    if (p->failed)
        return vm_error_restore(&p->why);
    if (p->ready)
        return 0;
    if (passed >= PROCESS_READY_NS)
        return vm_fail(-ETIMEDOUT, "its process did not make the device in %llu s",
                       PROCESS_READY_NS / 1000000000ULL);
    hear_last_words(p);
    return p->end.code ? vm_error_restore(&p->end)
                       : vm_fail(-ECHILD, "its process ended before the device was made");
}

/* The control loop does not run, and the spawner would not go on if nobody heard it. */
static int wait_for_ready(struct process *p)
{
    struct vmm_spawner *spawner = p->m->config.sandbox.spawner;
    int rc = vmm_spawner_lend(spawner, p->env.env.loop);

    if (!rc)
        rc = wait_for_device(p);
    vmm_spawner_take_back(spawner);
    return rc;
}

int vmm_process_front(struct process *p, int fd, const struct vhost_front_known *known,
                      const struct vdev_context *context)
{
    static const struct vhost_front_ops ops = {
        .gone = front_gone, .greeted = front_greeted, .save = front_save, .load = front_load
    };
    struct vdev_context c = *context;
    struct vhost_front_setup setup = {
        .user = p,
        .id = p->shape.id,
        .queues = (uint16_t)p->shape.queues,
        .queues_min = (uint16_t)p->shape.queues,
        .queue_sizes = p->shape.queue_size,
        .config_bytes = p->shape.config_bytes,
        .chosen = p->shape.chosen,
        .packed = true, /* the device's options have decided */
        .socket = p->id,
        .fd = fd,
        .known = known,
        .wait_ns = PROCESS_READY_NS,
        .first_ns = 2 * PROCESS_READY_NS, /* the last one has to end before it */
        .reconnect_ns = UINT64_MAX,
    };

    for (uint32_t n = 0; n < p->shape.queues; n++)
        if (p->shape.queue_size[n] > setup.queue_size)
            setup.queue_size = p->shape.queue_size[n];
    c.env = &p->env.env;
    return vhost_front_new(&p->cls, &c, &setup, &ops, &p->front);
}

static int set_up(struct process *p, struct vmm_machine *m, const struct machine_device *d,
                  const char *id)
{
    pthread_mutex_init(&p->lock, NULL);
    p->m = m;
    p->names = d->names;
    p->real = d->cls;
    p->cls = *d->cls;
    p->cls.ledger = NULL; /* the process keeps it; what is state here is in it */
    p->cls.metrics = vhost_front_metrics;
    p->ours = p->theirs = (struct process_ends){ -1, -1, -1 };
    p->profile_fd = p->ledger_fd = p->binary_fd = -1;
    p->trial.binary_fd = p->trial.profile_fd = -1;
    vmm_machine_env(&p->env, m, env_open);
    snprintf(p->id, sizeof(p->id), "%s", id);
    vmm_lines_init(&p->err, m->config.env, p->id);
    p->end_limit = p->err.limit;
    p->sets_end = &p->sets;
    p->config = malloc(p->real->config_size);
    if (!p->config)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(p->config, d->config, p->real->config_size);
    return 0;
}

static int free_with(struct process *p, int rc)
{
    struct vm_error error;

    vm_error_save(rc, &error);
    vmm_process_free(p);
    return vm_error_restore(&error);
}

static int abandon(struct process *p, int rc)
{
    struct vm_error error;

    vm_error_save(rc, &error);
    vmm_process_detach(p);
    return free_with(p, vm_error_restore(&error));
}

int vmm_process_prepare(struct vmm_machine *m, const struct machine_device *d, const char *id,
                        const void *state, struct process **ret_process)
{
    struct process *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return vm_fail(-ENOMEM, "%s: out of memory", id);
    rc = set_up(p, m, d, id);
    if (!rc)
        rc = vmm_process_print_options(p);
    if (!rc)
        rc = list_fds(p);
    if (!rc)
        rc = vmm_process_profile(p, false, &p->profile_fd);
    if (!rc)
        rc = make_ledger(p, state);
    if (rc >= 0)
        rc = vdev_counters_new(p->id, &p->counters);
    if (rc)
        return free_with(p, rc);
    *ret_process = p;
    return 0;
}

int vmm_process_new(struct vmm_machine *m, const struct machine_device *d,
                    const struct vdev_context *context, struct process **ret_process,
                    struct vdev **ret_dev)
{
    struct process *p;
    int fd, rc = vmm_process_prepare(m, d, context->id, NULL, &p);

    if (rc)
        return rc;
    rc = fd = connect_process(p);
    if (rc >= 0) {
        rc = wait_for_ready(p);
        if (rc)
            vm_close(&fd);
        else
            rc = vmm_process_front(p, fd, NULL, context);
    }
    if (rc)
        return abandon(p, rc);
    *ret_process = p;
    *ret_dev = &vhost_front_dev(p->front)->dev;
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
    if (p->env.env.loop)
        vm_work_cancel(p->env.env.loop, &p->ended_work);
    disconnect(p);
}

void vmm_process_free(struct process *p)
{
    if (!p)
        return;
    if (p->m->config.env->loop) {
        vm_work_cancel(p->m->config.env->loop, &p->work);
        vm_work_cancel(p->m->config.env->loop, &p->set_work);
    }
    vmm_process_sets_end(p, vm_fail(-ECANCELED, "%s was removed", p->id));
    vmm_process_trial_free(p);
    vmm_child_free(p->child);
    vm_close(&p->profile_fd);
    vm_close(&p->ledger_fd);
    vdev_counters_free(p->counters);
    pthread_mutex_destroy(&p->lock);
    vmm_lists_free(&p->lists);
    free(p->config);
    free(p->text);
    free(p);
}

const struct vdev_class *vmm_process_class(const struct process *p)
{
    return p->real;
}
