/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a guest may send. Fail closed: a frame that cannot be read is dropped, and one of which a rule would have to know more than it says
 * (a fragment's ports) is denied by a rule that denies, and not allowed by one that allows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/tap.h>

#include "filter_private.h"

const char *const vnet_egresses[] = { "auto", "allow", "deny", NULL };

enum { DHCP_CLIENT = 68, DHCP_SERVER = 67, ND_HOPS = 255, RARP_REQUEST = 3 };

/* ---- options ---- */

static bool read_number(const char *text, unsigned long most, unsigned long *ret_value)
{
    size_t digits = strspn(text, "0123456789");

    if (!digits || digits > 5 || text[digits])
        return false;
    *ret_value = strtoul(text, NULL, 10);
    return *ret_value <= most;
}

/* ADDRESS[/BITS] */
static bool read_net(const char *untrusted, struct vnet_net *ret_net)
{
    char text[VNET_RULE_TEXT + 1], *slash;
    struct vnet_net net = { .given = true };
    unsigned long bits, most;

    snprintf(text, sizeof(text), "%s", untrusted);
    slash = strchr(text, '/');
    if (slash)
        *slash++ = '\0';
    net.v6 = strchr(text, ':');
    most = net.v6 ? 128 : 32;
    if (net.v6) {
        if (inet_pton(AF_INET6, text, net.address.byte) != 1)
            return false;
    } else {
        net.address.byte[10] = net.address.byte[11] = 0xff;
        if (inet_pton(AF_INET, text, net.address.byte + 12) != 1)
            return false;
    }
    bits = most;
    if (slash && !read_number(slash, most, &bits))
        return false;
    net.bits = (unsigned)(net.v6 ? bits : bits + 96);
    *ret_net = net;
    return true;
}

static bool read_protocol(const char *text, unsigned *ret_protocol)
{
    static const struct {
        const char *word;
        unsigned protocol;
    } rows[] = { { "any", VNET_ANY_PROTOCOL }, { "tcp", VNET_TCP },       { "udp", VNET_UDP },
                 { "sctp", VNET_SCTP },        { "icmp", VNET_ANY_ICMP }, { NULL, 0 } };
    unsigned long number;

    for (size_t i = 0; rows[i].word; i++)
        if (!strcmp(rows[i].word, text)) {
            *ret_protocol = rows[i].protocol;
            return true;
        }
    if (!read_number(text, 255, &number))
        return false;
    *ret_protocol = (unsigned)number;
    return true;
}

/* PORT[-PORT] */
static bool read_ports(char *text, struct vnet_rule *r)
{
    char *dash = strchr(text, '-');
    unsigned long first, last;

    if (dash)
        *dash++ = '\0';
    if (!read_number(text, UINT16_MAX, &first))
        return false;
    last = first;
    if (dash && !read_number(dash, UINT16_MAX, &last))
        return false;
    r->ports = true;
    r->first = (uint16_t)first;
    r->last = (uint16_t)last;
    return first <= last &&
           (r->protocol == VNET_TCP || r->protocol == VNET_UDP || r->protocol == VNET_SCTP);
}

/* ACTION[:PROTOCOL[:PORTS]][@NETWORK] */
static bool read_rule(const char *untrusted, struct vnet_rule *ret_rule)
{
    struct vnet_rule r = { .protocol = VNET_ANY_PROTOCOL };
    char text[VNET_RULE_TEXT + 1], *net, *protocol, *ports = NULL;

    if (strlen(untrusted) > VNET_RULE_TEXT)
        return false;
    snprintf(text, sizeof(text), "%s", untrusted);
    net = strchr(text, '@');
    if (net)
        *net++ = '\0';
    protocol = strchr(text, ':');
    if (protocol)
        *protocol++ = '\0';
    if (protocol)
        ports = strchr(protocol, ':');
    if (ports)
        *ports++ = '\0';
    r.allow = !strcmp(text, "allow");
    if ((!r.allow && strcmp(text, "deny")) || (protocol && !read_protocol(protocol, &r.protocol)) ||
        (ports && !read_ports(ports, &r)) || (net && !read_net(net, &r.net)))
        return false;
    *ret_rule = r;
    return true;
}

static int read_rules(const struct vm_prop_list *egress, struct vnet_rules *r)
{
    char *const *text = egress->items;

    if (egress->count > VNET_RULES_MAX)
        return vm_fail(-EINVAL, "egress: %u rules: %u are possible", egress->count, VNET_RULES_MAX);
    for (uint32_t i = 0; i < egress->count; i++)
        if (!read_rule(text[i], &r->rule[i]))
            return vm_fail(-EINVAL,
                           "egress: '%.100s' is no rule: write allow or deny, then what it is for, "
                           "as allow:tcp:443@10.0.0.0/8, deny:udp:1-1023, deny:any@fd00::/8",
                           text[i]);
    r->count = egress->count;
    return 0;
}

int vnet_rules_new(const struct vm_prop_list *egress, struct vnet_rules **ret_rules)
{
    struct vnet_rules *r = calloc(1, sizeof(*r));
    int rc = r ? read_rules(egress, r) : vm_fail(-ENOMEM, "egress: out of memory");

    if (rc)
        free(r);
    else
        *ret_rules = r;
    return rc;
}

void vnet_rules_free(struct vnet_rules *rules)
{
    free(rules);
}

static int read_addresses(const struct vnet_filter_config *c, struct vnet_egress_rules *r)
{
    char *const *text = c->antispoof_ip.items;

    if (c->antispoof_ip.count > VNET_ADDRESSES_MAX)
        return vm_fail(-EINVAL, "antispoof_ip: %u addresses: %u are possible",
                       c->antispoof_ip.count, VNET_ADDRESSES_MAX);
    for (uint32_t i = 0; i < c->antispoof_ip.count; i++)
        if (strlen(text[i]) > VNET_RULE_TEXT || !read_net(text[i], &r->address[i]))
            return vm_fail(-EINVAL,
                           "antispoof_ip: '%.100s' is no address: write 10.0.0.5, 10.0.0.0/24 or "
                           "fd00::5",
                           text[i]);
    r->addresses = c->antispoof_ip.count;
    return 0;
}

static int read_types(const struct vnet_filter_config *c, struct vnet_egress_rules *r)
{
    const uint32_t *type = c->egress_types.items;

    if (c->egress_types.count > VNET_TYPES_MAX)
        return vm_fail(-EINVAL, "egress_types: %u are possible", VNET_TYPES_MAX);
    for (uint32_t i = 0; i < c->egress_types.count; i++) {
        if (type[i] < 0x600 || type[i] > UINT16_MAX)
            return vm_fail(-EINVAL, "egress_types: 0x%x is none: they are 0x600 to 0xffff",
                           type[i]);
        r->type[i] = (uint16_t)type[i];
    }
    r->types = c->egress_types.count;
    return 0;
}

static void make_link_local(struct vnet_egress_rules *r)
{
    const uint8_t *m = r->mac;
    const uint8_t made[16] = { 0xfe,     0x80, 0,    0,    0,    0,    0,    0,
                               m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5] };

    memcpy(r->link_local.byte, made, sizeof(made));
}

