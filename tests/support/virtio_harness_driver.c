/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The guest's driver for a virtio device: it knows registers (VIRTIO 1.2, 3.1, 4.1 and 4.2) and nothing of our structs. */
#include "virtio_harness.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

/* 4.2.2 */
enum {
    M_MAGIC = 0x00,
    M_VERSION = 0x04,
    M_DEVICE_FEATURES = 0x10,
    M_DEVICE_FEATURES_SEL = 0x14,
    M_DRIVER_FEATURES = 0x20,
    M_DRIVER_FEATURES_SEL = 0x24,
    M_QUEUE_SEL = 0x30,
    M_QUEUE_NUM_MAX = 0x34,
    M_QUEUE_NUM = 0x38,
    M_QUEUE_READY = 0x44,
    M_QUEUE_NOTIFY = 0x50,
    M_INTERRUPT_STATUS = 0x60,
    M_INTERRUPT_ACK = 0x64,
    M_STATUS = 0x70,
    M_QUEUE_DESC = 0x80,
    M_QUEUE_DRIVER = 0x90,
    M_QUEUE_DEVICE = 0xa0,
    M_CONFIG = 0x100,
};
/* 4.1.4.3 */
enum {
    C_DEVICE_FEATURE_SELECT = 0x00,
    C_DEVICE_FEATURE = 0x04,
    C_DRIVER_FEATURE_SELECT = 0x08,
    C_DRIVER_FEATURE = 0x0c,
    C_CONFIG_VECTOR = 0x10,
    C_NUM_QUEUES = 0x12,
    C_STATUS = 0x14,
    C_QUEUE_SELECT = 0x16,
    C_QUEUE_SIZE = 0x18,
    C_QUEUE_VECTOR = 0x1a,
    C_QUEUE_ENABLE = 0x1c,
    C_QUEUE_NOTIFY_OFF = 0x1e,
    C_QUEUE_RESET = 0x3a,
    C_QUEUE_DESC = 0x20,
    C_QUEUE_DRIVER = 0x28,
    C_QUEUE_DEVICE = 0x30,
};
/* PCI and 4.1.4 */
enum {
    P_COMMAND = 0x04,
    P_STATUS = 0x06,
    P_BAR = 0x10,
    P_CAPS = 0x34,
    P_COMMAND_MEMORY = 2,
    P_COMMAND_MASTER = 4,
    P_STATUS_CAPS = 0x10,
    P_CAP_VENDOR = 9,
    P_CAP_MSIX = 0x11,
    P_MSIX_ENABLE = 0x8000,
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
    CAP_WINDOW = 5,
};
enum { QUEUE_SIZE_USED = 256, HEAP_START = 0x10000, STEPS_MAX = 64 };
#define OWN_FEATURES    (0xffffffULL | ~((1ULL << 50) - 1)) /* 6: bits that belong to device types */
#define COMMON_FEATURES (VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_RING_RESET)

static bool is_pci(const struct vh *h)
{
    return h->config.transport == VH_PCI || h->config.transport == VH_PCI_INTX;
}

/* ---- accesses ---- */

uint64_t vh_read(struct vh *h, uint64_t addr, unsigned len)
{
    uint8_t data[8] = { 0 };

    (void)vdev_bus_read(&h->reader, addr, data, len, NULL);
    return vm_load_le(data, len);
}

int vh_write(struct vh *h, uint64_t addr, unsigned len, uint64_t value)
{
    struct vh_doorbell *d;
    uint8_t data[8];
    int fd = -1;

    pthread_mutex_lock(&h->lock);
    d = vh_find_doorbell(h, false, addr, len, value & vm_mask_bytes(len));
    if (d)
        fd = d->fd;
    pthread_mutex_unlock(&h->lock);
    if (fd >= 0) {
        vm_eventfd_signal(fd);
        return 0;
    }
    vm_store_le(data, 8, value);
    return vdev_bus_write(&h->reader, addr, data, len, NULL);
}

static uint64_t config_at(const struct vh *h, unsigned at)
{
    return VH_ECAM + ((uint64_t)h->slot << 15 | at);
}

uint32_t vh_pci_read(struct vh *h, unsigned at, unsigned len)
{
    return (uint32_t)vh_read(h, config_at(h, at), len);
}

