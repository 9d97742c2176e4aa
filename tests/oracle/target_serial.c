/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* COM1 of microvm against our 16550. Both lines go nowhere; input comes from loop-back. */
#include "platform.h"

enum { IER_SENT = 0xf7, IER_SENT_QUIET = 0xf5, FCR_SENT = 0x3f, FCR_ENABLE = 1 };
enum {
    PORT = 0x3f8,
    REGISTERS = 8,
    IER = 1,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MCR_OUT2 = 8,
    SPACE_PORTS = 0
};

static int open_ours(void)
{
    return platform_open("serial", "mode=null",
                         (struct vdev_resource){ VDEV_RES_PIO, PORT, REGISTERS }, 0);
}

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    ours[SPACE_PORTS] = qemu[SPACE_PORTS] = (struct oracle_place){ ORACLE_PIO, PORT };
    return 0;
}

static void put(struct oracle_random *r, uint32_t at, uint64_t value)
{
    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PORTS, 1, at, value });
}

static void get(struct oracle_random *r, uint32_t at)
{
    oracle_push(r, (struct oracle_op){ ORACLE_READ, SPACE_PORTS, 1, at, 0 });
}

/* Values that drivers write more often than others. What is never sent, and why, stands in the table. */
static void make_write(struct oracle_random *r)
{
    static const uint8_t lcr[] = { 0x03, 0x83, 0x43, 0x1b };
    static const uint8_t mcr[] = { 0x08, 0x0b, 0x18, 0x1f, 0x10, 0x03 };
    uint32_t at = oracle_one_in(r, 3) ? 0 : oracle_pick(r, REGISTERS), any = oracle_pick(r, 256);

    switch (at) {
    case IER: put(r, IER, any & IER_SENT); return;
    case FCR: /* without a pending THRE */
        put(r, LCR, 0x03);
        put(r, IER, any & IER_SENT_QUIET);
        put(r, FCR, any & FCR_ENABLE ? any & FCR_SENT : 0);
        return;
    case LCR: put(r, LCR, oracle_one_in(r, 3) ? any : lcr[oracle_pick(r, sizeof(lcr))]); return;
    case MCR:
        if (!oracle_one_in(r, 3))
            any = mcr[oracle_pick(r, sizeof(mcr))];
        put(r, MCR, any | MCR_OUT2);
        return;
    default: put(r, at, any); return;
    }
}

static void make(struct oracle_random *r)
{
    uint32_t at = oracle_one_in(r, 3) ? 0 : oracle_pick(r, REGISTERS);

    if (!r->step)
        put(r, MCR, MCR_OUT2);
    else if (oracle_one_in(r, 12))
        put(r, LCR, 0x03); /* the divisor latch hides two registers: it is closed again soon */
    else if (oracle_one_in(r, 2))
        make_write(r);
    else if (at)
        get(r, at);
    else {
        get(r, LSR);
        get(r, 0);
    }
}

static const char *const arguments[] = { "-machine", "microvm,acpi=off", "-chardev", "null,id=line",
                                         "-serial",  "chardev:line",     NULL };
static const char *const spaces[] = { "ports", NULL };

const struct oracle_target oracle_serial = {
    .name = "serial",
    .arguments = arguments,
    .spaces = spaces,
    .lines = true,
    .open = open_ours,
    .close = platform_close,
    .set_up = set_up,
    .read = platform_read,
    .write = platform_write,
    .events = platform_events,
    .make = make,
};
