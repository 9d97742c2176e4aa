/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* State of VM and vCPU on AArch64: registers, features, addresses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/hypervisor/kvm.h>

#include "payload.h"

static struct payload p;

TestSuite(arm_state, .timeout = TEST_TIMEOUT);

/* The caller frees it. */
static struct kvm_reg_list *registers_of(struct hv_vcpu *vcpu)
{
    struct kvm_reg_list head = { 0 }, *list;
    size_t bytes;

    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REG_LIST, &head, sizeof(head)), -E2BIG);
    bytes = sizeof(head) + head.n * sizeof(head.reg[0]);
    list = calloc(1, bytes);
    list->n = head.n;
    payload_must(hv_vcpu_get(vcpu, HV_STATE_REG_LIST, list, bytes), "register list");
    return list;
}

Test(arm_state, every_listed_register_can_be_read_and_written_back)
{
    struct kvm_reg_list *list;
    uint8_t value[256];

    payload_new(&p, &(struct payload_config){ 0 });
    list = registers_of(p.vcpu);

    cr_assert_gt(list->n, 100);
    for (uint64_t i = 0; i < list->n; i++) {
        cr_expect_eq(hv_vcpu_get_reg(p.vcpu, list->reg[i], value), 0, "%s", vm_error_text());
        cr_expect_eq(hv_vcpu_set_reg(p.vcpu, list->reg[i], value), 0, "%s", vm_error_text());
    }
    free(list);
    payload_free(&p);
}

Test(arm_state, registers_reach_the_guest_and_come_back)
{
    const uint8_t vector[16] = "sixteen bytes..";
    uint8_t got[16];

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, state);
    payload_set_reg(p.vcpu, CORE_REG(regs.regs[0]), 0x1234567890abcdef);
    payload_set_reg(p.vcpu, CORE_REG(sp_el1), 0x9000);
    payload_set_reg(p.vcpu, REG_TPIDR, 0x77770000);
    payload_must(hv_vcpu_set_reg(p.vcpu,
                                 KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
                                     KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]),
                                 vector),
                 "v0");

    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0x1234567890abcdef);
    cr_assert_eq(vm_load_le(p.low + RESULT + 8, 8), 0x9000);
    cr_assert_arr_eq(p.low + RESULT + 16, vector, 16);
    cr_assert_eq(vm_load_le(p.low + RESULT + 32, 8), 0x77770000);
    cr_assert_eq(payload_reg(p.vcpu, CORE_REG(regs.regs[0])), 0x1234567890abcdf0);
    cr_assert_eq(payload_reg(p.vcpu, CORE_REG(sp_el1)), 0x9020);
    cr_assert_eq(payload_reg(p.vcpu, REG_TPIDR), 0x77770003);
    payload_must(hv_vcpu_get_reg(p.vcpu,
                                 KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
                                     KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]),
                                 got),
                 "v0");
    for (unsigned i = 0; i < sizeof(got); i++)
        cr_assert_eq(got[i], 0x77);
    payload_free(&p);
}

Test(arm_state, a_register_that_is_none_is_named)
{
    uint64_t value;

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_get_reg(p.vcpu, SYS_REG(3, 7, 15, 15, 7), &value), -ENOENT);
    cr_assert(strstr(vm_error_text(), "register 0x603000000013ffff"), "%s", vm_error_text());

    payload_free(&p);
}

Test(arm_state, a_size_or_owner_that_does_not_fit_is_refused)
{
    uint8_t buf[4] = { 0 };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_MP_STATE, buf, 3), -EINVAL);
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_MP_STATE, buf, sizeof(buf)), -EINVAL);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_REGS, buf, sizeof(buf)), -ENOTSUP);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_GUEST_DEBUG, buf, sizeof(buf)), -ENOTSUP);
    payload_free(&p);
}

Test(arm_state, each_vcpu_knows_its_number)
{
    payload_new(&p, &(struct payload_config){ .cpus = 2 });

    cr_assert_eq(payload_reg(p.cpu[0], REG_MPIDR) & 0xff00ffffff, 0);
    cr_assert_eq(payload_reg(p.cpu[1], REG_MPIDR) & 0xff00ffffff, 1);

    payload_free(&p);
}

Test(arm_state, a_second_init_is_a_reset)
{
    struct kvm_vcpu_init init;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_set_argument(p.vcpu, 0x55);
    payload_must(hv_vm_get(p.vm, HV_STATE_PREFERRED_TARGET, &init, sizeof(init)), "target");
    init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_VCPU_INIT, &init, sizeof(init)), 0, "%s",
                 vm_error_text());

    cr_assert_eq(payload_reg(p.vcpu, CORE_REG(regs.regs[0])), 0);
    cr_assert_eq(payload_reg(p.vcpu, CORE_REG(regs.pc)), 0);
    cr_assert_eq(payload_reg(p.vcpu, REG_SCTLR) & 1, 0);
    payload_free(&p);
}

