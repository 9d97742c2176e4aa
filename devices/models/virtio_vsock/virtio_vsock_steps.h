/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Steps of the device's tests, with their assertions: one device, in vt. */
#ifndef VIRTIO_VSOCK_STEPS_H
#define VIRTIO_VSOCK_STEPS_H

#include <criterion/criterion.h>

#include "virtio_vsock_test.h"

enum { HOST = 1024, GUEST = 5000 };
#define SECOND 1000000000ULL

static struct vt t;

static inline void open_way(const struct vh_config *way, const char *more)
{
    memset(&t, 0, sizeof(t));
    cr_assert_eq(vt_begin(&t, way, more), 0, "%s", vm_error_text());
    cr_assert_eq(vt_start(&t, 0), 0);
}

static inline void setup(void)
{
    static const struct vh_config way = { .transport = VH_PCI };

    open_way(&way, NULL);
}

static inline void teardown(void)
{
    vt_end(&t);
}

static inline void run(void)
{
    cr_assert_eq(vt_run(&t), 0, "%s", t.h.drv[VSOCK_RX].complaint);
}

static inline const struct vt_packet *expect(enum vsock_op op)
{
    const struct vt_packet *p;

    run();
    p = vt_next(&t);
    cr_assert(p, "no packet, but one of %d was expected", op);
    cr_assert_eq(le16_get(p->hdr.op), op, "packet of %d, expected %d", le16_get(p->hdr.op), op);
    cr_assert_eq(le64_get(p->hdr.dst_cid), VT_CID);
    cr_assert_eq(le32_get(p->hdr.len), p->bytes);
    return p;
}

static inline void expect_none(void)
{
    run();
    cr_assert_eq(t.inbox_len, 0, "a packet of %d", le16_get(t.inbox[t.inbox_at].hdr.op));
}

static inline void send_op(enum vsock_op op, uint16_t type, uint32_t flags, const void *data,
                           uint32_t len, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_hdr h = vt_header(&t, op, type, guest_port, host_port);

    h.flags = le32_make(flags);
    h.len = le32_make(len);
    cr_assert_eq(vt_put(&t, &h, data, len), 0);
}

static inline void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void hears(int fd, const char *text)
{
    char got[256];
    ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

    cr_assert_eq(n, (ssize_t)strlen(text), "%zd bytes: errno %d", n, errno);
    cr_assert_arr_eq(got, text, (size_t)n);
}

static inline void hears_nothing(int fd)
{
    char got;

    cr_assert_eq(recv(fd, &got, 1, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
}

static inline void hears_the_end(int fd)
{
    char got;

    cr_assert_eq(recv(fd, &got, 1, MSG_DONTWAIT), 0);
}

/* The same, where something that it sent was not read: unix(7) has ECONNRESET then. */
static inline void is_closed(int fd, const char *what)
{
    char got;
    ssize_t n = recv(fd, &got, 1, MSG_DONTWAIT);

    cr_assert(n == 0 || (n < 0 && errno == ECONNRESET), "%s: %zd, errno %d", what, n, errno);
}

/* A client whose connection to the guest's port the guest took. */
static inline int connected(int type, uint32_t *ret_host_port)
{
    const struct vt_packet *p;
    int fd = vt_client(&t, type);
    char line[32];

    cr_assert_geq(fd, 0, "%s", vm_error_text());
    snprintf(line, sizeof(line), "CONNECT %u\n", GUEST);
    say(fd, line);
    p = expect(VSOCK_OP_REQUEST);
    *ret_host_port = le32_get(p->hdr.src_port);
    send_op(VSOCK_OP_RESPONSE, le16_get(p->hdr.type), 0, NULL, 0, GUEST, *ret_host_port);
    snprintf(line, sizeof(line), "OK %u\n", *ret_host_port);
    hears(fd, line);
    return fd;
}

/* The guest's connection to a program that listens at HOST; that program's end. */
static inline int dialled(int type)
{
    int listener = vt_listen(&t, HOST, type), fd;

    cr_assert_geq(listener, 0, "%s", vm_error_text());
    send_op(VSOCK_OP_REQUEST, type == SOCK_STREAM ? VSOCK_STREAM : VSOCK_SEQPACKET, 0, NULL, 0,
            GUEST, HOST);
    expect(VSOCK_OP_RESPONSE);
    fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    close(listener);
    return fd;
}

static inline void send_bytes(const void *data, uint32_t len, uint32_t host_port)
{
    send_op(VSOCK_OP_RW, VSOCK_STREAM, 0, data, len, GUEST, host_port);
}

static inline void expect_bytes(const char *text)
{
    const struct vt_packet *p = expect(VSOCK_OP_RW);

    cr_assert_eq(p->bytes, strlen(text));
    cr_assert_arr_eq(p->data, text, p->bytes);
}

#endif
