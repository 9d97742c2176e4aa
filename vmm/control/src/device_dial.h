/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who connects for devices that dial (vmm/base/dial.h) or want passt, where vmm device was started by hand. */
#ifndef VMM_CONTROL_DEVICE_DIAL_H
#define VMM_CONTROL_DEVICE_DIAL_H

#include <vmm/base/dial.h>
#include <vmm/base/loop.h>

enum { DEVICE_DIALS_MAX = 4 };

struct device_dials {
    const char *id; /* the device's; borrowed */
    enum vm_level level; /* of who starts passt */
    struct vm_env host; /* for a device in this process: what its environment was */
    struct vm_loop *const *loop; /* its loop, once there is one */
    struct device_dial {
        struct vm_dial dial;
        struct vm_watch watch; /* in this process only */
    } row[DEVICE_DIALS_MAX];
    unsigned count;
};

static inline bool vmm_device_is_dial(unsigned how)
{
    return (how & ~(unsigned)VM_OPEN_SEQPACKET) == VM_OPEN_DIAL ||
           how == (VM_OPEN_DIAL | VM_OPEN_CONNECT);
}
/* One more: the device's end, or -errno with text. */
int vmm_device_dial(struct device_dials *dials, const char *name, unsigned how);
void vmm_device_dials_end(struct device_dials *dials);

/* The device has no process of its own: env->open also dials, in env's loop, and has passt started. All are borrowed for the device's life. */
void vmm_device_dials_here(struct device_dials *dials, const char *id, enum vm_level log_level,
                           struct vm_env *env);

#endif
