/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tables: layout by hand, every table by iasl. */
#include <errno.h>

#include <vmm/base/le.h>

#include "acpica_test.h"

#define BASE 0xe0000

static struct vacpi_tables tables;
static struct vacpi_aml aml;

static const struct vacpi_fadt reduced = {
    .flags = VACPI_FADT_HW_REDUCED | VACPI_FADT_PWR_BUTTON | VACPI_FADT_SLP_BUTTON,
    .iapc_boot = VACPI_BOOT_NO_VGA | VACPI_BOOT_NO_ASPM,
    .reset = { VACPI_SPACE_IO, 8, VACPI_BYTE_ACC, 0x600 },
    .reset_value = 1,
    .sleep_control = { VACPI_SPACE_MEMORY, 8, VACPI_BYTE_ACC, 0xfed00000 },
    .sleep_status = { VACPI_SPACE_MEMORY, 8, VACPI_BYTE_ACC, 0xfed00001 },
    .hypervisor = "VMMHV",
};
static const struct vacpi_fadt full = {
    .flags = VACPI_FADT_WBINVD | VACPI_FADT_TMR_32,
    .pm_profile = 1,
    .cmos_century = 0x32,
    .pm = {
        .sci_gsi = 9,
        .smi_port = 0xb2,
        .acpi_enable = 2,
        .acpi_disable = 3,
        .pm1a_event = 0x600,
        .pm1a_control = 0x604,
        .pm_timer = 0x608,
        .gpe0 = 0x620,
        .gpe0_bytes = 16,
    },
};

static void begin(void)
{
    memset(&tables, 0, sizeof(tables));
    memset(&aml, 0, sizeof(aml));
}

static void clean(void)
{
    vacpi_tables_free(&tables);
    vacpi_aml_free(&aml);
}

TestSuite(tables, .init = begin, .fini = clean);

/* FADT and an empty DSDT: what every set needs. */
static void add_basics(void)
{
    vacpi_tables_fadt(&tables, &reduced);
    vacpi_tables_dsdt(&tables, &aml);
}

static struct vacpi_image finish_at(uint64_t base)
{
    struct vacpi_image image = { 0 };

    cr_assert_eq(vacpi_tables_finish(&tables, base, &image), 0, "%s", vm_error_text());
    return image;
}

