/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

static const struct vm_env env;
static struct hv *hv;
static struct hv_vm *vm;
static struct hv_vcpu *vcpu;
static uint8_t ram[0x100000] __attribute__((aligned(0x1000)));

static void setup(void)
{
    cr_assert_eq(hv_fake_new(&env, &hv), 0);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ 0 }, &vm), 0);
}

static void teardown(void)
{
    hv_vcpu_free(vcpu);
    hv_vm_free(vm);
    hv_free(hv);
}

TestSuite(fake_memory, .init = setup, .fini = teardown);

static int slot(uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size)
{
    const struct hv_slot s = { .id = id, .flags = flags, .gpa = gpa, .size = size, .host = ram };

    return hv_vm_set_slot(vm, &s);
}

static void cpu(void)
{
    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
}

Test(fake_memory, slots_are_recorded_moved_and_removed)
{
    struct hv_slot s;

    cr_assert_eq(slot(1, 0, 0, 0x2000), 0);
    cr_assert_eq(slot(2, HV_SLOT_READ_ONLY, 0x2000, 0x1000), 0);
    cr_assert_eq(slot(2, 0, 0x8000, 0x1000), 0);
    cr_assert_eq(hv_fake_slots(vm), 2);
    cr_assert(hv_fake_slot_at(vm, 1, &s));
    cr_assert(s.id == 2 && s.gpa == 0x8000 && s.flags == 0);
    cr_assert_eq(slot(1, 0, 0, 0), 0);
    cr_assert_eq(hv_fake_slots(vm), 1);
    cr_assert_not(hv_fake_slot_at(vm, 1, &s));
}

Test(fake_memory, slots_that_kvm_refuses_are_refused)
{
    cr_assert_eq(slot(1, 0, 0, 0x2000), 0);

    cr_assert_eq(slot(2, 0, 0x1000, 0x1000), -EEXIST);
    cr_assert_eq(slot(1, 0, 0, 0x3000), -EINVAL);
    cr_assert_eq(slot(3, 0, 0x8000, 0), -EINVAL);
    cr_assert_eq(slot(3, 0, 0x8001, 0x1000), -EINVAL);
    cr_assert_eq(slot(3, 0, 0x8000, 0x1800), -EINVAL);
    cr_assert_eq(slot(3, 4, 0x8000, 0x1000), -EINVAL);
    cr_assert_eq(slot(32764, 0, 0x8000, 0x1000), -EINVAL);
    cr_assert_eq(slot(3, 0, UINT64_MAX - 0xfff, 0x1000), -EINVAL);
    cr_assert_eq(hv_fake_slots(vm), 1);
}

Test(fake_memory, the_guest_reads_and_writes_through_its_slots)
{
    char text[8] = { 0 };

    cpu();
    cr_assert_eq(slot(1, 0, 0x10000, 0x2000), 0);

    cr_assert_eq(hv_fake_write(vcpu, 0x10ffe, "across", 6), 0);
    cr_assert_arr_eq(ram + 0xffe, "across", 6);
    cr_assert_eq(hv_fake_read(vcpu, 0x10ffe, text, 6), 0);
    cr_assert_str_eq(text, "across");
}

Test(fake_memory, an_access_that_leaves_the_slots_changes_nothing)
{
    char text[8];

    cpu();
    cr_assert_eq(slot(1, 0, 0x10000, 0x2000), 0);
    cr_assert_eq(slot(2, HV_SLOT_READ_ONLY, 0x20000, 0x1000), 0);

    cr_assert_eq(hv_fake_write(vcpu, 0x11ffe, "across", 6), -EFAULT);
    cr_assert_eq(ram[0x1ffe], 0);
    cr_assert_eq(hv_fake_read(vcpu, 0xffff, text, 2), -EFAULT);
    cr_assert_eq(hv_fake_write(vcpu, 0x20000, "rom", 3), -EFAULT);
    cr_assert_eq(hv_fake_read(vcpu, 0x20000, text, 3), 0);
}

