/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the policy of CPUID: a function of the host's table. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "x86.h"

#define SUB KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static struct {
    struct kvm_cpuid2 *host, *guest;
    struct varch_x86_cpu cpu;
} t;

static void setup(void)
{
    t.host = calloc(1, VARCH_X86_CPUID_BYTES);
    t.guest = calloc(1, VARCH_X86_CPUID_BYTES);
    cr_assert(t.host && t.guest);
    t.cpu = (struct varch_x86_cpu){ .id = 1, .cpus = 4, .tsc_khz = 3000, .tsc_deadline = true };
}

static void teardown(void)
{
    free(t.host);
    free(t.guest);
}

TestSuite(cpuid, .init = setup, .fini = teardown);

static void host(struct kvm_cpuid_entry2 e)
{
    t.host->entries[t.host->nent++] = e;
}

static const struct kvm_cpuid_entry2 *guest(uint32_t function, uint32_t index)
{
    static const struct kvm_cpuid_entry2 none;

    for (uint32_t i = 0; i < t.guest->nent; i++)
        if (t.guest->entries[i].function == function && t.guest->entries[i].index == index)
            return &t.guest->entries[i];
    return &none;
}

static void make(void)
{
    varch_x86_cpuid_make(&t.cpu, t.host, t.guest);
}

Test(cpuid, what_the_policy_does_not_name_is_the_hosts)
{
    host((struct kvm_cpuid_entry2){ 7, 0, SUB, 1, 2, 3, 4, { 0 } });
    host((struct kvm_cpuid_entry2){ .function = 0x80000001, .ecx = 5, .edx = 6 });

    make();

    cr_assert_eq(t.guest->nent, 3); /* and the timing leaf */
    cr_assert(!memcmp(t.guest->entries, t.host->entries, 2 * sizeof(t.host->entries[0])));
}

Test(cpuid, leaf_1_says_which_processor_of_how_many_under_a_hypervisor)
{
    host((struct kvm_cpuid_entry2){ .function = 1, .eax = 0x806f0, .ebx = 0x09100800 });

    make();

    cr_assert_eq(guest(1, 0)->eax, 0x806f0);
    cr_assert_eq(guest(1, 0)->ebx, 0x01040800);
    cr_assert_eq(guest(1, 0)->ecx, 1U << 31 | 1 << 24);
    cr_assert_eq(guest(1, 0)->edx, 1 << 28);
}

Test(cpuid, one_processor_has_no_siblings)
{
    t.cpu.cpus = 1;
    host((struct kvm_cpuid_entry2){ .function = 1, .edx = UINT32_MAX });

    make();

    cr_assert_eq(guest(1, 0)->edx, ~(1U << 28));
}

Test(cpuid, the_deadline_timer_is_there_only_where_kvm_has_it)
{
    t.cpu.tsc_deadline = false;
    host((struct kvm_cpuid_entry2){ .function = 1, .ecx = UINT32_MAX });

    make();

    cr_assert_eq(guest(1, 0)->ecx, ~(1U << 24));
}

Test(cpuid, a_core_has_its_own_l1_and_l2_and_all_share_l3)
{
    host((struct kvm_cpuid_entry2){ 4, 0, SUB, 0x7c004121, 1, 2, 3, { 0 } });
    host((struct kvm_cpuid_entry2){ 4, 3, SUB, 0x7c0fc163, 1, 2, 3, { 0 } });
    host((struct kvm_cpuid_entry2){ 0x8000001d, 0, SUB, 0x4121, 1, 2, 3, { 0 } });
    host((struct kvm_cpuid_entry2){ 0x8000001d, 3, SUB, 0x3c163, 1, 2, 3, { 0 } });

    make();

    cr_assert_eq(guest(4, 0)->eax, 0x0c000121); /* 4 cores: 2 bits */
    cr_assert_eq(guest(4, 3)->eax, 0x0c00c163);
    cr_assert_eq(guest(0x8000001d, 0)->eax, 0x121);
    cr_assert_eq(guest(0x8000001d, 3)->eax, 0xc163);
    cr_assert_eq(guest(4, 3)->ebx, 1);
}

Test(cpuid, a_cache_that_is_not_there_stays_so)
{
    host((struct kvm_cpuid_entry2){ 4, 4, SUB, 0, 0, 0, 0, { 0 } });

    make();

    cr_assert_eq(guest(4, 4)->eax, 0);
}

Test(cpuid, topology_is_one_package_of_cores_with_one_thread)
{
    host((struct kvm_cpuid_entry2){ 0xb, 0, SUB, 9, 9, 9, 9, { 0 } });
    host((struct kvm_cpuid_entry2){ 0x1f, 0, SUB, 9, 9, 9, 9, { 0 } });

    make();

    for (unsigned leaf = 0xb; leaf <= 0x1f; leaf += 0x1f - 0xb) {
        const struct kvm_cpuid_entry2 *thread = guest(leaf, 0), *core = guest(leaf, 1);

        cr_assert(thread->eax == 0 && thread->ebx == 1 && thread->ecx == 0x100 && thread->edx == 1);
        cr_assert(core->eax == 2 && core->ebx == 4 && core->ecx == 0x201 && core->edx == 1);
        cr_assert_eq(core->flags, SUB);
    }
}

Test(cpuid, amds_leaves_count_cores_and_name_this_one)
{
    host((struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 0x3030, .ecx = 0x400f });
    host((struct kvm_cpuid_entry2){ 0x8000001e, 0, 0, 9, 0x109, 9, 0, { 0 } });

    make();

    cr_assert_eq(guest(0x80000008, 0)->eax, 0x3030);
    cr_assert_eq(guest(0x80000008, 0)->ecx, 0x2003);
    cr_assert(guest(0x8000001e, 0)->eax == 1 && guest(0x8000001e, 0)->ebx == 1);
    cr_assert_eq(guest(0x8000001e, 0)->ecx, 0);
}

Test(cpuid, the_rates_of_clocks_have_a_leaf_of_their_own)
{
    host((struct kvm_cpuid_entry2){ .function = 0x40000000, .eax = 0x40000001, .ebx = 7 });

    make();

    cr_assert(guest(0x40000000, 0)->eax == 0x40000010 && guest(0x40000000, 0)->ebx == 7);
    cr_assert(guest(0x40000010, 0)->eax == 3000 && guest(0x40000010, 0)->ebx == 1000000);
}

Test(cpuid, a_rate_that_is_not_known_is_not_told)
{
    t.cpu.tsc_khz = 0;
    host((struct kvm_cpuid_entry2){ .function = 0x40000000, .eax = 0x40000001 });

    make();

    cr_assert_eq(t.guest->nent, 1);
    cr_assert_eq(guest(0x40000000, 0)->eax, 0x40000001);
}
