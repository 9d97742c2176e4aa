/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake: orders, state, and the guest. Memory and interrupts have test files of their own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>
#include <vmm/hypervisor/fake.h>

static const struct vm_env env;
static struct hv *hv;
static struct hv_vm *vm;
static struct hv_vcpu *vcpu;
static struct hv_exit e;

static void setup(void)
{
    const struct hv_vm_config config = { 0 };

    cr_assert_eq(hv_fake_new(&env, &hv), 0);
    cr_assert_eq(hv_vm_new(hv, &config, &vm), 0);
    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
}

static void teardown(void)
{
    hv_vcpu_free(vcpu);
    hv_vm_free(vm);
    hv_free(hv);
}

TestSuite(fake, .init = setup, .fini = teardown);

Test(fake, it_says_what_it_is)
{
    cr_assert_str_eq(hv->ops->name, "fake");
    cr_assert_eq(hv->api_version, 12);
    cr_assert_eq(hv->env, &env);
}

Test(fake, an_ordered_failure_happens_once_at_its_turn)
{
    const struct hv_vm_config config = { 0 };
    struct hv_vm *other;

    hv_fake_fail(hv, HV_FAKE_VM_NEW, 1, -EMFILE);

    cr_assert_eq(hv_vm_new(hv, &config, &other), 0);
    hv_vm_free(other);
    cr_assert_eq(hv_vm_new(hv, &config, &other), -EMFILE);
    cr_assert_eq(hv_vm_new(hv, &config, &other), 0);
    hv_vm_free(other);
    cr_assert_eq(hv_fake_calls(hv, HV_FAKE_VM_NEW), 4);
}

/* One call of each kind that can be told to fail. */
static int call(enum hv_fake_call which)
{
    struct kvm_device_attr attr = { 0 };
    const struct hv_slot slot = { .size = 0x1000 };
    const struct hv_ioeventfd event = { .len = 1 };
    const struct hv_vm_config config = { 0 };
    const struct hv_msi msi = { 0 };
    struct hv_device *device;
    struct hv_vm *new_vm;
    struct hv_vcpu *new_vcpu;
    struct kvm_mp_state state = { 0 };
    struct kvm_guest_debug debug = { 0 };
    uint64_t word = 0;

    switch (which) {
    case HV_FAKE_SYSTEM_GET: return hv_get(hv, HV_STATE_SUPPORTED_CPUID, &word, 8);
    case HV_FAKE_SYSTEM_ATTR: return hv_attr(hv, HV_ATTR_GET, &attr);
    case HV_FAKE_VM_NEW: return hv_vm_new(hv, &config, &new_vm);
    case HV_FAKE_VM_ENABLE_CAP: return hv_vm_enable_cap(vm, KVM_CAP_IRQCHIP, NULL);
    case HV_FAKE_VM_GET: return hv_vm_get(vm, HV_STATE_CLOCK, &word, 8);
    case HV_FAKE_VM_SET: return hv_vm_set(vm, HV_STATE_CLOCK, &word, 8);
    case HV_FAKE_VM_ATTR: return hv_vm_attr(vm, HV_ATTR_GET, &attr);
    case HV_FAKE_SET_SLOT: return hv_vm_set_slot(vm, &slot);
    case HV_FAKE_DIRTY_GET: return hv_vm_dirty_get(vm, 0, 1, &word);
    case HV_FAKE_DIRTY_CLEAR: return hv_vm_dirty_clear(vm, 0, 0, 1, &word);
    case HV_FAKE_DIRTY_RING_ENABLE: return hv_vm_dirty_ring_enable(vm, 1024);
    case HV_FAKE_DIRTY_RING_RESET: return hv_vm_dirty_ring_reset(vm);
    case HV_FAKE_IRQCHIP_NEW: return hv_vm_irqchip_new(vm, HV_IRQCHIP_SPLIT, 24);
    case HV_FAKE_SET_ROUTES: return hv_vm_set_routes(vm, NULL, 0);
    case HV_FAKE_IRQFD: return hv_vm_irqfd_del(vm, 0, 0);
    case HV_FAKE_IOEVENTFD: return hv_vm_ioeventfd_add(vm, &event);
    case HV_FAKE_SIGNAL_MSI: return hv_vm_signal_msi(vm, &msi);
    case HV_FAKE_IRQ_LINE: return hv_vm_irq_line(vm, 0, true);
    case HV_FAKE_COALESCED: return hv_vm_coalesced_add(vm, 0, 1, true);
    case HV_FAKE_STATS_FD: return hv_vm_stats_fd(vm);
    case HV_FAKE_DEVICE_NEW: return hv_vm_device_new(vm, 5, &device);
    case HV_FAKE_VCPU_NEW: return hv_vcpu_new(vm, 1, &new_vcpu);
    case HV_FAKE_RUN: return hv_vcpu_run(vcpu, &e);
    case HV_FAKE_VCPU_ENABLE_CAP: return hv_vcpu_enable_cap(vcpu, KVM_CAP_IRQCHIP, NULL);
    case HV_FAKE_VCPU_GET: return hv_vcpu_get(vcpu, HV_STATE_MP_STATE, &state, 4);
    case HV_FAKE_VCPU_SET: return hv_vcpu_set(vcpu, HV_STATE_GUEST_DEBUG, &debug, 8);
    case HV_FAKE_VCPU_ATTR: return hv_vcpu_attr(vcpu, HV_ATTR_GET, &attr);
    default: return -EXDEV;
    }
}

