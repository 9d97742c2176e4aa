/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/hypervisor/fake.h>

static const struct vm_env env;
static struct hv *hv;
static struct hv_vm *vm;
static struct hv_vcpu *vcpu;
static struct hv_exit e;
static struct hv_fake_irq irq;
static int fd = -1, other = -1;

static void setup(void)
{
    cr_assert_eq(hv_fake_new(&env, &hv), 0);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ 0 }, &vm), 0);
    fd = vm_eventfd();
    other = vm_eventfd();
}

static void teardown(void)
{
    hv_vcpu_free(vcpu);
    hv_vm_free(vm);
    hv_free(hv);
    vm_close(&fd);
    vm_close(&other);
}

TestSuite(fake_irq, .init = setup, .fini = teardown);

static void irqchip(enum hv_irqchip kind)
{
    cr_assert_eq(hv_vm_irqchip_new(vm, kind, 24), 0);
}

static const struct hv_route msi_route = {
    .gsi = 5,
    .type = HV_ROUTE_MSI,
    .msi = { .addr = 0xfee01000, .data = 0x41 },
};

Test(fake_irq, a_kernel_irqchip_begins_with_its_pins_routed)
{
    struct hv_route r;
    enum hv_irqchip kind;
    uint32_t pins;

    cr_assert_not(hv_fake_irqchip(vm, &kind, &pins));
    irqchip(HV_IRQCHIP_KERNEL);

    cr_assert(hv_fake_irqchip(vm, &kind, &pins));
    cr_assert(kind == HV_IRQCHIP_KERNEL && pins == 24);
    cr_assert_eq(hv_fake_routes(vm), 24);
    cr_assert(hv_fake_route_at(vm, 7, &r));
    cr_assert(r.gsi == 7 && r.type == HV_ROUTE_PIN && r.pin.pin == 7);
    cr_assert_not(hv_fake_route_at(vm, 24, &r));
}

Test(fake_irq, an_irqchip_is_made_once_and_before_the_vcpus)
{
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_SPLIT, 5000), -EINVAL);
    irqchip(HV_IRQCHIP_SPLIT);
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_KERNEL, 0), -EEXIST);
    hv_vm_free(vm);
    cr_assert_eq(hv_vm_new(hv, &(struct hv_vm_config){ 0 }, &vm), 0);
    hv_fake_set_cap(hv, KVM_CAP_SPLIT_IRQCHIP, 0);
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_SPLIT, 0), -ENOTSUP);
    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
    cr_assert_eq(hv_vm_irqchip_new(vm, HV_IRQCHIP_KERNEL, 0), -EINVAL);
}

Test(fake_irq, routes_are_replaced_as_a_whole_or_not_at_all)
{
    struct hv_route two[2] = { msi_route, msi_route };
    struct hv_route high = { .gsi = 4096, .type = HV_ROUTE_MSI };
    const struct hv_route pin = { .gsi = 5 };

    cr_assert_eq(hv_vm_set_routes(vm, two, 1), -EINVAL); /* no controller */
    irqchip(HV_IRQCHIP_SPLIT);
    cr_assert_eq(hv_vm_set_routes(vm, two, 1), 0);
    cr_assert_eq(hv_vm_set_routes(vm, two, 2), -EINVAL); /* the same interrupt twice */
    cr_assert_eq(hv_vm_set_routes(vm, &high, 1), -EINVAL);
    cr_assert_eq(hv_vm_set_routes(vm, &pin, 1), -EINVAL);
    hv_fake_set_cap(hv, KVM_CAP_IRQ_ROUTING, 1);
    two[1].gsi = 6;
    cr_assert_eq(hv_vm_set_routes(vm, two, 2), -E2BIG);
    cr_assert_eq(hv_fake_routes(vm), 1);
    cr_assert_eq(hv_vm_set_routes(vm, NULL, 0), 0);
    cr_assert_eq(hv_fake_routes(vm), 0);
}

