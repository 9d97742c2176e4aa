/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A process that writes anything into the file of its device's counters: the VMM reads it, and makes it ready for the next process. */
#include <stdlib.h>
#include <unistd.h>

#include <vmm/base/util.h>
#include <vmm/devices-core/counters.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct toy {
    struct vdev dev;
    uint64_t one, two;
};

static const struct vdev_metric metrics[] = {
    { "one", offsetof(struct toy, one), "" },
    { "two", offsetof(struct toy, two), "" },
    { 0 },
};
static const struct vdev_class toy_class = { .name = "toy", .metrics = metrics };

/* What it was left at is what the next one has. */
static void next(struct vdev_counters *c, const uint64_t *value)
{
    static const struct vdev_ops ops;
    static const struct vm_env env;
    struct vdev_context context = { .env = &env, .id = "toy0" };
    struct vdev_counters *theirs;
    uint64_t now[2];
    struct toy *toy;

    if (vdev_counters_attach(vdev_counters_fd(c), &theirs))
        abort();
    context.counters = theirs;
    toy = vdev_alloc(&context, sizeof(*toy));
    if (!toy || toy->one || toy->two)
        abort();
    vdev_init(&toy->dev, &toy_class, &ops, &context);
    vdev_counters_begin(theirs, &toy->dev);
    vdev_counters_get(c, &toy_class, now);
    if (now[0] != value[0] || now[1] != value[1] || toy->one != value[0])
        abort();
    vdev_counters_free(theirs);
}

/* The first half of the input goes to the table, the second one to the device. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t half = size / 2 < VDEV_COUNTERS_TABLE ? size / 2 : VDEV_COUNTERS_TABLE;
    struct vdev_counters *c;
    uint64_t value[2];

    if (vdev_counters_new("toy0", &c) ||
        pwrite(vdev_counters_fd(c), data, half, 0) != (ssize_t)half ||
        pwrite(vdev_counters_fd(c), data + half, half, VDEV_COUNTERS_TABLE) != (ssize_t)half)
        abort();
    vdev_counters_get(c, &toy_class, value);
    vdev_counters_put(c, &toy_class, value);
    next(c, value);
    vdev_counters_free(c);
    return 0;
}
