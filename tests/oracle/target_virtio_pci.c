/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Registers of virtio-rng-pci (modern) against ours: common structure, ISR, notifications, MSI-X table and PBA. */
#include "guest.h"

enum { SPACE_COMMON, SPACE_ISR, SPACE_NOTIFY, SPACE_TABLE, SPACE_PBA, SPACE_MSIX, SPACE_FUNCTION };
/* VIRTIO 1.2, 4.1.4.3 */
enum {
    FEATURE_SELECT = 0x00,
    FEATURE = 0x04,
    DRIVER_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    NOTIFY_DATA = 0x38,
    QUEUE_RESET = 0x3a,
    TABLE_BYTES = 32, /* two vectors */
};

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    struct guest_function f[2];
    struct oracle_place *side[] = { ours, qemu };
    int rc = guest_find(NULL, &f[0]);

    if (rc || (rc = guest_find(q, &f[1])))
        return rc;
    for (unsigned i = 0; i < 2; i++) {
        side[i][SPACE_COMMON] = f[i].area[1];
        side[i][SPACE_NOTIFY] = f[i].area[2];
        side[i][SPACE_ISR] = f[i].area[3];
        side[i][SPACE_TABLE] = f[i].table;
        side[i][SPACE_PBA] = f[i].pba;
        side[i][SPACE_MSIX] = f[i].msix;
        side[i][SPACE_FUNCTION] = f[i].header;
    }
    return 0;
}

static const struct guest_registers registers = {
    .space = SPACE_COMMON,
    .status = { STATUS, 1 },
    .device_select = { FEATURE_SELECT, 4 },
    .select = { DRIVER_SELECT, 4 },
    .features = { DRIVER_FEATURE, 4 },
    .queue = { QUEUE_SELECT, 2 },
    .size = { QUEUE_SIZE, 2 },
    .enable = { QUEUE_ENABLE, 2 },
    .area = { QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE },
};

/* Registers of the device; writes are those that no state forbids. */
static void make_device_field(struct oracle_random *r)
{
    static const struct guest_register fields[] = {
        { FEATURE_SELECT, 4 }, { DRIVER_SELECT, 4 },  { CONFIG_VECTOR, 2 }, /* written, too */
        { FEATURE, 4 },        { DRIVER_FEATURE, 4 }, { NUM_QUEUES, 2 },
        { STATUS, 1 },         { STATUS + 1, 1 },     { QUEUE_SELECT, 2 },
    };
    unsigned n = oracle_pick(r, sizeof(fields) / sizeof(*fields));

    if (n < 3)
        guest_put(r, SPACE_COMMON, fields[n],
                  oracle_one_in(r, 8) ? (uint32_t)oracle_next(r) & UINT16_MAX : oracle_pick(r, 4));
    guest_get(r, SPACE_COMMON, fields[n]);
}

static void make_queue_field(struct oracle_random *r)
{
    static const struct guest_register fields[] = {
        { QUEUE_VECTOR, 2 }, { QUEUE_SIZE, 2 },       { QUEUE_DESC, 4 },   { QUEUE_DESC + 4, 4 },
        { QUEUE_DRIVER, 4 }, { QUEUE_DRIVER + 4, 4 }, { QUEUE_DEVICE, 4 }, { QUEUE_DEVICE + 4, 4 },
        { QUEUE_ENABLE, 2 }, { NOTIFY_OFF, 2 },       { NOTIFY_DATA, 2 },  { QUEUE_RESET, 2 },
    };
    unsigned n = oracle_pick(r, sizeof(fields) / sizeof(*fields)), queue = 0;

    if (oracle_one_in(r, 8))
        queue = 1 + oracle_pick(r, 3);
    guest_put(r, SPACE_COMMON, registers.queue, queue);
    if (!n)
        guest_put(r, SPACE_COMMON, fields[n], oracle_pick(r, 4));
    else if (n < 8 && !(r->memory & GUEST_ENABLED) && oracle_one_in(r, 2))
        guest_put(r, SPACE_COMMON, fields[n],
                  n == 1 ? 1U << oracle_pick(r, 4) : (uint32_t)oracle_next(r) & UINT32_MAX);
    guest_get(r, SPACE_COMMON, fields[n]);
}

static void make_msix(struct oracle_random *r)
{
    struct guest_register entry = { (uint16_t)(oracle_pick(r, TABLE_BYTES / 4) * 4), 4 };
    uint32_t value = (uint32_t)oracle_next(r) & UINT32_MAX;

    if (oracle_one_in(r, 4)) {
        guest_put(r, SPACE_MSIX, (struct guest_register){ 2, 2 }, oracle_pick(r, 4) << 14);
        guest_get(r, SPACE_MSIX, (struct guest_register){ 2, 2 });
        return;
    }
    if ((entry.at & 0xf) == 0xc)
        value = oracle_pick(r, 4);
    else if (!(entry.at & 0xf))
        value &= ~3U;
    if (oracle_one_in(r, 2))
        guest_put(r, SPACE_TABLE, entry, value);
    guest_get(r, SPACE_TABLE, entry);
    guest_get(r, SPACE_PBA, (struct guest_register){ 0, 4 });
}

static void make(struct oracle_random *r)
{
    switch (oracle_pick(r, 10)) {
    case 0: guest_get(r, SPACE_ISR, (struct guest_register){ 0, 1 }); return;
    case 1: guest_put(r, SPACE_NOTIFY, (struct guest_register){ 0, 2 }, 0); return;
    case 2: guest_get(r, SPACE_FUNCTION, (struct guest_register){ 6, 2 }); return;
    case 3: make_msix(r); return;
    case 4:
    case 5: make_device_field(r); return;
    case 6:
    case 7: make_queue_field(r); return;
    default: guest_drive(r, &registers); return;
    }
}

static const char *const arguments[] = { "-machine", "q35", "-device",
                                         "virtio-rng-pci,disable-legacy=on,packed=on,addr=2",
                                         NULL };
static const char *const spaces[] = { "common", "isr",  "notify",   "table",
                                      "pba",    "msix", "function", NULL };

const struct oracle_target oracle_virtio_pci = {
    .name = "virtio_pci",
    .arguments = arguments,
    .spaces = spaces,
    .lines = true,
    .messages = true,
    .open = guest_open_pci,
    .close = guest_close,
    .set_up = set_up,
    .read = guest_read,
    .write = guest_write,
    .events = guest_events,
    .make = make,
};
