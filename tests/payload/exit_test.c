/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Why a guest leaves: ports, memory, MSRs, halt, triple fault, immediate exit, single steps. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "payload.h"

static struct payload p;

TestSuite(exits, .timeout = 20);

Test(exits, port_accesses_of_every_width_come_with_their_values_and_take_an_answer)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, pio);

    payload_run(&p);
    cr_assert(payload_is_out(&p, 0x510, 1, 0x11));
    payload_run(&p);
    cr_assert(payload_is_out(&p, 0x510, 2, 0x2211));
    payload_run(&p);
    cr_assert(payload_is_out(&p, 0x510, 4, 0x44332211));
    payload_run(&p);
    cr_assert(payload_is_in(&p, 0x510, 1));
    vm_store_le(p.exit.pio.data, 1, 0xa1);
    payload_run(&p);
    cr_assert(payload_is_in(&p, 0x510, 2));
    vm_store_le(p.exit.pio.data, 2, 0xb1b2);
    payload_run(&p);
    cr_assert(payload_is_in(&p, 0x510, 4));
    vm_store_le(p.exit.pio.data, 4, 0xc1c2c3c4);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 1), 0xa1);
    cr_assert_eq(vm_load_le(p.low + RESULT + 2, 2), 0xb1b2);
    cr_assert_eq(vm_load_le(p.low + RESULT + 4, 4), 0xc1c2c3c4);
    payload_free(&p);
}

/* How many values one exit carries is the hypervisor's choice; all of them together are the string.
 * */
static size_t gather(struct payload *g, bool write, uint8_t *bytes, size_t max)
{
    size_t n = 0;

    while (n < max) {
        size_t len;

        cr_assert_eq(payload_run(g), HV_EXIT_PIO);
        cr_assert_eq(g->exit.pio.is_write, write);
        cr_assert_eq(g->exit.pio.port, 0x510);
        len = (size_t)g->exit.pio.size * g->exit.pio.count;
        cr_assert_leq(n + len, max);
        memcpy(write ? bytes + n : g->exit.pio.data, write ? g->exit.pio.data : bytes + n, len);
        n += len;
    }
    return n;
}

Test(exits, string_instructions_move_all_values)
{
    uint8_t in[6] = { 1, 2, 3, 4, 5, 6 }, out[6];

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, pio_string);
    memcpy(p.low + RESULT, "string", 6);

    gather(&p, true, out, sizeof(out));
    gather(&p, false, in, sizeof(in));
    payload_run_to(&p, DONE);

    cr_assert_arr_eq(out, "string", 6);
    cr_assert_arr_eq(p.low + RESULT + 16, in, 6);
    payload_free(&p);
}

Test(exits, memory_without_a_slot_is_mmio)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, mmio);

    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, 0xa0010, 1, 0x11));
    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, 0xa0020, 2, 0x2211));
    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, 0xa0040, 4, 0x44332211));
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, 0xa0011, 1));
    vm_store_le(p.exit.mmio.data, 1, 0xa1);
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, 0xa0022, 2));
    vm_store_le(p.exit.mmio.data, 2, 0xb1b2);
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, 0xa0044, 4));
    vm_store_le(p.exit.mmio.data, 4, 0xc1c2c3c4);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0xc1c2c3c4b1b200a1);
    payload_free(&p);
}

Test(exits, a_long_mode_guest_has_mmio_of_eight_bytes)
{
    payload_new(&p, &(struct payload_config){ .mode = LONG_MODE });
    payload_load(&p, mmio64);

    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, 0xa0000, 8, 0x8877665544332211));
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, 0xa0008, 8));
    vm_store_le(p.exit.mmio.data, 8, 0x0102030405060708);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0x0102030405060708);
    payload_free(&p);
}

Test(exits, a_halt_without_an_irqchip_is_told)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, hlt);

    cr_assert_eq(payload_run(&p), HV_EXIT_HLT);

    payload_free(&p);
}

Test(exits, a_triple_fault_is_a_shutdown)
{
    payload_new(&p, &(struct payload_config){ .mode = PROTECTED_MODE });
    payload_load(&p, triple);

    cr_assert_eq(payload_run(&p), HV_EXIT_SHUTDOWN, "%s", hv_exit_name(p.exit.reason));

    payload_free(&p);
}

