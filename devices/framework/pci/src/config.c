/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Configuration space of a function (PCI Local Bus 3.0, chapter 6; PCI Express 5.0, 7.5): registers
 * with a mask of writable and of write-1-to-clear bits each, and what follows from a write: BARs,
 * the interrupt line, MSI-X.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

/* PCI Express 5.0, 7.5.1.1.3; parity checking and the rest are hardwired to 0, as an integrated
 * endpoint may. */
enum {
    COMMAND_WRITABLE =
        COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR | COMMAND_INTX_DISABLE
};

static void set16(uint8_t *at, uint16_t value)
{
    vm_store_le(at, 2, value);
}

void vpci_function_init(struct vpci_function *fn, const char *name, const struct vpci_ids *ids,
                        const struct vpci_ops *ops, void *self, struct vdev *dev)
{
    *fn = (struct vpci_function){ .name = name, .ops = ops, .self = self, .dev = dev };
    fn->lock = dev ? &dev->lock : NULL;
    fn->next_cap = REG_FIRST_CAP;
    fn->next_ext_cap = REG_EXTENDED;
    set16(fn->config + REG_VENDOR, ids->vendor);
    set16(fn->config + REG_DEVICE, ids->device);
    set16(fn->config + REG_SUBSYSTEM_VENDOR, ids->subsystem_vendor);
    set16(fn->config + REG_SUBSYSTEM, ids->subsystem);
    fn->config[REG_REVISION] = ids->revision;
    vm_store_le(fn->config + REG_CLASS, 3, ids->class_code & 0xffffff);
    set16(fn->writable + REG_COMMAND, COMMAND_WRITABLE);
    set16(fn->clear_on_1 + REG_STATUS, STATUS_RW1C);
    fn->writable[REG_CACHE_LINE] = 0xff; /* for software only (PCI Express 5.0, 7.5.1.1.7) */
    fn->writable[REG_INTERRUPT_LINE] = 0xff;
}

void vpci_function_exit(struct vpci_function *fn)
{
    free(fn->msix.entry);
    free(fn->power_on);
    fn->msix.entry = NULL;
    fn->power_on = NULL;
}

bool vpci_bus_master(const struct vpci_function *fn)
{
    return config_command(fn) & COMMAND_MASTER;
}

/* One, two or four bytes that lie in one dword. */
static bool is_access(unsigned offset, unsigned len)
{
    return (len == 1 || len == 2 || len == 4) && offset <= VPCI_CONFIG_BYTES - len &&
           (offset & 3) + len <= 4;
}

static bool touches(unsigned offset, unsigned len, unsigned reg, unsigned bytes)
{
    return vm_ranges_overlap(offset, len, reg, bytes);
}

uint32_t vpci_config_read(struct vpci_function *fn, unsigned offset, unsigned len)
{
    uint32_t value;

    if (!is_access(offset, len))
        return UINT32_MAX;
    if (fn->ops && fn->ops->config_read)
        fn->ops->config_read(fn, offset, len);
    value = (uint32_t)vm_load_le(fn->config + offset, len);
    /* Not in config: another function of the device may come while this one is in use. */
    if (touches(offset, len, REG_HEADER_TYPE, 1) && fn->root &&
        vpci_root_is_multi(fn->root, fn->device))
        value |= (uint32_t)HEADER_MULTI_FUNCTION << 8 * (REG_HEADER_TYPE - offset);
    return value;
}

static void write_byte(struct vpci_function *fn, unsigned offset, uint8_t value)
{
    uint8_t writable = fn->writable[offset];
    uint8_t *byte = &fn->config[offset];

    *byte = (uint8_t)((*byte & ~writable) | (value & writable));
    *byte = (uint8_t)(*byte & ~(value & fn->clear_on_1[offset]));
}

static void follow_write(struct vpci_function *fn, unsigned offset, unsigned len, bool was_master)
{
    if (touches(offset, len, REG_COMMAND, 2) ||
        touches(offset, len, REG_BAR, REG_BAR_END - REG_BAR))
        vpci_bars_update(fn);
    if (fn->msix.cap && touches(offset, len, fn->msix.cap + MSIX_CONTROL, 2))
        vpci_msix_update(fn);
    vpci_intx_update(fn);
    if (vpci_bus_master(fn) && !was_master)
        vpci_msix_flush(fn);
}

int vpci_config_write(struct vpci_function *fn, unsigned offset, unsigned len, uint32_t value)
{
    bool was_master = vpci_bus_master(fn);

    if (!is_access(offset, len))
        return 0;
    for (unsigned i = 0; i < len; i++)
        write_byte(fn, offset + i, (uint8_t)(value >> 8 * i & 0xff));
    follow_write(fn, offset, len, was_master);
    return fn->ops && fn->ops->config_written ? fn->ops->config_written(fn, offset, len) : 0;
}

void vpci_config_settle(struct vpci_function *fn)
{
    vpci_bars_update(fn);
    vpci_msix_update(fn);
    vpci_intx_update(fn);
}

void vpci_function_reset(struct vpci_function *fn)
{
    if (fn->power_on)
        memcpy(fn->config, fn->power_on, fn->config_bytes);
    fn->intx_level = false;
    vpci_msix_reset(fn);
    vpci_config_settle(fn);
}

void vpci_intx_update(struct vpci_function *fn)
{
    bool pending = fn->intx_level && !fn->msix.enabled;
    bool raised = pending && !(config_command(fn) & COMMAND_INTX_DISABLE);

    /* 6.2.3: the status bit shows the device's state, whether the pin may follow or not. */
    if (pending)
        fn->config[REG_STATUS] |= STATUS_INTERRUPT;
    else
        fn->config[REG_STATUS] &= (uint8_t)~STATUS_INTERRUPT;
    if (raised == fn->intx_raised)
        return;
    fn->intx_raised = raised;
    vdev_irq_set(fn->intx, raised);
}

void vpci_intx_set(struct vpci_function *fn, bool level)
{
    fn->intx_level = level;
    vpci_intx_update(fn);
}

/* The largest access at offset that is_access() allows and that is not longer than len. */
static unsigned piece(unsigned offset, unsigned len)
{
    unsigned most = 4 - (offset & 3);

    if (len < most)
        most = len;
    return most == 3 ? 2 : most;
}

/* ECAM and CAM as a region: any width and alignment, cut at dwords. */
static int region_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    unsigned at = (unsigned)offset;

    while (len) {
        unsigned n = piece(at, len);

        vm_store_le(data, n, vpci_config_read(self, at, n));
        at += n;
        data += n;
        len -= n;
    }
    return 0;
}

static int region_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    unsigned at = (unsigned)offset;
    int rc = 0;

    while (len) {
        unsigned n = piece(at, len);
        int part = vpci_config_write(self, at, n, (uint32_t)vm_load_le(data, n));

        if (part)
            rc = part;
        at += n;
        data += n;
        len -= n;
    }
    return rc;
}

const struct vdev_region_ops vpci_config_ops = { .read = region_read, .write = region_write };
