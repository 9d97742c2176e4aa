/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Configuration space of q35's host bridge and of a virtio function against ours: by the ports 0xcf8 and 0xcfc, and by ECAM. */
#include "guest.h"

enum {
    SPACE_BRIDGE,
    SPACE_FUNCTION,
    SPACE_ABSENT,
    SPACE_PORTS,
    SPACE_ECAM,
    SPACE_MSIX,
    SPACE_COMMON_CAP,
    SPACE_NOTIFY_CAP,
    SPACE_ISR_CAP,
    SPACE_PCI_CAP,
};
enum { HEADER = 0x40, MSIX_BYTES = 12, CAP_BYTES = 16, ADDRESS_BYTES = 4 };
enum { PCIEXBAR = 0x60, PCIEXBAR_ON = 1, ABSENT_SLOT = 5 };

static int set_up(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu)
{
    struct oracle_place bridge = { ORACLE_CONFIG, 0 };
    struct guest_function a, b;
    int rc = guest_find(NULL, &a);

    if (rc || (rc = guest_find(q, &b)))
        return rc;
    /* Firmware switches ECAM on (Intel 316966, 5.1.16). */
    qtest_config_write(q, 0, PCIEXBAR, 4, (uint32_t)GUEST_ECAM | PCIEXBAR_ON);
    guest_write(&bridge, PCIEXBAR, 4, GUEST_ECAM | PCIEXBAR_ON);
    ours[SPACE_BRIDGE] = qemu[SPACE_BRIDGE] = bridge;
    ours[SPACE_ABSENT] = qemu[SPACE_ABSENT] =
        (struct oracle_place){ ORACLE_CONFIG, ABSENT_SLOT << 3 << 12 };
    ours[SPACE_PORTS] = qemu[SPACE_PORTS] = (struct oracle_place){ ORACLE_PIO, 0xcf8 };
    ours[SPACE_ECAM] = qemu[SPACE_ECAM] =
        (struct oracle_place){ ORACLE_MMIO, GUEST_ECAM | GUEST_SLOT << 15 };
    ours[SPACE_FUNCTION] = a.header;
    qemu[SPACE_FUNCTION] = b.header;
    ours[SPACE_MSIX] = a.msix;
    qemu[SPACE_MSIX] = b.msix;
    for (unsigned type = 1; type <= 3; type++) {
        static const unsigned space[] = { 0, SPACE_COMMON_CAP, SPACE_NOTIFY_CAP, SPACE_ISR_CAP };

        ours[space[type]] = a.cap[type];
        qemu[space[type]] = b.cap[type];
    }
    ours[SPACE_PCI_CAP] = a.cap[5];
    qemu[SPACE_PCI_CAP] = b.cap[5];
    return 0;
}

static void push(struct oracle_random *r, unsigned space, uint32_t at, uint8_t len, bool write)
{
    struct oracle_op op = { write, (uint8_t)space, len, at, 0 };
    uint64_t all = len == 4 ? UINT32_MAX : (1U << 8 * len) - 1;

    if (write)
        op.value = oracle_one_in(r, 3) ? all : oracle_next(r) & all;
    oracle_push(r, op);
}

/* The ports themselves; other widths and offsets are other devices' (see the table). */
static void make_ports(struct oracle_random *r)
{
    uint32_t slot = oracle_one_in(r, 3) ? ABSENT_SLOT : GUEST_SLOT;
    uint32_t address =
        slot << 11 | (oracle_pick(r, HEADER) & ~3U) | (oracle_one_in(r, 4) ? 0 : 1U << 31);
    uint8_t len = (uint8_t)(1U << oracle_pick(r, 3));
    uint32_t at = ADDRESS_BYTES + (oracle_pick(r, 4) & ~(len - 1U));

    oracle_push(r, (struct oracle_op){ ORACLE_WRITE, SPACE_PORTS, 4, 0, address });
    push(r, SPACE_PORTS, 0, 4, false);
    push(r, SPACE_PORTS, at, len, oracle_one_in(r, 3));
    push(r, SPACE_PORTS, at, len, false);
}

static void make(struct oracle_random *r)
{
    static const struct {
        uint8_t space, bytes;
    } where[] = {
        { SPACE_BRIDGE, HEADER },        { SPACE_FUNCTION, HEADER },
        { SPACE_FUNCTION, HEADER },      { SPACE_FUNCTION, HEADER },
        { SPACE_ECAM, HEADER },          { SPACE_ABSENT, HEADER },
        { SPACE_MSIX, MSIX_BYTES },      { SPACE_COMMON_CAP, CAP_BYTES },
        { SPACE_NOTIFY_CAP, CAP_BYTES }, { SPACE_ISR_CAP, CAP_BYTES },
    };
    unsigned n = oracle_pick(r, sizeof(where) / sizeof(*where) + 1);
    uint8_t len = (uint8_t)(1U << oracle_pick(r, 3));

    if (n == sizeof(where) / sizeof(*where))
        make_ports(r);
    else
        push(r, where[n].space, oracle_pick(r, where[n].bytes) & ~(len - 1U), len,
             oracle_one_in(r, 2));
}

static const char *const arguments[] = { "-machine", "q35", "-device",
                                         "virtio-rng-pci,disable-legacy=on,addr=2", NULL };
static const char *const spaces[] = { "bridge",  "function", "absent",     "ports",
                                      "ecam",    "msix",     "common_cap", "notify_cap",
                                      "isr_cap", "pci_cap",  NULL };

const struct oracle_target oracle_pci = {
    .name = "pci",
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
