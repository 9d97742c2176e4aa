/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the balloon (VIRTIO 1.3, 5.5).
 *
 *   virtio_balloon.c        class, life, config space, which queue is which
 *   virtio_balloon_pages.c  inflate, deflate, free page reporting: pages in and out
 *   virtio_balloon_talk.c   statistics, free page hinting: what the guest tells
 */
#ifndef VIRTIO_BALLOON_PRIVATE_H
#define VIRTIO_BALLOON_PRIVATE_H

#include <vmm/base/le.h>
#include <vmm/virtio/device.h>

/* Feature bits (5.5.3). */
#define VIRTIO_BALLOON_F_MUST_TELL_HOST (1ULL << 0)
#define VIRTIO_BALLOON_F_STATS_VQ       (1ULL << 1)
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM (1ULL << 2)
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT (1ULL << 3)
#define VIRTIO_BALLOON_F_PAGE_POISON    (1ULL << 4)
#define VIRTIO_BALLOON_F_PAGE_REPORTING (1ULL << 5)

/* Queues (5.5.2). */
enum virtio_balloon_queue {
    VIRTIO_BALLOON_INFLATE,
    VIRTIO_BALLOON_DEFLATE,
    VIRTIO_BALLOON_STATS,
    VIRTIO_BALLOON_HINT,
    VIRTIO_BALLOON_REPORT,
    VIRTIO_BALLOON_QUEUES,
    VIRTIO_BALLOON_NO_QUEUE = VIRTIO_BALLOON_QUEUES
};

/* Reserved command ids of hinting (5.5.6.6). */
enum { VIRTIO_BALLOON_CMD_STOP = 0, VIRTIO_BALLOON_CMD_DONE = 1, VIRTIO_BALLOON_CMD_FIRST = 2 };

enum {
    VIRTIO_BALLOON_PAGE_SHIFT = 12, /* of page numbers, whatever the pages of guest and host */
    VIRTIO_BALLOON_PIECE = 1024, /* page numbers that are sorted and joined at once */
    VIRTIO_BALLOON_STATS_MAX = 16, /* tags that are known: 5.5.6.4, and those of Linux since */
};

struct virtio_balloon_space { /* config space (5.5.4) */
    struct le32 num_pages, actual, free_page_hint_cmd_id, poison_val;
};

/*
 * A session of hinting:
 *
 *   IDLE --the user asks--> ASKED --the driver sends our id--> TAKING --the driver sends STOP--> IDLE
 *
 * In IDLE the driver reads DONE (or STOP, before the first session): what it had hinted is its own again.
 */
enum virtio_balloon_hinting { VIRTIO_BALLOON_IDLE, VIRTIO_BALLOON_ASKED, VIRTIO_BALLOON_TAKING };

struct virtio_balloon_state {
    uint32_t target, actual, poison; /* pages, pages, and the value in freed ones */
    uint32_t command, last_command; /* what the driver reads; the id of the last session, or 0 */
    uint8_t hinting;
};

struct virtio_balloon_run { /* of pages of 4 KiB */
    uint64_t first, count;
};

struct virtio_balloon {
    struct virtio_dev dev;
    struct gm_space *memory; /* borrowed */
    struct virtio_balloon_state s;
    uint32_t actual_before; /* when it was last looked at */
    uint64_t unit; /* pages of 4 KiB that the host takes back at once, a power of two */
    uint64_t *held; /* bit n: page n is in the balloon; NULL: none is */
    uint64_t held_end; /* how many bits it has */
    bool unknown; /* it came with pages that held does not know of */
    uint16_t working; /* + 1: the queue that is served while the lock is free; 0: none */
    uint32_t pfn[VIRTIO_BALLOON_PIECE];
    struct virtio_balloon_run run[VIRTIO_BALLOON_PIECE];

    uint32_t stats_interval; /* seconds; 0: when asked only */
    bool interval_changed;
    bool ask; /* the driver is to fill a new buffer */
    bool stats_seen; /* the buffer in the ring was read */
    struct vm_timer poll;
    struct vm_ratelimit complaints, events;
    struct {
        uint64_t target, actual, inflated, deflated, reported, report_kept, hinted, hints, refused;
        uint64_t discards, discarded, failed, stats_answers, stats_given, stats_at;
        uint64_t stat[VIRTIO_BALLOON_STATS_MAX];
    } count;
};

static inline struct virtio_balloon *virtio_balloon_of(struct virtio_dev *dev)
{
    return container_of(dev, struct virtio_balloon, dev);
}

/* virtio_balloon.c. What the driver reads has changed: state to config space; notify: it is told. */
void virtio_balloon_show(struct virtio_balloon *b, bool notify);

/* virtio_balloon_pages.c */
int virtio_balloon_serve_pages(struct virtio_balloon *b, uint16_t n, bool inflate);
int virtio_balloon_serve_reports(struct virtio_balloon *b, uint16_t n);
/* The balloon is empty: a new driver has it. */
void virtio_balloon_forget(struct virtio_balloon *b);

/* virtio_balloon_talk.c */
int virtio_balloon_serve_stats(struct virtio_balloon *b, uint16_t n);
int virtio_balloon_serve_hints(struct virtio_balloon *b, uint16_t n);
/* 0, or -EAGAIN with text: no driver that hints is there. */
int virtio_balloon_hint(struct virtio_balloon *b, bool on);

#endif
