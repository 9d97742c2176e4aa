/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>

#define FOREVER UINT64_MAX

/* A monotonic clock that the test moves: each reading moves it by step_ns. */
struct clock {
    struct vm_env env;
    uint64_t now_ns, step_ns;
};

static uint64_t clock_now_ns(void *ctx, enum vm_clock which)
{
    struct clock *clock = ctx;

    (void)which;
    return clock->now_ns += clock->step_ns;
}

static struct clock test_clock;

static struct vm_loop *make_loop(unsigned flags)
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

static void note(char c)
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

static void item_fired(struct vm_timer *timer)
{
    struct item *item = container_of(timer, struct item, timer);

    note(item->name);
    if (item->then)
        item->then(item);
}

static void item_run(struct vm_work *work)
{
    struct item *item = container_of(work, struct item, work);

    note(item->name);
    if (item->then)
        item->then(item);
}

static void item_ready(struct vm_watch *watch, uint32_t events)
{
    struct item *item = container_of(watch, struct item, watch);

    note(item->name);
    item->events = events;
    if (item->then)
        item->then(item);
}

static void set(struct vm_loop *loop, struct item *item, uint64_t deadline_ns)
{
    item->loop = loop;
    cr_assert_eq(vm_timer_set(loop, &item->timer, deadline_ns, item_fired), 0);
}

static void post(struct vm_loop *loop, struct item *item)
{
    item->loop = loop;
    vm_loop_post(loop, &item->work, item_run);
}

/* ---- virtual time and timers ---- */

Test(loop, virtual_time_starts_at_zero_and_jumps_to_the_next_timer)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' }, b = { .name = 'b' };

    cr_assert_eq(vm_loop_now_ns(loop), 0);
    set(loop, &b, 700);
    set(loop, &a, 300);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);
    cr_assert_eq(vm_loop_now_ns(loop), 300);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);
    cr_assert_eq(vm_loop_now_ns(loop), 700);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 0, "nothing is left");
    cr_assert_eq(vm_loop_now_ns(loop), 700);

    cr_assert_str_eq(trace.text, "ab");
    vm_loop_free(loop);
}

Test(loop, virtual_time_jumps_at_most_by_the_timeout)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' };

    set(loop, &a, 300);
    cr_assert_eq(vm_loop_step(loop, 299), 0);
    cr_assert_eq(vm_loop_now_ns(loop), 299);
    cr_assert_eq(vm_loop_step(loop, 1), 1);
    cr_assert_eq(vm_loop_now_ns(loop), 300);
    cr_assert_eq(vm_loop_step(loop, 1000), 0);

    cr_assert_eq(vm_loop_now_ns(loop), 1300, "as a real wait without a timer would");
    vm_loop_free(loop);
}

Test(loop, virtual_time_stands_still_while_there_is_work)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' }, w = { .name = 'w' };

    set(loop, &a, 300);
    post(loop, &w);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_eq(vm_loop_now_ns(loop), 0);
    vm_timer_cancel(&a.timer);
    vm_loop_free(loop);
}

Test(loop, virtual_time_does_not_read_the_clock)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' };

    test_clock.step_ns = 1;
    set(loop, &a, 300);
    vm_loop_step(loop, FOREVER);

    cr_assert_eq(test_clock.now_ns, 0);
    vm_loop_free(loop);
}

Test(loop, a_jump_past_the_end_of_time_stops_there)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);

    vm_loop_step(loop, FOREVER - 1);
    vm_loop_step(loop, FOREVER - 1);

    cr_assert_eq(vm_loop_now_ns(loop), UINT64_MAX);
    vm_loop_free(loop);
}

Test(loop, equal_deadlines_fire_in_the_order_they_were_set)
{
    enum { COUNT = 60 };
    static struct item items[COUNT];
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);

    for (int i = 0; i < COUNT; i++) {
        items[i].name = (char)('A' + i);
        set(loop, &items[i], i % 2 ? 20 : 10);
    }
    vm_loop_step(loop, FOREVER);
    vm_loop_step(loop, FOREVER);

    cr_assert_eq(strlen(trace.text), COUNT);
    for (int i = 0; i < COUNT; i++) {
        int expected = i < COUNT / 2 ? 2 * i : 2 * (i - COUNT / 2) + 1;

        cr_assert_eq(trace.text[i], 'A' + expected);
    }
    vm_loop_free(loop);
}

