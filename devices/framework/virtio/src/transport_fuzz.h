/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the fuzz targets of both transports do: the input is a list of steps, each an opcode and its bytes: register accesses of
 * any width, an honest driver's start, chains, lies in guest memory, life-cycle calls of the machine, and a device that
 * stops late. After each step the framework's books must agree with each other.
 */
#ifndef VIRTIO_TRANSPORT_FUZZ_H
#define VIRTIO_TRANSPORT_FUZZ_H

#include "virtio_test.h"

enum { FUZZ_RAM = 256 << 10, FUZZ_STEPS = 2048, FUZZ_REGISTERS = 0x5000 };

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vh *h;
    struct lab *lab;
};

static uint64_t fuzz_get(struct fuzz *f, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        v |= (uint64_t)*f->data++ << 8 * i;
    return v;
}

static void fuzz_check(bool fine)
{
    if (!fine)
        __builtin_trap();
}

static void fuzz_books(const struct fuzz *f)
{
    const struct virtio_dev *dev = &f->lab->dev;

    fuzz_check(dev->running || !f->h->doorbells);
    fuzz_check(!dev->stopping || !f->h->doorbells);
    fuzz_check(!dev->running || dev->status & VIRTIO_DRIVER_OK);
    fuzz_check(!(dev->features & ~dev->offered));
    fuzz_check(!dev->dev.parked || dev->stopping || virtio_queues_resetting(dev));
    for (uint16_t n = 0; n < dev->queues; n++)
        fuzz_check(!dev->queue[n].started || dev->status & VIRTIO_FEATURES_OK);
}

/* The interesting registers more often than the rest. */
static uint64_t fuzz_register(struct fuzz *f)
{
    uint64_t at = fuzz_get(f, 2);

    if (f->h->config.transport == VH_MMIO_BUS)
        return VH_MMIO + at % 0x204;
    switch (at >> 13) {
    case 0: return f->h->msix_table + at % 0x50;
    case 1: return f->h->notify + at % 0x14;
    case 2: return f->h->isr;
    case 3: return f->h->device_config + at % 0x14;
    case 4: return f->h->bar[4] + at % FUZZ_REGISTERS;
    default: return f->h->common + at % 0x40;
    }
}

static void fuzz_access(struct fuzz *f, bool write)
{
    uint64_t at = fuzz_register(f);
    unsigned len = 1U << fuzz_get(f, 1) % 4;

    if (write)
        vh_write(f->h, at, len, fuzz_get(f, len));
    else
        vh_read(f->h, at, len);
}

static void fuzz_config(struct fuzz *f)
{
    unsigned at = (unsigned)fuzz_get(f, 1), len = 1U << fuzz_get(f, 1) % 3;

    if (f->h->config.transport == VH_MMIO_BUS)
        return;
    if (at & 1)
        at = f->h->window_cap + (at >> 1) % 20; /* the window */
    at &= ~(len - 1);
    vh_pci_write(f->h, at, len, (uint32_t)fuzz_get(f, len));
    vh_pci_read(f->h, at, len);
}

static void fuzz_offer(struct fuzz *f)
{
    uint16_t n = (uint16_t)(fuzz_get(f, 1) % LAB_QUEUES);
    struct fake_buf b[2] = { { fuzz_get(f, 2) * 8, (uint32_t)fuzz_get(f, 1), false },
                             { fuzz_get(f, 2) * 8, (uint32_t)fuzz_get(f, 1), true } };

    if (!f->h->drv_made[n])
        return;
    (void)fake_driver_offer(&f->h->drv[n], b, 2);
    vh_kick(f->h, n);
}

static void fuzz_stopped(struct fuzz *f)
{
    vm_lock_acquire(&f->lab->dev.dev.lock);
    f->lab->stop_late = f->lab->quiesce_late = false;
    if (f->lab->dev.stopping)
        lab_drop(f->lab);
    else
        lab_finish(f->lab);
    virtio_stopped(&f->lab->dev);
    vm_lock_release(&f->lab->dev.dev.lock);
}

static void fuzz_state(struct fuzz *f)
{
    struct vm_buffer b = { 0 };

    if (!vh_save(f->h, &b)) {
        for (unsigned i = (unsigned)fuzz_get(f, 1) % 4; i; i--)
            b.data[fuzz_get(f, 2) % b.len] = (uint8_t)fuzz_get(f, 1);
        (void)vh_load(f->h, b.data, b.len);
    }
    vm_buffer_free(&b);
}

static void fuzz_life(struct fuzz *f)
{
    switch (fuzz_get(f, 1) % 8) {
    case 0: (void)vdev_reset(f->h->dev, NULL); break;
    case 1: (void)vdev_quiesce(f->h->dev, NULL); break;
    case 2: (void)vdev_resume(f->h->dev); break;
    case 3: fuzz_state(f); break;
    case 4:
        vm_lock_acquire(&f->lab->dev.dev.lock);
        virtio_config_changed(&f->lab->dev);
        vm_lock_release(&f->lab->dev.dev.lock);
        break;
    case 5: fuzz_stopped(f); break;
    case 6:
        if (f->h->root && !vpci_root_assign(f->h->root))
            (void)vh_probe(f->h);
        break;
    default: (void)vh_reset(f->h, 20000000000ULL); break;
    }
}

static void fuzz_device(struct fuzz *f)
{
    uint8_t how = (uint8_t)fuzz_get(f, 1);

    f->lab->stop_late = how & 1;
    f->lab->quiesce_late = how & 2;
    f->lab->hold = how & 4;
    f->lab->start_rc = how & 8 && how & 16 ? -EIO : 0;
    f->lab->kick_rc = how & 32 && how & 64 ? -EIO : 0;
}

static void fuzz_lie(struct fuzz *f)
{
    uint64_t at = fuzz_get(f, 3) % (FUZZ_RAM - 8);

    for (unsigned i = 0; i < 4; i++)
        f->h->guest.host[at + i] = (uint8_t)fuzz_get(f, 1);
}

static void fuzz_step(struct fuzz *f)
{
    switch (fuzz_get(f, 1) % 12) {
    case 0:
    case 1: fuzz_access(f, true); break;
    case 2: fuzz_access(f, false); break;
    case 3: fuzz_config(f); break;
    case 4: (void)vh_start(f->h, fuzz_get(f, 1)); break;
    case 5: fuzz_offer(f); break;
    case 6: (void)vh_idle(f->h); break;
    case 7: fuzz_life(f); break;
    case 8: fuzz_device(f); break;
    case 9: fuzz_lie(f); break;
    case 10: (void)vh_pass(f->h, fuzz_get(f, 1) * 100000000ULL); break;
    default: (void)vh_queue(f->h, (uint16_t)(fuzz_get(f, 1) % 4), (uint16_t)fuzz_get(f, 1)); break;
    }
}

static int fuzz_transport(enum vh_transport plain, enum vh_transport other, const uint8_t *data,
                          size_t size)
{
    static struct vh h;
    struct fuzz f = { data, size, &h, NULL };
    uint8_t how = (uint8_t)fuzz_get(&f, 1);
    struct vh_config c = { .transport = how & 1 ? other : plain,
                           .packed = how & 2,
                           .refuse_doorbells = how & 4,
                           .no_event_idx = how & 8,
                           .own_interrupts = how & 16,
                           .ram_bytes = FUZZ_RAM };

    f.lab = lab_open(&h, &c);
    for (unsigned i = 0; i < FUZZ_STEPS && f.left; i++) {
        fuzz_step(&f);
        fuzz_books(&f);
    }
    vh_close(&h);
    return 0;
}

#endif
