/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * PrimeCell real-time clock (ARM DDI 0224, PL031): a counter of seconds, and a match register that interrupts.
 *
 * The counter is the host's wall clock in seconds plus an offset, which a write to the load register changes; both are 32
 * bits wide and wrap. Nothing is counted: the second in which counter and match register will be equal is known, and when
 * somebody looks, or the timer comes, it has passed or not. The timer runs only while the interrupt is enabled and not yet
 * there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "alarm.h"
#include "primecell.h"

extern const struct vdev_class pl031_class;

/* Registers (3.2). */
enum {
    REG_DR = 0x00,
    REG_MR = 0x04,
    REG_LR = 0x08,
    REG_CR = 0x0c,
    REG_IMSC = 0x10,
    REG_RIS = 0x14,
    REG_MIS = 0x18,
    REG_ICR = 0x1c,

    CR_START = 1,
    INT_MATCH = 1,
};
#define PART_ID   0x00141031U
#define SECOND_NS 1000000000U
#define WRAP_S    (1ULL << 32) /* the counter comes round after so long */
#define LOOK_S    60 /* the host's clock may be set meanwhile: the timer sleeps no longer */

struct pl031_state {
    uint64_t match_s; /* the host's second in which the counter is mr next */
    uint32_t mr, lr;
    uint32_t offset; /* counter - host's seconds */
    bool im, ris;
};

struct pl031 {
    struct vdev_primecell p;
    struct vdev_alarm alarm;
    struct pl031_state s;
    struct {
        uint64_t alarms;
    } count;
};

static struct pl031 *pl031_of(struct vdev *dev)
{
    return container_of(dev, struct pl031, p.dev);
}

static uint64_t wall_ns(const struct pl031 *r)
{
    return vm_now_ns(r->p.dev.env, VM_CLOCK_WALL);
}

/* The counter's arithmetic. */
static uint32_t sum(uint64_t a, uint32_t b)
{
    return (uint32_t)((a + b) % WRAP_S);
}

static uint32_t difference(uint32_t a, uint64_t b)
{
    return (uint32_t)((WRAP_S + a - b % WRAP_S) % WRAP_S);
}

static uint32_t counter(const struct pl031 *r, uint64_t now_s)
{
    return sum(now_s, r->s.offset);
}

/* The next second in which it shows the match register's value; now, if it does. */
static uint64_t next_match(const struct pl031 *r, uint64_t now_s)
{
    return now_s + difference(r->s.mr, counter(r, now_s));
}

static void update_irq(struct pl031 *r)
{
    vdev_primecell_set_line(&r->p, r->s.im && r->s.ris);
}

/* RTCRIS (3.3.6) is set in the second in which both are equal. */
static void catch_up(struct pl031 *r)
{
    uint64_t now_s = wall_ns(r) / SECOND_NS;

    if (r->s.match_s >
        now_s + WRAP_S) /* the host's clock was set back: the counter will meet it earlier */
        r->s.match_s = next_match(r, now_s);
    if (r->s.match_s > now_s)
        return;
    vm_count(&r->count.alarms, !r->s.ris);
    r->s.ris = true;
    r->s.match_s += ((now_s - r->s.match_s) / WRAP_S + 1) * WRAP_S;
}

/* Counter or match register are new; equal now is a match. */
static void find_match(struct pl031 *r)
{
    r->s.match_s = next_match(r, wall_ns(r) / SECOND_NS);
    catch_up(r);
}

static uint64_t serve(struct vdev *dev)
{
    struct pl031 *r = pl031_of(dev);
    uint64_t now_ns = wall_ns(r), left_s;

    catch_up(r);
    update_irq(r);
    if (!r->s.im || r->s.ris)
        return VDEV_ALARM_NEVER;
    left_s = r->s.match_s - now_ns / SECOND_NS;
    return (left_s < LOOK_S ? left_s : LOOK_S) * SECOND_NS - now_ns % SECOND_NS;
}

static uint32_t pl031_read(struct vdev_primecell *p, uint32_t offset)
{
    struct pl031 *r = container_of(p, struct pl031, p);

    catch_up(r);
    update_irq(r);
    switch (offset) {
    case REG_DR: return counter(r, wall_ns(r) / SECOND_NS);
    case REG_MR: return r->s.mr;
    case REG_LR: return r->s.lr;
    case REG_CR: return CR_START; /* 3.3.4: once on, it stays so; firmware has switched it on */
    case REG_IMSC: return r->s.im;
    case REG_RIS: return r->s.ris;
    case REG_MIS: return r->s.ris && r->s.im;
    default: return 0; /* RTCICR is write only */
    }
}

