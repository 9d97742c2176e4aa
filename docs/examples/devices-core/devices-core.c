/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library devices-core alone: a bus, a device on it that counts how often it was read, a processor's accesses, and the
 * device's state saved and loaded.
 */
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices-core/bus.h>
#include <vmm/devices-core/device.h>

enum { BASE = 0x1000, BYTES = 0x100, REG_COUNT = 0 };

struct counter_state {
    uint32_t reads;
};

struct counter {
    struct vdev dev;
    struct vdev_region region;
    struct counter_state s;
};

static const struct vm_state_field counter_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct counter_state, reads) },
    { 0 },
};
static const struct vdev_class counter_class = {
    .name = "counter",
    .summary = "counts how often it is read",
    .state = counter_fields,
    .state_size = sizeof(struct counter_state),
    .state_version = 1,
};

static int counter_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct counter *c = self;

    memset(data, 0, len);
    if (offset == REG_COUNT && len == 4)
        vm_store_le(data, 4, ++c->s.reads);
    return 0;
}

static int counter_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    (void)self, (void)offset, (void)data, (void)len; /* there is nothing to write */
    return 0;
}

static int counter_reset(struct vdev *dev)
{
    container_of(dev, struct counter, dev)->s.reads = 0;
    return 0;
}

static void counter_save(struct vdev *dev, void *ret_state)
{
    *(struct counter_state *)ret_state = container_of(dev, struct counter, dev)->s;
}

static int counter_load(struct vdev *dev, const void *untrusted)
{
    container_of(dev, struct counter, dev)->s = *(const struct counter_state *)untrusted;
    return 0;
}

static const struct vdev_region_ops counter_region = { .read = counter_read,
                                                       .write = counter_write };
static const struct vdev_ops counter_ops = { .reset = counter_reset,
                                             .save = counter_save,
                                             .load = counter_load };

/* What a processor's thread does: it reads from the bus. */
static void access_bus(struct vdev_bus *bus)
{
    struct vdev_bus_reader reader;
    struct vdev *waits;
    uint8_t data[4];

    vdev_bus_reader_init(bus, &reader);
    for (int i = 0; i < 3; i++)
        vdev_bus_read(&reader, BASE + REG_COUNT, data, 4, &waits);
    printf("counter: %u\n", (unsigned)vm_load_le(data, 4));
    vdev_bus_read(&reader, BASE + BYTES, data, 4, &waits);
    printf("nobody there: %#x, counted: %u\n", (unsigned)vm_load_le(data, 4),
           (unsigned)reader.unclaimed);
    vdev_bus_reader_exit(&reader);
}

static int save_and_load(struct counter *c)
{
    struct vm_buffer state = { 0 };
    int rc;

    vdev_quiesce(&c->dev, NULL);
    rc = vdev_save(&c->dev, &state);
    printf("saved in %u bytes\n", (unsigned)state.len);
    if (!rc)
        rc = vdev_reset(&c->dev, NULL);
    printf("after reset: %u\n", c->s.reads);
    if (!rc)
        rc = vdev_load(&c->dev, state.data, state.len);
    printf("after load: %u\n", c->s.reads);
    vdev_resume(&c->dev);
    vm_buffer_free(&state);
    return rc;
}

int main(void)
{
    struct counter c = { 0 };
    struct vdev_context context = { .id = "counter0" };
    struct vdev_bus *bus;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    context.env = &env;
    rc = vdev_bus_new(&env, "memory", UINT32_MAX, &bus);
    if (rc)
        return 1;
    vdev_init(&c.dev, &counter_class, &counter_ops, &context);
    c.region = (struct vdev_region){ .name = c.dev.id,
                                     .base = BASE,
                                     .size = BYTES,
                                     .ops = &counter_region,
                                     .self = &c,
                                     .lock = &c.dev.lock,
                                     .dev = &c.dev };
    rc = vdev_bus_add(bus, &c.region);
    if (!rc) {
        access_bus(bus);
        rc = save_and_load(&c);
        vdev_bus_del(bus, &c.region, NULL, NULL); /* no access runs any more */
    }
    vdev_exit(&c.dev);
    vdev_bus_free(bus);
    if (rc)
        fprintf(stderr, "devices-core: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
