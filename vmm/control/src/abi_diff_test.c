/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the rows of reports; vmm abi diff itself is tested in tests/cli. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"

static struct abi_rows rows;
static struct vm_report r;

static void close_all(void)
{
    vmm_abi_rows_free(&rows);
    vm_report_free(&r);
}

TestSuite(abi_rows, .fini = close_all);

static void make(const char *text)
{
    cr_assert_eq(vmm_abi_rows_make(text, strlen(text), &rows), 0);
}

static const char *value_of(const char *path)
{
    static char text[64];
    const struct abi_row *row = vmm_abi_rows_find(&rows, path);

    snprintf(text, sizeof(text), "%.*s", row ? row->value_len : 4, row ? row->value : "none");
    return text;
}

Test(abi_rows, a_row_is_known_by_the_rows_it_belongs_to)
{
    make(
        "pci\n  0000:00:01.0 disk\n    0000: 01\n   writable\n    0000: 02\nvcpu 0\n  0000: 3 4\n");

    cr_assert_eq(rows.count, 7);
    cr_assert_str_eq(value_of("pci / 0000:00:01.0 disk / 0000"), "01");
    cr_assert_str_eq(value_of("pci / 0000:00:01.0 disk / writable / 0000"), "02");
    cr_assert_str_eq(value_of("vcpu 0 / 0000"), "3 4");
    cr_assert_str_eq(value_of("vcpu 0 / 0001"), "none");
}

Test(abi_rows, a_row_may_have_no_value)
{
    make("memory\n  0x0 + 0x1000 RAM\n  key:\nend");

    cr_assert_str_eq(value_of("memory / 0x0 + 0x1000 RAM"), "");
    cr_assert_str_eq(value_of("memory / key"), "");
    cr_assert_str_eq(value_of("end"), "");
}

Test(abi_rows, doubles_are_numbered)
{
    make("acpi\n  SSDT: 1\n  SSDT: 2\n  FACP: 9\n  SSDT: 3\n");

    cr_assert_str_eq(value_of("acpi / SSDT"), "1");
    cr_assert_str_eq(value_of("acpi / SSDT (2)"), "2");
    cr_assert_str_eq(value_of("acpi / SSDT (3)"), "3");
}

Test(abi_rows, nothing_has_no_rows)
{
    make("");

    cr_assert_eq(rows.count, 0);
    cr_assert_null(vmm_abi_rows_find(&rows, ""));
}

Test(abi_rows, what_is_the_same_is_left_out_and_what_is_missing_is_told)
{
    char old[] = "  a: 1\n  b: 2\n  c: 3\n", new[] = "  a: 1\n  b: 4\n  d: 5\n";
    const struct vm_buffer base = { (uint8_t *)old, sizeof(old) - 1, 0 };
    const struct vm_buffer text = { (uint8_t *)new, sizeof(new) - 1, 0 };

    cr_assert_eq(vmm_abi_without(&base, &text, &r), 0);

    cr_assert_eq(vm_buffer_add(&r.text, "", 1), 0);
    cr_assert_str_eq((char *)r.text.data, "  b: 4\n  d: 5\n  without c: -\n");
}