Test(fake, every_call_can_be_told_to_fail)
{
    for (unsigned i = 0; i < HV_FAKE_CALLS; i++) {
        uint64_t before = hv_fake_calls(hv, (enum hv_fake_call)i);

        if (i == HV_FAKE_DEVICE_ATTR) /* needs a device: below */
            continue;
        hv_fake_fail(hv, (enum hv_fake_call)i, 0, -EXDEV);
        cr_expect_eq(call((enum hv_fake_call)i), -EXDEV, "call %u", i);
        cr_expect_eq(hv_fake_calls(hv, (enum hv_fake_call)i), before + 1, "call %u", i);
    }
    cr_assert_eq(hv_fake_slots(vm), 0);
}

Test(fake, an_order_can_be_taken_back)
{
    hv_fake_fail(hv, HV_FAKE_RUN, 0, -EIO);
    hv_fake_fail(hv, HV_FAKE_RUN, 0, 0);

    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
}

Test(fake, what_it_does_not_have_is_refused)
{
    struct kvm_device_attr attr = { 0 };

    cr_assert_eq(hv_vm_stats_fd(vm), -ENOTSUP);
    cr_assert_eq(hv_vcpu_stats_fd(vcpu), -ENOTSUP);
    cr_assert_eq(hv_attr(hv, HV_ATTR_HAS, &attr), -ENXIO);
    cr_assert_eq(hv_vm_attr(vm, HV_ATTR_HAS, &attr), -ENXIO);
    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_HAS, &attr), -ENXIO);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ .ipa_bits = 53 }, &vm), -EINVAL);
}

Test(fake, a_vcpu_id_is_used_once_even_after_its_end)
{
    struct hv_vcpu *other;

    cr_assert_eq(hv_vcpu_new(vm, 0, &other), -EEXIST);
    cr_assert_eq(hv_vcpu_new(vm, 4096, &other), -EINVAL);
    cr_assert_eq(hv_vcpu_new(vm, 3, &other), 0);
    cr_assert_eq(other->id, 3);
    hv_vcpu_free(other);
    cr_assert_eq(hv_vcpu_new(vm, 3, &other), -EEXIST);
    hv_fake_set_cap(hv, KVM_CAP_MAX_VCPUS, 2);
    cr_assert_eq(hv_vcpu_new(vm, 4, &other), -EINVAL);
}

