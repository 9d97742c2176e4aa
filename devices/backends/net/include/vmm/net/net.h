/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Network back ends: where the frames of a network device go to and come from: a tap interface of the host, an open file that
 * somebody else made one of, a Unix socket that another machine or program has at its other end, passt(1), or nothing.
 *
 *     vnet_open(env, "net0", &config, pairs, &events, ctx, &net);
 *     iov[0] = { &header, VNET_HEADER };  iov[1 ...] = the frame's memory
 *     n = vnet_receive(net, queue, iov, count);      one frame, or -EAGAIN: events.readable() follows
 *     rc = vnet_send(net, queue, iov, count);        one frame, or -EAGAIN: events.writable() follows
 *     vnet_close(net);
 *
 * Nothing waits. The first VNET_HEADER bytes are a header in any case, as VIRTIO 1.2, 5.1.6 has it without num_buffers; a back end
 * without offloads neither reads it nor says anything in it. A filter is a back end over another one.
 *
 * Threads: all of it, events included, in env->loop's; events never come from inside a call.
 */
#ifndef VMM_NET_NET_H
#define VMM_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmm/base/env.h>
#include <vmm/base/le.h>
#include <vmm/base/prop.h>
#include <vmm/net/filter.h>

enum {
    VNET_HEADER = 10,
    VNET_HEADER_LENT = 12, /* with num_buffers */
    VNET_ETHER = 14, /* the shortest frame: addresses and type */
    VNET_FRAME_MAX =
        65535 + 18, /* the largest IP packet behind an Ethernet header with a VLAN tag */
    VNET_QUEUES_MAX = 16, /* receive and transmit each */
};

/* VIRTIO 1.2, 5.1.6: struct virtio_net_hdr. */
struct vnet_header {
    uint8_t flags, gso_type;
    struct le16 hdr_len, gso_size, csum_start, csum_offset;
};

/* Work on packets that is left to the other side. The values are those of TUNSETOFFLOAD (linux/if_tun.h). */
enum {
    VNET_CSUM = 1, /* the checksum is not there yet */
    VNET_TSO4 = 2,
    VNET_TSO6 = 4,
    VNET_ECN = 8, /* with TSO: packets with ECN bits, too */
    VNET_UFO = 16,
    VNET_USO4 = 32,
    VNET_USO6 = 64,
};

enum vnet_mode { VNET_AUTO, VNET_NONE, VNET_TAP, VNET_FD, VNET_SOCKET, VNET_USER };
extern const char *const vnet_modes[];
enum vnet_family { VNET_BOTH, VNET_IPV4, VNET_IPV6 };
extern const char *const vnet_families[];

/* A member of a device's config struct; VNET_PROPS() are its rows. */
struct vnet_config {
    uint32_t mode; /* AUTO: what is given */
    char *tap, *ip, *mask, *host_mac;
    uint32_t mtu; /* 0: as the interface has it */
    struct vm_prop_list fd; /* int: one per queue */
    char *socket;
    bool server;
    /* Of mode=user. */
    struct vm_prop_list forward, guest_ip, gateway, dns, dns_forward; /* char * */
    char *guest_mask, *interface;
    uint32_t family; /* enum vnet_family */
    bool hide_host;
    struct vnet_filter_config filter;
};
#define VNET_PROPS(T, member)                                                                      \
    { .name = "mode",                                                                              \
      .type = VM_PROP_ENUM,                                                                        \
      .offset = offsetof(T, member.mode),                                                          \
      .values = vnet_modes,                                                                        \
      .preset = "auto",                                                                            \
      .help =                                                                                      \
          "what it is connected to: tap, fd, socket, user (by passt, without privilege), none "    \
          "(no link); auto: what is given" },                                                      \
        { .name = "tap",                                                                           \
          .type = VM_PROP_STRING,                                                                  \
          .offset = offsetof(T, member.tap),                                                       \
          .max = 15,                                                                               \
          .alias_crosvm = "tap_name",                                                              \
          .help = "tap or macvtap interface of the host; a tap is made if it does not exist" },    \
        { .name = "ip",                                                                            \
          .type = VM_PROP_STRING,                                                                  \
          .offset = offsetof(T, member.ip),                                                        \
          .max = 49,                                                                               \
          .alias_crosvm = "host_ip",                                                               \
          .help =                                                                                  \
              "address for the tap interface, the host's side: IPv4 or IPv6, /PREFIX behind it" }, \
        { .name = "mask",                                                                          \
          .type = VM_PROP_STRING,                                                                  \
          .offset = offsetof(T, member.mask),                                                      \
          .max = 15,                                                                               \
          .alias_crosvm = "netmask",                                                               \
          .help = "its network mask, IPv4; 255.255.255.0 if only ip is given" },                   \
        { .name = "host_mac",                                                                      \
          .type = VM_PROP_STRING,                                                                  \
          .offset = offsetof(T, member.host_mac),                                                  \
          .max = 17,                                                                               \
          .help = "MAC address for the tap interface, the host's side" },                          \
        { .name = "mtu",                                                                           \
          .type = VM_PROP_U32,                                                                     \
          .offset = offsetof(T, member.mtu),                                                       \
          .max = 65535,                                                                            \
          .help = "largest packet, 68 to 65535: the guest is told, and a tap interface is set "    \
                  "to it; 0: as it is" },                                                          \
        { .name = "fd",                                                                            \
          .type = VM_PROP_LIST,                                                                    \
          .element = VM_PROP_FD,                                                                   \
          .offset = offsetof(T, member.fd),                                                        \
          .max = 16,                                                                               \
          .alias_ch = "fds",                                                                       \
          .alias_crosvm = "tap_fd",                                                                \
          .help = "open tap or macvtap interface, one per pair of queues, or a connected stream "  \
                  "socket; nothing of it is set up" },                                             \
        { .name = "socket",                                                                        \
          .type = VM_PROP_PATH,                                                                    \
          .offset = offsetof(T, member.socket),                                                    \
          .max = 107,                                                                              \
          .help = "Unix socket of another machine or program, each frame behind its length (32 "   \
                  "bits, big-endian), as QEMU and passt have it" },                                \
        { .name = "server",                                                                        \
          .type = VM_PROP_BOOL,                                                                    \
          .offset = offsetof(T, member.server),                                                    \
          .help = "listen at socket, for one peer at a time, and do not connect" },                \
        VNET_USER_PROPS(T, member)

