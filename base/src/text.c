/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One line of text in a buffer of fixed size. */
#include <stdio.h>
#include <string.h>

#include "text.h"

static const char more[] = "...";

/* Bytes after the first of a UTF-8 character are 10xxxxxx (RFC 3629, section 3). */
static int continues_utf8(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static void end_in_dots(char *buf, size_t size)
{
    size_t at = size - sizeof(more);

    while (at > 0 && continues_utf8(buf[at]))
        at--;
    memcpy(buf + at, more, sizeof(more));
}

static void blank_controls(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < ' ' || c == 0x7f)
            *text = '?';
    }
}

void vm_text_format(char *buf, size_t size, const char *format, va_list args)
{
    int len = vsnprintf(buf, size, format, args);

    if (len < 0)
        buf[0] =
            '\0'; /* a wide character that cannot be shown: no text is better than half of one */
    else if ((size_t)len >= size)
        end_in_dots(buf, size);
    blank_controls(buf);
}

void vm_text_print(char *buf, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vm_text_format(buf, size, format, args);
    va_end(args);
}
