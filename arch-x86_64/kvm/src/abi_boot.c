/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a kernel finds at its entry, by each boot protocol: the boot code writes, and this reads it back as a kernel would, from
 * registers and memory (Documentation/arch/x86/boot.rst and zero-page.rst; Xen's public/arch-x86/hvm/start_info.h).
 */
#include "x86.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/abi.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    ENTRY = 0x1000000, /* CONFIG_PHYSICAL_START */
    BP_E820_ENTRIES = 0x1e8,
    BP_CMD_LINE_PTR = 0x228,
    BP_E820 = 0x2d0,
    BP_E820_ROW = 20,
    BP_BYTES = 4096,
    PVH_CMDLINE = 24,
    PVH_MEMMAP = 40,
    PVH_MEMMAP_ENTRIES = 48,
    PVH_MEMMAP_ROW = 24,
    PVH_BYTES = 56,
    CMDLINE_BYTES = 0x10000,
};
#define CR0_PAGING (1ULL << 31)
/* Bits of an entry of a page table (Intel SDM 3A, 4.5). */
#define PTE_PRESENT 1ULL
#define PTE_LARGE   0x80ULL
#define PTE_ADDRESS 0xffffffffff000ULL

/* What is told, and where it is read. */
struct teller {
    struct gm_view *memory;
    struct vm_report *report;
};

static unsigned long long u(uint64_t v)
{
    return v;
}

/* --- registers --- */

static void tell_regs(struct vm_report *r, const struct kvm_regs *regs)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        { "rip", regs->rip }, { "rflags", regs->rflags }, { "rsp", regs->rsp },
        { "rax", regs->rax }, { "rbx", regs->rbx },       { "rcx", regs->rcx },
        { "rdx", regs->rdx }, { "rsi", regs->rsi },       { "rdi", regs->rdi },
        { "rbp", regs->rbp }, { "r8", regs->r8 },         { "r9", regs->r9 },
        { "r10", regs->r10 }, { "r11", regs->r11 },       { "r12", regs->r12 },
        { "r13", regs->r13 }, { "r14", regs->r14 },       { "r15", regs->r15 },
    };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(rows); i++)
        if (rows[i].value)
            vm_report_add(r, "  %s: %#llx\n", rows[i].name, u(rows[i].value));
}

static void tell_segment(struct vm_report *r, const char *name, const struct kvm_segment *s)
{
    vm_report_add(r,
                  "  %s: %#x base %#llx limit %#x type %#x s %u dpl %u present %u l %u db %u g "
                  "%u\n",
                  name, s->selector, u(s->base), s->limit, s->type, s->s, s->dpl, s->present, s->l,
                  s->db, s->g);
}

static void tell_sregs(struct vm_report *r, const struct kvm_sregs *s)
{
    vm_report_add(r, "  cr0: %#llx\n  cr3: %#llx\n  cr4: %#llx\n  efer: %#llx\n", u(s->cr0),
                  u(s->cr3), u(s->cr4), u(s->efer));
    vm_report_add(r, "  apic base: %#llx\n", u(s->apic_base));
    tell_segment(r, "cs", &s->cs);
    tell_segment(r, "ds", &s->ds);
    tell_segment(r, "es", &s->es);
    tell_segment(r, "fs", &s->fs);
    tell_segment(r, "gs", &s->gs);
    tell_segment(r, "ss", &s->ss);
    tell_segment(r, "tr", &s->tr);
    vm_report_add(r, "  idt: %#llx limit %#x\n  gdt: %#llx limit %#x\n", u(s->idt.base),
                  s->idt.limit, u(s->gdt.base), s->gdt.limit);
}

/* --- tables of the processor --- */

