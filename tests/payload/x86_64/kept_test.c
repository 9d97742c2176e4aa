/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * State of x86 that is set is state that is there: each kind is changed, set, and read into another struct, so that a call
 * that does nothing is seen; what cannot be read back is told by what it refuses.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "payload.h"

static struct payload p;

TestSuite(kept, .timeout = TEST_TIMEOUT);

/* Reads a kind, changes a member, sets it, reads it into another struct: neither call may have done nothing. */
#define IS_KEPT(kind, type, member, new_value)                                              \
    do {                                                                                    \
        type a_, b_;                                                                        \
        memset(&a_, 0, sizeof(a_));                                                         \
        memset(&b_, 0, sizeof(b_));                                                         \
        cr_expect_eq(hv_vcpu_get(p.vcpu, kind, &a_, sizeof(a_)), 0, "%s", vm_error_text()); \
        cr_expect_neq(a_.member, (new_value));                                              \
        a_.member = (new_value);                                                            \
        cr_expect_eq(hv_vcpu_set(p.vcpu, kind, &a_, sizeof(a_)), 0, "%s", vm_error_text()); \
        cr_expect_eq(hv_vcpu_get(p.vcpu, kind, &b_, sizeof(b_)), 0, "%s", vm_error_text()); \
        cr_expect_eq(b_.member, (new_value), #kind);                                        \
    } while (0)

Test(kept, what_a_vcpu_is_given_is_what_it_has)
{
    payload_new(&p, &(struct payload_config){ .arch.kernel_irqchip = true });

    IS_KEPT(HV_STATE_REGS, struct kvm_regs, r15, 0x123456789abcdef);
    IS_KEPT(HV_STATE_SREGS, struct kvm_sregs, cr2, 0x1234);
    if (hv_vm_cap(p.vm, KVM_CAP_SREGS2))
        IS_KEPT(HV_STATE_SREGS2, struct kvm_sregs2, cr2, 0x4321);
    IS_KEPT(HV_STATE_FPU, struct kvm_fpu, fcw, 0x27f);
    IS_KEPT(HV_STATE_DEBUGREGS, struct kvm_debugregs, db[0], 0x1000);
    IS_KEPT(HV_STATE_MP_STATE, struct kvm_mp_state, mp_state, KVM_MP_STATE_HALTED);
    IS_KEPT(HV_STATE_VCPU_EVENTS, struct kvm_vcpu_events, nmi.masked, 1);
    IS_KEPT(HV_STATE_LAPIC, struct kvm_lapic_state, regs[0x80], 0x20); /* task priority */
    payload_free(&p);
}

/* Intel SDM, volume 1, 13.4: the control word of the x87 comes first; 13.4.2: bit 0 of the header says that it is there. */
enum { XSAVE_FCW = 0, XSAVE_HEADER = 512 / 4 };

static void give_x87(uint32_t *area, uint32_t fcw)
{
    area[XSAVE_FCW] = (area[XSAVE_FCW] & 0xffff0000) | fcw;
    area[XSAVE_HEADER] |= 1;
}

Test(kept, an_xsave_area_is_kept_and_is_the_fpu)
{
    struct kvm_xsave area = { 0 }, back = { 0 };
    struct kvm_fpu fpu;

    payload_new(&p, &(struct payload_config){ 0 });
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE, &area, sizeof(area)), 0);
    give_x87(area.region, 0x27f);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_XSAVE, &area, sizeof(area)), 0, "%s",
                 vm_error_text());

    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_FPU, &fpu, sizeof(fpu)), 0);
    cr_expect_eq(fpu.fcw, 0x27f, "0x%x", fpu.fcw);
    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE, &back, sizeof(back)), 0);
    cr_expect_eq(back.region[XSAVE_FCW] & 0xffff, 0x27f);
    payload_free(&p);
}

Test(kept, the_larger_xsave_area_is_kept)
{
    uint32_t *area;
    int need;

    payload_new(&p, &(struct payload_config){ 0 });
    need = hv_vm_cap(p.vm, KVM_CAP_XSAVE2);
    if (!need)
        cr_skip_test("this KVM has no KVM_GET_XSAVE2 (capability %d is 0)", KVM_CAP_XSAVE2);
    area = calloc(1, (size_t)need);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need), 0);
    give_x87(area, 0x27f);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need), 0);

    memset(area, 0, (size_t)need);
    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_XSAVE2, area, (size_t)need), 0);
    cr_expect_eq(area[XSAVE_FCW] & 0xffff, 0x27f);
    free(area);
    payload_free(&p);
}

Test(kept, an_extended_control_register_is_kept)
{
    struct kvm_xcrs xcrs = { 0 }, back = { 0 };

    payload_new(&p, &(struct payload_config){ 0 });
    if (!hv_vm_cap(p.vm, KVM_CAP_XCRS))
        cr_skip_test("this KVM has no XCR (capability %d is 0)", KVM_CAP_XCRS);
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_XCRS, &xcrs, sizeof(xcrs)), 0);
    if (!xcrs.nr_xcrs)
        cr_skip_test("this host's processor has no XSAVE");
    xcrs.xcrs[0].value = 3; /* x87 and SSE; after reset x87 alone (Intel SDM, volume 1, 13.3) */

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_XCRS, &xcrs, sizeof(xcrs)), 0, "%s", vm_error_text());

    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_XCRS, &back, sizeof(back)), 0);
    cr_expect_eq(back.xcrs[0].value, 3);
    payload_free(&p);
}

