/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Errors: a call returns 0 or a negative errno value, and leaves one line of text for people in the
 * calling thread: what failed, with which value, why, how to mend it.
 *
 * Order: vm_fail() or vm_fail_errno() where it goes wrong, at most one vm_wrap() per layer above,
 * vm_error_text() where it is told. Who hands an error to another thread, job or process copies it
 * with vm_error_save(). Data paths that a guest can repeat return the code only.
 *
 * Threads: the text belongs to the thread; every call is thread safe.
 * ABI: none promised before 1.0 (the same holds for every header of this project).
 */
#ifndef VMM_BASE_ERROR_H
#define VMM_BASE_ERROR_H

#include <vmm/base/util.h>

#define VM_ERROR_TEXT 256

/* An error that left its thread. code is 0 or negative errno; text is terminated. */
struct vm_error {
    int code;
    char text[VM_ERROR_TEXT];
};

/* Sets the thread's text and returns code (a negative errno; anything else becomes -EINVAL).
 * A text that does not fit ends in "...". */
int vm_fail(int code, const char *format, ...) VM_PRINTF(2, 3);

/* As vm_fail(-errno, ...), with ": <strerror>" behind the text. */
int vm_fail_errno(const char *format, ...) VM_PRINTF(1, 2);

/* Puts "<what>: " before the thread's text and returns code unchanged. */
int vm_wrap(int code, const char *format, ...) VM_PRINTF(2, 3);

/* The thread's text; "" before the first error. Borrowed until the thread's next error. */
const char *vm_error_text(void);

/* Forgets the thread's text. */
void vm_error_clear(void);

/* Copies code and the thread's text out. */
void vm_error_save(int code, struct vm_error *ret_error);

/* Makes a saved error the thread's own and returns its code. */
int vm_error_restore(const struct vm_error *error);

#endif