Test(loop, setting_an_armed_timer_again_moves_it_behind_its_equals)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };

    set(loop, &a, 10);
    set(loop, &b, 10);
    set(loop, &c, 50);
    set(loop, &a, 10);
    set(loop, &c, 5);
    vm_loop_step(loop, FOREVER);
    vm_loop_step(loop, FOREVER);

    cr_assert_str_eq(trace.text, "cba");
    vm_loop_free(loop);
}

Test(loop, a_cancelled_timer_does_not_fire)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' }, b = { .name = 'b' };

    set(loop, &a, 10);
    set(loop, &b, 20);
    vm_timer_cancel(&a.timer);
    vm_timer_cancel(&a.timer);
    vm_loop_step(loop, FOREVER);

    cr_assert_str_eq(trace.text, "b");
    vm_loop_free(loop);
}

static void cancel_other_timer(struct item *item)
{
    vm_timer_cancel(&item->other->timer);
}

Test(loop, a_timer_may_cancel_one_that_is_due_with_it)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item b = { .name = 'b' };
    struct item a = { .name = 'a', .then = cancel_other_timer, .other = &b };

    set(loop, &a, 10);
    set(loop, &b, 10);
    vm_loop_step(loop, FOREVER);
    vm_loop_step(loop, FOREVER);

    cr_assert_str_eq(trace.text, "a");
    vm_loop_free(loop);
}

static void set_again_in_the_past(struct item *item)
{
    set(item->loop, item, 0);
}

Test(loop, a_timer_that_sets_itself_into_the_past_does_not_keep_others_waiting)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a', .then = set_again_in_the_past }, b = { .name = 'b' };

    set(loop, &a, 10);
    set(loop, &b, 10);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 2, "the new one waits for the next round");
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_str_eq(trace.text, "aba");
    cr_assert_eq(vm_loop_now_ns(loop), 10);
    cr_assert_eq(a.timer.deadline_ns, 0, "the caller's own number stays");
    vm_timer_cancel(&a.timer);
    vm_loop_free(loop);
}

Test(loop, past_deadlines_fire_in_their_order)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' }, b = { .name = 'b' };

    test_clock.now_ns = 1000;
    set(loop, &b, 20);
    set(loop, &a, 10);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 2);

    cr_assert_str_eq(trace.text, "ab");
    vm_loop_free(loop);
}

Test(loop, a_timer_can_move_to_another_loop)
{
    struct vm_loop *one = make_loop(VM_LOOP_VIRTUAL), *two = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' };

    set(one, &a, 10);
    set(two, &a, 20);
    cr_assert_eq(vm_loop_step(one, FOREVER), 0);
    cr_assert_eq(vm_loop_step(two, FOREVER), 1);

    vm_loop_free(one);
    vm_loop_free(two);
}

/* The heap against the plainest model: random sets and cancels, the first by (time, sequence)
 * fires. */
enum { MANY = 200 };
static struct item many[MANY];
static uint64_t many_due[MANY], many_sequence[MANY]; /* 0: not armed */

static struct item *model_first(void)
{
    struct item *first = NULL;

    for (int i = 0; i < MANY; i++) {
        int f = first ? (int)(first - many) : 0;

        if (many_due[i] && (!first || many_due[i] < many_due[f] ||
                            (many_due[i] == many_due[f] && many_sequence[i] < many_sequence[f])))
            first = &many[i];
    }
    return first;
}

static void many_fired(struct vm_timer *timer)
{
    struct item *item = container_of(timer, struct item, timer);

    cr_assert_eq(item, model_first());
    many_due[item - many] = 0;
}

/* A linear congruential generator (Knuth's MMIX constants): the upper bits are good enough. */
static unsigned next_random(uint64_t *state)
{
    __builtin_mul_overflow(*state, UINT64_C(6364136223846793005), state);
    __builtin_add_overflow(*state, UINT64_C(1442695040888963407), state);
    return (unsigned)(*state >> 33);
}

Test(loop, the_heap_agrees_with_a_plain_list)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    uint64_t sequence = 0;
    uint64_t random = 1;

    for (int i = 0; i < 20000; i++) {
        unsigned at = next_random(&random) % MANY, what = next_random(&random) % 8;

        if (what == 0) {
            vm_timer_cancel(&many[at].timer);
            many_due[at] = 0;
        } else if (what == 1) {
            vm_loop_step(loop, FOREVER);
        } else {
            many_due[at] = vm_loop_now_ns(loop) + 1 + next_random(&random) % 50;
            many_sequence[at] = ++sequence;
            vm_timer_set(loop, &many[at].timer, many_due[at], many_fired);
        }
    }
    while (vm_loop_step(loop, FOREVER) > 0)
        ;

    cr_assert_null(model_first());
    vm_loop_free(loop);
}

