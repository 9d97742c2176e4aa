/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices as AML: by iasl, and their methods by acpiexec. */
#include <errno.h>

#include <vmm/acpi/device.h>

#include "acpica_test.h"

static struct vacpi_aml aml;

static void begin(void)
{
    memset(&aml, 0, sizeof(aml));
    vacpi_aml_scope(&aml, "\\_SB");
}

static void clean(void)
{
    vacpi_aml_free(&aml);
}

TestSuite(device, .init = begin, .fini = clean);

static char *evaluate(const char *command, const char *expected)
{
    vacpi_aml_end(&aml);
    return check_aml(&aml, command, expected);
}

static char *finish(void)
{
    return evaluate(NULL, NULL);
}

static void fails_with(const char *text)
{
    struct vm_buffer out = { 0 };

    vacpi_aml_end(&aml);
    cr_assert_eq(vacpi_aml_finish(&aml, &out), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    begin();
}

Test(device, a_serial_port_has_ports_and_an_interrupt)
{
    vacpi_aml_serial(&aml, "COM1", 3, 0x3f8, 4, VACPI_IRQ_EDGE);

    HOLDS(evaluate("evaluate \\_SB.COM1._UID", "0000000000000003"), "Device (COM1)",
          "EisaId (\"PNP0501\")", "Name (_UID, 0x03)", "IO (Decode16,", "0x03F8,",
          "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )", "0x00000004,");
}

Test(device, a_clock_may_have_no_interrupt)
{
    char *text;

    vacpi_aml_rtc(&aml, "RTC", 0x70, UINT32_MAX);
    text = finish();

    cr_assert_null(strstr(text, "Interrupt ("));
    HOLDS(text, "EisaId (\"PNP0B00\")", "0x0070,", "0x02,               // Length");
}

Test(device, a_clock_has_an_interrupt_of_its_own)
{
    vacpi_aml_rtc(&aml, "RTC", 0x70, 8);

    HOLDS(finish(), "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive", "0x00000008,");
}

Test(device, virtio_mmio_is_coherent)
{
    vacpi_aml_virtio_mmio(&aml, "VR00", 0, 0xfeb00000, 0x1000, 16, VACPI_IRQ_LEVEL);
    vacpi_aml_virtio_mmio(&aml, "VR01", 1, 0x1000000000, 0x1000, 17, VACPI_IRQ_EDGE);

    HOLDS(evaluate("evaluate \\_SB.VR01._CCA", "0000000000000001"), "\"LNRO0005\"", "_CCA, One",
          "Memory32Fixed (ReadWrite,", "0xFEB00000,", "QWordMemory (ResourceConsumer",
          "0x0000001000000000, // Range Minimum");
}

Test(device, a_power_button_is_a_control_method_device)
{
    vacpi_aml_power_button(&aml, "PWRB");

    HOLDS(finish(), "Device (PWRB)", "EisaId (\"PNP0C0C\")");
}

Test(device, reserved_memory_is_listed)
{
    static const struct vacpi_resource ecam[] = {
        { .kind = VACPI_RES_MMIO, .base = 0xb0000000, .size = 0x10000000 },
        { .kind = VACPI_RES_MMIO, .base = 0x2000000000, .size = 0x10000000 },
        { .kind = VACPI_RES_PIO, .base = 0x1000, .size = 0x100 },
    };

    vacpi_aml_reserved(&aml, "MRES", 1, ecam, VM_ARRAY_SIZE(ecam));

    HOLDS(finish(), "EisaId (\"PNP0C02\")", "0xB0000000,", "0x000000200FFFFFFF, // Range Maximum",
          "WordIO (ResourceConsumer,", "0x10FF,             // Range Maximum");
}

Test(device, a_device_may_be_hidden_and_compatible_and_open)
{
    vacpi_aml_simple_device_open(&aml, &(struct vacpi_device){
                                           .name = "DEV0",
                                           .hid = "VMMX0001",
                                           .cid = "PNP0C02",
                                           .hidden = true,
                                       });
    vacpi_aml_name_integer(&aml, "MORE", 0x77);
    vacpi_aml_end(&aml);

    HOLDS(evaluate("evaluate \\_SB.DEV0.MORE", "0000000000000077"), "\"VMMX0001\"",
          "Name (_CID, EisaId (\"PNP0C02\")", "Name (_STA, 0x0B)");
}

Test(device, resources_that_cannot_be_are_refused)
{
    static const struct {
        struct vacpi_resource r;
        const char *text;
    } cases[] = {
        { { .kind = VACPI_RES_MMIO, .base = 1 }, "empty" },
        { { .kind = VACPI_RES_MMIO, .base = UINT64_MAX, .size = 2 }, "wraps" },
        { { .kind = VACPI_RES_PIO, .base = 0xffff, .size = 2 }, "0xffff is the last" },
        { { .kind = VACPI_RES_GSI, .base = 1ULL << 32 }, "more than 32 bits" },
    };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(cases); i++) {
        vacpi_aml_reserved(&aml, "MRES", 0, &cases[i].r, 1);
        fails_with(cases[i].text);
    }
}