static bool has_policy(const struct vnet_filter_config *c)
{
    return c->egress.count || c->deny_metadata || c->egress_default != VNET_EGRESS_AUTO;
}

bool vnet_egress_asked(const struct vnet_filter_config *c)
{
    return c->antispoof || has_policy(c) || c->antispoof_ip.count || c->egress_types.count;
}

void vnet_egress_set(struct vnet_egress_rules *r, const struct vnet_filter_config *c,
                     const struct vnet_rules *instead)
{
    if (instead)
        r->rules = *instead;
    r->allow = c->egress_default == VNET_EGRESS_ALLOW ||
               (c->egress_default == VNET_EGRESS_AUTO && !r->rules.count);
    r->policed = r->policed || r->rules.count || has_policy(c);
    r->deny_metadata = c->deny_metadata;
    r->active = c->egress_active;
}

/* Written, but without an element. */
static bool is_empty(const struct vm_prop_list *list)
{
    return list->items && !list->count;
}

static int check(const struct vnet_filter_config *c)
{
    if (is_empty(&c->egress) && c->egress_default == VNET_EGRESS_AUTO)
        return vm_fail(-EINVAL, "egress=[]: without rules everything would pass: if that is meant, "
                                "say egress_default=allow");
    if (is_empty(&c->antispoof_ip))
        return vm_fail(-EINVAL, "antispoof_ip=[]: any address would do: name the guest's, or leave "
                                "it out");
    if (c->antispoof_ip.count && !c->antispoof)
        return vm_fail(-EINVAL, "antispoof_ip= is for antispoof=on: give that, too");
    if (c->egress_types.count && !has_policy(c) && !c->antispoof)
        return vm_fail(-EINVAL, "egress_types= is for egress= and antispoof=on: give one, too");
    if (c->egress_default > VNET_EGRESS_DENY)
        return vm_fail(-EINVAL, "egress_default %u is unknown", c->egress_default);
    return 0;
}

