/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Configuration space by ports, messages to the local APIC (tests/payload/guest/x86_64/messages.c), the kernel's I/O APIC. */
#include <criterion/criterion.h>

#include "machine.h"

#define CAM "--pci-cam", "on"

Test(bars, are_sized_by_ports_too)
{
    RUN("bars_are_sized_and_read", "config=cam", CAM);
}

Test(bars, move_by_ports_too)
{
    RUN("bars_move", "irq=on config=cam", CAM);
}

Test(bars, change_places_by_ports_too)
{
    RUN("bars_swap", "ring=packed config=cam", CAM);
}

Test(bars, leave_every_window_by_ports_with_packed_rings)
{
    RUN("bars_outside", "ring=packed config=cam", CAM);
}

Test(bars, answer_nobody_without_decoding_set_by_ports)
{
    RUN("decode_off", "config=cam ring=packed", CAM);
}

Test(interrupts, requests_of_packed_rings_wait_for_bus_mastering)
{
    RUN("bus_master_off", "ring=packed config=cam", CAM);
}

Test(interrupts, masked_messages_wait_in_the_pending_bits)
{
    RUN("msix_masked", "irq=on");
}

Test(interrupts, masked_messages_wait_with_packed_rings_and_the_kernels_irqchip)
{
    RUN("msix_masked", "irq=on ring=packed config=cam", CAM, "--irqchip", "kernel");
}

Test(interrupts, messages_to_anywhere_harm_nobody)
{
    RUN("msix_anywhere", "irq=on");
}

Test(rings, packed_on_virtio_mmio_with_the_kernels_irqchip)
{
    RUN("traffic", "bus=mmio irq=on ring=packed", "--pci", "off", "--irqchip", "kernel");
}
