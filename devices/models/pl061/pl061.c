/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * PrimeCell general purpose input/output (ARM DDI 0190, PL061): eight pins. Pin 3 is the power key: high for KEY_NS when the
 * user presses it, long enough for a driver that debounces to see both edges. The others are inputs that are low, or outputs
 * to nowhere.
 *
 *   [up] --power button: pin high--> [down] --KEY_NS--> [up]
 * Another press while it is down makes it stay so for KEY_NS more; so does a load, since nobody knows how long it was down.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "alarm.h"
#include "primecell.h"

extern const struct vdev_class pl061_class;

/* Registers (3.2). Below GPIODIR bits 9:2 of the address are the mask of the pins that are read or written (3.3.1). */
enum {
    REG_DIR = 0x400,
    REG_IS = 0x404,
    REG_IBE = 0x408,
    REG_IEV = 0x40c,
    REG_IE = 0x410,
    REG_RIS = 0x414,
    REG_MIS = 0x418,
    REG_IC = 0x41c,
    REG_AFSEL = 0x420,

    MASK_SHIFT = 2,
    KEY_PIN = 1 << 3,
};
#define PART_ID 0x00041061U
#define KEY_NS  UINT64_C(100000000)

struct pl061_state {
    uint8_t data; /* of the outputs */
    uint8_t dir, is, ibe, iev, ie, afsel;
    uint8_t edges; /* seen and not yet cleared */
    uint8_t in; /* levels from outside */
};

struct pl061 {
    struct vdev_primecell p;
    struct vdev_alarm alarm;
    struct pl061_state s;
    uint64_t up_ns; /* the loop's time when the key comes up; 0: KEY_NS from now */
    struct {
        uint64_t presses;
    } count;
};

static struct pl061 *pl061_of(struct vdev *dev)
{
    return container_of(dev, struct pl061, p.dev);
}

static uint8_t pins(const struct pl061_state *s)
{
    return (uint8_t)((s->data & s->dir) | (s->in & ~s->dir));
}

/* GPIORIS (3.3.7): edges are remembered, levels are what they are now. */
static uint8_t raw(const struct pl061_state *s)
{
    return (uint8_t)((s->edges & ~s->is) | (s->is & ~(pins(s) ^ s->iev)));
}

/* A key that is pressed while the device is quiesced interrupts when that ends. */
static void update_irq(struct pl061 *g)
{
    if (!g->p.dev.quiesced)
        vdev_primecell_set_line(&g->p, raw(&g->s) & g->s.ie);
}

/* The level of an input: an edge for those that are not level-sensitive (GPIOIBE 3.3.4, GPIOIEV 3.3.5). */
static void set_input(struct pl061 *g, uint8_t pin, bool high)
{
    struct pl061_state *s = &g->s;
    uint8_t before = s->in, wanted = s->ibe | (high ? s->iev : (uint8_t)~s->iev);

    s->in = (uint8_t)(high ? s->in | pin : s->in & ~pin);
    s->edges |= (before ^ s->in) & wanted & (uint8_t) ~(s->dir | s->is);
    update_irq(g);
}

static uint64_t serve(struct vdev *dev)
{
    struct pl061 *g = pl061_of(dev);
    uint64_t now_ns = vm_loop_now_ns(dev->env->loop);

    update_irq(g);
    if (!(g->s.in & KEY_PIN))
        return VDEV_ALARM_NEVER;
    if (!g->up_ns)
        g->up_ns = now_ns + KEY_NS;
    if (now_ns < g->up_ns)
        return g->up_ns - now_ns;
    set_input(g, KEY_PIN, false);
    return VDEV_ALARM_NEVER;
}

static int pl061_power_button(struct vdev *dev)
{
    struct pl061 *g = pl061_of(dev);

    vm_count(&g->count.presses, 1);
    g->up_ns = 0;
    set_input(g, KEY_PIN, true);
    vdev_alarm_now(&g->alarm);
    return 0;
}