Test(kept, cpuid_is_what_was_given)
{
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[2];
    } list = { .nent = 1, .entries = { { .function = 0x40000000, .ebx = 0x55aa } } },
      back = { .nent = 2 };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_CPUID2, &list, sizeof(list)), 0, "%s",
                 vm_error_text());

    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_CPUID2, &back, sizeof(back)), 0, "%s",
                 vm_error_text());
    cr_expect_eq(back.nent, 1, "%u", back.nent);
    cr_expect_eq(back.entries[0].ebx, 0x55aa);
    payload_free(&p);
}

/* Within the 250 ppm for which KVM lets the host's counter pass as it is. */
Test(kept, the_tsc_frequency_is_what_was_given)
{
    uint32_t khz = 0, given;

    payload_new(&p, &(struct payload_config){ 0 });
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_TSC_KHZ, &khz, sizeof(khz)), 0);
    given = khz - 1;

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_TSC_KHZ, &given, sizeof(given)), 0, "%s",
                 vm_error_text());

    cr_expect_eq(hv_vcpu_get(p.vcpu, HV_STATE_TSC_KHZ, &khz, sizeof(khz)), 0);
    cr_expect_eq(khz, given);
    payload_free(&p);
}

Test(kept, a_linear_address_is_translated)
{
    struct kvm_translation t = { .linear_address = 0x12345 };

    payload_new(&p, &(struct payload_config){ .mode = LONG_MODE });

    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_TRANSLATION, &t, sizeof(t)), 0, "%s",
                 vm_error_text());

    cr_expect(t.valid);
    cr_expect_eq(t.physical_address, 0x12345);
    payload_free(&p);
}

/* What has no other side to be read from shows by what it refuses. */
Test(kept, what_comes_too_late_or_for_nobody_is_refused)
{
    uint64_t cpu = 1, high = 0xffffffff, map = 0xfffbc000;

    payload_new(&p, &(struct payload_config){ 0 });

    cr_expect_eq(hv_vm_set(p.vm, HV_STATE_BOOT_CPU, &cpu, sizeof(cpu)), -EBUSY);
    cr_expect_eq(hv_vm_set(p.vm, HV_STATE_IDENTITY_MAP, &map, sizeof(map)), -EINVAL);
    cr_expect_eq(hv_vm_set(p.vm, HV_STATE_TSS_ADDR, &high, sizeof(high)), -EINVAL);
    cr_expect_eq(hv_vcpu_set(p.vcpu, HV_STATE_CLOCK_PAUSED, NULL, 0), -EINVAL); /* no kvmclock */
    payload_free(&p);
}

Test(kept, what_a_vm_is_given_is_what_it_has)
{
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC }, chip_back = chip;
    struct kvm_clock_data clock = { .clock = 1000000000000000 }, clock_back = { 0 };
    struct kvm_pit_config config = { 0 };
    struct kvm_pit_state2 pit, pit_back = { 0 };

    payload_new(&p, &(struct payload_config){ .arch.kernel_irqchip = true });
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_PIT_CREATE, &config, sizeof(config)), 0);
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_IRQCHIP, &chip, sizeof(chip)), 0);
    cr_assert_eq(hv_vm_get(p.vm, HV_STATE_PIT, &pit, sizeof(pit)), 0);
    chip.chip.ioapic.redirtbl[5].fields.vector = 0x55;
    pit.channels[2].count = 0x1234;

    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_IRQCHIP, &chip, sizeof(chip)), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_PIT, &pit, sizeof(pit)), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_CLOCK, &clock, sizeof(clock)), 0, "%s", vm_error_text());

    cr_expect_eq(hv_vm_get(p.vm, HV_STATE_IRQCHIP, &chip_back, sizeof(chip_back)), 0);
    cr_expect_eq(chip_back.chip.ioapic.redirtbl[5].fields.vector, 0x55);
    cr_expect_eq(hv_vm_get(p.vm, HV_STATE_PIT, &pit_back, sizeof(pit_back)), 0);
    cr_expect_eq(pit_back.channels[2].count, 0x1234);
    cr_expect_eq(hv_vm_get(p.vm, HV_STATE_CLOCK, &clock_back, sizeof(clock_back)), 0);
    cr_expect_geq(clock_back.clock, clock.clock);
    payload_free(&p);
}

Test(kept, lists_of_the_system_say_how_long_they_are)
{
    struct {
        uint32_t nmsrs, indices[1];
    } features = { .nmsrs = 0 };
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[256];
    } emulated = { .nent = 256 };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_expect_eq(hv_get(p.hv, HV_STATE_MSR_FEATURE_LIST, &features, sizeof(features)), -E2BIG);
    cr_expect_gt(features.nmsrs, 0);
    cr_expect_eq(hv_get(p.hv, HV_STATE_EMULATED_CPUID, &emulated, sizeof(emulated)), 0);
    cr_expect_lt(emulated.nent, 256);
    payload_free(&p);
}
