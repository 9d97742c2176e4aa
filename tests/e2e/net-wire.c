/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Looks at every checksum of a network's frames: IPv4 headers (RFC 791), TCP, UDP, ICMP, ICMPv6 (RFC 1071; IPv6's pseudo header: RFC 8200,
 * 8.1). For net-iperf.sh; a report in words on standard output.
 *
 *   net-wire plain INTERFACE             what leaves it has its checksums and fits the MTU: no offloads
 *   net-wire watch INTERFACE             until SIGTERM. What comes in has to be right and no longer than the MTU
 *   net-wire sizes INTERFACE             until SIGTERM. Counts what passes it, and how much of TCP and UDP is longer than the MTU: segmentation
 *                                        offloads at work. Nothing is wrong with it
 *   net-wire pair NAME OTHER PID         makes two interfaces of a wire (veth), OTHER in the network namespace of that process
 *   net-wire check FILE [sent] [received]  a capture of the device's (pcapng): what the guest sent, or received, has to be right, as where
 *                                        no checksum is offloaded; else it may be the pseudo header's sum, for others to go on from
 *
 * Fragments: their IP headers only. Exit 1: something was wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAME_MAX = 1 << 17,
    SHOWN = 10,
    VLAN = 4,
    NEXT_HOP = 0,
    NEXT_ROUTING = 43,
    NEXT_FRAGMENT = 44,
    NEXT_OPTIONS = 60,
    SLOT = 16384, /* of the ring */
    RING_SLOTS = 4096,
    INCOMING = 1, /* of the flags of pcapng's packet blocks, as seen by the guest */
    OUTGOING = 2,
};

static struct {
    unsigned long frames, ipv4, ipv6, tcp, udp, icmp, icmpv6, fragments, partial, bad;
} seen[3];
static volatile sig_atomic_t over;

/* ---- one frame ---- */

struct packet {
    const uint8_t *at; /* behind the IP headers */
    size_t len;
    unsigned protocol;
    uint64_t pseudo; /* its sum, not folded */
};

static uint64_t sum(const uint8_t *at, size_t len)
{
    uint64_t total = 0;

    for (; len > 1; at += 2, len -= 2)
        total += (unsigned)(at[0] << 8 | at[1]);
    return total + (len ? (unsigned)at[0] << 8 : 0);
}

static unsigned fold(uint64_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (unsigned)total;
}

static unsigned word(const uint8_t *at)
{
    return (unsigned)(at[0] << 8 | at[1]);
}

/* NULL: go on with the packet; "": there is nothing more to look at. */
static const char *ipv4(const uint8_t *ip, size_t len, unsigned way, struct packet *p)
{
    size_t head = (ip[0] & 15U) * 4, total;

    seen[way].ipv4++;
    if (len < 20 || ip[0] >> 4 != 4 || head < 20 || head > len)
        return "IPv4 header cut short";
    total = word(ip + 2);
    if (total < head || total > len)
        return "IPv4 length";
    if (fold(sum(ip, head)) != 0xffff)
        return "IPv4 header checksum";
    if (word(ip + 6) & 0x3fff) {
        seen[way].fragments++;
        return "";
    }
    *p = (struct packet){ ip + head, total - head, ip[9], sum(ip + 12, 8) + ip[9] + total - head };
    return NULL;
}

static const char *ipv6(const uint8_t *ip, size_t len, unsigned way, struct packet *p)
{
    size_t at = 40, end;
    unsigned next;

    seen[way].ipv6++;
    if (len < 40 || ip[0] >> 4 != 6)
        return "IPv6 header cut short";
    next = ip[6];
    end = 40 + word(ip + 4);
    if (end > len)
        return "IPv6 length";
    while (next == NEXT_HOP || next == NEXT_ROUTING || next == NEXT_OPTIONS) {
        if (at + 8 > end)
            return "IPv6 extension header cut short";
        next = ip[at];
        at += 8 + ip[at + 1] * 8U;
    }
    if (at > end)
        return "IPv6 extension header cut short";
    if (next == NEXT_FRAGMENT) {
        seen[way].fragments++;
        return "";
    }
    *p = (struct packet){ ip + at, end - at, next, sum(ip + 8, 32) + next + end - at };
    return NULL;
}

