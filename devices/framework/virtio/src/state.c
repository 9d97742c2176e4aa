/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Save and load of virtio devices: negotiation and queues here, the device's own by its class, the transport's by the transport. */
#include "virtio_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/base/le.h>

#define QUEUE_FIELD(t, kind, member)                                            \
    {                                                                           \
        .tag = (t), .type = (kind), .offset = offsetof(struct vq_state, member) \
    }
static const struct vm_state_field queue_fields[] = {
    QUEUE_FIELD(1, VM_STATE_U64, desc),
    QUEUE_FIELD(2, VM_STATE_U64, driver),
    QUEUE_FIELD(3, VM_STATE_U64, device),
    QUEUE_FIELD(4, VM_STATE_U16, size),
    QUEUE_FIELD(5, VM_STATE_U16, next_avail),
    QUEUE_FIELD(6, VM_STATE_U16, next_used),
    QUEUE_FIELD(7, VM_STATE_BOOL, started),
    QUEUE_FIELD(8, VM_STATE_BOOL, broken),
    QUEUE_FIELD(9, VM_STATE_BOOL, avail_wrap),
    QUEUE_FIELD(10, VM_STATE_BOOL, used_wrap),
    { 0 },
};
const struct vm_state_field virtio_state_fields[] = {
    { .tag = 1, .type = VM_STATE_U64, .offset = offsetof(struct virtio_state, driver_features) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct virtio_state, config_generation) },
    { .tag = 3, .type = VM_STATE_U8, .offset = offsetof(struct virtio_state, status) },
    { .tag = 4,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct virtio_state, queue),
      .max = VIRTIO_QUEUES_MAX,
      .count_offset = offsetof(struct virtio_state, queues),
      .element_size = sizeof(struct vq_state),
      .fields = queue_fields },
    { .tag = 5, .type = VM_STATE_BOOL, .offset = offsetof(struct virtio_state, config_late) },
    { 0 },
};

int virtio_core_save(struct virtio_dev *dev, struct vm_buffer *buffer)
{
    struct virtio_state *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    vm_lock_acquire(&dev->dev.lock);
    s->driver_features = dev->driver_features;
    s->config_generation = dev->config_generation;
    s->status = dev->status;
    s->config_late = dev->config_late;
    s->queues = dev->queues;
    for (uint16_t n = 0; n < dev->queues; n++) {
        (void)virtio_queue_resetting(dev, n); /* nothing is in flight now: it has ended */
        vq_save(&dev->queue[n], &s->queue[n]);
    }
    vm_lock_release(&dev->dev.lock);
    rc = vm_state_save(virtio_state_fields, VIRTIO_STATE_VERSION, s, buffer);
    free(s);
    return rc;
}

static int check(const struct virtio_dev *dev, const struct virtio_state *untrusted)
{
    const uint8_t known = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK |
                          VIRTIO_FEATURES_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED;
    uint8_t status = untrusted->status;

    if (status & ~known || (status & VIRTIO_DRIVER_OK && !(status & VIRTIO_FEATURES_OK)))
        return vm_fail(-EINVAL, "%s: status %#x cannot be", dev->dev.id, status);
    if (status & VIRTIO_FEATURES_OK && (untrusted->driver_features & ~dev->offered ||
                                        !(untrusted->driver_features & VQ_F_VERSION_1)))
        return vm_fail(-EINVAL, "%s: features %#llx, but this device offers %#llx", dev->dev.id,
                       (unsigned long long)untrusted->driver_features,
                       (unsigned long long)dev->offered);
    if (untrusted->queues != dev->queues)
        return vm_fail(-EINVAL, "%s: %u queues, but this device has %u", dev->dev.id,
                       untrusted->queues, dev->queues);
    for (uint32_t n = 0; n < untrusted->queues; n++)
        if (untrusted->queue[n].started && !(status & VIRTIO_FEATURES_OK))
            return vm_fail(-EINVAL, "%s: queue %u runs before FEATURES_OK", dev->dev.id, n);
    return 0;
}

static int apply(struct virtio_dev *dev, const struct virtio_state *untrusted)
{
    int rc = check(dev, untrusted);

    if (rc)
        return rc;
    dev->driver_features = untrusted->driver_features;
    dev->features = untrusted->status & VIRTIO_FEATURES_OK ? untrusted->driver_features : 0;
    for (uint16_t n = 0; !rc && n < dev->queues; n++)
        rc = vq_load(&dev->queue[n], dev->features, &untrusted->queue[n]);
    if (rc)
        return vm_wrap(rc, "%s", dev->dev.id);
    dev->config_generation = untrusted->config_generation & UINT16_MAX;
    dev->config_late = untrusted->config_late;
    dev->status = untrusted->status;
    return 0;
}

int virtio_core_load(struct virtio_dev *dev, const void *untrusted, size_t size)
{
    struct virtio_state *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    rc = vm_state_load(virtio_state_fields, VIRTIO_STATE_VERSION, untrusted, size, s, sizeof(*s));
    if (!rc) {
        vm_lock_acquire(&dev->dev.lock);
        rc = apply(dev, s);
        vm_lock_release(&dev->dev.lock);
    }
    free(s);
    return rc;
}

