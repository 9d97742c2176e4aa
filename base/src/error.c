/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Error codes with a text for people, one text per thread. See vmm/base/error.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

#include "text.h"

static _Thread_local char thread_text[VM_ERROR_TEXT];

static int negative(int code)
{
    return code < 0 ? code : -EINVAL;
}

/* Built apart and copied at the end: the arguments may point into the text that is replaced. */
static void set_text(const char *text)
{
    memcpy(thread_text, text, strlen(text) + 1);
}

int vm_fail(int code, const char *format, ...)
{
    int saved = errno;
    char text[VM_ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vm_text_format(text, sizeof(text), format, args);
    va_end(args);
    set_text(text);
    errno = saved;
    return negative(code);
}

int vm_fail_errno(const char *format, ...)
{
    int saved = errno;
    char what[VM_ERROR_TEXT], why[128], text[VM_ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vm_text_format(what, sizeof(what), format, args);
    va_end(args);
    vm_text_print(text, sizeof(text), "%s: %s", what, strerror_r(saved, why, sizeof(why)));
    set_text(text);
    errno = saved;
    return negative(-saved);
}

int vm_wrap(int code, const char *format, ...)
{
    int saved = errno;
    char what[VM_ERROR_TEXT], text[VM_ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vm_text_format(what, sizeof(what), format, args);
    va_end(args);
    vm_text_print(text, sizeof(text), "%s: %s", what, thread_text);
    set_text(text);
    errno = saved;
    return code;
}

const char *vm_error_text(void)
{
    return thread_text;
}

void vm_error_clear(void)
{
    thread_text[0] = '\0';
}

void vm_error_save(int code, struct vm_error *ret_error)
{
    ret_error->code = code;
    memcpy(ret_error->text, thread_text, sizeof(ret_error->text));
}

int vm_error_restore(const struct vm_error *error)
{
    memcpy(thread_text, error->text, sizeof(thread_text));
    thread_text[sizeof(thread_text) - 1] = '\0';
    return error->code;
}
