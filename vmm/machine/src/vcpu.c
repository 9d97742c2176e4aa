/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vCPU threads: run, hand exits to buses, stand still when asked.
 *
 * A kick is: want_out is set, then immediate_exit, then the signal. The thread takes immediate_exit back before it looks at the state, so
 * that no kick is lost between the look and KVM_RUN.
 */
#include "machine_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { DUMP_BYTES = 1024 };

static int kick_signal(void)
{
    return SIGRTMIN;
}

static void bus_result(struct vmm_machine *m, int rc, struct vdev *dev)
{
    if (__builtin_expect(rc == -EINPROGRESS, 0))
        machine_park(m, dev);
}

static void exit_pio(struct vmm_vcpu *v, struct hv_exit *e)
{
    uint8_t *data = e->pio.data;
    struct vdev *dev = NULL;

    v->count.pio++;
    for (uint32_t i = 0; i < e->pio.count; i++, data += e->pio.size) {
        int rc = e->pio.is_write ? vdev_bus_write(&v->pio, e->pio.port, data, e->pio.size, &dev)
                                 : vdev_bus_read(&v->pio, e->pio.port, data, e->pio.size, &dev);

        bus_result(v->machine, rc, dev);
    }
}

static void exit_mmio(struct vmm_vcpu *v, struct hv_exit *e)
{
    struct vdev *dev = NULL;
    int rc;

    v->count.mmio++;
    rc = e->mmio.is_write ? vdev_bus_write(&v->mmio, e->mmio.addr, e->mmio.data, e->mmio.len, &dev)
                          : vdev_bus_read(&v->mmio, e->mmio.addr, e->mmio.data, e->mmio.len, &dev);
    bus_result(v->machine, rc, dev);
}

/* The guest, or KVM with it, has come to a point from which it cannot go on: say everything once. */
static void crash(struct vmm_vcpu *v, const char *why)
{
    char text[DUMP_BYTES], *rest = text, *line;

    vm_log(v->machine->config.env, VM_LOG_ERROR, "the guest crashed: %s", why);
    varch_dump(v->machine->arch, v->hv, text, sizeof(text));
    while ((line = strsep(&rest, "\n")))
        vm_log(v->machine->config.env, VM_LOG_ERROR, "%s", line);
    machine_end(v->machine, VMM_END_CRASH);
}

static void exit_rare(struct vmm_vcpu *v, struct hv_exit *e)
{
    struct vmm_machine *m = v->machine;
    char why[96];

    switch (e->reason) {
    case HV_EXIT_EOI:
        if (m->irqchip)
            m->irqchip->ops->eoi(m->irqchip, e->eoi.vector);
        break;
    case HV_EXIT_SHUTDOWN: crash(v, "triple fault"); break;
    case HV_EXIT_SYSTEM_EVENT:
        machine_end(m, e->system_event.type == KVM_SYSTEM_EVENT_RESET      ? VMM_END_RESET
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
    default:
        if (varch_exit(m->arch, v->hv, e) != -ENOSYS)
            break;
        snprintf(why, sizeof(why), "unexpected exit '%s'", hv_exit_name(e->reason));
        crash(v, why);
    }
}

static void run(struct vmm_vcpu *v)
{
    struct vmm_machine *m = v->machine;
    struct hv_exit e;

    for (;;) {
        if (__builtin_expect(__atomic_load_n(&m->want_out, __ATOMIC_ACQUIRE), 0)) {
            hv_vcpu_set_immediate_exit(v->hv, false);
            if (!machine_stand_by(m))
                return;
        }
        if (__builtin_expect(hv_vcpu_run(v->hv, &e), 0)) {
            crash(v, "KVM_RUN failed");
            continue;
        }
        v->count.exits++;
        if (e.reason == HV_EXIT_PIO)
            exit_pio(v, &e);
        else if (e.reason == HV_EXIT_MMIO)
            exit_mmio(v, &e);
        else if (e.reason == HV_EXIT_INTR)
            hv_vcpu_set_immediate_exit(v->hv, false);
        else
            exit_rare(v, &e);
    }
}

static void *vcpu_thread(void *arg)
{
    struct vmm_vcpu *v = arg;

    run(v);
    return NULL;
}

static void on_kick(int signal)
{
    (void)signal; /* its arrival ends KVM_RUN */
}

int machine_vcpus_new(struct vmm_machine *m)
{
    unsigned n = m->config.arch.cpus;
    int rc = 0;

    if (n > hv_vcpus_max(m->config.hv))
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
        vdev_bus_reader_init(m->mmio, &v->mmio);
        vdev_bus_reader_init(m->pio, &v->pio);
        rc = varch_vcpu_init(m->arch, v->hv);
    }
    return rc;
}

void machine_vcpus_free(struct vmm_machine *m)
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

int machine_vcpus_start(struct vmm_machine *m)
{
    struct sigaction action = { .sa_handler = on_kick };

    if (sigaction(kick_signal(), &action, NULL))
        return vm_fail_errno("vCPU signal");
    for (unsigned i = 0; i < m->vcpus; i++) {
        struct vmm_vcpu *v = &m->vcpu[i];
        char name[16];
        int err = pthread_create(&v->thread, NULL, vcpu_thread, v);

        if (err)
            return vm_fail(-err, "thread of vCPU %u: %s", i, strerror(err));
        v->started = true;
        snprintf(name, sizeof(name), "vcpu%u", i);
        pthread_setname_np(v->thread, name);
    }
    return 0;
}

void machine_vcpus_kick(struct vmm_machine *m)
{
    /* Partner of the load in run(): the state that the vCPU shall see was stored before. */
    __atomic_store_n(&m->want_out, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < m->vcpus; i++) {
        if (!m->vcpu[i].started)
            continue;
        hv_vcpu_set_immediate_exit(m->vcpu[i].hv, true);
        pthread_kill(m->vcpu[i].thread, kick_signal());
    }
}

void machine_vcpus_join(struct vmm_machine *m)
{
    for (unsigned i = 0; i < m->vcpus; i++)
        if (m->vcpu[i].started) {
            pthread_join(m->vcpu[i].thread, NULL);
            m->vcpu[i].started = false;
        }
}
