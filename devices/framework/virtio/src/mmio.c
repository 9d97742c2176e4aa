/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The MMIO transport, version 2 (VIRTIO 1.2, 4.2). */
#include "virtio_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/virtio/shm.h>
#include <vmm/virtio/transport.h>

/* 4.2.2 */
enum {
    MAGIC_VALUE = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    SHM_SEL = 0x0ac,
    SHM_LEN = 0x0b0, /* low, high; all ones: no such region */
    SHM_BASE = 0x0b8,
    QUEUE_RESET = 0x0c0,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,

    INT_QUEUE = 1,
    INT_CONFIG = 2,
};
#define MAGIC  0x74726976U /* "virt" */
#define VENDOR 0x4d4d5648U /* "HVMM" */

struct virtio_mmio {
    struct virtio_transport transport;
    struct virtio_dev *dev;
    struct vdev_bus *bus;
    struct vdev_region region;
    struct vdev_irq *irq;
    struct mmio_regs {
        uint32_t feature_select, driver_feature_select, queue_select, interrupt;
        uint32_t shm_select;
    } r;
    bool *doorbell;
    bool parked;
};

static struct virtio_mmio *of(struct virtio_transport *t)
{
    return container_of(t, struct virtio_mmio, transport);
}

static struct vq *selected(const struct virtio_mmio *m)
{
    return m->r.queue_select < m->dev->queues ? &m->dev->queue[m->r.queue_select] : NULL;
}

static void interrupt(struct virtio_mmio *m, uint32_t why)
{
    m->r.interrupt |= why;
    vdev_irq_set(m->irq, true);
}

static void notify_queue(struct virtio_transport *t, uint16_t n)
{
    (void)n;
    interrupt(of(t), INT_QUEUE);
}

static void notify_config(struct virtio_transport *t)
{
    interrupt(of(t), INT_CONFIG);
}

/* Each queue's number, written to QUEUE_NOTIFY, is a doorbell. */
static void running(struct virtio_transport *t, bool on)
{
    struct virtio_mmio *m = of(t);
    struct vdev_machine *machine = m->dev->dev.machine;
    uint64_t at = m->region.base + QUEUE_NOTIFY;
    int fd;

    for (uint16_t n = 0; !m->dev->kick_now && n < m->dev->queues; n++) {
        if (on && m->dev->queue[n].started && !m->doorbell[n] && !virtio_kick_fd(m->dev, n, &fd))
            m->doorbell[n] = !machine->ops->doorbell_add(machine, false, at, 4, true, n, fd);
        if (!on && m->doorbell[n]) {
            machine->ops->doorbell_del(machine, false, at, 4, true, n, m->dev->kick[n].fd);
            m->doorbell[n] = false;
        }
    }
}

static void unpark(struct virtio_mmio *m)
{
    if (!m->parked)
        return;
    m->parked = false;
    vdev_unpark(&m->dev->dev);
}

static void reset(struct virtio_transport *t, bool power_on)
{
    struct virtio_mmio *m = of(t);

    (void)power_on;
    m->r = (struct mmio_regs){ 0 };
    vdev_irq_set(m->irq, false);
    unpark(m);
}

/* Another vCPU may wait for another queue; each reset of the device calls reset() at its end. */
static void queue_stopped(struct virtio_transport *t, uint16_t n)
{
    (void)n;
    if (!virtio_queues_resetting(of(t)->dev))
        unpark(of(t));
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (select * 32)) : 0;
}

static uint32_t read_shm(const struct virtio_mmio *m, unsigned at)
{
    uint64_t v = UINT64_MAX;
    gpa_t gpa;

    if (virtio_shm_placed(m->dev, m->r.shm_select, &gpa))
        v = at < SHM_BASE ? virtio_shm_size(m->dev, m->r.shm_select) : gpa;
    return (uint32_t)(at & 4 ? v >> 32 : v & UINT32_MAX);
}

static uint32_t read_register(struct virtio_mmio *m, unsigned at)
{
    const struct vq *q = selected(m);
    bool resetting = q && virtio_queue_resetting(m->dev, (uint16_t)m->r.queue_select);

    switch (at) {
    case MAGIC_VALUE: return MAGIC;
    case VERSION: return 2;
    case DEVICE_ID: return m->dev->id;
    case VENDOR_ID: return VENDOR;
    case DEVICE_FEATURES: return feature_word(virtio_offered(m->dev), m->r.feature_select);
    case QUEUE_NUM_MAX: return q ? q->size_max : 0;
    case QUEUE_READY: return q ? q->started : 0;
    case QUEUE_RESET: return resetting;
    case INTERRUPT_STATUS: return m->r.interrupt;
    case STATUS: return virtio_status(m->dev);
    case CONFIG_GENERATION: return m->dev->config_generation;
    case SHM_LEN:
    case SHM_LEN + 4:
    case SHM_BASE:
    case SHM_BASE + 4: return read_shm(m, at);
    default: return 0;
    }
}

