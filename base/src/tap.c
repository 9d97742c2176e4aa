/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tap interfaces: Documentation/networking/tuntap.rst, netdevice(7), and macvtap's character devices. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/prop.h>
#include <vmm/base/tap.h>
#include <vmm/base/util.h>

enum {
    MTU_LEAST = 68,
    MTU_MOST = 65535,
    TAP_MTU_MOST = 65521,
    ADDRESSES = 256,
    PREFIX4 = 24,
    PREFIX6 = 64
};

/* netdevice(7); linux/ipv6.h, which netinet/in.h does not go with. */
struct in6_ifreq {
    struct in6_addr ifr6_addr;
    uint32_t ifr6_prefixlen;
    int ifr6_ifindex;
};

/* What ip= and mask= say. */
struct ip {
    char text[INET6_ADDRSTRLEN]; /* the address alone */
    bool v6;
    unsigned prefix;
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } at;
};

#define AT(member) .offset = offsetof(struct vm_tap, member)
static const struct vm_prop props[] = {
    { .name = "name", .type = VM_PROP_STRING, AT(name), .required = true, .help = "interface" },
    { .name = "ip", .type = VM_PROP_STRING, AT(ip), .help = "address" },
    { .name = "mask", .type = VM_PROP_STRING, AT(mask), .help = "network mask" },
    { .name = "mac", .type = VM_PROP_STRING, AT(mac), .help = "hardware address" },
    { .name = "mtu", .type = VM_PROP_U32, AT(mtu), .help = "largest packet" },
    { .name = "queue", .type = VM_PROP_U32, AT(queue), .help = "number of the queue" },
    { .name = "multi", .type = VM_PROP_BOOL, AT(multi), .help = "several queues" },
    { 0 },
};

/* ---- words ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* IEEE 802: the first byte's lowest bit says that it is a group's. */
int vm_mac_parse(const char *what, const char *text, uint8_t ret_mac[6])
{
    static const uint8_t none[6];
    uint8_t mac[6];
    size_t len = strlen(text);

    for (size_t i = 0; i < 6; i++) {
        const char *at = text + 3 * i;

        if (len != 17 || hex(at[0]) < 0 || hex(at[1]) < 0 || (i < 5 && at[2] != ':'))
            return vm_fail(-EINVAL, "%s=%.40s is no MAC address; one looks like 52:54:00:12:34:56",
                           what, text);
        mac[i] = (uint8_t)(hex(at[0]) << 4 | hex(at[1]));
    }
    if (mac[0] & 1 || !memcmp(mac, none, sizeof(mac)))
        return vm_fail(
            -EINVAL, "%s=%s is the address of %s, not of one station; take one that begins with 02",
            what, text, mac[0] & 1 ? "a group" : "nobody");
    memcpy(ret_mac, mac, sizeof(mac));
    return 0;
}

static int check_name(const char *name)
{
    size_t len = strlen(name);

    if (!len || len > VM_TAP_NAME_MAX)
        return vm_fail(-EINVAL, "tap=%.40s: an interface's name has 1 to %d bytes", name,
                       VM_TAP_NAME_MAX);
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("/:,\"\\%", *c))
            return vm_fail(-EINVAL, "tap=%s: an interface's name has no such byte: 0x%02x", name,
                           (unsigned char)*c);
    return 0;
}

/* ADDRESS or ADDRESS/PREFIX. */
static int parse_ip(const struct vm_tap *tap, struct ip *ret)
{
    const char *slash = strchr(tap->ip, '/');
    size_t len = slash ? (size_t)(slash - tap->ip) : strlen(tap->ip);
    char *end = NULL;
    unsigned long n;

    *ret = (struct ip){ .v6 = memchr(tap->ip, ':', len) };
    snprintf(ret->text, sizeof(ret->text), "%.*s",
             (int)(len < sizeof(ret->text) ? len : sizeof(ret->text) - 1), tap->ip);
    if (len >= sizeof(ret->text) ||
        inet_pton(ret->v6 ? AF_INET6 : AF_INET, ret->text, &ret->at) != 1)
        return vm_fail(-EINVAL, "ip=%.60s is no %s address; one looks like %s", tap->ip,
                       ret->v6 ? "IPv6" : "IPv4", ret->v6 ? "fd00::1/64" : "192.168.249.1");
    n = slash ? strtoul(slash + 1, &end, 10) : ret->v6 ? PREFIX6 : PREFIX4;
    if (slash && (slash[1] < '0' || slash[1] > '9' || *end || !n || n > (ret->v6 ? 128 : 32)))
        return vm_fail(-EINVAL, "ip=%.60s: behind / there is a number of bits, 1 to %u", tap->ip,
                       ret->v6 ? 128 : 32);
    ret->prefix = (unsigned)n;
    return 0;
}

