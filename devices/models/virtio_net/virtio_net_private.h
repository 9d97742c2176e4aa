/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the device.
 *
 *   virtio_net.c          class, options, features, config space, life
 *   virtio_net_rx.c       from the back end into the guest's buffers
 *   virtio_net_tx.c       from a chain to the back end
 *   virtio_net_hash.c     hashes of received frames
 *   virtio_net_delay.c    notifications that come later
 *   virtio_net_control.c  the control queue, and the filter that it sets
 *   virtio_net_kernel.c   packets within the host's kernel (vhost=on)
 */
#ifndef VIRTIO_NET_PRIVATE_H
#define VIRTIO_NET_PRIVATE_H

#include <assert.h>

#include <vmm/base/le.h>
#include <vmm/net/net.h>
#include <vmm/virtio/device.h>

extern const struct vdev_class virtio_net_class;

/* Feature bits (VIRTIO 1.2, 5.1.3). */
#define VIRTIO_NET_F_CSUM                (1ULL << 0)
#define VIRTIO_NET_F_GUEST_CSUM          (1ULL << 1)
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS (1ULL << 2)
#define VIRTIO_NET_F_MTU                 (1ULL << 3)
#define VIRTIO_NET_F_MAC                 (1ULL << 5)
#define VIRTIO_NET_F_GUEST_TSO4          (1ULL << 7)
#define VIRTIO_NET_F_GUEST_TSO6          (1ULL << 8)
#define VIRTIO_NET_F_GUEST_ECN           (1ULL << 9)
#define VIRTIO_NET_F_GUEST_UFO           (1ULL << 10)
#define VIRTIO_NET_F_HOST_TSO4           (1ULL << 11)
#define VIRTIO_NET_F_HOST_TSO6           (1ULL << 12)
#define VIRTIO_NET_F_HOST_ECN            (1ULL << 13)
#define VIRTIO_NET_F_HOST_UFO            (1ULL << 14)
#define VIRTIO_NET_F_MRG_RXBUF           (1ULL << 15)
#define VIRTIO_NET_F_STATUS              (1ULL << 16)
#define VIRTIO_NET_F_CTRL_VQ             (1ULL << 17)
#define VIRTIO_NET_F_CTRL_RX             (1ULL << 18)
#define VIRTIO_NET_F_CTRL_VLAN           (1ULL << 19)
#define VIRTIO_NET_F_CTRL_RX_EXTRA       (1ULL << 20)
#define VIRTIO_NET_F_GUEST_ANNOUNCE      (1ULL << 21)
#define VIRTIO_NET_F_MQ                  (1ULL << 22)
#define VIRTIO_NET_F_CTRL_MAC_ADDR       (1ULL << 23)
#define VIRTIO_NET_F_VQ_NOTF_COAL        (1ULL << 52) /* VIRTIO 1.3, 5.1.3 */
#define VIRTIO_NET_F_NOTF_COAL           (1ULL << 53)
#define VIRTIO_NET_F_GUEST_USO4          (1ULL << 54)
#define VIRTIO_NET_F_GUEST_USO6          (1ULL << 55)
#define VIRTIO_NET_F_HOST_USO            (1ULL << 56)
#define VIRTIO_NET_F_HASH_REPORT         (1ULL << 57)
#define VIRTIO_NET_F_RSS                 (1ULL << 60)
#define VIRTIO_NET_F_SPEED_DUPLEX        (1ULL << 63)
/* What received frames may leave to the driver. */
#define VIRTIO_NET_GUEST_OFFLOADS                                                  \
    (VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | \
     VIRTIO_NET_F_GUEST_ECN | VIRTIO_NET_F_GUEST_UFO | VIRTIO_NET_F_GUEST_USO4 |   \
     VIRTIO_NET_F_GUEST_USO6)

enum {
    VIRTIO_NET_S_LINK_UP = 1, /* 5.1.4 */
    VIRTIO_NET_S_ANNOUNCE = 2,

    VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, /* 5.1.6 */
    VIRTIO_NET_HDR_F_DATA_VALID = 2,
    VIRTIO_NET_GSO_NONE = 0,
    VIRTIO_NET_GSO_TCPV4 = 1,
    VIRTIO_NET_GSO_UDP = 3,
    VIRTIO_NET_GSO_TCPV6 = 4,
    VIRTIO_NET_GSO_UDP_L4 = 5,
    VIRTIO_NET_GSO_ECN = 0x80,

    VIRTIO_NET_OK = 0, /* 5.1.6.5 */
    VIRTIO_NET_ERR = 1,

    VIRTIO_NET_TABLE = 64, /* addresses in each of the two tables */
    VIRTIO_NET_VLAN_BYTES = 4096 / 8,
    VIRTIO_NET_ROUND = 256, /* frames; then others of the loop have their turn */
    VIRTIO_NET_PUBLISH = 64, /* transmitted ones that the driver gets back at once */
};

/* Types of hashes, as bits (5.1.6.4.3.1), and what was made of a frame (5.1.6.4.4). Both go on by TCP and UDP. */
enum {
    VIRTIO_NET_TYPE_IPV4 = 0,
    VIRTIO_NET_TYPE_IPV6 = 3,
    VIRTIO_NET_TYPE_IPV6_EX = 6,
    VIRTIO_NET_TYPES = 0x1ff, /* bits 0 to 8 */

    VIRTIO_NET_HASH_NONE = 0,
    VIRTIO_NET_HASH_IPV4 = 1,
    VIRTIO_NET_HASH_IPV6 = 4,
    VIRTIO_NET_HASH_IPV6_EX = 7,

    VIRTIO_NET_KEY =
        40, /* bytes: 5.1.4.1 wants at least so many; addresses and ports of IPv6, and the hash, need no more */
    VIRTIO_NET_NIBBLES = 2 * 36,
    VIRTIO_NET_STEERED = 128, /* entries of the indirection table: 5.1.4.1, likewise */
    VIRTIO_NET_HASHED = 192, /* a frame's first bytes: all that hashes are made of */
};

/* A key, made ready. */
struct virtio_net_hash {
    uint32_t sum[VIRTIO_NET_NIBBLES][16];
};
struct virtio_net_digest {
    uint32_t value;
    uint16_t kind;
};
void virtio_net_hash_set_key(struct virtio_net_hash *hash, const uint8_t key[VIRTIO_NET_KEY]);
/* Of a frame that begins so. */
struct virtio_net_digest virtio_net_hash(const struct virtio_net_hash *hash, uint32_t types,
                                         const uint8_t *frame, size_t len);

/* Before each frame in a guest's buffer. */
struct virtio_net_header {
    struct vnet_header h;
    struct le16 num_buffers;
};
static_assert(sizeof(struct virtio_net_header) == 12, "5.1.6");
/* With VIRTIO_NET_F_HASH_REPORT. */
struct virtio_net_header_hash {
    struct virtio_net_header v1;
    struct le32 hash_value;
    struct le16 hash_report, padding;
};
static_assert(sizeof(struct virtio_net_header_hash) == 20, "5.1.6");

/* Config space (5.1.4). */
struct virtio_net_space {
    uint8_t mac[6];
    struct le16 status, max_virtqueue_pairs, mtu;
    struct le32 speed;
    uint8_t duplex, rss_max_key_size;
    struct le16 rss_max_indirection_table_length;
    struct le32 supported_hash_types;
};
static_assert(sizeof(struct virtio_net_space) == 24, "5.1.4");

struct virtio_net_config {
    struct vdev_common common;
    struct vnet_config net;
    char *mac;
    uint32_t num_queues, queue_size, speed;
    bool rss, hash, vhost;
    char *vhost_device;
    struct virtio_options virtio;
};

