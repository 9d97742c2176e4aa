/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of vm-memory share: small regions and spaces that cannot fail to be made. */
#ifndef VMM_VM_MEMORY_TEST_H
#define VMM_VM_MEMORY_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "memory_private.h"

enum { PAGE = GM_PAGE_BYTES };

/* A number that the compiler does not know: else it warns of copies that a test wants refused. */
static inline size_t any(size_t v)
{
    __asm__("" : "+r"(v));
    return v;
}

static inline struct gm_region *make_region(gpa_t base, uint64_t size, bool read_only)
{
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .read_only = read_only };
    struct gm_region *region = NULL;

    cr_assert_eq(gm_region_new(base, size, &backing, &region), 0, "%s", vm_error_text());
    return region;
}

static inline struct gm_region *make_ram(gpa_t base, uint64_t size)
{
    return make_region(base, size, false);
}

/* RAM that this process cannot reach. */
static inline struct gm_region *make_far(gpa_t base, uint64_t size)
{
    struct gm_backing backing = { .kind = GM_BORROWED };
    struct gm_region *region = NULL;

    cr_assert_eq(gm_region_new(base, size, &backing, &region), 0, "%s", vm_error_text());
    return region;
}

static inline struct gm_space *make_space(const struct vm_env *env)
{
    struct gm_space *space = NULL;

    cr_assert_eq(gm_space_new(env, &space), 0);
    return space;
}

static inline int add_region(struct gm_space *space, struct gm_region *region)
{
    struct gm_change change = { .add = &region, .add_count = 1 };

    return gm_space_change(space, &change);
}

static inline int remove_region(struct gm_space *space, struct gm_region *region)
{
    struct gm_change change = { .remove = &region, .remove_count = 1 };

    return gm_space_change(space, &change);
}

/* Adds and leaves the only reference with the space. */
static inline void give_region(struct gm_space *space, struct gm_region *region)
{
    cr_assert_eq(add_region(space, region), 0, "%s", vm_error_text());
    gm_region_unref(region);
}

#endif
