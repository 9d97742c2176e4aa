/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Queues and doorbells: from the driver's kick to the device's, and from a used chain to the interrupt. */
#include "virtio_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum { WHY_BYTES = 160 };

static void serve_by(struct virtio_dev *dev, uint16_t n,
                     int (*kick)(struct virtio_dev *dev, uint16_t n))
{
    const struct vq *q = &dev->queue[n];
    char why[WHY_BYTES];
    int rc;

    if (!virtio_queue_live(dev, n))
        return;
    vm_count(&dev->count.kicks, 1);
    rc = kick(dev, n);
    if (!dev->running || dev->stopping) /* it was stopped in a virtio_leave() */
        return;
    if (rc >= 0 && !q->broken)
        return;
    if (q->broken)
        snprintf(why, sizeof(why), "queue %u: the driver broke the rules: %s (%#x)", n,
                 q->why ? q->why : "?", q->why_value);
    else if (rc == -EPROTO)
        snprintf(why, sizeof(why), "queue %u: the driver broke the rules", n);
    else
        snprintf(why, sizeof(why), "queue %u: error %d", n, -rc);
    virtio_needs_reset(dev, why);
}

static void serve(struct virtio_dev *dev, uint16_t n)
{
    serve_by(dev, n, dev->ops->kick);
}

void virtio_queue_serve(struct virtio_dev *dev, uint16_t n)
{
    if (n < dev->queues)
        serve(dev, n);
}

static void kick_ready(struct vm_watch *watch, uint32_t events)
{
    struct virtio_kick *k = container_of(watch, struct virtio_kick, watch);

    (void)events;
    vm_eventfd_take(k->fd);
    vm_lock_acquire(&k->dev->dev.lock);
    serve(k->dev, k->n);
    vm_lock_release(&k->dev->dev.lock);
}

static void kick_posted(struct vm_work *work)
{
    struct virtio_kick *k = container_of(work, struct virtio_kick, work);

    vm_lock_acquire(&k->dev->dev.lock);
    serve(k->dev, k->n);
    vm_lock_release(&k->dev->dev.lock);
}

void virtio_queue_kick(struct virtio_dev *dev, uint16_t n)
{
    if (n < dev->queues && dev->dev.env->loop)
        vm_loop_post(dev->dev.env->loop, &dev->kick[n].work, kick_posted);
}

void virtio_queue_ring(struct virtio_dev *dev, uint16_t n)
{
    if (dev->kick_now && n < dev->queues)
        serve_by(dev, n, dev->ops->kick_now);
    else
        virtio_queue_kick(dev, n);
}

void virtio_kick_later(struct virtio_dev *dev, uint16_t n)
{
    virtio_queue_kick(dev, n);
}

/* Whether a queue may be served is seen when it comes to it. */
void virtio_kick_all(struct virtio_dev *dev, bool remote_too)
{
    for (uint16_t n = 0; dev->running && n < dev->queues; n++)
        if (dev->queue[n].started && (remote_too || !dev->kick[n].remote))
            virtio_queue_kick(dev, n);
}

int virtio_dma_changed(struct virtio_dev *dev)
{
    if (dev->ops->dma_changed)
        return dev->ops->dma_changed(dev);
    if (virtio_may_dma(dev))
        virtio_kick_all(dev, true); /* what was offered meanwhile */
    return 0;
}

void virtio_tell_late(struct virtio_dev *dev)
{
    for (uint16_t n = 0; dev->running && n < dev->queues; n++)
        virtio_notify(dev, n);
    if (dev->config_late) {
        dev->config_late = false;
        virtio_tell_config(dev);
    }
}

/* Watches belong to the loop's thread; a signal that comes before waits in the eventfd. */
static void watch_posted(struct vm_work *work)
{
    struct virtio_kick *k = container_of(work, struct virtio_kick, watch_work);
    int rc = 0;

    if (k->remote)
        vm_watch_del(&k->watch);
    else if (!k->watch.active)
        rc = vm_watch_add(k->dev->dev.env->loop, &k->watch, k->fd, EPOLLIN, kick_ready);
    if (rc) {
        vm_lock_acquire(&k->dev->dev.lock);
        virtio_needs_reset(k->dev, vm_error_text());
        vm_lock_release(&k->dev->dev.lock);
    }
}

int virtio_kick_fd(struct virtio_dev *dev, uint16_t n, int *ret_fd)
{
    struct virtio_kick *k;

    if (n >= dev->queues)
        return vm_fail(-EINVAL, "%s: queue %u of %u", dev->dev.id, n, dev->queues);
    k = &dev->kick[n];
    if (k->fd < 0) {
        int fd = vm_eventfd();

        if (fd < 0)
            return fd;
        k->fd = fd;
        if (!k->remote)
            vm_loop_post(dev->dev.env->loop, &k->watch_work, watch_posted);
    }
    *ret_fd = k->fd;
    return 0;
}