static int check_mask(const struct vm_tap *tap, const struct ip *ip)
{
    struct in_addr mask;

    if (!tap->mask)
        return 0;
    if (ip->v6 || strchr(tap->ip, '/'))
        return vm_fail(-EINVAL, "mask=%.40s with ip=%s: %s", tap->mask, tap->ip,
                       ip->v6 ? "an IPv6 address has its prefix behind it, as fd00::1/64"
                              : "the address has its prefix: leave one of them out");
    if (inet_pton(AF_INET, tap->mask, &mask) != 1)
        return vm_fail(-EINVAL, "mask=%.40s is no IPv4 address; one looks like 255.255.255.0",
                       tap->mask);
    return 0;
}

static int check_ip(const struct vm_tap *tap)
{
    struct ip ip = { 0 };
    int rc = tap->ip ? parse_ip(tap, &ip) : 0;

    if (rc)
        return rc;
    if (tap->mask && !tap->ip)
        return vm_fail(-EINVAL, "mask=%s without ip=: give that, or leave it out", tap->mask);
    return check_mask(tap, &ip);
}

int vm_tap_check(const struct vm_tap *tap)
{
    uint8_t mac[6];
    int rc = check_name(tap->name);

    if (!rc)
        rc = check_ip(tap);
    if (!rc && tap->mac)
        rc = vm_mac_parse("host_mac", tap->mac, mac);
    if (!rc && tap->mtu && (tap->mtu < MTU_LEAST || tap->mtu > MTU_MOST))
        rc = vm_fail(-ERANGE, "mtu=%u: it can be %d to %d", tap->mtu, MTU_LEAST, MTU_MOST);
    return rc;
}

int vm_tap_text(const struct vm_tap *tap, char ret_text[VM_TAP_TEXT_MAX])
{
    struct vm_buffer text = { 0 };
    int rc = vm_prop_print(props, tap, sizeof(*tap), &text);

    if (!rc && text.len > VM_TAP_TEXT_MAX)
        rc = vm_fail(-ENAMETOOLONG, "tap=%.40s: too long", tap->name);
    if (!rc)
        memcpy(ret_text, text.data, text.len);
    vm_buffer_free(&text);
    return rc;
}

/* ---- the interface's settings ---- */

static struct ifreq request_for(const struct vm_tap *tap)
{
    struct ifreq r = { 0 };

    memcpy(r.ifr_name, tap->name, strnlen(tap->name, VM_TAP_NAME_MAX));
    return r;
}

static int refused(const struct vm_tap *tap, const char *what, const char *value)
{
    int code = errno;

    if (code == EPERM)
        return vm_fail(
            -EPERM,
            "tap %s: %s%s may not be set: it needs CAP_NET_ADMIN; have the interface set "
            "up before, and leave the option out",
            tap->name, what, value);
    return vm_fail(-code, "tap %s: %s%s: %s", tap->name, what, value, strerror(code));
}

static struct sockaddr address(struct in_addr at)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = at };
    struct sockaddr a;

    memcpy(&a, &in, sizeof(a));
    return a;
}

static int taken(const struct vm_tap *tap, const char *by)
{
    return vm_fail(-EADDRINUSE, "tap %s: ip=%s is the address of %s: choose another one", tap->name,
                   tap->ip, by);
}

/* The kernel lets two interfaces have one address, and then answers on the wrong one. */
static int check_free4(const struct vm_tap *tap, const struct ip *ip, int sock)
{
    struct sockaddr wanted = address(ip->at.v4);
    struct ifreq list[ADDRESSES];
    struct ifconf all = { .ifc_len = sizeof(list), .ifc_req = list };

    if (ioctl(sock, SIOCGIFCONF, &all))
        return refused(tap, "addresses of this host", "");
    for (size_t i = 0; i < (size_t)all.ifc_len / sizeof(list[0]); i++)
        if (!memcmp(&list[i].ifr_addr, &wanted, sizeof(wanted)) &&
            strcmp(list[i].ifr_name, tap->name) != 0)
            return taken(tap, list[i].ifr_name);
    return 0;
}

