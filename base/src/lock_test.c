/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/lock.h>

enum { THREADS = 4, ROUNDS = 2000 };

struct counter {
    struct vm_lock lock;
    unsigned value;
};

static void *count(void *arg)
{
    struct counter *counter = arg;

    for (int i = 0; i < ROUNDS; i++) {
        vm_lock_acquire(&counter->lock);
        counter->value++;
        vm_lock_release(&counter->lock);
    }
    return NULL;
}

Test(lock, keeps_threads_apart)
{
    struct counter counter = { 0 };
    pthread_t thread[THREADS];

    vm_lock_init(&counter.lock, VM_RANK_LEAF, "counter");
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, count, &counter), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);

    cr_assert_eq(counter.value, THREADS * ROUNDS);
    vm_lock_destroy(&counter.lock);
}

static void *try_it(void *arg)
{
    bool got = vm_lock_try(arg);

    if (got)
        vm_lock_release(arg);
    return got ? arg : NULL;
}

static bool another_thread_can_take(struct vm_lock *lock)
{
    pthread_t thread;
    void *got;

    cr_assert_eq(pthread_create(&thread, NULL, try_it, lock), 0);
    pthread_join(thread, &got);
    return got;
}

Test(lock, try_fails_while_another_thread_holds_it)
{
    struct vm_lock lock;

    vm_lock_init(&lock, VM_RANK_LEAF, "leaf");
    vm_lock_acquire(&lock);
    cr_assert_not(another_thread_can_take(&lock));
    vm_lock_release(&lock);

    cr_assert(another_thread_can_take(&lock));
    vm_lock_destroy(&lock);
}

#ifdef VMM_DEBUG

struct machine {
    struct vm_lock machine, device, lane, leaf;
    unsigned violations;
    char text[256];
};

static void note(void *ctx, const char *text)
{
    struct machine *m = ctx;

    m->violations++;
    snprintf(m->text, sizeof(m->text), "%s", text);
}

static void machine_init(struct machine *m)
{
    *m = (struct machine){ 0 };
    vm_lock_init(&m->machine, VM_RANK_MACHINE, "m");
    vm_lock_init(&m->device, VM_RANK_DEVICE, "disk0");
    vm_lock_init(&m->lane, VM_RANK_LANE, "disk0 queue 1");
    vm_lock_init(&m->leaf, VM_RANK_LEAF, "map");
    vm_lock_on_violation(note, m);
}

Test(lock, rising_ranks_are_right)
{
    struct machine m;

    machine_init(&m);
    vm_lock_acquire(&m.machine);
    vm_lock_acquire(&m.device);
    vm_lock_acquire(&m.lane);
    vm_lock_acquire(&m.leaf);
    vm_lock_release(&m.device); /* the order of releases is free */
    vm_lock_release(&m.leaf);
    vm_lock_release(&m.lane);
    vm_lock_release(&m.machine);

    cr_assert_eq(m.violations, 0);
}

Test(lock, a_falling_rank_is_a_violation_that_names_both_locks)
{
    struct machine m;

    machine_init(&m);
    vm_lock_acquire(&m.lane);
    vm_lock_acquire(&m.device);

    cr_assert_eq(m.violations, 1);
    cr_assert_str_eq(m.text, "lock order: device lock 'disk0' is taken while holding lane lock "
                             "'disk0 queue 1'");
    vm_lock_release(&m.device);
    vm_lock_release(&m.lane);
}

Test(lock, two_locks_of_one_rank_are_a_violation)
{
    struct machine m;
    struct vm_lock other;

    machine_init(&m);
    vm_lock_init(&other, VM_RANK_LEAF, "other");
    vm_lock_acquire(&m.leaf);
    vm_lock_acquire(&other);

    cr_assert_eq(m.violations, 1);
}

Test(lock, taking_a_lock_twice_is_a_violation_and_not_a_deadlock_under_a_hook)
{
    struct machine m;

    machine_init(&m);
    vm_lock_acquire(&m.leaf);
    vm_lock_acquire(&m.leaf);

    cr_assert_eq(m.violations, 1);
    cr_assert_str_eq(m.text, "lock order: leaf lock 'map' is taken twice by the same thread");
    vm_lock_release(&m.leaf);
    cr_assert_not(another_thread_can_take(&m.leaf), "the outer one still holds it");
    vm_lock_release(&m.leaf);
    cr_assert(another_thread_can_take(&m.leaf));
}

