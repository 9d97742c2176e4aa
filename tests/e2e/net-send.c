/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Floods, in a test guest and on the other side of its network.
 *
 *   net-send echo ADDRESS COUNT BYTES [df]  echo requests (RFC 792, RFC 4443) as fast as they are answered, IP packets of so many bytes
 *                                           that with df must not be cut; what comes back is compared
 *   net-send arp INTERFACE COUNT            ARP replies (RFC 826) and
 *   net-send nd INTERFACE COUNT             neighbour advertisements (RFC 4861, 4.4), each in another's name, to all
 *   net-send bursts ADDRESS COUNT BYTES SEGMENT  so many bytes at a time, which the kernel or who is behind it cuts into UDP packets
 *                                           (udp(7), UDP_SEGMENT); the next when the other side has answered, which is
 *   net-send sink                           who looks at each of the packets and answers when it has all of a burst
 *   net-send feature INTERFACE NAME on|off  an offload (ethtool -K)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PACKET_MAX = 65535,
    AT_ONCE = 8,
    LARGE = 4096,
    PATIENCE_MS = 10000, /* emulated hosts beside other work stand still for seconds */
    ARP_BYTES = 42,
    ND_BYTES = 14 + 40 + 32,
    SINK_PORT = 5003,
    SEGMENTS_MAX = 64, /* of Linux before 6.9 */
    FEATURES_MAX = 256,
};

static int complain(const char *what)
{
    fprintf(stderr, "net-send: %s: %s\n", what, strerror(errno));
    return 2;
}

static unsigned checksum(uint64_t total, const uint8_t *at, size_t len)
{
    for (; len > 1; at += 2, len -= 2)
        total += (unsigned)(at[0] << 8 | at[1]);
    total += len ? (unsigned)at[0] << 8 : 0;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return ~(unsigned)total & 0xffff;
}

