/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The x86_64 architecture over KVM: map, platform devices, interrupt controller, vCPUs, boot. */
#include "x86.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

static int check(const struct varch_config *c)
{
    if (c->irqchip > VARCH_IRQCHIP_KERNEL)
        return vm_fail(-EINVAL, "x86_64 machines have no GIC: --irqchip can be split or kernel");
    if (c->pit && c->irqchip != VARCH_IRQCHIP_KERNEL)
        return vm_fail(-EINVAL,
                       "a PIT needs the interrupt controller in the kernel: add --irqchip kernel");
    if (c->mmio_slots > VBOOT_X86_MMIO_SLOTS)
        return vm_fail(-EINVAL, "%u virtio-mmio devices: there is room for %u", c->mmio_slots,
                       VBOOT_X86_MMIO_SLOTS);
    if (c->cpus > 255)
        return vm_fail(
            -EINVAL,
            "%u vCPUs: guests find at most 255, without extended interrupt destinations; "
            "give no more",
            c->cpus);
    if (!c->acpi && c->cpus > 1)
        return vm_fail(
            -EINVAL,
            "%u vCPUs without ACPI: a kernel finds only the first one; give one vCPU or ACPI",
            c->cpus);
    return 0;
}

void varch_vm_config(struct hv *hv, const struct varch_config *config,
                     struct hv_vm_config *ret_config)
{
    (void)hv;
    (void)config;
    *ret_config = (struct hv_vm_config){ 0 };
}

int varch_new(const struct vm_env *env, struct hv_vm *vm, const struct varch_config *config,
              struct varch **ret_arch)
{
    struct varch *a = calloc(1, sizeof(*a));
    int rc;

    if (!a)
        return vm_fail(-ENOMEM, "machine: out of memory");
    a->env = env;
    a->vm = vm;
    a->config = *config;
    a->phys_bits = 46;
    if (!a->config.machine)
        a->config.machine = VBOOT_X86_MACHINE_MAX;
    if (a->config.irqchip == VARCH_IRQCHIP_DEFAULT)
        a->config.irqchip = VARCH_IRQCHIP_SPLIT;
    rc = check(&a->config);
    if (!rc && vm)
        rc = varch_x86_cpuid_load(a);
    if (!rc)
        rc = vboot_x86_map_make(a->config.machine, config->ram_bytes, a->phys_bits,
                                config->segments ? config->segments : 1, &a->map);
    if (rc) {
        varch_free(a);
        return rc;
    }
    *ret_arch = a;
    return 0;
}

void varch_free(struct varch *arch)
{
    if (arch)
        free(arch->cpuid);
    free(arch);
}

unsigned varch_ram(const struct varch *arch, struct varch_range *ret_rows, unsigned max)
{
    const struct vboot_x86_range *from[] = { &arch->map.ram_low, &arch->map.ram_high };
    unsigned n = 0;

    for (unsigned i = 0; i < VM_ARRAY_SIZE(from) && n < max; i++)
        if (from[i]->size)
            ret_rows[n++] = (struct varch_range){ from[i]->base, from[i]->size };
    return n;
}

unsigned varch_extra(const struct varch *arch, struct varch_range *ret_rows, unsigned max)
{
    (void)arch;
    (void)ret_rows;
    (void)max;
    return 0; /* a guest gives KVM its own pages for this */
}

void varch_pci(const struct varch *arch, unsigned s, struct varch_pci_segment *ret_segment)
{
    const struct vboot_x86_map *map = &arch->map;

    *ret_segment = (struct varch_pci_segment){
        .ecam = { map->ecam[s].base, map->ecam[s].size },
        .mem64 = { map->mem64[s].base, map->mem64[s].size },
        .intx = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
    };
    if (s)
        return;
    ret_segment->mem32 = (struct varch_range){ map->mem32.base, map->mem32.size };
    ret_segment->cam = arch->config.cam;
    if (arch->config.cam)
        ret_segment->io = (struct varch_range){ VBOOT_X86_PORT_PCI, VBOOT_X86_PORT_PCI_BYTES };
    for (unsigned i = 0; i < 4 && arch->config.pci_intx; i++)
        ret_segment->intx[i] = VBOOT_X86_GSI_PCI + i;
}

static bool has_ioapic(const struct varch *arch)
{
    const struct varch_config *c = &arch->config;

    return c->serials || c->rtc || c->acpi || c->mmio_slots || c->pci_intx;
}