Test(device, processors_have_numbers_and_nodes)
{
    static const uint32_t domains[] = { 0, 1 };

    vacpi_aml_processors(&aml, 0x10, 2, domains);

    HOLDS(evaluate("evaluate \\_SB.C001._UID", "0000000000000011"), "Device (C000)",
          "Device (C001)", "\"ACPI0007\"", "Name (_PXM, One)");
}

Test(device, processors_end_at_4096)
{
    vacpi_aml_processors(&aml, 0, 4096, NULL);
    cr_assert_eq(aml.error.code, 0);

    vacpi_aml_processors(&aml, 0, 4097, NULL);

    fails_with("4097 processors");
}

Test(device, a_sleep_state_is_a_package_at_the_root)
{
    vacpi_aml_end(&aml);
    vacpi_aml_sleep_state(&aml, 5, 5);

    HOLDS(check_aml(&aml, "evaluate \\_S5", "Contains 4 Elements"), "Name (\\_S5, Package (0x04)");
}

Test(device, sleep_states_and_types_are_few)
{
    vacpi_aml_sleep_state(&aml, 2, 5);
    fails_with("S2");

    vacpi_aml_sleep_state(&aml, 5, 8);
    fails_with("type 8");
}

/* -- Generic event device -- */

Test(device, an_interrupt_notifies_its_device)
{
    static const struct vacpi_event events[] = {
        { .gsi = 5, .notify = "PWRB", .notify_value = VACPI_NOTIFY_BUTTON },
        { .gsi = 6, .notify = "OTHR", .notify_value = 0x81 },
    };

    vacpi_aml_power_button(&aml, "PWRB");
    vacpi_aml_power_button(&aml, "OTHR");
    vacpi_aml_ged(&aml, &(struct vacpi_ged){
                            .name = "GED0",
                            .irq_flags = VACPI_IRQ_EDGE,
                            .events = events,
                            .event_count = 2,
                        });

    HOLDS(evaluate("evaluate \\_SB.GED0._EVT 5", "Received a Device Notify on [PWRB]"),
          "\"ACPI0013\"", "Method (_EVT, 1, Serialized)", "0x00000005,", "0x00000006,",
          "Notify (PWRB, 0x80)", "Notify (OTHR, 0x81)");
}

Test(device, another_interrupt_does_not)
{
    static const struct vacpi_event event = { .gsi = 5, .notify = "PWRB", .notify_value = 0x80 };
    struct vacpi_image image;
    const uint8_t *dsdt;
    char *text;
    size_t len;

    vacpi_aml_power_button(&aml, "PWRB");
    vacpi_aml_ged(&aml, &(struct vacpi_ged){ .name = "GED0", .events = &event, .event_count = 1 });
    vacpi_aml_end(&aml);
    image = image_of(&aml);
    dsdt = table_of(&image, "DSDT", 0, &len);
    text = acpiexec(dsdt, len, "evaluate \\_SB.GED0._EVT 6");

    cr_assert_null(strstr(text, "Notify on"));
    free(text);
    vacpi_image_free(&image);
}

