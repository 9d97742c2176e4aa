/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A part of a file, read from its beginning to its end and unpacked on the way. */
#ifndef VBOOT_ARM_STREAM_H
#define VBOOT_ARM_STREAM_H

#include <stdbool.h>

#include <zlib.h>
#include <zstd.h>

#include <vmm/base/file.h>

enum vboot_arm_packing { VBOOT_ARM_PLAIN, VBOOT_ARM_GZIP, VBOOT_ARM_ZSTD };

struct vboot_arm_stream {
    const struct vm_file *file; /* borrowed */
    enum vboot_arm_packing packing;
    uint64_t at, end; /* what is still to be read of the file */
    uint8_t *in; /* packed bytes; [pos, len) are not used yet */
    size_t len, pos;
    bool ended; /* the packed data says so; what follows it is ignored */
    z_stream z;
    ZSTD_DStream *zstd;
};

/* [offset, offset + len) must lie in the file. -ENOMEM with text. Whatever it returns, close it. */
int vboot_arm_stream_open(struct vboot_arm_stream *s, const struct vm_file *file, uint64_t offset,
                          uint64_t len, enum vboot_arm_packing packing);
/* *ret_len is less than len at the end only. Several packed members, one behind the other, are one stream, as for gzip(1) and
 * zstd(1). -EINVAL (broken or cut off), -ENOTSUP (zstd with a window of over 128 MiB), -ENOMEM, -errno of read, with text. */
int vboot_arm_stream_read(struct vboot_arm_stream *s, void *buf, size_t len, size_t *ret_len);
void vboot_arm_stream_close(struct vboot_arm_stream *s);

#endif
