/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>

#include <vmm/base/version.h>

#include "stepping.h"

struct map {
    struct vm_version version;
    unsigned *released; /* atomic counter */
    uint64_t a, b; /* always equal, until released */
};

static void release_map(struct vm_version *version)
{
    struct map *map = container_of(version, struct map, version);

    __atomic_add_fetch(map->released, 1, __ATOMIC_RELAXED);
    map->a = 1;
    map->b = 2;
    free(map);
}

static struct vm_version *make_map(unsigned *released, uint64_t value)
{
    struct map *map = malloc(sizeof(*map));

    cr_assert_not_null(map);
    *map = (struct map){ { .release = release_map }, released, value, value };
    return &map->version;
}

static uint64_t value_of(const struct vm_version *version)
{
    return container_of(version, const struct map, version)->a;
}

Test(version, a_reader_gets_the_newest)
{
    struct vm_versioned v;
    struct vm_reader reader;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 1));
    vm_reader_add(&v, &reader);
    vm_version_publish(&v, make_map(&released, 2));

    cr_assert_eq(value_of(vm_version_enter(&reader)), 2);
    cr_assert_eq(value_of(vm_version_current(&v)), 2);
    vm_version_leave(&reader);
    vm_reader_del(&reader);
    vm_versioned_destroy(&v);
}

Test(version, without_a_reader_inside_the_old_one_goes_at_once)
{
    struct vm_versioned v;
    struct vm_reader reader;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 1));
    vm_reader_add(&v, &reader);
    vm_version_enter(&reader);
    vm_version_leave(&reader);
    vm_version_publish(&v, make_map(&released, 2));

    cr_assert_eq(released, 1);
    vm_reader_del(&reader);
    vm_versioned_destroy(&v);
}

Test(version, a_reader_keeps_what_it_looks_at_until_it_leaves)
{
    struct vm_versioned v;
    struct vm_reader reader;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 1));
    vm_reader_add(&v, &reader);
    const struct vm_version *version = vm_version_enter(&reader);
    vm_version_publish(&v, make_map(&released, 2));
    cr_assert_eq(released, 0);
    cr_assert_eq(value_of(version), 1);
    vm_version_leave(&reader);

    cr_assert_eq(released, 1, "in the leave, not in the next publish");
    vm_reader_del(&reader);
    vm_versioned_destroy(&v);
}

Test(version, only_the_last_reader_of_a_version_lets_it_go)
{
    struct vm_versioned v;
    struct vm_reader one, two;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 1));
    vm_reader_add(&v, &one);
    vm_reader_add(&v, &two);
    vm_version_enter(&one);
    vm_version_enter(&two);
    vm_version_publish(&v, make_map(&released, 2));
    vm_version_leave(&one);
    cr_assert_eq(released, 0);
    vm_version_enter(&one);
    vm_version_leave(&two);

    cr_assert_eq(released, 1, "the newer version in use by the other does not matter");
    vm_version_leave(&one);
    vm_reader_del(&one);
    vm_reader_del(&two);
    vm_versioned_destroy(&v);
}

Test(version, an_old_version_is_kept_while_newer_ones_come_and_go)
{
    struct vm_versioned v;
    struct vm_reader reader;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 0));
    vm_reader_add(&v, &reader);
    const struct vm_version *version = vm_version_enter(&reader);
    for (uint64_t i = 1; i <= 5; i++)
        vm_version_publish(&v, make_map(&released, i));
    cr_assert_eq(released, 4);
    cr_assert_eq(value_of(version), 0);
    vm_version_leave(&reader);

    cr_assert_eq(released, 5);
    vm_reader_del(&reader);
    vm_versioned_destroy(&v);
    cr_assert_eq(released, 6);
}

Test(version, destroy_releases_everything)
{
    struct vm_versioned v;
    unsigned released = 0;

    vm_versioned_init(&v, "map", make_map(&released, 0));
    vm_version_publish(&v, make_map(&released, 1));
    vm_versioned_destroy(&v);

    cr_assert_eq(released, 2);
}

/* A version whose release looks at the lock. */
struct probe {
    struct vm_version version;
    struct vm_versioned *v;
    bool free;
};

static void release_probe(struct vm_version *version)
{
    struct probe *probe = container_of(version, struct probe, version);

    probe->free = vm_lock_try(&probe->v->lock);
    if (probe->free)
        vm_lock_release(&probe->v->lock);
}

Test(version, release_is_called_without_the_lock)
{
    struct vm_versioned v;
    struct probe a = { { .release = release_probe }, &v, false };
    struct probe b = { { .release = release_probe }, &v, false };

    vm_versioned_init(&v, "map", &a.version);
    vm_version_publish(&v, &b.version);

    cr_assert(a.free);
    vm_versioned_destroy(&v);
}

#ifdef VMM_DEBUG
static void count_violation(void *ctx, const char *text)
{
    (void)text;
    ++*(unsigned *)ctx;
}

