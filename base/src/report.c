/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A growing text for reports. */
#include <vmm/base/report.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 512, HEX_ROW = 16 };

/* What does not fit into a line of usual length. */
static int add_long(struct vm_report *r, size_t len, const char *format, va_list args)
{
    char *text = malloc(len + 1);
    int rc;

    if (!text)
        return -ENOMEM;
    vsnprintf(text, len + 1, format, args);
    rc = vm_buffer_add(&r->text, text, len);
    free(text);
    return rc;
}

void vm_report_add(struct vm_report *r, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args, again;
    int n;

    if (r->code)
        return;
    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(line, sizeof(line), format, args);
    if (n >= LINE_BYTES)
        r->code = add_long(r, (size_t)n, format, again);
    else
        r->code = vm_buffer_add(&r->text, line, n > 0 ? (size_t)n : 0);
    va_end(again);
    va_end(args);
}

void vm_report_string(struct vm_report *r, const char *text, size_t len)
{
    vm_report_add(r, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
            vm_report_add(r, "\\x%02x", c);
        else
            vm_report_add(r, "%c", c);
    }
    vm_report_add(r, "\"");
}

void vm_report_hex(struct vm_report *r, unsigned indent, const void *data, size_t len)
{
    static const uint8_t zeros[HEX_ROW];
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i += HEX_ROW) {
        size_t n = len - i < HEX_ROW ? len - i : HEX_ROW;

        if (!memcmp(at + i, zeros, n))
            continue;
        vm_report_add(r, "%*s%04zx:", (int)indent, "", i);
        for (size_t j = 0; j < n; j++)
            vm_report_add(r, " %02x", at[i + j]);
        vm_report_add(r, "\n");
    }
}

void vm_report_free(struct vm_report *r)
{
    vm_buffer_free(&r->text);
    r->code = 0;
}
