/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <vmm/base/error.h>
#include <vmm/x86_64-boot/tables.h>

#include "../../../acpi/src/acpica_test.h"
#include "boot_test.h"

static struct vboot_x86_map map;
static struct vacpi_image image;

static void teardown(void)
{
    vacpi_image_free(&image);
}

TestSuite(x86_tables, .fini = teardown);

static const struct vdev_firmware serial = {
    .acpi_hid = "PNP0501",
    .resource = { { VDEV_RES_PIO, 0x3f8, 8 }, { VDEV_RES_IRQ, 4, 0 } },
};
static const struct vdev_firmware rtc = {
    .acpi_hid = "PNP0B00",
    .resource = { { VDEV_RES_PIO, 0x70, 2 }, { VDEV_RES_IRQ, 8, 0 } },
};
static const struct vdev_firmware silent = {
    .resource = { { VDEV_RES_PIO, 0x80, 1 } },
};
static const struct vdev_firmware virtio_mmio = {
    .acpi_hid = "LNRO0005",
    .uid = 3,
    .resource = { { VDEV_RES_MMIO, 0xfeb00000, 0x1000 }, { VDEV_RES_IRQ, 5, 1 } },
};
static const struct vdev_firmware *const devices[] = { &serial, &rtc, &silent, &virtio_mmio };

/* Everything there is. */
static struct vboot_x86_tables whole(void)
{
    WORKS(vboot_x86_map_make(1, 4 * GIB, 40, 2, &map));
    return (struct vboot_x86_tables){
        .map = &map,
        .cpus = 2,
        .ioapic = true,
        .pci = true,
        .cam = true,
        .pci_io = true,
        .pci_intx = true,
        .event_device = true,
        .i8042 = true,
        .rtc = true,
        .devices = devices,
        .device_count = VM_ARRAY_SIZE(devices),
    };
}

/* The least. */
static struct vboot_x86_tables bare(void)
{
    WORKS(vboot_x86_map_make(1, 128 * MIB, 40, 1, &map));
    return (struct vboot_x86_tables){ .map = &map, .cpus = 1 };
}

/* One table of the image, disassembled and recompiled to the same bytes. */
static char *dsl(const char *signature)
{
    size_t len;
    const uint8_t *table = table_of(&image, signature, 0, &len);

    return iasl_same(table, len);
}

static char *dsdt_of(struct vboot_x86_tables config)
{
    WORKS(vboot_x86_tables_make(&config, &image));
    return dsl("DSDT");
}

Test(x86_tables, all_are_there_and_pass_iasl)
{
    struct vboot_x86_tables config = whole();

    WORKS(vboot_x86_tables_make(&config, &image));

    free(dsl("FACP"));
    free(dsl("APIC"));
    free(dsl("MCFG"));
    cr_assert_not_null(vacpi_image_find(&image, "XSDT", 0));
    cr_assert_leq(image.bytes.len, VBOOT_X86_ACPI_BYTES);
}

Test(x86_tables, least_machine_has_no_mcfg)
{
    struct vboot_x86_tables config = bare();

    WORKS(vboot_x86_tables_make(&config, &image));

    cr_assert_null(vacpi_image_find(&image, "MCFG", 0));
    free(dsl("DSDT"));
    free(dsl("FACP"));
    free(dsl("APIC"));
}

Test(x86_tables, root_pointer_is_where_it_is_told)
{
    struct vboot_x86_tables config = whole();
    uint64_t at;

    WORKS(vboot_x86_tables_make(&config, &image));

    at = image.rsdp - VBOOT_X86_ACPI_BASE;
    cr_assert_lt(at, image.bytes.len);
    cr_assert_arr_eq(image.bytes.data + at, "RSD PTR ", 8);
    cr_assert_eq(image.rsdp % 16, 0);
}

