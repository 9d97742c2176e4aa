/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2). A vector is on while MSI-X is enabled and neither the function
 * nor the vector is masked.
 *
 *            notify: sent                              notify: pending bit
 *   [on] ------------------------ mask bits ------------------------> [off]
 *        <-- unmasked: vector_changed(), then what is pending is sent --
 *
 * Without bus mastering nothing may be sent (6.2.2): then a message of a vector that is on waits in
 * the pending bit too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { ENTRY_ADDR = 0, ENTRY_ADDR_HIGH = 4, ENTRY_DATA = 8, ENTRY_CONTROL = 12 };

/* One bit per vector, in qwords. */
static uint32_t pba_bytes(uint16_t vectors)
{
    return (vectors + 63u) / 64u * 8u;
}

static int check_place(const struct vpci_function *fn, uint16_t vectors, unsigned bar,
                       uint32_t table, uint32_t pba)
{
    uint32_t table_bytes = vectors * (uint32_t)MSIX_ENTRY_BYTES, bits = pba_bytes(vectors);
    uint64_t size;

    if (!vectors || vectors > VPCI_MSIX_MAX || fn->msix.cap)
        return vm_fail(-EINVAL, "%s: MSI-X with %u vectors: use 1 to %d, once", fn->name, vectors,
                       VPCI_MSIX_MAX);
    if (bar >= VPCI_BARS || fn->bar[bar].kind == VPCI_BAR_NONE || fn->bar[bar].kind == VPCI_BAR_IO)
        return vm_fail(-EINVAL, "%s: MSI-X wants a memory BAR, BAR %u is none", fn->name, bar);
    size = fn->bar[bar].size;
    if (table % 8 || pba % 8 || !vm_range_in(table, table_bytes, size) ||
        !vm_range_in(pba, bits, size) || vm_ranges_overlap(table, table_bytes, pba, bits))
        return vm_fail(-EINVAL,
                       "%s: MSI-X table at 0x%x and PBA at 0x%x: they must be aligned to 8, apart, "
                       "and inside BAR %u of 0x%llx bytes",
                       fn->name, table, pba, bar, (unsigned long long)size);
    return 0;
}

static void reset_entries(struct vpci_function *fn)
{
    for (unsigned v = 0; v < fn->msix.vectors; v++)
        fn->msix.entry[v] = (struct vpci_msix_entry){ .control = MSIX_VECTOR_MASK };
}

int vpci_msix_add(struct vpci_function *fn, uint16_t vectors, unsigned bar, uint32_t table,
                  uint32_t pba)
{
    uint8_t body[MSIX_BYTES] = { 0 }, writable[MSIX_BYTES] = { 0 };
    struct vpci_msix_entry *entry;
    unsigned cap;
    int rc = check_place(fn, vectors, bar, table, pba);

    if (rc)
        return rc;
    entry = calloc(vectors, sizeof(*entry));
    if (!entry)
        return vm_fail(-ENOMEM, "%s: no memory for %u MSI-X vectors", fn->name, vectors);
    vm_store_le(body + MSIX_CONTROL, 2, vectors - 1u);
    vm_store_le(writable + MSIX_CONTROL, 2, MSIX_ENABLE | MSIX_FUNCTION_MASK);
    vm_store_le(body + MSIX_TABLE, 4, table | bar);
    vm_store_le(body + MSIX_PBA, 4, pba | bar);
    rc = vpci_cap_add(fn, CAP_MSIX, body, writable, MSIX_BYTES, &cap);
    if (rc) {
        free(entry);
        return rc;
    }
    fn->msix.cap = (uint16_t)cap;
    fn->msix.vectors = vectors;
    fn->msix.bar = (uint8_t)bar;
    fn->msix.table = table;
    fn->msix.pba = pba;
    fn->msix.entry = entry;
    reset_entries(fn);
    return 0;
}

bool vpci_msix_enabled(const struct vpci_function *fn)
{
    return fn->msix.enabled;
}

static bool function_on(const struct vpci_function *fn)
{
    return fn->msix.enabled && !fn->msix.masked;
}

bool vpci_vector_on(const struct vpci_function *fn, unsigned vector)
{
    return function_on(fn) && !(fn->msix.entry[vector].control & MSIX_VECTOR_MASK);
}

static struct vdev_msi message(const struct vpci_function *fn, unsigned vector)
{
    const struct vpci_msix_entry *entry = &fn->msix.entry[vector];
    const struct vpci_root_config *root = vpci_root_config_of(fn->root);

    return (struct vdev_msi){ .addr = entry->addr,
                              .data = entry->data,
                              .devid = vpci_sbdf(root->segment, root->first_bus, fn->device,
                                                 fn->function) };
}

bool vpci_msix_message(const struct vpci_function *fn, unsigned vector, struct vdev_msi *ret_msi)
{
    if (!fn->root || vector >= fn->msix.vectors || !vpci_vector_on(fn, vector) ||
        !vpci_bus_master(fn))
        return false;
    *ret_msi = message(fn, vector);
    return true;
}

/* A vector that is on and has something to say says it, if it may. */
static void deliver(struct vpci_function *fn, unsigned vector)
{
    struct vpci_msix_entry *entry = &fn->msix.entry[vector];
    struct vdev_msi_sink *sink = fn->root ? vpci_root_msi(fn->root) : NULL;
    struct vdev_msi msi;

    if (!fn->root || !vpci_bus_master(fn))
        return;
    entry->pending = false;
    if (!sink)
        return;
    msi = message(fn, vector);
    /* A message that reaches nobody is the guest's affair; the sink counts it. */
    (void)vdev_msi_send(sink, &msi);
}

