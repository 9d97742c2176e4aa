/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A machine around one platform device: loop in virtual time with a wall clock, buses, interrupt pins, and notes of the
 * messages, events, routes and log lines that the device sends. For unit tests and fuzz targets; one thread.
 *
 *     static struct plat p;
 *     plat_open(&p);
 *     p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0x70, 2 };
 *     plat_create(&p, &cmos_rtc_class);
 *     plat_out(&p, 0x70, 1, 0x0b);
 *     plat_pass(&p, 1000000);
 *     plat_close(&p);
 */
#ifndef TESTS_SUPPORT_PLATFORM_HARNESS_H
#define TESTS_SUPPORT_PLATFORM_HARNESS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/le.h>
#include <vmm/base/loop.h>
#include <vmm/devices-core/device.h>

enum { PLAT_PINS = 4, PLAT_NOTES = 64, PLAT_LOG_LINES = 32, PLAT_ROUTES = 32 };

struct plat_pin {
    struct vdev_irq irq;
    bool level;
    unsigned rises, falls;
};

struct plat {
    struct vm_env env;
    struct vm_loop *loop;
    uint64_t wall_ns; /* wall clock when the loop's clock was 0 */
    struct vdev_machine machine;
    struct vdev_bus *mmio, *pio;
    struct vdev_bus_reader mmio_reader, pio_reader;
    struct plat_pin pin[PLAT_PINS];
    struct vdev_irq *irqs[PLAT_PINS];
    struct vdev_resource resource[VDEV_RESOURCES_MAX];
    struct vdev_context context; /* may be changed before plat_create() */
    struct vdev *dev;

    struct vdev_msi_sink sink;
    unsigned messages; /* all time; the last ones are in message */
    struct vdev_msi message[PLAT_NOTES];
    unsigned events;
    struct plat_event {
        enum vdev_event event;
        uint32_t value;
    } event[PLAT_NOTES];
    unsigned routed; /* calls */
    struct {
        bool on;
        struct vdev_msi msi;
    } route[PLAT_ROUTES];
    unsigned log_lines;
    char log[PLAT_LOG_LINES][256];
    enum vm_level level[PLAT_LOG_LINES];
};

static inline void plat_note_log(void *ctx, enum vm_level level, const char *text)
{
    struct plat *p = ctx;

    p->level[p->log_lines % PLAT_LOG_LINES] = level;
    snprintf(p->log[p->log_lines++ % PLAT_LOG_LINES], sizeof(p->log[0]), "%s", text);
}

static inline uint64_t plat_now(void *ctx, enum vm_clock clock)
{
    struct plat *p = ctx;
    uint64_t now = p->loop ? vm_loop_now_ns(p->loop) : 0;

    return clock == VM_CLOCK_WALL ? p->wall_ns + now : now;
}

static inline void plat_note_event(struct vdev_machine *machine, struct vdev *dev,
                                   enum vdev_event event, uint32_t value)
{
    struct plat *p = container_of(machine, struct plat, machine);

    (void)dev;
    p->event[p->events++ % PLAT_NOTES] = (struct plat_event){ event, value };
}

static inline void plat_note_route(struct vdev_machine *machine, struct vdev *dev, uint32_t pin,
                                   const struct vdev_msi *msi)
{
    struct plat *p = container_of(machine, struct plat, machine);

    (void)dev;
    p->routed++;
    p->route[pin % PLAT_ROUTES].on = msi;
    if (msi)
        p->route[pin % PLAT_ROUTES].msi = *msi;
}

static inline int plat_note_message(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    struct plat *p = container_of(sink, struct plat, sink);

    p->message[p->messages++ % PLAT_NOTES] = *msi;
    return 0;
}

static inline void plat_set_pin(struct vdev_irq *irq, bool level)
{
    struct plat_pin *pin = container_of(irq, struct plat_pin, irq);

    pin->rises += level && !pin->level;
    pin->falls += !level && pin->level;
    pin->level = level;
}

/* What vdev_machine_ops must have; doorbells, unpark and broken are not for platform devices. */
static const struct vdev_machine_ops plat_machine_ops = {
    .event = plat_note_event,
    .pin_routed = plat_note_route,
};

/* Everything but the device. 0 or -ENOMEM. */
static inline int plat_open(struct plat *p)
{
    int rc;

    *p = (struct plat){ .machine = { .ops = &plat_machine_ops }, .sink = { plat_note_message } };
    p->env = (struct vm_env){ .ctx = p, .log = plat_note_log, .now_ns = plat_now };
    rc = vm_loop_new(&p->env, VM_LOOP_VIRTUAL, &p->loop);
    if (!rc)
        rc = vdev_bus_new(&p->env, "mmio", UINT64_MAX, &p->mmio);
    if (!rc)
        rc = vdev_bus_new(&p->env, "pio", UINT16_MAX, &p->pio);
    if (rc)
        return rc;
    p->env.loop = p->loop;
    vdev_bus_reader_init(p->mmio, &p->mmio_reader);
    vdev_bus_reader_init(p->pio, &p->pio_reader);
    for (unsigned i = 0; i < PLAT_PINS; i++) {
        p->pin[i].irq = (struct vdev_irq){ .set = plat_set_pin, .number = i };
        p->irqs[i] = &p->pin[i].irq;
    }
    p->context = (struct vdev_context){ .env = &p->env,
                                        .machine = &p->machine,
                                        .id = "dut",
                                        .resources = p->resource,
                                        .irqs = p->irqs,
                                        .mmio = p->mmio,
                                        .pio = p->pio,
                                        .msi = &p->sink };
    return 0;
}

