/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Pages that go into the balloon and come out of it (VIRTIO 1.3, 5.5.6), and reported free pages (5.5.6.8).
 *
 * Numbers come in any order: a piece of them is sorted, and neighbours are given back to the host in one call. Where its pages are larger
 * than 4 KiB, one goes back when all of it is in the balloon. The lock is free while the host works: config space answers meanwhile.
 */
#include "virtio_balloon_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum {
    CHAINS_PER_KICK = 16, /* then others have their turn in the loop */
    NUMBERS_PER_KICK =
        4096, /* likewise: each may be a hole of its own, which takes the host some 5 us */
    NUMBERS_MAX =
        1 << 14, /* of one chain: 64 MiB; Linux sends 256 numbers, FreeBSD and Windows 1024 */
    WORD_BITS = 64,
};

/* ---- which pages are in it ---- */

/* Numbers have 32 bits: what lies behind 16 TiB does not matter. Parts of it that nobody touches take no memory. */
static bool make_held(struct virtio_balloon *b)
{
    uint64_t pages = gm_map_end(b->dev.view.map) >> VIRTIO_BALLOON_PAGE_SHIFT;

    if (b->held)
        return true;
    b->held_end = pages < 1ULL << 32 ? pages : 1ULL << 32;
    b->held = calloc(b->held_end / WORD_BITS + 1, sizeof(uint64_t));
    return b->held;
}

static bool is_held(const struct virtio_balloon *b, uint64_t page)
{
    return b->held[page / WORD_BITS] >> page % WORD_BITS & 1;
}

static void hold(struct virtio_balloon *b, uint64_t page)
{
    b->held[page / WORD_BITS] |= 1ULL << page % WORD_BITS;
}

static void let_go(struct virtio_balloon *b, uint64_t page)
{
    b->held[page / WORD_BITS] &= ~(1ULL << page % WORD_BITS);
}

void virtio_balloon_forget(struct virtio_balloon *b)
{
    free(b->held);
    b->held = NULL;
    b->unknown = false;
}

static bool is_ram(const struct virtio_balloon *b, uint64_t page)
{
    const struct gm_region *region =
        gm_map_find(b->dev.view.map, page << VIRTIO_BALLOON_PAGE_SHIFT);

    return page < b->held_end && region && !gm_region_read_only(region) && gm_region_host(region);
}

/* A page that is in the balloon already is the guest's mistake, unless its driver may use pages before it says so. */
static bool takes(struct virtio_balloon *b, uint64_t page)
{
    if (!is_ram(b, page))
        return false;
    if (is_held(b, page))
        return !virtio_has(&b->dev, VIRTIO_BALLOON_F_MUST_TELL_HOST);
    hold(b, page);
    return true;
}

static bool gives(struct virtio_balloon *b, uint64_t page)
{
    if (!is_ram(b, page) || (!is_held(b, page) && !b->unknown))
        return false;
    let_go(b, page);
    return true;
}

static void refuse(struct virtio_balloon *b, uint64_t pages, const char *what)
{
    vm_count(&b->count.refused, pages);
    if (pages)
        vm_log_limited(b->dev.dev.env, &b->complaints, VM_LOG_WARN,
                       "%s: %llu pages that the driver %s: ignored", b->dev.dev.id,
                       (unsigned long long)pages, what);
}

/* ---- back to the host ---- */

static bool all_held(const struct virtio_balloon *b, uint64_t from, uint64_t to)
{
    while (from < to && is_held(b, from))
        from++;
    return from == to;
}

/* To whole pages of the host: larger where the rest of one is in the balloon, too, and otherwise smaller. A driver that does not
 * tell before it uses a page has the rest in use, perhaps. */
static struct virtio_balloon_run whole(const struct virtio_balloon *b,
                                       struct virtio_balloon_run run)
{
    bool tells = virtio_has(&b->dev, VIRTIO_BALLOON_F_MUST_TELL_HOST);
    uint64_t low = run.first & ~(b->unit - 1), end = run.first + run.count;
    uint64_t high = (end + b->unit - 1) & ~(b->unit - 1);

