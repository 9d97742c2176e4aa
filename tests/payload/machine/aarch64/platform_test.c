/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The platform's devices, and PSCI: tests/payload/guest/aarch64/platform.c. */
#include <criterion/criterion.h>

#include "machine.h"

TestSuite(platform, .timeout = TEST_TIMEOUT);

Test(platform, the_serial_port_interrupts)
{
    RUN("serial_interrupt", "");
}

Test(platform, the_clocks_alarm_interrupts)
{
    RUN("rtc_interrupt", "");
}

Test(platform, the_power_key_interrupts)
{
    RUN("power_key", "");
}

Test(platform, psci_knows_what_it_can_do)
{
    RUN("psci", "");
}

Test(platform, psci_resets)
{
    machine_test_ends("psci_reset", 10, (const char *const[]){ NULL });
}

Test(platform, psci_switches_cpus_on_and_off)
{
    RUN("cpus", "", "-c", "4");
}

Test(platform, another_cpu_takes_all_interrupts)
{
    RUN("second_cpu", "irq=on", "-c", "2");
}
