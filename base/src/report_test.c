/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of texts for reports. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/report.h>

static const char *text_of(struct vm_report *r)
{
    cr_assert_eq(vm_buffer_add(&r->text, "", 1), 0);
    return (const char *)r->text.data;
}

Test(report, a_line_of_any_length_is_whole)
{
    struct vm_report r = { 0 };
    char word[2000];

    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = 0;
    vm_report_add(&r, "%d %s.", 7, word);

    cr_assert_eq(r.code, 0);
    cr_assert_eq(r.text.len, 2 + sizeof(word) - 1 + 1);
    cr_assert_eq(strncmp(text_of(&r), "7 xxx", 5), 0);
    vm_report_free(&r);
}

Test(report, bytes_are_shown_in_rows_without_those_of_zeros)
{
    uint8_t bytes[50] = { [0] = 1, [15] = 0xff, [49] = 2 };
    struct vm_report r = { 0 };

    vm_report_hex(&r, 3, bytes, sizeof(bytes));

    cr_assert_str_eq(text_of(&r), "   0000: 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff\n"
                                  "   0030: 00 02\n");
    vm_report_free(&r);
}

Test(report, a_string_stays_on_its_line)
{
    struct vm_report r = { 0 };

    vm_report_string(&r, "a=\"1 2\"\n\\", 9);

    cr_assert_str_eq(text_of(&r), "\"a=\\x221 2\\x22\\x0a\\x5c\"");
    vm_report_free(&r);
}

Test(report, after_an_error_nothing_is_added)
{
    struct vm_report r = { .code = -ENOMEM };

    vm_report_add(&r, "text");

    cr_assert_eq(r.text.len, 0);
    cr_assert_eq(r.code, -ENOMEM);
    vm_report_free(&r);
}
