/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A process that writes anything into its device's ledger: the VMM reads it, and the next process does. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/devices-core/ledger.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 32, HALF = VDEV_LEDGER_BYTES / 2 };

struct state {
    uint8_t small;
    uint64_t large;
    uint32_t len;
    uint8_t bytes[BYTES_MAX];
};

struct toy {
    struct vdev dev;
    struct state s;
};

static void save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct toy, dev)->s, sizeof(struct state));
}

static int load(struct vdev *dev, const void *untrusted)
{
    memcpy(&container_of(dev, struct toy, dev)->s, untrusted, sizeof(struct state));
    return 0;
}

static void destroy(struct vdev *dev)
{
    vdev_exit(dev);
}

static const struct vm_state_field fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct state, small) },
    { .tag = 2, .type = VM_STATE_U64, .offset = offsetof(struct state, large) },
    { .tag = 3,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct state, bytes),
      .max = BYTES_MAX,
      .count_offset = offsetof(struct state, len) },
    { 0 },
};
static const struct vdev_class toy_class = { .name = "toy",
                                             .state = fields,
                                             .state_size = sizeof(struct state),
                                             .state_version = 1,
                                             .ledger = fields + 1 };

/* The first half of the input goes into the first half of the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vdev_ops ops = { .save = save, .load = load, .destroy = destroy };
    static const struct vm_env env;
    static const struct vdev_context context = { .env = &env, .id = "toy0" };
    size_t half = size / 2 < HALF ? size / 2 : HALF;
    int fd = vdev_ledger_new("toy0");
    struct state state = { 0 };
    struct toy toy = { 0 };

    if (fd < 0 || pwrite(fd, data, half, 0) != (ssize_t)half ||
        pwrite(fd, data + half, half, HALF) != (ssize_t)half)
        abort();
    if (!vdev_ledger_get(&toy_class, fd, &state) && state.len > BYTES_MAX)
        abort();
    vdev_init(&toy.dev, &toy_class, &ops, &context);
    if (vdev_ledger_attach(&toy.dev, fd) || toy.s.len > BYTES_MAX)
        abort();
    vdev_destroy(&toy.dev);
    vm_close(&fd);
    return 0;
}