Test(fake_irq, an_irqfd_sends_the_message_of_its_route)
{
    struct hv_fake_irqfd seen;

    irqchip(HV_IRQCHIP_SPLIT);
    cr_assert_eq(hv_vm_set_routes(vm, &msi_route, 1), 0);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, -1), 0);
    cr_assert_eq(hv_fake_irqfds(vm), 1);
    cr_assert(hv_fake_irqfd_at(vm, 0, &seen));
    cr_assert(seen.fd == fd && seen.gsi == 5 && seen.resample_fd == -1);
    cr_assert_not(hv_fake_irq_take(vm, &irq));

    vm_eventfd_signal(fd);

    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.type == HV_FAKE_BY_MSI && irq.msi.addr == 0xfee01000 && irq.msi.data == 0x41);
    cr_assert_not(hv_fake_irq_take(vm, &irq));
}

Test(fake_irq, running_a_vcpu_delivers_too)
{
    irqchip(HV_IRQCHIP_SPLIT);
    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
    cr_assert_eq(hv_vm_set_routes(vm, &msi_route, 1), 0);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, -1), 0);
    vm_eventfd_signal(fd);

    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);

    cr_assert_eq(vm_eventfd_take(fd), 0);
    cr_assert_not(hv_fake_irqfd_poll(vm));
    cr_assert(hv_fake_irq_take(vm, &irq));
}

Test(fake_irq, a_pin_goes_up_and_down)
{
    irqchip(HV_IRQCHIP_KERNEL);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, -1), 0);

    vm_eventfd_signal(fd);

    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.type == HV_FAKE_BY_LINE && irq.irq == 5 && irq.level);
    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert_not(irq.level);
}

Test(fake_irq, a_resampled_pin_stays_up_until_the_end_of_interrupt)
{
    irqchip(HV_IRQCHIP_KERNEL);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, other), 0);
    vm_eventfd_signal(fd);
    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.level);
    vm_eventfd_signal(fd);
    cr_assert_not(hv_fake_irq_take(vm, &irq)); /* it is up */
    cr_assert_eq(vm_eventfd_take(other), 0);

    hv_fake_eoi(vm, 5);
    hv_fake_eoi(vm, 5);

    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert_not(irq.level);
    cr_assert_eq(vm_eventfd_take(other), 1);
}

Test(fake_irq, a_removed_irqfd_delivers_what_came_before)
{
    irqchip(HV_IRQCHIP_KERNEL);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, other), 0);
    vm_eventfd_signal(fd);

    cr_assert_eq(hv_vm_irqfd_del(vm, fd, 5), 0);
    vm_eventfd_signal(fd);

    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.level);
    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert_not(irq.level);
    cr_assert_not(hv_fake_irq_take(vm, &irq));
    cr_assert_eq(hv_vm_irqfd_del(vm, fd, 5), 0); /* as KVM: no error */
}

Test(fake_irq, irqfds_that_kvm_refuses_are_refused)
{
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, -1), -EINVAL);
    irqchip(HV_IRQCHIP_SPLIT);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, other), -EINVAL);
    cr_assert_eq(hv_vm_irqfd_add(vm, 9999, 5, -1), -EBADF);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 5, -1), 0);
    cr_assert_eq(hv_vm_irqfd_add(vm, fd, 6, -1), -EBUSY);
    cr_assert_eq(hv_fake_irqfds(vm), 1);
}

Test(fake_irq, messages_and_lines_are_recorded_in_order)
{
    const struct hv_msi msi = { .addr = 0xfee00000, .data = 0x40 };

    cr_assert_eq(hv_vm_signal_msi(vm, &msi), -EINVAL);
    cr_assert_eq(hv_vm_irq_line(vm, 4, true), -ENXIO);
    irqchip(HV_IRQCHIP_KERNEL);
    cr_assert_eq(hv_vm_signal_msi(vm, &msi), 1);
    cr_assert_eq(hv_vm_irq_line(vm, 4, true), 0);

    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.type == HV_FAKE_BY_MSI && irq.msi.data == 0x40);
    cr_assert(hv_fake_irq_take(vm, &irq));
    cr_assert(irq.type == HV_FAKE_BY_LINE && irq.irq == 4 && irq.level);
}

