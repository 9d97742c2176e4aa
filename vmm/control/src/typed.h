/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Options for one type of device that another program serves: --disk and --net vhost_user=on,socket=, and --fs tag=,socket=. They are rows of
 * tables only; what is made of them is the class vhost-user, as --vhost-user would have it.
 */
#ifndef VMM_CONTROL_TYPED_H
#define VMM_CONTROL_TYPED_H

#include "run_config.h"

/* The tables of --disk, --net (vmm_typed_table) and --fs, from their classes': part->props (to be freed) and part->size. Where this build has no class vhost-user
 * a disk's or network device's table is its class's, and there is no --fs. 0 or -ENOMEM. */
int vmm_typed_table(struct run_part *part);
int vmm_typed_fs_table(struct run_part *part);

/* What an element of such a list says, for a machine: its class, and a configuration; *ret_made is to be freed (NULL: the
 * element itself is the configuration), and borrows the element's text. -EINVAL with text: words that contradict each other; -ENOMEM. */
struct typed_device {
    const struct vdev_class *cls;
    const void *config;
};
int vmm_typed(const struct run_part *part, const void *element, struct typed_device *ret_device,
              void **ret_made);
int vmm_typed_fs(const struct run_part *part, const void *element, struct typed_device *ret_device,
                 void **ret_made);

#endif