/* ---- real time ---- */

Test(loop, real_time_is_the_environments_clock)
{
    struct vm_loop *loop = make_loop(0);

    test_clock.now_ns = 12345;

    cr_assert_eq(vm_loop_now_ns(loop), 12345);
    vm_loop_free(loop);
}

Test(loop, a_real_timer_fires_when_its_time_has_come_and_not_before)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };

    test_clock.now_ns = 1000;
    set(loop, &a, 2000); /* the loop really waits this microsecond */
    cr_assert_eq(vm_loop_step(loop, FOREVER), 0);
    test_clock.now_ns = 2000;
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    vm_loop_free(loop);
}

Test(loop, a_real_step_waits_no_longer_than_its_timeout)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };

    set(loop, &a, UINT64_MAX);
    cr_assert_eq(vm_loop_step(loop, 0), 0);
    cr_assert_eq(vm_loop_step(loop, 1000), 0);

    vm_timer_cancel(&a.timer);
    vm_loop_free(loop);
}

/* A kernel before 5.11: epoll_pwait2 does not exist. */
static void forbid_epoll_pwait2(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(loop, old_kernels_wait_in_milliseconds)
{
    struct vm_loop *loop = make_loop(0);

    forbid_epoll_pwait2();
    cr_assert_eq(vm_loop_step(loop, 1000), 0);
    cr_assert_eq(vm_loop_step(loop, 1000), 0);

    vm_loop_free(loop);
}

/* ---- watches ---- */

struct pair {
    int near, far;
};

static struct pair make_pair(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static void watch(struct vm_loop *loop, struct item *item, int fd, uint32_t events)
{
    item->loop = loop;
    cr_assert_eq(vm_watch_add(loop, &item->watch, fd, events, item_ready), 0);
}

Test(loop, a_ready_fd_is_served_with_its_events)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLIN);
    cr_assert_eq(vm_loop_step(loop, 0), 0);
    cr_assert_eq(write(pair.far, "x", 1), 1);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_eq(a.events, EPOLLIN);
    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, fds_are_served_in_virtual_time_too)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a' }, t = { .name = 't' };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLIN);
    set(loop, &t, 100);
    cr_assert_eq(write(pair.far, "x", 1), 1);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);
    cr_assert_eq(vm_loop_now_ns(loop), 0);
    vm_watch_del(&a.watch);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_str_eq(trace.text, "at");
    vm_loop_free(loop);
}

Test(loop, a_watch_that_is_active_is_not_added_again)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { 0 };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLIN);
    cr_assert_eq(vm_watch_add(loop, &a.watch, pair.far, EPOLLIN, item_ready), -EEXIST);

    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, a_regular_file_cannot_be_watched)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { 0 };
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(vm_watch_add(loop, &a.watch, fd, EPOLLIN, item_ready), -EPERM);
    cr_assert_not_null(strstr(vm_error_text(), "regular file"));
    cr_assert_eq(vm_watch_add(loop, &a.watch, -1, EPOLLIN, item_ready), -EBADF);

    cr_assert_not(a.watch.active);
    vm_watch_del(&a.watch);
    close(fd);
    vm_loop_free(loop);
}

static void del_other_watch(struct item *item)
{
    vm_watch_del(&item->other->watch);
}

Test(loop, a_watch_deleted_by_another_call_back_of_the_same_round_is_not_called)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = del_other_watch };
    struct item b = { .name = 'b', .then = del_other_watch };
    struct pair one = make_pair(), two = make_pair();

    a.other = &b;
    b.other = &a;
    watch(loop, &a, one.near, EPOLLOUT);
    watch(loop, &b, two.near, EPOLLOUT);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    cr_assert_eq(strlen(trace.text), 1);
    vm_watch_del(&a.watch);
    vm_watch_del(&b.watch);
    vm_loop_free(loop);
}

static void replace_other_watch(struct item *item)
{
    vm_watch_del(&item->other->watch);
    watch(item->loop, item->other, item->other->watch.fd, EPOLLIN);
}

