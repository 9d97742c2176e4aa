/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Interrupts of x86: messages under the two irqchips, the end of interrupts that are our IOAPIC's, NMIs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "payload.h"

static struct payload p;

Test(irq, a_signalled_message_arrives_under_a_split_irqchip)
{
    const struct hv_msi msi = payload_apic_message(0x40, false);

    payload_apic_guest(&p, true);

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x40);
    payload_free(&p);
}

Test(irq, a_signalled_message_arrives_under_a_kernel_irqchip)
{
    const struct hv_msi msi = payload_apic_message(0x41, false);

    payload_apic_guest(&p, false);

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), 0x41);
    payload_free(&p);
}

Test(irq, a_split_irqchip_tells_the_end_of_its_level_interrupts)
{
    /* Pin 3 of our IOAPIC: interrupt numbers below the pins given at creation are its. */
    const struct hv_route route = { .gsi = 3,
                                    .type = HV_ROUTE_MSI,
                                    .msi = payload_apic_message(0x41, true) };
    unsigned told = 0, ends = 0;

    payload_apic_guest(&p, true);
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

    payload_apic_guest(&p, true);

    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, EDGE_GSI, resample), -EINVAL);
    cr_assert_eq(hv_vm_set_routes(p.vm, &pin, 1), -EINVAL);

    payload_free(&p);
    vm_close(&fd);
    vm_close(&resample);
}

Test(irq, an_nmi_reaches_the_guest)
{
    payload_apic_guest(&p, true);
    payload_load_handler(&p, 2, apic_irq40);

    cr_assert_eq(hv_vcpu_set(p.vcpu, HV_STATE_NMI, NULL, 0), 0, "%s", vm_error_text());

    cr_assert_eq(payload_run_to(&p, TOLD), 0x40);
    payload_free(&p);
}
