/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of another architecture run in QEMU's user-mode emulator (tests/arm/run.sh), which answers some system calls by
 * itself. A test that needs the kernel's own answer says so. */
#ifndef VMM_TESTS_EMULATED_H
#define VMM_TESTS_EMULATED_H

#include <criterion/criterion.h>
#include <stdlib.h>

/* Skips the test in the emulator: what of the kernel is not there. */
static inline void skip_in_emulator(const char *what)
{
    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has no %s", what);
}

#endif