static void fails_with(const char *text)
{
    struct vacpi_image image = { 0 };

    cr_assert_eq(vacpi_tables_finish(&tables, BASE, &image), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_eq(tables.count, 0, "the set is zeroed");
    cr_assert_null(image.bytes.data);
}

/* Adds the basics, lays the set out, and gives iasl's text for one table. */
static char *text_of(const char *signature)
{
    struct vacpi_image image;
    const uint8_t *table;
    char *text;
    size_t len;

    add_basics();
    image = finish_at(BASE);
    table = table_of(&image, signature, 0, &len);
    text = iasl_same(table, len);
    vacpi_image_free(&image);
    return text;
}

static unsigned sum_of(const uint8_t *data, size_t len)
{
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += data[i];
    return sum & 0xff;
}

/* -- The set -- */

Test(tables, a_guest_finds_every_table_from_the_rsdp)
{
    struct vacpi_image image;
    const uint8_t *b;
    uint64_t xsdt;
    uint64_t fadt;

    add_basics();
    vacpi_tables_madt(&tables, &(struct vacpi_madt){ 0 });
    image = finish_at(BASE);
    b = image.bytes.data;

    cr_assert_eq(image.rsdp, BASE);
    cr_assert_eq(memcmp(b, "RSD PTR ", 8), 0);
    cr_assert_eq(vm_load_le(b + 16, 4), 0, "no RSDT");
    xsdt = vm_load_le(b + 24, 8) - BASE;
    cr_assert_eq(memcmp(b + xsdt, "XSDT", 4), 0);
    cr_assert_eq(vm_load_le(b + xsdt + 4, 4), 36 + 2 * 8, "the DSDT is not listed");
    fadt = vm_load_le(b + xsdt + 36, 8) - BASE;
    cr_assert_eq(memcmp(b + fadt, "FACP", 4), 0);
    cr_assert_eq(memcmp(b + vm_load_le(b + xsdt + 44, 8) - BASE, "APIC", 4), 0);
    cr_assert_eq(memcmp(b + vm_load_le(b + fadt + 140, 8) - BASE, "DSDT", 4), 0);
    cr_assert_eq(vm_load_le(b + fadt + 40, 4), vm_load_le(b + fadt + 140, 8));
    vacpi_image_free(&image);
}

Test(tables, all_bytes_of_a_table_add_up_to_zero)
{
    struct vacpi_image image;

    vacpi_tables_facs(&tables, 0x1234);
    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_dsdt(&tables, &aml);
    image = finish_at(BASE);

    cr_assert_eq(image.place_count, 5);
    cr_assert_eq(sum_of(image.bytes.data, 20), 0, "RSDP's first 20 bytes");
    for (unsigned i = 0; i < image.place_count; i++) {
        const struct vacpi_place *p = &image.places[i];

        cr_assert_eq(p->offset % 64, 0);
        if (strcmp(p->signature, "FACS"))
            cr_assert_eq(sum_of(image.bytes.data + p->offset, p->len), 0, "%s", p->signature);
    }
    vacpi_image_free(&image);
}

Test(tables, xsdt_and_facs_compile_the_same)
{
    static const char *const signatures[] = { "XSDT", "FACS" };
    struct vacpi_image image;

    vacpi_tables_facs(&tables, 0x1234);
    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_dsdt(&tables, &aml);
    image = finish_at(BASE);

    for (unsigned i = 0; i < VM_ARRAY_SIZE(signatures); i++) {
        size_t len;
        const uint8_t *table = table_of(&image, signatures[i], 0, &len);

        iasl_check(table, len);
    }
    vacpi_image_free(&image);
}

/* iasl compiles an RSDP but does not disassemble one: the source is written here. */
Test(tables, the_rsdp_is_what_iasl_makes_of_its_fields)
{
    static const char source[] = "Signature : \"RSD PTR \"\nChecksum : 00\nOem ID : \"VMMHV \"\n"
                                 "Revision : 02\nRSDT Address : 00000000\nLength : 00000024\n"
                                 "XSDT Address : 00000000000E0040\nExtended Checksum : 00\n"
                                 "Reserved : 000000\n";
    struct vacpi_image image;
    struct tool_dir dir;
    char *theirs;
    size_t len;

    add_basics();
    image = finish_at(BASE);
    tool_open(&dir);
    tool_write(&dir, "in.dsl", source, sizeof(source) - 1);
    tool_must(&dir, "iasl -we -p out in.dsl >text 2>&1");
    theirs = tool_read(&dir, "out.aml", &len);
    tool_close(&dir);

    same_bytes((const char *)image.bytes.data, image.places[0].len, theirs, len);
    free(theirs);
    vacpi_image_free(&image);
}

Test(tables, the_facs_is_told_once)
{
    struct vacpi_image image;
    const uint8_t *fadt;
    size_t len;

    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_facs(&tables, 0);
    vacpi_tables_dsdt(&tables, &aml);
    image = finish_at(BASE);
    fadt = table_of(&image, "FACP", 0, &len);

    cr_assert_eq(vm_load_le(fadt + 36, 4), BASE + vacpi_image_find(&image, "FACS", 0)->offset);
    cr_assert_eq(vm_load_le(fadt + 132, 8), 0);
    vacpi_image_free(&image);
}

Test(tables, above_4_gib_only_the_wide_fields_are_used)
{
    struct vacpi_image image;
    const uint8_t *fadt;
    size_t len;

    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_facs(&tables, 0);
    vacpi_tables_dsdt(&tables, &aml);
    image = finish_at(1ULL << 32);
    fadt = table_of(&image, "FACP", 0, &len);

    cr_assert_eq(vm_load_le(fadt + 36, 4), 0);
    cr_assert_eq(vm_load_le(fadt + 40, 4), 0);
    cr_assert_eq(vm_load_le(fadt + 132, 8) >> 32, 1);
    cr_assert_eq(vm_load_le(fadt + 140, 8) >> 32, 1);
    vacpi_image_free(&image);
}

Test(tables, every_address_in_the_image_is_listed)
{
    struct vacpi_image low;
    struct vacpi_image high;

    add_basics();
    low = finish_at(BASE);
    begin();
    add_basics();
    high = finish_at(BASE + 0x1000);

    /* Moving the image changes the listed addresses by that much, and checksums: nothing else. */
    for (unsigned i = 0; i < low.pointer_count; i++) {
        const struct vacpi_pointer *p = &low.pointers[i];
        uint64_t a = vm_load_le(low.bytes.data + p->offset, p->bytes);

        cr_assert_eq(vm_load_le(high.bytes.data + p->offset, p->bytes), a + 0x1000);
        vm_store_le(high.bytes.data + p->offset, p->bytes, a);
    }
    high.bytes.data[8] = low.bytes.data[8];
    high.bytes.data[32] = low.bytes.data[32];
    for (unsigned i = 1; i < low.place_count; i++)
        high.bytes.data[low.places[i].offset + 9] = low.bytes.data[low.places[i].offset + 9];
    cr_assert_eq(memcmp(low.bytes.data, high.bytes.data, low.bytes.len), 0);
    vacpi_image_free(&low);
    vacpi_image_free(&high);
}

Test(tables, the_same_data_gives_the_same_bytes)
{
    struct vacpi_image a;
    struct vacpi_image b;

    add_basics();
    a = finish_at(BASE);
    begin();
    add_basics();
    b = finish_at(BASE);

    cr_assert_eq(a.bytes.len, b.bytes.len);
    cr_assert_eq(memcmp(a.bytes.data, b.bytes.data, a.bytes.len), 0);
    vacpi_image_free(&a);
    vacpi_image_free(&b);
}

Test(tables, secondary_and_raw_tables_are_added)
{
    struct vacpi_image image;
    const uint8_t *table;
    size_t len;

    add_basics();
    for (unsigned i = 1; i < 3; i++) {
        vacpi_aml_name_integer(&aml, "TEST", i * 0x1111);
        vacpi_tables_ssdt(&tables, &aml);
    }
    vacpi_tables_raw(&tables, "OEMX", 3, "body", 4);
    image = finish_at(BASE);

    table = table_of(&image, "SSDT", 1, &len);
    HOLDS(iasl_same(table, len), "0x2222", "\"VMMHV \", \"VMM_SSDT\", 0x00000001");
    table = table_of(&image, "OEMX", 0, &len);
    cr_assert_eq(len, 40);
    cr_assert_eq(table[8], 3);
    cr_assert_eq(memcmp(table + 36, "body", 4), 0);
    cr_assert_null(vacpi_image_find(&image, "SSDT", 2));
    vacpi_image_free(&image);
}

Test(tables, a_set_without_fadt_or_dsdt_is_refused)
{
    vacpi_tables_dsdt(&tables, &aml);
    fails_with("0 FADT and 1 DSDT");

    vacpi_tables_fadt(&tables, &reduced);
    fails_with("1 FADT and 0 DSDT");
}

Test(tables, facs_goes_with_full_hardware)
{
    add_basics();
    vacpi_tables_facs(&tables, 0);
    fails_with("hardware-reduced machine has none");

    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_dsdt(&tables, &aml);
    fails_with("needs one");
}

Test(tables, a_second_dsdt_is_refused)
{
    add_basics();
    vacpi_tables_dsdt(&tables, &aml);

    fails_with("second DSDT");
}

Test(tables, an_error_of_the_aml_is_told)
{
    vacpi_aml_path(&aml, "wrong");
    add_basics();

    fails_with("DSDT: AML: name 'wrong'");
}

Test(tables, a_base_that_is_not_aligned_or_too_high_is_refused)
{
    struct vacpi_image image;

    add_basics();
    cr_assert_eq(vacpi_tables_finish(&tables, BASE + 16, &image), -EINVAL);

    begin();
    add_basics();
    cr_assert_eq(vacpi_tables_finish(&tables, UINT64_MAX - 63, &image), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), "do not fit"), "%s", vm_error_text());
}

