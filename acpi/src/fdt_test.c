/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Device trees, as dtc reads them. */
#include <errno.h>

#include <vmm/acpi/fdt.h>

#include "acpica_test.h"

static struct vacpi_fdt fdt;

static void clean(void)
{
    vacpi_fdt_free(&fdt);
}

TestSuite(fdt, .fini = clean);

/* Ends the tree. dtc may have nothing to warn of; gives the source. */
static char *finish(void)
{
    struct vm_buffer blob = { 0 };
    struct tool_dir dir;
    size_t len, text_len;
    char *text, *warnings;

    cr_assert_eq(vacpi_fdt_finish(&fdt, &blob), 0, "%s", vm_error_text());
    tool_open(&dir);
    tool_write(&dir, "in.dtb", blob.data, blob.len);
    tool_must(&dir, "dtc -I dtb -O dts -o out.dts in.dtb 2>text");
    warnings = tool_read(&dir, "text", &len);
    text = tool_read(&dir, "out.dts", &text_len);
    tool_close(&dir);
    cr_assert_eq(len, 0, "%s", warnings);
    free(warnings);
    vm_buffer_free(&blob);
    return text;
}

static void fails_with(int code, const char *text)
{
    struct vm_buffer blob = { 0 };

    cr_assert_eq(vacpi_fdt_finish(&fdt, &blob), code);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_null(blob.data);
    cr_assert_null(fdt.blob, "the builder is zeroed");
}

static void begin_root(void)
{
    vacpi_fdt_begin(&fdt, "");
    vacpi_fdt_u32(&fdt, "#address-cells", 2);
    vacpi_fdt_u32(&fdt, "#size-cells", 2);
}

Test(fdt, a_tree_has_every_kind_of_property)
{
    static const char *const texts[] = { "arm,pl011", "arm,primecell" };
    static const uint32_t cells[] = { 0, 1, 0xffffffff };
    static const struct vacpi_fdt_range ranges[] = { { 0x9000000, 0x1000 }, { 1ULL << 36, 2 } };

    vacpi_fdt_reserve(&fdt, 0x80000000, 0x1000);
    begin_root();
    vacpi_fdt_begin_at(&fdt, "serial", 0x9000000);
    vacpi_fdt_strings(&fdt, "compatible", texts, 2);
    vacpi_fdt_regs(&fdt, ranges, 2);
    vacpi_fdt_cells(&fdt, "x-cells", cells, 3);
    vacpi_fdt_u64(&fdt, "x-long", 0x123456789abcdef0);
    vacpi_fdt_bytes(&fdt, "x-bytes", "\1\2\3", 3);
    vacpi_fdt_empty(&fdt, "x-empty");
    vacpi_fdt_string(&fdt, "x-text", "a text");
    vacpi_fdt_end(&fdt);
    vacpi_fdt_begin_at(&fdt, "memory", 0x40000000);
    vacpi_fdt_string(&fdt, "device_type", "memory");
    vacpi_fdt_reg(&fdt, 0x40000000, 0x80000000);
    vacpi_fdt_end(&fdt);
    vacpi_fdt_end(&fdt);

    HOLDS(finish(), "/memreserve/\t0x0000000080000000 0x0000000000001000", "serial@9000000 {",
          "compatible = \"arm,pl011\\0arm,primecell\"",
          "reg = <0x00 0x9000000 0x00 0x1000 0x10 0x00 0x00 0x02>",
          "x-cells = <0x00 0x01 0xffffffff>", "x-long = <0x12345678 0x9abcdef0>",
          "x-bytes = [01 02 03]", "x-empty;", "x-text = \"a text\"", "memory@40000000 {");
}

Test(fdt, a_phandle_may_be_used_before_it_is_given)
{
    uint32_t first = vacpi_fdt_phandle_new(&fdt);
    uint32_t gic = vacpi_fdt_phandle_new(&fdt);

    begin_root();
    vacpi_fdt_u32(&fdt, "interrupt-parent", gic);
    vacpi_fdt_begin(&fdt, "interrupt-controller");
    vacpi_fdt_u32(&fdt, "#address-cells", 2);
    vacpi_fdt_u32(&fdt, "#interrupt-cells", 3);
    vacpi_fdt_empty(&fdt, "interrupt-controller");
    vacpi_fdt_phandle(&fdt, gic);
    vacpi_fdt_end(&fdt);
    vacpi_fdt_end(&fdt);

    cr_assert_eq(first, 1);
    HOLDS(finish(), "interrupt-parent = <0x02>", "phandle = <0x02>");
}

