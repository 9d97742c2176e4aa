/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Addresses of the payload VMs of AArch64, for C and the assembler. */
#ifndef PAYLOAD_LAYOUT_H
#define PAYLOAD_LAYOUT_H

/* Slot 0, memory */
#define PAYLOAD_AT  0x1000 /* where the code goes */
#define ENTRY_AT    0x1800 /* and a second program */
#define RESULT      0x2000 /* where programs leave what they read */
#define VECTORS_AT  0x3000
#define SCRIPT_AT   0x4000 /* stores that program gic makes */
#define TABLES_AT   0x10000 /* page tables, two pages */
#define PROPERTY_AT 0x20000 /* the GIC's tables, 64 KiB each */
#define PENDING_AT  0x30000
#define DEVICES_AT  0x40000
#define CPUS_AT     0x50000 /* collections */
#define COMMANDS_AT 0x60000
#define EVENTS_AT   0x70000 /* 4 KiB for each device */
#define LOW_BYTES   0x80000
/* Slots of tests' own, and slot 1; all memory of programs is below 64 MiB */
#define ROM_AT  0x90000
#define HIGH_AT 0x100000

/* Never memory */
#define GICD_AT 0x08000000
#define ITS_AT  0x08080000
#define DONE    0x09000000 /* a program's end, or that of an interrupt */
#define TOLD    0x09000008 /* the number of an interrupt; what a program has to say */
#define SIDE    0x09000010 /* without meaning */
#define BELL    0x09000018 /* ioeventfds */
#define TRAPPED 0x09000020 /* ESR_EL1 of an exception */
#define ERRORED 0x09000028 /* an SError */
#define MMIO_AT 0x0a000000
#define GICR_AT 0x0c000000

/* Private interrupts of the GIC, as KVM and our guests have them */
#define INTID_PMU  23
#define INTID_VIRT 27
#define INTID_PHYS 30

#endif
