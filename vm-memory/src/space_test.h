/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of space.c and change.c share: a listener and call-backs that write down what they
 * hear. */
#ifndef VMM_VM_MEMORY_SPACE_TEST_H
#define VMM_VM_MEMORY_SPACE_TEST_H

#include <stdio.h>

#include "memory_test.h"

/* A listener that writes down what it hears, and answers as it is told to. */
struct heard {
    struct gm_listener listener;
    char log[256]; /* "+1" region at page 1 added, "-1" removed */
    int refuse_page; /* add of it gives -ENOSPC; -1: none */
    bool add_later, remove_later, refuse_remove;
};

static inline void write_down(struct heard *h, char sign, const struct gm_region *region)
{
    size_t used = strlen(h->log);

    snprintf(h->log + used, sizeof(h->log) - used, "%c%d", sign,
             (int)(gm_region_base(region) / PAGE));
}

static inline int hear_add(struct gm_listener *listener, struct gm_region *region)
{
    struct heard *h = container_of(listener, struct heard, listener);

    write_down(h, '+', region);
    if (h->add_later)
        return -EINPROGRESS;
    if ((int)(gm_region_base(region) / PAGE) == h->refuse_page)
        return vm_fail(-ENOSPC, "no slot left");
    return 0;
}

static inline int hear_remove(struct gm_listener *listener, struct gm_region *region)
{
    struct heard *h = container_of(listener, struct heard, listener);

    write_down(h, '-', region);
    if (h->remove_later)
        return -EINPROGRESS;
    return h->refuse_remove ? vm_fail(-EBADF, "the peer is gone") : 0;
}

static inline void listen_to(struct gm_space *space, struct heard *h, const char *name)
{
    *h = (struct heard){ .refuse_page = -1 };
    h->listener = (struct gm_listener){ .name = name, .add = hear_add, .remove = hear_remove };
    cr_assert_eq(gm_listener_add(space, &h->listener), 0);
    h->log[0] = 0;
}

/* Counts the calls of done and removed. */
struct told {
    int done, code, removed;
    char text[256];
};

static inline void tell_done(void *ctx, int code)
{
    struct told *t = ctx;

    t->done++;
    t->code = code;
    snprintf(t->text, sizeof(t->text), "%s", vm_error_text());
}

static inline void tell_removed(void *ctx)
{
    struct told *t = ctx;

    t->removed++;
}

static inline int change_one(struct gm_space *space, struct gm_region *add,
                             struct gm_region *remove, struct told *told)
{
    struct gm_change change = { .add = &add,
                                .remove = &remove,
                                .add_count = !!add,
                                .remove_count = !!remove,
                                .done = tell_done,
                                .removed = tell_removed,
                                .ctx = told };

    return gm_space_change(space, &change);
}

static inline size_t count_regions(struct gm_space *space)
{
    struct gm_map *map = gm_space_map(space);
    size_t count = gm_map_count(map);

    gm_map_unref(map);
    return count;
}

#endif
