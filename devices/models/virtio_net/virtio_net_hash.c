/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Hashes of received frames (VIRTIO 1.2, 5.1.6.4.3): Toeplitz's, as Microsoft defined it for receive side scaling, over the addresses
 * and ports that are asked for, and the queue that is found by it (5.1.6.5.7).
 *
 * The hash is linear: it is the sum (exclusive or) of what each bit of the input adds, which is the 32 bits of the key that begin at the
 * bit's place. For each four bits of the longest input the table holds the sum of each of their values.
 */
#include "virtio_net_private.h"

#include <string.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_VLAN = 0x8100, /* IEEE 802.1Q */
    ETHERTYPE_VLANS = 0x88a8, /* 802.1ad: the outer tag of two */
    ETHERTYPE_IPV6 = 0x86dd,
    TAGS_MAX = 2,

    IP_TCP = 6,
    IP_UDP = 17,
    IPV4_HEADER = 20, /* RFC 791, 3.1 */
    IPV4_PIECE = 0x3fff, /* "more fragments", and the offset */
    IPV6_HEADER = 40, /* RFC 8200, 3 */
    IPV6_HOP = 0, /* RFC 8200, 4: extension headers */
    IPV6_ROUTING = 43,
    IPV6_FRAGMENT = 44,
    IPV6_OPTIONS = 60,
    IPV6_PIECE = 0xfff9, /* offset, "more fragments" */
    EXTENSIONS_MAX = 8,
    ROUTING_HOME = 2, /* RFC 6275, 6.4: the address behind 8 bytes */
    OPTION_PAD = 0,
    OPTION_HOME = 0xc9, /* RFC 6275, 6.3 */
};

/* Places in the frame; NULL: it has none. */
struct flow {
    const uint8_t *from, *to, *ports;
    const uint8_t *home,
        *routed; /* in place of from and to, for the types with extension headers */
    uint8_t protocol;
    bool v6, extended;
};

/* ---- the hash ---- */

void virtio_net_hash_set_key(struct virtio_net_hash *hash, const uint8_t key[VIRTIO_NET_KEY])
{
    for (unsigned n = 0; n < VIRTIO_NET_NIBBLES; n++) {
        uint32_t bit[4];
        uint64_t window = 0;

        for (unsigned i = 0; i < 5; i++)
            window = window << 8 | key[n / 2 + i];
        for (unsigned i = 0; i < 4; i++) /* the highest bit comes first */
            bit[i] = (uint32_t)(window >> (8 - n % 2 * 4 - i) & UINT32_MAX);
        for (unsigned v = 0; v < 16; v++)
            hash->sum[n][v] = (v & 8 ? bit[0] : 0) ^ (v & 4 ? bit[1] : 0) ^ (v & 2 ? bit[2] : 0) ^
                              (v & 1 ? bit[3] : 0);
    }
}

/* So many bytes more of the input, of which *at have been. */
static uint32_t add(const struct virtio_net_hash *hash, unsigned *at, const uint8_t *p, unsigned n)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < n; i++, (*at)++)
        sum ^= hash->sum[2 * *at][p[i] >> 4] ^ hash->sum[2 * *at + 1][p[i] & 15];
    return sum;
}

/* ---- what is hashed ---- */

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void find_ports(struct flow *f, const uint8_t *p, size_t len)
{
    if ((f->protocol == IP_TCP || f->protocol == IP_UDP) && len >= 4)
        f->ports = p;
}

static bool read_ipv4(struct flow *f, const uint8_t *p, size_t len)
{
    size_t header = len ? (size_t)(p[0] & 15) * 4 : 0;

    if (len < IPV4_HEADER || p[0] >> 4 != 4 || header < IPV4_HEADER)
        return false;
    f->from = p + 12;
    f->to = p + 16;
    f->protocol = p[9];
    if (header <= len && !(be16(p + 6) & IPV4_PIECE))
        find_ports(f, p + header, len - header);
    return true;
}

/* RFC 8200, 4.2: type, length, data. */
static void find_home(struct flow *f, const uint8_t *p, size_t len)
{
    for (size_t at = 2; at < len;) {
        size_t next = p[at] == OPTION_PAD ? at + 1 : at + 1 < len ? at + 2 + p[at + 1] : len + 1;

        if (next > len)
            return;
        if (p[at] == OPTION_HOME && next - at == 18)
            f->home = p + at + 2;
        at = next;
    }
}

