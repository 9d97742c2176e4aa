/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared by the device's tests and its fuzz targets: a guest's driver that sends and takes single packets, and the host's programs, in a
 * folder of the test's own, which is where the device's names lie.
 */
#ifndef VIRTIO_VSOCK_TEST_H
#define VIRTIO_VSOCK_TEST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "virtio_harness.h"
#include "virtio_vsock_private.h"

extern const struct vdev_class virtio_vsock_class;

enum {
    VT_CID = 42,
    VT_RX = 64, /* buffers for packets to the guest */
    VT_RX_BYTES = 4096 + 44,
    VT_TX = 8,
    VT_TX_BYTES = 66 << 10,
    VT_INBOX = 512, /* packets that the test has not looked at */
    VT_RAM = 64 << 20,
};

struct vt_packet {
    struct vsock_hdr hdr;
    uint32_t bytes; /* behind the header */
    uint8_t data[VT_RX_BYTES];
};

struct vt {
    struct vh h;
    char folder[32], path[40], messages[40];
    struct vm_dial dial[2]; /* as the VMM has them */
    struct vm_watch watch[2];
    gpa_t rx[VT_RX], tx[VT_TX], event;
    uint16_t rx_id[VT_RX]; /* chain of each buffer */
    bool rx_out[VT_RX];
    uint32_t rx_bytes;
    unsigned tx_next;
    struct vt_packet inbox[VT_INBOX];
    unsigned inbox_at, inbox_len, lost; /* lost: for want of room there */
    unsigned resets; /* events */
    uint32_t alloc, fwd; /* what the guest says in each packet */
};

static inline struct virtio_vsock *vt_device(struct vt *t)
{
    return virtio_vsock_of(t->h.virtio);
}

static inline uint64_t vt_count(struct vt *t, const char *name)
{
    const struct vdev_metric *m = virtio_vsock_class.metrics;

    while (strcmp(m->name, name) != 0)
        m++;
    return *(const uint64_t *)(const void *)((const char *)t->h.dev + m->offset);
}

/* ---- the host ---- */

static inline void vt_serve_dial(struct vm_watch *watch, uint32_t events)
{
    struct vt *t = container_of(watch, struct vt, watch[0]);

    (void)events;
    if (watch->fd != t->dial[0].fd)
        t = container_of(watch, struct vt, watch[1]);
    for (int i = 0; i < 2; i++)
        if (watch->fd == t->dial[i].fd && vm_dial_serve(&t->dial[i]))
            vm_watch_del(watch);
}

static inline int vt_open_name(void *ctx, const char *name, unsigned how)
{
    struct vt *t = container_of((struct vh *)ctx, struct vt, h);
    int i = how & VM_OPEN_SEQPACKET ? 1 : 0, fd;

    if (how & VM_OPEN_LISTEN)
        return vm_socket_listen_as(name, 1024, i ? SOCK_SEQPACKET : SOCK_STREAM);
    if (!(how & VM_OPEN_DIAL))
        return vm_fail(-EACCES, "%s: a name of another kind", name);
    if (vm_dial_new(name, VM_OPEN_DIAL | (i ? VM_OPEN_SEQPACKET : 0U), &t->dial[i], &fd))
        return vm_fail(-EIO, "dial");
    if (vm_watch_add(t->h.loop, &t->watch[i], t->dial[i].fd, EPOLLIN, vt_serve_dial))
        return vm_fail(-EIO, "dial");
    return fd;
}

/* A client; type: SOCK_STREAM or SOCK_SEQPACKET. */
static inline int vt_client(struct vt *t, int type)
{
    return vm_socket_connect_as(type == SOCK_STREAM ? t->path : t->messages, type);
}

static inline int vt_listen(struct vt *t, unsigned port, int type)
{
    char name[64];

    snprintf(name, sizeof(name), "%s_%u", type == SOCK_STREAM ? t->path : t->messages, port);
    return vm_socket_listen_as(name, 1024, type);
}

/* ---- the guest ---- */

static inline int vt_post(struct vt *t, unsigned i)
{
    struct fake_buf b = { t->rx[i], t->rx_bytes, true };
    int id = fake_driver_offer(&t->h.drv[VSOCK_RX], &b, 1);

    if (id < 0)
        return id;
    t->rx_id[i] = (uint16_t)id;
    t->rx_out[i] = true;
    return 0;
}

static inline void vt_take_buffer(struct vt *t, unsigned i, uint32_t len)
{
    struct vt_packet *p = &t->inbox[(t->inbox_at + t->inbox_len) % VT_INBOX];

    t->rx_out[i] = false;
    if (len < sizeof(p->hdr) || t->inbox_len == VT_INBOX) {
        t->lost++;
        return;
    }
    t->inbox_len++;
    p->bytes = len - (uint32_t)sizeof(p->hdr);
    memcpy(&p->hdr, t->h.guest.host + t->rx[i], sizeof(p->hdr));
    memcpy(p->data, t->h.guest.host + t->rx[i] + sizeof(p->hdr), p->bytes);
}

/* What has come is put into the inbox. -EBADE: the device broke the rules of rings. */
static inline int vt_collect(struct vt *t)
{
    uint32_t len;
    uint16_t id;
    int rc;

    while ((rc = fake_driver_collect(&t->h.drv[VSOCK_RX], &id, &len)) > 0)
        for (unsigned i = 0; i < VT_RX; i++)
            if (t->rx_out[i] && t->rx_id[i] == id) {
                vt_take_buffer(t, i, len);
                break;
            }
    while (!rc && (rc = fake_driver_collect(&t->h.drv[VSOCK_TX], &id, &len)) > 0)
        rc = 0;
    while (!rc && (rc = fake_driver_collect(&t->h.drv[VSOCK_EVENT], &id, &len)) > 0) {
        t->resets += len == 4 && !memcmp(t->h.guest.host + t->event, "\0\0\0\0", 4);
        rc = 0;
    }
    return rc;
}