int vh_pci_write(struct vh *h, unsigned at, unsigned len, uint32_t value)
{
    return vh_write(h, config_at(h, at), len, value);
}

static uint64_t common_read(struct vh *h, unsigned at, unsigned len)
{
    return vh_read(h, h->common + at, len);
}

static int common_write(struct vh *h, unsigned at, unsigned len, uint64_t value)
{
    return vh_write(h, h->common + at, len, value);
}

static uint32_t window_read(struct vh *h, unsigned at)
{
    return (uint32_t)vh_read(h, VH_MMIO + at, 4);
}

static int window_write(struct vh *h, unsigned at, uint32_t value)
{
    return vh_write(h, VH_MMIO + at, 4, value);
}

/* ---- discovery ---- */

static void read_bars(struct vh *h)
{
    for (unsigned i = 0; i < 6; i++) {
        uint32_t low = vh_pci_read(h, P_BAR + 4 * i, 4);

        h->bar[i] = low & ~0xfU;
        if ((low & 7) == 4 && i < 5) {
            h->bar[i] |= (uint64_t)vh_pci_read(h, P_BAR + 4 * i + 4, 4) << 32;
            i++;
        }
    }
}

static void take_virtio_cap(struct vh *h, unsigned at)
{
    uint64_t base = h->bar[vh_pci_read(h, at + 4, 1) % 6] + vh_pci_read(h, at + 8, 4);

    switch (vh_pci_read(h, at + 3, 1)) {
    case CAP_COMMON: h->common = base; break;
    case CAP_NOTIFY:
        h->notify = base;
        h->notify_step = vh_pci_read(h, at + 16, 4);
        break;
    case CAP_ISR: h->isr = base; break;
    case CAP_DEVICE: h->device_config = base; break;
    case CAP_WINDOW: h->window_cap = at; break;
    default: break;
    }
}

static void take_msix_cap(struct vh *h, unsigned at)
{
    uint32_t table = vh_pci_read(h, at + 4, 4);

    h->vectors = (uint16_t)((vh_pci_read(h, at + 2, 2) & 0x7ff) + 1);
    h->msix_table = h->bar[(table & 7) % 6] + (table & ~7U);
    if (h->config.transport != VH_PCI)
        return;
    for (unsigned v = 0; v < h->vectors && v < VH_VECTORS; v++) {
        vh_write(h, h->msix_table + 16 * v, 4, VH_MSI);
        vh_write(h, h->msix_table + 16 * v + 4, 4, 0);
        vh_write(h, h->msix_table + 16 * v + 8, 4, VH_MSI_DATA + v);
        vh_write(h, h->msix_table + 16 * v + 12, 4, 0);
    }
    vh_pci_write(h, at + 2, 2, P_MSIX_ENABLE);
}

static int probe_pci(struct vh *h)
{
    unsigned at;

    if (vh_pci_read(h, 0, 2) != 0x1af4 || !(vh_pci_read(h, P_STATUS, 2) & P_STATUS_CAPS))
        return -ENODEV;
    vh_pci_write(h, P_COMMAND, 2,
                 vh_pci_read(h, P_COMMAND, 2) | P_COMMAND_MEMORY | P_COMMAND_MASTER);
    read_bars(h);
    at = vh_pci_read(h, P_CAPS, 1);
    for (unsigned i = 0; at && i < STEPS_MAX; i++) {
        switch (vh_pci_read(h, at, 1)) {
        case P_CAP_VENDOR: take_virtio_cap(h, at); break;
        case P_CAP_MSIX: take_msix_cap(h, at); break;
        default: break;
        }
        at = vh_pci_read(h, at + 1, 1);
    }
    return h->common && h->notify && h->isr && h->window_cap ? 0 : -ENODEV;
}

int vh_probe(struct vh *h)
{
    if (h->config.other)
        return h->config.other->probe(h);
    if (is_pci(h))
        return probe_pci(h);
    return window_read(h, M_MAGIC) == 0x74726976 && window_read(h, M_VERSION) == 2 ? 0 : -ENODEV;
}

/* ---- status and features ---- */