/* Addresses are listed in proc(5) only: 32 digits, four numbers, the name. */
static int check_free6(const struct vm_tap *tap, const struct ip *ip)
{
    char wanted[33], line[128], digits[33], name[VM_TAP_NAME_MAX + 1];
    FILE *f = fopen("/proc/net/if_inet6", "re");
    int rc = 0;

    for (unsigned i = 0; i < 16; i++)
        snprintf(wanted + 2 * i, 3, "%02x", ip->at.v6.s6_addr[i]);
    while (f && !rc && fgets(line, sizeof(line), f))
        if (sscanf(line, "%32s %*x %*x %*x %*x %15s", digits, name) == 2 &&
            !strcmp(digits, wanted) && strcmp(name, tap->name) != 0)
            rc = taken(tap, name);
    if (f)
        fclose(f);
    return rc;
}

static int set_address4(const struct vm_tap *tap, const struct ip *ip, int sock)
{
    struct in_addr mask = { htonl(UINT32_MAX << (32 - ip->prefix)) };
    struct ifreq r = request_for(tap);
    int rc = check_free4(tap, ip, sock);

    if (rc)
        return rc;
    if (tap->mask)
        inet_pton(AF_INET, tap->mask, &mask);
    r.ifr_addr = address(ip->at.v4);
    if (ioctl(sock, SIOCSIFADDR, &r))
        return refused(tap, "ip=", tap->ip);
    r.ifr_netmask = address(mask);
    return ioctl(sock, SIOCSIFNETMASK, &r) ? refused(tap, "mask=", tap->mask ? tap->mask : tap->ip)
                                           : 0;
}

/* It has it already where the interface was there before. */
static int set_address6(const struct vm_tap *tap, const struct ip *ip)
{
    struct in6_ifreq r = { .ifr6_addr = ip->at.v6,
                           .ifr6_prefixlen = ip->prefix,
                           .ifr6_ifindex = (int)if_nametoindex(tap->name) };
    int rc = check_free6(tap, ip), sock;

    if (rc)
        return rc;
    sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return vm_fail_errno("tap %s: ip=%s: this host has no IPv6", tap->name, tap->ip);
    if (ioctl(sock, SIOCSIFADDR, &r) && errno != EEXIST)
        rc = refused(tap, "ip=", tap->ip);
    vm_close(&sock);
    return rc;
}

static int set_address(const struct vm_tap *tap, int sock)
{
    struct ip ip;
    int rc = parse_ip(tap, &ip);

    if (rc)
        return rc;
    return ip.v6 ? set_address6(tap, &ip) : set_address4(tap, &ip, sock);
}

static int set_mac(const struct vm_tap *tap, int sock)
{
    struct ifreq r = request_for(tap);
    uint8_t mac[6];
    int rc = vm_mac_parse("host_mac", tap->mac, mac);

    if (rc)
        return rc;
    r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(r.ifr_hwaddr.sa_data, mac, sizeof(mac));
    return ioctl(sock, SIOCSIFHWADDR, &r) ? refused(tap, "host_mac=", tap->mac) : 0;
}

static int set_mtu(const struct vm_tap *tap, int sock)
{
    struct ifreq r = request_for(tap);
    char text[16];

    if (!ioctl(sock, SIOCGIFMTU, &r) && r.ifr_mtu == (int)tap->mtu)
        return 0;
    r.ifr_mtu = (int)tap->mtu;
    snprintf(text, sizeof(text), "%u", tap->mtu);
    if (!ioctl(sock, SIOCSIFMTU, &r))
        return 0;
    if (errno == EINVAL)
        return vm_fail(-EINVAL,
                       "tap %s: mtu=%s: the interface does not carry that: a tap has %d bytes at "
                       "most, a macvtap what is below it",
                       tap->name, text, TAP_MTU_MOST);
    return refused(tap, "mtu=", text);
}

static int switch_on(const struct vm_tap *tap, int sock)
{
    struct ifreq r = request_for(tap);

    if (ioctl(sock, SIOCGIFFLAGS, &r))
        return refused(tap, "its flags", "");
    if (r.ifr_flags & IFF_UP)
        return 0;
    r.ifr_flags |= IFF_UP;
    if (!ioctl(sock, SIOCSIFFLAGS, &r))
        return 0;
    return errno == EPERM
               ? vm_fail(-EPERM,
                         "tap %s: it is down, and may not be switched on: ip link set %s up",
                         tap->name, tap->name)
               : refused(tap, "up", "");
}

static int set_up(const struct vm_tap *tap)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

    if (sock < 0)
        return vm_fail_errno("tap %s: socket", tap->name);
    if (tap->mac)
        rc = set_mac(tap, sock);
    if (!rc && tap->mtu)
        rc = set_mtu(tap, sock);
    if (!rc && tap->ip)
        rc = set_address(tap, sock);
    if (!rc)
        rc = switch_on(tap, sock);
    vm_close(&sock);
    return rc;
}

/* ---- its fd ---- */

