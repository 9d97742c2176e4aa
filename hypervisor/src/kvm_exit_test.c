/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "kvm_private.h"

static struct kvm_run run;
static struct hv_exit e;

static enum hv_exit_reason decode(uint32_t reason)
{
    memset(&e, 0xee, sizeof(e));
    run.exit_reason = reason;
    hv_kvm_decode_rare(&run, &e);
    return e.reason;
}

Test(kvm_exit, exits_without_payload_have_their_reason)
{
    cr_expect_eq(decode(KVM_EXIT_HLT), HV_EXIT_HLT);
    cr_expect_eq(decode(KVM_EXIT_INTR), HV_EXIT_INTR);
    cr_expect_eq(decode(KVM_EXIT_SHUTDOWN), HV_EXIT_SHUTDOWN);
    cr_expect_eq(decode(KVM_EXIT_DIRTY_RING_FULL), HV_EXIT_DIRTY_RING_FULL);
    cr_expect_eq(decode(KVM_EXIT_IRQ_WINDOW_OPEN), HV_EXIT_IRQ_WINDOW);
    cr_expect_eq(decode(KVM_EXIT_X86_BUS_LOCK), HV_EXIT_BUS_LOCK);
}

Test(kvm_exit, an_end_of_interrupt_names_its_vector)
{
    run.eoi.vector = 0x31;

    cr_assert_eq(decode(KVM_EXIT_IOAPIC_EOI), HV_EXIT_EOI);

    cr_assert_eq(e.eoi.vector, 0x31);
}

Test(kvm_exit, an_msr_exit_leads_to_its_value_and_error)
{
    run.msr.index = 0x10;
    run.msr.reason = KVM_MSR_EXIT_REASON_FILTER;

    cr_assert_eq(decode(KVM_EXIT_X86_RDMSR), HV_EXIT_RDMSR);
    *e.msr.value = 77;
    *e.msr.error = 1;

    cr_assert_eq(run.msr.data, 77);
    cr_assert_eq(run.msr.error, 1);
    cr_assert_eq(e.msr.index, 0x10);
    cr_assert_eq(e.msr.why, KVM_MSR_EXIT_REASON_FILTER);
    cr_assert_eq(decode(KVM_EXIT_X86_WRMSR), HV_EXIT_WRMSR);
}

Test(kvm_exit, an_internal_error_gives_no_more_data_than_the_page_holds)
{
    run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run.internal.ndata = 1000;
    run.internal.data[0] = 5;

    cr_assert_eq(decode(KVM_EXIT_INTERNAL_ERROR), HV_EXIT_INTERNAL_ERROR);

    cr_assert_eq(e.internal_error.suberror, KVM_INTERNAL_ERROR_EMULATION);
    cr_assert_eq(e.internal_error.count, 16);
    cr_assert_eq(e.internal_error.data[0], 5);
}

Test(kvm_exit, a_system_event_has_type_and_data)
{
    run.system_event.type = KVM_SYSTEM_EVENT_RESET;
    run.system_event.ndata = 1;
    run.system_event.data[0] = 9;

    cr_assert_eq(decode(KVM_EXIT_SYSTEM_EVENT), HV_EXIT_SYSTEM_EVENT);

    cr_assert_eq(e.system_event.type, KVM_SYSTEM_EVENT_RESET);
    cr_assert_eq(e.system_event.count, 1);
    cr_assert_eq(e.system_event.data[0], 9);
}

Test(kvm_exit, a_failed_entry_has_the_hardware_reason)
{
    run.fail_entry.hardware_entry_failure_reason = 0x80000021;
    run.fail_entry.cpu = 3;

    cr_assert_eq(decode(KVM_EXIT_FAIL_ENTRY), HV_EXIT_FAIL_ENTRY);

    cr_assert_eq(e.fail_entry.reason, 0x80000021);
    cr_assert_eq(e.fail_entry.cpu, 3);
}

Test(kvm_exit, debug_and_syndromeless_exits_are_decoded)
{
    cr_assert_eq(decode(KVM_EXIT_DEBUG), HV_EXIT_DEBUG);
    cr_assert_eq(e.debug.arch, &run.debug.arch);
    run.arm_nisv.fault_ipa = 0x1000;
    run.arm_nisv.esr_iss = 0x20;

    cr_assert_eq(decode(KVM_EXIT_ARM_NISV), HV_EXIT_ARM_NISV);

    cr_assert_eq(e.nisv.ipa, 0x1000);
    cr_assert_eq(e.nisv.esr_iss, 0x20);
}

Test(kvm_exit, an_unknown_exit_keeps_its_number)
{
    cr_assert_eq(decode(9999), HV_EXIT_OTHER);
    cr_assert_eq(e.other.kvm_reason, 9999);
}

Test(kvm_exit, signals_and_woken_waiting_cpus_are_interruptions)
{
    cr_assert_eq(hv_kvm_run_failed(&run, EINTR, &e), 0);
    cr_assert_eq(e.reason, HV_EXIT_INTR);
    e.reason = HV_EXIT_OTHER;
    cr_assert_eq(hv_kvm_run_failed(&run, EAGAIN, &e), 0);
    cr_assert_eq(e.reason, HV_EXIT_INTR);
    cr_assert_eq(hv_kvm_run_failed(&run, EINVAL, &e), -EINVAL);
}

Test(kvm_exit, a_bad_address_is_explained_where_kvm_explains_it)
{
    const struct hv_uapi_memory_fault fault = { .flags = 8, .gpa = 0x5000, .size = 0x1000 };

    cr_assert_eq(hv_kvm_run_failed(&run, EFAULT, &e), -EFAULT);
    run.exit_reason = KVM_EXIT_MEMORY_FAULT;
    memcpy(run.padding, &fault, sizeof(fault));

    cr_assert_eq(hv_kvm_run_failed(&run, EFAULT, &e), 0);

    cr_assert_eq(e.reason, HV_EXIT_MEMORY_FAULT);
    cr_assert_eq(e.memory_fault.gpa, 0x5000);
    cr_assert_eq(e.memory_fault.size, 0x1000);
    cr_assert_eq(e.memory_fault.flags, 8);
}
