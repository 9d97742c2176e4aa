/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Pause, resume, events and the end.
 *
 *   built -> running -> pausing -> paused -> running
 *               any of them -> ended (the first reason wins)
 *
 * State changes happen under run_lock and are told by run_change; vCPU threads wait there when they stand still or are parked.
 * Who changes something on another thread than the control loop's posts lifecycle_work to it.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/base/error.h>

const char *vmm_end_name(enum vmm_end end)
{
    static const char *const names[] = { "none",  "poweroff", "stop",  "reset",
                                         "panic", "crash",    "failed" };

    return (unsigned)end < VM_ARRAY_SIZE(names) ? names[end] : "?";
}

static void pause_finished(struct vmm_machine *m)
{
    void (*done)(void *ctx, int code) = m->pause_done;

    m->pause_done = NULL;
    if (done)
        done(m->pause_ctx, m->pause_code);
}

static void quiesced(struct vmm_machine *m, int code)
{
    /* vdev_done() comes on the I/O loop: count there, go on here. */
    pthread_mutex_lock(&m->run_lock);
    m->quiescing--;
    if (code)
        m->pause_code = code;
    pthread_mutex_unlock(&m->run_lock);
    vm_loop_post(m->config.env->loop, &m->lifecycle_work, m->lifecycle_work.run);
}

static void quiesce_done(struct vdev *dev, int code)
{
    quiesced(container_of(dev->machine, struct vmm_machine, base), code);
}

static void quiesce_devices(struct vmm_machine *m)
{
    m->quiescing = 1; /* ours: nothing ends before all were asked */
    for (struct machine_device *d = m->devices; d; d = d->next) {
        int rc;

        pthread_mutex_lock(&m->run_lock);
        m->quiescing++;
        pthread_mutex_unlock(&m->run_lock);
        rc = vdev_quiesce(d->dev, quiesce_done);
        if (rc != -EINPROGRESS)
            quiesced(m, rc);
    }
    quiesced(m, 0);
}

static void set_state(struct vmm_machine *m, enum machine_state state)
{
    pthread_mutex_lock(&m->run_lock);
    m->state = state;
    pthread_mutex_unlock(&m->run_lock);
}

/* On the control loop: whatever changed, is the next step possible? */
static void look(struct vm_work *work)
{
    struct vmm_machine *m = container_of(work, struct vmm_machine, lifecycle_work);
    bool all_out, idle, ended;

    pthread_mutex_lock(&m->run_lock);
    ended = m->end != VMM_END_NONE;
    all_out = m->vcpus_out == m->vcpus;
    idle = m->quiescing == 0;
    pthread_mutex_unlock(&m->run_lock);

    if (m->state == MACHINE_PAUSING && !ended && all_out && idle && m->pause_done) {
        if (m->pause_code == -EINPROGRESS) {
            m->pause_code = 0;
            quiesce_devices(m);
            return;
        }
        set_state(m, MACHINE_PAUSED);
        pause_finished(m);
    }
    if (ended && !m->ended_told) {
        m->ended_told = true;
        set_state(m, MACHINE_ENDED);
        machine_vcpus_join(m);
        if (m->pause_done) {
            m->pause_code = vm_fail(-ESHUTDOWN, "the machine has ended: %s", vmm_end_name(m->end));
            pause_finished(m);
        }
        m->config.ended(m->config.ctx, m->end);
    }
}

static int fail_ended(const struct vmm_machine *m)
{
    return vm_fail(-ESHUTDOWN, "the machine has ended: %s", vmm_end_name(m->end));
}

static void *io_thread(void *arg)
{
    struct vmm_machine *m = arg;
    int rc = vm_loop_run(m->io_loop);

    if (rc) {
        vm_log(m->config.env, VM_LOG_ERROR, "I/O loop: %s", vm_error_text());
        machine_end(m, VMM_END_FAILED);
    }
    return NULL;
}

int vmm_machine_start(struct vmm_machine *m)
{
    int err;

    if (m->state != MACHINE_BUILT || !m->vm)
        return vm_fail(-EBUSY, "the machine was started already");
    m->lifecycle_work.run = look;
    err = pthread_create(&m->io_thread, NULL, io_thread, m);
    if (err)
        return vm_fail(-err, "I/O thread: error %d", err);
    m->io_started = true;
    pthread_setname_np(m->io_thread, "io");
    m->state = MACHINE_RUNNING;
    return machine_vcpus_start(m);
}

int vmm_machine_pause(struct vmm_machine *m, void (*done)(void *ctx, int code), void *ctx)
{
    if (m->state == MACHINE_ENDED || m->end)
        return fail_ended(m);
    if (m->state == MACHINE_PAUSED)
        return vm_fail(-EALREADY, "the machine is paused already");
    if (m->state != MACHINE_RUNNING)
        return vm_fail(
            -EBUSY,
            "the machine cannot pause now: another pause is under way, or it was not started");
    m->pause_done = done;
    m->pause_ctx = ctx;
    pthread_mutex_lock(&m->run_lock);
    m->pause_code = -EINPROGRESS; /* vCPUs first, then devices */
    m->state = MACHINE_PAUSING;
    pthread_mutex_unlock(&m->run_lock);
    machine_vcpus_kick(m);
    return 0;
}

