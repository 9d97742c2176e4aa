/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A back end in memory, and a driver's packets, for the tests and the fuzz target of the device. */
#ifndef VIRTIO_NET_TEST_H
#define VIRTIO_NET_TEST_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_harness.h"
#include "virtio_net_private.h"

enum {
    WIRE_FRAMES = 64,
    RX = 0,
    TX = 1,
    CONTROL = 2,
    PACKET = 0x200000, /* where a packet to be sent lies in the guest */
    ROOM = 0x300000, /* and buffers for received ones */
    WIRE_LENT =
        1000, /* the descriptor of the first pair that is lent to the kernel; the others' follow */
};

struct wire_frame {
    struct vnet_header header;
    size_t len;
    uint8_t *data;
};

/* The back end. Frames for the guest wait in `in`, those from it are kept in `out`. */
struct wire {
    struct vnet net;
    struct virtio_net *dev;
    struct wire_frame in[WIRE_FRAMES], out[WIRE_FRAMES];
    unsigned ins, outs, queue[WIRE_FRAMES]; /* ins: of `in`, each for its queue */
    bool full; /* takes nothing */
    bool down;
    unsigned offloads, pairs, offload_calls; /* as set last */
    unsigned lent; /* pairs that the kernel has, from the first on */
    int (*control)(void *ctx, unsigned file, unsigned long request,
                   void *argument); /* of the kernel's vhost, with vhost=on */
};

static inline struct wire *wire_of(struct vnet *net)
{
    return container_of(net, struct wire, net);
}

static inline ssize_t wire_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct wire *w = wire_of(net);
    size_t done = 0, at = 0;
    ssize_t len;

    while (at < w->ins && w->queue[at] != queue)
        at++;
    if (at == w->ins || queue >= w->pairs)
        return -EAGAIN;
    memcpy(iov[0].iov_base, &w->in[at].header, VNET_HEADER);
    len = (ssize_t)w->in[at].len;
    for (int i = 1; i < count && done < w->in[at].len; i++) {
        size_t n = w->in[at].len - done < iov[i].iov_len ? w->in[at].len - done : iov[i].iov_len;

        memcpy(iov[i].iov_base, w->in[at].data + done, n);
        done += n;
    }
    free(w->in[at].data);
    w->ins--;
    memmove(w->in + at, w->in + at + 1, (w->ins - at) * sizeof(w->in[0]));
    memmove(w->queue + at, w->queue + at + 1, (w->ins - at) * sizeof(w->queue[0]));
    return len;
}

static inline int wire_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct wire *w = wire_of(net);
    struct wire_frame f = { 0 };

    (void)queue;
    if (w->full)
        return -EAGAIN;
    if (w->down || w->outs == WIRE_FRAMES)
        return -ENETDOWN;
    memcpy(&f.header, iov[0].iov_base, VNET_HEADER);
    f.data = malloc(VNET_FRAME_MAX);
    for (int i = 1; i < count; i++) {
        memcpy(f.data + f.len, iov[i].iov_base, iov[i].iov_len);
        f.len += iov[i].iov_len;
    }
    w->out[w->outs++] = f;
    return 0;
}

static inline int wire_set_offloads(struct vnet *net, unsigned offloads)
{
    wire_of(net)->offloads = offloads;
    wire_of(net)->offload_calls++;
    return 0;
}

static inline int wire_set_queues(struct vnet *net, unsigned pairs)
{
    wire_of(net)->pairs = pairs;
    return 0;
}

static inline int wire_lend(struct vnet *net, unsigned queue)
{
    wire_of(net)->lent = queue + 1;
    return WIRE_LENT + (int)queue;
}

static inline void wire_close(struct vnet *net)
{
    struct wire *w = wire_of(net);

    while (w->ins)
        free(w->in[--w->ins].data);
    while (w->outs)
        free(w->out[--w->outs].data);
}

static inline void wire_init(struct wire *w)
{
    static const struct vnet_ops ops = { .receive = wire_receive,
                                         .send = wire_send,
                                         .set_offloads = wire_set_offloads,
                                         .set_queues = wire_set_queues,
                                         .lend = wire_lend,
                                         .close = wire_close };
    const unsigned all =
        VNET_CSUM | VNET_TSO4 | VNET_TSO6 | VNET_ECN | VNET_UFO | VNET_USO4 | VNET_USO6;

    *w = (struct wire){ .net = { .ops = &ops,
                                 .info = { .link = true,
                                           .multi = true,
                                           .takes = all,
                                           .gives = all,
                                           .frame_max = VNET_FRAME_MAX } },
                        .pairs = 1 };
}

/* vhost=on: as virtio_net_create() does it. */
static inline int wire_kernel(struct wire *w, struct vh *h, const struct virtio_net_config *config)
{
    int rc;

    w->dev->control = w->control;
    rc = virtio_net_kernel_new(w->dev, &h->context, config);
    if (rc)
        vdev_destroy(&w->dev->dev.dev);
    return rc;
}

/* A device over the back end, which is initialised. Options as on the command line, or NULL. */
static inline int wire_plug(struct wire *w, struct vh *h, const char *options)
{
    const struct vdev_class *cls = &virtio_net_class;
    struct virtio_net_config config = { 0 };
    struct virtio_net *net = vdev_alloc(&h->context, sizeof(*net));
    struct vdev *dev;
    int rc = net ? vm_prop_defaults(cls->props, &config) : -ENOMEM;

    w->dev = net;
    if (!rc)
        rc = vm_prop_parse(cls->props, &config, cls->name, NULL,
                           options ? options : "mac=52:54:00:12:34:56");
    if (!rc)
        rc = virtio_net_new(&h->context, &config, net, &w->net, &dev);
    if (rc)
        vdev_free(net);
    else
        rc = wire_kernel(w, h, &config);
    vm_prop_free(cls->props, &config);
    return rc ? rc : vh_plug(h, container_of(dev, struct virtio_dev, dev));
}

/* The next frame for the guest: len bytes to its address, numbered from `first` on. */
static inline void wire_put(struct wire *w, unsigned queue, const struct vnet_header *header,
                            const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    if (len)
        memcpy(copy, data, len);
    w->queue[w->ins] = queue;
    w->in[w->ins++] = (struct wire_frame){ *header, len, copy };
}

#endif
