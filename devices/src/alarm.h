/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a device does when its time has come: in its loop's thread, under its lock, and not while it is quiesced. A timer
 * belongs to that thread and accesses come from vCPUs', so whoever changes what is due says so and the loop looks itself.
 */
#ifndef VMM_DEVICES_ALARM_H
#define VMM_DEVICES_ALARM_H

#include <vmm/base/loop.h>
#include <vmm/devices-core/device.h>

#define VDEV_ALARM_NEVER UINT64_MAX

struct vdev_alarm {
    struct vdev *dev;
    /* Does what is due and returns in how many ns more will be; VDEV_ALARM_NEVER: nothing. */
    uint64_t (*serve)(struct vdev *dev);
    struct vm_timer timer;
    struct vm_work work;
};

/* Zeroed before. dev is borrowed. */
void vdev_alarm_init(struct vdev_alarm *alarm, struct vdev *dev,
                     uint64_t (*serve)(struct vdev *dev));
/* serve() soon, and from then on when it says; also right for a resume. Any thread. */
void vdev_alarm_now(struct vdev_alarm *alarm);
/* Loop's thread. */
void vdev_alarm_exit(struct vdev_alarm *alarm);

#endif