/* What the loop still takes of the eventfd until then reaches ops->kick, which knows where it belongs. */
void virtio_kick_lend(struct virtio_dev *dev, uint16_t n, bool remote)
{
    struct virtio_kick *k = &dev->kick[n];

    if (k->remote == remote)
        return;
    k->remote = remote;
    if (k->fd >= 0)
        vm_loop_post(dev->dev.env->loop, &k->watch_work, watch_posted);
}

void virtio_kick_renew(struct virtio_dev *dev)
{
    struct virtio_transport *t = dev->transport;

    if (t)
        t->running(t, false);
    for (uint16_t n = 0; n < dev->queues; n++)
        vm_close(&dev->kick[n].fd);
    if (t && dev->running && !dev->stopping)
        t->running(t, true);
}

void virtio_call_fd(struct virtio_dev *dev, uint16_t n, int fd)
{
    dev->kick[n].call_fd = fd;
    if (dev->transport && dev->transport->called)
        dev->transport->called(dev->transport, n);
}

/* While the machine stands still the queue remembers that there is something to tell. 2.6.1.1: of a queue that is being reset, or
 * was, there is nothing. */
void virtio_notify(struct virtio_dev *dev, uint16_t n)
{
    if (virtio_queue_resetting(dev, n)) /* this may have been its last request */
        return;
    if (dev->dev.quiesced || !dev->queue[n].started ||
        (!dev->kick[n].remote && !vq_wants_notify(&dev->queue[n])))
        return;
    vm_count(&dev->count.notifies, 1);
    if (dev->transport)
        dev->transport->notify_queue(dev->transport, n);
}

void virtio_queue_enable(struct virtio_dev *dev, uint16_t n)
{
    char why[WHY_BYTES];
    int rc;

    if (n >= dev->queues || dev->queue[n].started || dev->stopping)
        return;
    /* 3.1.1: queues are set up after FEATURES_OK; what they mean depends on the features. */
    rc = dev->status & VIRTIO_FEATURES_OK ? vq_start(&dev->queue[n], dev->features)
                                          : vm_fail(-EINVAL, "enabled before FEATURES_OK");
    if (rc) {
        snprintf(why, sizeof(why), "queue %u: %s", n, vm_error_text());
        virtio_needs_reset(dev, why);
        return;
    }
    if (dev->running) {
        if (dev->transport)
            dev->transport->running(dev->transport, true);
        virtio_queue_kick(dev, n);
    }
}

bool virtio_queues_resetting(const struct virtio_dev *dev)
{
    for (uint16_t n = 0; n < dev->queues; n++)
        if (dev->kick[n].resetting)
            return true;
    return false;
}

/* Chains in flight would come back into a ring that is the driver's again: they are waited for. */
static bool is_at_rest(const struct virtio_dev *dev, uint16_t n)
{
    if (dev->stopping) /* which ends this, too */
        return false;
    return dev->ops->queue_stop ? !dev->kick[n].awaited : !vq_in_flight(&dev->queue[n]);
}

bool virtio_queue_resetting(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_transport *t = dev->transport;

    if (n >= dev->queues || !dev->kick[n].resetting)
        return false;
    if (!is_at_rest(dev, n))
        return true;
    dev->kick[n].resetting = false;
    vq_reset(&dev->queue[n]);
    virtio_queue_waited(dev);
    if (t && t->queue_stopped)
        t->queue_stopped(t, n);
    return false;
}

void virtio_queue_stopped(struct virtio_dev *dev, uint16_t n)
{
    if (n >= dev->queues)
        return;
    dev->kick[n].awaited = false;
    (void)virtio_queue_resetting(dev, n);
}

int virtio_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_kick *k;

    if (n >= dev->queues)
        return 0;
    if (dev->stopping)
        return -EINPROGRESS;
    k = &dev->kick[n];
    if (!k->resetting) {
        k->resetting = true;
        k->awaited =
            dev->running && dev->ops->queue_stop; /* before the call: its end may come at once */
        if (k->awaited && dev->ops->queue_stop(dev, n) != -EINPROGRESS)
            k->awaited = false;
    }
    if (!virtio_queue_resetting(dev, n))
        return 0;
    virtio_queue_wait(dev);
    return -EINPROGRESS;
}

void virtio_queue_reset(struct virtio_dev *dev, uint16_t n)
{
    if (dev->features & VQ_F_RING_RESET)
        (void)virtio_queue_stop(dev, n);
}