Test(fake_memory, the_dirty_log_is_cleared_by_reading_it)
{
    uint64_t log[1];

    cpu();
    cr_assert_eq(slot(1, HV_SLOT_LOG_DIRTY, 0, 0x10000), 0);
    hv_fake_write(vcpu, 0x3fff, "ab", 2);

    cr_assert_eq(hv_vm_dirty_get(vm, 1, 16, log), 0);
    cr_assert_eq(log[0], 0x18);
    cr_assert_eq(hv_vm_dirty_get(vm, 1, 16, log), 0);
    cr_assert_eq(log[0], 0);
    cr_assert_eq(hv_vm_dirty_get(vm, 1, 15, log), -EINVAL);
    cr_assert_eq(hv_vm_dirty_clear(vm, 1, 0, 16, log), -EINVAL);
    cr_assert_eq(slot(1, 0, 0, 0x10000), 0);
    cr_assert_eq(hv_vm_dirty_get(vm, 1, 16, log), -ENOENT);
}

Test(fake_memory, manual_protection_clears_only_what_it_is_told)
{
    uint64_t log[3], clear[1] = { 1 };

    cr_assert_eq(hv_vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, (const uint64_t[4]){ 1 }),
                 0);
    cpu();
    cr_assert_eq(slot(1, HV_SLOT_LOG_DIRTY, 0, 130 * 0x1000), 0);
    hv_fake_write(vcpu, 0, "a", 1);
    hv_fake_write(vcpu, 128 * 0x1000, "a", 1);

    cr_assert_eq(hv_vm_dirty_get(vm, 1, 130, log), 0);
    cr_assert_eq(hv_vm_dirty_clear(vm, 1, 128, 2, clear), 0);
    cr_assert_eq(hv_vm_dirty_get(vm, 1, 130, log), 0);
    cr_assert(log[0] == 1 && log[2] == 0);
    cr_assert_eq(hv_vm_dirty_clear(vm, 1, 1, 64, clear), -EINVAL);
    cr_assert_eq(hv_vm_dirty_clear(vm, 1, 0, 63, clear), -EINVAL);
    cr_assert_eq(hv_vm_dirty_clear(vm, 1, 128, 3, clear), -EINVAL);
}

Test(fake_memory, the_dirty_ring_names_a_page_once_until_its_reset)
{
    struct hv_dirty_page pages[8];
    uint64_t log[1];

    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 256), 0);
    cpu();
    cr_assert_eq(slot(1, HV_SLOT_LOG_DIRTY, 0, 0x10000), 0);
    hv_fake_write(vcpu, 0x3000, "a", 1);
    hv_fake_write(vcpu, 0x3001, "a", 1);
    hv_fake_write(vcpu, 0x5000, "a", 1);

    cr_assert_eq(hv_vcpu_dirty_take(vcpu, pages, 1), 1);
    cr_assert(pages[0].slot == 1 && pages[0].page == 3);
    cr_assert_eq(hv_vm_dirty_ring_reset(vm), 1);
    hv_fake_write(vcpu, 0x3000, "a", 1);
    cr_assert_eq(hv_vcpu_dirty_take(vcpu, pages, 8), 2);
    cr_assert(pages[0].page == 5 && pages[1].page == 3);
    cr_assert_eq(hv_vm_dirty_ring_reset(vm), 2);
    cr_assert_eq(hv_vm_dirty_get(vm, 1, 16, log), -ENXIO);
}

Test(fake_memory, a_full_ring_refuses_writes_until_it_is_emptied)
{
    static struct hv_dirty_page pages[256];
    unsigned written = 0, rounds = 0;

    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 256), 0);
    cpu();
    cr_assert_eq(slot(1, HV_SLOT_LOG_DIRTY, 0, sizeof(ram)), 0);

    for (rounds = 0; rounds < 9; rounds++) { /* around the end of the ring, several times */
        for (written = 0; !hv_fake_write(vcpu, written * 0x1000ull, "a", 1); written++)
            ;
        cr_assert_eq(hv_fake_write(vcpu, 0, "a", 1), -ENOSPC);
        cr_assert_eq(written, 192);
        cr_assert_eq(hv_vcpu_dirty_take(vcpu, pages, 256), 192);
        cr_assert_eq(pages[191].page, 191);
        cr_assert_eq(hv_vm_dirty_ring_reset(vm), 192);
    }
}

Test(fake_memory, rings_that_kvm_refuses_are_refused)
{
    cr_assert_eq(hv_vm_dirty_ring_reset(vm), -EINVAL);
    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 300), -EINVAL);
    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 128), -EINVAL);
    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 1 << 20), -E2BIG);
    cpu();
    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 256), -EINVAL);
    hv_fake_set_cap(hv, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 0);
    cr_assert_eq(hv_vm_dirty_ring_enable(vm, 256), -ENOTSUP);
}
