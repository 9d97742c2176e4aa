/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <vmm/base/error.h>

Test(error, a_failure_returns_its_code_and_leaves_its_text)
{
    int rc = vm_fail(-ENOENT, "disk %s: id %d", "a.img", 7);

    cr_assert_eq(rc, -ENOENT);
    cr_assert_str_eq(vm_error_text(), "disk a.img: id 7");
}

Test(error, a_thread_starts_without_a_text)
{
    cr_assert_str_eq(vm_error_text(), "");
}

Test(error, a_code_that_is_no_negative_errno_becomes_einval)
{
    cr_assert_eq(vm_fail(0, "x"), -EINVAL);
    cr_assert_eq(vm_fail(5, "x"), -EINVAL);
}

Test(error, the_errno_form_adds_the_systems_words_and_keeps_errno)
{
    errno = ENOSPC;

    int rc = vm_fail_errno("disk %s", "a");

    cr_assert_eq(rc, -ENOSPC);
    cr_assert_eq(errno, ENOSPC);
    cr_assert_str_eq(vm_error_text(), "disk a: No space left on device");
}

Test(error, the_errno_form_without_an_errno_is_still_an_error)
{
    errno = 0;

    cr_assert_eq(vm_fail_errno("x"), -EINVAL);
}

Test(error, a_wrap_stands_before_the_text_and_keeps_the_code)
{
    int rc = vm_wrap(vm_fail(-EIO, "read failed"), "disk %d", 3);

    cr_assert_eq(rc, -EIO);
    cr_assert_str_eq(vm_error_text(), "disk 3: read failed");
}

Test(error, the_text_may_be_an_argument_of_its_own_successor)
{
    vm_fail(-EIO, "inner");

    vm_fail(-EIO, "outer (%s)", vm_error_text());

    cr_assert_str_eq(vm_error_text(), "outer (inner)");
}

Test(error, a_text_that_does_not_fit_ends_in_dots)
{
    char big[2 * VM_ERROR_TEXT];

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    vm_fail(-EIO, "%s", big);

    cr_assert_eq(strlen(vm_error_text()), VM_ERROR_TEXT - 1);
    cr_assert_str_eq(vm_error_text() + VM_ERROR_TEXT - 5, "a...");
}

Test(error, a_text_of_exactly_the_size_is_left_whole)
{
    char big[VM_ERROR_TEXT];

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    vm_fail(-EIO, "%s", big);

    cr_assert_str_eq(vm_error_text(), big);
}

Test(error, a_wrapped_text_that_does_not_fit_ends_in_dots)
{
    char big[VM_ERROR_TEXT];

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    vm_fail(-EIO, "%s", big);
    vm_wrap(-EIO, "layer");

    cr_assert_eq(strlen(vm_error_text()), VM_ERROR_TEXT - 1);
    cr_assert_str_eq(vm_error_text() + VM_ERROR_TEXT - 4, "...");
}

Test(error, a_text_is_never_cut_inside_a_character)
{
    char big[2 * VM_ERROR_TEXT];

    /* Two bytes each, from an odd place on: the cut would fall between the two. */
    for (size_t i = 0; i + 2 < sizeof(big); i += 2)
        memcpy(big + i, "\xc3\xa9", 3);
    for (unsigned shift = 0; shift < 2; shift++) {
        vm_fail(-EIO, "%s%s", shift ? "x" : "", big);

        const char *dots = strstr(vm_error_text(), "...");
        cr_assert_not_null(dots);
        cr_assert_eq((unsigned char)dots[-1], 0xa9);
        cr_assert_eq((unsigned char)dots[-2], 0xc3);
    }
}

Test(error, control_characters_do_not_reach_the_terminal)
{
    vm_fail(-EIO, "name '%s'", "a\n\x1b[2Jb\x7f");

    cr_assert_str_eq(vm_error_text(), "name 'a??[2Jb?'");
}

Test(error, clear_forgets)
{
    vm_fail(-EIO, "x");

    vm_error_clear();

    cr_assert_str_eq(vm_error_text(), "");
}

static void *save_in_thread(void *arg)
{
    vm_error_save(vm_fail(-EBUSY, "from the thread"), arg);
    return NULL;
}

Test(error, a_saved_error_crosses_threads)
{
    struct vm_error error;
    pthread_t thread;

    vm_fail(-EIO, "mine");
    cr_assert_eq(pthread_create(&thread, NULL, save_in_thread, &error), 0);
    pthread_join(thread, NULL);

    cr_assert_str_eq(vm_error_text(), "mine", "the text belongs to its thread");
    cr_assert_eq(vm_error_restore(&error), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "from the thread");
}

Test(error, an_unterminated_saved_text_is_cut)
{
    struct vm_error error = { .code = -EIO };

    memset(error.text, 'a', sizeof(error.text));
    vm_error_restore(&error);

    cr_assert_eq(strlen(vm_error_text()), VM_ERROR_TEXT - 1);
}
