/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The loop's timers: a binary heap by time, equal times in the order in which they were set. Inside
 * base; belongs to the loop's thread. */
#ifndef VMM_BASE_SRC_TIMER_H
#define VMM_BASE_SRC_TIMER_H

#include <stdint.h>

#include <vmm/base/loop.h>

/* The time stands beside the pointer, so that comparing does not touch the timers themselves. */
struct vm_heap_entry {
    uint64_t due_ns;
    struct vm_timer *timer;
};

struct vm_heap {
    struct vm_heap_entry *entry;
    uint32_t count, capacity;
};

/* Puts a timer in, or moves one that is in; its sequence must be set. 0 or -ENOMEM (nothing
 * changed). */
int vm_heap_put(struct vm_heap *heap, struct vm_timer *timer, uint64_t due_ns);
/* Takes a timer that is in out; its slot becomes 0. */
void vm_heap_remove(struct vm_heap *heap, struct vm_timer *timer);
/* The first entry, or NULL. Borrowed until the next change. */
const struct vm_heap_entry *vm_heap_first(const struct vm_heap *heap);
void vm_heap_clear(struct vm_heap *heap);

#endif
