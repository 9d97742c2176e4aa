/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Reports of commands, on standard output. */
#include "report.h"

#include <vmm/base/error.h>

#include "commands.h"

int vmm_report_print(struct vm_report *r)
{
    int code;

    if (r->code)
        vm_fail(r->code, "report: out of memory");
    code = r->code ? vmm_command_fail(r->code)
                   : vmm_command_print((const char *)r->text.data, r->text.len);
    vm_report_free(r);
    return code;
}
