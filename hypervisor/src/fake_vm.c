/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's VM: what is neither memory (fake_memory.c) nor interrupts (fake_irq.c), and its
 * devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "fake_private.h"

static void machine_free(struct hv_vm *vm)
{
    struct fake_vm *v = fake_vm_of(vm);

    for (size_t i = 0; i < v->slots.count; i++)
        free(((struct fake_slot *)hv_fake_list_at(&v->slots, i))->dirty);
    free(v->slots.data);
    free(v->routes.data);
    free(v->irqfds.data);
    free(v->ioeventfds.data);
    free(v->enabled.data);
    free(v->vcpu_ids.data);
    free(v->vcpus.data);
    free(v->devices.data);
    free(v->attrs.data);
    free(v->zones.data);
    free(v->irqs);
    hv_fake_store_free(&v->store);
    free(v);
}

static int machine_cap(struct hv_vm *vm, uint32_t cap)
{
    return hv_cap(vm->hv, cap);
}

static struct kvm_enable_cap *find_enabled(const struct fake_vm *v, uint32_t cap)
{
    for (size_t i = 0; i < v->enabled.count; i++) {
        struct kvm_enable_cap *e = hv_fake_list_at(&v->enabled, i);

        if (e->cap == cap)
            return e;
    }
    return NULL;
}

static int machine_enable_cap(struct hv_vm *vm, const struct kvm_enable_cap *cap)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_VM_ENABLE_CAP);
    struct fake_vm *v = fake_vm_of(vm);
    struct kvm_enable_cap *e = find_enabled(v, cap->cap);

    if (!rc && !e)
        e = hv_fake_list_add(&v->enabled);
    if (!rc && !e)
        rc = vm_fail(-ENOMEM, "capability %u", cap->cap);
    if (!rc)
        *e = *cap;
    return hv_fake_leave(vm->hv, rc);
}

bool hv_fake_enabled(struct hv_vm *vm, uint32_t cap, uint64_t ret_args[4])
{
    const struct kvm_enable_cap *e = find_enabled(fake_vm_of(vm), cap);

    for (unsigned i = 0; e && i < VM_ARRAY_SIZE(e->args); i++)
        ret_args[i] = e->args[i];
    return e;
}

#if defined(__x86_64__)
/* The state of a controller that is not there: as KVM, -ENXIO. */
static int check_controller(const struct fake_vm *v, enum hv_state kind)
{
    bool wants = kind == HV_STATE_IRQCHIP || kind == HV_STATE_PIT_CREATE;

    if (wants && (!v->has_irqchip || v->irqchip != HV_IRQCHIP_KERNEL))
        return vm_fail(-ENXIO, "%s: this VM has no irqchip in the kernel", hv_state_name(kind));
    if (kind == HV_STATE_PIT && !v->store.kind[HV_STATE_PIT_CREATE].data)
        return vm_fail(-ENXIO, "this VM has no PIT");
    return 0;
}

static int check_order(const struct fake_vm *v, enum hv_state kind)
{
    if (kind == HV_STATE_PIT_CREATE && v->store.kind[kind].data)
        return vm_fail(-EEXIST, "this VM has a PIT");
    if ((kind == HV_STATE_IDENTITY_MAP || kind == HV_STATE_BOOT_CPU) && v->vcpu_ids.count)
        return vm_fail(kind == HV_STATE_BOOT_CPU ? -EBUSY : -EINVAL, "%s: after the first vCPU",
                       hv_state_name(kind));
    return check_controller(v, kind);
}
#else
static int check_controller(const struct fake_vm *v, enum hv_state kind)
{
    (void)v, (void)kind;
    return 0;
}

static int check_order(const struct fake_vm *v, enum hv_state kind)
{
    return check_controller(v, kind);
}
#endif

static int machine_get(struct hv_vm *vm, enum hv_state kind, void *buf, size_t size)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_VM_GET);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc)
        rc = check_controller(v, kind);
    if (!rc)
        rc = hv_fake_store_get(&v->store, HV_OBJECT_VM, kind, buf, size);
    return hv_fake_leave(vm->hv, rc);
}

static int machine_set(struct hv_vm *vm, enum hv_state kind, const void *buf, size_t size)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_VM_SET);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc)
        rc = check_order(v, kind);
    if (!rc)
        rc = hv_fake_store_set(&v->store, HV_OBJECT_VM, kind, buf, size);
    return hv_fake_leave(vm->hv, rc);
}

