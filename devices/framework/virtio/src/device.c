/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Creation and life cycle of a virtio device: what the machine calls, turned into what the device sees. */
#include "virtio_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

static int life_reset(struct vdev *dev)
{
    return virtio_reset_begin(virtio_of(dev), true);
}

static int life_remove(struct vdev *dev)
{
    return virtio_reset_begin(virtio_of(dev), true);
}

static int life_quiesce(struct vdev *dev)
{
    return virtio_pause_begin(virtio_of(dev));
}

static void life_give_up(struct vdev *dev)
{
    virtio_pause_give_up(virtio_of(dev));
}

/* Kicks that came meanwhile were not served, and interrupts were held back or lost with a snapshot: look once, tell once. */
static int life_resume(struct vdev *dev)
{
    struct virtio_dev *v = virtio_of(dev);
    int rc = v->ops->resume && v->running ? v->ops->resume(v) : 0;

    if (rc)
        return rc;
    dev->quiesced = false;
    virtio_kick_all(v, false);
    virtio_tell_late(v);
    return 0;
}

static void life_save(struct vdev *dev, void *ret_state)
{
    struct virtio_dev *v = virtio_of(dev);

    if (v->ops->save)
        v->ops->save(v, ret_state);
}

static int life_load(struct vdev *dev, const void *untrusted)
{
    struct virtio_dev *v = virtio_of(dev);

    return v->ops->load ? v->ops->load(v, untrusted) : 0;
}

static void life_destroy(struct vdev *dev)
{
    struct virtio_dev *v = virtio_of(dev);

    v->ops->destroy(v);
}

static int life_set(struct vdev *dev, const struct vm_prop *prop, const void *config)
{
    struct virtio_dev *v = virtio_of(dev);

    if (!v->ops->set)
        return vm_fail(-ENOTSUP, "%s: %s cannot be changed while the machine runs", dev->id,
                       prop->name);
    return v->ops->set(v, prop, config);
}

static int life_refresh(struct vdev *dev, const uint64_t **ret_answers)
{
    struct virtio_dev *v = virtio_of(dev);

    return v->ops->refresh ? v->ops->refresh(v, ret_answers) : vdev_fail_refresh(dev);
}

static const struct vdev_ops life_ops = {
    .reset = life_reset,
    .quiesce = life_quiesce,
    .give_up = life_give_up,
    .resume = life_resume,
    .remove = life_remove,
    .save = life_save,
    .load = life_load,
    .destroy = life_destroy,
    .set = life_set,
    .refresh = life_refresh,
};

static int make_queues(struct virtio_dev *dev, const struct virtio_setup *setup)
{
    dev->queue = calloc(setup->queues, sizeof(*dev->queue));
    dev->kick = calloc(setup->queues, sizeof(*dev->kick));
    dev->config = calloc(1, setup->config_bytes ? setup->config_bytes : 1);
    if ((setup->queues && (!dev->queue || !dev->kick)) || !dev->config)
        return -ENOMEM;
    dev->config_bytes = setup->config_bytes;
    for (; dev->queues < setup->queues; dev->queues++) {
        struct virtio_kick *k = &dev->kick[dev->queues];
        int rc = vq_init(&dev->queue[dev->queues], &dev->view, setup->queue_sizes[dev->queues]);

        if (rc)
            return rc;
        k->dev = dev;
        k->n = dev->queues;
        k->fd = k->call_fd = -1;
    }
    return 0;
}

static void free_queues(struct virtio_dev *dev)
{
    for (uint16_t n = 0; n < dev->queues; n++) {
        vm_watch_del(&dev->kick[n].watch);
        vm_work_cancel(dev->dev.env->loop, &dev->kick[n].work);
        vm_work_cancel(dev->dev.env->loop, &dev->kick[n].watch_work);
        vm_close(&dev->kick[n].fd);
        vq_exit(&dev->queue[n]);
    }
    free(dev->queue);
    free(dev->kick);
    free(dev->config);
    dev->queues = 0;
}

int virtio_init(struct virtio_dev *dev, const struct vdev_class *cls, const struct virtio_ops *ops,
                const struct vdev_context *context, const struct virtio_setup *setup)
{
    int rc;

    if (setup->queues > VIRTIO_QUEUES_MAX || setup->config_bytes > VIRTIO_CONFIG_MAX)
        return vm_fail(-EINVAL, "%u queues and %u bytes of config space: too many", setup->queues,
                       setup->config_bytes);
    memset(dev, 0, sizeof(*dev));
    vdev_init(&dev->dev, cls, &life_ops, context);
    dev->ops = ops;
    dev->id = setup->id;
    dev->chosen = setup->chosen;
    /* IN_ORDER is not offered: a device that finishes out of order would have to hold back what is done. */
    dev->offered =
        setup->features | VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_RING_RESET;
    if (!setup->options || setup->options->packed)
        dev->offered |= VQ_F_RING_PACKED;
    gm_view_init(&dev->view, context->memory, &dev->dev.lock);
    rc = make_queues(dev, setup);
    if (rc) {
        free_queues(dev);
        gm_view_exit(&dev->view);
        vdev_exit(&dev->dev);
        return vm_fail(rc, "%s: out of memory", context->id);
    }
    return 0;
}

void virtio_exit(struct virtio_dev *dev)
{
    vm_timer_cancel(&dev->deadline);
    vm_work_cancel(dev->dev.env->loop, &dev->deadline_work);
    virtio_shm_exit(dev);
    vm_timer_cancel(&dev->queue_deadline);
    vm_work_cancel(dev->dev.env->loop, &dev->queue_deadline_work);
    free_queues(dev);
    gm_view_exit(&dev->view);
    vdev_exit(&dev->dev);
}

void virtio_attach(struct virtio_dev *dev, struct virtio_transport *transport)
{
    dev->transport = transport;
}
