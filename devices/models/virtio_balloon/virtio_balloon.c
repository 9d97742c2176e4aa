/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Memory balloon (VIRTIO 1.3, 5.5): pages that the guest does without go back to the host, on each form of RAM alike
 * (vmm/vm-memory/memory.h, gm_discard()). A device process that maps the same memory sees zeros there.
 *
 * Pages that a device has pinned must not be discarded: where one pins, there is no balloon (gm_discard_begin()).
 */
#include "virtio_balloon_private.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vmm/base/error.h>

struct virtio_balloon_config {
    struct vdev_common common;
    uint64_t size;
    bool deflate_on_oom, free_page_reporting, free_page_hinting;
    uint32_t stats_interval;
    struct virtio_options virtio;
};

extern const struct vdev_class virtio_balloon_class;

/* ---- config space ---- */

void virtio_balloon_show(struct virtio_balloon *b, bool notify)
{
    struct virtio_balloon_space space = { le32_make(b->s.target), le32_make(b->s.actual),
                                          le32_make(b->s.command), le32_make(b->s.poison) };

    memcpy(b->dev.config, &space, sizeof(space));
    vm_count_set(&b->count.target, (uint64_t)b->s.target << VIRTIO_BALLOON_PAGE_SHIFT);
    vm_count_set(&b->count.actual, (uint64_t)b->s.actual << VIRTIO_BALLOON_PAGE_SHIFT);
    if (notify)
        virtio_config_changed(&b->dev);
}

/* Told: that it has the size it was to have, and that the guest took pages out by itself (DEFLATE_ON_OOM). */
static void actual_changed(struct virtio_balloon *b)
{
    const struct vm_env *env = b->dev.dev.env;
    uint32_t before = b->actual_before, missed;
    bool arrived = b->s.actual == b->s.target;
    bool taken = b->s.actual < before && b->s.actual < b->s.target;

    b->actual_before = b->s.actual;
    if (b->s.actual != before && (arrived || taken) &&
        vm_ratelimit_ok(&b->events, vm_now_ns(env, VM_CLOCK_MONOTONIC), &missed))
        vdev_event(&b->dev.dev, VDEV_EVENT_BALLOON, b->s.actual);
}

/* The part of [offset, offset + len) that is in the field. */
static void write_field(uint32_t *field, uint32_t at, uint32_t offset, const uint8_t *data,
                        uint32_t len)
{
    struct le32 raw = le32_make(*field);
    uint8_t *bytes = (uint8_t *)&raw;

    for (uint32_t i = 0; i < len; i++)
        if (offset + i >= at && offset + i < at + sizeof(raw))
            bytes[offset + i - at] = data[i];
    *field = le32_get(raw);
}

/* actual and poison_val are the driver's (5.5.4). The latter is not to be changed once it runs (5.5.6.7.1). The former may come byte by
 * byte, and counts when its last one is there. */
static void balloon_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                                 uint32_t len)
{
    const uint32_t last = offsetof(struct virtio_balloon_space, actual) + sizeof(struct le32) - 1;
    struct virtio_balloon *b = virtio_balloon_of(dev);

    write_field(&b->s.actual, offsetof(struct virtio_balloon_space, actual), offset, data, len);
    if (!(dev->status & VIRTIO_DRIVER_OK))
        write_field(&b->s.poison, offsetof(struct virtio_balloon_space, poison_val), offset, data,
                    len);
    virtio_balloon_show(b, false);
    if (offset <= last && offset + len > last)
        actual_changed(b);
}

/* ---- queues ---- */

static bool has_queue(const struct virtio_balloon *b, unsigned role)
{
    static const uint64_t features[VIRTIO_BALLOON_QUEUES] = {
        [VIRTIO_BALLOON_STATS] = VIRTIO_BALLOON_F_STATS_VQ,
        [VIRTIO_BALLOON_HINT] = VIRTIO_BALLOON_F_FREE_PAGE_HINT,
        [VIRTIO_BALLOON_REPORT] = VIRTIO_BALLOON_F_PAGE_REPORTING,
    };

    return !features[role] || virtio_has(&b->dev, features[role]);
}

/* Queues have fixed numbers. Linux before 6.12 numbers those that it has negotiated without gaps: it is known by a queue that
 * there would not be otherwise. */
static unsigned role_of(const struct virtio_balloon *b, uint16_t n)
{
    bool close = false;
    unsigned at = 0;

    for (uint16_t i = 0; i < b->dev.queues; i++)
        close = close || (b->dev.queue[i].started && !has_queue(b, i));
    if (!close)
        return n;
    for (unsigned role = 0; role < VIRTIO_BALLOON_QUEUES; role++)
        if (has_queue(b, role) && at++ == n)
            return role;
    return VIRTIO_BALLOON_NO_QUEUE;
}

