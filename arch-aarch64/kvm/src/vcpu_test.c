/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of vCPUs: features, attributes, registers at the entry, what the log says. */
#include "arm_test.h"

#define CORE(index) \
    (0x6030000000100000ULL | (index)) /* KVM_REG_ARM64, 64 bits, core register; index in words */
enum { X0 = 0, SP = 62, PC = 64, PSTATE = 66 };

static uint32_t features(unsigned cpu)
{
    struct kvm_vcpu_init init;

    cr_assert(hv_fake_vcpu_was_set(k.cpu[cpu], HV_STATE_VCPU_INIT, &init, sizeof(init)));
    return init.features[0];
}

/* Numbers of features: POWER_OFF 0, PSCI_0_2 2, PMU_V3 3, SVE 4, PTRAUTH 5 and 6 (arch/arm64/include/uapi/asm/kvm.h). */
Test(vcpu, the_first_runs_and_the_others_wait_for_psci)
{
    kt_open();
    k.config.cpus = 3;

    WORKS(kt_build());

    cr_assert_eq(features(0), 1 << 2);
    cr_assert_eq(features(1), 1 << 2 | 1 << 0);
    cr_assert_eq(features(2), 1 << 2 | 1 << 0);
    kt_close();
}

Test(vcpu, it_has_what_the_host_gives)
{
    int finished;

    kt_open();
    kt_cap(KVM_CAP_ARM_PMU_V3);
    kt_cap(KVM_CAP_ARM_SVE);
    kt_cap(KVM_CAP_ARM_PTRAUTH_ADDRESS);
    kt_cap(KVM_CAP_ARM_PTRAUTH_GENERIC);

    WORKS(kt_build());

    cr_assert_eq(features(0), 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6);
    cr_assert(hv_fake_vcpu_was_set(k.cpu[0], HV_STATE_VCPU_FINALIZE, &finished, sizeof(finished)));
    cr_assert_eq(finished, 4);
    kt_close();
}

Test(vcpu, half_of_pointer_authentication_is_none)
{
    int finished;

    kt_open();
    kt_cap(KVM_CAP_ARM_PTRAUTH_ADDRESS);

    WORKS(kt_build());

    cr_assert_eq(features(0), 1 << 2);
    cr_assert(!hv_fake_vcpu_was_set(k.cpu[0], HV_STATE_VCPU_FINALIZE, &finished, sizeof(finished)));
    kt_close();
}

Test(vcpu, one_that_kvm_does_not_take_is_named)
{
    kt_open();
    kt_arch();
    WORKS(hv_vcpu_new(k.vm, 1, &k.cpu[1]));
    hv_fake_fail(k.hv, HV_FAKE_VCPU_SET, 0, -EINVAL);

    cr_assert_eq(varch_vcpu_init(k.arch, k.cpu[1]), -EINVAL);
    cr_assert(!strncmp(vm_error_text(), "vCPU 1: ", 8), "%s", vm_error_text());
    cr_assert_eq(k.arch->vcpus, 0);
    kt_close();
}

Test(vcpu, no_preferred_target_is_no_vcpu)
{
    kt_open();
    kt_arch();
    WORKS(hv_vcpu_new(k.vm, 0, &k.cpu[0]));
    hv_fake_fail(k.hv, HV_FAKE_VM_GET, 0, -ENODEV);

    cr_assert_eq(varch_vcpu_init(k.arch, k.cpu[0]), -ENODEV);
    kt_close();
}

/* Group 0 is the PMU's: 0 its interrupt (23: PPI 7), 1 its start; group 2 is stolen time: 0 where (vcpu.rst, 1 and 3). */
Test(vcpu, counters_and_stolen_time_are_set_up_behind_the_controller)
{
    kt_open();
    k.config.segments = 0;
    kt_cap(KVM_CAP_ARM_PMU_V3);
    kt_cap(KVM_CAP_STEAL_TIME);

    WORKS(kt_build());

    cr_assert_str_eq(strstr(kt_attrs(), "7 4.0"), "7 4.0 0\n"
                                                  "cpu0 2.0 b000000\n"
                                                  "cpu0 0.0 17\n"
                                                  "cpu0 0.1 0\n"
                                                  "cpu1 2.0 b000040\n"
                                                  "cpu1 0.0 17\n"
                                                  "cpu1 0.1 0\n");
    kt_close();
}

Test(vcpu, counters_that_cannot_be_set_up_are_named)
{
    kt_open();
    kt_cap(KVM_CAP_ARM_PMU_V3);
    kt_cap(KVM_CAP_STEAL_TIME);
    hv_fake_fail(k.hv, HV_FAKE_VCPU_ATTR, 1, -EBUSY);

    cr_assert_eq(kt_build(), -EBUSY);

    cr_assert(!strncmp(vm_error_text(), "performance counters of vCPU 0: ", 32), "%s",
              vm_error_text());
    kt_close();
}