static uint32_t pl061_read(struct vdev_primecell *p, uint32_t offset)
{
    const struct pl061_state *s = &container_of(p, struct pl061, p)->s;

    if (offset < REG_DIR)
        return pins(s) & offset >> MASK_SHIFT;
    switch (offset) {
    case REG_DIR: return s->dir;
    case REG_IS: return s->is;
    case REG_IBE: return s->ibe;
    case REG_IEV: return s->iev;
    case REG_IE: return s->ie;
    case REG_RIS: return raw(s);
    case REG_MIS: return raw(s) & s->ie;
    case REG_AFSEL: return s->afsel;
    default: return 0; /* GPIOIC is write only */
    }
}

/* Only outputs take data (3.3.1). */
static void write_data(struct pl061_state *s, uint32_t offset, uint8_t v)
{
    uint8_t mask = (uint8_t)(offset >> MASK_SHIFT & s->dir);

    s->data = (uint8_t)((s->data & ~mask) | (v & mask));
}

static void pl061_write(struct vdev_primecell *p, uint32_t offset, uint32_t value)
{
    struct pl061 *g = container_of(p, struct pl061, p);
    struct pl061_state *s = &g->s;
    uint8_t v = value & 0xff;

    switch (offset) {
    case REG_DIR: s->dir = v; break;
    case REG_IS: s->is = v; break;
    case REG_IBE: s->ibe = v; break;
    case REG_IEV: s->iev = v; break;
    case REG_IE: s->ie = v; break;
    case REG_IC: s->edges &= (uint8_t)~v; break;
    case REG_AFSEL: s->afsel = v; break;
    default:
        if (offset < REG_DIR)
            write_data(s, offset, v);
        break;
    }
    update_irq(g);
}

static const struct vdev_primecell_type type = {
    .id = PART_ID,
    .compatible = "arm,pl061 arm,primecell",
    .node = "gpio",
    .read = pl061_read,
    .write = pl061_write,
};

static int pl061_reset(struct vdev *dev)
{
    struct pl061 *g = pl061_of(dev);

    g->s = (struct pl061_state){ 0 };
    vdev_primecell_renew_line(&g->p, false);
    return 0;
}

static int pl061_resume(struct vdev *dev)
{
    vdev_alarm_now(&pl061_of(dev)->alarm);
    return 0;
}

static void pl061_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &pl061_of(dev)->s, sizeof(struct pl061_state));
}

static int pl061_load(struct vdev *dev, const void *untrusted)
{
    struct pl061 *g = pl061_of(dev);
    const struct pl061_state *s = untrusted;

    if (s->in & ~KEY_PIN)
        return vm_fail(-EINVAL, "inputs %#x are high, where only %#x has a key", s->in, KEY_PIN);
    g->s = *s;
    g->up_ns = 0;
    vdev_primecell_renew_line(&g->p, raw(s) & s->ie);
    vdev_alarm_now(&g->alarm);
    return 0;
}

static void pl061_destroy(struct vdev *dev)
{
    struct pl061 *g = pl061_of(dev);

    vdev_alarm_exit(&g->alarm);
    vdev_primecell_exit(&g->p);
    free(g);
}

static const struct vdev_ops ops = {
    .reset = pl061_reset,
    .resume = pl061_resume,
    .save = pl061_save,
    .load = pl061_load,
    .destroy = pl061_destroy,
    .power_button = pl061_power_button,
};

static int pl061_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct pl061 *g = calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_primecell_init(&g->p, &pl061_class, &ops, &type, context);
    vdev_alarm_init(&g->alarm, &g->p.dev, serve);
    rc = vdev_primecell_start(&g->p);
    if (rc)
        pl061_destroy(&g->p.dev);
    else
        *ret_dev = &g->p.dev;
    return rc;
}

#define FIELD(t, member)                                                                 \
    {                                                                                    \
        .tag = (t), .type = VM_STATE_U8, .offset = offsetof(struct pl061_state, member), \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, data), FIELD(2, dir),   FIELD(3, is),    FIELD(4, ibe), FIELD(5, iev),
    FIELD(6, ie),   FIELD(7, afsel), FIELD(8, edges), FIELD(9, in),  { 0 },
};
static const struct vdev_metric metrics[] = {
    { "presses", offsetof(struct pl061, count.presses), "times the power key was pressed" },
    { 0 },
};

const struct vdev_class pl061_class = {
    .name = "pl061",
    .summary = "ARM PrimeCell GPIO with the power key",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct pl061_state),
    .state_version = 1,
    .metrics = metrics,
    .create = pl061_create,
};
