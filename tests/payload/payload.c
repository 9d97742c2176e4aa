/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/hypervisor/kvm.h>

#include "payload.h"

static void must(int rc, const char *what)
{
    cr_assert_eq(rc, 0, "%s: %d: %s", what, rc, vm_error_text());
}

static uint8_t *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    return p;
}

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

static void set_registers(struct payload *p, enum payload_mode mode)
{
    struct kvm_regs regs = { .rip = PAYLOAD_AT, .rflags = 2, .rsp = STACK_AT };
    struct kvm_sregs s;

    must(hv_vcpu_get(p->vcpu, HV_STATE_SREGS, &s, sizeof(s)), "sregs");
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
    must(hv_vcpu_set(p->vcpu, HV_STATE_SREGS, &s, sizeof(s)), "sregs");
    must(hv_vcpu_set(p->vcpu, HV_STATE_REGS, &regs, sizeof(regs)), "regs");
}

static void set_cpuid(struct payload *p)
{
    struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[128];
    } list = { .nent = 128 };

    must(hv_get(p->hv, HV_STATE_SUPPORTED_CPUID, &list, sizeof(list)), "supported CPUID");
    must(hv_vcpu_set(p->vcpu, HV_STATE_CPUID2, &list, sizeof(list)), "CPUID");
}

static void open_kvm(struct payload *p)
{
    const struct hv_vm_config config = { 0 };
    int rc, fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        cr_skip_test("/dev/kvm cannot be opened: %s", strerror(errno));
    must(hv_kvm_new(&p->env, fd, &p->hv), "KVM");
    rc = hv_vm_new(p->hv, &config, &p->vm);
    if (rc)
        cr_skip_test("/dev/kvm makes no VM: %s", vm_error_text());
}

static void set_memory(struct payload *p, const struct payload_config *config)
{
    struct hv_slot slot = { .size = LOW_BYTES, .host = p->low = map(LOW_BYTES) };

    slot.flags = config->log_dirty ? HV_SLOT_LOG_DIRTY : 0;
    must(hv_vm_set_slot(p->vm, &slot), "slot 0");
    if (!config->high_pages)
        return;
    p->high_bytes = config->high_pages * 0x1000ul;
    p->high = map(p->high_bytes);
    slot.id = 1;
    slot.gpa = HIGH_AT;
    slot.size = p->high_bytes;
    slot.host = p->high;
    must(hv_vm_set_slot(p->vm, &slot), "slot 1");
}

static void enable(struct payload *p, uint32_t cap, uint64_t value)
{
    const uint64_t args[4] = { value };

    if (value)
        must(hv_vm_enable_cap(p->vm, cap, args), "capability");
}

void payload_new(struct payload *p, const struct payload_config *config)
{
    memset(p, 0, sizeof(*p));
    open_kvm(p);
    enable(p, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, config->manual_protect);
    enable(p, KVM_CAP_X86_USER_SPACE_MSR, config->user_msrs);
    if (config->dirty_ring)
        must(hv_vm_dirty_ring_enable(p->vm, config->dirty_ring), "dirty ring");
    set_memory(p, config);
    if (config->kernel_irqchip)
        must(hv_vm_irqchip_new(p->vm, HV_IRQCHIP_KERNEL, 0), "irqchip");
    if (config->split_irqchip)
        must(hv_vm_irqchip_new(p->vm, HV_IRQCHIP_SPLIT, 24), "split irqchip");
    must(hv_vcpu_new(p->vm, 0, &p->vcpu), "vCPU");
    set_cpuid(p);
    set_registers(p, config->mode);
}

void payload_free(struct payload *p)
{
    hv_vcpu_free(p->vcpu);
    hv_vm_free(p->vm);
    hv_free(p->hv);
    munmap(p->low, LOW_BYTES);
    if (p->high)
        munmap(p->high, p->high_bytes);
}

void payload_copy(struct payload *p, uint32_t gpa, const uint8_t *from, const uint8_t *end)
{
    memcpy(p->low + gpa, from, (size_t)(end - from));
}

enum hv_exit_reason payload_run(struct payload *p)
{
    int rc = hv_vcpu_run(p->vcpu, &p->exit);

    cr_assert_eq(rc, 0, "running the guest: %s", strerror(-rc));
    return p->exit.reason;
}

uint8_t payload_run_to(struct payload *p, uint16_t port)
{
    for (;;) {
        enum hv_exit_reason reason = payload_run(p);

        if (reason == HV_EXIT_INTR)
            continue;
        cr_assert_eq(reason, HV_EXIT_PIO, "exit '%s'", hv_exit_name(reason));
        cr_assert(p->exit.pio.is_write);
        cr_assert_eq(p->exit.pio.port, port, "port 0x%x instead of 0x%x", p->exit.pio.port, port);
        return p->exit.pio.data[0];
    }
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

bool payload_is_mmio_write(const struct payload *p, uint64_t addr, unsigned len, uint64_t value)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_MMIO && e->mmio.is_write && e->mmio.addr == addr &&
           e->mmio.len == len && vm_load_le(e->mmio.data, len) == value;
}

bool payload_is_mmio_read(const struct payload *p, uint64_t addr, unsigned len)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_MMIO && !e->mmio.is_write && e->mmio.addr == addr &&
           e->mmio.len == len;
}
