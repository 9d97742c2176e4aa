/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A driver for either transport (VIRTIO 1.2, 3.1.1): random, but never so wrong that the specification promises nothing. */
#include "guest.h"

enum {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    FAILED = 128,
    /* Bits of both devices: indirect descriptors, event index (word 0); VERSION_1, packed (word 1). */
    FEATURES_LOW = 0x30000000,
    VERSION_1 = 1,
    PACKED = 4,
    RINGS = 1 << 20, /* from here on RAM is empty: no firmware */
    RING_BYTES = 4096,
    RING_ROOM = 1024,
};

void guest_put(struct oracle_random *r, uint8_t space, struct guest_register reg, uint32_t value)
{
    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, space, reg.len, reg.at, value });
}

void guest_get(struct oracle_random *r, uint8_t space, struct guest_register reg)
{
    oracle_push(r, (struct oracle_op){ ORACLE_READ, space, reg.len, reg.at, 0 });
}

static void put_status(struct oracle_random *r, const struct guest_registers *regs, uint32_t status)
{
    guest_put(r, regs->space, regs->status, status);
    guest_get(r, regs->space, regs->status);
    r->memory = status ? (r->memory & GUEST_ENABLED) | status : 0;
}

static void put_features(struct oracle_random *r, const struct guest_registers *regs)
{
    uint32_t high = VERSION_1 | (oracle_one_in(r, 3) ? PACKED : 0);

    guest_put(r, regs->space, regs->select, 0);
    guest_put(r, regs->space, regs->features, (uint32_t)oracle_next(r) & FEATURES_LOW);
    guest_put(r, regs->space, regs->select, 1);
    guest_put(r, regs->space, regs->features, high);
}

/* A ring in RAM, aligned, and with room for all of it. */
static void put_queue(struct oracle_random *r, const struct guest_registers *regs)
{
    guest_put(r, regs->space, regs->queue, 0);
    guest_put(r, regs->space, regs->size, 1U << oracle_pick(r, 4));
    for (unsigned i = 0; i < 3; i++) {
        struct guest_register low = { regs->area[i], 4 };
        struct guest_register high = { (uint16_t)(regs->area[i] + 4), 4 };

        guest_put(r, regs->space, low, RINGS + (3 * oracle_pick(r, RING_ROOM) + i) * RING_BYTES);
        guest_put(r, regs->space, high, 0);
    }
    guest_put(r, regs->space, regs->enable, 1);
    guest_get(r, regs->space, regs->enable);
    r->memory |= GUEST_ENABLED;
}

void guest_drive(struct oracle_random *r, const struct guest_registers *regs)
{
    uint32_t status = r->memory & GUEST_STATUS;

    if (oracle_one_in(r, 10)) {
        put_status(r, regs, 0);
        guest_put(r, regs->space, regs->select, 0); /* see the table */
        guest_put(r, regs->space, regs->device_select, 0);
        return;
    }
    if (oracle_one_in(r, 12) && status) {
        put_status(r, regs, status | FAILED);
        return;
    }
    if (!(status & ACKNOWLEDGE)) {
        put_status(r, regs, status | ACKNOWLEDGE);
    } else if (!(status & DRIVER)) {
        put_status(r, regs, status | DRIVER);
    } else if (!(status & FEATURES_OK)) {
        put_features(r, regs);
        put_status(r, regs, status | FEATURES_OK);
    } else if (!(r->memory & GUEST_ENABLED)) {
        put_queue(r, regs);
    } else {
        put_status(r, regs, status | DRIVER_OK);
    }
}
