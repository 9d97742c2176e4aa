/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices in processes, the I/O loop's side: what the process says, which may be the guest's by now. */
#include "process_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGES_PER_ROUND = 16 };

/* The front end sees the end of the connection, and another one is started. */
static void drop(struct process *p)
{
    vm_timer_cancel(&p->deadline);
    pthread_mutex_lock(&p->lock);
    shutdown(p->ours.vhost, SHUT_RDWR);
    p->kill = p->runs;
    p->set.heard = false;
    pthread_mutex_unlock(&p->lock);
    vm_watch_del(&p->channel);
    vmm_process_serve_soon(p);
}

/* The process is not what it should be. */
static void give_up(struct process *p, const char *why)
{
    vm_log_limited(p->m->config.env, &p->err.limit, VM_LOG_WARN,
                   "%s: its process %s: it is replaced", p->id, why);
    if (!p->ready && !p->failed) {
        vm_error_save(vm_fail(-ECHILD, "its process %s", why), &p->why);
        p->failed = true;
    }
    drop(p);
}

void vmm_process_too_late(struct vm_timer *timer)
{
    give_up(container_of(timer, struct process, deadline), "does not make its device in time");
}

static void say(struct process *p, enum vm_level level, const char *untrusted, size_t len)
{
    vmm_lines_say(&p->err, level, untrusted, len);
}

/* The row of its name; -1: it is refused. */
static int allowed(struct process *p, const struct vmm_process_message *m)
{
    int row = vmm_names_find(p->names, m->text, m->value);

    if (row >= 0 || !vmm_process_may_open(p->real, p->config, m->text, m->value))
        return row;
    return vmm_names_add(p->names, m->text, m->value);
}

static void take_open(struct process *p, const struct vmm_process_message *m)
{
    struct vmm_process_message no;
    bool twice;
    int row;

    if (p->ready) {
        give_up(p, "asks for a name when its device is made");
        return;
    }
    row = allowed(p, m);
    if (row < 0) {
        vmm_process_message(&no, VMM_PROCESS_OPENED, -EACCES, 0,
                            "not a name that this device was given");
        vm_log_limited(p->m->config.env, &p->err.limit, VM_LOG_WARN,
                       "%s: its process asks for a name that it was not given: refused", p->id);
        if (vmm_process_send(p->ours.channel, &no, -1))
            give_up(p, "does not read its channel");
        return;
    }
    pthread_mutex_lock(&p->lock);
    twice = p->asked;
    if (!twice) {
        p->asked = true;
        p->question.number++;
        p->question.row = row;
    }
    pthread_mutex_unlock(&p->lock);
    if (twice)
        give_up(p, "asks before it was answered");
    else
        vmm_process_serve_soon(p);
}

static bool sound(const struct vmm_process_shape *s)
{
    if (!s->id || s->id > 63 || !s->queues || s->queues > VHOST_QUEUES_MAX ||
        s->config_bytes > VHOST_CONFIG_MAX ||
        !vm_range_in(s->chosen.at, s->chosen.bytes, s->config_bytes))
        return false;
    for (uint32_t n = 0; n < s->queues; n++)
        if (!s->queue_size[n] || s->queue_size[n] > VQ_SIZE_MAX)
            return false;
    return true;
}

struct missing {
    struct process *p;
    char line[MACHINE_LINE_MAX * 2];
};

static void say_missing(void *ctx, const char *text)
{
    struct missing *m = ctx;

    vm_prop_show(text, strlen(text), m->line, sizeof(m->line));
    vm_log(m->p->m->config.env, VM_LOG_WARN, "%s: %s", m->p->id, m->line);
}

/* Once per machine and stage: other processes of it stand on the same host. What the spawner could not have it has said itself. */
static void tell_missing(struct process *p, const struct vmm_jail_result *untrusted)
{
    struct missing m = { .p = p };
    struct vmm_jail_result jail = *untrusted;

    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++)
        jail.why[s][sizeof(jail.why[s]) - 1] = '\0';
    pthread_mutex_lock(&p->lock);
    p->jail = jail;
    pthread_mutex_unlock(&p->lock);
    jail.refused &= ~p->m->jail_told;
    p->m->jail_told |= jail.refused;
    vmm_jail_result_reasons(&jail, say_missing, &m);
}

void vmm_process_jail_lacks(struct process *p,
                            void (*row)(void *ctx, const char *stage, const char *why), void *ctx)
{
    const struct vmm_jail_result *outer = vmm_spawner_result(p->m->config.sandbox.spawner);
    char why[sizeof(p->jail.why[0])];
    struct vmm_jail_result inner;

    pthread_mutex_lock(&p->lock);
    inner = p->jail;
    pthread_mutex_unlock(&p->lock);
    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++) {
        const struct vmm_jail_result *from = outer && outer->refused & 1u << s ? outer : &inner;

        if (!(from->refused & 1u << s))
            continue;
        vm_prop_show(from->why[s], strlen(from->why[s]), why, sizeof(why));
        row(ctx, vmm_jail_stage_name((enum vmm_jail_stage)s), why);
    }
}

static void take_ready(struct process *p, const struct vmm_process_message *m)
{
    const struct vmm_process_shape *shape = &m->ready.shape;

    if (p->ready || !sound(shape)) {
        give_up(p, "says what makes no sense");
    } else if (p->shaped && memcmp(&p->shape, shape, sizeof(*shape)) != 0) {
        give_up(p, "has made another device than the one before it");
    } else {
        p->shape = *shape;
        p->shaped = p->ready = true;
        vm_timer_cancel(&p->deadline);
        tell_missing(p, &m->ready.jail);
        pthread_mutex_lock(&p->lock);
        p->set.heard = true;
        pthread_mutex_unlock(&p->lock);
        if (p->live)
            vmm_process_sets_go_on(p);
    }
}

static void take_failed(struct process *p, const struct vmm_process_message *m)
{
    char text[MACHINE_LINE_MAX];

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
    case VMM_PROCESS_READY: take_ready(p, m); break;
    case VMM_PROCESS_FAILED: take_failed(p, m); break;
    case VMM_PROCESS_SET_DONE:
        if (!vmm_process_take_set_done(p, m))
            give_up(p, "answers what it was not asked");
        break;
    case VMM_PROCESS_LOG:
        say(p,
            m->value == VM_LOG_INFO || m->value == VM_LOG_DEBUG ? (enum vm_level)m->value
                                                                : VM_LOG_WARN,
            m->text, strlen(m->text)); /* an error is the VMM's to tell */
        break;
    default: give_up(p, "says what makes no sense");
    }
}

/* Level-triggered: what is left comes in the next round. */
void vmm_process_channel_ready(struct vm_watch *watch, uint32_t events)
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
    else if (rc == -ECONNRESET && p->ready)
        drop(p); /* it ends, or shall */
    else if (rc == -ECONNRESET)
        vm_watch_del(watch);
}
