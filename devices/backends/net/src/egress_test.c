/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
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

static void add(struct rules *r, const char *rule)
{
    r->egress[r->config.egress.count++] = (char *)(uintptr_t)rule;
    r->config.egress.items = r->egress;
}

static void add_address(struct rules *r, const char *text)
{
    r->addresses[r->config.antispoof_ip.count++] = (char *)(uintptr_t)text;
    r->config.antispoof_ip.items = r->addresses;
    r->config.antispoof = true;
}

static void ready(struct rules *r)
{
    r->config.egress_active = UINT64_MAX;
    r->config.mac = "52:54:00:12:34:56";
    cr_assert_eq(vnet_egress_read(&r->config, &r->read), 0, "%s", vm_error_text());
}

static struct vnet_verdict judge(const struct rules *r, const struct packet *p)
{
    size_t len = p->len < VNET_HEAD ? p->len : VNET_HEAD;

    return vnet_egress_judge(&r->read, p->byte, len, p->len, &p->header);
}

static void ether(struct packet *p, uint16_t type)
{
    memset(p, 0, sizeof(*p));
    memset(p->byte, 0xff, 6);
    memcpy(p->byte + 6, own_mac, 6);
    p->byte[12] = (uint8_t)(type >> 8);
    p->byte[13] = (uint8_t)type;
    p->len = p->l3 = 14;
}

static void tag(struct packet *p, uint16_t type)
{
    memmove(p->byte + 16, p->byte + 12, p->len - 12);
    p->byte[12] = (uint8_t)(type >> 8);
    p->byte[13] = (uint8_t)type;
    p->byte[14] = 0;
    p->byte[15] = 5;
    p->len += 4;
    p->l3 += 4;
}

static uint8_t *at(struct packet *p, size_t offset)
{
    return p->byte + p->l3 + offset;
}

static void ipv4(struct packet *p, uint8_t protocol, const char *from, const char *to,
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

static void ipv6(struct packet *p, uint8_t next, const char *from, const char *to)
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

static void expect(const struct rules *r, const struct packet *p, bool passes, unsigned why)
{
    struct vnet_verdict v = judge(r, p);

    cr_assert_eq(v.pass, passes, "passes %u, for %u", v.pass, v.why);
    cr_assert_eq(v.why, why, "why: %u, not %u", v.why, why);
}

/* ---- rules ---- */

Test(vnet_egress, first_rule_that_fits_decides)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:any@10.1.0.0/16");
    add(&r, "allow:tcp:443@10.0.0.0/8");
    ready(&r);

    ipv4(&p, VNET_TCP, "10.0.0.5", "10.1.2.3", 443);
    expect(&r, &p, false, VNET_BY_RULE + 0);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.2.2.3", 443);
    expect(&r, &p, true, VNET_BY_RULE + 1);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.2.2.3", 444);
    expect(&r, &p, false, VNET_BY_DEFAULT);
    ipv4(&p, VNET_UDP, "10.0.0.5", "10.2.2.3", 443);
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

Test(vnet_egress, networks_end_at_any_bit)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow:any@10.0.0.128/27");
    add(&r, "allow:any@2001:db8:0:4::/62");
    ready(&r);

    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.159", 1);
    expect(&r, &p, true, VNET_BY_RULE + 0);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.160", 1);
    expect(&r, &p, false, VNET_BY_DEFAULT);
    ipv6(&p, VNET_TCP, "2001:db8::1", "2001:db8:0:7::1");
    expect(&r, &p, true, VNET_BY_RULE + 1);
    ipv6(&p, VNET_TCP, "2001:db8::1", "2001:db8:0:8::1");
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

Test(vnet_egress, network_of_no_bits_is_one_family)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow:any@::/0");
    ready(&r);

    ipv6(&p, VNET_TCP, "2001:db8::1", "2001:db8::2");
    expect(&r, &p, true, VNET_BY_RULE);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

Test(vnet_egress, rules_that_are_not_active_do_not_count)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:tcp");
    add(&r, "allow");
    ready(&r);
    r.config.egress_active = 2;
    vnet_egress_set(&r.read, &r.config, NULL);

    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);

    expect(&r, &p, true, VNET_BY_RULE + 1);
}

