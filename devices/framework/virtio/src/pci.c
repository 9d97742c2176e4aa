/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The PCI transport (VIRTIO 1.2, 4.1): a virtio device as a PCI function. */
#include "pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

/* 4.1.2, 4.1.4 */
enum {
    VENDOR = 0x1af4,
    DEVICE_BASE = 0x1040,
    CAP_VENDOR = 0x09,
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_PCI = 5,
    CAP_BYTES = 16,
    CAP_LONG_BYTES = 20,
    WINDOW_BAR = 4, /* offsets in the capability */
    WINDOW_OFFSET = 8,
    WINDOW_LENGTH = 12,
    WINDOW_DATA = 16,
    CONFIG_VECTORS = 1,
    PBA_ROOM = 0x1000,
    REG_COMMAND = 4,
};

/* Class codes that operating systems show; only 0x00 "unclassified" exists for the rest (PCI Code and ID Assignment 1.15). */
static uint32_t class_code(uint32_t id)
{
    switch (id) {
    case VIRTIO_ID_NET: return 0x020000;
    case VIRTIO_ID_BLOCK: return 0x018000;
    case VIRTIO_ID_CONSOLE: return 0x078000;
    default: return 0x00ff00;
    }
}

static struct virtio_pci *of(struct virtio_transport *t)
{
    return container_of(t, struct virtio_pci, transport);
}

static void interrupt(struct virtio_pci *p, uint16_t vector, uint8_t isr)
{
    if (vpci_msix_enabled(&p->fn)) {
        if (vector != VIRTIO_NO_VECTOR)
            vpci_msix_notify(&p->fn, vector);
        return;
    }
    p->isr |= isr;
    vpci_intx_set(&p->fn, true);
}

static void notify_queue(struct virtio_transport *t, uint16_t n)
{
    interrupt(of(t), of(t)->vector[n], ISR_QUEUE);
}

static void notify_config(struct virtio_transport *t)
{
    struct virtio_pci *p = of(t);

    p->isr |= ISR_CONFIG; /* 4.1.5.4: also with MSI-X the driver may look here */
    interrupt(p, p->config_vector, ISR_CONFIG);
}

static uint64_t doorbell_address(const struct virtio_pci *p, uint16_t n)
{
    return p->doorbell_base + PCI_NOTIFY + (uint64_t)n * PCI_NOTIFY_STEP;
}

static void doorbells_remove(struct virtio_pci *p)
{
    struct vdev_machine *m = p->dev->dev.machine;

    for (uint16_t n = 0; n < p->dev->queues; n++)
        if (p->doorbell[n]) {
            m->ops->doorbell_del(m, false, doorbell_address(p, n), 0, false, 0, p->dev->kick[n].fd);
            p->doorbell[n] = false;
        }
}

/* See dma_changed(). */
static bool may_ring(const struct virtio_pci *p, uint16_t n)
{
    return !p->dev->kick[n].remote || vpci_bus_master(&p->fn);
}

/* Writes to the doorbells of started queues go straight to the loop. Where the machine cannot do that, the region gets them;
 * so it does under another device's BAR, whose doorbells these addresses are. */
static void doorbells_install(struct virtio_pci *p)
{
    struct vdev_machine *m = p->dev->dev.machine;
    int fd;

    if (!p->fn.bar[PCI_BAR].mapped || p->dev->kick_now)
        return;
    p->doorbell_base = p->fn.bar[PCI_BAR].region.base;
    for (uint16_t n = 0; n < p->dev->queues; n++)
        if (p->dev->queue[n].started && !p->doorbell[n] && may_ring(p, n) &&
            vpci_bar_reached(&p->fn, PCI_BAR, PCI_NOTIFY + (uint64_t)n * PCI_NOTIFY_STEP) &&
            !virtio_kick_fd(p->dev, n, &fd))
            p->doorbell[n] =
                !m->ops->doorbell_add(m, false, doorbell_address(p, n), 0, false, 0, fd);
}

static void running(struct virtio_transport *t, bool on)
{
    if (on)
        doorbells_install(of(t));
    else
        doorbells_remove(of(t));
}