Test(version, leaving_with_a_leaf_lock_held_is_found_even_when_nothing_is_retired)
{
    struct vm_versioned v;
    struct vm_reader reader;
    struct vm_lock leaf;
    unsigned released = 0, violations = 0;

    vm_lock_init(&leaf, VM_RANK_LEAF, "leaf");
    vm_versioned_init(&v, "map", make_map(&released, 1));
    vm_reader_add(&v, &reader);
    vm_lock_on_violation(count_violation, &violations);
    vm_lock_acquire(&leaf);
    vm_version_enter(&reader);
    cr_assert_eq(violations, 0);
    vm_version_leave(&reader);
    vm_lock_release(&leaf);

    cr_assert_eq(violations, 1);
    vm_reader_del(&reader);
    vm_versioned_destroy(&v);
}
#endif

enum { READERS = 4, PUBLISHES = 3000 };

struct stress {
    struct vm_versioned v;
    unsigned done;
    unsigned released;
};

static void *read_on(void *arg)
{
    struct stress *s = arg;
    struct vm_reader reader;
    uint64_t last = 0;
    void *bad = NULL;

    vm_reader_add(&s->v, &reader);
    while (!__atomic_load_n(&s->done, __ATOMIC_RELAXED)) {
        const struct map *map = container_of(vm_version_enter(&reader), struct map, version);

        if (map->a != map->b || map->a < last)
            bad = s; /* released while in use, or older than what was seen before */
        last = map->a;
        vm_version_leave(&reader);
    }
    vm_reader_del(&reader);
    return bad;
}

Test(version, readers_and_a_writer_in_many_threads_agree)
{
    struct stress s = { 0 };
    pthread_t thread[READERS];

    vm_versioned_init(&s.v, "map", make_map(&s.released, 0));
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, read_on, &s), 0);
    for (uint64_t i = 1; i <= PUBLISHES; i++)
        vm_version_publish(&s.v, make_map(&s.released, i));
    __atomic_store_n(&s.done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        void *bad;

        pthread_join(thread[i], &bad);
        cr_assert_null(bad);
    }

    cr_assert_eq(s.released, PUBLISHES, "nothing waits for the next publish");
    vm_versioned_destroy(&s.v);
    cr_assert_eq(s.released, PUBLISHES + 1);
}

/* The two pairs of version.c, instruction by instruction: the child reads, the parent publishes. */
enum { STEPS = 4000 };

struct stepped {
    struct vm_versioned v;
    struct vm_reader reader;
    struct probed {
        struct vm_version version;
        unsigned released;
    } probed[STEPS + 1];
    unsigned passed; /* the child has got past what is stepped through */
    unsigned bad; /* the child was given a version that is released */
};

static void release_probed(struct vm_version *version)
{
    container_of(version, struct probed, version)->released++;
}

static void child_enters(void *arg)
{
    struct stepped *s = arg;

    for (;;) {
        s->passed = 0;
        raise(SIGSTOP);
        struct vm_version *version = vm_version_enter(&s->reader);
        s->passed = 1;

        s->bad += container_of(version, struct probed, version)->released;
        vm_version_leave(&s->reader);
    }
}

static void child_leaves(void *arg)
{
    struct stepped *s = arg;

    for (;;) {
        vm_version_enter(&s->reader);
        s->passed = 0;
        raise(SIGSTOP);
        vm_version_leave(&s->reader);
        s->passed = 1;
    }
}

static struct stepped *stepped_new(void)
{
    struct stepped *s = stepping_memory(sizeof(*s));

    for (int i = 0; i <= STEPS; i++)
        s->probed[i].version.release = release_probed;
    vm_versioned_init(&s->v, "stepped", &s->probed[0].version);
    vm_reader_add(&s->v, &s->reader);
    return s;
}

/* Publishes after 0, 1, 2 ... instructions, until the child gets past the end before. */
static unsigned publish_at_every_step(struct stepped *s, pid_t pid,
                                      void (*check)(struct stepped *, unsigned))
{
    for (unsigned n = 0; n < STEPS; n++) {
        for (unsigned i = 0; i < n && !s->passed; i++)
            cr_assert(stepping_go(pid, PTRACE_SINGLESTEP, 0));
        if (s->passed)
            return n;
        vm_version_publish(&s->v, &s->probed[n + 1].version);
        cr_assert(stepping_go(pid, PTRACE_CONT, 0));
        check(s, n);
    }
    return 0;
}

static void check_entered(struct stepped *s, unsigned n)
{
    cr_assert_eq(s->bad, 0, "publish after %u instructions of enter", n);
}

Test(version, enter_never_gives_what_is_released_wherever_a_publish_cuts_in)
{
    struct stepped *s = stepped_new();
    pid_t pid = stepping_start(child_enters, s);

    unsigned steps = publish_at_every_step(s, pid, check_entered);

    cr_assert_gt(steps, 10);
    stepping_end(pid);
}

static void check_left(struct stepped *s, unsigned n)
{
    cr_assert_eq(s->probed[n].released, 1, "publish after %u instructions of leave", n);
}

Test(version, leave_or_publish_releases_the_old_one_wherever_a_publish_cuts_in)
{
    struct stepped *s;
    pid_t pid;

    if (STEPPING_LATE_SIGNALS)
        cr_skip("the thread sanitizer's pthread mutexes have steps of their own");
    s = stepped_new();
    pid = stepping_start(child_leaves, s);
    unsigned steps = publish_at_every_step(s, pid, check_left);

    cr_assert_gt(steps, 10);
    stepping_end(pid);
}
