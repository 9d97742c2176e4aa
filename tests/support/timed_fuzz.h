/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest at the registers of a memory-mapped device that depends on time, a host whose clock jumps, and a user at the power
 * button. Four bytes per step: what, where, value, time. What the device saves it must load again, into the same bytes; its
 * line must be what the register at level says.
 */
#ifndef TESTS_SUPPORT_TIMED_FUZZ_H
#define TESTS_SUPPORT_TIMED_FUZZ_H

#include "platform_harness.h"

enum { TIMED_STEP_BYTES = 4, TIMED_STEPS_MAX = 2000, TIMED_BASE = 0x10000 };

static inline void timed_must(bool ok)
{
    if (!ok)
        abort();
}

/* A register: the first of a device's, the middle ones or the ids. */
static inline uint64_t timed_register(const uint8_t *in)
{
    static const uint32_t start[] = { 0, 0x300, 0x400, 0xf00 };

    return TIMED_BASE + start[in[0] >> 6] + in[1];
}

static inline void timed_step(struct plat *p, const uint8_t *in)
{
    uint64_t reg = timed_register(in), ns = (uint64_t)in[2] << (in[3] & 31);

    switch (in[0] & 7) {
    case 0: plat_read(p, reg, 1U << (in[3] & 3)); break;
    case 1: plat_write(p, reg, 1U << (in[3] & 3), in[2] * 0x0101010101010101ULL); break;
    case 2: plat_pass(p, ns); break;
    case 3: p->wall_ns += ns; break;
    case 4: p->wall_ns -= p->wall_ns / 256 * in[2] / 64; break;
    case 5: timed_must(plat_round_trip(p) == 0); break;
    case 6:
        vm_lock_acquire(&p->dev->lock);
        if (p->dev->ops->power_button)
            timed_must(p->dev->ops->power_button(p->dev) == 0);
        vm_lock_release(&p->dev->lock);
        break;
    default: plat_write(p, reg & ~3ULL, 4, in[2] | (uint64_t)in[3] << 24); break;
    }
}

static inline void timed_fuzz(const struct vdev_class *cls, uint32_t level, const uint8_t *data,
                              size_t size)
{
    static struct plat p;

    if (plat_open(&p))
        return;
    p.wall_ns = 1700000000000000000ULL;
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, TIMED_BASE, 0x1000 };
    timed_must(plat_create(&p, cls) == 0);
    if (size && data[0] & 8)
        (void)vdev_load(p.dev, data + 1, size - 1);
    for (size_t i = 0; i + TIMED_STEP_BYTES <= size && i < TIMED_STEP_BYTES * TIMED_STEPS_MAX;
         i += TIMED_STEP_BYTES) {
        uint64_t pending;

        timed_step(&p, data + i);
        pending = plat_read(&p, TIMED_BASE + level, 4);
        timed_must(p.pin[0].level == (pending != 0));
    }
    timed_must(plat_round_trip(&p) == 0);
    plat_close(&p);
}

#endif
