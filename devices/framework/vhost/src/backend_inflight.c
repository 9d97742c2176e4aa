/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The log of requests in flight ("Inflight I/O tracking"; vmm/virtio-queue/inflight.h): memory that the front end keeps, so that the
 * next back end finishes what this one had taken. We make it (GET_INFLIGHT_FD), and get it back with each session (SET_INFLIGHT_FD).
 */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/virtio-queue/inflight.h>

enum { VERSION_AT = 8 }; /* in a queue's region, 16 bits; 0: nothing was logged yet */

static bool is_packed(const struct vhost_backend *b)
{
    return b->features & VQ_F_RING_PACKED;
}

static int check(const struct vhost_backend *b, const struct vhost_inflight *i, const char *what)
{
    if (!i->queues || i->queues > b->dev->queues || !i->queue_size || i->queue_size > VQ_SIZE_MAX)
        return vm_fail(-EINVAL, "%s: %u queues of %u", what, i->queues, i->queue_size);
    return 0;
}

static int make_file(size_t bytes)
{
    int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

    if (fd < 0)
        return vm_fail_errno("GET_INFLIGHT_FD: memfd");
    /* Not ftruncate(2): a jailed process has none, for memory of the guest's may be a file that cannot be sealed. */
    if (!fallocate(fd, 0, 0, (off_t)bytes) &&
        !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return fd;
    rc = vm_fail_errno("GET_INFLIGHT_FD: memfd");
    vm_close(&fd);
    return rc;
}

int vhost_backend_get_inflight(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_inflight *i = &m->payload.inflight;
    struct vhost_message reply = { .request = m->request,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = m->size };
    int rc = check(b, i, "GET_INFLIGHT_FD"), fd;
    size_t bytes;

    if (rc)
        return rc;
    bytes = i->queues * vq_inflight_bytes(i->queue_size, is_packed(b));
    fd = make_file(bytes);
    if (fd < 0)
        return fd;
    reply.payload.inflight = (struct vhost_inflight){ .mmap_size = bytes,
                                                      .queues = i->queues,
                                                      .queue_size = i->queue_size };
    reply.fd[reply.fds++] = fd;
    (void)vhost_channel_send(b->channel, &reply);
    vm_close(&fd);
    return 0;
}

void vhost_backend_inflight_drop(struct vhost_backend *b)
{
    if (!b->inflight)
        return;
    vhost_backend_lock(b);
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        /* Left as it is, for the next back end: a queue's reset would write into it that it is over. */
        if (b->dev->queue[n].started)
            vq_stop(&b->dev->queue[n]);
        (void)vq_set_inflight(&b->dev->queue[n], NULL, 0);
    }
    vhost_backend_unlock(b);
    munmap(b->inflight, b->inflight_bytes);
    b->inflight = NULL;
}

int vhost_backend_set_inflight(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_inflight *i = &m->payload.inflight;
    size_t step = 0;
    void *map;
    int rc = check(b, i, "SET_INFLIGHT_FD");

    if (!rc && vhost_backend_rings_active(b))
        rc = vm_fail(-EBUSY, "SET_INFLIGHT_FD: rings run");
    if (!rc) {
        step = vq_inflight_bytes(i->queue_size, is_packed(b));
        if (i->mmap_size < i->queues * step || i->mmap_offset & (GM_PAGE_BYTES - 1))
            rc = vm_fail(-EINVAL, "SET_INFLIGHT_FD: %llu bytes at %#llx for %u queues of %u",
                         (unsigned long long)i->mmap_size, (unsigned long long)i->mmap_offset,
                         i->queues, i->queue_size);
    }
    if (!rc)
        rc = vhost_backend_check_file(m->fd[0], "SET_INFLIGHT_FD", i->mmap_offset, i->mmap_size);
    if (rc)
        return rc;
    map = mmap(NULL, i->mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[0],
               (off_t)i->mmap_offset);
    if (map == MAP_FAILED)
        return vm_fail_errno("SET_INFLIGHT_FD: mmap");
    vhost_backend_inflight_drop(b);
    b->inflight = map;
    b->inflight_bytes = i->mmap_size;
    b->inflight_step = step;
    b->inflight_queues = i->queues;
    return 0;
}

static uint8_t *region_of(const struct vhost_ring *r)
{
    const struct vhost_backend *b = r->b;

    return b->inflight && r->n < b->inflight_queues ? b->inflight + r->n * b->inflight_step : NULL;
}

bool vhost_backend_inflight_begun(const struct vhost_ring *r)
{
    const uint8_t *region = region_of(r);

    return region &&
           __atomic_load_n((const uint16_t *)(const void *)(region + VERSION_AT), __ATOMIC_RELAXED);
}

int vhost_backend_inflight_use(struct vhost_ring *r)
{
    uint8_t *region = region_of(r);

    return region ? vq_set_inflight(&r->b->dev->queue[r->n], region, r->b->inflight_step) : 0;
}
