/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A growing text for reports. */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>

#include <vmm/base/error.h>

#include "commands.h"

enum { LINE_BYTES = 512, HEX_ROW = 16 };

void vmm_report_add(struct report *r, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    if (!r->code)
        r->code = vm_buffer_add(&r->text, line, (size_t)n);
}

void vmm_report_hex(struct report *r, const void *data, size_t len)
{
    static const uint8_t zeros[HEX_ROW];
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i += HEX_ROW) {
        size_t n = len - i < HEX_ROW ? len - i : HEX_ROW;

        if (!memcmp(at + i, zeros, n))
            continue;
        vmm_report_add(r, "    %04zx:", i);
        for (size_t j = 0; j < n; j++)
            vmm_report_add(r, " %02x", at[i + j]);
        vmm_report_add(r, "\n");
    }
}

int vmm_report_print(struct report *r)
{
    int code;

    if (r->code)
        vm_fail(r->code, "report: out of memory");
    code = r->code ? vmm_command_fail(r->code)
                   : vmm_command_print((const char *)r->text.data, r->text.len);
    vm_buffer_free(&r->text);
    return code;
}
