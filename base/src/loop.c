/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The event loop. See vmm/base/loop.h for the promise; this is how it is kept.
 *
 * A round: wait (real time only), then the timers that are due, then the work that was posted, then
 * the fds that are ready. Each part takes what there was when it began, so that call-backs which
 * register more cannot keep the others waiting.
 *
 * Posting is a push on a stack that many threads share and only the loop's thread takes, all of it
 * at once. The poster writes the eventfd only while the loop sleeps; two flags that cross each
 * other make sure of it:
 *
 *   poster: push the work   ; read `sleeping`, write the eventfd if set
 *   loop:   set `sleeping`  ; read the stack, do not wait if there is work
 *
 * All four are sequentially consistent, so at least one side sees the other's write. The eventfd is
 * watched edge-triggered: each write is an edge of its own, so it never has to be read. A loop that
 * rests (vm_loop_rest()) is woken by the same flag, but by a call instead of the eventfd.
 *
 * The file descriptors are opened when they are first needed: a loop that never watches anything
 * and never waits has none.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>

#include "timer.h"

enum { EVENTS_PER_ROUND = 64 };
enum sleep { AWAKE, ASLEEP, RESTING };

#define NO_LIMIT  UINT64_MAX
#define SECOND_NS UINT64_C(1000000000)
#define MILLI_NS  UINT64_C(1000000)
#define NOBODY    ((uintptr_t)1) /* as owner: no thread's, whatever runs */

struct vm_loop {
    const struct vm_env *env;
    bool virtual_time;
    bool in_step;
    bool in_run;
    bool millis_only; /* the kernel has no epoll_pwait2 (before 5.11) */
    int epoll_fd, wake_fd; /* -1: not yet needed */
    uintptr_t owner; /* atomic: the thread that runs the loop, NOBODY (it rests), or 0: none */
    uint32_t stop; /* atomic */

    uint64_t virtual_ns;
    uint64_t sequence; /* of the timers that were set */
    uint64_t floor_ns; /* while timers fire: nothing set now may be due before this */
    struct vm_heap timers;

    struct vm_list watches;
    int event_next, event_count; /* those of `event` that still have to be served */
    struct epoll_event event[EVENTS_PER_ROUND];

    struct vm_work *batch; /* taken from the stack, oldest first: the loop's thread only */
    struct vm_work **batch_tail; /* the end of it */

    void (*wanted)(void *ctx); /* while it rests */
    void *wanted_ctx;

    /* What other threads write stands apart from what the loop's own thread reads all the time. */
    struct vm_work *posted __attribute__((aligned(64))); /* atomic: the stack, newest first */
    uint32_t sleeping; /* atomic: enum sleep */
};

/* ---- birth and death ---- */

static int need_fds(struct vm_loop *loop)
{
    struct epoll_event wake = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
    int rc;

    if (loop->epoll_fd >= 0)
        return 0;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return vm_fail_errno("event loop: epoll_create1");
    loop->wake_fd = vm_eventfd();
    if (loop->wake_fd < 0) {
        rc = vm_wrap(loop->wake_fd, "event loop");
        goto close_epoll;
    }
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake)) {
        rc = vm_fail_errno("event loop: epoll_ctl");
        goto close_wake;
    }
    return 0;

close_wake:
    vm_close(&loop->wake_fd);
close_epoll:
    vm_close(&loop->epoll_fd);
    return rc;
}

int vm_loop_new(const struct vm_env *env, unsigned flags, struct vm_loop **ret_loop)
{
    struct vm_loop *loop = aligned_alloc(_Alignof(struct vm_loop), sizeof(*loop));

    if (!loop)
        return vm_fail(-ENOMEM, "event loop: out of memory");
    *loop = (struct vm_loop){
        .env = env, .virtual_time = flags & VM_LOOP_VIRTUAL, .epoll_fd = -1, .wake_fd = -1
    };
    vm_list_init(&loop->watches);
    loop->batch_tail = &loop->batch;
    *ret_loop = loop;
    return 0;
}

void vm_loop_free(struct vm_loop *loop)
{
    if (!loop)
        return;
    assert(!loop->in_step);
    assert(vm_list_empty(&loop->watches) && "a watch is still active");
    assert(!loop->timers.count && "a timer is still armed");
    vm_heap_clear(&loop->timers);
    vm_close(&loop->wake_fd);
    vm_close(&loop->epoll_fd);
    free(loop);
}

