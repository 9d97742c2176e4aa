/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a guest's frame says, read from a copy of its first bytes: Ethernet with up to two VLAN tags (IEEE 802.1Q), IPv4 (RFC 791), IPv6
 * with its extension headers (RFC 8200), ARP (RFC 826). What could be read in two ways is refused: routes in packets, options that are not
 * known to be harmless, lengths that contradict each other.
 */
#include <errno.h>
#include <string.h>

#include "filter_private.h"

enum {
    TAG_CUSTOMER = 0x8100,
    TAG_SERVICE = 0x88a8,
    TAG_OLD = 0x9100,
    TAGS_MAX = 2,

    IPV4_LEAST = 20,
    IPV4_MORE = 0x2000,
    IPV4_OFFSET = 0x1fff,
    IPV4_END = 0, /* options */
    IPV4_NOP = 1,
    IPV4_RECORD = 7,
    IPV4_TIME = 68,
    IPV4_ALERT = 148,

    IPV6_FIXED = 40,
    IPV6_EXTENSIONS_MAX = 8,
    IPV6_HOP = 0,
    IPV6_ROUTING = 43,
    IPV6_FRAGMENT = 44,
    IPV6_AUTH = 51,
    IPV6_DESTINATION = 60,
    IPV6_MOBILITY = 135,
    IPV6_HIP = 139,
    IPV6_SHIM = 140,
    IPV6_TEST_1 = 253, /* RFC 3692 */
    IPV6_TEST_2 = 254,

    ARP_BYTES = 28,
    ARP_FRAME_MAX = 128, /* nobody sends more behind them than what fills a frame up */

    NEEDS_CSUM = 1, /* VIRTIO 1.2, 5.1.6 */
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    GSO_UDP = 3,
    GSO_TCPV6 = 4,
    GSO_UDP_L4 = 5,
    GSO_ECN = 0x80,
};

/* Bytes of the frame that are there to be read. */
struct view {
    const uint8_t *head;
    size_t len, total;
};

static void set_ipv4(struct vnet_address *a, const uint8_t *p)
{
    memset(a->byte, 0, 10);
    a->byte[10] = a->byte[11] = 0xff;
    memcpy(a->byte + 12, p, 4);
}

static unsigned port_bytes(uint8_t protocol)
{
    switch (protocol) {
    case VNET_TCP: return 20;
    case VNET_UDP: return 8;
    case VNET_SCTP: return 12;
    default: return 0;
    }
}

/* What IP carries: `end` is where the packet ends, which is at most the frame's end. */
static int read_ports(const struct view *v, size_t end, struct vnet_frame *f)
{
    unsigned least = port_bytes(f->protocol);
    bool icmp = f->protocol == VNET_ICMP || f->protocol == VNET_ICMPV6;

    if (f->later)
        return 0;
    if (icmp)
        least = 4;
    if (end < f->l4 + least || v->len < f->l4 + least)
        return -EBADMSG;
    if (icmp) {
        f->icmp_type = v->head[f->l4];
    } else if (least && !f->fragment) { /* of a fragment another one may change them */
        f->from_port = vnet_be16(v->head + f->l4);
        f->to_port = vnet_be16(v->head + f->l4 + 2);
        f->ports_known = true;
    }
    return 0;
}

/* RFC 791, 3.1: each option is one byte, or has its length behind its type. */
static int check_options(const uint8_t *p, size_t len)
{
    size_t i = 0;

    while (i < len) {
        switch (p[i]) {
        case IPV4_END: return 0;
        case IPV4_NOP: i++; continue;
        case IPV4_RECORD:
        case IPV4_TIME:
        case IPV4_ALERT: break;
        default: return -EBADMSG; /* a source route says where it really goes */
        }
        if (i + 2 > len || p[i + 1] < 2 || p[i + 1] > len - i)
            return -EBADMSG;
        i += p[i + 1];
    }
    return 0;
}

