/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device that the tests of moves move, on a thread and in its process. */
#ifndef VMM_MACHINE_CART_TEST_H
#define VMM_MACHINE_CART_TEST_H

#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>

#include <vmm/base/util.h>
#include <vmm/devices-core/counters.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/machine/process.h>
#include <vmm/vhost/backend.h>

#include "machine_test.h"

/* ---- the device: answers each buffer with where it is, how many it has answered, and the next byte of its file ---- */

struct cart_config {
    struct vdev_common common;
    char *path, *play;
    struct vm_prop_list names;
    uint32_t value;
    int fd;
};
static const struct vm_prop cart_props[] = {
    VDEV_PROPS(struct cart_config),
    { .name = "path", .type = VM_PROP_PATH, .offset = offsetof(struct cart_config, path) },
    { .name = "play", .type = VM_PROP_STRING, .offset = offsetof(struct cart_config, play) },
    { .name = "value",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct cart_config, value) },
    { .name = "names",
      .type = VM_PROP_LIST,
      .element = VM_PROP_STRING,
      .live = true,
      .offset = offsetof(struct cart_config, names) },
    { .name = "fd", .type = VM_PROP_FD, .offset = offsetof(struct cart_config, fd) },
    { 0 },
};
struct cart_state {
    uint32_t answered;
    uint8_t choice;
};
static const struct vm_state_field cart_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct cart_state, answered) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct cart_state, choice) },
    { 0 },
};
struct cart {
    struct virtio_dev dev;
    struct cart_state s;
    int fd;
    uint32_t value;
    uint8_t names, first; /* how many, and the first one's letter */
    uint64_t answers;
};
static const struct vdev_metric cart_metrics[] = {
    { "answers", offsetof(struct cart, answers) - offsetof(struct cart, dev.dev), "of all carts" },
    { 0 },
};
enum { CART_DIES = 0xdd }; /* as its choice, in a process */
static const char *stays;
static const char *cart_reason(const void *config)
{
    (void)config;
    return stays;
}
static int cart_create(const struct vdev_context *context, struct vdev **ret_dev);
static const struct vdev_class cart_class = {
    .name = "cart",
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD | VDEV_PROCESS,
    .thread_reason = cart_reason,
    .props = cart_props,
    .config_size = sizeof(struct cart_config),
    .state = cart_fields,
    .state_size = sizeof(struct cart_state),
    .state_version = 1,
    .ledger = cart_fields,
    .metrics = cart_metrics,
    .create = cart_create,
};

static bool elsewhere; /* in the process */
static int create_rc;
static int made, destroyed; /* here; atomic */

/* A host that does not answer: who calls stays until the test lets it go. */
static struct {
    sem_t answer;
    int asked; /* atomic */
    bool in_create, in_destroy;
} host;

static void wait_for_host(bool hangs)
{
    if (!hangs || elsewhere)
        return;
    __atomic_add_fetch(&host.asked, 1, __ATOMIC_SEQ_CST);
    while (sem_wait(&host.answer))
        ;
}

struct answer {
    uint8_t where, answered, byte, value, names, first;
};

static struct cart *cart_of(struct virtio_dev *dev)
{
    return container_of(dev, struct cart, dev);
}

static int cart_kick(struct virtio_dev *dev, uint16_t n)
{
    struct cart *c = cart_of(dev);
    struct vq_chain chain;
    int rc;

    while ((rc = vq_next(&dev->queue[n], &chain)) > 0) {
        struct answer a = { .where = elsewhere ? 'p' : 't',
                            .answered = (uint8_t)++c->s.answered,
                            .value = (uint8_t)c->value,
                            .names = c->names,
                            .first = c->first };

        vm_count(&c->answers, 1);
        (void)!read(c->fd, &a.byte, 1);
        (void)vq_push(&dev->queue[n], &chain, &a, sizeof(a));
        vdev_ledger_changed(&dev->dev);
        (void)vq_done(&dev->queue[n], &chain);
    }
    virtio_notify(dev, n);
    return rc;
}

static void cart_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                              uint32_t len)
{
    if (offset || len != 1)
        return;
    if (elsewhere && data[0] == CART_DIES)
        _exit(CART_DIES);
    cart_of(dev)->s.choice = dev->config[0] = data[0];
    vdev_ledger_changed(&dev->dev);
}

static void cart_reset(struct virtio_dev *dev)
{
    cart_of(dev)->s = (struct cart_state){ 0 };
    dev->config[0] = 0;
}

static void cart_save(struct virtio_dev *dev, void *ret_state)
{
    memcpy(ret_state, &cart_of(dev)->s, sizeof(struct cart_state));
}

static int load_rc;
static int cart_load(struct virtio_dev *dev, const void *untrusted)
{
    if (load_rc && !elsewhere)
        return vm_fail(load_rc, "the cart is full");
    memcpy(&cart_of(dev)->s, untrusted, sizeof(struct cart_state));
    dev->config[0] = cart_of(dev)->s.choice;
    return 0;
}