    if (b->unit == 1)
        return run;
    if (low < run.first && !(tells && b->held && all_held(b, low, run.first)))
        low += b->unit;
    if (high > end && !(tells && b->held && high <= b->held_end && all_held(b, end, high)))
        high -= b->unit;
    return (struct virtio_balloon_run){ low, high > low ? high - low : 0 };
}

/* b->run[0, count) go back, with the lock free: what came meanwhile sees b->working. */
static void give_back(struct virtio_balloon *b, size_t count)
{
    struct gm_map *map = gm_view_map(&b->dev.view);
    uint64_t done = 0, calls = 0, failed = 0;

    virtio_leave(&b->dev);
    for (size_t i = 0; i < count; i++) {
        const struct virtio_balloon_run *run = &b->run[i];

        if (!run->count)
            continue;
        calls++;
        if (gm_discard(map, run->first << VIRTIO_BALLOON_PAGE_SHIFT,
                       run->count << VIRTIO_BALLOON_PAGE_SHIFT))
            failed += run->count;
        else
            done += run->count;
    }
    gm_map_unref(map);
    virtio_enter(&b->dev);
    vm_count(&b->count.discards, calls);
    vm_count(&b->count.discarded, done << VIRTIO_BALLOON_PAGE_SHIFT);
    vm_count(&b->count.failed, failed << VIRTIO_BALLOON_PAGE_SHIFT);
    if (failed)
        vm_log_limited(b->dev.dev.env, &b->complaints, VM_LOG_WARN,
                       "%s: the host does not take %llu pages back", b->dev.dev.id,
                       (unsigned long long)failed);
}

/* ---- numbers ---- */

/* Shell's, with Ciura's gaps: in place, and without what the C library's asks the host for. */
static void sort(uint32_t *v, size_t n)
{
    static const size_t gaps[] = { 301, 132, 57, 23, 10, 4, 1 };

    for (size_t g = 0; g < VM_ARRAY_SIZE(gaps); g++)
        for (size_t i = gaps[g]; i < n; i++) {
            uint32_t one = v[i];
            size_t at = i;

            for (; at >= gaps[g] && v[at - gaps[g]] > one; at -= gaps[g])
                v[at] = v[at - gaps[g]];
            v[at] = one;
        }
}

/* Neighbours of the sorted numbers become one run. */
static size_t join(struct virtio_balloon *b, size_t n)
{
    uint64_t refused = 0;
    size_t runs = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t page = b->pfn[i];
        struct virtio_balloon_run *last = runs ? &b->run[runs - 1] : NULL;

        if (!takes(b, page))
            refused++;
        else if (last && page < last->first + last->count)
            continue; /* twice, of a driver that may */
        else if (last && page == last->first + last->count)
            last->count++;
        else
            b->run[runs++] = (struct virtio_balloon_run){ page, 1 };
    }
    vm_count(&b->count.inflated, n - refused);
    refuse(b, refused, "put in are no RAM, or in the balloon already");
    for (size_t i = 0; i < runs; i++)
        b->run[i] = whole(b, b->run[i]);
    return runs;
}

static void inflate(struct virtio_balloon *b, size_t n)
{
    size_t runs;

    sort(b->pfn, n);
    runs = join(b, n);
    give_back(b, runs);
}

/* The host gives pages anew when they are touched. */
static void deflate(struct virtio_balloon *b, size_t n)
{
    uint64_t refused = 0;

    for (size_t i = 0; i < n; i++)
        refused += !gives(b, b->pfn[i]);
    vm_count(&b->count.deflated, n - refused);
    refuse(b, refused, "took out are no RAM, or not in the balloon");
}

