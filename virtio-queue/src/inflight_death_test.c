/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Death at every step. A child process serves the queue and is stopped after each single instruction;
 * whenever it has changed something that stays, a successor takes over from there, ours or somebody
 * else's, at once or after the driver went on. The other way round, somebody else's back end dies after
 * each of its stores, and ours succeeds.
 */
#include "inflight_test.h"

#include "stepping.h"

enum { STEPS_MAX = 4 << 20 };

enum script { MIXED, ONE_BATCH, ONE_BY_ONE };

struct plan {
    uint64_t features;
    uint16_t size, shift; /* chains that were used before: where in the ring it begins */
    enum script script;
    bool mark;
    bool twice; /* the successor dies, too, wherever it can while it recovers */
};

static struct lab lab;
static struct plan plan;
static struct lab_moment moment, seen, first;

/* Ring entries of a packed ring: 2, 1, 3, 2. */
static void offer_four(void)
{
    lab_offer(&lab, 2, false);
    lab_offer(&lab, 3, true);
    lab_offer(&lab, 3, false);
    lab_offer(&lab, 2, false);
}

static void offer_two(void)
{
    lab_offer(&lab, 3, true);
    lab_offer(&lab, 2, true);
}

/* Taken together, done out of order, one by one and in a batch; one is given back and taken again. */
static void serve_mixed(struct vq *q)
{
    struct lab_chain c[4];

    for (int i = 0; i < 3; i++)
        lab_take(q, &c[i]);
    lab_run(&lab, q, &c[1]);
    vq_done(q, &c[1].c);
    lab_take(q, &c[3]);
    if (!(lab.features & VQ_F_IN_ORDER)) {
        vq_undo(q, &c[3].c);
        lab_take(q, &c[3]);
    }
    lab_run(&lab, q, &c[3]);
    lab_run(&lab, q, &c[0]);
    vq_put(q, &c[3].c);
    vq_put(q, &c[0].c);
    vq_publish(q);
    lab_run(&lab, q, &c[2]);
    vq_done(q, &c[2].c);
}

static void serve_one_batch(struct vq *q)
{
    struct lab_chain c[4];

    for (int i = 0; i < 4; i++) {
        lab_take(q, &c[i]);
        lab_run(&lab, q, &c[i]);
    }
    for (int i = 3; i >= 0; i--)
        vq_put(q, &c[i].c);
    vq_publish(q);
}

static void serve_one_by_one(struct vq *q)
{
    struct lab_chain c;

    while (lab_take(q, &c) > 0) {
        lab_run(&lab, q, &c);
        vq_done(q, &c.c);
    }
}

/* The one that dies. */
static void serve(void *arg)
{
    struct vq q;

    (void)arg;
    if (lab_start(&lab, &q))
        return;
    raise(SIGSTOP);
    switch (plan.script) {
    case MIXED: serve_mixed(&q); break;
    case ONE_BATCH: serve_one_batch(&q); break;
    default: serve_one_by_one(&q); break;
    }
    lab.arena->done = 1;
    raise(SIGSTOP);
}

/* Memory that the successor needs and the steps of which count. */
static bool has_changed(void)
{
    return memcmp(lab.arena, &seen.arena, sizeof(seen.arena)) != 0;
}

/* More than the driver has to find: what was certain at death ran once. */
static const char *check_runs(void)
{
    for (uint32_t i = 0; i < lab.offered; i++) {
        if (moment.arena.marked[i] && lab.arena->runs[i] != moment.arena.runs[i])
            return "a marked request ran again";
        if (!moment.arena.runs[i] && lab.arena->runs[i] != 1)
            return "a request that had not run ran twice";
    }
    return NULL;
}

