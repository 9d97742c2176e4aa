/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the filters.
 *
 *   filter.c    the back end over the other one, which calls the rest
 *   rate.c      buckets of one direction
 *   capture.c   a pcapng file
 *   frame.c     what a frame's first bytes say
 *   egress.c    whether a guest may send it: options and rules
 */
#ifndef VMM_NET_FILTER_PRIVATE_H
#define VMM_NET_FILTER_PRIVATE_H

#include <stdio.h>

#include <vmm/base/bucket.h>

#include "net_private.h"

/* ---- rate ---- */

/* More bytes than a bucket holds pass when it is full, and the rest is owed: over time the rate is exact. */
struct vnet_meter {
    struct vm_bucket bucket;
    uint64_t owed;
};
struct vnet_rate {
    struct vnet_meter bytes, frames;
};

void vnet_rate_init(struct vnet_rate *rate, const struct vnet_filter_config *config, bool sent,
                    uint64_t now_ns);
void vnet_rate_set(struct vnet_rate *rate, const struct vnet_filter_config *config, bool sent,
                   uint64_t now_ns);
/* In how many nanoseconds a frame of so many bytes (1: of any size, it is paid for afterwards) may pass; 0: now. */
uint64_t vnet_rate_wait_ns(struct vnet_rate *rate, uint64_t bytes, uint64_t now_ns);
/* One has passed. */
void vnet_rate_pay(struct vnet_rate *rate, uint64_t bytes, uint64_t now_ns);

/* ---- capture ---- */

enum vnet_way { VNET_INBOUND = 1, VNET_OUTBOUND = 2 }; /* seen from the guest */
struct vnet_capture;

/* Errors are told with text here, and once in the log later. counts: or NULL. */
int vnet_capture_new(const struct vm_env *env, const char *name,
                     const struct vnet_filter_config *config, struct vnet_capture **ret_capture);
/* len bytes of a frame. */
void vnet_capture_put(struct vnet_capture *capture, enum vnet_way way, const void *data,
                      size_t len);
/* Ends the file with its statistics. NULL is allowed. */
void vnet_capture_free(struct vnet_capture *capture);

/* ---- frames ---- */

enum {
    VNET_HEAD = 512, /* bytes of a frame that are copied and judged: all headers are in it */
    VNET_IPV4_TYPE = 0x0800,
    VNET_IPV6_TYPE = 0x86dd,
    VNET_ARP_TYPE = 0x0806,
    VNET_RARP_TYPE = 0x8035,
    VNET_ICMP = 1,
    VNET_TCP = 6,
    VNET_UDP = 17,
    VNET_ICMPV6 = 58,
    VNET_SCTP = 132,
};

/* An address of either family: IPv4 as ::ffff:a.b.c.d. */
struct vnet_address {
    uint8_t byte[16];
};

/* What is said of a frame by its copied first bytes. */
struct vnet_frame {
    uint16_t type; /* behind VLAN tags */
    uint16_t l3, l4; /* where its packet and what that carries begin; l4 of IP only */
    bool whole; /* nothing of it is unseen */
    bool ip, v6, fragment, later; /* a fragment; one that is not the first */
    bool protocol_known, ports_known;
    uint8_t protocol, icmp_type;
    uint8_t next,
        extensions; /* IPv6: the fixed header's next one, and how many headers are between that and the protocol's */
    uint8_t hops;
    uint16_t from_port, to_port;
    struct vnet_address from, to;
};

/* head: the first len bytes of a frame of `total`, all of them or VNET_HEAD. 0, or -EBADMSG: it must not be let through, for it can be
 * read in more than one way, or not at all. Frames of unknown types are read to their type. */
int vnet_frame_read(const uint8_t *head, size_t len, size_t total, struct vnet_frame *ret_frame);
/* The header says nothing of the frame that would change what was read of it. 0 or -EBADMSG. */
int vnet_frame_check_header(const struct vnet_frame *frame, const struct vnet_header *header);
static inline uint16_t vnet_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- egress ---- */

enum vnet_protocol { VNET_ANY_PROTOCOL = 256, VNET_ANY_ICMP = 257 };
struct vnet_net {
    struct vnet_address address;
    unsigned bits;
    bool given, v6; /* not given: any of either family */
};
struct vnet_rule {
    bool allow, ports;
    unsigned protocol; /* or enum vnet_protocol */
    uint16_t first, last;
    struct vnet_net net;
};
struct vnet_rules {
    unsigned count;
    struct vnet_rule rule[VNET_RULES_MAX];
};
struct vnet_egress_rules {
    unsigned addresses, types;
    struct vnet_rules rules;
    struct vnet_net address[VNET_ADDRESSES_MAX];
    uint16_t type[VNET_TYPES_MAX];
    uint8_t mac[6];
    struct vnet_address link_local; /* made of it (RFC 4291, appendix A) */
    bool antispoof, policed, allow, deny_metadata;
    bool sockets; /* packets become sockets of this host's */
    uint64_t active;
};

enum vnet_why {
    VNET_PASSES,
    VNET_BY_RULE, /* + number; it may allow or deny */
    VNET_MALFORMED = VNET_BY_RULE + VNET_RULES_MAX,
    VNET_SPOOFED,
    VNET_OTHER,
    VNET_LOOPBACK,
    VNET_METADATA,
    VNET_BY_DEFAULT,
};
struct vnet_verdict {
    bool pass;
    unsigned why; /* enum vnet_why */
};

/* -EINVAL with text. */
int vnet_egress_read(const struct vnet_filter_config *config, struct vnet_egress_rules *ret_rules);
/* Takes over what may be changed while it runs. */
void vnet_egress_set(struct vnet_egress_rules *rules, const struct vnet_filter_config *config,
                     const struct vnet_rules *instead);
/* Frames have to be looked at. */
bool vnet_egress_asked(const struct vnet_filter_config *config);
struct vnet_verdict vnet_egress_judge(const struct vnet_egress_rules *rules, const uint8_t *head,
                                      size_t len, size_t total, const struct vnet_header *header);

/* ---- the stack ---- */

int vnet_filter_check(const struct vnet_filter_config *config);
/* Filters of setup's config without anything below: the back end is opened with setup_below, then joined. On error of that one
 * vnet_close(filter) is enough. */
int vnet_filter_new(const struct vnet_setup *setup, struct vnet_setup *ret_below,
                    struct vnet **ret_filter);
void vnet_filter_join(struct vnet *filter, struct vnet *below);

#endif
