/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Other CPUs: on and off by PSCI (Arm DEN 0022, 5.5 to 5.7), and one of them does all the work. */
#include "smp.h"

#include "psci.h"

enum { CPUS = 4, STACK_BYTES = 16384 };
#define MPIDR_AFFINITY 0xff00fffffful

static uint8_t stacks[CPUS][STACK_BYTES] __attribute__((aligned(16)));
static void (*work)(unsigned cpu);
static volatile unsigned begun[CPUS], ended[CPUS], leave;

/* start.S: with the top of its stack as context. */
void secondary_start(void);
_Noreturn void guest_secondary(const uint8_t *stack_top);
_Noreturn void guest_secondary(const uint8_t *stack_top)
{
    unsigned cpu = (unsigned)((uint64_t)(stack_top - stacks[0]) / STACK_BYTES - 1);
    uint64_t mpidr;

    __asm__ volatile("mrs %0, mpidr_el1" : "=r"(mpidr));
    check_eq(mpidr & MPIDR_AFFINITY, cpu);
    begun[cpu]++;
    barrier();
    work(cpu);
    barrier();
    ended[cpu]++;
    __asm__ volatile("dsb sy\n sev" : : : "memory");
    (void)psci(PSCI_CPU_OFF, 0);
    fail(__FILE__, __LINE__, "off is off", cpu, 0);
}

static uint32_t cpu_on(unsigned cpu)
{
    return psci3(PSCI_CPU_ON, cpu, (uint64_t)secondary_start, (uint64_t)stacks[cpu + 1]);
}

/* Off means that the CPU is off: it said that it would be a little before. */
static void wait_for_off(unsigned cpu)
{
    while (psci3(PSCI_AFFINITY_INFO, cpu, 0, 0) != PSCI_OFF)
        ;
}

static void wait_to_leave(unsigned cpu)
{
    (void)cpu;
    while (!leave)
        __asm__ volatile("wfe" : : : "memory");
}

/* All on, each in the place that was asked for, all off, and the same again. */
void test_cpus(void)
{
    work = wait_to_leave;
    check_eq(psci3(PSCI_CPU_ON, CPUS, (uint64_t)secondary_start, 0), PSCI_INVALID_PARAMETERS);
    check_eq(cpu_on(0), PSCI_ALREADY_ON);
    for (unsigned round = 1; round <= 2; round++) {
        leave = 0;
        for (unsigned cpu = 1; cpu < CPUS; cpu++) {
            check_eq(psci3(PSCI_AFFINITY_INFO, cpu, 0, 0), PSCI_OFF);
            check_eq(cpu_on(cpu), 0);
            while (begun[cpu] != round)
                ;
            check_eq(psci3(PSCI_AFFINITY_INFO, cpu, 0, 0), PSCI_ON);
            check_eq(cpu_on(cpu), PSCI_ALREADY_ON);
        }
        leave = 1;
        __asm__ volatile("dsb sy\n sev" : : : "memory");
        for (unsigned cpu = 1; cpu < CPUS; cpu++)
            wait_for_off(cpu);
    }
}

static void do_all(unsigned cpu)
{
    irq_cpu = cpu;
    test_serial_interrupt();
    test_traffic();
}

/* The second CPU drives devices and takes interrupts. */
void test_second_cpu(void)
{
    work = do_all;
    check_eq(cpu_on(1), 0);
    while (!ended[1])
        __asm__ volatile("wfe" : : : "memory");
    wait_for_off(1);
}
