/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <stdint.h>

#include "loop_test.h"

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
