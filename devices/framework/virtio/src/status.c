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
#include <vmm/devices-core/ledger.h>

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
    unsigned shift;

    if (select > 1 || dev->status & VIRTIO_FEATURES_OK)
        return;
    shift = select * 32;
    dev->driver_features &= ~(0xffffffffULL << shift);
    dev->driver_features |= (uint64_t)bits << shift;
}

static bool features_fit(const struct virtio_dev *dev)
{
    return !(dev->driver_features & ~dev->offered) && dev->driver_features & VQ_F_VERSION_1;
}

/* 2.1.2: the driver is told only once it has set DRIVER_OK. While the machine stands still nothing may be told. */
void virtio_tell_config(struct virtio_dev *dev)
{
    if (!(dev->status & VIRTIO_DRIVER_OK) || !dev->transport)
        return;
    if (dev->dev.quiesced)
        dev->config_late = true;
    else
        dev->transport->notify_config(dev->transport);
}

void virtio_needs_reset(struct virtio_dev *dev, const char *why)
{
    vm_log_limited(dev->dev.env, &dev->complaints, VM_LOG_WARN, "%s: needs a reset: %s",
                   dev->dev.id, why);
    if (dev->status & VIRTIO_NEEDS_RESET)
        return;
    dev->status |= VIRTIO_NEEDS_RESET;
    vm_count(&dev->count.chains_broken, 1);
    virtio_tell_config(dev);
}

static void start(struct virtio_dev *dev)
{
    int rc = dev->ops->start ? dev->ops->start(dev) : 0;

    if (rc) {
        virtio_needs_reset(dev, vm_error_text());
        return;
    }
    vdev_ledger_changed(&dev->dev);
    dev->running = true;
    if (dev->transport)
        dev->transport->running(dev->transport, true);
    virtio_kick_all(dev, false);
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
    if (dev->stopping || dev->dev.leaving)
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
    else if (added & VIRTIO_DRIVER_OK)
        virtio_tell_config(dev); /* it went wrong before the driver could be told */
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
    dev->config_generation =
        (dev->config_generation + 1) & UINT16_MAX; /* registers show 8 or 32 bits */
    virtio_tell_config(dev);
}