/* A macvtap's is a device node by its index. 0: it is none. */
static unsigned macvtap_index(const struct vm_tap *tap)
{
    char path[64];

    snprintf(path, sizeof(path), "/sys/class/net/%s/macvtap", tap->name);
    return access(path, F_OK) ? 0 : if_nametoindex(tap->name);
}

/* The number of its node, as "246:1", in this namespace's sysfs. */
static int macvtap_number(const struct vm_tap *tap, unsigned index, unsigned *ret_major,
                          unsigned *ret_minor)
{
    char path[80], text[32] = "", *colon, *end = NULL;
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "/sys/class/net/%s/macvtap/tap%u/dev", tap->name, index);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vm_fail_errno("tap %s: %s", tap->name, path);
    n = read(fd, text, sizeof(text) - 1);
    vm_close(&fd);
    *ret_major = n > 0 ? (unsigned)strtoul(text, &colon, 10) : 0;
    if (n > 0 && colon > text && *colon == ':')
        *ret_minor = (unsigned)strtoul(colon + 1, &end, 10);
    return end && end > colon + 1 ? 0
                                  : vm_fail(-EIO, "tap %s: %s holds no number", tap->name, path);
}

/* Each network namespace counts its interfaces by itself, and all have one folder of nodes: whoever was first has the name there. To open it
 * would take frames from there. */
static int check_node(const struct vm_tap *tap, unsigned index, const char *path)
{
    unsigned major_wanted = 0, minor_wanted = 0;
    struct stat st;
    int rc = macvtap_number(tap, index, &major_wanted, &minor_wanted);

    if (rc || stat(path, &st)) /* which open() says, too */
        return rc;
    if (major(st.st_rdev) == major_wanted && minor(st.st_rdev) == minor_wanted)
        return 0;
    return vm_fail(-ENOENT,
                   "tap %s: %s is the macvtap of another network namespace, which has the same "
                   "index there: make it with another one (ip link add ... index N), or a node "
                   "elsewhere (mknod NODE c %u %u), to be given open by fd=",
                   tap->name, path, major_wanted, minor_wanted);
}

static int open_node(const struct vm_tap *tap)
{
    unsigned index = macvtap_index(tap);
    char path[32] = "/dev/net/tun";
    int fd, rc = 0;

    if (index) {
        snprintf(path, sizeof(path), "/dev/tap%u", index);
        rc = check_node(tap, index, path);
    }
    if (rc)
        return rc;
    fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return vm_fail(-ENOENT, "tap %s: this host has no %s: %s", tap->name, path,
                       index ? "udev makes it" : "modprobe tun");
    if (errno == EACCES || errno == EPERM)
        return vm_fail(-EACCES,
                       "tap %s: %s may not be opened: its owner can permit it, or give an "
                       "open one by fd=",
                       tap->name, path);
    return vm_fail_errno("tap %s: %s", tap->name, path);
}

static int no_interface(const struct vm_tap *tap)
{
    int code = errno;

    switch (code) {
    case EPERM:
        return vm_fail(
            -EPERM,
            "tap %s: no privilege to make or to open it: ip tuntap add %s mode tap user NAME%s, "
            "run by root, lets that user open it",
            tap->name, tap->name, tap->multi ? " multi_queue" : "");
    case EBUSY:
        return vm_fail(-EBUSY, "tap %s: another program has it, or it has no queue left",
                       tap->name);
    case EINVAL:
        return vm_fail(
            -EINVAL,
            "tap %s: there is such an interface, but it is no tap with %s (ip tuntap add %s "
            "mode tap%s)",
            tap->name, tap->multi ? "several queues" : "one queue", tap->name,
            tap->multi ? " multi_queue" : "");
    default: return vm_fail(-code, "tap %s: %s", tap->name, strerror(code));
    }
}

static int open_queue(const struct vm_tap *tap)
{
    struct ifreq r = request_for(tap);
    int fd = open_node(tap), rc = 0;

    if (fd < 0)
        return fd;
    r.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (tap->multi ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, &r))
        rc = no_interface(tap);
    if (!rc && !tap->queue)
        rc = set_up(tap);
    if (rc)
        vm_close(&fd);
    return rc ? rc : fd;
}

int vm_tap_open(const char *text)
{
    struct vm_tap tap = { 0 };
    int rc = vm_prop_defaults(props, &tap);

    if (!rc)
        rc = vm_prop_parse(props, &tap, "tap", NULL, text);
    if (!rc)
        rc = vm_tap_check(&tap);
    if (!rc)
        rc = open_queue(&tap);
    vm_prop_free(props, &tap);
    return rc;
}
