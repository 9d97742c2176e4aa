/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's interrupts and event fds: irqchip, routes, irqfds, ioeventfds, and the list of what
 * arrived. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

#include "fake_private.h"

enum {
    GSIS = 4096, /* KVM_MAX_IRQ_ROUTES */
    IOAPIC_PINS = 24,
    CHIP_IOAPIC = 2, /* KVM_IRQCHIP_IOAPIC; uapi/asm/kvm.h of x86 */
};

static bool has_controller(const struct fake_vm *v)
{
    return v->has_irqchip || v->devices.count;
}

/* A kernel irqchip begins with each pin of the IOAPIC routed. */
static int default_routes(struct fake_vm *v)
{
    for (uint32_t i = 0; i < IOAPIC_PINS; i++) {
        struct hv_route *r = hv_fake_list_add(&v->routes);

        if (!r)
            return vm_fail(-ENOMEM, "no memory for routes");
        r->gsi = i;
        r->type = HV_ROUTE_PIN;
        r->pin.chip = CHIP_IOAPIC;
        r->pin.pin = i;
    }
    return 0;
}

int hv_fake_op_irqchip_new(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_IRQCHIP_NEW);
    struct fake_vm *v = fake_vm_of(vm);

    if (rc)
        return hv_fake_leave(vm->hv, rc);
    if (v->has_irqchip)
        rc = vm_fail(-EEXIST, "the VM has an irqchip");
    else if (v->vcpu_ids.count || (kind == HV_IRQCHIP_SPLIT && pins > GSIS))
        rc = vm_fail(-EINVAL, "irqchip of %u pins: too many, or after the first vCPU", pins);
    else if (kind == HV_IRQCHIP_SPLIT && !hv_fake_cap_value(fake_of(vm->hv), KVM_CAP_SPLIT_IRQCHIP))
        rc = vm_fail(-ENOTSUP, "no split irqchip");
    else if (kind == HV_IRQCHIP_KERNEL)
        rc = default_routes(v);
    if (!rc) {
        v->has_irqchip = true;
        v->irqchip = kind;
        v->pins = kind == HV_IRQCHIP_SPLIT ? pins : IOAPIC_PINS;
    }
    return hv_fake_leave(vm->hv, rc);
}

static int check_routes(const struct fake_vm *v, const struct hv_route *routes, size_t count)
{
    bool split = v->has_irqchip && v->irqchip == HV_IRQCHIP_SPLIT;

    if (!has_controller(v))
        return vm_fail(-EINVAL, "routes without an interrupt controller");
    if (count > (size_t)hv_fake_cap_value(fake_of(v->vm.hv), KVM_CAP_IRQ_ROUTING))
        return vm_fail(-E2BIG, "%zu routes", count);
    for (size_t i = 0; i < count; i++) {
        if (routes[i].gsi >= GSIS)
            return vm_fail(-EINVAL, "route of interrupt %u: the number is too high", routes[i].gsi);
        if (routes[i].type == HV_ROUTE_PIN && split)
            return vm_fail(-EINVAL, "route of interrupt %u: a split irqchip has no pins",
                           routes[i].gsi);
        /* As KVM's setup_routing_entry(): a GSI has one message, or at most one pin per chip. */
        for (size_t k = 0; k < i; k++)
            if (routes[k].gsi == routes[i].gsi &&
                (routes[k].type == HV_ROUTE_MSI || routes[i].type == HV_ROUTE_MSI ||
                 routes[k].pin.chip == routes[i].pin.chip))
                return vm_fail(-EINVAL, "route of interrupt %u: given twice", routes[i].gsi);
    }
    return 0;
}

