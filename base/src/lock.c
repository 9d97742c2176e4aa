/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ranked locks: plain mutexes, and in debug builds each thread's list of what it holds. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/lock.h>

#include "text.h"

void vm_lock_init(struct vm_lock *lock, enum vm_rank rank, const char *name)
{
    int rc = pthread_mutex_init(&lock->mutex, NULL);

    assert(!rc);
    (void)rc;
    lock->rank = rank;
    lock->name = name;
}

void vm_lock_destroy(struct vm_lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

#ifndef VMM_DEBUG

void vm_lock_acquire(struct vm_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
}

bool vm_lock_try(struct vm_lock *lock)
{
    return pthread_mutex_trylock(&lock->mutex) == 0;
}

void vm_lock_release(struct vm_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}

void vm_lock_might_acquire(const struct vm_lock *lock)
{
    (void)lock;
}

bool vm_lock_held(const struct vm_lock *lock)
{
    (void)lock;
    return true;
}

void vm_lock_on_violation(void (*hook)(void *ctx, const char *text), void *ctx)
{
    (void)hook;
    (void)ctx;
}

#else

/* Six ranks can be held in order; locks taken by vm_lock_try() come on top. */
enum { MAX_HELD = 32 };

struct held {
    const struct vm_lock *lock[MAX_HELD];
    unsigned count;
    void (*hook)(void *ctx, const char *text);
    void *hook_ctx;
};

static _Thread_local struct held held;

static const char *rank_name(enum vm_rank rank)
{
    static const char *const names[] = {
        [VM_RANK_MACHINE] = "machine", [VM_RANK_DEVICE] = "device",         [VM_RANK_LANE] = "lane",
        [VM_RANK_LINE] = "line",       [VM_RANK_CONTROLLER] = "controller", [VM_RANK_LEAF] = "leaf",
    };
    static_assert(VM_ARRAY_SIZE(names) == VM_RANK_LEAF + 1, "one name for each rank");

    return rank > 0 && (unsigned)rank < VM_ARRAY_SIZE(names) ? names[rank] : "unknown";
}

static void violation(const struct vm_lock *lock, const char *what, const struct vm_lock *other)
{
    char text[256];

    if (other)
        vm_text_print(text, sizeof(text), "lock order: %s lock '%s' %s %s lock '%s'",
                      rank_name(lock->rank), lock->name, what, rank_name(other->rank), other->name);
    else
        vm_text_print(text, sizeof(text), "lock order: %s lock '%s' %s", rank_name(lock->rank),
                      lock->name, what);
    if (held.hook) {
        held.hook(held.hook_ctx, text);
        return;
    }
    if (write(STDERR_FILENO, text, strlen(text)) >= 0 && write(STDERR_FILENO, "\n", 1) >= 0)
        abort();
    abort();
}

/* The place of the newest entry of the lock, or -1. */
static int held_at(const struct vm_lock *lock)
{
    int at = (int)held.count - 1;

    while (at >= 0 && held.lock[at] != lock)
        at--;
    return at;
}

static void hold(const struct vm_lock *lock)
{
    if (held.count == MAX_HELD)
        violation(lock, "is one more than a thread may hold", NULL);
    else
        held.lock[held.count++] = lock;
}

/* True: the thread does not hold it yet. */
static bool check_acquire(const struct vm_lock *lock)
{
    if (held_at(lock) >= 0) {
        violation(lock, "is taken twice by the same thread", NULL);
        return false;
    }
    for (unsigned i = 0; i < held.count; i++) {
        if (held.lock[i]->rank >= lock->rank) {
            violation(lock, "is taken while holding", held.lock[i]);
            break;
        }
    }
    return true;
}

void vm_lock_might_acquire(const struct vm_lock *lock)
{
    (void)check_acquire(lock);
}

/* Where a hook lets a simulation go on after a lock was taken twice, the second entry stands in the
 * list only: the mutex itself would wait for ever. */
void vm_lock_acquire(struct vm_lock *lock)
{
    if (check_acquire(lock))
        pthread_mutex_lock(&lock->mutex);
    hold(lock);
}

bool vm_lock_try(struct vm_lock *lock)
{
    if (pthread_mutex_trylock(&lock->mutex))
        return false;
    hold(lock);
    return true;
}

void vm_lock_release(struct vm_lock *lock)
{
    int at = held_at(lock);

    if (at < 0) {
        violation(lock, "is released by a thread that does not hold it", NULL);
        return;
    }
    held.count--;
    for (unsigned i = (unsigned)at; i < held.count; i++)
        held.lock[i] = held.lock[i + 1];
    if (held_at(lock) < 0)
        pthread_mutex_unlock(&lock->mutex);
}

bool vm_lock_held(const struct vm_lock *lock)
{
    return held_at(lock) >= 0;
}

void vm_lock_on_violation(void (*hook)(void *ctx, const char *text), void *ctx)
{
    held.hook = hook;
    held.hook_ctx = ctx;
}

#endif
