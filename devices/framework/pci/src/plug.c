/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Functions come to a root bus and leave it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

static bool hex_digit(char c, unsigned *ret_digit)
{
    if (c >= '0' && c <= '9')
        *ret_digit = (unsigned)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *ret_digit = (unsigned)(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
        *ret_digit = (unsigned)(c - 'A') + 10;
    else
        return false;
    return true;
}

bool vpci_addr_parse(const char *untrusted, unsigned *ret_device, unsigned *ret_function)
{
    unsigned device, digit, function = 0;
    const char *at = untrusted;

    if (!hex_digit(*at++, &device))
        return false;
    if (hex_digit(*at, &digit)) {
        device = device << 4 | digit;
        at++;
    }
    if (*at == '.') {
        if (!hex_digit(at[1], &function))
            return false;
        at += 2;
    }
    if (*at || device >= VPCI_SLOTS || function >= VPCI_FUNCTIONS)
        return false;
    *ret_device = device;
    *ret_function = function;
    return true;
}

static bool device_is_free(const struct vpci_root *root, unsigned device)
{
    for (unsigned f = 0; f < VPCI_FUNCTIONS; f++)
        if (root->slot[device][f])
            return false;
    return true;
}

/* Under the root's lock: the place where fn is to go. */
static int choose(struct vpci_root *root, struct vpci_function *fn, const char *addr)
{
    unsigned device = 0, function = 0;
    const struct vpci_function *other;

    if (!addr) {
        while (device < VPCI_SLOTS && !device_is_free(root, device))
            device++;
        if (device == VPCI_SLOTS)
            return vm_fail(-ENOSPC,
                           "%s: PCI segment %u has no free device; give addr=DD.F for a "
                           "function of one, or another pci_segment",
                           fn->name, root->config.segment);
    } else if (!vpci_addr_parse(addr, &device, &function)) {
        return vm_fail(
            -EINVAL,
            "%s: addr '%.16s' is no PCI address: write DD or DD.F in hexadecimal, device "
            "0 to 1f, function 0 to 7",
            fn->name, addr);
    }
    other = root->slot[device][function];
    if (other)
        return vm_fail(-EEXIST,
                       "%s: PCI address %04x:%02x:%02x.%x is taken by %s: choose another addr=, or "
                       "leave it out",
                       fn->name, root->config.segment, root->config.first_bus, device, function,
                       other->name);
    fn->device = (uint8_t)device;
    fn->function = (uint8_t)function;
    return 0;
}

static void name_parts(struct vpci_function *fn, const struct vpci_root_config *config)
{
    char place[16];

    snprintf(place, sizeof(place), "%04x:%02x:%02x.%x", config->segment, config->first_bus,
             fn->device & 0x1fu, fn->function & 7u);
    snprintf(fn->address, sizeof(fn->address), "%s config", place);
    for (unsigned n = 0; n < VPCI_BARS; n++) {
        struct vpci_bar *bar = &fn->bar[n];

        snprintf(bar->name, sizeof(bar->name), "%s bar %u", place, n);
        bar->region.name = bar->name;
        bar->region.lock = fn->lock;
        bar->region.dev = fn->dev;
    }
}

static void make_regions(struct vpci_function *fn)
{
    fn->ecam = (struct vdev_region){ .name = fn->address,
                                     .size = VPCI_CONFIG_BYTES,
                                     .ops = &vpci_config_ops,
                                     .self = fn,
                                     .lock = fn->lock,
                                     .dev = fn->dev };
    fn->cam = fn->ecam;
    fn->cam.size = REG_EXTENDED;
}

static void give_line(struct vpci_function *fn, struct vpci_root *root)
{
    unsigned pin = fn->function % LINES;
    struct vpci_line *line = &root->line[(fn->device + pin) % LINES];

    if (fn->no_intx || !line->target)
        return;
    fn->intx = &line->irq;
    fn->config[REG_INTERRUPT_PIN] = (uint8_t)(pin + 1);
}

static int keep_power_on(struct vpci_function *fn)
{
    fn->config_bytes = fn->last_ext_cap ? VPCI_CONFIG_BYTES : REG_EXTENDED;
    free(fn->power_on);
    fn->power_on = malloc(fn->config_bytes);
    if (!fn->power_on)
        return vm_fail(-ENOMEM, "%s: no memory", fn->name);
    memcpy(fn->power_on, fn->config, fn->config_bytes);
    return 0;
}

/* Under the root's lock: everything is ready, accesses may find the function. */
static void publish(struct vpci_root *root, struct vpci_function *fn)
{
    struct vpci_function **slot = root->slot[fn->device];

    if (fn->function || !device_is_free(root, fn->device))
        __atomic_fetch_or(&root->multi, 1u << fn->device, __ATOMIC_RELAXED);
    fn->root = root;
    __atomic_store_n(&slot[fn->function], fn, __ATOMIC_RELEASE);
}

int vpci_plug(struct vpci_root *root, struct vpci_function *fn, const char *addr)
{
    int rc;

    vm_lock_acquire(&root->lock);
    rc = choose(root, fn, addr);
    if (!rc) {
        give_line(fn, root);
        rc = keep_power_on(fn);
    }
    if (!rc) {
        name_parts(fn, &root->config);
        make_regions(fn);
        publish(root, fn);
    }
    vm_lock_release(&root->lock);
    return rc;
}

const struct vpci_function *vpci_neighbour(const struct vpci_function *fn)
{
    const struct vpci_root *root = fn->root;

    for (unsigned f = 0; root && f < VPCI_FUNCTIONS; f++) {
        const struct vpci_function *other =
            __atomic_load_n(&root->slot[fn->device][f], __ATOMIC_ACQUIRE);

        if (other && other != fn)
            return other;
    }
    return NULL;
}

/* The last one may free the function. */
static void one_gone(void *ctx)
{
    struct vpci_function *fn = ctx;

    if (!__atomic_sub_fetch(&fn->gone_left, 1, __ATOMIC_ACQ_REL))
        fn->gone(fn->gone_ctx);
}

/* What was unmapped earlier is covered too: a bus calls gone() when every access that began
 * before has ended. */
static void wait_for_accesses(struct vpci_function *fn, const struct vpci_root_config *config)
{
    struct vdev_bus *mmio = config->mmio, *pio = config->pio;

    fn->gone_left = pio ? 2 : 1;
    if (pio)
        vdev_bus_del(pio, &fn->cam, one_gone, fn);
    vdev_bus_del(mmio, &fn->ecam, one_gone, fn);
}

void vpci_unplug(struct vpci_function *fn, void (*gone)(void *ctx), void *ctx)
{
    struct vpci_root *root = fn->root;

    if (!root) {
        if (gone)
            gone(ctx);
        return;
    }
    vm_lock_acquire(&root->lock);
    __atomic_store_n(&root->slot[fn->device][fn->function], NULL, __ATOMIC_RELEASE);
    vm_lock_release(&root->lock);
    vm_lock_acquire(fn->lock);
    vpci_function_reset(fn);
    fn->intx = NULL;
    fn->root = NULL;
    vm_lock_release(fn->lock);
    fn->gone = gone;
    fn->gone_ctx = ctx;
    if (gone)
        wait_for_accesses(fn, &root->config);
}

void vpci_function_give(struct vpci_function *fn, const char *name, struct vdev *dev)
{
    struct vdev_region *config[] = { &fn->ecam, &fn->cam };

    fn->name = name;
    fn->dev = dev;
    fn->lock = &dev->lock;
    for (unsigned n = 0; n < VPCI_BARS; n++) {
        fn->bar[n].region.lock = fn->lock;
        fn->bar[n].region.dev = dev;
    }
    for (unsigned i = 0; i < VM_ARRAY_SIZE(config); i++) {
        config[i]->lock = fn->lock;
        config[i]->dev = dev;
    }
}
