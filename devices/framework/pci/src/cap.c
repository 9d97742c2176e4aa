/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Capability lists (PCI Local Bus 3.0, 6.7; PCI Express 5.0, 7.6) and the PCI Express capability
 * (7.5.3). */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { CAP_HEADER = 2, EXT_CAP_HEADER = 4, CONVENTIONAL_BYTES = 256 };

int vpci_cap_add(struct vpci_function *fn, uint8_t id, const void *body, const void *writable,
                 unsigned len, unsigned *ret_offset)
{
    unsigned at = fn->next_cap;

    if (len < CAP_HEADER || len > CONVENTIONAL_BYTES || at + len > CONVENTIONAL_BYTES)
        return vm_fail(-ENOSPC, "%s: capability 0x%02x of %u bytes does not fit at 0x%x", fn->name,
                       id, len, at);
    fn->config[at] = id;
    fn->config[fn->last_cap ? fn->last_cap + 1 : REG_CAP] = (uint8_t)at;
    fn->config[REG_STATUS] |= STATUS_CAP_LIST;
    if (body)
        memcpy(fn->config + at + CAP_HEADER, (const uint8_t *)body + CAP_HEADER, len - CAP_HEADER);
    if (writable)
        memcpy(fn->writable + at + CAP_HEADER, (const uint8_t *)writable + CAP_HEADER,
               len - CAP_HEADER);
    fn->last_cap = (uint16_t)at;
    fn->next_cap = (uint16_t)((at + len + 3) & ~3u);
    *ret_offset = at;
    return 0;
}

int vpci_ext_cap_add(struct vpci_function *fn, uint16_t id, uint8_t version, const void *body,
                     unsigned len, unsigned *ret_offset)
{
    unsigned at = fn->next_ext_cap;

    if (len < EXT_CAP_HEADER || len > VPCI_CONFIG_BYTES || at + len > VPCI_CONFIG_BYTES)
        return vm_fail(-ENOSPC, "%s: extended capability 0x%04x of %u bytes does not fit at 0x%x",
                       fn->name, id, len, at);
    /* 7.6.3: id, version in bits 19:16, offset of the next in 31:20. */
    vm_store_le(fn->config + at, 4, id | (uint32_t)(version & 0xf) << 16);
    if (fn->last_ext_cap)
        vm_store_le(fn->config + fn->last_ext_cap, 4,
                    config_get32(fn, fn->last_ext_cap) | (uint32_t)at << 20);
    if (body)
        memcpy(fn->config + at + EXT_CAP_HEADER, (const uint8_t *)body + EXT_CAP_HEADER,
               len - EXT_CAP_HEADER);
    fn->last_ext_cap = (uint16_t)at;
    fn->next_ext_cap = (uint16_t)((at + len + 3) & ~3u);
    *ret_offset = at;
    return 0;
}

/* Offsets and values of 7.5.3. */
enum {
    EXP_BYTES = 0x3c,
    EXP_FLAGS = 0x02,
    EXP_DEVICE = 0x04,
    EXP_DEVICE_CONTROL = 0x08,
    EXP_DEVICE_STATUS = 0x0a,
    EXP_LINK = 0x0c,
    EXP_LINK_CONTROL = 0x10,
    EXP_LINK_STATUS = 0x12,
    EXP_ROOT_CONTROL = 0x1c,
    EXP_ROOT_STATUS = 0x20,
};
enum {
    FLAGS_VERSION_2 = 2,
    FLAGS_ROOT_PORT = 4 << 4,
    FLAGS_INTEGRATED_ENDPOINT = 9 << 4,
    DEVICE_ROLE_BASED_ERRORS = 1 << 15,
    DEVICE_CONTROL_RESET = 0x2810, /* relaxed ordering, no snoop, reads of 512 bytes */
    DEVICE_CONTROL_WRITABLE = 0x78ff,
    DEVICE_STATUS_RW1C = 0x000f,
    LINK_SPEED_2_5 = 1,
    LINK_WIDTH_1 = 1 << 4,
    LINK_ACTIVE_REPORTING = 1 << 20,
    LINK_CONTROL_WRITABLE = 0x00c3, /* ASPM, common clock, extended synch */
    LINK_STATUS_ACTIVE = 1 << 13,
    ROOT_CONTROL_WRITABLE = 0x000f,
    ROOT_STATUS_PME = 1 << 16,
};

static void fill_port(uint8_t *body, uint8_t *writable)
{
    vm_store_le(body + EXP_LINK, 4, LINK_SPEED_2_5 | LINK_WIDTH_1 | LINK_ACTIVE_REPORTING);
    vm_store_le(body + EXP_LINK_STATUS, 2, LINK_SPEED_2_5 | LINK_WIDTH_1 | LINK_STATUS_ACTIVE);
    vm_store_le(writable + EXP_LINK_CONTROL, 2, LINK_CONTROL_WRITABLE);
    vm_store_le(writable + EXP_ROOT_CONTROL, 2, ROOT_CONTROL_WRITABLE);
}

int vpci_express_cap_add(struct vpci_function *fn, bool port)
{
    uint8_t body[EXP_BYTES] = { 0 }, writable[EXP_BYTES] = { 0 };
    unsigned at = 0;
    int rc;

    vm_store_le(body + EXP_FLAGS, 2,
                FLAGS_VERSION_2 | (port ? FLAGS_ROOT_PORT : FLAGS_INTEGRATED_ENDPOINT));
    vm_store_le(body + EXP_DEVICE, 4, DEVICE_ROLE_BASED_ERRORS);
    vm_store_le(body + EXP_DEVICE_CONTROL, 2, DEVICE_CONTROL_RESET);
    vm_store_le(writable + EXP_DEVICE_CONTROL, 2, DEVICE_CONTROL_WRITABLE);
    if (port)
        fill_port(body, writable);
    rc = vpci_cap_add(fn, CAP_EXPRESS, body, writable, EXP_BYTES, &at);
    if (rc)
        return rc;
    vm_store_le(fn->clear_on_1 + at + EXP_DEVICE_STATUS, 2, DEVICE_STATUS_RW1C);
    if (port)
        vm_store_le(fn->clear_on_1 + at + EXP_ROOT_STATUS, 4, ROOT_STATUS_PME);
    return 0;
}