Test(arm_state, a_vcpu_without_init_or_with_an_unknown_feature_is_refused)
{
    struct kvm_vcpu_init init;
    struct hv_exit exit;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_must(hv_vcpu_new(p.vm, 1, &p.cpu[1]), "vCPU");
    payload_must(hv_vm_get(p.vm, HV_STATE_PREFERRED_TARGET, &init, sizeof(init)), "target");
    init.features[6] = UINT32_MAX;

    cr_assert_eq(hv_vcpu_run(p.cpu[1], &exit), -ENOEXEC);
    cr_assert_lt(hv_vcpu_set(p.cpu[1], HV_STATE_VCPU_INIT, &init, sizeof(init)), 0);

    payload_free(&p);
}

Test(arm_state, a_vm_has_as_many_address_bits_as_it_was_given)
{
    static uint8_t page[0x10000] __attribute__((aligned(0x10000)));
    struct hv_slot slot = { .id = 7, .gpa = 1ull << 32, .size = 0x10000, .host = page };

    payload_new(&p, &(struct payload_config){ .arch.ipa_bits = 32 });
    cr_assert_lt(hv_vm_set_slot(p.vm, &slot), 0);
    payload_free(&p);

    payload_new(&p, &(struct payload_config){ .arch.ipa_bits = 36 });
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0, "%s", vm_error_text());
    payload_free(&p);
}

Test(arm_state, more_address_bits_than_the_host_has_are_refused)
{
    struct hv_vm_config config = { 0 };
    struct hv_vm *vm;

    payload_new(&p, &(struct payload_config){ 0 });
    config.ipa_bits = (uint32_t)hv_cap(p.hv, KVM_CAP_ARM_VM_IPA_SIZE) + 1;

    cr_assert_eq(hv_vm_new(p.hv, &config, &vm), -EINVAL);

    payload_free(&p);
}

static uint32_t sve_bytes(unsigned vq)
{
    uint64_t lengths[KVM_ARM64_SVE_VLS_WORDS] = { (1ull << vq) - 1 };
    int sve = KVM_ARM_VCPU_SVE;

    payload_new(&p, &(struct payload_config){ .arch.features = 1u << KVM_ARM_VCPU_SVE });
    payload_load(&p, sve);
    payload_must(hv_vcpu_set_reg(p.vcpu, KVM_REG_ARM64_SVE_VLS, lengths), "vector lengths");
    payload_must(hv_vcpu_set(p.vcpu, HV_STATE_VCPU_FINALIZE, &sve, sizeof(sve)), "finalize");
    payload_set_reg(p.vcpu, SYS_REG(3, 0, 1, 2, 0), 0xf); /* ZCR_EL1: as long as can be */
    return payload_run_to(&p, TOLD);
}

static void need_sve(void)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_ARM_SVE, "SVE");
    payload_free(&p);
}

Test(arm_state, sve_registers_are_as_long_as_the_vcpu_was_given)
{
    need_sve();

    cr_assert_eq(sve_bytes(1), 16);
    payload_free(&p);

    cr_assert_eq(sve_bytes(2), 32);
    payload_free(&p);
}

Test(arm_state, a_vcpu_with_sve_runs_only_when_it_is_finished)
{
    struct hv_exit exit;

    need_sve();
    payload_new(&p, &(struct payload_config){ .arch.features = 1u << KVM_ARM_VCPU_SVE });
    payload_load(&p, sve);

    cr_assert_eq(hv_vcpu_run(p.vcpu, &exit), -EPERM);

    payload_free(&p);
}

static uint32_t signature(uint64_t key)
{
    payload_new(&p,
                &(struct payload_config){ .arch.features = 1u << KVM_ARM_VCPU_PTRAUTH_ADDRESS |
                                                           1u << KVM_ARM_VCPU_PTRAUTH_GENERIC });
    payload_load(&p, pauth);
    payload_set_reg(p.vcpu, REG_APIAKEY, key);
    payload_set_reg(p.vcpu, REG_SCTLR, payload_reg(p.vcpu, REG_SCTLR) | 1u << 31); /* EnIA */
    payload_set_argument(p.vcpu, 0x1000);
    return payload_run_to(&p, TOLD);
}

Test(arm_state, pointers_are_signed_with_the_key_the_vcpu_was_given)
{
    uint32_t one, other;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_ARM_PTRAUTH_ADDRESS, "pointer authentication");
    payload_free(&p);

    one = signature(0x0123456789abcdef);
    payload_free(&p);
    other = signature(0xfedcba9876543210);
    payload_free(&p);

    cr_assert_neq(one, 0);
    cr_assert_neq(one, other);
}