int vnet_egress_read(const struct vnet_filter_config *c, struct vnet_egress_rules *ret_rules)
{
    struct vnet_egress_rules r = { .antispoof = c->antispoof };
    int rc = check(c);

    if (!rc)
        rc = read_rules(&c->egress, &r.rules);
    if (!rc)
        rc = read_addresses(c, &r);
    if (!rc)
        rc = read_types(c, &r);
    if (!rc && c->antispoof && c->mac) {
        rc = vm_mac_parse("mac", c->mac, r.mac);
        make_link_local(&r);
    }
    if (rc)
        return rc;
    vnet_egress_set(&r, c, NULL);
    *ret_rules = r;
    return 0;
}

/* ---- addresses ---- */

static bool begins_so(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8))
        return false;
    return !rest || !((a[bits / 8] ^ b[bits / 8]) & (0xff00 >> rest) & 0xff);
}

static bool is_in(const struct vnet_address *a, bool v6, const struct vnet_net *net)
{
    return net->v6 == v6 && begins_so(a->byte, net->address.byte, net->bits);
}

static bool is_zero(const struct vnet_address *a, bool v6)
{
    static const uint8_t zeros[16];

    return v6 ? !memcmp(a->byte, zeros, 16) : !memcmp(a->byte + 12, zeros, 4);
}

static bool is_given(const struct vnet_egress_rules *r, const struct vnet_address *a, bool v6)
{
    for (unsigned i = 0; i < r->addresses; i++)
        if (is_in(a, v6, &r->address[i]))
            return true;
    return v6 && !memcmp(a->byte, r->link_local.byte, 16);
}

static bool may_have(const struct vnet_egress_rules *r, const struct vnet_address *a, bool v6)
{
    return !r->addresses || is_given(r, a, v6);
}

/* Link-local ones, where AWS, Azure, Google, Oracle, OpenStack and others have it, and those that lie elsewhere. */
static bool is_metadata_ipv4(const uint8_t *p)
{
    static const uint8_t azure[4] = { 168, 63, 129, 16 }, alibaba[4] = { 100, 100, 100, 200 },
                         oracle_classic[4] = { 192, 0, 0, 192 };

    return (p[0] == 169 && p[1] == 254) || !memcmp(p, azure, 4) || !memcmp(p, alibaba, 4) ||
           !memcmp(p, oracle_classic, 4);
}