static int serve(struct virtio_balloon *b, uint16_t n)
{
    switch (role_of(b, n)) {
    case VIRTIO_BALLOON_INFLATE: return virtio_balloon_serve_pages(b, n, true);
    case VIRTIO_BALLOON_DEFLATE: return virtio_balloon_serve_pages(b, n, false);
    case VIRTIO_BALLOON_STATS: return virtio_balloon_serve_stats(b, n);
    case VIRTIO_BALLOON_HINT: return virtio_balloon_serve_hints(b, n);
    case VIRTIO_BALLOON_REPORT: return virtio_balloon_serve_reports(b, n);
    default: return 0;
    }
}

/* Whoever came while the lock was free waits for the end of this. */
static int balloon_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_balloon *b = virtio_balloon_of(dev);
    int rc;

    b->working = (uint16_t)(n + 1);
    rc = serve(b, n);
    b->working = 0;
    virtio_queue_stopped(dev, n);
    virtio_stopped(dev);
    return rc;
}

static int balloon_rest(struct virtio_dev *dev)
{
    return virtio_balloon_of(dev)->working ? -EINPROGRESS : 0;
}

static int balloon_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_balloon *b = virtio_balloon_of(dev);

    if (role_of(b, n) == VIRTIO_BALLOON_STATS)
        b->stats_seen = false;
    return b->working == n + 1 ? -EINPROGRESS : 0;
}

/* ---- what the user changes ---- */

static int check_size(const char *id, struct gm_space *memory, uint64_t size)
{
    struct gm_map *map = gm_space_map(memory);
    uint64_t ram = gm_map_bytes(map);

    gm_map_unref(map);
    if (size % (1 << VIRTIO_BALLOON_PAGE_SHIFT))
        return vm_fail(-EINVAL, "%s: size=%llu is not a multiple of 4096", id,
                       (unsigned long long)size);
    if (ram && size > ram)
        return vm_fail(-ERANGE, "%s: size=%lluM is more than the guest's memory, %lluM", id,
                       (unsigned long long)size >> 20, (unsigned long long)ram >> 20);
    return 0;
}

static int set_size(struct virtio_balloon *b, uint64_t size)
{
    int rc = check_size(b->dev.dev.id, b->memory, size);

    if (rc)
        return rc;
    b->s.target = (uint32_t)(size >> VIRTIO_BALLOON_PAGE_SHIFT);
    virtio_balloon_show(b, true);
    return 0;
}

static int balloon_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    const struct virtio_balloon_config *c = config;
    struct virtio_balloon *b = virtio_balloon_of(dev);

    switch (prop->offset) {
    case offsetof(struct virtio_balloon_config, size): return set_size(b, c->size);
    case offsetof(struct virtio_balloon_config, free_page_hinting):
        return virtio_balloon_hint(b, c->free_page_hinting);
    case offsetof(struct virtio_balloon_config, stats_interval):
        b->stats_interval = c->stats_interval;
        b->interval_changed = true;
        virtio_kick_later(dev, VIRTIO_BALLOON_STATS); /* timers are set in the loop's thread */
        return 0;
    default:
        return vm_fail(-ENOTSUP,
                       "%s: %s cannot be changed while the machine runs; size, stats_interval and "
                       "free_page_hinting can",
                       dev->dev.id, prop->name);
    }
}

static int balloon_refresh(struct virtio_dev *dev, const uint64_t **ret_answers)
{
    struct virtio_balloon *b = virtio_balloon_of(dev);

    if (!dev->running || !virtio_has(dev, VIRTIO_BALLOON_F_STATS_VQ))
        return vm_fail(-EAGAIN, "%s: the guest has no driver that tells statistics", dev->dev.id);
    b->ask = true;
    *ret_answers = &b->count.stats_answers;
    virtio_kick_later(dev, VIRTIO_BALLOON_STATS);
    return 0;
}

/* ---- life ---- */

static void balloon_reset(struct virtio_dev *dev)
{
    struct virtio_balloon *b = virtio_balloon_of(dev);

    virtio_balloon_forget(b);
    b->s = (struct virtio_balloon_state){ .target = b->s.target };
    b->actual_before = 0;
    b->ask = b->stats_seen = false;
    vm_count_set(&b->count.stats_given, 0);
    virtio_balloon_show(b, false);
}

static void balloon_save(struct virtio_dev *dev, void *ret_state)
{
    memcpy(ret_state, &virtio_balloon_of(dev)->s, sizeof(struct virtio_balloon_state));
}

