/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the small guests of vmm doctor: the fake plays what becomes of them. */
#include "arm_test.h"

#include <vmm/arch/probe.h>

static uint8_t ram[65536];
static struct {
    unsigned interruptions;
    uint64_t addr, value;
    enum hv_exit_reason reason;
    int code;
} plays;

static int next(void *ctx, struct hv_vcpu *vcpu, struct hv_exit *e)
{
    (void)ctx;
    if (plays.interruptions) {
        plays.interruptions--;
        hv_fake_exit_plain(e, HV_EXIT_INTR);
    } else if (plays.reason == HV_EXIT_MMIO) {
        hv_fake_exit_mmio(vcpu, e, true, plays.addr, 1, plays.value);
    } else {
        hv_fake_exit_plain(e, plays.reason);
    }
    return plays.code;
}

static int probe(enum varch_probe which)
{
    const struct hv_fake_guest guest = { .next = next };

    kt_open();
    WORKS(hv_vcpu_new(k.vm, 0, &k.cpu[0]));
    hv_fake_set_guest(k.cpu[0], &guest);
    return varch_probe_run(k.cpu[0], which, ram, sizeof(ram));
}

Test(probe, a_guest_that_comes_to_its_end_is_right)
{
    plays.reason = HV_EXIT_MMIO;
    plays.addr = 0x1000000;
    plays.value = 0x5a;
    plays.interruptions = 3;

    cr_assert_eq(probe(VARCH_PROBE_RUNS), 0);

    cr_assert_eq(kt_reg(0, 0x6030000000100040), 0x1000); /* the program counter */
    cr_assert_eq(ram[0x1000], 0x01); /* mov x1, ... */
    kt_close();
}

Test(probe, the_one_for_hardware_begins_with_vector_registers)
{
    plays.reason = HV_EXIT_MMIO;
    plays.addr = 0x1000000;
    plays.value = 0x5a;

    cr_assert_eq(probe(VARCH_PROBE_HARDWARE), 0);

    cr_assert_arr_eq(ram + 0x1004, "\x40\x10\x18\xd5", 4); /* msr cpacr_el1, x0 */
    kt_close();
}

Test(probe, what_happened_instead_is_told)
{
    plays.reason = HV_EXIT_INTERNAL_ERROR;
    cr_expect_eq(probe(VARCH_PROBE_RUNS), -EIO);
    cr_expect(strstr(vm_error_text(), "in place of its last instruction"), "%s", vm_error_text());
    plays.reason = HV_EXIT_MMIO; /* another address */
    cr_expect_eq(varch_probe_run(k.cpu[0], VARCH_PROBE_RUNS, ram, sizeof(ram)), -EIO);
    plays.interruptions = 1000;
    cr_expect_eq(varch_probe_run(k.cpu[0], VARCH_PROBE_RUNS, ram, sizeof(ram)), -EIO);
    cr_expect(strstr(vm_error_text(), "does not come to its end"), "%s", vm_error_text());
    plays.code = -EFAULT;
    cr_expect_eq(varch_probe_run(k.cpu[0], VARCH_PROBE_RUNS, ram, sizeof(ram)), -EIO);
    cr_expect(strstr(vm_error_text(), "KVM_RUN"), "%s", vm_error_text());
    hv_fake_fail(k.hv, HV_FAKE_VCPU_SET, 0, -EINVAL);
    cr_expect_eq(varch_probe_run(k.cpu[0], VARCH_PROBE_RUNS, ram, sizeof(ram)), -EINVAL);
    kt_close();
}

Test(probe, the_first_thing_that_is_missing_is_told)
{
    kt_open();
    kt_cap(KVM_CAP_ARM_PSCI_0_2);
    cr_assert_null(varch_probe_missing(k.hv), "%s", varch_probe_missing(k.hv));
    WORKS(hv_fake_set_cap(k.hv, KVM_CAP_ARM_PSCI_0_2, 0));

    cr_assert_str_eq(varch_probe_missing(k.hv), "PSCI is missing");
    kt_close();
}
