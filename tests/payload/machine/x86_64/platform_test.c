/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The platform's devices under both interrupt controllers: tests/payload/guest/x86_64/platform.c. */
#include <criterion/criterion.h>

#include "machine.h"

TestSuite(platform, .timeout = TEST_TIMEOUT);

#define SPLIT  "--irqchip", "split"
#define KERNEL "--irqchip", "kernel"

Test(platform, the_serial_port_interrupts_through_our_ioapic)
{
    RUN("serial_interrupt", "", SPLIT);
}

Test(platform, the_serial_port_interrupts_through_the_kernels_ioapic)
{
    RUN("serial_interrupt", "", KERNEL);
}

Test(platform, the_clocks_alarm_interrupts_through_our_ioapic)
{
    RUN("rtc_interrupt", "", SPLIT);
}

Test(platform, the_clocks_alarm_interrupts_through_the_kernels_ioapic)
{
    RUN("rtc_interrupt", "", KERNEL);
}

Test(platform, the_power_button_interrupts_through_our_ioapic)
{
    RUN("power_button", "", SPLIT);
}

Test(platform, the_power_button_interrupts_through_the_kernels_ioapic)
{
    RUN("power_button", "", KERNEL);
}

Test(platform, a_level_is_told_again_after_the_end_of_interrupt_by_our_ioapic)
{
    RUN("level_interrupt", "bus=mmio irq=on", "--pci", "off", SPLIT);
}

Test(platform, a_level_is_told_again_after_the_end_of_interrupt_by_the_kernels_ioapic)
{
    RUN("level_interrupt", "bus=mmio irq=on", "--pci", "off", KERNEL);
}

Test(platform, only_sleep_type_5_with_its_enable_bit_switches_off)
{
    RUN("sleep_register", "");
}

Test(platform, only_a_byte_of_1_resets)
{
    machine_test_ends("reset_register", 10, (const char *const[]){ NULL });
}