static bool is_metadata(const struct vnet_frame *f)
{
    static const struct {
        uint8_t byte[16];
    } rows[] = {
        { { 0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 } }, /* AWS: fd00:ec2::254 */
        { { 0xfd, 0x20, 0, 0xce, [14] = 0x02, [15] = 0x54 } }, /* Google: fd20:ce::254 */
        { { 0xfd, 0, 0, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe } }, /* Oracle: fd00:c1::a9fe:a9fe */
        { { 0xfd, 0, 0, 0x42, [15] = 0x42 } }, /* Scaleway: fd00:42::42 */
        { { 0xfd, 0, 0xa9, 0xfe, 0xa9, 0xfe, [15] = 1 } }, /* Akamai: fd00:a9fe:a9fe::1 */
        { { 0xfd, 0, 1, 0, [12] = 1, 0, 2, 0 } }, /* Alibaba: fd00:100::100:200 */
        { { 0xfe, 0x80, [12] = 0xa9, 0xfe, 0xa9, 0xfe } }, /* OpenStack: fe80::a9fe:a9fe */
    };
    static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b }, six_to_four[2] = { 0x20, 0x02 };
    const uint8_t *p = f->to.byte;

    if (!f->v6)
        return is_metadata_ipv4(p + 12);
    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++)
        if (!memcmp(p, rows[i].byte, 16))
            return true;
    if (p[0] == 0xfd && p[1] == 0 && p[2] == 0x0e && p[3] == 0xc2) /* all of the services' net */
        return true;
    return (!memcmp(p, nat64, 12) && is_metadata_ipv4(p + 12)) ||
           (!memcmp(p, six_to_four, 2) && is_metadata_ipv4(p + 2));
}

/* ---- in whose name ---- */

enum {
    ICMP_REDIRECT = 5, /* RFC 792 */
    ICMP_ROUTER = 9, /* RFC 1256 */
    MLD_REPORT = 131,
    MLD_DONE = 132,
    ND_ROUTER_SOLICITATION = 133,
    ND_ROUTER = 134,
    ND_SOLICITATION = 135,
    ND_NEIGHBOUR = 136,
    ND_REDIRECT = 137,
    MLD2_REPORT = 143,
    MULTICAST_ROUTER = 151, /* RFC 4286 */
};

static bool is_icmpv6(const struct vnet_frame *f)
{
    return f->v6 && f->protocol_known && !f->later && f->protocol == VNET_ICMPV6;
}

/* The link-layer addresses that a neighbour message tells (RFC 4861, 4.6.1) are the guest's. */
static bool tells_own_mac(const struct vnet_egress_rules *r, const uint8_t *head, size_t len,
                          size_t at)
{
    while (at + 8 <= len) {
        size_t bytes = 8U * head[at + 1];

        if (!bytes || bytes > len - at)
            return false;
        if ((head[at] == 1 || head[at] == 2) && memcmp(head + at + 2, r->mac, 6))
            return false;
        at += bytes;
    }
    return true;
}

/* RFC 6980: neighbour messages are not fragmented; and all of each has to be seen. */
static bool neighbour_is_own(const struct vnet_egress_rules *r, const struct vnet_frame *f,
                             const uint8_t *head, size_t len)
{
    bool whole = f->whole && !f->fragment, has_target = whole && len >= f->l4 + 24U;
    struct vnet_address target = { 0 };

    if (has_target)
        memcpy(target.byte, head + f->l4 + 8, 16);
    switch (f->icmp_type) {
    case ND_ROUTER:
    case ND_REDIRECT:
    case MULTICAST_ROUTER: return false; /* of routers */
    case ND_ROUTER_SOLICITATION: return whole && tells_own_mac(r, head, len, f->l4 + 8U);
    case ND_SOLICITATION: /* from nobody it says: I am about to take this address (RFC 4862, 5.4.3) */
        return has_target && tells_own_mac(r, head, len, f->l4 + 24U) &&
               (!is_zero(&f->from, true) || may_have(r, &target, true));
    case ND_NEIGHBOUR:
        return has_target && tells_own_mac(r, head, len, f->l4 + 24U) && may_have(r, &target, true);
    default: return true;
    }
}

