/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the device's two fuzz targets: a device whose sockets have no names, clients, dialled programs, and what must always hold. */
#ifndef VIRTIO_VSOCK_FUZZ_H
#define VIRTIO_VSOCK_FUZZ_H

#include <sys/un.h>

#include "virtio_vsock_test.h"

enum { VF_PEERS = 8, VF_BYTES = 70000, VF_CONNECTIONS = 12 };

#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            __builtin_trap();                                               \
        }                                                                   \
    } while (0)

struct vf_input {
    const uint8_t *data;
    size_t left;
};

struct vf {
    struct vt t;
    struct sockaddr_un address[2];
    socklen_t address_len[2];
    int dial[2]; /* our ends */
    int peer[VF_PEERS]; /* clients, and programs that were dialled; -1: none */
    uint16_t type[VF_PEERS];
};

static inline uint64_t vf_take(struct vf_input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

static inline int vf_open_name(void *ctx, const char *name, unsigned how)
{
    struct vf *f = container_of(container_of((struct vh *)ctx, struct vt, h), struct vf, t);
    int i = how & VM_OPEN_SEQPACKET ? 1 : 0, pair[2];
    struct sockaddr_un any = { .sun_family = AF_UNIX }; /* the kernel chooses: unix(7) */

    (void)name;
    if (how & VM_OPEN_DIAL) {
        MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
        f->dial[i] = pair[0];
        return pair[1];
    }
    pair[0] = socket(AF_UNIX, (i ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    MUST(pair[0] >= 0 && !bind(pair[0], (struct sockaddr *)&any, sizeof(sa_family_t)));
    MUST(!listen(pair[0], 64));
    f->address_len[i] = sizeof(f->address[i]);
    MUST(!getsockname(pair[0], (struct sockaddr *)&f->address[i], &f->address_len[i]));
    return pair[0];
}

static inline void vf_close_peer(struct vf *f, unsigned i)
{
    if (f->peer[i] >= 0)
        close(f->peer[i]);
    f->peer[i] = -1;
}

static inline void vf_client(struct vf *f, unsigned i, int messages)
{
    vf_close_peer(f, i);
    f->type[i] = messages ? VSOCK_SEQPACKET : VSOCK_STREAM;
    f->peer[i] = socket(
        AF_UNIX, (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    MUST(f->peer[i] >= 0);
    if (connect(f->peer[i], (struct sockaddr *)&f->address[messages], f->address_len[messages]))
        vf_close_peer(f, i);
}

/* All that was asked gets the same answer: a connection, -code, or bytes that are none. */
static inline void vf_answer(struct vf *f, unsigned i, int messages, uint8_t how)
{
    struct {
        uint32_t tag, port;
        int32_t code;
    } a;
    int pair[2];

    while (recv(f->dial[messages], &a, 8, MSG_DONTWAIT) == 8) {
        a.code = how % 4 == 1 ? -ECONNREFUSED : how % 4 == 2 ? 5 : 0;
        if (how % 4) {
            (void)!send(f->dial[messages], &a, how % 4 == 3 ? 5 : sizeof(a),
                        MSG_NOSIGNAL | MSG_DONTWAIT);
            continue;
        }
        MUST(!socketpair(AF_UNIX,
                         (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         0, pair));
        vf_close_peer(f, i);
        f->peer[i] = pair[0];
        f->type[i] = messages ? VSOCK_SEQPACKET : VSOCK_STREAM;
        (void)vm_socket_send(f->dial[messages], &a, sizeof(a), &pair[1], 1, MSG_DONTWAIT);
        close(pair[1]);
    }
}

static inline void vf_begin(struct vf *f, unsigned kind)
{
    const struct vh_config way = { .transport = kind & 1 ? VH_MMIO_BUS : VH_PCI,
                                   .packed = kind & 2,
                                   .ram_bytes = 8 << 20 };

    memset(&f->t, 0, sizeof(f->t));
    for (unsigned i = 0; i < VF_PEERS; i++)
        f->peer[i] = -1;
    f->t.alloc = kind & 4 ? 64 : 256 << 10;
    f->t.rx_bytes = kind & 8 ? 60 : VT_RX_BYTES;
    MUST(!vh_open(&f->t.h, &way));
    f->t.h.open = vf_open_name;
    MUST(!vh_create(&f->t.h, &virtio_vsock_class, "cid=42,socket=s,seqpacket=m,connections=12"));
    MUST(!vt_start(&f->t, kind & 16 ? VIRTIO_VSOCK_F_STREAM : 0));
}

static inline void vf_check_conn(const struct vsock_conn *c)
{
    MUST(virtio_vsock_since(c->rx_cnt, c->fwd_cnt) <= c->alloc);
    MUST(c->ring.whole <= c->ring.len && c->ring.len <= c->alloc);
    MUST(!c->ring.len == !c->ring.data);
    MUST(c->state != VSOCK_OPEN || c->host_gone ||
         c->ring.len == virtio_vsock_since(c->rx_cnt, c->fwd_cnt));
    MUST((c->state == VSOCK_DEAD) == (c->fd < 0) || c->state == VSOCK_DIALLING);
}

static inline void vf_check(struct vf *f)
{
    const struct virtio_vsock *v = vt_device(&f->t);
    unsigned conns = 0, hellos = 0;
    uint64_t waiting = 0;

    vm_list_for_each (at, &v->all) {
        const struct vsock_conn *c = container_of(at, struct vsock_conn, node);

        vf_check_conn(c);
        conns++;
        hellos += c->state == VSOCK_HELLO;
        waiting += c->ring.data ? c->alloc : 0;
    }
    MUST(conns == v->conns && conns <= VF_CONNECTIONS && hellos == v->hellos);
    MUST(waiting == v->waiting_bytes && waiting <= VSOCK_WAITING_MAX);
    MUST(v->dials_out <= VSOCK_DIALS_MAX && v->rst_len <= VSOCK_RSTS);
}

static inline void vf_end(struct vf *f)
{
    MUST(!vh_reset(&f->t.h, 1000000000));
    vf_check(f);
    vm_list_for_each (at, &vt_device(&f->t)->all) { /* clients that came after it */
        const struct vsock_conn *c = container_of(at, struct vsock_conn, node);

        MUST(c->state == VSOCK_HELLO || (c->state == VSOCK_ASKED && c->owed == VSOCK_OWE_REQUEST));
    }
    MUST(!vt_device(&f->t)->waiting_bytes);
    vh_close(&f->t.h);
    for (unsigned i = 0; i < VF_PEERS; i++)
        vf_close_peer(f, i);
    for (int i = 0; i < 2; i++)
        vm_close(&f->dial[i]);
}

#endif