/* Memory of acpiexec is zero at first: EREG is filled by the test's own method. */
static void put_register_ged(void)
{
    static const struct vacpi_event events[] = {
        { .gsi = 9, .mask = 1, .notify = "PWRB", .notify_value = 0x80 },
        { .gsi = 9, .mask = 2, .call = "\\_SB.SCAN" },
        { .gsi = 9, .mask = 4, .notify = "OTHR", .notify_value = 0x81 },
    };

    vacpi_aml_power_button(&aml, "PWRB");
    vacpi_aml_power_button(&aml, "OTHR");
    vacpi_aml_name_integer(&aml, "SEEN", 0);
    vacpi_aml_method(&aml, "SCAN", 0, false);
    vacpi_aml_op(&aml, VACPI_INCREMENT);
    vacpi_aml_path(&aml, "SEEN");
    vacpi_aml_end(&aml);
    vacpi_aml_ged(&aml, &(struct vacpi_ged){
                            .name = "GED0",
                            .has_register = true,
                            .space = VACPI_SPACE_MEMORY,
                            .address = 0x200000,
                            .events = events,
                            .event_count = VM_ARRAY_SIZE(events),
                        });
    vacpi_aml_method(&aml, "TEST", 1, false);
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_arg(&aml, 0);
    vacpi_aml_path(&aml, "\\_SB.GED0.EVNT");
    vacpi_aml_call(&aml, "\\_SB.GED0._EVT", 1);
    vacpi_aml_integer(&aml, 9);
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_path(&aml, "SEEN");
    vacpi_aml_end(&aml);
}

Test(device, a_register_says_which_event_it_was)
{
    put_register_ged();

    HOLDS(evaluate("evaluate \\_SB.TEST 6", "Received a Device Notify on [OTHR]"),
          "OperationRegion (EREG, SystemMemory, 0x00200000, 0x04)",
          "Field (EREG, DWordAcc, NoLock, WriteAsZeros)");
}

Test(device, the_events_of_a_register_may_call_a_method)
{
    put_register_ged();

    free(evaluate("evaluate \\_SB.TEST 6", "[Integer] = 0000000000000001"));
}

Test(device, an_interrupt_of_several_events_is_listed_once)
{
    char *text;
    char *first;

    put_register_ged();
    text = finish();
    first = strstr(text, "Interrupt (ResourceConsumer");

    cr_assert_not_null(first);
    cr_assert_null(strstr(first + 1, "Interrupt (ResourceConsumer"));
    free(text);
}

Test(device, an_event_device_has_events)
{
    vacpi_aml_ged(&aml, &(struct vacpi_ged){ .name = "GED0" });

    fails_with("has no events");
}

/* -- PCI host bridge -- */

static const struct vacpi_pci_window windows[] = {
    { .type = VACPI_IO, .base = 0xd00, .size = 0xf300 },
    { .type = VACPI_MEMORY, .base = 0xc0000000, .size = 0x3ec00000 },
    { .type = VACPI_MEMORY, .prefetchable = true, .base = 0x4000000000, .size = 0x1000000000 },
};
static const struct vacpi_resource cam_ports = { .kind = VACPI_RES_PIO, .base = 0xcf8, .size = 8 };
static const struct vacpi_pci_irq irqs[] = { { 0, 0, 16 }, { 1, 3, 19 }, { 31, 2, 0x100 } };
static const struct vacpi_pci_bridge bridge = {
    .name = "PC01",
    .uid = 1,
    .segment = 2,
    .first_bus = 0x20,
    .last_bus = 0x3f,
    .windows = windows,
    .window_count = VM_ARRAY_SIZE(windows),
    .ports = &cam_ports,
    .port_count = 1,
    .irqs = irqs,
    .irq_count = VM_ARRAY_SIZE(irqs),
    .osc_control = VACPI_OSC_HOTPLUG | VACPI_OSC_PME | VACPI_OSC_AER | VACPI_OSC_CAPABILITY,
    .coherent = true,
    .has_domain = true,
    .domain = 3,
};