/* ---- interrupts that do not pass through here ---- */

static void call_remove(struct virtio_pci *p, uint16_t n)
{
    struct vdev_machine *m = p->dev->dev.machine;

    if (p->call[n].fd < 0)
        return;
    m->ops->call_del(m, p->call[n].fd, p->call[n].number);
    p->call[n].fd = -1;
}

static void calls_remove(struct virtio_pci *p)
{
    for (uint16_t n = 0; n < p->dev->queues; n++)
        call_remove(p, n);
}

/* A queue that somebody else serves, with a vector that is on and may send: his eventfd is the message. While the vector is off, or the driver
 * uses the pin, what he signals is looked at here (notify_queue()), and so is whatever is not the eventfd's: both ways may be taken at a
 * time, for a message too many does no harm. */
void virtio_pci_call_update(struct virtio_pci *p, uint16_t n)
{
    struct vdev_machine *m = p->dev->dev.machine;
    int fd = p->dev->kick[n].call_fd;
    struct vdev_msi msi;

    call_remove(p, n);
    if (fd >= 0 && !p->leaves && m->ops->call_add && p->vector[n] != VIRTIO_NO_VECTOR &&
        vpci_msix_message(&p->fn, p->vector[n], &msi) &&
        !m->ops->call_add(m, &msi, fd, &p->call[n].number))
        p->call[n].fd = fd;
}

void virtio_pci_calls_update(struct virtio_pci *p)
{
    for (uint16_t n = 0; n < p->dev->queues; n++)
        virtio_pci_call_update(p, n);
}

static void called(struct virtio_transport *t, uint16_t n)
{
    virtio_pci_call_update(of(t), n);
}

static void vector_changed(struct vpci_function *fn, unsigned vector, bool on)
{
    struct virtio_pci *p = fn->self;

    (void)on;
    for (uint16_t n = 0; n < p->dev->queues; n++)
        if (p->vector[n] == vector)
            virtio_pci_call_update(p, n);
}

void virtio_pci_vectors_reset(struct virtio_pci *p)
{
    p->config_vector = VIRTIO_NO_VECTOR;
    for (uint16_t n = 0; n < p->dev->queues; n++)
        p->vector[n] = VIRTIO_NO_VECTOR;
}

static void reset(struct virtio_transport *t, bool power_on)
{
    struct virtio_pci *p = of(t);

    virtio_pci_vectors_reset(p);
    calls_remove(p);
    p->feature_select = p->driver_feature_select = 0;
    p->queue_select = 0;
    p->isr = 0;
    vpci_intx_set(&p->fn, false);
    if (power_on)
        vpci_function_reset(&p->fn);
}

static bool may_dma(struct virtio_transport *t)
{
    return vpci_bus_master(&of(t)->fn);
}

static void bar_moved(struct vpci_function *fn, unsigned bar, uint64_t base)
{
    struct virtio_pci *p = fn->self;

    virtio_pci_shm_moved(p, bar, base);
    if (bar != PCI_BAR)
        return;
    doorbells_remove(p);
    if (base && p->dev->running && !p->dev->stopping)
        doorbells_install(p);
}

/* The configuration access capability (4.1.4.9): BAR accesses through config space, for who cannot map the BAR. */
static bool window(struct virtio_pci *p, uint32_t *ret_offset, unsigned *ret_len)
{
    const uint8_t *c = p->fn.config + p->window;

    *ret_offset = (uint32_t)vm_load_le(c + WINDOW_OFFSET, 4);
    *ret_len = (unsigned)vm_load_le(c + WINDOW_LENGTH, 4);
    return c[WINDOW_BAR] == PCI_BAR && (*ret_len == 1 || *ret_len == 2 || *ret_len == 4) &&
           !(*ret_offset % *ret_len) && vm_range_in(*ret_offset, *ret_len, p->fn.bar[PCI_BAR].size);
}

static bool touches_window(const struct virtio_pci *p, unsigned offset, unsigned len)
{
    return vm_ranges_overlap(offset, len, p->window + WINDOW_DATA, 4);
}