Test(x86_tables, equal_machines_have_equal_bytes)
{
    struct vboot_x86_tables config = whole();
    struct vacpi_image again;

    WORKS(vboot_x86_tables_make(&config, &image));
    WORKS(vboot_x86_tables_make(&config, &again));

    cr_assert_eq(image.bytes.len, again.bytes.len);
    cr_assert_arr_eq(image.bytes.data, again.bytes.data, again.bytes.len);
    vacpi_image_free(&again);
}

/* ---- FADT ---- */

Test(x86_tables, fadt_is_hardware_reduced_with_its_registers)
{
    struct vboot_x86_tables config = whole();

    WORKS(vboot_x86_tables_make(&config, &image));

    HOLDS(dsl("FACP"), "Hardware Reduced (V5) : 1", "Reset Register", "Value to cause reset : 01",
          "Sleep Control Register", "Sleep Status Register", "0000000000000600", "0000000000000601",
          "0000000000000602", "RTC Century Index : 32", "8042 Present on ports 60/64 (V2) : 1",
          "CMOS RTC Not Present (V5) : 0", "VGA Not Present (V4) : 1");
}

Test(x86_tables, fadt_says_what_is_missing)
{
    struct vboot_x86_tables config = bare();

    WORKS(vboot_x86_tables_make(&config, &image));

    HOLDS(dsl("FACP"), "RTC Century Index : 00", "8042 Present on ports 60/64 (V2) : 0",
          "CMOS RTC Not Present (V5) : 1");
}

/* ---- MADT ---- */

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

Test(x86_tables, madt_has_each_cpu_and_the_ioapic)
{
    struct vboot_x86_tables config = whole();
    char *text;

    config.cpus = 8;
    WORKS(vboot_x86_tables_make(&config, &image));
    text = dsl("APIC");

    cr_assert_eq(count(text, "[Processor Local APIC]"), 8, "%s", text);
    cr_assert_eq(count(text, "[I/O APIC]"), 1);
    HOLDS(text, "Local Apic Address : FEE00000", "Address : FEC00000", "Interrupt : 00000000",
          "Local Apic ID : 07", "PC-AT Compatibility : 0");
}

Test(x86_tables, madt_without_ioapic_has_none)
{
    struct vboot_x86_tables config = bare();
    char *text;

    WORKS(vboot_x86_tables_make(&config, &image));
    text = dsl("APIC");

    cr_assert_eq(count(text, "[I/O APIC]"), 0);
    free(text);
}

Test(x86_tables, madt_of_many_cpus_goes_on_with_x2apics)
{
    struct vboot_x86_tables config = bare();
    char *text;

    config.cpus = 300;
    WORKS(vboot_x86_tables_make(&config, &image));
    text = dsl("APIC");

    cr_assert_eq(count(text, "[Processor Local APIC]"), 255);
    cr_assert_eq(count(text, "[Processor Local x2APIC]"), 45);
    free(text);
}

/* ---- MCFG ---- */

Test(x86_tables, mcfg_has_each_segment)
{
    struct vboot_x86_tables config = whole();

    WORKS(vboot_x86_tables_make(&config, &image));

    HOLDS(dsl("MCFG"), "Base Address : 00000000E0000000", "Base Address : 00000000F0000000",
          "Segment Group Number : 0001", "End Bus Number : 00");
}

/* ---- DSDT ---- */

Test(x86_tables, dsdt_has_what_devices_say)
{
    HOLDS(dsdt_of(whole()), "\"PNP0501\"", "0x03F8", "\"PNP0B00\"", "\"LNRO0005\"", "0xFEB00000",
          "Device (D000)", "Device (D001)", "Device (D003)");
}

Test(x86_tables, device_that_says_nothing_is_not_in_the_dsdt)
{
    char *text = dsdt_of(whole());

    cr_assert_null(strstr(text, "D002"));
    free(text);
}