static bool is_dhcp_request(const struct vnet_frame *f)
{
    static const uint8_t all[4] = { 255, 255, 255, 255 };

    return !f->v6 && is_zero(&f->from, false) && f->protocol == VNET_UDP && f->ports_known &&
           f->from_port == DHCP_CLIENT && f->to_port == DHCP_SERVER &&
           !memcmp(f->to.byte + 12, all, 4);
}

/* RFC 4862, 5.4.2, and RFC 3590: before it has an address. */
static bool is_without_address(const struct vnet_frame *f)
{
    return is_icmpv6(f) && is_zero(&f->from, true) &&
           (f->icmp_type == ND_SOLICITATION || f->icmp_type == ND_ROUTER_SOLICITATION ||
            f->icmp_type == MLD_REPORT || f->icmp_type == MLD2_REPORT);
}

static bool is_arp(const struct vnet_frame *f)
{
    return f->type == VNET_ARP_TYPE || f->type == VNET_RARP_TYPE;
}

static bool is_own_arp(const struct vnet_egress_rules *r, const struct vnet_frame *f,
                       const uint8_t *head)
{
    bool is_answer = f->type == VNET_RARP_TYPE && head[f->l3 + 7] != RARP_REQUEST;

    if (is_answer || memcmp(head + f->l3 + 8, r->mac, 6))
        return false;
    if (!is_zero(&f->from, false))
        return may_have(r, &f->from, false);
    return is_zero(&f->to, false) || may_have(r, &f->to, false); /* a probe (RFC 5227, 2.1.1) */
}

/* What only a router says. */
static bool is_routers(const struct vnet_frame *f)
{
    return f->ip && !f->v6 && !f->later && f->protocol == VNET_ICMP &&
           (f->icmp_type == ICMP_REDIRECT || f->icmp_type == ICMP_ROUTER);
}

static bool is_own(const struct vnet_egress_rules *r, const struct vnet_frame *f,
                   const uint8_t *head, size_t len)
{
    if (is_arp(f))
        return is_own_arp(r, f, head);
    if (is_routers(f) || (is_icmpv6(f) && !neighbour_is_own(r, f, head, len)))
        return false;
    if (!f->ip || !r->addresses)
        return true;
    return is_given(r, &f->from, f->v6) || is_dhcp_request(f) || is_without_address(f);
}

/* ---- rules ---- */

enum match { NO, YES, MAYBE };

static enum match match_protocol(const struct vnet_rule *r, const struct vnet_frame *f)
{
    if (r->protocol == VNET_ANY_PROTOCOL)
        return YES;
    if (!f->protocol_known)
        return MAYBE;
    if (r->protocol == VNET_ANY_ICMP)
        return f->protocol == (f->v6 ? VNET_ICMPV6 : VNET_ICMP) ? YES : NO;
    return r->protocol == f->protocol ? YES : NO;
}

static enum match match(const struct vnet_rule *r, const struct vnet_frame *f)
{
    enum match m = match_protocol(r, f);

    if (m == NO || (r->net.given && !is_in(&f->to, f->v6, &r->net)))
        return NO;
    if (!r->ports)
        return m;
    if (m == MAYBE || !f->ports_known)
        return MAYBE;
    return f->to_port >= r->first && f->to_port <= r->last ? YES : NO;
}

static struct vnet_verdict judge_rules(const struct vnet_egress_rules *r,
                                       const struct vnet_frame *f)
{
    for (unsigned i = 0; i < r->rules.count; i++) {
        const struct vnet_rule *rule = &r->rules.rule[i];
        enum match m = r->active >> i & 1 ? match(rule, f) : NO;

        if (m == YES || (m == MAYBE && !rule->allow))
            return (struct vnet_verdict){ rule->allow, VNET_BY_RULE + i };
    }
    return (struct vnet_verdict){ r->allow, r->allow ? VNET_PASSES : VNET_BY_DEFAULT };
}

