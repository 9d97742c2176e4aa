/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of lines, messages, routes and doorbells. */
#include <sys/resource.h>

#include "machine_test.h"

static void make(int irqchip)
{
    mt_open(true);
    t.config.arch.irqchip = (enum varch_irqchip)irqchip;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
}

/* What reached the kernel's controller for one interrupt, as a string of levels. */
static const char *levels(uint32_t number)
{
    static char text[32];
    struct hv_fake_irq irq;
    unsigned n = 0;

    while (hv_fake_irq_take(vmm_machine_vm(t.machine), &irq))
        if (irq.type == HV_FAKE_BY_LINE && test_irq_number(irq.irq) == number &&
            n < sizeof(text) - 1)
            text[n++] = irq.level ? '1' : '0';
    text[n] = 0;
    return text;
}

Test(irq, a_shared_line_is_up_while_one_driver_holds_it)
{
    struct vdev_irq *a, *b;

    make(TEST_IRQCHIP_KERNEL);
    cr_assert_eq(vmm_machine_irq_line(t.machine, 20, &a), 0);
    cr_assert_eq(vmm_machine_irq_line(t.machine, 20, &b), 0);

    vdev_irq_set(a, true);
    vdev_irq_set(b, true);
    vdev_irq_set(a, false);
    cr_assert_str_eq(levels(20), "1");
    vdev_irq_set(b, false);

    cr_assert_str_eq(levels(20), "0");
    mt_close();
}

Test(irq, a_driver_that_repeats_itself_counts_once)
{
    make(TEST_IRQCHIP_KERNEL);

    vdev_irq_set(t.lab[0]->irq, true);
    vdev_irq_set(t.lab[0]->irq, true);
    vdev_irq_set(t.lab[0]->irq, false);

    cr_assert_str_eq(levels(t.lab[0]->irq->number), "10");
    mt_close();
}

Test(irq, lines_end_in_our_controller_where_it_is_ours)
{
    make(VARCH_IRQCHIP_DEFAULT);
    if (!t.machine->irqchip)
        cr_skip_test("this architecture has no controller of ours");

    vdev_irq_set(t.lab[0]->irq, true);

    cr_assert_str_eq(levels(t.lab[0]->irq->number), "");
    mt_close();
}

Test(irq, a_line_beyond_the_last_is_refused)
{
    struct vdev_irq *irq;

    make(VARCH_IRQCHIP_DEFAULT);

    cr_assert_eq(vmm_machine_irq_line(t.machine, varch_irqs(t.machine->arch), &irq), -EINVAL);
    mt_close();
}

Test(irq, a_message_reaches_the_hypervisor)
{
    const struct vdev_msi msi = { .addr = 0xfee01000, .data = 0x41 };
    struct hv_fake_irq irq;

    make(VARCH_IRQCHIP_DEFAULT);

    cr_assert_eq(vdev_msi_send(&t.machine->msi, &msi), 0);

    cr_assert(hv_fake_irq_take(vmm_machine_vm(t.machine), &irq));
    cr_assert_eq(irq.msi.addr, 0xfee01000);
    cr_assert_eq(irq.msi.data, 0x41);
    mt_close();
}

Test(irq, a_message_that_nobody_takes_is_the_senders_to_count)
{
    const struct vdev_msi msi = { .addr = 0xfee01000, .data = 0x41 };

    make(VARCH_IRQCHIP_DEFAULT);
    hv_fake_fail(t.hv, HV_FAKE_SIGNAL_MSI, 0, -EINVAL);

    cr_assert_eq(vdev_msi_send(&t.machine->msi, &msi), -EINVAL);
    mt_close();
}

Test(irq, a_plan_has_neither_messages_nor_doorbells)
{
    const struct vdev_msi msi = { 0 };

    mt_open(true);
    t.config.hv = NULL;
    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(vdev_msi_send(&t.machine->msi, &msi), -ENODEV);
    cr_assert_eq(vmm_machine_doorbell_add(&t.machine->base, false, 0x1000, 4, false, 0, 0),
                 -ENODEV);
    vmm_machine_doorbell_del(&t.machine->base, false, 0x1000, 4, false, 0, 0);
    vdev_irq_set(t.lab[0]->irq, true);
    vmm_machine_pin_routed(&t.machine->base, NULL, 4, &msi);
    mt_close();
}

