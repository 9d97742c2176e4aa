/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The timers and the performance counter of a vCPU: what they count, and the private interrupts they raise. */
#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "payload.h"

static struct payload p;

TestSuite(timer, .timeout = TEST_TIMEOUT);

/* A guest with its GIC on that goes on with a program. */
static void guest_of(const uint8_t *program, const uint8_t *end)
{
    payload_gic_start(&p, 0);
    payload_copy(&p, ENTRY_AT, program, end);
    payload_jump(p.vcpu, ENTRY_AT);
}

static int set_int(uint32_t group, uint64_t attr, int value)
{
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

    return hv_vcpu_attr(p.vcpu, HV_ATTR_SET, &a);
}

Test(timer, the_virtual_timer_interrupts)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    guest_of(payload_timer_virt, payload_timer_virt_end);

    cr_assert_eq(payload_run_to(&p, TOLD), INTID_VIRT);

    payload_run_to(&p, DONE);
    payload_free(&p);
}

Test(timer, the_physical_timer_interrupts)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    guest_of(payload_timer_phys, payload_timer_phys_end);

    cr_assert_eq(payload_run_to(&p, TOLD), INTID_PHYS);

    payload_run_to(&p, DONE);
    payload_free(&p);
}

Test(timer, its_interrupt_is_the_one_that_was_chosen)
{
    enum { OTHER = 20 };

    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    cr_assert_eq(set_int(KVM_ARM_VCPU_TIMER_CTRL, KVM_ARM_VCPU_TIMER_IRQ_VTIMER, OTHER), 0, "%s",
                 vm_error_text());
    guest_of(payload_timer_virt, payload_timer_virt_end);

    cr_assert_eq(payload_run_to(&p, TOLD), OTHER);

    payload_free(&p);
}

Test(timer, one_that_is_set_from_outside_interrupts)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    guest_of(payload_wait, payload_wait_end);
    payload_set_reg(p.vcpu, KVM_REG_ARM_TIMER_CVAL, 1);

    payload_set_reg(p.vcpu, KVM_REG_ARM_TIMER_CTL, 1);

    cr_assert_eq(payload_run_to(&p, TOLD), INTID_VIRT);
    payload_free(&p);
}

Test(timer, the_counter_goes_on_from_what_it_was_set_to)
{
    const uint64_t start = 1ull << 50; /* years */

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, counter);
    payload_set_reg(p.vcpu, KVM_REG_ARM_TIMER_CNT, start);

    payload_run_to(&p, DONE);

    cr_assert_gt(vm_load_le(p.low + RESULT, 8), start);
    cr_assert_lt(vm_load_le(p.low + RESULT, 8), start + (1ull << 40));
    cr_assert_gt(payload_reg(p.vcpu, KVM_REG_ARM_TIMER_CNT), vm_load_le(p.low + RESULT, 8));
    payload_free(&p);
}

Test(timer, the_cycle_counter_interrupts_when_it_overflows)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_ARM_PMU_V3, "performance counters");
    payload_free(&p);
    payload_new(&p, &(struct payload_config){
                        .arch = { .gic = true, .features = 1u << KVM_ARM_VCPU_PMU_V3 } });
    cr_assert_eq(set_int(KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, INTID_PMU), 0, "%s",
                 vm_error_text());
    cr_assert_eq(set_int(KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, 0), 0, "%s",
                 vm_error_text());
    guest_of(payload_cycles, payload_cycles_end);

    payload_set_argument(p.vcpu, UINT64_MAX - 1000000);

    cr_assert_eq(payload_run_to(&p, TOLD), INTID_PMU);
    payload_free(&p);
}
