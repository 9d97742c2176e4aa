/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The transports as a driver sees them: virtio-pci (VIRTIO 1.2, 4.1) and virtio-mmio (4.2), by
 * register accesses only. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

#include <vmm/pci/pci.h>
#include <vmm/virtio/transport.h>

enum {
    PCI_COMMAND = 0x04,
    PCI_BAR4 = 0x20,
    PCI_CAPS = 0x34,
    CAP_MSIX = 0x11,
    CAP_VENDOR = 0x09,
    PATIENCE = 5000, /* polls of a status that does not become 0 */
};

static uint32_t config_read(struct sim *s, struct sim_dev *d, unsigned offset, unsigned len)
{
    return (uint32_t)sim_read(s, d->ecam + offset, len);
}

static void config_write(struct sim *s, struct sim_dev *d, unsigned offset, unsigned len,
                         uint32_t value)
{
    sim_write(s, d->ecam + offset, len, value);
}

/* struct virtio_pci_cap: type, BAR, offset (4.1.4). */
static void take_cap(struct sim *s, struct sim_dev *d, unsigned cap)
{
    unsigned type = config_read(s, d, cap + 3, 1);
    unsigned offset = config_read(s, d, cap + 8, 4);

    switch (type) {
    case 1: d->common = offset; break;
    case 2:
        d->notify = offset;
        d->notify_step = config_read(s, d, cap + 16, 4);
        break;
    case 3: d->isr = offset; break;
    case 4: d->space = offset; break;
    default: break;
    }
}

static void set_vectors(struct sim *s, struct sim_dev *d)
{
    for (unsigned v = 0; v <= d->queues; v++) {
        uint64_t entry = d->bar + d->msix_bar_offset + 16 * v, addr;
        uint32_t data;

        test_message((int)s->config.arch.irqchip, 32 * d->number + v, &addr, &data);
        sim_write(s, entry, 4, (uint32_t)addr);
        sim_write(s, entry + 4, 4, 0);
        sim_write(s, entry + 8, 4, data);
        sim_write(s, entry + 12, 4, 0);
    }
    config_write(s, d, d->msix_cap + 2, 2, 0x8000);
}

static void probe_pci(struct sim *s, struct sim_dev *d, unsigned segment, unsigned device)
{
    const struct vpci_root_config *root = vpci_root_config_of(vmm_machine_pci(s->machine, segment));

    d->ecam = root->ecam_base + ((uint64_t)device << 15);
    d->window_base = root->mem64.base;
    d->window_bytes = root->mem64.size;
    d->bar = (config_read(s, d, PCI_BAR4, 4) & ~15U) | (uint64_t)config_read(s, d, PCI_BAR4 + 4, 4)
                                                           << 32;
    for (unsigned cap = config_read(s, d, PCI_CAPS, 1); cap; cap = config_read(s, d, cap + 1, 1)) {
        unsigned id = config_read(s, d, cap, 1);

        if (id == CAP_VENDOR)
            take_cap(s, d, cap);
        if (id == CAP_MSIX) {
            d->msix_cap = cap;
            d->msix_bar_offset = config_read(s, d, cap + 4, 4) & ~7U;
        }
    }
    if (!d->bar || !d->notify || !d->msix_cap)
        sim_fail(s, "%s: no virtio function at 0x%llx", d->id, (unsigned long long)d->ecam);
    config_write(s, d, PCI_COMMAND, 2, 6);
    if (d->msix)
        set_vectors(s, d);
}

void sim_bus_probe(struct sim *s, struct sim_dev *d)
{
    struct vdev *dev = vmm_machine_find(s->machine, d->id);
    unsigned segment, device;
    char place[64];

    vmm_machine_place(s->machine, dev, place, sizeof(place));
    if (d->pci && sscanf(place, "%x:00:%x.0", &segment, &device) == 2) {
        probe_pci(s, d, segment, device);
        return;
    }
    d->base = dev->firmware.resource[0].base;
    d->gsi = (uint32_t)dev->firmware.resource[1].base;
    if (sim_read(s, d->base, 4) != 0x74726976 || sim_read(s, d->base + 4, 4) != 2)
        sim_fail(s, "%s: no virtio window at 0x%llx", d->id, (unsigned long long)d->base);
}

/* Common structure (4.1.4.3) and registers (4.2.2) of the same meaning. */
uint64_t sim_bus_features(struct sim *s, struct sim_dev *d)
{
    uint64_t features = 0;

    for (unsigned half = 0; half < 2; half++) {
        if (d->pci)
            sim_write(s, d->bar + d->common, 4, half);
        else
            sim_write(s, d->base + 0x14, 4, half);
        features |= sim_read(s, d->pci ? d->bar + d->common + 4 : d->base + 0x10, 4) << (32 * half);
    }
    return features;
}

void sim_bus_set_features(struct sim *s, struct sim_dev *d, uint64_t features)
{
    for (unsigned half = 0; half < 2; half++) {
        sim_write(s, d->pci ? d->bar + d->common + 8 : d->base + 0x24, 4, half);
        sim_write(s, d->pci ? d->bar + d->common + 12 : d->base + 0x20, 4,
                  (uint32_t)(features >> (32 * half)));
    }
}

uint8_t sim_bus_status(struct sim *s, struct sim_dev *d)
{
    return (uint8_t)(d->pci ? sim_read(s, d->bar + d->common + 0x14, 1)
                            : sim_read(s, d->base + 0x70, 4));
}