Test(irq, routes_of_pins_are_told_only_when_they_change)
{
    struct vdev_msi msi = { .addr = 0xfee00000, .data = 0x8030 };
    struct hv_route route;

    make(VARCH_IRQCHIP_DEFAULT);
    vmm_machine_pin_routed(&t.machine->base, NULL, 7, &msi);
    vmm_machine_pin_routed(&t.machine->base, NULL, 4, &msi);
    vmm_machine_pin_routed(&t.machine->base, NULL, 4, &msi);
    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_ROUTES), 2);
    cr_assert_eq(hv_fake_routes(vmm_machine_vm(t.machine)), 2);
    cr_assert(hv_fake_route_at(vmm_machine_vm(t.machine), 0, &route));
    cr_assert_eq(route.gsi, 4);
    cr_assert_eq(route.msi.data, 0x8030);
    msi.data = 0x8031;
    vmm_machine_pin_routed(&t.machine->base, NULL, 4, &msi);
    vmm_machine_pin_routed(&t.machine->base, NULL, 7, NULL);

    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_ROUTES), 4);
    cr_assert_eq(hv_fake_routes(vmm_machine_vm(t.machine)), 1);
    cr_assert(hv_fake_route_at(vmm_machine_vm(t.machine), 0, &route));
    cr_assert_eq(route.msi.data, 0x8031);
    vmm_machine_pin_routed(&t.machine->base, NULL, MACHINE_PINS, &msi); /* no such pin */
    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_ROUTES), 4);
    mt_close();
}

Test(irq, routes_that_the_hypervisor_refuses_are_an_event)
{
    const struct vdev_msi msi = { .addr = 0xfee00000, .data = 0x8030 };

    make(VARCH_IRQCHIP_DEFAULT);
    hv_fake_fail(t.hv, HV_FAKE_SET_ROUTES, 0, -EINVAL);
    vmm_machine_pin_routed(&t.machine->base, NULL, 7, &msi);
    mt_idle();

    cr_assert_eq(t.events, 1);
    cr_assert_str_eq(t.event_source, "machine");
    mt_close();
}