/* Which pages are in it is not told. */
static int balloon_load(struct virtio_dev *dev, const void *untrusted)
{
    const struct virtio_balloon_state *s = untrusted;
    struct virtio_balloon *b = virtio_balloon_of(dev);
    uint64_t size = (uint64_t)s->target << VIRTIO_BALLOON_PAGE_SHIFT;
    int rc = check_size(dev->dev.id, b->memory, size);

    if (rc)
        return rc == -ERANGE ? vm_wrap(-EINVAL, "state") : rc;
    if (s->hinting > VIRTIO_BALLOON_TAKING)
        return vm_fail(-EINVAL, "%s: state: hinting %u", dev->dev.id, s->hinting);
    b->s = *s;
    b->unknown = s->actual;
    b->actual_before = s->actual;
    b->stats_seen = false;
    virtio_balloon_show(b, false);
    return 0;
}

static void balloon_destroy(struct virtio_dev *dev)
{
    struct virtio_balloon *b = virtio_balloon_of(dev);

    vm_timer_cancel(&b->poll);
    gm_discard_end(b->memory, dev->dev.id);
    virtio_balloon_forget(b);
    virtio_exit(dev);
    vdev_free(b);
}

static const struct virtio_ops ops = {
    .kick = balloon_kick,
    .stop = balloon_rest,
    .queue_stop = balloon_queue_stop,
    .quiesce = balloon_rest,
    .reset = balloon_reset,
    .config_write = balloon_config_write,
    .save = balloon_save,
    .load = balloon_load,
    .set = balloon_set,
    .refresh = balloon_refresh,
    .destroy = balloon_destroy,
};

/* The largest of all regions: what is whole there is whole in each. */
static uint64_t find_unit(struct gm_space *memory)
{
    struct gm_map *map = gm_space_map(memory);
    uint64_t unit = 1 << VIRTIO_BALLOON_PAGE_SHIFT;

    for (size_t i = 0; i < gm_map_count(map); i++) {
        uint64_t one = gm_region_discard_unit(gm_map_region(map, i));

        unit = one > unit ? one : unit;
    }
    gm_map_unref(map);
    return unit >> VIRTIO_BALLOON_PAGE_SHIFT;
}

static int make(const struct vdev_context *context, struct virtio_balloon *b)
{
    static const uint16_t sizes[VIRTIO_BALLOON_QUEUES] = { 128, 128, 16, 128, 128 };
    const struct virtio_balloon_config *c = context->config;
    struct virtio_setup setup = { .id = VIRTIO_ID_BALLOON,
                                  .features = VIRTIO_BALLOON_F_MUST_TELL_HOST |
                                              VIRTIO_BALLOON_F_STATS_VQ |
                                              VIRTIO_BALLOON_F_FREE_PAGE_HINT |
                                              VIRTIO_BALLOON_F_PAGE_POISON,
                                  .queue_sizes = sizes,
                                  .queues = VIRTIO_BALLOON_QUEUES,
                                  .config_bytes = sizeof(struct virtio_balloon_space),
                                  .options = &c->virtio };

    if (c->deflate_on_oom)
        setup.features |= VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
    if (c->free_page_reporting)
        setup.features |= VIRTIO_BALLOON_F_PAGE_REPORTING;
    else
        setup.queues = VIRTIO_BALLOON_REPORT;
    return virtio_init(&b->dev, &virtio_balloon_class, &ops, context, &setup);
}

static int balloon_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct virtio_balloon_config *c = context->config;
    struct virtio_balloon *b;
    int rc = check_size(context->id, context->memory, c->size);

    if (rc)
        return rc;
    b = vdev_alloc(context, sizeof(*b));
    if (!b)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    rc = make(context, b);
    if (rc) {
        vdev_free(b);
        return rc;
    }
    rc = gm_discard_begin(context->memory, b->dev.dev.id);
    if (rc) {
        virtio_exit(&b->dev);
        vdev_free(b);
        return rc;
    }
    b->memory = context->memory;
    b->unit = find_unit(context->memory);
    b->s.target = (uint32_t)(c->size >> VIRTIO_BALLOON_PAGE_SHIFT);
    b->stats_interval = c->stats_interval;
    virtio_balloon_show(b, false);
    *ret_dev = &b->dev.dev;
    return 0;
}

