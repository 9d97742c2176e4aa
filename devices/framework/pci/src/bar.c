/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Base address registers (PCI Local Bus 3.0, 6.2.5.1). A BAR answers while its kind's decode bit is
 * set and its whole range lies in one of the root's windows; where BARs overlap, the bus lets the
 * first comer answer. A 64-bit BAR is followed register by register, so between the two writes it
 * may lie somewhere for a moment, as in hardware.
 */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { BAR_IO = 1, BAR_64 = 4, BAR_PREFETCH = 8 };
#define BAR_MEM_SIZE_MAX (1ULL << 31)
#define BAR_64_SIZE_MAX  (1ULL << 48)
#define BAR_IO_SIZE_MAX  (1ULL << 16)

static unsigned reg_of(unsigned n)
{
    return REG_BAR + 4 * n;
}

static uint32_t type_bits(enum vpci_bar_kind kind)
{
    switch (kind) {
    case VPCI_BAR_IO: return BAR_IO;
    case VPCI_BAR_MEM64: return BAR_64;
    case VPCI_BAR_MEM64_PREFETCH: return BAR_64 | BAR_PREFETCH;
    default: return 0;
    }
}

static uint64_t size_max(enum vpci_bar_kind kind)
{
    if (kind == VPCI_BAR_IO)
        return BAR_IO_SIZE_MAX;
    return bar_is_64(kind) ? BAR_64_SIZE_MAX : BAR_MEM_SIZE_MAX;
}

static bool is_taken(const struct vpci_function *fn, unsigned n)
{
    return fn->bar[n].kind != VPCI_BAR_NONE || (n && bar_is_64(fn->bar[n - 1].kind));
}

int vpci_bar_add(struct vpci_function *fn, unsigned n, enum vpci_bar_kind kind, uint64_t size,
                 const struct vdev_region_ops *ops, void *self)
{
    unsigned last = bar_is_64(kind) ? n + 1 : n;

    if (kind == VPCI_BAR_NONE || last >= VPCI_BARS || is_taken(fn, n) || is_taken(fn, last))
        return vm_fail(-EINVAL, "%s: BAR %u is taken or not there", fn->name, n);
    if (!vm_is_pow2(size) || size < 16 || size > size_max(kind))
        return vm_fail(-EINVAL, "%s: BAR %u of 0x%llx bytes: use a power of two from 16 to 0x%llx",
                       fn->name, n, (unsigned long long)size, (unsigned long long)size_max(kind));
    if (fn->root)
        return vm_fail(-EINVAL, "%s: BAR %u comes after the function was plugged in", fn->name, n);
    fn->bar[n] = (struct vpci_bar){ .kind = kind, .size = size };
    fn->bar[n].region = (struct vdev_region){ .size = size, .ops = ops, .self = self };
    vm_store_le(fn->config + reg_of(n), 4, type_bits(kind));
    vm_store_le(fn->writable + reg_of(n), bar_is_64(kind) ? 8 : 4, ~(size - 1));
    return 0;
}

uint64_t vpci_bar_address(const struct vpci_function *fn, unsigned n)
{
    enum vpci_bar_kind kind = fn->bar[n].kind;
    uint64_t address = config_get32(fn, reg_of(n));

    if (kind == VPCI_BAR_IO)
        return address & ~3ULL;
    address &= ~0xfULL;
    if (bar_is_64(kind))
        address |= (uint64_t)config_get32(fn, reg_of(n + 1)) << 32;
    return address;
}

void vpci_bar_set_address(struct vpci_function *fn, unsigned n, uint64_t address)
{
    enum vpci_bar_kind kind = fn->bar[n].kind;

    vm_store_le(fn->config + reg_of(n), bar_is_64(kind) ? 8 : 4, address | type_bits(kind));
}

static bool holds(const struct vpci_window *window, uint64_t address, uint64_t size)
{
    return address >= window->base && vm_range_in(address - window->base, size, window->size);
}

const struct vpci_window *vpci_bar_window(const struct vpci_root_config *config,
                                          enum vpci_bar_kind kind, uint64_t address, uint64_t size)
{
    if (kind == VPCI_BAR_IO)
        return config->pio && holds(&config->io, address, size) ? &config->io : NULL;
    if (holds(&config->mem32, address, size))
        return &config->mem32;
    return holds(&config->mem64, address, size) ? &config->mem64 : NULL;
}

/* Where the BAR should answer now; false: nowhere. */
static bool decodes(const struct vpci_function *fn, unsigned n, uint64_t *ret_address)
{
    const struct vpci_bar *bar = &fn->bar[n];
    uint16_t bit = bar->kind == VPCI_BAR_IO ? COMMAND_IO : COMMAND_MEMORY;

    *ret_address = vpci_bar_address(fn, n);
    return fn->root && (config_command(fn) & bit) &&
           vpci_bar_window(vpci_root_config_of(fn->root), bar->kind, *ret_address, bar->size);
}

/* Puts a BAR on its bus, or somewhere else on it. Without memory for that it answers nowhere. */
static void map(struct vpci_bar *bar, struct vdev_bus *bus, uint64_t address)
{
    int rc;

    if (bar->mapped) {
        rc = vdev_bus_move(bus, &bar->region, address);
        if (rc)
            vdev_bus_del(bus, &bar->region, NULL, NULL);
    } else {
        bar->region.base = address;
        rc = vdev_bus_add(bus, &bar->region);
    }
    bar->mapped = !rc;
}

static struct vdev_bus *bus_of(const struct vpci_root *root, enum vpci_bar_kind kind)
{
    const struct vpci_root_config *config = vpci_root_config_of(root);

    return kind == VPCI_BAR_IO ? config->pio : config->mmio;
}

bool vpci_bar_reached(const struct vpci_function *fn, unsigned n, uint64_t offset)
{
    const struct vpci_bar *bar = &fn->bar[n];

    return fn->root && bar->mapped &&
           vdev_bus_reaches(bus_of(fn->root, bar->kind), bar->region.base + offset, &bar->region);
}

static void update(struct vpci_function *fn, unsigned n)
{
    struct vpci_bar *bar = &fn->bar[n];
    bool was = bar->mapped;
    uint64_t address;

    if (decodes(fn, n, &address)) {
        if (was && bar->region.base == address)
            return;
        map(bar, bus_of(fn->root, bar->kind), address);
        if (!bar->mapped)
            vm_log(vpci_root_env(fn->root), VM_LOG_ERROR, "%s stays unmapped: %s", bar->name,
                   vm_error_text());
    } else if (was) {
        vdev_bus_del(bus_of(fn->root, bar->kind), &bar->region, NULL, NULL);
        bar->mapped = false;
    }
    if ((was || bar->mapped) && fn->ops && fn->ops->bar_moved)
        fn->ops->bar_moved(fn, n, bar->mapped ? address : 0);
}

void vpci_bars_update(struct vpci_function *fn)
{
    for (unsigned n = 0; n < VPCI_BARS; n++)
        if (fn->bar[n].kind != VPCI_BAR_NONE)
            update(fn, n);
}
