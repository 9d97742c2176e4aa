/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's system object, its capabilities and orders, and the small tools of the other files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "fake_private.h"
#include "state_table.h"

/* What a fresh fake offers; the values are those of Linux 6.12 on x86 where they are numbers. */
static const struct fake_cap default_caps[] = {
    { KVM_CAP_IRQCHIP, 1 },
    { KVM_CAP_USER_MEMORY, 1 },
    { KVM_CAP_NR_VCPUS, 8 },
    { KVM_CAP_MAX_VCPUS, 1024 },
    { KVM_CAP_MAX_VCPU_ID, 4096 },
    { KVM_CAP_NR_MEMSLOTS, 32764 },
    { KVM_CAP_IRQ_ROUTING, 4096 },
    { KVM_CAP_IRQFD, 1 },
    { KVM_CAP_IRQFD_RESAMPLE, 1 },
    { KVM_CAP_IOEVENTFD, 1 },
    { KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
    { KVM_CAP_SIGNAL_MSI, 1 },
    { KVM_CAP_SPLIT_IRQCHIP, 1 },
    { KVM_CAP_READONLY_MEM, 1 },
    { KVM_CAP_IMMEDIATE_EXIT, 1 },
    { KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3 },
    { KVM_CAP_DIRTY_LOG_RING, 65536 * 16 },
    { KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 65536 * 16 },
    { KVM_CAP_COALESCED_MMIO, 2 },
    { KVM_CAP_COALESCED_PIO, 1 },
    { KVM_CAP_MP_STATE, 1 },
    { KVM_CAP_VCPU_EVENTS, 1 },
    { KVM_CAP_ADJUST_CLOCK, 14 },
    { KVM_CAP_TSC_DEADLINE_TIMER, 1 },
    { KVM_CAP_GET_TSC_KHZ, 1 },
    { KVM_CAP_XSAVE2, 4096 },
#if defined(__x86_64__)
    { KVM_CAP_XCRS, 1 },
#endif
    { KVM_CAP_X2APIC_API, 1 },
    { KVM_CAP_X86_USER_SPACE_MSR, 1 },
    { KVM_CAP_X86_MSR_FILTER, 1 },
    { KVM_CAP_X86_DISABLE_EXITS, 15 },
    { KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1 },
    { KVM_CAP_EXCEPTION_PAYLOAD, 1 },
    { KVM_CAP_SET_GUEST_DEBUG, 1 },
    { KVM_CAP_SET_TSS_ADDR, 1 },
    { KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
    { KVM_CAP_ONE_REG, 1 },
    { KVM_CAP_DEVICE_CTRL, 1 },
};

#if defined(__x86_64__)
/* Laid out as struct kvm_cpuid2 with its entries. */
struct cpuid_list {
    uint32_t nent, padding;
    struct kvm_cpuid_entry2 entries[8];
};

/* The least that a 64-bit guest's CPUID is made of: vendor, features, leaf 7, extended leaves,
 * KVM's (Intel SDM, volume 2, CPUID; Linux Documentation/virt/kvm/x86/cpuid.rst). */
static const struct cpuid_list default_cpuid = {
    .nent = 8,
    .entries = {
        { .function = 0, .eax = 7, .ebx = 0x656b6146, .edx = 0x65706948, .ecx = 0x726f7376 },
        { .function = 1, .eax = 0x000006f0, .ecx = 0x01202001, .edx = 0x078bfbff },
        { .function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX },
        { .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56,
          .edx = 0x4d },
        { .function = 0x40000001, .eax = 0x01000009 },
        { .function = 0x80000000, .eax = 0x80000008 },
        { .function = 0x80000001, .ecx = 1, .edx = 0x20100800 },
        { .function = 0x80000008, .eax = 0x3028 },
    },
};

struct msr_list {
    uint32_t nmsrs;
    uint32_t indices[6];
};

/* APIC base, TSC, PAT, EFER, STAR, LSTAR (Intel SDM, volume 4). */
static const struct msr_list default_msrs = {
    .nmsrs = 6,
    .indices = { 0x1b, 0x10, 0x277, 0xc0000080, 0xc0000081, 0xc0000082 },
};

static int default_state(struct fake_store *store)
{
    int rc = hv_fake_blob_set(&store->kind[HV_STATE_SUPPORTED_CPUID], &default_cpuid,
                              sizeof(default_cpuid));

    return rc ? rc
              : hv_fake_blob_set(&store->kind[HV_STATE_MSR_INDEX_LIST], &default_msrs,
                                 sizeof(default_msrs));
}
#else
static int default_state(struct fake_store *store)
{
    (void)store;
    return 0;
}
#endif

void *hv_fake_list_add(struct fake_list *list)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 8;
        void *data = realloc(list->data, room * list->entry);

        if (!data)
            return NULL;
        list->data = data;
        list->room = room;
    }
    return memset((char *)list->data + list->entry * list->count++, 0, list->entry);
}

void *hv_fake_list_at(const struct fake_list *list, size_t i)
{
    return i < list->count ? (char *)list->data + list->entry * i : NULL;
}

void hv_fake_list_del(struct fake_list *list, size_t i)
{
    char *at = hv_fake_list_at(list, i);

    memmove(at, at + list->entry, (--list->count - i) * list->entry);
}

