/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The scheduler: one thing after another, as the seed says, and now and then everything is brought
 * to an end and compared. */
#include "sim.h"

#include <string.h>

enum { IOAPIC = 0xfec00000, SETTLE_ROUNDS = 5000 };
#define SETTLE_NS 500000000ULL

/* Level-triggered, vector SIM_VECTOR + pin (82093AA, 3.2.4). */
static void set_pins(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        const struct sim_dev *d = &s->dev[i];
        unsigned first = d->pci ? 16 : d->gsi, last = d->pci ? 19 : d->gsi;

        if (d->msix)
            continue;
        for (unsigned pin = first; pin <= last; pin++) {
            sim_write(s, IOAPIC, 4, 0x11 + 2 * pin);
            sim_write(s, IOAPIC + 0x10, 4, 0);
            sim_write(s, IOAPIC, 4, 0x10 + 2 * pin);
            sim_write(s, IOAPIC + 0x10, 4, 0x8000 | (SIM_VECTOR + pin));
        }
    }
}

static void send_serial(struct sim *s)
{
    for (unsigned i = sim_between(s, 1, 8); i && s->serial.sent_len < SIM_STREAM; i--) {
        uint8_t byte = (uint8_t)sim_next(s);

        if ((sim_register(s, TEST_SERIAL_STATUS) & TEST_SERIAL_MASK) != TEST_SERIAL_READY)
            return;
        s->serial.sent[s->serial.sent_len++] = byte;
        sim_set_register(s, TEST_SERIAL, byte);
    }
}

static void platform(struct sim *s)
{
    switch (sim_below(s, 6)) {
    case 0:
        if (s->serial.sent)
            send_serial(s);
        break;
    case 1:
        if (!s->config.arch.rtc)
            break;
        sim_set_register(s, TEST_CLOCK_INDEX, sim_below(s, 14));
        sim_register(s, TEST_CLOCK_DATA);
        break;
    case 2:
        if (s->config.arch.acpi)
            sim_in(s, (uint16_t)(0x600 + sim_below(s, 8)), 1);
        break;
    case 3:
        if ((s->config.arch.acpi || !varch_facts.acpi) && vmm_machine_power_button(s->machine))
            sim_fail(s, "the power button does not work");
        break;
    case 4: sim_register(s, TEST_NOBODY); break;
    default: sim_read(s, 0xd0000000 + sim_below(s, 4096), 4); break;
    }
}

/* Every request that an honest driver made has its answer once time has run on. */
static void check_queue(struct sim *s, struct sim_dev *d, unsigned n)
{
    struct sim_queue *q = &d->q[n];
    bool there;

    if (q->quiet)
        sim_driver_collect(s, d, n);
    if (q->endless || !fake_driver_in_flight(&q->drv))
        return;
    there = fake_driver_pending(&q->drv);
    sim_fail(s, "%s: queue %u: %u chains are still out: %s", d->id, n,
             fake_driver_in_flight(&q->drv),
             there           ? "they were used, but no interrupt came"
             : d->far.deaths ? "no process took them up"
                             : "a kick was lost");
}

static void check_all(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];
        uint8_t status;

        if (!d->up || d->sick || d->leaving)
            continue;
        status = sim_bus_status(s, d);
        if (d->leaving) /* meanwhile */
            continue;
        if (status & VIRTIO_NEEDS_RESET)
            sim_fail(s, "%s: needs a reset, but its driver is honest", d->id);
        for (unsigned n = 0; n < d->queues; n++)
            check_queue(s, d, n);
        if (d->kind == SIM_CONSOLE)
            sim_stream_check(s, d, true);
    }
    if (s->serial.sent)
        sim_stream_check(s, &s->serial, true);
}

static void wait_for_processes(struct sim *s)
{
    for (unsigned rounds = 0; !sim_far_settled(s); rounds++) {
        if (rounds == SETTLE_ROUNDS)
            sim_fail(s, "a process never serves its rings");
        sim_driver_interrupts(s);
        (void)vm_loop_step(s->env.loop, 10000000);
        sim_far_tend(s);
    }
}