/* What a moment must lead to, whoever comes after. goes_on: the driver collects and offers in between. */
static void succeed(bool foreign, bool goes_on, long step)
{
    struct foreign_backend f = lab_foreign(&lab, UINT64_MAX);
    uint8_t back[LAB_REQS];
    const char *wrong = NULL;

    if (goes_on) {
        wrong = lab_collect(&lab);
        for (uint32_t i = 0; i < LAB_REQS; i++)
            back[i] = (uint8_t)lab.back[i];
        if (!wrong && lab.drv.free_slots >= 2)
            offer_two();
    }
    if (!wrong && foreign)
        lab_foreign_succeed(&lab, &f);
    else if (!wrong)
        wrong = lab_succeed(&lab);
    for (uint32_t i = 0; !wrong && goes_on && i < LAB_REQS; i++)
        if (back[i] && lab.arena->runs[i] != moment.arena.runs[i])
            wrong = "a request ran again that the driver had back";
    if (!wrong)
        wrong = lab_check(&lab);
    if (!wrong && !foreign)
        wrong = check_runs();
    cr_assert_null(wrong, "features %llx size %u shift %u script %d step %ld %s %d: %s",
                   (unsigned long long)plan.features, plan.size, plan.shift, plan.script, step,
                   foreign ? "foreign" : "ours", goes_on, wrong);
}

/* A batch that fills a packed ring: the specification's recovery does not see it. And its batches
 * leave used descriptors behind where they were not published. */
static bool foreign_can(void)
{
    return !(plan.features & VQ_F_RING_PACKED) || plan.script == ONE_BY_ONE;
}

static void try_successors(long step)
{
    lab_keep(&lab, &moment);
    for (int how = 0; how < 4; how++) {
        if (how & 1 && !foreign_can())
            continue;
        succeed(how & 1, how & 2, step);
        lab_back(&lab, &moment);
    }
}

/* A successor that dies before it serves. */
static void recover(void *arg)
{
    struct vq q;

    (void)arg;
    if (lab_queue(&lab, &q))
        return;
    raise(SIGSTOP);
    if (vq_start(&q, lab.features))
        return;
    lab.arena->done = 1;
    raise(SIGSTOP);
}

/* The log and the ring do not agree: what a recovery is about. */
static bool is_inside_batch(void)
{
    const uint8_t *r = lab.arena->region;

    if (!(plan.features & VQ_F_RING_PACKED))
        return memcmp(r + 14, lab.arena->ram + lab.drv.device + 2, 2) != 0;
    return memcmp(r + 16, r + 18, 2) || r[20] != r[21];
}

static void die_in_recovery(void)
{
    pid_t pid;
    long step;

    lab_keep(&lab, &first);
    seen = first;
    pid = stepping_start(recover, NULL);
    for (step = 1; !lab.arena->done && step < STEPS_MAX; step++) {
        cr_assert(stepping_go(pid, PTRACE_SINGLESTEP, 0));
        if (!has_changed() || lab.arena->done)
            continue;
        lab_keep(&lab, &seen);
        try_successors(step);
    }
    stepping_end(pid);
    cr_assert(lab.arena->done);
    lab_back(&lab, &first);
}

static void prepare(struct lab_arena *arena)
{
    lab_init(&lab, arena, plan.size, plan.features);
    lab.mark = plan.mark;
    for (uint16_t i = 0; i < plan.shift; i++) {
        lab_offer(&lab, 2, true);
        cr_assert_null(lab_succeed(&lab));
        cr_assert_null(lab_collect(&lab));
    }
    memset(arena->marked, 0, sizeof(arena->marked));
    offer_four();
}

/* Returns the number of moments at which it died. */
static long die_everywhere(void)
{
    struct lab_arena *arena = stepping_memory(sizeof(*arena));
    long moments = 0, step;
    pid_t pid;

    prepare(arena);
    pid = stepping_start(serve, NULL);
    lab_keep(&lab, &seen);
    try_successors(0);
    for (step = 1; !arena->done && step < STEPS_MAX; step++) {
        cr_assert(stepping_go(pid, PTRACE_SINGLESTEP, 0));
        if (!has_changed())
            continue;
        moments++;
        if (plan.twice && is_inside_batch())
            die_in_recovery();
        lab_keep(&lab, &seen);
        try_successors(step);
    }
    stepping_end(pid);
    cr_assert(arena->done);
    lab_exit(&lab);
    munmap(arena, sizeof(*arena));
    return moments;
}

static const uint64_t kinds[] = { 0, VQ_F_RING_PACKED };
static const uint16_t shifts[] = { 6, 0, 3 }; /* 6: across the ring's end */

