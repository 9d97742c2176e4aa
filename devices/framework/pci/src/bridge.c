/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The host bridge: ids of the Q35 memory controller hub, by which stock firmware knows the
 * platform, and its PCIEXBAR (Intel 316966, 5.1: offset 0x60, 64 bits), which says where ECAM is:
 *
 *   0      enable
 *   2:1    length: 256, 128 or 64 MiB
 *   35:26  base, aligned to the length
 *
 * Where firmware may write it, ECAM follows. Unlike the hardware's (base 0xe0000000, off) its
 * power-on value shows ECAM where the machine's tables say it is, so that it also works without
 * firmware.
 */
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { PCIEXBAR = 0x60, PCIEXBAR_BYTES = 8 };
#define PCIEXBAR_ENABLE   1ULL
#define PCIEXBAR_LENGTH   6ULL
#define PCIEXBAR_WRITABLE 0xffc000007ULL /* 35:26, 2:0 */
#define PCIEXBAR_LIMIT    (1ULL << 36)
#define MIB               (1ULL << 20)

/* Bytes that the length field stands for; the value 3 is reserved. */
static uint64_t length_of(uint64_t value)
{
    static const uint64_t bytes[] = { 256 * MIB, 128 * MIB, 64 * MIB, 0 };

    return bytes[(value & PCIEXBAR_LENGTH) >> 1];
}

/* The register for ECAM at base, or 0 where it cannot be said. */
static uint64_t encode(uint64_t base, uint64_t bytes)
{
    uint64_t length = bytes <= 64 * MIB ? 2 : bytes <= 128 * MIB ? 1 : 0;
    uint64_t value = length << 1 | PCIEXBAR_ENABLE;

    if (bytes != length_of(value) || base % bytes || base >= PCIEXBAR_LIMIT)
        return 0;
    return base | value;
}

static bool decode(uint64_t value, uint64_t *ret_base)
{
    uint64_t length = length_of(value);

    if (!(value & PCIEXBAR_ENABLE) || !length)
        return false;
    *ret_base = value & (PCIEXBAR_LIMIT - 1) & ~(length - 1);
    return true;
}

static bool is_movable(const struct vpci_root *root)
{
    return root->config.cam && !root->config.assign;
}

/* Under the bridge's lock. Without memory for a move ECAM is off. */
static void follow(struct vpci_root *root)
{
    struct vdev_bus *mmio = root->config.mmio;
    uint64_t base;
    int rc = 0;

    if (!is_movable(root))
        return;
    if (!decode(vm_load_le(root->bridge.config + PCIEXBAR, PCIEXBAR_BYTES), &base)) {
        if (root->ecam.on_bus)
            vdev_bus_del(mmio, &root->ecam, NULL, NULL);
        return;
    }
    if (!root->ecam.on_bus) {
        root->ecam.base = base;
        rc = vdev_bus_add(mmio, &root->ecam);
    } else if (root->ecam.base != base) {
        rc = vdev_bus_move(mmio, &root->ecam, base);
        if (rc)
            vdev_bus_del(mmio, &root->ecam, NULL, NULL);
    }
    if (rc)
        vm_log(root->env, VM_LOG_ERROR, "PCI segment %u: ECAM is off: %s", root->config.segment,
               vm_error_text());
}

static int bridge_written(struct vpci_function *fn, unsigned offset, unsigned len)
{
    if (vm_ranges_overlap(offset, len, PCIEXBAR, PCIEXBAR_BYTES))
        follow(fn->self);
    return 0;
}

int vpci_bridge_plug(struct vpci_root *root)
{
    static const struct vpci_ids ids = { .vendor = 0x8086,
                                         .device = 0x29c0,
                                         .class_code = 0x060000 };
    static const struct vpci_ops ops = { .config_written = bridge_written };
    struct vpci_function *bridge = &root->bridge;
    int rc;

    vpci_function_init(bridge, "host bridge", &ids, &ops, root, NULL);
    bridge->lock = &root->bridge_lock;
    bridge->no_intx = true;
    vm_store_le(bridge->config + PCIEXBAR, PCIEXBAR_BYTES,
                encode(root->config.ecam_base, root->ecam.size));
    if (is_movable(root))
        vm_store_le(bridge->writable + PCIEXBAR, PCIEXBAR_BYTES, PCIEXBAR_WRITABLE);
    rc = vpci_plug(root, bridge, "0.0");
    if (rc)
        vpci_function_exit(bridge);
    return rc;
}

void vpci_bridge_unplug(struct vpci_root *root)
{
    vpci_unplug(&root->bridge, NULL, NULL);
    vpci_function_exit(&root->bridge);
}

bool vpci_root_ecam(struct vpci_root *root, uint64_t *ret_base, uint64_t *ret_bytes)
{
    bool on;

    vm_lock_acquire(&root->bridge_lock);
    on = root->ecam.on_bus;
    if (on) {
        *ret_base = root->ecam.base;
        *ret_bytes = root->ecam.size;
    }
    vm_lock_release(&root->bridge_lock);
    return on;
}

void vpci_root_reset(struct vpci_root *root)
{
    vm_lock_acquire(&root->bridge_lock);
    vpci_function_reset(&root->bridge);
    follow(root);
    vm_lock_release(&root->bridge_lock);
    __atomic_store_n(&root->cam_address, 0, __ATOMIC_RELAXED);
}

const struct vm_state_field vpci_root_state_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct vpci_root_state, cam_address) },
    { .tag = 2,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct vpci_root_state, bridge),
      .max = REG_EXTENDED },
    { 0 },
};

void vpci_root_save(struct vpci_root *root, struct vpci_root_state *ret_state)
{
    ret_state->cam_address = __atomic_load_n(&root->cam_address, __ATOMIC_RELAXED);
    vm_lock_acquire(&root->bridge_lock);
    memcpy(ret_state->bridge, root->bridge.config, REG_EXTENDED);
    vm_lock_release(&root->bridge_lock);
}

int vpci_root_load(struct vpci_root *root, const struct vpci_root_state *untrusted)
{
    int rc;

    vm_lock_acquire(&root->bridge_lock);
    rc = vpci_config_check(&root->bridge, untrusted->bridge, REG_EXTENDED);
    if (!rc) {
        vpci_config_take(&root->bridge, untrusted->bridge, REG_EXTENDED);
        vpci_config_settle(&root->bridge);
        follow(root);
    }
    vm_lock_release(&root->bridge_lock);
    if (!rc)
        __atomic_store_n(&root->cam_address, untrusted->cam_address & 0x80fffffcu,
                         __ATOMIC_RELAXED);
    return rc;
}
