/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* ACPI tables of an x86_64 machine. */
#include <vmm/x86_64-boot/tables.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/acpi/device.h>
#include <vmm/base/error.h>

enum {
    CPUS_MAX = 4096,
    PCI_PINS = 4,
    PCI_DEVICES = 32,
    /* No bridges: all devices are on bus 0. Linux reads the vendor at 32 places of every bus that
     * MCFG promises: 8192 exits and 70 M instructions of its boot if that were 256. */
    LAST_BUS = 0,
    CMOS_CENTURY = 0x32, /* in the CMOS RAM: what the cmos-rtc device model answers */
};

/* A device's own words: ids and resources. Names are made from a letter per kind and a number, so that equal machines have equal
 * tables. */
static void add_device(struct vacpi_aml *aml, const struct vdev_firmware *fw, unsigned n)
{
    struct vacpi_resource res[VDEV_RESOURCES_MAX];
    char name[5];
    struct vacpi_device device = {
        .name = name, .hid = fw->acpi_hid, .uid = fw->uid, .resources = res
    };

    snprintf(name, sizeof(name), "D%03X", n & 0xfff);
    for (unsigned i = 0; i < VDEV_RESOURCES_MAX && fw->resource[i].type != VDEV_RES_END; i++) {
        const struct vdev_resource *r = &fw->resource[i];
        struct vacpi_resource *to = &res[device.resource_count++];

        *to = (struct vacpi_resource){ .base = r->base, .size = r->size };
        to->kind = r->type == VDEV_RES_MMIO  ? VACPI_RES_MMIO
                   : r->type == VDEV_RES_PIO ? VACPI_RES_PIO
                                             : VACPI_RES_GSI;
        if (r->type == VDEV_RES_IRQ)
            to->flags =
                (r->size ? VACPI_IRQ_LEVEL | VACPI_IRQ_SHARED : VACPI_IRQ_EDGE) | VACPI_IRQ_HIGH;
        device.coherent |= r->type == VDEV_RES_MMIO;
    }
    vacpi_aml_simple_device(aml, &device);
}

static void add_events(struct vacpi_aml *aml)
{
    struct vacpi_event events[] = {
        { .gsi = VBOOT_X86_GSI_GED,
          .mask = VBOOT_X86_EVENT_POWER_BUTTON,
          .notify = "PWRB",
          .notify_value = VACPI_NOTIFY_BUTTON },
    };
    struct vacpi_ged ged = {
        .name = "GED0",
        .has_register = true,
        .space = VACPI_SPACE_IO,
        .address = VBOOT_X86_PORT_PM + VBOOT_X86_PM_EVENTS,
        .irq_flags = VACPI_IRQ_EDGE | VACPI_IRQ_HIGH,
        .events = events,
        .event_count = VM_ARRAY_SIZE(events),
    };

    vacpi_aml_power_button(aml, "PWRB");
    vacpi_aml_ged(aml, &ged);
}

static unsigned add_windows(const struct vboot_x86_tables *c, unsigned segment,
                            struct vacpi_pci_window *w)
{
    const struct vboot_x86_map *map = c->map;
    unsigned n = 0;

    if (segment == 0) {
        w[n++] = (struct vacpi_pci_window){ .type = VACPI_MEMORY,
                                            .base = map->mem32.base,
                                            .size = map->mem32.size };
        if (c->pci_io)
            w[n++] = (struct vacpi_pci_window){ .type = VACPI_IO,
                                                .base = VBOOT_X86_PORT_PCI,
                                                .size = VBOOT_X86_PORT_PCI_BYTES };
    }
    w[n++] = (struct vacpi_pci_window){ .type = VACPI_MEMORY,
                                        .base = map->mem64[segment].base,
                                        .size = map->mem64[segment].size };
    return n;
}

static void add_bridge(struct vacpi_aml *aml, const struct vboot_x86_tables *c, unsigned segment)
{
    struct vacpi_pci_irq irqs[PCI_DEVICES * PCI_PINS];
    struct vacpi_resource cam = { .kind = VACPI_RES_PIO, .base = 0xcf8, .size = 8 };
    struct vacpi_pci_window windows[3];
    char name[5];
    struct vacpi_pci_bridge bridge = {
        .name = name,
        .uid = segment,
        .segment = (uint16_t)segment,
        .last_bus = LAST_BUS,
        .windows = windows,
        .osc_control = VACPI_OSC_HOTPLUG | VACPI_OSC_PME | VACPI_OSC_AER | VACPI_OSC_CAPABILITY,
    };

    snprintf(name, sizeof(name), "PCI%X", segment & 0xf);
    bridge.window_count = add_windows(c, segment, windows);
    if (c->cam && segment == 0) {
        bridge.ports = &cam;
        bridge.port_count = 1;
    }
    for (unsigned d = 0; c->pci_intx && segment == 0 && d < PCI_DEVICES; d++)
        for (unsigned pin = 0; pin < PCI_PINS; pin++)
            irqs[bridge.irq_count++] =
                (struct vacpi_pci_irq){ (uint8_t)d, (uint8_t)pin,
                                        VBOOT_X86_GSI_PCI + (d + pin) % PCI_PINS };
    bridge.irqs = bridge.irq_count ? irqs : NULL;
    vacpi_aml_pci_bridge(aml, &bridge);
}

