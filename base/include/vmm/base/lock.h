/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Ranked locks. A thread takes locks in rising rank only: machine, device, lane, interrupt line,
 * interrupt controller, then the leaves. Debug builds (VMM_DEBUG) remember each thread's ranks and
 * abort, naming both locks, on a wrong order or on a lock taken twice: a bug of ours, never a
 * guest's. vm_lock_on_violation() lets a simulation take the place of abort.
 */
#ifndef VMM_BASE_LOCK_H
#define VMM_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

enum vm_rank {
    VM_RANK_MACHINE = 1,
    VM_RANK_DEVICE,
    VM_RANK_LANE,
    VM_RANK_LINE, /* wired interrupts: who drives a shared line */
    VM_RANK_CONTROLLER, /* interrupt controllers: at the other end of the line */
    VM_RANK_LEAF,
};

struct vm_lock {
    pthread_mutex_t mutex;
    enum vm_rank rank;
    const char *name; /* for the debug build's message; borrowed for the lock's life */
};

void vm_lock_init(struct vm_lock *lock, enum vm_rank rank, const char *name);
void vm_lock_destroy(struct vm_lock *lock);
void vm_lock_acquire(struct vm_lock *lock);
/* True when it was free and is now held. Does not check the rank: it cannot deadlock. */
bool vm_lock_try(struct vm_lock *lock);
void vm_lock_release(struct vm_lock *lock);

/* Debug builds: a violation now, if vm_lock_acquire() would be one. For calls that take a lock in
 * rare cases only, so that the common case finds the wrong order too. Takes nothing. */
void vm_lock_might_acquire(const struct vm_lock *lock);

/* The calling thread holds the lock (debug builds; release builds say true). For assert(). */
bool vm_lock_held(const struct vm_lock *lock);

/* Debug builds: called in the offending thread instead of abort(), with the same message; NULL
 * gives abort back. Per thread. */
void vm_lock_on_violation(void (*hook)(void *ctx, const char *text), void *ctx);

#endif
