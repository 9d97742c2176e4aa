/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the tests of view.c share: one view of a map with every kind of memory.
 *   0x1000  2 pages RAM        0x3000  1 page RAM (another region)    0x4000  1 page ROM
 *   0x8000  1 page RAM         0xa000  1 page that this process cannot reach
 */
#ifndef VMM_VM_MEMORY_VIEW_TEST_H
#define VMM_VM_MEMORY_VIEW_TEST_H

#include "memory_test.h"

static struct gm_space *space;
static struct gm_view view;
static struct gm_region *low, *next, *rom, *island;

static inline void setup(void)
{
    struct gm_region *far = make_far(0xa000, PAGE);

    low = make_ram(0x1000, 2 * PAGE);
    next = make_ram(0x3000, PAGE);
    rom = make_region(0x4000, PAGE, true);
    island = make_ram(0x8000, PAGE);
    space = make_space(NULL);
    give_region(space, low);
    give_region(space, next);
    give_region(space, rom);
    give_region(space, island);
    give_region(space, far);
    gm_view_init(&view, space, NULL);
}

static inline void teardown(void)
{
    gm_view_exit(&view);
    gm_space_free(space);
}

static inline uint8_t *host(struct gm_region *region)
{
    return gm_region_host(region);
}

static inline void count_up(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
}

static inline uint64_t take16(struct gm_dirty *dirty)
{
    uint64_t word = 0;

    gm_dirty_take(dirty, 0, &word, 1);
    return word;
}

static inline struct gm_dirty *track(struct gm_view *v)
{
    struct gm_dirty *dirty = NULL;

    cr_assert_eq(gm_dirty_new(16 * PAGE, false, &dirty), 0);
    gm_view_set_dirty(v, dirty);
    return dirty;
}

#endif