static void die_in(enum script script, uint64_t features, bool mark, size_t places)
{
    for (size_t k = 0; k < 2; k++)
        for (size_t s = 0; s < places; s++) {
            plan = (struct plan){ .features = kinds[k] | features,
                                  .size = LAB_SIZE,
                                  .shift = shifts[s],
                                  .script = script,
                                  .mark = mark };

            cr_assert_geq(die_everywhere(), 30);
        }
}

Test(inflight_death, one_by_one_everything_comes_back_once)
{
    die_in(ONE_BY_ONE, 0, false, 3);
}

Test(inflight_death, out_of_order_and_in_batches_everything_comes_back_once)
{
    die_in(MIXED, 0, false, 3);
}

Test(inflight_death, batch_that_fills_the_ring_comes_back_once)
{
    die_in(ONE_BATCH, 0, false, 3);
}

Test(inflight_death, in_order_everything_comes_back_once)
{
    die_in(MIXED, VQ_F_IN_ORDER, false, 1);
}

Test(inflight_death, event_index_changes_nothing)
{
    die_in(MIXED, VQ_F_EVENT_IDX, false, 1);
}

Test(inflight_death, marked_request_never_runs_twice)
{
    die_in(MIXED, 0, true, 1);
}

Test(inflight_death, successor_may_die_while_it_recovers)
{
    for (size_t k = 0; k < 2; k++) {
        plan = (struct plan){ .features = kinds[k], .size = LAB_SIZE, .shift = 6, .twice = true };
        plan.script = ONE_BATCH;

        cr_assert_geq(die_everywhere(), 30);
    }
}

/* How somebody else's back end dies. */
struct death {
    uint64_t life; /* stores before it */
    bool batches, goes_on; /* goes_on: the driver collects before there is a successor */
    bool few; /* one request in the second round, so that the driver does not come around */
};

static void foreign_serve(struct foreign_backend *f, const struct death *d, int n)
{
    struct foreign_chain c[4];

    for (int i = 0; i < n; i++)
        if (foreign_take(f, &c[i]))
            lab_foreign_run(&lab, f, &c[i]);
    for (int i = n - 1; i >= 0 && f->life; i--) {
        foreign_put(f, &c[i]);
        if (!d->batches || i == 2 || i == 0)
            foreign_publish(f);
    }
}

/* False: it came to the end. */
static bool foreign_dies(const struct death *d)
{
    struct foreign_backend f = lab_foreign(&lab, d->life);

    foreign_init(&f);
    offer_four();
    foreign_serve(&f, d, 4);
    if (!f.life)
        return true;
    cr_assert_null(lab_collect(&lab));
    if (d->few)
        lab_offer(&lab, 2, false);
    else
        offer_four();
    foreign_serve(&f, d, d->few ? 1 : 4);
    return !f.life;
}

static void foreign_dies_everywhere(uint64_t features, uint16_t size, struct death d)
{
    static struct lab_arena arena;
    bool died = true;

    for (d.life = 1; died; d.life++) {
        const char *wrong = NULL;

        lab_init(&lab, &arena, size, features);
        died = foreign_dies(&d);
        if (d.goes_on)
            wrong = lab_collect(&lab);

        if (!wrong)
            wrong = lab_succeed(&lab);

        if (!wrong)
            wrong = lab_check(&lab);
        cr_assert_null(wrong, "features %llx size %u batches %d %d %d, after %llu stores: %s",
                       (unsigned long long)features, size, d.batches, d.goes_on, d.few,
                       (unsigned long long)d.life, wrong);
        lab_exit(&lab);
    }
    cr_assert_geq(d.life, 40);
}

static void foreign_dies_in(uint64_t features, uint16_t size)
{
    for (int how = 0; how < 8; how++)
        foreign_dies_everywhere(
            features, size,
            (struct death){ .batches = how & 1, .goes_on = how & 2, .few = how & 4 });
}

Test(inflight_death, ours_finishes_what_somebody_else_left_in_a_split_ring)
{
    foreign_dies_in(0, 8);
    foreign_dies_in(0, 16);
}

Test(inflight_death, ours_finishes_what_somebody_else_left_in_a_packed_ring)
{
    foreign_dies_in(VQ_F_RING_PACKED, 8);
    foreign_dies_in(VQ_F_RING_PACKED, 9);
    foreign_dies_in(VQ_F_RING_PACKED, 13);
}
