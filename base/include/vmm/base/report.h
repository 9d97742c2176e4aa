/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A growing text for reports. Errors are sticky: after the first one every call does nothing, and whoever prints the text
 * looks at the code.
 *
 * Threads: a report belongs to one thread at a time. No ABI is promised before 1.0.
 */
#ifndef VMM_BASE_REPORT_H
#define VMM_BASE_REPORT_H

#include <vmm/base/state.h>
#include <vmm/base/util.h>

/* Zero it to begin; vm_report_free() at the end. */
struct vm_report {
    struct vm_buffer text; /* without a terminating zero */
    int code; /* 0, or -ENOMEM */
};

void vm_report_add(struct vm_report *report, const char *format, ...) VM_PRINTF(2, 3);
/* In double quotes, on one line whatever it holds: quotes, backslashes and control characters as \xNN. */
void vm_report_string(struct vm_report *report, const char *text, size_t len);
/* Rows of 16 bytes, "0010: 01 02 ...", each behind that many blanks; rows of zeros are left out. */
void vm_report_hex(struct vm_report *report, unsigned indent, const void *data, size_t len);
void vm_report_free(struct vm_report *report);

#endif
