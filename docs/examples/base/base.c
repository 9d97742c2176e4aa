/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library base alone: an event loop with a timer that fires three times, and work posted from another thread. With the
 * argument "virtual" the loop's clock jumps from timer to timer: the same output, without waiting.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>

enum { PERIOD_NS = 100000000, TICKS = 3 };

struct clock {
    struct vm_loop *loop;
    struct vm_timer timer;
    struct vm_work greeting;
    int ticks;
};

static void tick(struct vm_timer *timer)
{
    struct clock *c = container_of(timer, struct clock, timer);

    printf("tick %d\n", ++c->ticks);
    if (c->ticks == TICKS)
        vm_loop_stop(c->loop);
    else
        vm_timer_set(c->loop, timer, timer->deadline_ns + PERIOD_NS, tick);
}

static void greet(struct vm_work *work)
{
    (void)work;
    printf("posted by another thread, run by the loop's\n");
}

static void *poster(void *arg)
{
    struct clock *c = arg;

    vm_loop_post(c->loop, &c->greeting, greet);
    return NULL;
}

static int run(struct clock *c, unsigned flags)
{
    struct vm_env env;
    pthread_t thread;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    rc = vm_loop_new(&env, flags, &c->loop);
    if (rc)
        return rc;
    rc = vm_timer_set(c->loop, &c->timer, vm_loop_now_ns(c->loop) + PERIOD_NS, tick);
    if (!rc && pthread_create(&thread, NULL, poster, c))
        rc = vm_fail(-1, "no thread");
    if (!rc) {
        pthread_join(thread, NULL);
        rc = vm_loop_run(c->loop);
    }
    vm_timer_cancel(&c->timer);
    vm_loop_free(c->loop);
    return rc;
}

int main(int argc, char *argv[])
{
    struct clock c = { 0 };
    int rc = run(&c, argc > 1 && !strcmp(argv[1], "virtual") ? VM_LOOP_VIRTUAL : 0);

    if (rc)
        fprintf(stderr, "base: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
