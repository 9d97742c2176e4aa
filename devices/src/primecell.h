/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What ARM's PrimeCell peripherals have in common (DDI 0183, 0190 and 0224, chapter 3 each): a page of 32-bit registers with
 * identification registers at its end, and one level interrupt.
 *
 * The bus, an APB, has no byte lanes: a narrow write at a register's address writes the register, its upper bits as zeros,
 * and one at another byte of it nothing. A narrow read gives the bytes it asks for, an 8-byte access is two registers.
 */
#ifndef VMM_DEVICES_PRIMECELL_H
#define VMM_DEVICES_PRIMECELL_H

#include <vmm/devices-core/device.h>

enum { VDEV_PRIMECELL_BYTES = 0x1000 };

struct vdev_primecell {
    struct vdev dev;
    const struct vdev_primecell_type *type;
    struct vdev_region region;
    struct vdev_bus *mmio;
    struct vdev_irq *irq;
    bool line; /* what irq was last set to */
};

struct vdev_primecell_type {
    uint32_t id; /* PeriphID0 (lowest byte) to 3: part, designer, revision, configuration */
    const char *compatible, *node, *clocks; /* as the firmware row says them */
    /* One register, by its offset (a multiple of 4); what no register answers is zero, and ignored. Under the lock. */
    uint32_t (*read)(struct vdev_primecell *p, uint32_t offset);
    void (*write)(struct vdev_primecell *p, uint32_t offset, uint32_t value);
};

/* In a create(), *p zeroed before: fills the device, its firmware row and its region, at the first resource with the first
 * interrupt. The region is not on the bus yet. */
void vdev_primecell_init(struct vdev_primecell *p, const struct vdev_class *cls,
                         const struct vdev_ops *ops, const struct vdev_primecell_type *type,
                         const struct vdev_context *context);
/* Puts it on the bus: last, when it can answer. 0, or -errno with text. */
int vdev_primecell_start(struct vdev_primecell *p);
/* In a destroy(), and after a start that failed. */
void vdev_primecell_exit(struct vdev_primecell *p);

/* The interrupt. Most accesses change nothing, and the other end of the line takes a lock: it is told of changes only. */
void vdev_primecell_set_line(struct vdev_primecell *p, bool line);
/* As above when the registers were exchanged: the line says so anew. */
void vdev_primecell_renew_line(struct vdev_primecell *p, bool line);

#endif
