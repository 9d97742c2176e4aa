/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Real-time clock and CMOS RAM of a PC (Motorola MC146818 data sheet; ports and century: IBM PC AT Technical Reference).
 *
 * The clock is the host's wall clock plus what the guest set. Nothing is counted: registers and flags are worked out when
 * somebody looks, from the time now and the time of the last look (mark). A timer of the loop runs only while an
 * interrupt is enabled whose flag is not yet set, so an idle guest costs nothing.
 *
 * The clock
 *     [running]  divider on, SET clear: time registers follow the clock
 *     [set]      SET: time registers hold what is written; the divider goes on, and with it the periodic flag
 *     [stopped]  divider in reset: as set, without periodic flag. When it starts, the first update comes half a second
 *                later (data sheet, "Divider control")
 * Leaving set or stopped for running takes the registers over as the new time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "alarm.h"
#include "cmos_rtc_clock.h"

extern const struct vdev_class cmos_rtc_class;

enum {
    PORT_INDEX = 0,
    PORT_DATA = 1,
    PORTS = 2,
    INDEX_MASK = 0x7f, /* bit 7 masks the NMI, which nobody sends here */

    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,

    A_UIP = 1 << 7,
    A_DIVIDER = 0x70,
    A_DIVIDER_LAST = 0x20, /* 32.768 kHz; above it are test modes and reset */
    A_RATE = 0x0f,
    A_POWER_ON = 0x26, /* 32.768 kHz, 1024 Hz: what a PC's firmware sets */

    B_SET = 1 << 7,
    B_PERIODIC = 1 << 6, /* enables stand at the place of their flags in C */
    B_ALARM = 1 << 5,
    B_UPDATE = 1 << 4,
    B_ENABLES = B_PERIODIC | B_ALARM | B_UPDATE,

    C_IRQ = 1 << 7,
    C_FLAGS = B_ENABLES,

    D_VALID = 1 << 7, /* RAM and time are valid: the battery is well */
};

#define SECOND_NS 1000000000U
#define HALF_NS   500000000U
#define UIP_NS    244000U /* tBUC: so long before an update UIP is set */
#define TICKS_S   32768U
/* The registers reach from year 0 to 9999 (253402300799 s), the host's clock to 2554: no difference and no sum of both is
 * larger. */
#define OFFSET_MAX_S 300000000000LL
#define TIME_MAX_S   (2 * OFFSET_MAX_S)

/* A time of the guest's clock since 1970, or a difference of two. */
struct rtc_time {
    int64_t s;
    uint32_t ns;
};

struct rtc_state {
    uint8_t index, a, b, c;
    struct rtc_time offset; /* guest's clock - host's wall clock */
    struct rtc_time mark; /* guest's clock when the flags were last worked out */
    uint8_t ram[CMOS_RTC_BYTES]; /* by index; time registers only while not running */
};

struct rtc {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *pio;
    struct vdev_irq *irq;
    struct rtc_state s;
    bool line; /* of the interrupt */
    bool armed; /* the alarm is set, or will be soon */
    struct vdev_alarm alarm;
    struct {
        uint64_t interrupts;
    } count;
};

/* ---- the clock ---- */

static struct rtc_time add(struct rtc_time a, struct rtc_time b)
{
    uint32_t ns = a.ns + b.ns;

    return (struct rtc_time){ a.s + b.s + (ns >= SECOND_NS), ns % SECOND_NS };
}

static struct rtc_time sub(struct rtc_time a, struct rtc_time b)
{
    return (struct rtc_time){ a.s - b.s - (a.ns < b.ns),
                              (a.ns < b.ns ? a.ns + SECOND_NS : a.ns) - b.ns };
}

static bool before(struct rtc_time a, struct rtc_time b)
{
    return a.s < b.s || (a.s == b.s && a.ns < b.ns);
}

static struct rtc_time wall(const struct rtc *r)
{
    uint64_t ns = vm_now_ns(r->dev.env, VM_CLOCK_WALL);

    return (struct rtc_time){ (int64_t)(ns / SECOND_NS), (uint32_t)(ns % SECOND_NS) };
}

static struct rtc_time guest_now(const struct rtc *r)
{
    return add(wall(r), r->s.offset);
}

