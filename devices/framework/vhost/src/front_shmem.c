/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared memory that the back end fills (GET_SHMEM_CONFIG; SHMEM_MAP and SHMEM_UNMAP of its own requests): regions of the virtio
 * device (vmm/virtio/shm.h), as large as the first back end says, and as large with each that comes. They are empty again when the
 * driver resets the device or the connection ends.
 */
#include "front.h"

#include <errno.h>
#include <string.h>

#include <vmm/virtio/shm.h>

enum { FLAG_WRITABLE = 1 }; /* "MMAP request", flags */

/* Sizes that the payload does not reach are 0. */
static int check_config(const struct vhost_shmem_config *untrusted)
{
    unsigned there = 0;

    for (unsigned id = 0; id < VHOST_SHMEM_REGIONS; id++) {
        if (untrusted->size[id] & (GM_PAGE_BYTES - 1))
            return vm_fail(-EPROTO, "GET_SHMEM_CONFIG: region %u of %#llx bytes: not whole pages",
                           id, (unsigned long long)untrusted->size[id]);
        there += !!untrusted->size[id];
    }
    if (there > untrusted->count)
        return vm_fail(-EPROTO, "GET_SHMEM_CONFIG: %u regions, and it says %u", there,
                       untrusted->count);
    return 0;
}

int vhost_front_shmem_take(struct vhost_front *f, const struct vhost_message *untrusted)
{
    const struct vhost_shmem_config *c = &untrusted->payload.shmem_config;
    int rc = check_config(c);

    if (!rc)
        memcpy(f->shmem_there, c->size, sizeof(f->shmem_there));
    return rc;
}

int vhost_front_shmem_make(struct vhost_front *f)
{
    int rc = virtio_shm_offer(&f->dev, f->shmem_there, VHOST_SHMEM_REGIONS);

    return rc ? vm_wrap(rc, "the back end") : 0;
}

int vhost_front_shmem_fits(const struct vhost_front *f)
{
    for (unsigned id = 0; id < VHOST_SHMEM_REGIONS; id++)
        if (virtio_shm_size(&f->dev, id) != f->shmem_there[id])
            return vm_fail(-ENOTSUP,
                           "the back end's shared memory %u has %#llx bytes, the device's %#llx",
                           id, (unsigned long long)f->shmem_there[id],
                           (unsigned long long)virtio_shm_size(&f->dev, id));
    return 0;
}

/* A back end that does not want to know whether it worked is not left in the belief that it did. */
static int refused(struct vhost_front *f, const struct vhost_message *m, int rc)
{
    if (!rc || !(m->flags & VHOST_MESSAGE_NEED_REPLY) || !front_has(f, VHOST_PROTOCOL(REPLY_ACK)))
        return rc;
    vm_log_limited(f->env, &f->dev.complaints, VM_LOG_WARN, "%s", vm_error_text());
    return 1;
}

int vhost_front_shmem_asked(struct vhost_front *f, struct vhost_message *untrusted)
{
    const struct vhost_shmem_map *u = &untrusted->payload.shmem_map;
    const struct virtio_shm_piece piece = { .id = u->id,
                                            .writable = u->flags & FLAG_WRITABLE,
                                            .at = u->shm_offset,
                                            .bytes = u->len,
                                            .fd_offset = u->fd_offset };
    int rc;

    if (!f->made)
        rc = vm_fail(-EBUSY, "shared memory is mapped before there is a device");
    else if (untrusted->request == VHOST_USER_BACKEND_SHMEM_UNMAP)
        rc = virtio_shm_unmap(&f->dev, &piece);
    else if (u->flags & ~(uint64_t)FLAG_WRITABLE)
        rc = vm_fail(-EINVAL, "SHMEM_MAP: flags %#llx", (unsigned long long)u->flags);
    else
        rc = virtio_shm_map(&f->dev, &piece, untrusted->fd[0]);
    return refused(f, untrusted, rc);
}
