/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>

#include <vmm/base/version.h>

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
