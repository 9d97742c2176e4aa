/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Where to a guest may send. In whose name: antispoof_test.c. */
#include "egress_test.h"

#include <errno.h>

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
                                        "100.100.100.200", "192.0.0.192" };
    static const char *const six[] = { "fd00:ec2::254",     "fd20:ce::254",
                                       "fe80::a9fe:a9fe",   "fd00:c1::a9fe:a9fe",
                                       "fd00:42::42",       "fd00:a9fe:a9fe::1",
                                       "fd00:100::100:200", "64:ff9b::a9fe:a9fe",
                                       "2002:a9fe:a9fe::1" };
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

Test(vnet_egress, fragments_of_ufo_are_of_eights)
{
    static const struct {
        uint16_t bytes;
        bool passes;
    } rows[] = { { 8, true }, { 1480, true }, { 0, false }, { 4, false }, { 12, false } };
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow");
    ready(&r);
    ipv4(&p, VNET_UDP, "10.0.0.5", "10.0.0.6", 1);
    p.header = (struct vnet_header){
        .flags = 1, .gso_type = 3, .csum_start = le16_make(34), .csum_offset = le16_make(6)
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        p.header.gso_size = le16_make(rows[i].bytes);
        expect(&r, &p, rows[i].passes, rows[i].passes ? VNET_BY_RULE : VNET_MALFORMED);
    }
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

/* ---- the host itself ---- */

Test(vnet_egress, loopback_is_not_reached_where_packets_become_sockets)
{
    static const char *const four[] = { "127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3" };
    static const char *const six[] = { "::1", "::" };
    struct rules r = { 0 };
    struct packet p;

    ready(&r);
    r.read.sockets = true;

    for (size_t i = 0; i < VM_ARRAY_SIZE(four); i++) {
        ipv4(&p, VNET_TCP, "10.0.0.5", four[i], 80);
        expect(&r, &p, false, VNET_LOOPBACK);
        tag(&p, 0x8100);
        expect(&r, &p, false, VNET_LOOPBACK);
    }
    for (size_t i = 0; i < VM_ARRAY_SIZE(six); i++) {
        ipv6(&p, VNET_TCP, "2001:db8::1", six[i]);
        expect(&r, &p, false, VNET_LOOPBACK);
    }
    ipv6(&p, VNET_TCP, "2001:db8::1", "::ffff:127.0.0.1");
    expect(&r, &p, false, VNET_MALFORMED);
    ipv4(&p, VNET_UDP, "127.0.0.1", "10.0.0.6", 80);
    expect(&r, &p, false, VNET_LOOPBACK);
    ipv6(&p, VNET_TCP, "::1", "2001:db8::1");
    expect(&r, &p, false, VNET_LOOPBACK);
}

/* As passt reads them: the last extension header's first bytes are ports. */
Test(vnet_egress, headers_that_sockets_would_be_made_of_otherwise_are_refused)
{
    static const uint8_t extensions[] = { 0, 43, 44, 50, 51, 60, 135 };
    struct rules r = { 0 };
    struct packet p;

    add(&r, "allow:tcp:443");
    add(&r, "allow:50");
    ready(&r);
    r.read.sockets = true;

    for (size_t i = 0; i < VM_ARRAY_SIZE(extensions); i++) {
        ipv6(&p, extensions[i], "2001:db8::1", "2001:db8::2");
        *at(&p, 40) = VNET_TCP;
        *at(&p, 50) = *at(&p, 58) = 1; /* the port of a header of 8 or 16 bytes */
        *at(&p, 51) = *at(&p, 59) = 443 & 255;
        expect(&r, &p, false, VNET_MALFORMED);
    }
    ipv4(&p, VNET_TCP, "10.0.0.5", "10.0.0.6", 443);
    expect(&r, &p, true, VNET_BY_RULE);
    *at(&p, 7) = 1; /* a later fragment */
    expect(&r, &p, false, VNET_MALFORMED);
    *at(&p, 7) = 0;
    *at(&p, 6) = 0x20;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, multicast_listeners_are_heard_where_packets_become_sockets)
{
    struct rules r = { .config.egress_default = VNET_EGRESS_DENY };
    struct packet p;

    ready(&r);
    r.read.sockets = true;
    ipv6(&p, 0, "fe80::1", "ff02::16"); /* RFC 3810, 5 */
    *at(&p, 40) = VNET_ICMPV6;
    *at(&p, 48) = 143;

    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 6) = 60;
    expect(&r, &p, false, VNET_MALFORMED);
}

Test(vnet_egress, a_guest_without_address_is_not_at_loopback)
{
    struct rules r = { 0 };
    struct packet p;

    ready(&r);
    r.read.sockets = true;

    ipv4(&p, VNET_UDP, "0.0.0.0", "255.255.255.255", 67);
    expect(&r, &p, true, VNET_PASSES);
    ipv6(&p, VNET_ICMPV6, "::", "ff02::1:ff00:1");
    expect(&r, &p, true, VNET_PASSES);
    ether(&p, 0x88cc);
    p.len = 60;
    expect(&r, &p, true, VNET_PASSES);
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

/* As a list that a script left empty. */
Test(vnet_egress, empty_lists_are_refused_where_they_would_let_everything_pass)
{
    struct rules r = { 0 };

    r.config.egress.items = r.egress;
    cr_assert_eq(vnet_egress_read(&r.config, &r.read), -EINVAL);
    cr_assert(strstr(vm_error_text(), "egress=[]"), "%s", vm_error_text());
    r.config.egress_default = VNET_EGRESS_DENY;
    cr_assert_eq(vnet_egress_read(&r.config, &r.read), 0);
    r.config.antispoof = true;
    r.config.antispoof_ip.items = r.addresses;
    cr_assert_eq(vnet_egress_read(&r.config, &r.read), -EINVAL);
    cr_assert(strstr(vm_error_text(), "antispoof_ip=[]"), "%s", vm_error_text());
}

Test(vnet_egress, options_without_what_they_are_for_are_refused)
{
    struct rules r = { 0 };

    add_address(&r, "10.0.0.5");
    r.config.antispoof = false;

    cr_assert_eq(vnet_egress_read(&r.config, &r.read), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "antispoof_ip= is for antispoof=on: give that, too");
}
