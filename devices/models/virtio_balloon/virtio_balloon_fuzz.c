/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest with a balloon that does whatever it likes: the input is a list of requests in all five queues, of writes to config space, of
 * sizes and hints that the user asks for, of time and resets.
 *
 * What the driver has not put into the balloon and not reported keeps its bytes: no page but those may be discarded. A driver that did not
 * lie gets every chain back, but for the statistics' buffer.
 */
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_balloon_private.h"
#include "virtio_harness.h"

extern const struct vdev_class virtio_balloon_class;

/* The rings lie elsewhere: see make_driver() of the harness. */
enum {
    STEPS_MAX = 256,
    RAM_PAGES = 0x4000,
    FIRST = 0x600,
    PAGES = 0x200,
    LIST = 0x5f0000,
    NUMBERS_MAX = 64
};

#define MUST(condition)       \
    do {                      \
        if (!(condition))     \
            __builtin_trap(); \
    } while (0)

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vh *h;
    bool given[PAGES]; /* to the device, at some time: its bytes may be gone */
};

static uint64_t take(struct fuzz *f, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        value |= (uint64_t)*f->data++ << 8 * i;
    return value;
}

static void mark(struct fuzz *f, uint64_t page, uint64_t count)
{
    for (uint64_t i = page; i < page + count; i++)
        if (i >= FIRST && i < FIRST + PAGES)
            f->given[i - FIRST] = true;
}

static uint8_t *page_of(struct fuzz *f, uint64_t page)
{
    return f->h->guest.host + (page << VIRTIO_BALLOON_PAGE_SHIFT);
}

static void check(struct fuzz *f)
{
    for (uint64_t i = 0; i < PAGES; i++)
        if (!f->given[i])
            MUST(page_of(f, FIRST + i)[i] == 1 + i % 250);
}

static void start(struct fuzz *f, uint64_t want)
{
    MUST(!vh_start(f->h, want));
}

/* A list of numbers, most of them of pages that are watched. */
static void send_pages(struct fuzz *f, uint16_t n)
{
    unsigned count = (unsigned)take(f, 1) % NUMBERS_MAX, odd = (unsigned)take(f, 1) % 8;
    struct fake_buf b = { LIST, count * 4 + (odd < 4 ? odd : 0), false };

    for (unsigned i = 0; i < count; i++) {
        uint32_t page = FIRST + (uint32_t)take(f, 2) % PAGES;
        struct le32 number;

        if (odd == 7)
            page = (uint32_t)take(f, 4) | RAM_PAGES; /* never below the end of RAM */
        number = le32_make(page);
        memcpy(f->h->guest.host + LIST + (uint64_t)i * 4, &number, sizeof(number));
        if (n == VIRTIO_BALLOON_INFLATE)
            mark(f, page, 1);
    }
    (void)vh_request(f->h, n, &b, 1);
}

static void send_report(struct fuzz *f, uint16_t n)
{
    struct fake_buf b[4];
    unsigned count = 1 + (unsigned)take(f, 1) % 4;

    for (unsigned i = 0; i < count; i++) {
        uint64_t addr = ((uint64_t)FIRST << 12) + take(f, 3) % ((uint64_t)PAGES << 12);
        uint64_t end = (uint64_t)(FIRST + PAGES) << 12, len = take(f, 3);

        if (len > end - addr)
            len = end - addr;
        b[i] = (struct fake_buf){ addr, (uint32_t)len, true };
        /* whole pages only */
        if (((addr + 4095) >> 12) < ((addr + len) >> 12))
            mark(f, (addr + 4095) >> 12, ((addr + len) >> 12) - ((addr + 4095) >> 12));
    }
    (void)vh_request(f->h, n, b, count);
}

static void send_bytes(struct fuzz *f, uint16_t n)
{
    uint32_t len = (uint32_t)take(f, 1), fill = (uint32_t)take(f, 1) % 41;
    struct fake_buf b = { LIST, len, false };

    for (uint32_t i = 0; i < fill; i++)
        f->h->guest.host[LIST + i] = (uint8_t)take(f, 1);
    (void)vh_request(f->h, n, &b, 1);
}

static void set(struct fuzz *f)
{
    static const char *const changes[] = { "size=0",
                                           "size=4M",
                                           "size=8M",
                                           "size=65M",
                                           "stats_interval=0",
                                           "stats_interval=1",
                                           "free_page_hinting=on",
                                           "free_page_hinting=off" };
    const struct vm_prop *prop;
    void *config;

    MUST(!vdev_config_parse(f->h->dev, changes[take(f, 1) % VM_ARRAY_SIZE(changes)], &prop,
                            &config));
    (void)vdev_set(f->h->dev, prop, config);
    vdev_config_free(f->h->dev, config);
}

static void refresh(struct fuzz *f)
{
    const uint64_t *answers;

    (void)vdev_refresh(f->h->dev, &answers);
}

static void restart(struct fuzz *f)
{
    MUST(!vh_reset(f->h, UINT64_MAX / 4));
    start(f, take(f, 1) % 64);
}

static void config(struct fuzz *f)
{
    uint8_t bytes[8];
    uint32_t at = (uint32_t)take(f, 1) % 24, len = 1 + (uint32_t)take(f, 1) % 8;

    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)take(f, 1);
    vh_config_write(f->h, at, bytes, len);
}

static void state(struct fuzz *f)
{
    struct vm_buffer b = { 0 };

    MUST(!vh_quiesce(f->h) && !vh_save(f->h, &b) && !vh_load(f->h, b.data, b.len));
    vm_buffer_free(&b);
    MUST(!vdev_resume(f->h->dev));
}

static void step(struct fuzz *f)
{
    uint8_t op = (uint8_t)take(f, 1);

    switch (op % 12) {
    case 0:
    case 1: send_pages(f, VIRTIO_BALLOON_INFLATE); break;
    case 2: send_pages(f, VIRTIO_BALLOON_DEFLATE); break;
    case 3: send_bytes(f, VIRTIO_BALLOON_STATS); break;
    case 4: send_bytes(f, VIRTIO_BALLOON_HINT); break;
    case 5: send_report(f, VIRTIO_BALLOON_HINT); break;
    case 6: send_report(f, VIRTIO_BALLOON_REPORT); break;
    case 7: config(f); break;
    case 8: set(f); break;
    case 9: refresh(f); break;
    case 10: (void)vh_pass(f->h, take(f, 1) * 100000000); break;
    default: op & 0x80 ? state(f) : restart(f); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vh h;
    struct fuzz f = { .data = data, .left = size, .h = &h };
    uint8_t how = (uint8_t)take(&f, 1);
    const struct vh_config c = { .transport = how & 1 ? VH_MMIO_BUS : VH_PCI,
                                 .packed = how & 2,
                                 .shared = how & 4,
                                 .ram_bytes = (uint64_t)RAM_PAGES << 12 };

    MUST(!vh_open(&h, &c));
    MUST(!vh_create(&h, &virtio_balloon_class,
                    "free_page_reporting=on,deflate_on_oom=on,stats_interval=3"));
    virtio_balloon_of(h.virtio)->unit = how & 8 ? 16 : 1;
    for (uint64_t i = 0; i < PAGES; i++)
        page_of(&f, FIRST + i)[i] = (uint8_t)(1 + i % 250);
    start(&f, 0);
    for (unsigned i = 0; i < STEPS_MAX && f.left; i++) {
        step(&f);
        check(&f);
    }
    vh_close(&h);
    return 0;
}
