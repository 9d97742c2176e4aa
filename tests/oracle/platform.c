/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Our side of the platform devices. */
#include "platform.h"

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "platform_harness.h"

enum { KEY_NS = 1000000000 }; /* longer than any key stays down */

static struct side {
    struct plat plat;
    bool open;
    struct vdev_irq irq, *irqs[1];
    struct vdev_msi_sink sink;
    bool level;
    struct oracle_events events;
} side;

static void note_line(struct vdev_irq *irq, bool level)
{
    struct side *s = container_of(irq, struct side, irq);

    if (level != s->level)
        oracle_note(&s->events, ORACLE_LINE, level);
    s->level = level;
}

/* Intel SDM 3A, 11.11: address bits 19:12 destination, 2 logical; data bits 7:0 vector, 10:8 delivery mode, 15 level. */
uint32_t platform_pack(const struct vdev_msi *msi)
{
    return oracle_message(msi->addr >> 12 & 0xff, msi->addr >> 2 & 1, msi->data >> 8 & 7,
                          msi->data & 0xff, msi->data >> 15 & 1);
}

static int note_message(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    struct side *s = container_of(sink, struct side, sink);

    oracle_note(&s->events, ORACLE_MESSAGE, platform_pack(msi));
    return 0;
}

static int create(const struct vdev_class *cls, const char *options)
{
    static const struct vm_prop none[] = { { 0 } };
    const struct vm_prop *props = cls->props ? cls->props : none;
    void *config = calloc(1, cls->config_size ? cls->config_size : 1);
    int rc;

    if (!config)
        return -ENOMEM;
    rc = vm_prop_defaults(props, config);
    if (!rc && options)
        rc = vm_prop_parse(props, config, cls->name, NULL, options);
    side.plat.context.config = config;
    if (!rc)
        rc = plat_create(&side.plat, cls);
    side.plat.context.config = NULL;
    vm_prop_free(props, config);
    free(config);
    return rc;
}

int platform_open(const char *cls, const char *options, struct vdev_resource resource,
                  uint64_t wall_s)
{
    const struct vdev_class *found = vdev_class_find(cls, strlen(cls));
    int rc = found ? plat_open(&side.plat) : vm_fail(-ENOENT, "this build has no %s", cls);

    if (!rc) {
        side.open = true;
        side.events.count = 0;
        side.level = false;
        side.irq = (struct vdev_irq){ .set = note_line };
        side.irqs[0] = &side.irq;
        side.sink.send = note_message;
        side.plat.context.irqs = side.irqs;
        side.plat.context.msi = &side.sink;
        side.plat.resource[0] = resource;
        side.plat.wall_ns = wall_s * 1000000000U;
        rc = create(found, options);
    }
    if (rc)
        fprintf(stderr, "# %s: %s\n", cls, vm_error_text());
    return rc;
}

void platform_close(void)
{
    if (side.open)
        plat_close(&side.plat);
    side.open = false;
}

uint64_t platform_read(const struct oracle_place *place, uint32_t at, unsigned len)
{
    uint64_t addr = place->base + at;

    if (place->kind == ORACLE_INDEXED) {
        plat_out(&side.plat, (uint16_t)place->base, 1, at);
        return plat_in(&side.plat, (uint16_t)(place->base + 1), 1);
    }
    return place->kind == ORACLE_PIO ? plat_in(&side.plat, (uint16_t)addr, len)
                                     : plat_read(&side.plat, addr, len);
}

void platform_write(const struct oracle_place *place, uint32_t at, unsigned len, uint64_t value)
{
    uint64_t addr = place->base + at;

    if (place->kind == ORACLE_INDEXED) {
        plat_out(&side.plat, (uint16_t)place->base, 1, at);
        plat_out(&side.plat, (uint16_t)(place->base + 1), 1, value);
    } else if (place->kind == ORACLE_PIO)
        plat_out(&side.plat, (uint16_t)addr, len, value);
    else
        plat_write(&side.plat, addr, len, value);
}

void platform_pin(unsigned pin, bool level)
{
    vdev_irq_set(side.plat.dev->ops->irq_line(side.plat.dev, pin), level);
}

void platform_key(unsigned pin, bool down)
{
    struct vdev *dev = side.plat.dev;

    (void)pin;
    if (!down) {
        plat_pass(&side.plat, KEY_NS);
        return;
    }
    vm_lock_acquire(&dev->lock);
    (void)dev->ops->power_button(dev);
    vm_lock_release(&dev->lock);
}

void platform_events(struct oracle_events *ret_events)
{
    plat_idle(&side.plat);
    *ret_events = side.events;
    side.events.count = 0;
}
