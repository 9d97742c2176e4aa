/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The AArch64 architecture over KVM: map, platform devices, boot. */
#include "arm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

/* Guests get 40 address bits, which every host has had, as long as RAM leaves half of them to PCI. */
enum { IPA_BITS = 40, IPA_BITS_LARGE = 48 };

static unsigned ipa_bits(struct hv *hv, const struct varch_config *config)
{
    unsigned want = config->ram_bytes >> (IPA_BITS - 1) ? IPA_BITS_LARGE : IPA_BITS;
    unsigned host = hv ? (unsigned)hv_cap(hv, KVM_CAP_ARM_VM_IPA_SIZE) : want;

    if (!host) /* KVM before 4.20: 40, and no choice */
        host = IPA_BITS;
    return want < host ? want : host;
}

void varch_vm_config(struct hv *hv, const struct varch_config *config,
                     struct hv_vm_config *ret_config)
{
    *ret_config = (struct hv_vm_config){ 0 };
    if (hv_cap(hv, KVM_CAP_ARM_VM_IPA_SIZE))
        ret_config->ipa_bits = ipa_bits(hv, config);
}

static const char *of_a_pc(const struct varch_config *c)
{
    return c->acpi          ? "--acpi on"
           : c->cam         ? "--pci-cam on"
           : c->debug_ports ? "--debug-ports on"
           : c->pit         ? "--pit on"
           : c->i8042       ? "an i8042"
                            : NULL;
}

static int check(const struct varch_config *c)
{
    if (of_a_pc(c))
        return vm_fail(-EINVAL, "%s is for x86_64 machines: leave it out", of_a_pc(c));
    if (c->serials > VBOOT_ARM_UARTS)
        return vm_fail(-EINVAL, "%u serial ports: there is room for %u", c->serials,
                       VBOOT_ARM_UARTS);
    if (c->mmio_slots > VBOOT_ARM_MMIO_SLOTS)
        return vm_fail(-EINVAL, "%u virtio-mmio devices: there is room for %u", c->mmio_slots,
                       VBOOT_ARM_MMIO_SLOTS);
    return 0;
}

static int make_map(struct varch *a)
{
    struct hv *hv = a->vm ? a->vm->hv : NULL;
    unsigned segments = a->config.segments ? a->config.segments : 1;

    return vboot_arm_map_make(a->config.machine, a->config.ram_bytes, ipa_bits(hv, &a->config),
                              segments, &a->map);
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
    if (!a->config.machine)
        a->config.machine = VBOOT_ARM_MACHINE_MAX;
    rc = check(&a->config);
    if (!rc)
        rc = make_map(a);
    if (!rc)
        rc = varch_arm_gic_choose(a);
    if (rc) {
        varch_free(a);
        return rc;
    }
    a->pmu = !vm || hv_vm_cap(vm, KVM_CAP_ARM_PMU_V3);
    a->pvtime = !vm || hv_vm_cap(vm, KVM_CAP_STEAL_TIME);
    *ret_arch = a;
    return 0;
}

void varch_free(struct varch *arch)
{
    if (arch)
        varch_arm_gic_free(arch);
    free(arch);
}

/* --- the map --- */

unsigned varch_ram(const struct varch *arch, struct varch_range *ret_rows, unsigned max)
{
    if (max)
        ret_rows[0] = (struct varch_range){ arch->map.ram.base, arch->map.ram.size };
    return max ? 1 : 0;
}

unsigned varch_extra(const struct varch *arch, struct varch_range *ret_rows, unsigned max)
{
    if (!max || !arch->pvtime)
        return 0;
    ret_rows[0] = (struct varch_range){ VBOOT_ARM_PVTIME_BASE, VBOOT_ARM_PVTIME_BYTES };
    return 1;
}

/* Without messages, pins. */
static bool has_intx(const struct varch *arch)
{
    return arch->config.segments && (arch->config.pci_intx || !arch->msi);
}

void varch_pci(const struct varch *arch, unsigned s, struct varch_pci_segment *ret_segment)
{
    const struct vboot_arm_map *map = &arch->map;

    *ret_segment = (struct varch_pci_segment){
        .ecam = { map->ecam[s].base, map->ecam[s].size },
        .mem64 = { map->mem64[s].base, map->mem64[s].size },
        .intx = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
    };
    if (s)
        return;
    ret_segment->mem32 = (struct varch_range){ map->mem32.base, map->mem32.size };
    for (unsigned i = 0; i < 4 && has_intx(arch); i++)
        ret_segment->intx[i] = VBOOT_ARM_SPI_PCI + i;
}

