/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "payload.h"

#include <criterion/criterion.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

const uint32_t payload_needed[] = {
    KVM_CAP_IRQCHIP,     KVM_CAP_USER_MEMORY,   KVM_CAP_IRQFD,          KVM_CAP_IOEVENTFD,
    KVM_CAP_SIGNAL_MSI,  KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM,
    KVM_CAP_IRQ_ROUTING, KVM_CAP_MAX_VCPU_ID,   KVM_CAP_NR_MEMSLOTS,
};
const unsigned payload_needed_count = sizeof(payload_needed) / sizeof(payload_needed[0]);

/* A flat segment (Intel SDM, volume 3, 3.4.5). */
static struct kvm_segment flat(uint16_t selector, bool code, bool wide)
{
    struct kvm_segment s = { .limit = 0xffffffff, .selector = selector, .present = 1 };

    s.type = code ? 0xb : 0x3;
    s.s = 1;
    s.g = 1;
    s.db = !(code && wide);
    s.l = code && wide;
    return s;
}

static void set_gdt(struct payload *p)
{
    vm_store_le(p->low + GDT_AT + 0x08, 8, 0x00cf9b000000ffff); /* 32-bit code */
    vm_store_le(p->low + GDT_AT + 0x10, 8, 0x00cf93000000ffff); /* data */
}

static void set_idt(struct payload *p)
{
    for (unsigned v = 0; v < 256; v++) {
        uint32_t at = HANDLERS_AT + v * 0x100;

        vm_store_le(p->low + IDT_AT + v * 8, 4, 0x08u << 16 | (at & 0xffff));
        vm_store_le(p->low + IDT_AT + v * 8 + 4, 4, (at & 0xffff0000) | 0x8e00);
    }
}

/* The first 2 MiB, one to one, with one large page. */
static void set_page_tables(struct payload *p)
{
    vm_store_le(p->low + TABLES_AT, 8, (TABLES_AT + 0x1000) | 3);
    vm_store_le(p->low + TABLES_AT + 0x1000, 8, (TABLES_AT + 0x2000) | 3);
    vm_store_le(p->low + TABLES_AT + 0x2000, 8, 0x83);
}

static void set_registers(struct payload *p, struct hv_vcpu *vcpu, enum payload_mode mode)
{
    struct kvm_regs regs = { .rip = PAYLOAD_AT, .rflags = 2, .rsp = STACK_AT };
    struct kvm_sregs s;

    payload_must(hv_vcpu_get(vcpu, HV_STATE_SREGS, &s, sizeof(s)), "sregs");
    if (mode == REAL_MODE) {
        s.cs.selector = 0;
        s.cs.base = 0;
    } else {
        s.cs = flat(0x08, true, mode == LONG_MODE);
        s.ds = s.es = s.ss = flat(0x10, false, mode == LONG_MODE);
        s.gdt = (struct kvm_dtable){ .base = GDT_AT, .limit = 0x17 };
        s.idt = (struct kvm_dtable){ .base = IDT_AT, .limit = 0x7ff };
        s.cr0 |= 1; /* PE */
        set_gdt(p);
        set_idt(p);
    }
    if (mode == LONG_MODE) {
        s.cr3 = TABLES_AT;
        s.cr4 |= 0x20; /* PAE */
        s.cr0 |= 0x80000000; /* PG */
        s.efer = 0x500; /* LME, LMA */
        set_page_tables(p);
    }
    payload_must(hv_vcpu_set(vcpu, HV_STATE_SREGS, &s, sizeof(s)), "sregs");
    payload_must(hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs)), "regs");
}

static void set_cpuid(struct payload *p, struct hv_vcpu *vcpu)
{
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[128];
    } list = { .nent = 128 };

    payload_must(hv_get(p->hv, HV_STATE_SUPPORTED_CPUID, &list, sizeof(list)), "supported CPUID");
    payload_must(hv_vcpu_set(vcpu, HV_STATE_CPUID2, &list, sizeof(list)), "CPUID");
}

void payload_arch_vm(struct payload *p, const struct payload_config *config,
                     struct hv_vm_config *ret_config)
{
    (void)p, (void)config, (void)ret_config;
}

