/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Pause, resume, events and the end. The states stand in machine_private.h.
 *
 * State changes happen under run_lock and are told by run_change; vCPU threads wait there when they
 * stand still or are parked. Who changes something on another thread than the control loop's posts
 * lifecycle_work to it. A kick is given under run_lock too, so that none falls between a state and
 * the next one.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void look(struct vm_work *work);
static void pause_late(struct vm_timer *timer);
static void pause_cancelled(void *ctx);

static const struct vm_job_ops pause_job = { .name = "pause", .cancel = pause_cancelled };

const char *vmm_end_name(enum vmm_end end)
{
    static const char *const names[] = { "none",  "poweroff", "stop",  "reset",
                                         "panic", "crash",    "failed" };

    return (unsigned)end < VM_ARRAY_SIZE(names) ? names[end] : "?";
}

const char *vmm_event_name(enum vmm_event event)
{
    static const char *const names[] = { "trouble",        "paused", "resumed", "process-ended",
                                         "process-serves", "moved",  "balloon", "ended" };

    return (unsigned)event < VM_ARRAY_SIZE(names) ? names[event] : "?";
}

static enum vmm_end end_of(const struct vmm_machine *m)
{
    return (enum vmm_end)__atomic_load_n(&m->end, __ATOMIC_RELAXED);
}

void vmm_machine_look_soon(struct vmm_machine *m)
{
    if (m->config.env->loop) /* none where the machine is only planned */
        vm_loop_post(m->config.env->loop, &m->lifecycle_work, look);
}

int vmm_machine_fail_ended(const struct vmm_machine *m)
{
    return vm_fail(-ESHUTDOWN, "the machine has ended: %s", vmm_end_name(end_of(m)));
}

/* --- pause and resume --- */

static void pause_finished(struct vmm_machine *m, int code)
{
    void (*done)(void *ctx, int code) = m->pause_done;

    vm_timer_cancel(&m->pause_timer);
    m->pause_done = NULL;
    vm_job_end(m->pause_job, code);
    m->pause_job = NULL;
    if (done)
        done(m->pause_ctx, code);
}

/* vCPUs and devices that are at rest. */
static void pause_progress(struct vmm_machine *m)
{
    unsigned devices = 0, rest;

    for (struct machine_device *d = m->devices; d; d = d->next)
        devices++;
    pthread_mutex_lock(&m->run_lock);
    rest = m->vcpus_out;
    if (m->state == MACHINE_QUIESCING)
        rest += m->quiescing < devices ? devices - m->quiescing : 0;
    pthread_mutex_unlock(&m->run_lock);
    vm_job_progress(m->pause_job, rest, m->vcpus + devices);
}

static void quiesced(struct vmm_machine *m, int code)
{
    pthread_mutex_lock(&m->run_lock);
    m->quiescing--;
    if (code && !m->pause_error.code)
        vm_error_save(code, &m->pause_error);
    pthread_mutex_unlock(&m->run_lock);
    vmm_machine_look_soon(m);
}

/* vdev_done() comes in the loop that serves the devices: it counts there, the control loop goes
 * on. */
static void quiesce_done(struct vdev *dev, int code)
{
    quiesced(container_of(dev->machine, struct vmm_machine, base), code);
}

static void quiesce_devices(struct vmm_machine *m)
{
    struct vm_loop *loop = m->config.env->loop;

    /* Theirs comes sooner, but it is a timer of the loop that may be what hangs. */
    (void)vm_timer_set(loop, &m->pause_timer, vm_loop_now_ns(loop) + MACHINE_PAUSE_NS, pause_late);
    pthread_mutex_lock(&m->run_lock);
    m->state = MACHINE_QUIESCING;
    m->pause_error.code = 0;
    m->quiescing = 1; /* ours: nothing ends before all were asked */
    for (struct machine_device *d = m->devices; d; d = d->next)
        m->quiescing++;
    pthread_mutex_unlock(&m->run_lock);
    for (struct machine_device *d = m->devices; d; d = d->next) {
        int rc = vdev_quiesce(d->dev, quiesce_done);

        if (rc != -EINPROGRESS)
            quiesced(m, rc);
    }
    quiesced(m, 0);
}