Test(tables, a_set_holds_a_limited_number)
{
    for (unsigned i = 0; i < VACPI_TABLES_MAX + 1; i++)
        vacpi_tables_raw(&tables, "OEMX", 1, "", 0);

    fails_with("more than 32");
}

Test(tables, a_signature_has_four_characters)
{
    vacpi_tables_raw(&tables, "OEM", 1, "", 0);

    fails_with("'OEM'");
}

/* -- FADT -- */

Test(tables, a_reduced_fadt_has_sleep_and_reset_registers)
{
    HOLDS(text_of("FACP"), "Hardware Reduced (V5) : 1", "Reset Register Supported (V2) : 1",
          "Control Method Power Button (V1) : 1", "Hypervisor ID : 00000056484D4D56",
          "Revision : 06", "FADT Minor Revision : 05", "Address : 00000000FED00000",
          "Address : 0000000000000600", "VGA Not Present (V4) : 1", "PM1 Event Block Length : 00");
}

Test(tables, a_full_fadt_has_the_pm_block)
{
    struct vacpi_image image;
    const uint8_t *table;
    size_t len;

    vacpi_tables_fadt(&tables, &full);
    vacpi_tables_facs(&tables, 0);
    vacpi_tables_dsdt(&tables, &aml);
    image = finish_at(BASE);
    table = table_of(&image, "FACP", 0, &len);

    HOLDS(iasl_same(table, len), "SCI Interrupt : 0009", "SMI Command Port : 000000B2",
          "PM1A Event Block Address : 00000600", "PM1A Control Block Address : 00000604",
          "PM Timer Block Address : 00000608", "GPE0 Block Address : 00000620",
          "GPE0 Block Length : 10", "RTC Century Index : 32", "Hardware Reduced (V5) : 0",
          "32-bit PM Timer (V1) : 1", "Reset Register Supported (V2) : 0");
    vacpi_image_free(&image);
}

