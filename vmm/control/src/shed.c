/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that only the start needed is given back when the start is over. */
#include "shed.h"

#include <vmm/base/shed.h>

static void on_time(struct vm_timer *timer)
{
    (void)timer;
    vm_shed();
}

void vmm_shed_begin(struct shed *shed, struct vm_loop *loop)
{
    if (VM_SHED_AFTER_MS >= 0) /* without the timer it stays */
        (void)vm_timer_set(loop, &shed->timer,
                           vm_loop_now_ns(loop) + (uint64_t)VM_SHED_AFTER_MS * 1000000, on_time);
}

void vmm_shed_end(struct shed *shed)
{
    vm_timer_cancel(&shed->timer);
}
