/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Calls of the Power State Coordination Interface (Arm DEN 0022) by hvc. */
#ifndef PAYLOAD_GUEST_PSCI_H
#define PAYLOAD_GUEST_PSCI_H

#include "guest.h"

#define PSCI_VERSION            0x84000000u
#define PSCI_CPU_OFF            0x84000002u
#define PSCI_CPU_ON             0xc4000003u
#define PSCI_AFFINITY_INFO      0xc4000004u
#define PSCI_SYSTEM_OFF         0x84000008u
#define PSCI_SYSTEM_RESET       0x84000009u
#define PSCI_FEATURES           0x8400000au
#define PSCI_NOT_SUPPORTED      0xffffffffu
#define PSCI_INVALID_PARAMETERS 0xfffffffeu
#define PSCI_ALREADY_ON         0xfffffffcu
/* Of AFFINITY_INFO. */
#define PSCI_ON  0u
#define PSCI_OFF 1u

/* SMC Calling Convention (Arm DEN 0028), 2.6: x0 to x3 come back changed, or as they were. */
static inline uint32_t psci3(uint32_t function, uint64_t a, uint64_t b, uint64_t c)
{
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = a;
    register uint64_t x2 __asm__("x2") = b;
    register uint64_t x3 __asm__("x3") = c;

    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
    return (uint32_t)x0;
}

static inline uint32_t psci(uint32_t function, uint64_t argument)
{
    return psci3(function, argument, 0, 0);
}

#endif