/* The next numbers of the chain, in b->pfn. */
static size_t pull(struct virtio_balloon *b, struct vq *q, struct vq_chain *c)
{
    size_t n = vq_pull_left(c) / sizeof(uint32_t), most = NUMBERS_MAX - c->pulled / 4;

    n = n < VIRTIO_BALLOON_PIECE ? n : VIRTIO_BALLOON_PIECE;
    n = n < most ? n : most;
    if (!n || vq_pull(q, c, b->pfn, n * sizeof(uint32_t)))
        return 0; /* memory that we cannot reach: what came before it counts */
    for (size_t i = 0; i < n; i++) {
        struct le32 number;

        memcpy(&number, &b->pfn[i], sizeof(number));
        b->pfn[i] = le32_get(number);
    }
    return n;
}

/* How many numbers it had. */
static size_t take_chain(struct virtio_balloon *b, struct vq *q, struct vq_chain *c, bool inflates)
{
    size_t n, sum = 0;

    while (make_held(b) && (n = pull(b, q, c))) {
        sum += n;
        if (inflates)
            inflate(b, n);
        else
            deflate(b, n);
    }
    refuse(b, vq_pull_left(c) / sizeof(uint32_t), "named are too many for one request");
    return sum;
}

int virtio_balloon_serve_pages(struct virtio_balloon *b, uint16_t n, bool inflates)
{
    struct vq *q = &b->dev.queue[n];
    struct vq_chain c;
    size_t numbers = 0;
    int rc = 0, done = 0;

    while (virtio_queue_live(&b->dev, n) && done < CHAINS_PER_KICK && numbers < NUMBERS_PER_KICK &&
           (rc = vq_next(q, &c)) > 0) {
        numbers += take_chain(b, q, &c, inflates);
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done)
        virtio_notify(&b->dev, n);
    if (done == CHAINS_PER_KICK || numbers >= NUMBERS_PER_KICK)
        virtio_kick_later(&b->dev, n);
    return rc < 0 ? rc : 0;
}

/* ---- reported pages ---- */

/* Whole pages of the host inside the buffer; buffers that touch become one. */
static size_t add_report(const struct virtio_balloon *b, struct virtio_balloon_run *run,
                         size_t runs, const struct vq_buf *buf)
{
    uint64_t unit = b->unit << VIRTIO_BALLOON_PAGE_SHIFT;
    uint64_t low = (buf->addr + unit - 1) & ~(unit - 1),
             high = (buf->addr + buf->len) & ~(unit - 1);
    struct virtio_balloon_run *last = runs ? &run[runs - 1] : NULL;

    if (high <= low)
        return runs;
    low >>= VIRTIO_BALLOON_PAGE_SHIFT;
    high >>= VIRTIO_BALLOON_PAGE_SHIFT;
    if (last && last->first + last->count == low) {
        last->count += high - low;
        return runs;
    }
    run[runs] = (struct virtio_balloon_run){ low, high - low };
    return runs + 1;
}

/* 5.5.6.8.2: a page that the driver poisons with another value than what we would leave stays as it is. Behind an IOMMU addresses are
 * not those of pages. */
static bool keeps_reports(const struct virtio_balloon *b)
{
    return b->dev.view.iommu || (virtio_has(&b->dev, VIRTIO_BALLOON_F_PAGE_POISON) && b->s.poison);
}

static void take_report(struct virtio_balloon *b, const struct vq_chain *c)
{
    size_t runs = 0;

    if (keeps_reports(b)) {
        vm_count(&b->count.report_kept, c->writable_bytes);
        return;
    }
    vm_count(&b->count.reported, c->writable_bytes);
    for (uint16_t i = 0; i < c->writable && runs < VIRTIO_BALLOON_PIECE; i++)
        runs = add_report(b, b->run, runs, &c->buf[c->readable + i]);
    give_back(b, runs);
}

int virtio_balloon_serve_reports(struct virtio_balloon *b, uint16_t n)
{
    struct vq *q = &b->dev.queue[n];
    struct vq_chain c;
    int rc = 0, done = 0;

    while (virtio_queue_live(&b->dev, n) && done < CHAINS_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        take_report(b, &c);
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