static void run_again(struct vmm_machine *m)
{
    for (struct machine_device *d = m->devices; d; d = d->next)
        if (vdev_resume(d->dev))
            vmm_machine_broken(&m->base, d->dev, vm_error_text());
    pthread_mutex_lock(&m->run_lock);
    m->state = MACHINE_RUNNING;
    if (!m->end) { /* or the kick of whoever ended it would be taken back */
        __atomic_store_n(&m->want_out, 0, __ATOMIC_SEQ_CST);
        if (m->config.stepwise)
            m->vcpus_out = 0;
        for (unsigned i = 0; i < m->vcpus; i++)
            m->vcpu[i].out = false;
    }
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
}

static void devices_are_quiet(struct vmm_machine *m)
{
    struct vm_error error = m->pause_error;

    if (error.code) {
        run_again(m);
        pause_finished(m, vm_error_restore(&error));
        return;
    }
    pthread_mutex_lock(&m->run_lock);
    m->state = MACHINE_PAUSED;
    pthread_mutex_unlock(&m->run_lock);
    if (!m->pause_inside)
        vmm_machine_tell(m, VMM_EVENT_PAUSED, NULL, "");
    pause_finished(m, 0);
}

/* The I/O loop may hang in a device's back end: what its timers would do is done from here. look() goes on when the last one is
 * counted. */
static void give_up_devices(struct vmm_machine *m)
{
    for (struct machine_device *d = m->devices; d; d = d->next)
        vdev_give_up(d->dev);
}

/* As when it takes too long, for another reason. */
static void pause_cancelled(void *ctx)
{
    struct vmm_machine *m = ctx;
    struct vm_error why;

    vm_error_save(vm_fail(-ECANCELED, "the pause was cancelled"), &why);
    if (m->state == MACHINE_PAUSING) {
        run_again(m);
        pause_finished(m, vm_error_restore(&why));
        return;
    }
    pthread_mutex_lock(&m->run_lock);
    if (!m->pause_error.code)
        m->pause_error = why;
    pthread_mutex_unlock(&m->run_lock);
    give_up_devices(m);
}

/* The guest has asked for a reset that its device cannot end, and waits: it would wait in vain. */
static void pause_late(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, pause_timer);

    if (m->state == MACHINE_QUIESCING)
        give_up_devices(m);
    if (m->state != MACHINE_PAUSING)
        return;
    run_again(m);
    pause_finished(m, vm_fail(-ETIMEDOUT,
                              "a vCPU did not leave the guest within %llu s: it waits for a device "
                              "that does not stop; the log names it",
                              MACHINE_PAUSE_NS / 1000000000ULL));
}

static int cannot_pause(const struct vmm_machine *m)
{
    const struct machine_device *leaver = vmm_machine_leaver(m);

    if (vmm_machine_move_holds(m) || (m->pause_inside && m->pause_job))
        return vm_fail(-EBUSY, "%s is being moved: pause when that is over", m->move.device->id);
    if (leaver && m->state == MACHINE_RUNNING)
        return vm_fail(-EBUSY, "%s is being removed: pause when that is over", leaver->id);
    switch (m->state) {
    case MACHINE_PAUSED: return vm_fail(-EALREADY, "the machine is paused already");
    case MACHINE_BUILT: return vm_fail(-EBUSY, "the machine was not started yet");
    default: return vm_fail(-EBUSY, "another pause is under way");
    }
}

static int pause(struct vmm_machine *m, void (*done)(void *ctx, int code), void *ctx, bool inside)
{
    struct vm_loop *loop = m->config.env->loop;
    int rc;

    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->state != MACHINE_RUNNING || vmm_machine_leaver(m))
        return cannot_pause(m);
    rc = vm_timer_set(loop, &m->pause_timer, vm_loop_now_ns(loop) + MACHINE_PAUSE_NS, pause_late);
    if (rc)
        return vm_fail(rc, "pause: out of memory");
    rc = vm_job_start(m->jobs, &pause_job, m, 0, &m->pause_job);
    if (rc) {
        vm_timer_cancel(&m->pause_timer);
        return rc;
    }
    m->pause_done = done;
    m->pause_ctx = ctx;
    m->pause_inside = inside;
    pthread_mutex_lock(&m->run_lock);
    m->state = MACHINE_PAUSING;
    vmm_machine_vcpus_kick(m);
    pthread_mutex_unlock(&m->run_lock);
    /* vCPUs that have not yet gone back since the last pause are out already. */
    vmm_machine_look_soon(m);
    return 0;
}

