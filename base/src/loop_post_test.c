/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop_test.h"
#include "stepping.h"

Test(loop, posted_work_runs_once_and_in_order)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };

    post(loop, &a);
    post(loop, &b);
    post(loop, &c);
    post(loop, &a);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 3);
    cr_assert_eq(vm_loop_step(loop, 0), 0);

    cr_assert_str_eq(trace.text, "abc");
    vm_loop_free(loop);
}

static void post_self(struct item *item)
{
    post(item->loop, item);
}

Test(loop, work_that_posts_itself_runs_again_in_the_next_round)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a', .then = post_self }, b = { .name = 'b' };

    post(loop, &a);
    post(loop, &b);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 2);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);
    vm_work_cancel(loop, &a.work);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 0);

    cr_assert_str_eq(trace.text, "aba");
    vm_loop_free(loop);
}

static void free_self(struct vm_work *work)
{
    note('f');
    free(container_of(work, struct item, work));
}

Test(loop, work_may_free_itself)
{
    struct vm_loop *loop = make_loop(0);
    struct item *item = calloc(1, sizeof(*item));

    vm_loop_post(loop, &item->work, free_self);
    vm_loop_step(loop, FOREVER);

    cr_assert_str_eq(trace.text, "f");
    vm_loop_free(loop);
}

Test(loop, cancelled_work_does_not_run_wherever_it_stood)
{
    for (int out = 0; out < 3; out++) {
        struct vm_loop *loop = make_loop(0);
        struct item items[3] = { { .name = '0' }, { .name = '1' }, { .name = '2' } };

        trace = (struct trace){ 0 };
        for (int i = 0; i < 3; i++)
            post(loop, &items[i]);
        vm_work_cancel(loop, &items[out].work);
        vm_work_cancel(loop, &items[out].work);
        cr_assert_eq(vm_loop_step(loop, FOREVER), 2);
        post(loop, &items[out]);
        cr_assert_eq(vm_loop_step(loop, FOREVER), 1, "and can be posted again");

        cr_assert_eq(trace.text[2], '0' + out);
        cr_assert_null(memchr(trace.text, '0' + out, 2));
        vm_loop_free(loop);
    }
}

static void cancel_other_work(struct item *item)
{
    vm_work_cancel(item->loop, &item->other->work);
}

Test(loop, work_may_cancel_other_work_of_its_round)
{
    struct vm_loop *loop = make_loop(0);
    struct item b = { .name = 'b' }, c = { .name = 'c' };
    struct item a = { .name = 'a', .then = cancel_other_work, .other = &c };

    post(loop, &a);
    post(loop, &b);
    post(loop, &c);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 2);
    post(loop, &c);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_str_eq(trace.text, "abc");
    vm_loop_free(loop);
}

/* How often the loop's eventfd was written: the loop never reads it, so its count says it. */
static unsigned long long wakes(void)
{
    unsigned long long count = 0, one;
    struct dirent *entry;
    DIR *dir = opendir("/proc/self/fdinfo");

    cr_assert_not_null(dir);
    while ((entry = readdir(dir))) {
        char path[300], line[200];
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
        FILE *file = fopen(path, "re");

        while (file && fgets(line, sizeof(line), file)) {
            if (sscanf(line, "eventfd-count: %llx", &one) == 1)
                count += one;
        }
        if (file)
            fclose(file);
    }
    closedir(dir);
    return count;
}

Test(loop, a_post_to_a_loop_that_does_not_sleep_makes_no_system_call)
{
    unsigned long long before = wakes();
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = post_self };

    post(loop, &a);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_eq(wakes(), before);
    vm_work_cancel(loop, &a.work);
    vm_loop_free(loop);
}

Test(loop, a_sleeping_loop_is_woken_by_a_post)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = stop_loop };
    pthread_t thread;
    void *failed;

    cr_assert_eq(pthread_create(&thread, NULL, run_loop, loop), 0);
    post(loop, &a);
    pthread_join(thread, &failed);

    cr_assert_null(failed);
    vm_loop_free(loop);
}

Test(loop, a_sleeping_loop_is_woken_by_stop)
{
    struct vm_loop *loop = make_loop(0);
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_loop, loop), 0);
    vm_loop_stop(loop);
    pthread_join(thread, NULL);

    vm_loop_free(loop);
}

