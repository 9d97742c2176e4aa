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

/* All routes there are; under route_lock. */
static int set_routes(struct vmm_machine *m)
{
    struct hv_route *routes = calloc(MACHINE_PINS + m->calls, sizeof(*routes));
    size_t n = 0;
    int rc;

    if (!routes)
        return vm_fail(-ENOMEM, "interrupt routes: out of memory");
    for (unsigned i = 0; i < MACHINE_PINS; i++)
        if (m->pin_routed[i])
            routes[n++] = m->pin_route[i];
    for (unsigned i = 0; i < m->calls; i++)
        routes[n++] = m->call[i].route;
    rc = hv_vm_set_routes(m->vm, routes, n);
    free(routes);
    return rc;
}

/* KVM reports the end of a level interrupt of our controller only where a route of a reserved pin
 * says so. */
void vmm_machine_pin_routed(struct vdev_machine *base, struct vdev *dev, uint32_t pin,
                            const struct vdev_msi *msi)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    int rc = 0;

    if (pin >= MACHINE_PINS || !m->vm)
        return;
    vm_lock_acquire(&m->route_lock);
    if (note_route(m, pin, msi))
        rc = set_routes(m);
    vm_lock_release(&m->route_lock);
    if (rc)
        vmm_machine_broken(base, dev, vm_error_text());
}

/* ---- messages that eventfds send ---- */

static bool same(const struct hv_msi *a, const struct hv_msi *b)
{
    return a->addr == b->addr && a->data == b->data && a->devid == b->devid;
}

/* A place with this message, any that is free, or a new one. NULL: there are enough, or memory is short. */
static struct machine_call *find_call(struct vmm_machine *m, const struct hv_msi *msi)
{
    struct machine_call *free_one = NULL, *more;

    for (unsigned i = 0; i < m->calls; i++) {
        struct machine_call *c = &m->call[i];

        if (!c->used && same(&c->route.msi, msi))
            return c;
        if (!c->used)
            free_one = c;
    }
    if (free_one || m->calls == MACHINE_CALLS)
        return free_one;
    more = realloc(m->call, (m->calls + 1) * sizeof(*more));
    if (!more)
        return NULL;
    m->call = more;
    more[m->calls] = (struct machine_call){ 0 };
    return &more[m->calls++];
}

/* KVM learns of a route only where it has another one: that is dear, and a driver masks and unmasks. */
static int route_call(struct vmm_machine *m, const struct hv_msi *msi, uint32_t *ret_number)
{
    struct machine_call *c;
    struct hv_route was;
    int rc = 0;

    c = find_call(m, msi);
    if (!c)
        return -ENOSPC;
    was = c->route;
    *ret_number = MACHINE_PINS + (uint32_t)(c - m->call);
    if (!was.gsi || !same(&was.msi, msi)) {
        c->route = (struct hv_route){ .gsi = *ret_number, .type = HV_ROUTE_MSI, .msi = *msi };
        rc = set_routes(m);
    }
    if (rc && !was.gsi)
        m->calls--; /* it was the last one */
    else if (rc)
        c->route = was;
    else
        c->used = true;
    return rc;
}

static void release_call(struct vmm_machine *m, uint32_t number)
{
    vm_lock_acquire(&m->route_lock);
    m->call[number - MACHINE_PINS].used = false;
    vm_lock_release(&m->route_lock);
}

int vmm_machine_call_add(struct vdev_machine *base, const struct vdev_msi *msi, int fd,
                         uint32_t *ret_number)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);
    struct hv_msi to;
    int rc = m->vm ? varch_msi_route(m->arch, msi, &to) : -ENODEV;

    if (rc)
        return rc;
    vm_lock_acquire(&m->route_lock);
    rc = route_call(m, &to, ret_number);
    vm_lock_release(&m->route_lock);
    if (rc)
        return rc;
    rc = hv_vm_irqfd_add(m->vm, fd, *ret_number, -1);
    if (rc)
        release_call(m, *ret_number);
    return rc;
}

void vmm_machine_call_del(struct vdev_machine *base, int fd, uint32_t number)
{
    struct vmm_machine *m = container_of(base, struct vmm_machine, base);

    (void)hv_vm_irqfd_del(m->vm, fd, number);
    release_call(m, number);
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
    free(m->call);
    m->call = NULL;
    m->calls = 0;
}