uint64_t vh_offered(struct vh *h)
{
    uint64_t features = 0;

    if (h->config.other)
        return h->config.other->offered(h);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t word;

        if (is_pci(h)) {
            common_write(h, C_DEVICE_FEATURE_SELECT, 4, i);
            word = (uint32_t)common_read(h, C_DEVICE_FEATURE, 4);
        } else {
            window_write(h, M_DEVICE_FEATURES_SEL, i);
            word = window_read(h, M_DEVICE_FEATURES);
        }
        features |= (uint64_t)word << (32 * i);
    }
    return features;
}

void vh_write_features(struct vh *h, uint64_t features)
{
    if (h->config.other) {
        h->config.other->write_features(h, features);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        uint32_t word = (uint32_t)(features >> (32 * i) & UINT32_MAX);

        if (is_pci(h)) {
            common_write(h, C_DRIVER_FEATURE_SELECT, 4, i);
            common_write(h, C_DRIVER_FEATURE, 4, word);
        } else {
            window_write(h, M_DRIVER_FEATURES_SEL, i);
            window_write(h, M_DRIVER_FEATURES, word);
        }
    }
}

uint8_t vh_status(struct vh *h)
{
    if (h->config.other)
        return h->config.other->status(h);
    return (uint8_t)(is_pci(h) ? common_read(h, C_STATUS, 1) : window_read(h, M_STATUS) & 0xff);
}

int vh_set_status(struct vh *h, uint8_t status)
{
    if (h->config.other)
        return h->config.other->set_status(h, status);
    return is_pci(h) ? common_write(h, C_STATUS, 1, status) : window_write(h, M_STATUS, status);
}

static void forget(struct vh *h, unsigned n)
{
    if (!h->drv_made[n])
        return;
    pthread_mutex_lock(&h->lock);
    h->drv_made[n] = false;
    pthread_mutex_unlock(&h->lock);
    fake_driver_exit(&h->drv[n]);
}

/* PCI: polls until the status is 0; MMIO: the vCPU that wrote stands still until it is unparked. */
static bool reset_ended(struct vh *h)
{
    if (h->config.other)
        return h->config.other->reset_ended(h);
    if (is_pci(h))
        return !vh_status(h);
    return !__atomic_load_n(&h->dev->parked, __ATOMIC_ACQUIRE);
}

int vh_reset(struct vh *h, uint64_t limit_ns)
{
    uint64_t end = vm_loop_now_ns(h->loop) + limit_ns;

    vh_set_status(h, 0);
    while (!reset_ended(h)) {
        int rc = vh_idle(h);

        if (rc)
            return rc;
        if (reset_ended(h))
            break;
        if (vm_loop_now_ns(h->loop) >= end)
            return -ETIMEDOUT;
        if (vm_loop_step(h->loop, end - vm_loop_now_ns(h->loop)) < 0)
            return -EIO;
    }
    for (unsigned n = 0; n < VH_QUEUES; n++)
        forget(h, n);
    h->features = 0;
    return vh_status(h) ? -EIO : vh_idle(h);
}

static bool queue_stop_ended(struct vh *h)
{
    if (is_pci(h))
        return !common_read(h, C_QUEUE_RESET, 2);
    return !__atomic_load_n(&h->dev->parked, __ATOMIC_ACQUIRE);
}

int vh_queue_stop(struct vh *h, uint16_t n, uint64_t limit_ns)
{
    uint64_t end = vm_loop_now_ns(h->loop) + limit_ns;

    if (is_pci(h)) {
        common_write(h, C_QUEUE_SELECT, 2, n);
        common_write(h, C_QUEUE_RESET, 2, 1);
    } else {
        window_write(h, M_QUEUE_SEL, n);
        window_write(h, M_QUEUE_READY, 0);
    }
    while (!queue_stop_ended(h)) {
        if (vm_loop_now_ns(h->loop) >= end)
            return -ETIMEDOUT;
        if (vm_loop_step(h->loop, end - vm_loop_now_ns(h->loop)) < 0)
            return -EIO;
    }
    forget(h, n);
    return vh_queue_enabled(h, n) ? -EIO : 0;
}

