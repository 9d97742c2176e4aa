/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is the same for every implementation. */
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/util.h>
#include <vmm/hypervisor/hypervisor.h>

#include "state_table.h"

const char *hv_exit_name(enum hv_exit_reason reason)
{
    static const char *const names[] = {
        "pio",          "mmio",       "interrupted", "hlt",        "eoi",          "rdmsr",
        "wrmsr",        "dirty ring", "debug",       "shutdown",   "system event", "internal error",
        "failed entry", "bad memory", "no syndrome", "irq window", "bus lock",     "other",
    };
    _Static_assert(VM_ARRAY_SIZE(names) == HV_EXIT_COUNT, "a name for each exit");

    return (unsigned)reason < HV_EXIT_COUNT ? names[reason] : "?";
}

/* KVM's floor where the capability is missing: api.rst, KVM_CREATE_VCPU. */
uint32_t hv_vcpus_recommended(struct hv *hv)
{
    int n = hv_cap(hv, KVM_CAP_NR_VCPUS);

    return n > 0 ? (uint32_t)n : 4;
}

uint32_t hv_vcpus_max(struct hv *hv)
{
    int n = hv_cap(hv, KVM_CAP_MAX_VCPUS);

    return n > 0 ? (uint32_t)n : hv_vcpus_recommended(hv);
}

/* Capabilities whose value is the set of flags that args[0] may have. */
static bool is_flag_set(uint32_t cap)
{
    switch (cap) {
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
    case KVM_CAP_X86_DISABLE_EXITS:
    case KVM_CAP_X86_BUS_LOCK_EXIT: return true;
    default: return false;
    }
}

static int check_enable(struct hv_vm *vm, uint32_t cap, const uint64_t args[4],
                        struct kvm_enable_cap *ret_enable)
{
    struct kvm_enable_cap enable = { .cap = cap };
    int value = hv_vm_cap(vm, cap);

    for (unsigned i = 0; args && i < VM_ARRAY_SIZE(enable.args); i++)
        enable.args[i] = args[i];
    if (value <= 0)
        return vm_fail(-ENOTSUP, "capability %u is not offered by this %s; a newer kernel may", cap,
                       vm->hv->ops->name);
    if (is_flag_set(cap) && enable.args[0] & ~(uint64_t)value)
        return vm_fail(-ENOTSUP, "capability %u offers flags 0x%x, 0x%llx are asked for", cap,
                       (unsigned)value, (unsigned long long)enable.args[0]);
    *ret_enable = enable;
    return 0;
}

int hv_vm_enable_cap(struct hv_vm *vm, uint32_t cap, const uint64_t args[4])
{
    struct kvm_enable_cap enable;
    int rc = check_enable(vm, cap, args, &enable);

    return rc ? rc : vm->ops->enable_cap(vm, &enable);
}

int hv_vcpu_enable_cap(struct hv_vcpu *vcpu, uint32_t cap, const uint64_t args[4])
{
    struct kvm_enable_cap enable;
    int rc = check_enable(vcpu->vm, cap, args, &enable);

    return rc ? rc : vcpu->ops->enable_cap(vcpu, &enable);
}

#if defined(__x86_64__)
/* rc: the MSRs KVM moved before it stopped, or an error. */
static int msrs_done(int rc, enum hv_state kind, const struct kvm_msrs *msrs, uint32_t *ret_done)
{
    *ret_done = rc > 0 ? (uint32_t)rc : 0;
    if (rc < 0)
        return rc;
    if (*ret_done < msrs->nmsrs)
        return vm_fail(-ENOENT, "%s: 0x%x is refused", hv_state_name(kind),
                       msrs->entries[*ret_done].index);
    return 0;
}

/* After a get: the list keeps what was read, and nothing that was not. */
static int msrs_got(int rc, enum hv_state kind, void *buf)
{
    struct kvm_msrs *msrs = buf;
    uint32_t done;

    rc = msrs_done(rc, kind, msrs, &done);
    if (rc == -ENOENT)
        msrs->nmsrs = done;
    return rc;
}

int hv_vcpu_get_msrs(struct hv_vcpu *vcpu, struct kvm_msrs *msrs, size_t size, uint32_t *ret_done)
{
    return msrs_done(vcpu->ops->get(vcpu, HV_STATE_MSRS, msrs, size), HV_STATE_MSRS, msrs,
                     ret_done);
}

int hv_vcpu_set_msrs(struct hv_vcpu *vcpu, const struct kvm_msrs *msrs, size_t size,
                     uint32_t *ret_done)
{
    return msrs_done(vcpu->ops->set(vcpu, HV_STATE_MSRS, msrs, size), HV_STATE_MSRS, msrs,
                     ret_done);
}

static int got(int rc, enum hv_state kind, void *buf)
{
    if (kind == HV_STATE_MSRS || kind == HV_STATE_FEATURE_MSRS)
        return msrs_got(rc, kind, buf);
    return rc < 0 ? rc : 0;
}

