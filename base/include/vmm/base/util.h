/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Small things every library needs. */
#ifndef VMM_BASE_UTIL_H
#define VMM_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* Symbols are hidden by default; a header's functions are the library's only exports. Static
 * archives do not need more than that, so there is no export macro. */

#define VM_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of TYPE whose MEMBER ptr points at. */
#define container_of(ptr, type, member) \
    ((type *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))

#define VM_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

/* Counters that one thread at a time writes (who holds a device's lock, say) and any thread reads:
 * no more than a plain addition costs. */
static inline uint64_t vm_count_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void vm_count_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void vm_count(uint64_t *counter, uint64_t more)
{
    vm_count_set(counter, vm_count_get(counter) + more);
}

/* A doubly linked list, intrusive. An empty head points at itself; vm_list_init() comes first for
 * heads and for nodes that vm_list_del() may meet before they were added. Not thread safe. */
struct vm_list {
    struct vm_list *next, *prev;
};

static inline void vm_list_init(struct vm_list *l)
{
    l->next = l->prev = l;
}

static inline int vm_list_empty(const struct vm_list *l)
{
    return l->next == l;
}

/* Adds node at the end of the list of head. */
static inline void vm_list_add(struct vm_list *head, struct vm_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Takes node out and leaves it an empty list; harmless when it is in none. */
static inline void vm_list_del(struct vm_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    vm_list_init(node);
}

/* Walks a list whose nodes are not removed on the way. */
#define vm_list_for_each(node, head) \
    for (struct vm_list *node = (head)->next; node != (head); node = node->next)

#endif