Test(fake, attributes_are_told_in_the_order_in_which_they_were_set)
{
    uint64_t value = 7;
    struct kvm_device_attr set = { .group = 4, .attr = 1, .addr = (uintptr_t)&value },
                           bare = { .group = 5, .attr = 2 };
    struct hv_device *device;
    struct hv_fake_attr a;

    cr_assert_eq(hv_fake_set_cap(hv, KVM_CAP_VCPU_ATTRIBUTES, 1), 0);
    cr_assert_eq(hv_vm_device_new(vm, 9, &device), 0);
    cr_assert_eq(hv_device_attr(device, HV_ATTR_SET, &set), 0);
    cr_assert_eq(hv_device_attr(device, HV_ATTR_HAS, &set), 0);
    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_SET, &bare), 0);

    cr_assert(hv_fake_attr_at(vm, 0, &a));
    cr_assert(!a.of_vcpu && a.of == 9 && a.group == 4 && a.attr == 1 && a.value == 7);
    cr_assert(hv_fake_attr_at(vm, 1, &a));
    cr_assert(a.of_vcpu && a.of == vcpu->id && a.group == 5 && a.attr == 2 && a.value == 0);
    cr_assert(!hv_fake_attr_at(vm, 2, &a));
    hv_device_free(device);
}

Test(fake, state_that_was_set_can_be_looked_at)
{
    struct kvm_guest_debug set = { .control = KVM_GUESTDBG_ENABLE }, seen;

    cr_assert(!hv_fake_vcpu_was_set(vcpu, HV_STATE_GUEST_DEBUG, &seen, sizeof(seen)));
    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_GUEST_DEBUG, &set, sizeof(set)), 0);

    cr_assert(hv_fake_vcpu_was_set(vcpu, HV_STATE_GUEST_DEBUG, &seen, sizeof(seen)));
    cr_assert_eq(seen.control, KVM_GUESTDBG_ENABLE);
    cr_assert(!hv_fake_vcpu_was_set(vcpu, HV_STATE_GUEST_DEBUG, &seen, 1));
}

Test(fake, a_device_keeps_its_attributes)
{
    uint64_t value = 0x1234, read = 0;
    struct kvm_device_attr attr = { .group = 4, .attr = 1, .addr = (uintptr_t)&value };
    struct hv_device *device;

    cr_assert_eq(hv_vm_device_new(vm, 5, &device), 0);
    cr_assert_eq(hv_device_attr(device, HV_ATTR_HAS, &attr), 0);
    cr_assert_eq(hv_device_attr(device, HV_ATTR_SET, &attr), 0);
    attr.addr = (uintptr_t)&read;
    cr_assert_eq(hv_device_attr(device, HV_ATTR_GET, &attr), 0);
    cr_assert_eq(read, 0x1234);
    hv_fake_fail(hv, HV_FAKE_DEVICE_ATTR, 0, -EBUSY);
    cr_assert_eq(hv_device_attr(device, HV_ATTR_SET, &attr), -EBUSY);
    hv_device_free(device);
}

Test(fake, asking_for_a_device_makes_none)
{
    cr_assert_eq(hv_vm_device_new(vm, 5, NULL), 0);
    cr_assert_eq(hv_vm_irq_line(vm, 1, true), -ENXIO);
}

Test(fake, coalesced_zones_are_remembered)
{
    cr_assert_eq(hv_vm_coalesced_add(vm, 0x70, 1, true), 0);
    cr_assert_eq(hv_vm_coalesced_del(vm, 0x70, 1, false), -ENOENT);
    cr_assert_eq(hv_vm_coalesced_del(vm, 0x70, 1, true), 0);
    cr_assert_eq(hv_vm_coalesced_del(vm, 0x70, 1, true), -ENOENT);
}

