/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices are taken out of the running machine, by the host, at any moment; their drivers learn of it
 * by what they read. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

enum { LOOKS = 4, PATIENCE = 20000 };

/* The memory is the guest's own again. */
static void sweep(struct sim *s, struct sim_dev *d)
{
    sim_driver_exit(d);
    for (unsigned n = 0; n < d->queues; n++)
        memset(sim_host(s, d->q[n].base), SIM_PATTERN, SIM_QUEUE_BYTES);
    d->swept = true;
    d->looks = 0;
}

static void removed(void *ctx, int code)
{
    struct sim *s = ctx;
    struct sim_dev *d = s->removing;

    if (code == -ESHUTDOWN && !s->unplugs) /* freed in the middle of it */
        return;
    if (code)
        sim_fail(s, "%s: its removal failed: %s", d->id, vm_error_text());
    if (vmm_machine_find(s->machine, d->id))
        sim_fail(s, "%s: is still there after its removal", d->id);
    sim_say(s, "%s: is out", d->id);
    sim_take_interrupts(s); /* from now on none may come */
    s->removing = NULL;
    d->gone = true;
    if (d->kind == SIM_CONSOLE && !d->sick)
        sim_stream_check(s, d, false);
    if (s->acting != d) /* else its driver is in the middle of something */
        sweep(s, d);
}

static int expected(const struct sim *s, const struct sim_dev *d)
{
    if (s->life != SIM_RUNS)
        return -EBUSY;
    if (d->gone)
        return -ENOENT;
    if (d->leaving)
        return -EALREADY;
    return s->removing ? -EBUSY : 0;
}

static void ask(struct sim *s, struct sim_dev *d)
{
    int want = expected(s, d), rc = vmm_machine_remove(s->machine, d->id, removed, s);

    if (rc != want)
        sim_fail(s, "%s: to remove it gives %d, not %d: %s", d->id, rc, want,
                 rc ? vm_error_text() : "");
    if (rc)
        return;
    sim_say(s, "%s: is taken out", d->id);
    s->removals++;
    d->leaving = true;
    s->removing = d;
}

void sim_unplug(struct sim *s)
{
    ask(s, &s->dev[sim_below(s, s->devs)]);
}

static void wait_for_all(struct sim *s)
{
    for (unsigned turns = 0; s->removing; turns++) {
        if (turns == PATIENCE)
            sim_fail(s, "%s: a removal that never ends", s->removing->id);
        sim_background(s, true);
        sim_wait_running(s);
    }
}

void sim_unplug_now(struct sim *s, struct sim_dev *d)
{
    wait_for_all(s);
    if (!d->leaving)
        ask(s, d);
    wait_for_all(s);
}

static void removed_again(void *ctx, int code)
{
    struct sim *s = ctx;

    if (code)
        sim_fail(s, "%s: its removal failed: %s", s->removing->id, vm_error_text());
    s->removing = NULL;
}

void sim_unplug_again(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        if (!s->dev[i].gone)
            continue;
        s->removing = &s->dev[i];
        if (vmm_machine_remove(s->machine, s->dev[i].id, removed_again, s))
            sim_fail(s, "%s: cannot be removed again: %s", s->dev[i].id, vm_error_text());
        for (unsigned turns = 0; s->removing && turns < 100; turns++)
            if (vm_loop_step(s->env.loop, 0) < 0)
                break;
        if (s->removing)
            sim_fail(s, "%s: a new device does not go", s->dev[i].id);
    }
}

/* Reads give all ones once it is out. */
static void look(struct sim *s, struct sim_dev *d, uint64_t addr, unsigned len)
{
    uint64_t ones = len == 8 ? UINT64_MAX : (1ULL << (8 * len)) - 1, value;
    bool gone = d->gone;

    value = sim_read(s, addr, len);
    if (gone && value != ones)
        sim_fail(s, "%s: 0x%llx reads 0x%llx after its removal", d->id, (unsigned long long)addr,
                 (unsigned long long)value);
}

void sim_unplug_touch(struct sim *s, struct sim_dev *d)
{
    uint64_t registers = d->pci ? d->bar + d->common : d->base;

    switch (sim_below(s, 6)) {
    case 0: look(s, d, d->pci ? d->ecam + 4 * sim_below(s, 64) : d->base, 4); break;
    case 1: look(s, d, registers + 4 * sim_below(s, 16), 4); break;
    case 2: sim_bus_set_status(s, d, (uint8_t)(sim_next(s) & 0x8f)); break;
    case 3: sim_bus_set_features(s, d, 1ULL << 32); break;
    case 4:
        if (d->pci)
            sim_bus_move(s, d);
        break;
    default: sim_bus_kick(s, d, sim_below(s, d->queues)); break;
    }
}

static void check_memory(struct sim *s, const struct sim_dev *d)
{
    for (unsigned n = 0; n < d->queues; n++)
        for (unsigned i = 0; i < SIM_QUEUE_BYTES; i++)
            if (*sim_host(s, d->q[n].base + i) != SIM_PATTERN)
                sim_fail(s, "%s: wrote to guest memory (queue %u, byte 0x%x) after its removal",
                         d->id, n, i);
}

/* A few times after each removal, for it is much memory; then when everything is looked at. */
void sim_unplug_check(struct sim *s, bool all)
{
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];

        if (!d->gone || s->acting == d)
            continue;
        if (!d->swept)
            sweep(s, d);
        if (!all && d->looks >= LOOKS)
            continue;
        d->looks++;
        check_memory(s, d);
        look(s, d, d->pci ? d->ecam : d->base, 4);
        look(s, d, d->pci ? d->bar + d->common : d->base + 0x70, 4);
        sim_bus_kick(s, d, 0);
    }
}
