/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Network device (VIRTIO 1.2, 5.1): features, config space and life.
 *
 * Queues are receive 0, transmit 0, receive 1 ... and the control queue, whose place depends on what was negotiated (5.1.2): 2, or
 * with several pairs the last. Chains are in flight only while a queue is served, so stop and quiesce have nothing to wait for.
 */
#include "virtio_net_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/tap.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/vhost/kernel.h>

enum { FULL_DUPLEX = 1, MTU_EXTRA = 18 };

void virtio_net_complain(struct virtio_net *net, const char *what, const char *why)
{
    vm_log_limited(net->dev.dev.env, &net->complaints, VM_LOG_WARN,
                   "%s: the guest's driver: %s: %s", net->dev.dev.id, what, why);
}

/* ---- offloads ---- */

static const struct {
    unsigned offload;
    uint64_t sent, received; /* feature bits */
} offloads[] = {
    { VNET_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
    { VNET_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
    { VNET_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
    { VNET_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN },
    { VNET_UFO, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO },
    { VNET_USO4, 0, VIRTIO_NET_F_GUEST_USO4 },
    { VNET_USO6, 0, VIRTIO_NET_F_GUEST_USO6 },
};

static uint64_t offered_offloads(const struct vnet_info *info)
{
    const unsigned uso = VNET_USO4 | VNET_USO6;
    uint64_t f = (info->takes & uso) == uso ? VIRTIO_NET_F_HOST_USO : 0;

    for (size_t i = 0; i < VM_ARRAY_SIZE(offloads); i++) {
        f |= info->takes & offloads[i].offload ? offloads[i].sent : 0;
        f |= info->gives & offloads[i].offload ? offloads[i].received : 0;
    }
    return f & VIRTIO_NET_GUEST_OFFLOADS ? f | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS : f;
}

unsigned virtio_net_offloads(uint64_t features)
{
    unsigned set = 0;

    for (size_t i = 0; i < VM_ARRAY_SIZE(offloads); i++)
        set |= features & offloads[i].received ? offloads[i].offload : 0;
    return set;
}

/* 5.1.3.1: each wants GUEST_CSUM. */
unsigned virtio_net_gives(const struct virtio_net *net)
{
    unsigned gives = virtio_net_offloads(net->dev.features);

    if (net->s.offloads_said)
        gives &= net->s.offloads;
    return gives & VNET_CSUM ? gives : 0;
}

/* ---- config space ---- */

static struct virtio_net_space *space_of(struct virtio_net *net)
{
    return (struct virtio_net_space *)(void *)net->dev.config;
}

static void show(struct virtio_net *net)
{
    unsigned status =
        (net->link ? VIRTIO_NET_S_LINK_UP : 0U) | (net->s.announce ? VIRTIO_NET_S_ANNOUNCE : 0U);

    memcpy(space_of(net)->mac, net->s.mac, sizeof(net->s.mac));
    space_of(net)->status = le16_make((uint16_t)status);
}

static uint16_t pairs_to_begin(const struct virtio_net *net)
{
    bool told = virtio_has(&net->dev, VIRTIO_NET_F_CTRL_VQ); /* 5.1.6.5.5: first there is one */

    return virtio_has(&net->dev, VIRTIO_NET_F_MQ) && !told ? net->pairs : 1;
}

int virtio_net_use_pairs(struct virtio_net *net)
{
    net->active = net->s.pairs ? net->s.pairs : pairs_to_begin(net);
    net->reading = net->active < net->back_pairs ? net->active : net->back_pairs;
    return vnet_set_queues(net->net, net->reading);
}

/* The back end does what was negotiated and said. */
static void use(struct virtio_net *net)
{
    net->delaying = virtio_net_delays(&net->s);
    net->hashing = virtio_net_hashes(net);
    if (net->hashing)
        virtio_net_hash_set_key(&net->hash, net->s.key);
    if (vnet_set_offloads(net->net, virtio_net_gives(net)) || virtio_net_use_pairs(net))
        vm_log_limited(net->dev.dev.env, &net->complaints, VM_LOG_WARN,
                       "%s: its back end takes neither offloads nor queues any more",
                       net->dev.dev.id);
}

void virtio_net_apply(struct virtio_net *net)
{
    show(net);
    if (net->dev.running)
        use(net);
}

/* ---- from the back end ---- */

static void on_readable(void *ctx, unsigned queue)
{
    virtio_kick_later(&((struct virtio_net *)ctx)->dev, (uint16_t)(2 * queue));
}

static void on_writable(void *ctx, unsigned queue)
{
    struct virtio_net *net = ctx;
    uint32_t waits = 0;

    vm_lock_acquire(&net->dev.dev.lock);
    for (uint16_t n = 0; n < net->pairs; n++)
        if (net->tx_waits[n] && virtio_net_tx_way(net, n) == queue)
            waits |= 1U << n;
    vm_lock_release(&net->dev.dev.lock);
    for (uint16_t n = 0; waits; n++, waits >>= 1)
        if (waits & 1)
            virtio_kick_later(&net->dev, (uint16_t)(2 * n + 1));
}

static void on_link(void *ctx)
{
    struct virtio_net *net = ctx;
    bool up = net->net->info.link;

    vm_lock_acquire(&net->dev.dev.lock);
    if (up != net->link) {
        net->link = up;
        show(net);
        virtio_config_changed(&net->dev);
    }
    vm_lock_release(&net->dev.dev.lock);
    for (uint16_t n = 0; n < 2 * net->pairs; n++)
        if (up || n % 2) /* what waits to be sent is dropped where nobody is */
            virtio_kick_later(&net->dev, n);
}

const struct vnet_events virtio_net_events = { .readable = on_readable,
                                               .writable = on_writable,
                                               .link = on_link };

/* ---- life ---- */

static int net_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_net *net = virtio_net_of(dev);
    bool several = virtio_has(dev, VIRTIO_NET_F_MQ | VIRTIO_NET_F_RSS);
    uint16_t control = several ? (uint16_t)(2 * net->pairs) : 2;

    if (net->filter_changed) {
        net->filter_changed = false;
        vnet_set_filters(net->net, &net->filter, net->rules);
        vnet_rules_free(net->rules);
        net->rules = NULL;
    }
    if (n == control)
        return virtio_has(dev, VIRTIO_NET_F_CTRL_VQ) ? virtio_net_control_kick(net, n) : 0;
    if (n >= 2 * net->pairs)
        return 0;
    if (net->kernel)
        return vhost_kernel_has(net->kernel, n) ? vhost_kernel_kick(net->kernel, n) : 0;
    return n % 2 ? virtio_net_tx_kick(net, n / 2) : virtio_net_rx_kick(net, n / 2);
}

static void forget_kept(struct virtio_net *net)
{
    for (uint16_t n = 0; n < net->pairs; n++)
        virtio_net_rx_reset(net->rx[n]);
}

static int net_start(struct virtio_dev *dev)
{
    struct virtio_net *net = virtio_net_of(dev);

    forget_kept(net);
    show(net);
    use(net); /* dev.running is not yet true */
    return 0;
}

/* QEMU's and Linux's idea of a device that nobody has told anything: it takes what comes. */
static void net_reset(struct virtio_dev *dev)
{
    struct virtio_net *net = virtio_net_of(dev);
    struct virtio_net_state s = { .mode = VIRTIO_NET_PROMISC };

    memcpy(s.own_mac, net->s.own_mac, sizeof(s.own_mac));
    memcpy(s.mac, net->s.own_mac, sizeof(s.mac));
    net->s = s;
    net->delaying = net->hashing = false;
    for (unsigned n = 0; n < VIRTIO_NET_DATA_QUEUES; n++)
        net->delay[n].waiting = 0;
    forget_kept(net);
    memset(net->tx_waits, 0, sizeof(net->tx_waits));
    show(net);
}

/* Nobody is told of anything between this and resume. */
static int net_quiesce(struct virtio_dev *dev)
{
    virtio_net_delay_end(virtio_net_of(dev));
    return 0;
}

static void net_save(struct virtio_dev *dev, void *ret_state)
{
    *(struct virtio_net_state *)ret_state = virtio_net_of(dev)->s;
}

static bool check_steering(const struct virtio_net *net, const struct virtio_net_state *s)
{
    for (size_t i = 0; i < VIRTIO_NET_STEERED; i++)
        if (s->table[i] >= net->pairs)
            return false;
    return s->unclassified < net->pairs && s->table_mask < VIRTIO_NET_STEERED &&
           vm_is_pow2(s->table_mask + 1U) && !(s->hash_types & ~(uint32_t)VIRTIO_NET_TYPES);
}

static int net_load(struct virtio_dev *dev, const void *untrusted)
{
    struct virtio_net *net = virtio_net_of(dev);
    const struct virtio_net_state *s = untrusted;

    if (s->pairs > net->pairs)
        return vm_fail(-EINVAL, "%s: %u pairs of queues are in use, of %u", dev->dev.id, s->pairs,
                       net->pairs);
    if (s->uni_bytes % 6 || s->multi_bytes % 6)
        return vm_fail(-EINVAL, "%s: its lists of addresses have %u and %u bytes", dev->dev.id,
                       s->uni_bytes, s->multi_bytes);
    if (s->offloads & ~virtio_net_offloads(VIRTIO_NET_GUEST_OFFLOADS))
        return vm_fail(-EINVAL, "%s: offloads 0x%x are none", dev->dev.id, s->offloads);
    if (!check_steering(net, s))
        return vm_fail(-EINVAL, "%s: its table of queues cannot be", dev->dev.id);
    net->s = *s;
    virtio_net_apply(net);
    return 0;
}

/* RFC 903: a reverse ARP request tells switches where the address is now. Who asks may not have heard that the driver chose another one. */
static int net_announce(struct virtio_dev *dev, const uint8_t mac[6])
{
    static const uint8_t fixed[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
    struct virtio_net *net = virtio_net_of(dev);
    uint8_t header[VNET_HEADER] = { 0 }, frame[60] = { 0 };
    struct iovec iov[2] = { { header, sizeof(header) }, { frame, sizeof(frame) } };
    const uint8_t *who = memcmp(mac, net->s.own_mac, 6) ? mac : net->s.mac;

    memset(frame, 0xff, 6);
    memcpy(frame + 6, who, 6);
    memcpy(frame + 12, fixed, sizeof(fixed));
    memcpy(frame + 22, who, 6);
    memcpy(frame + 32, who, 6);
    (void)vnet_send(net->net, 0, iov, 2);
    if (dev->running && virtio_has(dev, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
        virtio_has(dev, VIRTIO_NET_F_CTRL_VQ)) { /* 5.1.6.5.4: and the guest knows more addresses */
        net->s.announce = true;
        show(net);
        vdev_ledger_changed(&dev->dev);
        virtio_config_changed(dev);
    }
    return 0;
}

static int net_set_mtu(struct virtio_dev *dev, uint16_t mtu)
{
    uint32_t most = virtio_net_of(dev)->net->info.frame_max - MTU_EXTRA;

    return mtu <= most ? 0
                       : vm_fail(-ERANGE, "%s: packets of %u bytes: its back end carries %u",
                                 dev->dev.id, mtu, most);
}

/* Where it was not so before: the next process would even begin without any filter. */
static int check_open(const struct virtio_net *net, uint32_t rules, uint32_t otherwise)
{
    if (rules || otherwise != VNET_EGRESS_AUTO ||
        (!net->filter.egress.count && net->filter.egress_default == VNET_EGRESS_AUTO))
        return 0;
    return vm_fail(-EINVAL,
                   "%s: without rules egress_default=auto lets everything pass: if that is meant, "
                   "say egress_default=allow",
                   net->dev.dev.id);
}

/* All rules are read before one of them counts. */
static int set_rules(struct virtio_net *net, const struct vm_prop_list *egress)
{
    struct vnet_rules *rules;
    int rc = check_open(net, egress->count, net->filter.egress_default);

    if (!rc)
        rc = vnet_rules_new(egress, &rules);
    if (rc)
        return rc;
    vnet_rules_free(net->rules);
    net->rules = rules;
    net->filter.egress.count = egress->count;
    return 0;
}

static int set_filter(struct virtio_net *net, const struct vm_prop *prop,
                      const struct virtio_net_config *config)
{
    size_t begin = offsetof(struct virtio_net_config, net.filter);
    const struct vnet_filter_config *c = &config->net.filter;
    int rc = 0;

    if (prop->type == VM_PROP_LIST)
        return set_rules(net, &c->egress);
    if (prop->offset - begin == offsetof(struct vnet_filter_config, egress_default))
        rc = check_open(net, net->filter.egress.count, c->egress_default);
    if (!rc)
        memcpy((char *)&net->filter + (prop->offset - begin), (const char *)config + prop->offset,
               vm_prop_type_size(prop->type));
    return rc;
}

/* The filters are the loop's: they hear of it there, before the next frame. */
static int net_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    struct virtio_net *net = virtio_net_of(dev);
    int rc;

    if (!prop->live)
        return vm_fail(-ENOTSUP,
                       "%s: %s cannot be changed while the machine runs; limits, egress, "
                       "egress_default, egress_active and deny_metadata can",
                       dev->dev.id, prop->name);
    if (!vnet_has_filters(net->net))
        return vm_fail(-ENOTSUP,
                       "%s: %s: it was started without any filter: start it with one, as "
                       "egress_default=allow, to change it later",
                       dev->dev.id, prop->name);
    rc = set_filter(net, prop, config);
    if (rc)
        return rc;
    net->filter_changed = true;
    for (uint16_t n = 0; n < 2 * net->pairs; n++)
        virtio_kick_later(dev, n);
    return 0;
}

static void free_rx(struct virtio_net *net)
{
    for (unsigned n = 0; n < VNET_QUEUES_MAX; n++)
        virtio_net_rx_free(net->rx[n]);
}

static void net_destroy(struct virtio_dev *dev)
{
    struct virtio_net *net = virtio_net_of(dev);

    virtio_net_delay_exit(net);
    vhost_kernel_free(net->kernel);
    vnet_close(net->net);
    vnet_rules_free(net->rules);
    free_rx(net);
    virtio_exit(dev);
    vdev_free(net);
}

static const struct virtio_ops ops = {
    .start = net_start,
    .kick = net_kick,
    .reset = net_reset,
    .quiesce = net_quiesce,
    .save = net_save,
    .load = net_load,
    .set = net_set,
    .announce = net_announce,
    .set_mtu = net_set_mtu,
    .destroy = net_destroy,
};

/* ---- creation ---- */

static uint64_t features(const struct virtio_net_config *config, const struct vnet_info *info)
{
    uint64_t f = VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS |
                 VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN |
                 VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_GUEST_ANNOUNCE |
                 VIRTIO_NET_F_CTRL_MAC_ADDR | VIRTIO_NET_F_NOTF_COAL | VIRTIO_NET_F_VQ_NOTF_COAL |
                 offered_offloads(info);

    if (config->num_queues > 2)
        f |= VIRTIO_NET_F_MQ | (config->rss ? VIRTIO_NET_F_RSS : 0);
    if (config->hash)
        f |= VIRTIO_NET_F_HASH_REPORT;
    if (config->net.mtu)
        f |= VIRTIO_NET_F_MTU;
    if (config->speed)
        f |= VIRTIO_NET_F_SPEED_DUPLEX;
    return config->vhost ? virtio_net_kernel_features(f) : f;
}

static void fill_space(struct virtio_net *net, const struct virtio_net_config *config)
{
    struct virtio_net_space *s = space_of(net);

    s->max_virtqueue_pairs = le16_make(net->pairs);
    s->mtu = le16_make((uint16_t)config->net.mtu);
    s->speed = le32_make(config->speed);
    s->duplex = config->speed ? FULL_DUPLEX : 0;
    if (net->dev.offered & (VIRTIO_NET_F_RSS | VIRTIO_NET_F_HASH_REPORT)) {
        s->rss_max_key_size = VIRTIO_NET_KEY;
        s->rss_max_indirection_table_length = le16_make(VIRTIO_NET_STEERED);
        s->supported_hash_types = le32_make(VIRTIO_NET_TYPES);
    }
    show(net);
}

static int check_config(const char *id, const struct virtio_net_config *config)
{
    if (config->num_queues % 2)
        return vm_fail(-EINVAL,
                       "%s: num_queues=%u: they come in pairs, to receive and to send: give %u", id,
                       config->num_queues, config->num_queues + 1);
    if (config->rss && config->num_queues == 2)
        return vm_fail(-EINVAL,
                       "%s: rss=on: there is one queue to receive: give num_queues=4 or more, or "
                       "leave rss out",
                       id);
    if (!vm_is_pow2(config->queue_size))
        return vm_fail(-EINVAL, "%s: queue_size=%u is not a power of two; 256 is usual", id,
                       config->queue_size);
    return virtio_net_kernel_check(id, config);
}

/* What has one queue only does, too, where we share its frames out ourselves. */
static unsigned pairs_behind(const struct virtio_net_config *c)
{
    return c->rss && (c->net.socket || c->net.mode == VNET_NONE || c->net.mode == VNET_USER ||
                      c->net.fd.count == 1)
               ? 1
               : c->num_queues / 2;
}

/* IEEE 802: bit 1 of the first byte says that nobody's number is in it. */
static int make_up_mac(const struct vm_env *env, uint8_t ret_mac[6])
{
    int rc = env->random(env->ctx, ret_mac, 6);

    ret_mac[0] = (uint8_t)((ret_mac[0] | 2) & ~1);
    return rc;
}

/* One that is made up when the device is made is for who makes it once only. */
static int choose_mac(const struct vdev_context *context, const char *given, uint8_t ret_mac[6])
{
    int rc = given ? vm_mac_parse("mac", given, ret_mac) : make_up_mac(context->env, ret_mac);

    return rc ? vm_wrap(rc, "%s", context->id) : 0;
}

int virtio_net_settle(const struct vm_env *env, void *config)
{
    struct virtio_net_config *c = config;
    char text[sizeof("00:00:00:00:00:00")];
    uint8_t mac[6];
    int rc;

    if (c->mac)
        return 0;
    rc = make_up_mac(env, mac);
    if (rc)
        return vm_wrap(rc, "virtio-net");
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    c->mac = strdup(text);
    return c->mac ? 0 : vm_fail(-ENOMEM, "virtio-net: out of memory");
}

static int make_rx(struct virtio_net *net)
{
    for (uint16_t n = 0; n < net->pairs; n++) {
        int rc = virtio_net_rx_new(net, n);

        if (rc)
            return vm_fail(rc, "%s: out of memory", net->dev.dev.id);
    }
    return 0;
}

static int init(struct virtio_net *net, const struct vdev_context *context,
                const struct virtio_net_config *config, const struct vnet_info *info)
{
    uint16_t sizes[2 * VNET_QUEUES_MAX + 1];
    const struct virtio_setup setup = { .id = VIRTIO_ID_NET,
                                        .features = features(config, info),
                                        .queue_sizes = sizes,
                                        .queues = (uint16_t)(config->num_queues + 1),
                                        .config_bytes = sizeof(struct virtio_net_space),
                                        .options = &config->virtio };

    for (unsigned n = 0; n <= config->num_queues;
         n++) /* front ends of vhost-user have one size for all */
        sizes[n] = (uint16_t)config->queue_size;
    return virtio_init(&net->dev, &virtio_net_class, &ops, context, &setup);
}

int virtio_net_new(const struct vdev_context *context, const struct virtio_net_config *config,
                   struct virtio_net *net, struct vnet *back, struct vdev **ret_dev)
{
    int rc = init(net, context, config, &back->info);

    if (rc)
        return rc;
    net->net = back;
    net->filter = config->net.filter;
    net->filter.capture = NULL; /* the caller's */
    net->filter.egress.items = net->filter.egress_types.items = NULL;
    net->filter.antispoof_ip.items = NULL;
    net->link = back->info.link;
    net->pairs = (uint16_t)(config->num_queues / 2);
    net->back_pairs = (uint16_t)pairs_behind(config);
    rc = choose_mac(context, config->mac, net->s.own_mac);
    if (!rc)
        rc = make_rx(net);
    if (rc) {
        free_rx(net);
        virtio_exit(&net->dev);
        return rc;
    }
    virtio_net_delay_init(net);
    net_reset(&net->dev);
    fill_space(net, config);
    *ret_dev = &net->dev.dev;
    return 0;
}

int virtio_net_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct virtio_net_config *config = context->config;
    struct virtio_net *net = vdev_alloc(context, sizeof(*net));
    struct vnet_config back_config = config->net;
    struct vnet *back = NULL;
    int rc = net ? check_config(context->id, config)
                 : vm_fail(-ENOMEM, "%s: out of memory", context->id);

    if (!rc) {
        back_config.filter.mac = config->mac;
        back_config.filter.counts = &net->count.filter;
        rc = vnet_open(context->env, context->id, &back_config, pairs_behind(config),
                       &virtio_net_events, net, &back);
    }
    if (!rc)
        rc = virtio_net_new(context, config, net, back, ret_dev);
    if (rc) {
        vnet_close(back);
        vdev_free(net);
        return rc;
    }
    rc = virtio_net_kernel_new(net, context, config);
    if (rc)
        net_destroy(&net->dev);
    return rc;
}
