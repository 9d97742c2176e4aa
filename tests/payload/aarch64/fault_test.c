/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Accesses that KVM cannot describe, exceptions that are given to a guest, and debugging it. */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/base/error.h>

#include "payload.h"

static struct payload p;

TestSuite(faults, .timeout = TEST_TIMEOUT);

Test(faults, an_access_without_syndrome_cannot_be_run)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, unclear);

    cr_assert_eq(hv_vcpu_run(p.vcpu, &p.exit), -ENOSYS);

    payload_free(&p);
}

Test(faults, an_access_without_syndrome_leaves_with_its_address_if_that_is_enabled)
{
    payload_new(&p, &(struct payload_config){ .arch.nisv = true });
    payload_load(&p, unclear);

    cr_assert_eq(payload_run(&p), HV_EXIT_ARM_NISV, "%s", hv_exit_name(p.exit.reason));

    cr_assert_eq(p.exit.nisv.ipa & ~0xfffull, MMIO_AT);
    cr_assert(p.exit.nisv.esr_iss & 1u << 6); /* WnR: a write */
    payload_free(&p);
}

Test(faults, an_external_abort_is_given_to_the_guest)
{
    struct kvm_vcpu_events events = { .exception.ext_dabt_pending = 1 };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, tell);
    payload_load_at(&p, VECTORS_AT, vectors);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_VCPU_EVENTS, &events, sizeof(events)), 0, "%s",
                 vm_error_text());

    cr_assert_eq(ESR_CLASS(payload_run_to(&p, TRAPPED)), CLASS_ABORT);
    payload_free(&p);
}

Test(faults, an_serror_waits_for_the_guest_and_is_state_until_then)
{
    struct kvm_vcpu_events events = { .exception.serror_pending = 1 };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, tell);
    payload_load_at(&p, VECTORS_AT, vectors);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_VCPU_EVENTS, &events, sizeof(events)), 0, "%s",
                 vm_error_text());

    events.exception.serror_pending = 0;
    cr_assert_eq(hv_vcpu_get(p.vcpu, HV_STATE_VCPU_EVENTS, &events, sizeof(events)), 0);
    cr_assert_eq(events.exception.serror_pending, 1);
    payload_run_to(&p, TOLD); /* masked: PSTATE.A */
    payload_settle(p.vcpu);
    payload_set_reg(p.vcpu, CORE_REG(regs.pstate), 0x2c5);
    payload_run_to(&p, ERRORED);
    payload_free(&p);
}

static void debug(const struct kvm_guest_debug *how)
{
    payload_must(hv_vcpu_set(p.vcpu, HV_STATE_GUEST_DEBUG, how, sizeof(*how)), "guest debug");
}

Test(faults, a_hardware_breakpoint_stops_before_its_instruction)
{
    struct kvm_guest_debug how = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_GUEST_DEBUG_HW_BPS, "hardware breakpoints");
    payload_load(&p, nops);
    how.arch.dbg_bvr[0] = PAYLOAD_AT + 8;
    how.arch.dbg_bcr[0] =
        0xf << 5 | 3 << 1 | 1; /* all four bytes, EL1 and EL0, on: DDI 0487, D19.3.2 */

    debug(&how);

    cr_assert_eq(payload_run(&p), HV_EXIT_DEBUG, "%s", hv_exit_name(p.exit.reason));
    cr_assert_eq(ESR_CLASS(p.exit.debug.arch->hsr), CLASS_BREAKPOINT);
    cr_assert_eq(payload_debug_pc(&p), PAYLOAD_AT + 8);
    payload_free(&p);
}

Test(faults, a_watchpoint_stops_at_its_address)
{
    struct kvm_guest_debug how = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_GUEST_DEBUG_HW_WPS, "watchpoints");
    payload_load(&p, store);
    how.arch.dbg_wvr[0] = RESULT + 8;
    how.arch.dbg_wcr[0] = 0xff << 5 | 2 << 3 | 3 << 1 | 1; /* eight bytes, stores: D19.3.12 */

    debug(&how);

    cr_assert_eq(payload_run(&p), HV_EXIT_DEBUG, "%s", hv_exit_name(p.exit.reason));
    cr_assert_eq(ESR_CLASS(p.exit.debug.arch->hsr), CLASS_WATCHPOINT);
    cr_assert_eq(p.exit.debug.arch->far, RESULT + 8);
    payload_free(&p);
}

Test(faults, a_brk_is_the_debuggers_if_that_is_enabled)
{
    const struct kvm_guest_debug how = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, brk);

    debug(&how);

    cr_assert_eq(payload_run(&p), HV_EXIT_DEBUG, "%s", hv_exit_name(p.exit.reason));
    cr_assert_eq(ESR_CLASS(p.exit.debug.arch->hsr), CLASS_BRK);
    cr_assert_eq(payload_debug_pc(&p), PAYLOAD_AT);
    payload_free(&p);
}

Test(faults, a_brk_is_the_guests_otherwise)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, brk);
    payload_load_at(&p, VECTORS_AT, vectors);

    cr_assert_eq(ESR_CLASS(payload_run_to(&p, TRAPPED)), CLASS_BRK);

    payload_free(&p);
}
