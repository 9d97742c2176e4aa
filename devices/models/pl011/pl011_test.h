/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A PL011 at a place, as its tests see it. */
#ifndef PL011_TEST_H
#define PL011_TEST_H

#include <vmm/base/error.h>
#include <vmm/char/char.h>

#include "platform_harness.h"

extern const struct vdev_class pl011_class;

/* As in pl011.c, which keeps it to itself. */
struct pl011_config {
    struct vdev_common common;
    struct vchar_config chr;
};

enum {
    BASE = 0x9000000,
    DR = BASE,
    RSR = BASE + 0x04,
    ECR = RSR,
    FR = BASE + 0x18,
    ILPR = BASE + 0x20,
    IBRD = BASE + 0x24,
    FBRD = BASE + 0x28,
    LCR_H = BASE + 0x2c,
    CR = BASE + 0x30,
    IFLS = BASE + 0x34,
    IMSC = BASE + 0x38,
    RIS = BASE + 0x3c,
    MIS = BASE + 0x40,
    ICR = BASE + 0x44,
    DMACR = BASE + 0x48,
    LAST = BASE + 0xffc,
};
enum { BRK = 0x01, FEN = 0x10, ON = 0x301, LBE = 0x80, LOOP = ON | LBE };
enum { RX = 0x10, TX = 0x20, RT = 0x40, BE = 0x200, OE = 0x400, ALL = 0x7ff };
enum { IDLE = 0x97, RXFE = 0x10, RXFF = 0x40 };

static inline int pl011_plat(struct plat *p, enum vchar_mode mode)
{
    struct pl011_config config = { .chr = { .mode = mode } };
    int rc = plat_open(p);

    if (rc)
        return rc;
    p->pin[0].irq.number = 33;
    p->resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    p->context.config = &config;
    rc = plat_create(p, &pl011_class);
    p->context.config = NULL;
    return rc;
}

#endif
