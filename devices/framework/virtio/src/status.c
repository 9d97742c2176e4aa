/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Status, features and config space (VIRTIO 1.2, 2.1 to 2.5 and 3.1).
 *
 *   0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK      bits are only added; 0 resets
 *                                  refused (stays clear) when the driver's features do not fit ours
 *   NEEDS_RESET is the device's, FAILED the driver's: both end only with a reset
 */
#include "virtio_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

enum {
    DRIVER_BITS =
        VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED
};

uint64_t virtio_offered(const struct virtio_dev *dev)
{
    return dev->offered;
}

void virtio_set_driver_features(struct virtio_dev *dev, uint32_t select, uint32_t bits)
{
    unsigned shift = select * 32;

    if (select > 1 || dev->status & VIRTIO_FEATURES_OK)
        return;
    dev->driver_features &= ~(0xffffffffULL << shift);
    dev->driver_features |= (uint64_t)bits << shift;
}

static bool features_fit(const struct virtio_dev *dev)
{
    return !(dev->driver_features & ~dev->offered) && dev->driver_features & VQ_F_VERSION_1;
}

void virtio_needs_reset(struct virtio_dev *dev, const char *why)
{
    vm_log_limited(dev->dev.env, &dev->complaints, VM_LOG_WARN, "%s: needs a reset: %s",
                   dev->dev.id, why);
    if (dev->status & VIRTIO_NEEDS_RESET)
        return;
    dev->status |= VIRTIO_NEEDS_RESET;
    dev->count.chains_broken++;
    /* 2.1.2: the driver is told only once it has set DRIVER_OK. */
    if (dev->status & VIRTIO_DRIVER_OK && dev->transport)
        dev->transport->notify_config(dev->transport);
}

static void start(struct virtio_dev *dev)
{
    int rc = dev->ops->start ? dev->ops->start(dev) : 0;

    if (rc) {
        virtio_needs_reset(dev, vm_error_text());
        return;
    }
    dev->running = true;
    if (dev->transport)
        dev->transport->running(dev->transport, true);
    virtio_kick_all(dev);
}

/* Everything a driver can change has its initial value again. */
static void reset_finish(struct virtio_dev *dev)
{
    struct virtio_transport *t = dev->transport;

    for (uint16_t n = 0; n < dev->queues; n++)
        vq_reset(&dev->queue[n]);
    dev->running = dev->stopping = dev->pausing = false;
    dev->status = 0;
    dev->features = dev->driver_features = 0;
    dev->count.resets++;
    if (t)
        t->reset(t, dev->power_on);
}

static void stop_too_late(struct vm_timer *timer)
{
    struct virtio_dev *dev = container_of(timer, struct virtio_dev, deadline);

    vm_lock_acquire(&dev->dev.lock);
    if (dev->stopping) {
        vm_fail(-ETIMEDOUT, "%s: did not stop within %llu s", dev->dev.id,
                (unsigned long long)(VIRTIO_STOP_NS / 1000000000ULL));
        vdev_broken(&dev->dev, "did not stop in time");
    }
    vm_lock_release(&dev->dev.lock);
}

/* Timers belong to the loop's thread; the driver's write came in a vCPU's. */
static void deadline_begin(struct vm_work *work)
{
    struct virtio_dev *dev = container_of(work, struct virtio_dev, deadline_work);
    struct vm_loop *loop = dev->dev.env->loop;

    vm_lock_acquire(&dev->dev.lock);
    if (dev->stopping)
        vm_timer_set(loop, &dev->deadline, vm_loop_now_ns(loop) + VIRTIO_STOP_NS, stop_too_late);
    vm_lock_release(&dev->dev.lock);
}

int virtio_reset_begin(struct virtio_dev *dev, bool power_on)
{
    int rc = 0;

    if (dev->stopping) {
        dev->power_on |= power_on;
        return -EINPROGRESS;
    }
    dev->power_on = power_on;
    if (dev->running && dev->transport)
        dev->transport->running(dev->transport, false);
    if (dev->running && dev->ops->stop) {
        dev->stopping = true; /* before the call: its end may come at once */
        rc = dev->ops->stop(dev);
    }
    if (rc == -EINPROGRESS) {
        vm_loop_post(dev->dev.env->loop, &dev->deadline_work, deadline_begin);
        return rc;
    }
    reset_finish(dev);
    return 0;
}

void virtio_stopped(struct virtio_dev *dev)
{
    bool tell = dev->stopping && dev->power_on;

    if (dev->pausing) {
        dev->pausing = false;
        vdev_done(&dev->dev, 0);
        return;
    }
    if (!dev->stopping)
        return;
    vm_timer_cancel(&dev->deadline);
    reset_finish(dev);
    if (tell)
        vdev_done(&dev->dev, 0);
}

/* The driver has set FEATURES_OK: from here on the features are fixed. */
static void take_features(struct virtio_dev *dev, uint8_t *status)
{
    if (features_fit(dev)) {
        dev->features = dev->driver_features;
        return;
    }
    *status &= (uint8_t)~VIRTIO_FEATURES_OK;
    vm_log_limited(dev->dev.env, &dev->complaints, VM_LOG_WARN,
                   "%s: the driver's features %#llx do not fit the offered %#llx", dev->dev.id,
                   (unsigned long long)dev->driver_features, (unsigned long long)dev->offered);
}

int virtio_set_status(struct virtio_dev *dev, uint8_t status)
{
    uint8_t added;

    if (!status)
        return virtio_reset_begin(dev, false);
    if (dev->stopping)
        return 0;
    /* 2.1.1: the driver must not clear a bit; what it cannot do does not happen. */
    status = (uint8_t)((status & DRIVER_BITS) | dev->status);
    added = status & (uint8_t)~dev->status;
    if (added & VIRTIO_FEATURES_OK)
        take_features(dev, &status);
    if (added & VIRTIO_DRIVER_OK && !(status & VIRTIO_FEATURES_OK))
        status &= (uint8_t)~VIRTIO_DRIVER_OK; /* 3.1.1: not before the features are agreed on */
    added = status & (uint8_t)~dev->status;
    dev->status = status;
    if (added & VIRTIO_DRIVER_OK && !(status & VIRTIO_NEEDS_RESET))
        start(dev);
    return 0;
}

uint8_t virtio_status(const struct virtio_dev *dev)
{
    return dev->status;
}

void virtio_config_read(struct virtio_dev *dev, uint32_t offset, uint8_t *data, uint32_t len)
{
    memset(data, 0, len);
    if (!vm_range_in(offset, len, dev->config_bytes)) {
        if (offset >= dev->config_bytes)
            return;
        len = dev->config_bytes - offset;
    }
    if (dev->ops->config_read)
        dev->ops->config_read(dev, offset, data, len);
    else
        memcpy(data, dev->config + offset, len);
}

void virtio_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data, uint32_t len)
{
    if (dev->ops->config_write && vm_range_in(offset, len, dev->config_bytes))
        dev->ops->config_write(dev, offset, data, len);
}

void virtio_config_changed(struct virtio_dev *dev)
{
    dev->config_generation++;
    if (dev->status & VIRTIO_DRIVER_OK && dev->transport)
        dev->transport->notify_config(dev->transport);
}
