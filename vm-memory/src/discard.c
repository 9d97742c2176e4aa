/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Pages go back to the host: madvise(2) MADV_DONTNEED for private anonymous memory, fallocate(2) with FALLOC_FL_PUNCH_HOLE for
 * files that are mapped shared (a memfd, tmpfs, hugetlbfs), which takes the pages out of every process that maps them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <vmm/base/check.h>

#include "memory_private.h"

uint64_t gm_region_discard_unit(const struct gm_region *region)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct statfs fs;

    /* statfs(2): the optimal transfer block size of hugetlbfs is its page size; that of others may be anything. */
    if (region->fd >= 0 && !fstatfs(region->fd, &fs) && (uint32_t)fs.f_type == HUGETLBFS_MAGIC)
        return (uint64_t)fs.f_bsize;
    return page;
}

static int discard_piece(const struct gm_region *region, uint64_t at, uint64_t len)
{
    int rc;

    if (!region->host)
        return -EIO;
    if (!region->mapped || (region->fd >= 0 && !region->shared))
        return -ENOTSUP;
    if (region->fd < 0)
        rc = madvise(region->host + at, len, MADV_DONTNEED);
    else
        rc = fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       (off_t)(region->fd_offset + at), (off_t)len);
    return rc ? -errno : 0;
}

/* All of it is RAM that can be written. */
static bool is_ram(const struct gm_map *map, gpa_t gpa, uint64_t len)
{
    while (len) {
        const struct gm_slot *slot = gm_map_slot(map, gpa);
        uint64_t rest;

        if (!slot || slot->read_only)
            return false;
        rest = slot->size - (gpa - slot->base);
        if (rest >= len)
            return true;
        gpa += rest;
        len -= rest;
    }
    return true;
}

int gm_discard(const struct gm_map *map, gpa_t gpa, uint64_t len)
{
    if (!vm_range_in(gpa, len, GM_ADDRESS_END) || !is_ram(map, gpa, len))
        return -EFAULT;
    while (len) {
        const struct gm_slot *slot = gm_map_slot(map, gpa);
        uint64_t at = gpa - slot->base, piece = slot->size - at < len ? slot->size - at : len;
        int rc = discard_piece(slot->region, at, piece);

        if (rc)
            return rc;
        gpa += piece;
        len -= piece;
    }
    return 0;
}
