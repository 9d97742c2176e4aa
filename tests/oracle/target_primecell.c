/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* UART, clock and GPIO of the machine "virt" against our PL011, PL031 and PL061. */
#include "platform.h"

enum {
    UART = 0x09000000,
    CLOCK = 0x09010000,
    GPIO = 0x09030000,
    BYTES = 0x1000,
    IDS = 0xfe0,
    START_S = 1767323045, /* 2026-01-02T03:04:05 */
    NEAR_S = 4,
};

/* A register in random accesses; what is never sent, and why, stands in the table. */
struct reg {
    uint16_t at;
    uint32_t sent; /* bits that are written; 0: read only */
    unsigned weight;
};

static const struct reg uart[] = {
    { 0x000, 0xff, 6 },       { 0x004, 0xff, 2 },       { 0x018, 0, 4 },
    { 0x020, UINT32_MAX, 1 }, { 0x024, UINT32_MAX, 1 }, { 0x028, UINT32_MAX, 1 },
    { 0x02c, UINT32_MAX, 2 }, { 0x030, 0xffffff7f, 2 }, { 0x034, UINT32_MAX, 1 },
    { 0x038, UINT32_MAX, 4 }, { 0x03c, 0, 4 },          { 0x040, 0, 4 },
    { 0x044, UINT32_MAX, 4 }, { 0x048, UINT32_MAX, 1 }, { 0 },
};
static const struct reg rtc[] = {
    { 0x00, UINT32_MAX, 3 }, { 0x04, UINT32_MAX, 4 }, { 0x08, UINT32_MAX, 4 },
    { 0x0c, UINT32_MAX, 1 }, { 0x10, UINT32_MAX, 3 }, { 0x14, 0, 3 },
    { 0x18, 0, 3 },          { 0x1c, UINT32_MAX, 3 }, { 0 },
};
static const struct reg gpio[] = {
    { 0x400, 0xf7, 1 },       { 0x404, UINT32_MAX, 2 },
    { 0x408, UINT32_MAX, 3 }, { 0x40c, UINT32_MAX, 3 },
    { 0x410, UINT32_MAX, 3 }, { 0x414, 0, 4 },
    { 0x418, 0, 4 },          { 0x41c, UINT32_MAX, 3 },
    { 0x420, UINT32_MAX, 1 }, { 0 },
};

static int set_up(struct oracle_place *ours, struct oracle_place *qemu, uint64_t base)
{
    ours[0] = qemu[0] = (struct oracle_place){ ORACLE_MMIO, base };
    return 0;
}

static void push(struct oracle_random *r, enum oracle_kind kind, unsigned len, uint32_t at,
                 uint32_t value)
{
    if (len < 4)
        value &= (1U << 8 * len) - 1;
    oracle_push(r,
                (struct oracle_op){ kind, 0, (uint8_t)len, at, kind == ORACLE_READ ? 0 : value });
}

static const struct reg *pick(struct oracle_random *r, const struct reg *regs)
{
    unsigned all = 0, n;

    for (const struct reg *reg = regs; reg->weight; reg++)
        all += reg->weight;
    for (n = oracle_pick(r, all); n >= regs->weight; regs++)
        n -= regs->weight;
    return regs;
}

/* Few bits are set more often than many. */
static uint32_t bits(struct oracle_random *r)
{
    uint64_t v = oracle_next(r);

    return (uint32_t)(oracle_one_in(r, 2) ? v & v >> 32 : v >> 16) & UINT32_MAX;
}

static unsigned width(struct oracle_random *r)
{
    return oracle_one_in(r, 4) ? 1U << oracle_pick(r, 2) : 4;
}

/* One access to one of these registers, now and then to the identification or to a place without register. */
static void access_one(struct oracle_random *r, const struct reg *regs, uint32_t value, bool writes)
{
    const struct reg *reg = pick(r, regs);

    if (oracle_one_in(r, 20))
        push(r, ORACLE_READ, width(r), IDS + 4 * oracle_pick(r, (BYTES - IDS) / 4), 0);
    else if (writes && reg->sent && oracle_one_in(r, 2))
        push(r, ORACLE_WRITE, width(r), reg->at, value & reg->sent);
    else
        push(r, ORACLE_READ, width(r), reg->at, 0);
}

/* ---- UART: nothing comes in, what goes out is thrown away ---- */

