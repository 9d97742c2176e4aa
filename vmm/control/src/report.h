/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Reports of commands, on standard output. */
#ifndef VMM_CONTROL_REPORT_H
#define VMM_CONTROL_REPORT_H

#include <vmm/base/report.h>

/* Writes it to standard output and frees it; tells its error where it has one. An enum vmm_exit. */
int vmm_report_print(struct vm_report *r);

#endif
