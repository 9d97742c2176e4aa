/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The I/O APIC of microvm against ours: registers, and the messages that inputs cause. */
#include "platform.h"

#define BASE 0xfec00000ULL
enum {
    BYTES = 0x1000,
    SELECT = 0x00,
    WINDOW = 0x10,
    EOI = 0x40,
    REDIRECTION = 0x10,
    PINS = 24,
    FIRST_FREE_PIN = 3, /* no device of the machine drives these */
    FIRST_VECTOR = 0x30,
    VECTORS = 4, /* few, so that ends of interrupts meet them */
    SPACE_PAGE = 0,
};
/* 82093AA, 3.2.4 */
enum {
    ENTRY_LOWEST = 1 << 8,
    ENTRY_LOGICAL = 1 << 11,
    ENTRY_LOW_ACTIVE = 1 << 13,
    ENTRY_READ_ONLY = 1 << 12 | 1 << 14, /* delivery status, remote IRR */
    ENTRY_LEVEL = 1 << 15,
    ENTRY_MASKED = 1 << 16,
    ENTRY_RESERVED = 1 << 17 | 1 << 30,
};

#define HIGH_SENT 0xff00ffffU /* of the high half of an entry, see the table */

static int open_ours(void)
{
    return platform_open("ioapic", NULL, (struct vdev_resource){ VDEV_RES_MMIO, BASE, BYTES }, 0);
}

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    ours[SPACE_PAGE] = qemu[SPACE_PAGE] = (struct oracle_place){ ORACLE_MMIO, BASE };
    return 0;
}

static void put(struct oracle_random *r, uint32_t index, uint32_t value)
{
    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PAGE, 4, SELECT, index });
    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PAGE, 4, WINDOW, value });
}

static void get(struct oracle_random *r, uint32_t index)
{
    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PAGE, 4, SELECT, index });
    oracle_push(r, (struct oracle_op){ ORACLE_READ, SPACE_PAGE, 4, WINDOW, 0 });
}

/* The low half of an entry. Odd pins are level-triggered, even ones edge-triggered; see the table for why. */
static void put_entry(struct oracle_random *r, unsigned pin, bool masked)
{
    uint32_t value = FIRST_VECTOR + oracle_pick(r, VECTORS);

    value |= oracle_one_in(r, 2) ? ENTRY_LOGICAL : 0;
    value |= oracle_one_in(r, 2) ? ENTRY_LOW_ACTIVE : 0;
    value |= oracle_one_in(r, 4) ? ENTRY_LOWEST : 0;
    value |= oracle_one_in(r, 4) ? ENTRY_READ_ONLY | ENTRY_RESERVED : 0;
    value |= pin & 1 ? ENTRY_LEVEL : 0;
    value |= masked ? ENTRY_MASKED : 0;
    put(r, REDIRECTION + 2 * pin, value);
}

/* Any width and offset, any index but the low halves of entries. */
static void make_odd(struct oracle_random *r)
{
    uint8_t len = (uint8_t)(1U << oracle_pick(r, 3));
    uint32_t at = oracle_one_in(r, 2) ? oracle_pick(r, 2) * WINDOW : oracle_pick(r, 0x100) & ~3U;
    uint32_t index = oracle_pick(r, 256);

    if (index >= REDIRECTION && index < REDIRECTION + 2 * PINS)
        index |= 1;
    put(r, index, (uint32_t)oracle_next(r) & HIGH_SENT);
    oracle_push(r, (struct oracle_op){ ORACLE_READ, SPACE_PAGE, len, at, 0 });
    oracle_push(r, (struct oracle_op){ ORACLE_READ, SPACE_PAGE, 4, WINDOW, 0 });
}

static void make(struct oracle_random *r)
{
    unsigned pin = FIRST_FREE_PIN + oracle_pick(r, PINS - FIRST_FREE_PIN);

    if (!r->step) {
        for (unsigned n = 0; n < PINS; n++)
            put_entry(r, n, true);
        return;
    }
    switch (oracle_pick(r, 8)) {
    case 0:
    case 1:
    case 2:
        r->memory ^= 1U << pin; /* QEMU takes a second "up" as an edge */
        oracle_push(r, (struct oracle_op){ ORACLE_PIN, 0, 0, pin, r->memory >> pin & 1 });
        return;
    case 3: put_entry(r, pin, oracle_one_in(r, 3)); return;
    case 4: put(r, REDIRECTION + 2 * pin + 1, (uint32_t)oracle_next(r) & HIGH_SENT); return;
    case 5: get(r, REDIRECTION + 2 * pin); return;
    case 6:
        oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PAGE, 4, EOI,
                                           FIRST_VECTOR + oracle_pick(r, VECTORS) });
        return;
    default: make_odd(r); return;
    }
}

static const char *const arguments[] = { "-machine", "microvm,acpi=off,pit=off,rtc=off", NULL };
static const char *const spaces[] = { "page", NULL };

const struct oracle_target oracle_ioapic = {
    .name = "ioapic",
    .arguments = arguments,
    .spaces = spaces,
    .pin_path = "/machine/ioapic",
    .messages = true,
    .open = open_ours,
    .close = platform_close,
    .set_up = set_up,
    .read = platform_read,
    .write = platform_write,
    .pin = platform_pin,
    .events = platform_events,
    .make = make,
};