Test(loop, a_watch_added_again_in_the_same_round_does_not_get_old_events)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = replace_other_watch };
    struct item b = { .name = 'b', .then = replace_other_watch };
    struct pair one = make_pair(), two = make_pair();

    a.other = &b;
    b.other = &a;
    watch(loop, &a, one.near, EPOLLOUT);
    watch(loop, &b, two.near, EPOLLOUT);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    vm_watch_del(&a.watch);
    vm_watch_del(&b.watch);
    vm_loop_free(loop);
}

static void pause_other_watch(struct item *item)
{
    cr_assert_eq(vm_watch_set(&item->other->watch, 0), 0);
}

Test(loop, a_watch_paused_in_the_same_round_is_not_called)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = pause_other_watch };
    struct item b = { .name = 'b', .then = pause_other_watch };
    struct pair one = make_pair(), two = make_pair();

    a.other = &b;
    b.other = &a;
    watch(loop, &a, one.near, EPOLLOUT);
    watch(loop, &b, two.near, EPOLLOUT);
    cr_assert_eq(vm_loop_step(loop, FOREVER), 1);

    vm_watch_del(&a.watch);
    vm_watch_del(&b.watch);
    vm_loop_free(loop);
}

Test(loop, a_paused_watch_is_silent_even_when_the_peer_hangs_up_and_then_goes_on)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLIN);
    cr_assert_eq(vm_watch_set(&a.watch, 0), 0);
    cr_assert_eq(vm_watch_set(&a.watch, 0), 0);
    close(pair.far);
    cr_assert_eq(vm_loop_step(loop, 0), 0);
    cr_assert_eq(vm_watch_set(&a.watch, EPOLLOUT), 0);
    cr_assert_eq(vm_loop_step(loop, 0), 1);

    cr_assert_eq(a.events, EPOLLOUT | EPOLLHUP);
    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, a_watch_can_begin_paused)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, 0);
    cr_assert_eq(vm_loop_step(loop, 0), 0);
    vm_watch_set(&a.watch, EPOLLOUT);
    cr_assert_eq(vm_loop_step(loop, 0), 1);
    vm_watch_set(&a.watch, EPOLLIN);
    cr_assert_eq(vm_loop_step(loop, 0), 0);

    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, setting_an_edge_triggered_watch_again_reports_it_again)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a' };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLOUT | EPOLLET);
    cr_assert_eq(vm_loop_step(loop, 0), 1);
    cr_assert_eq(vm_loop_step(loop, 0), 0);
    vm_watch_set(&a.watch, EPOLLOUT | EPOLLET);
    cr_assert_eq(vm_loop_step(loop, 0), 1);

    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, an_error_of_epoll_is_handed_on)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { 0 };
    struct pair pair = make_pair();

    watch(loop, &a, pair.near, EPOLLIN);
    vm_watch_set(&a.watch, 0);
    close(pair.near);
    cr_assert_eq(vm_watch_set(&a.watch, EPOLLIN), -EBADF);

    cr_assert_eq(a.watch.events, 0, "nothing changed");
    vm_watch_del(&a.watch);
    vm_loop_free(loop);
}

Test(loop, more_ready_fds_than_one_round_takes_are_all_served)
{
    enum { COUNT = 80 };
    static struct item items[COUNT];
    struct vm_loop *loop = make_loop(0);
    int served = 0;

    for (int i = 0; i < COUNT; i++) {
        items[i].name = 'x';
        watch(loop, &items[i], make_pair().near, EPOLLOUT | EPOLLET);
    }
    for (int i = 0; i < 2; i++)
        served += vm_loop_step(loop, 0);

    cr_assert_eq(served, COUNT);
    for (int i = 0; i < COUNT; i++)
        vm_watch_del(&items[i].watch);
    vm_loop_free(loop);
}

/* ---- posted work ---- */

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

static void stop_loop(struct item *item)
{
    vm_loop_stop(item->loop);
}

static void *run_loop(void *arg)
{
    return vm_loop_run(arg) ? arg : NULL;
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

/* ---- running and stopping ---- */

Test(loop, a_stop_before_the_run_ends_that_run_only)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a', .then = stop_loop };

    vm_loop_stop(loop);
    set(loop, &a, 10);
    cr_assert_eq(vm_loop_run(loop), 0);
    cr_assert_str_eq(trace.text, "");
    cr_assert_eq(vm_loop_run(loop), 0);

    cr_assert_str_eq(trace.text, "a");
    vm_loop_free(loop);
}

