/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Library devices: what device classes this build has, and the options of each. */
#include <stdio.h>

#include <vmm/devices/classes.h>

int main(void)
{
    for (const struct vdev_class *const *cls = vdev_classes; *cls; cls++) {
        printf("%s: %s\n", (*cls)->name, (*cls)->summary);
        for (const struct vm_prop *prop = (*cls)->props; prop && prop->name; prop++)
            printf("    %-12s %s\n", prop->name, prop->help);
    }
    return 0;
}