int vh_negotiate(struct vh *h, uint64_t want)
{
    uint64_t features =
        COMMON_FEATURES |
        (want ? want & (OWN_FEATURES | VIRTIO_FEATURE_ACCESS_PLATFORM) : OWN_FEATURES);

    if (h->config.packed)
        features |= VQ_F_RING_PACKED;
    if (h->config.no_event_idx)
        features &= ~VQ_F_EVENT_IDX;
    if (h->config.no_indirect)
        features &= ~VQ_F_INDIRECT;
    vh_set_status(h, VIRTIO_ACKNOWLEDGE);
    vh_set_status(h, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    features &= vh_offered(h);
    vh_write_features(h, features);
    vh_set_status(h, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    if (!(vh_status(h) & VIRTIO_FEATURES_OK))
        return -ENOTSUP;
    h->features = features;
    if (is_pci(h) && h->config.transport == VH_PCI)
        common_write(h, C_CONFIG_VECTOR, 2, 0);
    return 0;
}

/* ---- queues ---- */

static void select_queue(struct vh *h, uint16_t n)
{
    if (is_pci(h))
        common_write(h, C_QUEUE_SELECT, 2, n);
    else
        window_write(h, M_QUEUE_SEL, n);
}

uint16_t vh_queue_size_max(struct vh *h, uint16_t n)
{
    if (h->config.other)
        return h->config.other->queue_size_max(h, n);
    select_queue(h, n);
    return (uint16_t)(is_pci(h) ? common_read(h, C_QUEUE_SIZE, 2)
                                : window_read(h, M_QUEUE_NUM_MAX) & UINT16_MAX);
}

bool vh_queue_enabled(struct vh *h, uint16_t n)
{
    if (h->config.other)
        return h->config.other->queue_enabled(h, n);
    select_queue(h, n);
    return is_pci(h) ? common_read(h, C_QUEUE_ENABLE, 2) : window_read(h, M_QUEUE_READY);
}

/* 4.2.3.2: the first queue whose largest size is 0 is not there. */
uint16_t vh_queues(struct vh *h)
{
    uint16_t n = 0;

    if (h->config.other)
        return h->config.other->queues(h);
    if (is_pci(h))
        return (uint16_t)common_read(h, C_NUM_QUEUES, 2);
    while (n < VIRTIO_QUEUES_MAX && vh_queue_size_max(h, n))
        n++;
    return n;
}

static void set_area(struct vh *h, unsigned pci, unsigned mmio, gpa_t at)
{
    if (is_pci(h)) {
        common_write(h, pci, 4, at & UINT32_MAX);
        common_write(h, pci + 4, 4, at >> 32);
    } else {
        window_write(h, mmio, (uint32_t)(at & UINT32_MAX));
        window_write(h, mmio + 4, (uint32_t)(at >> 32));
    }
}

void vh_queue_set(struct vh *h, uint16_t n, uint16_t size, gpa_t desc, gpa_t driver, gpa_t device)
{
    if (h->config.other) {
        h->config.other->queue_set(h, n, size, desc, driver, device);
        return;
    }
    select_queue(h, n);
    if (is_pci(h)) {
        common_write(h, C_QUEUE_SIZE, 2, size);
        if (h->config.transport == VH_PCI && n + 1 < h->vectors)
            common_write(h, C_QUEUE_VECTOR, 2, n + 1U);
    } else {
        window_write(h, M_QUEUE_NUM, size);
    }
    set_area(h, C_QUEUE_DESC, M_QUEUE_DESC, desc);
    set_area(h, C_QUEUE_DRIVER, M_QUEUE_DRIVER, driver);
    set_area(h, C_QUEUE_DEVICE, M_QUEUE_DEVICE, device);
}

void vh_queue_enable(struct vh *h, uint16_t n)
{
    if (h->config.other) {
        h->config.other->queue_enable(h, n);
        return;
    }
    select_queue(h, n);
    if (is_pci(h))
        common_write(h, C_QUEUE_ENABLE, 2, 1);
    else
        window_write(h, M_QUEUE_READY, 1);
}

/* Each queue's driver has an equal share of the memory above HEAP_START. */
static int make_driver(struct vh *h, uint16_t n, uint16_t size)
{
    uint16_t queues = vh_queues(h);
    uint64_t share = h->guest.bytes - HEAP_START;
    struct fake_config c = { .size = size, .features = h->features };
    int rc;

    share /= queues < VH_QUEUES ? queues : (uint64_t)VH_QUEUES;
    share &= ~(uint64_t)(GM_PAGE_BYTES - 1);
    c.heap = HEAP_START + n * share;
    c.heap_bytes = share;
    forget(h, n);
    rc = fake_driver_init(&h->drv[n], h->guest.space, &c);
    if (rc)
        return rc;
    pthread_mutex_lock(&h->lock);
    h->drv_made[n] = true;
    pthread_mutex_unlock(&h->lock);
    return 0;
}

int vh_queue(struct vh *h, uint16_t n, uint16_t size)
{
    uint16_t most = vh_queue_size_max(h, n);
    struct fake_driver *drv;
    int rc;

    if (n >= VH_QUEUES || !most)
        return -EINVAL;
    if (!size)
        size = most < QUEUE_SIZE_USED ? most : QUEUE_SIZE_USED;
    rc = make_driver(h, n, size);
    if (rc)
        return rc;
    drv = &h->drv[n];
    vh_queue_set(h, n, size, drv->desc, drv->driver, drv->device);
    vh_queue_enable(h, n);
    return vh_queue_enabled(h, n) ? 0 : -EIO;
}

int vh_start(struct vh *h, uint64_t want)
{
    int rc = vh_negotiate(h, want);

    for (uint16_t n = 0; !rc && n < vh_queues(h) && n < VH_QUEUES; n++)
        rc = vh_queue(h, n, 0);
    if (rc)
        return rc;
    vh_set_status(h, (uint8_t)(vh_status(h) | VIRTIO_DRIVER_OK));
    return vh_idle(h);
}

int vh_kick(struct vh *h, uint16_t n)
{
    if (h->config.other)
        return h->config.other->kick(h, n);
    if (!is_pci(h))
        return window_write(h, M_QUEUE_NOTIFY, n);
    select_queue(h, n);
    return vh_write(h, h->notify + common_read(h, C_QUEUE_NOTIFY_OFF, 2) * h->notify_step, 2, n);
}

int vh_serve(struct vh *h, uint16_t n)
{
    int rc = fake_driver_wants_kick(&h->drv[n]) ? vh_kick(h, n) : 0;

    return rc ? rc : vh_idle(h);
}

int vh_request(struct vh *h, uint16_t n, const struct fake_buf *bufs, size_t count)
{
    uint16_t id;
    uint32_t len;
    int want = fake_driver_offer(&h->drv[n], bufs, count), rc;

    if (want < 0)
        return want;
    rc = vh_serve(h, n);
    if (rc)
        return rc;
    rc = fake_driver_collect(&h->drv[n], &id, &len);
    if (rc <= 0)
        return rc ? rc : -EAGAIN;
    return id == want ? (int)len : -EBADE;
}

/* ---- configuration space ---- */

void vh_config_read(struct vh *h, uint32_t offset, void *data, uint32_t len)
{
    uint64_t base = is_pci(h) ? h->device_config : VH_MMIO + M_CONFIG;

    if (h->config.other) {
        h->config.other->config_read(h, offset, data, len);
        return;
    }
    for (uint32_t i = 0; i < len; i++)
        ((uint8_t *)data)[i] = (uint8_t)vh_read(h, base + offset + i, 1);
}

void vh_config_write(struct vh *h, uint32_t offset, const void *data, uint32_t len)
{
    uint64_t base = is_pci(h) ? h->device_config : VH_MMIO + M_CONFIG;

    if (h->config.other) {
        h->config.other->config_write(h, offset, data, len);
        return;
    }
    for (uint32_t i = 0; i < len; i++)
        vh_write(h, base + offset + i, 1, ((const uint8_t *)data)[i]);
}

/* ---- interrupts ---- */

bool vh_line(const struct vh *h)
{
    return __atomic_load_n(&h->pin[0].level, __ATOMIC_RELAXED);
}

unsigned vh_take_interrupt(struct vh *h)
{
    unsigned why;

    if (is_pci(h)) {
        why = (unsigned)vh_read(h, h->isr, 1);
    } else {
        why = window_read(h, M_INTERRUPT_STATUS);
        window_write(h, M_INTERRUPT_ACK, why);
    }
    h->config_interrupts += why >> 1 & 1;
    h->queue_interrupts += why & 1;
    if (why & 1)
        for (unsigned n = 0; n < VH_QUEUES; n++)
            if (h->drv_made[n])
                fake_driver_notify(&h->drv[n]);
    return why;
}