static int read_ipv4(const struct view *v, struct vnet_frame *f)
{
    const uint8_t *p = v->head + f->l3;
    size_t header, bytes;
    uint16_t fragment;

    if (v->len < f->l3 + (size_t)IPV4_LEAST || p[0] >> 4 != 4)
        return -EBADMSG;
    header = 4 * (p[0] & 15U);
    bytes = vnet_be16(p + 2);
    if (header < IPV4_LEAST || v->len < f->l3 + header || bytes < header ||
        bytes > v->total - f->l3 || check_options(p + IPV4_LEAST, header - IPV4_LEAST))
        return -EBADMSG;
    fragment = vnet_be16(p + 6);
    f->fragment = fragment & (IPV4_MORE | IPV4_OFFSET);
    f->later = fragment & IPV4_OFFSET;
    f->hops = p[8];
    f->protocol = p[9];
    f->protocol_known = f->ip = true;
    set_ipv4(&f->from, p + 12);
    set_ipv4(&f->to, p + 16);
    f->l4 = (uint16_t)(f->l3 + header);
    return read_ports(v, f->l3 + bytes, f);
}

/* RFC 8200, 4.5. Later fragments' next header may be any: the first one's counts. */
static int read_fragment(const struct view *v, struct vnet_frame *f)
{
    uint16_t word = vnet_be16(v->head + f->l4 + 2);

    if (f->fragment)
        return -EBADMSG;
    f->fragment = true;
    f->later = word & 0xfff8;
    return 0;
}

static bool is_extension(uint8_t next)
{
    return next == IPV6_HOP || next == IPV6_ROUTING || next == IPV6_FRAGMENT || next == IPV6_AUTH ||
           next == IPV6_DESTINATION || next == IPV6_MOBILITY || next == IPV6_HIP ||
           next == IPV6_SHIM || next == IPV6_TEST_1 || next == IPV6_TEST_2;
}

/* f->l4 and f->protocol are the next header's. Only what is known not to change where the packet goes: a routing header does. */
static int skip_extension(const struct view *v, size_t end, struct vnet_frame *f)
{
    const uint8_t *p = v->head + f->l4;
    size_t bytes;

    if (v->len < f->l4 + 8U || end < f->l4 + 8U)
        return -EBADMSG;
    switch (f->protocol) {
    case IPV6_HOP:
        if (f->extensions) /* 4.3: it comes first */
            return -EBADMSG;
        bytes = 8 * (p[1] + 1U);
        break;
    case IPV6_DESTINATION: bytes = 8 * (p[1] + 1U); break;
    case IPV6_AUTH: bytes = 4 * (p[1] + 2U); break; /* RFC 4302, 2.2 */
    case IPV6_FRAGMENT:
        if (read_fragment(v, f))
            return -EBADMSG;
        bytes = 8;
        break;
    default: return -EBADMSG;
    }
    if (v->len < f->l4 + bytes || end < f->l4 + bytes)
        return -EBADMSG;
    f->protocol = p[0];
    f->l4 = (uint16_t)(f->l4 + bytes);
    return 0;
}

/* ::ffff:0:0/96 and ::/96 are never in packets (RFC 4291, 2.5.5; RFC 6890); :: and ::1 are what they are. */
static bool is_disguised(const uint8_t *p)
{
    static const uint8_t zeros[12], mapped[12] = { [10] = 0xff, [11] = 0xff };

    return !memcmp(p, mapped, 12) ||
           (!memcmp(p, zeros, 12) && (p[12] || p[13] || p[14] || p[15] > 1));
}

static int read_ipv6(const struct view *v, struct vnet_frame *f)
{
    const uint8_t *p = v->head + f->l3;
    size_t end;
    int rc = 0;

    if (v->len < f->l3 + (size_t)IPV6_FIXED || p[0] >> 4 != 6)
        return -EBADMSG;
    end = f->l3 + (size_t)IPV6_FIXED + vnet_be16(p + 4);
    if (end > v->total || is_disguised(p + 8) || is_disguised(p + 24))
        return -EBADMSG;
    memcpy(f->from.byte, p + 8, 16);
    memcpy(f->to.byte, p + 24, 16);
    f->protocol = f->next = p[6];
    f->hops = p[7];
    f->ip = f->v6 = true;
    f->l4 = (uint16_t)(f->l3 + IPV6_FIXED);
    for (; !rc && !f->later && is_extension(f->protocol); f->extensions++)
        rc = f->extensions < IPV6_EXTENSIONS_MAX ? skip_extension(v, end, f) : -EBADMSG;
    if (rc)
        return rc;
    f->protocol_known = !f->later;
    return read_ports(v, end, f);
}

