/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): the address port 0xcf8 takes dwords
 * only, the data ports 0xcfc to 0xcff are a window onto the dword of config space it names.
 */
#include <string.h>

#include "pci_private.h"

enum { CAM_ADDRESS = 0xcf8, CAM_DATA = 0xcfc, CAM_PRIORITY = 1 };
#define CAM_ENABLE 0x80000000u
/* Bits 30:24 are reserved, 1:0 are always 0. */
#define CAM_WRITABLE 0x80fffffcu

static int address_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct vpci_root *root = self;

    (void)offset;
    if (len == 4)
        vm_store_le(data, 4, __atomic_load_n(&root->cam_address, __ATOMIC_RELAXED));
    else
        memset(data, 0xff, len);
    return 0;
}

/* Narrower accesses are other devices' (0xcf9) or nobody's. */
static int address_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct vpci_root *root = self;

    (void)offset;
    if (len == 4)
        __atomic_store_n(&root->cam_address, (uint32_t)vm_load_le(data, 4) & CAM_WRITABLE,
                         __ATOMIC_RELAXED);
    return 0;
}

static struct vdev_region *data_window(void *self, uint64_t *offset, unsigned len)
{
    struct vpci_root *root = self;
    uint32_t address = __atomic_load_n(&root->cam_address, __ATOMIC_RELAXED);
    struct vpci_function *fn;

    (void)len;
    if (!(address & CAM_ENABLE) || (address >> 16 & 0xff) != root->config.first_bus)
        return NULL;
    fn = __atomic_load_n(&root->slot[address >> 11 & 0x1f][address >> 8 & 7], __ATOMIC_ACQUIRE);
    *offset += address & 0xfc;
    return fn ? &fn->cam : NULL;
}

int vpci_cam_add(struct vpci_root *root)
{
    static const struct vdev_region_ops address_ops = { .read = address_read,
                                                        .write = address_write };
    static const struct vdev_region_ops data_ops = { .window = data_window };
    int rc;

    if (!root->config.cam)
        return 0;
    root->cam_address_port = (struct vdev_region){ .name = "pci config address",
                                                   .base = CAM_ADDRESS,
                                                   .size = 4,
                                                   .ops = &address_ops,
                                                   .self = root,
                                                   .priority = CAM_PRIORITY };
    root->cam_data_port = root->cam_address_port;
    root->cam_data_port.name = "pci config data";
    root->cam_data_port.base = CAM_DATA;
    root->cam_data_port.ops = &data_ops;
    rc = vdev_bus_add(root->config.pio, &root->cam_address_port);
    if (rc)
        return rc;
    rc = vdev_bus_add(root->config.pio, &root->cam_data_port);
    if (rc)
        vdev_bus_del(root->config.pio, &root->cam_address_port, NULL, NULL);
    return rc;
}

void vpci_cam_del(struct vpci_root *root)
{
    if (!root->config.cam)
        return;
    vdev_bus_del(root->config.pio, &root->cam_data_port, NULL, NULL);
    vdev_bus_del(root->config.pio, &root->cam_address_port, NULL, NULL);
}