static void pl031_write(struct vdev_primecell *p, uint32_t offset, uint32_t value)
{
    struct pl031 *r = container_of(p, struct pl031, p);

    catch_up(r);
    switch (offset) {
    case REG_MR:
        r->s.mr = value;
        find_match(r);
        break;
    case REG_LR:
        r->s.lr = value;
        r->s.offset = difference(value, wall_ns(r) / SECOND_NS);
        find_match(r);
        break;
    case REG_IMSC: r->s.im = value & INT_MATCH; break;
    case REG_ICR:
        r->s.ris = r->s.ris && !(value & INT_MATCH);
        break; /* 3.3.8, not any value as 2.1 says */
    default: return;
    }
    update_irq(r);
    vdev_alarm_now(&r->alarm);
}

static const struct vdev_primecell_type type = {
    .id = PART_ID,
    .compatible = "arm,pl031 arm,primecell",
    .node = "rtc",
    .read = pl031_read,
    .write = pl031_write,
};

/* There is no battery: a reset is a power-on, with the host's time. The counter has just been past 0, the match register's
 * value, or will be when it wraps. */
static void power_on(struct pl031 *r)
{
    r->s = (struct pl031_state){ .match_s = (wall_ns(r) / SECOND_NS / WRAP_S + 1) * WRAP_S };
}

static int pl031_reset(struct vdev *dev)
{
    struct pl031 *r = pl031_of(dev);

    power_on(r);
    vdev_primecell_renew_line(&r->p, false);
    vdev_alarm_now(&r->alarm);
    return 0;
}

/* An alarm of the time that was slept through comes now. */
static int pl031_resume(struct vdev *dev)
{
    vdev_alarm_now(&pl031_of(dev)->alarm);
    return 0;
}

static void pl031_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &pl031_of(dev)->s, sizeof(struct pl031_state));
}

static int pl031_load(struct vdev *dev, const void *untrusted)
{
    struct pl031 *r = pl031_of(dev);
    const struct pl031_state *s = untrusted;

    if (sum(s->match_s % WRAP_S, s->offset) != s->mr)
        return vm_fail(-EINVAL, "match %#x is not what the clock shows at %#llx, %#x off", s->mr,
                       (unsigned long long)s->match_s, s->offset);
    r->s = *s;
    vdev_primecell_renew_line(&r->p, s->im && s->ris);
    vdev_alarm_now(&r->alarm);
    return 0;
}

static void pl031_destroy(struct vdev *dev)
{
    struct pl031 *r = pl031_of(dev);

    vdev_alarm_exit(&r->alarm);
    vdev_primecell_exit(&r->p);
    free(r);
}

static const struct vdev_ops ops = {
    .reset = pl031_reset,
    .resume = pl031_resume,
    .save = pl031_save,
    .load = pl031_load,
    .destroy = pl031_destroy,
};

static int pl031_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct pl031 *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_primecell_init(&r->p, &pl031_class, &ops, &type, context);
    vdev_alarm_init(&r->alarm, &r->p.dev, serve);
    power_on(r);
    rc = vdev_primecell_start(&r->p);
    if (rc)
        pl031_destroy(&r->p.dev);
    else
        *ret_dev = &r->p.dev;
    return rc;
}

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U64, .offset = offsetof(struct pl031_state, match_s) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct pl031_state, mr) },
    { .tag = 3, .type = VM_STATE_U32, .offset = offsetof(struct pl031_state, lr) },
    { .tag = 4, .type = VM_STATE_U32, .offset = offsetof(struct pl031_state, offset) },
    { .tag = 5, .type = VM_STATE_BOOL, .offset = offsetof(struct pl031_state, im) },
    { .tag = 6, .type = VM_STATE_BOOL, .offset = offsetof(struct pl031_state, ris) },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "alarms", offsetof(struct pl031, count.alarms), "times the clock met its match register" },
    { 0 },
};

const struct vdev_class pl031_class = {
    .name = "pl031",
    .summary = "ARM PrimeCell real-time clock",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct pl031_state),
    .state_version = 1,
    .metrics = metrics,
    .create = pl031_create,
};