static int machine_attr(struct hv_vm *vm, enum hv_attr what, struct kvm_device_attr *attr)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_VM_ATTR);

    (void)what;
    if (!rc)
        rc = vm_fail(-ENXIO, "the fake VM has no attribute %u/%llu", attr->group,
                     (unsigned long long)attr->attr);
    return hv_fake_leave(vm->hv, rc);
}

static int zone_add(struct fake_vm *v, uint64_t addr, uint32_t size, bool pio)
{
    struct hv_coalesced *z = hv_fake_list_add(&v->zones);

    if (!z)
        return vm_fail(-ENOMEM, "no memory for a zone");
    z->addr = addr;
    z->len = size;
    z->pio = pio;
    return 0;
}

static int zone_del(struct fake_vm *v, uint64_t addr, uint32_t size, bool pio)
{
    for (size_t i = 0; i < v->zones.count; i++) {
        const struct hv_coalesced *z = hv_fake_list_at(&v->zones, i);

        if (z->addr == addr && z->len == size && z->pio == pio) {
            hv_fake_list_del(&v->zones, i);
            return 0;
        }
    }
    return vm_fail(-ENOENT, "no coalesced writes at 0x%llx", (unsigned long long)addr);
}

/* Remembered only: every write still exits, which KVM may do too (its ring may be full). */
static int machine_coalesced(struct hv_vm *vm, bool add, uint64_t addr, uint32_t size, bool pio)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_COALESCED);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc)
        rc = add ? zone_add(v, addr, size, pio) : zone_del(v, addr, size, pio);
    return hv_fake_leave(vm->hv, rc);
}

static int machine_stats_fd(struct hv_vm *vm)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_STATS_FD);

    return hv_fake_leave(vm->hv, rc ? rc : vm_fail(-ENOTSUP, "the fake has no statistics"));
}

/* A device keeps the 64 bits that were written to each attribute. */
struct fake_attr {
    uint32_t group;
    uint64_t attr, value;
};

struct fake_device {
    struct hv_device device;
    uint32_t type;
    struct fake_list attrs; /* struct fake_attr */
};

static void device_free(struct hv_device *device)
{
    struct fake_device *d = container_of(device, struct fake_device, device);

    free(d->attrs.data);
    free(d);
}

static struct fake_attr *find_attr(struct fake_device *d, const struct kvm_device_attr *attr)
{
    for (size_t i = 0; i < d->attrs.count; i++) {
        struct fake_attr *a = hv_fake_list_at(&d->attrs, i);

        if (a->group == attr->group && a->attr == attr->attr)
            return a;
    }
    return NULL;
}

static int attr_move(struct fake_device *d, enum hv_attr what, struct kvm_device_attr *attr)
{
    struct fake_attr *a = find_attr(d, attr);
    void *value = (void *)(uintptr_t)attr->addr;

    if (what == HV_ATTR_HAS)
        return 0;
    if (!a)
        a = hv_fake_list_add(&d->attrs);
    if (!a)
        return vm_fail(-ENOMEM, "no memory for an attribute");
    a->group = attr->group;
    a->attr = attr->attr;
    if (value && what == HV_ATTR_SET)
        memcpy(&a->value, value, sizeof(a->value));
    else if (value)
        memcpy(value, &a->value, sizeof(a->value));
    return 0;
}

int hv_fake_attr_note(struct fake_vm *v, const struct hv_fake_attr *of,
                      const struct kvm_device_attr *attr)
{
    struct hv_fake_attr *a = hv_fake_list_add(&v->attrs);

    if (!a)
        return vm_fail(-ENOMEM, "no memory for an attribute");
    *a = *of;
    a->group = attr->group;
    a->attr = attr->attr;
    if (attr->addr)
        memcpy(&a->value, (void *)(uintptr_t)attr->addr, sizeof(a->value));
    return 0;
}

int hv_fake_attr_find(const struct fake_vm *v, const struct hv_fake_attr *of,
                      struct kvm_device_attr *attr)
{
    for (size_t i = v->attrs.count; i > 0; i--) {
        const struct hv_fake_attr *a = hv_fake_list_at(&v->attrs, i - 1);

        if (a->of_vcpu == of->of_vcpu && a->of == of->of && a->group == attr->group &&
            a->attr == attr->attr) {
            memcpy((void *)(uintptr_t)attr->addr, &a->value, sizeof(a->value));
            return 0;
        }
    }
    return vm_fail(-ENXIO, "attribute %u/%llu was not set", attr->group,
                   (unsigned long long)attr->attr);
}

