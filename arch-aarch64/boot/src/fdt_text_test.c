/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of device trees in words. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <vmm/aarch64-boot/fdt.h>
#include <vmm/acpi/fdt.h>
#include <vmm/base/error.h>

static struct vm_report r;
static struct vm_buffer blob;

static void close_all(void)
{
    vm_report_free(&r);
    vm_buffer_free(&blob);
}

TestSuite(fdt_text, .fini = close_all);

static void make(void)
{
    static const char *const two[] = { "a,b", "c" };
    static const uint32_t cells[] = { 1, 0x80000000 };
    struct vacpi_fdt fdt = { 0 };

    vacpi_fdt_begin(&fdt, "");
    vacpi_fdt_strings(&fdt, "compatible", two, 2);
    vacpi_fdt_begin(&fdt, "node@1");
    vacpi_fdt_cells(&fdt, "reg", cells, 2);
    vacpi_fdt_empty(&fdt, "flag");
    vacpi_fdt_bytes(&fdt, "mac", "\x02\x00\xff", 3);
    vacpi_fdt_begin(&fdt, "inner");
    vacpi_fdt_string(&fdt, "status", "o\"k");
    vacpi_fdt_end(&fdt);
    vacpi_fdt_end(&fdt);
    vacpi_fdt_end(&fdt);
    cr_assert_eq(vacpi_fdt_finish(&fdt, &blob), 0, "%s", vm_error_text());
}

Test(fdt_text, each_property_is_a_line)
{
    make();

    cr_assert_eq(vboot_arm_fdt_tell(blob.data, blob.len, &r), 0, "%s", vm_error_text());

    cr_assert_eq(vm_buffer_add(&r.text, "", 1), 0);
    cr_assert_str_eq((char *)r.text.data, "  / compatible: \"a,b\" \"c\"\n"
                                          "  /node@1 reg: 0x1 0x80000000\n"
                                          "  /node@1 flag: there\n"
                                          "  /node@1 mac: 02 00 ff\n"
                                          "  /node@1/inner status: \"o\\x22k\"\n");
}

Test(fdt_text, what_is_no_tree_is_refused)
{
    make();

    cr_assert_eq(vboot_arm_fdt_tell(blob.data, blob.len / 2, &r), -EINVAL);
    blob.data[0] ^= 1;
    cr_assert_eq(vboot_arm_fdt_tell(blob.data, blob.len, &r), -EINVAL);
    cr_assert(strstr(vm_error_text(), "device tree: "), "%s", vm_error_text());
}
