/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A growing text for reports; errors are sticky and told by vmm_report_print(). */
#ifndef VMM_CONTROL_REPORT_H
#define VMM_CONTROL_REPORT_H

#include <vmm/base/state.h>
#include <vmm/base/util.h>

struct report {
    struct vm_buffer text;
    int code;
};

void vmm_report_add(struct report *r, const char *format, ...) VM_PRINTF(2, 3);
/* 16 bytes a line, with offsets; lines of zeros are left out. */
void vmm_report_hex(struct report *r, const void *data, size_t len);
/* Writes it to standard output and frees it. An enum vmm_exit. */
int vmm_report_print(struct report *r);

#endif
