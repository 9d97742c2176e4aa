/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Network device: its class, which is tables of options, state, metrics and of what the host's kernel is asked for. */
#include "virtio_net_private.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

static bool may_open(const void *config, const char *untrusted, unsigned how)
{
    const struct virtio_net_config *c = config;

    return vnet_may_open(&c->net, c->num_queues / 2, untrusted, how);
}

static bool starts_program(const void *config)
{
    return vnet_starts_program(&((const struct virtio_net_config *)config)->net);
}

#define AT(member) .offset = offsetof(struct virtio_net_config, member)
static const struct vm_prop props[] = {
    VDEV_PROPS(struct virtio_net_config),
    VIRTIO_PROPS(struct virtio_net_config),
    VNET_PROPS(struct virtio_net_config, net),
    VNET_FILTER_PROPS(struct virtio_net_config, net.filter),
    { .name = "mac",
      .type = VM_PROP_STRING,
      AT(mac),
      .max = 17,
      .help = "MAC address of the guest's side, as 52:54:00:12:34:56; a random one if not given" },
    { .name = "num_queues",
      .type = VM_PROP_U32,
      AT(num_queues),
      .preset = "2",
      .min = 2,
      .max = 2 * VNET_QUEUES_MAX,
      .help = "queues to receive and to send, together: two per vCPU that works with the network" },
    { .name = "queue_size",
      .type = VM_PROP_U32,
      AT(queue_size),
      .preset = "256",
      .min = VIRTIO_NET_QUEUE_SIZE_LEAST,
      .max = VQ_SIZE_MAX,
      .help = "packets that fit a queue, a power of two" },
    { .name = "rss",
      .type = VM_PROP_BOOL,
      AT(rss),
      .help =
          "the guest may choose the queue of each connection by a hash (receive side scaling)" },
    { .name = "hash",
      .type = VM_PROP_BOOL,
      AT(hash),
      .help = "the guest may have the hash of each frame that it receives" },
    { .name = "vhost",
      .type = VM_PROP_BOOL,
      AT(vhost),
      .help = "the host's kernel moves the packets between guest and tap (vhost-net)" },
    { .name = "vhost_device",
      .type = VM_PROP_PATH,
      AT(vhost_device),
      .help = "with vhost=on: the kernel's device; /dev/vhost-net if not given" },
    { .name = "speed",
      .type = VM_PROP_U32,
      AT(speed),
      .max = INT32_MAX,
      .help = "what the guest is told of the link's speed, in Mbit/s; 0: nothing" },
    { 0 },
};

static const struct vm_jail_rule jail[] = {
    VM_JAIL("readv"),
    VM_JAIL("writev"),
    VM_JAIL("accept4"), /* the next peer of a socket */
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNSETOFFLOAD)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNSETQUEUE)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNGETIFF)), /* what was opened */
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNSETVNETHDRSZ)),
    { 0 },
};

/* A driver begins or resets. */
static const struct vm_jail_rule jail_vcpu[] = {
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNSETOFFLOAD)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, TUNSETQUEUE)),
    { 0 },
};

#define FIELD(t, kind, member, ...)                                                      \
    {                                                                                    \
        .tag = (t), .type = (kind), .offset = offsetof(struct virtio_net_state, member), \
        __VA_ARGS__                                                                      \
    }