static bool divider_on(uint8_t a)
{
    return (a & A_DIVIDER) <= A_DIVIDER_LAST;
}

static bool runs(uint8_t a, uint8_t b)
{
    return divider_on(a) && !(b & B_SET);
}

static bool running(const struct rtc *r)
{
    return runs(r->s.a, r->s.b);
}

/* From now on the guest's clock says t. */
static void set_clock(struct rtc *r, struct rtc_time t)
{
    r->s.offset = sub(t, wall(r));
    r->s.mark = t;
}

static void freeze(struct rtc *r)
{
    int64_t s = guest_now(r).s;

    for (unsigned i = 0; i < CMOS_RTC_BYTES; i++)
        if (cmos_rtc_is_time(i))
            r->s.ram[i] = cmos_rtc_encode(s, i, r->s.b);
}

/* ---- flags and the interrupt ---- */

/* The period of the periodic flag in ticks of 32768 Hz; 0: none (data sheet, table 5). */
static uint32_t period(const struct rtc *r)
{
    unsigned rate = r->s.a & A_RATE;

    if (!rate || !divider_on(r->s.a))
        return 0;
    return 1U << ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint32_t ticks(uint32_t ns)
{
    return (uint32_t)((uint64_t)ns * TICKS_S / SECOND_NS);
}

/* Each period divides the second. */
static bool period_over(const struct rtc *r, struct rtc_time from, struct rtc_time to)
{
    uint32_t p = period(r);

    return p && (from.s != to.s || ticks(from.ns) / p != ticks(to.ns) / p);
}

static bool alarm_over(const struct rtc *r, int64_t from, int64_t to)
{
    int64_t at;

    return cmos_rtc_next_alarm(r->s.ram, r->s.b, from, &at) && at <= to;
}

/* Sets the flags of what has happened since the last look. A host's clock that jumps back sets none. */
static void catch_up(struct rtc *r)
{
    struct rtc_time from = r->s.mark, to = guest_now(r);

    r->s.mark = to;
    if (!before(from, to))
        return;
    if (period_over(r, from, to))
        r->s.c |= B_PERIODIC;
    if (!running(r) || from.s == to.s)
        return;
    r->s.c |= B_UPDATE;
    if (!(r->s.c & B_ALARM) && alarm_over(r, from.s, to.s))
        r->s.c |= B_ALARM;
}

static void update_irq(struct rtc *r)
{
    bool line = r->s.b & r->s.c & B_ENABLES;

    r->s.c = (uint8_t)((r->s.c & C_FLAGS) | (line ? C_IRQ : 0));
    vm_count(&r->count.interrupts, line && !r->line);
    r->line = line;
    vdev_irq_set(r->irq, line);
}

/* ---- the timer ---- */

static uint32_t to_next_period(const struct rtc *r, uint32_t ns)
{
    uint32_t p = period(r), next = (ticks(ns) / p + 1) * p;

    return (uint32_t)(((uint64_t)next * SECOND_NS + TICKS_S - 1) / TICKS_S) - ns;
}

/* How long until a flag rises that is enabled and not yet set. */
static uint64_t next_ns(const struct rtc *r)
{
    uint8_t wanted = r->s.b & (uint8_t)~r->s.c & B_ENABLES;
    struct rtc_time now = guest_now(r);
    uint64_t best = VDEV_ALARM_NEVER, ns;
    int64_t at;

    if (wanted & B_PERIODIC && period(r))
        best = to_next_period(r, now.ns);
    if (!running(r))
        return best;
    if (wanted & B_UPDATE && SECOND_NS - now.ns < best)
        best = SECOND_NS - now.ns;
    if (wanted & B_ALARM && cmos_rtc_next_alarm(r->s.ram, r->s.b, now.s, &at)) {
        ns = (uint64_t)(at - now.s) * SECOND_NS - now.ns;
        best = ns < best ? ns : best;
    }
    return best;
}

/* What is due now, and when the next is. */
static uint64_t serve(struct vdev *dev)
{
    struct rtc *r = container_of(dev, struct rtc, dev);
    uint64_t ns;

    catch_up(r);
    update_irq(r);
    ns = next_ns(r);
    r->armed = ns != VDEV_ALARM_NEVER;
    return ns;
}

static void rearm(struct rtc *r)
{
    if (!r->armed && !(r->s.b & B_ENABLES))
        return;
    r->armed = true;
    vdev_alarm_now(&r->alarm);
}

/* ---- registers ---- */

static uint8_t read_a(const struct rtc *r)
{
    bool uip = running(r) && guest_now(r).ns >= SECOND_NS - UIP_NS;

    return r->s.a | (uip ? A_UIP : 0);
}

/* Reading takes all flags away, and with them the interrupt. */
static uint8_t read_c(struct rtc *r)
{
    uint8_t c;

    catch_up(r);
    update_irq(r);
    c = r->s.c;
    r->s.c = 0;
    update_irq(r);
    rearm(r);
    return c;
}

static uint8_t read_data(struct rtc *r)
{
    unsigned i = r->s.index;

    switch (i) {
    case REG_A: return read_a(r);
    case REG_B: return r->s.b;
    case REG_C: return read_c(r);
    case REG_D: return D_VALID;
    default: break;
    }
    if (cmos_rtc_is_time(i) && running(r))
        return cmos_rtc_encode(guest_now(r).s, i, r->s.b);
    return r->s.ram[i];
}

/* New values of A and B, with all that follows for the clock: the state machine at the top. */
static void write_control(struct rtc *r, uint8_t a, uint8_t b)
{
    bool started = !divider_on(r->s.a) && divider_on(a), ran = running(r);
    struct rtc_time t;

    catch_up(r);
    if (ran && !runs(a, b))
        freeze(r);
    r->s.a = a & (uint8_t)~A_UIP;
    r->s.b = b & B_SET ? b & (uint8_t)~B_UPDATE : b; /* SET clears UIE */
    t = guest_now(r);
    if (!ran && running(r))
        t.s = cmos_rtc_decode(r->s.ram, r->s.b);
    if (started)
        t.ns = HALF_NS;
    if (started || (!ran && running(r)))
        set_clock(r, t);
    update_irq(r);
    rearm(r);
}

/* Time or alarm. While the clock runs, one part of the time changes and the others go on. */
static void write_time(struct rtc *r, uint8_t v)
{
    struct rtc_time t;

    catch_up(r);
    if (running(r) && cmos_rtc_is_time(r->s.index)) {
        freeze(r);
        r->s.ram[r->s.index] = v;
        t = (struct rtc_time){ cmos_rtc_decode(r->s.ram, r->s.b), guest_now(r).ns };
        set_clock(r, t);
    }
    r->s.ram[r->s.index] = v;
    update_irq(r);
    rearm(r);
}

static void write_data(struct rtc *r, uint8_t v)
{
    switch (r->s.index) {
    case REG_A: write_control(r, v, r->s.b); return;
    case REG_B: write_control(r, r->s.a, v); return;
    case REG_C:
    case REG_D: return; /* read only */
    default: break;
    }
    if (r->s.index < REG_A || r->s.index == CMOS_RTC_CENTURY)
        write_time(r, v);
    else
        r->s.ram[r->s.index] = v;
}

/* The ports are bytes on an 8-bit bus, where a wider access becomes one cycle per byte. */
static int rtc_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct rtc *r = self;

    for (unsigned i = 0; i < len; i++)
        data[i] = offset + i == PORT_DATA ? read_data(r) : 0xff; /* the index cannot be read */
    return 0;
}