int vmm_machine_pause(struct vmm_machine *m, void (*done)(void *ctx, int code), void *ctx)
{
    return pause(m, done, ctx, false);
}

int vmm_machine_pause_inside(struct vmm_machine *m, void (*done)(void *ctx, int code), void *ctx)
{
    return pause(m, done, ctx, true);
}

void vmm_machine_resume_inside(struct vmm_machine *m)
{
    if (m->state == MACHINE_PAUSED && !vmm_machine_has_ended(m))
        run_again(m);
}

void *vmm_machine_pause_ctx(const struct vmm_machine *m)
{
    return m->pause_done && !m->pause_inside ? m->pause_ctx : NULL;
}

int vmm_machine_resume(struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->state == MACHINE_RUNNING)
        return vm_fail(-EALREADY, "the machine runs already");
    if (m->state != MACHINE_PAUSED)
        return vm_fail(-EBUSY, "the machine is not paused yet");
    if (vmm_machine_move_holds(m))
        return vm_fail(-EBUSY, "%s is being moved: resume when that is over", m->move.device->id);
    run_again(m);
    vmm_machine_tell(m, VMM_EVENT_RESUMED, NULL, "");
    return 0;
}

bool vmm_machine_paused(const struct vmm_machine *m)
{
    return m->state == MACHINE_PAUSED && !m->move.ours;
}

/* --- start and end --- */

static void set_state(struct vmm_machine *m, enum machine_state state)
{
    pthread_mutex_lock(&m->run_lock);
    m->state = state;
    pthread_mutex_unlock(&m->run_lock);
}

static int start_threads(struct vmm_machine *m)
{
    struct vm_error error;
    int rc = vmm_machine_io_start(m);

    if (rc)
        return rc;
    set_state(m, MACHINE_RUNNING);
    rc = vmm_machine_vcpus_start(m);
    if (!rc)
        return 0;
    /* Some vCPUs run: it ends here, and the caller hears it from us alone. */
    vm_error_save(rc, &error);
    m->ended_told = true;
    vmm_machine_end(m, VMM_END_FAILED);
    vmm_machine_vcpus_join(m);
    (void)vmm_machine_io_stop(m);
    set_state(m, MACHINE_ENDED);
    return vm_error_restore(&error);
}

int vmm_machine_start(struct vmm_machine *m)
{
    int rc;

    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->state != MACHINE_BUILT)
        return vm_fail(-EBUSY, "the machine was started already");
    if (!m->vm)
        return vm_fail(-ENOTSUP, "the machine is a plan: it was made without a hypervisor");
    rc = vmm_sigbus_start(m);
    if (rc)
        return rc;
    if (!m->config.stepwise)
        return start_threads(m);
    set_state(m, MACHINE_RUNNING);
    return 0;
}

void vmm_machine_end(struct vmm_machine *m, enum vmm_end end)
{
    pthread_mutex_lock(&m->run_lock);
    if (!m->end)
        __atomic_store_n(&m->end, (unsigned)end, __ATOMIC_RELAXED);
    vmm_machine_vcpus_kick(m);
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
    vmm_machine_look_soon(m);
}

void vmm_machine_stop(struct vmm_machine *m)
{
    vmm_machine_end(m, VMM_END_STOP);
}

/* The last thing may be that ended() frees the machine. */
static void tell_end(struct vmm_machine *m)
{
    m->ended_told = true;
    vmm_machine_vcpus_join(m);
    set_state(m, MACHINE_ENDED);
    if (m->pause_job)
        pause_finished(m, vmm_machine_fail_ended(m));
    vmm_machine_remove_end(m, vmm_machine_fail_ended(m));
    vmm_machine_upgrade_end(m, vmm_machine_fail_ended(m));
    vmm_machine_sets_end(m, vmm_machine_fail_ended(m));
    vmm_machine_announce_end(m, vmm_machine_fail_ended(m));
    vmm_machine_tell(m, VMM_EVENT_ENDED, NULL, vmm_end_name(end_of(m)));
    vmm_machine_move_end(m, vmm_machine_fail_ended(m));
    m->config.ended(m->config.ctx, end_of(m));
}

