/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Registers of the PCI transport (VIRTIO 1.2, 4.1.4.3 to 4.1.4.6). */
#include "pci.h"

#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/le.h>

/* struct virtio_pci_common_cfg: offsets, and the width of each field. */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_MSIX_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    QUEUE_NOTIF_CONFIG_DATA = 0x38,
    QUEUE_RESET = 0x3a,
};

static struct vq *selected(struct virtio_pci *p)
{
    return p->queue_select < p->dev->queues ? &p->dev->queue[p->queue_select] : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (select * 32)) : 0;
}

/* Fields that belong to no queue; false: it is a queue's. */
static bool read_device_field(struct virtio_pci *p, unsigned at, uint32_t *v)
{
    switch (at) {
    case DEVICE_FEATURE_SELECT: *v = p->feature_select; break;
    case DEVICE_FEATURE: *v = feature_word(virtio_offered(p->dev), p->feature_select); break;
    case DRIVER_FEATURE_SELECT: *v = p->driver_feature_select; break;
    case DRIVER_FEATURE:
        *v = feature_word(p->dev->driver_features, p->driver_feature_select);
        break;
    case CONFIG_MSIX_VECTOR: *v = p->config_vector; break;
    case NUM_QUEUES: *v = p->dev->queues; break;
    case DEVICE_STATUS: *v = virtio_status(p->dev); break;
    case CONFIG_GENERATION: *v = p->dev->config_generation & 0xff; break;
    case QUEUE_SELECT: *v = p->queue_select; break;
    default: return false;
    }
    return true;
}

static uint32_t read_queue_field(struct virtio_pci *p, unsigned at)
{
    bool resetting = virtio_queue_resetting(p->dev, p->queue_select);
    const struct vq *q = selected(p);

    if (!q)
        return 0; /* 4.1.4.3.1: queue_size 0 says that there is none */
    switch (at) {
    case QUEUE_SIZE: return q->size;
    case QUEUE_MSIX_VECTOR: return p->vector[p->queue_select];
    case QUEUE_ENABLE: return q->started;
    case QUEUE_NOTIFY_OFF:
    case QUEUE_NOTIF_CONFIG_DATA: return p->queue_select;
    case QUEUE_DESC: return (uint32_t)q->desc;
    case QUEUE_DESC + 4: return (uint32_t)(q->desc >> 32);
    case QUEUE_DRIVER: return (uint32_t)q->driver;
    case QUEUE_DRIVER + 4: return (uint32_t)(q->driver >> 32);
    case QUEUE_DEVICE: return (uint32_t)q->device;
    case QUEUE_DEVICE + 4: return (uint32_t)(q->device >> 32);
    case QUEUE_RESET: return resetting;
    default: return 0;
    }
}

/* Width of the field at this offset; 0: none begins here. */
static unsigned width(unsigned at)
{
    static const uint8_t widths[PCI_COMMON_BYTES] = {
        [DEVICE_FEATURE_SELECT] = 4, [DEVICE_FEATURE] = 4,
        [DRIVER_FEATURE_SELECT] = 4, [DRIVER_FEATURE] = 4,
        [CONFIG_MSIX_VECTOR] = 2,    [NUM_QUEUES] = 2,
        [DEVICE_STATUS] = 1,         [CONFIG_GENERATION] = 1,
        [QUEUE_SELECT] = 2,          [QUEUE_SIZE] = 2,
        [QUEUE_MSIX_VECTOR] = 2,     [QUEUE_ENABLE] = 2,
        [QUEUE_NOTIFY_OFF] = 2,      [QUEUE_DESC] = 4,
        [QUEUE_DESC + 4] = 4,        [QUEUE_DRIVER] = 4,
        [QUEUE_DRIVER + 4] = 4,      [QUEUE_DEVICE] = 4,
        [QUEUE_DEVICE + 4] = 4,      [QUEUE_NOTIF_CONFIG_DATA] = 2,
        [QUEUE_RESET] = 2,
    };

    return at < sizeof(widths) ? widths[at] : 0;
}

/* 4.1.3.1: accesses have the width of the field, 64-bit ones come as two halves. An 8-byte access is taken as these two. */
static void common_read(struct virtio_pci *p, unsigned at, uint8_t *data, unsigned len)
{
    uint32_t v = 0;

    memset(data, 0, len);
    if (len == 8 && width(at) == 4 && width(at + 4) == 4) {
        common_read(p, at, data, 4);
        common_read(p, at + 4, data + 4, 4);
        return;
    }
    if (width(at) != len)
        return;
    if (!read_device_field(p, at, &v))
        v = read_queue_field(p, at);
    vm_store_le(data, len, v);
}