Test(device, a_host_bridge_tells_buses_windows_and_routing)
{
    vacpi_aml_pci_bridge(&aml, &bridge);

    HOLDS(evaluate("evaluate \\_SB.PC01._PRT", "Contains 3 Elements"), "EisaId (\"PNP0A08\")",
          "Name (_CID, EisaId (\"PNP0A03\")", "Name (_SEG, 0x02)", "Name (_BBN, 0x20)",
          "Name (_PXM, 0x03)", "Name (_CCA, One)", "0x0020,             // Length", "0x0CF8,",
          "WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,",
          "DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,",
          "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Prefetchable, ReadWrite,",
          "0x0000004FFFFFFFFF, // Range Maximum", "0x001FFFFF,", "0x0100");
}

Test(device, a_bridge_without_routing_has_no_table_of_it)
{
    char *text;

    vacpi_aml_pci_bridge_open(&aml, &(struct vacpi_pci_bridge){ .name = "PCI0", .last_bus = 255 });
    vacpi_aml_name_integer(&aml, "MORE", 1);
    vacpi_aml_end(&aml);
    text = finish();

    cr_assert_null(strstr(text, "_PRT"));
    cr_assert_null(strstr(text, "_CCA"));
    cr_assert_null(strstr(text, "_PXM"));
    HOLDS(text, "0x0100,             // Length", "Name (MORE, One)");
}

Test(device, an_io_window_with_translation_is_memory_outside)
{
    static const struct vacpi_pci_window io = {
        .type = VACPI_IO,
        .size = 0x10000,
        .translation = 0x3eff0000,
    };

    vacpi_aml_pci_bridge(&aml, &(struct vacpi_pci_bridge){
                                   .name = "PCI0",
                                   .windows = &io,
                                   .window_count = 1,
                               });

    HOLDS(finish(), "0x3EFF0000,         // Translation Offset", "TypeTranslation");
}

#define UUID  "(5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66)"
#define OTHER "(5A 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66)"

/* What _OSC answers to arguments, as acpiexec prints the buffer. */
static void osc_answers(const char *arguments, const char *answer)
{
    char command[256];

    vacpi_aml_pci_bridge(&aml, &bridge);
    snprintf(command, sizeof(command), "evaluate \\_SB.PC01._OSC %s", arguments);
    free(evaluate(command, answer));
}

Test(device, the_os_gets_the_control_that_may_be_taken)
{
    osc_answers(UUID " 1 3 (00 00 00 00 1F 00 00 00 1D 00 00 00)",
                "00 00 00 00 1F 00 00 00 1D 00 00 00");
}

Test(device, the_os_is_told_where_it_gets_less_than_it_asked)
{
    osc_answers(UUID " 1 3 (01 00 00 00 1F 00 00 00 3F 00 00 00)",
                "11 00 00 00 1F 00 00 00 1D 00 00 00");
}

Test(device, osc_refuses_a_uuid_a_revision_and_a_length_it_does_not_know)
{
    osc_answers(OTHER " 1 3 (00 00 00 00 1F 00 00 00 1D 00 00 00)", "04 00 00 00 1F");
    begin();
    osc_answers(UUID " 2 3 (00 00 00 00 1F 00 00 00 1D 00 00 00)", "08 00 00 00 1F");
    begin();
    osc_answers(UUID " 1 2 (00 00 00 00 1F 00 00 00)", "02 00 00 00 1F");
}

Test(device, a_bridge_that_cannot_be_is_refused)
{
    static const struct vacpi_pci_window empty = { .base = 1 };
    static const struct vacpi_pci_irq device = { .device = 32 };
    static const struct vacpi_pci_irq pin = { .pin = 4 };
    struct vacpi_pci_bridge b = { .name = "PCI0", .first_bus = 1 };

    vacpi_aml_pci_bridge(&aml, &b);
    fails_with("0x1 to 0");

    b = (struct vacpi_pci_bridge){ .name = "PCI0", .windows = &empty, .window_count = 1 };
    vacpi_aml_pci_bridge(&aml, &b);
    fails_with("PCI window");

    b = (struct vacpi_pci_bridge){ .name = "PCI0", .irqs = &device, .irq_count = 1 };
    vacpi_aml_pci_bridge(&aml, &b);
    fails_with("device 32");

    b.irqs = &pin;
    vacpi_aml_pci_bridge(&aml, &b);
    fails_with("pin 4");
}
