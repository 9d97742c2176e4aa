/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What all block back ends share: the checks in front of them. */
#include "block_private.h"

#include <errno.h>

#include <vmm/base/check.h>

int vblock_open(const struct vm_env *env, const struct vblock_config *config,
                struct vblock **ret_disk)
{
    return vblock_raw_open(env, config, ret_disk);
}

void vblock_close(struct vblock *disk)
{
    if (disk)
        disk->ops->close(disk);
}

int vblock_read_now(struct vblock *disk, const struct vblock_req *req)
{
    const struct vblock_info *info = &disk->info;

    if (!info->read_now || !req->bytes || !vm_range_in(req->offset, req->bytes, info->bytes) ||
        (req->offset | req->bytes) & (info->block_bytes - 1))
        return -EAGAIN;
    return disk->ops->read_now(disk, req);
}

int vblock_submit(struct vblock *disk, struct vblock_req *req)
{
    const struct vblock_info *info = &disk->info;

    if (req->op == VBLOCK_FLUSH)
        return disk->ops->submit[VBLOCK_FLUSH](disk, req);
    if (info->readonly && req->op != VBLOCK_READ)
        return -EROFS;
    if (!disk->ops->submit[req->op])
        return -EOPNOTSUPP;
    if (!vm_range_in(req->offset, req->bytes, info->bytes))
        return -ERANGE;
    if ((req->offset | req->bytes) & (info->block_bytes - 1))
        return -EINVAL;
    if (!req->bytes)
        return 0;
    return disk->ops->submit[req->op](disk, req);
}