Test(exits, unknown_msrs_are_answered_by_user_space)
{
    struct kvm_regs regs;

    payload_new(&p, &(struct payload_config){ .user_msrs = KVM_MSR_EXIT_REASON_UNKNOWN });
    payload_load(&p, msr);
    hv_vcpu_get(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));
    regs.rcx = 0x4fff0000; /* in no manual */
    hv_vcpu_set(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));

    cr_assert_eq(payload_run(&p), HV_EXIT_RDMSR);
    cr_assert_eq(p.exit.msr.index, 0x4fff0000);
    cr_assert_eq(p.exit.msr.why, KVM_MSR_EXIT_REASON_UNKNOWN);
    *p.exit.msr.value = 0x123456789abcdef0;
    cr_assert_eq(payload_run(&p), HV_EXIT_WRMSR);
    cr_assert_eq(*p.exit.msr.value, 0x1122334455667788);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0x123456789abcdef0);
    payload_free(&p);
}

Test(exits, a_filtered_msr_leaves_with_the_filter_as_reason)
{
    uint8_t none[1] = { 0 };
    struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
    struct kvm_regs regs;

    payload_new(&p, &(struct payload_config){ .user_msrs = KVM_MSR_EXIT_REASON_FILTER });
    payload_load(&p, msr);
    filter.ranges[0].flags = KVM_MSR_FILTER_READ;
    filter.ranges[0].base = 0x277; /* PAT */
    filter.ranges[0].nmsrs = 1;
    filter.ranges[0].bitmap = none;
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_MSR_FILTER, &filter, sizeof(filter)), 0, "%s",
                 vm_error_text());
    hv_vcpu_get(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));
    regs.rcx = 0x277;
    hv_vcpu_set(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));

    cr_assert_eq(payload_run(&p), HV_EXIT_RDMSR);

    cr_assert_eq(p.exit.msr.index, 0x277);
    cr_assert_eq(p.exit.msr.why, KVM_MSR_EXIT_REASON_FILTER);
    payload_free(&p);
}

Test(exits, immediate_exit_keeps_a_guest_from_running)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, spin); /* would never come back */
    hv_vcpu_set_immediate_exit(p.vcpu, true);

    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    payload_free(&p);
}

Test(exits, immediate_exit_completes_a_half_done_read_first)
{
    struct kvm_regs regs;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, pio);
    while (payload_run(&p) == HV_EXIT_PIO && p.exit.pio.is_write)
        ;
    cr_assert(payload_is_in(&p, 0x510, 1));
    p.exit.pio.data[0] = 0x5a;
    hv_vcpu_set_immediate_exit(p.vcpu, true);

    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    hv_vcpu_get(p.vcpu, HV_STATE_REGS, &regs, sizeof(regs));
    cr_assert_eq(regs.rax & 0xff, 0x5a);
    payload_free(&p);
}

static void nothing(int number)
{
    (void)number;
}

static void *kick(void *arg)
{
    hv_vcpu_set_immediate_exit(p.vcpu, true);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

Test(exits, a_kick_from_another_thread_stops_a_spinning_guest)
{
    struct sigaction action = { .sa_handler = nothing };
    pthread_t self = pthread_self(), other;

    sigaction(SIGUSR1, &action, NULL);
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, spin);
    pthread_create(&other, NULL, kick, &self);

    /* However the kick and the entry meet: it comes out. */
    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    pthread_join(other, NULL);
    payload_free(&p);
}

Test(exits, guest_debug_stops_after_each_instruction)
{
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, nops);
    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_GUEST_DEBUG, &debug, sizeof(debug)), 0);

    for (unsigned i = 1; i <= 3; i++) {
        cr_assert_eq(payload_run(&p), HV_EXIT_DEBUG, "%s", hv_exit_name(p.exit.reason));
        cr_assert_eq(p.exit.debug.arch->pc, PAYLOAD_AT + i);
    }

    payload_free(&p);
}

Test(exits, an_enable_is_refused_without_its_capability)
{
    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vm_enable_cap(p.vm, 60000, NULL), -ENOTSUP);
    cr_assert_eq(
        hv_vm_enable_cap(p.vm, KVM_CAP_X86_DISABLE_EXITS, (const uint64_t[4]){ 1ull << 40 }),
        -ENOTSUP);

    payload_free(&p);
}

Test(exits, the_capabilities_we_build_on_are_there)
{
    static const uint32_t needed[] = {
        KVM_CAP_IRQCHIP,     KVM_CAP_USER_MEMORY,   KVM_CAP_IRQFD,          KVM_CAP_IOEVENTFD,
        KVM_CAP_SIGNAL_MSI,  KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM,
        KVM_CAP_IRQ_ROUTING, KVM_CAP_MAX_VCPU_ID,   KVM_CAP_NR_MEMSLOTS,
    };

    payload_new(&p, &(struct payload_config){ 0 });

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        cr_expect_gt(hv_vm_cap(p.vm, needed[i]), 0, "capability %u", needed[i]);
    cr_expect_geq(hv_vcpus_max(p.hv), hv_vcpus_recommended(p.hv));
    cr_expect_eq(hv_cap(p.hv, 60000), 0);
    payload_free(&p);
}
