/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What tests of whole machines have to know of their architecture: ../x86_64/test_arch.h has the same names. */
#ifndef TESTS_TEST_ARCH_H
#define TESTS_TEST_ARCH_H

#include <stddef.h>
#include <stdbool.h>
#include <string.h>

#include <vmm/arch/arch.h>
#include <vmm/base/le.h>
#include <vmm/hypervisor/fake.h>

enum {
    TEST_IRQCHIP_KERNEL = VARCH_IRQCHIP_GICV3, /* wires end in the hypervisor */
    TEST_IRQCHIP_OTHER = VARCH_IRQCHIP_GICV2,
    TEST_IRQCHIP_CALL = HV_FAKE_DEVICE_ATTR, /* what only making that one calls */
    TEST_IRQCHIP_LAST = true, /* it is made after the vCPUs */
};

#define TEST_IRQCHIP_KERNEL_TEXT "gicv3"
#define TEST_IRQCHIP_OTHER_TEXT  "gicv2"
#define TEST_ENTRY               0x40200000ULL /* of the kernel below */
#define TEST_ENTRY_TEXT          "pc 0000000040200000" /* in a dump of registers */
#define TEST_KERNEL_BYTES        4096

/* Platform registers: they are memory, a word wide. */
enum {
    TEST_PORTS = false,
    TEST_REG_BYTES = 4,
    TEST_SERIAL = 0x09000000, /* PL011: what is written is sent */
    TEST_SERIAL_STATUS = TEST_SERIAL + 0x18, /* flags: in the mask: when it may be sent to */
    TEST_SERIAL_MASK = 0x20,
    TEST_SERIAL_READY = 0,
    TEST_CLOCK_INDEX = 0x09100004, /* PL031: match; data */
    TEST_CLOCK_DATA = 0x09100000,
    TEST_NOBODY = 0x09010000,
};
#define TEST_RAM_BASE 0x40000000ULL

/* A kernel that is one page (Linux Documentation/arm64/booting.rst, 4). Returns its length. */
static inline size_t test_kernel_make(uint8_t ret_bytes[TEST_KERNEL_BYTES])
{
    memset(ret_bytes, 0, TEST_KERNEL_BYTES);
    vm_store_le(ret_bytes + 16, 8, TEST_KERNEL_BYTES); /* image_size */
    vm_store_le(ret_bytes + 24, 8, 8); /* anywhere in memory, little endian */
    memcpy(ret_bytes + 56, "ARM\x64", 4);
    return TEST_KERNEL_BYTES;
}

static inline uint64_t test_pc(struct hv_vcpu *vcpu)
{
    uint64_t pc = 0;

    (void)hv_vcpu_get_reg(vcpu,
                          KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
                              (uint64_t)(offsetof(struct kvm_regs, regs.pc) / sizeof(uint32_t)),
                          &pc);
    return pc;
}

/* The wired interrupt behind what hv_vm_irq_line() was told: an SPI's number (api.rst, 4.25). */
static inline uint32_t test_irq_number(uint32_t line)
{
    return (line & 0xffff) - 32;
}

/* What a guest gives a device for its n-th message (to the first ITS, or to the frame of GICv2m, whose interrupts begin at
 * SPI 288); and whether a message came, and which. */
static inline void test_message(int irqchip, uint32_t n, uint64_t *ret_addr, uint32_t *ret_data)
{
    bool v2m = irqchip == VARCH_IRQCHIP_GICV2;

    *ret_addr = v2m ? 0x08020040 : 0x08090040;
    *ret_data = v2m ? 32 + 288 + n : n;
}

static inline bool test_message_of(const struct hv_fake_irq *irq, uint32_t *ret_n)
{
    bool wire = irq->type == HV_FAKE_BY_LINE;
    uint32_t n = wire ? test_irq_number(irq->irq) : irq->msi.data;

    if (wire ? !irq->level || n < 288 : irq->msi.addr != 0x08090040)
        return false;
    *ret_n = wire ? n - 288 : n;
    return true;
}

/* What a guest writes to hear of the power button: pin 3 of the PL061, a rising edge (ARM DDI 0190, 3.3). */
static const struct {
    uint64_t addr, value;
} test_power_key[] = { { 0x0920040c, 8 }, { 0x09200410, 8 } };

static inline bool test_power_key_heard(const struct hv_fake_irq *irq)
{
    return irq->type == HV_FAKE_BY_LINE && test_irq_number(irq->irq) == 5 && irq->level;
}

#endif