Test(tables, a_fadt_with_wrong_registers_is_refused)
{
    struct vacpi_fadt fadt = reduced;

    fadt.reset.bits = 16;
    vacpi_tables_fadt(&tables, &fadt);
    fails_with("not 16, 8, 8");

    fadt = full;
    fadt.pm.pm1a_control = 0;
    vacpi_tables_fadt(&tables, &fadt);
    fails_with("PM1a");

    fadt = full;
    fadt.pm.gpe0_bytes = 3;
    vacpi_tables_fadt(&tables, &fadt);
    fails_with("GPE0 block of 3");
}

/* -- MADT -- */

Test(tables, a_madt_of_apics_compiles_the_same)
{
    static const struct vacpi_cpu cpus[] = {
        { 0, 0, VACPI_CPU_ENABLED },
        { 1, 254, VACPI_CPU_ONLINE_CAPABLE },
        { 2, 255, VACPI_CPU_ENABLED },
        { 0x12345, 3, VACPI_CPU_ENABLED },
    };
    static const struct vacpi_ioapic ioapics[] = { { 5, 0xfec00000, 0 }, { 6, 0xfec01000, 24 } };
    static const struct vacpi_override overrides[] = {
        { 9, 9, VACPI_MPS_HIGH | VACPI_MPS_LEVEL },
        { 0, 2, VACPI_MPS_BUS },
    };

    vacpi_tables_madt(&tables, &(struct vacpi_madt){
                                   .lapic_address = 0xfee00000,
                                   .has_pic = true,
                                   .cpus = cpus,
                                   .cpu_count = VM_ARRAY_SIZE(cpus),
                                   .ioapics = ioapics,
                                   .ioapic_count = VM_ARRAY_SIZE(ioapics),
                                   .overrides = overrides,
                                   .override_count = VM_ARRAY_SIZE(overrides),
                                   .lapic_nmi = true,
                               });

    HOLDS(text_of("APIC"), "Local Apic Address : FEE00000", "PC-AT Compatibility : 1",
          "Local Apic ID : FE", "Runtime Online Capable : 1", "Processor x2Apic ID : 000000FF",
          "Processor UID : 00012345", "I/O Apic ID : 06", "Address : FEC01000",
          "Interrupt : 00000018", "Trigger Mode : 3", "[Local APIC NMI]", "[Local x2APIC NMI]",
          "Interrupt Input LINT : 01");
}

