/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Lists among the properties that were changed while a device works. A configuration borrows what it points at from who made the machine; a
 * list that was set takes the place of such a one and belongs to whoever has the configuration: the device, or its process.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

struct machine_list {
    struct machine_list *next;
    const struct vm_prop *prop;
    struct vm_prop_list list;
};

static struct vm_prop_list *place_of(const struct vm_prop *prop, void *config)
{
    return (struct vm_prop_list *)(void *)((char *)config + prop->offset);
}

struct machine_list *vmm_list_new(const struct vm_prop *prop)
{
    struct machine_list *l = calloc(1, sizeof(*l));

    if (!l)
        return vm_fail(-ENOMEM, "%s: out of memory", prop->name), NULL;
    l->prop = prop;
    return l;
}

void vmm_list_take(struct machine_list *l, void *config)
{
    struct vm_prop_list *place = place_of(l->prop, config);

    l->list = *place;
    *place = (struct vm_prop_list){ 0 };
}

void vmm_list_free(struct machine_list *l)
{
    struct vm_prop row[2] = { 0 };

    if (!l)
        return;
    row[0] = *l->prop;
    row[0].offset = 0;
    vm_prop_free(row, &l->list);
    free(l);
}

static void drop(struct machine_list **lists, const struct vm_prop *prop)
{
    for (struct machine_list **at = lists, *l; (l = *at); at = &l->next)
        if (l->prop == prop) {
            *at = l->next;
            vmm_list_free(l);
            return;
        }
}

void vmm_list_put(struct machine_list **lists, struct machine_list *l, void *config)
{
    *place_of(l->prop, config) = l->list;
    drop(lists, l->prop);
    l->next = *lists;
    *lists = l;
}

void vmm_lists_hand_over(struct machine_list **from, struct machine_list **to, void *config)
{
    while (*from) {
        struct machine_list *l = *from;

        *from = l->next;
        vmm_list_put(to, l, config);
    }
}

void vmm_lists_free(struct machine_list **lists)
{
    while (*lists)
        drop(lists, (*lists)->prop);
}
