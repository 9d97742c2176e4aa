/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Reports of vmm abi, and how two of them differ.
 *
 * A report is lines: the first one is ABI_FIRST, the last one ABI_LAST. A line without a blank in front begins a section; one
 * that is further to the right than another before it belongs to it. "KEY: VALUE" is a value that may change; a line without
 * ": " is there or is not. So a line is known by its keys from the section down, not by its number.
 */
#ifndef VMM_CONTROL_ABI_H
#define VMM_CONTROL_ABI_H

#include <vmm/base/report.h>

#define ABI_FIRST "vmm abi, format 2"
#define ABI_LAST  "end"

/* One line of a report with the lines it belongs to. */
struct abi_row {
    const char *path; /* "section / key / key", which no two rows of a report share */
    const char *line; /* borrowed from the text; no zero at its end */
    const char *value; /* in line; its end where the line has none */
    int len, value_len;
    unsigned order;
};
struct abi_rows {
    struct abi_row *rows; /* in the order of the text */
    const struct abi_row **by_path;
    unsigned count;
};

/* Borrows text. 0 or -ENOMEM; abi_rows_free(). */
int vmm_abi_rows_make(const char *text, size_t len, struct abi_rows *ret_rows);
void vmm_abi_rows_free(struct abi_rows *rows);
const struct abi_row *vmm_abi_rows_find(const struct abi_rows *rows, const char *path);
bool vmm_abi_rows_same(const struct abi_row *a, const struct abi_row *b);

/* Lines of text that are not in base, word for word, at the same place; appended to report. 0 or -ENOMEM. */
int vmm_abi_without(const struct vm_buffer *base, const struct vm_buffer *text,
                    struct vm_report *report);

/* Reads a report from a file. -errno with text: why it cannot be read, or is none. */
int vmm_abi_read(const char *path, struct vm_buffer *ret_text);

/* Tells the differences, one line each. An enum vmm_exit: OK, there are none; FAILED, there are. */
int vmm_abi_compare(const char *old_name, const struct vm_buffer *old_text, const char *new_name,
                    const struct vm_buffer *new_text);

#endif