Test(vnet_egress, new_rules_take_the_place_of_all)
{
    char *text[] = { (char[]){ "deny:tcp:80" }, (char[]){ "allow:tcp" } };
    struct vm_prop_list list = { .items = text, .count = 2 };
    struct rules r = { 0 };
    struct vnet_rules *rules;
    struct packet p;

    add(&r, "allow:udp");
    add(&r, "allow:icmp");
    add(&r, "deny:tcp");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, false, VNET_BY_RULE + 2);

    cr_assert_eq(vnet_rules_new(&list, &rules), 0, "%s", vm_error_text());
    vnet_egress_set(&r.read, &r.config, rules);
    vnet_rules_free(rules);
    vnet_egress_set(&r.read, &r.config, NULL); /* of something else: they stay */

    expect(&r, &p, true, VNET_BY_RULE + 1);
    ipv4(&p, VNET_UDP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

/* egress_default=auto is deny where there are rules. */
Test(vnet_egress, default_is_that_of_the_rules_that_there_are)
{
    char *text[] = { (char[]){ "allow:udp" } };
    struct vm_prop_list list = { .items = text, .count = 1 };
    struct rules r = { 0 };
    struct vnet_rules *rules;
    struct packet p;

    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, true, VNET_PASSES);

    cr_assert_eq(vnet_rules_new(&list, &rules), 0, "%s", vm_error_text());
    vnet_egress_set(&r.read, &r.config, rules);
    vnet_rules_free(rules);

    expect(&r, &p, false, VNET_BY_DEFAULT);
}

Test(vnet_egress, more_rules_than_there_is_room_for_are_refused)
{
    char *text[VNET_RULES_MAX + 1];
    struct vm_prop_list list = { .items = text, .count = VNET_RULES_MAX + 1 };
    struct vnet_rules *rules;

    for (unsigned i = 0; i < list.count; i++)
        text[i] = (char *)(uintptr_t) "allow";
    cr_assert_eq(vnet_rules_new(&list, &rules), -EINVAL);
    cr_assert(strstr(vm_error_text(), "egress: 33 rules"), "%s", vm_error_text());
}

Test(vnet_egress, default_is_deny_where_there_are_rules_and_can_be_said)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:udp");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, false, VNET_BY_DEFAULT);
    r.config.egress_default = VNET_EGRESS_ALLOW;
    vnet_egress_set(&r.read, &r.config, NULL);

    expect(&r, &p, true, VNET_PASSES);
}

Test(vnet_egress, metadata_services_are_denied_before_any_rule)
{
    static const char *const four[] = { "169.254.169.254", "169.254.170.2", "168.63.129.16",
                                        "100.100.100.200" };
    static const char *const six[] = { "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe",
                                       "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1" };
    struct rules r = { .config.deny_metadata = true };
    struct packet p;

    add(&r, "allow");
    ready(&r);

    for (size_t i = 0; i < VM_ARRAY_SIZE(four); i++) {
        ipv4(&p, VNET_TCP, "10.0.0.5", four[i], 80);
        expect(&r, &p, false, VNET_METADATA);
    }
    for (size_t i = 0; i < VM_ARRAY_SIZE(six); i++) {
        ipv6(&p, VNET_TCP, "2001:db8::1", six[i]);
        expect(&r, &p, false, VNET_METADATA);
    }
}

Test(vnet_egress, rules_look_behind_two_tags_and_no_more)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:any@10.0.0.0/8");
    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);

    tag(&p, 0x8100);
    expect(&r, &p, false, VNET_BY_RULE);
    tag(&p, 0x88a8);
    expect(&r, &p, false, VNET_BY_RULE);
    tag(&p, 0x8100);
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, types_that_are_not_listed_are_dropped)
{
    struct rules r = { .types = { 0x88cc } };
    struct packet p;

    add(&r, "allow");
    r.config.egress_types = (struct vm_prop_list){ r.types, 1 };
    ready(&r);

    ether(&p, 0x88cc);
    p.len = 60;
    expect(&r, &p, true, VNET_PASSES);
    ether(&p, 0x8864); /* PPPoE */
    p.len = 60;
    expect(&r, &p, false, VNET_OTHER);
    ether(&p, 46); /* a length: IEEE 802.3 */
    p.len = 60;
    expect(&r, &p, false, VNET_OTHER);
}

/* ---- fragments ---- */

Test(vnet_egress, fragments_do_not_pass_by_a_rule_of_ports)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow:udp:53");
    ready(&r);

    ipv4(&p, VNET_UDP, "10.0.0.5", "10.0.0.6", 53);
    expect(&r, &p, true, VNET_BY_RULE);
    *at(&p, 6) = 0x20; /* the first one */
    expect(&r, &p, false, VNET_BY_DEFAULT);
    *at(&p, 6) = 0;
    *at(&p, 7) = 1; /* a later one */
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

Test(vnet_egress, fragments_are_denied_where_their_port_may_be)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:tcp:25");
    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 80);

    *at(&p, 7) = 1;
    expect(&r, &p, false, VNET_BY_RULE);
    *at(&p, 9) = VNET_UDP;
    expect(&r, &p, true, VNET_BY_RULE + 1);
}

