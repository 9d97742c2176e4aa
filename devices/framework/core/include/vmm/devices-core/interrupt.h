/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts as devices see them: a line with a level, and messages. Thread safe:
 * implementations lock for themselves (they rank as leaves), and never call back into a device
 * from set() or send(). */
#ifndef VMM_DEVICES_CORE_INTERRUPT_H
#define VMM_DEVICES_CORE_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/base/util.h>

/* A wire. Its owner (an interrupt controller) embeds it and gives set(). */
struct vdev_irq {
    void (*set)(struct vdev_irq *irq, bool level);
    /* End of interrupt seen by the controller while the line was high, set by the device's side:
     * for who must look again (pass-through). May be NULL. Called in a vCPU's thread, without a
     * lock. */
    void (*eoi)(void *ctx);
    void *eoi_ctx;
    uint32_t number; /* global system interrupt (ACPI) or SPI, for tables */
};

/* NULL lines go nowhere. */
static inline void vdev_irq_set(struct vdev_irq *irq, bool level)
{
    if (irq)
        irq->set(irq, level);
}

/* One message-signalled interrupt. */
struct vdev_msi {
    uint64_t addr;
    uint32_t data;
    uint32_t devid; /* requester id with segment above bit 16: what an ITS looks up */
};

/* Where messages go: the machine, or an IOMMU in front of it. */
struct vdev_msi_sink {
    /* 0, or -errno where the message reached nobody (guest nonsense: counted, not logged per
     * message). */
    int (*send)(struct vdev_msi_sink *sink, const struct vdev_msi *msi);
};

static inline int vdev_msi_send(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    return sink->send(sink, msi);
}

#endif
