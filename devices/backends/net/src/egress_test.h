/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of egress.c share: frames of a guest's, and rules. */
#ifndef VNET_EGRESS_TEST_H
#define VNET_EGRESS_TEST_H

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <string.h>

#include <vmm/base/error.h>

#include "filter_private.h"

/* A frame under construction: `l3` is where its packet begins. */
struct packet {
    uint8_t byte[600];
    size_t len, l3;
    struct vnet_header header;
};

struct rules {
    struct vnet_filter_config config;
    char *egress[8], *addresses[4];
    uint32_t types[2];
    struct vnet_egress_rules read;
};

static const uint8_t own_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static inline void add(struct rules *r, const char *rule)
{
    r->egress[r->config.egress.count++] = (char *)(uintptr_t)rule;
    r->config.egress.items = r->egress;
}

static inline void add_address(struct rules *r, const char *text)
{
    r->addresses[r->config.antispoof_ip.count++] = (char *)(uintptr_t)text;
    r->config.antispoof_ip.items = r->addresses;
    r->config.antispoof = true;
}

static inline void ready(struct rules *r)
{
    r->config.egress_active = UINT64_MAX;
    r->config.mac = "52:54:00:12:34:56";
    cr_assert_eq(vnet_egress_read(&r->config, &r->read), 0, "%s", vm_error_text());
}

static inline struct vnet_verdict judge(const struct rules *r, const struct packet *p)
{
    size_t len = p->len < VNET_HEAD ? p->len : VNET_HEAD;

    return vnet_egress_judge(&r->read, p->byte, len, p->len, &p->header);
}

static inline void ether(struct packet *p, uint16_t type)
{
    memset(p, 0, sizeof(*p));
    memset(p->byte, 0xff, 6);
    memcpy(p->byte + 6, own_mac, 6);
    p->byte[12] = (uint8_t)(type >> 8);
    p->byte[13] = (uint8_t)type;
    p->len = p->l3 = 14;
}

static inline void tag(struct packet *p, uint16_t type)
{
    memmove(p->byte + 16, p->byte + 12, p->len - 12);
    p->byte[12] = (uint8_t)(type >> 8);
    p->byte[13] = (uint8_t)type;
    p->byte[14] = 0;
    p->byte[15] = 5;
    p->len += 4;
    p->l3 += 4;
}

static inline uint8_t *at(struct packet *p, size_t offset)
{
    return p->byte + p->l3 + offset;
}

static inline void ipv4(struct packet *p, uint8_t protocol, const char *from, const char *to,
                        uint16_t port)
{
    ether(p, VNET_IPV4_TYPE);
    *at(p, 0) = 0x45;
    *at(p, 3) = 40;
    *at(p, 8) = 64;
    *at(p, 9) = protocol;
    inet_pton(AF_INET, from, at(p, 12));
    inet_pton(AF_INET, to, at(p, 16));
    *at(p, 20) = 0x80;
    *at(p, 22) = (uint8_t)(port >> 8);
    *at(p, 23) = (uint8_t)port;
    p->len += 40;
}

static inline void ipv6(struct packet *p, uint8_t next, const char *from, const char *to)
{
    ether(p, VNET_IPV6_TYPE);
    *at(p, 0) = 0x60;
    *at(p, 5) = 40;
    *at(p, 6) = next;
    *at(p, 7) = 255;
    inet_pton(AF_INET6, from, at(p, 8));
    inet_pton(AF_INET6, to, at(p, 24));
    p->len += 80;
}

static inline void expect(const struct rules *r, const struct packet *p, bool passes, unsigned why)
{
    struct vnet_verdict v = judge(r, p);

    cr_assert_eq(v.pass, passes, "passes %u, for %u", v.pass, v.why);
    cr_assert_eq(v.why, why, "why: %u, not %u", v.why, why);
}

static inline void arp(struct packet *p, const char *from)
{
    static const uint8_t fixed[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

    ether(p, VNET_ARP_TYPE);
    memcpy(at(p, 0), fixed, sizeof(fixed));
    memcpy(at(p, 8), own_mac, 6);
    inet_pton(AF_INET, from, at(p, 14));
    p->len = 60;
}

#endif
