/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The process's end of its control channel (vmm/machine/process.h): what a device asks of its environment goes to the VMM. */
#ifndef VMM_CONTROL_DEVICE_CHILD_H
#define VMM_CONTROL_DEVICE_CHILD_H

#include <vmm/base/loop.h>
#include <vmm/jail/stages.h>
#include <vmm/virtio/device.h>

struct device_child {
    int channel; /* -1: nobody's child */
    enum vm_level level; /* what is not worth a message */
    struct vdev *dev; /* NULL until it is made */
    bool failed; /* and the VMM knows why */
    const struct vm_env *env;
    struct vm_watch watch;
};

/* Makes env->open and env->log go through the channel. env is borrowed. */
void vmm_device_child_init(struct device_child *child, int channel, enum vm_level level,
                           struct vm_env *env);

/* The device is made: the VMM is told of its shape and of its jail, and the channel served in the loop. 0 or -errno with text. */
int vmm_device_child_ready(struct device_child *child, struct virtio_dev *dev,
                           const struct vmm_jail_result *jail);

/* It cannot be made, for code and vm_error_text(). */
void vmm_device_child_failed(struct device_child *child, int code);

#endif
