/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Taking a device out of a running machine. The steps stand above enum machine_leave; each runs on
 * the control loop, and what ends it says so from whichever thread it is.
 *
 * The device stops first and leaves the guest's sight after: so its requests never write to memory
 * that the guest believes to be its own again, as hardware that was pulled out cannot. That is why a
 * device which does not stop stays where it is, marked broken, until it does.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "program.h"

static void leave_work(struct vm_work *work);

/* Nothing takes a stop back: it cannot be cancelled. */
static const struct vm_job_ops remove_job = { .name = "remove" };

/* The step that is under way has ended. Any thread, under any lock but run_lock. */
static void arrive(struct machine_device *d, int code)
{
    struct vmm_machine *m = d->machine;

    pthread_mutex_lock(&m->run_lock);
    d->arrived = true;
    vm_error_save(code, &d->stop_error);
    pthread_mutex_unlock(&m->run_lock);
    vm_loop_post(m->config.env->loop, &d->leave_work, leave_work);
}

/* Whether it had ended; the next one begins. */
static bool take_arrival(struct machine_device *d, struct vm_error *ret_error)
{
    struct vmm_machine *m = d->machine;
    bool arrived;

    pthread_mutex_lock(&m->run_lock);
    arrived = d->arrived;
    d->arrived = false;
    *ret_error = d->stop_error;
    pthread_mutex_unlock(&m->run_lock);
    return arrived;
}

/* Tells who asked; once. */
static void answer(struct machine_device *d, int code)
{
    struct vmm_machine *m = d->machine;

    if (m->removing != d)
        return;
    vm_timer_cancel(&m->remove_timer);
    m->removing = NULL;
    vm_job_end(m->remove_job, code);
    m->remove_done(m->remove_ctx, code);
}

/* --- stopping --- */

static void stopped(struct vdev *dev, int code)
{
    struct vmm_machine *m = container_of(dev->machine, struct vmm_machine, base);
    struct machine_device *d;

    pthread_mutex_lock(&m->run_lock);
    d = m->devices;
    while (d->dev != dev)
        d = d->next;
    pthread_mutex_unlock(&m->run_lock);
    arrive(d, code);
}

static int stop(struct machine_device *d)
{
    int rc = vdev_remove(d->dev, stopped);

    if (!rc)
        arrive(d, 0);
    return rc == -EINPROGRESS ? 0 : rc;
}

/* --- hiding --- */

static void unreachable(void *ctx)
{
    arrive(ctx, 0);
}

static void hide(struct machine_device *d)
{
    struct vmm_machine *m = d->machine;

    d->leave = LEAVE_HIDING;
    pthread_mutex_lock(&m->run_lock);
    m->hiding++;
    pthread_mutex_unlock(&m->run_lock);
    if (d->pci)
        virtio_pci_unplug(d->pci, unreachable, d);
    else
        virtio_mmio_unplug(d->mmio, unreachable, d);
}

/* Whoever was asked to park by it has said so before the device became unreachable. */
static bool is_waited_for(struct vmm_machine *m, const struct vdev *dev)
{
    bool waited = false;

    pthread_mutex_lock(&m->run_lock);
    for (unsigned i = 0; i < m->vcpus; i++)
        waited = waited || __atomic_load_n(&m->vcpu[i].answered, __ATOMIC_RELAXED) == dev;
    pthread_mutex_unlock(&m->run_lock);
    return waited;
}

/* --- freeing --- */

/* Watches and timers of the device belong to this loop. */
static void free_it(struct vm_work *work)
{
    struct machine_device *d = container_of(work, struct machine_device, free_work);

    vmm_machine_device_free(d);
    arrive(d, 0);
}

static void take_off(struct vmm_machine *m, struct machine_device *d)
{
    struct machine_device **at = &m->devices;

    pthread_mutex_lock(&m->run_lock);
    m->hiding--;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    if (m->devices_end == &d->next)
        m->devices_end = at;
    pthread_mutex_unlock(&m->run_lock);
    d->next = m->freeing;
    m->freeing = d;
}

static void try_free(struct machine_device *d)
{
    struct vmm_machine *m = d->machine;

    if (is_waited_for(m, d->dev))
        return;
    vm_log(m->config.env, m->removing == d ? VM_LOG_INFO : VM_LOG_WARN, "%s: %s", d->id,
           m->removing == d ? "removed" : "has stopped after all and is removed");
    take_off(m, d);
    d->leave = LEAVE_FREEING;
    vm_loop_post(m->io_env.loop, &d->free_work, free_it);
}

static void freed(struct machine_device *d)
{
    struct vmm_machine *m = d->machine;
    struct machine_device **at = &m->freeing;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    vmm_machine_irq_line_free(m, d->irqs[0]);
    vmm_machine_device_clear(d, 0); /* no program is waited for: what was asked of it was dropped */
    answer(d, 0); /* who may free the machine */
    free(d);
}

/* --- the steps --- */

static void stop_ended(struct machine_device *d, const struct vm_error *error)
{
    if (!error->code) {
        hide(d);
        return;
    }
    /* It has not let go of the guest's memory yet: who asked is told, and the wait goes on. */
    (void)stop(d);
    answer(d, vm_error_restore(error));
}

static void leave_work(struct vm_work *work)
{
    struct machine_device *d = container_of(work, struct machine_device, leave_work);
    struct vm_error error;

    if (vmm_machine_has_ended(d->machine) || !take_arrival(d, &error))
        return;
    switch (d->leave) {
    case LEAVE_STOPPING: stop_ended(d, &error); break;
    case LEAVE_HIDING:
        d->unreachable = true;
        try_free(d);
        break;
    case LEAVE_FREEING: freed(d); break;
    default: break;
    }
}