static int tell_gdt(const struct teller *t, const struct kvm_dtable *gdt)
{
    int rc = 0;

    for (unsigned at = 0; !rc && at + 7 <= gdt->limit; at += 8) {
        struct le64 v = { 0 };

        rc = gm_read(t->memory, gdt->base + at, &v, sizeof(v));
        if (!rc && le64_get(v))
            vm_report_add(t->report, "  gdt entry %#x: %016llx\n", at, u(le64_get(v)));
    }
    return rc;
}

/* Addresses next to each other, mapped alike. */
struct run {
    uint64_t virt, size, phys, page, flags;
};

static void end_run(const struct teller *t, struct run *run)
{
    if (run->size)
        vm_report_add(t->report, "  mapped %#llx: + %#llx at %#llx, flags %#llx, pages of %#llx\n",
                      u(run->virt), u(run->size), u(run->phys), u(run->flags), u(run->page));
    run->size = 0;
}

static void add_page(const struct teller *t, struct run *run, uint64_t virt, uint64_t entry,
                     uint64_t page)
{
    uint64_t phys = entry & PTE_ADDRESS, flags = entry & ~PTE_ADDRESS;

    if (run->virt + run->size != virt || run->phys + run->size != phys || run->flags != flags ||
        run->page != page)
        end_run(t, run);
    if (!run->size)
        *run = (struct run){ virt, 0, phys, page, flags };
    run->size += page;
}

/* level 4 is the top; an entry of level n stands for 2^(12 + 9 (n - 1)) bytes. */
static int walk(const struct teller *t, struct run *run, uint64_t table, unsigned level,
                uint64_t virt)
{
    uint64_t page = 1ULL << (12 + 9 * (level - 1));
    struct le64 entries[512];
    int rc = gm_read(t->memory, table, entries, sizeof(entries));

    for (unsigned i = 0; !rc && i < VM_ARRAY_SIZE(entries); i++) {
        uint64_t e = le64_get(entries[i]);

        if (!(e & PTE_PRESENT))
            continue;
        if (level == 1 || (level < 4 && e & PTE_LARGE))
            add_page(t, run, virt + i * page, e, page);
        else
            rc = walk(t, run, e & PTE_ADDRESS, level - 1, virt + i * page);
    }
    return rc;
}

static int tell_paging(const struct teller *t, const struct kvm_sregs *s)
{
    struct run run = { 0 };
    int rc = s->cr0 & CR0_PAGING ? walk(t, &run, s->cr3 & PTE_ADDRESS, 4, 0) : 0;

    end_run(t, &run);
    return rc;
}

/* --- what the protocols hand over --- */

static void tell_range(const struct teller *t, const char *what, uint64_t base, uint64_t size,
                       uint64_t type)
{
    vm_report_add(t->report, "  %s 0x%012llx: + %#llx %s (%llu)\n", what, u(base), u(size),
                  type == 1   ? "RAM"
                  : type == 2 ? "reserved"
                              : "other",
                  u(type));
}

static int tell_cmdline(const struct teller *t, uint64_t at)
{
    char *text = malloc(CMDLINE_BYTES);
    int rc = text ? gm_read(t->memory, at, text, CMDLINE_BYTES) : -ENOMEM;

    if (!rc) {
        vm_report_add(t->report, "  command line: ");
        vm_report_string(t->report, text, strnlen(text, CMDLINE_BYTES));
        vm_report_add(t->report, "\n");
    }
    free(text);
    return rc;
}

static int tell_zero_page(const struct teller *t, uint64_t at)
{
    uint8_t page[BP_BYTES];
    int rc = gm_read(t->memory, at, page, sizeof(page));
    uint64_t rows = vm_load_le(page + BP_E820_ENTRIES, 1);

    if (rc)
        return rc;
    for (uint64_t i = 0; i < rows && BP_E820 + (i + 1) * BP_E820_ROW <= BP_BYTES; i++) {
        uint8_t *row = page + BP_E820 + i * BP_E820_ROW;

        tell_range(t, "e820", vm_load_le(row, 8), vm_load_le(row + 8, 8), vm_load_le(row + 16, 4));
        memset(row, 0, BP_E820_ROW);
    }
    rc = tell_cmdline(t, vm_load_le(page + BP_CMD_LINE_PTR, 4));
    vm_report_add(t->report, "  boot_params: at %#llx, but E820\n", u(at));
    vm_report_hex(t->report, 4, page, sizeof(page));
    return rc;
}

