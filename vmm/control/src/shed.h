/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vm_shed() once, a moment after the last call of vmm_shed_begin(), if the loop still runs. Threads: the loop's. */
#ifndef VMM_CONTROL_SHED_H
#define VMM_CONTROL_SHED_H

#include <vmm/base/loop.h>

struct shed {
    struct vm_timer timer;
};

void vmm_shed_begin(struct shed *shed, struct vm_loop *loop);
void vmm_shed_end(struct shed *shed);

#endif
