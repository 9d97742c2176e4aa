/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the counters. */
#include <pthread.h>

#include <criterion/criterion.h>

#include <vmm/base/util.h>

enum { ROUNDS = 100000 };

static uint64_t counter;

static void *writer(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        vm_count(&counter, 2);
    return NULL;
}

Test(count, any_thread_may_read_while_one_writes) /* the thread sanitizer says whether it may */
{
    uint64_t last = 0;
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, writer, NULL), 0);

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t now = vm_count_get(&counter);

        cr_assert_geq(now, last);
        last = now;
    }

    pthread_join(thread, NULL);
    cr_assert_eq(vm_count_get(&counter), 2 * ROUNDS);
}

Test(count, a_counter_can_be_set)
{
    vm_count_set(&counter, 7);
    vm_count(&counter, 3);

    cr_assert_eq(vm_count_get(&counter), 10);
}