void vpci_msix_notify(struct vpci_function *fn, unsigned vector)
{
    if (!fn->msix.enabled || vector >= fn->msix.vectors)
        return;
    fn->msix.entry[vector].pending = true;
    if (vpci_vector_on(fn, vector))
        deliver(fn, vector);
}

/* After a change: was tells whether the vector was on before it. */
static void settle(struct vpci_function *fn, unsigned vector, bool was, bool changed)
{
    bool on = vpci_vector_on(fn, vector);

    if ((on != was || (on && changed)) && fn->ops && fn->ops->vector_changed)
        fn->ops->vector_changed(fn, vector, on);
    if (on && fn->msix.entry[vector].pending)
        deliver(fn, vector);
}

void vpci_msix_update(struct vpci_function *fn)
{
    bool was = function_on(fn);
    uint16_t control;

    if (!fn->msix.cap)
        return;
    control = config_get16(fn, fn->msix.cap + MSIX_CONTROL);
    fn->msix.enabled = control & MSIX_ENABLE;
    fn->msix.masked = control & MSIX_FUNCTION_MASK;
    if (function_on(fn) == was)
        return;
    for (unsigned v = 0; v < fn->msix.vectors; v++)
        if (!(fn->msix.entry[v].control & MSIX_VECTOR_MASK))
            settle(fn, v, was, false);
}

void vpci_msix_flush(struct vpci_function *fn)
{
    for (unsigned v = 0; v < fn->msix.vectors; v++)
        if (fn->msix.entry[v].pending && vpci_vector_on(fn, v))
            deliver(fn, v);
}

void vpci_msix_reset(struct vpci_function *fn)
{
    bool was = function_on(fn);

    fn->msix.enabled = fn->msix.masked = false;
    for (unsigned v = 0; v < fn->msix.vectors; v++)
        if (!(fn->msix.entry[v].control & MSIX_VECTOR_MASK))
            settle(fn, v, was, false);
    reset_entries(fn);
}

static void set_dword(struct vpci_msix_entry *entry, unsigned reg, uint32_t value)
{
    switch (reg) {
    case ENTRY_ADDR:
        /* 6.8.2.4: bits 1:0 must be written as 0. */
        entry->addr = (entry->addr & ~0xffffffffULL) | (value & ~3u);
        break;
    case ENTRY_ADDR_HIGH:
        entry->addr = (entry->addr & 0xffffffffULL) | (uint64_t)value << 32;
        break;
    case ENTRY_DATA: entry->data = value; break;
    case ENTRY_CONTROL: entry->control = value & MSIX_VECTOR_MASK; break;
    }
}

static void write_table(struct vpci_function *fn, uint32_t at, const uint8_t *data, unsigned len)
{
    unsigned vector = at / MSIX_ENTRY_BYTES;
    struct vpci_msix_entry *entry = &fn->msix.entry[vector], before = *entry;
    bool was = vpci_vector_on(fn, vector);

    for (unsigned i = 0; i < len; i += 4)
        set_dword(entry, at % MSIX_ENTRY_BYTES + i, (uint32_t)vm_load_le(data + i, 4));
    settle(fn, vector, was, entry->addr != before.addr || entry->data != before.data);
}

static uint8_t table_byte(const struct vpci_function *fn, uint32_t at)
{
    const struct vpci_msix_entry *entry = &fn->msix.entry[at / MSIX_ENTRY_BYTES];
    unsigned reg = at % MSIX_ENTRY_BYTES;

    if (reg < ENTRY_DATA)
        return (uint8_t)(entry->addr >> 8 * reg & 0xff);
    if (reg < ENTRY_CONTROL)
        return (uint8_t)(entry->data >> 8 * (reg - ENTRY_DATA) & 0xff);
    return (uint8_t)(entry->control >> 8 * (reg - ENTRY_CONTROL) & 0xff);
}

static uint8_t pba_byte(const struct vpci_function *fn, uint32_t at)
{
    uint8_t byte = 0;

    for (unsigned bit = 0; bit < 8 && at * 8 + bit < fn->msix.vectors; bit++)
        if (fn->msix.entry[at * 8 + bit].pending)
            byte |= (uint8_t)(1u << bit);
    return byte;
}

static bool in_table(const struct vpci_function *fn, uint64_t offset, unsigned len)
{
    return fn->msix.cap && offset <= UINT32_MAX &&
           vm_ranges_overlap(offset, len, fn->msix.table, vpci_msix_table_bytes(fn));
}

static bool in_pba(const struct vpci_function *fn, uint64_t offset, unsigned len)
{
    return fn->msix.cap && offset <= UINT32_MAX &&
           vm_ranges_overlap(offset, len, fn->msix.pba, pba_bytes(fn->msix.vectors));
}

bool vpci_msix_read(struct vpci_function *fn, uint64_t offset, uint8_t *data, unsigned len)
{
    if (!in_table(fn, offset, len) && !in_pba(fn, offset, len))
        return false;
    for (unsigned i = 0; i < len; i++) {
        uint64_t at = offset + i;

        if (in_table(fn, at, 1))
            data[i] = table_byte(fn, (uint32_t)(at - fn->msix.table));
        else
            data[i] = in_pba(fn, at, 1) ? pba_byte(fn, (uint32_t)(at - fn->msix.pba)) : 0;
    }
    return true;
}

bool vpci_msix_write(struct vpci_function *fn, uint64_t offset, const uint8_t *data, unsigned len)
{
    if (!in_table(fn, offset, len))
        return in_pba(fn, offset, len);
    if ((len == 4 || len == 8) && !(offset % len) && offset >= fn->msix.table &&
        vm_range_in(offset - fn->msix.table, len, vpci_msix_table_bytes(fn)))
        write_table(fn, (uint32_t)offset - fn->msix.table, data, len);
    return true;
}