int hv_fake_op_set_routes(struct hv_vm *vm, const struct hv_route *routes, size_t count)
{
    struct fake_list table = { .entry = sizeof(struct hv_route) };
    struct fake_vm *v = fake_vm_of(vm);
    int rc = hv_fake_enter(vm->hv, HV_FAKE_SET_ROUTES);

    if (!rc)
        rc = check_routes(v, routes, count);
    for (size_t i = 0; !rc && i < count; i++) {
        struct hv_route *r = hv_fake_list_add(&table);

        if (r)
            *r = routes[i];
        else
            rc = vm_fail(-ENOMEM, "no memory for %zu routes", count);
    }
    if (rc) {
        free(table.data);
    } else {
        free(v->routes.data);
        v->routes = table;
    }
    return hv_fake_leave(vm->hv, rc);
}

int hv_fake_irq_push(struct fake_vm *v, const struct hv_fake_irq *irq)
{
    if (!v->irqs) {
        v->irqs = calloc(FAKE_IRQS_MAX, sizeof(*v->irqs));
        if (!v->irqs)
            return -ENOMEM;
    }
    if (v->irq_count == FAKE_IRQS_MAX) {
        v->irqs_lost++;
        return 0;
    }
    v->irqs[(v->irq_first + v->irq_count++) % FAKE_IRQS_MAX] = *irq;
    return 0;
}

static void push_line(struct fake_vm *v, uint32_t irq, bool level)
{
    struct hv_fake_irq i = { .type = HV_FAKE_BY_LINE, .irq = irq, .level = level };

    hv_fake_irq_push(v, &i);
}

static void push_msi(struct fake_vm *v, const struct hv_msi *msi)
{
    struct hv_fake_irq i = { .type = HV_FAKE_BY_MSI, .msi = *msi };

    hv_fake_irq_push(v, &i);
}

/* What KVM does with an irqfd's signal: a message, or a pin that goes up and down, or stays up
 * until the end of interrupt with resample. */
static void deliver(struct fake_vm *v, struct fake_irqfd *f)
{
    for (size_t i = 0; i < v->routes.count; i++) {
        const struct hv_route *r = hv_fake_list_at(&v->routes, i);

        if (r->gsi != f->irqfd.gsi)
            continue;
        if (r->type == HV_ROUTE_MSI) {
            push_msi(v, &r->msi);
        } else if (f->irqfd.resample_fd < 0) {
            push_line(v, r->gsi, true);
            push_line(v, r->gsi, false);
        } else if (!f->raised) {
            f->raised = true;
            push_line(v, r->gsi, true);
        }
    }
}

bool hv_fake_irqfd_scan(struct fake_vm *v)
{
    bool any = false;

    for (size_t i = 0; i < v->irqfds.count; i++) {
        struct fake_irqfd *f = hv_fake_list_at(&v->irqfds, i);

        if (vm_eventfd_take(f->irqfd.fd)) {
            deliver(v, f);
            any = true;
        }
    }
    return any;
}

static int irqfd_add(struct fake_vm *v, int fd, uint32_t gsi, int resample_fd)
{
    struct fake_irqfd *f;

    if (!has_controller(v))
        return vm_fail(-EINVAL, "irqfd without an interrupt controller");
    if (resample_fd >= 0 && v->has_irqchip && v->irqchip == HV_IRQCHIP_SPLIT)
        return vm_fail(-EINVAL, "a split irqchip takes no resample irqfd");
    if (fcntl(fd, F_GETFD) < 0 || (resample_fd >= 0 && fcntl(resample_fd, F_GETFD) < 0))
        return vm_fail(-EBADF, "irqfd %d is not open", fd);
    for (size_t i = 0; i < v->irqfds.count; i++)
        if (((struct fake_irqfd *)hv_fake_list_at(&v->irqfds, i))->irqfd.fd == fd)
            return vm_fail(-EBUSY, "irqfd %d is in use", fd);
    f = hv_fake_list_add(&v->irqfds);
    if (!f)
        return vm_fail(-ENOMEM, "no memory for an irqfd");
    f->irqfd = (struct hv_fake_irqfd){ fd, resample_fd, gsi };
    return 0;
}

