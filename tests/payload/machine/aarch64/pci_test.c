/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What x86_64 does by ports is done by ECAM here: packed rings, polled. */
#include <criterion/criterion.h>

#include "machine.h"

Test(bars, change_places_with_packed_rings)
{
    RUN("bars_swap", "ring=packed");
}

Test(bars, leave_every_window_with_packed_rings)
{
    RUN("bars_outside", "ring=packed");
}

Test(bars, answer_nobody_without_decoding_with_packed_rings)
{
    RUN("decode_off", "ring=packed");
}

Test(interrupts, requests_of_packed_rings_wait_for_bus_mastering)
{
    RUN("bus_master_off", "ring=packed");
}

Test(rings, packed_on_virtio_mmio_with_interrupts)
{
    RUN("traffic", "bus=mmio irq=on ring=packed", "--pci", "off");
}