static void put(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* ---- echoes ---- */

struct echo {
    int fd;
    bool six;
    size_t len; /* of the message */
    unsigned long sent, back, other; /* other: not what was sent */
    uint8_t message[PACKET_MAX];
};

/* The kernel makes ICMPv6's checksum. */
static int send_one(struct echo *e)
{
    e->message[0] = e->six ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    put(e->message + 4, (unsigned)getpid() & 0xffff);
    put(e->message + 6, (unsigned)e->sent & 0xffff);
    put(e->message + 2, 0);
    if (!e->six)
        put(e->message + 2, checksum(0, e->message, e->len));
    if (send(e->fd, e->message, e->len, 0) < 0)
        return -1;
    e->sent++;
    return 0;
}

/* It is an answer to one of ours. A raw socket gets the whole protocol's messages, neighbours' too. */
static bool is_answer(struct echo *e, const uint8_t *got, ssize_t n)
{
    const uint8_t *at = got;

    if (!e->six) {
        at += (got[0] & 15) * 4;
        n -= (got[0] & 15) * 4;
    }
    if (n < 8 || at[0] != (e->six ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) ||
        memcmp(at + 4, e->message + 4, 2) != 0)
        return false;
    if ((size_t)n != e->len || memcmp(at + 8, e->message + 8, e->len - 8) != 0)
        e->other++;
    e->back++;
    return true;
}

/* 1: an answer; 0: none in time. */
static int receive_one(struct echo *e)
{
    static uint8_t got[PACKET_MAX];
    struct pollfd p = { .fd = e->fd, .events = POLLIN };

    while (poll(&p, 1, PATIENCE_MS) > 0) {
        ssize_t n = recv(e->fd, got, sizeof(got), MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n > 0 && is_answer(e, got, n))
            return 1;
    }
    return 0;
}

static int open_echo(struct echo *e, const char *address, bool whole)
{
    struct sockaddr_in to4 = { .sin_family = AF_INET };
    struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
    int how = IP_PMTUDISC_DO, bytes = 4 << 20;

    e->six = inet_pton(AF_INET, address, &to4.sin_addr) != 1;
    if (e->six && inet_pton(AF_INET6, address, &to6.sin6_addr) != 1)
        return -1;
    e->fd = socket(e->six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC,
                   e->six ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
    if (e->fd < 0)
        return -1;
    setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (whole && (e->six ? setsockopt(e->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &how, sizeof(how))
                         : setsockopt(e->fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof(how))))
        return -1;
    return e->six ? connect(e->fd, (struct sockaddr *)&to6, sizeof(to6))
                  : connect(e->fd, (struct sockaddr *)&to4, sizeof(to4));
}

static int echo(const char *address, unsigned long count, size_t bytes, bool whole)
{
    /* Who answers has 258 KiB for answers that its device has not given back (Linux, icmp_init(): the send buffer of its ICMP socket),
     * which are 16 of 9,000 bytes; and a slow guest's virtio-net takes up to 64 frames before it looks what came back. */
    unsigned long lost = 0, at_once = bytes > LARGE ? 1 : AT_ONCE;
    static struct echo e;
    int rc = 0;

    if (open_echo(&e, address, whole))
        return complain(address);
    e.len = bytes - (e.six ? 40 : 20);
    for (size_t i = 8; i < e.len; i++)
        e.message[i] = (uint8_t)(i * 31 + i / 256);
    while (e.back + lost < count) {
        while (e.sent < count && e.sent - e.back - lost < at_once)
            if (send_one(&e))
                return complain("send");
        rc = receive_one(&e);
        if (rc < 0)
            return complain("receive");
        if (!rc)
            lost = e.sent - e.back; /* all that are out, after so much silence */
    }
    printf("@echo %s bytes %zu sent %lu back %lu other %lu\n", address, bytes, e.sent, e.back,
           e.other);
    return 0;
}

/* ---- in others' names ---- */

static size_t make_arp(uint8_t *frame, unsigned long n)
{
    static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0, 2 };

    put(frame + 12, ETHERTYPE_ARP);
    memcpy(frame + 14, head, sizeof(head));
    memcpy(frame + 22, frame + 6, 6);
    frame[28] = 10; /* nobody's who is there */
    frame[29] = 255;
    put(frame + 30, (unsigned)n & 0xffff);
    memset(frame + 32, 0xff, 6);
    memcpy(frame + 38, frame + 28, 4);
    return ARP_BYTES;
}

static size_t make_nd(uint8_t *frame, unsigned long n)
{
    uint8_t *ip = frame + 14, *message = ip + 40;

    memcpy(frame, "\x33\x33\0\0\0\1", 6);
    put(frame + 12, ETHERTYPE_IPV6);
    ip[0] = 0x60;
    put(ip + 4, 32);
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = 255;
    ip[8] = 0xfe;
    ip[9] = 0x80;
    put(ip + 22, (unsigned)n & 0xffff);
    ip[24] = 0xff;
    ip[25] = 2;
    ip[39] = 1;
    message[0] = ND_NEIGHBOR_ADVERT;
    message[4] = 0x20; /* override */
    memcpy(message + 8, ip + 8, 16);
    message[24] = ND_OPT_TARGET_LINKADDR;
    message[25] = 1;
    memcpy(message + 26, frame + 6, 6);
    put(message + 2, 0);
    put(message + 2, checksum(32 + IPPROTO_ICMPV6, ip + 8, 32 + 32));
    return ND_BYTES;
}

static int flood(const char *interface, unsigned long count, bool nd)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET,
                              .sll_ifindex = (int)if_nametoindex(interface) };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    unsigned long refused = 0;

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
        return complain(interface);
    for (unsigned long n = 1; n <= count; n++) {
        uint8_t frame[ND_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };

        put(frame + 10, (unsigned)n & 0xffff);
        if (send(fd, frame, nd ? make_nd(frame, n) : make_arp(frame, n), 0) < 0 && errno != ENOBUFS)
            return complain("send");
        refused += errno == ENOBUFS;
        errno = 0;
    }
    printf("@flood %s %lu\n", nd ? "nd" : "arp", count - refused);
    return 0;
}

/* ---- bursts ---- */

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* At the head of each packet; the bytes behind it follow from where they are. */
struct piece {
    uint32_t burst;
    uint32_t index, count, bytes, segment;
};

static uint8_t byte_of(const struct piece *p, size_t at)
{
    return (uint8_t)(at * 31 + at / 256 + p->index * 7 + p->burst);
}

static size_t length_of(const struct piece *p)
{
    return p->index + 1 < p->count ? p->segment : p->bytes - p->segment * (p->count - 1);
}

static void make_burst(uint8_t *at, struct piece p)
{
    for (p.index = 0; p.index < p.count; p.index++) {
        size_t len = length_of(&p);

        memcpy(at, &p, sizeof(p));
        for (size_t i = sizeof(p); i < len; i++)
            at[i] = byte_of(&p, i);
        at += len;
    }
}

static bool is_right(const uint8_t *got, size_t n, struct piece *ret)
{
    if (n < sizeof(*ret))
        return false;
    memcpy(ret, got, sizeof(*ret));
    if (!ret->count || ret->count > SEGMENTS_MAX || ret->index >= ret->count || n != length_of(ret))
        return false;
    for (size_t i = sizeof(*ret); i < n; i++)
        if (got[i] != byte_of(ret, i))
            return false;
    return true;
}

static int sink(void)
{
    static uint8_t got[PACKET_MAX];
    struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(SINK_PORT) }, from;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t seen = 0;
    uint32_t burst = 0;

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
        return complain("bind");
    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &len);
        struct piece p;

        if (n < 0)
            return complain("receive");
        if (!is_right(got, (size_t)n, &p)) {
            printf("@sink a wrong packet of %zd bytes\n", n);
            continue;
        }
        if (p.burst != burst)
            seen = 0;
        burst = p.burst;
        seen |= 1ULL << p.index;
        if (seen == (p.count == 64 ? ~0ULL : (1ULL << p.count) - 1))
            (void)sendto(fd, &p.burst, sizeof(p.burst), 0, (struct sockaddr *)&from, len);
    }
}