static int tell_start_info(const struct teller *t, uint64_t at)
{
    uint8_t info[PVH_BYTES], row[PVH_MEMMAP_ROW];
    int rc = gm_read(t->memory, at, info, sizeof(info));

    for (uint64_t i = 0; !rc && i < vm_load_le(info + PVH_MEMMAP_ENTRIES, 4); i++) {
        rc = gm_read(t->memory, vm_load_le(info + PVH_MEMMAP, 8) + i * PVH_MEMMAP_ROW, row,
                     sizeof(row));
        if (!rc)
            tell_range(t, "memory map", vm_load_le(row, 8), vm_load_le(row + 8, 8),
                       vm_load_le(row + 16, 4));
    }
    if (!rc)
        rc = tell_cmdline(t, vm_load_le(info + PVH_CMDLINE, 8));
    vm_report_add(t->report, "  start info: at %#llx\n", u(at));
    vm_report_hex(t->report, 4, info, sizeof(info));
    return rc;
}

static int tell_entry(const struct teller *t, struct hv_vcpu *vcpu,
                      enum vboot_x86_protocol protocol)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    int rc = hv_vcpu_get(vcpu, HV_STATE_REGS, &regs, sizeof(regs));

    if (!rc)
        rc = hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));
    if (rc)
        return rc;
    tell_regs(t->report, &regs);
    tell_sregs(t->report, &sregs);
    rc = tell_gdt(t, &sregs.gdt);
    if (!rc)
        rc = tell_paging(t, &sregs);
    if (!rc)
        rc = protocol == VBOOT_X86_ENTRY_PVH ? tell_start_info(t, regs.rbx)
                                             : tell_zero_page(t, regs.rsi);
    return rc ? vm_fail(rc, "what boot code left cannot be read") : 0;
}

static int tell_reset_vector(const struct teller *t)
{
    uint8_t code[16];
    int rc = gm_read(t->memory, VBOOT_X86_RESET_VECTOR, code, sizeof(code));

    vm_report_add(t->report, "reset vector\n");
    vm_report_hex(t->report, 2, code, sizeof(code));
    return rc ? vm_fail(rc, "reset vector") : 0;
}

int varch_abi_boot(struct varch *arch, struct gm_view *memory, struct hv_vcpu *vcpu,
                   const struct varch_payload *payload, struct vm_report *report)
{
    static const char *const names[] = {
        [VBOOT_X86_ENTRY_32] = "boot, 32-bit protocol",
        [VBOOT_X86_ENTRY_64] = "boot, 64-bit protocol",
        [VBOOT_X86_ENTRY_PVH] = "boot, PVH",
    };
    const struct teller t = { memory, report };
    uint64_t rsdp;
    int rc = varch_x86_firmware_load(arch, memory, payload, &rsdp);

    if (!rc)
        rc = tell_reset_vector(&t);
    for (unsigned i = 0; !rc && i < VM_ARRAY_SIZE(names); i++) {
        const struct vboot_x86_kernel kernel = { .protocol = (enum vboot_x86_protocol)i,
                                                 .entry = ENTRY,
                                                 .cmdline_max = UINT32_MAX };

        vm_report_add(report, "%s\n", names[i]);
        rc = vboot_x86_boot_params(&arch->map, memory, &kernel, payload->cmdline, rsdp,
                                   &arch->start);
        if (!rc)
            rc = varch_boot(arch, vcpu);
        if (!rc)
            rc = tell_entry(&t, vcpu, kernel.protocol);
    }
    return rc;
}