static void add_pci(struct vacpi_aml *aml, const struct vboot_x86_tables *c)
{
    struct vacpi_resource ecam[VBOOT_X86_SEGMENTS];

    for (unsigned s = 0; s < c->map->segments; s++) {
        add_bridge(aml, c, s);
        ecam[s] = (struct vacpi_resource){ .kind = VACPI_RES_MMIO,
                                           .base = c->map->ecam[s].base,
                                           .size = c->map->ecam[s].size };
    }
    vacpi_aml_reserved(aml, "ECAM", 0, ecam, c->map->segments);
}

static void add_dsdt(struct vacpi_tables *tables, const struct vboot_x86_tables *c)
{
    struct vacpi_aml aml = { 0 };

    vacpi_aml_scope(&aml, "\\_SB_");
    vacpi_aml_processors(&aml, 0, c->cpus, NULL);
    if (c->event_device)
        add_events(&aml);
    for (size_t i = 0; i < c->device_count; i++)
        if (c->devices[i]->acpi_hid)
            add_device(&aml, c->devices[i], (unsigned)i);
    if (c->pci)
        add_pci(&aml, c);
    vacpi_aml_end(&aml);
    if (c->event_device)
        vacpi_aml_sleep_state(&aml, 5, VBOOT_X86_SLEEP_TYPE_S5);
    vacpi_tables_dsdt(tables, &aml);
}

static struct vacpi_register pm_register(unsigned offset)
{
    return (struct vacpi_register){ .space = VACPI_SPACE_IO,
                                    .bits = 8,
                                    .access = VACPI_BYTE_ACC,
                                    .address = VBOOT_X86_PORT_PM + offset };
}

static void add_fadt(struct vacpi_tables *tables, const struct vboot_x86_tables *c)
{
    struct vacpi_fadt fadt = {
        .flags = VACPI_FADT_HW_REDUCED | VACPI_FADT_WBINVD | VACPI_FADT_PWR_BUTTON |
                 VACPI_FADT_SLP_BUTTON | VACPI_FADT_FIX_RTC | VACPI_FADT_HEADLESS |
                 VACPI_FADT_PROC_C1,
        .pm_profile = 4, /* enterprise server */
        .iapc_boot = VACPI_BOOT_NO_VGA | VACPI_BOOT_NO_ASPM,
        .hypervisor = "VMM",
    };

    if (c->i8042)
        fadt.iapc_boot |= VACPI_BOOT_8042;
    if (c->rtc)
        fadt.cmos_century = CMOS_CENTURY;
    else
        fadt.iapc_boot |= VACPI_BOOT_NO_CMOS_RTC;
    if (c->event_device) {
        fadt.reset = pm_register(VBOOT_X86_PM_RESET);
        fadt.reset_value = VBOOT_X86_RESET_VALUE;
        fadt.sleep_control = pm_register(VBOOT_X86_PM_SLEEP_CONTROL);
        fadt.sleep_status = pm_register(VBOOT_X86_PM_SLEEP_STATUS);
    }
    vacpi_tables_fadt(tables, &fadt);
}

static int add_madt(struct vacpi_tables *tables, const struct vboot_x86_tables *c)
{
    static const struct vacpi_ioapic ioapic = { .id = 0, .address = VBOOT_X86_IOAPIC_BASE };
    struct vacpi_cpu *cpus = calloc(c->cpus, sizeof(*cpus));
    struct vacpi_madt madt = {
        .lapic_address = VBOOT_X86_LAPIC_BASE,
        .cpus = cpus,
        .cpu_count = c->cpus,
        .ioapics = &ioapic,
        .ioapic_count = c->ioapic ? 1 : 0,
    };

    if (!cpus)
        return vm_fail(-ENOMEM, "ACPI tables: out of memory");
    for (unsigned i = 0; i < c->cpus; i++)
        cpus[i] = (struct vacpi_cpu){ .uid = i, .apic_id = i, .flags = VACPI_CPU_ENABLED };
    vacpi_tables_madt(tables, &madt);
    free(cpus);
    return 0;
}

static void add_mcfg(struct vacpi_tables *tables, const struct vboot_x86_tables *c)
{
    struct vacpi_ecam ecams[VBOOT_X86_SEGMENTS];

    for (unsigned s = 0; s < c->map->segments; s++)
        ecams[s] = (struct vacpi_ecam){ .base = c->map->ecam[s].base,
                                        .segment = (uint16_t)s,
                                        .last_bus = LAST_BUS };
    vacpi_tables_mcfg(tables, ecams, c->map->segments);
}

int vboot_x86_tables_make(const struct vboot_x86_tables *config, struct vacpi_image *ret_image)
{
    struct vacpi_tables tables = { 0 };
    int rc;

    if (!config->cpus || config->cpus > CPUS_MAX)
        return vm_fail(-EINVAL, "ACPI tables for %u CPUs: 1 to %u are possible", config->cpus,
                       CPUS_MAX);
    add_dsdt(&tables, config);
    add_fadt(&tables, config);
    rc = add_madt(&tables, config);
    if (rc) {
        vacpi_tables_free(&tables);
        return rc;
    }
    if (config->pci)
        add_mcfg(&tables, config);
    rc = vacpi_tables_finish(&tables, VBOOT_X86_ACPI_BASE, ret_image);
    if (rc)
        return vm_wrap(rc, "ACPI tables");
    if (ret_image->bytes.len > VBOOT_X86_RESET_VECTOR - VBOOT_X86_ACPI_BASE) {
        rc = vm_fail(-ENOSPC, "ACPI tables have %zu bytes: %llu fit; use fewer devices or CPUs",
                     ret_image->bytes.len, VBOOT_X86_RESET_VECTOR - VBOOT_X86_ACPI_BASE);
        vacpi_image_free(ret_image);
    }
    return rc;
}