static int rtc_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct rtc *r = self;

    for (unsigned i = 0; i < len; i++) {
        if (offset + i == PORT_DATA)
            write_data(r, data[i]);
        else
            r->s.index = data[i] & INDEX_MASK;
    }
    return 0;
}

static const struct vdev_region_ops region_ops = { .read = rtc_read, .write = rtc_write };

/* ---- life ---- */

static void power_on(struct rtc *r)
{
    r->s = (struct rtc_state){ .a = A_POWER_ON, .b = CMOS_RTC_24H };
    r->s.mark = guest_now(r);
}

/* There is no battery: a reset is a power-on, with the host's time. */
static int rtc_reset(struct vdev *dev)
{
    struct rtc *r = container_of(dev, struct rtc, dev);

    power_on(r);
    update_irq(r);
    rearm(r);
    return 0;
}

/* Alarms of the time that was slept through are served now. */
static int rtc_resume(struct vdev *dev)
{
    rearm(container_of(dev, struct rtc, dev));
    return 0;
}

static void rtc_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct rtc, dev)->s, sizeof(struct rtc_state));
}

static bool time_can_be(struct rtc_time t, int64_t max_s)
{
    return t.ns < SECOND_NS && t.s >= -max_s && t.s <= max_s;
}

static int rtc_load(struct vdev *dev, const void *untrusted)
{
    struct rtc *r = container_of(dev, struct rtc, dev);
    const struct rtc_state *s = untrusted;

    if (s->index & ~INDEX_MASK || s->a & A_UIP || s->c & ~(C_IRQ | C_FLAGS) ||
        !(s->c & C_IRQ) != !(s->b & s->c & B_ENABLES) || (s->b & B_SET && s->b & B_UPDATE))
        return vm_fail(-EINVAL, "index %#x, registers A %#x, B %#x, C %#x cannot be", s->index,
                       s->a, s->b, s->c);
    if (!time_can_be(s->offset, OFFSET_MAX_S) || !time_can_be(s->mark, TIME_MAX_S))
        return vm_fail(-EINVAL, "clock %lld s %u ns off, seen at %lld s %u ns: not a time",
                       (long long)s->offset.s, s->offset.ns, (long long)s->mark.s, s->mark.ns);
    r->s = *s;
    update_irq(r);
    rearm(r);
    return 0;
}