int vmm_machine_free(struct vmm_machine *m)
{
    int rc;

    if (!m)
        return 0;
    m->ended_told = true;
    vmm_machine_end(m, VMM_END_STOP);
    vmm_machine_vcpus_join(m);
    if (m->pause_job)
        pause_finished(m, vmm_machine_fail_ended(m));
    vmm_machine_remove_end(m, vmm_machine_fail_ended(m));
    vmm_machine_upgrade_end(m, vmm_machine_fail_ended(m));
    vmm_machine_sets_end(m, vmm_machine_fail_ended(m));
    vmm_machine_announce_end(m, vmm_machine_fail_ended(m));
    vmm_machine_move_end(m, vmm_machine_fail_ended(m));
    rc = vmm_machine_io_stop(m);
    if (rc)
        return rc;
    if (m->config.env->loop) {
        vm_work_cancel(m->config.env->loop, &m->lifecycle_work);
        vm_work_cancel(m->config.env->loop, &m->io_work);
    }
    vm_timer_cancel(&m->pause_timer);
    vmm_machine_remove_cancel(m);
    vmm_machine_move_cancel(m);
    vmm_machine_announce_cancel(m);
    vmm_machine_destroy(m);
    return 0;
}

/* --- vCPUs --- */

void vmm_machine_vcpu_out(struct vmm_machine *m)
{
    m->vcpus_out++;
    if (m->vcpus_out == m->vcpus)
        vmm_machine_look_soon(m);
}

bool vmm_machine_stand_by(struct vmm_machine *m)
{
    bool go_on;

    pthread_mutex_lock(&m->run_lock);
    vmm_machine_vcpu_out(m);
    while (!m->end && m->state != MACHINE_RUNNING)
        pthread_cond_wait(&m->run_change, &m->run_lock);
    go_on = !m->end;
    if (go_on)
        m->vcpus_out--;
    pthread_mutex_unlock(&m->run_lock);
    return go_on;
}

void vmm_machine_parked(struct vmm_vcpu *v)
{
    __atomic_store_n(&v->answered, NULL, __ATOMIC_RELAXED);
    if (v->machine->hiding)
        vmm_machine_look_soon(v->machine);
}

/* Between the write that parked and this call the device may have finished: its own flag decides,
 * not a count of wake-ups. */
void vmm_machine_park(struct vmm_vcpu *v, struct vdev *dev)
{
    struct vmm_machine *m = v->machine;

    if (m->config.stepwise) {
        v->parked_on = dev;
        return;
    }
    pthread_mutex_lock(&m->run_lock);
    while (!m->end && __atomic_load_n(&dev->parked, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&m->run_change, &m->run_lock);
    vmm_machine_parked(v);
    pthread_mutex_unlock(&m->run_lock);
}

void vmm_machine_unpark(struct vdev_machine *base, struct vdev *dev)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    (void)dev;
    pthread_mutex_lock(&m->run_lock);
    pthread_cond_broadcast(&m->run_change);
    pthread_mutex_unlock(&m->run_lock);
}

/* --- what devices say --- */

static void suspend_refused(struct vmm_machine *m, const struct vdev *dev)
{
    pthread_mutex_lock(&m->run_lock); /* of the limit: the guest may ask as often as it likes */
    vm_log_limited(m->config.env, &m->complaints, VM_LOG_WARN,
                   "%s: the guest asks for suspend, which is not offered; ignored", dev->id);
    pthread_mutex_unlock(&m->run_lock);
}

static void tell_balloon(struct vmm_machine *m, const struct vdev *dev, uint32_t pages)
{
    char text[64];

    snprintf(text, sizeof(text), "the balloon holds %u MiB", pages >> 8);
    vmm_machine_tell_soon(m, VMM_EVENT_BALLOON, dev->id, text);
}

