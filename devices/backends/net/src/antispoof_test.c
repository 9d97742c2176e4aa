/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* In whose name a guest may send. */
#include "egress_test.h"

Test(vnet_antispoof, another_mac_address_is_refused)
{
    struct rules r = { .config.antispoof = true };
    struct packet p;

    ready(&r);
    ipv4(&p, VNET_TCP, "10.0.0.9", "10.0.0.6", 1);

    expect(&r, &p, true, VNET_PASSES);
    p.byte[11] ^= 1;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_antispoof, addresses_that_were_not_given_are_refused)
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

Test(vnet_antispoof, arp_in_anothers_name_is_refused)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "10.0.0.5");
    ready(&r);

    arp(&p, "10.0.0.5");
    expect(&r, &p, true, VNET_PASSES);
    arp(&p, "0.0.0.0");
    expect(&r, &p, true, VNET_PASSES);
    arp(&p, "10.0.0.1");
    expect(&r, &p, false, VNET_SPOOFED);
    arp(&p, "10.0.0.5");
    *at(&p, 13) ^= 1;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_antispoof, neighbour_and_router_in_anothers_name_are_refused)
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

/* Who hears that another one probes an address, and is probing it, too, leaves it to that one. */
Test(vnet_antispoof, addresses_that_were_not_given_are_not_probed)
{
    struct rules r = { 0 };
    struct packet p;

    add_address(&r, "10.0.0.5");
    add_address(&r, "2001:db8::5");
    ready(&r);

    arp(&p, "0.0.0.0"); /* RFC 5227, 2.1.1 */
    inet_pton(AF_INET, "10.0.0.5", at(&p, 24));
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 27) = 9;
    expect(&r, &p, false, VNET_SPOOFED);
    ipv6(&p, VNET_ICMPV6, "::", "ff02::1:ff00:5"); /* RFC 4862, 5.4.2 */
    *at(&p, 40) = 135;
    *at(&p, 5) = 24;
    p.len = 14 + 64;
    inet_pton(AF_INET6, "2001:db8::5", at(&p, 48));
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 63) = 9;
    expect(&r, &p, false, VNET_SPOOFED);
    inet_pton(AF_INET6, "2001:db8::5", at(&p, 8)); /* who has it asks for all */
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 5) = 16; /* a target that is not all there */
    p.len = 14 + 56;
    expect(&r, &p, false, VNET_SPOOFED);
}

Test(vnet_antispoof, redirects_and_router_advertisements_of_ipv4_are_refused)
{
    static const uint8_t routers[] = { 5, 9 };
    struct rules r = { .config.antispoof = true };
    struct packet p;

    ready(&r);
    ipv4(&p, VNET_ICMP, "10.0.0.5", "10.0.0.6", 0);

    for (size_t i = 0; i < VM_ARRAY_SIZE(routers); i++) {
        *at(&p, 20) = routers[i];
        expect(&r, &p, false, VNET_SPOOFED);
        *at(&p, 6) = 0x20; /* as a first fragment */
        expect(&r, &p, false, VNET_SPOOFED);
        *at(&p, 6) = 0;
    }
    *at(&p, 20) = 3; /* unreachable */
    expect(&r, &p, true, VNET_PASSES);
}

/* Of LLC and SNAP (RFC 1042) and PPPoE some neighbours make IP again. */
Test(vnet_antispoof, antispoof_lets_no_packet_by_that_it_cannot_read)
{
    struct rules r = { .config.antispoof = true, .types = { 0x88cc } };
    struct packet p;

    ready(&r);

    ether(&p, 60);
    memcpy(at(&p, 0), "\xaa\xaa\3\0\0\0\x86\xdd", 8);
    p.len = 74;
    expect(&r, &p, false, VNET_OTHER);
    ether(&p, 0x8864);
    p.len = 60;
    expect(&r, &p, false, VNET_OTHER);
    ether(&p, 0x88cc);
    p.len = 60;
    expect(&r, &p, false, VNET_OTHER);
    r.config.egress_types = (struct vm_prop_list){ r.types, 1 };
    ready(&r);
    expect(&r, &p, true, VNET_PASSES);
}

Test(vnet_antispoof, guest_without_address_may_ask_for_one)
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

Test(vnet_antispoof, what_routers_and_servers_of_addresses_say_is_refused)
{
    struct rules r = { .config.antispoof = true };
    struct packet p;

    ready(&r);

    arp(&p, "10.0.0.5"); /* RFC 903 */
    p.byte[12] = 0x80;
    p.byte[13] = 0x35;
    *at(&p, 7) = 3;
    expect(&r, &p, true, VNET_PASSES);
    *at(&p, 7) = 4;
    expect(&r, &p, false, VNET_SPOOFED);
    ipv6(&p, VNET_ICMPV6, "fe80::1", "ff02::6a"); /* RFC 4286, 3.1 */
    *at(&p, 40) = 151;
    expect(&r, &p, false, VNET_SPOOFED);
}
