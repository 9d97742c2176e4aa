/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "payload.h"

#include <criterion/criterion.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

const uint32_t payload_needed[] = {
    KVM_CAP_IRQCHIP,        KVM_CAP_USER_MEMORY,  KVM_CAP_IRQFD,           KVM_CAP_IOEVENTFD,
    KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM, KVM_CAP_IRQ_ROUTING,     KVM_CAP_MAX_VCPU_ID,
    KVM_CAP_NR_MEMSLOTS,    KVM_CAP_ARM_PSCI_0_2, KVM_CAP_ONE_REG,         KVM_CAP_DEVICE_CTRL,
    KVM_CAP_MP_STATE,       KVM_CAP_VCPU_EVENTS,  KVM_CAP_ARM_VM_IPA_SIZE, KVM_CAP_SIGNAL_MSI,
};
const unsigned payload_needed_count = sizeof(payload_needed) / sizeof(payload_needed[0]);

/* KVM's default is more than small hosts have. */
void payload_arch_vm(struct payload *p, const struct payload_config *config,
                     struct hv_vm_config *ret_config)
{
    uint32_t most = (uint32_t)hv_cap(p->hv, KVM_CAP_ARM_VM_IPA_SIZE);

    ret_config->ipa_bits = config->arch.ipa_bits;
    if (!ret_config->ipa_bits)
        ret_config->ipa_bits = most && most < 40 ? most : 40;
}

void payload_need(struct payload *p, uint32_t cap, const char *name)
{
    if (!hv_vm_cap(p->vm, cap))
        cr_skip_test("this KVM has no %s (capability %u is 0)", name, cap);
}

void payload_arch_enable(struct payload *p, const struct payload_config *config)
{
    if (config->arch.nisv) {
        payload_need(p, KVM_CAP_ARM_NISV_TO_USER, "exits for unclear accesses");
        payload_enable(p, KVM_CAP_ARM_NISV_TO_USER, 0);
    }
    if (config->arch.suspend) {
        payload_need(p, KVM_CAP_ARM_SYSTEM_SUSPEND, "exits for PSCI's SYSTEM_SUSPEND");
        payload_enable(p, KVM_CAP_ARM_SYSTEM_SUSPEND, 0);
    }
}

/* DDI 0487, D8.3.1: 36 bits, 4 KiB: the first level has one entry for each of 64 GiB, the second for each of 512 times
 * 2 MiB. Normal memory (attribute 1, inner shareable) and a device's (attribute 0, never executed). */
static void set_tables(struct payload *p)
{
    enum { BLOCK = 0x200000, NORMAL_BLOCKS = 32 };

    vm_store_le(p->low + TABLES_AT, 8, (TABLES_AT + 0x1000) | 3);
    for (uint64_t n = 0; n < 512; n++)
        vm_store_le(p->low + TABLES_AT + 0x1000 + n * 8, 8,
                    n * BLOCK | (n < NORMAL_BLOCKS ? 0x705 : 3ull << 53 | 0x401));
}

static void set_registers(struct hv_vcpu *vcpu)
{
    payload_set_reg(vcpu, REG_MAIR, 0xff04); /* 0: device-nGnRE, 1: normal, write-back */
    /* 36 bits of input and output, 4 KiB, walks cached and shared, no TTBR1 */
    payload_set_reg(vcpu, REG_TCR, 0x10080351c);
    payload_set_reg(vcpu, REG_TTBR0, TABLES_AT);
    payload_set_reg(vcpu, REG_VBAR, VECTORS_AT);
    payload_set_reg(vcpu, REG_CPACR, 0x330000); /* floating point and SVE do not trap */
    payload_set_reg(vcpu, REG_SCTLR, 0x30d01805); /* RES1, I, C, M */
    payload_set_reg(vcpu, CORE_REG(regs.pc), PAYLOAD_AT);
    payload_set_reg(vcpu, CORE_REG(regs.pstate), 0x3c5); /* EL1h, all masked */
}

static void cpu_init(struct payload *p, unsigned n, const struct payload_config *config)
{
    struct kvm_vcpu_init init;

    payload_cpu_new(p, n);
    payload_must(hv_vm_get(p->vm, HV_STATE_PREFERRED_TARGET, &init, sizeof(init)), "target");
    init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2 | config->arch.features;
    if (n && config->arch.others_off)
        init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
    payload_must(hv_vcpu_set(p->cpu[n], HV_STATE_VCPU_INIT, &init, sizeof(init)), "vCPU init");
    set_registers(p->cpu[n]);
}

/* All vCPUs, then the controller: KVM takes no more after its INIT. */
void payload_arch_cpus(struct payload *p, const struct payload_config *config)
{
    set_tables(p);
    for (unsigned n = 0; n < config->cpus || !n; n++)
        cpu_init(p, n, config);
    if (config->arch.gic || config->arch.its)
        payload_gic_new(p, config->arch.its);
}

uint64_t payload_reg(struct hv_vcpu *vcpu, uint64_t id)
{
    uint64_t value = 0;

    payload_must(hv_vcpu_get_reg(vcpu, id, &value), "register");
    return value;
}

void payload_set_reg(struct hv_vcpu *vcpu, uint64_t id, uint64_t value)
{
    payload_must(hv_vcpu_set_reg(vcpu, id, &value), "register");
}

void payload_jump(struct hv_vcpu *vcpu, uint32_t gpa)
{
    payload_settle(vcpu); /* the end of a store moves the program counter */
    payload_set_reg(vcpu, CORE_REG(regs.pc), gpa);
}

bool payload_told(const struct hv_exit *exit, uint32_t where, uint32_t *ret_value)
{
    if (exit->reason != HV_EXIT_MMIO || !exit->mmio.is_write || exit->mmio.addr != where)
        return false;
    *ret_value = (uint32_t)vm_load_le(exit->mmio.data, exit->mmio.len);
    return true;
}

void payload_set_argument(struct hv_vcpu *vcpu, uint64_t value)
{
    payload_set_reg(vcpu, CORE_REG(regs.regs[0]), value);
}

uint64_t payload_answer(struct hv_vcpu *vcpu)
{
    return payload_reg(vcpu, CORE_REG(regs.regs[0]));
}

uint64_t payload_debug_pc(const struct payload *p)
{
    return payload_reg(p->vcpu, CORE_REG(regs.pc));
}

void payload_call_start(struct hv_vcpu *vcpu, uint64_t function, uint64_t a1, uint64_t a2,
                        uint64_t a3)
{
    payload_set_reg(vcpu, CORE_REG(regs.regs[0]), function);
    payload_set_reg(vcpu, CORE_REG(regs.regs[1]), a1);
    payload_set_reg(vcpu, CORE_REG(regs.regs[2]), a2);
    payload_set_reg(vcpu, CORE_REG(regs.regs[3]), a3);
}

uint64_t payload_call(struct payload *p, unsigned cpu, uint64_t function, uint64_t a1, uint64_t a2,
                      uint64_t a3)
{
    payload_call_start(p->cpu[cpu], function, a1, a2, a3);
    payload_run_cpu_to(p->cpu[cpu], DONE);
    payload_settle(p->cpu[cpu]);
    return vm_load_le(p->low + RESULT, 8);
}
