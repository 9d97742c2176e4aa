/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* For the tests of the back end: the virtio library's lab device behind it, and a front end that does what the test says. */
#ifndef BACKEND_TEST_H
#define BACKEND_TEST_H

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "../../virtio/src/virtio_test.h"
#include "backend_private.h"
#include "vhost_harness.h"

static struct vh h;
static struct lab *lab;

static inline struct vhost_harness *harness(void)
{
    return vhost_harness_of(&h);
}

static inline struct ffe *front(void)
{
    return &harness()->front;
}

static inline struct vhost_backend *backend(void)
{
    return harness()->backend;
}

/* A connection on which nothing was said yet. */
static inline void connect_front(void)
{
    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    cr_assert_eq(vhost_backend_serve(backend(), ffe_connect(front())), 0);
}

/* A front end with these protocol features; its memory is known. */
static inline void hello(uint64_t protocol)
{
    connect_front();
    cr_assert_eq(ffe_hello(front(), protocol), 0);
    cr_assert_eq(ffe_table(front()), 0);
}

static inline void lab_behind(void)
{
    static const struct vh_config config = { .transport = VH_OTHER, .other = &vh_vhost_user };

    lab = lab_open(&h, &config);
}

static inline void close_lab(void)
{
    vh_close(&h);
}

/* All but what changes how rings are told. */
#define USUAL                                                                                 \
    (VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(REPLY_ACK) | VHOST_PROTOCOL(CONFIG) |                \
     VHOST_PROTOCOL(LOG_SHMFD) | VHOST_PROTOCOL(BACKEND_REQ) | VHOST_PROTOCOL(RESET_DEVICE) | \
     VHOST_PROTOCOL(INFLIGHT_SHMFD) | VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS))

#define SKIP_DRAIN \
    (VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT) | VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN))

/* A driver's ring n of 16 in the front end's memory; features are set before. */
static inline void make_ring(uint16_t n)
{
    struct fake_config c = { .size = 16,
                             .features = front()->features &
                                         ~(VHOST_FEATURE_PROTOCOL | VIRTIO_FEATURE_ACCESS_PLATFORM),
                             .heap = 0x10000ULL * (n + 1),
                             .heap_bytes = 0x10000 };

    if (h.drv_made[n])
        fake_driver_exit(&h.drv[n]);
    cr_assert_eq(fake_driver_init(&h.drv[n], h.guest.space, &c), 0);
    h.drv_made[n] = true;
}

static inline int set_ring(uint16_t n, uint32_t base)
{
    struct fake_driver *drv = &h.drv[n];

    return ffe_ring(front(), n, drv->size, drv->desc, drv->driver, drv->device, base);
}

static inline uint32_t first_base(void)
{
    return front()->features & VQ_F_RING_PACKED ? 1U << 31 | 1U << 15 : 0;
}

/* From features to a ring that only needs a kick. */
static inline void start_ring(uint16_t n)
{
    if (!front()->features)
        cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);
    make_ring(n);
    cr_assert_eq(set_ring(n, first_base()), 0);
    cr_assert_eq(ffe_ring_on(front(), n), 0);
}

/* One request in ring n that is kicked: 4 when it came back right, -EAGAIN: it did not come back. */
static inline int ask(uint16_t n)
{
    struct fake_driver *drv = &h.drv[n];
    struct fake_buf b[2] = { { fake_driver_alloc(drv, 16), 4, false },
                             { fake_driver_alloc(drv, 16), 16, true } };
    char back[4] = "";
    uint16_t id;
    uint32_t len;
    int rc = fake_driver_write(drv, b[0].addr, "ping", 4);

    if (!rc)
        rc = fake_driver_offer(drv, b, 2);
    if (rc < 0)
        return rc;
    ffe_kick(front(), n);
    cr_assert_eq(vh_idle(&h), 0);
    rc = fake_driver_collect(drv, &id, &len);
    if (rc <= 0)
        return rc ? rc : -EAGAIN;
    if (fake_driver_read(drv, b[1].addr, back, 4) || memcmp(back, "ping", 4))
        return -EBADE;
    return (int)len;
}

/* Errors of rings, and changes of the configuration, since the last time. */
static inline unsigned errors(void)
{
    unsigned n = h.config_interrupts + ffe_errors(front(), 1);

    h.config_interrupts = 0;
    return n;
}

#endif
