/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The loop's timers: a binary heap. The children of place i stand at 2 i + 1 and 2 i + 2. */
#include <errno.h>
#include <stdlib.h>

#include "timer.h"

enum { FIRST_CAPACITY = 16, MAX_TIMERS = 1 << 24 };

static bool before(const struct vm_heap_entry *a, const struct vm_heap_entry *b)
{
    if (a->due_ns != b->due_ns)
        return a->due_ns < b->due_ns;
    return a->timer->sequence < b->timer->sequence;
}

static void place(struct vm_heap *heap, uint32_t at, struct vm_heap_entry entry)
{
    heap->entry[at] = entry;
    entry.timer->slot = at + 1;
}

/* Both take the entry that belongs at or above (below) `at`, and close the gap at `at` with it. */
static void sift_up(struct vm_heap *heap, uint32_t at, struct vm_heap_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;

        if (!before(&entry, &heap->entry[parent]))
            break;
        place(heap, at, heap->entry[parent]);
        at = parent;
    }
    place(heap, at, entry);
}

static void sift_down(struct vm_heap *heap, uint32_t at, struct vm_heap_entry entry)
{
    uint32_t child;

    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && before(&heap->entry[child + 1], &heap->entry[child]))
            child++;
        if (!before(&heap->entry[child], &entry))
            break;
        place(heap, at, heap->entry[child]);
        at = child;
    }
    place(heap, at, entry);
}

static void sift(struct vm_heap *heap, uint32_t at, struct vm_heap_entry entry)
{
    if (at > 0 && before(&entry, &heap->entry[(at - 1) / 2]))
        sift_up(heap, at, entry);
    else
        sift_down(heap, at, entry);
}

static int grow(struct vm_heap *heap)
{
    uint32_t capacity = heap->capacity ? 2 * heap->capacity : FIRST_CAPACITY;
    struct vm_heap_entry *entry;

    if (capacity > MAX_TIMERS)
        return -ENOMEM;
    entry = realloc(heap->entry, capacity * sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    heap->entry = entry;
    heap->capacity = capacity;
    return 0;
}

int vm_heap_put(struct vm_heap *heap, struct vm_timer *timer, uint64_t due_ns)
{
    struct vm_heap_entry entry = { due_ns, timer };

    if (timer->slot) {
        sift(heap, timer->slot - 1, entry);
        return 0;
    }
    if (heap->count == heap->capacity) {
        int rc = grow(heap);

        if (rc)
            return rc;
    }
    sift_up(heap, heap->count++, entry);
    return 0;
}

void vm_heap_remove(struct vm_heap *heap, struct vm_timer *timer)
{
    uint32_t at = timer->slot - 1;
    struct vm_heap_entry last = heap->entry[--heap->count];

    timer->slot = 0;
    if (last.timer != timer)
        sift(heap, at, last);
}

const struct vm_heap_entry *vm_heap_first(const struct vm_heap *heap)
{
    return heap->count ? &heap->entry[0] : NULL;
}

void vm_heap_clear(struct vm_heap *heap)
{
    free(heap->entry);
    *heap = (struct vm_heap){ 0 };
}