void vmm_machine_remove_look(struct vmm_machine *m)
{
    struct machine_device *next;

    for (struct machine_device *d = m->devices; d; d = next) {
        next = d->next;
        if (d->leave == LEAVE_HIDING && d->unreachable)
            try_free(d);
    }
}

/* --- from outside --- */

/* The device's own deadline is a timer of the loop that may be what hangs. */
static void late(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, remove_timer);
    struct machine_device *d = m->removing;

    if (d->leave == LEAVE_STOPPING) {
        vm_lock_acquire(&d->dev->lock);
        vdev_broken(d->dev, "did not stop in time: its back end is slow or hangs");
        vm_lock_release(&d->dev->lock);
        answer(d, vm_fail(-ETIMEDOUT,
                          "%s: did not stop in time: its back end is slow or hangs; it goes when "
                          "that lets go of the guest's memory",
                          d->id));
        return;
    }
    answer(d, vm_fail(-ETIMEDOUT,
                      "%s: is out of the guest's sight, but not freed: the I/O thread hangs in "
                      "another device's back end",
                      d->id));
}

/* Only what sits in a slot or window of its own can go; the architecture's parts stand in its
 * tables. */
static int check_device(const struct vmm_machine *m, const struct machine_device *d)
{
    const char *id = d->id;
    const struct vpci_function *fn = d->pci ? virtio_pci_function(d->pci) : NULL, *other;

    if (d->leave)
        return vm_fail(-EALREADY, "%s is being removed already", id);
    if (vmm_machine_mover(m) == d)
        return vm_fail(-EBUSY, "%s is being moved: remove it when that is over", id);
    if (m->upgrade.device == d)
        return vm_fail(-EBUSY, "%s: its process is being replaced: remove it when that is over",
                       id);
    if (m->removing)
        return vm_fail(-EBUSY, "%s: %s is being removed: one after the other", id, m->removing->id);
    if (!d->pci && !d->mmio)
        return vm_fail(-ENOTSUP,
                       "%s is a part of the machine: it cannot be removed while that runs; options "
                       "of vmm run leave some of them out",
                       id);
    other = fn && !fn->function ? vpci_neighbour(fn) : NULL;
    if (other)
        return vm_fail(
            -EBUSY,
            "%s: is function 0 of a PCI device with others: guests look for %s (function "
            "%u) only behind it; remove that one first",
            id, other->name, other->function);
    return 0;
}

static int check_state(const struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (vmm_machine_move_holds(m))
        return vm_fail(-EBUSY, "%s is being moved: one after the other", m->move.device->id);
    switch (m->state) {
    case MACHINE_RUNNING: return 0;
    case MACHINE_BUILT: return vm_fail(-EBUSY, "the machine was not started yet");
    case MACHINE_PAUSED:
        return vm_fail(-EBUSY, "the machine is paused: devices are removed while it runs");
    default: return vm_fail(-EBUSY, "a pause is under way");
    }
}

/* Also one that is being freed. */
static struct machine_device *find(const struct vmm_machine *m, const char *id)
{
    struct machine_device *d = m->devices;

    while (d && strcmp(d->id, id) != 0)
        d = d->next;
    if (!d)
        d = m->freeing;
    while (d && strcmp(d->id, id) != 0)
        d = d->next;
    return d;
}

int vmm_machine_remove(struct vmm_machine *m, const char *id, void (*done)(void *ctx, int code),
                       void *ctx)
{
    struct vm_loop *loop = m->config.env->loop;
    struct machine_device *d = find(m, id);
    int rc = check_state(m);

    if (!rc && !d)
        rc = vm_fail(-ENOENT, "there is no device '%s': vmm info lists them", id);
    if (!rc)
        rc = check_device(m, d);
    if (!rc && vm_timer_set(loop, &m->remove_timer, vm_loop_now_ns(loop) + MACHINE_REMOVE_NS, late))
        rc = vm_fail(-ENOMEM, "%s: out of memory", id);
    if (rc)
        return rc;
    rc = vm_job_start(m->jobs, &remove_job, m, 0, &m->remove_job);
    if (rc) {
        vm_timer_cancel(&m->remove_timer);
        return rc;
    }
    d->leave = LEAVE_STOPPING;
    rc = stop(d);
    if (rc) {
        d->leave = LEAVE_NOT;
        vm_timer_cancel(&m->remove_timer);
        vm_job_end(m->remove_job, rc);
        return rc;
    }
    m->removing = d;
    m->remove_done = done;
    m->remove_ctx = ctx;
    return 0;
}

void *vmm_machine_remove_ctx(const struct vmm_machine *m)
{
    return m->removing ? m->remove_ctx : NULL;
}

const struct machine_device *vmm_machine_leaver(const struct vmm_machine *m)
{
    const struct machine_device *d = m->devices;

    while (d && !d->leave)
        d = d->next;
    return d ? d : m->freeing;
}

/* A guest that saw its device go may end the machine sooner than what is left of that is freed. */
void vmm_machine_remove_end(struct vmm_machine *m, int code)
{
    if (m->removing)
        answer(m->removing, m->removing->leave > LEAVE_STOPPING ? 0 : code);
}

void vmm_machine_remove_cancel(struct vmm_machine *m)
{
    struct machine_device *lists[] = { m->devices, m->freeing };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(lists); i++)
        for (struct machine_device *d = lists[i]; d; d = d->next) {
            if (m->config.env->loop)
                vm_work_cancel(m->config.env->loop, &d->leave_work);
            if (m->io_env.loop)
                vm_work_cancel(m->io_env.loop, &d->free_work);
        }
    vm_timer_cancel(&m->remove_timer);
}
