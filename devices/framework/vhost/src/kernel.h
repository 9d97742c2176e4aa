/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between kernel.c and kernel_memory.c. */
#ifndef VHOST_SRC_KERNEL_H
#define VHOST_SRC_KERNEL_H

#include <vmm/vhost/kernel.h>

/* As vhost_kernel_control(), without text. Any thread. */
int vhost_kernel_file_control(const struct vhost_kernel *k, unsigned file, unsigned long request,
                              void *argument);

/* All files of k know the guest's memory from now on. The space's thread, without the device's lock. 0 or -errno with text. */
struct kernel_memory;
int vhost_kernel_memory_new(struct vhost_kernel *k, unsigned files, struct gm_space *memory,
                            struct kernel_memory **ret_memory);
/* Any thread; k is not used any more. NULL is allowed. */
void vhost_kernel_memory_free(struct kernel_memory *m);

#endif
