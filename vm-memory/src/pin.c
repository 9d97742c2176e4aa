/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Pinned or discarded: a page that a device has pinned and that is then discarded exists twice,
 * once for the device and once for the guest. So the two never happen in one space at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory_private.h"

struct holder {
    struct vm_list node;
    const char *who;
};

static const char *first_name(const struct vm_list *list)
{
    return container_of(list->next, struct holder, node)->who;
}

static int begin(struct gm_space *space, struct vm_list *mine, const struct vm_list *theirs,
                 const char *who, const char *mine_does, const char *theirs_does)
{
    struct holder *holder = malloc(sizeof(*holder));
    int rc = 0;

    if (!holder)
        return vm_fail(-ENOMEM, "%s: no memory to note that it %s pages", who, mine_does);
    holder->who = who;
    vm_lock_acquire(&space->lock);
    if (vm_list_empty(theirs))
        vm_list_add(mine, &holder->node);
    else
        rc = vm_fail(-EBUSY, "%s %s guest pages, but %s %s them: use only one of the two", who,
                     mine_does, first_name(theirs), theirs_does);
    vm_lock_release(&space->lock);
    if (rc)
        free(holder);
    return rc;
}

static void end(struct gm_space *space, struct vm_list *mine, const char *who)
{
    struct holder *found = NULL;

    vm_lock_acquire(&space->lock);
    vm_list_for_each (node, mine) {
        struct holder *holder = container_of(node, struct holder, node);

        if (!strcmp(holder->who, who)) {
            found = holder;
            break;
        }
    }
    if (found)
        vm_list_del(&found->node);
    vm_lock_release(&space->lock);
    free(found);
}

int gm_pin_begin(struct gm_space *space, const char *who)
{
    return begin(space, &space->pins, &space->discards, who, "pins", "discards");
}

void gm_pin_end(struct gm_space *space, const char *who)
{
    end(space, &space->pins, who);
}

int gm_discard_begin(struct gm_space *space, const char *who)
{
    return begin(space, &space->discards, &space->pins, who, "discards", "pins");
}

void gm_discard_end(struct gm_space *space, const char *who)
{
    end(space, &space->discards, who);
}