static uintptr_t this_thread(void)
{
    return (uintptr_t)pthread_self();
}

bool vm_loop_is_mine(const struct vm_loop *loop)
{
    uintptr_t owner = __atomic_load_n(&loop->owner, __ATOMIC_RELAXED);

    return owner == 0 || owner == this_thread();
}

uint64_t vm_loop_now_ns(const struct vm_loop *loop)
{
    return loop->virtual_time ? loop->virtual_ns : vm_now_ns(loop->env, VM_CLOCK_MONOTONIC);
}

/* ---- watches ---- */

static int control(struct vm_watch *watch, int op, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };
    int rc = need_fds(watch->loop);

    if (rc)
        return rc;
    if (!epoll_ctl(watch->loop->epoll_fd, op, watch->fd, &event))
        return 0;
    if (errno == EPERM)
        return vm_fail(-EPERM,
                       "fd %d cannot be watched: it is a regular file or a directory, which is "
                       "always ready",
                       watch->fd);
    return vm_fail_errno("watching fd %d", watch->fd);
}

/* Events that came before their watch was changed or removed are not served any more. */
static void forget_events(struct vm_watch *watch, uint32_t keep)
{
    struct vm_loop *loop = watch->loop;

    for (int i = loop->event_next; i < loop->event_count; i++) {
        if (loop->event[i].data.ptr == watch)
            loop->event[i].events &= keep;
    }
}

int vm_watch_add(struct vm_loop *loop, struct vm_watch *watch, int fd, uint32_t events,
                 void (*ready)(struct vm_watch *watch, uint32_t events))
{
    int rc;

    assert(vm_loop_is_mine(loop));
    if (watch->active)
        return vm_fail(-EEXIST, "fd %d is already watched", watch->fd);
    *watch = (struct vm_watch){ .loop = loop, .fd = fd, .events = events, .ready = ready };
    rc = events ? control(watch, EPOLL_CTL_ADD, events) : 0;
    if (rc)
        return rc;
    watch->active = true;
    vm_list_add(&loop->watches, &watch->node);
    return 0;
}

/* A paused watch leaves epoll altogether: with no events asked for, a peer that hung up would still
 * be reported, again and again. */
int vm_watch_set(struct vm_watch *watch, uint32_t events)
{
    int op = EPOLL_CTL_MOD, rc;

    assert(watch->active && vm_loop_is_mine(watch->loop));
    if (events == watch->events && !(events & (EPOLLET | EPOLLONESHOT)))
        return 0;
    if (!watch->events)
        op = EPOLL_CTL_ADD;
    else if (!events)
        op = EPOLL_CTL_DEL;
    rc = events || watch->events ? control(watch, op, events) : 0;
    if (rc)
        return rc;
    watch->events = events;
    forget_events(watch, events ? events | EPOLLERR | EPOLLHUP : 0);
    return 0;
}

void vm_watch_del(struct vm_watch *watch)
{
    if (!watch->active)
        return;
    assert(vm_loop_is_mine(watch->loop));
    if (watch->events)
        epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    forget_events(watch, 0);
    vm_list_del(&watch->node);
    watch->active = false;
}

/* ---- timers ---- */

/* A timer that a timer's call-back sets into the past goes behind all that are due now: otherwise
 * one that sets itself again and again would stay the first for ever. */
int vm_timer_set(struct vm_loop *loop, struct vm_timer *timer, uint64_t deadline_ns,
                 void (*fired)(struct vm_timer *timer))
{
    uint64_t due_ns = deadline_ns > loop->floor_ns ? deadline_ns : loop->floor_ns;
    uint64_t sequence = timer->sequence;

    assert(vm_loop_is_mine(loop));
    if (timer->slot && timer->loop != loop)
        vm_timer_cancel(timer);
    timer->sequence = loop->sequence;
    if (vm_heap_put(&loop->timers, timer, due_ns)) {
        timer->sequence = sequence;
        return vm_fail(-ENOMEM, "event loop: no memory for timer %u", loop->timers.count + 1);
    }
    loop->sequence++;
    timer->loop = loop;
    timer->deadline_ns = deadline_ns;
    timer->fired = fired;
    return 0;
}

