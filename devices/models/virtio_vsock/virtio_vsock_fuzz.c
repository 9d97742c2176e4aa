/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that sends whatever packets it likes, while programs of the host connect, read, write, shut and leave: the input is a list of
 * steps. Ports are few, so that packets meet connections.
 *
 * Whatever comes: credit, table and bounds hold (virtio_vsock_fuzz.h), each chain comes back, and no packet to the guest is longer than
 * its buffer, goes beyond the room that it told, or is from an address that is nobody's.
 */
#include "virtio_vsock_fuzz.h"

enum { STEPS_MAX = 128, PORTS = 4 };

static const uint32_t lengths[] = { 0, 1, 5, 60, 4096, 65535, 65536, 66000 };

static uint32_t port_of(uint8_t pick)
{
    return pick & 0x40 ? VSOCK_PORT_FIRST + pick % 16 : 1024U + pick % PORTS;
}

static void send_packet(struct vf *f, struct vf_input *in)
{
    static uint8_t bytes[VF_BYTES];
    uint8_t op = (uint8_t)vf_take(in, 1), guest = (uint8_t)vf_take(in, 1),
            host = (uint8_t)vf_take(in, 1), flags = (uint8_t)vf_take(in, 1),
            size = (uint8_t)vf_take(in, 1);
    uint32_t len = lengths[size % VM_ARRAY_SIZE(lengths)];
    struct vsock_hdr h = vt_header(&f->t, (enum vsock_op)(op % 10), op & 0x40 ? 2 : 1,
                                   5000U + guest % PORTS, port_of(host));

    h.flags = le32_make(flags);
    h.len = le32_make(size & 0x80 ? (uint32_t)vf_take(in, 4) : len);
    if (op & 0x80) /* any field may lie */
        ((uint8_t *)&h)[vf_take(in, 1) % sizeof(h)] = (uint8_t)vf_take(in, 1);
    if (len > VT_TX_BYTES - sizeof(h))
        len = VT_TX_BYTES - (uint32_t)sizeof(h);
    (void)vt_offer(&f->t, &h, bytes, len);
    (void)vh_serve(&f->t.h, VSOCK_TX);
}

static void host_step(struct vf *f, struct vf_input *in, unsigned what)
{
    static char bytes[VF_BYTES];
    uint8_t pick = (uint8_t)vf_take(in, 1);
    unsigned i = pick % VF_PEERS;
    int fd = f->peer[i], messages = pick >> 7;

    switch (what) {
    case 0:
        vf_client(f, i, messages);
        if (f->peer[i] >= 0)
            (void)!send(f->peer[i], "CONNECT 5001\n", 13, MSG_NOSIGNAL);
        break;
    case 1: vf_answer(f, i, messages, (uint8_t)vf_take(in, 1)); break;
    case 2:
        (void)!send(fd, bytes, lengths[vf_take(in, 1) % VM_ARRAY_SIZE(lengths)],
                    MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 3: (void)!recv(fd, bytes, lengths[1 + vf_take(in, 1) % 7], MSG_DONTWAIT); break;
    case 4: shutdown(fd, pick >> 4 & 1 ? SHUT_RD : SHUT_WR); break;
    default: vf_close_peer(f, i); break;
    }
}

/* Of what reached the guest. */
static void look(struct vf *f)
{
    const struct vt_packet *p;

    MUST(!vt_run(&f->t));
    while ((p = vt_next(&f->t))) {
        MUST(le64_get(p->hdr.dst_cid) == VT_CID);
        MUST(le16_get(p->hdr.op) == VSOCK_OP_RST || le64_get(p->hdr.src_cid) == VSOCK_CID_HOST);
        MUST(le32_get(p->hdr.len) == p->bytes && p->bytes <= f->t.rx_bytes - sizeof(p->hdr));
        MUST(le16_get(p->hdr.op) == VSOCK_OP_RW || !p->bytes);
    }
}

static void step(struct vf *f, struct vf_input *in)
{
    unsigned what = (unsigned)vf_take(in, 1) % 16;

    switch (what) {
    case 8: vh_pass(&f->t.h, vf_take(in, 1) * 500000000ULL); break;
    case 9: f->t.fwd = (uint32_t)vf_take(in, 3); break;
    case 10: f->t.rx_bytes = vf_take(in, 1) & 1 ? 0 : VT_RX_BYTES; break;
    case 11: f->t.alloc = (uint32_t)vf_take(in, 3); break;
    default:
        if (what < 6)
            host_step(f, in, what);
        else
            send_packet(f, in);
    }
    MUST(!vh_idle(&f->t.h));
    if (f->t.rx_bytes)
        look(f);
    MUST(vt_collect(&f->t) == 0);
    vf_check(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vf f;
    struct vf_input in = { data, size };

    vf_begin(&f, (unsigned)vf_take(&in, 1));
    for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
        step(&f, &in);
    vf_end(&f);
    return 0;
}
