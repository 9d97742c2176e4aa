/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>

#include "emulated.h"
#include "loop_test.h"

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
    skip_in_emulator("seccomp filters");
    struct vm_loop *loop = make_loop(0);

    forbid_epoll_pwait2();
    cr_assert_eq(vm_loop_step(loop, 1000), 0);
    cr_assert_eq(vm_loop_step(loop, 1000), 0);

    vm_loop_free(loop);
}

/* ---- watches ---- */

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
    struct vm_loop *loop = make_loop(0);
    struct vm_watch watch = { 0 };
    int next = dup(0);

    close(next);
    struct rlimit before = lower_fds((rlim_t)next);
    int none = vm_watch_add(loop, &watch, 0, EPOLLIN, NULL), wait = vm_loop_step(loop, 0);
    lower_fds((rlim_t)next + 1);
    int one = vm_watch_add(loop, &watch, 0, EPOLLIN, NULL);
    setrlimit(RLIMIT_NOFILE, &before);
    int after = dup(0);

    cr_assert_eq(none, -EMFILE);
    cr_assert_eq(wait, -EMFILE);
    cr_assert_eq(one, -EMFILE);
    cr_assert_eq(after, next);
    close(after);
    vm_loop_free(loop);
}

Test(loop, freeing_no_loop_is_allowed)
{
    vm_loop_free(NULL);
}
