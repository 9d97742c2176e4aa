/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a guest asks of its firmware, which KVM is: PSCI (Arm DEN0022), SMCCC (DEN0028), stolen time (DEN0057). */
#include <criterion/criterion.h>
#include <linux/psci.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "payload.h"

#define SYSTEM_SUSPEND64 0xc400000e /* DEN0022, 5.1.17; 64 bits */
#define TRNG_VERSION     0x84000050 /* DEN0098, 5.1 */
#define PV_TIME_FEATURES 0xc5000020
#define PV_TIME_ST       0xc5000021
enum { ENTRY = ENTRY_AT, CONTEXT = 0x4711, MPIDR_1 = 1, MPIDR_NONE = 0x300 };
#define NOT_SUPPORTED UINT64_MAX

static struct payload p;

TestSuite(psci, .timeout = TEST_TIMEOUT);

static void caller(const struct payload_config *config)
{
    payload_new(&p, config);
    payload_load(&p, smccc);
    payload_load_at(&p, ENTRY_AT, tell);
}

static uint64_t call(unsigned cpu, uint64_t function, uint64_t a1, uint64_t a2, uint64_t a3)
{
    return payload_call(&p, cpu, function, a1, a2, a3);
}

static uint32_t event_of(uint64_t function, uint64_t a1)
{
    payload_call_start(p.vcpu, function, a1, 0, 0);
    cr_assert_eq(payload_run(&p), HV_EXIT_SYSTEM_EVENT, "%s", hv_exit_name(p.exit.reason));
    return p.exit.system_event.type;
}

static uint32_t mp_state(unsigned cpu)
{
    struct kvm_mp_state state;

    payload_must(hv_vcpu_get(p.cpu[cpu], HV_STATE_MP_STATE, &state, sizeof(state)), "MP state");
    return state.mp_state;
}

static void set_mp_state(unsigned cpu, uint32_t value)
{
    struct kvm_mp_state state = { value };

    payload_must(hv_vcpu_set(p.cpu[cpu], HV_STATE_MP_STATE, &state, sizeof(state)), "MP state");
}

Test(psci, a_guest_that_powers_off_leaves_with_shutdown)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_eq(event_of(PSCI_0_2_FN_SYSTEM_OFF, 0), KVM_SYSTEM_EVENT_SHUTDOWN);

    payload_free(&p);
}

Test(psci, a_guest_that_resets_leaves_with_reset)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_eq(event_of(PSCI_0_2_FN_SYSTEM_RESET, 0), KVM_SYSTEM_EVENT_RESET);
    cr_assert(!p.exit.system_event.count ||
              !(p.exit.system_event.data[0] & KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2));

    payload_free(&p);
}

Test(psci, the_second_kind_of_reset_is_marked)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_eq(event_of(PSCI_1_1_FN64_SYSTEM_RESET2, PSCI_1_1_RESET_TYPE_SYSTEM_WARM_RESET),
                 KVM_SYSTEM_EVENT_RESET);
    cr_assert_geq(p.exit.system_event.count, 1);
    cr_assert(p.exit.system_event.data[0] & KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2);

    payload_free(&p);
}

Test(psci, a_guest_is_not_told_of_a_suspend_that_nobody_enabled)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_eq(call(0, SYSTEM_SUSPEND64, ENTRY, 0, 0), NOT_SUPPORTED);

    payload_free(&p);
}

Test(psci, a_guest_that_suspends_leaves_with_suspend)
{
    caller(&(struct payload_config){ .arch.suspend = true });

    cr_assert_eq(event_of(SYSTEM_SUSPEND64, ENTRY), KVM_SYSTEM_EVENT_SUSPEND);

    payload_free(&p);
}

Test(psci, a_suspended_cpu_tells_that_an_interrupt_woke_it)
{
    payload_new(&p, &(struct payload_config){ .arch = { .suspend = true, .gic = true } });
    payload_gic_start(&p, 0);
    payload_settle(p.vcpu);
    set_mp_state(0, KVM_MP_STATE_SUSPENDED);
    hv_vm_irq_line(p.vm, payload_edge_line(), true);

    cr_assert_eq(payload_run(&p), HV_EXIT_SYSTEM_EVENT, "%s", hv_exit_name(p.exit.reason));
    cr_assert_eq(p.exit.system_event.type, KVM_SYSTEM_EVENT_WAKEUP);
    set_mp_state(0, KVM_MP_STATE_RUNNABLE);
    cr_assert_eq(payload_run_to(&p, TOLD), EDGE_TOLD);

    payload_free(&p);
}

Test(psci, the_version_is_what_its_register_says)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_geq(call(0, PSCI_0_2_FN_PSCI_VERSION, 0, 0, 0), PSCI_VERSION(1, 0));
    payload_set_reg(p.vcpu, KVM_REG_ARM_PSCI_VERSION, PSCI_VERSION(0, 2));
    cr_assert_eq(call(0, PSCI_0_2_FN_PSCI_VERSION, 0, 0, 0), PSCI_VERSION(0, 2));

    payload_free(&p);
}

Test(psci, a_firmware_service_that_is_taken_away_is_not_there)
{
    const uint64_t none = 0;
    uint64_t now;

    caller(&(struct payload_config){ 0 });
    if (hv_vcpu_get_reg(p.vcpu, KVM_REG_ARM_STD_BMAP, &now) || !(now & 1))
        cr_skip_test("this KVM offers guests no random numbers, or does not let them be taken");
    cr_assert_eq(hv_vcpu_set_reg(p.vcpu, KVM_REG_ARM_STD_BMAP, &none), 0, "%s", vm_error_text());

    cr_assert_eq(call(0, TRNG_VERSION, 0, 0, 0), NOT_SUPPORTED);

    payload_free(&p);
}

