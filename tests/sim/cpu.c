/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The guest's accesses, played through vCPU exits, and what happens between them. */
#include "sim.h"

#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum { PATIENCE = 20000 }; /* turns that a vCPU may stand still */

/* A write that a doorbell took has no answer: the fake asks for the next exit at once. */
static int guest_next(void *ctx, struct hv_vcpu *vcpu, struct hv_exit *e)
{
    struct sim_cpu *c = ctx;

    if (c->state == SIM_ISSUED)
        c->state = SIM_IDLE;
    if (c->state == SIM_IDLE) {
        hv_fake_exit_plain(e, HV_EXIT_INTR);
        return 0;
    }
    c->state = SIM_ISSUED;
    if (c->what == SIM_EOI)
        hv_fake_exit_eoi(vcpu, e, (uint8_t)c->value);
    else if (c->what == SIM_PORT)
        hv_fake_exit_pio(vcpu, e, c->is_write, (uint16_t)c->addr, (uint8_t)c->len,
                         (uint32_t)c->value);
    else
        hv_fake_exit_mmio(vcpu, e, c->is_write, c->addr, c->len, c->value);
    return 0;
}

static void guest_answer(void *ctx, struct hv_vcpu *vcpu, const struct hv_exit *e)
{
    struct sim_cpu *c = ctx;

    (void)vcpu;
    if (c->state != SIM_ISSUED || e->reason == HV_EXIT_INTR)
        return;
    if (!c->is_write && e->reason == HV_EXIT_PIO)
        c->value = vm_load_le(e->pio.data, c->len);
    if (!c->is_write && e->reason == HV_EXIT_MMIO)
        c->value = vm_load_le(e->mmio.data, c->len);
    c->state = SIM_IDLE;
}

void sim_guest_attach(struct sim *s)
{
    for (unsigned i = 0; i < s->config.arch.cpus; i++) {
        struct hv_fake_guest guest = { .answer = guest_answer,
                                       .next = guest_next,
                                       .ctx = &s->cpu[i] };

        s->cpu[i].sim = s;
        hv_fake_set_guest(vmm_machine_vcpu(s->machine, i), &guest);
    }
}

static void take_line(struct sim *s, uint32_t number, bool level)
{
    if (number >= SIM_WIRES)
        return;
    s->level[number] = level;
    s->wired[number] |= level;
}

void sim_take_interrupts(struct sim *s)
{
    struct hv_vm *vm = vmm_machine_vm(s->machine);
    struct hv_fake_irq irq;
    uint32_t n = 0;

    while (hv_fake_irq_take(vm, &irq)) {
        if (irq.type == HV_FAKE_BY_LINE)
            sim_say(s, "line %u: %d", test_irq_number(irq.irq), irq.level);
        else
            sim_say(s, "message %#x", irq.msi.data);

        if (test_message_of(&irq, &n)) {
            if (n / 32 < s->devs && s->dev[n / 32].gone)
                sim_fail(s, "%s: an interrupt after its removal", s->dev[n / 32].id);
            if (n / 32 < s->devs && n % 32 && n % 32 <= SIM_QUEUES)
                s->dev[n / 32].q[n % 32 - 1].irq = true;
        } else if (irq.type == HV_FAKE_BY_LINE) {
            take_line(s, test_irq_number(irq.irq), irq.level);
        } else { /* from our controller */
            n = irq.msi.data & 0xff;
            if (n >= SIM_VECTOR && n < SIM_VECTOR + SIM_WIRES)
                s->wired[n - SIM_VECTOR] = true;
        }
    }
    if (hv_fake_irqs_lost(vm))
        sim_fail(s, "an interrupt storm: over 4096 of them wait");
}

static void paused(void *ctx, int code)
{
    struct sim *s = ctx;

    if (code)
        sim_fail(s, "a pause failed: %s", vm_error_text());
    s->life = SIM_PAUSED;
    s->quiet_hash = sim_heap_hash(s);
}

void sim_pause(struct sim *s)
{
    if (s->removing) {
        if (vmm_machine_pause(s->machine, paused, s) != -EBUSY)
            sim_fail(s, "a pause while %s is being removed", s->removing->id);
        return;
    }
    s->life = SIM_PAUSING;
    s->pauses++;
    sim_say(s, "pause");
    if (vmm_machine_pause(s->machine, paused, s))
        sim_fail(s, "pause: %s", vm_error_text());
}

/* A machine cannot be saved whose requests are in the log of a process that is not there. */
static bool all_whole(const struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++)
        if (!sim_far_is_whole(&s->dev[i]))
            return false;
    return true;
}

