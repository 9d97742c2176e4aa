/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What all implementations share, over the fake. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

static const struct vm_env env;
static struct hv *hv;
static struct hv_vm *vm;
static struct hv_vcpu *vcpu;

static void setup(void)
{
    const struct hv_vm_config config = { 0 };

    cr_assert_eq(hv_fake_new(&env, &hv), 0);
    cr_assert_eq(hv_vm_new(hv, &config, &vm), 0);
    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
}

static void teardown(void)
{
    hv_vcpu_free(vcpu);
    hv_vm_free(vm);
    hv_free(hv);
}

TestSuite(hypervisor, .init = setup, .fini = teardown);

Test(hypervisor, every_exit_and_state_has_a_name)
{
    for (unsigned i = 0; i < HV_EXIT_COUNT; i++)
        cr_expect_str_neq(hv_exit_name((enum hv_exit_reason)i), "?");
    cr_expect_str_eq(hv_exit_name(HV_EXIT_COUNT), "?");
    cr_expect_str_eq(hv_exit_name(HV_EXIT_OTHER), "other");
    cr_expect_str_eq(hv_exit_name(HV_EXIT_MEMORY_FAULT), "bad memory");
    for (unsigned i = 0; i < HV_STATE_COUNT; i++)
        cr_expect(hv_state_name((enum hv_state)i), "kind %u", i);
    cr_expect_str_eq(hv_state_name(HV_STATE_COUNT), "?");
    cr_expect_eq(hv_state_object(HV_STATE_CLOCK), HV_OBJECT_VM);
    cr_expect_eq(hv_state_object(HV_STATE_REG_LIST), HV_OBJECT_VCPU);
    cr_expect_eq(hv_state_object(HV_STATE_COUNT), HV_OBJECT_SYSTEM);
}

Test(hypervisor, an_enable_asks_for_the_capability_first)
{
    const uint64_t one[4] = { 1 }, unknown_flag[4] = { 0x100 };
    uint64_t args[4];

    hv_fake_set_cap(hv, KVM_CAP_X2APIC_API, 0);

    cr_assert_eq(hv_vm_enable_cap(vm, KVM_CAP_X2APIC_API, one), -ENOTSUP);
    cr_assert_eq(hv_vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, unknown_flag), -ENOTSUP);
    cr_assert_eq(hv_fake_calls(hv, HV_FAKE_VM_ENABLE_CAP), 0);
    cr_assert_eq(hv_vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, one), 0);
    cr_assert(hv_fake_enabled(vm, KVM_CAP_X86_DISABLE_EXITS, args));
    cr_assert_eq(args[0], 1);
    cr_assert_not(hv_fake_enabled(vm, KVM_CAP_X2APIC_API, args));
}

Test(hypervisor, a_vcpu_enable_asks_too)
{
    cr_assert_eq(hv_vcpu_enable_cap(vcpu, 60000, NULL), -ENOTSUP);
    cr_assert_eq(hv_fake_calls(hv, HV_FAKE_VCPU_ENABLE_CAP), 0);
    cr_assert_eq(hv_vcpu_enable_cap(vcpu, KVM_CAP_ONE_REG, NULL), 0);
    cr_assert_eq(hv_fake_calls(hv, HV_FAKE_VCPU_ENABLE_CAP), 1);
}

Test(hypervisor, the_number_of_vcpus_has_the_fall_backs_of_the_manual)
{
    cr_assert_eq(hv_vcpus_max(hv), 1024);
    hv_fake_set_cap(hv, KVM_CAP_MAX_VCPUS, 0);
    cr_assert_eq(hv_vcpus_max(hv), 8);
    hv_fake_set_cap(hv, KVM_CAP_NR_VCPUS, 0);
    cr_assert_eq(hv_vcpus_max(hv), 4);
}

Test(hypervisor, freeing_nothing_does_nothing)
{
    hv_free(NULL);
    hv_vm_free(NULL);
    hv_vcpu_free(NULL);
    hv_device_free(NULL);
}

#if defined(__x86_64__)
struct msrs {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entries[2];
};

