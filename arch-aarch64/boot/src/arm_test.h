/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the library's tests. */
#ifndef VBOOT_ARM_ARM_TEST_H
#define VBOOT_ARM_ARM_TEST_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* The call fails with that code and exactly that line. */
#define FAILS(call, code, text)                          \
    do {                                                 \
        vm_error_clear();                                \
        cr_assert_eq(call, code, "%s", vm_error_text()); \
        cr_assert_str_eq(vm_error_text(), text);         \
    } while (0)
#define WORKS(call) cr_assert_eq(call, 0, "%s", vm_error_text())

#endif
