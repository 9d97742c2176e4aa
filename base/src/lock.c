/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ranked locks: small mutexes over futex(2), and in debug builds each thread's list of what it
 * holds. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/lock.h>

#include "text.h"

#if defined(__SANITIZE_THREAD__)
#define LOCK_IS_PTHREAD
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOCK_IS_PTHREAD
#endif
#endif

#ifdef LOCK_IS_PTHREAD

static void mutex_init(struct vm_lock *lock)
{
    int rc = pthread_mutex_init(&lock->mutex, NULL);

    assert(!rc);
    (void)rc;
}

static void mutex_lock(struct vm_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
}

static bool mutex_try(struct vm_lock *lock)
{
    return pthread_mutex_trylock(&lock->mutex) == 0;
}

static void mutex_unlock(struct vm_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}

void vm_lock_destroy(struct vm_lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

void vm_cond_init(struct vm_cond *cond)
{
    pthread_cond_init(&cond->cond, NULL);
}

void vm_cond_destroy(struct vm_cond *cond)
{
    pthread_cond_destroy(&cond->cond);
}

static void cond_wait(struct vm_cond *cond, struct vm_lock *lock)
{
    pthread_cond_wait(&cond->cond, &lock->mutex);
}

void vm_cond_wake(struct vm_cond *cond)
{
    pthread_cond_broadcast(&cond->cond);
}

#else

enum { FREE, HELD, WAITED_FOR };

static void mutex_init(struct vm_lock *lock)
{
    lock->state = FREE;
}

static void futex_wait(uint32_t *word, uint32_t while_it_is)
{
    int saved = errno; /* EAGAIN and EINTR are no errors here */

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, NULL, NULL, 0);
    errno = saved;
}

static void futex_wake(uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Who has waited once cannot know whether others do: it leaves the lock as waited for. */
static void __attribute__((noinline, cold)) mutex_wait(uint32_t *state)
{
    while (__atomic_exchange_n(state, WAITED_FOR, __ATOMIC_ACQUIRE) != FREE)
        futex_wait(state, WAITED_FOR);
}

static bool mutex_try(struct vm_lock *lock)
{
    uint32_t expected = FREE;

    /* Partner: the release in mutex_unlock(). */
    return __atomic_compare_exchange_n(&lock->state, &expected, HELD, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static void mutex_lock(struct vm_lock *lock)
{
    if (__builtin_expect(!mutex_try(lock), 0))
        mutex_wait(&lock->state);
}

static void mutex_unlock(struct vm_lock *lock)
{
    /* Partner: the acquire in mutex_try() and mutex_wait(). */
    if (__builtin_expect(__atomic_exchange_n(&lock->state, FREE, __ATOMIC_RELEASE) != HELD, 0))
        futex_wake(&lock->state, 1);
}

void vm_lock_destroy(struct vm_lock *lock)
{
    assert(__atomic_load_n(&lock->state, __ATOMIC_RELAXED) == FREE);
    (void)lock;
}

void vm_cond_init(struct vm_cond *cond)
{
    cond->turn = 0;
}

void vm_cond_destroy(struct vm_cond *cond)
{
    (void)cond;
}

/* A wake that comes after the lock's release changes turn: then futex_wait() does not sleep. */
static void cond_wait(struct vm_cond *cond, struct vm_lock *lock)
{
    uint32_t turn = __atomic_load_n(&cond->turn, __ATOMIC_RELAXED);

    mutex_unlock(lock);
    futex_wait(&cond->turn, turn);
    mutex_lock(lock);
}

void vm_cond_wake(struct vm_cond *cond)
{
    __atomic_fetch_add(&cond->turn, 1, __ATOMIC_RELAXED);
    futex_wake(&cond->turn, INT_MAX);
}

#endif

void vm_lock_init(struct vm_lock *lock, enum vm_rank rank, const char *name)
{
    mutex_init(lock);
    lock->rank = rank;
    lock->name = name;
}

void vm_cond_wait(struct vm_cond *cond, struct vm_lock *lock)
{
    assert(vm_lock_held(lock));
    cond_wait(cond, lock);
}

#ifndef VMM_DEBUG

void vm_lock_acquire(struct vm_lock *lock)
{
    mutex_lock(lock);
}

bool vm_lock_try(struct vm_lock *lock)
{
    return mutex_try(lock);
}

void vm_lock_release(struct vm_lock *lock)
{
    mutex_unlock(lock);
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
        mutex_lock(lock);
    hold(lock);
}

bool vm_lock_try(struct vm_lock *lock)
{
    if (!mutex_try(lock))
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
        mutex_unlock(lock);
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
