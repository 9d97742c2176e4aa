/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Versioned pointers: maps that readers use without a lock and that writers replace as a whole (bus
 * map, memory map, MSI routes).
 *
 * A reader (one per thread and pointer) enters, gets the newest version, uses it and leaves; this
 * costs two atomic exchanges and never waits for a writer's or another reader's work. (Only while
 * an old version is still held does leave take the leaf lock below, for one look at the readers.) A
 * writer makes the next version and publishes it; the old one is released, by call-back, when no
 * reader that entered before is still inside: at once, or in the leave of the last such reader.
 *
 *   reader: vm_version_enter() -> use -> vm_version_leave()   (not nested for one reader)
 *   writer: vm_version_publish(new)                           (writers serialise among themselves)
 *
 * Threads: any number of readers beside one writer at a time.
 */
#ifndef VMM_BASE_VERSION_H
#define VMM_BASE_VERSION_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmm/base/lock.h>
#include <vmm/base/util.h>

/* Embedded in the immutable object. */
struct vm_version {
    struct vm_version *next_retired;
    /* Nobody uses it any more: called once, in any reader's or writer's thread, whatever locks that
     * one holds: it takes leaves at most, and posts the rest. */
    void (*release)(struct vm_version *version);
};

struct vm_versioned {
    struct vm_version *current;
    struct vm_version *retired;
    unsigned retired_any; /* read by leaving readers without the lock */
    struct vm_lock lock; /* guards readers and retired; a leaf */
    struct vm_list readers;
};

struct vm_reader {
    struct vm_version *in_use; /* the hazard: what this reader looks at; NULL outside */
    struct vm_versioned *of;
    struct vm_list node;
};

void vm_versioned_init(struct vm_versioned *v, const char *name, struct vm_version *first);
/* No reader is left; releases what remains, the current one included. */
void vm_versioned_destroy(struct vm_versioned *v);

void vm_reader_add(struct vm_versioned *v, struct vm_reader *reader);
void vm_reader_del(struct vm_reader *reader);

/* The newest version; valid until vm_version_leave(), which is not called with a leaf lock held. Both
 * are here because every access of a guest that leaves it goes through them; (A) and (B) are explained
 * in version.c. */
static inline struct vm_version *vm_version_enter(struct vm_reader *reader)
{
    struct vm_version *version = __atomic_load_n(&reader->of->current, __ATOMIC_SEQ_CST);

    assert(!reader->in_use);
    for (;;) {
        struct vm_version *newest;

        /* Pair (A). */
        (void)__atomic_exchange_n(&reader->in_use, version, __ATOMIC_SEQ_CST);
        newest = __atomic_load_n(&reader->of->current, __ATOMIC_SEQ_CST);
        if (__builtin_expect(newest == version, 1))
            return version;
        version = newest;
    }
}

/* Of vm_version_leave(): looks for versions that nobody uses any more, and releases them. */
void vm_version_release_unused(struct vm_versioned *v);

/* True: it has looked for old versions, and may have released some. */
static inline bool vm_version_leave(struct vm_reader *reader)
{
    struct vm_versioned *v = reader->of;

#ifdef VMM_DEBUG
    vm_lock_might_acquire(&v->lock);
#endif
    /* Pair (B). */
    (void)__atomic_exchange_n(&reader->in_use, NULL, __ATOMIC_SEQ_CST);
    if (__builtin_expect(!__atomic_load_n(&v->retired_any, __ATOMIC_SEQ_CST), 1))
        return false;
    vm_version_release_unused(v);
    return true;
}

/* Makes next the current one. Does not wait. */
void vm_version_publish(struct vm_versioned *v, struct vm_version *next);

/* The current version, for the writer only (it alone changes it). */
static inline struct vm_version *vm_version_current(const struct vm_versioned *v)
{
    return v->current;
}

#endif
