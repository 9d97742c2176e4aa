/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One line of text in a buffer of fixed size: what errors and log lines have in common. Inside
 * base. */
#ifndef VMM_BASE_SRC_TEXT_H
#define VMM_BASE_SRC_TEXT_H

#include <stdarg.h>
#include <stddef.h>

#include <vmm/base/util.h>

/* Formats into buf (size at least 8). What does not fit ends in "...", never inside a UTF-8
 * sequence; control characters (a file's or a peer's bytes may hold some) become '?', so it stays
 * one line and leaves a terminal alone. */
void vm_text_format(char *buf, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
void vm_text_print(char *buf, size_t size, const char *format, ...) VM_PRINTF(3, 4);

#endif