Test(irq, a_doorbell_catches_the_guests_write)
{
    int fd = vm_eventfd();

    mt_open(true);
    t.cpu[0].script[0] = (struct mt_exit){ MT_WRITE, 0xd0000000, 4, .value = 3 };
    t.cpu[0].script[1] = (struct mt_exit){ MT_WRITE, 0xd0000000, 4, .value = 4 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    cr_assert_eq(vmm_machine_doorbell_add(&t.machine->base, false, 0xd0000000, 4, true, 3, fd), 0);
    vmm_machine_step(t.machine, 0);
    cr_assert_eq(vm_eventfd_take(fd), 1);
    cr_assert_eq(t.machine->vcpu[0].count.mmio, 1); /* the other value came to the bus */
    vmm_machine_doorbell_del(&t.machine->base, false, 0xd0000000, 4, true, 3, fd);

    cr_assert_eq(hv_fake_ioeventfds(vmm_machine_vm(t.machine)), 0);
    close(fd);
    mt_close();
}

/* ---- messages that eventfds send ---- */

static const struct vdev_msi one = { .addr = 0xfee01000, .data = 0x41 };
static const struct vdev_msi two = { .addr = 0xfee02000, .data = 0x42 };

static int call_add(const struct vdev_msi *msi, int fd, uint32_t *ret_number)
{
    return vmm_machine_call_add(&t.machine->base, msi, fd, ret_number);
}

static void call_del(int fd, uint32_t number)
{
    vmm_machine_call_del(&t.machine->base, fd, number);
}

Test(calls, a_signal_is_the_message)
{
    int fd = vm_eventfd();
    struct hv_fake_irq irq;
    uint32_t number;

    make(VARCH_IRQCHIP_DEFAULT);
    cr_assert_eq(call_add(&one, fd, &number), 0, "%s", vm_error_text());
    vm_eventfd_signal(fd);
    cr_assert(hv_fake_irqfd_poll(vmm_machine_vm(t.machine)));

    cr_assert(hv_fake_irq_take(vmm_machine_vm(t.machine), &irq));
    cr_assert_eq(irq.msi.addr, 0xfee01000);
    cr_assert_eq(irq.msi.data, 0x41);
    call_del(fd, number);
    cr_assert_eq(hv_fake_irqfds(vmm_machine_vm(t.machine)), 0);
    close(fd);
    mt_close();
}

Test(calls, one_that_comes_back_as_it_was_needs_no_new_route)
{
    int fd[2] = { vm_eventfd(), vm_eventfd() };
    struct vdev_msi pin = { .addr = 0xfee00000, .data = 0x8030 };
    uint32_t number[3];

    make(VARCH_IRQCHIP_DEFAULT);
    cr_assert_eq(call_add(&one, fd[0], &number[0]), 0);
    cr_assert_eq(call_add(&two, fd[1], &number[1]), 0);
    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_ROUTES), 2);
    call_del(fd[0], number[0]);
    call_del(fd[1], number[1]);
    cr_assert_eq(call_add(&two, fd[0], &number[2]), 0);

    cr_assert_eq(number[2], number[1]);
    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_ROUTES), 2);
    vmm_machine_pin_routed(&t.machine->base, NULL, 7, &pin);
    cr_assert_eq(hv_fake_routes(vmm_machine_vm(t.machine)), 3);
    call_del(fd[0], number[2]);
    close(fd[0]);
    close(fd[1]);
    mt_close();
}

Test(calls, two_queues_may_have_one_message)
{
    int fd[2] = { vm_eventfd(), vm_eventfd() };
    uint32_t number[2];

    make(VARCH_IRQCHIP_DEFAULT);
    cr_assert_eq(call_add(&one, fd[0], &number[0]), 0);
    cr_assert_eq(call_add(&one, fd[1], &number[1]), 0);

    cr_assert_neq(number[0], number[1]);
    call_del(fd[0], number[0]);
    call_del(fd[1], number[1]);
    close(fd[0]);
    close(fd[1]);
    mt_close();
}

Test(calls, what_the_hypervisor_refuses_leaves_nothing)
{
    int fd = vm_eventfd();
    uint32_t number;

    make(VARCH_IRQCHIP_DEFAULT);
    hv_fake_fail(t.hv, HV_FAKE_SET_ROUTES, 0, -ENOMEM);
    cr_expect_eq(call_add(&one, fd, &number), -ENOMEM);
    hv_fake_fail(t.hv, HV_FAKE_IRQFD, 0, -EINVAL);
    cr_expect_eq(call_add(&one, fd, &number), -EINVAL);
    cr_expect_eq(call_add(&one, fd, &number), 0);

    cr_expect_eq(number, MACHINE_PINS);
    cr_expect_eq(hv_fake_irqfds(vmm_machine_vm(t.machine)), 1);
    call_del(fd, number);
    close(fd);
    mt_close();
}

Test(calls, there_are_so_many_and_no_more)
{
    static int fd[MACHINE_CALLS];
    static uint32_t number[MACHINE_CALLS];
    struct rlimit limit;
    uint32_t none;

    make(VARCH_IRQCHIP_DEFAULT);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < MACHINE_CALLS; i++) {
        fd[i] = vm_eventfd();
        cr_assert_eq(call_add(&one, fd[i], &number[i]), 0, "%u: %s", i, vm_error_text());
    }

    cr_assert_eq(call_add(&one, 0, &none), -ENOSPC);
    for (unsigned i = 0; i < MACHINE_CALLS; i++) {
        call_del(fd[i], number[i]);
        close(fd[i]);
    }
    mt_close();
}
