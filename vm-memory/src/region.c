/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions: checked geometry and counted references around a backing (backing.c). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vmm/base/check.h>

#include "memory_private.h"

static int check_geometry(gpa_t base, uint64_t size)
{
    if (!size)
        return vm_fail(-EINVAL, "memory region at 0x%" PRIx64 ": size 0; give at least one page",
                       base);
    if ((base | size) % GM_PAGE_BYTES)
        return vm_fail(-EINVAL,
                       "memory region at 0x%" PRIx64 ", size 0x%" PRIx64
                       ": not multiples of the page size %d",
                       base, size, GM_PAGE_BYTES);
    if (!vm_range_in(base, size, GM_ADDRESS_END))
        return vm_fail(-EINVAL,
                       "memory region at 0x%" PRIx64 ", size 0x%" PRIx64
                       ": ends beyond 2^52, the largest guest-physical address",
                       base, size);
    return 0;
}

int gm_region_new(gpa_t base, uint64_t size, const struct gm_backing *backing,
                  struct gm_region **ret_region)
{
    struct gm_region *region;
    int rc = check_geometry(base, size);

    if (rc)
        return rc;
    region = calloc(1, sizeof(*region));
    if (!region)
        return vm_fail(-ENOMEM, "memory region: no memory for its description");
    region->refs = 1;
    region->base = base;
    region->size = size;
    region->read_only = backing->read_only;
    region->fd = -1;
    rc = gm_backing_open(region, backing);
    if (rc) {
        free(region);
        return vm_wrap(rc, "memory region at 0x%" PRIx64 ", size 0x%" PRIx64, base, size);
    }
    *ret_region = region;
    return 0;
}

struct gm_region *gm_region_ref(struct gm_region *region)
{
    /* relaxed: who can call this holds a reference already */
    __atomic_fetch_add(&region->refs, 1, __ATOMIC_RELAXED);
    return region;
}

void gm_region_unref(struct gm_region *region)
{
    /* acq_rel: pairs with itself; the last one sees what all others did to the region */
    if (!region || __atomic_sub_fetch(&region->refs, 1, __ATOMIC_ACQ_REL))
        return;
    gm_backing_close(region);
    free(region);
}

gpa_t gm_region_base(const struct gm_region *region)
{
    return region->base;
}

uint64_t gm_region_size(const struct gm_region *region)
{
    return region->size;
}

bool gm_region_read_only(const struct gm_region *region)
{
    return region->read_only;
}

void *gm_region_host(const struct gm_region *region)
{
    return region->host;
}

int gm_region_fd(const struct gm_region *region, uint64_t *ret_offset)
{
    if (region->fd >= 0)
        *ret_offset = region->fd_offset;
    return region->fd;
}
