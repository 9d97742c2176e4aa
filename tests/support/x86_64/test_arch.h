/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What tests of whole machines have to know of their architecture: ../aarch64/test_arch.h has the same names. */
#ifndef TESTS_TEST_ARCH_H
#define TESTS_TEST_ARCH_H

#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include <vmm/arch/arch.h>
#include <vmm/hypervisor/fake.h>

enum {
    TEST_IRQCHIP_KERNEL = VARCH_IRQCHIP_KERNEL, /* wires end in the hypervisor */
    TEST_IRQCHIP_OTHER = VARCH_IRQCHIP_SPLIT,
    TEST_IRQCHIP_CALL = HV_FAKE_IRQCHIP_NEW, /* what only making that one calls */
    TEST_IRQCHIP_LAST = false, /* it is made after the vCPUs */
};

#define TEST_IRQCHIP_KERNEL_TEXT "kernel"
#define TEST_IRQCHIP_OTHER_TEXT  "split"
#define TEST_ENTRY               0x100000ULL /* of the kernel below */
#define TEST_ENTRY_TEXT          "rip 0000000000100000" /* in a dump of registers */
#define TEST_KERNEL_BYTES        4096

/* Platform registers: they are ports, a byte wide. */
enum {
    TEST_PORTS = true,
    TEST_REG_BYTES = 1,
    TEST_SERIAL = 0x3f8, /* what is written is sent */
    TEST_SERIAL_STATUS = TEST_SERIAL + 5, /* line status: in the mask: when it may be sent to */
    TEST_SERIAL_MASK = 0x20,
    TEST_SERIAL_READY = 0x20,
    TEST_CLOCK_INDEX = 0x70,
    TEST_CLOCK_DATA = 0x71,
    TEST_NOBODY = 0x2f8,
};
#define TEST_RAM_BASE 0ULL

/* A kernel that is one page. Returns its length. */
static inline size_t test_kernel_make(uint8_t ret_bytes[TEST_KERNEL_BYTES])
{
    Elf64_Ehdr e = { .e_type = ET_EXEC,
                     .e_machine = EM_X86_64,
                     .e_entry = TEST_ENTRY,
                     .e_phoff = sizeof(e),
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = 1 };
    const Elf64_Phdr p = { .p_type = PT_LOAD, .p_paddr = TEST_ENTRY, .p_memsz = 4096 };

    memcpy(e.e_ident, ELFMAG, SELFMAG);
    e.e_ident[EI_CLASS] = ELFCLASS64;
    e.e_ident[EI_DATA] = ELFDATA2LSB;
    memcpy(ret_bytes, &e, sizeof(e));
    memcpy(ret_bytes + sizeof(e), &p, sizeof(p));
    return sizeof(e) + sizeof(p);
}

static inline uint64_t test_pc(struct hv_vcpu *vcpu)
{
    struct kvm_regs regs = { 0 };

    (void)hv_vcpu_get(vcpu, HV_STATE_REGS, &regs, sizeof(regs));
    return regs.rip;
}

/* The wired interrupt behind what hv_vm_irq_line() was told. */
static inline uint32_t test_irq_number(uint32_t line)
{
    return line;
}

/* What a guest gives a device for its n-th message; and whether a message came, and which. */
static inline void test_message(int irqchip, uint32_t n, uint64_t *ret_addr, uint32_t *ret_data)
{
    (void)irqchip;
    *ret_addr = 0xfee01000;
    *ret_data = n;
}

static inline bool test_message_of(const struct hv_fake_irq *irq, uint32_t *ret_n)
{
    *ret_n = irq->msi.data & 0xffff;
    return irq->type == HV_FAKE_BY_MSI && irq->msi.addr == 0xfee01000;
}

/* What a guest writes to hear of the power button: pin 9 of the I/O APIC, vector 0x39 (82093AA, 3.2.4). */
static const struct {
    uint64_t addr, value;
} test_power_key[] = { { 0xfec00000, 0x10 + 2 * 9 }, { 0xfec00010, 0x39 } };

static inline bool test_power_key_heard(const struct hv_fake_irq *irq)
{
    return irq->type == HV_FAKE_BY_MSI && (irq->msi.data & 0xff) == 0x39;
}

#endif
