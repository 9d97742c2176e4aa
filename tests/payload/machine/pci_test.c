/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A driver of our own on the machine's PCI bus: tests/payload/guest/bars.c and interrupts.c. */
#include <criterion/criterion.h>

#include "machine.h"

TestSuite(bars, .timeout = TEST_TIMEOUT);
TestSuite(interrupts, .timeout = TEST_TIMEOUT);
TestSuite(rings, .timeout = TEST_TIMEOUT);

Test(bars, are_sized_and_every_one_can_be_read)
{
    RUN("bars_are_sized_and_read", "");
}

Test(bars, move_within_the_window_and_above_4_gib)
{
    RUN("bars_move", "fifo=on");
}

Test(bars, move_with_interrupts_and_packed_rings)
{
    RUN("bars_move", "irq=on ring=packed");
}

Test(bars, change_places)
{
    RUN("bars_swap", "irq=on");
}

Test(bars, lie_on_each_other_and_part)
{
    RUN("bars_overlap", "");
}

Test(bars, lie_on_each_other_with_interrupts_and_packed_rings)
{
    RUN("bars_overlap", "irq=on ring=packed");
}

Test(bars, leave_every_window_and_come_back)
{
    RUN("bars_outside", "irq=on");
}

Test(bars, move_with_requests_that_the_device_cannot_end_yet)
{
    RUN("bars_in_flight", "fifo=on irq=on");
}

Test(bars, move_with_such_requests_on_packed_rings)
{
    RUN("bars_in_flight", "fifo=on ring=packed");
}

Test(bars, answer_nobody_without_decoding)
{
    RUN("decode_off", "irq=on");
}

Test(interrupts, and_requests_wait_for_bus_mastering)
{
    RUN("bus_master_off", "irq=on");
}

Test(interrupts, without_msix_are_in_isr_and_status)
{
    RUN("intx_status", "");
}

Test(rings, split_polled)
{
    RUN("traffic", "fifo=on");
}

Test(rings, split_with_messages)
{
    RUN("traffic", "irq=on");
}

Test(rings, packed_polled)
{
    RUN("traffic", "ring=packed");
}

Test(rings, packed_with_messages)
{
    RUN("traffic", "fifo=on irq=on ring=packed");
}

Test(rings, split_on_virtio_mmio)
{
    RUN("traffic", "bus=mmio irq=on", "--pci", "off");
}

Test(rings, packed_on_virtio_mmio_polled)
{
    RUN("traffic", "bus=mmio ring=packed fifo=on", "--pci", "off");
}

Test(rings, are_reset_with_requests_under_way)
{
    RUN("reset_in_flight", "fifo=on");
}

Test(rings, packed_ones_are_reset_with_requests_under_way)
{
    RUN("reset_in_flight", "fifo=on irq=on ring=packed");
}

Test(rings, are_reset_on_virtio_mmio)
{
    RUN("reset_in_flight", "fifo=on bus=mmio irq=on", "--pci", "off");
}

Test(rings, packed_ones_are_reset_on_virtio_mmio)
{
    RUN("reset_in_flight", "fifo=on bus=mmio ring=packed", "--pci", "off");
}

/* The same with the queue alone, for devices on threads and in processes of their own (which is the default). */
Test(rings, are_stopped_alone_with_requests_under_way)
{
    RUN("stop_queue_in_flight", "fifo=on");
}

Test(rings, of_threads_are_stopped_alone_with_requests_under_way)
{
    RUN("stop_queue_in_flight", "fifo=on irq=on", "--sandbox", "thread");
}

Test(rings, packed_ones_are_stopped_alone_with_requests_under_way)
{
    RUN("stop_queue_in_flight", "fifo=on irq=on ring=packed");
}

Test(rings, are_stopped_alone_on_virtio_mmio)
{
    RUN("stop_queue_in_flight", "fifo=on bus=mmio irq=on", "--pci", "off");
}

Test(rings, packed_ones_are_stopped_alone_on_virtio_mmio)
{
    RUN("stop_queue_in_flight", "fifo=on bus=mmio ring=packed", "--pci", "off");
}

Test(rings, of_threads_are_stopped_alone_on_virtio_mmio)
{
    RUN("stop_queue_in_flight", "fifo=on bus=mmio irq=on", "--pci", "off", "--sandbox", "thread");
}

TestSuite(removal, .timeout = TEST_TIMEOUT);

Test(removal, of_a_function_with_a_request_under_way)
{
    RUN("unplug", "fifo=on irq=on", "-s", "sock");
}

Test(removal, of_a_function_with_a_request_under_way_on_packed_rings)
{
    RUN("unplug", "fifo=on ring=packed", "-s", "sock");
}

Test(removal, of_a_virtio_mmio_window)
{
    RUN("unplug", "fifo=on bus=mmio irq=on", "-s", "sock", "--pci", "off");
}