/* Buffers are offered again, until nothing comes. */
static inline int vt_run(struct vt *t)
{
    for (unsigned round = 0; round < 64; round++) {
        unsigned before = t->inbox_len + t->lost;
        int rc;

        for (unsigned i = 0; i < VT_RX; i++)
            if (t->rx_bytes && !t->rx_out[i] && (rc = vt_post(t, i)))
                return rc;
        rc = vh_serve(&t->h, VSOCK_RX);
        if (!rc)
            rc = vt_collect(t);
        if (rc || t->inbox_len + t->lost == before)
            return rc;
    }
    return 0;
}

/* The next packet; NULL: there is none. */
static inline const struct vt_packet *vt_next(struct vt *t)
{
    const struct vt_packet *p = &t->inbox[t->inbox_at];

    if (!t->inbox_len)
        return NULL;
    t->inbox_at = (t->inbox_at + 1) % VT_INBOX;
    t->inbox_len--;
    return p;
}

static inline struct vsock_hdr vt_header(struct vt *t, enum vsock_op op, uint16_t type,
                                         uint32_t guest_port, uint32_t host_port)
{
    return (struct vsock_hdr){ .src_cid = le64_make(VT_CID),
                               .dst_cid = le64_make(VSOCK_CID_HOST),
                               .src_port = le32_make(guest_port),
                               .dst_port = le32_make(host_port),
                               .type = le16_make(type),
                               .op = le16_make((uint16_t)op),
                               .buf_alloc = le32_make(t->alloc),
                               .fwd_cnt = le32_make(t->fwd) };
}

/* One packet, in a chain of a header and its bytes; served when it is kicked. */
static inline int vt_offer(struct vt *t, const struct vsock_hdr *h, const void *data, uint32_t len)
{
    gpa_t at = t->tx[t->tx_next++ % VT_TX];
    struct fake_buf bufs[2] = { { at, sizeof(*h), false }, { at + sizeof(*h), len, false } };
    int rc;

    if (len > VT_TX_BYTES - sizeof(*h))
        return -EINVAL;
    memcpy(t->h.guest.host + at, h, sizeof(*h));
    if (len)
        memcpy(t->h.guest.host + at + sizeof(*h), data, len);
    rc = fake_driver_offer(&t->h.drv[VSOCK_TX], bufs, len ? 2 : 1);
    return rc < 0 ? rc : 0;
}

static inline int vt_put(struct vt *t, const struct vsock_hdr *h, const void *data, uint32_t len)
{
    int rc = vt_offer(t, h, data, len);

    if (!rc)
        rc = vh_serve(&t->h, VSOCK_TX);
    if (!rc)
        rc = vt_collect(t);
    return rc ? rc : vt_run(t);
}

/* ---- life ---- */

static inline int vt_begin(struct vt *t, const struct vh_config *way, const char *more)
{
    struct vh_config config = *way;
    char options[256];
    int rc;

    config.ram_bytes = VT_RAM;
    t->alloc = 256 << 10;
    t->rx_bytes = VT_RX_BYTES;
    t->dial[0].fd = t->dial[1].fd = -1;
    snprintf(t->folder, sizeof(t->folder), "/tmp/vsock-XXXXXX");
    if (!mkdtemp(t->folder))
        return -errno;
    snprintf(t->path, sizeof(t->path), "%s/v", t->folder);
    snprintf(t->messages, sizeof(t->messages), "%s/m", t->folder);
    snprintf(options, sizeof(options), "cid=%d,socket=%s,seqpacket=%s%s%s", VT_CID, t->path,
             t->messages, more ? "," : "", more ? more : "");
    rc = vh_open(&t->h, &config);
    t->h.open = vt_open_name;
    return rc ? rc : vh_create(&t->h, &virtio_vsock_class, options);
}

static inline void vt_place(struct vt *t)
{
    for (unsigned i = 0; i < VT_RX; i++)
        t->rx[i] = fake_driver_alloc(&t->h.drv[VSOCK_RX], VT_RX_BYTES);
    for (unsigned i = 0; i < VT_TX; i++)
        t->tx[i] = fake_driver_alloc(&t->h.drv[VSOCK_TX], VT_TX_BYTES);
    t->event = fake_driver_alloc(&t->h.drv[VSOCK_EVENT], 16);
    memset(t->rx_out, 0, sizeof(t->rx_out));
    memset(t->h.guest.host + t->event, 0xff, 16);
}

static inline int vt_post_event(struct vt *t)
{
    struct fake_buf b = { t->event, 4, true };
    int rc = fake_driver_offer(&t->h.drv[VSOCK_EVENT], &b, 1);

    return rc < 0 ? rc : vh_serve(&t->h, VSOCK_EVENT);
}

/* The driver begins; want 0: all features. */
static inline int vt_start(struct vt *t, uint64_t want)
{
    int rc = vh_start(&t->h, want);

    if (rc)
        return rc;
    vt_place(t);
    rc = vt_post_event(t);
    return rc ? rc : vt_run(t);
}

/* No other names are made than these and those of vt_listen(), which the test knows. */
static inline void vt_end(struct vt *t)
{
    char command[64];

    for (int i = 0; i < 2; i++) {
        vm_watch_del(&t->watch[i]);
        vm_dial_end(&t->dial[i]);
    }
    vh_close(&t->h);
    snprintf(command, sizeof(command), "rm -r %s", t->folder);
    (void)!system(command);
}

#endif
