/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's memory slots, dirty log and dirty ring, and the guest's accesses through them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

#include "fake_private.h"

static struct fake_slot *find_slot(const struct fake_vm *v, uint32_t id, size_t *ret_i)
{
    for (size_t i = 0; i < v->slots.count; i++) {
        struct fake_slot *s = hv_fake_list_at(&v->slots, i);

        if (s->slot.id == id) {
            if (ret_i)
                *ret_i = i;
            return s;
        }
    }
    return NULL;
}

static uint64_t words_of(const struct hv_slot *slot)
{
    return (slot->size / FAKE_PAGE + 63) / 64;
}

static int check_slot(struct fake_vm *v, const struct hv_slot *slot, const struct fake_slot *old)
{
    const uint64_t inner = FAKE_PAGE - 1;
    uint64_t end;

    if (slot->id >= (uint32_t)hv_fake_cap_value(fake_of(v->vm.hv), KVM_CAP_NR_MEMSLOTS))
        return vm_fail(-EINVAL, "memory slot %u: the number is too high", slot->id);
    if (slot->flags & ~(uint32_t)(HV_SLOT_LOG_DIRTY | HV_SLOT_READ_ONLY))
        return vm_fail(-EINVAL, "memory slot %u: unknown flags 0x%x", slot->id, slot->flags);
    if ((slot->gpa | slot->size | (uintptr_t)slot->host) & inner ||
        !vm_add(slot->gpa, slot->size, &end))
        return vm_fail(-EINVAL, "memory slot %u: not of whole pages", slot->id);
    if (!slot->size)
        return old ? 0 : vm_fail(-EINVAL, "memory slot %u: it is not there", slot->id);
    if (old && old->slot.size != slot->size)
        return vm_fail(-EINVAL, "memory slot %u: its size cannot change", slot->id);
    for (size_t i = 0; i < v->slots.count; i++) {
        const struct fake_slot *s = hv_fake_list_at(&v->slots, i);

        if (s != old && vm_ranges_overlap(slot->gpa, slot->size, s->slot.gpa, s->slot.size))
            return vm_fail(-EEXIST, "memory slot %u overlaps slot %u", slot->id, s->slot.id);
    }
    return 0;
}

static int change_slot(struct fake_vm *v, const struct hv_slot *slot)
{
    size_t i = 0;
    struct fake_slot *s = find_slot(v, slot->id, &i);
    uint64_t *dirty = NULL;
    int rc = check_slot(v, slot, s);

    if (rc)
        return rc;
    if (slot->flags & HV_SLOT_LOG_DIRTY && slot->size && !(s && s->dirty)) {
        dirty = calloc(words_of(slot), sizeof(*dirty));
        if (!dirty)
            return vm_fail(-ENOMEM, "memory slot %u: dirty log", slot->id);
    }
    if (!s && !(s = hv_fake_list_add(&v->slots))) {
        free(dirty);
        return vm_fail(-ENOMEM, "memory slot %u", slot->id);
    }
    s->slot = *slot;
    if (dirty)
        s->dirty = dirty;
    if (!(slot->flags & HV_SLOT_LOG_DIRTY) || !slot->size) {
        free(s->dirty);
        s->dirty = NULL;
    }
    if (!slot->size)
        hv_fake_list_del(&v->slots, i);
    return 0;
}

int hv_fake_op_set_slot(struct hv_vm *vm, const struct hv_slot *slot)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_SET_SLOT);

    return hv_fake_leave(vm->hv, rc ? rc : change_slot(fake_vm_of(vm), slot));
}