Test(loop, a_loop_that_was_woken_sleeps_again)
{
    struct vm_env env;
    struct vm_loop *loop;
    struct item a = { .name = 'a', .then = stop_loop }, t = { .name = 't' };
    unsigned long long before = wakes();
    pthread_t thread;
    int steps = 0;

    vm_env_host(VM_LOG_ERROR, &env);
    cr_assert_eq(vm_loop_new(&env, 0, &loop), 0);
    while (wakes() == before) { /* until the post found the loop asleep */
        cr_assert_eq(pthread_create(&thread, NULL, run_loop, loop), 0);
        sched_yield();
        post(loop, &a);
        pthread_join(thread, NULL);
    }
    vm_loop_step(loop, 0); /* the wake itself may still be there, once */
    set(loop, &t, vm_loop_now_ns(loop) + 2000000);
    while (vm_loop_step(loop, FOREVER) == 0)
        steps++;

    cr_assert_lt(steps, 50, "it waits for its timer and does not spin");
    vm_loop_free(loop);
}

enum { POSTERS = 4, ROUNDS = 3000 };

struct poster {
    struct vm_loop *loop;
    struct vm_work work[8];
    unsigned asked, seen; /* atomic: the state that the call-back is to see */
    unsigned runs;
    pthread_t thread;
};

static struct poster *poster_of(struct vm_work *work);

static void poster_run(struct vm_work *work)
{
    struct poster *poster = poster_of(work);

    poster->runs++;
    __atomic_store_n(&poster->seen, __atomic_load_n(&poster->asked, __ATOMIC_RELAXED),
                     __ATOMIC_RELEASE);
}

static struct poster posters[POSTERS];

static struct poster *poster_of(struct vm_work *work)
{
    for (int i = 0; i < POSTERS; i++) {
        if (work >= posters[i].work && work < posters[i].work + 8)
            return &posters[i];
    }
    return NULL;
}

static void *post_on(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(&poster->asked, i, __ATOMIC_RELAXED);
        vm_loop_post(poster->loop, &poster->work[i % 8], poster_run);
        if (i % 100 == 0) { /* let the loop fall asleep now and then: nothing may be lost */
            while (__atomic_load_n(&poster->seen, __ATOMIC_ACQUIRE) != i)
                sched_yield();
        }
    }
    return NULL;
}