static int irqfd_del(struct fake_vm *v, int fd, uint32_t gsi)
{
    /* What was signalled before still arrives. */
    hv_fake_irqfd_scan(v);
    for (size_t i = 0; i < v->irqfds.count; i++) {
        const struct fake_irqfd *f = hv_fake_list_at(&v->irqfds, i);

        if (f->irqfd.fd == fd && f->irqfd.gsi == gsi) {
            if (f->raised)
                push_line(v, gsi, false);
            hv_fake_list_del(&v->irqfds, i);
            break;
        }
    }
    return 0;
}

int hv_fake_op_irqfd(struct hv_vm *vm, bool add, int fd, uint32_t gsi, int resample_fd)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_IRQFD);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc)
        rc = add ? irqfd_add(v, fd, gsi, resample_fd) : irqfd_del(v, fd, gsi);
    return hv_fake_leave(vm->hv, rc);
}

static bool same_address(const struct hv_ioeventfd *a, const struct hv_ioeventfd *b)
{
    return a->addr == b->addr && a->pio == b->pio;
}

static int ioeventfd_add(struct fake_vm *v, const struct hv_ioeventfd *event)
{
    struct hv_ioeventfd *e;

    if (event->len > 8 || (event->len & (event->len - (event->len != 0))) ||
        (event->match && !event->len))
        return vm_fail(-EINVAL, "ioeventfd at 0x%llx: width %u", (unsigned long long)event->addr,
                       event->len);
    for (size_t i = 0; i < v->ioeventfds.count; i++) {
        e = hv_fake_list_at(&v->ioeventfds, i);
        if (same_address(e, event) && (!e->len || !event->len || e->len == event->len) &&
            (!e->match || !event->match || e->datamatch == event->datamatch))
            return vm_fail(-EEXIST, "ioeventfd at 0x%llx", (unsigned long long)event->addr);
    }
    e = hv_fake_list_add(&v->ioeventfds);
    if (!e)
        return vm_fail(-ENOMEM, "no memory for an ioeventfd");
    *e = *event;
    return 0;
}

static int ioeventfd_del(struct fake_vm *v, const struct hv_ioeventfd *event)
{
    for (size_t i = 0; i < v->ioeventfds.count; i++) {
        const struct hv_ioeventfd *e = hv_fake_list_at(&v->ioeventfds, i);

        if (same_address(e, event) && e->len == event->len && e->fd == event->fd &&
            e->match == event->match && (!e->match || e->datamatch == event->datamatch)) {
            hv_fake_list_del(&v->ioeventfds, i);
            return 0;
        }
    }
    return vm_fail(-ENOENT, "ioeventfd at 0x%llx is not there", (unsigned long long)event->addr);
}

int hv_fake_op_ioeventfd(struct hv_vm *vm, bool add, const struct hv_ioeventfd *event)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_IOEVENTFD);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc)
        rc = add ? ioeventfd_add(v, event) : ioeventfd_del(v, event);
    return hv_fake_leave(vm->hv, rc);
}

bool hv_fake_ioeventfd_catch(struct fake_vm *v, const struct hv_exit *exit)
{
    bool pio = exit->reason == HV_EXIT_PIO;
    uint64_t addr, value;
    uint32_t len;

    if (pio ? !exit->pio.is_write || exit->pio.count != 1
            : exit->reason != HV_EXIT_MMIO || !exit->mmio.is_write)
        return false;
    addr = pio ? exit->pio.port : exit->mmio.addr;
    len = pio ? exit->pio.size : exit->mmio.len;
    value = vm_load_le(pio ? exit->pio.data : exit->mmio.data, len);
    for (size_t i = 0; i < v->ioeventfds.count; i++) {
        const struct hv_ioeventfd *e = hv_fake_list_at(&v->ioeventfds, i);

        if (e->pio == pio && e->addr == addr && (!e->len || e->len == len) &&
            (!e->match || e->datamatch == value)) {
            vm_eventfd_signal(e->fd);
            return true;
        }
    }
    return false;
}

int hv_fake_op_signal_msi(struct hv_vm *vm, const struct hv_msi *msi)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_SIGNAL_MSI);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc && !has_controller(v))
        rc = -EINVAL;
    if (!rc) {
        push_msi(v, msi);
        rc = 1;
    }
    return hv_fake_leave(vm->hv, rc);
}