static void resume(struct sim *s)
{
    if (sim_heap_hash(s) != s->quiet_hash)
        sim_fail(s, "guest memory changed while the machine was paused");
    if (all_whole(s) && sim_one_in(s, 2))
        sim_reload(s);
    sim_say(s, "resume");
    if (vmm_machine_resume(s->machine))
        sim_fail(s, "resume: %s", vm_error_text());
    s->life = SIM_RUNS;
}

static void loop(struct sim *s, uint64_t ns)
{
    if (vm_loop_step(s->env.loop, ns) < 0)
        sim_fail(s, "the loop failed: %s", vm_error_text());
    sim_far_tend(s);
}

void sim_background(struct sim *s, bool stuck)
{
    uint32_t choice = sim_below(s, 64);

    if (s->life != SIM_RUNS || choice < 4)
        for (unsigned i = 0; i < s->config.arch.cpus; i++)
            vmm_machine_step(s->machine, i);
    if (stuck)
        loop(s, sim_below(s, 100000));
    else if (choice < 24)
        loop(s, choice & 1 ? 0 : sim_below(s, 20000));
    sim_take_interrupts(s);
    if (s->life == SIM_RUNS && !stuck && sim_one_in(s, 512))
        sim_pause(s);
    else if (s->life == SIM_PAUSED && sim_one_in(s, 4))
        resume(s);
    else if (s->unplugs && sim_one_in(s, 4096))
        sim_unplug(s);
    else if (s->far_lies && sim_one_in(s, 256))
        sim_far_die(s);
}

void sim_wait_running(struct sim *s)
{
    for (unsigned turns = 0; s->life != SIM_RUNS; turns++) {
        if (turns == PATIENCE)
            sim_fail(s, "a %s never ended", s->life == SIM_PAUSED ? "pause's rest" : "pause");
        sim_background(s, true);
    }
}

void sim_pass(struct sim *s, uint64_t ns)
{
    uint64_t end = vm_loop_now_ns(s->env.loop) + ns;

    while (vm_loop_now_ns(s->env.loop) < end) {
        loop(s, end - vm_loop_now_ns(s->env.loop));
        sim_take_interrupts(s);
    }
}

static uint64_t access(struct sim *s, struct sim_cpu what)
{
    struct sim_cpu *c = &s->cpu[sim_below(s, s->config.arch.cpus)];
    unsigned number = (unsigned)(c - s->cpu), still = 0;

    what.sim = s;
    what.state = SIM_WANTED;
    *c = what;
    while (c->state != SIM_IDLE) {
        bool went = vmm_machine_step(s->machine, number) == 1;

        still = went ? 0 : still + 1;
        if (still == PATIENCE)
            sim_fail(s, "vCPU %u never came back from its access to 0x%llx", number,
                     (unsigned long long)what.addr);
        if (c->state == SIM_IDLE && sim_below(s, 4))
            break;
        sim_background(s, !went);
    }
    sim_wait_running(s);
    s->digest = (s->digest << 5 | s->digest >> 59) ^ c->value ^ what.addr;
    return c->value;
}

uint64_t sim_read(struct sim *s, uint64_t addr, unsigned len)
{
    return access(s, (struct sim_cpu){ .addr = addr, .len = len });
}

void sim_write(struct sim *s, uint64_t addr, unsigned len, uint64_t value)
{
    access(s, (struct sim_cpu){ .is_write = true, .addr = addr, .len = len, .value = value });
}

uint64_t sim_in(struct sim *s, uint16_t port, unsigned len)
{
    return access(s, (struct sim_cpu){ .what = SIM_PORT, .addr = port, .len = len });
}

void sim_out(struct sim *s, uint16_t port, unsigned len, uint32_t value)
{
    access(s, (struct sim_cpu){
                  .what = SIM_PORT, .is_write = true, .addr = port, .len = len, .value = value });
}

uint64_t sim_register(struct sim *s, uint32_t at)
{
    return TEST_PORTS ? sim_in(s, (uint16_t)at, TEST_REG_BYTES) : sim_read(s, at, TEST_REG_BYTES);
}

void sim_set_register(struct sim *s, uint32_t at, uint32_t value)
{
    if (TEST_PORTS)
        sim_out(s, (uint16_t)at, TEST_REG_BYTES, value);
    else
        sim_write(s, at, TEST_REG_BYTES, value);
}

void sim_eoi(struct sim *s, uint8_t vector)
{
    access(s, (struct sim_cpu){ .what = SIM_EOI, .is_write = true, .len = 1, .value = vector });
}
