/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A serial port at its usual place, with the test at its other end. */
#ifndef SERIAL_TEST_H
#define SERIAL_TEST_H

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <vmm/char/char.h>
#include <vmm/devices/classes.h>

#include "platform_harness.h"

extern const struct vdev_class serial_class;

/* As in serial.c, which keeps it to itself. */
struct serial_config {
    struct vdev_common common;
    struct vchar_config chr;
};

enum {
    PORT = 0x3f8,
    DATA = PORT,
    IER,
    IIR,
    LCR,
    MCR,
    LSR,
    MSR,
    SCR,
    FCR = IIR,
};

static inline int serial_plat(struct plat *p, enum vchar_mode mode)
{
    struct serial_config config = { .chr = { .mode = mode } };
    int rc = plat_open(p);

    if (rc)
        return rc;
    p->resource[0] = (struct vdev_resource){ VDEV_RES_PIO, PORT, 8 };
    p->context.config = &config;
    rc = plat_create(p, &serial_class);
    p->context.config = NULL;
    return rc;
}

#endif
