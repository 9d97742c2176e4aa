/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts, doorbells and late writes: what joins devices and the hypervisor. */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>

#include <vmm/base/error.h>

/* Wired lines. An edge goes through as it is; a level is up while one of its drivers is. */
static void drive(struct machine_gsi *gsi, bool level)
{
    struct vmm_machine *m = gsi->machine;

    if (gsi->to)
        vdev_irq_set(gsi->to, level);
    else if (m->vm)
        hv_vm_irq_line(m->vm, varch_irq_code(m->arch, gsi->number), level);
}

static void line_set(struct vdev_irq *irq, bool level)
{
    struct machine_line *line = container_of(irq, struct machine_line, irq);
    struct machine_gsi *gsi = line->gsi;
    struct vmm_machine *m = gsi->machine;

    /* The lock is held while the controller learns of it, or two drivers' changes could arrive
     * swapped. */
    vm_lock_acquire(&m->irq_lock);
    if (line->level != level) {
        line->level = level;
        gsi->up = level ? gsi->up + 1 : gsi->up - 1;
        if (gsi->up == (level ? 1U : 0U))
            drive(gsi, level);
    }
    vm_lock_release(&m->irq_lock);
}

int vmm_machine_irq_line(struct vmm_machine *m, uint32_t number, struct vdev_irq **ret_irq)
{
    struct machine_line *line;

    if (number >= m->gsis)
        return vm_fail(-EINVAL, "interrupt %u: this machine has %u", number, m->gsis);
    line = calloc(1, sizeof(*line));
    if (!line)
        return vm_fail(-ENOMEM, "interrupt %u: out of memory", number);
    line->irq.set = line_set;
    line->irq.number = number;
    line->gsi = &m->gsi[number];
    line->next = m->lines;
    m->lines = line;
    *ret_irq = &line->irq;
    return 0;
}

void vmm_machine_irq_line_free(struct vmm_machine *m, struct vdev_irq *irq)
{
    struct machine_line **at = &m->lines, *line;

    if (!irq)
        return;
    line_set(irq, false);
    line = container_of(irq, struct machine_line, irq);
    while (*at != line)
        at = &(*at)->next;
    *at = line->next;
    free(line);
}

/* Inputs of the controller take the place of the kernel's. */
void vmm_machine_irq_controller(struct vmm_machine *m, struct vdev *dev)
{
    m->irqchip = dev;
    for (unsigned i = 0; i < m->gsis; i++)
        m->gsi[i].to = dev->ops->irq_line(dev, i);
}

static int msi_send(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    return varch_msi_send(container_of(sink, struct vmm_machine, msi)->arch, msi);
}

/* True: the routes KVM has must change. */
static bool note_route(struct vmm_machine *m, uint32_t pin, const struct vdev_msi *msi)
{
    struct hv_route *r = &m->pin_route[pin];
    bool same = m->pin_routed[pin] == (msi != NULL) &&
                (!msi || (r->msi.addr == msi->addr && r->msi.data == msi->data));

    m->pin_routed[pin] = msi;
    if (msi)
        *r = (struct hv_route){ .gsi = pin,
                                .type = HV_ROUTE_MSI,
                                .msi = { .addr = msi->addr, .data = msi->data } };
    return !same;
}

/* KVM reports the end of a level interrupt of our controller only where a route of a reserved pin
 * says so. */
void vmm_machine_pin_routed(struct vdev_machine *base, struct vdev *dev, uint32_t pin,
                            const struct vdev_msi *msi)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_route routes[MACHINE_PINS];
    size_t n = 0;
    int rc = 0;

    if (pin >= MACHINE_PINS || !m->vm)
        return;
    vm_lock_acquire(&m->route_lock);
    if (note_route(m, pin, msi)) {
        for (unsigned i = 0; i < MACHINE_PINS; i++)
            if (m->pin_routed[i])
                routes[n++] = m->pin_route[i];
        rc = hv_vm_set_routes(m->vm, routes, n);
    }
    vm_lock_release(&m->route_lock);
    if (rc)
        vmm_machine_broken(base, dev, vm_error_text());
}

int vmm_machine_doorbell_add(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                             bool match, uint64_t value, int fd)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_ioeventfd e = {
        .addr = addr, .datamatch = value, .len = len, .fd = fd, .pio = pio, .match = match
    };

    return m->vm ? hv_vm_ioeventfd_add(m->vm, &e) : -ENODEV;
}

void vmm_machine_doorbell_del(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                              bool match, uint64_t value, int fd)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_ioeventfd e = {
        .addr = addr, .datamatch = value, .len = len, .fd = fd, .pio = pio, .match = match
    };

    if (m->vm)
        hv_vm_ioeventfd_del(m->vm, &e);
}

/* Where the hypervisor cannot keep writes back, each exits as ever. */
void vmm_machine_late_writes(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    if (m->vm)
        (void)hv_vm_coalesced_add(m->vm, addr, len, pio);
}

int vmm_machine_irq_new(struct vmm_machine *m)
{
    m->gsis = varch_irqs(m->arch);
    vm_lock_init(&m->irq_lock, VM_RANK_LINE, "interrupt lines");
    vm_lock_init(&m->route_lock, VM_RANK_LEAF, "interrupt routes");
    m->gsi = calloc(m->gsis, sizeof(*m->gsi));
    if (!m->gsi)
        return vm_fail(-ENOMEM, "interrupts: out of memory");
    for (unsigned i = 0; i < m->gsis; i++)
        m->gsi[i] = (struct machine_gsi){ .machine = m, .number = i };
    m->msi.send = msi_send;
    return 0;
}

void vmm_machine_irq_free(struct vmm_machine *m)
{
    while (m->lines) {
        struct machine_line *next = m->lines->next;

        free(m->lines);
        m->lines = next;
    }
    if (m->gsi) {
        vm_lock_destroy(&m->irq_lock);
        vm_lock_destroy(&m->route_lock);
    }
    free(m->gsi);
    m->gsi = NULL;
}
