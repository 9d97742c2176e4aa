/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Notifications that come later than they could (VIRTIO 1.3, 5.1.6.5.10, "Notifications Coalescing"): of each queue, when so many packets were
 * used, or so much time has gone by since the first one that the driver was not told of.
 *
 * Of 0 packets their number does not count, only time. Of 0 microseconds nothing is delayed: packets alone could wait for ever.
 */
#include "virtio_net_private.h"

static uint16_t queue_of(const struct virtio_net *net, const struct virtio_net_delay *d)
{
    return (uint16_t)(d - net->delay);
}

static void tell(struct virtio_net *net, struct virtio_net_delay *d)
{
    d->waiting = 0;
    virtio_notify(&net->dev, queue_of(net, d));
}

/* One that comes too late finds nothing, or tells of what is there a little earlier than it had to. */
static void due(struct vm_timer *timer)
{
    struct virtio_net_delay *d = container_of(timer, struct virtio_net_delay, timer);
    struct virtio_net *net = d->net;

    vm_lock_acquire(&net->dev.dev.lock);
    if (d->waiting)
        tell(net, d);
    vm_lock_release(&net->dev.dev.lock);
}

void virtio_net_delay_init(struct virtio_net *net)
{
    for (unsigned n = 0; n < VIRTIO_NET_DATA_QUEUES; n++)
        net->delay[n].net = net;
}

void virtio_net_delay_exit(struct virtio_net *net)
{
    for (unsigned n = 0; n < VIRTIO_NET_DATA_QUEUES; n++)
        vm_timer_cancel(&net->delay[n].timer);
}

bool virtio_net_delays(const struct virtio_net_state *s)
{
    for (unsigned n = 0; n < VIRTIO_NET_DATA_QUEUES; n++)
        if (le32_get(s->coalesce[n].usecs))
            return true;
    return false;
}

void virtio_net_delay(struct virtio_net *net, uint16_t n, uint32_t packets)
{
    struct virtio_net_delay *d = &net->delay[n];
    struct vm_loop *loop = net->dev.dev.env->loop;
    uint32_t most = le32_get(net->s.coalesce[n].packets);
    uint64_t ns = le32_get(net->s.coalesce[n].usecs) * 1000ULL;
    bool first = !d->waiting;

    d->waiting = packets < UINT32_MAX - d->waiting ? d->waiting + packets : UINT32_MAX;
    if (!ns || (most && d->waiting >= most)) {
        vm_timer_cancel(&d->timer);
        tell(net, d);
    } else if (first && vm_timer_set(loop, &d->timer, vm_loop_now_ns(loop) + ns, due)) {
        tell(net, d);
    }
}

void virtio_net_delay_end(struct virtio_net *net)
{
    for (unsigned n = 0; n < VIRTIO_NET_DATA_QUEUES; n++)
        if (net->delay[n].waiting)
            tell(net, &net->delay[n]);
}