Test(x86_tables, dsdt_has_each_pci_segment_and_its_windows)
{
    HOLDS(dsdt_of(whole()), "Device (PCI0)", "Device (PCI1)", "\"PNP0A08\"", "_SEG", "_PRT",
          "0xC0000000", "0x0000000240000000", "0x0000001240000000", "0x0CF8", "Device (ECAM)");
}

Test(x86_tables, dsdt_without_pci_has_no_bridge)
{
    char *text = dsdt_of(bare());

    cr_assert_null(strstr(text, "PNP0A08"));
    cr_assert_null(strstr(text, "ECAM"));
    free(text);
}

Test(x86_tables, pins_are_routed_only_where_they_are_wired)
{
    struct vboot_x86_tables config = whole();
    char *text;

    config.pci_intx = config.cam = config.pci_io = false;
    text = dsdt_of(config);

    cr_assert_null(strstr(text, "_PRT"));
    cr_assert_null(strstr(text, "0x0CF8"));
    free(text);
}

Test(x86_tables, power_button_and_sleep_are_there_with_the_event_device)
{
    char *text = dsdt_of(whole());

    HOLDS(text, "\"ACPI0013\"", "\"PNP0C0C\"", "Name (\\_S5, Package", "Method (_EVT", "0x0604");
}

Test(x86_tables, without_event_device_no_sleep_is_offered)
{
    char *text = dsdt_of(bare());

    cr_assert_null(strstr(text, "_S5"));
    cr_assert_null(strstr(text, "ACPI0013"));
    free(text);
}

/* The next number that acpiexec prints. */
static unsigned long long next_integer(const char **text)
{
    static const char mark[] = "[Integer] = ";

    *text = strstr(*text, mark);
    cr_assert_not_null(*text);
    *text += sizeof(mark) - 1;
    return strtoull(*text, NULL, 16);
}

Test(x86_tables, pins_of_pci_rotate_by_device)
{
    struct vboot_x86_tables config = whole();
    const char *at;
    const uint8_t *dsdt;
    char *answer;
    size_t len;

    WORKS(vboot_x86_tables_make(&config, &image));
    dsdt = table_of(&image, "DSDT", 0, &len);
    answer = acpiexec(dsdt, len, "evaluate \\_SB.PCI0._PRT");

    at = answer;
    for (unsigned device = 0; device < 32; device++)
        for (unsigned pin = 0; pin < 4; pin++) {
            cr_assert_eq(next_integer(&at), device << 16 | 0xffff);
            cr_assert_eq(next_integer(&at), pin);
            cr_assert_eq(next_integer(&at), 0, "a global system interrupt, not a link device");
            cr_assert_eq(next_integer(&at), 16 + (device + pin) % 4);
        }
    free(answer);
}

Test(x86_tables, sixteen_segments_and_many_cpus_fit)
{
    struct vboot_x86_tables config = whole();

    WORKS(vboot_x86_map_make(1, 4 * GIB, 36, 16, &map));
    config.cpus = 288;

    WORKS(vboot_x86_tables_make(&config, &image));
    free(dsl("DSDT"));
    free(dsl("MCFG"));
}

/* ---- bad input ---- */

Test(x86_tables, number_of_cpus_has_bounds)
{
    struct vboot_x86_tables config = bare();

    config.cpus = 0;
    FAILS(vboot_x86_tables_make(&config, &image), -EINVAL,
          "ACPI tables for 0 CPUs: 1 to 4096 are possible");
    config.cpus = 4097;
    FAILS(vboot_x86_tables_make(&config, &image), -EINVAL,
          "ACPI tables for 4097 CPUs: 1 to 4096 are possible");
}

Test(x86_tables, what_does_not_fit_is_refused)
{
    struct vboot_x86_tables config = bare();

    config.cpus = 4096;
    cr_assert_eq(vboot_x86_tables_make(&config, &image), -ENOSPC);
    cr_assert_not_null(strstr(vm_error_text(), "131056 fit; use fewer devices or CPUs"), "%s",
                       vm_error_text());
    cr_assert_null(image.bytes.data);
}
