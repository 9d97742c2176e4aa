/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Versioned pointers by hazard pointers (M. Michael, "Hazard Pointers: Safe Memory Reclamation for
 * Lock-Free Objects", IEEE TPDS 15(6), 2004).
 *
 * A reader writes down which version it is going to look at, its hazard, and then makes sure that
 * this version is still the current one. A writer puts the next version in place and then looks at
 * all hazards. Two pairs of crossing accesses carry the proof; all eight are sequentially
 * consistent, so of each pair at least one side sees what the other wrote:
 *
 *   (A) reader, enter:   in_use = version    ; read current
 *       writer, publish: current = next      ; read in_use
 *     Either the reader sees that the version is no longer current and tries again without having
 *     touched it, or the writer sees the hazard and keeps the version.
 *
 *   (B) reader, leave:   in_use = NULL       ; read retired_any
 *       writer, publish: retired_any = 1     ; read in_use
 *     Either the writer sees that the reader is gone, or the reader sees that something is kept and
 *     looks itself. So nothing waits for the next publish. (A hazard that enter gives up for a
 *     newer version is found by the same rule: that reader leaves after it.)
 *
 * What a reader read through the pointer happens before its hazard changes, and that before the
 * release: the exchange in leave and enter releases, the read of in_use in the scan acquires.
 */
#include <assert.h>
#include <stdbool.h>

#include <vmm/base/version.h>

void vm_versioned_init(struct vm_versioned *v, const char *name, struct vm_version *first)
{
    *v = (struct vm_versioned){ .current = first };
    first->next_retired = NULL;
    vm_lock_init(&v->lock, VM_RANK_LEAF, name);
    vm_list_init(&v->readers);
}

static void release_all(struct vm_version *version)
{
    while (version) {
        struct vm_version *next = version->next_retired;

        version->release(version);
        version = next;
    }
}

void vm_versioned_destroy(struct vm_versioned *v)
{
    assert(vm_list_empty(&v->readers));
    release_all(v->retired);
    v->retired = NULL;
    v->current->next_retired = NULL;
    release_all(v->current);
    v->current = NULL;
    vm_lock_destroy(&v->lock);
}

void vm_reader_add(struct vm_versioned *v, struct vm_reader *reader)
{
    *reader = (struct vm_reader){ .of = v };
    vm_lock_acquire(&v->lock);
    vm_list_add(&v->readers, &reader->node);
    vm_lock_release(&v->lock);
}

void vm_reader_del(struct vm_reader *reader)
{
    struct vm_versioned *v = reader->of;

    assert(!reader->in_use);
    vm_lock_acquire(&v->lock);
    vm_list_del(&reader->node);
    vm_lock_release(&v->lock);
}

/* Under the lock. Partner of the exchanges in enter and leave. */
static bool is_used(const struct vm_versioned *v, const struct vm_version *version)
{
    vm_list_for_each (node, &v->readers) {
        const struct vm_reader *reader = container_of(node, struct vm_reader, node);

        if (__atomic_load_n(&reader->in_use, __ATOMIC_SEQ_CST) == version)
            return true;
    }
    return false;
}

/* Under the lock: takes out what nobody uses, oldest first. The caller releases it without the
 * lock, because the call-back may do anything. */
static struct vm_version *take_unused(struct vm_versioned *v)
{
    struct vm_version *unused = NULL, **tail = &unused;
    struct vm_version **link = &v->retired;

    while (*link) {
        struct vm_version *version = *link;

        if (is_used(v, version)) {
            link = &version->next_retired;
            continue;
        }
        *link = version->next_retired;
        version->next_retired = NULL;
        *tail = version;
        tail = &version->next_retired;
    }
    if (!v->retired)
        __atomic_store_n(&v->retired_any, 0, __ATOMIC_SEQ_CST);
    return unused;
}

void vm_version_release_unused(struct vm_versioned *v)
{
    struct vm_version *unused;

    vm_lock_acquire(&v->lock);
    unused = take_unused(v);
    vm_lock_release(&v->lock);
    release_all(unused);
}

static void retire(struct vm_versioned *v, struct vm_version *version)
{
    struct vm_version **link = &v->retired;

    while (*link)
        link = &(*link)->next_retired;
    version->next_retired = NULL;
    *link = version;
    /* Pair (B). */
    __atomic_store_n(&v->retired_any, 1, __ATOMIC_SEQ_CST);
}

void vm_version_publish(struct vm_versioned *v, struct vm_version *next)
{
    struct vm_version *unused;

    vm_lock_acquire(&v->lock);
    next->next_retired = NULL;
    /* Pair (A); it also releases what the writer wrote into the new version. */
    retire(v, __atomic_exchange_n(&v->current, next, __ATOMIC_SEQ_CST));
    unused = take_unused(v);
    vm_lock_release(&v->lock);
    release_all(unused);
}
