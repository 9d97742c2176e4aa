/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between a network device and its back end: what the guest may send, a capture, and limits of the rate. vnet_open() puts them over the
 * back end where they are asked for; where they are not, nothing stands between.
 *
 *     device -> antispoof, egress rules -> rate -> capture -> back end
 *     device <- capture <- rate <- back end
 *
 * What leaves has been copied first: the guest can change it neither between the check and the back end nor before it is written down.
 *
 * Threads: as net.h.
 */
#ifndef VMM_NET_FILTER_H
#define VMM_NET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/prop.h>

enum { VNET_RULES_MAX = 32, VNET_ADDRESSES_MAX = 32, VNET_TYPES_MAX = 16, VNET_RULE_TEXT = 95 };

/* AUTO: DENY where there are rules, otherwise ALLOW. */
enum vnet_egress { VNET_EGRESS_AUTO, VNET_EGRESS_ALLOW, VNET_EGRESS_DENY };
extern const char *const vnet_egresses[];

/* Frames, of the guest's, written by vm_count(). */
struct vnet_counts {
    uint64_t malformed; /* whose headers do not hold what they say, or that nobody could judge */
    uint64_t spoofed; /* in somebody else's name */
    uint64_t other; /* neither IP nor ARP */
    uint64_t loopback; /* to or from addresses that no link has, with mode=user */
    uint64_t metadata; /* to addresses of metadata services */
    uint64_t by_default; /* denied, for no rule applied */
    uint64_t rule[VNET_RULES_MAX]; /* that each rule decided, either way */
    uint64_t tx_waits, rx_waits; /* times that the limit was reached */
    uint64_t captured, capture_lost; /* frames of both directions */
};

/* What egress= says, read. */
struct vnet_rules;
/* -EINVAL with text: one of them is none, or there are too many; -ENOMEM. */
int vnet_rules_new(const struct vm_prop_list *egress, struct vnet_rules **ret_rules);
/* NULL is allowed. */
void vnet_rules_free(struct vnet_rules *rules);

struct vnet_filter_config {
    /* Each direction has buckets of its own. */
    uint64_t bw_size, bw_burst, ops_size, ops_burst;
    uint64_t rx_bw_size, rx_ops_size, tx_bw_size, tx_ops_size; /* 0: as without rx or tx */
    uint32_t bw_ms, ops_ms;
    char *capture;
    uint64_t capture_max;
    bool antispoof, deny_metadata;
    struct vm_prop_list antispoof_ip, egress; /* char * */
    struct vm_prop_list egress_types; /* uint32_t */
    uint32_t egress_default; /* enum vnet_egress */
    uint64_t egress_active; /* a bit per rule */
    /* Of the device, no option: the guest's MAC address, for antispoof, and where is counted (borrowed until vnet_close(); NULL:
     * nowhere). */
    const char *mac;
    struct vnet_counts *counts;
};

#define VNET_FILTER_NUMBER(T, place, word, kind, given, most, text)                 \
    {                                                                               \
        .name = (word), .type = (kind), .live = true, .offset = offsetof(T, place), \
        .preset = (given), .max = (most), .help = text                              \
    }