/* Where the checksum is; 0: this protocol has none, or this packet (RFC 768). */
static size_t place(const struct packet *p, unsigned way, bool v4)
{
    switch (p->protocol) {
    case IPPROTO_TCP: seen[way].tcp++; return 16;
    case IPPROTO_UDP: seen[way].udp++; return v4 && p->len >= 8 && !word(p->at + 6) ? 0 : 6;
    case IPPROTO_ICMP: seen[way].icmp++; return 2;
    case IPPROTO_ICMPV6: seen[way].icmpv6++; return 2;
    default: return 0;
    }
}

static const char *judge(const uint8_t *frame, size_t len, unsigned way, bool strict)
{
    size_t head = 14, at;
    struct packet p;
    const char *wrong;
    bool v4;

    seen[way].frames++;
    if (len >= head + VLAN && word(frame + 12) == ETHERTYPE_VLAN)
        head += VLAN;
    if (len < head)
        return "frame cut short";
    v4 = word(frame + head - 2) == ETHERTYPE_IP;
    if (!v4 && word(frame + head - 2) != ETHERTYPE_IPV6)
        return NULL;
    wrong = v4 ? ipv4(frame + head, len - head, way, &p) : ipv6(frame + head, len - head, way, &p);
    if (wrong)
        return *wrong ? wrong : NULL;
    at = place(&p, way, v4);
    if (!at)
        return NULL;
    if (p.len < at + 2)
        return "packet cut short";
    if (p.protocol == IPPROTO_ICMP)
        p.pseudo = 0;
    if (fold(p.pseudo + sum(p.at, p.len)) == 0xffff)
        return NULL;
    if (!strict && p.protocol != IPPROTO_ICMP && word(p.at + at) == fold(p.pseudo)) {
        seen[way].partial++;
        return NULL;
    }
    return "checksum";
}

static void look(const uint8_t *frame, size_t len, unsigned way, bool strict, size_t most)
{
    const char *wrong = len > most ? "longer than the MTU" : judge(frame, len, way, strict);

    if (!wrong)
        return;
    if (++seen[way].bad > SHOWN)
        return;
    printf("bad, %s: %s, %zu bytes:", way == INCOMING ? "in" : "out", wrong, len);
    for (size_t i = 0; i < len && i < 74; i++)
        printf(" %02x", frame[i]);
    printf("\n");
}

static int report(void)
{
    static const char *const ways[] = { "unknown", "in", "out" };
    int rc = 0;

    for (unsigned n = 0; n < 3; n++) {
        if (seen[n].frames)
            printf("%s: frames %lu ipv4 %lu ipv6 %lu tcp %lu udp %lu icmp %lu icmpv6 %lu fragments "
                   "%lu partial "
                   "%lu bad %lu\n",
                   ways[n], seen[n].frames, seen[n].ipv4, seen[n].ipv6, seen[n].tcp, seen[n].udp,
                   seen[n].icmp, seen[n].icmpv6, seen[n].fragments, seen[n].partial, seen[n].bad);
        rc |= seen[n].bad || (!n && seen[n].frames);
    }
    return rc;
}

/* ---- an interface ---- */

static int complain(const char *what)
{
    fprintf(stderr, "net-wire: %s: %s\n", what, strerror(errno));
    return 2;
}

static int switch_off(int sock, const char *interface, uint32_t what)
{
    struct ethtool_value value = { .cmd = what, .data = 0 };
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    r.ifr_data = (void *)&value;
    return ioctl(sock, SIOCETHTOOL, &r);
}

static int plain(const char *interface)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return sock < 0 || switch_off(sock, interface, ETHTOOL_STXCSUM) ||
                   switch_off(sock, interface, ETHTOOL_STSO) ||
                   switch_off(sock, interface, ETHTOOL_SGSO)
               ? complain(interface)
               : 0;
}

static void on_signal(int number)
{
    (void)number;
    over = 1;
}

