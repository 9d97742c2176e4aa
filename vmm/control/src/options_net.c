/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* crosvm's --host-ip, --netmask and --mac: three options that are one network device together. */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/tap.h>

enum { KEYS_MAX = 128 };

static int take(const char *name, const char *value, const char **to)
{
    if (*to)
        return vm_fail(-EINVAL, "two of --%s, %.40s and %.40s: further devices are --net's", name,
                       *to, value);
    *to = value;
    return 0;
}

/* Of IPv4, as crosvm's. Checked here, since the words are put together with others to a text with keys. */
static int take_ip(const char *name, const char *value, const char **to)
{
    struct in_addr at;

    if (inet_pton(AF_INET, value, &at) != 1)
        return vm_fail(-EINVAL, "--%s %.40s is no IPv4 address; --net tap=NAME,ip= takes IPv6",
                       name, value);
    return take(name, value, to);
}

int vmm_options_host_ip(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    return take_ip(option->name, value, &s->net.ip);
}

int vmm_options_netmask(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    return take_ip(option->name, value, &s->net.mask);
}

int vmm_options_mac(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;
    uint8_t mac[6];
    int rc = vm_mac_parse("--mac", value, mac);

    return rc ? rc : take(option->name, value, &s->net.mac);
}

/* crosvm leaves the name of the interface to the kernel. Ours is asked for by its name, by a jailed device again
 * after a restart: one made of the guest's address is always the same, and different where the guests' are. */
int vmm_options_settle_net(struct session *s)
{
    static const struct vmm_option net = {
        .name = "host-ip", .path = "net", .argument = "ADDRESS", .help = "a network device"
    };
    char keys[KEYS_MAX];
    uint8_t mac[6];

    if (!s->net.ip && !s->net.mask && !s->net.mac)
        return 0;
    if (!s->net.ip || !s->net.mask || !s->net.mac)
        return vm_fail(-EINVAL,
                       "--host-ip, --netmask and --mac are one network device together: --%s is "
                       "missing (or give --net tap=NAME)",
                       !s->net.ip     ? "host-ip"
                       : !s->net.mask ? "netmask"
                                      : "mac");
    if (vm_mac_parse("--mac", s->net.mac, mac))
        return -EINVAL;
    snprintf(keys, sizeof(keys), "tap=vm%02x%02x%02x%02x%02x%02x,ip=%s,mask=%s,mac=%s", mac[0],
             mac[1], mac[2], mac[3], mac[4], mac[5], s->net.ip, s->net.mask, s->net.mac);
    return vmm_options_apply(s, &net, "--host-ip", keys);
}
