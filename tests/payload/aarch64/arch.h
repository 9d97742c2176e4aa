/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The payload VMs of AArch64. Programs begin at EL1 with interrupts masked and memory mapped one to one: the first 64 MiB as
 * normal memory, the rest of the first GiB as a device's. The test sets the registers that make it so: there is nothing for
 * a program to set up.
 */
#ifndef PAYLOAD_ARCH_H
#define PAYLOAD_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/hypervisor/uapi.h>

#include "layout.h"

enum {
    /* Interrupt numbers that mean nothing by themselves: only the route says what they do. */
    EDGE_GSI = 40,
    LEVEL_GSI = 41,
    EDGE_PIN = 4, /* SPIs, counted from 0 */
    LEVEL_PIN = 5,
    EDGE_TOLD = 32 + EDGE_PIN,
    LEVEL_TOLD = 32 + LEVEL_PIN,
    INTIDS = 64, /* of the GIC */
    FIRST_LPI = 8192,
    MESSAGE_TOLD = FIRST_LPI, /* and the next one: device 1; FIRST_LPI + 2: device 2 */
    DEVICE = 1,
    OTHER_DEVICE = 2,
    NO_DEVICE = 3,

    BELL_IS_PORT = false,
    BELL_COLLECTED = KVM_CAP_COALESCED_MMIO,
    NOP_BYTES = 4,
    /* Pages of slot 0, a bit each, that the machine may write to by itself: KVM makes a page of code writable where it can,
     * and takes a walk of the page tables for a write. */
    OWN_PAGES = 1 << PAYLOAD_AT / 0x1000 | 3 << TABLES_AT / 0x1000,

    GIC = 0, /* payload.device[] */
    ITS = 1,
};

enum payload_mode { FLAT_MODE, LONG_MODE = FLAT_MODE };

struct payload_arch_config {
    uint32_t ipa_bits; /* 0: 40, or what the host has */
    bool gic, its; /* GICv3, skipped where the host has none; with its the GIC, too */
    bool others_off; /* vCPUs but the first one begin powered off */
    bool nisv; /* KVM_CAP_ARM_NISV_TO_USER */
    bool suspend; /* KVM_CAP_ARM_SYSTEM_SUSPEND */
    uint32_t features; /* 1 << KVM_ARM_VCPU_*; PSCI 1.x is always there */
};

#define CORE_REG(member)                                   \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
     (uint64_t)(offsetof(struct kvm_regs, member) / sizeof(uint32_t)))
/* op0, op1, CRn, CRm, op2 as in the Arm Architecture Reference Manual (DDI 0487), D19. */
#define SYS_REG(...) ((uint64_t)ARM64_SYS_REG(__VA_ARGS__))
#define REG_MPIDR    SYS_REG(3, 0, 0, 0, 5)
#define REG_SCTLR    SYS_REG(3, 0, 1, 0, 0)
#define REG_CPACR    SYS_REG(3, 0, 1, 0, 2)
#define REG_TTBR0    SYS_REG(3, 0, 2, 0, 0)
#define REG_TCR      SYS_REG(3, 0, 2, 0, 2)
#define REG_APIAKEY  SYS_REG(3, 0, 2, 1, 0)
#define REG_MAIR     SYS_REG(3, 0, 10, 2, 0)
#define REG_VBAR     SYS_REG(3, 0, 12, 0, 0)
#define REG_TPIDR    SYS_REG(3, 0, 13, 0, 4)

/* ESR_EL1 and what a debug exit gives (DDI 0487, D19.2.37): the class of the exception. */
#define ESR_CLASS(esr) ((esr) >> 26 & 0x3f)
enum {
    CLASS_ABORT = 0x25, /* data, the same exception level */
    CLASS_BREAKPOINT = 0x30,
    CLASS_WATCHPOINT = 0x34,
    CLASS_BRK = 0x3c,
};

struct hv_vcpu;
struct payload;

uint64_t payload_reg(struct hv_vcpu *vcpu, uint64_t id);
void payload_set_reg(struct hv_vcpu *vcpu, uint64_t id, uint64_t value);
/* Goes on with the program at gpa in place of what follows the last exit. */
void payload_jump(struct hv_vcpu *vcpu, uint32_t gpa);
/* Skips the test when the VM has not the capability. */
void payload_need(struct payload *p, uint32_t cap, const char *name);

/* Program smccc: SMCCC (Arm DEN0028) functions, one after the other. payload_call() gives what came back in x0. */
void payload_call_start(struct hv_vcpu *vcpu, uint64_t function, uint64_t a1, uint64_t a2,
                        uint64_t a3);
uint64_t payload_call(struct payload *p, unsigned cpu, uint64_t function, uint64_t a1, uint64_t a2,
                      uint64_t a3);

/* gic.c. Makes the controllers; all vCPUs exist. */
void payload_gic_new(struct payload *p, bool its);
/* Lets a vCPU turn its part on, the first one the distributor and the ITS too, and wait for interrupts. */
void payload_gic_start(struct payload *p, unsigned cpu);
/* An attribute of a device in the kernel with 32 or 64 bits; failure fails the test. */
uint64_t payload_attr(struct payload *p, unsigned device, uint32_t group, uint64_t attr);
void payload_set_attr(struct payload *p, unsigned device, uint32_t group, uint64_t attr,
                      uint64_t value);
/* As hv_vm_irq_line() wants it: KVM_ARM_IRQ_TYPE_*, the vCPU of a PPI, INTID. */
uint32_t payload_irq_code(uint32_t type, unsigned cpu, uint32_t intid);

#define PAYLOAD(name) extern const uint8_t payload_##name[], payload_##name##_end[]
PAYLOAD(mmio);
PAYLOAD(mmio64);
PAYLOAD(rom);
PAYLOAD(dirty);
PAYLOAD(dirty_many);
PAYLOAD(doorbells);
PAYLOAD(spin);
PAYLOAD(nops);
PAYLOAD(meet);
PAYLOAD(tell);
PAYLOAD(vectors);
PAYLOAD(gic);
PAYLOAD(wait);
PAYLOAD(smccc);
PAYLOAD(state);
PAYLOAD(counter);
PAYLOAD(timer_virt);
PAYLOAD(timer_phys);
PAYLOAD(sgi);
PAYLOAD(unclear);
PAYLOAD(brk);
PAYLOAD(store);
PAYLOAD(cycles);
PAYLOAD(sve);
PAYLOAD(pauth);
#undef PAYLOAD

#endif