/* Of mode=user. */
#define VNET_USER_PROPS(T, member)                                                               \
    VNET_USER_LIST(T, member.forward, "forward", 64,                                             \
                   "mode=user: ports of the host that lead to the guest, as tcp:2222:22, "       \
                   "udp:127.0.0.1:5353:53, tcp:8000-8010"),                                      \
        VNET_USER_LIST(T, member.guest_ip, "guest_ip", 2,                                        \
                       "mode=user: the guest's addresses by DHCP, one of each family; the "      \
                       "host's own if not given"),                                               \
        { .name = "guest_mask",                                                                  \
          .type = VM_PROP_STRING,                                                                \
          .offset = offsetof(T, member.guest_mask),                                              \
          .max = 15,                                                                             \
          .help = "mode=user: network mask of its IPv4 address" },                               \
        VNET_USER_LIST(T, member.gateway, "gateway", 2,                                          \
                       "mode=user: the guest's routers, one of each family; the host's own if "  \
                       "not given"),                                                             \
        VNET_USER_LIST(T, member.dns, "dns", 6,                                                  \
                       "mode=user: resolvers that the guest is told; those of the host's "       \
                       "resolv.conf if not given"),                                              \
        VNET_USER_LIST(T, member.dns_forward, "dns_forward", 2,                                  \
                       "mode=user: at this address, one of each family, the guest finds the "    \
                       "host's first resolver"),                                                 \
        { .name = "interface",                                                                   \
          .type = VM_PROP_STRING,                                                                \
          .offset = offsetof(T, member.interface),                                               \
          .max = 15,                                                                             \
          .help = "mode=user: interface of the host whose addresses and routes the guest gets; " \
                  "that of the default route if not given" },                                    \
        { .name = "family",                                                                      \
          .type = VM_PROP_ENUM,                                                                  \
          .offset = offsetof(T, member.family),                                                  \
          .values = vnet_families,                                                               \
          .preset = "both",                                                                      \
          .help = "mode=user: ipv4 or ipv6 alone, or both as far as the host has them" },        \
    {                                                                                            \
        .name = "hide_host", .type = VM_PROP_BOOL, .offset = offsetof(T, member.hide_host),      \
        .help = "mode=user: the gateway's address does not lead to services of the host itself"  \
    }
#define VNET_USER_LIST(T, place, word, most, text)                       \
    {                                                                    \
        .name = (word), .type = VM_PROP_LIST, .element = VM_PROP_STRING, \
        .offset = offsetof(T, place), .max = (most), .help = (text)      \
    }

/* What contradicts itself, which vnet_open() would refuse. -EINVAL or -ERANGE with text. pairs: of queues. */
int vnet_check(const struct vnet_config *config, unsigned pairs);
/* vnet_open() with this configuration opens that name in that way: for vdev_class.may_open. */
bool vnet_may_open(const struct vnet_config *config, unsigned pairs, const char *untrusted,
                   unsigned how);