Test(vcpu, stolen_time_that_cannot_be_told_is_named)
{
    kt_open();
    kt_cap(KVM_CAP_STEAL_TIME);
    hv_fake_fail(k.hv, HV_FAKE_VCPU_ATTR, 1, -EEXIST);

    cr_assert_eq(kt_build(), -EEXIST);

    cr_assert(!strncmp(vm_error_text(), "stolen time of vCPU 1: ", 23), "%s", vm_error_text());
    kt_close();
}

Test(vcpu, the_first_starts_where_the_kernel_is)
{
    kt_open();
    WORKS(kt_build());
    k.arch->start = (struct vboot_arm_start){ .pc = 0x40200000, .x0 = 0x40000000, .pstate = 0x3c5 };

    WORKS(varch_boot(k.arch, k.cpu[0]));

    cr_assert_eq(kt_reg(0, CORE(PC)), 0x40200000);
    cr_assert_eq(kt_reg(0, CORE(X0)), 0x40000000);
    cr_assert_eq(kt_reg(0, CORE(PSTATE)), 0x3c5);
    kt_close();
}

Test(vcpu, registers_that_cannot_be_set_are_an_error)
{
    kt_open();
    WORKS(kt_build());

    for (unsigned skip = 0; skip < 3; skip++) {
        hv_fake_fail(k.hv, HV_FAKE_VCPU_SET, skip, -EINVAL);
        cr_assert_eq(varch_boot(k.arch, k.cpu[0]), -EINVAL, "%u", skip);
    }
    kt_close();
}

Test(vcpu, an_access_without_syndrome_gets_an_external_abort)
{
    struct hv_exit e = { .reason = HV_EXIT_ARM_NISV, .nisv = { .ipa = 0x9000000 } };
    struct kvm_vcpu_events events;

    kt_open();
    WORKS(kt_build());

    cr_assert_eq(varch_exit(k.arch, k.cpu[0], &e), 0);

    cr_assert(hv_fake_vcpu_was_set(k.cpu[0], HV_STATE_VCPU_EVENTS, &events, sizeof(events)));
    cr_assert_eq(events.exception.ext_dabt_pending, 1);
    cr_assert_eq(events.exception.serror_pending, 0);
    kt_close();
}

Test(vcpu, other_exits_are_not_the_architectures)
{
    struct hv_exit e = { .reason = HV_EXIT_HLT };

    kt_open();
    WORKS(kt_build());

    cr_assert_eq(varch_exit(k.arch, k.cpu[0], &e), -ENOSYS);
    kt_close();
}

Test(vcpu, the_log_has_all_registers)
{
    char text[1024];
    uint64_t value;

    kt_open();
    WORKS(kt_build());
    for (unsigned i = 0; i < 31; i++) {
        value = 0x1100 + i;
        WORKS(hv_vcpu_set_reg(k.cpu[1], CORE(2 * i), &value));
    }
    value = 0x5550;
    WORKS(hv_vcpu_set_reg(k.cpu[1], CORE(SP), &value));
    value = 0xffff800008001234;
    WORKS(hv_vcpu_set_reg(k.cpu[1], CORE(PC), &value));
    value = 0x96000045;
    WORKS(hv_vcpu_set_reg(k.cpu[1], 0x603000000013c290, &value)); /* ESR_EL1: 3, 0, 5, 2, 0 */
    value = 0x77770000;
    WORKS(hv_vcpu_set_reg(k.cpu[1], 0x603000000013c300, &value)); /* FAR_EL1: 3, 0, 6, 0, 0 */

    varch_dump(k.arch, k.cpu[1], text, sizeof(text));

    cr_expect(!strncmp(text, "vCPU 1\npc ffff800008001234 ", 27), "%s", text);
    cr_expect(strstr(text, "sp_el0 0000000000005550"), "%s", text);
    cr_expect(strstr(text, "esr 96000045 far 0000000077770000"), "%s", text);
    cr_expect(strstr(text, "x0  0000000000001100 x1  0000000000001101"), "%s", text);
    cr_expect(strstr(text, "x30 000000000000111e"), "%s", text);
    kt_close();
}

Test(vcpu, a_log_without_room_is_cut)
{
    char text[24];

    kt_open();
    WORKS(kt_build());
    memset(text, 'z', sizeof(text));

    varch_dump(k.arch, k.cpu[0], text, 0);
    cr_assert_eq(text[0], 'z');
    varch_dump(k.arch, k.cpu[0], text, 16);

    cr_assert_str_eq(text, "vCPU 0\npc 00000");
    cr_assert_eq(text[16], 'z');
    kt_close();
}