int hv_vcpu_set(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size)
{
    uint32_t done;
    int rc;

    if (kind == HV_STATE_MSRS)
        return hv_vcpu_set_msrs(vcpu, buf, size, &done);
    rc = vcpu->ops->set(vcpu, kind, buf, size);
    return rc < 0 ? rc : 0;
}
#else
static int got(int rc, enum hv_state kind, void *buf)
{
    (void)kind;
    (void)buf;
    return rc < 0 ? rc : 0;
}

int hv_vcpu_get_msrs(struct hv_vcpu *vcpu, struct kvm_msrs *msrs, size_t size, uint32_t *ret_done)
{
    (void)vcpu, (void)msrs, (void)size;
    *ret_done = 0;
    return vm_fail(-ENOTSUP, "MSRs are x86's");
}

int hv_vcpu_set_msrs(struct hv_vcpu *vcpu, const struct kvm_msrs *msrs, size_t size,
                     uint32_t *ret_done)
{
    (void)vcpu, (void)msrs, (void)size;
    *ret_done = 0;
    return vm_fail(-ENOTSUP, "MSRs are x86's");
}

int hv_vcpu_set(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size)
{
    int rc = vcpu->ops->set(vcpu, kind, buf, size);

    return rc < 0 ? rc : 0;
}
#endif

int hv_get(struct hv *hv, enum hv_state kind, void *buf, size_t size)
{
    return got(hv->ops->get(hv, kind, buf, size), kind, buf);
}

int hv_vm_get(struct hv_vm *vm, enum hv_state kind, void *buf, size_t size)
{
    return got(vm->ops->get(vm, kind, buf, size), kind, buf);
}

int hv_vm_set(struct hv_vm *vm, enum hv_state kind, const void *buf, size_t size)
{
    int rc = vm->ops->set(vm, kind, buf, size);

    return rc < 0 ? rc : 0;
}

int hv_vcpu_get(struct hv_vcpu *vcpu, enum hv_state kind, void *buf, size_t size)
{
    return got(vcpu->ops->get(vcpu, kind, buf, size), kind, buf);
}

int hv_vcpu_get_reg(struct hv_vcpu *vcpu, uint64_t id, void *ret_value)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)ret_value };
    int rc = hv_vcpu_get(vcpu, HV_STATE_ONE_REG, &reg, sizeof(reg));

    return rc ? vm_wrap(rc, "register 0x%llx", (unsigned long long)id) : 0;
}

int hv_vcpu_set_reg(struct hv_vcpu *vcpu, uint64_t id, const void *value)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };
    int rc = hv_vcpu_set(vcpu, HV_STATE_ONE_REG, &reg, sizeof(reg));

    return rc ? vm_wrap(rc, "register 0x%llx", (unsigned long long)id) : 0;
}

/* An entry goes clean -> dirty (kernel) -> reset (here) -> clean (kernel, at the reset call):
 * api.rst, 8.29. */
size_t hv_vcpu_dirty_take(struct hv_vcpu *vcpu, struct hv_dirty_page *ret_pages, size_t max)
{
    uint32_t mask;
    size_t n;

    if (!vcpu->ring)
        return 0;
    mask = vcpu->vm->dirty_ring_entries - 1;
    for (n = 0; n < max; n++) {
        struct kvm_dirty_gfn *e = &vcpu->ring[vcpu->ring_next & mask];

        /* Partner: the kernel's release store of the flag after slot and offset. */
        if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
            break;
        ret_pages[n] = (struct hv_dirty_page){ .slot = e->slot, .page = e->offset };
        /* Partner: the kernel's acquire load in KVM_RESET_DIRTY_RINGS. */
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        vcpu->ring_next = vcpu->ring_next == UINT32_MAX ? 0 : vcpu->ring_next + 1;
    }
    return n;
}

bool hv_vcpu_coalesced_next(struct hv_vcpu *vcpu, struct hv_coalesced *ret_write)
{
    struct kvm_coalesced_mmio_ring *ring = vcpu->coalesced;
    const struct kvm_coalesced_mmio *e;
    uint32_t first;

    if (!ring)
        return false;
    first = ring->first;
    /* Partner: the kernel's write barrier before it moves last. */
    if (first == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) || first >= vcpu->coalesced_max)
        return false;
    e = &ring->coalesced_mmio[first];
    *ret_write = (struct hv_coalesced){ .addr = e->phys_addr, .len = e->len, .pio = e->pio != 0 };
    for (unsigned i = 0; i < sizeof(ret_write->data); i++)
        ret_write->data[i] = e->data[i];
    return true;
}

void hv_vcpu_coalesced_done(struct hv_vcpu *vcpu)
{
    struct kvm_coalesced_mmio_ring *ring = vcpu->coalesced;

    /* Partners: the kernel, which reads first to see how much room there is, and
     * hv_vcpu_coalesced_any(). */
    __atomic_store_n(&ring->first, (ring->first + 1) % vcpu->coalesced_max, __ATOMIC_RELEASE);
}