bool hv_fake_attr_at(struct hv_vm *vm, size_t i, struct hv_fake_attr *ret_attr)
{
    const struct hv_fake_attr *a = hv_fake_list_at(&fake_vm_of(vm)->attrs, i);

    if (a)
        *ret_attr = *a;
    return a;
}

static int device_attr(struct hv_device *device, enum hv_attr what, struct kvm_device_attr *attr)
{
    struct fake_device *d = container_of(device, struct fake_device, device);
    const struct hv_fake_attr of = { .of = d->type };
    int rc = hv_fake_enter(device->vm->hv, HV_FAKE_DEVICE_ATTR);

    if (!rc && what == HV_ATTR_SET)
        rc = hv_fake_attr_note(fake_vm_of(device->vm), &of, attr);
    return hv_fake_leave(device->vm->hv, rc ? rc : attr_move(d, what, attr));
}

static const struct hv_device_ops device_ops = { .free = device_free, .attr = device_attr };

static int machine_device_new(struct hv_vm *vm, uint32_t type, struct hv_device **ret_device)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_DEVICE_NEW);
    struct fake_device *d = rc || !ret_device ? NULL : calloc(1, sizeof(*d));
    uint32_t *known = d ? hv_fake_list_add(&fake_vm_of(vm)->devices) : NULL;

    if (known) {
        *known = type;
        d->device = (struct hv_device){ .ops = &device_ops, .vm = vm };
        d->type = type;
        d->attrs.entry = sizeof(struct fake_attr);
        *ret_device = &d->device;
    } else if (ret_device) {
        free(d);
        rc = rc ? rc : vm_fail(-ENOMEM, "no memory for a device");
    }
    return hv_fake_leave(vm->hv, rc);
}

static const struct hv_vm_ops machine_ops = {
    .free = machine_free,
    .cap = machine_cap,
    .enable_cap = machine_enable_cap,
    .get = machine_get,
    .set = machine_set,
    .attr = machine_attr,
    .set_slot = hv_fake_op_set_slot,
    .dirty_get = hv_fake_op_dirty_get,
    .dirty_clear = hv_fake_op_dirty_clear,
    .dirty_ring_enable = hv_fake_op_dirty_ring_enable,
    .dirty_ring_reset = hv_fake_op_dirty_ring_reset,
    .irqchip_new = hv_fake_op_irqchip_new,
    .set_routes = hv_fake_op_set_routes,
    .irqfd = hv_fake_op_irqfd,
    .ioeventfd = hv_fake_op_ioeventfd,
    .signal_msi = hv_fake_op_signal_msi,
    .irq_line = hv_fake_op_irq_line,
    .coalesced = machine_coalesced,
    .stats_fd = machine_stats_fd,
    .device_new = machine_device_new,
    .vcpu_new = hv_fake_vcpu_new,
};

int hv_fake_vm_new(struct hv *hv, const struct hv_vm_config *config, struct hv_vm **ret_vm)
{
    int rc = hv_fake_enter(hv, HV_FAKE_VM_NEW);
    struct fake_vm *v = NULL;

    if (!rc && config->ipa_bits > 52)
        rc = vm_fail(-EINVAL, "%u address bits: at most 52", config->ipa_bits);
    if (!rc && !(v = calloc(1, sizeof(*v))))
        rc = vm_fail(-ENOMEM, "no memory for a VM");
    if (rc)
        return hv_fake_leave(hv, rc);
    v->vm = (struct hv_vm){ .ops = &machine_ops, .hv = hv };
    v->slots.entry = sizeof(struct fake_slot);
    v->routes.entry = sizeof(struct hv_route);
    v->irqfds.entry = sizeof(struct fake_irqfd);
    v->ioeventfds.entry = sizeof(struct hv_ioeventfd);
    v->enabled.entry = sizeof(struct kvm_enable_cap);
    v->vcpu_ids.entry = sizeof(uint32_t);
    v->vcpus.entry = sizeof(struct fake_vcpu *);
    v->devices.entry = sizeof(uint32_t);
    v->attrs.entry = sizeof(struct hv_fake_attr);
    v->zones.entry = sizeof(struct hv_coalesced);
    v->store.numbers.entry = sizeof(struct fake_number);
    *ret_vm = &v->vm;
    return hv_fake_leave(hv, 0);
}
