/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions (VIRTIO 1.2, 2.10; vmm/virtio/shm.h). */
#include "virtio_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/virtio/shm.h>

struct region {
    uint64_t size;
    gpa_t gpa;
    bool present; /* the guest has given it a place */
};

struct mapping {
    struct virtio_shm_piece piece;
    void *host;
    int slot; /* of the hypervisor; -1: none, the guest does not see it */
    bool stuck; /* a slot of it could not be removed: the memory is left to the guest */
};

struct virtio_shm {
    unsigned count, maps;
    struct mapping map[VIRTIO_SHM_MAPS];
    struct region region[];
};

/* ---- regions ---- */

int virtio_shm_offer(struct virtio_dev *dev, const uint64_t *size, unsigned count)
{
    uint64_t all = 0;

    while (count && !size[count - 1])
        count--;
    if (!count)
        return 0;
    if (count > VIRTIO_SHM_REGIONS)
        return vm_fail(-EINVAL, "%s: %u shared memory regions, at most %d can be", dev->dev.id,
                       count, VIRTIO_SHM_REGIONS);
    for (unsigned id = 0; id < count; id++)
        if (size[id] & (GM_PAGE_BYTES - 1) || !vm_add(all, size[id], &all) ||
            all > VIRTIO_SHM_BYTES)
            return vm_fail(-EINVAL, "%s: shared memory region %u of %#llx bytes", dev->dev.id, id,
                           (unsigned long long)size[id]);
    dev->shm = calloc(1, sizeof(*dev->shm) + count * sizeof(dev->shm->region[0]));
    if (!dev->shm)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    dev->shm->count = count;
    for (unsigned id = 0; id < count; id++)
        dev->shm->region[id].size = size[id];
    return 0;
}

unsigned virtio_shm_count(const struct virtio_dev *dev)
{
    return dev->shm ? dev->shm->count : 0;
}

uint64_t virtio_shm_size(const struct virtio_dev *dev, unsigned id)
{
    return id < virtio_shm_count(dev) ? dev->shm->region[id].size : 0;
}

bool virtio_shm_placed(const struct virtio_dev *dev, unsigned id, gpa_t *ret_gpa)
{
    if (!virtio_shm_size(dev, id) || !dev->shm->region[id].present)
        return false;
    *ret_gpa = dev->shm->region[id].gpa;
    return true;
}

/* ---- the guest's side of a mapping ---- */

static int show(struct virtio_dev *dev, struct mapping *map)
{
    const struct region *r = &dev->shm->region[map->piece.id];
    struct vdev_machine *m = dev->dev.machine;
    int rc;

    if (!r->present || !m->ops->memory_add)
        return 0;
    rc = m->ops->memory_add(m, r->gpa + map->piece.at, map->piece.bytes, map->host,
                            !map->piece.writable);
    if (rc < 0)
        return rc;
    map->slot = rc;
    return 0;
}

static void hide(struct virtio_dev *dev, struct mapping *map)
{
    struct vdev_machine *m = dev->dev.machine;

    if (map->slot >= 0 && m->ops->memory_del(m, map->slot)) {
        vm_log(dev->dev.env, VM_LOG_ERROR, "%s: shared memory: %s", dev->dev.id, vm_error_text());
        map->stuck = true;
    }
    map->slot = -1;
}

void virtio_shm_place(struct virtio_dev *dev, unsigned id, bool present, gpa_t gpa)
{
    struct virtio_shm *s = dev->shm;

    for (unsigned i = 0; i < s->maps; i++)
        if (s->map[i].piece.id == id)
            hide(dev, &s->map[i]);
    s->region[id].present = present;
    s->region[id].gpa = gpa;
    for (unsigned i = 0; i < s->maps; i++)
        if (s->map[i].piece.id == id && show(dev, &s->map[i]))
            vm_log_limited(dev->dev.env, &dev->complaints, VM_LOG_WARN,
                           "%s: shared memory is not shown to the guest: %s", dev->dev.id,
                           vm_error_text());
}

/* ---- mappings ---- */

static int check_piece(const struct virtio_dev *dev, const struct virtio_shm_piece *p)
{
    if (!p->bytes || (p->at | p->bytes | p->fd_offset) & (GM_PAGE_BYTES - 1) ||
        !vm_range_in(p->at, p->bytes, virtio_shm_size(dev, p->id)))
        return vm_fail(-EINVAL, "%s: %#llx bytes at %#llx (%#llx of a file) of shared memory %u",
                       dev->dev.id, (unsigned long long)p->bytes, (unsigned long long)p->at,
                       (unsigned long long)p->fd_offset, p->id);
    return 0;
}

