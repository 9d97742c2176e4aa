/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Calls of the Power State Coordination Interface (Arm DEN 0022) by hvc. */
#ifndef PAYLOAD_GUEST_PSCI_H
#define PAYLOAD_GUEST_PSCI_H

#include "guest.h"

#define PSCI_VERSION       0x84000000u
#define PSCI_SYSTEM_OFF    0x84000008u
#define PSCI_SYSTEM_RESET  0x84000009u
#define PSCI_FEATURES      0x8400000au
#define PSCI_NOT_SUPPORTED 0xffffffffu

/* SMC Calling Convention (Arm DEN 0028), 2.6: x0 to x3 come back changed, or as they were. */
static inline uint32_t psci(uint32_t function, uint64_t argument)
{
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = argument;
    register uint64_t x2 __asm__("x2") = 0;
    register uint64_t x3 __asm__("x3") = 0;

    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
    return (uint32_t)x0;
}

#endif