void vmm_machine_event(struct vdev_machine *base, struct vdev *dev, enum vdev_event event,
                       uint32_t value)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    switch (event) {
    case VDEV_EVENT_RESET: vmm_machine_end(m, VMM_END_RESET); break;
    case VDEV_EVENT_POWEROFF: vmm_machine_end(m, VMM_END_POWEROFF); break;
    case VDEV_EVENT_PANIC:
        if (!vmm_machine_has_ended(m))
            vm_log(m->config.env, VM_LOG_ERROR, "%s: the guest reports a panic (%#x)", dev->id,
                   value);
        vmm_machine_end(m, VMM_END_PANIC);
        break;
    case VDEV_EVENT_SLEEP: suspend_refused(m, dev); break;
    case VDEV_EVENT_ESCAPE:
        if (value == 'x')
            vmm_machine_end(m, VMM_END_STOP);
        break;
    case VDEV_EVENT_BALLOON: tell_balloon(m, dev, value); break;
    case VDEV_EVENT_DEBUG: break; /* bytes of debug ports are the device's own to collect */
    }
}

void vmm_machine_tell(struct vmm_machine *m, enum vmm_event event, const char *source,
                      const char *text)
{
    if (m->config.event)
        m->config.event(m->config.ctx, event, source ? source : "machine", text);
}

void vmm_machine_tell_soon(struct vmm_machine *m, enum vmm_event event, const char *source,
                           const char *text)
{
    if (!m->config.event)
        return;
    pthread_mutex_lock(&m->run_lock);
    if (m->news_count < MACHINE_NEWS) {
        struct machine_news *n = &m->news[m->news_count++];

        n->event = event;
        snprintf(n->source, sizeof(n->source), "%s", source ? source : "machine");
        snprintf(n->text, sizeof(n->text), "%s", text);
    } else {
        m->news_lost++;
    }
    pthread_mutex_unlock(&m->run_lock);
    vmm_machine_look_soon(m);
}

void vmm_machine_broken(struct vdev_machine *base, struct vdev *dev, const char *why)
{
    vmm_machine_tell_soon(container_of(base, struct vmm_machine, base), VMM_EVENT_TROUBLE,
                          dev ? dev->id : NULL, why);
}

static bool take_news(struct vmm_machine *m, struct machine_news *ret_news)
{
    bool any;

    pthread_mutex_lock(&m->run_lock);
    any = m->news_count;
    if (any) {
        *ret_news = m->news[0];
        m->news_count--;
        for (unsigned i = 0; i < m->news_count; i++)
            m->news[i] = m->news[i + 1];
    } else if (m->news_lost) {
        any = true;
        ret_news->event = VMM_EVENT_TROUBLE;
        snprintf(ret_news->source, sizeof(ret_news->source), "machine");
        snprintf(ret_news->text, sizeof(ret_news->text), "%u more events came too fast to be kept",
                 m->news_lost);
        m->news_lost = 0;
    }
    pthread_mutex_unlock(&m->run_lock);
    return any;
}

/* On the control loop: whatever changed, is the next step possible? */
static void look(struct vm_work *work)
{
    struct vmm_machine *m = container_of(work, struct vmm_machine, lifecycle_work);
    struct machine_news news;
    bool all_out, idle;

    while (take_news(m, &news))
        vmm_machine_tell(m, news.event, news.source, news.text);
    if (vmm_machine_has_ended(m)) {
        if (!m->ended_told)
            tell_end(m);
        return;
    }
    pthread_mutex_lock(&m->run_lock);
    all_out = m->vcpus_out == m->vcpus;
    idle = m->quiescing == 0;
    pthread_mutex_unlock(&m->run_lock);
    if (m->pause_job)
        pause_progress(m);
    if (m->state == MACHINE_PAUSING && all_out)
        quiesce_devices(m);
    else if (m->state == MACHINE_QUIESCING && idle)
        devices_are_quiet(m);
    else
        vmm_machine_remove_look(m);
}

int vmm_machine_power_button(struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    for (struct machine_device *d = m->devices; d; d = d->next) {
        int rc;

        if (!d->dev->ops->power_button)
            continue;
        vm_lock_acquire(&d->dev->lock);
        rc = d->dev->ops->power_button(d->dev);
        vm_lock_release(&d->dev->lock);
        return rc;
    }
    return vm_fail(-ENOTSUP, "this machine has no power button (x86_64: it needs --acpi on)");
}