static struct varch_device *add(struct varch_device *rows, unsigned *n, const char *cls,
                                const char *id)
{
    struct varch_device *d = &rows[(*n)++];

    memset(d, 0, sizeof(*d));
    d->cls = cls;
    d->id = id;
    return d;
}

static void add_irq(struct varch_device *d, uint32_t number)
{
    d->irq[d->irqs++] = number; /* ISA: an edge */
}

static void add_ports(struct varch_device *d, unsigned i, uint64_t base, uint64_t count)
{
    d->resource[i] = (struct vdev_resource){ VDEV_RES_PIO, base, count };
}

unsigned varch_devices(const struct varch *arch, struct varch_device ret_rows[VARCH_DEVICES_MAX])
{
    static const char *const serial_ids[] = { "serial0", "serial1", "serial2", "serial3" };
    static const uint16_t serial_ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const uint8_t serial_irqs[] = { 4, 3, 4, 3 };
    const struct varch_config *c = &arch->config;
    struct varch_device *d;
    unsigned n = 0;

    if (has_ioapic(arch) && c->irqchip == VARCH_IRQCHIP_SPLIT) {
        d = add(ret_rows, &n, "ioapic", "ioapic");
        d->resource[0] =
            (struct vdev_resource){ VDEV_RES_MMIO, VBOOT_X86_IOAPIC_BASE, GM_PAGE_BYTES };
        d->irqchip = true;
    }
    for (unsigned i = 0; i < c->serials && i < VM_ARRAY_SIZE(serial_ports); i++) {
        d = add(ret_rows, &n, "serial", serial_ids[i]);
        add_ports(d, 0, serial_ports[i], 8);
        add_irq(d, serial_irqs[i]);
    }
    if (c->rtc) {
        d = add(ret_rows, &n, "cmos-rtc", "rtc");
        add_ports(d, 0, VBOOT_X86_PORT_RTC, 2);
        add_irq(d, VBOOT_X86_GSI_RTC);
    }
    if (c->i8042) {
        d = add(ret_rows, &n, "i8042", "i8042");
        add_ports(d, 0, 0x60, 1);
        add_ports(d, 1, 0x64, 1);
    }
    if (c->acpi) {
        d = add(ret_rows, &n, "acpi-ged", "ged");
        add_ports(d, 0, VBOOT_X86_PORT_PM, VBOOT_X86_PM_BYTES);
        add_irq(d, VBOOT_X86_GSI_GED);
    }
    if (c->debug_ports) {
        d = add(ret_rows, &n, "debug-port", "debug");
        add_ports(d, 0, 0x80, 1);
        add_ports(d, 1, 0x402, 1);
    }
    return n;
}

void varch_mmio_slot(const struct varch *arch, unsigned n, struct varch_range *ret_range,
                     uint32_t *ret_irq)
{
    (void)arch;
    *ret_range = (struct varch_range){ VBOOT_X86_MMIO_BASE + n * VBOOT_X86_MMIO_STRIDE,
                                       VBOOT_X86_MMIO_STRIDE };
    *ret_irq = vboot_x86_mmio_gsi(n);
}

uint64_t varch_mmio_limit(const struct varch *arch)
{
    return (1ULL << arch->phys_bits) - 1;
}

uint64_t varch_pio_limit(const struct varch *arch)
{
    (void)arch;
    return 0xffff;
}

uint32_t varch_irqs(const struct varch *arch)
{
    (void)arch;
    return VBOOT_X86_GSIS;
}

uint32_t varch_irq_code(const struct varch *arch, uint32_t number)
{
    (void)arch;
    return number;
}

int varch_msi_send(struct varch *arch, const struct vdev_msi *msi)
{
    struct hv_msi to = { .addr = msi->addr, .data = msi->data };
    int rc = arch->vm ? hv_vm_signal_msi(arch->vm, &to) : -ENODEV;

    return rc < 0 ? rc : 0;
}

/* Routes of a controller in the kernel would have to name all its pins again. */
int varch_msi_route(const struct varch *arch, const struct vdev_msi *msi, struct hv_msi *ret_msi)
{
    if (!arch->vm)
        return -ENODEV;
    if (arch->config.irqchip == VARCH_IRQCHIP_KERNEL)
        return -ENOTSUP;
    *ret_msi = (struct hv_msi){ .addr = msi->addr, .data = msi->data };
    return 0;
}

