/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A property of a device in a process changes. The process is asked, one change at a time, and only when it has made its device; what it has
 * agreed to is what the next one begins with. Everything here on the control loop, but what says otherwise.
 *
 *     [waits] --READY, the one before is over--> [sent] --SET_DONE 0--> in force
 *     [sent] --SET_DONE code; the process ends; PROCESS_READY_NS--> the property keeps its value
 *     [waits] --PROCESS_READY_NS--> the property keeps its value
 */
#include "process_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SETS_MAX = 16 };

struct process_set {
    struct process_set *next;
    struct process *p;
    const struct vm_prop *prop;
    uint64_t value; /* as many bytes of it as the property has */
    struct machine_list *list; /* instead */
    char *key_value;
    struct vm_timer late;
    void (*done)(void *ctx, int code);
    void *ctx;
};

static void free_set(struct process_set *s)
{
    vm_timer_cancel(&s->late);
    vmm_list_free(s->list);
    free(s->key_value);
    free(s);
}

/* It is over, with code and vm_error_text(). */
static void finish(struct process_set *s, int code)
{
    struct process_set **at = &s->p->sets, gone = *s;

    while (*at != s)
        at = &(*at)->next;
    if (!s->next)
        s->p->sets_end = at;
    *at = s->next;
    free_set(s);
    if (gone.done)
        gone.done(gone.ctx, code);
    else if (code)
        vm_log(gone.p->m->config.env, VM_LOG_WARN, "%s", vm_error_text());
}

/* The process has nothing more to answer. */
static void forget_question(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    p->set.open = p->set.answered = false;
    pthread_mutex_unlock(&p->lock);
    p->set_sent = false;
}

/* One that does not read is seen to end by the front end, and with it the question. */
static void send_next(struct process *p)
{
    struct vmm_process_message m;

    if (!p->sets || p->set_sent)
        return;
    pthread_mutex_lock(&p->lock);
    if (p->set.heard) {
        vmm_process_message(&m, VMM_PROCESS_SET, 0, ++p->set.number, p->sets->key_value);
        p->set_sent = p->set.open = true;
        if (vmm_process_send(p->ours.channel, &m, -1))
            shutdown(p->ours.vhost, SHUT_RDWR);
    }
    pthread_mutex_unlock(&p->lock);
}

/* The next process begins with it. */
static int keep(struct process *p, struct process_set *s)
{
    if (s->list)
        vmm_list_put(&p->lists, s->list, p->config);
    else
        memcpy((char *)p->config + s->prop->offset, &s->value, vm_prop_type_size(s->prop->type));
    s->list = NULL;
    return vmm_process_print_options(p);
}

static void take_answer(struct process *p)
{
    struct vm_error answer;
    bool answered;

    pthread_mutex_lock(&p->lock);
    answered = p->set.answered;
    answer = p->set.answer;
    pthread_mutex_unlock(&p->lock);
    if (!answered || !p->set_sent)
        return;
    forget_question(p);
    if (answer.code)
        finish(p->sets, vm_error_restore(&answer));
    else
        finish(p->sets, keep(p, p->sets));
}

static void look(struct vm_work *work)
{
    struct process *p = container_of(work, struct process, set_work);

    take_answer(p);
    send_next(p);
}

void vmm_process_sets_go_on(struct process *p)
{
    vm_loop_post(p->m->config.env->loop, &p->set_work, look);
}

void vmm_process_set_ended(struct process *p)
{
    take_answer(p);
    pthread_mutex_lock(&p->lock);
    p->set.heard = false; /* the I/O loop may see it later */
    pthread_mutex_unlock(&p->lock);
    if (!p->set_sent)
        return;
    forget_question(p);
    finish(p->sets, vm_fail(-ECHILD, "%s: its process ended before it had changed %s", p->id,
                            p->sets->prop->name));
}

/* It hangs: the next one is asked for what else is to change. */
static void replace(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    p->set.heard = false;
    p->kill = p->runs;
    shutdown(p->ours.vhost, SHUT_RDWR);
    pthread_mutex_unlock(&p->lock);
    forget_question(p);
    vmm_process_serve_soon(p);
}