Test(fake_irq, interrupts_that_nobody_takes_are_counted)
{
    const struct hv_msi msi = { 0 };

    irqchip(HV_IRQCHIP_SPLIT);
    for (unsigned i = 0; i < 4100; i++)
        hv_vm_signal_msi(vm, &msi);

    cr_assert_eq(hv_fake_irqs_lost(vm), 4);
}

/* Writes to port 0x100 and to memory 0xd0000000, each twice with values 1 and 2, then for ever to
 * port 0x200. */
static int doorbells(void *ctx, struct hv_vcpu *v, struct hv_exit *ret_exit)
{
    unsigned *step = ctx;

    switch ((*step)++) {
    case 0: hv_fake_exit_pio(v, ret_exit, true, 0x100, 1, 1); break;
    case 1: hv_fake_exit_pio(v, ret_exit, true, 0x100, 1, 2); break;
    case 2: hv_fake_exit_mmio(v, ret_exit, true, 0xd0000000, 4, 1); break;
    case 3: hv_fake_exit_mmio(v, ret_exit, true, 0xd0000000, 4, 2); break;
    case 4: hv_fake_exit_mmio(v, ret_exit, false, 0xd0000000, 4, 0); break;
    default: hv_fake_exit_pio(v, ret_exit, true, 0x200, 1, 1); break;
    }
    return 0;
}

Test(fake_irq, ioeventfds_take_matching_writes)
{
    const struct hv_ioeventfd port = { .addr = 0x100, .len = 1, .fd = fd, .pio = true };
    const struct hv_ioeventfd two = {
        .addr = 0xd0000000, .len = 4, .fd = other, .match = true, .datamatch = 2
    };
    const struct hv_ioeventfd endless = { .addr = 0x200, .fd = other, .pio = true };
    struct hv_ioeventfd seen;
    unsigned step = 0;

    cr_assert_eq(hv_vcpu_new(vm, 0, &vcpu), 0);
    hv_fake_set_guest(vcpu, &(struct hv_fake_guest){ .next = doorbells, .ctx = &step });
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &port), 0);
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &two), 0);
    cr_assert_eq(hv_fake_ioeventfds(vm), 2);
    cr_assert(hv_fake_ioeventfd_at(vm, 1, &seen) && seen.datamatch == 2);

    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert(e.reason == HV_EXIT_MMIO && e.mmio.is_write);
    cr_assert_eq(vm_eventfd_take(fd), 2);
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert(e.reason == HV_EXIT_MMIO && !e.mmio.is_write);
    cr_assert_eq(vm_eventfd_take(other), 1);
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &endless), 0);
    cr_assert_eq(hv_vcpu_run(vcpu, &e), 0);
    cr_assert_eq(e.reason, HV_EXIT_INTR); /* a guest that only kicks gives its thread back */
}

Test(fake_irq, ioeventfds_that_kvm_refuses_are_refused)
{
    struct hv_ioeventfd event = { .addr = 0x100, .len = 2, .fd = fd };

    cr_assert_eq(hv_vm_ioeventfd_add(vm, &event), 0);
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &event), -EEXIST);
    event.pio = true;
    cr_assert_eq(hv_vm_ioeventfd_del(vm, &event), -ENOENT);
    event.len = 3;
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &event), -EINVAL);
    event.len = 16;
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &event), -EINVAL);
    event.len = 0;
    event.match = true;
    cr_assert_eq(hv_vm_ioeventfd_add(vm, &event), -EINVAL);
    event = (struct hv_ioeventfd){ .addr = 0x100, .len = 2, .fd = fd };
    cr_assert_eq(hv_vm_ioeventfd_del(vm, &event), 0);
    cr_assert_eq(hv_fake_ioeventfds(vm), 0);
}