/* Of the receive filter (5.1.6.5.1), in the order of the commands; a bit each. */
enum virtio_net_mode {
    VIRTIO_NET_PROMISC = 1,
    VIRTIO_NET_ALLMULTI = 2,
    VIRTIO_NET_ALLUNI = 4,
    VIRTIO_NET_NOMULTI = 8,
    VIRTIO_NET_NOUNI = 16,
    VIRTIO_NET_NOBCAST = 32,
    VIRTIO_NET_MODES = 63,
    VIRTIO_NET_MANY_UNI = 64, /* more addresses than the table holds */
    VIRTIO_NET_MANY_MULTI = 128,
};

/* How long a queue's driver may wait for news of its packets; all 0: it does not. */
struct virtio_net_coalesce {
    struct le32 packets, usecs;
};
enum { VIRTIO_NET_DATA_QUEUES = 2 * VNET_QUEUES_MAX, VIRTIO_NET_QUEUE_SIZE_LEAST = 4 };
struct virtio_net;
struct virtio_net_delay {
    struct virtio_net *net;
    struct vm_timer timer;
    uint32_t waiting; /* packets that the driver was not told of */
};

/* What the driver has said by the control queue, and who we are. */
struct virtio_net_state {
    uint8_t mode;
    uint8_t mac[6], own_mac[6]; /* now; after a reset */
    uint16_t pairs; /* to be used; 0: not said */
    bool offloads_said, announce;
    uint32_t offloads; /* VNET_CSUM ... */
    uint32_t uni_bytes, multi_bytes;
    uint8_t uni[6 * VIRTIO_NET_TABLE], multi[6 * VIRTIO_NET_TABLE];
    uint8_t vlan[VIRTIO_NET_VLAN_BYTES]; /* a bit per tag that is wanted */
    bool steering; /* by the table */
    uint32_t hash_types; /* 0: no hashes */
    uint8_t key[VIRTIO_NET_KEY];
    uint8_t table[VIRTIO_NET_STEERED], table_mask, unclassified; /* pairs */
    struct virtio_net_coalesce coalesce[VIRTIO_NET_DATA_QUEUES];
};

struct vhost_kernel;
struct virtio_net_rx;
struct virtio_net {
    struct virtio_dev dev;
    struct vnet *net;
    struct virtio_net_state s;
    uint16_t pairs, active; /* there are; in use */
    uint16_t back_pairs, reading; /* the back end has; frames come from */
    bool hashing, delaying; /* virtio_net_hashes(), virtio_net_delays() */
    uint32_t steered; /* pairs that got frames from another one's queue in this round, a bit each */
    struct virtio_net_hash hash;
    struct virtio_net_delay delay[VIRTIO_NET_DATA_QUEUES];
    bool link; /* as the driver is told */
    struct virtio_net_rx *rx[VNET_QUEUES_MAX];
    bool tx_waits[VNET_QUEUES_MAX]; /* for room in the back end */
    struct vm_ratelimit complaints;
    struct iovec iov[1024]; /* IOV_MAX: of a frame to be sent */
    struct {
        uint64_t rx_frames, rx_bytes, rx_dropped, rx_filtered;
        uint64_t tx_frames, tx_bytes, tx_dropped, tx_bad, control_bad;
        struct vnet_counts filter;
    } count;
    struct vnet_filter_config
        filter; /* what is live of it, and whether the back end has not heard yet */
    bool filter_changed;
    struct vnet_rules *rules; /* new ones, with it; NULL: they stay */
    struct vhost_kernel *kernel; /* serves the packets' queues; NULL: we do */
    const struct virtio_ops *plain; /* what it does without; and with the kernel */
    struct virtio_ops lending;
    int lent[VNET_QUEUES_MAX]; /* borrowed from the back end */
    /* In ioctl(2)'s place, with the device as ctx: for tests. NULL: none. */
    int (*control)(void *ctx, unsigned file, unsigned long request, void *argument);
};

static inline struct virtio_net *virtio_net_of(struct virtio_dev *dev)
{
    return container_of(dev, struct virtio_net, dev);
}

/* The device over a back end, which is its own from now on, as net is (zeroed, from vdev_alloc(), and the back end's events have it as
 * ctx); on error both are the caller's. */