Test(loop, posts_of_many_threads_are_never_lost)
{
    struct vm_loop *loop = make_loop(0);
    pthread_t runner;

    cr_assert_eq(pthread_create(&runner, NULL, run_loop, loop), 0);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        cr_assert_eq(pthread_create(&posters[i].thread, NULL, post_on, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    vm_loop_stop(loop);
    pthread_join(runner, NULL);

    for (int i = 0; i < POSTERS; i++) {
        cr_assert_eq(posters[i].seen, ROUNDS);
        cr_assert_leq(posters[i].runs, ROUNDS);
    }
    vm_loop_free(loop);
}

/* The child steps its loop; the parent makes it post, by a signal, after n instructions. */
struct stepped {
    struct vm_env env;
    struct vm_loop *loop;
    struct vm_work work;
    struct vm_timer timer;
    unsigned runs;
    bool begins; /* the next reading of the clock is the one before the loop waits */
};

static struct stepped *stepped;

static void stepped_run(struct vm_work *work)
{
    container_of(work, struct stepped, work)->runs++;
}

static void stepped_post(int signo)
{
    (void)signo;
    vm_loop_post(stepped->loop, &stepped->work, stepped_run);
}

/* The loop asks how long it may wait: the steps begin here. */
static uint64_t stepped_now_ns(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    if (stepped->begins) {
        stepped->begins = false;
        raise(SIGSTOP);
    }
    return 0;
}

static void child_steps(void *arg)
{
    (void)arg;
    signal(SIGUSR1, stepped_post);
    for (;;) {
        stepped->begins = true;
        vm_loop_step(stepped->loop, FOREVER);
    }
}

Test(loop, a_post_is_not_lost_wherever_it_cuts_into_falling_asleep)
{
    unsigned n, i;

    if (STEPPING_LATE_SIGNALS)
        cr_skip("the thread sanitizer holds signals back");
    stepped = stepping_memory(sizeof(*stepped));
    stepped->env.now_ns = stepped_now_ns;
    cr_assert_eq(vm_loop_new(&stepped->env, 0, &stepped->loop), 0);
    cr_assert_eq(vm_timer_set(stepped->loop, &stepped->timer, FOREVER, NULL), 0);
    pid_t pid = stepping_start(child_steps, NULL);

    for (n = 0;; n++) {
        for (i = 0; i < n && stepping_go(pid, PTRACE_SINGLESTEP, 0); i++)
            ;
        if (i < n)
            break; /* it sleeps: all places before were tried */
        cr_assert(stepping_go(pid, PTRACE_CONT, SIGUSR1), "lost after %u instructions", n);
        cr_assert_eq(stepped->runs, n + 1);
    }

    cr_assert_gt(n, 10);
    stepping_end(pid);
    vm_timer_cancel(&stepped->timer);
    vm_loop_free(stepped->loop);
}

struct plain {
    struct vm_work work;
    unsigned value, seen; /* not atomic: posting alone hands them over */
    struct vm_loop *loop;
};

static void plain_run(struct vm_work *work)
{
    struct plain *plain = container_of(work, struct plain, work);

    plain->seen = plain->value;
    vm_loop_stop(plain->loop);
}

Test(loop, what_was_written_before_a_post_is_seen_by_the_call_back)
{
    struct plain plain = { .loop = make_loop(0) };
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_loop, plain.loop), 0);
    plain.value = 42;
    vm_loop_post(plain.loop, &plain.work, plain_run);
    pthread_join(thread, NULL);

    cr_assert_eq(plain.seen, 42);
    vm_loop_free(plain.loop);
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    cr_assert_not_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

Test(loop, a_loop_that_watches_nothing_and_never_waits_has_no_file_descriptors)
{
    unsigned before = open_fds();
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' };

    post(loop, &a);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_eq(open_fds(), before);
    vm_loop_free(loop);
}

static void count_wanted(void *ctx)
{
    (*(unsigned *)ctx)++;
}

Test(loop, a_loop_with_something_to_do_does_not_rest)
{
    struct pair pair = make_pair();
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
    unsigned wanted = 0;

    post(loop, &a);
    cr_assert(!vm_loop_rest(loop, count_wanted, &wanted));
    vm_work_cancel(loop, &a.work);
    set(loop, &b, FOREVER);
    cr_assert(!vm_loop_rest(loop, count_wanted, &wanted));
    vm_timer_cancel(&b.timer);
    watch(loop, &c, pair.near, EPOLLIN);
    cr_assert(!vm_loop_rest(loop, count_wanted, &wanted));
    cr_assert_eq(vm_watch_set(&c.watch, 0), 0);
    cr_assert(vm_loop_rest(loop, count_wanted, &wanted), "a paused watch waits for nothing");

    cr_assert_eq(wanted, 0);
    vm_loop_rest_end(loop);
    vm_watch_del(&c.watch);
    vm_loop_free(loop);
}

Test(loop, a_resting_loop_is_nobodys)
{
    struct vm_loop *loop = make_loop(0);
    unsigned wanted = 0;

    cr_assert(vm_loop_rest(loop, count_wanted, &wanted));
    cr_assert(!vm_loop_is_mine(loop));
    vm_loop_rest_end(loop);

    cr_assert(vm_loop_is_mine(loop));
    vm_loop_free(loop);
}

Test(loop, the_first_post_to_a_resting_loop_says_that_it_is_wanted)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' }, b = { .name = 'b', .then = stop_loop };
    unsigned wanted = 0;

    cr_assert(vm_loop_rest(loop, count_wanted, &wanted));
    post(loop, &a);
    post(loop, &b);
    cr_assert_eq(wanted, 1, "once");
    cr_assert_eq(vm_loop_run(loop), 0);

    cr_assert_str_eq(trace.text, "ab", "and nothing is lost");
    vm_loop_free(loop);
}

Test(loop, a_rest_that_was_taken_back_wants_nobody)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };
    unsigned wanted = 0;

    cr_assert(vm_loop_rest(loop, count_wanted, &wanted));
    vm_loop_rest_end(loop);
    post(loop, &a);

    cr_assert_eq(wanted, 0);
    vm_work_cancel(loop, &a.work);
    vm_loop_free(loop);
}

/* A loop that rests, and a thread for each time it is wanted. */
struct resting {
    struct vm_loop *loop;
    pthread_t runner;
    unsigned wanted; /* atomic */
};

static void start_runner(void *ctx)
{
    struct resting *r = ctx;

    cr_assert_eq(pthread_create(&r->runner, NULL, run_loop, r->loop), 0);
    __atomic_fetch_add(&r->wanted, 1, __ATOMIC_RELEASE);
}

Test(loop, posts_of_many_threads_to_a_resting_loop_start_it_once)
{
    struct resting r = { .loop = make_loop(0) };

    cr_assert(vm_loop_rest(r.loop, start_runner, &r));
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = r.loop;
        cr_assert_eq(pthread_create(&posters[i].thread, NULL, post_on, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    vm_loop_stop(r.loop);
    pthread_join(r.runner, NULL);

    cr_assert_eq(__atomic_load_n(&r.wanted, __ATOMIC_ACQUIRE), 1);
    for (int i = 0; i < POSTERS; i++)
        cr_assert_eq(posters[i].seen, ROUNDS);
    vm_loop_free(r.loop);
}
