/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Items that choose the object of an option. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pick.h"

static const struct vmm_option_pick picks[] = { { .item = "num=1" },
                                                { .item = "num=2", .path = "second" },
                                                { .item = "hardware=console", .path = "console" },
                                                { .item = "type=sink",
                                                  .instead = "mode=null_and_longer" },
                                                { .item = "type=unix", .why = "it would connect" },
                                                { .item = "stdin=", .why = "leave it out" },
                                                { 0 } };
static const struct vmm_option option = { .name = "port", .path = "first", .picks = picks };
static const char *path;
static char *rest;

static int pick(const char *text)
{
    free(rest);
    rest = NULL;
    path = NULL;
    return vmm_config_pick(&option, "--port", text, &path, &rest);
}

static void end(void)
{
    free(rest);
    rest = NULL;
}

TestSuite(pick, .fini = end);

Test(pick, text_without_such_items_stays_as_it_is)
{
    cr_assert_eq(pick("tty,a=b,number=2"), 0);

    cr_assert_str_eq(path, "first");
    cr_assert_str_eq(rest, "tty,a=b,number=2");
}

Test(pick, item_is_taken_out_wherever_it_stands)
{
    static const char *const texts[] = { "num=2,tty,a=b", "tty,num=2,a=b", "tty,a=b,num=2" };

    for (size_t i = 0; i < VM_ARRAY_SIZE(texts); i++) {
        cr_assert_eq(pick(texts[i]), 0);
        cr_assert_str_eq(path, "second");
        cr_assert_str_eq(rest, "tty,a=b");
    }
}

Test(pick, item_of_the_first_place_goes_with_any_other)
{
    cr_assert_eq(pick("hardware=console,num=1"), 0);

    cr_assert_str_eq(path, "console");
    cr_assert_str_eq(rest, "");
}

Test(pick, quoted_commas_end_no_item)
{
    cr_assert_eq(pick("file=\"a,num=2\""), 0);

    cr_assert_str_eq(path, "first");
    cr_assert_str_eq(rest, "file=\"a,num=2\"");
}

Test(pick, two_places_are_refused)
{
    cr_assert_eq(pick("num=2,hardware=console"), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "--port: num=2 with hardware=console: each is a place of its "
                                      "own: leave one of them out");
}

Test(pick, number_that_there_is_not_is_told_the_range)
{
    cr_assert_eq(pick("num=3"), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "--port: num=3: it is num=1 to num=2");
}

Test(pick, word_of_another_program_becomes_ours)
{
    cr_assert_eq(pick("type=sink,num=2,a=b,type=sink"), 0);

    cr_assert_str_eq(path, "second");
    cr_assert_str_eq(rest, "mode=null_and_longer,a=b,mode=null_and_longer");
}

Test(pick, word_that_means_what_there_is_not_is_refused_with_what_to_do)
{
    static const char *const texts[] = { "a=b,stdin", "stdin=true,a=b", "stdin=" };

    for (size_t i = 0; i < VM_ARRAY_SIZE(texts); i++) {
        cr_assert_eq(pick(texts[i]), -EINVAL, "%s", texts[i]);
        cr_assert_not_null(strstr(vm_error_text(), ": leave it out"));
    }
    cr_assert_eq(pick("type=unix"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "--port: type=unix: it would connect");
    cr_assert_eq(pick("type=unixes,stdinx=1,std"), 0);
    cr_assert_str_eq(rest, "type=unixes,stdinx=1,std");
}

Test(pick, what_stands_in_brackets_is_the_keys_own)
{
    cr_assert_eq(pick("also=[[a=b,num=2,stdin=on],[c]],num=1"), 0);

    cr_assert_str_eq(path, "first");
    cr_assert_str_eq(rest, "also=[[a=b,num=2,stdin=on],[c]]");
}