#define VNET_FILTER_PROPS(T, member)                                                               \
    VNET_FILTER_NUMBER(T, member.bw_size, "bw_size", VM_PROP_SIZE, NULL, 1ULL << 40,               \
                       "bytes in bw_refill_time, in each direction; 0: no limit"),                 \
        { .name = "bw_one_time_burst",                                                             \
          .type = VM_PROP_SIZE,                                                                    \
          .offset = offsetof(T, member.bw_burst),                                                  \
          .max = 1ULL << 40,                                                                       \
          .help = "bytes beyond that, once" },                                                     \
        { .name = "bw_refill_time",                                                                \
          .type = VM_PROP_U32,                                                                     \
          .live = true,                                                                            \
          .offset = offsetof(T, member.bw_ms),                                                     \
          .preset = "1000",                                                                        \
          .min = 1,                                                                                \
          .max = 86400000,                                                                         \
          .help = "milliseconds that bw_size is for" },                                            \
        VNET_FILTER_NUMBER(T, member.ops_size, "ops_size", VM_PROP_U64, NULL, 1ULL << 40,          \
                           "frames in ops_refill_time, in each direction; 0: no limit"),           \
        { .name = "ops_one_time_burst",                                                            \
          .type = VM_PROP_U64,                                                                     \
          .offset = offsetof(T, member.ops_burst),                                                 \
          .max = 1ULL << 40,                                                                       \
          .help = "frames beyond that, once" },                                                    \
        { .name = "ops_refill_time",                                                               \
          .type = VM_PROP_U32,                                                                     \
          .live = true,                                                                            \
          .offset = offsetof(T, member.ops_ms),                                                    \
          .preset = "1000",                                                                        \
          .min = 1,                                                                                \
          .max = 86400000,                                                                         \
          .help = "milliseconds that ops_size is for" },                                           \
        VNET_FILTER_NUMBER(T, member.rx_bw_size, "rx_bw_size", VM_PROP_SIZE, NULL, 1ULL << 40,     \
                           "bw_size of what the guest receives, where it differs"),                \
        VNET_FILTER_NUMBER(T, member.rx_ops_size, "rx_ops_size", VM_PROP_U64, NULL, 1ULL << 40,    \
                           "ops_size of what the guest receives, where it differs"),               \
        VNET_FILTER_NUMBER(T, member.tx_bw_size, "tx_bw_size", VM_PROP_SIZE, NULL, 1ULL << 40,     \
                           "bw_size of what the guest sends, where it differs"),                   \
        VNET_FILTER_NUMBER(T, member.tx_ops_size, "tx_ops_size", VM_PROP_U64, NULL, 1ULL << 40,    \
                           "ops_size of what the guest sends, where it differs"),                  \
        { .name = "capture",                                                                       \
          .type = VM_PROP_PATH,                                                                    \
          .offset = offsetof(T, member.capture),                                                   \
          .help = "file that all frames are written to, as pcapng" },                              \
        { .name = "capture_max",                                                                   \
          .type = VM_PROP_SIZE,                                                                    \
          .offset = offsetof(T, member.capture_max),                                               \
          .help = "the file's largest size: then the capture ends; 0: no bound" },                 \
        { .name = "antispoof",                                                                     \
          .type = VM_PROP_BOOL,                                                                    \
          .offset = offsetof(T, member.antispoof),                                                 \
          .help = "the guest sends in no other name than its MAC address and antispoof_ip" },      \
        { .name = "antispoof_ip",                                                                  \
          .type = VM_PROP_LIST,                                                                    \
          .element = VM_PROP_STRING,                                                               \
          .offset = offsetof(T, member.antispoof_ip),                                              \
          .max = VNET_ADDRESSES_MAX,                                                               \
          .help = "with antispoof: the guest's addresses, as 10.0.0.5 or fd00::/64; any if not "   \
                  "given" },                                                                       \
        { .name = "egress",                                                                        \
          .type = VM_PROP_LIST,                                                                    \
          .live = true,                                                                            \
          .element = VM_PROP_STRING,                                                               \
          .offset = offsetof(T, member.egress),                                                    \
          .max = VNET_RULES_MAX,                                                                   \
          .help = "what the guest may send, the first that fits decides: allow or deny, protocol " \
                  "and ports, network, as allow:tcp:443@10.0.0.0/8, deny:any@fd00::/8" },          \
        { .name = "egress_default",                                                                \
          .type = VM_PROP_ENUM,                                                                    \
          .live = true,                                                                            \
          .offset = offsetof(T, member.egress_default),                                            \
          .values = vnet_egresses,                                                                 \
          .preset = "auto",                                                                        \
          .help = "what happens where none fits: allow, deny; auto: deny if there are rules" },    \
        { .name = "egress_active",                                                                 \
          .type = VM_PROP_U64,                                                                     \
          .live = true,                                                                            \
          .offset = offsetof(T, member.egress_active),                                             \
          .preset = "0xffffffff",                                                                  \
          .help = "rules of egress that are in force, a bit each, the first one's is 1" },         \
        { .name = "egress_types",                                                                  \
          .type = VM_PROP_LIST,                                                                    \
          .element = VM_PROP_U32,                                                                  \
          .offset = offsetof(T, member.egress_types),                                              \
          .max = VNET_TYPES_MAX,                                                                   \
          .help = "EtherTypes besides IP and ARP that may be sent where there are rules or "       \
                  "antispoof, as 0x88cc" },                                                        \
    {                                                                                              \
        .name = "deny_metadata", .type = VM_PROP_BOOL, .live = true,                               \
        .offset = offsetof(T, member.deny_metadata),                                               \
        .help = "nothing goes to link-local IPv4 and to clouds' metadata services, whatever the "  \
                "rules say"                                                                        \
    }

#endif
