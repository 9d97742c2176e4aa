/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Other CPUs of the machine guest. */
#ifndef PAYLOAD_GUEST_SMP_H
#define PAYLOAD_GUEST_SMP_H

/* Which CPU takes the interrupts: to be set before irq_init(), which that CPU calls. */
extern unsigned irq_cpu;

#endif