Test(psci, a_cpu_that_is_off_is_turned_on_where_the_guest_says)
{
    caller(&(struct payload_config){ .cpus = 2, .arch.others_off = true });

    cr_assert_eq(mp_state(1), KVM_MP_STATE_STOPPED);
    cr_assert_eq(call(0, PSCI_0_2_FN64_AFFINITY_INFO, MPIDR_1, 0, 0), PSCI_0_2_AFFINITY_LEVEL_OFF);
    cr_assert_eq(call(0, PSCI_0_2_FN64_CPU_ON, MPIDR_1, ENTRY, CONTEXT), PSCI_RET_SUCCESS);
    cr_assert_eq(call(0, PSCI_0_2_FN64_AFFINITY_INFO, MPIDR_1, 0, 0), PSCI_0_2_AFFINITY_LEVEL_ON);
    cr_assert_eq(mp_state(1), KVM_MP_STATE_RUNNABLE);
    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), CONTEXT);

    payload_free(&p);
}

Test(psci, a_cpu_that_is_on_or_not_there_is_not_turned_on)
{
    caller(&(struct payload_config){ .cpus = 2 });

    cr_assert_eq((int32_t)call(0, PSCI_0_2_FN64_CPU_ON, MPIDR_1, ENTRY, 0), PSCI_RET_ALREADY_ON);
    cr_assert_eq((int32_t)call(0, PSCI_0_2_FN64_CPU_ON, MPIDR_NONE, ENTRY, 0),
                 PSCI_RET_INVALID_PARAMS);

    payload_free(&p);
}

static void *turn_off(void *unused)
{
    struct hv_exit exit = { 0 };

    (void)unused;
    return payload_run_cpu(p.cpu[1], &exit) == HV_EXIT_INTR ? &p : NULL;
}

Test(psci, a_cpu_that_turns_itself_off_stays_so_until_it_is_kicked)
{
    pthread_t thread;
    void *ended = NULL;

    caller(&(struct payload_config){ .cpus = 2 });
    payload_call_start(p.cpu[1], PSCI_0_2_FN_CPU_OFF, 0, 0, 0);
    pthread_create(&thread, NULL, turn_off, NULL);

    while (call(0, PSCI_0_2_FN64_AFFINITY_INFO, MPIDR_1, 0, 0) != PSCI_0_2_AFFINITY_LEVEL_OFF)
        ;
    payload_kick(thread, p.cpu[1]);
    pthread_join(thread, &ended);

    cr_assert_eq(ended, &p);
    cr_assert_eq(mp_state(1), KVM_MP_STATE_STOPPED);
    payload_free(&p);
}

Test(psci, a_cpu_that_is_off_runs_when_its_state_is_set)
{
    caller(&(struct payload_config){ .cpus = 2, .arch.others_off = true });
    payload_set_reg(p.cpu[1], CORE_REG(regs.pc), ENTRY_AT);
    payload_set_argument(p.cpu[1], 5);

    set_mp_state(1, KVM_MP_STATE_RUNNABLE);

    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), 5);
    payload_free(&p);
}

Test(psci, a_cpu_whose_state_is_set_to_stopped_is_off_for_the_guest)
{
    caller(&(struct payload_config){ .cpus = 2 });
    cr_assert_eq(call(0, PSCI_0_2_FN64_AFFINITY_INFO, MPIDR_1, 0, 0), PSCI_0_2_AFFINITY_LEVEL_ON);

    set_mp_state(1, KVM_MP_STATE_STOPPED);

    cr_assert_eq(call(0, PSCI_0_2_FN64_AFFINITY_INFO, MPIDR_1, 0, 0), PSCI_0_2_AFFINITY_LEVEL_OFF);
    payload_free(&p);
}

Test(psci, a_guest_finds_its_stolen_time_where_it_was_put)
{
    uint64_t at = ROM_AT; /* 64 bytes, in memory of its own */
    static uint8_t page[0x10000] __attribute__((aligned(0x10000)));
    struct hv_slot slot = { .id = 7, .gpa = at, .size = 0x1000, .host = page };
    struct kvm_device_attr attr = { .group = KVM_ARM_VCPU_PVTIME_CTRL,
                                    .attr = KVM_ARM_VCPU_PVTIME_IPA,
                                    .addr = (uintptr_t)&at };

    caller(&(struct payload_config){ 0 });
    payload_need(&p, KVM_CAP_STEAL_TIME, "stolen time");
    memset(page, 0xff, 0x1000);
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vcpu_attr(p.vcpu, HV_ATTR_SET, &attr), 0, "%s", vm_error_text());

    cr_assert_eq(call(0, PV_TIME_FEATURES, PV_TIME_ST, 0, 0), 0);
    cr_assert_eq(call(0, PV_TIME_ST, 0, 0, 0), ROM_AT);

    cr_assert_eq(vm_load_le(page, 8),
                 0); /* revision and attributes, written by KVM: DEN0057, 3.2.1 */
    payload_free(&p);
}

Test(psci, stolen_time_that_was_not_put_anywhere_is_not_there)
{
    caller(&(struct payload_config){ 0 });

    cr_assert_eq(call(0, PV_TIME_ST, 0, 0, 0), NOT_SUPPORTED);

    payload_free(&p);
}