#define AT(member) .offset = offsetof(struct virtio_balloon_config, member)
static const struct vm_prop props[] = {
    VDEV_PROPS(struct virtio_balloon_config),
    VIRTIO_PROPS(struct virtio_balloon_config),
    { .name = "size",
      .type = VM_PROP_SIZE,
      .live = true,
      AT(size),
      .max = (1ULL << 44) - 4096, /* page numbers have 32 bits */
      .help = "memory that the guest is to do without; may be changed at run time" },
    { .name = "deflate_on_oom",
      .type = VM_PROP_BOOL,
      AT(deflate_on_oom),
      .help = "the guest may take pages out before it runs out of memory" },
    { .name = "free_page_reporting",
      .type = VM_PROP_BOOL,
      AT(free_page_reporting),
      .help = "pages that are free in the guest go back to the host by themselves" },
    { .name = "stats_interval",
      .type = VM_PROP_U32,
      .live = true,
      AT(stats_interval),
      .max = 86400,
      .help = "seconds from one statistics to the next; 0: when asked; may be changed at run "
              "time" },
    { .name = "free_page_hinting",
      .type = VM_PROP_BOOL,
      .live = true,
      AT(free_page_hinting),
      .help = "at run time only: on begins a session of hints, which are counted; off ends it" },
    { 0 },
};

#define FIELD(t, kind, member)                                                              \
    {                                                                                       \
        .tag = (t), .type = (kind), .offset = offsetof(struct virtio_balloon_state, member) \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U32, target),
    FIELD(2, VM_STATE_U32, actual),
    FIELD(3, VM_STATE_U32, poison),
    FIELD(4, VM_STATE_U32, command),
    FIELD(5, VM_STATE_U32, last_command),
    FIELD(6, VM_STATE_U8, hinting),
    { 0 },
};

#define METRIC(text, member, meaning)                                \
    {                                                                \
        text, offsetof(struct virtio_balloon, count.member), meaning \
    }
static const struct vdev_metric metrics[] = {
    METRIC("target_bytes", target, "what the balloon is to hold"),
    METRIC("actual_bytes", actual, "what it holds, as the driver says"),
    METRIC("inflated_pages", inflated, "pages of 4 KiB put into it"),
    METRIC("deflated_pages", deflated, "pages of 4 KiB taken out of it"),
    METRIC("refused_pages", refused, "pages that are no RAM, or were in it (or not in it) already"),
    METRIC("reported_bytes", reported, "free memory reported"),
    METRIC("report_kept_bytes", report_kept, "likewise, but poisoned: left as it is"),
    METRIC("hints", hints, "sessions of hints that ended"),
    METRIC("hinted_bytes", hinted, "free memory hinted in the last session"),
    METRIC("discards", discards, "calls by which memory went back to the host"),
    METRIC("discarded_bytes", discarded, "memory that went back to the host"),
    METRIC("failed_bytes", failed, "memory that the host did not take"),
    METRIC("stats_answers", stats_answers, "statistics that came"),
    METRIC("stats_given", stats_given, "which of the following came last: bit n is the n-th"),
    METRIC("stats_at_ns", stats_at, "when they came"),
    METRIC("swap_in", stat[0], "the guest's: bytes swapped in"),
    METRIC("swap_out", stat[1], "the guest's: bytes swapped out"),
    METRIC("major_faults", stat[2], "the guest's: major page faults"),
    METRIC("minor_faults", stat[3], "the guest's: minor page faults"),
    METRIC("free_memory", stat[4], "the guest's: bytes not used for anything"),
    METRIC("total_memory", stat[5], "the guest's: bytes it has in all"),
    METRIC("available_memory", stat[6], "the guest's: bytes for new programs, without swapping"),
    METRIC("disk_caches", stat[7], "the guest's: bytes of caches"),
    METRIC("hugetlb_allocations", stat[8], "the guest's: huge pages taken"),
    METRIC("hugetlb_failures", stat[9], "the guest's: huge pages that were not there"),
    METRIC("oom_kills", stat[10], "the guest's: programs killed for want of memory"),
    METRIC("alloc_stalls", stat[11], "the guest's: allocations that waited"),
    METRIC("async_scans", stat[12], "the guest's: pages looked at in the background"),
    METRIC("direct_scans", stat[13], "the guest's: pages looked at while a program waited"),
    METRIC("async_reclaims", stat[14], "the guest's: pages freed in the background"),
    METRIC("direct_reclaims", stat[15], "the guest's: pages freed while a program waited"),
    { 0 },
};

/* For the I/O thread: madvise(2) is everybody's. */
static const struct vm_jail_rule jail[] = {
    VM_JAIL("fallocate", VM_JAIL_IS(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)),
    { 0 },
};

const struct vdev_class virtio_balloon_class = {
    .name = "virtio-balloon",
    .summary = "memory of the guest's back to the host",
    .props = props,
    .config_size = sizeof(struct virtio_balloon_config),
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD,
    .jail = jail,
    .state = state_fields,
    .state_size = sizeof(struct virtio_balloon_state),
    .state_version = 1,
    .replay = VDEV_REPLAY_ALL,
    .metrics = metrics,
    .create = balloon_create,
};
