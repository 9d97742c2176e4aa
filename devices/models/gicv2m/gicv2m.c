/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * GICv2m: the frame by which messages become interrupts of a GICv2 (Arm Server Base System Architecture, DEN0029, appendix
 * "GICv2m Architecture"). A message is a write of an interrupt's number to MSI_SETSPI_NS; those of devices go straight to the
 * machine, which knows the frame's address, so what is left here is what the guest's own processors see.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>

extern const struct vdev_class gicv2m_class;

enum {
    REG_TYPER = 0x008, /* 25:16 first interrupt, 9:0 how many */
    REG_SETSPI_NS = 0x040,
    REG_IIDR = 0xfcc, /* no implementer */
    SPI_FIRST = 32,
    INTID_MAX = 1019, /* GICv2 specification, 2.2.1 */
};

struct gicv2m {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *mmio;
    struct vdev_msi_sink *msi;
    uint32_t first, count;
    struct {
        uint64_t messages;
    } metric;
};

/* Registers have 32 bits; narrower accesses get their part. */
static int frame_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    const struct gicv2m *g = self;
    uint64_t value = offset - offset % 4 == REG_TYPER ? g->first << 16 | g->count : 0;

    vm_store_le(data, len, value >> 8 * (offset % 4));
    return 0;
}

/* Other numbers than its own are ignored (DEN0029: they have no effect). */
static int frame_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct gicv2m *g = self;
    struct vdev_msi msi = { .addr = g->region.base + offset };

    if (offset != REG_SETSPI_NS || (len != 4 && len != 2))
        return 0;
    msi.data = (uint32_t)vm_load_le(data, len);
    if (msi.data < g->first || msi.data - g->first >= g->count)
        return 0;
    g->metric.messages++;
    (void)vdev_msi_send(g->msi, &msi);
    return 0;
}

static const struct vdev_region_ops frame_ops = { .read = frame_read, .write = frame_write };

static void gicv2m_destroy(struct vdev *dev)
{
    struct gicv2m *g = container_of(dev, struct gicv2m, dev);

    if (g->region.on_bus)
        vdev_bus_del(g->mmio, &g->region, NULL, NULL);
    vdev_exit(dev);
    free(g);
}

static const struct vdev_ops ops = { .destroy = gicv2m_destroy };

static int check(const struct vdev_resource *numbers)
{
    if (numbers->base < SPI_FIRST || !numbers->size || numbers->size > INTID_MAX ||
        numbers->base + numbers->size - 1 > INTID_MAX)
        return vm_fail(-EINVAL, "interrupts %llu and the next %llu are not SPIs of a GICv2",
                       (unsigned long long)numbers->base, (unsigned long long)numbers->size);
    return 0;
}

/* resources: the frame, then its interrupts: base the first one's INTID, size how many; if they are not said, all SPIs. */
static int gicv2m_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const struct vdev_resource all = { VDEV_RES_IRQ, SPI_FIRST, INTID_MAX - SPI_FIRST + 1 };
    const struct vdev_resource *at = &context->resources[0], *numbers = &context->resources[1];
    struct gicv2m *g;
    int rc;

    if (numbers->type != VDEV_RES_IRQ)
        numbers = &all;
    rc = check(numbers);
    if (rc)
        return rc;
    g = calloc(1, sizeof(*g));
    if (!g)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&g->dev, &gicv2m_class, &ops, context);
    g->mmio = context->mmio;
    g->msi = context->msi;
    g->first = (uint32_t)numbers->base;
    g->count = (uint32_t)numbers->size;
    g->region = (struct vdev_region){ .name = g->dev.id,
                                      .base = at->base,
                                      .size = at->size,
                                      .ops = &frame_ops,
                                      .self = g,
                                      .lock = &g->dev.lock,
                                      .dev = &g->dev };
    rc = vdev_bus_add(g->mmio, &g->region);
    if (rc) {
        gicv2m_destroy(&g->dev);
        return rc;
    }
    *ret_dev = &g->dev;
    return 0;
}

static const struct vdev_metric metrics[] = {
    { "messages", offsetof(struct gicv2m, metric.messages), "messages written by processors" },
    { 0 },
};

const struct vdev_class gicv2m_class = {
    .name = "gicv2m",
    .summary = "messages to a GICv2",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .metrics = metrics,
    .create = gicv2m_create,
};