Test(hypervisor, msrs_are_kept_by_number)
{
    struct msrs set = { 2, 0, { { .index = 0x10, .data = 5 }, { .index = 0x277, .data = 6 } } };
    struct msrs get = { 2, 0, { { .index = 0x277 }, { .index = 0x99 } } };
    uint32_t done;

    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_MSRS, &set, sizeof(set)), 0);
    cr_assert_eq(hv_vcpu_get_msrs(vcpu, (struct kvm_msrs *)&get, sizeof(get), &done), 0);

    cr_assert_eq(done, 2);
    cr_assert_eq(get.entries[0].data, 6);
    cr_assert_eq(get.entries[1].data, 0);
}

Test(hypervisor, a_count_beyond_the_buffer_is_refused)
{
    struct msrs list = { .nmsrs = 3 };
    uint32_t done = 9;

    cr_assert_eq(hv_vcpu_get_msrs(vcpu, (struct kvm_msrs *)&list, sizeof(list), &done), -EINVAL);
    cr_assert_eq(done, 0);
    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_MSRS, &list, 4), -EINVAL);
    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_MSRS, &list, sizeof(list)), -EINVAL);
}

Test(hypervisor, a_size_that_does_not_fit_is_refused)
{
    struct kvm_regs regs = { 0 };

    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REGS, &regs, sizeof(regs) - 1), -EINVAL);
    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs) + 1), -EINVAL);
    cr_assert_eq(hv_vm_get(vm, HV_STATE_REGS, &regs, sizeof(regs)), -EINVAL);
    cr_assert_eq(hv_get(hv, HV_STATE_CLOCK, &regs, sizeof(regs)), -EINVAL);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_COUNT, &regs, sizeof(regs)), -EINVAL);
}

Test(hypervisor, the_other_architectures_registers_are_not_supported)
{
    uint64_t value;

    cr_assert_eq(hv_vcpu_get_reg(vcpu, 1, &value), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "register 0x1"), "%s", vm_error_text());
    cr_assert_eq(hv_vcpu_set_reg(vcpu, 1, &value), -ENOTSUP);
}
#endif

Test(hypervisor, immediate_exit_is_a_byte_of_the_run_page)
{
    hv_vcpu_set_immediate_exit(vcpu, true);
    cr_assert_eq(vcpu->run->immediate_exit, 1);
    hv_vcpu_set_immediate_exit(vcpu, false);
    cr_assert_eq(vcpu->run->immediate_exit, 0);
}

Test(hypervisor, without_a_ring_nothing_is_harvested)
{
    struct hv_dirty_page page;
    struct hv_coalesced write;

    cr_assert_eq(hv_vcpu_dirty_take(vcpu, &page, 1), 0);
    cr_assert_not(hv_vcpu_coalesced_any(vcpu));
    cr_assert_not(hv_vcpu_coalesced_next(vcpu, &write));
}

Test(hypervisor, collected_writes_are_taken_around_the_end_of_their_ring)
{
    enum { ENTRIES = 3 };
    struct kvm_coalesced_mmio_ring *ring =
        calloc(1, sizeof(*ring) + ENTRIES * sizeof(struct kvm_coalesced_mmio));
    struct hv_coalesced write;

    vcpu->coalesced = ring;
    vcpu->coalesced_max = ENTRIES;
    ring->first = 2;
    ring->last = 1;
    ring->coalesced_mmio[2] = (struct kvm_coalesced_mmio){ .phys_addr = 0x10, .len = 1 };
    ring->coalesced_mmio[0] = (struct kvm_coalesced_mmio){ .phys_addr = 0x20, .len = 4, .pio = 1 };
    ring->coalesced_mmio[0].data[3] = 7;

    cr_assert(hv_vcpu_coalesced_next(vcpu, &write));
    cr_assert(write.addr == 0x10 && !write.pio && write.len == 1);
    hv_vcpu_coalesced_done(vcpu);
    cr_assert(hv_vcpu_coalesced_next(vcpu, &write));
    cr_assert(write.addr == 0x20 && write.pio && write.len == 4 && write.data[3] == 7);
    cr_assert(hv_vcpu_coalesced_any(vcpu)); /* until it is done */
    hv_vcpu_coalesced_done(vcpu);
    cr_assert_not(hv_vcpu_coalesced_any(vcpu));
    cr_assert_not(hv_vcpu_coalesced_next(vcpu, &write));

    free(ring);
}
