/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Network without privilege, by passt(1): what the options are in passt's words. Who starts programs (VM_OPEN_USER) gets these as one line
 * of text, in the form of program= (docs/vhost-user.md): words apart by blanks, {fd} in the place of passt's end of the connection.
 * No word has blanks or quotes in it: each is a number, an address or a name that was checked.
 *
 * The words are those of passt 2023_03 (Debian 12) and later.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

#include "net_private.h"

/* passt tells its process number, once it listens at its ports, to a file, which whoever starts it makes descriptor 4. */
static const char begin[] = "passt --foreground --quiet --fd {fd} --pid /proc/self/fd/4";

enum { MTU_MOST = 65520, MTU_IPV6 = 1280, MTU_LEAST = 68 };

const char *const vnet_families[] = { "both", "ipv4", "ipv6", NULL };

struct text {
    char *at;
    size_t room;
    bool full;
};

static void VM_PRINTF(2, 3) add(struct text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->at, t->room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->room) {
        t->full = true;
        return;
    }
    t->at += n;
    t->room -= (size_t)n;
}

/* ---- addresses ---- */

/* AF_INET, AF_INET6; 0: it is no address. */
static int family_of(const char *text)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1    ? AF_INET
           : inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6
                                                   : 0;
}

static int check_family(const struct vnet_config *c, const char *what, const char *text, int family)
{
    if (!family)
        return vm_fail(-EINVAL,
                       "%s=%.60s is no address; one looks like 192.168.249.2 or 2001:db8::2", what,
                       text);
    if ((family == AF_INET && c->family == VNET_IPV6) ||
        (family == AF_INET6 && c->family == VNET_IPV4))
        return vm_fail(-EINVAL, "%s=%s with family=%s: leave one of them out", what, text,
                       vnet_families[c->family]);
    return 0;
}

/* Each with option before it; most: of one family. */
static int add_addresses(struct text *t, const struct vnet_config *c, const char *what,
                         const char *option, const struct vm_prop_list *list, unsigned most)
{
    char *const *items = list->items;
    unsigned of[2] = { 0 };

    for (uint32_t i = 0; i < list->count; i++) {
        int family = family_of(items[i]), rc = check_family(c, what, items[i], family);

        if (rc)
            return rc;
        if (++of[family == AF_INET6] > most)
            return vm_fail(-EINVAL, "%s=%s: passt takes %u of IPv%c", what, items[i], most,
                           family == AF_INET6 ? '6' : '4');
        add(t, " %s %s", option, items[i]);
    }
    return 0;
}

static int add_mask(struct text *t, const struct vnet_config *c)
{
    if (!c->guest_mask)
        return 0;
    if (family_of(c->guest_mask) != AF_INET)
        return vm_fail(-EINVAL, "guest_mask=%.40s is no network mask; one looks like 255.255.255.0",
                       c->guest_mask);
    add(t, " --netmask %s", c->guest_mask);
    return 0;
}

static int add_interface(struct text *t, const struct vnet_config *c)
{
    if (!c->interface)
        return 0;
    if (!c->interface[0] || strlen(c->interface) >= IF_NAMESIZE ||
        strpbrk(c->interface, " \t\n\r\v\f/:'\"{}"))
        return vm_fail(-EINVAL, "interface=%.40s is no name of an interface (ip link lists them)",
                       c->interface);
    add(t, " --interface %s", c->interface);
    return 0;
}

/* ---- forwarded ports ---- */

struct forward {
    bool udp;
    char address[INET6_ADDRSTRLEN]; /* of the host; empty: all */
    unsigned host[2], guest[2]; /* first, last */
};

static int refuse(const char *text, const char *why)
{
    char shown[80];

    return vm_fail(-EINVAL,
                   "forward=%s: %s; tcp:2222:22 brings the host's port 2222 to the guest's port 22",
                   vm_prop_show(text, strlen(text), shown, sizeof(shown)), why);
}

static const char *take_port(const char *at, unsigned *ret_port)
{
    unsigned port = 0, digits = 0;

    for (; *at >= '0' && *at <= '9' && digits < 6; at++, digits++)
        port = 10 * port + (unsigned)(*at - '0');
    *ret_port = port;
    return digits && port && port <= 65535 ? at : NULL;
}

/* PORT or FIRST-LAST; NULL: it is none. */
static const char *take_ports(const char *at, unsigned ret[2])
{
    at = take_port(at, &ret[0]);
    if (!at || *at != '-') {
        ret[1] = ret[0];
        return at;
    }
    at = take_port(at + 1, &ret[1]);
    return at && ret[1] >= ret[0] ? at : NULL;
}