Test(fdt, a_tree_grows_as_needed_and_ends_packed)
{
    struct vm_buffer blob = { 0 };
    static uint8_t data[100000];

    begin_root();
    vacpi_fdt_bytes(&fdt, "x-data", data, sizeof(data));
    for (unsigned i = 0; i < 2000; i++) {
        vacpi_fdt_begin_at(&fdt, "node", i);
        vacpi_fdt_reg(&fdt, i, 1);
        vacpi_fdt_end(&fdt);
    }
    vacpi_fdt_end(&fdt);
    cr_assert_eq(vacpi_fdt_finish(&fdt, &blob), 0, "%s", vm_error_text());

    cr_assert_eq((unsigned)blob.data[4] << 24 | blob.data[5] << 16 | blob.data[6] << 8 |
                     blob.data[7],
                 blob.len, "totalsize");
    cr_assert_gt(blob.len, 100000 + 2000 * 40);
    cr_assert_lt(blob.len, 100000 + 2000 * 60);
    vm_buffer_free(&blob);
}

Test(fdt, many_reserved_ranges_grow_too)
{
    for (unsigned i = 0; i < 1000; i++)
        vacpi_fdt_reserve(&fdt, i * 0x1000ull, 0x1000);
    begin_root();
    vacpi_fdt_end(&fdt);

    HOLDS(finish(), "/memreserve/\t0x00000000003e7000");
}

Test(fdt, a_tree_of_more_than_2_mib_is_refused)
{
    static uint8_t data[1 << 20];

    begin_root();
    vacpi_fdt_bytes(&fdt, "x-one", data, sizeof(data));
    vacpi_fdt_bytes(&fdt, "x-two", data, sizeof(data));
    vacpi_fdt_end(&fdt);

    fails_with(-E2BIG, "more than 2097152");
}

Test(fdt, a_property_stands_before_the_nodes)
{
    begin_root();
    vacpi_fdt_begin(&fdt, "chosen");
    vacpi_fdt_end(&fdt);
    vacpi_fdt_u32(&fdt, "late", 1);

    fails_with(-EINVAL, "'late'");
}

Test(fdt, a_node_may_have_properties_after_its_sister_has_ended)
{
    begin_root();
    vacpi_fdt_begin(&fdt, "one");
    vacpi_fdt_end(&fdt);
    vacpi_fdt_begin(&fdt, "two");
    vacpi_fdt_u32(&fdt, "x-value", 0x55);
    vacpi_fdt_end(&fdt);
    vacpi_fdt_end(&fdt);

    HOLDS(finish(), "x-value = <0x55>");
}

Test(fdt, an_order_that_cannot_be_is_refused)
{
    fails_with(-EINVAL, "no root");

    begin_root();
    fails_with(-EINVAL, "1 open nodes");

    vacpi_fdt_end(&fdt);
    fails_with(-EINVAL, "without an open node");

    vacpi_fdt_begin(&fdt, "chosen");
    fails_with(-EINVAL, "outside the root");

    begin_root();
    vacpi_fdt_end(&fdt);
    vacpi_fdt_begin(&fdt, "");
    fails_with(-EINVAL, "outside the root");

    vacpi_fdt_u32(&fdt, "x-value", 1);
    fails_with(-EINVAL, "'x-value'");

    begin_root();
    vacpi_fdt_reserve(&fdt, 0, 1);
    fails_with(-EINVAL, "before the root");

    begin_root();
    vacpi_fdt_phandle(&fdt, 1);
    fails_with(-EINVAL, "phandle 1");

    begin_root();
    vacpi_fdt_begin_at(&fdt, "a-name-of-more-than-sixty-four-letters-that-no-node-needs-to-have",
                       0);
    fails_with(-EINVAL, "too long");
}

Test(fdt, the_first_error_stays)
{
    vacpi_fdt_fail(&fdt, -EINVAL, "first %u", 1);
    vacpi_fdt_fail(&fdt, -ENOMEM, "second");
    begin_root();
    vacpi_fdt_end(&fdt);
    vacpi_fdt_reserve(&fdt, 0, 1);
    vacpi_fdt_strings(&fdt, "x", NULL, 0);

    fails_with(-EINVAL, "first 1");
}
