/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Counters of a device in a process: what its VMM reads, and what the next process begins with. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/util.h>
#include <vmm/devices-core/counters.h>

#include "core_test.h"

struct pad {
    uint64_t before; /* a device's first member need not be its struct vdev */
    struct vdev dev;
    uint64_t left, right;
};

static const struct vdev_metric metrics[] = {
    { "left", offsetof(struct pad, left) - offsetof(struct pad, dev), "strokes" },
    { "right", offsetof(struct pad, right) - offsetof(struct pad, dev), "strokes" },
    { 0 },
};
/* Another program's: other names, and the same in another order. */
static const struct vdev_metric other_metrics[] = {
    { "lift", offsetof(struct pad, left) - offsetof(struct pad, dev), "strokes" },
    { "left", offsetof(struct pad, right) - offsetof(struct pad, dev), "strokes" },
    { 0 },
};
static const struct vdev_class pad_class = { .name = "pad", .metrics = metrics };
static const struct vdev_class other_class = { .name = "pad", .metrics = other_metrics };

static struct test_env t;
static struct vdev_counters *ours, *theirs; /* the VMM's, the process's */
static struct pad *pad;

static void begin_as(const struct vdev_class *cls)
{
    static const struct vdev_ops ops;
    struct vdev_context context = { .env = &t.env, .id = "pad0" };

    cr_assert_eq(vdev_counters_attach(vdev_counters_fd(ours), &theirs), 0, "%s", vm_error_text());
    context.counters = theirs;
    pad = vdev_alloc(&context, sizeof(*pad));
    cr_assert(pad && !pad->left && !pad->right);
    vdev_init(&pad->dev, cls, &ops, &context);
    vdev_counters_begin(theirs, &pad->dev);
}

static void begin(void)
{
    begin_as(&pad_class);
}

/* The process is gone at once, and the next one is made ready. */
static void die(void)
{
    uint64_t value[2];

    vdev_counters_free(theirs);
    theirs = NULL;
    vdev_counters_get(ours, &pad_class, value);
    vdev_counters_put(ours, &pad_class, value);
}

#define EXPECT_COUNTS(l, r)                          \
    do {                                             \
        uint64_t value_[2];                          \
        vdev_counters_get(ours, &pad_class, value_); \
        cr_expect_eq(value_[0], (uint64_t)(l));      \
        cr_expect_eq(value_[1], (uint64_t)(r));      \
    } while (0)

static void set_up(void)
{
    static const uint64_t none[2];

    test_env_init(&t);
    cr_assert_eq(vdev_counters_new("pad0", &ours), 0, "%s", vm_error_text());
    vdev_counters_put(ours, &pad_class, none);
}

static void tear_down(void)
{
    vdev_counters_free(theirs);
    vdev_counters_free(ours);
}

TestSuite(counters, .init = set_up, .fini = tear_down);

Test(counters, what_a_process_counts_is_read_without_asking_it)
{
    EXPECT_COUNTS(0, 0);
    begin();
    EXPECT_COUNTS(0, 0);
    vm_count(&pad->left, 3);
    vm_count(&pad->right, 1ULL << 40);
    EXPECT_COUNTS(3, 1ULL << 40);
}

Test(counters, the_next_process_counts_on_in_memory_that_is_empty)
{
    begin();
    vm_count(&pad->left, 3);
    pad->before = 9;
    die();
    EXPECT_COUNTS(3, 0);
    begin();
    cr_expect_eq(pad->before, 0);
    vm_count(&pad->left, 4);
    vm_count(&pad->right, 1);
    EXPECT_COUNTS(7, 1);
}

Test(counters, a_counter_that_is_set_back_stays_so)
{
    begin();
    vm_count(&pad->left, 3);
    die();
    begin();
    vm_count_set(&pad->left, 0);
    EXPECT_COUNTS(0, 0);
}

