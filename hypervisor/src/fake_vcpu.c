/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's vCPU: a call-back plays its guest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "fake_private.h"

/* Writes an ioeventfd may catch in one run, so that a guest that only kicks does not keep its
 * thread. */
enum { CAUGHT_MAX = 64 };

static void cpu_free(struct hv_vcpu *vcpu)
{
    struct fake_vcpu *c = fake_vcpu_of(vcpu);
    struct fake_vm *v = fake_vm_of(vcpu->vm);

    pthread_mutex_lock(&fake_of(vcpu->vm->hv)->lock);
    for (size_t i = 0; i < v->vcpus.count; i++) {
        if (*(struct fake_vcpu **)hv_fake_list_at(&v->vcpus, i) == c) {
            hv_fake_list_del(&v->vcpus, i);
            break;
        }
    }
    pthread_mutex_unlock(&fake_of(vcpu->vm->hv)->lock);
    hv_fake_store_free(&c->store);
    free(vcpu->ring);
    free(vcpu->run);
    free(c);
}

static bool immediate_exit(const struct hv_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_SEQ_CST);
}

static int interrupted(struct hv_exit *ret_exit)
{
    ret_exit->reason = HV_EXIT_INTR;
    return 0;
}

/* One step of the guest, and whether an ioeventfd took what it wrote. */
static int step(struct fake_vcpu *c, struct hv_exit *ret_exit, bool *ret_caught)
{
    struct hv *hv = c->vcpu.vm->hv;
    int rc = 0;

    if (c->guest.next)
        rc = c->guest.next(c->guest.ctx, &c->vcpu, ret_exit);
    else
        ret_exit->reason = HV_EXIT_HLT;
    if (rc)
        return rc;
    pthread_mutex_lock(&fake_of(hv)->lock);
    *ret_caught = hv_fake_ioeventfd_catch(fake_vm_of(c->vcpu.vm), ret_exit);
    pthread_mutex_unlock(&fake_of(hv)->lock);
    return 0;
}

static int cpu_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit)
{
    struct fake_vcpu *c = fake_vcpu_of(vcpu);
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_RUN);

    hv_fake_leave(vcpu->vm->hv, 0);
    if (rc)
        return rc;
    if (c->pending && c->guest.answer)
        c->guest.answer(c->guest.ctx, vcpu, &c->last);
    c->pending = false;
    hv_fake_irqfd_poll(vcpu->vm);
    for (int i = 0; i < CAUGHT_MAX; i++) {
        bool caught = false;

        if (immediate_exit(vcpu))
            return interrupted(ret_exit);
        rc = step(c, ret_exit, &caught);
        if (rc)
            return rc;
        if (!caught) {
            c->last = *ret_exit;
            c->pending = true;
            return 0;
        }
    }
    return interrupted(ret_exit);
}

static int cpu_enable_cap(struct hv_vcpu *vcpu, const struct kvm_enable_cap *cap)
{
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_VCPU_ENABLE_CAP);

    (void)cap;
    return hv_fake_leave(vcpu->vm->hv, rc);
}

static int cpu_get(struct hv_vcpu *vcpu, enum hv_state kind, void *buf, size_t size)
{
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_VCPU_GET);

    if (!rc)
        rc = hv_fake_store_get(&fake_vcpu_of(vcpu)->store, HV_OBJECT_VCPU, kind, buf, size);
    return hv_fake_leave(vcpu->vm->hv, rc);
}

static int cpu_set(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size)
{
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_VCPU_SET);

    if (!rc)
        rc = hv_fake_store_set(&fake_vcpu_of(vcpu)->store, HV_OBJECT_VCPU, kind, buf, size);
    return hv_fake_leave(vcpu->vm->hv, rc);
}

static int cpu_attr(struct hv_vcpu *vcpu, enum hv_attr what, struct kvm_device_attr *attr)
{
    const struct hv_fake_attr of = { .of_vcpu = true, .of = vcpu->id };
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_VCPU_ATTR);

    if (!rc && what != HV_ATTR_HAS &&
        hv_fake_cap_value(fake_of(vcpu->vm->hv), KVM_CAP_VCPU_ATTRIBUTES))
        rc = what == HV_ATTR_SET ? hv_fake_attr_note(fake_vm_of(vcpu->vm), &of, attr)
                                 : hv_fake_attr_find(fake_vm_of(vcpu->vm), &of, attr);
    else if (!rc)
        rc = vm_fail(-ENXIO, "the fake vCPU has no attribute %u/%llu", attr->group,
                     (unsigned long long)attr->attr);
    return hv_fake_leave(vcpu->vm->hv, rc);
}

