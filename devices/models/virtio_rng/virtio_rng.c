/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Entropy device (VIRTIO 1.2, 5.4): one queue of buffers that the device fills with random bytes. They come from the
 * environment's generator, or from a file, FIFO or character device (src, or a descriptor, fd) that is never waited for: while it has
 * nothing, the buffers wait. A source that ends or fails stops the device (NEEDS_RESET): bytes that are not random are no answer.
 *
 * A limit (rate_bytes in rate_period) keeps one guest from drinking the source of all: buffers wait until there is something for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <vmm/base/bucket.h>
#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/virtio/device.h>

enum {
    QUEUE_SIZE = 64,
    PIECE_BYTES = 256,
    REQUESTS_PER_ROUND = 64, /* then others of the loop have their turn */
    LEAST_BYTES =
        64, /* a request that asks for so many is not answered with fewer for want of tokens: Linux takes 32 to 128 */
};
#define MS_NS    1000000ULL
#define RETRY_NS (10 * 1000000ULL) /* until a source without bytes is looked at again */

struct virtio_rng_config {
    struct vdev_common common;
    char *src;
    uint64_t max_bytes, rate_bytes;
    uint32_t rate_period;
    int fd;
    struct virtio_options virtio;
};

struct virtio_rng {
    struct virtio_dev dev;
    uint64_t max_bytes; /* of one request */
    int fd; /* the source; -1: the environment's generator */
    struct vm_timer retry;
    struct vm_bucket rate;
    uint64_t rate_bytes, rate_period_ns; /* what the user wants of it */
    struct {
        uint64_t requests, bytes, waits, throttled;
    } count;
};

extern const struct vdev_class virtio_rng_class;

static struct virtio_rng *of(struct virtio_dev *dev)
{
    return container_of(dev, struct virtio_rng, dev);
}

/* At most len random bytes: their number, or -errno (-EAGAIN: none yet). */
static ssize_t get(struct virtio_rng *rng, void *buf, size_t len)
{
    const struct vm_env *env = rng->dev.dev.env;
    ssize_t n;
    int rc;

    if (rng->fd < 0) {
        rc = env->random(env->ctx, buf, len);
        return rc ? rc : (ssize_t)len;
    }
    n = vm_read(rng->fd, buf, len);
    return n ? n : -ENODATA;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t now_ns(const struct virtio_rng *rng)
{
    return vm_loop_now_ns(rng->dev.dev.env->loop);
}

/* 0, with at least one byte where the buffer has room for one (5.4.6.1), or -errno and none. */
static int fill(struct virtio_rng *rng, struct vq *q, struct vq_chain *c, uint64_t left)
{
    uint8_t piece[PIECE_BYTES];

    while (left) {
        ssize_t n = get(rng, piece, left < sizeof(piece) ? (size_t)left : sizeof(piece));

        if (n < 0)
            return c->pushed ? 0 : (int)n;
        if (vq_push(q, c, piece, (size_t)n))
            return 0; /* memory that we cannot reach: what came before it counts */
        left -= (uint64_t)n;
    }
    return 0;
}

/* How much of the request may be answered now; 0: the limit wants it to wait. */
static uint64_t allowed(struct virtio_rng *rng, uint64_t wanted)
{
    uint64_t least_now = least(wanted, LEAST_BYTES),
             tokens = vm_bucket_look(&rng->rate, now_ns(rng));

    if (rng->rate.size)
        least_now = least(least_now, rng->rate.size);
    return tokens < least_now ? 0 : least(wanted, tokens);
}

static int wait_until(struct virtio_rng *rng, uint64_t ns);

/* In the loop, where timers are set. */
static int wait_for_tokens(struct virtio_rng *rng, uint64_t wanted)
{
    uint64_t least_now = least(least(wanted, LEAST_BYTES), rng->rate.size);

    vm_count(&rng->count.throttled, 1);
    return wait_until(rng, vm_bucket_wait_ns(&rng->rate, least_now, now_ns(rng)));
}

static void retry(struct vm_timer *timer)
{
    virtio_kick_later(&container_of(timer, struct virtio_rng, retry)->dev, 0);
}

/* 0, or -errno: the chain was given back; -EBUSY: until the limit allows it, -EAGAIN: until the source has something. */
static int answer(struct virtio_rng *rng, struct vq *q, struct vq_chain *c)
{
    uint64_t wanted = least(vq_push_left(c), rng->max_bytes), may = allowed(rng, wanted);
    int rc;

    if (wanted && !may) {
        vq_undo(q, c);
        rc = wait_for_tokens(rng, wanted);
        return rc ? rc : -EBUSY;
    }
    rc = fill(rng, q, c, may);
    if (rc) {
        vq_undo(q, c);
        return rc;
    }
    vm_bucket_take(&rng->rate, c->pushed, now_ns(rng));
    vm_count(&rng->count.requests, 1);
    vm_count(&rng->count.bytes, c->pushed);
    return vq_done(q, c);
}

static int wait_until(struct virtio_rng *rng, uint64_t ns)
{
    uint64_t when;

    if (!vm_add(now_ns(rng), ns, &when))
        when = UINT64_MAX;
    return vm_timer_set(rng->dev.dev.env->loop, &rng->retry, when, retry);
}

static int wait_for_source(struct virtio_rng *rng)
{
    vm_count(&rng->count.waits, 1);
    return wait_until(rng, RETRY_NS);
}

/* The user has changed the limit. */
static void keep_rate(struct virtio_rng *rng)
{
    if (rng->rate.size != rng->rate_bytes || rng->rate.period_ns != rng->rate_period_ns)
        vm_bucket_set(&rng->rate, rng->rate_bytes, rng->rate_period_ns, now_ns(rng));
}

static int rng_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_rng *rng = of(dev);
    struct vq *q = &dev->queue[n];
    struct vq_chain c;
    int rc, done = 0;

    keep_rate(rng);
    while ((rc = vq_next(q, &c)) > 0) {
        rc = answer(rng, q, &c);
        if (rc || ++done == REQUESTS_PER_ROUND)
            break;
    }
    virtio_notify(dev, n);
    if (done == REQUESTS_PER_ROUND && !rc)
        virtio_kick_later(dev, n);
    if (rc == -EBUSY)
        return 0;
    return rc == -EAGAIN ? wait_for_source(rng) : rc;
}