int virtio_net_new(const struct vdev_context *context, const struct virtio_net_config *config,
                   struct virtio_net *net, struct vnet *back, struct vdev **ret_dev);
extern const struct vnet_events virtio_net_events;
/* Of the class. */
int virtio_net_create(const struct vdev_context *context, struct vdev **ret_dev);
int virtio_net_settle(const struct vm_env *env, void *config);

/* Contradictions around vhost=on; -EINVAL with text. */
int virtio_net_kernel_check(const char *id, const struct virtio_net_config *config);
/* Of these, what there is with it. */
uint64_t virtio_net_kernel_features(uint64_t features);
/* With it, the kernel serves the device's packets from its start on. 0 or -errno with text. */
int virtio_net_kernel_new(struct virtio_net *net, const struct vdev_context *context,
                          const struct virtio_net_config *config);
/* Of the class. */
const struct vm_jail_rule *virtio_net_kernel_rules(const void *config);
const char *virtio_net_kernel_reason(const void *config);

/* Feature bits of the driver's side (VIRTIO_NET_F_GUEST_*) as VNET_CSUM ... */
unsigned virtio_net_offloads(uint64_t features);
/* Offloads that received frames may leave to the driver now, as VNET_CSUM ... */
unsigned virtio_net_gives(const struct virtio_net *net);
/* What s says reaches the back end and config space. */
void virtio_net_apply(struct virtio_net *net);
/* ... of it, how many pairs are in use. -errno of the back end's. */
int virtio_net_use_pairs(struct virtio_net *net);
/* The back end's queue that frames of that pair go to. */
static inline uint16_t virtio_net_tx_way(const struct virtio_net *net, uint16_t pair)
{
    return pair < net->reading ? pair : 0;
}
/* A frame or request of the guest's is dropped. */
void virtio_net_complain(struct virtio_net *net, const char *what, const char *why);

/* Frames are hashed, for the driver or for the choice of a queue. */
bool virtio_net_hashes(const struct virtio_net *net);
/* The pair that gets a frame which came by that one. */
uint16_t virtio_net_target(const struct virtio_net *net, uint16_t pair,
                           const struct virtio_net_digest *d);
/* Of the header before each frame. */
static inline uint32_t virtio_net_header_bytes(const struct virtio_net *net)
{
    return virtio_has(&net->dev, VIRTIO_NET_F_HASH_REPORT) ? sizeof(struct virtio_net_header_hash)
                                                           : sizeof(struct virtio_net_header);
}

void virtio_net_delay_init(struct virtio_net *net);
void virtio_net_delay_exit(struct virtio_net *net);
/* Some queue's driver may have to wait. */
bool virtio_net_delays(const struct virtio_net_state *s);
void virtio_net_delay(struct virtio_net *net, uint16_t n, uint32_t packets);
/* Who still waits is told. */
void virtio_net_delay_end(struct virtio_net *net);
/* So many packets more were used in queue n. The loop's thread. */
static inline void virtio_net_notify(struct virtio_net *net, uint16_t n, uint32_t packets)
{
    if (net->delaying)
        virtio_net_delay(net, n, packets);
    else
        virtio_notify(&net->dev, n);
}

int virtio_net_rx_new(struct virtio_net *net, uint16_t pair);
void virtio_net_rx_free(struct virtio_net_rx *rx);
/* What was kept for want of buffers is forgotten. */
void virtio_net_rx_reset(struct virtio_net_rx *rx);
int virtio_net_rx_kick(struct virtio_net *net, uint16_t pair);
int virtio_net_tx_kick(struct virtio_net *net, uint16_t pair);
int virtio_net_control_kick(struct virtio_net *net, uint16_t n);
/* The driver wants a frame that begins so (VNET_ETHER + 4 bytes; shorter ones end in zeros). */
bool virtio_net_wanted(const struct virtio_net *net, const uint8_t head[VNET_ETHER + 4]);

#endif