/* 4.2.2.2: a reset must be over when the write is: the driver does not poll, so the vCPU waits. */
static int write_status(struct virtio_mmio *m, uint8_t v)
{
    int rc;

    if (!v) { /* reset() ends it. Before the call: the end of the reset may come from another thread as soon as the lock is free */
        m->parked = true;
        vdev_park(&m->dev->dev);
    }
    rc = virtio_set_status(m->dev, v);
    return rc == -EINPROGRESS ? rc : 0;
}

/* 4.2.2.2: QueueReady 0 stops the queue. Drivers read it back once and take the ring's memory: the vCPU waits. queue_stopped() or
 * reset() ends it, also from another thread. */
static int stop_queue(struct virtio_mmio *m, uint16_t n)
{
    bool was = m->parked;
    int rc;

    m->parked = true;
    vdev_park(&m->dev->dev);
    rc = virtio_queue_stop(m->dev, n);
    if (rc != -EINPROGRESS && !was)
        unpark(m);
    return rc;
}

static void write_stopped_queue(struct virtio_mmio *m, struct vq *q, unsigned at, uint32_t v)
{
    gpa_t *area;

    switch (at) {
    case QUEUE_NUM: q->size = v <= UINT16_MAX ? (uint16_t)v : 0; return;
    case QUEUE_READY:
        if (v == 1)
            virtio_queue_enable(m->dev, (uint16_t)m->r.queue_select);
        return;
    case QUEUE_DESC:
    case QUEUE_DESC + 4: area = &q->desc; break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4: area = &q->driver; break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4: area = &q->device; break;
    default: return;
    }
    *area = at & 4 ? (*area & UINT32_MAX) | (uint64_t)v << 32 : (*area & ~(uint64_t)UINT32_MAX) | v;
}

static int write_queue(struct virtio_mmio *m, unsigned at, uint32_t v)
{
    struct vq *q = selected(m);

    if (!q)
        return 0;
    (void)virtio_queue_resetting(m->dev, (uint16_t)m->r.queue_select);
    if (at == QUEUE_RESET && v == 1)
        virtio_queue_reset(m->dev, (uint16_t)m->r.queue_select);
    else if (at == QUEUE_READY && !v && q->started)
        return stop_queue(m, (uint16_t)m->r.queue_select);
    else if (!q->started) /* 4.2.2.2: not while QueueReady is 1 */
        write_stopped_queue(m, q, at, v);
    return 0;
}

static int write_register(struct virtio_mmio *m, unsigned at, uint32_t v)
{
    switch (at) {
    case DEVICE_FEATURES_SEL: m->r.feature_select = v; break;
    case DRIVER_FEATURES_SEL: m->r.driver_feature_select = v; break;
    case DRIVER_FEATURES: virtio_set_driver_features(m->dev, m->r.driver_feature_select, v); break;
    case QUEUE_SEL: m->r.queue_select = v; break;
    case SHM_SEL: m->r.shm_select = v; break;
    case QUEUE_NOTIFY:
        if (v <= UINT16_MAX)
            virtio_queue_ring(m->dev, (uint16_t)v);
        break;
    case INTERRUPT_ACK:
        m->r.interrupt &= ~v;
        if (!m->r.interrupt)
            vdev_irq_set(m->irq, false);
        break;
    case STATUS: return write_status(m, (uint8_t)(v & 0xff));
    default: return write_queue(m, at, v);
    }
    return 0;
}

/* 4.2.2.2: registers are 32 bits wide and accessed so; config space by the width of its fields. */
static int region_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct virtio_mmio *m = self;

    memset(data, 0, len);
    if (offset >= CONFIG)
        virtio_config_read(m->dev, (uint32_t)offset - CONFIG, data, len);
    else if (len == 4 && !(offset & 3))
        vm_store_le(data, 4, read_register(m, (unsigned)offset));
    return 0;
}

static int region_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct virtio_mmio *m = self;

    if (offset >= CONFIG)
        virtio_config_write(m->dev, (uint32_t)offset - CONFIG, data, len);
    else if (len == 4 && !(offset & 3))
        return write_register(m, (unsigned)offset, (uint32_t)vm_load_le(data, 4));
    return 0;
}

static const struct vdev_region_ops region_ops = { .read = region_read, .write = region_write };

int virtio_mmio_new(struct virtio_dev *dev, struct vdev_bus *mmio, uint64_t base,
                    struct vdev_irq *irq, struct virtio_mmio **ret_mmio)
{
    struct virtio_mmio *m;
    int rc;