static struct varch_device *add(struct varch_device *rows, unsigned *n, const char *cls,
                                const char *id, uint64_t base, uint32_t spi)
{
    struct varch_device *d = &rows[(*n)++];

    *d = (struct varch_device){ .cls = cls, .id = id, .irqs = 1 };
    d->resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, base, VBOOT_ARM_PRIMECELL_BYTES };
    d->irq[0] = spi;
    d->irq_level[0] = true;
    return d;
}

static void add_v2m(struct varch_device *d)
{
    *d = (struct varch_device){ .cls = "gicv2m", .id = "v2m" };
    d->resource[0] =
        (struct vdev_resource){ VDEV_RES_MMIO, VBOOT_ARM_V2M_BASE, VBOOT_ARM_V2M_BYTES };
    d->resource[1] =
        (struct vdev_resource){ VDEV_RES_IRQ, 32 + VBOOT_ARM_SPI_V2M, VBOOT_ARM_V2M_SPIS };
}

unsigned varch_devices(const struct varch *arch, struct varch_device ret_rows[VARCH_DEVICES_MAX])
{
    static const char *const serial_ids[] = { "serial0", "serial1", "serial2", "serial3" };
    const struct varch_config *c = &arch->config;
    unsigned n = 0;

    for (unsigned i = 0; i < c->serials && i < VM_ARRAY_SIZE(serial_ids); i++)
        add(ret_rows, &n, "pl011", serial_ids[i], VBOOT_ARM_UART_BASE + i * VBOOT_ARM_UART_STRIDE,
            VBOOT_ARM_SPI_UART + i);
    if (c->rtc)
        add(ret_rows, &n, "pl031", "rtc", VBOOT_ARM_RTC_BASE, VBOOT_ARM_SPI_RTC);
    add(ret_rows, &n, "pl061", "gpio", VBOOT_ARM_GPIO_BASE, VBOOT_ARM_SPI_GPIO);
    if (arch->msi && arch->gic == VBOOT_ARM_GIC_V2)
        add_v2m(&ret_rows[n++]);
    return n;
}

void varch_mmio_slot(const struct varch *arch, unsigned n, struct varch_range *ret_range,
                     uint32_t *ret_irq)
{
    (void)arch;
    *ret_range = (struct varch_range){ VBOOT_ARM_MMIO_BASE + n * VBOOT_ARM_MMIO_STRIDE,
                                       VBOOT_ARM_MMIO_STRIDE };
    *ret_irq = VBOOT_ARM_SPI_MMIO + n;
}

/* Windows end below 2^bits, whatever it is. */
uint64_t varch_mmio_limit(const struct varch *arch)
{
    return (1ULL << ipa_bits(arch->vm ? arch->vm->hv : NULL, &arch->config)) - 1;
}

uint64_t varch_pio_limit(const struct varch *arch)
{
    (void)arch;
    return 0;
}

uint32_t varch_irqs(const struct varch *arch)
{
    (void)arch;
    return VBOOT_ARM_SPIS;
}

/* api.rst, 4.25: KVM_IRQ_LINE. */
uint32_t varch_irq_code(const struct varch *arch, uint32_t number)
{
    (void)arch;
    return (uint32_t)KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (32 + number);
}

/* --- what the machine asks for --- */

int varch_vm_setup(struct varch *arch)
{
    /* An access that no syndrome describes comes to us then, and does not end KVM_RUN with an error. */
    if (hv_vm_cap(arch->vm, KVM_CAP_ARM_NISV_TO_USER))
        return hv_vm_enable_cap(arch->vm, KVM_CAP_ARM_NISV_TO_USER, NULL);
    return 0;
}

int varch_irqchip_new(struct varch *arch)
{
    int rc = varch_arm_gic_new(arch);

    for (unsigned i = 0; !rc && i < arch->vcpus; i++)
        rc = varch_arm_vcpu_settle(arch, arch->vcpu[i]);
    return rc;
}

bool varch_irqchip_last(const struct varch *arch)
{
    (void)arch;
    return true;
}

bool varch_irqchip_in_kernel(const struct varch *arch)
{
    (void)arch;
    return true;
}

int varch_vcpu_init(struct varch *arch, struct hv_vcpu *vcpu)
{
    int rc = varch_arm_vcpu_init(arch, vcpu);

    return rc ? vm_wrap(rc, "vCPU %u", vcpu->id) : 0;
}

/* --- boot --- */

static int fill_cpus(const struct varch *arch, struct vboot_arm_cpu *cpus)
{
    int rc = 0;

    for (unsigned i = 0; !rc && i < arch->config.cpus; i++) {
        cpus[i] = (struct vboot_arm_cpu){ .mpidr = vboot_arm_mpidr(i) };
        if (i < arch->vcpus)
            rc = varch_arm_mpidr(arch->vcpu[i], &cpus[i].mpidr);
    }
    return rc;
}