Test(vnet_egress, later_fragments_of_ipv6_say_nothing_of_their_protocol)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:tcp");
    add(&r, "allow");
    ready(&r);
    ipv6(&p, 44, "2001:db8::1", "2001:db8::2");
    *at(&p, 40) = VNET_UDP;
    *at(&p, 43) = 8;

    expect(&r, &p, false, VNET_BY_RULE);
}

/* ---- headers ---- */

Test(vnet_egress, extension_headers_are_walked_to_the_ports)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "deny:tcp:25");
    add(&r, "allow");
    ready(&r);
    ipv6(&p, 0, "2001:db8::1", "2001:db8::2");
    *at(&p, 40) = 60;
    *at(&p, 48) = VNET_TCP;
    *at(&p, 59) = 25;

    expect(&r, &p, false, VNET_BY_RULE);
    *at(&p, 5) = 36; /* of 40 bytes, 20 of TCP behind two of 8 */
    expect(&r, &p, false, VNET_BY_RULE);
    *at(&p, 5) = 35;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, routing_headers_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);

    ipv6(&p, 43, "2001:db8::1", "2001:db8::2");
    *at(&p, 40) = VNET_TCP;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, source_routes_and_unknown_options_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_UDP, "10.0.0.5", "10.0.0.6", 53);
    *at(&p, 0) = 0x46;
    *at(&p, 20) = 148;
    *at(&p, 21) = 4;
    expect(&r, &p, true, VNET_BY_RULE);

    *at(&p, 20) = 131;
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 20) = 7;
    *at(&p, 21) = 5;
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 21) = 0;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, truncated_headers_are_refused_at_every_length)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);

    for (p.len = 14; p.len < 54; p.len++)
        expect(&r, &p, false, VNET_MALFORMED);
    expect(&r, &p, true, VNET_BY_RULE);
}

Test(vnet_egress, lengths_that_contradict_the_frame_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);

    *at(&p, 3) = 41;
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 3) = 39; /* the ports' header does not fit */
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 3) = 40;
    *at(&p, 0) = 0x44;
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 0) = 0x65;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, ipv4_addresses_in_ipv6_packets_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);

    ipv6(&p, VNET_TCP, "2001:db8::1", "::ffff:10.0.0.6");
    expect(&r, &p, false, VNET_MALFORMED);
    ipv6(&p, VNET_TCP, "2001:db8::1", "::10.0.0.6");
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, checksum_is_written_nowhere_but_into_its_field)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    p.header.flags = 1;

    p.header.csum_start = le16_make(34);
    p.header.csum_offset = le16_make(16);
    expect(&r, &p, true, VNET_BY_RULE);
    p.header.csum_offset = le16_make(2); /* the port */
    expect(&r, &p, false, VNET_MALFORMED);
    p.header.csum_start = le16_make(14);
    p.header.csum_offset = le16_make(16); /* the address */
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, segmentation_fits_the_packet)
{
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    p.header = (struct vnet_header){
        .flags = 1, .gso_type = 1, .csum_start = le16_make(34), .csum_offset = le16_make(16)
    };
    expect(&r, &p, true, VNET_BY_RULE);

    p.header.gso_type = 4; /* of IPv6 */
    expect(&r, &p, false, VNET_MALFORMED);
    p.header.gso_type = 3; /* of UDP */
    expect(&r, &p, false, VNET_MALFORMED);
    p.header.gso_type = 1;
    p.header.flags = 0;
    expect(&r, &p, false, VNET_MALFORMED);
}

/* ---- neighbours ---- */

Test(vnet_egress, neighbour_messages_pass_near_by_only)
{
    struct rules r = { .config.egress_default = VNET_EGRESS_DENY };
    struct packet p;

    ready(&r);

    ipv6(&p, VNET_ICMPV6, "fe80::1", "ff02::1:ff00:1");
    *at(&p, 40) = 135;
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 7) = 64;
    expect(&r, &p, false, VNET_BY_DEFAULT);
    ipv6(&p, VNET_ICMPV6, "fe80::1", "2001:db8::1");
    *at(&p, 40) = 135;
    expect(&r, &p, false, VNET_BY_DEFAULT);
    ipv6(&p, VNET_ICMPV6, "fe80::1", "ff02::1");
    *at(&p, 40) = 128;
    expect(&r, &p, false, VNET_BY_DEFAULT);
}

