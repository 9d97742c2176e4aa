/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Why a guest leaves: memory, immediate exit, single steps; and what KVM can do at all. */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "payload.h"

static struct payload p;

TestSuite(exits, .timeout = TEST_TIMEOUT);

Test(exits, memory_without_a_slot_is_mmio)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, mmio);

    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x10, 1, 0x11));
    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x20, 2, 0x2211));
    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x40, 4, 0x44332211));
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, MMIO_AT + 0x11, 1));
    vm_store_le(p.exit.mmio.data, 1, 0xa1);
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, MMIO_AT + 0x22, 2));
    vm_store_le(p.exit.mmio.data, 2, 0xb1b2);
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, MMIO_AT + 0x44, 4));
    vm_store_le(p.exit.mmio.data, 4, 0xc1c2c3c4);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0xc1c2c3c4b1b200a1);
    payload_free(&p);
}

Test(exits, mmio_has_accesses_of_eight_bytes)
{
    payload_new(&p, &(struct payload_config){ .mode = LONG_MODE });
    payload_load(&p, mmio64);

    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT, 8, 0x8877665544332211));
    payload_run(&p);
    cr_assert(payload_is_mmio_read(&p, MMIO_AT + 8, 8));
    vm_store_le(p.exit.mmio.data, 8, 0x0102030405060708);
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 8), 0x0102030405060708);
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

Test(exits, immediate_exit_completes_a_half_done_mmio_read_first)
{
    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, mmio);
    while (payload_run(&p) == HV_EXIT_MMIO && p.exit.mmio.is_write)
        ;
    cr_assert(payload_is_mmio_read(&p, MMIO_AT + 0x11, 1));
    p.exit.mmio.data[0] = 0x5a;
    hv_vcpu_set_immediate_exit(p.vcpu, true);

    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    cr_assert_eq(payload_answer(p.vcpu) & 0xff, 0x5a);
    payload_free(&p);
}

Test(exits, a_kick_from_another_thread_stops_a_spinning_guest)
{
    struct payload_kick kick;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, spin);
    payload_kick_start(&kick, p.vcpu);

    cr_assert_eq(payload_run(&p), HV_EXIT_INTR);

    payload_kick_end(&kick);
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
        cr_assert_eq(payload_debug_pc(&p), PAYLOAD_AT + i * NOP_BYTES);
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
    payload_new(&p, &(struct payload_config){ 0 });

    for (unsigned i = 0; i < payload_needed_count; i++)
        cr_expect_gt(hv_vm_cap(p.vm, payload_needed[i]), 0, "capability %u", payload_needed[i]);
    cr_expect_geq(hv_vcpus_max(p.hv), hv_vcpus_recommended(p.hv));
    cr_expect_eq(hv_cap(p.hv, 60000), 0);
    payload_free(&p);
}
