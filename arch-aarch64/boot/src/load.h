/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files of the kernel loader. */
#ifndef VBOOT_ARM_LOAD_H
#define VBOOT_ARM_LOAD_H

#include <vmm/aarch64-boot/kernel.h>

#include "stream.h"

enum { VBOOT_ARM_HEAD_BYTES = 4096 };

/* What the first bytes of an Image say. */
struct vboot_arm_image {
    uint64_t text_offset, image_size; /* image_size 0: it does not say */
    uint64_t file_bytes; /* what the file has at least; 0: it does not say */
    uint32_t page_bytes;
};

/* Where in a file the Image is, and how it is packed. */
struct vboot_arm_place {
    uint64_t offset, len;
    enum vboot_arm_packing packing;
};

/* Reads the header of an Image; head has len bytes of its beginning. -ENOEXEC, -EINVAL with text. */
int vboot_arm_image_parse(const char *name, const uint8_t *head, size_t len,
                          struct vboot_arm_image *ret_image);
/* -ENOEXEC, -EINVAL, -ENOTSUP, -errno of read, with text. */
int vboot_arm_image_find(const struct vm_file *file, struct vboot_arm_place *ret_place);

#endif
