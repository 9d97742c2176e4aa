/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ACPI generic event device with the registers of a hardware-reduced machine (ACPI 6.5, 4.8.3.6, 4.8.3.7, 5.6.9): sleep control and status,
 * reset, and what happened. The tables of x86_64 name the same offsets (vmm/x86_64-boot/tables.h).
 *
 * An event sets its bit and sends an edge; the guest's method reads the bits once, which clears them, and serves each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>

extern const struct vdev_class acpi_ged_class;

enum {
    REG_SLEEP_CONTROL = 0,
    REG_SLEEP_STATUS = 1,
    REG_RESET = 2,
    REG_EVENTS = 4,
    REGISTERS = 8,

    /* 4.8.3.7, table 4.22: SLP_TYP in bits 2 to 4, SLP_EN in bit 5 */
    SLEEP_TYPE_SHIFT = 2,
    SLEEP_TYPE_MASK = 7,
    SLEEP_ENABLE = 1 << 5,
    SLEEP_S5 = 5,
    RESET_VALUE = 1,

    EVENT_POWER_BUTTON = 1 << 0,
    EVENTS_KNOWN = EVENT_POWER_BUTTON,
};

struct ged_state {
    uint32_t events;
    uint8_t sleep_control;
};

struct ged {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *pio;
    struct vdev_irq *irq;
    struct ged_state s;
    struct {
        uint64_t events;
    } count;
};

static int ged_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct ged *g = self;

    memset(data, 0, len);
    if (offset == REG_EVENTS && len == 4) {
        vm_store_le(data, len, g->s.events);
        g->s.events = 0;
    } else if (offset == REG_SLEEP_CONTROL) {
        data[0] = g->s.sleep_control;
    }
    return 0;
}

static void sleep_control(struct ged *g, uint8_t v)
{
    unsigned type = v >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;

    g->s.sleep_control = v & (uint8_t)~SLEEP_ENABLE; /* SLP_EN reads as zero */
    if (!(v & SLEEP_ENABLE))
        return;
    vdev_event(&g->dev, type == SLEEP_S5 ? VDEV_EVENT_POWEROFF : VDEV_EVENT_SLEEP, type);
}

static int ged_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct ged *g = self;

    if (len != 1)
        return 0; /* the tables say: byte access */
    if (offset == REG_SLEEP_CONTROL)
        sleep_control(g, data[0]);
    else if (offset == REG_RESET && data[0] == RESET_VALUE)
        vdev_event(&g->dev, VDEV_EVENT_RESET, 0);
    return 0;
}

static const struct vdev_region_ops region_ops = { .read = ged_read, .write = ged_write };

static void tell(struct ged *g)
{
    vdev_irq_set(g->irq, true);
    vdev_irq_set(g->irq, false);
}

static int ged_power_button(struct vdev *dev)
{
    struct ged *g = container_of(dev, struct ged, dev);

    g->s.events |= EVENT_POWER_BUTTON;
    vm_count(&g->count.events, 1);
    tell(g);
    return 0;
}

static int ged_reset(struct vdev *dev)
{
    struct ged *g = container_of(dev, struct ged, dev);

    g->s = (struct ged_state){ 0 };
    return 0;
}

/* An edge may have been lost with a snapshot: what waits is told once more. */
static int ged_resume(struct vdev *dev)
{
    struct ged *g = container_of(dev, struct ged, dev);

    if (g->s.events)
        tell(g);
    return 0;
}

static void ged_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct ged, dev)->s, sizeof(struct ged_state));
}

static int ged_load(struct vdev *dev, const void *untrusted)
{
    const struct ged_state *s = untrusted;

    if (s->events & ~(uint32_t)EVENTS_KNOWN || s->sleep_control & SLEEP_ENABLE)
        return vm_fail(-EINVAL, "events %#x, sleep control %#x cannot be", s->events,
                       s->sleep_control);
    container_of(dev, struct ged, dev)->s = *s;
    return 0;
}

static void ged_destroy(struct vdev *dev)
{
    struct ged *g = container_of(dev, struct ged, dev);

    vdev_bus_del(g->pio, &g->region, NULL, NULL);
    vdev_exit(dev);
    free(g);
}

static const struct vdev_ops ops = {
    .reset = ged_reset,
    .resume = ged_resume,
    .save = ged_save,
    .load = ged_load,
    .destroy = ged_destroy,
    .power_button = ged_power_button,
};

static int ged_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct ged *g = calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&g->dev, &acpi_ged_class, &ops, context);
    g->pio = context->pio;
    g->irq = context->irqs[0];
    g->region = (struct vdev_region){ .name = g->dev.id,
                                      .base = context->resources[0].base,
                                      .size = REGISTERS,
                                      .ops = &region_ops,
                                      .self = g,
                                      .lock = &g->dev.lock,
                                      .dev = &g->dev,
                                      .priority = 1 };
    rc = vdev_bus_add(g->pio, &g->region);
    if (rc) {
        vdev_exit(&g->dev);
        free(g);
        return rc;
    }
    *ret_dev = &g->dev;
    return 0;
}

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct ged_state, events) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct ged_state, sleep_control) },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "events", offsetof(struct ged, count.events), "events told to the guest" },
    { 0 },
};

const struct vdev_class acpi_ged_class = {
    .name = "acpi-ged",
    .summary = "ACPI event device: power button, sleep and reset registers",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct ged_state),
    .state_version = 1,
    .metrics = metrics,
    .create = ged_create,
};
