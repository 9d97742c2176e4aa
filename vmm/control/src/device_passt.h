/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who starts passt for a network device (mode=user, vmm/machine/passt.h), where vmm device was started by hand. */
#ifndef VMM_CONTROL_DEVICE_PASST_H
#define VMM_CONTROL_DEVICE_PASST_H

#include <stdbool.h>

#include <vmm/base/env.h>

/* Forks who starts it, now and again, until nobody has the fd any more. The device's end of the socket, or -errno with text. */
int vmm_device_passt(const char *id, const char *text, enum vm_level log_level);

#endif