/* An address and a colon, where there are some; NULL: it is none. An IPv6 one stands in brackets. */
static const char *take_address(const char *at, struct forward *f)
{
    const char *colon = strchr(at, ':'), *end;
    bool brackets = *at == '[';

    if (brackets)
        end = strchr(++at, ']');
    else
        end = colon && strchr(at, '.') && strchr(at, '.') < colon ? colon : at;
    if (!end || (size_t)(end - at) >= sizeof(f->address))
        return NULL;
    if (end == at)
        return brackets ? NULL : at;
    memcpy(f->address, at, (size_t)(end - at));
    if (family_of(f->address) != (brackets ? AF_INET6 : AF_INET) || end[brackets] != ':')
        return NULL;
    return end + brackets + 1;
}

static int parse_forward(const char *text, struct forward *f)
{
    const char *at = text + 4;

    *f = (struct forward){ .udp = !strncmp(text, "udp:", 4) };
    if (!f->udp && strncmp(text, "tcp:", 4) != 0)
        return refuse(text, "it begins with tcp: or udp:");
    at = take_address(at, f);
    if (!at)
        return refuse(text, "its address is none (an IPv6 one stands in brackets)");
    at = take_ports(at, f->host);
    memcpy(f->guest, f->host, sizeof(f->guest));
    if (at && *at == ':')
        at = take_ports(at + 1, f->guest);
    if (!at || *at)
        return refuse(text, "a port is a number from 1 to 65535, or two with - between them");
    if (f->host[1] - f->host[0] != f->guest[1] - f->guest[0])
        return refuse(text, "both sides need as many ports");
    return 0;
}

static int add_forward(struct text *t, const struct vnet_config *c, const char *text)
{
    struct forward f;
    int rc = parse_forward(text, &f);

    if (!rc && f.address[0])
        rc = check_family(c, "forward", f.address, family_of(f.address));
    if (rc)
        return rc;
    add(t, " --%s-ports %s%s%u-%u:%u-%u", f.udp ? "udp" : "tcp", f.address, f.address[0] ? "/" : "",
        f.host[0], f.host[1], f.guest[0], f.guest[1]);
    return 0;
}

/* Without a word passt forwards no TCP port, but as many of UDP as of TCP: both are always said. */
static int add_forwards(struct text *t, const struct vnet_config *c)
{
    char *const *items = c->forward.items;
    unsigned of[2] = { 0 };
    int rc = 0;

    for (uint32_t i = 0; !rc && i < c->forward.count; i++) {
        rc = add_forward(t, c, items[i]);
        of[items[i][0] == 'u']++;
    }
    if (!of[0])
        add(t, " --tcp-ports none");
    if (!of[1])
        add(t, " --udp-ports none");
    return rc;
}

/* ---- all of it ---- */

static int add_mtu(struct text *t, const struct vnet_config *c)
{
    if (c->mtu > MTU_MOST)
        return vm_fail(-ERANGE, "mtu=%u: passt carries packets of %d bytes at most", c->mtu,
                       MTU_MOST);
    if (c->mtu && c->mtu < MTU_LEAST)
        return vm_fail(-ERANGE, "mtu=%u: it can be %d to %d", c->mtu, MTU_LEAST, MTU_MOST);
    if (c->mtu && c->mtu < MTU_IPV6 && c->family != VNET_IPV4) /* RFC 8200, 5 */
        return vm_fail(-ERANGE, "mtu=%u: IPv6 needs %d at least: give more, or family=ipv4", c->mtu,
                       MTU_IPV6);
    if (c->mtu)
        add(t, " --mtu %u", c->mtu);
    return 0;
}

int vnet_user_text(const struct vnet_config *c, char ret_text[VNET_USER_TEXT_MAX])
{
    struct text t = { ret_text, VNET_USER_TEXT_MAX, false };
    int rc;

    if (c->family > VNET_IPV6)
        return vm_fail(-EINVAL, "family %u is unknown", c->family);
    add(&t, "%s", begin);
    if (c->family != VNET_BOTH)
        add(&t, " --%s-only", vnet_families[c->family]);
    rc = add_addresses(&t, c, "guest_ip", "--address", &c->guest_ip, 1);
    if (!rc)
        rc = add_mask(&t, c);
    if (!rc)
        rc = add_addresses(&t, c, "gateway", "--gateway", &c->gateway, 1);
    if (!rc)
        rc = add_addresses(&t, c, "dns", "--dns", &c->dns, 3);
    if (!rc)
        rc = add_addresses(&t, c, "dns_forward", "--dns-forward", &c->dns_forward, 1);
    if (!rc)
        rc = add_interface(&t, c);
    if (!rc)
        rc = add_mtu(&t, c);
    if (!rc && c->hide_host)
        add(&t, " --no-map-gw");
    if (!rc)
        rc = add_forwards(&t, c);
    if (!rc && t.full)
        rc = vm_fail(-E2BIG, "forward=: more than fits in %d bytes: join ports to ranges",
                     VNET_USER_TEXT_MAX);
    return rc;
}

uint32_t vnet_user_frame_max(void)
{
    return MTU_MOST + VNET_ETHER;
}