int hv_fake_op_irq_line(struct hv_vm *vm, uint32_t irq, bool level)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_IRQ_LINE);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc && (!has_controller(v) || (v->has_irqchip && v->irqchip == HV_IRQCHIP_SPLIT)))
        rc = vm_fail(-ENXIO, "interrupt line 0x%x: no controller in the kernel", irq);
    if (!rc)
        push_line(v, irq, level);
    return hv_fake_leave(vm->hv, rc);
}

bool hv_fake_irqfd_poll(struct hv_vm *vm)
{
    bool any;

    pthread_mutex_lock(&fake_of(vm->hv)->lock);
    any = hv_fake_irqfd_scan(fake_vm_of(vm));
    pthread_mutex_unlock(&fake_of(vm->hv)->lock);
    return any;
}

bool hv_fake_irq_take(struct hv_vm *vm, struct hv_fake_irq *ret_irq)
{
    struct fake_vm *v = fake_vm_of(vm);
    bool any;

    pthread_mutex_lock(&fake_of(vm->hv)->lock);
    hv_fake_irqfd_scan(v);
    any = v->irq_count;
    if (any) {
        *ret_irq = v->irqs[v->irq_first];
        v->irq_first = (v->irq_first + 1) % FAKE_IRQS_MAX;
        v->irq_count--;
    }
    pthread_mutex_unlock(&fake_of(vm->hv)->lock);
    return any;
}

uint64_t hv_fake_irqs_lost(struct hv_vm *vm)
{
    return fake_vm_of(vm)->irqs_lost;
}

void hv_fake_eoi(struct hv_vm *vm, uint32_t gsi)
{
    struct fake_vm *v = fake_vm_of(vm);

    pthread_mutex_lock(&fake_of(vm->hv)->lock);
    for (size_t i = 0; i < v->irqfds.count; i++) {
        struct fake_irqfd *f = hv_fake_list_at(&v->irqfds, i);

        if (f->irqfd.gsi != gsi || !f->raised)
            continue;
        f->raised = false;
        push_line(v, gsi, false);
        vm_eventfd_signal(f->irqfd.resample_fd);
    }
    pthread_mutex_unlock(&fake_of(vm->hv)->lock);
}

size_t hv_fake_routes(struct hv_vm *vm)
{
    return fake_vm_of(vm)->routes.count;
}

bool hv_fake_route_at(struct hv_vm *vm, size_t i, struct hv_route *ret_route)
{
    const struct hv_route *r = hv_fake_list_at(&fake_vm_of(vm)->routes, i);

    if (r)
        *ret_route = *r;
    return r;
}

size_t hv_fake_irqfds(struct hv_vm *vm)
{
    return fake_vm_of(vm)->irqfds.count;
}

bool hv_fake_irqfd_at(struct hv_vm *vm, size_t i, struct hv_fake_irqfd *ret_irqfd)
{
    const struct fake_irqfd *f = hv_fake_list_at(&fake_vm_of(vm)->irqfds, i);

    if (f)
        *ret_irqfd = f->irqfd;
    return f;
}

size_t hv_fake_ioeventfds(struct hv_vm *vm)
{
    return fake_vm_of(vm)->ioeventfds.count;
}

bool hv_fake_ioeventfd_at(struct hv_vm *vm, size_t i, struct hv_ioeventfd *ret_event)
{
    const struct hv_ioeventfd *e = hv_fake_list_at(&fake_vm_of(vm)->ioeventfds, i);

    if (e)
        *ret_event = *e;
    return e;
}

bool hv_fake_irqchip(struct hv_vm *vm, enum hv_irqchip *ret_kind, uint32_t *ret_pins)
{
    const struct fake_vm *v = fake_vm_of(vm);

    if (v->has_irqchip) {
        *ret_kind = v->irqchip;
        *ret_pins = v->pins;
    }
    return v->has_irqchip;
}