static void config_read(struct vpci_function *fn, unsigned offset, unsigned len)
{
    struct virtio_pci *p = fn->self;
    uint32_t at;
    unsigned n;

    if (touches_window(p, offset, len) && window(p, &at, &n))
        virtio_pci_bar_read(p, at, fn->config + p->window + WINDOW_DATA, n);
}

/* A doorbell that reaches a back end elsewhere makes it read memory, whatever we think of that. */
static int dma_changed(struct virtio_pci *p)
{
    int rc;

    if (p->dev->running && virtio_any_remote(p->dev)) {
        doorbells_remove(p);
        doorbells_install(p); /* if it may */
    }
    virtio_pci_calls_update(p);
    rc = virtio_dma_changed(p->dev);
    if (rc == -EINPROGRESS)
        vdev_park(&p->dev->dev);
    return rc;
}

static int config_written(struct vpci_function *fn, unsigned offset, unsigned len)
{
    struct virtio_pci *p = fn->self;
    uint32_t at;
    unsigned n;

    if (vm_ranges_overlap(offset, len, REG_COMMAND, 2))
        return dma_changed(p); /* no access reaches the window as well */
    if (touches_window(p, offset, len) && window(p, &at, &n))
        return virtio_pci_bar_write(p, at, fn->config + p->window + WINDOW_DATA, n);
    return 0;
}

static const struct vpci_ops function_ops = {
    .config_written = config_written,
    .config_read = config_read,
    .bar_moved = bar_moved,
    .vector_changed = vector_changed,
};

/* struct virtio_pci_cap behind the two standard bytes: length, type, BAR, id, padding, offset, length (4.1.4). */
static int add_cap(struct virtio_pci *p, uint8_t type, uint32_t offset, uint32_t length,
                   uint32_t extra, unsigned bytes, unsigned *ret_at)
{
    uint8_t body[CAP_LONG_BYTES] = { CAP_VENDOR, 0, (uint8_t)bytes, type, PCI_BAR };
    uint8_t writable[CAP_LONG_BYTES] = { 0 };

    vm_store_le(body + WINDOW_OFFSET, 4, offset);
    vm_store_le(body + WINDOW_LENGTH, 4, length);
    vm_store_le(body + WINDOW_DATA, 4, extra);
    if (type == CFG_PCI) { /* all but its head may be written */
        writable[WINDOW_BAR] = 0xff;
        memset(writable + WINDOW_OFFSET, 0xff, CAP_LONG_BYTES - WINDOW_OFFSET);
        body[WINDOW_BAR] = 0;
    }
    return vpci_cap_add(&p->fn, CAP_VENDOR, body, writable, bytes, ret_at);
}

static int add_caps(struct virtio_pci *p)
{
    uint32_t config = p->dev->config_bytes, notify = p->dev->queues * (uint32_t)PCI_NOTIFY_STEP;
    unsigned at;
    int rc = add_cap(p, CFG_COMMON, PCI_COMMON, PCI_COMMON_BYTES, 0, CAP_BYTES, &at);

    if (!rc)
        rc = add_cap(p, CFG_ISR, PCI_ISR, 1, 0, CAP_BYTES, &at);
    if (!rc && config)
        rc = add_cap(p, CFG_DEVICE, PCI_DEVICE, config, 0, CAP_BYTES, &at);
    if (!rc)
        rc = add_cap(p, CFG_NOTIFY, PCI_NOTIFY, notify, PCI_NOTIFY_STEP, CAP_LONG_BYTES, &at);
    if (!rc)
        rc = add_cap(p, CFG_PCI, 0, 0, 0, CAP_LONG_BYTES, &p->window);
    return rc ? rc : virtio_pci_shm_add(p);
}