static int rng_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    const struct virtio_rng_config *c = config;

    struct virtio_rng *rng = of(dev);

    if (!prop->live)
        return vm_fail(-ENOTSUP,
                       "%s: %s cannot be changed while the machine runs; max_bytes, rate_bytes and "
                       "rate_period can",
                       dev->dev.id, prop->name);
    if (prop->offset == offsetof(struct virtio_rng_config, max_bytes))
        rng->max_bytes = c->max_bytes;
    else if (prop->offset == offsetof(struct virtio_rng_config, rate_bytes))
        rng->rate_bytes = c->rate_bytes;
    else
        rng->rate_period_ns = c->rate_period * MS_NS;
    virtio_kick_later(dev, 0); /* the limit is the loop's, and who waits may go on now */
    return 0;
}

static void rng_destroy(struct virtio_dev *dev)
{
    struct virtio_rng *rng = of(dev);

    vm_timer_cancel(&rng->retry);
    vm_close(&rng->fd);
    virtio_exit(dev);
    vdev_free(rng);
}

static const struct virtio_ops ops = { .kick = rng_kick, .set = rng_set, .destroy = rng_destroy };

/* Not waited for: a FIFO or /dev/hwrng may have nothing for a long time. */
static int use_source(const char *id, int fd)
{
    struct stat st;
    int flags;

    if (vm_fstat(fd, &st))
        return vm_fail_errno("%s: src", id);
    if (S_ISDIR(st.st_mode))
        return vm_fail(-EISDIR, "%s: src is a directory; name a file, FIFO or character device",
                       id);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return vm_fail_errno("%s: src", id);
    return 0;
}

/* Ours from then on: the user's own may be closed, or be another device's, too. */
static int take_fd(const struct vdev_context *context, int given, int *ret_fd)
{
    int fd = fcntl(given, F_DUPFD_CLOEXEC, 3), rc;

    if (fd < 0)
        return vm_fail_errno("%s: fd=%d", context->id, given);
    rc = use_source(context->id, fd);
    if (rc)
        vm_close(&fd);
    *ret_fd = fd;
    return rc;
}

