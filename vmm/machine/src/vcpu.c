/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vCPUs: run, hand exits to buses, stand still when asked. Each has a thread, or (stepwise
 * machines) somebody who calls vmm_machine_step().
 *
 * A kick is: want_out is set, then immediate_exit, then the signal. The thread takes immediate_exit
 * back before it looks at want_out (all of them sequentially consistent), so that no kick is lost
 * between the look and KVM_RUN.
 */
#include "machine_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { DUMP_BYTES = 1024 };

static void crash(struct vmm_vcpu *v, const char *why);

static int kick_signal(void)
{
    return SIGRTMIN;
}

/* Written by one thread, read by any. */
static void count(uint64_t *counter)
{
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* The answer goes to the vCPU: an address of a local variable would cost every exit a stack
 * guard. */
static inline int access_port(struct vmm_vcpu *v, const struct hv_exit *e, uint8_t *data)
{
    return e->pio.is_write ? vdev_bus_write(&v->pio, e->pio.port, data, e->pio.size, &v->answered)
                           : vdev_bus_read(&v->pio, e->pio.port, data, e->pio.size, &v->answered);
}

static void __attribute__((noinline)) exit_pio_rest(struct vmm_vcpu *v, struct hv_exit *e, int rc)
{
    uint8_t *data = e->pio.data;

    for (uint32_t i = 0;; rc = access_port(v, e, data)) {
        i++;
        data += e->pio.size;
        if (__builtin_expect(rc == -EINPROGRESS, 0)) {
            vmm_machine_park(v, v->answered);
            if (v->parked_on) { /* the rest of the string when the device is done */
                v->rest = *e;
                v->rest.pio.data = data;
                v->rest.pio.count = e->pio.count - i;
                return;
            }
        }
        if (i >= e->pio.count)
            return;
    }
}

static inline void exit_pio(struct vmm_vcpu *v, struct hv_exit *e)
{
    int rc;

    if (!e->pio.count) /* of a string that was parked at its end */
        return;
    rc = access_port(v, e, e->pio.data);
    if (__builtin_expect(e->pio.count > 1 || rc == -EINPROGRESS, 0))
        exit_pio_rest(v, e, rc);
}

static bool is_rom(struct vmm_machine *m, uint64_t addr)
{
    struct gm_map *map = gm_space_map(m->memory);
    const struct gm_region *region = gm_map_find(map, addr);
    bool rom = region && gm_region_read_only(region);

    gm_map_unref(map);
    return rom;
}

/* A write to read-only memory is an exit. Where a device lies there, too, it is the device's (flash takes its commands so);
 * where none does, the guest has lost its way. */
static void __attribute__((noinline)) exit_mmio_rest(struct vmm_vcpu *v, struct hv_exit *e, int rc)
{
    char why[96];

    if (rc == -ENODEV && vmm_sigbus_access(v->machine, e, e->mmio.data))
        return;
    if (rc == -EINPROGRESS) {
        v->rest.pio.count = 0;
        vmm_machine_park(v, v->answered);
    } else if (rc == -ENODEV && e->mmio.is_write && is_rom(v->machine, e->mmio.addr)) {
        snprintf(why, sizeof(why), "a write of %u bytes to read-only memory at %#llx", e->mmio.len,
                 (unsigned long long)e->mmio.addr);
        crash(v, why);
    }
}

static void exit_mmio(struct vmm_vcpu *v, struct hv_exit *e)
{
    uint8_t *data = e->mmio.data;
    int rc;

    rc = e->mmio.is_write ? vdev_bus_write(&v->mmio, e->mmio.addr, data, e->mmio.len, &v->answered)
                          : vdev_bus_read(&v->mmio, e->mmio.addr, data, e->mmio.len, &v->answered);
    if (__builtin_expect(rc, 0))
        exit_mmio_rest(v, e, rc);
}

/* Writes that KVM kept back (vdev_machine_ops.late_writes), all vCPUs' in one ring. One is taken off the ring when its
 * device has it: a vCPU that finds the ring empty need not wait for another one that carries its own write. */
static void __attribute__((noinline)) take_late_writes(struct vmm_vcpu *v)
{
    struct vmm_machine *m = v->machine;
    struct hv_coalesced w;

    vm_lock_acquire(&m->late_lock);
    while (hv_vcpu_coalesced_next(v->hv, &w)) {
        (void)vdev_bus_write(w.pio ? &v->pio : &v->mmio, w.addr, w.data, w.len, NULL);
        hv_vcpu_coalesced_done(v->hv);
    }
    vm_lock_release(&m->late_lock);
}

/* The guest, or KVM with it, has come to a point from which it cannot go on: say everything
 * once. */
static void crash(struct vmm_vcpu *v, const char *why)
{
    char text[DUMP_BYTES], *rest = text, *line;

    vm_log(v->machine->config.env, VM_LOG_ERROR, "the guest crashed: %s", why);
    text[0] = 0;
    varch_dump(v->machine->arch, v->hv, text, sizeof(text));
    while ((line = strsep(&rest, "\n")))
        vm_log(v->machine->config.env, VM_LOG_ERROR, "%s", line);
    vmm_machine_end(v->machine, VMM_END_CRASH);
}

static void exit_rare(struct vmm_vcpu *v, struct hv_exit *e)
{
    struct vmm_machine *m = v->machine;
    char why[96];

    switch (e->reason) {
    case HV_EXIT_INTR: hv_vcpu_set_immediate_exit(v->hv, false); break;
    case HV_EXIT_EOI:
        if (m->irqchip && m->irqchip->ops->eoi)
            m->irqchip->ops->eoi(m->irqchip, e->eoi.vector);
        break;
    case HV_EXIT_SHUTDOWN: crash(v, "triple fault"); break;
    case HV_EXIT_SYSTEM_EVENT:
        vmm_machine_end(m, e->system_event.type == KVM_SYSTEM_EVENT_RESET      ? VMM_END_RESET
                           : e->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? VMM_END_POWEROFF
                                                                               : VMM_END_CRASH);
        break;
    case HV_EXIT_INTERNAL_ERROR:
        snprintf(
            why, sizeof(why),
            "KVM internal error %u, first data %#llx (an instruction that KVM cannot emulate?)",
            e->internal_error.suberror,
            e->internal_error.count ? (unsigned long long)e->internal_error.data[0] : 0ULL);
        crash(v, why);
        break;
    case HV_EXIT_FAIL_ENTRY:
        snprintf(why, sizeof(why), "the hardware refuses this vCPU's state, reason %#llx",
                 (unsigned long long)e->fail_entry.reason);
        crash(v, why);
        break;
    case HV_EXIT_MEMORY_FAULT:
        if (vmm_sigbus_mend(v, e->memory_fault.gpa))
            break;
        __attribute__((fallthrough));
    default:
        if (varch_exit(m->arch, v->hv, e) != -ENOSYS)
            break;
        snprintf(why, sizeof(why), "unexpected exit '%s'", hv_exit_name(e->reason));
        crash(v, why);
    }
}

static void enter_failed(struct vmm_vcpu *v, int rc)
{
    char why[96];

    if (rc == -EFAULT && vmm_sigbus_mend(v, VMM_NO_GPA))
        return;
    snprintf(why, sizeof(why), "KVM_RUN: %s", strerror(-rc));
    crash(v, why);
}

static inline void handle(struct vmm_vcpu *v, struct hv_exit *e)
{
    if (__builtin_expect(hv_vcpu_coalesced_any(v->hv), 0))
        take_late_writes(v);
    if (e->reason == HV_EXIT_PIO) {
        count(&v->count.pio);
        exit_pio(v, e);
    } else if (e->reason == HV_EXIT_MMIO) {
        count(&v->count.mmio);
        exit_mmio(v, e);
    } else {
        count(&v->count.others);
        exit_rare(v, e);
    }
}

/* KVM leaves an exit half done until the vCPU is entered again: finish it, and what it may bring on
 * (an access across two pages comes as two exits), without letting the guest run. */
static void settle(struct vmm_vcpu *v)
{
    struct hv_exit e;

    do {
        hv_vcpu_set_immediate_exit(v->hv, true);
        if (hv_vcpu_run(v->hv, &e))
            break; /* the next run says why */
        handle(v, &e);
    } while (e.reason != HV_EXIT_INTR && !v->parked_on && !vmm_machine_has_ended(v->machine));
    hv_vcpu_set_immediate_exit(v->hv, false);
}

static bool wanted_out(const struct vmm_machine *m)
{
    return __builtin_expect(__atomic_load_n(&m->want_out, __ATOMIC_SEQ_CST), 0);
}

static void run(struct vmm_vcpu *v)
{
    struct vmm_machine *m = v->machine;
    struct hv_exit e;
    int rc;

    for (;;) {
        if (wanted_out(m)) {
            if (!vmm_machine_has_ended(m))
                settle(v);
            if (!vmm_machine_stand_by(m))
                return;
        }
        rc = hv_vcpu_run(v->hv, &e);
        if (__builtin_expect(rc, 0)) {
            enter_failed(v, rc);
            continue;
        }
        handle(v, &e);
    }
}

/* --- stepwise machines --- */

/* 0: it is out already. */
static int step_out(struct vmm_vcpu *v)
{
    if (v->out)
        return 0;
    settle(v);
    if (v->parked_on)
        return 1;
    pthread_mutex_lock(&v->machine->run_lock);
    v->out = true;
    vmm_machine_vcpu_out(v->machine);
    pthread_mutex_unlock(&v->machine->run_lock);
    return 1;
}

int vmm_machine_step(struct vmm_machine *m, unsigned cpu)
{
    struct vmm_vcpu *v = cpu < m->vcpus ? &m->vcpu[cpu] : NULL;
    struct hv_exit e;
    int rc;

    if (!v || !m->config.stepwise)
        return vm_fail(-EINVAL, "vCPU %u cannot be stepped: it has a thread, or is not there", cpu);
    if (vmm_machine_has_ended(m) || m->state == MACHINE_BUILT)
        return 0;
    if (v->parked_on) {
        if (__atomic_load_n(&v->parked_on->parked, __ATOMIC_ACQUIRE))
            return 0;
        v->parked_on = NULL;
        pthread_mutex_lock(&m->run_lock);
        vmm_machine_parked(v);
        pthread_mutex_unlock(&m->run_lock);
        exit_pio(v, &v->rest);
        return 1;
    }
    if (wanted_out(m))
        return step_out(v);
    rc = hv_vcpu_run(v->hv, &e);
    if (rc) {
        enter_failed(v, rc);
        return 1;
    }
    handle(v, &e);
    return 1;
}

/* --- threads --- */

static void *vcpu_thread(void *arg)
{
    struct vmm_vcpu *v = arg;
    char name[16];

    /* By the thread itself: from outside it would be a file of /proc. */
    snprintf(name, sizeof(name), "vcpu%u", (unsigned)(v - v->machine->vcpu));
    pthread_setname_np(pthread_self(), name);
    if (vmm_machine_filter_load(v->machine->filter.vcpu, name)) {
        vm_log(v->machine->config.env, VM_LOG_ERROR, "%s", vm_error_text());
        vmm_machine_end(v->machine, VMM_END_FAILED);
    }
    run(v);
    return NULL;
}

static void on_kick(int signal)
{
    (void)signal; /* its arrival ends KVM_RUN */
}

int vmm_machine_vcpus_new(struct vmm_machine *m)
{
    unsigned n = m->config.arch.cpus;
    int rc = 0;

    if (!n)
        return vm_fail(-EINVAL, "0 vCPUs: a machine needs at least one");
    if (n > 1 && n > hv_vcpus_max(m->config.hv)) /* one there is everywhere */
        return vm_fail(-EINVAL, "%u vCPUs: this host's KVM allows at most %u", n,
                       hv_vcpus_max(m->config.hv));
    m->vcpu = calloc(n, sizeof(*m->vcpu));
    if (!m->vcpu)
        return vm_fail(-ENOMEM, "vCPUs: out of memory");
    for (; !rc && m->vcpus < n; m->vcpus++) {
        struct vmm_vcpu *v = &m->vcpu[m->vcpus];

        rc = hv_vcpu_new(m->vm, m->vcpus, &v->hv);
        if (rc)
            break;
        v->machine = m;
        v->mended_gpa = VMM_NO_GPA;
        vdev_bus_reader_init(m->mmio, &v->mmio);
        vdev_bus_reader_init(m->pio, &v->pio);
        rc = varch_vcpu_init(m->arch, v->hv);
    }
    return rc;
}

void vmm_machine_vcpus_free(struct vmm_machine *m)
{
    for (unsigned i = 0; i < m->vcpus; i++) {
        vdev_bus_reader_exit(&m->vcpu[i].mmio);
        vdev_bus_reader_exit(&m->vcpu[i].pio);
        hv_vcpu_free(m->vcpu[i].hv);
    }
    m->vcpus = 0;
    free(m->vcpu);
    m->vcpu = NULL;
}

static int start_thread(struct vmm_vcpu *v, unsigned number)
{
    int err;

    /* Under the lock: others that started before may end the machine and kick this one. */
    pthread_mutex_lock(&v->machine->run_lock);
    err = pthread_create(&v->thread, NULL, vcpu_thread, v);
    v->started = !err;
    pthread_mutex_unlock(&v->machine->run_lock);
    if (err)
        return vm_fail(-err, "thread of vCPU %u: %s: raise the limit of processes (ulimit -u)",
                       number, strerror(err));
    return 0;
}

int vmm_machine_vcpus_start(struct vmm_machine *m)
{
    struct sigaction action = { .sa_handler = on_kick };
    int rc = 0;

    if (sigaction(kick_signal(), &action, NULL))
        return vm_fail_errno("vCPU signal");
    for (unsigned i = 0; !rc && i < m->vcpus; i++)
        rc = start_thread(&m->vcpu[i], i);
    return rc;
}

void vmm_machine_vcpus_kick(struct vmm_machine *m)
{
    __atomic_store_n(&m->want_out, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < m->vcpus; i++) {
        if (!m->vcpu[i].started || m->vcpu[i].leaving)
            continue;
        hv_vcpu_set_immediate_exit(m->vcpu[i].hv, true);
        if (!pthread_equal(m->vcpu[i].thread, pthread_self()))
            pthread_kill(m->vcpu[i].thread, kick_signal());
        else /* who runs this is out already, and never goes in again once there is an end */
            m->vcpu[i].leaving = m->end != VMM_END_NONE;
    }
}

void vmm_machine_vcpus_join(struct vmm_machine *m)
{
    for (unsigned i = 0; i < m->vcpus; i++) {
        struct vmm_vcpu *v = &m->vcpu[i];
        bool started;

        /* From here on nobody kicks it: its handle ends with the join. One last kick, for who ended
         * the machine may be on its way to give it. */
        pthread_mutex_lock(&m->run_lock);
        vmm_machine_vcpus_kick(m);
        started = v->started;
        v->started = false;
        pthread_mutex_unlock(&m->run_lock);
        if (started)
            pthread_join(v->thread, NULL);
    }
}