Test(counters, what_is_counted_before_it_begins_counts)
{
    static const struct vdev_ops ops;
    struct vdev_context context = { .env = &t.env, .id = "pad0" };

    vdev_counters_put(ours, &pad_class, (const uint64_t[]){ 5, 0 });
    cr_assert_eq(vdev_counters_attach(vdev_counters_fd(ours), &theirs), 0);
    context.counters = theirs;
    pad = vdev_alloc(&context, sizeof(*pad));
    vdev_init(&pad->dev, &pad_class, &ops, &context);
    vm_count(&pad->left, 2);
    vdev_counters_begin(theirs, &pad->dev);
    EXPECT_COUNTS(7, 0);
}

Test(counters, another_program_finds_its_own_by_name)
{
    vdev_counters_put(ours, &pad_class, (const uint64_t[]){ 5, 6 });
    begin_as(&other_class);
    cr_expect_eq(pad->left, 0); /* lift, which nobody knows */
    vm_count(&pad->left, 100);
    vm_count(&pad->right, 1);
    EXPECT_COUNTS(6, 6);
}

Test(counters, a_process_may_lie_but_no_more)
{
    static const uint64_t at[] = { 1,
                                   VDEV_COUNTERS_TABLE - 8,
                                   VDEV_COUNTERS_TABLE + 4,
                                   VDEV_COUNTERS_BYTES - 4,
                                   VDEV_COUNTERS_BYTES,
                                   VDEV_COUNTERS_BYTES + 8,
                                   UINT64_MAX - 7,
                                   1ULL << 63 };
    static const uint64_t five[] = { 5, 6 };

    for (size_t n = 0; n < VM_ARRAY_SIZE(at); n++) {
        vdev_counters_put(ours, &pad_class, five);
        /* The first row's place: behind its name. */
        cr_assert_eq(pwrite(vdev_counters_fd(ours), &at[n], 8, VDEV_COUNTERS_NAME), 8);
        EXPECT_COUNTS(5, 6);
    }
    vdev_counters_put(ours, &pad_class, (const uint64_t[]){ UINT64_MAX, UINT64_MAX });
    begin();
    vm_count(&pad->right, 0);
    EXPECT_COUNTS(UINT64_MAX, UINT64_MAX);
}

Test(counters, no_process_can_change_the_size_of_the_file)
{
    cr_expect_eq(ftruncate(vdev_counters_fd(ours), 0), -1);
    cr_expect_eq(ftruncate(vdev_counters_fd(ours), 1 << 20), -1);
    cr_expect_eq(fcntl(vdev_counters_fd(ours), F_ADD_SEALS, F_SEAL_WRITE), -1);
}

Test(counters, what_is_not_such_a_file_is_refused)
{
    int fd = memfd_create("short", MFD_CLOEXEC), pipes[2];

    cr_assert_eq(ftruncate(fd, 4096), 0);
    cr_expect_eq(vdev_counters_attach(fd, &theirs), -EINVAL);
    cr_expect(strstr(vm_error_text(), "is not a file of 262144 bytes"), "%s", vm_error_text());
    vm_close(&fd);
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_expect_eq(vdev_counters_attach(pipes[0], &theirs), -EINVAL);
    vm_close(&pipes[0]);
    vm_close(&pipes[1]);
    cr_expect_eq(vdev_counters_attach(1 << 20, &theirs), -EBADF);
}

Test(counters, a_device_that_does_not_lie_there_counts_for_itself)
{
    static const struct vdev_ops ops;
    struct vdev_context context = { .env = &t.env, .id = "pad0" };
    struct pad *second;
    void *large;

    begin();
    context.counters = theirs;
    large = vdev_alloc(&context, VDEV_COUNTERS_BYTES);
    second = vdev_alloc(&context, sizeof(*second));
    cr_assert(large && second);
    vdev_init(&second->dev, &pad_class, &ops, &context);
    vdev_counters_begin(theirs, &second->dev);
    vm_count(&second->left, 9);
    EXPECT_COUNTS(0, 0);
    vdev_free(large);
    vdev_free(second);
    vdev_free(NULL);
    vdev_free(pad); /* and there is room for the next one */
    cr_expect_eq(vdev_alloc(&context, sizeof(*pad)), pad);
}