bool hv_fake_vcpu_was_set(struct hv_vcpu *vcpu, enum hv_state kind, void *ret_buf, size_t size)
{
    const struct fake_blob *blob = &fake_vcpu_of(vcpu)->store.kind[kind];

    if (!blob->data || blob->size != size)
        return false;
    memcpy(ret_buf, blob->data, size);
    return true;
}

static int cpu_stats_fd(struct hv_vcpu *vcpu)
{
    int rc = hv_fake_enter(vcpu->vm->hv, HV_FAKE_STATS_FD);

    return hv_fake_leave(vcpu->vm->hv, rc ? rc : vm_fail(-ENOTSUP, "the fake has no statistics"));
}

static const struct hv_vcpu_ops cpu_ops = {
    .free = cpu_free,
    .run = cpu_run,
    .enable_cap = cpu_enable_cap,
    .get = cpu_get,
    .set = cpu_set,
    .attr = cpu_attr,
    .stats_fd = cpu_stats_fd,
};

#if defined(__x86_64__)
/* What must not be zero after power-on (Intel SDM, volume 3, table 10-1). */
static int power_on(struct fake_vcpu *c)
{
    const struct kvm_regs regs = { .rip = 0xfff0, .rflags = 2 };
    const uint32_t khz = 2100000;
    struct kvm_sregs sregs = { .cr0 = 0x60000010, .apic_base = 0xfee00800 };
    struct kvm_lapic_state lapic = { 0 };
    int rc;

    sregs.cs.selector = 0xf000;
    sregs.cs.base = 0xffff0000;
    sregs.cs.limit = 0xffff;
    sregs.cs.present = 1;
    if (!c->vcpu.id)
        sregs.apic_base |= 0x100; /* bootstrap processor */
    vm_store_le(&lapic.regs[0x20], 4, (uint64_t)c->vcpu.id << 24);
    vm_store_le(&lapic.regs[0x30], 4, 0x50014);
    vm_store_le(&lapic.regs[0xf0], 4, 0xff);
    rc = hv_fake_blob_set(&c->store.kind[HV_STATE_REGS], &regs, sizeof(regs));
    if (!rc)
        rc = hv_fake_blob_set(&c->store.kind[HV_STATE_SREGS], &sregs, sizeof(sregs));
    if (!rc)
        rc = hv_fake_blob_set(&c->store.kind[HV_STATE_LAPIC], &lapic, sizeof(lapic));
    if (!rc)
        rc = hv_fake_blob_set(&c->store.kind[HV_STATE_TSC_KHZ], &khz, sizeof(khz));
    return rc;
}
#elif defined(__aarch64__)
/* MPIDR_EL1 as KVM makes it of the vCPU's number (Linux arch/arm64/kvm/sys_regs.c, reset_mpidr): bit 31 is fixed. */
static int power_on(struct fake_vcpu *c)
{
    uint64_t id = c->vcpu.id;
    uint64_t mpidr = 1ULL << 31 | (id & 0xf) | (id >> 4 & 0xff) << 8 | (id >> 12 & 0xff) << 16;
    struct kvm_one_reg reg = { .id = ARM64_SYS_REG(3, 0, 0, 0, 5), .addr = (uintptr_t)&mpidr };

    return hv_fake_store_set(&c->store, HV_OBJECT_VCPU, HV_STATE_ONE_REG, &reg, sizeof(reg));
}
#endif

static int check_id(const struct fake_vm *v, uint32_t id)
{
    struct fake_system *s = fake_of(v->vm.hv);

    if (id >= (uint32_t)hv_fake_cap_value(s, KVM_CAP_MAX_VCPU_ID) ||
        v->vcpu_ids.count >= (size_t)hv_fake_cap_value(s, KVM_CAP_MAX_VCPUS))
        return vm_fail(-EINVAL, "vCPU %u: id or number too high", id);
    for (size_t i = 0; i < v->vcpu_ids.count; i++)
        if (*(uint32_t *)hv_fake_list_at(&v->vcpu_ids, i) == id)
            return vm_fail(-EEXIST, "vCPU %u is there already", id);
    return 0;
}

/* A cpu that no list knows yet. */
static struct fake_vcpu *alloc_cpu(struct hv_vm *vm, uint32_t id)
{
    struct fake_vcpu *c = calloc(1, sizeof(*c));
    uint32_t entries = vm->dirty_ring_entries;

    if (!c)
        return NULL;
    c->vcpu = (struct hv_vcpu){ .ops = &cpu_ops, .vm = vm, .id = id };
    c->store.numbers.entry = sizeof(struct fake_number);
    c->vcpu.run = calloc(2, FAKE_PAGE);
    if (entries)
        c->vcpu.ring = calloc(entries, sizeof(*c->vcpu.ring));
    if (c->vcpu.run && (c->vcpu.ring || !entries) && !power_on(c) &&
        !hv_fake_store_copy_numbers(&c->store, &fake_of(vm->hv)->store))
        return c;
    hv_fake_store_free(&c->store);
    free(c->vcpu.ring);
    free(c->vcpu.run);
    free(c);
    return NULL;
}