static int connect_udp(const char *address, int segment)
{
    struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(SINK_PORT) };
    struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(SINK_PORT) };
    bool six = inet_pton(AF_INET, address, &to4.sin_addr) != 1;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || (six && inet_pton(AF_INET6, address, &to6.sin6_addr) != 1) ||
        setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)) ||
        (six ? connect(fd, (struct sockaddr *)&to6, sizeof(to6))
             : connect(fd, (struct sockaddr *)&to4, sizeof(to4))))
        return -1;
    return fd;
}

/* 1: the burst was answered; 0: not in time. */
static int is_answered(int fd, uint32_t burst)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint32_t answer;

    while (poll(&p, 1, PATIENCE_MS) > 0)
        if (recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer) && answer == burst)
            return 1;
    return 0;
}

static int bursts(const char *address, unsigned long count, uint32_t bytes, uint32_t segment)
{
    static uint8_t burst[PACKET_MAX];
    struct piece p = { .count = (bytes + segment - 1) / segment,
                       .bytes = bytes,
                       .segment = segment };
    int fd = connect_udp(address, (int)segment);
    unsigned long back = 0;

    if (fd < 0)
        return complain(address);
    if (p.count > SEGMENTS_MAX || length_of(&p) < sizeof(p))
        return 2;
    for (unsigned long n = 0; n < count; n++) {
        p.burst = (uint32_t)getpid() << 16 | ((uint32_t)n + 1);
        make_burst(burst, p);
        if (send(fd, burst, bytes, 0) != (ssize_t)bytes)
            return complain("send");
        back += (unsigned long)is_answered(fd, p.burst);
    }
    printf("@bursts %s bytes %u segment %u sent %lu back %lu\n", address, bytes, segment, count,
           back);
    return 0;
}

/* ---- an offload ---- */

static int feature(const char *interface, const char *name, bool on)
{
    static struct {
        struct ethtool_gstrings head;
        char name[FEATURES_MAX][ETH_GSTRING_LEN];
    } names = { .head = { .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES } };
    static struct {
        struct ethtool_sfeatures head;
        struct ethtool_set_features_block block[FEATURES_MAX / 32];
    } set = { .head = { .cmd = ETHTOOL_SFEATURES } };
    static struct {
        struct ethtool_sset_info head;
        uint32_t count;
    } info = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };
    struct ifreq r = { .ifr_data = (void *)&info };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCETHTOOL, &r) || info.count > FEATURES_MAX)
        return complain(interface);
    names.head.len = info.count;
    r.ifr_data = (void *)&names;
    if (ioctl(fd, SIOCETHTOOL, &r))
        return complain(interface);
    set.head.size = (info.count + 31) / 32;
    r.ifr_data = (void *)&set;
    for (uint32_t n = 0; n < info.count; n++)
        if (!strncmp(names.name[n], name, ETH_GSTRING_LEN)) {
            set.block[n / 32].valid = 1U << n % 32;
            set.block[n / 32].requested = on ? 1U << n % 32 : 0;
            /* Above 0: not all was done as asked for. */
            return ioctl(fd, SIOCETHTOOL, &r) ? complain(name) : 0;
        }
    errno = ENOENT;
    return complain(name);
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

    if (argc >= 5 && !strcmp(argv[1], "echo") && strtoul(argv[4], NULL, 0) >= 64 &&
        strtoul(argv[4], NULL, 0) <= PACKET_MAX)
        return echo(argv[2], count, strtoul(argv[4], NULL, 0), argc > 5);
    if (argc == 4 && (!strcmp(argv[1], "arp") || !strcmp(argv[1], "nd")))
        return flood(argv[2], count, !strcmp(argv[1], "nd"));
    if (argc == 6 && !strcmp(argv[1], "bursts") && strtoul(argv[4], NULL, 0) <= PACKET_MAX &&
        strtoul(argv[5], NULL, 0))
        return bursts(argv[2], count, (uint32_t)strtoul(argv[4], NULL, 0),
                      (uint32_t)strtoul(argv[5], NULL, 0));
    if (argc == 2 && !strcmp(argv[1], "sink"))
        return sink();
    if (argc == 5 && !strcmp(argv[1], "feature"))
        return feature(argv[2], argv[3], !strcmp(argv[4], "on"));
    fprintf(stderr, "net-send echo ADDRESS COUNT BYTES [df] | arp|nd INTERFACE COUNT | "
                    "bursts ADDRESS COUNT BYTES SEGMENT | sink | feature INTERFACE NAME on|off\n");
    return 2;
}