    if (dev->config_bytes > VIRTIO_MMIO_BYTES - CONFIG)
        return vm_fail(-EINVAL,
                       "%s: %u bytes of config space do not fit a virtio-mmio window: use bus=pci",
                       dev->dev.id, dev->config_bytes);
    m = calloc(1, sizeof(*m));
    if (!m)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    m->doorbell = calloc(dev->queues + 1U, sizeof(*m->doorbell));
    if (!m->doorbell) {
        free(m);
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    }
    m->transport = (struct virtio_transport){ .notify_queue = notify_queue,
                                              .notify_config = notify_config,
                                              .running = running,
                                              .reset = reset,
                                              .queue_stopped = queue_stopped };
    m->dev = dev;
    m->bus = mmio;
    m->irq = irq;
    m->region = (struct vdev_region){ .name = dev->dev.id,
                                      .base = base,
                                      .size = VIRTIO_MMIO_BYTES,
                                      .ops = &region_ops,
                                      .self = m,
                                      .lock = &dev->dev.lock,
                                      .dev = &dev->dev,
                                      .priority = 1 };
    rc = vdev_bus_add(mmio, &m->region);
    if (rc) {
        free(m->doorbell);
        free(m);
        return rc;
    }
    vm_lock_acquire(&dev->dev.lock);
    virtio_attach(dev, &m->transport);
    vm_lock_release(&dev->dev.lock);
    *ret_mmio = m;
    return 0;
}

/* Under the lock: nothing leads in any more, but accesses that have begun. */
static void cut(struct virtio_mmio *m)
{
    running(&m->transport, false);
    vdev_irq_set(m->irq, false);
    unpark(m);
}

void virtio_mmio_unplug(struct virtio_mmio *m, void (*gone)(void *ctx), void *ctx)
{
    vm_lock_acquire(&m->dev->dev.lock);
    cut(m);
    vm_lock_release(&m->dev->dev.lock);
    vdev_bus_del(m->bus, &m->region, gone, ctx);
}

int virtio_mmio_swap(struct virtio_mmio *m, struct virtio_dev *next)
{
    int rc = virtio_same_shape(m->dev, next);

    if (rc)
        return rc;
    virtio_leave_transport(m->dev);
    m->region.name = next->dev.id;
    m->region.lock = &next->dev.lock;
    m->region.dev = &next->dev;
    m->dev = next;
    virtio_enter_transport(next, &m->transport);
    return 0;
}

void virtio_mmio_free(struct virtio_mmio *m)
{
    if (!m)
        return;
    vm_lock_acquire(&m->dev->dev.lock);
    cut(m);
    virtio_attach(m->dev, NULL);
    vm_lock_release(&m->dev->dev.lock);
    if (m->region.on_bus)
        vdev_bus_del(m->bus, &m->region, NULL, NULL);
    vdev_destroy(&m->dev->dev);
    free(m->doorbell);
    free(m);
}

enum { REGS_VERSION = 2 };
static const struct vm_state_field regs_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct mmio_regs, feature_select) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct mmio_regs, driver_feature_select) },
    { .tag = 3, .type = VM_STATE_U32, .offset = offsetof(struct mmio_regs, queue_select) },
    { .tag = 4, .type = VM_STATE_U32, .offset = offsetof(struct mmio_regs, interrupt) },
    { .tag = 5,
      .type = VM_STATE_U32,
      .since = 2,
      .offset = offsetof(struct mmio_regs, shm_select) },
    { 0 },
};

int virtio_mmio_save(struct virtio_mmio *m, struct vm_buffer *buffer)
{
    struct vm_buffer own = { 0 };
    struct mmio_regs r;
    int rc;

    vm_lock_acquire(&m->dev->dev.lock);
    r = m->r;
    vm_lock_release(&m->dev->dev.lock);
    rc = vm_state_save(regs_fields, REGS_VERSION, &r, &own);
    if (!rc)
        rc = virtio_section_add(buffer, &own);
    vm_buffer_free(&own);
    return rc ? rc : virtio_save_rest(m->dev, buffer);
}

int virtio_mmio_load(struct virtio_mmio *m, const void *untrusted, size_t size)
{
    struct virtio_sections s;
    struct mmio_regs r = { 0 };
    int rc = virtio_sections_split(untrusted, size, &s);

    if (!rc)
        rc = vm_state_load(regs_fields, REGS_VERSION, s.data[0], s.size[0], &r, sizeof(r));
    if (!rc && r.interrupt & ~(uint32_t)(INT_QUEUE | INT_CONFIG))
        rc = vm_fail(-EINVAL, "%s: interrupt status %#x", m->dev->dev.id, r.interrupt);
    if (rc)
        return rc;
    vm_lock_acquire(&m->dev->dev.lock);
    rc = virtio_load_begin(m->dev);
    if (!rc) {
        m->r = r;
        vdev_irq_set(m->irq, r.interrupt);
    }
    vm_lock_release(&m->dev->dev.lock);
    return rc ? rc : virtio_load_rest(m->dev, &s);
}