Test(loop, stop_ends_the_run_after_the_current_call_back_and_loses_nothing)
{
    struct vm_loop *loop = make_loop(0);
    struct item t = { .name = 't', .then = stop_loop }, u = { .name = 'u' };
    struct item v = { .name = 'v', .then = stop_loop }, w = { .name = 'w', .then = stop_loop };
    struct item x = { .name = 'x', .then = stop_loop }, y = { .name = 'y', .then = stop_loop };
    struct pair one = make_pair(), two = make_pair();

    /* Edges come once: what is not served now must not be forgotten. */
    watch(loop, &x, one.near, EPOLLOUT | EPOLLET);
    watch(loop, &y, two.near, EPOLLOUT | EPOLLET);
    set(loop, &t, 0);
    set(loop, &u, 0);
    post(loop, &v);
    post(loop, &w);
    vm_loop_run(loop);
    cr_assert_str_eq(trace.text, "t");
    vm_loop_run(loop);
    cr_assert_str_eq(trace.text, "tuv");
    vm_loop_run(loop);
    cr_assert_str_eq(trace.text, "tuvw");
    vm_loop_run(loop);
    cr_assert_str_eq(trace.text, "tuvwx");
    vm_loop_run(loop);

    cr_assert_str_eq(trace.text, "tuvwxy");
    vm_watch_del(&x.watch);
    vm_watch_del(&y.watch);
    vm_loop_free(loop);
}

Test(loop, a_virtual_run_without_timers_waits_for_others)
{
    struct vm_loop *loop = make_loop(VM_LOOP_VIRTUAL);
    struct item a = { .name = 'a', .then = stop_loop };
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_loop, loop), 0);
    post(loop, &a);
    pthread_join(thread, NULL);

    cr_assert_str_eq(trace.text, "a");
    vm_loop_free(loop);
}

static int nested_rc;

static void step_inside(struct item *item)
{
    nested_rc = vm_loop_step(item->loop, 0);
    cr_assert_eq(vm_loop_run(item->loop), nested_rc);
}

Test(loop, a_call_back_cannot_step_its_own_loop)
{
    struct vm_loop *loop = make_loop(0);
    struct item a = { .name = 'a', .then = step_inside };

    post(loop, &a);
    cr_assert_eq(vm_loop_step(loop, 0), 1);

    cr_assert_eq(nested_rc, -EDEADLK);
    vm_loop_free(loop);
}

static void *ask_mine(void *arg)
{
    return vm_loop_is_mine(arg) ? arg : NULL;
}

static bool is_anothers(struct vm_loop *loop)
{
    pthread_t thread;
    void *mine;

    cr_assert_eq(pthread_create(&thread, NULL, ask_mine, loop), 0);
    pthread_join(thread, &mine);
    return mine;
}

Test(loop, a_loop_belongs_to_everyone_until_a_thread_runs_it)
{
    struct vm_loop *loop = make_loop(0);

    cr_assert(is_anothers(loop));
    vm_loop_step(loop, 0);
    cr_assert(vm_loop_is_mine(loop));
    cr_assert_not(is_anothers(loop));
    vm_loop_stop(loop);
    vm_loop_run(loop);

    cr_assert(is_anothers(loop), "after the run it is everyone's again");
    vm_loop_free(loop);
}

static struct rlimit lower_fds(rlim_t limit)
{
    struct rlimit before, low;

    getrlimit(RLIMIT_NOFILE, &before);
    low = (struct rlimit){ limit, before.rlim_max };
    setrlimit(RLIMIT_NOFILE, &low);
    return before;
}

Test(loop, no_fd_left_is_an_error_and_nothing_leaks)
{
    struct vm_env env = { 0 };
    struct vm_loop *loop = NULL;
    int next = dup(0);

    close(next);
    struct rlimit before = lower_fds((rlim_t)next);
    int none = vm_loop_new(&env, 0, &loop);
    lower_fds((rlim_t)next + 1);
    int one = vm_loop_new(&env, 0, &loop);
    setrlimit(RLIMIT_NOFILE, &before);
    int after = dup(0);

    cr_assert_eq(none, -EMFILE);
    cr_assert_eq(one, -EMFILE);
    cr_assert_eq(after, next);
    cr_assert_null(loop);
    close(after);
}

Test(loop, freeing_no_loop_is_allowed)
{
    vm_loop_free(NULL);
}
