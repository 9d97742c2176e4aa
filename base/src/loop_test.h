/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of the loop share: a clock that the test moves, and items (timer, work, watch)
 * that write their letter into a trace. Each test has a process of its own, so one of each is
 * enough. */
#ifndef VMM_BASE_SRC_LOOP_TEST_H
#define VMM_BASE_SRC_LOOP_TEST_H

#include <criterion/criterion.h>

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <vmm/base/loop.h>

#define FOREVER UINT64_MAX

/* A monotonic clock that the test moves: each reading moves it by step_ns. */
struct clock {
    struct vm_env env;
    uint64_t now_ns, step_ns;
};

static inline uint64_t clock_now_ns(void *ctx, enum vm_clock which)
{
    struct clock *clock = ctx;

    (void)which;
    return clock->now_ns += clock->step_ns;
}

static struct clock test_clock;

static inline struct vm_loop *make_loop(unsigned flags)
{
    struct vm_loop *loop = NULL;

    test_clock = (struct clock){ .env = { .ctx = &test_clock, .now_ns = clock_now_ns } };
    cr_assert_eq(vm_loop_new(&test_clock.env, flags, &loop), 0);
    return loop;
}

/* What happened, in order. */
struct trace {
    char text[100];
};

static struct trace trace;

static inline void note(char c)
{
    size_t len = strlen(trace.text);

    cr_assert_lt(len, sizeof(trace.text) - 1);
    trace.text[len] = c;
}

struct item {
    struct vm_timer timer;
    struct vm_work work;
    struct vm_watch watch;
    struct vm_loop *loop;
    char name;
    uint32_t events;
    void (*then)(struct item *item);
    struct item *other;
};

static inline void item_fired(struct vm_timer *timer)
{
    struct item *item = container_of(timer, struct item, timer);

    note(item->name);
    if (item->then)
        item->then(item);
}

static inline void item_run(struct vm_work *work)
{
    struct item *item = container_of(work, struct item, work);

    note(item->name);
    if (item->then)
        item->then(item);
}

static inline void item_ready(struct vm_watch *watch, uint32_t events)
{
    struct item *item = container_of(watch, struct item, watch);

    note(item->name);
    item->events = events;
    if (item->then)
        item->then(item);
}

static inline void set(struct vm_loop *loop, struct item *item, uint64_t deadline_ns)
{
    item->loop = loop;
    cr_assert_eq(vm_timer_set(loop, &item->timer, deadline_ns, item_fired), 0);
}

static inline void post(struct vm_loop *loop, struct item *item)
{
    item->loop = loop;
    vm_loop_post(loop, &item->work, item_run);
}

struct pair {
    int near, far;
};

static inline struct pair make_pair(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static inline void watch(struct vm_loop *loop, struct item *item, int fd, uint32_t events)
{
    item->loop = loop;
    cr_assert_eq(vm_watch_add(loop, &item->watch, fd, events, item_ready), 0);
}

static inline void stop_loop(struct item *item)
{
    vm_loop_stop(item->loop);
}

static inline void *run_loop(void *arg)
{
    return vm_loop_run(arg) ? arg : NULL;
}

#endif