static void arp(struct packet *p, const char *from)
{
    static const uint8_t fixed[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

    ether(p, VNET_ARP_TYPE);
    memcpy(at(p, 0), fixed, sizeof(fixed));
    memcpy(at(p, 8), own_mac, 6);
    inet_pton(AF_INET, from, at(p, 14));
    p->len = 60;
}

Test(vnet_egress, arp_of_another_form_or_with_freight_is_refused)
{
    struct rules r = { .config.egress_default = VNET_EGRESS_DENY };
    struct packet p;

    ready(&r);

    arp(&p, "10.0.0.5");
    expect(&r, &p, true, VNET_PASSES);
    p.len = 129;
    expect(&r, &p, false, VNET_MALFORMED);
    arp(&p, "10.0.0.5");
    *at(&p, 4) = 8;
    expect(&r, &p, false, VNET_MALFORMED);
}

/* ---- antispoof ---- */

Test(vnet_egress, another_mac_address_is_refused)
{
    struct rules r = { .config.antispoof = true };
    struct packet p;

    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.9", "10.0.0.6", 1);

    expect(&r, &p, true, VNET_PASSES);
    p.byte[11] ^= 1;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_egress, addresses_that_were_not_given_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "10.0.0.5");
    add_address(&r, "2001:db8::/64");
    ready(&r);

    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 1);
    expect(&r, &p, true, VNET_PASSES);
    ipv4(&p, VNET_TCP, "10.0.0.4", "10.0.0.6", 1);
    expect(&r, &p, false, VNET_SPOOFED);
    ipv6(&p, VNET_TCP, "2001:db8::7", "2001:db8:1::6");
    expect(&r, &p, true, VNET_PASSES);
    ipv6(&p, VNET_TCP, "2001:db8:1::7", "2001:db8:1::6");
    expect(&r, &p, false, VNET_SPOOFED);
    ipv6(&p, VNET_TCP, "fe80::5054:ff:fe12:3456", "fe80::1");
    expect(&r, &p, true, VNET_PASSES);
}

Test(vnet_egress, arp_in_anothers_name_is_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "10.0.0.5");
    ready(&r);

    arp(&p, "10.0.0.5");
    expect(&r, &p, true, VNET_PASSES);
    arp(&p, "0.0.0.0"); /* a probe: RFC 5227 */
    expect(&r, &p, true, VNET_PASSES);
    arp(&p, "10.0.0.1");
    expect(&r, &p, false, VNET_SPOOFED);
    arp(&p, "10.0.0.5");
    *at(&p, 13) ^= 1;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_egress, neighbour_and_router_in_anothers_name_are_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "2001:db8::5");
    ready(&r);
    ipv6(&p, VNET_ICMPV6, "2001:db8::5", "ff02::1");
    *at(&p, 40) = 136;
    inet_pton(AF_INET6, "2001:db8::5", at(&p, 48));
    *at(&p, 64) = 2;
    *at(&p, 65) = 1;
    memcpy(at(&p, 66), own_mac, 6);
    *at(&p, 5) = 32;
    p.len = 14 + 72;
    expect(&r, &p, true, VNET_PASSES);

    *at(&p, 71) ^= 1; /* another's link-layer address */
    expect(&r, &p, false, VNET_SPOOFED);
    *at(&p, 71) ^= 1;
    *at(&p, 63) = 6; /* for another's address */
    expect(&r, &p, false, VNET_SPOOFED);
    *at(&p, 63) = 5;
    *at(&p, 40) = 134;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_egress, guest_without_address_may_ask_for_one)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "10.0.0.5");
    ready(&r);
    ipv4(&p, VNET_UDP, "0.0.0.0", "255.255.255.255", 67);

    *at(&p, 20) = 0;
    *at(&p, 21) = 68;
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 23) = 53;
    expect(&r, &p, false, VNET_SPOOFED);
}

/* ---- options ---- */

Test(vnet_egress, what_is_no_rule_is_refused)
{
    static const char *const wrong[] = { "",
                                         "pass",
                                         "allow:",
                                         "allow:tpc",
                                         "allow:256",
                                         "allow:tcp:",
                                         "allow:tcp:65536",
                                         "allow:tcp:9-8",
                                         "allow:icmp:1",
                                         "allow:any:1",
                                         "allow@10.0.0.0/33",
                                         "allow@10.0.0/8",
                                         "allow@fd00::/129",
                                         "allow@10.0.0.0/",
                                         "allow@" };
    struct vnet_egress_rules read;

    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++) {
        struct rules r = { 0 };

        add(&r, wrong[i]);
        cr_assert_eq(vnet_egress_read(&r.config, &read), -EINVAL, "%s", wrong[i]);
    }
}

Test(vnet_egress, options_without_what_they_are_for_are_refused)
{
    struct rules r = { 0 };

    add_address(&r, "10.0.0.5");
    r.config.antispoof = false;

    cr_assert_eq(vnet_egress_read(&r.config, &r.read), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "antispoof_ip= is for antispoof=on: give that, too");
}