Test(lock, releasing_what_is_not_held_is_a_violation)
{
    struct machine m;

    machine_init(&m);
    vm_lock_release(&m.leaf);

    cr_assert_eq(m.violations, 1);
    cr_assert_not_null(strstr(m.text, "does not hold"));
}

Test(lock, a_lock_got_by_try_needs_no_order_but_counts_for_later_ones)
{
    struct machine m;

    machine_init(&m);
    vm_lock_acquire(&m.lane);
    cr_assert(vm_lock_try(&m.device));
    cr_assert_eq(m.violations, 0);
    vm_lock_release(&m.lane);
    vm_lock_acquire(&m.machine);

    cr_assert_eq(m.violations, 1);
}

Test(lock, try_of_a_lock_of_ones_own_is_false)
{
    struct machine m;

    machine_init(&m);
    vm_lock_acquire(&m.leaf);

    cr_assert_not(vm_lock_try(&m.leaf));
    cr_assert_eq(m.violations, 0);
    vm_lock_release(&m.leaf);
}

Test(lock, might_acquire_finds_the_wrong_order_and_takes_nothing)
{
    struct machine m;

    machine_init(&m);
    vm_lock_might_acquire(&m.device);
    cr_assert_not(vm_lock_held(&m.device));
    vm_lock_acquire(&m.lane);
    vm_lock_might_acquire(&m.leaf);
    cr_assert_eq(m.violations, 0);
    vm_lock_might_acquire(&m.device);
    cr_assert_eq(m.violations, 1);
    vm_lock_might_acquire(&m.lane);

    cr_assert_eq(m.violations, 2);
    vm_lock_release(&m.lane);
}

Test(lock, held_tells_the_holding_thread)
{
    struct machine m;

    machine_init(&m);
    cr_assert_not(vm_lock_held(&m.leaf));
    vm_lock_acquire(&m.leaf);
    cr_assert(vm_lock_held(&m.leaf));
    vm_lock_release(&m.leaf);

    cr_assert_not(vm_lock_held(&m.leaf));
}

Test(lock, more_locks_than_a_thread_may_hold_are_a_violation)
{
    static struct vm_lock many[33];
    struct machine m;

    machine_init(&m);
    for (int i = 0; i < 33; i++) {
        vm_lock_init(&many[i], VM_RANK_LEAF, "one of many");
        cr_assert(vm_lock_try(&many[i]));
    }

    cr_assert_eq(m.violations, 1);
}

Test(lock, without_a_hook_a_violation_aborts, .signal = SIGABRT)
{
    struct machine m;

    machine_init(&m);
    vm_lock_on_violation(NULL, NULL);
    close(STDERR_FILENO); /* the message is expected */
    vm_lock_acquire(&m.leaf);
    vm_lock_acquire(&m.machine);
}

#else

Test(lock, release_builds_do_not_know_the_holder)
{
    struct vm_lock lock;

    vm_lock_init(&lock, VM_RANK_LEAF, "leaf");
    vm_lock_on_violation(NULL, NULL);
    vm_lock_might_acquire(&lock);

    cr_assert(vm_lock_held(&lock));
    vm_lock_destroy(&lock);
}

#endif

struct gate {
    struct vm_lock lock;
    struct vm_cond cond;
    unsigned turn;
};

/* Takes each second turn: one thread the odd ones, one the even ones. */
static void take_turns(struct gate *gate, unsigned first)
{
    for (unsigned turn = first; turn < ROUNDS; turn += 2) {
        vm_lock_acquire(&gate->lock);
        while (gate->turn != turn)
            vm_cond_wait(&gate->cond, &gate->lock);
        gate->turn++;
        vm_cond_wake(&gate->cond);
        vm_lock_release(&gate->lock);
    }
}

static void *take_odd_turns(void *arg)
{
    take_turns(arg, 1);
    return NULL;
}

Test(cond, no_wake_is_lost, .timeout = TEST_TIMEOUT)
{
    struct gate gate = { 0 };
    pthread_t thread;

    vm_lock_init(&gate.lock, VM_RANK_LEAF, "gate");
    vm_cond_init(&gate.cond);
    cr_assert_eq(pthread_create(&thread, NULL, take_odd_turns, &gate), 0);
    take_turns(&gate, 0);
    pthread_join(thread, NULL);

    cr_assert_eq(gate.turn, ROUNDS);
    vm_cond_destroy(&gate.cond);
    vm_lock_destroy(&gate.lock);
}