static bool manual_protect(const struct fake_vm *v)
{
    for (size_t i = 0; i < v->enabled.count; i++) {
        const struct kvm_enable_cap *cap = hv_fake_list_at(&v->enabled, i);

        if (cap->cap == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
            return cap->args[0] != 0;
    }
    return false;
}

/* The slot of a dirty log call, or NULL with *ret_rc. */
static struct fake_slot *logged_slot(struct fake_vm *v, uint32_t id, int *ret_rc)
{
    struct fake_slot *s = find_slot(v, id, NULL);

    if (v->vm.dirty_ring_entries)
        *ret_rc = vm_fail(-ENXIO, "this VM has a dirty ring, not a dirty log");
    else if (!s || !s->dirty)
        *ret_rc = vm_fail(-ENOENT, "slot %u has no dirty log", id);
    else
        return s;
    return NULL;
}

int hv_fake_op_dirty_get(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *ret_bitmap)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_DIRTY_GET);
    struct fake_vm *v = fake_vm_of(vm);
    struct fake_slot *s = rc ? NULL : logged_slot(v, slot, &rc);

    if (s && pages * FAKE_PAGE != s->slot.size) {
        rc = vm_fail(-EINVAL, "slot %u has not %llu pages", slot, (unsigned long long)pages);
    } else if (s) {
        size_t bytes = words_of(&s->slot) * sizeof(*s->dirty);

        memcpy(ret_bitmap, s->dirty, bytes);
        if (!manual_protect(v))
            memset(s->dirty, 0, bytes);
    }
    return hv_fake_leave(vm->hv, rc);
}

static int clear_range(struct fake_slot *s, uint64_t first, uint64_t pages, const uint64_t *bitmap)
{
    uint64_t have = s->slot.size / FAKE_PAGE;

    if (first % 64 || !vm_range_in(first, pages, have) || (pages % 64 && first + pages != have))
        return vm_fail(-EINVAL, "slot %u: pages %llu + %llu are not whole words", s->slot.id,
                       (unsigned long long)first, (unsigned long long)pages);
    for (uint64_t i = 0; i < (pages + 63) / 64; i++)
        s->dirty[first / 64 + i] &= ~bitmap[i];
    return 0;
}

int hv_fake_op_dirty_clear(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t pages,
                           const uint64_t *bitmap)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_DIRTY_CLEAR);
    struct fake_vm *v = fake_vm_of(vm);
    struct fake_slot *s = rc ? NULL : logged_slot(v, slot, &rc);

    if (s && !manual_protect(v))
        rc = vm_fail(-EINVAL, "manual dirty log protection is not enabled");
    else if (s)
        rc = clear_range(s, first, pages, bitmap);
    return hv_fake_leave(vm->hv, rc);
}

int hv_fake_op_dirty_ring_enable(struct hv_vm *vm, uint32_t entries)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_DIRTY_RING_ENABLE);
    struct fake_vm *v = fake_vm_of(vm);
    uint64_t bytes = (uint64_t)entries * sizeof(struct kvm_dirty_gfn);
    int most = hv_fake_cap_value(fake_of(vm->hv), KVM_CAP_DIRTY_LOG_RING_ACQ_REL);

    if (rc)
        return hv_fake_leave(vm->hv, rc);
    if (!most)
        rc = vm_fail(-ENOTSUP, "no dirty ring");
    else if (!vm_is_pow2(entries) || bytes < FAKE_PAGE || v->vcpu_ids.count)
        rc = vm_fail(-EINVAL, "dirty ring of %u entries: no power of two, too small or too late",
                     entries);
    else if (bytes > (uint64_t)most)
        rc = vm_fail(-E2BIG, "dirty ring of %u entries", entries);
    else
        vm->dirty_ring_entries = entries;
    return hv_fake_leave(vm->hv, rc);
}

static int reset_ring(struct fake_vm *v, struct fake_vcpu *c)
{
    uint32_t mask = v->vm.dirty_ring_entries - 1;
    int n = 0;

    while (c->ring_freed != c->ring_fill) {
        struct kvm_dirty_gfn *e = &c->vcpu.ring[c->ring_freed & mask];
        const struct fake_slot *s = find_slot(v, e->slot, NULL);

        if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_RESET))
            break;
        if (s && s->dirty && e->offset < s->slot.size / FAKE_PAGE)
            s->dirty[e->offset / 64] &= ~(1ULL << (e->offset % 64));
        __atomic_store_n(&e->flags, 0, __ATOMIC_RELEASE);
        c->ring_freed++;
        n++;
    }
    return n;
}

int hv_fake_op_dirty_ring_reset(struct hv_vm *vm)
{
    int rc = hv_fake_enter(vm->hv, HV_FAKE_DIRTY_RING_RESET);
    struct fake_vm *v = fake_vm_of(vm);

    if (!rc && !vm->dirty_ring_entries)
        rc = vm_fail(-EINVAL, "this VM has no dirty ring");
    for (size_t i = 0; rc >= 0 && i < v->vcpus.count; i++)
        rc += reset_ring(v, *(struct fake_vcpu **)hv_fake_list_at(&v->vcpus, i));
    return hv_fake_leave(vm->hv, rc);
}