static void read_names(struct cart *c, const struct vm_prop_list *names)
{
    c->names = (uint8_t)names->count;
    c->first = names->count ? (uint8_t)((char **)names->items)[0][0] : 0;
}

static int cart_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    const struct cart_config *c = config;

    if (prop->type != VM_PROP_LIST)
        cart_of(dev)->value = c->value;
    else if (c->names.count == 4)
        return vm_fail(-ERANGE, "%s: four are not for carts", dev->dev.id);
    else
        read_names(cart_of(dev), &c->names);
    return 0;
}

static void cart_destroy(struct virtio_dev *dev)
{
    struct cart *c = cart_of(dev);

    wait_for_host(host.in_destroy);
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
    vm_close(&c->fd);
    virtio_exit(dev);
    vdev_free(c);
}

static const struct virtio_ops cart_ops = {
    .kick = cart_kick,
    .config_write = cart_config_write,
    .reset = cart_reset,
    .save = cart_save,
    .load = cart_load,
    .set = cart_set,
    .destroy = cart_destroy,
};

static int cart_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { 16 };
    const struct virtio_setup setup = {
        .id = VIRTIO_ID_RNG, .queue_sizes = sizes, .queues = 1, .config_bytes = 4
    };
    const struct cart_config *config = context->config;
    const struct vm_env *env = context->env;
    struct cart *c;
    int fd;

    if (create_rc && !elsewhere)
        return vm_fail(create_rc, "no more carts");
    wait_for_host(host.in_create);
    fd = env->open(env->ctx, config->path, VM_OPEN_READ);
    if (fd < 0)
        return fd;
    c = vdev_alloc(context, sizeof(*c));
    cr_assert(c);
    c->fd = fd;
    c->value = config->value;
    read_names(c, &config->names);
    cr_assert_eq(virtio_init(&c->dev, &cart_class, &cart_ops, context, &setup), 0);
    __atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST);
    *ret_dev = &c->dev.dev;
    return 0;
}

/* ---- its process ---- */

static void tell(enum vmm_process_type type, int code, uint32_t value, const char *text)
{
    struct vmm_process_message m;

    vmm_process_message(&m, type, code, value, text);
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
}

static int ask(void *ctx, const char *name, unsigned how)
{
    struct pollfd p = { .fd = VMM_PROCESS_FD_CHANNEL, .events = POLLIN };
    struct vmm_process_message m;
    int fd;

    (void)ctx;
    tell(VMM_PROCESS_OPEN, 0, how, name);
    (void)poll(&p, 1, -1);
    return vmm_process_receive(VMM_PROCESS_FD_CHANNEL, &m, &fd) || m.code ? -EACCES : fd;
}

static void on_set(struct vm_watch *watch, uint32_t events)
{
    struct vmm_process_message m;
    int fd;

    (void)events;
    if (vmm_process_receive(watch->fd, &m, &fd))
        _exit(1);
    tell(VMM_PROCESS_SET_DONE, 0, m.value, "");
}

static void closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    (void)why;
    _exit(0);
}

static void serve(struct vm_env *env, struct vdev_context *context)
{
    static const struct vhost_backend_ops ops = { .closed = closed };
    static struct vm_watch watch;
    struct vhost_backend *backend;
    struct vmm_process_message m = { .type = VMM_PROCESS_READY };
    struct vdev *dev;

    if (vdev_counters_attach(VMM_PROCESS_FD_COUNTERS, &context->counters) ||
        cart_create(context, &dev) ||
        vhost_backend_new(container_of(dev, struct virtio_dev, dev), context->memory, &ops, NULL,
                          &backend) ||
        vdev_ledger_attach(dev, VMM_PROCESS_FD_LEDGER) ||
        vhost_backend_serve(backend, VMM_PROCESS_FD_VHOST) ||
        vm_watch_add(env->loop, &watch, VMM_PROCESS_FD_CHANNEL, EPOLLIN, on_set))
        _exit(1);
    vdev_counters_begin(context->counters, dev);
    m.ready.shape = (struct vmm_process_shape){
        .id = VIRTIO_ID_RNG, .queues = 1, .config_bytes = 4, .queue_size = { 16 }
    };
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
    (void)vm_loop_run(env->loop);
}

static int play(int argc, char **argv)
{
    static struct vdev_machine machine;
    static struct vm_env env;
    struct cart_config config = { .fd = -1 };
    struct vdev_context context = {
        .env = &env, .machine = &machine, .id = "cart0", .config = &config
    };
    struct gm_space *space;
    const char *text = argc > 2 ? argv[2] : "";

    elsewhere = true;
    if (strstr(text, "play=\"die\""))
        _exit(7);
    vm_env_host(VM_LOG_ERROR, &env);
    env.open = ask;
    if (vm_prop_defaults(cart_props, &config) ||
        vm_prop_parse(cart_props, &config, "cart", NULL, strchr(text, ',') + 1) ||
        vm_loop_new(&env, 0, &env.loop) || gm_space_new(&env, &space))
        _exit(2);
    context.memory = space;
    serve(&env, &context);
    return 0;
}

#endif