Test(tables, a_madt_without_x2apics_has_no_nmi_of_them)
{
    const struct vacpi_cpu cpu = { 0, 0, VACPI_CPU_ENABLED };
    char *text;

    vacpi_tables_madt(&tables, &(struct vacpi_madt){
                                   .cpus = &cpu,
                                   .cpu_count = 1,
                                   .lapic_nmi = true,
                               });
    text = text_of("APIC");

    cr_assert_null(strstr(text, "x2APIC"));
    HOLDS(text, "[Local APIC NMI]");
}

Test(tables, a_madt_of_a_gic_compiles_the_same)
{
    static const struct vacpi_gicc giccs[] = {
        { .flags = VACPI_CPU_ENABLED, .pmu_gsi = 23, .vgic_gsi = 25 },
        { .cpu = 1,
          .uid = 1,
          .mpidr = 0x100,
          .base = 0x8010000,
          .gicv = 0x8040000,
          .gich = 0x8030000 },
    };
    static const struct vacpi_gicr gicr = { 0x80a0000, 0xf60000 };
    static const struct vacpi_gic_its its = { 7, 0x8080000 };
    static const struct vacpi_gic_msi_frame frame = { 3, 0x8020000, 80, 64 };

    vacpi_tables_madt(&tables, &(struct vacpi_madt){
                                   .giccs = giccs,
                                   .gicc_count = 2,
                                   .has_gicd = true,
                                   .gicd_base = 0x8000000,
                                   .gic_version = 3,
                                   .gicrs = &gicr,
                                   .gicr_count = 1,
                                   .its = &its,
                                   .its_count = 1,
                                   .msi_frames = &frame,
                                   .msi_frame_count = 1,
                               });

    HOLDS(text_of("APIC"), "Performance Interrupt : 00000017", "Virtual GIC Interrupt : 00000019",
          "ARM MPIDR : 0000000000000100", "Virtual GIC Base Address : 0000000008040000",
          "Hypervisor GIC Base Address : 0000000008030000", "Version : 03",
          "Base Address : 0000000008000000", "Length : 00F60000", "Translation ID : 00000007",
          "SPI Count : 0040", "SPI Base : 0050", "Local Apic Address : 00000000");
}

Test(tables, a_gicc_that_may_come_online_says_so_in_bit_3)
{
    static const struct vacpi_gicc gicc = { .flags = VACPI_CPU_ONLINE_CAPABLE };
    struct vacpi_image image;
    const uint8_t *madt;
    size_t len;

    add_basics();
    vacpi_tables_madt(&tables, &(struct vacpi_madt){ .giccs = &gicc, .gicc_count = 1 });
    image = finish_at(BASE);
    madt = table_of(&image, "APIC", 0, &len);

    cr_assert_eq(vm_load_le(madt + 44 + 12, 4), 8);
    vacpi_image_free(&image);
}

Test(tables, an_unknown_gic_version_is_refused)
{
    vacpi_tables_madt(&tables, &(struct vacpi_madt){ .has_gicd = true, .gic_version = 5 });

    fails_with("GIC version 5");
}

