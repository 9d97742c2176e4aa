/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Resource descriptors, as iasl reads them. */
#include <errno.h>

#include "acpica_test.h"

static struct vacpi_aml aml;

static void begin(void)
{
    memset(&aml, 0, sizeof(aml));
    vacpi_aml_name(&aml, "_CRS");
    vacpi_aml_template(&aml);
}

static void clean(void)
{
    vacpi_aml_free(&aml);
}

TestSuite(resource, .init = begin, .fini = clean);

static char *finish(void)
{
    vacpi_aml_end(&aml);
    return check_aml(&aml, NULL, NULL);
}

static void fails_with(const char *text)
{
    struct vm_buffer out = { 0 };

    vacpi_aml_end(&aml);
    cr_assert_eq(vacpi_aml_finish(&aml, &out), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
}

Test(resource, an_empty_template_is_an_end_tag)
{
    HOLDS(finish(), "Buffer (0x02)", "0x79, 0x00 ");
}

Test(resource, fixed_memory_tells_address_and_rights)
{
    vacpi_res_memory32_fixed(&aml, true, 0xfed00000, 0x1000);
    vacpi_res_memory32_fixed(&aml, false, 0xfee00000, 0x200);

    HOLDS(finish(), "Memory32Fixed (ReadWrite,\n            0xFED00000,",
          "Memory32Fixed (ReadOnly,", "0x00001000,", "0xFEE00000,", "0x00000200,");
}

Test(resource, ports_decode_16_bits)
{
    vacpi_res_io(&aml, 0x3f8, 0x3f0, 4, 8);

    HOLDS(finish(), "IO (Decode16,", "0x03F8,", "0x03F0,", "0x04,", "0x08,");
}

Test(resource, an_isa_irq_has_mode_polarity_and_sharing)
{
    vacpi_res_irq(&aml, VACPI_IRQ_EDGE, 4);
    vacpi_res_irq(&aml, VACPI_IRQ_LEVEL | VACPI_IRQ_LOW | VACPI_IRQ_SHARED, 15);
    vacpi_res_irq(&aml, VACPI_IRQ_LEVEL | VACPI_IRQ_LOW | VACPI_IRQ_SHARED | VACPI_IRQ_WAKE, 0);

    HOLDS(finish(), "IRQ (Edge, ActiveHigh, Exclusive, )\n            {4}",
          "IRQ (Level, ActiveLow, Shared, )\n            {15}",
          "IRQ (Level, ActiveLow, SharedAndWake, )\n            {0}");
}

Test(resource, an_interrupt_has_mode_polarity_and_sharing)
{
    static const uint32_t gsis[] = { 16, 0x12345 };

    vacpi_res_interrupt(&aml, VACPI_IRQ_EDGE, gsis, 1);
    vacpi_res_interrupt(&aml, VACPI_IRQ_LEVEL | VACPI_IRQ_LOW | VACPI_IRQ_SHARED, gsis, 2);
    vacpi_res_interrupt(&aml, VACPI_IRQ_EDGE | VACPI_IRQ_WAKE, gsis, 1);

    HOLDS(finish(), "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )",
          "Interrupt (ResourceConsumer, Level, ActiveLow, Shared, ,, )",
          "Interrupt (ResourceConsumer, Edge, ActiveHigh, ExclusiveAndWake, ,, )", "0x00000010,",
          "0x00012345,");
}

Test(resource, bus_numbers_are_words)
{
    vacpi_res_address(&aml, &(struct vacpi_address){
                                .type = VACPI_BUS_NUMBER,
                                .min = 0,
                                .max = 0xff,
                            });

    HOLDS(finish(), "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,",
          "0x00FF,             // Range Maximum", "0x0100,             // Length");
}

Test(resource, memory_is_as_wide_as_its_addresses)
{
    vacpi_res_address(&aml, &(struct vacpi_address){ .min = 0xc0000000, .max = 0xfebfffff });
    vacpi_res_address(&aml, &(struct vacpi_address){
                                .caching = VACPI_PREFETCHABLE,
                                .min = 0x100000000,
                                .max = 0x1ffffffff,
                            });
    vacpi_res_address(&aml, &(struct vacpi_address){
                                .bytes = 8,
                                .consumer = true,
                                .read_only = true,
                                .caching = VACPI_CACHED,
                                .min = 0x1000,
                                .max = 0x1fff,
                            });
    vacpi_res_address(&aml, &(struct vacpi_address){ .min = 0, .max = UINT32_MAX });

    HOLDS(finish(),
          "DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,",
          "0x3EC00000,         // Length",
          "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Prefetchable, ReadWrite,",
          "0x00000001FFFFFFFF, // Range Maximum",
          "QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadOnly,",
          "0x0000000100000000, // Length");
}

Test(resource, ports_of_a_window_may_be_memory_before_the_bridge)
{
    vacpi_res_address(&aml, &(struct vacpi_address){ .type = VACPI_IO, .max = 0xcf7 });
    vacpi_res_address(&aml, &(struct vacpi_address){
                                .type = VACPI_IO,
                                .translates_type = true,
                                .max = 0xffff,
                                .translation = 0x3eff0000,
                            });
    vacpi_res_address(&aml, &(struct vacpi_address){
                                .type = VACPI_IO,
                                .max = 0xffff,
                                .translation = 0x100000000,
                            });

    HOLDS(finish(), "WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,",
          "DWordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,",
          "0x3EFF0000,         // Translation Offset", "TypeTranslation",
          "QWordIO (ResourceProducer,", "0x0000000100000000, // Translation Offset");
}

Test(resource, what_does_not_fit_is_refused)
{
    vacpi_res_address(&aml, &(struct vacpi_address){ .min = 2, .max = 1 });
    fails_with("empty");

    begin();
    vacpi_res_address(&aml, &(struct vacpi_address){ .min = 0, .max = UINT64_MAX });
    fails_with("too long");

    begin();
    vacpi_res_address(&aml, &(struct vacpi_address){ .bytes = 4, .max = 0x100000000 });
    fails_with("does not fit 4 bytes");

    begin();
    vacpi_res_address(&aml, &(struct vacpi_address){ .bytes = 5, .max = 1 });
    fails_with("of 5 bytes");

    begin();
    vacpi_res_irq(&aml, 0, 16);
    fails_with("IRQ 16");

    begin();
    vacpi_res_interrupt(&aml, 0, NULL, 0);
    fails_with("0 interrupts");
}

Test(resource, a_descriptor_stands_only_in_a_template)
{
    vacpi_aml_end(&aml);

    vacpi_res_io(&aml, 1, 1, 1, 1);

    fails_with("outside a resource template");
}

Test(resource, after_an_error_nothing_is_added)
{
    const uint32_t gsi = 1;
    size_t len;

    vacpi_aml_fail(&aml, -EINVAL, "first");
    len = aml.out.len;
    vacpi_res_io(&aml, 1, 1, 1, 1);
    vacpi_res_irq(&aml, 0, 1);
    vacpi_res_interrupt(&aml, 0, &gsi, 1);
    vacpi_res_memory32_fixed(&aml, true, 0, 1);
    vacpi_res_address(&aml, &(struct vacpi_address){ .max = 1 });

    cr_assert_eq(aml.out.len, len);
    fails_with("first");
}