static void set_half(gpa_t *address, unsigned half, uint32_t v)
{
    *address = (*address & ~(0xffffffffULL << (half * 32))) | (uint64_t)v << (half * 32);
}

static uint16_t check_vector(const struct virtio_pci *p, uint32_t v)
{
    return v < p->fn.msix.vectors ? (uint16_t)v : VIRTIO_NO_VECTOR;
}

static void write_queue_field(struct virtio_pci *p, unsigned at, uint32_t v)
{
    struct vq *q = selected(p);

    if (!q)
        return;
    (void)virtio_queue_resetting(p->dev, p->queue_select);
    if (at == QUEUE_MSIX_VECTOR) {
        p->vector[p->queue_select] = check_vector(p, v);
        virtio_pci_call_update(p, p->queue_select);
        return;
    }
    if (at == QUEUE_RESET) {
        if (v == 1)
            virtio_queue_reset(p->dev, p->queue_select);
        return;
    }
    if (q->started)
        return; /* 4.1.4.3.2: not after it was enabled */
    switch (at) {
    case QUEUE_SIZE: q->size = (uint16_t)v; break;
    case QUEUE_ENABLE:
        if (v == 1)
            virtio_queue_enable(p->dev, p->queue_select);
        break;
    case QUEUE_DESC: set_half(&q->desc, 0, v); break;
    case QUEUE_DESC + 4: set_half(&q->desc, 1, v); break;
    case QUEUE_DRIVER: set_half(&q->driver, 0, v); break;
    case QUEUE_DRIVER + 4: set_half(&q->driver, 1, v); break;
    case QUEUE_DEVICE: set_half(&q->device, 0, v); break;
    case QUEUE_DEVICE + 4: set_half(&q->device, 1, v); break;
    default: break;
    }
}

static void common_write(struct virtio_pci *p, unsigned at, const uint8_t *data, unsigned len)
{
    uint32_t v;

    if (len == 8 && width(at) == 4 && width(at + 4) == 4) {
        common_write(p, at, data, 4);
        common_write(p, at + 4, data + 4, 4);
        return;
    }
    if (width(at) != len)
        return;
    v = (uint32_t)vm_load_le(data, len);
    switch (at) {
    case DEVICE_FEATURE_SELECT: p->feature_select = v; break;
    case DRIVER_FEATURE_SELECT: p->driver_feature_select = v; break;
    case DRIVER_FEATURE: virtio_set_driver_features(p->dev, p->driver_feature_select, v); break;
    case CONFIG_MSIX_VECTOR: p->config_vector = check_vector(p, v); break;
    /* A reset that waits shows the old status until it has ended (4.1.4.3.1): the driver polls. */
    case DEVICE_STATUS: virtio_set_status(p->dev, (uint8_t)v); break;
    case QUEUE_SELECT: p->queue_select = (uint16_t)v; break;
    default: write_queue_field(p, at, v); break;
    }
}

static uint8_t take_isr(struct virtio_pci *p)
{
    uint8_t isr = p->isr;

    p->isr = 0; /* 4.1.4.5.1: a read clears it and lowers the line */
    vpci_intx_set(&p->fn, false);
    return isr;
}

int virtio_pci_bar_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct virtio_pci *p = self;

    if (vpci_msix_read(&p->fn, offset, data, len))
        return 0;
    memset(data, 0, len);
    if (offset < PCI_COMMON_BYTES)
        common_read(p, (unsigned)offset, data, len);
    else if (offset == PCI_ISR)
        data[0] = take_isr(p);
    else if (offset >= PCI_DEVICE && offset < PCI_NOTIFY)
        virtio_config_read(p->dev, (uint32_t)(offset - PCI_DEVICE), data, len);
    return 0;
}

int virtio_pci_bar_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct virtio_pci *p = self;

    if (vpci_msix_write(&p->fn, offset, data, len))
        return 0;
    if (offset < PCI_COMMON_BYTES)
        common_write(p, (unsigned)offset, data, len);
    else if (offset >= PCI_DEVICE && offset < PCI_NOTIFY)
        virtio_config_write(p->dev, (uint32_t)(offset - PCI_DEVICE), data, len);
    else if (offset >= PCI_NOTIFY && offset < p->msix_at)
        virtio_queue_ring(p->dev, (uint16_t)((offset - PCI_NOTIFY) / PCI_NOTIFY_STEP));
    return 0;
}

const struct vdev_region_ops virtio_pci_bar_ops = { .read = virtio_pci_bar_read,
                                                    .write = virtio_pci_bar_write };
