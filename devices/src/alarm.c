/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Timers of devices. */
#include "alarm.h"

static void fired(struct vm_timer *timer);

static void serve(struct vdev_alarm *a)
{
    struct vdev *dev = a->dev;
    struct vm_loop *loop = dev->env->loop;
    uint64_t ns;

    vm_lock_acquire(&dev->lock);
    if (!dev->quiesced) { /* resume calls vdev_alarm_now() */
        ns = a->serve(dev);
        if (ns == VDEV_ALARM_NEVER)
            vm_timer_cancel(&a->timer);
        else if (vm_timer_set(loop, &a->timer, vm_loop_now_ns(loop) + ns, fired))
            vdev_broken(dev, NULL);
    }
    vm_lock_release(&dev->lock);
}

static void fired(struct vm_timer *timer)
{
    serve(container_of(timer, struct vdev_alarm, timer));
}

static void run_work(struct vm_work *work)
{
    serve(container_of(work, struct vdev_alarm, work));
}

void vdev_alarm_init(struct vdev_alarm *alarm, struct vdev *dev,
                     uint64_t (*serve_it)(struct vdev *dev))
{
    alarm->dev = dev;
    alarm->serve = serve_it;
}

void vdev_alarm_now(struct vdev_alarm *alarm)
{
    vm_loop_post(alarm->dev->env->loop, &alarm->work, run_work);
}

void vdev_alarm_exit(struct vdev_alarm *alarm)
{
    vm_work_cancel(alarm->dev->env->loop, &alarm->work);
    vm_timer_cancel(&alarm->timer);
}