int hv_fake_vcpu_new(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu)
{
    struct fake_vm *v = fake_vm_of(vm);
    int rc = hv_fake_enter(vm->hv, HV_FAKE_VCPU_NEW);
    struct fake_vcpu *c, **link;
    uint32_t *known;

    if (!rc)
        rc = check_id(v, id);
    if (rc)
        return hv_fake_leave(vm->hv, rc);
    c = alloc_cpu(vm, id);
    known = c ? hv_fake_list_add(&v->vcpu_ids) : NULL;
    link = known ? hv_fake_list_add(&v->vcpus) : NULL;
    if (link) {
        *known = id;
        *link = c;
    } else if (known) {
        v->vcpu_ids.count--;
    }
    hv_fake_leave(vm->hv, 0);
    if (!link) {
        if (c)
            cpu_free(&c->vcpu);
        return vm_fail(-ENOMEM, "no memory for vCPU %u", id);
    }
    *ret_vcpu = &c->vcpu;
    return 0;
}

void hv_fake_set_guest(struct hv_vcpu *vcpu, const struct hv_fake_guest *guest)
{
    fake_vcpu_of(vcpu)->guest = *guest;
}

/* The page behind struct kvm_run, where KVM puts port data too. */
static uint8_t *pio_page(struct hv_vcpu *vcpu)
{
    return (uint8_t *)vcpu->run + FAKE_PAGE;
}

void hv_fake_exit_pio_string(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write,
                             uint16_t port, uint8_t size, uint32_t count, const void *data)
{
    if (count > FAKE_PAGE / size)
        count = FAKE_PAGE / size;
    ret_exit->reason = HV_EXIT_PIO;
    ret_exit->pio.is_write = is_write;
    ret_exit->pio.size = size;
    ret_exit->pio.port = port;
    ret_exit->pio.count = count;
    ret_exit->pio.data = pio_page(vcpu);
    memset(ret_exit->pio.data, 0, FAKE_PAGE);
    if (is_write && data)
        memcpy(ret_exit->pio.data, data, (size_t)size * count);
}

void hv_fake_exit_pio(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint16_t port,
                      uint8_t size, uint32_t value)
{
    uint8_t data[4];

    vm_store_le(data, 4, value);
    hv_fake_exit_pio_string(vcpu, ret_exit, is_write, port, size, 1, data);
}

void hv_fake_exit_mmio(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint64_t addr,
                       uint32_t len, uint64_t value)
{
    ret_exit->reason = HV_EXIT_MMIO;
    ret_exit->mmio.addr = addr;
    ret_exit->mmio.data = vcpu->run->mmio.data;
    ret_exit->mmio.len = len;
    ret_exit->mmio.is_write = is_write;
    vm_store_le(ret_exit->mmio.data, 8, is_write ? value : 0);
}

void hv_fake_exit_msr(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, bool is_write, uint32_t index,
                      uint64_t value)
{
    vcpu->run->msr.error = 0;
    vcpu->run->msr.data = is_write ? value : 0;
    ret_exit->reason = is_write ? HV_EXIT_WRMSR : HV_EXIT_RDMSR;
    ret_exit->msr.value = (uint64_t *)&vcpu->run->msr.data;
    ret_exit->msr.error = &vcpu->run->msr.error;
    ret_exit->msr.index = index;
    ret_exit->msr.why = KVM_MSR_EXIT_REASON_UNKNOWN;
}

void hv_fake_exit_eoi(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint8_t vector)
{
    (void)vcpu;
    ret_exit->reason = HV_EXIT_EOI;
    ret_exit->eoi.vector = vector;
}

void hv_fake_exit_system_event(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint32_t type,
                               uint64_t data)
{
    vcpu->run->system_event.data[0] = data;
    ret_exit->reason = HV_EXIT_SYSTEM_EVENT;
    ret_exit->system_event.type = type;
    ret_exit->system_event.count = 1;
    ret_exit->system_event.data = (const uint64_t *)vcpu->run->system_event.data;
}

void hv_fake_exit_internal_error(struct hv_vcpu *vcpu, struct hv_exit *ret_exit, uint32_t suberror,
                                 uint64_t data)
{
    vcpu->run->internal.data[0] = data;
    ret_exit->reason = HV_EXIT_INTERNAL_ERROR;
    ret_exit->internal_error.suberror = suberror;
    ret_exit->internal_error.count = 1;
    ret_exit->internal_error.data = (const uint64_t *)vcpu->run->internal.data;
}

void hv_fake_exit_plain(struct hv_exit *ret_exit, enum hv_exit_reason reason)
{
    ret_exit->reason = reason;
}
