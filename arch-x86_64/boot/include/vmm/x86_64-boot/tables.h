/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ACPI tables of an x86_64 machine (ACPI 6.5, hardware-reduced): what no device owns (RSDP, XSDT, FADT, MADT, MCFG), and a
 * DSDT made from what the devices say about themselves.
 */
#ifndef VMM_X86_64_BOOT_TABLES_H
#define VMM_X86_64_BOOT_TABLES_H

#include <vmm/acpi/tables.h>
#include <vmm/devices-core/device.h>
#include <vmm/x86_64-boot/map.h>

/* Registers of the event device from its base port: what the acpi-ged device model answers. */
enum {
    VBOOT_X86_PM_SLEEP_CONTROL = 0, /* 4.8.3.7 */
    VBOOT_X86_PM_SLEEP_STATUS = 1,
    VBOOT_X86_PM_RESET = 2, /* 4.8.3.6: any write of RESET_VALUE */
    VBOOT_X86_PM_EVENTS = 4, /* 32 bits, cleared by reading: VBOOT_X86_EVENT_* */
    VBOOT_X86_PM_BYTES = 8,
    VBOOT_X86_RESET_VALUE = 1,
    VBOOT_X86_SLEEP_TYPE_S5 = 5,
};
enum { VBOOT_X86_EVENT_POWER_BUTTON = 1 };

struct vboot_x86_tables {
    const struct vboot_x86_map *map;
    unsigned cpus; /* present; APIC ids are 0 to cpus - 1 */
    bool ioapic; /* there is one, for GSIs 0 to 23 */
    bool pci; /* root buses of map->segments segments */
    bool cam; /* segment 0 also answers at 0xcf8 */
    bool pci_io; /* segment 0 has an I/O window */
    bool pci_intx; /* pins of segment 0 are wired to GSIs 16 to 19 */
    bool event_device; /* with power button, at VBOOT_X86_PORT_PM */
    bool i8042, rtc; /* for FADT's boot flags */
    const struct vdev_firmware *const *devices; /* what each platform device says */
    size_t device_count;
};

/* Makes all tables, laid out at VBOOT_X86_ACPI_BASE. -ENOSPC (over VBOOT_X86_ACPI_BYTES), -EINVAL, -ENOMEM, with text. */
int vboot_x86_tables_make(const struct vboot_x86_tables *config, struct vacpi_image *ret_image);

#endif
