/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Ranked locks. A thread takes locks in rising rank only: machine, device, lane, interrupt line,
 * interrupt controller, then the leaves. Debug builds (VMM_DEBUG) remember each thread's ranks and
 * abort, naming both locks, on a wrong order or on a lock taken twice: a bug of ours, never a
 * guest's. vm_lock_on_violation() lets a simulation take the place of abort.
 *
 * A lock that nobody else wants costs one atomic instruction each way: every access to a device
 * takes one. Not recursive, not robust, not fair.
 */
#ifndef VMM_BASE_LOCK_H
#define VMM_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum vm_rank {
    VM_RANK_MACHINE = 1,
    VM_RANK_DEVICE,
    VM_RANK_LANE,
    VM_RANK_LINE, /* wired interrupts: who drives a shared line */
    VM_RANK_CONTROLLER, /* interrupt controllers: at the other end of the line */
    VM_RANK_LEAF,
};

struct vm_lock {
    union {
        uint32_t state; /* futex(2): 0 free, 1 held, 2 held and waited for */
        pthread_mutex_t mutex; /* instead, in builds for the thread sanitizer, which knows it */
    };
    enum vm_rank rank;
    const char *name; /* for the debug build's message; borrowed for the lock's life */
};

void vm_lock_init(struct vm_lock *lock, enum vm_rank rank, const char *name);
void vm_lock_destroy(struct vm_lock *lock);
void vm_lock_acquire(struct vm_lock *lock);
/* True when it was free and is now held. Does not check the rank: it cannot deadlock. */
bool vm_lock_try(struct vm_lock *lock);
void vm_lock_release(struct vm_lock *lock);

/* For the rare wait until what a lock guards has changed. */
struct vm_cond {
    union {
        uint32_t turn; /* futex(2): changes with each wake */
        pthread_cond_t cond;
    };
};

void vm_cond_init(struct vm_cond *cond);
void vm_cond_destroy(struct vm_cond *cond);
/* Releases the lock, waits for a wake and takes the lock again; may return without one, so the
 * caller looks again. */
void vm_cond_wait(struct vm_cond *cond, struct vm_lock *lock);
/* Wakes all that wait; called with the lock held. */
void vm_cond_wake(struct vm_cond *cond);

/* Debug builds: a violation now, if vm_lock_acquire() would be one. For calls that take a lock in
 * rare cases only, so that the common case finds the wrong order too. Takes nothing. */
void vm_lock_might_acquire(const struct vm_lock *lock);

/* The calling thread holds the lock (debug builds; release builds say true). For assert(). */
bool vm_lock_held(const struct vm_lock *lock);

/* Debug builds: called in the offending thread instead of abort(), with the same message; NULL
 * gives abort back. Per thread. */
void vm_lock_on_violation(void (*hook)(void *ctx, const char *text), void *ctx);

#endif