/* It asks for VM_OPEN_USER: for vdev_class.starts_program. */
bool vnet_starts_program(const struct vnet_config *config);

/* It asks for what only our own data path does: limits, capture, checks of what is sent. Whoever lets frames pass elsewhere refuses it. */
bool vnet_filters_asked(const struct vnet_config *config);

/* None is optional. */
struct vnet_events {
    /* Frames are there, after vnet_receive() said -EAGAIN or before its first call; may come without reason. */
    void (*readable)(void *ctx, unsigned queue);
    /* There is room, after vnet_send() said -EAGAIN; may come without reason. */
    void (*writable)(void *ctx, unsigned queue);
    /* The other side has come (vnet->info.link is true) or gone. */
    void (*link)(void *ctx);
};

struct vnet_info {
    bool link; /* somebody is there; changes: events.link() */
    bool multi; /* vnet_set_queues() with more than one can be asked for */
    unsigned takes; /* VNET_CSUM ...: what sent frames may leave to it */
    unsigned gives; /* what received ones may leave to us, when we have asked for it */
    uint32_t frame_max; /* bytes that it carries, header not counted */
};

struct vnet;
struct vnet_ops {
    ssize_t (*receive)(struct vnet *net, unsigned queue, struct iovec *iov, int count);
    int (*send)(struct vnet *net, unsigned queue, struct iovec *iov, int count);
    int (*set_offloads)(struct vnet *net, unsigned offloads); /* NULL: gives nothing */
    int (*set_queues)(struct vnet *net, unsigned pairs); /* NULL: one pair */
    /* NULL: there are none */
    void (*set_filters)(struct vnet *net, const struct vnet_filter_config *config,
                        const struct vnet_rules *rules);
    int (*lend)(struct vnet *net, unsigned queue); /* NULL: it cannot */
    void (*close)(struct vnet *net);
};
struct vnet {
    const struct vnet_ops *ops;
    struct vnet_info info;
};

/* name is for messages; config is read during the call; events and ctx are borrowed. 0, or -errno with a text that says how to mend
 * it: -EINVAL, -ENOENT, -EPERM, -EACCES, -EBUSY, -EADDRINUSE, -ECONNREFUSED, -ENOMEM ... */
int vnet_open(const struct vm_env *env, const char *name, const struct vnet_config *config,
              unsigned pairs, const struct vnet_events *events, void *ctx, struct vnet **ret_net);
static inline void vnet_close(struct vnet *net)
{
    if (net)
        net->ops->close(net);
}

/* One frame into iov, whose first element is the header; elements may be changed. Its bytes without header, which may be more than
 * fitted (or, of a tap, as many as fitted: give it VNET_FRAME_MAX); -EAGAIN: none; -ENETDOWN: the other side has gone. No text. */
static inline ssize_t vnet_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    return net->ops->receive(net, queue, iov, count);
}
/* One frame from iov, likewise, of VNET_ETHER to VNET_FRAME_MAX bytes. 0; -EAGAIN: it was not taken; another -errno: it is lost, for
 * it was refused or nobody is there. No text. */
static inline int vnet_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    return net->ops->send(net, queue, iov, count);
}
/* Received frames may leave these to us from now on: a part of info.gives. 0 or -errno without text. */
static inline int vnet_set_offloads(struct vnet *net, unsigned offloads)
{
    return net->ops->set_offloads ? net->ops->set_offloads(net, offloads) : 0;
}
/* Frames come by the first so many queues only. 0 or -errno without text. */
static inline int vnet_set_queues(struct vnet *net, unsigned pairs)
{
    return net->ops->set_queues ? net->ops->set_queues(net, pairs) : pairs == 1 ? 0 : -1;
}
/* For good: frames of that queue are received and sent by somebody else, the kernel's vhost-net, with headers of VNET_HEADER_LENT bytes. The
 * file, borrowed; -ENOTSUP with text: it has none, or one without headers. vnet_send() still works, vnet_receive() does not. */
int vnet_lend(struct vnet *net, unsigned queue);
/* It was opened with filters. */
static inline bool vnet_has_filters(const struct vnet *net)
{
    return net->ops->set_filters;
}
/* What of config is live is so from now on, if there are filters. rules: in place of egress=, counted from 0; NULL: those that there are
 * stay. Both are read during the call. */
static inline void vnet_set_filters(struct vnet *net, const struct vnet_filter_config *config,
                                    const struct vnet_rules *rules)
{
    if (net->ops->set_filters)
        net->ops->set_filters(net, config, rules);
}

#endif
