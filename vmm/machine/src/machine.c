/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Creation and end of a machine, in the order in which KVM is cheap and correct: VM, memory slots,
 * interrupt controller, vCPUs, devices. */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/vhost/objects.h>

static const struct vdev_machine_ops ops = {
    .event = vmm_machine_event,
    .doorbell_add = vmm_machine_doorbell_add,
    .doorbell_del = vmm_machine_doorbell_del,
    .memory_add = vmm_machine_device_memory_add,
    .memory_del = vmm_machine_device_memory_del,
    .unpark = vmm_machine_unpark,
    .pin_routed = vmm_machine_pin_routed,
    .late_writes = vmm_machine_late_writes,
    .call_add = vmm_machine_call_add,
    .call_del = vmm_machine_call_del,
    .broken = vmm_machine_broken,
};

/* Loops and locks: what needs no hypervisor. */
static int set_up(struct vmm_machine *m, const struct vmm_machine_config *config)
{
    pthread_condattr_t clock;
    int rc;

    m->base.ops = &ops;
    m->config = *config;
    m->devices_end = &m->devices;
    vm_lock_init(&m->late_lock, VM_RANK_MACHINE, "late writes");
    vm_lock_init(&m->slot_lock, VM_RANK_LEAF, "memory slots");
    pthread_mutex_init(&m->run_lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&m->run_change, &clock);
    pthread_condattr_destroy(&clock);
    m->io_env = *config->env;
    rc = vhost_objects_new(&m->base.objects);
    if (!rc && config->env->loop)
        rc = vm_jobs_new(config->env->loop, &m->jobs);
    if (rc || config->stepwise)
        return rc;
    rc = vm_loop_new(config->env, 0, &m->io_loop);
    m->io_env.loop = m->io_loop;
    m->io_env.keys_loop =
        config->env->loop; /* a disk that hangs shall not take the escape key with it */
    return rc;
}

static int make_buses(struct vmm_machine *m)
{
    int rc = vdev_bus_new(&m->io_env, "memory", varch_mmio_limit(m->arch), &m->mmio);

    return rc ? rc : vdev_bus_new(&m->io_env, "ports", varch_pio_limit(m->arch), &m->pio);
}

static int make_vm(struct vmm_machine *m)
{
    struct hv_vm_config config;
    int rc = 0;

    if (m->config.hv) {
        varch_vm_config(m->config.hv, &m->config.arch, &config);
        rc = hv_vm_new(m->config.hv, &config, &m->vm);
    }
    if (!rc)
        rc = varch_new(m->config.env, m->vm, &m->config.arch, &m->arch);
    if (!rc && m->vm)
        rc = varch_vm_setup(m->arch);
    return rc;
}

static int make_cpus(struct vmm_machine *m)
{
    bool last = varch_irqchip_last(m->arch);
    int rc = 0;

    if (!m->vm)
        return 0;
    if (!last)
        rc = varch_irqchip_new(m->arch);
    if (!rc)
        rc = vmm_machine_vcpus_new(m);
    if (!rc && last)
        rc = varch_irqchip_new(m->arch);
    return rc;
}

static int load(struct vmm_machine *m)
{
    struct varch_payload payload = { .kernel = m->config.kernel,
                                     .initrd = m->config.initrd,
                                     .overlay = m->config.overlay,
                                     .cmdline = m->config.cmdline };
    int rc = vmm_machine_firmware(m, &payload.devices, &payload.device_count);

    if (rc)
        return rc;
    rc = varch_load(m->arch, &m->view, &payload);
    if (!rc)
        rc = varch_boot(m->arch, m->vcpu[0].hv);
    free((void *)payload.devices);
    return rc;
}

int vmm_machine_new(const struct vmm_machine_config *config, struct vmm_machine **ret_machine)
{
    struct vmm_machine *m = calloc(1, sizeof(*m));
    int rc;

    if (!m)
        return vm_fail(-ENOMEM, "machine: out of memory");
    m->sigbus_event = -1;
    rc = set_up(m, config);
    if (!rc)
        rc = vmm_machine_filters_new(m);
    if (!rc)
        rc = make_vm(m);
    if (!rc)
        rc = vmm_machine_irq_new(m);
    if (!rc)
        rc = vmm_machine_memory_new(m);
    if (!rc)
        rc = make_buses(m);
    if (!rc)
        rc = make_cpus(m);
    if (!rc)
        rc = vmm_machine_devices_new(m);
    if (!rc && m->vm && !config->blank)
        rc = load(m);
    if (rc) {
        vmm_machine_destroy(m);
        return rc;
    }
    *ret_machine = m;
    return 0;
}

