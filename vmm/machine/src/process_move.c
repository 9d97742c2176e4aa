/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device that was on a thread gets a process, and one that has a process loses it (move.c says when). Everything here on the control loop,
 * but what says otherwise.
 *
 * The process's device is known before there is a process: it is the thread's. So nothing is waited for while the guest stands still; the
 * front end is one whose back end is away for a moment.
 */
#include "process_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void fill_shape(struct vmm_process_shape *s, const struct virtio_dev *dev)
{
    s->id = dev->id;
    s->queues = dev->queues;
    s->config_bytes = dev->config_bytes;
    s->chosen = dev->chosen;
    for (uint16_t n = 0; n < dev->queues; n++)
        s->queue_size[n] = dev->queue[n].size_max;
}

static void count_on_from(struct process *p, const struct vdev *dev)
{
    uint64_t value[VDEV_COUNTERS_ROWS] = { 0 };

    vdev_metrics_read(dev, value);
    vdev_counters_put(p->counters, p->real, value);
}

void vmm_process_counts(const struct process *p, uint64_t ret_value[VDEV_COUNTERS_ROWS])
{
    vdev_counters_get(p->counters, p->real, ret_value);
}

void vmm_process_count_on_in(const struct process *p, struct vdev *dev)
{
    uint64_t value[VDEV_COUNTERS_ROWS] = { 0 };

    vmm_process_counts(p, value);
    vdev_metrics_write(dev, value);
}

int vmm_process_for(const struct machine_device *d, struct process **ret_process)
{
    struct virtio_dev *dev = container_of(d->dev, struct virtio_dev, dev);
    void *state = d->cls->state ? calloc(1, d->cls->state_size) : NULL;
    int rc;

    if (d->cls->state && !state)
        return vm_fail(-ENOMEM, "%s: out of memory", d->id);
    vm_lock_acquire(&d->dev->lock);
    if (state && d->dev->ops->save)
        d->dev->ops->save(d->dev, state);
    vm_lock_release(&d->dev->lock);
    rc = dev->queues <= VHOST_QUEUES_MAX && dev->config_bytes <= VHOST_CONFIG_MAX
             ? vmm_process_prepare(d->machine, d, d->id, state, ret_process)
             : vm_fail(-ENOTSUP, "%s: a device in a process has at most %d queues", d->id,
                       VHOST_QUEUES_MAX);
    free(state);
    if (rc)
        return rc;
    count_on_from(*ret_process, d->dev);
    fill_shape(&(*ret_process)->shape, dev);
    (*ret_process)->shaped = true;
    vmm_process_live(*ret_process);
    return 0;
}

int vmm_process_stand_in(struct process *p, struct vdev *last, const struct vdev_context *context,
                         struct vdev **ret_dev)
{
    struct virtio_dev *dev = container_of(last, struct virtio_dev, dev);
    uint8_t config[VHOST_CONFIG_MAX];
    const struct vhost_front_known known = { .features = dev->offered, .config = config };
    int rc;

    vm_lock_acquire(&last->lock);
    virtio_config_read(dev, 0, config, dev->config_bytes);
    vm_lock_release(&last->lock);
    rc = vmm_process_front(p, -1, &known, context);
    if (!rc)
        *ret_dev = &vhost_front_dev(p->front)->dev;
    return rc;
}

int vmm_process_listen(struct process *p)
{
    return vhost_front_listen(p->front, p->m->memory);
}

/* ---- a process comes ---- */

void vmm_process_await(struct process *p, void (*done)(void *ctx, int code), void *ctx)
{
    p->arrival = (struct process_wait){ done, ctx };
}

void vmm_process_arrived(struct process *p, int code)
{
    struct process_wait w = p->arrival;

    p->arrival = (struct process_wait){ 0 };
    if (w.done)
        w.done(w.ctx, code ? vm_fail(code, "%s: %s", p->id,
                                     p->end.code ? p->end.text : "its process ended: exit code 0")
                           : 0);
}

/* ---- and goes ---- */

bool vmm_process_is_changing(const struct process *p)
{
    return p->sets;
}

/* A list that was not set is the same in both. */
void vmm_process_get_set(struct process *p, struct machine_list **lists, void *config)
{
    vmm_lists_hand_over(&p->lists, lists, config);
    for (const struct vm_prop *prop = p->real->props; prop->name; prop++)
        if (prop->live)
            memcpy((char *)config + prop->offset, (const char *)p->config + prop->offset,
                   vm_prop_type_size(prop->type));
}

static void hold(struct process *p, bool on)
{
    pthread_mutex_lock(&p->lock);
    p->held = on;
    pthread_mutex_unlock(&p->lock);
}

bool vmm_process_whole(const struct process *p)
{
    struct vdev *dev = &vhost_front_dev(p->front)->dev;
    bool whole;

    vm_lock_acquire(&dev->lock);
    whole = vhost_front_whole(p->front);
    vm_lock_release(&dev->lock);
    return whole;
}

/* Its rings are at rest: it is killed, not asked. */
int vmm_process_let_go(struct process *p, void (*done)(void *ctx, int code), void *ctx)
{
    struct vdev *dev = &vhost_front_dev(p->front)->dev;

    hold(p, true);
    vm_lock_acquire(&dev->lock);
    vhost_front_replace(p->front);
    vm_lock_release(&dev->lock);
    if (!p->child)
        return 0;
    p->leaving = (struct process_wait){ done, ctx };
    p->killed = true;
    vmm_child_kill(p->child);
    return -EINPROGRESS;
}

void vmm_process_left(struct process *p)
{
    struct process_wait w = p->leaving;

    p->leaving = (struct process_wait){ 0 };
    if (w.done)
        w.done(w.ctx, 0);
}

void vmm_process_keep(struct process *p)
{
    p->leaving = (struct process_wait){ 0 };
    hold(p, false);
    vmm_process_serve_soon(p); /* what came meanwhile */
}
