/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Addresses for BARs, as firmware would give them: largest first, so that alignment leaves no
 * holes, each at the lowest place of its window that is free. The result depends on the functions,
 * their BARs and the windows only: it is part of what a guest sees and must not change from one
 * version to the next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { PAGE_BYTES = 4096 };

struct want {
    struct vpci_function *fn;
    unsigned bar;
    enum vpci_bar_kind kind;
    uint64_t size, address; /* address 0: none yet */
};

struct list {
    struct want *want;
    size_t count;
    int rc;
};

static void count_bars(void *ctx, struct vpci_function *fn)
{
    struct list *list = ctx;

    for (unsigned n = 0; n < VPCI_BARS; n++)
        list->count += fn->bar[n].kind != VPCI_BAR_NONE;
}

static void collect_bars(void *ctx, struct vpci_function *fn)
{
    struct list *list = ctx;

    vm_lock_acquire(fn->lock);
    for (unsigned n = 0; n < VPCI_BARS; n++) {
        const struct vpci_bar *bar = &fn->bar[n];

        if (bar->kind == VPCI_BAR_NONE)
            continue;
        list->want[list->count++] = (struct want){ .fn = fn,
                                                   .bar = n,
                                                   .kind = bar->kind,
                                                   .size = bar->size,
                                                   .address = vpci_bar_address(fn, n) };
    }
    vm_lock_release(fn->lock);
}

static int place_of(const struct want *w)
{
    return (w->fn->device << 3 | w->fn->function) << 3 | (int)w->bar;
}

static int by_size(const void *a, const void *b)
{
    const struct want *x = a, *y = b;

    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return place_of(x) - place_of(y);
}

/* 64-bit BARs go above 4 GiB where there is a window. */
static const struct vpci_window *window_for(const struct vpci_root_config *config,
                                            enum vpci_bar_kind kind)
{
    if (kind == VPCI_BAR_IO)
        return &config->io;
    return bar_is_64(kind) && config->mem64.size ? &config->mem64 : &config->mem32;
}

/* What a BAR keeps others from: memory BARs own their pages. */
static uint64_t room_of(const struct want *w)
{
    return w->kind == VPCI_BAR_IO || w->size >= PAGE_BYTES ? w->size : PAGE_BYTES;
}

/* The end of a BAR that lies in the way of [at, at + room), or 0. */
static uint64_t blocked_until(const struct list *list, const struct want *w, uint64_t at)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct want *other = &list->want[i];

        if (other->address && (other->kind == VPCI_BAR_IO) == (w->kind == VPCI_BAR_IO) &&
            other->address <= UINT64_MAX - room_of(other) &&
            vm_ranges_overlap(at, room_of(w), other->address, room_of(other)))
            return other->address + room_of(other);
    }
    return 0;
}

static int place(const struct list *list, const struct vpci_root_config *config, struct want *w)
{
    const struct vpci_window *window = window_for(config, w->kind);
    uint64_t room = room_of(w), at = window->base, end;

    for (;;) {
        /* Address 0 means no address. */
        if (!vm_align_up(at ? at : 1, room, &at) ||
            !vm_range_in(at - window->base, room, window->size))
            break;
        end = blocked_until(list, w, at);
        if (!end) {
            w->address = at;
            return 0;
        }
        at = end;
    }
    return vm_fail(-ENOSPC,
                   "%s: BAR %u of 0x%" PRIx64 " bytes finds no room in the window of 0x%" PRIx64
                   " bytes at 0x%" PRIx64 " of PCI segment %u",
                   w->fn->name, w->bar, w->size, window->size, window->base, config->segment);
}

static int place_all(const struct list *list, const struct vpci_root_config *config)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < list->count; i++)
        if (!list->want[i].address)
            rc = place(list, config, &list->want[i]);
    return rc;
}

/* The guest's view of what was placed: addresses first, then the decode bits. */
static void write_all(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct want *w = &list->want[i];
        uint8_t bit = w->kind == VPCI_BAR_IO ? COMMAND_IO : COMMAND_MEMORY;

        vm_lock_acquire(w->fn->lock);
        vpci_bar_set_address(w->fn, w->bar, w->address);
        w->fn->config[REG_COMMAND] |= bit;
        vpci_bars_update(w->fn);
        vm_lock_release(w->fn->lock);
    }
}

static void check_function_0(void *ctx, struct vpci_function *fn)
{
    struct list *list = ctx;
    struct vpci_root *root = fn->root;

    if (!list->rc && !root->slot[fn->device][0])
        list->rc = vm_fail(-EINVAL,
                           "%s: PCI device %02x has function %u but no function 0: guests do not "
                           "look for it; give one of its functions addr=%02x.0",
                           fn->name, fn->device, fn->function, fn->device);
}

int vpci_root_assign(struct vpci_root *root)
{
    struct list list = { 0 };
    int rc;

    vpci_root_walk(root, check_function_0, &list);
    vpci_root_walk(root, count_bars, &list);
    if (list.rc || !root->config.assign || !list.count)
        return list.rc;
    list.want = calloc(list.count, sizeof(*list.want));
    if (!list.want)
        return vm_fail(-ENOMEM, "PCI segment %u: no memory", root->config.segment);
    list.count = 0;
    vpci_root_walk(root, collect_bars, &list);
    qsort(list.want, list.count, sizeof(*list.want), by_size);
    rc = place_all(&list, &root->config);
    if (!rc)
        write_all(&list);
    free(list.want);
    return rc;
}