void sim_bus_set_status(struct sim *s, struct sim_dev *d, uint8_t status)
{
    if (d->pci)
        sim_write(s, d->bar + d->common + 0x14, 1, status);
    else
        sim_write(s, d->base + 0x70, 4, status);
}

void sim_bus_reset(struct sim *s, struct sim_dev *d)
{
    sim_bus_set_status(s, d, 0);
    /* 4.2.2.2: with MMIO the write is the whole of it. */
    if (!d->pci) {
        uint8_t status = sim_bus_status(s, d);

        if (status && !d->leaving)
            sim_fail(s, "%s: status %#x right after a reset", d->id, status);
        return;
    }
    for (unsigned polls = 0; sim_bus_status(s, d) && !d->leaving; polls++) {
        if (polls == PATIENCE)
            sim_fail(s, "%s: a reset that never ends", d->id);
        sim_background(s, true);
        sim_wait_running(s);
    }
}

static void select_queue(struct sim *s, struct sim_dev *d, unsigned n)
{
    if (d->pci)
        sim_write(s, d->bar + d->common + 0x16, 2, n);
    else
        sim_write(s, d->base + 0x30, 4, n);
}

unsigned sim_bus_queue_max(struct sim *s, struct sim_dev *d, unsigned n)
{
    select_queue(s, d, n);
    return (unsigned)(d->pci ? sim_read(s, d->bar + d->common + 0x18, 2)
                             : sim_read(s, d->base + 0x34, 4));
}

static void write_address(struct sim *s, uint64_t to, uint64_t value)
{
    sim_write(s, to, 4, (uint32_t)value);
    sim_write(s, to + 4, 4, value >> 32);
}

void sim_bus_queue(struct sim *s, struct sim_dev *d, unsigned n, const struct fake_driver *drv)
{
    uint64_t common = d->bar + d->common;

    select_queue(s, d, n);
    if (!d->pci) {
        sim_write(s, d->base + 0x38, 4, drv->size);
        write_address(s, d->base + 0x80, drv->desc);
        write_address(s, d->base + 0x90, drv->driver);
        write_address(s, d->base + 0xa0, drv->device);
        sim_write(s, d->base + 0x44, 4, 1);
        return;
    }
    sim_write(s, common + 0x18, 2, drv->size);
    write_address(s, common + 0x20, drv->desc);
    write_address(s, common + 0x28, drv->driver);
    write_address(s, common + 0x30, drv->device);
    if (d->msix) {
        sim_write(s, common + 0x1a, 2, n + 1);
        sim_write(s, common + 0x10, 2, 0);
    }
    sim_write(s, common + 0x1c, 2, 1);
}

/* 4.1.4.3.2: the driver polls queue_reset; 4.2.2.2: with MMIO the write of QueueReady is the whole of it. */
void sim_bus_queue_stop(struct sim *s, struct sim_dev *d, unsigned n)
{
    select_queue(s, d, n);
    if (!d->pci) {
        sim_write(s, d->base + 0x44, 4, 0);
        if (sim_read(s, d->base + 0x44, 4) && !d->leaving)
            sim_fail(s, "%s: queue %u is ready right after it was stopped", d->id, n);
        return;
    }
    sim_write(s, d->bar + d->common + 0x3a, 2, 1);
    for (unsigned polls = 0; sim_read(s, d->bar + d->common + 0x3a, 2) && !d->leaving; polls++) {
        if (polls == PATIENCE)
            sim_fail(s, "%s: queue %u: a reset that never ends", d->id, n);
        sim_background(s, true);
        sim_wait_running(s);
    }
}

void sim_bus_kick(struct sim *s, struct sim_dev *d, unsigned n)
{
    if (d->pci)
        sim_write(s, d->bar + d->notify + n * d->notify_step, 2, n);
    else
        sim_write(s, d->base + 0x50, 4, n);
}

unsigned sim_bus_interrupt(struct sim *s, struct sim_dev *d)
{
    unsigned status;

    if (d->pci)
        return (unsigned)sim_read(s, d->bar + d->isr, 1);
    status = (unsigned)sim_read(s, d->base + 0x60, 4);
    if (status)
        sim_write(s, d->base + 0x64, 4, status);
    return status;
}

uint32_t sim_bus_space(struct sim *s, struct sim_dev *d, unsigned offset, unsigned len)
{
    return (uint32_t)sim_read(s, d->pci ? d->bar + d->space + offset : d->base + 0x100 + offset,
                              len);
}

/* 64-bit BARs are moved with decoding off, as an operating system does; or with it on, one half
 * after the other. */
void sim_bus_move(struct sim *s, struct sim_dev *d)
{
    uint64_t to = d->window_base + ((uint64_t)sim_below(s, 1024) + 1) * 0x100000;
    bool off = sim_one_in(s, 2);

    sim_say(s, "%s: BAR from %llx to %llx", d->id, (unsigned long long)d->bar,
            (unsigned long long)to);
    s->moves++;
    /* Each device has addresses of its own in the window; outside it nobody answers. */
    to += d->number * 0x20000ULL;
    if (sim_one_in(s, 4))
        write_address(s, d->ecam + PCI_BAR4, to + d->window_bytes);
    if (off)
        config_write(s, d, PCI_COMMAND, 2, 4);
    write_address(s, d->ecam + PCI_BAR4, to);
    if (off)
        config_write(s, d, PCI_COMMAND, 2, 6);
    d->bar = to;
}