static int check_free(const struct virtio_dev *dev, const struct virtio_shm_piece *p)
{
    const struct virtio_shm *s = dev->shm;

    for (unsigned i = 0; i < s->maps; i++) {
        const struct virtio_shm_piece *o = &s->map[i].piece;

        if (o->id == p->id && vm_ranges_overlap(o->at, o->bytes, p->at, p->bytes))
            return vm_fail(-EEXIST, "%s: at %#llx of shared memory %u something is mapped",
                           dev->dev.id, (unsigned long long)o->at, p->id);
    }
    if (s->maps == VIRTIO_SHM_MAPS)
        return vm_fail(-ENOSPC, "%s: more than %d pieces of shared memory", dev->dev.id,
                       VIRTIO_SHM_MAPS);
    return 0;
}

/* The seal says also that it is a file in memory: no disk and no server is waited for when the guest touches it. It forbids no holes
 * (fcntl(2), F_SEAL_SHRINK), and where a huge page was, none may be free; nor is a piece of whole pages one of whole huge pages (mmap(2)). */
static int check_file(const struct virtio_dev *dev, const struct virtio_shm_piece *p, int fd)
{
    int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);
    struct statfs fs;
    struct stat st;

    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return vm_fail(-EPERM,
                       "%s: a file of shared memory is no memory file that is sealed "
                       "(F_SEAL_SHRINK)",
                       dev->dev.id);
    if (flags < 0 || vm_fstat(fd, &st) || fstatfs(fd, &fs))
        return vm_fail_errno("%s: a file of shared memory", dev->dev.id);
    if ((unsigned long)fs.f_type == HUGETLBFS_MAGIC)
        return vm_fail(-ENOTSUP,
                       "%s: a file of shared memory is made of huge pages (MFD_HUGETLB), which a "
                       "hole could take from the guest: it has to be one of ordinary pages",
                       dev->dev.id);
    if ((flags & O_ACCMODE) == O_WRONLY || (p->writable && (flags & O_ACCMODE) != O_RDWR))
        return vm_fail(-EACCES, "%s: a file of shared memory is not open for that", dev->dev.id);
    if (!vm_range_in(p->fd_offset, p->bytes, (uint64_t)st.st_size))
        return vm_fail(-EINVAL, "%s: %#llx bytes of shared memory at %#llx of a file of %#llx",
                       dev->dev.id, (unsigned long long)p->bytes, (unsigned long long)p->fd_offset,
                       (unsigned long long)st.st_size);
    return 0;
}

static int map_here(struct virtio_dev *dev, const struct virtio_shm_piece *p, int fd)
{
    struct mapping *map = &dev->shm->map[dev->shm->maps];
    int rc;

    *map = (struct mapping){ .piece = *p, .slot = -1 };
    map->host = mmap(NULL, p->bytes, PROT_READ | (p->writable ? PROT_WRITE : 0), MAP_SHARED, fd,
                     (off_t)p->fd_offset);
    if (map->host == MAP_FAILED)
        return vm_fail_errno("%s: shared memory", dev->dev.id);
    rc = show(dev, map);
    if (rc) {
        munmap(map->host, p->bytes);
        return vm_wrap(rc, "%s: shared memory", dev->dev.id);
    }
    dev->shm->maps++;
    return 0;
}

int virtio_shm_map(struct virtio_dev *dev, const struct virtio_shm_piece *untrusted, int fd)
{
    int rc = check_piece(dev, untrusted);

    if (!rc && dev->transport && dev->transport->shm_change)
        return dev->transport->shm_change(dev->transport, untrusted, fd);
    if (!rc)
        rc = check_free(dev, untrusted);
    if (!rc)
        rc = check_file(dev, untrusted, fd);
    return rc ? rc : map_here(dev, untrusted, fd);
}

static void unmap(struct virtio_dev *dev, struct mapping *map)
{
    hide(dev, map);
    if (!map->stuck)
        munmap(map->host, map->piece.bytes);
    *map = dev->shm->map[--dev->shm->maps];
}

int virtio_shm_unmap(struct virtio_dev *dev, const struct virtio_shm_piece *untrusted)
{
    int rc = check_piece(dev, untrusted);

    if (!rc && dev->transport && dev->transport->shm_change)
        return dev->transport->shm_change(dev->transport, untrusted, -1);
    for (unsigned i = 0; !rc && i < dev->shm->maps; i++) {
        const struct virtio_shm_piece *o = &dev->shm->map[i].piece;

        if (o->id == untrusted->id && o->at == untrusted->at && o->bytes == untrusted->bytes) {
            unmap(dev, &dev->shm->map[i]);
            return 0;
        }
    }
    return rc ? rc
              : vm_fail(-ENOENT, "%s: %#llx bytes at %#llx of shared memory %u: not mapped so",
                        dev->dev.id, (unsigned long long)untrusted->bytes,
                        (unsigned long long)untrusted->at, untrusted->id);
}

void virtio_shm_clear(struct virtio_dev *dev)
{
    while (dev->shm && dev->shm->maps)
        unmap(dev, &dev->shm->map[dev->shm->maps - 1]);
}

void virtio_shm_exit(struct virtio_dev *dev)
{
    virtio_shm_clear(dev);
    free(dev->shm);
    dev->shm = NULL;
}
