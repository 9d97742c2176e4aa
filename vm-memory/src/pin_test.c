/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of pin.c: pinned and discarded exclude each other, by name. */
#include "memory_test.h"

Test(pin, discarding_is_refused_while_pages_are_pinned)
{
    struct gm_space *space = make_space(NULL);

    cr_assert_eq(gm_pin_begin(space, "vfio0"), 0);

    cr_assert_eq(gm_discard_begin(space, "balloon0"), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "balloon0 discards guest pages, but vfio0 pins them: use "
                                      "only one of the two");
    gm_pin_end(space, "vfio0");
    cr_assert_eq(gm_discard_begin(space, "balloon0"), 0);
    gm_discard_end(space, "balloon0");
    gm_space_free(space);
}

Test(pin, pinning_is_refused_while_pages_are_discarded)
{
    struct gm_space *space = make_space(NULL);

    cr_assert_eq(gm_discard_begin(space, "mem0"), 0);

    cr_assert_eq(gm_pin_begin(space, "vfio0"), -EBUSY);
    cr_assert(strstr(vm_error_text(), "mem0 discards them"), "%s", vm_error_text());
    gm_discard_end(space, "mem0");
    cr_assert_eq(gm_pin_begin(space, "vfio0"), 0);
    gm_pin_end(space, "vfio0");
    gm_space_free(space);
}

Test(pin, the_last_of_several_opens_the_way_and_the_text_names_who_is_left)
{
    struct gm_space *space = make_space(NULL);

    cr_assert_eq(gm_pin_begin(space, "vfio0"), 0);
    cr_assert_eq(gm_pin_begin(space, "vfio0"), 0);
    cr_assert_eq(gm_pin_begin(space, "blk0"), 0);
    gm_pin_end(space, "vfio0");
    gm_pin_end(space, "vfio0");

    cr_assert_eq(gm_discard_begin(space, "balloon0"), -EBUSY);
    cr_assert(strstr(vm_error_text(), "blk0 pins"), "%s", vm_error_text());
    gm_pin_end(space, "blk0");
    cr_assert_eq(gm_discard_begin(space, "balloon0"), 0);
    gm_discard_end(space, "balloon0");
    gm_space_free(space);
}

Test(pin, an_end_without_a_begin_changes_nothing)
{
    struct gm_space *space = make_space(NULL);

    cr_assert_eq(gm_pin_begin(space, "vfio0"), 0);
    gm_pin_end(space, "other");
    gm_discard_end(space, "vfio0");

    cr_assert_eq(gm_discard_begin(space, "balloon0"), -EBUSY);
    gm_pin_end(space, "vfio0");
    gm_space_free(space);
}
