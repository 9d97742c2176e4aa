/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The RTC of microvm against ours. QEMU's follows its virtual clock, which stands still as long as no processor runs: so
 * the time is what was set, and all registers can be compared. */
#include "platform.h"

enum {
    PORT = 0x70,
    A = 0x0a,
    B = 0x0b,
    RAM = 0x0e,
    CENTURY = 0x32,
    PS2_CENTURY = 0x37,
    B_24H = 2,
    B_BINARY = 4,
    B_REST = 0xf9,
    SPACE_PORTS = 0,
    SPACE_REGISTERS
};
enum { START_S = 1767323045 }; /* 2026-01-02T03:04:05 */

static int open_ours(void)
{
    return platform_open("cmos-rtc", NULL, (struct vdev_resource){ VDEV_RES_PIO, PORT, 2 },
                         START_S);
}

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    ours[SPACE_PORTS] = qemu[SPACE_PORTS] = (struct oracle_place){ ORACLE_PIO, PORT };
    ours[SPACE_REGISTERS] = qemu[SPACE_REGISTERS] = (struct oracle_place){ ORACLE_INDEXED, PORT };
    return 0;
}

static uint8_t number(unsigned value, uint8_t mode)
{
    return (uint8_t)(mode & B_BINARY ? value : value / 10 << 4 | value % 10);
}

/* A time or alarm that exists, in the format of register B. */
static uint8_t likely(struct oracle_random *r, uint32_t at, uint8_t mode)
{
    unsigned hour = oracle_pick(r, 24);

    switch (at) {
    case 4:
    case 5:
        if (mode & B_24H)
            return number(hour, mode);
        return (uint8_t)(number(hour % 12 ? hour % 12 : 12, mode) | (hour >= 12) << 7);
    case 6: return (uint8_t)(1 + oracle_pick(r, 7));
    case 7: return number(1 + oracle_pick(r, 28), mode);
    case 8: return number(1 + oracle_pick(r, 12), mode);
    case 9: return number(oracle_pick(r, 100), mode);
    default: return number(oracle_pick(r, 60), mode);
    }
}

/* One format for a whole sequence, in r->memory. */
static void make(struct oracle_random *r)
{
    struct oracle_op op = { oracle_one_in(r, 3), SPACE_REGISTERS, 1, oracle_pick(r, RAM), 0 };

    if (!r->step) {
        r->memory = oracle_pick(r, 4) * B_24H;
        op = (struct oracle_op){ ORACLE_WRITE, SPACE_REGISTERS, 1, B, r->memory };
    } else if (oracle_one_in(r, 10)) {
        op.kind = ORACLE_READ;
        op.space = SPACE_PORTS;
        op.at = oracle_pick(r, 2);
    } else if (oracle_one_in(r, 6)) {
        op.at = RAM + oracle_pick(r, 128 - RAM);
        op.value = op.at == CENTURY ? number(20 + oracle_pick(r, 2), (uint8_t)r->memory)
                                    : oracle_pick(r, 256);
        op.kind = op.at == PS2_CENTURY ? ORACLE_READ : op.kind;
    } else if (op.at == A) {
        op.value = oracle_pick(r, 16) | 0x20;
    } else if (op.at == B) {
        op.value = (oracle_pick(r, 256) & B_REST) | r->memory;
    } else {
        op.value = likely(r, op.at, (uint8_t)r->memory);
    }
    if (op.kind == ORACLE_READ)
        op.value = 0;
    oracle_push(r, op);
}

static const char *const arguments[] = { "-machine", "microvm,acpi=off,rtc=on,pit=off", "-rtc",
                                         "base=2026-01-02T03:04:05,clock=vm", NULL };
static const char *const spaces[] = { "ports", "register", NULL };

const struct oracle_target oracle_cmos_rtc = {
    .name = "cmos_rtc",
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