/* RFC 826, and RFC 903 with the same form. */
static int read_arp(const struct view *v, struct vnet_frame *f)
{
    static const uint8_t fixed[] = { 0, 1, 8, 0, 6, 4 };
    const uint8_t *p = v->head + f->l3;

    if (v->len < f->l3 + (size_t)ARP_BYTES || v->total > ARP_FRAME_MAX ||
        memcmp(p, fixed, sizeof(fixed)))
        return -EBADMSG;
    set_ipv4(&f->from, p + 14);
    set_ipv4(&f->to, p + 24);
    return 0;
}

static bool is_tag(uint16_t type)
{
    return type == TAG_CUSTOMER || type == TAG_SERVICE || type == TAG_OLD;
}

int vnet_frame_read(const uint8_t *head, size_t len, size_t total, struct vnet_frame *f)
{
    const struct view v = { head, len, total };
    unsigned tags = 0;

    *f = (struct vnet_frame){ .l3 = VNET_ETHER, .whole = len == total };
    if (len < VNET_ETHER)
        return -EBADMSG;
    f->type = vnet_be16(head + 12);
    while (is_tag(f->type)) {
        if (++tags > TAGS_MAX || len < f->l3 + 4U)
            return -EBADMSG;
        f->type = vnet_be16(head + f->l3 + 2);
        f->l3 = (uint16_t)(f->l3 + 4);
    }
    switch (f->type) {
    case VNET_IPV4_TYPE: return read_ipv4(&v, f);
    case VNET_IPV6_TYPE: return read_ipv6(&v, f);
    case VNET_ARP_TYPE:
    case VNET_RARP_TYPE: return read_arp(&v, f);
    default: return 0;
    }
}

/* The other side writes two bytes there: into the checksum, or behind all that was judged (of a tunnel's inner packet). */
static bool check_checksum(const struct vnet_frame *f, size_t start, size_t offset)
{
    size_t end = f->l4 + (size_t)port_bytes(f->protocol);

    if (!f->ip || f->later || start < f->l4)
        return false;
    if (start == f->l4 && f->protocol == VNET_TCP)
        return offset == 16 && !f->fragment;
    if (start == f->l4 && f->protocol == VNET_UDP)
        return offset == 6 && !f->fragment;
    return f->protocol != VNET_ICMP && f->protocol != VNET_ICMPV6 && start + offset >= end;
}

/* UFO makes fragments of it, whose offsets count by 8 (RFC 8200, 4.5). */
static bool check_fragments(size_t bytes)
{
    return bytes >= 8 && bytes % 8 == 0;
}

static bool check_segments(const struct vnet_frame *f, uint8_t type, size_t start, size_t bytes)
{
    uint8_t protocol = type == GSO_TCPV4 || type == GSO_TCPV6 ? VNET_TCP : VNET_UDP;

    if (!f->ip || f->fragment || f->protocol != protocol || start != f->l4)
        return false;
    switch (type) {
    case GSO_TCPV4: return !f->v6;
    case GSO_TCPV6: return f->v6;
    case GSO_UDP: return check_fragments(bytes);
    case GSO_UDP_L4: return true;
    default: return false;
    }
}

int vnet_frame_check_header(const struct vnet_frame *f, const struct vnet_header *h)
{
    size_t start = le16_get(h->csum_start);

    if (h->flags & NEEDS_CSUM && !check_checksum(f, start, le16_get(h->csum_offset)))
        return -EBADMSG;
    if (h->gso_type == GSO_NONE)
        return 0;
    return h->flags & NEEDS_CSUM &&
                   check_segments(f, h->gso_type & (uint8_t)~GSO_ECN, start, le16_get(h->gso_size))
               ? 0
               : -EBADMSG;
}
