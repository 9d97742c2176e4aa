/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A front end in the machine of virtio_harness.h, a guest's driver before it, a fake back end behind it; all on one loop. */
#ifndef VHOST_FRONT_TEST_H
#define VHOST_FRONT_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/vhost/frontend.h>

#include "vhost_back_end.h"
#include "virtio_harness.h"

#define SECOND 1000000000ULL
#define FT_FEATURES                                                                                \
    (VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_RING_PACKED | VHOST_FEATURE_PROTOCOL | \
     1)

static struct ft {
    struct vh h;
    struct vhost_front_setup setup;
    struct vhost_front_ops ops;
    struct vhost_front *front;
    struct fake_back_end back;
    int absent; /* what connecting gives instead, for so many times */
    unsigned absences, connects;
    int listener[2]; /* VM_OPEN_LISTEN: its name is in the test's directory */
} ft;

static const struct vdev_class ft_class = { .name = "vhost-test", .kind = VDEV_VIRTIO };

static inline int ft_open(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    (void)ctx;
    cr_assert_str_eq(name, "/socket");
    cr_assert_eq(how, VM_OPEN_CONNECT);
    ft.connects++;
    if (ft.absences) {
        ft.absences--;
        return vm_fail(ft.absent, "/socket: as the test wants");
    }
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&ft.back, pair[1]), 0);
    return pair[0];
}

/* Everything but the device; change ft.setup and ft.back, then ft_make(). */
static inline void ft_open_with(const struct vh_config *config)
{
    memset(&ft, 0, sizeof(ft));
    cr_assert_eq(vh_open(&ft.h, config), 0);
    ft.h.open = ft_open;
    fbe_init(&ft.back, &ft.h.env);
    ft.back.features = FT_FEATURES;
    ft.back.protocol = VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(REPLY_ACK) | VHOST_PROTOCOL(CONFIG) |
                       VHOST_PROTOCOL(BACKEND_REQ);
    ft.back.config_bytes = 16;
    memcpy(ft.back.config, "0123456789abcdef", 16);
    ft.absent = -ECONNREFUSED;
    ft.setup = (struct vhost_front_setup){ .id = VIRTIO_ID_BLOCK,
                                           .queues = 2,
                                           .queues_min = 1,
                                           .queue_size = 64,
                                           .config_bytes = 16,
                                           .packed = true,
                                           .socket = "/socket",
                                           .fd = -1,
                                           .wait_ns = 3 * SECOND,
                                           .reconnect_ns = UINT64_MAX };
}

static inline void ft_open_all(enum vh_transport transport)
{
    const struct vh_config config = { .transport = transport, .shared = true };

    ft_open_with(&config);
}

static inline int ft_make(void)
{
    int rc = vhost_front_new(&ft_class, &ft.h.context, &ft.setup, &ft.ops, &ft.front);

    if (rc)
        return rc;
    cr_assert_eq(vh_plug(&ft.h, vhost_front_dev(ft.front)), 0);
    return vh_idle(&ft.h);
}

/* A device that its driver has started. */
static inline void ft_run(void)
{
    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

static inline void ft_close(void)
{
    if (ft.front)
        vh_destroy(&ft.h);
    fbe_die(&ft.back);
    vh_close(&ft.h);
}

static inline struct virtio_dev *ft_dev(void)
{
    return vhost_front_dev(ft.front);
}

#endif