/* -- The others -- */

Test(tables, an_mcfg_of_several_segments_compiles_the_same)
{
    static const struct vacpi_ecam ecams[] = {
        { 0xb0000000, 0, 0, 255 },
        { 0x1000000000, 0x123, 0, 31 },
    };

    vacpi_tables_mcfg(&tables, ecams, 2);

    HOLDS(text_of("MCFG"), "Base Address : 00000000B0000000", "Base Address : 0000001000000000",
          "Segment Group Number : 0123", "End Bus Number : 1F", "End Bus Number : FF");
}

Test(tables, buses_run_upwards)
{
    vacpi_tables_mcfg(&tables, &(struct vacpi_ecam){ .first_bus = 2, .last_bus = 1 }, 1);

    fails_with("buses 2 to 1");
}

Test(tables, an_srat_compiles_the_same)
{
    static const struct vacpi_affinity rows[] = {
        { .kind = VACPI_AFFINITY_APIC, .domain = 0x12345678, .cpu = 7 },
        { .kind = VACPI_AFFINITY_APIC, .domain = 1, .cpu = 0x155 },
        { .kind = VACPI_AFFINITY_GICC, .domain = 2, .cpu = 0x255 },
        { .kind = VACPI_AFFINITY_MEMORY,
          .domain = 3,
          .base = 1ULL << 32,
          .size = 0x80000000,
          .flags = VACPI_MEMORY_HOTPLUG },
    };

    vacpi_tables_srat(&tables, rows, VM_ARRAY_SIZE(rows));

    HOLDS(text_of("SRAT"), "Proximity Domain Low(8) : 78", "Proximity Domain High(24) : 123456",
          "Apic ID : 07", "Apic ID : 00000155", "Acpi Processor UID : 00000255",
          "Base Address : 0000000100000000", "Address Length : 0000000080000000",
          "Hot Pluggable : 1", "Table Revision : 00000001");
}

Test(tables, memory_without_bytes_is_refused)
{
    vacpi_tables_srat(&tables, &(struct vacpi_affinity){ .kind = VACPI_AFFINITY_MEMORY }, 1);
    fails_with("empty");

    vacpi_tables_srat(&tables,
                      &(struct vacpi_affinity){
                          .kind = VACPI_AFFINITY_MEMORY,
                          .base = UINT64_MAX,
                          .size = 2,
                      },
                      1);
    fails_with("wraps");
}

Test(tables, a_slit_compiles_the_same)
{
    static const uint8_t distances[] = { 10, 20, 30, 20, 10, 255, 30, 255, 10 };

    vacpi_tables_slit(&tables, distances, 3);

    HOLDS(text_of("SLIT"), "Localities : 0000000000000003", "Locality   1 : 14 0A FF");
}

Test(tables, distances_that_mean_nothing_are_refused)
{
    vacpi_tables_slit(&tables, (const uint8_t[]){ 10, 9, 20, 10 }, 2);
    fails_with("distance 9 from node 0 to 1");

    vacpi_tables_slit(&tables, (const uint8_t[]){ 11 }, 1);
    fails_with("distance 11 from node 0 to 0");

    vacpi_tables_slit(&tables, NULL, 1025);
    fails_with("1025 nodes");
}

Test(tables, a_gtdt_compiles_the_same)
{
    vacpi_tables_gtdt(&tables, &(struct vacpi_gtdt){
                                   .secure_el1 = 29,
                                   .el1 = 30,
                                   .virt = 27,
                                   .el2 = 26,
                                   .flags = VACPI_TIMER_LOW | VACPI_TIMER_ALWAYS_ON,
                               });

    HOLDS(text_of("GTDT"), "Secure EL1 Interrupt : 0000001D", "Non-Secure EL1 Interrupt : 0000001E",
          "Virtual Timer Interrupt : 0000001B", "Non-Secure EL2 Interrupt : 0000001A",
          "Virtual EL2 Timer GSIV : 00000000", "Virtual EL2 Timer Flags : 00000000",
          "EL1 Flags (decoded below) : 00000006", "Counter Block Address : FFFFFFFFFFFFFFFF");
}

