/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices in processes, the control loop's side: one process after the other is started, and names are opened for it. */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* On the I/O loop. */
static void ended_posted(struct vm_work *work)
{
    struct process *p = container_of(work, struct process, ended_work);

    if (p->front)
        vhost_front_still_now(p->front);
}

/* Only now is it sure that it does not write to the guest's memory any more: not when it closed its sockets. Its end of the connection may be
 * open still, if it gave that to us as something else: so it ends from ours. */
static void tell_end(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    p->runs = false;
    if (!p->start && p->ours.vhost >= 0)
        shutdown(p->ours.vhost, SHUT_RDWR);
    if (!p->detached)
        vm_loop_post(p->env.env.loop, &p->ended_work, ended_posted);
    pthread_mutex_unlock(&p->lock);
}

/* Who makes the device has it in its own error; later nobody waits, and events and the log have it. code 0: all was well. */
static void note_end(struct process *p, int code)
{
    p->end_told = true;
    vm_error_save(code, &p->end);
    if (p->live)
        vmm_machine_tell(p->m, VMM_EVENT_PROCESS_ENDED, p->id,
                         code ? p->end.text : "its process ended: exit code 0");
    if (code && (p->live || p->shaped))
        vm_log_limited(p->m->config.env, &p->end_limit, p->killed ? VM_LOG_INFO : VM_LOG_WARN,
                       "%s: %s", p->id, p->end.text);
}

static void ended(void *ctx, int code, int wait_status)
{
    struct process *p = ctx;
    char text[128];

    if (code) {
        code = vm_wrap(code, "its process did not start");
    } else if (wait_status) {
        vmm_jail_explain_status(wait_status, text, sizeof(text));
        code = vm_fail(-ECHILD, "its process ended: %s", text);
    }
    note_end(p, code);
    vmm_child_free(p->child);
    p->child = NULL;
    p->killed = false;
    vmm_process_trial_ended(p);
    vmm_process_set_ended(p);
    tell_end(p);
    vmm_process_serve_soon(p); /* the next one may have waited for it */
    vmm_process_left(p);
}

/* The last one is dead: what it had counted is what this one begins with. */
static void count_on(struct process *p)
{
    uint64_t value[VDEV_COUNTERS_ROWS] = { 0 };

    vdev_counters_get(p->counters, p->real, value);
    vdev_counters_put(p->counters, p->real, value);
}

static int start(struct process *p, const struct process_ends *theirs)
{
    struct vmm_child_fd fd[PROCESS_FDS_MAX + 6] = {
        { theirs->err, STDERR_FILENO },
        { theirs->vhost, VMM_PROCESS_FD_VHOST },
        { theirs->channel, VMM_PROCESS_FD_CHANNEL },
        { p->trial.runs ? p->trial.profile_fd : p->profile_fd, VMM_PROCESS_FD_PROFILE },
        { vdev_counters_fd(p->counters), VMM_PROCESS_FD_COUNTERS },
    };
    const char *level = vm_level_name(p->m->config.log_level);
    char vhost[8], channel[8], profile[8], counters[8], ledger[8];
    const char *argv[] = { "vmm",   "device",   p->text, "--fd",       vhost,    "--channel",
                           channel, "--jail",   profile, "--counters", counters, "--log-level",
                           level,   "--ledger", ledger,  NULL };
    struct vmm_child_config config = { .argv = argv,
                                       .fd = fd,
                                       .fds = 5,
                                       .binary_fd =
                                           p->trial.runs ? p->trial.binary_fd : p->binary_fd,
                                       .ended = ended,
                                       .ctx = p };

    for (size_t i = 0; i < p->user_fds; i++)
        fd[config.fds++] = p->user_fd[i];
    snprintf(vhost, sizeof(vhost), "%d", VMM_PROCESS_FD_VHOST);
    snprintf(channel, sizeof(channel), "%d", VMM_PROCESS_FD_CHANNEL);
    snprintf(profile, sizeof(profile), "%d", VMM_PROCESS_FD_PROFILE);
    snprintf(counters, sizeof(counters), "%d", VMM_PROCESS_FD_COUNTERS);
    snprintf(ledger, sizeof(ledger), "%d", VMM_PROCESS_FD_LEDGER);
    if (p->ledger_fd >= 0)
        fd[config.fds++] = (struct vmm_child_fd){ p->ledger_fd, VMM_PROCESS_FD_LEDGER };
    else
        argv[VM_ARRAY_SIZE(argv) - 3] = NULL;
    count_on(p);
    return vmm_child_start(p->m->config.sandbox.spawner, &config, &p->child);
}

/* What is sent to a process that asked and went away meanwhile reaches the next one, which takes it for a broken channel and ends, too:
 * so the answer goes only while the question stands. */
static void answer(struct process *p, const struct process_question *question)
{
    struct vmm_process_message m;
    bool kept;
    int fd = vmm_names_open(p->names, question->row, &kept);

    vmm_process_message(&m, VMM_PROCESS_OPENED, fd < 0 ? fd : 0, 0, fd < 0 ? vm_error_text() : "");
    pthread_mutex_lock(&p->lock);
    if (p->asked && p->question.number == question->number) {
        if (p->ours.channel >= 0 && vmm_process_send(p->ours.channel, &m, fd))
            shutdown(p->ours.vhost, SHUT_RDWR); /* it does not read: the front end sees its end */
        p->asked = false;
    }
    pthread_mutex_unlock(&p->lock);
    if (!kept)
        vm_close(&fd);
}

/* One at a time: the next process begins when the last one is dead. */
static void serve(struct process *p)
{
    struct process_ends theirs = { -1, -1, -1 };
    struct process_question question;
    bool begin, asked, end;
    int rc;

    pthread_mutex_lock(&p->lock);
    begin = p->start && !p->child && !p->held;
    end = p->child && (p->start || p->kill);
    asked = p->asked && !p->start;
    if (asked)
        question = p->question;
    p->kill = false;
    if (begin) {
        theirs = p->theirs;
        p->theirs = (struct process_ends){ -1, -1, -1 };
        p->start = false;
        p->runs = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (end) {
        p->killed = true;
        vmm_child_kill(p->child);
    }
    if (begin) {
        p->end_told = false;
        p->trial.runs = p->trial.wanted;
        p->trial.wanted = false;
    }
    rc = begin ? start(p, &theirs) : 0;
    if (rc) {
        note_end(p, rc);
        vmm_process_trial_ended(p);
        tell_end(p);
    }
    vmm_process_ends_close(
        &theirs); /* the process has its own, or the front end sees the end of it */
    if (asked)
        answer(p, &question);
}

static void serve_posted(struct vm_work *work)
{
    serve(container_of(work, struct process, work));
}

void vmm_process_serve_soon(struct process *p)
{
    if (p->live)
        vm_loop_post(p->m->config.env->loop, &p->work, serve_posted);
    else
        serve(p);
}
