/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Clients of the host that say whatever they like: the input's bytes go to their sockets in pieces of any size, beside an honest guest
 * that takes every connection. What the guest is asked for is what a plain reading of a client's line says.
 */
#include "virtio_vsock_fuzz.h"

enum { STEPS_MAX = 256 };

static struct vf f;

/* The client's bytes so far, as far as a stream's go. */
static struct {
    char bytes[4096];
    size_t len;
} said[VF_PEERS];

/* The port that the line of a client says; -1: it has none that counts. */
static int64_t line_of(unsigned i)
{
    const char *end =
        memchr(said[i].bytes, '\n', said[i].len < VSOCK_LINE_MAX ? said[i].len : VSOCK_LINE_MAX);
    char line[VSOCK_LINE_MAX + 1], word[VSOCK_LINE_MAX + 1];
    unsigned long long port;
    size_t digits;

    if (!end || memchr(said[i].bytes, 0, (size_t)(end - said[i].bytes)))
        return -1;
    memcpy(line, said[i].bytes, (size_t)(end - said[i].bytes));
    line[end - said[i].bytes] = '\0';
    if (strncmp(line, "CONNECT ", 8))
        return -1;
    digits = strspn(line + 8, "0123456789");
    snprintf(word, sizeof(word), "%s", line + 8);
    if (!digits || digits > 10 || line[8 + digits])
        return -1;
    port = strtoull(word, NULL, 10);
    return port < UINT32_MAX ? (int64_t)port : -1;
}

static void speak(struct vf_input *in, unsigned i)
{
    size_t len = (size_t)vf_take(in, 1) % 64;
    ssize_t n;

    len = len < in->left ? len : in->left;
    n = send(f.peer[i], in->data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0 && said[i].len + (size_t)n <= sizeof(said[i].bytes)) {
        memcpy(said[i].bytes + said[i].len, in->data, (size_t)n);
        said[i].len += (size_t)n;
    }
    in->data += len;
    in->left -= len;
}

/* A client that said it must be there: several may have said the same. */
static bool somebody_said(int64_t port, uint16_t type)
{
    for (unsigned i = 0; i < VF_PEERS; i++)
        if (f.type[i] == type && (type == VSOCK_SEQPACKET || line_of(i) == port))
            return true;
    return false;
}

static void guest(void)
{
    const struct vt_packet *p;

    MUST(!vt_run(&f.t));
    while ((p = vt_next(&f.t))) {
        uint32_t guest_port = le32_get(p->hdr.dst_port), host_port = le32_get(p->hdr.src_port);
        struct vsock_hdr h =
            vt_header(&f.t, VSOCK_OP_RESPONSE, le16_get(p->hdr.type), guest_port, host_port);

        if (le16_get(p->hdr.op) != VSOCK_OP_REQUEST)
            continue;
        MUST(somebody_said(guest_port, le16_get(p->hdr.type)));
        MUST(!vt_put(&f.t, &h, NULL, 0));
    }
}

static void step(struct vf_input *in)
{
    uint8_t what = (uint8_t)vf_take(in, 1);
    unsigned i = what % VF_PEERS;

    switch (what >> 3 & 7) {
    case 0:
        vf_client(&f, i, what >> 7);
        said[i].len = 0;
        break;
    case 1: shutdown(f.peer[i], SHUT_WR); break;
    case 2: vf_close_peer(&f, i); break;
    case 3: vh_pass(&f.t.h, vf_take(in, 1) * 100000000ULL); break;
    default: speak(in, i); break;
    }
    MUST(!vh_idle(&f.t.h));
    guest();
    vf_check(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vf_input in = { data, size };

    memset(said, 0, sizeof(said));
    memset(f.type, 0, sizeof(f.type));
    vf_begin(&f, (unsigned)vf_take(&in, 1) & 3);
    for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
        step(&in);
    vf_end(&f);
    return 0;
}