int varch_vm_setup(struct varch *arch)
{
    uint64_t identity = VBOOT_X86_IDENTITY_MAP, tss = VBOOT_X86_IDENTITY_MAP + GM_PAGE_BYTES;
    int rc = hv_vm_set(arch->vm, HV_STATE_IDENTITY_MAP, &identity, sizeof(identity));

    if (!rc)
        rc = hv_vm_set(arch->vm, HV_STATE_TSS_ADDR, &tss, sizeof(tss));
    if (!rc && arch->config.cpus > 255) {
        uint64_t args[4] = { KVM_X2APIC_API_USE_32BIT_IDS |
                             KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK };

        rc = hv_vm_enable_cap(arch->vm, KVM_CAP_X2APIC_API, args);
    }
    return rc;
}

int varch_irqchip_new(struct varch *arch)
{
    struct kvm_pit_config pit = { 0 };
    int rc;

    if (arch->config.irqchip == VARCH_IRQCHIP_SPLIT)
        return hv_vm_irqchip_new(arch->vm, HV_IRQCHIP_SPLIT, has_ioapic(arch) ? VBOOT_X86_GSIS : 0);
    rc = hv_vm_irqchip_new(arch->vm, HV_IRQCHIP_KERNEL, 0);
    if (!rc && arch->config.pit)
        rc = hv_vm_set(arch->vm, HV_STATE_PIT_CREATE, &pit, sizeof(pit));
    return rc;
}

bool varch_irqchip_last(const struct varch *arch)
{
    (void)arch;
    return false;
}

bool varch_irqchip_in_kernel(const struct varch *arch)
{
    return arch->config.irqchip == VARCH_IRQCHIP_KERNEL;
}

int varch_vcpu_init(struct varch *arch, struct hv_vcpu *vcpu)
{
    int rc = varch_x86_cpuid_set(arch, vcpu);

    if (!rc)
        rc = varch_x86_msrs_set(vcpu);
    if (!rc)
        rc = varch_x86_lapic_set(vcpu);
    return rc ? vm_wrap(rc, "vCPU %u", vcpu->id) : 0;
}

static void tables_config(const struct varch *arch, const struct varch_payload *payload,
                          struct vboot_x86_tables *t)
{
    const struct varch_config *c = &arch->config;

    *t = (struct vboot_x86_tables){
        .map = &arch->map,
        .cpus = c->cpus,
        .ioapic = has_ioapic(arch),
        .pci = c->segments > 0,
        .cam = c->cam,
        .pci_io = c->cam,
        .pci_intx = c->pci_intx,
        .event_device = true,
        .i8042 = c->i8042,
        .rtc = c->rtc,
        .devices = payload->devices,
        .device_count = payload->device_count,
    };
}

int varch_acpi(const struct varch *arch, const struct varch_payload *payload,
               struct vacpi_image *ret_image)
{
    struct vboot_x86_tables t;

    if (!arch->config.acpi)
        return vm_fail(-ENOTSUP, "this machine has no ACPI");
    tables_config(arch, payload, &t);
    return vboot_x86_tables_make(&t, ret_image);
}

int varch_dtb(struct varch *arch, const struct varch_payload *payload, struct vm_buffer *ret_blob)
{
    (void)arch;
    (void)payload;
    (void)ret_blob;
    return vm_fail(-ENOTSUP, "x86_64 machines have no device tree");
}

static int load_acpi(struct varch *arch, struct gm_view *memory,
                     const struct varch_payload *payload, uint64_t *ret_rsdp)
{
    struct vacpi_image image;
    int rc = varch_acpi(arch, payload, &image);

    if (rc)
        return rc;
    rc = gm_write(memory, image.base, image.bytes.data, image.bytes.len);
    *ret_rsdp = image.rsdp;
    vacpi_image_free(&image);
    return rc ? vm_fail(rc, "ACPI tables do not fit into memory") : 0;
}

/* There is no firmware: a jump to the reset vector asks for the reset that firmware would do, by the reset register or, without ACPI, by the
 * keyboard controller's line. Linux does so by default on a hardware-reduced machine (arch/x86/kernel/reboot.c: BOOT_EFI, then BOOT_BIOS). */
