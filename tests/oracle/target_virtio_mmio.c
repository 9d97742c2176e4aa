/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The virtio-mmio window of a virtio-rng in microvm against ours. */
#include "guest.h"

#define FIRST_WINDOW 0xfeb00000ULL
enum { WINDOWS = 32, WINDOW_BYTES = 0x200, ID_RNG = 4, SPACE_WINDOW = 0 };
/* VIRTIO 1.2, 4.2.2 */
enum {
    DEVICE_ID = 0x008,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_NUM = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    CONFIG = 0x100,
};

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    ours[SPACE_WINDOW] = (struct oracle_place){ ORACLE_MMIO, GUEST_MMIO };
    for (unsigned n = 0; n < WINDOWS; n++) {
        uint64_t base = FIRST_WINDOW + n * WINDOW_BYTES;

        if (qtest_read(q, false, base + DEVICE_ID, 4) == ID_RNG) {
            qemu[SPACE_WINDOW] = (struct oracle_place){ ORACLE_MMIO, base };
            return 0;
        }
    }
    return 1;
}

static const struct guest_registers registers = {
    .space = SPACE_WINDOW,
    .status = { STATUS, 4 },
    .device_select = { DEVICE_FEATURES_SEL, 4 },
    .select = { DRIVER_FEATURES_SEL, 4 },
    .features = { DRIVER_FEATURES, 4 },
    .queue = { QUEUE_SEL, 4 },
    .size = { QUEUE_NUM, 4 },
    .enable = { QUEUE_READY, 4 },
    .area = { QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE },
};

/* Any register is read; writes are those that no state forbids. */
static void make_access(struct oracle_random *r)
{
    static const uint8_t writable[] = { DEVICE_FEATURES_SEL, DRIVER_FEATURES_SEL, QUEUE_NOTIFY,
                                        INTERRUPT_ACK };
    struct guest_register reg = { (uint16_t)(oracle_pick(r, CONFIG) & ~3U), 4 };
    unsigned n = oracle_pick(r, 2 * sizeof(writable));

    guest_put(r, SPACE_WINDOW, registers.queue, oracle_one_in(r, 8) ? 1 + oracle_pick(r, 3) : 0);
    if (n < sizeof(writable)) {
        reg.at = writable[n];
        guest_put(r, SPACE_WINDOW, reg, oracle_pick(r, 4));
    }
    guest_get(r, SPACE_WINDOW, reg);
}

static void make(struct oracle_random *r)
{
    if (oracle_one_in(r, 4))
        guest_drive(r, &registers);
    else
        make_access(r);
}

static const char *const arguments[] = { "-machine", "microvm,acpi=off",
                                         "-global",  "virtio-mmio.force-legacy=false",
                                         "-device",  "virtio-rng-device,packed=on",
                                         NULL };
static const char *const spaces[] = { "window", NULL };

const struct oracle_target oracle_virtio_mmio = {
    .name = "virtio_mmio",
    .arguments = arguments,
    .spaces = spaces,
    .lines = true,
    .open = guest_open_mmio,
    .close = guest_close,
    .set_up = set_up,
    .read = guest_read,
    .write = guest_write,
    .events = guest_events,
    .make = make,
};