static void settle(struct sim *s)
{
    uint64_t end;

    sim_say(s, "settle");
    wait_for_processes(s);
    end = vm_loop_now_ns(s->env.loop) + SETTLE_NS;
    for (unsigned i = 0; i < s->devs; i++)
        for (unsigned n = 0; s->dev[i].up && !s->dev[i].leaving && n < s->dev[i].queues; n++)
            sim_driver_kick(s, &s->dev[i], n);
    for (unsigned rounds = 0; vm_loop_now_ns(s->env.loop) < end; rounds++) {
        bool any = sim_driver_interrupts(s);

        if (rounds == SETTLE_ROUNDS)
            sim_fail(s, "the devices never come to rest");
        if (!vm_loop_step(s->env.loop, 10000000) && !any && vm_loop_now_ns(s->env.loop) >= end)
            break;
    }
    sim_driver_interrupts(s);
    check_all(s);
    sim_unplug_check(s, true);
    s->far_lies = true;
}

static void device_step(struct sim *s, struct sim_dev *d)
{
    uint32_t choice = sim_below(s, 64);

    if (d->leaving) {
        sim_unplug_touch(s, d);
    } else if (!d->up) {
        sim_driver_start(s, d);
    } else if (d->sick) {
        if (choice < 16)
            sim_lie(s, d);
        else
            sim_driver_stop(s, d);
    } else if (choice < 36) {
        sim_driver_offer(s, d);
    } else if (choice < 42) {
        sim_driver_collect(s, d, sim_below(s, d->queues));
    } else if (choice < 46) {
        sim_driver_mode(s, d);
    } else if (choice < 50) {
        for (unsigned n = 0; n < d->queues; n++)
            sim_driver_kick(s, d, n);
    } else if (choice < 54) {
        sim_bus_space(s, d, sim_below(s, 8), 1);
    } else if (choice < 57) {
        if (d->pci)
            sim_bus_move(s, d);
    } else if (choice < 59) {
        sim_driver_stop_queue(s, d);
    } else if (choice < 61) {
        sim_driver_stop(s, d);
    } else {
        sim_lie(s, d);
    }
}

static void act(struct sim *s, struct sim_dev *d, void (*what)(struct sim *s, struct sim_dev *d))
{
    s->acting = d;
    what(s, d);
    s->acting = NULL;
}

static void step(struct sim *s)
{
    uint32_t choice = sim_below(s, 64);

    if (choice < 36)
        act(s, &s->dev[sim_below(s, s->devs)], device_step);
    else if (choice < 48)
        sim_driver_interrupts(s);
    else if (choice < 54)
        sim_pass(s, sim_below(s, 2000000));
    else if (choice < 58)
        platform(s);
    else if (choice < 60)
        sim_pause(s);
    else if (choice < 61)
        settle(s);
    else if (choice < 62)
        sim_one_in(s, 4) ? sim_unplug(s) : sim_far_step(s);
    else if (choice < 63)
        sim_far_step(s);
    else
        sim_background(s, false);
    sim_wait_running(s);
    sim_unplug_check(s, false);
}

/* Half of what is left is taken out, with requests on the way; the others notice nothing. */
static void take_out(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];

        if (d->leaving || sim_one_in(s, 2))
            continue;
        if (d->up && !d->sick)
            act(s, d, sim_driver_offer);
        sim_wait_running(s);
        sim_unplug_now(s, d);
        sim_unplug_check(s, false);
    }
}

void sim_run(struct sim *s)
{
    if (s->config.arch.irqchip == VARCH_IRQCHIP_SPLIT)
        set_pins(s);
    s->unplugs = s->far_lies = true;
    for (s->step = 0; s->step < s->steps; s->step++)
        step(s);
    settle(s);
    take_out(s);
    settle(s);
    for (unsigned i = 0; i < s->devs; i++)
        if (s->dev[i].up && !s->dev[i].leaving)
            act(s, &s->dev[i], sim_driver_stop);
    settle(s);
}