static int open_source(const struct vdev_context *context, const struct virtio_rng_config *config,
                       int *ret_fd)
{
    const struct vm_env *env = context->env;
    const char *src = config->src;
    int fd, rc;

    *ret_fd = -1;
    if (src && config->fd >= 0)
        return vm_fail(-EINVAL, "%s: src=%s and fd=%d: give one source", context->id, src,
                       config->fd);
    if (config->fd >= 0)
        return take_fd(context, config->fd, ret_fd);
    if (!src)
        return 0;
    if (!env->open)
        return vm_fail(-EACCES, "%s: src=%s may not be opened here", context->id, src);
    fd = env->open(env->ctx, src, VM_OPEN_READ);
    if (fd < 0)
        return vm_wrap(fd, "%s: src", context->id);
    rc = use_source(context->id, fd);
    if (rc)
        vm_close(&fd);
    *ret_fd = fd;
    return rc;
}

static int rng_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { QUEUE_SIZE };
    const struct virtio_rng_config *config = context->config;
    const struct virtio_setup setup = { .id = VIRTIO_ID_RNG,
                                        .queue_sizes = sizes,
                                        .queues = VM_ARRAY_SIZE(sizes),
                                        .options = &config->virtio };
    struct virtio_rng *rng = vdev_alloc(context, sizeof(*rng));
    int fd, rc;

    if (!rng)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    rc = open_source(context, config, &fd);
    if (rc)
        goto free_rng;
    rc = virtio_init(&rng->dev, &virtio_rng_class, &ops, context, &setup);
    if (rc)
        goto close_source;
    rng->fd = fd;
    rng->max_bytes = config->max_bytes;
    rng->rate_bytes = config->rate_bytes;
    rng->rate_period_ns = config->rate_period * MS_NS;
    vm_bucket_init(&rng->rate, rng->rate_bytes, rng->rate_period_ns, 0,
                   vm_now_ns(context->env, VM_CLOCK_MONOTONIC));
    *ret_dev = &rng->dev.dev;
    return 0;

close_source:
    vm_close(&fd);
free_rng:
    vdev_free(rng);
    return rc;
}

static const struct vm_prop props[] = {
    VDEV_PROPS(struct virtio_rng_config),
    VIRTIO_PROPS(struct virtio_rng_config),
    { .name = "src",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct virtio_rng_config, src),
      .help = "file, FIFO or character device to take the bytes from; the host's generator if not "
              "given" },
    { .name = "fd",
      .type = VM_PROP_FD,
      .offset = offsetof(struct virtio_rng_config, fd),
      .help = "an open descriptor to take the bytes from, in place of src" },
    { .name = "max_bytes",
      .type = VM_PROP_SIZE,
      .live = true,
      .offset = offsetof(struct virtio_rng_config, max_bytes),
      .preset = "64K",
      .min = 1,
      .max = 1 << 20,
      .help = "most bytes for one request; may be changed at run time" },
    { .name = "rate_bytes",
      .type = VM_PROP_SIZE,
      .live = true,
      .offset = offsetof(struct virtio_rng_config, rate_bytes),
      .max = 1ULL << 40,
      .help = "most bytes in rate_period; 0: no limit; may be changed at run time" },
    { .name = "rate_period",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct virtio_rng_config, rate_period),
      .preset = "1000",
      .min = 1,
      .max = 86400000,
      .help = "milliseconds that rate_bytes are for; may be changed at run time" },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "requests", offsetof(struct virtio_rng, count.requests), "requests answered" },
    { "bytes", offsetof(struct virtio_rng, count.bytes), "random bytes given" },
    { "waits", offsetof(struct virtio_rng, count.waits), "times the source had nothing" },
    { "throttled", offsetof(struct virtio_rng, count.throttled),
      "times a request waited for the limit" },
    { 0 },
};
static const struct vm_jail_rule jail[] = { VM_JAIL("getrandom"), VM_JAIL("read"), { 0 } };

const struct vdev_class virtio_rng_class = {
    .name = "virtio-rng",
    .summary = "entropy for the guest",
    .props = props,
    .config_size = sizeof(struct virtio_rng_config),
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD | VDEV_PROCESS | VDEV_FOREIGN,
    .jail = jail,
    .replay = VDEV_REPLAY_ALL,
    .metrics = metrics,
    .create = rng_create,
};