void vmm_machine_destroy(struct vmm_machine *m)
{
    struct vm_error error;

    vm_error_save(0, &error);
    vmm_machine_devices_free(m);
    vmm_machine_vcpus_free(m);
    if (m->mmio)
        vdev_bus_free(m->mmio);
    if (m->pio)
        vdev_bus_free(m->pio);
    vmm_machine_irq_free(m);
    vmm_machine_memory_free(m);
    varch_free(m->arch);
    hv_vm_free(m->vm);
    vm_loop_free(m->io_loop);
    vm_jobs_free(m->jobs);
    vmm_machine_filters_free(m);
    free(m->io_next);
    pthread_cond_destroy(&m->run_change);
    pthread_mutex_destroy(&m->run_lock);
    vm_lock_destroy(&m->late_lock);
    vm_lock_destroy(&m->slot_lock);
    vhost_objects_free(m->base.objects);
    free(m);
    vm_error_restore(&error);
}

void vmm_machine_walk_bus(struct vmm_machine *m, bool pio,
                          void (*visit)(void *ctx, uint64_t base, uint64_t size, const char *name),
                          void *ctx)
{
    vdev_bus_walk(pio ? m->pio : m->mmio, visit, ctx);
}

struct vpci_root *vmm_machine_pci(struct vmm_machine *m, unsigned segment)
{
    return segment < m->config.arch.segments ? m->root[segment] : NULL;
}

unsigned vmm_machine_ram(struct vmm_machine *m, struct varch_range *ret_rows, unsigned max)
{
    return varch_ram(m->arch, ret_rows, max);
}

unsigned vmm_machine_extra(struct vmm_machine *m, struct varch_range *ret_rows, unsigned max)
{
    return varch_extra(m->arch, ret_rows, max);
}

struct hv_vm *vmm_machine_vm(struct vmm_machine *m)
{
    return m->vm;
}

struct hv_vcpu *vmm_machine_vcpu(struct vmm_machine *m, unsigned cpu)
{
    return cpu < m->vcpus ? m->vcpu[cpu].hv : NULL;
}

struct gm_space *vmm_machine_memory(struct vmm_machine *m)
{
    return m->memory;
}

int vmm_machine_acpi(struct vmm_machine *m, struct vacpi_image *ret_image)
{
    struct varch_payload payload = { 0 };
    int rc = vmm_machine_firmware(m, &payload.devices, &payload.device_count);

    if (rc)
        return rc;
    rc = varch_acpi(m->arch, &payload, ret_image);
    free((void *)payload.devices);
    return rc;
}

int vmm_machine_dtb(struct vmm_machine *m, struct vm_buffer *ret_blob)
{
    struct varch_payload payload = { .cmdline = m->config.cmdline, .overlay = m->config.overlay };
    int rc = vmm_machine_firmware(m, &payload.devices, &payload.device_count);

    if (rc)
        return rc;
    rc = varch_dtb(m->arch, &payload, ret_blob);
    free((void *)payload.devices);
    return rc;
}

int vmm_machine_abi_boot(struct vmm_machine *m, struct vm_report *report)
{
    struct varch_payload payload = { .cmdline = m->config.cmdline, .overlay = m->config.overlay };
    int rc = vmm_machine_firmware(m, &payload.devices, &payload.device_count);

    if (rc)
        return rc;
    rc = varch_abi_boot(m->arch, &m->view, m->vcpu[0].hv, &payload, report);
    free((void *)payload.devices);
    return rc;
}

int vmm_machine_abi_vcpu(struct vmm_machine *m, unsigned cpu, struct vm_report *report)
{
    return varch_abi_vcpu(m->arch, m->vcpu[cpu].hv, report);
}

struct vm_jobs *vmm_machine_jobs(struct vmm_machine *m)
{
    return m->jobs;
}

void vmm_machine_get_info(struct vmm_machine *m, struct vmm_machine_info *ret_info)
{
    struct vmm_machine_info info = { .cpus = m->config.arch.cpus,
                                     .memory_bytes = m->config.arch.ram_bytes };

    pthread_mutex_lock(&m->run_lock);
    info.running = m->state == MACHINE_RUNNING;
    info.paused = m->state == MACHINE_PAUSED && !m->move.ours;
    info.end = m->end;
    pthread_mutex_unlock(&m->run_lock);
    info.brokens = vmm_sigbus_broken(m, info.broken, VMM_BROKEN_MAX);
    /* Counters of running threads: each is exact, the sum nearly so. */
    for (unsigned i = 0; i < m->vcpus; i++) {
        struct vmm_vcpu *v = &m->vcpu[i];

        uint64_t pio = __atomic_load_n(&v->count.pio, __ATOMIC_RELAXED);
        uint64_t mmio = __atomic_load_n(&v->count.mmio, __ATOMIC_RELAXED);

        info.exits += pio + mmio + __atomic_load_n(&v->count.others, __ATOMIC_RELAXED);
        info.exits_pio += pio;
        info.exits_mmio += mmio;
        info.unclaimed += __atomic_load_n(&v->mmio.unclaimed, __ATOMIC_RELAXED) +
                          __atomic_load_n(&v->pio.unclaimed, __ATOMIC_RELAXED);
    }
    if (m->config.env->loop)
        info.now_ns = vm_loop_now_ns(m->config.env->loop);
    *ret_info = info;
}
