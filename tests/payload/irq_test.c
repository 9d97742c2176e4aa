/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts: lines, routes, irqfds, resampling, messages. */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "payload.h"

static struct payload p;

TestSuite(irq, .timeout = TEST_TIMEOUT);

static int irqfd(uint32_t gsi, int resample_fd)
{
    int fd = vm_eventfd();

    cr_assert_geq(fd, 0);
    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, gsi, resample_fd), 0, "%s", vm_error_text());
    return fd;
}

Test(irq, an_irqfd_raises_the_pin_its_route_names)
{
    int fd;

    payload_pin_guest(&p);
    fd = irqfd(EDGE_GSI, -1);

    vm_eventfd_signal(fd);

    cr_assert_eq(payload_run_to(&p, TOLD), EDGE_TOLD);
    payload_run_to(&p, DONE);
    payload_free(&p);
    vm_close(&fd);
}

Test(irq, a_resample_irqfd_stays_up_until_the_guest_ends_the_interrupt)
{
    int resample = vm_eventfd(), fd;

    payload_pin_guest(&p);
    fd = irqfd(LEVEL_GSI, resample);

    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), LEVEL_TOLD);
    cr_assert_eq(vm_eventfd_take(resample), 0);
    payload_run_to(&p, DONE); /* behind the end of interrupt */
    cr_assert_eq(vm_eventfd_take(resample), 1);

    payload_free(&p);
    vm_close(&fd);
    vm_close(&resample);
}

Test(irq, an_irq_line_reaches_the_guest)
{
    payload_pin_guest(&p);

    cr_assert_eq(hv_vm_irq_line(p.vm, payload_edge_line(), true), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_irq_line(p.vm, payload_edge_line(), false), 0);

    cr_assert_eq(payload_run_to(&p, TOLD), EDGE_TOLD);
    payload_free(&p);
}

Test(irq, a_removed_irqfd_raises_nothing)
{
    int gone, fd;

    payload_pin_guest(&p);
    gone = irqfd(LEVEL_GSI, -1);
    fd = irqfd(EDGE_GSI, -1);
    cr_assert_eq(hv_vm_irqfd_del(p.vm, gone, LEVEL_GSI), 0, "%s", vm_error_text());

    vm_eventfd_signal(gone);
    vm_eventfd_signal(fd);

    cr_assert_eq(payload_run_to(&p, TOLD), EDGE_TOLD);
    cr_assert_eq(vm_eventfd_take(gone), 1); /* nobody took it */
    payload_free(&p);
    vm_close(&fd);
    vm_close(&gone);
}

Test(irq, a_second_irqfd_with_the_same_eventfd_is_refused)
{
    int fd;

    payload_pin_guest(&p);
    fd = irqfd(EDGE_GSI, -1);

    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, EDGE_GSI, -1), -EBUSY);

    payload_free(&p);
    vm_close(&fd);
}

Test(irq, a_message_to_nobody_is_an_error)
{
    struct hv_msi astray = payload_message_astray(), msi = payload_message(0);

    payload_message_guest(&p);

    cr_assert_leq(hv_vm_signal_msi(p.vm, &astray), 0);
    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    payload_free(&p);
}

Test(irq, an_irqfd_sends_the_message_of_its_route)
{
    struct hv_route routes[2] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_MSI, .msi = payload_message(0) },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_MSI, .msi = payload_message(1) },
    };
    int fd;

    payload_message_guest(&p);
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0, "%s", vm_error_text());
    fd = irqfd(LEVEL_GSI, -1);

    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), MESSAGE_TOLD + 1);
    payload_run_to(&p, DONE);
    /* The same irqfd, another table. */
    routes[1].msi = payload_message(0);
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0);
    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), MESSAGE_TOLD);

    payload_free(&p);
    vm_close(&fd);
}
