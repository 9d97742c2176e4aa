/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* State of VM and vCPU on x86: what is set is what is got, sizes are checked, lists say when they are too short. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "payload.h"

static struct payload p;

/* Reads a kind, writes it back. */
#define ROUND_TRIP(kind, type)                                                              \
    do {                                                                                    \
        type a_;                                                                            \
        memset(&a_, 0, sizeof(a_));                                                         \
        cr_expect_eq(hv_vcpu_get(p.vcpu, kind, &a_, sizeof(a_)), 0, "%s", vm_error_text()); \
        cr_expect_eq(hv_vcpu_set(p.vcpu, kind, &a_, sizeof(a_)), 0, "%s", vm_error_text()); \
    } while (0)

Test(state, every_kind_of_a_vcpu_can_be_read_and_written_back)
{
    uint32_t khz;

    payload_new(&p, &(struct payload_config){ .arch.kernel_irqchip = true });

    ROUND_TRIP(HV_STATE_REGS, struct kvm_regs);
    ROUND_TRIP(HV_STATE_SREGS, struct kvm_sregs);
    ROUND_TRIP(HV_STATE_FPU, struct kvm_fpu);
    ROUND_TRIP(HV_STATE_XSAVE, struct kvm_xsave);
    ROUND_TRIP(HV_STATE_XCRS, struct kvm_xcrs);
    ROUND_TRIP(HV_STATE_DEBUGREGS, struct kvm_debugregs);
    ROUND_TRIP(HV_STATE_LAPIC, struct kvm_lapic_state);
    ROUND_TRIP(HV_STATE_MP_STATE, struct kvm_mp_state);
    ROUND_TRIP(HV_STATE_VCPU_EVENTS, struct kvm_vcpu_events);
    if (hv_vm_cap(p.vm, KVM_CAP_SREGS2))
        ROUND_TRIP(HV_STATE_SREGS2, struct kvm_sregs2);
    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_TSC_KHZ, &khz, sizeof(khz)), 0);
    cr_expect_gt(khz, 1000);
    payload_free(&p);
}

Test(state, registers_reach_the_guest)
{
    struct kvm_regs regs;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, nops);
    hv_vcpu_get(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));
    regs.rax = 0x77;
    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs)), 0);

    payload_run(&p);

    cr_assert(payload_is_out(&p, DONE, 1, 0x77));
    payload_free(&p);
}

Test(state, xsave2_wants_the_size_of_its_capability)
{
    int need;
    void *area;

    payload_new(&p, &(struct payload_config){ 0 });
    need = hv_vm_cap(p.vm, KVM_CAP_XSAVE2);
    if (!need)
        cr_skip_test("this KVM has no KVM_GET_XSAVE2 (capability %d is 0)", KVM_CAP_XSAVE2);
    area = calloc(1, (size_t)need);

    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need - 1), -EINVAL);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need), 0, "%s",
                 vm_error_text());
    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need), 0, "%s",
                 vm_error_text());

    free(area);
    payload_free(&p);
}

static struct {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entries[3];
} msrs = { 3,
           0,
           { { .index = 0xc0000081, .data = 0x1230 << 16 }, /* STAR */
             { .index = 0x4fff0000 }, /* in no manual */
             { .index = 0xc0000082, .data = 0x1234 } } }; /* LSTAR */

Test(state, an_unknown_msr_stops_the_list_and_is_named)
{
    struct kvm_msrs *list = (struct kvm_msrs *)&msrs;
    uint32_t done;

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_set_msrs(p.vcpu, list, sizeof(msrs), &done), -ENOENT);
    cr_assert_eq(done, 1);
    cr_assert(strstr(vm_error_text(), "0x4fff0000"), "%s", vm_error_text());
    list->entries[0].data = 0;
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_MSRS, list, sizeof(msrs)), -ENOENT);
    cr_assert_eq(list->nmsrs, 1);
    cr_assert_eq(list->entries[0].data, 0x1230 << 16);
    payload_free(&p);
}

Test(state, a_list_that_is_too_short_says_so)
{
    struct {
        uint32_t nmsrs, indices[1];
    } list = { .nmsrs = 1 };
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[1];
    } cpuid = { .nent = 1 };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_get(p.hv, HV_STATE_MSR_INDEX_LIST, &list, sizeof(list)), -E2BIG);
    cr_assert_gt(list.nmsrs, 10);
    cr_assert_eq(hv_get(p.hv, HV_STATE_SUPPORTED_CPUID, &cpuid, sizeof(cpuid)), -E2BIG);
    payload_free(&p);
}

Test(state, a_size_or_owner_that_does_not_fit_is_refused)
{
    uint8_t buf[8] = { 0 };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_REGS, buf, sizeof(buf)), -EINVAL);
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_REGS, buf, sizeof(buf)), -EINVAL);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_ONE_REG, buf, sizeof(buf)), -ENOTSUP);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_GUEST_DEBUG, buf, sizeof(buf)), -ENOTSUP);
    payload_free(&p);
}

Test(state, irqchip_pit_and_clock_are_state_of_a_vm)
{
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    struct kvm_pit_config config = { 0 };
    struct kvm_pit_state2 pit;
    struct kvm_clock_data clock = { 0 };

    payload_new(&p, &(struct payload_config){ .arch.kernel_irqchip = true });

    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_IRQCHIP, &chip, sizeof(chip)), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_IRQCHIP, &chip, sizeof(chip)), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_PIT, &pit, sizeof(pit)), -ENXIO);
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_PIT_CREATE, &config, sizeof(config)), 0, "%s",
                 vm_error_text());
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_PIT, &pit, sizeof(pit)), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_CLOCK, &clock, sizeof(clock)), 0, "%s", vm_error_text());
    payload_free(&p);
}
