/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The thread that serves devices. It is made once one of them has something to do, and made anew where it is to have another filter: a
 * filter that a thread has can only become stricter.
 *
 *     [none] --io_wanted()--> [runs] --vmm_machine_io_renew()--> [leaves] --io_begin()--> [runs]
 */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static void io_begin(struct vm_work *work);

static void *io_thread(void *arg)
{
    struct vmm_machine *m = arg;

    pthread_setname_np(pthread_self(), "io");
    if (vmm_machine_filter_load(m->filter.io, "the I/O thread") || vm_loop_run(m->io_loop)) {
        vm_log(m->config.env, VM_LOG_ERROR, "I/O loop: %s", vm_error_text());
        vmm_machine_end(m, VMM_END_FAILED);
    }
    pthread_mutex_lock(&m->run_lock);
    m->io_over = true;
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
    vm_loop_post(m->config.env->loop, &m->io_work, io_begin); /* who wants another one */
    return NULL;
}

/* The device that does not come to rest. */
static const char *who_hangs(struct vmm_machine *m)
{
    for (struct machine_device *d = m->devices; d; d = d->next) {
        int rc;

        if (m->move.late && d == m->move.device)
            return d->id;
        if (!vm_lock_try(&d->dev->lock))
            return d->dev->id;
        vm_lock_release(&d->dev->lock);
        rc = vdev_quiesce(d->dev, NULL);
        if (rc == -EINPROGRESS || rc == -EBUSY)
            return d->dev->id;
    }
    return "a device";
}

static bool is_over(struct vmm_machine *m)
{
    bool over;

    pthread_mutex_lock(&m->run_lock);
    over = m->io_over;
    pthread_mutex_unlock(&m->run_lock);
    return over;
}

static void join(struct vmm_machine *m)
{
    pthread_join(m->io_thread, NULL);
    m->io_started = m->io_over = false;
}

int vmm_machine_io_stop(struct vmm_machine *m)
{
    struct timespec until;

    if (!m->io_started) {
        if (m->io_loop)
            vm_loop_rest_end(m->io_loop);
        return 0;
    }
    vm_loop_stop(m->io_loop);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += MACHINE_JOIN_S;
    pthread_mutex_lock(&m->run_lock);
    while (!m->io_over && !pthread_cond_timedwait(&m->run_change, &m->run_lock, &until))
        ;
    pthread_mutex_unlock(&m->run_lock);
    if (!is_over(m))
        return vm_fail(-ETIMEDOUT,
                       "%s: its back end hangs: the host has not ended a request; is the storage "
                       "there (the host's log may tell)?",
                       who_hangs(m));
    join(m);
    return 0;
}

static int start(struct vmm_machine *m)
{
    int err = pthread_create(&m->io_thread, NULL, io_thread, m);

    if (err)
        return vm_fail(-err, "I/O thread: error %d: raise the limit of processes (ulimit -u)", err);
    m->io_started = true;
    return 0;
}

/* A device has something to do. Any thread, under its locks: the control loop makes the thread. */
static void io_wanted(void *ctx)
{
    struct vmm_machine *m = ctx;

    vm_loop_post(m->config.env->loop, &m->io_work, io_begin);
}

int vmm_machine_io_start(struct vmm_machine *m)
{
    return vm_loop_rest(m->io_loop, io_wanted, m) ? 0 : start(m);
}

/* ---- another filter ---- */

static void renewed(struct vmm_machine *m)
{
    void (*done)(struct vmm_machine * m) = m->io_renewed;

    m->io_renewed = NULL;
    free(m->filter.io);
    m->filter.io = m->io_next;
    m->io_next = NULL;
    done(m);
}

static void leave(struct vm_work *work)
{
    struct vmm_machine *m = container_of(work, struct vmm_machine, io_leave_work);

    vm_loop_stop(m->io_loop);
}

void vmm_machine_io_renew(struct vmm_machine *m, struct vmm_jail_program *filter,
                          void (*done)(struct vmm_machine *m))
{
    m->io_next = filter;
    m->io_renewed = done;
    if (m->io_started)
        vm_loop_post(m->io_loop, &m->io_leave_work, leave);
    else
        renewed(m);
}

static void io_begin(struct vm_work *work)
{
    struct vmm_machine *m = container_of(work, struct vmm_machine, io_work);
    bool renew = m->io_renewed && m->io_started && is_over(m);

    if (vmm_machine_has_ended(m) || (m->io_started && !renew))
        return;
    if (renew)
        join(m);
    if (renew)
        renewed(m);
    if (!start(m))
        return;
    vm_log(m->config.env, VM_LOG_ERROR, "%s", vm_error_text());
    vmm_machine_end(m, VMM_END_FAILED);
}