int hv_fake_enter(struct hv *hv, enum hv_fake_call call)
{
    struct fake_order *order = &fake_of(hv)->orders[call];
    int code;

    pthread_mutex_lock(&fake_of(hv)->lock);
    order->calls++;
    if (!order->code)
        return 0;
    if (order->skip) {
        order->skip--;
        return 0;
    }
    code = order->code;
    order->code = 0;
    return vm_fail(code, "the fake was told to fail");
}

int hv_fake_leave(struct hv *hv, int code)
{
    pthread_mutex_unlock(&fake_of(hv)->lock);
    return code;
}

void hv_fake_fail(struct hv *hv, enum hv_fake_call call, unsigned skip, int code)
{
    struct fake_system *s = fake_of(hv);

    pthread_mutex_lock(&s->lock);
    s->orders[call].skip = skip;
    s->orders[call].code = code;
    pthread_mutex_unlock(&s->lock);
}

uint64_t hv_fake_calls(struct hv *hv, enum hv_fake_call call)
{
    struct fake_system *s = fake_of(hv);
    uint64_t n;

    pthread_mutex_lock(&s->lock);
    n = s->orders[call].calls;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static struct fake_cap *find_cap(struct fake_system *s, uint32_t cap)
{
    for (size_t i = 0; i < s->caps.count; i++) {
        struct fake_cap *c = hv_fake_list_at(&s->caps, i);

        if (c->cap == cap)
            return c;
    }
    return NULL;
}

int hv_fake_cap_value(struct fake_system *s, uint32_t cap)
{
    const struct fake_cap *c = find_cap(s, cap);

    return c ? c->value : 0;
}

static int set_cap(struct fake_system *s, uint32_t cap, int value)
{
    struct fake_cap *c = find_cap(s, cap);

    if (!c)
        c = hv_fake_list_add(&s->caps);
    if (!c)
        return vm_fail(-ENOMEM, "no memory for capability %u", cap);
    *c = (struct fake_cap){ cap, value };
    return 0;
}

int hv_fake_set_cap(struct hv *hv, uint32_t cap, int value)
{
    struct fake_system *s = fake_of(hv);

    pthread_mutex_lock(&s->lock);
    return hv_fake_leave(hv, set_cap(s, cap, value));
}

int hv_fake_set_system(struct hv *hv, enum hv_state kind, const void *buf, size_t size)
{
    struct fake_system *s = fake_of(hv);
    int rc = hv_state_check(kind, HV_OBJECT_SYSTEM, 0, buf, size);

    if (rc)
        return rc;
    pthread_mutex_lock(&s->lock);
    return hv_fake_leave(hv, hv_fake_blob_set(&s->store.kind[kind], buf, size));
}

int hv_fake_set_reg(struct hv *hv, uint64_t id, uint64_t value)
{
    struct fake_system *s = fake_of(hv);

    pthread_mutex_lock(&s->lock);
    return hv_fake_leave(hv, hv_fake_store_set_number(&s->store, id, &value, sizeof(value)));
}

static void system_free(struct hv *hv)
{
    struct fake_system *s = fake_of(hv);

    hv_fake_store_free(&s->store);
    free(s->caps.data);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int system_cap(struct hv *hv, uint32_t cap)
{
    pthread_mutex_lock(&fake_of(hv)->lock);
    return hv_fake_leave(hv, hv_fake_cap_value(fake_of(hv), cap));
}

static int system_get(struct hv *hv, enum hv_state kind, void *buf, size_t size)
{
    int rc = hv_fake_enter(hv, HV_FAKE_SYSTEM_GET);

    if (!rc)
        rc = hv_fake_store_get(&fake_of(hv)->store, HV_OBJECT_SYSTEM, kind, buf, size);
    return hv_fake_leave(hv, rc);
}

static int system_attr(struct hv *hv, enum hv_attr what, struct kvm_device_attr *attr)
{
    int rc = hv_fake_enter(hv, HV_FAKE_SYSTEM_ATTR);

    (void)what;
    if (!rc)
        rc = vm_fail(-ENXIO, "the fake has no attribute %u/%llu", attr->group,
                     (unsigned long long)attr->attr);
    return hv_fake_leave(hv, rc);
}

static const struct hv_ops system_ops = {
    .name = "fake",
    .free = system_free,
    .cap = system_cap,
    .get = system_get,
    .attr = system_attr,
    .vm_new = hv_fake_vm_new,
};

int hv_fake_new(const struct vm_env *env, struct hv **ret_hv)
{
    struct fake_system *s = calloc(1, sizeof(*s));
    int rc = 0;

    if (!s)
        return vm_fail(-ENOMEM, "no memory for the fake hypervisor");
    s->hv = (struct hv){
        .ops = &system_ops, .env = env, .api_version = KVM_API_VERSION, .run_bytes = 2 * FAKE_PAGE
    };
    pthread_mutex_init(&s->lock, NULL);
    s->caps.entry = sizeof(struct fake_cap);
    s->store.numbers.entry = sizeof(struct fake_number);
    for (size_t i = 0; !rc && i < VM_ARRAY_SIZE(default_caps); i++)
        rc = set_cap(s, default_caps[i].cap, default_caps[i].value);
    if (!rc)
        rc = default_state(&s->store);
    if (rc) {
        system_free(&s->hv);
        return rc;
    }
    *ret_hv = &s->hv;
    return 0;
}