void *vmm_machine_pause_ctx(const struct vmm_machine *m)
{
    return m->pause_done ? m->pause_ctx : NULL;
}

int vmm_machine_resume(struct vmm_machine *m)
{
    if (m->state == MACHINE_ENDED || m->end)
        return fail_ended(m);
    if (m->state == MACHINE_RUNNING)
        return vm_fail(-EALREADY, "the machine runs already");
    if (m->state != MACHINE_PAUSED)
        return vm_fail(-EBUSY, "the machine is not paused yet");
    for (struct machine_device *d = m->devices; d; d = d->next)
        vdev_resume(d->dev);
    pthread_mutex_lock(&m->run_lock);
    m->state = MACHINE_RUNNING;
    __atomic_store_n(&m->want_out, 0, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
    return 0;
}

bool vmm_machine_paused(const struct vmm_machine *m)
{
    return m->state == MACHINE_PAUSED;
}

void machine_end(struct vmm_machine *m, enum vmm_end end)
{
    pthread_mutex_lock(&m->run_lock);
    if (m->end == VMM_END_NONE)
        m->end = end;
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
    machine_vcpus_kick(m);
    vm_loop_post(m->config.env->loop, &m->lifecycle_work, m->lifecycle_work.run);
}

void vmm_machine_stop(struct vmm_machine *m)
{
    machine_end(m, VMM_END_STOP);
}

bool machine_stand_by(struct vmm_machine *m)
{
    bool go_on;

    pthread_mutex_lock(&m->run_lock);
    m->vcpus_out++;
    if (m->vcpus_out == m->vcpus)
        vm_loop_post(m->config.env->loop, &m->lifecycle_work, m->lifecycle_work.run);
    while (!m->end && m->state != MACHINE_RUNNING)
        pthread_cond_wait(&m->run_change, &m->run_lock);
    go_on = !m->end;
    if (go_on)
        m->vcpus_out--;
    pthread_mutex_unlock(&m->run_lock);
    return go_on;
}

/* Between the write that parked and this call the device may have finished: its own flag decides, not a count of wake-ups. */
void machine_park(struct vmm_machine *m, struct vdev *dev)
{
    pthread_mutex_lock(&m->run_lock);
    while (!m->end && __atomic_load_n(&dev->parked, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&m->run_change, &m->run_lock);
    pthread_mutex_unlock(&m->run_lock);
}

void machine_unpark(struct vdev_machine *base, struct vdev *dev)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    (void)dev;
    pthread_mutex_lock(&m->run_lock);
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
}

void machine_event(struct vdev_machine *base, struct vdev *dev, enum vdev_event event,
                   uint32_t value)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    switch (event) {
    case VDEV_EVENT_RESET: machine_end(m, VMM_END_RESET); break;
    case VDEV_EVENT_POWEROFF: machine_end(m, VMM_END_POWEROFF); break;
    case VDEV_EVENT_PANIC:
        vm_log(m->config.env, VM_LOG_ERROR, "%s: the guest reports a panic (%#x)", dev->id, value);
        machine_end(m, VMM_END_PANIC);
        break;
    case VDEV_EVENT_SLEEP:
        vm_log(m->config.env, VM_LOG_WARN, "%s: suspend is not offered; ignored", dev->id);
        break;
    case VDEV_EVENT_ESCAPE:
        if (value == 'x')
            machine_end(m, VMM_END_STOP);
        break;
    case VDEV_EVENT_DEBUG: break; /* bytes of debug ports are the device's own to collect */
    }
}

void machine_broken(struct vdev_machine *base, struct vdev *dev, const char *why)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    if (m->config.event)
        m->config.event(m->config.ctx, dev ? dev->id : "machine", why);
}

int vmm_machine_power_button(struct vmm_machine *m)
{
    if (m->state == MACHINE_ENDED || m->end)
        return fail_ended(m);
    for (struct machine_device *d = m->devices; d; d = d->next) {
        int rc;

        if (!d->dev->ops->power_button)
            continue;
        vm_lock_acquire(&d->dev->lock);
        rc = d->dev->ops->power_button(d->dev);
        vm_lock_release(&d->dev->lock);
        return rc;
    }
    return vm_fail(-ENOTSUP, "this machine has no power button: it needs ACPI (--acpi on)");
}

void vmm_machine_free(struct vmm_machine *m)
{
    if (!m)
        return;
    m->ended_told = true;
    if (m->vcpu) {
        machine_end(m, VMM_END_STOP);
        machine_vcpus_join(m);
    }
    if (m->io_started) {
        vm_loop_stop(m->io_loop);
        pthread_join(m->io_thread, NULL);
    }
    machine_destroy(m);
}