#if defined(__x86_64__)
Test(fake, state_is_what_was_set_last)
{
    struct kvm_regs set = { .rax = 7 }, get;
    struct kvm_sregs sregs;

    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REGS, &get, sizeof(get)), 0);
    cr_assert_eq(get.rip, 0xfff0);
    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_REGS, &set, sizeof(set)), 0);
    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REGS, &get, sizeof(get)), 0);
    cr_assert_eq(get.rax, 7);
    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs)), 0);
    cr_assert(sregs.apic_base & 0x100);
    cr_assert_eq(hv_vcpu_set(vcpu, HV_STATE_NMI, NULL, 0), 0);
}

Test(fake, lists_say_how_long_they_are)
{
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[20];
    } cpuid = { .nent = 1 };

    cr_assert_eq(hv_get(hv, HV_STATE_SUPPORTED_CPUID, &cpuid, sizeof(cpuid)), -E2BIG);
    cr_assert_eq(cpuid.nent, 8);
    cpuid.nent = 20;
    cr_assert_eq(hv_get(hv, HV_STATE_SUPPORTED_CPUID, &cpuid, sizeof(cpuid)), 0);
    cr_assert_eq(cpuid.nent, 8);
    cpuid.nent = 2;
    cr_assert_eq(hv_fake_set_system(hv, HV_STATE_SUPPORTED_CPUID, &cpuid, sizeof(cpuid)), 0);
    cpuid.nent = 20;
    cr_assert_eq(hv_get(hv, HV_STATE_SUPPORTED_CPUID, &cpuid, sizeof(cpuid)), 0);
    cr_assert_eq(cpuid.nent, 2);
    cpuid.nent = 20;
    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_CPUID2, &cpuid, sizeof(cpuid)), 0);
    cr_assert_eq(cpuid.nent, 0);
    cr_assert_eq(hv_fake_set_system(hv, HV_STATE_REGS, &cpuid, 8), -EINVAL);
}

Test(fake, irqchip_state_is_kept_for_each_chip)
{
    struct kvm_irqchip a = { .chip_id = 0 }, b = { .chip_id = 2 };

    cr_assert_eq(hv_vm_get(vm, HV_STATE_IRQCHIP, &a, sizeof(a)), -ENXIO);
    hv_vcpu_free(vcpu);
    vcpu = NULL;
    hv_vm_free(vm);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ 0 }, &vm), 0);
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_KERNEL, 0), 0);
    a.chip.dummy[0] = 5;
    cr_assert_eq(hv_vm_set(vm, HV_STATE_IRQCHIP, &a, sizeof(a)), 0);
    cr_assert_eq(hv_vm_get(vm, HV_STATE_IRQCHIP, &b, sizeof(b)), 0);
    cr_assert_eq(b.chip_id, 2);
    memset(&a.chip, 0, sizeof(a.chip));
    cr_assert_eq(hv_vm_get(vm, HV_STATE_IRQCHIP, &a, sizeof(a)), 0);
    cr_assert_eq(a.chip.dummy[0], 5);
    b.chip_id = 3;
    cr_assert_eq(hv_vm_get(vm, HV_STATE_IRQCHIP, &b, sizeof(b)), -EINVAL);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_IRQCHIP, &b, sizeof(b)), -EINVAL);
}

Test(fake, a_pit_is_made_once_and_only_beside_a_kernel_irqchip)
{
    struct kvm_pit_config config = { 0 };
    struct kvm_pit_state2 pit;
    uint64_t page = 0xfffbc000;

    cr_assert_eq(hv_vm_set(vm, HV_STATE_PIT_CREATE, &config, sizeof(config)), -ENXIO);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_IDENTITY_MAP, &page, sizeof(page)), -EINVAL);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_BOOT_CPU, &page, sizeof(page)), -EBUSY);
    hv_vcpu_free(vcpu);
    vcpu = NULL;
    hv_vm_free(vm);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ 0 }, &vm), 0);
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_KERNEL, 0), 0);
    cr_assert_eq(hv_vm_get(vm, HV_STATE_PIT, &pit, sizeof(pit)), -ENXIO);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_PIT_CREATE, &config, sizeof(config)), 0);
    cr_assert_eq(hv_vm_get(vm, HV_STATE_PIT, &pit, sizeof(pit)), 0);
    cr_assert_eq(hv_vm_set(vm, HV_STATE_PIT_CREATE, &config, sizeof(config)), -EEXIST);
}
#endif