#define BYTES(t, member, ...)                                                                    \
    {                                                                                            \
        .tag = (t), .type = VM_STATE_BYTES, .offset = offsetof(struct virtio_net_state, member), \
        .max = sizeof(((struct virtio_net_state *)0)->member), __VA_ARGS__                       \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U8, mode),
    BYTES(2, mac, .count_offset = 0),
    BYTES(3, own_mac, .count_offset = 0),
    FIELD(4, VM_STATE_U16, pairs),
    FIELD(5, VM_STATE_BOOL, offloads_said),
    FIELD(6, VM_STATE_BOOL, announce),
    FIELD(7, VM_STATE_U32, offloads),
    BYTES(8, uni, .count_offset = offsetof(struct virtio_net_state, uni_bytes)),
    BYTES(9, multi, .count_offset = offsetof(struct virtio_net_state, multi_bytes)),
    BYTES(10, vlan, .count_offset = 0),
    FIELD(11, VM_STATE_BOOL, steering, .since = 2),
    FIELD(12, VM_STATE_U32, hash_types, .since = 2),
    BYTES(13, key, .count_offset = 0, .since = 2),
    BYTES(14, table, .count_offset = 0, .since = 2),
    FIELD(15, VM_STATE_U8, table_mask, .since = 2),
    FIELD(16, VM_STATE_U8, unclassified, .since = 2),
    BYTES(17, coalesce, .count_offset = 0, .since = 2), /* of each queue: packets, microseconds */
    { 0 },
};

#define METRIC(member, text)                                     \
    {                                                            \
#member, offsetof(struct virtio_net, count.member), text \
    }
#define FILTERED(member, text)                                                    \
    {                                                                             \
        "filter_" #member, offsetof(struct virtio_net, count.filter.member), text \
    }
#define RULE(n)                                                               \
    {                                                                         \
        "egress_rule_" #n, offsetof(struct virtio_net, count.filter.rule[n]), \
            "frames that this rule decided"                                   \
    }
static const struct vdev_metric metrics[] = {
    METRIC(rx_frames, "frames to the guest"),
    METRIC(rx_bytes, "their bytes"),
    METRIC(rx_dropped, "frames that fit none of the guest's buffers"),
    METRIC(rx_filtered, "frames for others than the guest"),
    METRIC(tx_frames, "frames from the guest"),
    METRIC(tx_bytes, "their bytes"),
    METRIC(tx_dropped, "frames that the other side did not take"),
    METRIC(tx_bad, "packets of the guest's that break the rules"),
    METRIC(control_bad, "commands that were refused"),
    FILTERED(malformed, "frames from the guest that were dropped: headers that cannot be judged"),
    FILTERED(spoofed, "... in another's name"),
    FILTERED(other, "... neither IP nor ARP"),
    FILTERED(loopback, "... for a loopback address, with mode=user"),
    FILTERED(metadata, "... to metadata services"),
    FILTERED(by_default, "... that no rule allowed"),
    FILTERED(tx_waits, "times that frames from the guest waited for the limit"),
    FILTERED(rx_waits, "times that frames to the guest did"),
    FILTERED(captured, "frames in the capture"),
    FILTERED(capture_lost, "frames that it lacks"),
    RULE(0),
    RULE(1),
    RULE(2),
    RULE(3),
    RULE(4),
    RULE(5),
    RULE(6),
    RULE(7),
    RULE(8),
    RULE(9),
    RULE(10),
    RULE(11),
    RULE(12),
    RULE(13),
    RULE(14),
    RULE(15),
    RULE(16),
    RULE(17),
    RULE(18),
    RULE(19),
    RULE(20),
    RULE(21),
    RULE(22),
    RULE(23),
    RULE(24),
    RULE(25),
    RULE(26),
    RULE(27),
    RULE(28),
    RULE(29),
    RULE(30),
    RULE(31),
    { 0 },
};

const struct vdev_class virtio_net_class = {
    .name = "virtio-net",
    .summary = "network",
    .props = props,
    .config_size = sizeof(struct virtio_net_config),
    .kind = VDEV_VIRTIO,
    .backend = VDEV_BACKEND_NET,
    .placements = VDEV_THREAD | VDEV_PROCESS | VDEV_FOREIGN,
    .jail = jail,
    .jail_vcpu = jail_vcpu,
    .jail_more = virtio_net_kernel_rules,
    .thread_reason = virtio_net_kernel_reason,
    .settle = virtio_net_settle,
    .may_open = may_open,
    .starts_program = starts_program,
    .state = state_fields,
    .state_size = sizeof(struct virtio_net_state),
    .state_version = 2,
    .replay = VDEV_REPLAY_ALL,
    .ledger = state_fields,
    .metrics = metrics,
    .create = virtio_net_create,
};
