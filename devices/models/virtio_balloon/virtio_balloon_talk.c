/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the guest tells: statistics of its memory (VIRTIO 1.3, 5.5.6.3) and hints of free pages (5.5.6.6).
 *
 * The statistics' buffer lies in the ring until the next ones are wanted: it is read where it is and put back, so that nothing is in flight
 * when the device comes to rest.
 */
#include "virtio_balloon_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

enum {
    STAT_BYTES = 10, /* le16 tag, le64 value, packed */
    STATS_PER_BUFFER = 64, /* what is behind is not looked at */
    CHAINS_PER_KICK = 256,
};
#define SECOND_NS 1000000000ULL

/* ---- statistics ---- */

static void take_stat(struct virtio_balloon *b, const uint8_t bytes[STAT_BYTES], uint64_t *given)
{
    struct le16 tag;
    struct le64 value;

    memcpy(&tag, bytes, sizeof(tag));
    memcpy(&value, bytes + sizeof(tag), sizeof(value));
    if (le16_get(tag) >= VIRTIO_BALLOON_STATS_MAX)
        return; /* 5.5.6.3.2: those that we do not know are ignored */
    vm_count_set(&b->count.stat[le16_get(tag)], le64_get(value));
    *given |= 1ULL << le16_get(tag);
}

static void read_stats(struct virtio_balloon *b, struct vq *q, struct vq_chain *c)
{
    uint8_t bytes[STAT_BYTES];
    uint64_t given = 0;

    for (unsigned i = 0; i < STATS_PER_BUFFER && vq_pull_left(c) >= STAT_BYTES; i++) {
        if (vq_pull(q, c, bytes, sizeof(bytes)))
            break;
        take_stat(b, bytes, &given);
    }
    vm_count_set(&b->count.stats_given, given);
    vm_count_set(&b->count.stats_at, vm_loop_now_ns(b->dev.dev.env->loop));
    vm_count(&b->count.stats_answers, 1);
    b->stats_seen = true;
}

static void poll_due(struct vm_timer *timer)
{
    struct virtio_balloon *b = container_of(timer, struct virtio_balloon, poll);

    vm_lock_acquire(&b->dev.dev.lock);
    if (b->dev.running && b->stats_interval) {
        b->ask = true;
        virtio_kick_later(&b->dev, VIRTIO_BALLOON_STATS);
    }
    vm_lock_release(&b->dev.dev.lock);
}

/* In the loop's thread, where timers are set. */
static int keep_polling(struct virtio_balloon *b)
{
    struct vm_loop *loop = b->dev.dev.env->loop;

    if (b->interval_changed)
        vm_timer_cancel(&b->poll);
    b->interval_changed = false;
    if (!b->stats_interval || b->poll.slot)
        return 0;
    return vm_timer_set(loop, &b->poll, vm_loop_now_ns(loop) + b->stats_interval * SECOND_NS,
                        poll_due);
}

/* The buffer goes back to the driver: it fills a new one. */
static int send_for_stats(struct virtio_balloon *b, struct vq *q, struct vq_chain *c)
{
    int rc = vq_done(q, c);

    b->ask = b->stats_seen = false;
    if (!rc)
        virtio_notify(&b->dev, (uint16_t)(q - b->dev.queue));
    return rc;
}

int virtio_balloon_serve_stats(struct virtio_balloon *b, uint16_t n)
{
    struct vq *q = &b->dev.queue[n];
    int rc = keep_polling(b);
    struct vq_chain c;

    while (!rc && (rc = vq_next(q, &c)) > 0) {
        if (!b->stats_seen)
            read_stats(b, q, &c);
        if (!b->ask) {
            vq_undo(q, &c);
            return 0;
        }
        rc = send_for_stats(b, q, &c);
    }
    b->ask = false; /* the driver is filling one already */
    return rc < 0 ? rc : 0;
}

/* ---- hints ---- */

static void end_session(struct virtio_balloon *b)
{
    b->s.hinting = VIRTIO_BALLOON_IDLE;
    b->s.command = VIRTIO_BALLOON_CMD_DONE;
    virtio_balloon_show(b, true);
}

/* An id is not used again before the driver has said STOP (5.5.6.6.2): each session has the next one. */
static void begin_session(struct virtio_balloon *b)
{
    b->s.last_command =
        b->s.last_command < VIRTIO_BALLOON_CMD_FIRST || b->s.last_command == UINT32_MAX
            ? VIRTIO_BALLOON_CMD_FIRST
            : b->s.last_command + 1;
    b->s.command = b->s.last_command;
    b->s.hinting = VIRTIO_BALLOON_ASKED;
    vm_count_set(&b->count.hinted, 0);
    virtio_balloon_show(b, true);
}

int virtio_balloon_hint(struct virtio_balloon *b, bool on)
{
    if (!on) {
        if (b->s.hinting != VIRTIO_BALLOON_IDLE)
            end_session(b);
        return 0;
    }
    if (!b->dev.running || !virtio_has(&b->dev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
        return vm_fail(-EAGAIN,
                       "%s: the guest has no driver that hints free pages; try again when its "
                       "virtio_balloon is there",
                       b->dev.dev.id);
    begin_session(b);
    return 0;
}

static void take_command(struct virtio_balloon *b, struct vq *q, struct vq_chain *c)
{
    struct le32 id;

    if (vq_pull(q, c, &id, sizeof(id)))
        return;
    if (b->s.hinting == VIRTIO_BALLOON_ASKED && le32_get(id) == b->s.command)
        b->s.hinting = VIRTIO_BALLOON_TAKING;
    else if (b->s.hinting == VIRTIO_BALLOON_TAKING && le32_get(id) == VIRTIO_BALLOON_CMD_STOP) {
        vm_count(&b->count.hints, 1);
        end_session(b);
    }
}

/* What is hinted is counted and left as it is: whether the driver wrote to a page after its hint could be told by a log of writes only,
 * and a page that was written to must not be touched (5.5.6.6.2). */
static void take_hint(struct virtio_balloon *b, struct vq *q, struct vq_chain *c)
{
    if (c->readable)
        take_command(b, q, c);
    if (b->s.hinting == VIRTIO_BALLOON_TAKING)
        vm_count(&b->count.hinted, c->writable_bytes);
}

int virtio_balloon_serve_hints(struct virtio_balloon *b, uint16_t n)
{
    struct vq *q = &b->dev.queue[n];
    struct vq_chain c;
    int rc = 0, done = 0;

    while (done < CHAINS_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        take_hint(b, q, &c);
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done)
        virtio_notify(&b->dev, n);
    if (done == CHAINS_PER_KICK)
        virtio_kick_later(&b->dev, n);
    return rc < 0 ? rc : 0;
}