static int load_reset_vector(struct varch *arch, struct gm_view *memory)
{
    /* mov dx, 0x602; mov al, 1; out dx, al; hlt; jmp back to the hlt */
    static const uint8_t by_register[] = { 0xba,
                                           (VBOOT_X86_PORT_PM + VBOOT_X86_PM_RESET) & 0xff,
                                           (VBOOT_X86_PORT_PM + VBOOT_X86_PM_RESET) >> 8,
                                           0xb0,
                                           VBOOT_X86_RESET_VALUE,
                                           0xee,
                                           0xf4,
                                           0xeb,
                                           0xfd };
    /* mov al, 0xfe; out 0x64, al; hlt; jmp back to the hlt */
    static const uint8_t by_keyboard[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd };

    return arch->config.acpi
               ? gm_write(memory, VBOOT_X86_RESET_VECTOR, by_register, sizeof(by_register))
               : gm_write(memory, VBOOT_X86_RESET_VECTOR, by_keyboard, sizeof(by_keyboard));
}

int varch_x86_firmware_load(struct varch *arch, struct gm_view *memory,
                            const struct varch_payload *payload, uint64_t *ret_rsdp)
{
    *ret_rsdp = 0;
    if (load_reset_vector(arch, memory))
        return vm_fail(-ENOSPC, "no memory at the reset vector %#llx", VBOOT_X86_RESET_VECTOR);
    return arch->config.acpi ? load_acpi(arch, memory, payload, ret_rsdp) : 0;
}

int varch_load(struct varch *arch, struct gm_view *memory, const struct varch_payload *payload)
{
    struct vboot_x86_kernel kernel;
    struct vm_file file;
    uint64_t rsdp = 0;
    int rc;

    if (payload->overlay.name && payload->overlay.fd >= 0)
        return vm_fail(-EINVAL, "%s: x86_64 machines have no device tree: leave the overlay out",
                       payload->overlay.name);
    rc = vm_file_fd(payload->kernel.name, payload->kernel.fd, &file);
    if (!rc)
        rc = vboot_x86_kernel_load(&arch->map, memory, &file, &kernel);
    if (!rc && payload->initrd.fd >= 0) {
        rc = vm_file_fd(payload->initrd.name, payload->initrd.fd, &file);
        if (!rc)
            rc = vboot_x86_initrd_load(&arch->map, memory, &file, &kernel);
    }
    if (!rc)
        rc = varch_x86_firmware_load(arch, memory, payload, &rsdp);
    return rc ? rc
              : vboot_x86_boot_params(&arch->map, memory, &kernel, payload->cmdline, rsdp,
                                      &arch->start);
}

int varch_boot(struct varch *arch, struct hv_vcpu *vcpu)
{
    return varch_x86_start_set(vcpu, &arch->start);
}

int varch_exit(struct varch *arch, struct hv_vcpu *vcpu, struct hv_exit *exit)
{
    (void)arch;
    (void)vcpu;
    (void)exit;
    return -ENOSYS;
}

void varch_dump(struct varch *arch, struct hv_vcpu *vcpu, char *ret_text, size_t room)
{
    struct kvm_sregs s;
    struct kvm_regs r;

    (void)arch;
    if (!room)
        return;
    ret_text[0] = 0;
    if (hv_vcpu_get(vcpu, HV_STATE_REGS, &r, sizeof(r)) ||
        hv_vcpu_get(vcpu, HV_STATE_SREGS, &s, sizeof(s)))
        return;
    snprintf(ret_text, room,
             "vCPU %u\n"
             "rip %016llx rsp %016llx rflags %08llx\n"
             "rax %016llx rbx %016llx rcx %016llx rdx %016llx\n"
             "rsi %016llx rdi %016llx rbp %016llx r8  %016llx\n"
             "r9  %016llx r10 %016llx r11 %016llx r12 %016llx\n"
             "r13 %016llx r14 %016llx r15 %016llx\n"
             "cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %08llx\n"
             "cs %04x base %llx ss %04x ds %04x gdt %llx/%x idt %llx/%x",
             vcpu->id, r.rip, r.rsp, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp,
             r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, s.cr0, s.cr2, s.cr3, s.cr4,
             s.efer, s.cs.selector, s.cs.base, s.ss.selector, s.ds.selector, s.gdt.base,
             s.gdt.limit, s.idt.base, s.idt.limit);
}

const struct varch_facts varch_facts = {
    .console = "ttyS0",
    .serial_class = "serial",
    .clock_class = "cmos-rtc",
    .acpi = true,
};