/* The user's file on top. */
static int overlay(const struct varch_image *image, struct vm_buffer *blob)
{
    struct vm_file file;
    void *data;
    int rc;

    if (!image->name || image->fd < 0)
        return 0;
    rc = vm_file_fd(image->name, image->fd, &file);
    if (rc)
        return rc;
    if (file.size > VBOOT_ARM_OVERLAY_BYTES)
        return vm_fail(-E2BIG, "%s has %llu bytes: overlays have at most %u", image->name,
                       (unsigned long long)file.size, VBOOT_ARM_OVERLAY_BYTES);
    data = malloc(file.size);
    if (!data)
        return vm_fail(-ENOMEM, "%s: out of memory", image->name);
    rc = file.read(&file, data, file.size, 0);
    if (!rc)
        rc = vboot_arm_fdt_overlay(blob, image->name, data, file.size);
    free(data);
    return rc;
}

int varch_arm_tree_make(struct varch *arch, const struct varch_payload *payload,
                        const struct vboot_arm_range *initrd, const uint8_t *seed,
                        struct vm_buffer *ret_blob)
{
    struct vboot_arm_fdt t = {
        .map = &arch->map,
        .cpu_count = arch->config.cpus,
        .gic = arch->gic,
        .msi = arch->msi,
        .pmu = arch->pmu,
        .pci = arch->config.segments > 0,
        .pci_intx = has_intx(arch),
        .devices = payload->devices,
        .device_count = payload->device_count,
        .cmdline = payload->cmdline,
        .initrd = *initrd,
        .seed = seed,
    };
    struct vboot_arm_cpu *cpus = calloc(arch->config.cpus, sizeof(*cpus));
    int rc;

    if (!cpus)
        return vm_fail(-ENOMEM, "device tree: out of memory");
    t.cpus = cpus;
    rc = fill_cpus(arch, cpus);
    if (!rc)
        rc = vboot_arm_fdt_make(&t, ret_blob);
    free(cpus);
    if (rc)
        return rc;
    rc = overlay(&payload->overlay, ret_blob);
    if (rc)
        vm_buffer_free(ret_blob);
    return rc;
}

int varch_dtb(struct varch *arch, const struct varch_payload *payload, struct vm_buffer *ret_blob)
{
    static const struct vboot_arm_range none = { 0 };

    return varch_arm_tree_make(arch, payload, &none, NULL, ret_blob);
}

int varch_acpi(const struct varch *arch, const struct varch_payload *payload,
               struct vacpi_image *ret_image)
{
    (void)arch;
    (void)payload;
    (void)ret_image;
    return vm_fail(-ENOTSUP,
                   "AArch64 machines have ACPI only under firmware; they have a device tree");
}

static int load_initrd(struct varch *arch, struct gm_view *memory, const struct varch_image *image,
                       struct vboot_arm_kernel *kernel)
{
    struct vm_file file;
    int rc;

    if (image->fd < 0)
        return 0;
    rc = vm_file_fd(image->name, image->fd, &file);
    return rc ? rc : vboot_arm_initrd_load(&arch->map, memory, &file, kernel);
}

int varch_load(struct varch *arch, struct gm_view *memory, const struct varch_payload *payload)
{
    uint8_t seed[VBOOT_ARM_SEED_BYTES];
    struct vm_buffer blob = { 0 };
    struct vboot_arm_kernel kernel;
    struct vm_file file;
    int rc = vm_file_fd(payload->kernel.name, payload->kernel.fd, &file);

    if (!rc)
        rc = vboot_arm_kernel_load(&arch->map, memory, &file, &kernel);
    if (!rc)
        rc = load_initrd(arch, memory, &payload->initrd, &kernel);
    if (!rc)
        rc = arch->env->random(arch->env->ctx, seed, sizeof(seed));
    if (!rc)
        rc = varch_arm_tree_make(arch, payload, &kernel.initrd, seed, &blob);
    if (!rc)
        rc = vboot_arm_dtb_load(&arch->map, memory, blob.data, blob.len, &kernel, &arch->start);
    vm_buffer_free(&blob);
    return rc;
}

int varch_boot(struct varch *arch, struct hv_vcpu *vcpu)
{
    return varch_arm_vcpu_start(vcpu, &arch->start);
}

int varch_exit(struct varch *arch, struct hv_vcpu *vcpu, struct hv_exit *exit)
{
    (void)arch;
    return exit->reason == HV_EXIT_ARM_NISV ? varch_arm_abort(vcpu) : -ENOSYS;
}

const struct varch_facts varch_facts = {
    .console = "ttyAMA0",
    .serial_class = "pl011",
    .clock_class = "pl031",
};
