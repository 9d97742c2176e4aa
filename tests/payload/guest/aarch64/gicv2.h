/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What differs with a GICv2 (Arm IHI 0048) and GICv2m (Arm Server Base System Architecture 2.3, appendix E). */
#ifndef PAYLOAD_GUEST_GICV2_H
#define PAYLOAD_GUEST_GICV2_H

#include "guest.h"

/* INTID of the message that is vector 0: messages are SPIs (vmm/aarch64-boot/map.h). */
enum { GICV2_FIRST_MESSAGE = 320 };

void gicv2_init(void);
uint32_t gicv2_acknowledge(void);
void gicv2_end(uint32_t id);
/* To irq_cpu. */
void gicv2_target(unsigned id);
struct message gicv2_message(uint8_t vector);

#endif