static void rtc_destroy(struct vdev *dev)
{
    struct rtc *r = container_of(dev, struct rtc, dev);

    vdev_bus_del(r->pio, &r->region, NULL, NULL);
    vdev_alarm_exit(&r->alarm);
    vdev_exit(dev);
    free(r);
}

static const struct vdev_ops ops = {
    .reset = rtc_reset,
    .resume = rtc_resume,
    .save = rtc_save,
    .load = rtc_load,
    .destroy = rtc_destroy,
};

static void describe(struct rtc *r)
{
    r->dev.firmware = (struct vdev_firmware){
        .acpi_hid = "PNP0B00",
        .resource = { { VDEV_RES_PIO, r->region.base, PORTS } },
    };
    if (r->irq)
        r->dev.firmware.resource[1] = (struct vdev_resource){ VDEV_RES_IRQ, r->irq->number, 0 };
}

static int rtc_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct rtc *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&r->dev, &cmos_rtc_class, &ops, context);
    vdev_alarm_init(&r->alarm, &r->dev, serve);
    r->pio = context->pio;
    r->irq = context->irqs[0];
    r->region = (struct vdev_region){ .name = r->dev.id,
                                      .base = context->resources[0].base,
                                      .size = PORTS,
                                      .ops = &region_ops,
                                      .self = r,
                                      .lock = &r->dev.lock,
                                      .dev = &r->dev,
                                      .priority = 1 };
    power_on(r);
    describe(r);
    rc = vdev_bus_add(r->pio, &r->region);
    if (rc) {
        vdev_exit(&r->dev);
        free(r);
        return rc;
    }
    *ret_dev = &r->dev;
    return 0;
}

static const struct vm_state_field time_fields[] = {
    { .tag = 1, .type = VM_STATE_U64, .offset = offsetof(struct rtc_time, s) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct rtc_time, ns) },
    { 0 },
};
static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct rtc_state, index) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct rtc_state, a) },
    { .tag = 3, .type = VM_STATE_U8, .offset = offsetof(struct rtc_state, b) },
    { .tag = 4, .type = VM_STATE_U8, .offset = offsetof(struct rtc_state, c) },
    { .tag = 5,
      .type = VM_STATE_STRUCT,
      .offset = offsetof(struct rtc_state, offset),
      .fields = time_fields },
    { .tag = 6,
      .type = VM_STATE_STRUCT,
      .offset = offsetof(struct rtc_state, mark),
      .fields = time_fields },
    { .tag = 7,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct rtc_state, ram),
      .max = CMOS_RTC_BYTES },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "interrupts", offsetof(struct rtc, count.interrupts), "interrupts raised" },
    { 0 },
};

const struct vdev_class cmos_rtc_class = {
    .name = "cmos-rtc",
    .summary = "MC146818 real-time clock with CMOS RAM",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct rtc_state),
    .state_version = 1,
    .metrics = metrics,
    .create = rtc_create,
};