void vm_timer_cancel(struct vm_timer *timer)
{
    if (!timer->slot)
        return;
    assert(vm_loop_is_mine(timer->loop));
    vm_heap_remove(&timer->loop->timers, timer);
}

/* ---- posted work ---- */

/* Pairs with wait_fds() and vm_loop_rest(): see the top of the file. */
static void wake(struct vm_loop *loop)
{
    enum sleep was = AWAKE;

    if (__atomic_load_n(&loop->sleeping, __ATOMIC_SEQ_CST) != AWAKE)
        was = (enum sleep)__atomic_exchange_n(&loop->sleeping, AWAKE, __ATOMIC_SEQ_CST);
    if (was == ASLEEP)
        vm_eventfd_signal(loop->wake_fd);
    else if (was == RESTING)
        loop->wanted(loop->wanted_ctx);
}

void vm_loop_post(struct vm_loop *loop, struct vm_work *work, void (*run)(struct vm_work *work))
{
    struct vm_work *head;

    /* Pairs with the exchange in run_batch(): who finds it posted already has still handed over
     * everything written before, because the loop's exchange reads this one or a later one. */
    if (__atomic_exchange_n(&work->posted, 1, __ATOMIC_ACQ_REL))
        return;
    work->run = run;
    head = __atomic_load_n(&loop->posted, __ATOMIC_RELAXED);
    do {
        work->next = head;
        /* Success releases work->run and next to the exchange in take_posted(). */
    } while (!__atomic_compare_exchange_n(&loop->posted, &head, work, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    wake(loop);
}

/* Moves the stack, turned round, to the end of the batch. */
static void take_posted(struct vm_loop *loop)
{
    struct vm_work *work, *oldest = NULL;
    struct vm_work **tail;

    if (!__atomic_load_n(&loop->posted, __ATOMIC_RELAXED))
        return;
    work = __atomic_exchange_n(&loop->posted, NULL, __ATOMIC_ACQUIRE);
    tail = &work->next;
    while (work) {
        struct vm_work *next = work->next;

        work->next = oldest;
        oldest = work;
        work = next;
    }
    *loop->batch_tail = oldest;
    loop->batch_tail = tail;
}

static void unlink_work(struct vm_loop *loop, struct vm_work **link)
{
    struct vm_work *work = *link;

    *link = work->next;
    if (!work->next)
        loop->batch_tail = link;
}

/* Others only push on top, so what lies below the top belongs to the loop's thread. */
static void drop_posted(struct vm_loop *loop, struct vm_work *work)
{
    struct vm_work *above = __atomic_load_n(&loop->posted, __ATOMIC_ACQUIRE);

    if (above == work && __atomic_compare_exchange_n(&loop->posted, &above, work->next, false,
                                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    while (above && above->next != work)
        above = above->next;
    if (above)
        above->next = work->next;
}

void vm_work_cancel(struct vm_loop *loop, struct vm_work *work)
{
    struct vm_work **link = &loop->batch;

    assert(vm_loop_is_mine(loop));
    if (!__atomic_load_n(&work->posted, __ATOMIC_ACQUIRE))
        return;
    while (*link && *link != work)
        link = &(*link)->next;
    if (*link)
        unlink_work(loop, link);
    else
        drop_posted(loop, work);
    __atomic_store_n(&work->posted, 0, __ATOMIC_RELEASE);
}

/* ---- a round ---- */

static bool stopped(const struct vm_loop *loop)
{
    return loop->in_run && __atomic_load_n(&loop->stop, __ATOMIC_RELAXED);
}

static int fire_timers(struct vm_loop *loop, uint64_t now_ns)
{
    const struct vm_heap_entry *first;
    uint64_t sequence = loop->sequence;
    int done = 0;

    loop->floor_ns = now_ns;
    while (!stopped(loop) && (first = vm_heap_first(&loop->timers)) && first->due_ns <= now_ns &&
           first->timer->sequence < sequence) {
        struct vm_timer *timer = first->timer;

        vm_heap_remove(&loop->timers, timer);
        timer->fired(timer);
        done++;
    }
    loop->floor_ns = 0;
    return done;
}

static int fire_due(struct vm_loop *loop)
{
    return loop->timers.count ? fire_timers(loop, vm_loop_now_ns(loop)) : 0;
}

/* The batch is what is there now: work that posts itself again runs in the next round. */
static int run_batch(struct vm_loop *loop)
{
    int done = 0;

    take_posted(loop);
    while (loop->batch && !stopped(loop)) {
        struct vm_work *work = loop->batch;
        void (*run)(struct vm_work *) = work->run;

        unlink_work(loop, &loop->batch);
        /* From here on the work may be posted again by anyone, or be freed by its call-back. */
        (void)__atomic_exchange_n(&work->posted, 0, __ATOMIC_ACQ_REL);
        run(work);
        done++;
    }
    return done;
}

static int serve_events(struct vm_loop *loop)
{
    int done = 0;

    while (loop->event_next < loop->event_count && !stopped(loop)) {
        const struct epoll_event *event = &loop->event[loop->event_next++];
        struct vm_watch *watch = event->data.ptr;

        if (!watch || !event->events)
            continue; /* only woken, or changed by a call-back before it */
        watch->ready(watch, event->events);
        done++;
    }
    return done;
}

/* Millisecond waits round up: waking early would turn the last millisecond into a busy loop. */
static int wait_millis(struct vm_loop *loop, uint64_t wait_ns)
{
    uint64_t millis = wait_ns / MILLI_NS + (wait_ns % MILLI_NS != 0);
    int timeout = wait_ns == NO_LIMIT ? -1 : millis > INT_MAX ? INT_MAX : (int)millis;

    /* Not epoll_wait(2), which AArch64 does not have: filters need one row less. */
    return epoll_pwait(loop->epoll_fd, loop->event, EVENTS_PER_ROUND, timeout, NULL);
}

static int wait_exact(struct vm_loop *loop, uint64_t wait_ns)
{
    struct timespec limit = {
        .tv_sec = (time_t)(wait_ns / SECOND_NS),
        .tv_nsec = (long)(wait_ns % SECOND_NS),
    };
    int rc;

    if (loop->millis_only || wait_ns == 0 || wait_ns == NO_LIMIT)
        return wait_millis(loop, wait_ns);
    rc = epoll_pwait2(loop->epoll_fd, loop->event, EVENTS_PER_ROUND, &limit, NULL);
    if (rc < 0 && errno == ENOSYS) {
        loop->millis_only = true;
        return wait_millis(loop, wait_ns);
    }
    return rc;
}

static int poll_fds(struct vm_loop *loop, uint64_t wait_ns)
{
    int rc = wait_exact(loop, wait_ns);

    if (rc < 0 && errno != EINTR)
        return vm_fail_errno("event loop: epoll_pwait");
    loop->event_next = 0;
    loop->event_count = rc < 0 ? 0 : rc;
    return 0;
}

static bool work_waits(const struct vm_loop *loop)
{
    return loop->batch || __atomic_load_n(&loop->posted, __ATOMIC_SEQ_CST) ||
           (loop->in_run && __atomic_load_n(&loop->stop, __ATOMIC_SEQ_CST));
}

/* Polls or sleeps. Pairs with wake(): see the top of the file. */
static int wait_fds(struct vm_loop *loop, uint64_t wait_ns)
{
    int rc = need_fds(loop);

    if (rc)
        return rc;
    if (wait_ns == 0 || work_waits(loop))
        return poll_fds(loop, 0);
    __atomic_store_n(&loop->sleeping, ASLEEP, __ATOMIC_SEQ_CST);
    rc = poll_fds(loop, work_waits(loop) ? 0 : wait_ns);
    __atomic_store_n(&loop->sleeping, AWAKE, __ATOMIC_RELAXED);
    return rc;
}

static uint64_t wait_for_ns(const struct vm_loop *loop, uint64_t timeout_ns)
{
    const struct vm_heap_entry *first = vm_heap_first(&loop->timers);
    uint64_t now_ns, left_ns;

    if (!first || timeout_ns == 0)
        return timeout_ns;
    now_ns = vm_loop_now_ns(loop);
    left_ns = first->due_ns > now_ns ? first->due_ns - now_ns : 0;
    return left_ns < timeout_ns ? left_ns : timeout_ns;
}

static int serve(struct vm_loop *loop)
{
    int done = fire_due(loop);

    done += run_batch(loop);
    return done + serve_events(loop);
}

static int real_round(struct vm_loop *loop, uint64_t timeout_ns)
{
    /* Events are left over when a call-back stopped the last run: they come first. */
    if (loop->event_next == loop->event_count) {
        int rc = wait_fds(loop, wait_for_ns(loop, timeout_ns));

        if (rc)
            return rc;
    }
    return serve(loop);
}

/* Nothing is left to do at this moment of virtual time: on to the next one, at most timeout_ns
 * away. */
static int jump(struct vm_loop *loop, uint64_t timeout_ns)
{
    const struct vm_heap_entry *first = vm_heap_first(&loop->timers);
    uint64_t end_ns =
        timeout_ns > NO_LIMIT - loop->virtual_ns ? NO_LIMIT : loop->virtual_ns + timeout_ns;

    if (first && first->due_ns <= end_ns)
        loop->virtual_ns = first->due_ns;
    else if (timeout_ns != NO_LIMIT)
        loop->virtual_ns = end_ns;
    return fire_due(loop);
}

static int virtual_round(struct vm_loop *loop, uint64_t timeout_ns)
{
    int done;

    if (loop->event_next == loop->event_count && loop->epoll_fd >= 0 &&
        !vm_list_empty(&loop->watches)) {
        int rc = poll_fds(loop, 0);

        if (rc)
            return rc;
    }
    done = serve(loop);
    return done || stopped(loop) ? done : jump(loop, timeout_ns);
}

int vm_loop_step(struct vm_loop *loop, uint64_t timeout_ns)
{
    int rc;

    if (loop->in_step)
        return vm_fail(-EDEADLK, "event loop: stepped from inside a call-back of its own");
    __atomic_store_n(&loop->owner, this_thread(), __ATOMIC_RELAXED);
    loop->in_step = true;
    rc = loop->virtual_time ? virtual_round(loop, timeout_ns) : real_round(loop, timeout_ns);
    loop->in_step = false;
    return rc;
}

/* In virtual time, with no timer left, only an fd or another thread can still bring something. */
static int run_round(struct vm_loop *loop)
{
    int rc = vm_loop_step(loop, NO_LIMIT);

    if (rc || !loop->virtual_time || loop->timers.count)
        return rc;
    return wait_fds(loop, NO_LIMIT);
}

int vm_loop_run(struct vm_loop *loop)
{
    int rc = 0;

    if (loop->in_step)
        return vm_fail(-EDEADLK, "event loop: run from inside a call-back of its own");
    loop->in_run = true;
    while (rc >= 0 && !__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE))
        rc = run_round(loop);
    loop->in_run = false;
    __atomic_store_n(&loop->stop, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&loop->owner, 0, __ATOMIC_RELEASE);
    return rc < 0 ? rc : 0;
}

void vm_loop_stop(struct vm_loop *loop)
{
    __atomic_store_n(&loop->stop, 1, __ATOMIC_SEQ_CST);
    wake(loop);
}

/* ---- rest ---- */

static bool has_nothing(const struct vm_loop *loop)
{
    if (loop->timers.count || work_waits(loop) || loop->event_next < loop->event_count)
        return false;
    vm_list_for_each (node, &loop->watches) {
        if (container_of(node, struct vm_watch, node)->events)
            return false;
    }
    return true;
}

bool vm_loop_rest(struct vm_loop *loop, void (*wanted)(void *ctx), void *ctx)
{
    assert(vm_loop_is_mine(loop) && !loop->in_step);
    if (!has_nothing(loop))
        return false;
    loop->wanted = wanted;
    loop->wanted_ctx = ctx;
    __atomic_store_n(&loop->owner, NOBODY, __ATOMIC_RELAXED);
    __atomic_store_n(&loop->sleeping, RESTING, __ATOMIC_SEQ_CST);
    if (!work_waits(loop)) /* pairs with wake(): a post that came in between is told by us */
        return true;
    vm_loop_rest_end(loop);
    return false;
}

void vm_loop_rest_end(struct vm_loop *loop)
{
    __atomic_store_n(&loop->sleeping, AWAKE, __ATOMIC_SEQ_CST);
    __atomic_store_n(&loop->owner, 0, __ATOMIC_RELAXED);
}