static int set_up(struct virtio_pci *p)
{
    const struct vpci_ids ids = {
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_BASE + p->dev->id),
        .subsystem_vendor = VENDOR,
        .subsystem = (uint16_t)(DEVICE_BASE + p->dev->id), /* 4.1.2.1: 0x40 or higher */
        .class_code = class_code(p->dev->id),
        .revision = 1,
    };
    uint16_t vectors = (uint16_t)(p->dev->queues + CONFIG_VECTORS);
    uint64_t size = PCI_NOTIFY + (uint64_t)p->dev->queues * PCI_NOTIFY_STEP, bar = 0x4000;
    int rc;

    size = (size + 0xfff) & ~0xfffULL;
    p->msix_at = (uint32_t)size;
    size += ((vectors * 16ULL) + 0xfff) & ~0xfffULL;
    while (bar < size + PBA_ROOM)
        bar *= 2;
    vpci_function_init(&p->fn, p->dev->dev.id, &ids, &function_ops, p, &p->dev->dev);
    rc = vpci_bar_add(&p->fn, PCI_BAR, VPCI_BAR_MEM64, bar, &virtio_pci_bar_ops, p);
    if (!rc)
        rc = vpci_msix_add(&p->fn, vectors, PCI_BAR, p->msix_at, (uint32_t)size);
    return rc ? rc : add_caps(p);
}

static void release(struct virtio_pci *p)
{
    vpci_function_exit(&p->fn);
    free(p->vector);
    free(p->doorbell);
    free(p->call);
    free(p);
}

int virtio_pci_new(struct virtio_dev *dev, struct vpci_root *root, const char *addr,
                   struct virtio_pci **ret_pci)
{
    static const struct virtio_transport transport = { .notify_queue = notify_queue,
                                                       .notify_config = notify_config,
                                                       .running = running,
                                                       .reset = reset,
                                                       .may_dma = may_dma,
                                                       .called = called };
    struct virtio_pci *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    p->transport = transport;
    p->dev = dev;
    p->vector = calloc(dev->queues + 1U, sizeof(*p->vector));
    p->doorbell = calloc(dev->queues + 1U, sizeof(*p->doorbell));
    p->call = calloc(dev->queues + 1U, sizeof(*p->call));
    if (!p->vector || !p->doorbell || !p->call) {
        free(p->vector);
        free(p->doorbell);
        free(p->call);
        free(p);
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    }
    virtio_pci_vectors_reset(p);
    for (uint16_t n = 0; n < dev->queues; n++)
        p->call[n].fd = -1;
    rc = set_up(p);
    if (!rc)
        rc = vpci_plug(root, &p->fn, addr);
    if (rc) {
        release(p);
        return rc;
    }
    vm_lock_acquire(&dev->dev.lock);
    virtio_attach(dev, &p->transport);
    vm_lock_release(&dev->dev.lock);
    *ret_pci = p;
    return 0;
}

void virtio_pci_unplug(struct virtio_pci *p, void (*gone)(void *ctx), void *ctx)
{
    vm_lock_acquire(&p->dev->dev.lock);
    p->leaves = true;
    calls_remove(p);
    vm_lock_release(&p->dev->dev.lock);
    vpci_unplug(&p->fn, gone, ctx); /* its BAR goes, and with that the doorbells */
}

int virtio_pci_swap(struct virtio_pci *p, struct virtio_dev *next)
{
    int rc = virtio_same_shape(p->dev, next);

    if (rc)
        return rc;
    vm_lock_acquire(&p->dev->dev.lock);
    calls_remove(p);
    vm_lock_release(&p->dev->dev.lock);
    virtio_leave_transport(p->dev);
    vpci_function_give(&p->fn, next->dev.id, &next->dev);
    p->dev = next;
    virtio_enter_transport(next, &p->transport);
    vm_lock_acquire(&next->dev.lock);
    virtio_pci_calls_update(p);
    vm_lock_release(&next->dev.lock);
    return 0;
}

void virtio_pci_free(struct virtio_pci *p)
{
    if (!p)
        return;
    vm_lock_acquire(&p->dev->dev.lock);
    doorbells_remove(p);
    calls_remove(p);
    virtio_attach(p->dev, NULL);
    vm_lock_release(&p->dev->dev.lock);
    vpci_unplug(&p->fn, NULL, NULL);
    vdev_destroy(&p->dev->dev);
    release(p);
}

struct vpci_function *virtio_pci_function(struct virtio_pci *p)
{
    return &p->fn;
}
