/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Bringing a device to rest: the driver's or the machine's reset (VIRTIO 1.2, 2.4) and the machine's quiesce.
 *
 *   [running] --reset--> stop(): 0              --> reset_finish()
 *                        stop(): -EINPROGRESS   --> [stopping] --virtio_stopped()--> reset_finish()
 *   [running] --quiesce--> quiesce(): as above with [pausing], and the device stays as it is
 *
 * A reset during a pause takes it over: the device's one virtio_stopped() ends both. When the deadline has passed, who
 * waits in the machine is told. A device that only had to pause works on; one that was to be reset counts as broken, and
 * its driver goes on waiting (its memory is not its own yet) and is released if the device stops after all.
 *
 * A queue that the driver stops alone (2.6.1) is queue.c's; here its time is kept. When that has passed the device counts as broken
 * until the queue has stopped, and nothing else changes.
 *
 * The deadline is a timer of the loop that serves the device. Where that loop itself hangs, the machine, which has a
 * clock of its own, gives the pause up.
 */
#include "virtio_private.h"

#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/virtio/shm.h>
#include <vmm/devices-core/ledger.h>

/* Everything a driver can change has its initial value again. */
static void reset_finish(struct virtio_dev *dev)
{
    struct virtio_transport *t = dev->transport;

    for (uint16_t n = 0; n < dev->queues; n++) {
        dev->kick[n].resetting = dev->kick[n].awaited = false;
        vq_reset(&dev->queue[n]);
    }
    virtio_queue_waited(dev);
    dev->running = dev->stopping = false;
    dev->status = 0;
    dev->features = dev->driver_features = 0;
    dev->config_late = false;
    if (dev->power_on)
        dev->config_generation = 0;
    vm_count(&dev->count.resets, 1);
    virtio_shm_clear(dev);
    if (dev->ops->reset)
        dev->ops->reset(dev);
    vdev_ledger_changed(&dev->dev);
    if (t)
        t->reset(t, dev->power_on);
}

static void not_broken(struct virtio_dev *dev)
{
    __atomic_store_n(&dev->dev.broken, false, __ATOMIC_RELAXED);
    vm_log(dev->dev.env, VM_LOG_WARN, "%s: has stopped after all", dev->dev.id);
}

/* The device is at rest: whatever was waited for has ended. */
static void rest(struct virtio_dev *dev)
{
    bool late = dev->late;

    if (vm_loop_is_mine(dev->dev.env->loop))
        vm_timer_cancel(&dev->deadline);
    dev->deadline_on = dev->pausing = dev->late = false;
    if (dev->stopping)
        reset_finish(dev);
    if (late)
        not_broken(dev);
    if (dev->dev.pending != VDEV_PENDING_NONE)
        vdev_done(&dev->dev, 0);
}

void virtio_stopped(struct virtio_dev *dev)
{
    if (dev->stopping || dev->pausing)
        rest(dev);
}

/* A pause that failed is over: the device works on. A stop is not: its requests may still write to memory. */
static void give_up(struct virtio_dev *dev)
{
    const char *why = "did not stop in time: its back end is slow or hangs";

    dev->deadline_on = false;
    if (dev->stopping && !dev->dev.broken)
        vdev_broken(&dev->dev, why);
    else if (dev->pausing)
        vdev_trouble(&dev->dev, why);
    dev->late = dev->stopping;
    if (dev->pausing && !dev->stopping) {
        dev->pausing = false;
        if (dev->ops->resume)
            (void)dev->ops->resume(dev);
        virtio_kick_all(dev, false);
    }
    dev->pausing = false;
    if (dev->dev.pending != VDEV_PENDING_NONE)
        vdev_done(&dev->dev, vm_fail(-ETIMEDOUT, "%s: %s", dev->dev.id, why));
}

void virtio_pause_give_up(struct virtio_dev *dev)
{
    if (dev->pausing)
        give_up(dev);
}

static void deadline_passed(struct vm_timer *timer)
{
    struct virtio_dev *dev = container_of(timer, struct virtio_dev, deadline);

    vm_lock_acquire(&dev->dev.lock);
    if (dev->deadline_on)
        give_up(dev);
    vm_lock_release(&dev->dev.lock);
}

/* Timers belong to the loop's thread; the driver's write came in a vCPU's. */
static void deadline_begin(struct vm_work *work)
{
    struct virtio_dev *dev = container_of(work, struct virtio_dev, deadline_work);
    struct vm_loop *loop = dev->dev.env->loop;

    vm_lock_acquire(&dev->dev.lock);
    if (dev->stopping || dev->pausing)
        dev->deadline_on = !vm_timer_set(loop, &dev->deadline,
                                         vm_loop_now_ns(loop) + VIRTIO_STOP_NS, deadline_passed);
    vm_lock_release(&dev->dev.lock);
}

static int wait_for_rest(struct virtio_dev *dev)
{
    vm_loop_post(dev->dev.env->loop, &dev->deadline_work, deadline_begin);
    return -EINPROGRESS;
}

static void queue_deadline_passed(struct vm_timer *timer)
{
    struct virtio_dev *dev = container_of(timer, struct virtio_dev, queue_deadline);

    vm_lock_acquire(&dev->dev.lock);
    if (virtio_queues_resetting(dev) && !dev->queue_late) {
        dev->queue_late = true;
        vdev_broken(&dev->dev, "a queue did not stop in time: its back end is slow or hangs");
    }
    vm_lock_release(&dev->dev.lock);
}

static void queue_deadline_begin(struct vm_work *work)
{
    struct virtio_dev *dev = container_of(work, struct virtio_dev, queue_deadline_work);
    struct vm_loop *loop = dev->dev.env->loop;

    vm_lock_acquire(&dev->dev.lock);
    if (virtio_queues_resetting(dev))
        (void)vm_timer_set(loop, &dev->queue_deadline, vm_loop_now_ns(loop) + VIRTIO_STOP_NS,
                           queue_deadline_passed);
    vm_lock_release(&dev->dev.lock);
}

void virtio_queue_wait(struct virtio_dev *dev)
{
    vm_loop_post(dev->dev.env->loop, &dev->queue_deadline_work, queue_deadline_begin);
}

void virtio_queue_waited(struct virtio_dev *dev)
{
    if (!dev->queue_late || virtio_queues_resetting(dev))
        return;
    dev->queue_late = false;
    not_broken(dev);
}

int virtio_reset_begin(struct virtio_dev *dev, bool power_on)
{
    bool was_pausing = dev->pausing;

    if (dev->stopping) {
        dev->power_on |= power_on;
        /* Who asks now is told in time too. */
        return power_on ? wait_for_rest(dev) : -EINPROGRESS;
    }
    dev->power_on = power_on;
    if (dev->running && dev->transport)
        dev->transport->running(dev->transport, false);
    if (dev->running && dev->ops->stop) {
        dev->stopping = true; /* before the call: its end may come at once */
        if (dev->ops->stop(dev) == -EINPROGRESS)
            return wait_for_rest(dev);
    }
    dev->stopping = true;
    if (was_pausing)
        rest(dev);
    else
        reset_finish(dev);
    return 0;
}

int virtio_pause_begin(struct virtio_dev *dev)
{
    int rc = -EINPROGRESS;

    if (!dev->running)
        return 0;
    dev->pausing = true;
    if (!dev->stopping) /* a driver's reset that has not ended is waited for like a request */
        rc = dev->ops->quiesce ? dev->ops->quiesce(dev) : 0;
    if (rc == -EINPROGRESS)
        return wait_for_rest(dev);
    dev->pausing = false;
    return rc;
}