int virtio_section_add(struct vm_buffer *buffer, const struct vm_buffer *section)
{
    struct le32 len = le32_make((uint32_t)section->len);
    int rc = vm_buffer_add(buffer, &len, sizeof(len));

    return rc ? rc : vm_buffer_add(buffer, section->data, section->len);
}

int virtio_sections_split(const void *untrusted, size_t size, struct virtio_sections *ret_sections)
{
    const uint8_t *at = untrusted;
    size_t left = size;

    for (unsigned i = 0; i < 3; i++) {
        uint64_t len;

        if (left < sizeof(struct le32))
            return vm_fail(-EPROTO, "virtio state is cut off in section %u", i);
        len = vm_load_le(at, 4);
        at += 4;
        left -= 4;
        if (len > left)
            return vm_fail(-EPROTO, "virtio state: section %u says %llu bytes, %zu are there", i,
                           (unsigned long long)len, left);
        ret_sections->data[i] = at;
        ret_sections->size[i] = (size_t)len;
        at += len;
        left -= (size_t)len;
    }
    return left ? vm_fail(-EPROTO, "virtio state: %zu bytes too many", left) : 0;
}

int virtio_save_rest(struct virtio_dev *dev, struct vm_buffer *buffer)
{
    struct vm_buffer core = { 0 }, own = { 0 };
    int rc = virtio_core_save(dev, &core);

    if (!rc)
        rc = vdev_save(&dev->dev, &own);
    if (!rc)
        rc = virtio_section_add(buffer, &core);
    if (!rc)
        rc = virtio_section_add(buffer, &own);
    vm_buffer_free(&core);
    vm_buffer_free(&own);
    return rc;
}

int virtio_load_begin(struct virtio_dev *dev)
{
    if (virtio_reset_begin(dev, true))
        return vm_fail(-EBUSY, "%s: it is still at work; state is loaded into a device at rest",
                       dev->dev.id);
    return 0;
}

/* As start() of the status machine, but that a refusal is the loader's affair. */
static int run(struct virtio_dev *dev)
{
    int rc;

    if (!(dev->status & VIRTIO_DRIVER_OK) || dev->status & VIRTIO_NEEDS_RESET)
        return 0;
    rc = dev->ops->start ? dev->ops->start(dev) : 0;
    if (rc)
        return vm_wrap(rc, "%s", dev->dev.id);
    vdev_ledger_changed(&dev->dev);
    dev->running = true;
    if (dev->transport)
        dev->transport->running(dev->transport, true);
    virtio_kick_all(dev, false);
    if (!dev->dev.quiesced)
        virtio_tell_late(dev);
    return 0;
}

/* The device's own part comes last: it may look at features and queues. Then it runs, if it did. */
int virtio_load_rest(struct virtio_dev *dev, const struct virtio_sections *sections)
{
    struct vm_error error;
    int rc = virtio_core_load(dev, sections->data[1], sections->size[1]);

    if (!rc)
        rc = vdev_load(&dev->dev, sections->data[2], sections->size[2]);
    vm_lock_acquire(&dev->dev.lock);
    if (!rc)
        rc = run(dev);
    if (rc) {
        vm_error_save(rc, &error);
        (void)virtio_reset_begin(dev, true);
        rc = vm_error_restore(&error);
    }
    vm_lock_release(&dev->dev.lock);
    return rc;
}

/* ---- another device in the place of one ---- */

int virtio_same_shape(const struct virtio_dev *now, const struct virtio_dev *next)
{
    bool same = now->id == next->id && now->queues == next->queues &&
                now->config_bytes == next->config_bytes;

    for (uint16_t n = 0; same && n < now->queues; n++)
        same = now->queue[n].size_max == next->queue[n].size_max;
    return same ? 0
                : vm_fail(-EINVAL, "%s: another device: type %u with %u queues, not %u with %u",
                          now->dev.id, next->id, next->queues, now->id, now->queues);
}

void virtio_leave_transport(struct virtio_dev *dev)
{
    vm_lock_acquire(&dev->dev.lock);
    if (dev->transport)
        dev->transport->running(dev->transport, false);
    virtio_attach(dev, NULL);
    vm_lock_release(&dev->dev.lock);
}

void virtio_enter_transport(struct virtio_dev *dev, struct virtio_transport *transport)
{
    vm_lock_acquire(&dev->dev.lock);
    virtio_attach(dev, transport);
    if (dev->running && !dev->stopping)
        transport->running(transport, true);
    vm_lock_release(&dev->dev.lock);
}

int virtio_take_over(struct virtio_dev *dev, struct virtio_dev *last)
{
    struct vm_buffer core = { 0 }, own = { 0 };
    int rc = virtio_core_save(last, &core);

    if (!rc)
        rc = vdev_save(&last->dev, &own);
    if (!rc) {
        const struct virtio_sections sections = { { NULL, core.data, own.data },
                                                  { 0, core.len, own.len } };

        rc = virtio_load_rest(dev, &sections);
    }
    vm_buffer_free(&core);
    vm_buffer_free(&own);
    return rc;
}