/* A guest that reads a port and then halts; what it read stands in seen. */
struct guest {
    unsigned step;
    uint32_t seen;
    unsigned answers;
    int code;
};

static void guest_answer(void *ctx, struct hv_vcpu *v, const struct hv_exit *exit)
{
    struct guest *g = ctx;

    (void)v;
    g->answers++;
    if (exit->reason == HV_EXIT_PIO && !exit->pio.is_write)
        g->seen = (uint32_t)vm_load_le(exit->pio.data, exit->pio.size);
}

static int guest_next(void *ctx, struct hv_vcpu *v, struct hv_exit *ret_exit)
{
    struct guest *g = ctx;

    if (g->code)
        return g->code;
    if (!g->step++)
        hv_fake_exit_pio(v, ret_exit, false, 0x60, 2, 0);
    else
        hv_fake_exit_plain(ret_exit, HV_EXIT_SHUTDOWN);
    return 0;
}

static struct guest guest;

static void play(void)
{
    const struct hv_fake_guest g = { guest_answer, guest_next, &guest };

    hv_fake_set_guest(vcpu, &g);
}

Test(fake, a_vcpu_without_a_guest_halts)
{
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert_eq(e.reason, HV_EXIT_HLT);
}

Test(fake, the_guest_gets_the_answer_when_the_vcpu_runs_again)
{
    play();

    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert(e.reason == HV_EXIT_PIO && !e.pio.is_write && e.pio.port == 0x60 && e.pio.size == 2);
    vm_store_le(e.pio.data, 2, 0xabcd);
    cr_assert_eq(guest.answers, 0);
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);

    cr_assert_eq(guest.seen, 0xabcd);
    cr_assert_eq(e.reason, HV_EXIT_SHUTDOWN);
}

Test(fake, immediate_exit_completes_the_last_exit_and_nothing_else)
{
    play();
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    vm_store_le(e.pio.data, 2, 0x1111);
    hv_vcpu_set_immediate_exit(vcpu, true);

    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert_eq(e.reason, HV_EXIT_INTR);
    cr_assert_eq(guest.seen, 0x1111);
    cr_assert_eq(guest.step, 1);
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert_eq(guest.answers, 1);
}

Test(fake, a_guest_may_fail)
{
    guest.code = -EFAULT;
    play();

    cr_assert_eq(hv_vcpu_run(vcpu, &e), -EFAULT);
}