/* A write of len bytes may need more entries than are free, a quarter being kept back as KVM does.
 * */
static bool ring_full(const struct fake_vcpu *c, size_t len)
{
    uint32_t entries = c->vcpu.vm->dirty_ring_entries;
    uint64_t used = c->ring_fill - c->ring_freed;

    return c->vcpu.ring && (used >= entries - entries / 4 || len / FAKE_PAGE + 2 > entries - used);
}

static void mark(struct fake_vcpu *c, struct fake_slot *s, uint64_t page)
{
    uint64_t bit = 1ULL << (page % 64);
    struct kvm_dirty_gfn *e;

    if (!s->dirty || s->dirty[page / 64] & bit)
        return;
    s->dirty[page / 64] |= bit;
    if (!c->vcpu.ring)
        return;
    e = &c->vcpu.ring[c->ring_fill & (c->vcpu.vm->dirty_ring_entries - 1)];
    e->slot = s->slot.id;
    e->offset = page;
    __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
    c->ring_fill++;
}

/* The bytes from gpa on that lie in one page of a slot: their host address, or NULL. */
static uint8_t *page_of(struct fake_vm *v, uint64_t gpa, size_t *len, struct fake_slot **ret_slot)
{
    size_t in_page = FAKE_PAGE - gpa % FAKE_PAGE;

    if (*len > in_page)
        *len = in_page;
    for (size_t i = 0; i < v->slots.count; i++) {
        struct fake_slot *s = hv_fake_list_at(&v->slots, i);

        if (gpa >= s->slot.gpa && gpa - s->slot.gpa < s->slot.size) {
            *ret_slot = s;
            return (uint8_t *)s->slot.host + (gpa - s->slot.gpa);
        }
    }
    return NULL;
}

static int copy(struct fake_vcpu *c, uint64_t gpa, uint8_t *out, const uint8_t *in, size_t len,
                bool really)
{
    struct fake_vm *v = fake_vm_of(c->vcpu.vm);
    struct fake_slot *s;

    while (len) {
        size_t part = len;
        uint8_t *host = page_of(v, gpa, &part, &s);

        if (!host || (in && s->slot.flags & HV_SLOT_READ_ONLY))
            return -EFAULT;
        if (really && in) {
            memcpy(host, in, part);
            mark(c, s, (gpa - s->slot.gpa) / FAKE_PAGE);
        } else if (really) {
            memcpy(out, host, part);
        }
        in = in ? in + part : NULL;
        out = out ? out + part : NULL;
        len -= part;
        if (!vm_add(gpa, part, &gpa) && len)
            return -EFAULT;
    }
    return 0;
}

int hv_fake_read(struct hv_vcpu *vcpu, uint64_t gpa, void *ret_data, size_t len)
{
    struct hv *hv = vcpu->vm->hv;
    int rc;

    pthread_mutex_lock(&fake_of(hv)->lock);
    rc = copy(fake_vcpu_of(vcpu), gpa, ret_data, NULL, len, false);
    if (!rc)
        rc = copy(fake_vcpu_of(vcpu), gpa, ret_data, NULL, len, true);
    return hv_fake_leave(hv, rc);
}

int hv_fake_write(struct hv_vcpu *vcpu, uint64_t gpa, const void *data, size_t len)
{
    struct fake_vcpu *c = fake_vcpu_of(vcpu);
    struct hv *hv = vcpu->vm->hv;
    int rc;

    pthread_mutex_lock(&fake_of(hv)->lock);
    rc = ring_full(c, len) ? -ENOSPC : copy(c, gpa, NULL, data, len, false);
    if (!rc)
        rc = copy(c, gpa, NULL, data, len, true);
    return hv_fake_leave(hv, rc);
}

size_t hv_fake_slots(struct hv_vm *vm)
{
    return fake_vm_of(vm)->slots.count;
}

bool hv_fake_slot_at(struct hv_vm *vm, size_t i, struct hv_slot *ret_slot)
{
    const struct fake_slot *s = hv_fake_list_at(&fake_vm_of(vm)->slots, i);

    if (s)
        *ret_slot = s->slot;
    return s;
}