/* One extension header. Its length; 0: it is none, or not all of it is there, or it begins another piece of a packet. */
static size_t read_extension(struct flow *f, const uint8_t *p, size_t len)
{
    size_t bytes = len >= 8 ? 8 * (1 + (size_t)p[1]) : 0;

    if (f->protocol == IPV6_FRAGMENT)
        bytes = len >= 8 ? 8 : 0; /* and the second byte is reserved */
    else if (f->protocol != IPV6_HOP && f->protocol != IPV6_ROUTING && f->protocol != IPV6_OPTIONS)
        return 0;
    f->extended = true;
    if (!bytes || bytes > len)
        return 0;
    if (f->protocol == IPV6_FRAGMENT && be16(p + 2) & IPV6_PIECE)
        return 0;
    if (f->protocol == IPV6_OPTIONS)
        find_home(f, p, bytes);
    if (f->protocol == IPV6_ROUTING && p[2] == ROUTING_HOME && bytes >= 24)
        f->routed = p + 8;
    f->protocol = p[0];
    return bytes;
}

static bool read_ipv6(struct flow *f, const uint8_t *p, size_t len)
{
    size_t at = IPV6_HEADER, bytes = 1;

    if (len < IPV6_HEADER || p[0] >> 4 != 6)
        return false;
    f->v6 = true;
    f->from = p + 8;
    f->to = p + 24;
    f->protocol = p[6];
    for (unsigned i = 0; i < EXTENSIONS_MAX && bytes; i++) {
        bytes = read_extension(f, p + at, len - at);
        at += bytes;
    }
    find_ports(f, p + at, len - at); /* not TCP where it stopped at an extension */
    return true;
}

static bool read_frame(struct flow *f, const uint8_t *frame, size_t len)
{
    size_t at = VNET_ETHER;

    for (unsigned i = 0; i < TAGS_MAX && at + 4 <= len; i++, at += 4)
        if (be16(frame + at - 2) != ETHERTYPE_VLAN && be16(frame + at - 2) != ETHERTYPE_VLANS)
            break;
    if (at > len)
        return false;
    switch (be16(frame + at - 2)) {
    case ETHERTYPE_IPV4: return read_ipv4(f, frame + at, len - at);
    case ETHERTYPE_IPV6: return read_ipv6(f, frame + at, len - at);
    default: return false;
    }
}

/* ---- of which kind ---- */

/* Of three types, addresses only, TCP and UDP, in this order in both numberings. */
static unsigned choose(uint32_t types, unsigned first_type, unsigned first_report,
                       const struct flow *f)
{
    if (f->ports && f->protocol == IP_TCP && types >> (first_type + 1) & 1)
        return first_report + 1;
    if (f->ports && f->protocol == IP_UDP && types >> (first_type + 2) & 1)
        return first_report + 2;
    return types >> first_type & 1 ? first_report : VIRTIO_NET_HASH_NONE;
}

static unsigned kind_of(uint32_t types, const struct flow *f)
{
    unsigned kind = VIRTIO_NET_HASH_NONE;

    if (!f->v6)
        return choose(types, VIRTIO_NET_TYPE_IPV4, VIRTIO_NET_HASH_IPV4, f);
    if (f->extended)
        kind = choose(types, VIRTIO_NET_TYPE_IPV6_EX, VIRTIO_NET_HASH_IPV6_EX, f);
    return kind ? kind : choose(types, VIRTIO_NET_TYPE_IPV6, VIRTIO_NET_HASH_IPV6, f);
}

struct virtio_net_digest virtio_net_hash(const struct virtio_net_hash *hash, uint32_t types,
                                         const uint8_t *frame, size_t len)
{
    struct virtio_net_digest d = { 0 };
    struct flow f = { 0 };
    unsigned at = 0, bytes;

    if (!read_frame(&f, frame, len))
        return d;
    d.kind = (uint16_t)kind_of(types, &f);
    if (d.kind == VIRTIO_NET_HASH_NONE)
        return d;
    bytes = f.v6 ? 16 : 4;
    if (d.kind >= VIRTIO_NET_HASH_IPV6_EX) {
        f.from = f.home ? f.home : f.from;
        f.to = f.routed ? f.routed : f.to;
    }
    d.value = add(hash, &at, f.from, bytes);
    d.value ^= add(hash, &at, f.to, bytes);
    if ((d.kind - 1) % 3) /* not addresses only */
        d.value ^= add(hash, &at, f.ports, 4);
    return d;
}

/* ---- for a device ---- */

bool virtio_net_hashes(const struct virtio_net *net)
{
    return net->s.steering ||
           (net->s.hash_types && virtio_has(&net->dev, VIRTIO_NET_F_HASH_REPORT));
}

uint16_t virtio_net_target(const struct virtio_net *net, uint16_t pair,
                           const struct virtio_net_digest *d)
{
    const struct virtio_net_state *s = &net->s;

    if (!s->steering)
        return pair;
    return d->kind == VIRTIO_NET_HASH_NONE ? s->unclassified : s->table[d->value & s->table_mask];
}
