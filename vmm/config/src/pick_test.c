/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Items that choose the object of an option. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pick.h"

static const struct vmm_option_pick picks[] = {
    { "num=1", NULL }, { "num=2", "second" }, { "hardware=console", "console" }, { 0 }
};
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