Test(fake, exits_carry_what_they_are_given)
{
    const uint8_t bytes[6] = { 1, 2, 3, 4, 5, 6 };

    hv_fake_exit_pio_string(vcpu, &e, true, 0x3f8, 1, 6, bytes);
    cr_assert(e.pio.count == 6 && !memcmp(e.pio.data, bytes, 6));
    hv_fake_exit_pio_string(vcpu, &e, false, 0x3f8, 4, 5000, NULL);
    cr_assert_eq(e.pio.count, 1024);
    hv_fake_exit_mmio(vcpu, &e, true, 0xd0000000, 8, 0x1122334455667788);
    cr_assert_eq(e.mmio.addr, 0xd0000000);
    cr_assert_eq(vm_load_le(e.mmio.data, 8), 0x1122334455667788);
    hv_fake_exit_msr(vcpu, &e, true, 0x10, 99);
    cr_assert(e.reason == HV_EXIT_WRMSR && *e.msr.value == 99 && !*e.msr.error);
    hv_fake_exit_msr(vcpu, &e, false, 0x10, 99);
    cr_assert(e.reason == HV_EXIT_RDMSR && *e.msr.value == 0 && e.msr.index == 0x10);
    hv_fake_exit_eoi(vcpu, &e, 0x41);
    cr_assert(e.reason == HV_EXIT_EOI && e.eoi.vector == 0x41);
    hv_fake_exit_system_event(vcpu, &e, KVM_SYSTEM_EVENT_SHUTDOWN, 3);
    cr_assert(e.reason == HV_EXIT_SYSTEM_EVENT && e.system_event.count == 1);
    cr_assert_eq(e.system_event.data[0], 3);
    hv_fake_exit_internal_error(vcpu, &e, KVM_INTERNAL_ERROR_EMULATION, 4);
    cr_assert(e.reason == HV_EXIT_INTERNAL_ERROR && e.internal_error.data[0] == 4);
    cr_assert_eq(e.internal_error.suberror, KVM_INTERNAL_ERROR_EMULATION);
}

Test(fake, a_vcpu_begins_with_the_registers_it_was_given)
{
    struct hv_vcpu *later;
    uint64_t value = 0;
#if defined(__x86_64__)
    _Alignas(struct kvm_msrs)
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = { 0 };
    struct kvm_msrs *m = (struct kvm_msrs *)room;

    m->nmsrs = 1;
    m->entries[0].index = 0x1a0;

    cr_assert_eq(hv_fake_set_reg(hv, 0x1a0, 0x1234), 0);
    cr_assert_eq(hv_vcpu_new(vm, 1, &later), 0);
    cr_assert_eq(hv_vcpu_get(later, HV_STATE_MSRS, m, sizeof(room)), 0);
    value = m->entries[0].data;
#else
    const uint64_t id = ARM64_SYS_REG(3, 0, 0, 4, 0);

    cr_assert_eq(hv_fake_set_reg(hv, id, 0x1234), 0);
    cr_assert_eq(hv_vcpu_new(vm, 1, &later), 0);
    cr_assert_eq(hv_vcpu_get_reg(later, id, &value), 0);
#endif

    cr_assert_eq(value, 0x1234);
    hv_vcpu_free(later);
}

Test(fake, a_vcpu_gives_the_attribute_that_was_set_last)
{
    uint64_t value = 7;
    struct kvm_device_attr attr = { .group = 1, .attr = 2, .addr = (uintptr_t)&value };

    cr_assert_eq(hv_fake_set_cap(hv, KVM_CAP_VCPU_ATTRIBUTES, 1), 0);
    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_GET, &attr), -ENXIO);
    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_SET, &attr), 0);
    value = 8;
    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_SET, &attr), 0);
    value = 0;

    cr_assert_eq(hv_vcpu_attr(vcpu, HV_ATTR_GET, &attr), 0);
    cr_assert_eq(value, 8);
}

#if defined(__aarch64__)
Test(fake, the_list_of_registers_has_those_that_were_set)
{
    _Alignas(uint64_t) uint8_t room[sizeof(struct kvm_reg_list) + 8 * sizeof(uint64_t)] = { 0 };
    struct kvm_reg_list *l = (struct kvm_reg_list *)room;
    const uint64_t id = ARM64_SYS_REG(3, 0, 1, 0, 0);
    uint64_t value = 1;

    cr_assert_eq(hv_vcpu_set_reg(vcpu, id, &value), 0);
    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REG_LIST, l, sizeof(room)), -E2BIG);
    cr_assert_eq(l->n, 2); /* MPIDR_EL1, which every vCPU has */
    l->n = 8;

    cr_assert_eq(hv_vcpu_get(vcpu, HV_STATE_REG_LIST, l, sizeof(room)), 0);
    cr_assert_eq(l->n, 2);
    cr_assert_eq(l->reg[1], id);
}
#endif