Test(tables, an_spcr_of_a_16550_compiles_the_same)
{
    vacpi_tables_spcr(&tables, &(struct vacpi_console){
                                   .kind = VACPI_UART_16550,
                                   .base = { VACPI_SPACE_IO, 8, VACPI_BYTE_ACC, 0x3f8 },
                                   .gsi = 4,
                                   .isa_irq = 4,
                                   .baud = 115200,
                               });

    HOLDS(text_of("SPCR"), "Interface Type : 00", "[SystemIO]", "Address : 00000000000003F8",
          "Interrupt Type : 03", "PCAT-compatible IRQ : 04", "Interrupt : 00000004",
          "Baud Rate : 07", "PCI Vendor ID : FFFF");
}

Test(tables, an_spcr_of_a_pl011_compiles_the_same)
{
    vacpi_tables_spcr(&tables, &(struct vacpi_console){
                                   .kind = VACPI_UART_PL011,
                                   .base = { VACPI_SPACE_MEMORY, 32, VACPI_DWORD_ACC, 0x9000000 },
                                   .gsi = 33,
                                   .gic = true,
                               });

    HOLDS(text_of("SPCR"), "Interface Type : 03", "[SystemMemory]", "Interrupt Type : 08",
          "Interrupt : 00000021", "Baud Rate : 00", "Bit Width : 20");
}

Test(tables, a_speed_without_a_code_is_refused)
{
    static const uint32_t good[] = { 0, 9600, 19200, 57600, 115200 };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(good); i++)
        vacpi_tables_spcr(&tables, &(struct vacpi_console){ .baud = good[i] });
    cr_assert_eq(tables.error.code, 0);

    vacpi_tables_spcr(&tables, &(struct vacpi_console){ .baud = 38400 });

    fails_with("38400 baud");
}

Test(tables, a_dbg2_compiles_the_same)
{
    vacpi_tables_dbg2(&tables, &(struct vacpi_console){
                                   .kind = VACPI_UART_PL011,
                                   .base = { VACPI_SPACE_MEMORY, 32, VACPI_DWORD_ACC, 0x9000000 },
                                   .size = 0x1000,
                                   .path = "\\_SB.COM0",
                               });

    HOLDS(text_of("DBG2"), "Port Type : 8000", "Port Subtype : 0003", "Address Size : 00001000",
          "Namepath : \"\\_SB.COM0\"", "Address : 0000000009000000");
}

Test(tables, a_dbg2_without_a_device_names_a_dot)
{
    char path[300];

    vacpi_tables_dbg2(&tables, &(struct vacpi_console){ .base = { .bits = 8 } });
    HOLDS(text_of("DBG2"), "Namepath : \".\"");

    memset(path, 'A', sizeof(path));
    path[sizeof(path) - 1] = 0;
    vacpi_tables_dbg2(&tables, &(struct vacpi_console){ .path = path });
    fails_with("path of 299 bytes");
}

Test(tables, after_an_error_nothing_is_added)
{
    vacpi_tables_raw(&tables, "wrong", 1, "", 0);
    vacpi_tables_fadt(&tables, &reduced);
    vacpi_tables_facs(&tables, 0);
    vacpi_tables_madt(&tables, &(struct vacpi_madt){ 0 });
    vacpi_tables_mcfg(&tables, NULL, 0);
    vacpi_tables_srat(&tables, NULL, 0);
    vacpi_tables_slit(&tables, NULL, 0);
    vacpi_tables_gtdt(&tables, &(struct vacpi_gtdt){ 0 });
    vacpi_tables_spcr(&tables, &(struct vacpi_console){ 0 });
    vacpi_tables_dbg2(&tables, &(struct vacpi_console){ 0 });
    cr_assert_eq(tables.count, 0);

    fails_with("'wrong'");
}
