/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Fuzz target of every virtio class: FUZZ_CLASS is compiled in, once per class. The input is a list of steps of a driver that
 * goes on as if it were honest: chains of any shape with any contents, config space, kicks, time, the device's life.
 * No step may crash, hang, or leave a device that a reset does not bring back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

extern const struct vdev_class FUZZ_CLASS;

enum { STEPS = 1024, BUFS = 6 };

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vh *h;
};

static uint64_t get(struct fuzz *f, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        v |= (uint64_t)*f->data++ << 8 * i;
    return v;
}

static void check(bool fine)
{
    if (!fine)
        __builtin_trap();
}

/* One queue, a number of buffers, their lengths and directions; the contents of the first bytes. */
static void offer(struct fuzz *f, uint16_t n)
{
    struct fake_driver *drv = &f->h->drv[n];
    uint8_t shape = (uint8_t)get(f, 1), writable = (uint8_t)get(f, 1);
    size_t count = 1 + shape % BUFS;
    struct fake_buf b[BUFS];

    for (size_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)get(f, shape & 8 ? 2 : 1);
        size_t fill = (size_t)get(f, 1) % 33;
        uint8_t bytes[32] = { 0 };

        for (size_t k = 0; k < fill; k++)
            bytes[k] = (uint8_t)get(f, 1);
        b[i] = (struct fake_buf){ fake_driver_alloc(drv, len), len, writable >> i & 1 };
        if (!b[i].addr)
            b[i].addr = 0x1000;
        fake_driver_write(drv, b[i].addr, bytes, len < fill ? len : fill);
    }
    if (shape & 16)
        (void)fake_driver_offer_indirect(drv, b, count);
    else
        (void)fake_driver_offer(drv, b, count);
    if (!(shape & 32))
        vh_kick(f->h, n);
}

static void collect(struct fuzz *f, uint16_t n)
{
    uint16_t id;
    uint32_t len;

    while (fake_driver_collect(&f->h->drv[n], &id, &len) > 0)
        ;
}

static void restart(struct fuzz *f)
{
    check(!vh_reset(f->h, UINT64_MAX / 4));
    check(!vh_start(f->h, get(f, 1)));
}

/* A state that was changed may say anything, also that the device is not where the driver looks: then the machine resets it. */
static void state(struct fuzz *f)
{
    unsigned changes = (unsigned)get(f, 1) % 3;
    struct vm_buffer b = { 0 };
    int rc;

    check(!vh_quiesce(f->h) && !vh_save(f->h, &b));
    for (unsigned i = 0; i < changes; i++)
        b.data[get(f, 2) % b.len] = (uint8_t)get(f, 1);
    rc = vh_load(f->h, b.data, b.len);
    check(changes || !rc);
    vm_buffer_free(&b);
    check(!vdev_resume(f->h->dev));
    if (!changes)
        return;
    check(!vh_idle(f->h));
    check(!vh_machine_reset(f->h));
}

static void lie(struct fuzz *f, uint16_t n)
{
    struct fake_driver *drv = &f->h->drv[n];
    uint16_t slot = (uint16_t)(get(f, 1) % drv->size), a = (uint16_t)get(f, 2);

    switch (get(f, 1) % 6) {
    case 0: (void)fake_driver_corrupt(drv, slot, a, (uint16_t)get(f, 2)); break;
    case 1: (void)fake_driver_corrupt_buf(drv, slot, get(f, 3) * 8, a); break;
    case 2: (void)contract_break_ring(f->h, n, a % CONTRACT_BREAKS); break;
    default: f->h->guest.host[get(f, 3) % CONTRACT_RAM] = (uint8_t)a; break;
    }
}

static void config(struct fuzz *f)
{
    uint8_t bytes[8];
    uint32_t at = (uint32_t)get(f, 1), len = 1 + (uint32_t)get(f, 1) % 8;

    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)get(f, 1);
    if (f->h->pci && !f->h->device_config)
        return;
    vh_config_write(f->h, at, bytes, len);
    vh_config_read(f->h, at, bytes, len);
}

static void step(struct fuzz *f)
{
    uint8_t op = (uint8_t)get(f, 1);
    uint16_t queues = f->h->virtio->queues < VH_QUEUES ? f->h->virtio->queues : VH_QUEUES;
    uint16_t n = (uint16_t)(op / 16 % queues);

    if (!f->h->drv_made[n] && op % 16 != 10)
        restart(f);
    switch (op % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5: offer(f, n); break;
    case 6: collect(f, n); break;
    case 7:
    case 8: (void)vh_idle(f->h); break;
    case 9: check(vh_pass(f->h, get(f, 1) * 10000000) != -ELOOP); break;
    case 10: restart(f); break;
    case 11: state(f); break;
    case 12: lie(f, n); break;
    case 13: config(f); break;
    case 14:
        check(!vh_quiesce(f->h));
        check(!vdev_resume(f->h->dev));
        break;
    default: (void)fake_driver_set_event(&f->h->drv[n], (enum fake_event)(get(f, 1) % 3), 0); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vh h;
    struct fuzz f = { data, size, &h };
    uint8_t how = (uint8_t)get(&f, 1);
    const struct vh_config c = { .transport = how & 1 ? VH_MMIO_BUS : VH_PCI,
                                 .packed = how & 2,
                                 .no_event_idx = how & 4 };

    check(!contract_open(&h, &FUZZ_CLASS, c));
    check(!vh_start(&h, 0));
    for (unsigned i = 0; i < STEPS && f.left; i++)
        step(&f);
    restart(&f);
    contract_close(&h);
    return 0;
}