static void too_late(struct vm_timer *timer)
{
    struct process_set *s = container_of(timer, struct process_set, late);
    struct process *p = s->p;

    if (p->set_sent && s == p->sets) {
        replace(p);
        finish(s, vm_fail(-ETIMEDOUT, "%s: its process did not change %s in %llu s: it is replaced",
                          p->id, s->prop->name, PROCESS_READY_NS / 1000000000ULL));
    } else {
        finish(s, vm_fail(-ETIMEDOUT, "%s: no process of it could be told of %s in %llu s", p->id,
                          s->prop->name, PROCESS_READY_NS / 1000000000ULL));
    }
}

static int take_value(struct process_set *s, void *config)
{
    if (s->prop->type != VM_PROP_LIST) {
        memcpy(&s->value, (const char *)config + s->prop->offset, vm_prop_type_size(s->prop->type));
        return 0;
    }
    s->list = vmm_list_new(s->prop);
    if (!s->list)
        return -ENOMEM;
    vmm_list_take(s->list, config);
    return 0;
}

static int make(struct process *p, const struct vm_prop *prop, void *config, const char *key_value,
                struct process_set **ret_set)
{
    struct vm_loop *loop = p->m->config.env->loop;
    struct process_set *s = calloc(1, sizeof(*s));

    if (!s)
        return vm_fail(-ENOMEM, "%s: out of memory", p->id);
    s->p = p;
    s->prop = prop;
    s->key_value = strdup(key_value);
    if (!s->key_value || take_value(s, config) ||
        vm_timer_set(loop, &s->late, vm_loop_now_ns(loop) + PROCESS_READY_NS, too_late)) {
        free_set(s);
        return vm_fail(-ENOMEM, "%s: out of memory", p->id);
    }
    *ret_set = s;
    return 0;
}

int vmm_process_set(struct process *p, const struct vm_prop *prop, void *config,
                    const char *key_value, void (*done)(void *ctx, int code), void *ctx)
{
    struct process_set *s;
    unsigned waiting = 0;
    int rc;

    for (s = p->sets; s; s = s->next)
        waiting++;
    if (waiting == SETS_MAX)
        return vm_fail(-EBUSY, "%s: %u changes wait for its process: try again later", p->id,
                       waiting);
    if (strlen(key_value) >= VMM_PROCESS_TEXT_MAX) /* cut, it might say something else */
        return vm_fail(-E2BIG, "%s: %s: longer than %d bytes", p->id, prop->name,
                       VMM_PROCESS_TEXT_MAX - 1);
    if (vm_prop_type_size(prop->type) > sizeof(s->value) ||
        (!vm_prop_type_size(prop->type) && prop->type != VM_PROP_LIST))
        return vm_fail(-ENOTSUP, "%s: %s cannot be changed while the machine runs", p->id,
                       prop->name);
    rc = make(p, prop, config, key_value, &s);
    if (rc)
        return rc;
    s->done = done;
    s->ctx = ctx;
    *p->sets_end = s;
    p->sets_end = &s->next;
    send_next(p);
    return -EINPROGRESS;
}

void vmm_process_sets_end(struct process *p, int code)
{
    struct vm_error why;

    vm_error_save(code, &why);
    forget_question(p);
    while (p->sets)
        finish(p->sets, vm_error_restore(&why));
}

void vmm_process_walk_sets(struct process *p, void (*visit)(void *arg, void *ctx), void *arg)
{
    for (struct process_set *s = p->sets; s; s = s->next)
        visit(arg, s->ctx);
}

/* ---- on the I/O loop ---- */

bool vmm_process_take_set_done(struct process *p, const struct vmm_process_message *m)
{
    char text[MACHINE_LINE_MAX];
    bool asked, over;

    vm_prop_show(m->text, strlen(m->text), text, sizeof(text));
    pthread_mutex_lock(&p->lock);
    over = !p->runs;
    asked = p->set.open && !p->set.answered && p->set.number == m->value;
    if (asked) {
        p->set.answered = true;
        vm_error_save(m->code < 0 ? vm_fail(m->code, "%s", text) : 0, &p->set.answer);
    }
    pthread_mutex_unlock(&p->lock);
    if (asked)
        vmm_process_sets_go_on(p);
    return asked || over;
}