static int open_uart(void)
{
    return platform_open("pl011", "mode=null", (struct vdev_resource){ VDEV_RES_MMIO, UART, BYTES },
                         0);
}

static int set_up_uart(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    return set_up(ours, qemu, UART);
}

static void make_uart(struct oracle_random *r)
{
    access_one(r, uart, bits(r), true);
}

/* ---- clock ---- */

static int open_clock(void)
{
    return platform_open("pl031", NULL, (struct vdev_resource){ VDEV_RES_MMIO, CLOCK, BYTES },
                         START_S);
}

static int set_up_clock(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    return set_up(ours, qemu, CLOCK);
}

/* Times close to each other, so that they meet. */
static void make_clock(struct oracle_random *r)
{
    uint32_t value = oracle_one_in(r, 4) ? bits(r) : START_S + oracle_pick(r, NEAR_S);

    access_one(r, rtc, oracle_one_in(r, 3) ? oracle_pick(r, 2) : value, true);
}

/* ---- GPIO: the power key goes up and down ---- */

static int open_gpio(void)
{
    return platform_open("pl061", NULL, (struct vdev_resource){ VDEV_RES_MMIO, GPIO, BYTES }, 0);
}

static int set_up_gpio(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    (void)q;
    return set_up(ours, qemu, GPIO);
}

enum {
    DATA_END = 0x400,
    ALL_DATA = 0x3fc,
    DIR = 0x400,
    IS = 0x404,
    IE = 0x410,
    IC = 0x41c,
    KEY_PIN = 3,
    KEY_DOWN = 0x100, /* in r->memory, above the levels that interrupt */
};

/* What is done, with what the table says must come before and after: no interrupts and low outputs when the direction
 * changes; levels that have ended are cleared. */
static void gpio_write(struct oracle_random *r, unsigned len, uint32_t at, uint32_t value)
{
    bool clear = r->memory & 0xff;

    if (at == IS)
        r->memory = (r->memory & KEY_DOWN) | (value & 0xff);
    if (at == DIR) {
        push(r, ORACLE_WRITE, 4, IE, 0);
        push(r, ORACLE_WRITE, 4, ALL_DATA, 0);
    }
    push(r, ORACLE_WRITE, len, at, value);
    if (clear || r->memory & 0xff || at == DIR)
        push(r, ORACLE_WRITE, 4, IC, UINT32_MAX);
}

static void make_gpio(struct oracle_random *r)
{
    const struct reg *reg = pick(r, gpio);

    if (oracle_one_in(r, 5)) {
        r->memory ^= KEY_DOWN;
        oracle_push(r, (struct oracle_op){ ORACLE_PIN, 0, 0, KEY_PIN, !!(r->memory & KEY_DOWN) });
        gpio_write(r, 4, IC, 0);
    } else if (oracle_one_in(r, 4)) {
        gpio_write(r, width(r), oracle_pick(r, DATA_END) & ~3U, bits(r));
        push(r, ORACLE_READ, width(r), oracle_pick(r, DATA_END) & ~3U, 0);
    } else if (reg->sent && oracle_one_in(r, 2)) {
        gpio_write(r, width(r), reg->at, oracle_one_in(r, 4) ? 0 : bits(r) & reg->sent);
    } else {
        access_one(r, gpio, 0, false);
    }
}

static const char *const uart_arguments[] = {
    "-machine", "virt", "-chardev", "null,id=line", "-serial", "chardev:line", NULL
};
static const char *const clock_arguments[] = { "-machine", "virt", "-rtc",
                                               "base=2026-01-02T03:04:05,clock=vm", NULL };
static const char *const spaces[] = { "page", NULL };

#define TARGET(id, device, args)                                                             \
    .name = (id), .qemu = &oracle_arm, .arguments = (args), .spaces = spaces, .lines = true, \
    .open = open_##device, .close = platform_close, .set_up = set_up_##device,               \
    .read = platform_read, .write = platform_write, .events = platform_events,               \
    .make = make_##device

const struct oracle_target oracle_pl011 = { TARGET("pl011", uart, uart_arguments) };
const struct oracle_target oracle_pl031 = { TARGET("pl031", clock, clock_arguments) };
const struct oracle_target oracle_pl061 = { TARGET("pl061", gpio, clock_arguments),
                                            .pin_path = "/machine/unattached/device[6]",
                                            .pin = platform_key };
