/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Why a guest leaves on x86 alone: ports, MSRs, halt, triple fault. */
#include <criterion/criterion.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "payload.h"

static struct payload p;

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

Test(exits, a_halt_without_an_irqchip_is_told)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, hlt);

    cr_assert_eq(payload_run(&p), HV_EXIT_HLT);

    payload_free(&p);
}

Test(exits, a_triple_fault_is_a_shutdown)
{
    payload_new(&p, &(struct payload_config){ .mode = FLAT_MODE });
    payload_load(&p, triple);

    cr_assert_eq(payload_run(&p), HV_EXIT_SHUTDOWN, "%s", hv_exit_name(p.exit.reason));

    payload_free(&p);
}

Test(exits, unknown_msrs_are_answered_by_user_space)
{
    payload_new(&p, &(struct payload_config){ .arch.user_msrs = KVM_MSR_EXIT_REASON_UNKNOWN });
    payload_load(&p, msr);
    payload_set_argument(p.vcpu, 0x4fff0000); /* in no manual */

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
    payload_new(&p, &(struct payload_config){ .arch.user_msrs = KVM_MSR_EXIT_REASON_FILTER });
    payload_load(&p, msr);
    filter.ranges[0].flags = KVM_MSR_FILTER_READ;
    filter.ranges[0].base = 0x277; /* PAT */
    filter.ranges[0].nmsrs = 1;
    filter.ranges[0].bitmap = none;
    cr_assert_eq(hv_vm_set(p.vm, HV_STATE_MSR_FILTER, &filter, sizeof(filter)), 0, "%s",
                 vm_error_text());
    payload_set_argument(p.vcpu, 0x277);

    cr_assert_eq(payload_run(&p), HV_EXIT_RDMSR);

    cr_assert_eq(p.exit.msr.index, 0x277);
    cr_assert_eq(p.exit.msr.why, KVM_MSR_EXIT_REASON_FILTER);
    payload_free(&p);
}

Test(exits, immediate_exit_completes_a_half_done_read_first)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, pio);
    while (payload_run(&p) == HV_EXIT_PIO && p.exit.pio.is_write)
        ;
    cr_assert(payload_is_in(&p, 0x510, 1));
    p.exit.pio.data[0] = 0x5a;
    hv_vcpu_set_immediate_exit(p.vcpu, true);

    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    cr_assert_eq(payload_answer(p.vcpu) & 0xff, 0x5a);
    payload_free(&p);
}