/* What comes in only. A ring is not bounded by the socket's buffer, which who has no privilege cannot make larger. */
static int open_interface(const char *interface, size_t *ret_most, uint8_t **ret_ring)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(ETH_P_ALL),
                              .sll_ifindex = (int)if_nametoindex(interface) };
    const struct tpacket_req ring = { .tp_block_size = 1 << 20,
                                      .tp_block_nr = RING_SLOTS / ((1 << 20) / SLOT),
                                      .tp_frame_size = SLOT,
                                      .tp_frame_nr = RING_SLOTS };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, version = TPACKET_V2;
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCGIFMTU, &r) ||
        setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
        setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)))
        return -1;
    *ret_ring = mmap(NULL, (size_t)RING_SLOTS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*ret_ring == MAP_FAILED || bind(fd, (struct sockaddr *)&at, sizeof(at)))
        return -1;
    *ret_most = (size_t)r.ifr_mtu + 14;
    return fd;
}

/* Whether the slot had a frame. */
static bool look_at_slot(uint8_t *slot, size_t most)
{
    struct tpacket2_hdr *h = (void *)slot;

    if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
        return false;
    if (h->tp_len > h->tp_snaplen) /* longer than a slot, and so than the MTU */
        look(slot + h->tp_mac, h->tp_len, INCOMING, true, 0);
    else
        look(slot + h->tp_mac, h->tp_snaplen, INCOMING, true, most);
    __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    return true;
}

static int watch(const char *interface)
{
    struct sigaction end = { .sa_handler = on_signal };
    struct tpacket_stats lost;
    socklen_t len = sizeof(lost);
    uint8_t *ring = NULL;
    size_t most = 0;
    unsigned at = 0;
    int fd = open_interface(interface, &most, &ring), rc;
    struct pollfd p = { .fd = fd, .events = POLLIN };

    if (fd < 0)
        return complain(interface);
    sigaction(SIGTERM, &end, NULL);
    setlinebuf(stdout);
    printf("watching %s\n", interface);
    for (bool some = false; !over || some;) {
        some = look_at_slot(ring + (size_t)at * SLOT, most);
        at = (at + some) % RING_SLOTS;
        if (!some)
            (void)poll(&p, 1, 200);
    }
    rc = report();
    if (!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &lost, &len))
        printf("not looked at: %u\n", lost.tp_drops);
    return rc;
}

/* ---- what passes an interface, whole: only its size and protocol ---- */

enum { HEADERS = 64 };

static struct {
    unsigned long frames, tcp, udp; /* the latter two: longer than the MTU */
} passed[3];

static void measure(const uint8_t *frame, size_t len, unsigned way, size_t most)
{
    unsigned type = word(frame + 12);
    unsigned protocol = type == ETHERTYPE_IP     ? frame[14 + 9]
                        : type == ETHERTYPE_IPV6 ? frame[14 + 6]
                                                 : 0;

    passed[way].frames++;
    passed[way].tcp += len > most && protocol == IPPROTO_TCP;
    passed[way].udp += len > most && protocol == IPPROTO_UDP;
}

static int sizes(const char *interface)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(ETH_P_ALL),
                              .sll_ifindex = (int)if_nametoindex(interface) };
    struct sigaction end = { .sa_handler = on_signal }; /* ends recvfrom */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), bytes = 64 << 20;
    uint8_t frame[HEADERS];
    socklen_t len = sizeof(at);
    struct tpacket_stats lost = { 0 };
    struct timeval patience = { .tv_usec = 200000 };
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCGIFMTU, &r) || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
        return complain(interface);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    sigaction(SIGTERM, &end, NULL);
    setlinebuf(stdout);
    printf("watching %s\n", interface);
    for (bool some = false; !over || some;) {
        ssize_t n = recvfrom(fd, frame, sizeof(frame), MSG_TRUNC, (struct sockaddr *)&at, &len);

        some = n > 0;
        if (n >= 34)
            measure(frame, (size_t)n, at.sll_pkttype == PACKET_OUTGOING ? OUTGOING : INCOMING,
                    (size_t)r.ifr_mtu + 14);
    }
    len = sizeof(lost);
    (void)getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &lost, &len);
    printf(
        "in: frames %lu large tcp %lu udp %lu; out: frames %lu large tcp %lu udp %lu; not looked "
        "at: %u\n",
        passed[INCOMING].frames, passed[INCOMING].tcp, passed[INCOMING].udp,
        passed[OUTGOING].frames, passed[OUTGOING].tcp, passed[OUTGOING].udp, lost.tp_drops);
    return 0;
}

