/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the library.
 *
 *   block.c     what all back ends share
 *   raw_open.c  the raw back end: opening, and every check of it
 *   raw.c       its requests
 */
#ifndef BLOCK_PRIVATE_H
#define BLOCK_PRIVATE_H

#include <vmm/block/block.h>

enum { RAW_MEMORY_ALIGN = 4096, RAW_BOUNCE_BYTES = 128 * 1024 };

struct vblock_raw {
    struct vblock disk;
    int fd;
    bool device; /* a block device */
    bool no_zero_range; /* the file system said so */
    int now_flags; /* of preadv2(2), for a read that does not wait */
    uint32_t memory_align; /* direct: of each buffer */
    uint8_t *bounce; /* direct: for buffers that are not aligned; else NULL */
};

extern const struct vblock_ops vblock_raw_ops, vblock_raw_dense_ops; /* dense: without discard */

int vblock_raw_open(const struct vm_env *env, const struct vblock_config *config,
                    struct vblock **ret_disk);

#endif
