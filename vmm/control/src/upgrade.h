/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The file of another program for a device's process. */
#ifndef VMM_CONTROL_UPGRADE_H
#define VMM_CONTROL_UPGRADE_H

/* Opens an ELF file by its absolute path, without waiting. The fd (CLOEXEC) is the caller's. -EINVAL, -EACCES, -ENOEXEC or -errno with text. */
int vmm_upgrade_open(const char *path);

#endif