/* What a host needs to talk to its neighbours at all, and goes no further than them (fe80::/10, ff02::/16). */
static bool is_neighbourly(const struct vnet_frame *f)
{
    const uint8_t *to = f->to.byte;
    bool near = (to[0] == 0xfe && (to[1] & 0xc0) == 0x80) || (to[0] == 0xff && to[1] == 2);

    if (!is_icmpv6(f) || f->fragment || !near)
        return false;
    switch (f->icmp_type) {
    case MLD_REPORT:
    case MLD_DONE:
    case MLD2_REPORT: return true;
    case ND_ROUTER_SOLICITATION:
    case ND_SOLICITATION:
    case ND_NEIGHBOUR: return f->hops == ND_HOPS;
    default: return false;
    }
}

static bool is_listed(const struct vnet_egress_rules *r, uint16_t type)
{
    for (unsigned i = 0; i < r->types; i++)
        if (r->type[i] == type)
            return true;
    return false;
}

/* IPv4's 127/8 and 0/8, ::1 and ::, which no packet of a link has (RFC 1122, 3.2.1.3; RFC 4291, 2.5.2 and 2.5.3). */
static bool is_hosts_own(const struct vnet_address *a, bool v6)
{
    static const uint8_t zeros[15];

    return v6 ? !memcmp(a->byte, zeros, 15) && a->byte[15] <= 1
              : a->byte[12] == 127 || a->byte[12] == 0;
}

/* passt (until 2025_05_03 at least) takes the last extension header of IPv6, ESP's too, for the one of TCP or UDP, and some versions a later
 * fragment for a whole packet: it would connect elsewhere than was judged. It has no use for either; a guest's multicast listener messages
 * have one hop-by-hop header (RFC 3810, 5). */
static bool is_plain(const struct vnet_frame *f)
{
    if (f->fragment)
        return false;
    if (!f->v6)
        return true;
    if (f->protocol == VNET_ICMPV6)
        return !f->extensions || (f->extensions == 1 && f->next == 0);
    return f->next == VNET_TCP || f->next == VNET_UDP;
}

/* Who makes sockets of packets could connect them to itself. A guest without an address is from nobody. */
static bool is_for_loopback(const struct vnet_frame *f)
{
    return f->ip && (is_hosts_own(&f->to, f->v6) ||
                     (is_hosts_own(&f->from, f->v6) && !is_zero(&f->from, f->v6)));
}

static struct vnet_verdict judge_policy(const struct vnet_egress_rules *r,
                                        const struct vnet_frame *f)
{
    const struct vnet_verdict pass = { true, VNET_PASSES };

    if (is_arp(f))
        return pass;
    if (!f->ip)
        return is_listed(r, f->type) ? pass : (struct vnet_verdict){ false, VNET_OTHER };
    if (r->deny_metadata && is_metadata(f))
        return (struct vnet_verdict){ false, VNET_METADATA };
    return is_neighbourly(f) ? pass : judge_rules(r, f);
}

struct vnet_verdict vnet_egress_judge(const struct vnet_egress_rules *r, const uint8_t *head,
                                      size_t len, size_t total, const struct vnet_header *header)
{
    const struct vnet_verdict malformed = { false, VNET_MALFORMED };
    struct vnet_frame f;

    if (vnet_frame_read(head, len, total, &f) || vnet_frame_check_header(&f, header))
        return malformed;
    if (r->sockets && !is_plain(&f))
        return malformed;
    if (r->sockets && is_for_loopback(&f))
        return (struct vnet_verdict){ false, VNET_LOOPBACK };
    if (r->antispoof && (memcmp(head + 6, r->mac, 6) || !is_own(r, &f, head, len)))
        return (struct vnet_verdict){ false, VNET_SPOOFED };
    if (r->policed)
        return judge_policy(r, &f);
    if (r->antispoof && !f.ip && !is_arp(&f) && !is_listed(r, f.type))
        return (struct vnet_verdict){ false, VNET_OTHER };
    return (struct vnet_verdict){ true, VNET_PASSES };
}
