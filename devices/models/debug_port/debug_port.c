/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Debug ports of a PC: the POST code that firmware shows at port 0x80 (IBM PC AT Technical Reference, "I/O address map":
 * manufacturing test port), and the text console of Bochs and OVMF at 0x402 (OVMF's README, "debug messages").
 *
 * A guest can write without end, so events and lines have a rate limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

extern const struct vdev_class debug_port_class;

enum {
    TEXT_PRESENT = 0xe9, /* reading the text port gives it: how a guest finds the port */
    LINE_BYTES = 160,
    EVENTS_S = 100, /* most per second */
    LINES_S = 200,
};
#define SECOND_NS 1000000000ULL

struct debug_state {
    uint8_t post;
    uint32_t line_len;
    uint8_t line[LINE_BYTES]; /* text before its newline */
};

struct debug {
    struct vdev dev;
    struct vdev_region post_port, text_port;
    struct vdev_bus *pio;
    struct debug_state s;
    struct vm_ratelimit events, lines;
    struct {
        uint64_t posts, post, text;
    } count;
};

/* The latch reads back, as that of a PC does. */
static int post_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    (void)offset;
    (void)len;
    data[0] = ((struct debug *)self)->s.post;
    return 0;
}

/* Some guests write here to pass the time: the same code again is no news. */
static int post_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct debug *d = self;
    bool news = !d->count.posts || d->s.post != data[0];
    uint32_t missed;

    (void)offset;
    (void)len;
    d->s.post = data[0];
    vm_count_set(&d->count.post, data[0]);
    vm_count(&d->count.posts, 1);
    if (news && vm_ratelimit_ok(&d->events, vm_now_ns(d->dev.env, VM_CLOCK_MONOTONIC), &missed))
        vdev_event(&d->dev, VDEV_EVENT_DEBUG, data[0]);
    return 0;
}

static void flush(struct debug *d)
{
    if (d->s.line_len)
        vm_log_limited(d->dev.env, &d->lines, VM_LOG_DEBUG, "%s: %.*s", d->dev.id,
                       (int)d->s.line_len, (const char *)d->s.line);
    d->s.line_len = 0;
    memset(d->s.line, 0, sizeof(d->s.line));
}

/* The log is read by people at terminals: what could steer one is replaced. */
static uint8_t harmless(uint8_t c)
{
    if (c == '\t')
        return ' ';
    return c >= ' ' && c < 0x7f ? c : '?';
}

static int text_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    (void)self;
    (void)offset;
    (void)len;
    data[0] = TEXT_PRESENT;
    return 0;
}

static int text_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct debug *d = self;

    (void)offset;
    (void)len;
    vm_count(&d->count.text, 1);
    if (data[0] == '\n')
        flush(d);
    else if (data[0] != '\r')
        d->s.line[d->s.line_len++] = harmless(data[0]);
    if (d->s.line_len == LINE_BYTES)
        flush(d);
    return 0;
}

/* Both regions are one byte wide, so that each access is. */
static const struct vdev_region_ops post_ops = { .read = post_read, .write = post_write };
static const struct vdev_region_ops text_ops = { .read = text_read, .write = text_write };

static int debug_reset(struct vdev *dev)
{
    struct debug *d = container_of(dev, struct debug, dev);

    flush(d);
    d->s = (struct debug_state){ 0 };
    vm_count_set(&d->count.posts, 0);
    vm_count_set(&d->count.post, 0);
    return 0;
}

static void debug_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct debug, dev)->s, sizeof(struct debug_state));
}

static int debug_load(struct vdev *dev, const void *untrusted)
{
    struct debug *d = container_of(dev, struct debug, dev);
    const struct debug_state *s = untrusted;

    /* A full line would have been told. */
    if (s->line_len >= LINE_BYTES)
        return vm_fail(-EINVAL, "a line of %u bytes waits: at most %d can", s->line_len,
                       LINE_BYTES - 1);
    for (uint32_t i = 0; i < s->line_len; i++)
        if (s->line[i] != harmless(s->line[i]))
            return vm_fail(-EINVAL, "byte %#x in the line that waits", s->line[i]);
    d->s = *s;
    vm_count_set(&d->count.post, s->post);
    return 0;
}

static void debug_destroy(struct vdev *dev)
{
    struct debug *d = container_of(dev, struct debug, dev);

    if (d->text_port.on_bus)
        vdev_bus_del(d->pio, &d->text_port, NULL, NULL);
    if (d->post_port.on_bus)
        vdev_bus_del(d->pio, &d->post_port, NULL, NULL);
    flush(d);
    vdev_exit(dev);
    free(d);
}

static const struct vdev_ops ops = {
    .reset = debug_reset,
    .save = debug_save,
    .load = debug_load,
    .destroy = debug_destroy,
};

static int add_port(struct debug *d, struct vdev_region *region, uint64_t port,
                    const struct vdev_region_ops *region_ops)
{
    *region = (struct vdev_region){ .name = d->dev.id,
                                    .base = port,
                                    .size = 1,
                                    .ops = region_ops,
                                    .self = d,
                                    .lock = &d->dev.lock,
                                    .dev = &d->dev,
                                    .priority = 1 };
    return vdev_bus_add(d->pio, region);
}

static int debug_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct debug *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&d->dev, &debug_port_class, &ops, context);
    d->pio = context->pio;
    d->events = (struct vm_ratelimit){ .burst = EVENTS_S, .interval_ns = SECOND_NS };
    d->lines = (struct vm_ratelimit){ .burst = LINES_S, .interval_ns = SECOND_NS };
    rc = add_port(d, &d->post_port, context->resources[0].base, &post_ops);
    if (!rc)
        rc = add_port(d, &d->text_port, context->resources[1].base, &text_ops);
    if (rc) {
        debug_destroy(&d->dev);
        return rc;
    }
    *ret_dev = &d->dev;
    return 0;
}

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct debug_state, post) },
    { .tag = 2,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct debug_state, line),
      .max = LINE_BYTES,
      .count_offset = offsetof(struct debug_state, line_len) },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "posts", offsetof(struct debug, count.posts), "codes written to the POST port since reset" },
    { "post", offsetof(struct debug, count.post), "the last one" },
    { "text", offsetof(struct debug, count.text), "bytes written to the text port" },
    { 0 },
};

const struct vdev_class debug_port_class = {
    .name = "debug-port",
    .summary = "debug ports: POST codes at 0x80, text at 0x402",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct debug_state),
    .state_version = 1,
    .metrics = metrics,
    .create = debug_create,
};
