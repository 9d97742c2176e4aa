/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts: the two irqchips, routes, irqfds, resampling, messages, end of interrupt. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "payload.h"

static struct payload p;

TestSuite(irq, .timeout = 20);

/* Interrupt numbers that mean nothing by themselves: only the route says what they do. */
enum { EDGE_GSI = 40, LEVEL_GSI = 41 };

static void route_pic(void)
{
    const struct hv_route routes[] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_PIN, .pin = { KVM_IRQCHIP_PIC_MASTER, 4 } },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_PIN, .pin = { KVM_IRQCHIP_PIC_MASTER, 5 } },
    };

    payload_new(&p, &(struct payload_config){ .kernel_irqchip = true });
    payload_load(&p, pic);
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0, "%s", vm_error_text());
    payload_run_to(&p, DONE); /* the guest is ready */
}

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

    route_pic();
    fd = irqfd(EDGE_GSI, -1);

    vm_eventfd_signal(fd);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x24);
    payload_run_to(&p, DONE);
    payload_free(&p);
    vm_close(&fd);
}

Test(irq, a_resample_irqfd_stays_up_until_the_guest_ends_the_interrupt)
{
    int resample = vm_eventfd(), fd;

    route_pic();
    fd = irqfd(LEVEL_GSI, resample);

    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), 0x25);
    cr_assert_eq(vm_eventfd_take(resample), 0);
    payload_run_to(&p, DONE); /* behind the end of interrupt */
    cr_assert_eq(vm_eventfd_take(resample), 1);

    payload_free(&p);
    vm_close(&fd);
    vm_close(&resample);
}

Test(irq, an_irq_line_reaches_the_guest)
{
    route_pic();

    cr_assert_eq(hv_vm_irq_line(p.vm, EDGE_GSI, true), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_irq_line(p.vm, EDGE_GSI, false), 0);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x24);
    payload_free(&p);
}

Test(irq, a_removed_irqfd_raises_nothing)
{
    int gone, fd;

    route_pic();
    gone = irqfd(LEVEL_GSI, -1);
    fd = irqfd(EDGE_GSI, -1);
    cr_assert_eq(hv_vm_irqfd_del(p.vm, gone, LEVEL_GSI), 0, "%s", vm_error_text());

    vm_eventfd_signal(gone);
    vm_eventfd_signal(fd);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x24);
    cr_assert_eq(vm_eventfd_take(gone), 1); /* nobody took it */
    payload_free(&p);
    vm_close(&fd);
    vm_close(&gone);
}

Test(irq, a_second_irqfd_with_the_same_eventfd_is_refused)
{
    int fd;

    route_pic();
    fd = irqfd(EDGE_GSI, -1);

    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, EDGE_GSI, -1), -EBUSY);

    payload_free(&p);
    vm_close(&fd);
}

static struct hv_msi message(uint8_t vector, bool level)
{
    struct hv_msi msi = { .addr = 0xfee00000, .data = vector };

    if (level)
        msi.data |= 0xc000; /* trigger mode level, asserted: Intel SDM, volume 3, 11.11 */
    return msi;
}

/* A guest with its local APIC on, which waits for vectors 0x40 and 0x41. */
static void apic_guest(bool split)
{
    payload_new(&p, &(struct payload_config){
                        .mode = PROTECTED_MODE, .split_irqchip = split, .kernel_irqchip = !split });
    payload_load(&p, apic);
    payload_load_handler(&p, 0x40, apic_irq40);
    payload_load_handler(&p, 0x41, apic_irq41);
    payload_run_to(&p, DONE);
}

Test(irq, a_signalled_message_arrives_under_a_split_irqchip)
{
    const struct hv_msi msi = message(0x40, false);

    apic_guest(true);

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x40);
    payload_free(&p);
}

Test(irq, a_signalled_message_arrives_under_a_kernel_irqchip)
{
    const struct hv_msi msi = message(0x41, false);

    apic_guest(false);

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x41);
    payload_free(&p);
}

Test(irq, a_message_to_nobody_is_an_error)
{
    struct hv_msi msi = message(0x40, false);

    apic_guest(true);
    msi.addr |= 0x55000; /* APIC id 0x55 */

    cr_assert_leq(hv_vm_signal_msi(p.vm, &msi), 0);

    payload_free(&p);
}

Test(irq, an_irqfd_sends_the_message_of_its_route)
{
    struct hv_route routes[2] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_MSI, .msi = message(0x40, false) },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_MSI, .msi = message(0x41, false) },
    };
    int fd;

    apic_guest(true);
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0, "%s", vm_error_text());
    fd = irqfd(LEVEL_GSI, -1);

    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), 0x41);
    payload_run_to(&p, DONE);
    /* The same irqfd, another table. */
    routes[1].msi = message(0x40, false);
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0);
    vm_eventfd_signal(fd);
    cr_assert_eq(payload_run_to(&p, TOLD), 0x40);

    payload_free(&p);
    vm_close(&fd);
}

Test(irq, a_split_irqchip_tells_the_end_of_its_level_interrupts)
{
    /* Pin 3 of our IOAPIC: interrupt numbers below the pins given at creation are its. */
    const struct hv_route route = { .gsi = 3, .type = HV_ROUTE_MSI, .msi = message(0x41, true) };
    unsigned told = 0, ends = 0;

    apic_guest(true);
    cr_assert_eq(hv_vm_set_routes(p.vm, &route, 1), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_signal_msi(p.vm, &route.msi), 1);

    /* Software KVM now and then tells it some instructions before the guest's write: there the order
     * of the two exits is left open, and the emulated host (tests/e2e/payload.sh) is strict. */
    do {
        enum hv_exit_reason reason = payload_run(&p);

        if (reason == HV_EXIT_EOI) {
            cr_assert_eq(p.exit.eoi.vector, 0x41);
            cr_assert(told || !getenv("PAYLOAD_STRICT"), "the end came before the interrupt");
            ends++;
        } else if (reason != HV_EXIT_INTR) {
            cr_assert_eq(reason, HV_EXIT_PIO, "%s", hv_exit_name(reason));
            told += p.exit.pio.port == TOLD;
        }
    } while (p.exit.reason != HV_EXIT_PIO || p.exit.pio.port != DONE);

    cr_assert_eq(told, 1);
    cr_assert_eq(ends, 1);
    payload_free(&p);
}

Test(irq, a_split_irqchip_refuses_resampling_and_pins)
{
    const struct hv_route pin = { .gsi = EDGE_GSI, .type = HV_ROUTE_PIN, .pin = { 2, 4 } };
    int fd = vm_eventfd(), resample = vm_eventfd();

    apic_guest(true);

    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, EDGE_GSI, resample), -EINVAL);
    cr_assert_eq(hv_vm_set_routes(p.vm, &pin, 1), -EINVAL);

    payload_free(&p);
    vm_close(&fd);
    vm_close(&resample);
}

Test(irq, an_nmi_reaches_the_guest)
{
    apic_guest(true);
    payload_load_handler(&p, 2, apic_irq40);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_NMI, NULL, 0), 0, "%s", vm_error_text());

    cr_assert_eq(payload_run_to(&p, TOLD), 0x40);
    payload_free(&p);
}