void payload_arch_enable(struct payload *p, const struct payload_config *config)
{
    if (config->arch.user_msrs)
        payload_enable(p, KVM_CAP_X86_USER_SPACE_MSR, config->arch.user_msrs);
}

void payload_arch_cpus(struct payload *p, const struct payload_config *config)
{
    if (config->arch.kernel_irqchip)
        payload_must(hv_vm_irqchip_new(p->vm, HV_IRQCHIP_KERNEL, 0), "irqchip");
    if (config->arch.split_irqchip)
        payload_must(hv_vm_irqchip_new(p->vm, HV_IRQCHIP_SPLIT, 24), "split irqchip");
    for (unsigned n = 0; n < config->cpus || !n; n++) {
        payload_cpu_new(p, n);
        set_cpuid(p, p->cpu[n]);
        set_registers(p, p->cpu[n], config->mode);
    }
}

bool payload_told(const struct hv_exit *exit, uint32_t where, uint32_t *ret_value)
{
    if (exit->reason != HV_EXIT_PIO || !exit->pio.is_write || exit->pio.port != where)
        return false;
    *ret_value = (uint32_t)vm_load_le(exit->pio.data, exit->pio.size);
    return true;
}

void payload_set_argument(struct hv_vcpu *vcpu, uint64_t value)
{
    struct kvm_regs regs;

    payload_must(hv_vcpu_get(vcpu, HV_STATE_REGS, &regs, sizeof(regs)), "regs");
    regs.rcx = value;
    payload_must(hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs)), "regs");
}

uint64_t payload_answer(struct hv_vcpu *vcpu)
{
    struct kvm_regs regs;

    payload_must(hv_vcpu_get(vcpu, HV_STATE_REGS, &regs, sizeof(regs)), "regs");
    return regs.rax;
}

uint64_t payload_debug_pc(const struct payload *p)
{
    return p->exit.debug.arch->pc;
}

bool payload_is_out(const struct payload *p, uint16_t port, unsigned size, uint32_t value)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_PIO && e->pio.is_write && e->pio.port == port &&
           e->pio.size == size && e->pio.count == 1 && vm_load_le(e->pio.data, size) == value;
}

bool payload_is_in(const struct payload *p, uint16_t port, unsigned size)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_PIO && !e->pio.is_write && e->pio.port == port &&
           e->pio.size == size && e->pio.count == 1;
}

/* The two PICs. */
void payload_pin_guest(struct payload *p)
{
    const struct hv_route routes[] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_PIN, .pin = { KVM_IRQCHIP_PIC_MASTER, 4 } },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_PIN, .pin = { KVM_IRQCHIP_PIC_MASTER, 5 } },
    };

    payload_new(p, &(struct payload_config){ .arch.kernel_irqchip = true });
    payload_load(p, pic);
    payload_must(hv_vm_set_routes(p->vm, routes, 2), "routes");
    payload_run_to(p, DONE); /* the guest is ready */
}

uint32_t payload_edge_line(void)
{
    return EDGE_GSI;
}

struct hv_msi payload_apic_message(uint8_t vector, bool level)
{
    struct hv_msi msi = { .addr = 0xfee00000, .data = vector };

    if (level)
        msi.data |= 0xc000; /* trigger mode level, asserted: Intel SDM, volume 3, 11.11 */
    return msi;
}

void payload_apic_guest(struct payload *p, bool split)
{
    payload_new(
        p, &(struct payload_config){
               .mode = FLAT_MODE, .arch = { .split_irqchip = split, .kernel_irqchip = !split } });
    payload_load(p, apic);
    payload_load_handler(p, 0x40, apic_irq40);
    payload_load_handler(p, 0x41, apic_irq41);
    payload_run_to(p, DONE);
}

void payload_message_guest(struct payload *p)
{
    payload_apic_guest(p, true);
}

struct hv_msi payload_message(unsigned which)
{
    return payload_apic_message((uint8_t)(MESSAGE_TOLD + which), false);
}

struct hv_msi payload_message_astray(void)
{
    struct hv_msi msi = payload_message(0);

    msi.addr |= 0x55000; /* APIC id 0x55 */
    return msi;
}
