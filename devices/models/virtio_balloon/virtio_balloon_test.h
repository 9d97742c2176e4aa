/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of the balloon share: a guest with 64 MiB, whose driver puts pages in and takes them out. */
#ifndef VIRTIO_BALLOON_TEST_H
#define VIRTIO_BALLOON_TEST_H

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "virtio_balloon_private.h"
#include "virtio_harness.h"

extern const struct vdev_class virtio_balloon_class;

enum {
    BALLOON_FILL = 0x5a,
    BALLOON_LIST = 0x300000, /* where the driver writes its numbers */
    BALLOON_PAGES = 0x4000, /* the rings lie below 0x100 and above 0x800 */
};

static struct vh balloon_h; /* large: not on the stack */

static inline struct virtio_balloon *balloon(void)
{
    return virtio_balloon_of(balloon_h.virtio);
}

static inline int balloon_make(struct vh_config c, const char *options)
{
    c.ram_bytes = (uint64_t)BALLOON_PAGES << 12;
    cr_assert_eq(vh_open(&balloon_h, &c), 0);
    return vh_create(&balloon_h, &virtio_balloon_class, options);
}

/* want 0: all features. */
static inline void balloon_start_in(struct vh_config c, const char *options, uint64_t want)
{
    cr_assert_eq(balloon_make(c, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&balloon_h, want), 0);
}

static inline void balloon_start(const char *options, uint64_t want)
{
    balloon_start_in((struct vh_config){ .transport = VH_PCI }, options, want);
}

static inline void balloon_fill(uint32_t first, uint32_t count)
{
    memset(balloon_h.guest.host + ((uint64_t)first << 12), BALLOON_FILL, (uint64_t)count << 12);
}

/* The last one of the page: neither the driver nor a header writes there. */
static inline uint8_t balloon_byte(uint32_t page)
{
    return balloon_h.guest.host[((uint64_t)page << 12) + 4095];
}

static inline int balloon_send(uint16_t n, const uint32_t *pages, size_t count)
{
    struct fake_buf b = { BALLOON_LIST, (uint32_t)(count * 4), false };

    for (size_t i = 0; i < count; i++) {
        struct le32 number = le32_make(pages[i]);

        memcpy(balloon_h.guest.host + BALLOON_LIST + i * 4, &number, sizeof(number));
    }
    return vh_request(&balloon_h, n, &b, 1);
}

/* count neighbours. */
static inline int balloon_send_run(uint16_t n, uint32_t first, uint32_t count)
{
    static uint32_t pages[BALLOON_PAGES];

    for (uint32_t i = 0; i < count; i++)
        pages[i] = first + i;
    return balloon_send(n, pages, count);
}

static inline struct virtio_balloon_space balloon_space(void)
{
    struct virtio_balloon_space space;

    vh_config_read(&balloon_h, 0, &space, sizeof(space));
    return space;
}

static inline void balloon_write(uint32_t offset, uint32_t value)
{
    struct le32 raw = le32_make(value);

    vh_config_write(&balloon_h, offset, &raw, sizeof(raw));
}

static inline int balloon_set(const char *key_value)
{
    const struct vm_prop *prop;
    void *config;
    int rc = vdev_config_parse(balloon_h.dev, key_value, &prop, &config);

    if (rc)
        return rc;
    rc = vdev_set(balloon_h.dev, prop, config);
    vdev_config_free(balloon_h.dev, config);
    return rc;
}

#endif