/* ---- a wire: rtnetlink(7); veth(4) ---- */

struct request {
    struct nlmsghdr head;
    struct ifinfomsg link;
    uint8_t words[512];
};

static struct rtattr *put(struct request *r, unsigned short type, const void *what, size_t len)
{
    struct rtattr *a = (void *)((uint8_t *)r + NLMSG_ALIGN(r->head.nlmsg_len));

    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    if (len)
        memcpy(RTA_DATA(a), what, len);
    r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
    return a;
}

static void enclose(struct request *r, struct rtattr *a)
{
    a->rta_len = (unsigned short)((uint8_t *)r + r->head.nlmsg_len - (uint8_t *)a);
}

/* busybox has no words for it. */
static int make_pair(const char *name, const char *other, uint32_t pid)
{
    struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                                   .nlmsg_type = RTM_NEWLINK,
                                   .nlmsg_flags =
                                       NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK } };
    const struct ifinfomsg none = { 0 };
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        uint8_t more[512];
    } answer = { 0 };
    struct rtattr *info, *data, *peer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (strlen(name) >= IFNAMSIZ || strlen(other) >= IFNAMSIZ)
        return 2;
    put(&r, IFLA_IFNAME, name, strlen(name) + 1);
    info = put(&r, IFLA_LINKINFO, NULL, 0);
    put(&r, IFLA_INFO_KIND, "veth", 5);
    data = put(&r, IFLA_INFO_DATA, NULL, 0);
    peer = put(&r, VETH_INFO_PEER, &none, sizeof(none));
    put(&r, IFLA_IFNAME, other, strlen(other) + 1);
    put(&r, IFLA_NET_NS_PID, &pid, sizeof(pid));
    enclose(&r, peer);
    enclose(&r, data);
    enclose(&r, info);
    if (fd < 0 || send(fd, &r, r.head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
        return complain(name);
    errno = -answer.error.error;
    return errno ? complain(name) : 0;
}

/* ---- a capture: draft-ietf-opsawg-pcapng, as the device writes it ---- */

enum { PACKET_BLOCK = 6, PACKET_FIXED = 28, BLOCK_MAX = FRAME_MAX + 256 };

static uint32_t number(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The flags are the only option of a packet. */
static int look_at_block(const uint8_t *block, size_t len, unsigned strict)
{
    size_t bytes = len >= PACKET_FIXED + 4 ? number(block + 20) : SIZE_MAX;
    unsigned way;

    if (bytes > len - PACKET_FIXED - 16)
        return -1;
    way = number(block + PACKET_FIXED + (bytes + 3) / 4 * 4 + 4) & 3;
    if (way == 3)
        return -1;
    look(block + PACKET_FIXED, bytes, way, strict & way, SIZE_MAX);
    return 0;
}

static int check(const char *path, unsigned strict)
{
    static uint8_t block[BLOCK_MAX];
    FILE *f = fopen(path, "re");
    size_t n = 0, len;

    if (!f)
        return complain(path);
    while ((n = fread(block, 1, 8, f)) == 8) {
        len = number(block + 4);
        if (len < 12 || len > sizeof(block) || fread(block + 8, 1, len - 8, f) != len - 8)
            break;
        if (number(block) == PACKET_BLOCK && look_at_block(block, len, strict))
            break;
    }
    fclose(f);
    if (n) {
        printf("%s: a block that cannot be\n", path);
        return 1;
    }
    return report();
}

int main(int argc, char **argv)
{
    unsigned strict = 0;

    if (argc == 3 && !strcmp(argv[1], "plain"))
        return plain(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "watch"))
        return watch(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "sizes"))
        return sizes(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "pair"))
        return make_pair(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 0));
    if (argc < 3 || strcmp(argv[1], "check") != 0) {
        fprintf(stderr, "net-wire plain|watch|sizes INTERFACE, pair NAME OTHER PID, check FILE "
                        "[sent] [received]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        strict |= !strcmp(argv[i], "sent") ? OUTGOING : INCOMING;
    return check(argv[2], strict);
}
