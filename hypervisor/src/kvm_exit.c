/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Decodes the exits that are rare (Linux Documentation/virt/kvm/api.rst, section 5). */
#include <errno.h>
#include <string.h>

#include "kvm_private.h"

static void decode_memory_fault(const struct kvm_run *run, struct hv_exit *ret_exit)
{
    struct hv_uapi_memory_fault fault;

    memcpy(&fault, run->padding, sizeof(fault));
    ret_exit->reason = HV_EXIT_MEMORY_FAULT;
    ret_exit->memory_fault.gpa = fault.gpa;
    ret_exit->memory_fault.size = fault.size;
    ret_exit->memory_fault.flags = fault.flags;
}

static void decode_msr(struct kvm_run *run, struct hv_exit *ret_exit)
{
    ret_exit->reason = run->exit_reason == KVM_EXIT_X86_RDMSR ? HV_EXIT_RDMSR : HV_EXIT_WRMSR;
    ret_exit->msr.value = (uint64_t *)&run->msr.data;
    ret_exit->msr.error = &run->msr.error;
    ret_exit->msr.index = run->msr.index;
    ret_exit->msr.why = run->msr.reason;
}

static uint32_t at_most(uint32_t n, uint32_t max)
{
    return n < max ? n : max;
}

static void decode_events(struct kvm_run *run, struct hv_exit *ret_exit)
{
    if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
        ret_exit->reason = HV_EXIT_SYSTEM_EVENT;
        ret_exit->system_event.type = run->system_event.type;
        ret_exit->system_event.data = (const uint64_t *)run->system_event.data;
        ret_exit->system_event.count = at_most(run->system_event.ndata, 16);
    } else {
        ret_exit->reason = HV_EXIT_INTERNAL_ERROR;
        ret_exit->internal_error.suberror = run->internal.suberror;
        ret_exit->internal_error.data = (const uint64_t *)run->internal.data;
        ret_exit->internal_error.count = at_most(run->internal.ndata, 16);
    }
}

void hv_kvm_decode_rare(struct kvm_run *run, struct hv_exit *ret_exit)
{
    switch (run->exit_reason) {
    case KVM_EXIT_IOAPIC_EOI:
        ret_exit->reason = HV_EXIT_EOI;
        ret_exit->eoi.vector = run->eoi.vector;
        break;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR: decode_msr(run, ret_exit); break;
    case KVM_EXIT_HLT: ret_exit->reason = HV_EXIT_HLT; break;
    case KVM_EXIT_INTR: ret_exit->reason = HV_EXIT_INTR; break;
    case KVM_EXIT_SHUTDOWN: ret_exit->reason = HV_EXIT_SHUTDOWN; break;
    case KVM_EXIT_DIRTY_RING_FULL: ret_exit->reason = HV_EXIT_DIRTY_RING_FULL; break;
    case KVM_EXIT_IRQ_WINDOW_OPEN: ret_exit->reason = HV_EXIT_IRQ_WINDOW; break;
    case KVM_EXIT_X86_BUS_LOCK: ret_exit->reason = HV_EXIT_BUS_LOCK; break;
    case KVM_EXIT_MEMORY_FAULT: decode_memory_fault(run, ret_exit); break;
    case KVM_EXIT_SYSTEM_EVENT:
    case KVM_EXIT_INTERNAL_ERROR: decode_events(run, ret_exit); break;
    case KVM_EXIT_DEBUG:
        ret_exit->reason = HV_EXIT_DEBUG;
        ret_exit->debug.arch = &run->debug.arch;
        break;
    case KVM_EXIT_FAIL_ENTRY:
        ret_exit->reason = HV_EXIT_FAIL_ENTRY;
        ret_exit->fail_entry.reason = run->fail_entry.hardware_entry_failure_reason;
        ret_exit->fail_entry.cpu = run->fail_entry.cpu;
        break;
    case KVM_EXIT_ARM_NISV:
        ret_exit->reason = HV_EXIT_ARM_NISV;
        ret_exit->nisv.esr_iss = run->arm_nisv.esr_iss;
        ret_exit->nisv.ipa = run->arm_nisv.fault_ipa;
        break;
    default:
        ret_exit->reason = HV_EXIT_OTHER;
        ret_exit->other.kvm_reason = run->exit_reason;
        break;
    }
}

int hv_kvm_run_failed(const struct kvm_run *run, int error, struct hv_exit *ret_exit)
{
    switch (error) {
    case EINTR: /* a signal, or immediate exit */
    case EAGAIN: /* a vCPU that waits for its start-up message was woken */
        ret_exit->reason = HV_EXIT_INTR;
        return 0;
    case EFAULT: /* with KVM_CAP_MEMORY_FAULT_INFO these two may come with an explanation */
    case EHWPOISON:
        if (run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
            decode_memory_fault(run, ret_exit);
            return 0;
        }
        return -error;
    default: return -error;
    }
}
