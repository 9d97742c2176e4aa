/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device's process is replaced by one of another program, which is on trial first. Everything here on the control loop, but what says
 * otherwise.
 *
 *     [none] --upgrade--> [wanted]    the old process's rings come to rest; it is let go, and dies
 *     [wanted] --start--> [runs]      what the device knows is in its ledger, what it has taken in the log
 *     [runs] --greeted, TRIAL_NS--> [none]      the program is the device's from now on
 *     [runs] --ends, or is not greeted in time--> [none]      the old program serves it again
 */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* One that lives so long after it was greeted is taken. */
#define TRIAL_NS (3ULL * 1000000000ULL)
/* The old one has its deadlines for coming to rest; then there is time for making the device. */
#define GREETED_NS (4 * PROCESS_READY_NS)

static void trial_over(struct process *p, int code)
{
    struct process_trial t = p->trial;

    vm_timer_cancel(&p->trial.timer);
    p->trial = (struct process_trial){ .binary_fd = -1, .profile_fd = -1 };
    vm_close(&t.binary_fd);
    vm_close(&t.profile_fd);
    t.done(t.ctx, code);
}

static void taken(struct process *p)
{
    vm_close(&p->binary_fd);
    vm_close(&p->profile_fd);
    p->binary_fd = p->trial.binary_fd;
    p->profile_fd = p->trial.profile_fd;
    p->trial.binary_fd = p->trial.profile_fd = -1;
    vm_log(p->m->config.env, VM_LOG_INFO, "%s: its process was replaced by another program's",
           p->id);
    trial_over(p, 0);
}

static void trial_timer(struct vm_timer *timer)
{
    struct process *p = container_of(timer, struct process, trial.timer);

    if (p->trial.greeted) {
        taken(p);
        return;
    }
    p->trial.late = true;
    if (p->trial.runs)
        vmm_child_kill(p->child); /* its end comes */
    else
        trial_over(p,
                   vm_fail(-ETIMEDOUT, "%s: the old program did not let go of it in time", p->id));
}

static void greeted(struct vm_work *work)
{
    struct process *p = container_of(work, struct process, greeted_work);
    struct vm_loop *loop = p->m->config.env->loop;

    vmm_machine_tell(p->m, VMM_EVENT_PROCESS_SERVES, p->id, "");
    vmm_process_arrived(p, 0);
    if (!p->trial.runs || p->trial.greeted)
        return;
    p->trial.greeted = true;
    if (vm_timer_set(loop, &p->trial.timer, vm_loop_now_ns(loop) + TRIAL_NS, trial_timer))
        taken(p);
}

void vmm_process_greeted(struct process *p)
{
    if (p->live)
        vm_loop_post(p->m->config.env->loop, &p->greeted_work, greeted);
}

void vmm_process_trial_ended(struct process *p)
{
    const char *why = p->end.code ? p->end.text : "its process ended: exit code 0";

    vmm_process_arrived(p, -ECHILD);
    if (!p->trial.runs)
        return;
    trial_over(p,
               vm_fail(-ECHILD, "%s: the new program did not %s: %s: the old one serves it again",
                       p->id, p->trial.late ? "serve it in time" : "last", why));
}

int vmm_process_upgrade(struct process *p, int binary_fd, void (*done)(void *ctx, int code),
                        void *ctx)
{
    struct vm_loop *loop = p->m->config.env->loop;
    struct vdev *dev = &vhost_front_dev(p->front)->dev;
    int rc;

    if (p->trial.done)
        return vm_fail(-EBUSY, "%s: its process is being replaced already", p->id);
    rc = p->trial.binary_fd = fcntl(binary_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (rc < 0)
        return vm_fail_errno("%s: its new program", p->id);
    rc = vmm_process_profile(p, true, &p->trial.profile_fd);
    if (!rc && vm_timer_set(loop, &p->trial.timer, vm_loop_now_ns(loop) + GREETED_NS, trial_timer))
        rc = vm_fail(-ENOMEM, "%s: out of memory", p->id);
    if (rc) {
        vm_close(&p->trial.binary_fd);
        vm_close(&p->trial.profile_fd);
        return rc;
    }
    p->trial.wanted = true;
    p->trial.done = done;
    p->trial.ctx = ctx;
    vm_lock_acquire(&dev->lock);
    vhost_front_replace(p->front);
    vm_lock_release(&dev->lock);
    return 0;
}

void vmm_process_trial_free(struct process *p)
{
    if (p->m->config.env->loop)
        vm_work_cancel(p->m->config.env->loop, &p->greeted_work);
    vm_timer_cancel(&p->trial.timer);
    vm_close(&p->trial.binary_fd);
    vm_close(&p->trial.profile_fd);
    vm_close(&p->binary_fd);
}