static inline int plat_create(struct plat *p, const struct vdev_class *cls)
{
    return cls->create(&p->context, &p->dev);
}

static inline void plat_destroy(struct plat *p)
{
    vdev_destroy(p->dev);
    p->dev = NULL;
}

static inline void plat_close(struct plat *p)
{
    plat_destroy(p);
    vdev_bus_reader_exit(&p->mmio_reader);
    vdev_bus_reader_exit(&p->pio_reader);
    vdev_bus_free(p->mmio);
    vdev_bus_free(p->pio);
    vm_loop_free(p->loop);
}

/* Work that was posted is done; no time passes. Returns the number of call-backs. */
static inline int plat_idle(struct plat *p)
{
    int rc, done = 0;

    while ((rc = vm_loop_step(p->loop, 0)) > 0)
        done += rc;
    return done;
}

static inline uint64_t plat_time(const struct plat *p)
{
    return vm_loop_now_ns(p->loop);
}

/* ns of virtual time pass, with all that happens in them. Returns the number of call-backs: 0 is a loop that slept. */
static inline int plat_pass(struct plat *p, uint64_t ns)
{
    uint64_t end = plat_time(p) + ns;
    int done = plat_idle(p);

    while (plat_time(p) < end) {
        int rc = vm_loop_step(p->loop, end - plat_time(p));

        done += rc > 0 ? rc : 0;
    }
    return done + plat_idle(p);
}

/* Accesses. A read that nobody answers is all ones. */
static inline uint64_t plat_in(struct plat *p, uint16_t port, unsigned len)
{
    uint8_t data[8] = { 0 };
    struct vdev *dev;

    vdev_bus_read(&p->pio_reader, port, data, len, &dev);
    return vm_load_le(data, sizeof(data));
}

static inline int plat_out(struct plat *p, uint16_t port, unsigned len, uint64_t value)
{
    uint8_t data[8];
    struct vdev *dev;

    vm_store_le(data, sizeof(data), value);
    return vdev_bus_write(&p->pio_reader, port, data, len, &dev);
}

static inline uint64_t plat_read(struct plat *p, uint64_t addr, unsigned len)
{
    uint8_t data[8] = { 0 };
    struct vdev *dev;

    vdev_bus_read(&p->mmio_reader, addr, data, len, &dev);
    return vm_load_le(data, sizeof(data));
}

static inline int plat_write(struct plat *p, uint64_t addr, unsigned len, uint64_t value)
{
    uint8_t data[8];
    struct vdev *dev;

    vm_store_le(data, sizeof(data), value);
    return vdev_bus_write(&p->mmio_reader, addr, data, len, &dev);
}

/* The device's state as bytes; free with vm_buffer_free(). */
static inline struct vm_buffer plat_save(struct plat *p)
{
    struct vm_buffer buffer = { 0 };

    if (vdev_save(p->dev, &buffer))
        vm_buffer_free(&buffer);
    return buffer;
}

/* Loads a section made from a state struct of the class's, as a hostile snapshot could hold it. */
static inline int plat_load_state(struct plat *p, const void *state)
{
    struct vm_buffer buffer = { 0 };
    int rc;

    rc = vm_state_save(p->dev->cls->state, p->dev->cls->state_version, state, &buffer);
    if (!rc)
        rc = vdev_load(p->dev, buffer.data, buffer.len);
    vm_buffer_free(&buffer);
    return rc;
}

/* Save, load into the device as it is after reset, save: 0 when the bytes are equal. */
static inline int plat_round_trip(struct plat *p)
{
    struct vm_buffer first = plat_save(p), second = { 0 };
    int rc = vdev_reset(p->dev, NULL);

    if (!rc)
        rc = vdev_load(p->dev, first.data, first.len);
    if (!rc)
        second = plat_save(p);
    if (!rc &&
        (!first.len || first.len != second.len || memcmp(first.data, second.data, first.len)))
        rc = -EILSEQ;
    vm_buffer_free(&first);
    vm_buffer_free(&second);
    return rc;
}

/* A metric of the device by name; UINT64_MAX where there is none. */
static inline uint64_t plat_metric(const struct plat *p, const char *name)
{
    const struct vdev_metric *m = p->dev->cls->metrics;

    for (; m && m->name; m++)
        if (!strcmp(m->name, name))
            return *(const uint64_t *)(const void *)((const char *)p->dev + m->offset);
    return UINT64_MAX;
}

#endif
