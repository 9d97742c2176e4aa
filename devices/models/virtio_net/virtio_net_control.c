/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The control queue (VIRTIO 1.2, 5.1.6.5): class, command and data in, one byte of answer out. A command that was not negotiated,
 * or says what cannot be, is answered with VIRTIO_NET_ERR and changes nothing.
 */
#include "virtio_net_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/devices-core/ledger.h>

enum {
    CTRL_RX = 0,
    CTRL_MAC = 1,
    CTRL_VLAN = 2,
    CTRL_ANNOUNCE = 3,
    CTRL_MQ = 4,
    CTRL_GUEST_OFFLOADS = 5,
    CTRL_NOTF_COAL = 6, /* VIRTIO 1.3 */

    MAC_TABLE_SET = 0,
    MAC_ADDR_SET = 1,
    VLAN_ADD = 0,
    VLAN_DEL = 1,
    COAL_TX_SET = 0,
    COAL_RX_SET = 1,
    COAL_VQ_SET = 2,
    COAL_VQ_GET = 3,
    MQ_PAIRS = 0,
    MQ_RSS = 1,
    MQ_HASH = 2,
    RX_MODES = 6,
    RX_PLAIN = 2, /* those of CTRL_RX; the others are of CTRL_RX_EXTRA */

    VLANS = 4096,
    ETHERTYPE_VLAN = 0x8100,
};

struct request {
    struct virtio_net *net;
    struct vq *q;
    struct vq_chain *c;
    struct virtio_net_coalesce *answer; /* of commands that have one */
    bool *answered;
};

/* All that is left, which has to be so long. */
static bool pull(const struct request *r, void *data, size_t len)
{
    return vq_pull_left(r->c) == len && !vq_pull(r->q, r->c, data, len);
}

/* ---- commands ---- */

static bool set_mode(const struct request *r, uint8_t command)
{
    uint64_t feature = command < RX_PLAIN ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;
    struct virtio_net_state *s = &r->net->s;
    uint8_t on;

    if (command >= RX_MODES || !virtio_has(&r->net->dev, feature) || !pull(r, &on, 1) || on > 1)
        return false;
    s->mode = (uint8_t)((s->mode & ~(1U << command)) | (unsigned)on << command);
    return true;
}

/* One list of addresses: their number, and as many of them as fit. A longer one is as good as all there are. */
static bool pull_table(const struct request *r, uint8_t *table, uint32_t *ret_bytes, bool *ret_many)
{
    struct le32 entries;
    uint64_t bytes;

    if (vq_pull_left(r->c) < sizeof(entries) || vq_pull(r->q, r->c, &entries, sizeof(entries)))
        return false;
    bytes = (uint64_t)le32_get(entries) * 6;
    if (bytes > vq_pull_left(r->c))
        return false;
    *ret_many = le32_get(entries) > VIRTIO_NET_TABLE;
    *ret_bytes = *ret_many ? 0 : (uint32_t)bytes;
    for (uint8_t skipped[6]; *ret_many && bytes; bytes -= 6)
        if (vq_pull(r->q, r->c, skipped, sizeof(skipped)))
            return false;
    return !vq_pull(r->q, r->c, table, *ret_bytes);
}

static bool set_table(const struct request *r)
{
    uint8_t uni[6 * VIRTIO_NET_TABLE] = { 0 }, multi[6 * VIRTIO_NET_TABLE] = { 0 };
    struct virtio_net_state *s = &r->net->s;
    bool many_uni, many_multi;
    uint32_t unis, multis;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_CTRL_RX) || !pull_table(r, uni, &unis, &many_uni) ||
        !pull_table(r, multi, &multis, &many_multi) || vq_pull_left(r->c))
        return false;
    memcpy(s->uni, uni, sizeof(uni));
    memcpy(s->multi, multi, sizeof(multi));
    s->uni_bytes = unis;
    s->multi_bytes = multis;
    s->mode = (uint8_t)((s->mode & VIRTIO_NET_MODES) | (many_uni ? VIRTIO_NET_MANY_UNI : 0) |
                        (many_multi ? VIRTIO_NET_MANY_MULTI : 0));
    return true;
}

static bool set_address(const struct request *r)
{
    uint8_t mac[6];

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_CTRL_MAC_ADDR) || !pull(r, mac, sizeof(mac)) ||
        mac[0] & 1)
        return false;
    memcpy(r->net->s.mac, mac, sizeof(mac));
    virtio_net_apply(r->net);
    return true;
}

static bool set_vlan(const struct request *r, uint8_t command)
{
    struct le16 wire;
    uint16_t id;

    if (command > VLAN_DEL || !virtio_has(&r->net->dev, VIRTIO_NET_F_CTRL_VLAN) ||
        !pull(r, &wire, sizeof(wire)) || le16_get(wire) >= VLANS)
        return false;
    id = le16_get(wire);
    if (command == VLAN_ADD)
        r->net->s.vlan[id / 8] |= (uint8_t)(1U << id % 8);
    else
        r->net->s.vlan[id / 8] &= (uint8_t) ~(1U << id % 8);
    return true;
}

/* 5.1.6.5.4: the driver has done it. */
static bool acknowledge(const struct request *r, uint8_t command)
{
    if (command || !virtio_has(&r->net->dev, VIRTIO_NET_F_GUEST_ANNOUNCE) || vq_pull_left(r->c))
        return false;
    r->net->s.announce = false;
    virtio_net_apply(r->net);
    return true;
}

/* Who gets which frame is as in *s from now on. False: the back end refuses it, and it is as it was. */
static bool change_queues(struct virtio_net *net, const struct virtio_net_state *s)
{
    const struct virtio_net_state old = net->s;
    bool taken;

    net->s = *s;
    taken = !virtio_net_use_pairs(net);
    if (!taken) {
        net->s = old;
        (void)virtio_net_use_pairs(net);
    }
    net->hashing = virtio_net_hashes(net);
    virtio_net_hash_set_key(&net->hash, net->s.key);
    for (uint16_t n = 0; n < net->reading; n++) /* frames may wait there */
        virtio_kick_later(&net->dev, (uint16_t)(2 * n));
    return taken;
}

/* 5.1.6.5.5: and the choice of queues is ours again. */
static bool set_pairs(const struct request *r)
{
    struct virtio_net_state s = r->net->s;
    struct le16 wire;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_MQ) || !pull(r, &wire, sizeof(wire)) ||
        !le16_get(wire) || le16_get(wire) > r->net->pairs)
        return false;
    s.pairs = le16_get(wire);
    s.steering = false;
    return change_queues(r->net, &s);
}

/* The end of both commands below: a key's length, and the key. A short one ends in zeros. */
static bool pull_key(const struct request *r, uint8_t key[VIRTIO_NET_KEY])
{
    uint8_t len;

    memset(key, 0, VIRTIO_NET_KEY);
    return vq_pull_left(r->c) && !vq_pull(r->q, r->c, &len, 1) && len <= VIRTIO_NET_KEY &&
           pull(r, key, len);
}

static bool pull_table_of_queues(const struct request *r, struct virtio_net_state *s)
{
    for (unsigned i = 0; i <= s->table_mask; i++) {
        struct le16 pair;

        if (vq_pull(r->q, r->c, &pair, sizeof(pair)) || le16_get(pair) >= r->net->pairs)
            return false;
        s->table[i] = (uint8_t)le16_get(pair);
    }
    return true;
}

/* 5.1.6.5.7.1: a queue is its number less the other kind's, bits 1 to 15 of its place: the pair. */
static bool set_steering(const struct request *r)
{
    struct virtio_net_state s = r->net->s;
    struct {
        struct le32 types;
        struct le16 mask, unclassified;
    } head;
    struct le16 most;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_RSS) || vq_pull_left(r->c) < sizeof(head) ||
        vq_pull(r->q, r->c, &head, sizeof(head)))
        return false;
    s.hash_types = le32_get(head.types);
    if (s.hash_types & ~(uint32_t)VIRTIO_NET_TYPES || le16_get(head.mask) >= VIRTIO_NET_STEERED ||
        le16_get(head.mask) & (le16_get(head.mask) + 1) ||
        le16_get(head.unclassified) >= r->net->pairs)
        return false;
    s.table_mask = (uint8_t)le16_get(head.mask);
    s.unclassified = (uint8_t)le16_get(head.unclassified);
    if (!pull_table_of_queues(r, &s) || vq_pull(r->q, r->c, &most, sizeof(most)) ||
        !le16_get(most) || le16_get(most) > r->net->pairs || !pull_key(r, s.key))
        return false;
    s.pairs = le16_get(most); /* to send by: the back end's others are not asked for */
    s.steering = true;
    return change_queues(r->net, &s);
}

/* 5.1.6.5.6.4: hashes without a choice of queues. */
static bool set_hash(const struct request *r)
{
    struct virtio_net_state s = r->net->s;
    struct {
        struct le32 types;
        struct le16 reserved[4];
    } head;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_HASH_REPORT) || vq_pull_left(r->c) < sizeof(head) ||
        vq_pull(r->q, r->c, &head, sizeof(head)) ||
        le32_get(head.types) & ~(uint32_t)VIRTIO_NET_TYPES || !pull_key(r, s.key))
        return false;
    s.hash_types = le32_get(head.types);
    s.steering = false;
    return change_queues(r->net, &s);
}

static bool set_queues(const struct request *r, uint8_t command)
{
    switch (command) {
    case MQ_PAIRS: return set_pairs(r);
    case MQ_RSS: return set_steering(r);
    case MQ_HASH: return set_hash(r);
    default: return false;
    }
}

/* 5.1.6.5.6: a part of what was negotiated. */
static bool set_offloads(const struct request *r, uint8_t command)
{
    struct virtio_net *net = r->net;
    struct le64 wire;

    if (command || !virtio_has(&net->dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        !pull(r, &wire, sizeof(wire)) ||
        le64_get(wire) & ~(VIRTIO_NET_GUEST_OFFLOADS & net->dev.features))
        return false;
    net->s.offloads = virtio_net_offloads(le64_get(wire));
    net->s.offloads_said = true;
    return !vnet_set_offloads(net->net, virtio_net_gives(net));
}

/* What waits already is told of at once, or when it would have been. */
static void coalesce(struct virtio_net *net, uint16_t n, const struct virtio_net_coalesce *c)
{
    net->s.coalesce[n] = *c;
    net->delaying = virtio_net_delays(&net->s);
    if (net->delay[n].waiting)
        virtio_net_delay(net, n, 0);
}

static bool coalesce_all(const struct request *r, uint8_t command)
{
    struct virtio_net *net = r->net;
    struct virtio_net_coalesce c;

    if (!virtio_has(&net->dev, VIRTIO_NET_F_NOTF_COAL) || !pull(r, &c, sizeof(c)))
        return false;
    for (uint16_t n = command == COAL_RX_SET ? 0 : 1; n < 2 * net->pairs; n = (uint16_t)(n + 2))
        coalesce(net, n, &c);
    return true;
}

/* A queue of packets that is in use. */
static bool is_data_queue(const struct virtio_net *net, uint16_t n)
{
    return n < 2 * net->pairs && net->dev.queue[n].started;
}

static bool coalesce_one(const struct request *r)
{
    struct {
        struct le16 queue, reserved;
        struct virtio_net_coalesce c;
    } one;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_VQ_NOTF_COAL) || !pull(r, &one, sizeof(one)) ||
        !is_data_queue(r->net, le16_get(one.queue)))
        return false;
    coalesce(r->net, le16_get(one.queue), &one.c);
    return true;
}

/* The answer lies behind its acknowledgement. */
static bool tell_coalesced(const struct request *r)
{
    struct {
        struct le16 queue, reserved;
    } which;

    if (!virtio_has(&r->net->dev, VIRTIO_NET_F_VQ_NOTF_COAL) || !pull(r, &which, sizeof(which)) ||
        !is_data_queue(r->net, le16_get(which.queue)) ||
        vq_push_left(r->c) < 1 + sizeof(struct virtio_net_coalesce))
        return false;
    *r->answer = r->net->s.coalesce[le16_get(which.queue)];
    *r->answered = true;
    return true;
}

static bool set_delay(const struct request *r, uint8_t command)
{
    switch (command) {
    case COAL_TX_SET:
    case COAL_RX_SET: return coalesce_all(r, command);
    case COAL_VQ_SET: return coalesce_one(r);
    case COAL_VQ_GET: return tell_coalesced(r);
    default: return false;
    }
}

static bool run(const struct request *r, uint8_t cls, uint8_t command)
{
    switch (cls) {
    case CTRL_RX: return set_mode(r, command);
    case CTRL_MAC:
        return command == MAC_TABLE_SET ? set_table(r) : command == MAC_ADDR_SET && set_address(r);
    case CTRL_VLAN: return set_vlan(r, command);
    case CTRL_ANNOUNCE: return acknowledge(r, command);
    case CTRL_MQ: return set_queues(r, command);
    case CTRL_NOTF_COAL: return set_delay(r, command);
    case CTRL_GUEST_OFFLOADS: return set_offloads(r, command);
    default: return false;
    }
}

static int answer(struct virtio_net *net, struct vq *q, struct vq_chain *c)
{
    struct virtio_net_coalesce more;
    bool has_more = false;
    const struct request r = { net, q, c, &more, &has_more };
    uint8_t head[2], ack = VIRTIO_NET_ERR;

    if (!vq_push_left(c)) {
        vm_count(&net->count.control_bad, 1);
        virtio_net_complain(net, "a command", "no room for its answer");
        return vq_done(q, c);
    }
    if (vq_pull_left(c) >= sizeof(head) && !vq_pull(q, c, head, sizeof(head)) &&
        run(&r, head[0], head[1])) {
        vdev_ledger_changed(&net->dev.dev);
        ack = VIRTIO_NET_OK;
    } else {
        vm_count(&net->count.control_bad, 1);
    }
    if (!vq_push(q, c, &ack, 1) &&
        has_more) /* where it cannot be reached it is the driver's loss */
        (void)vq_push(q, c, &more, sizeof(more));
    return vq_done(q, c);
}

int virtio_net_control_kick(struct virtio_net *net, uint16_t n)
{
    struct vq *q = &net->dev.queue[n];
    struct vq_chain c;
    int rc = 0, done = 0;

    while (done < VIRTIO_NET_ROUND && (rc = vq_next(q, &c)) > 0) {
        rc = answer(net, q, &c);
        if (rc)
            break;
        done++;
    }
    if (done)
        virtio_notify(&net->dev, n);
    if (done == VIRTIO_NET_ROUND)
        virtio_kick_later(&net->dev, n);
    return rc < 0 ? rc : 0;
}

/* ---- the filter ---- */

static bool listed(const uint8_t *table, uint32_t bytes, const uint8_t *mac)
{
    for (uint32_t i = 0; i < bytes; i += 6)
        if (!memcmp(table + i, mac, 6))
            return true;
    return false;
}

/* IEEE 802.1Q: the tag's lower 12 bits. Tag 0 is a priority only. */
static bool is_vlan_wanted(const struct virtio_net *net, const uint8_t *head)
{
    uint16_t id = (uint16_t)((head[14] << 8 | head[15]) & (VLANS - 1));

    if ((head[12] << 8 | head[13]) != ETHERTYPE_VLAN || !id ||
        !virtio_has(&net->dev, VIRTIO_NET_F_CTRL_VLAN))
        return true;
    return net->s.vlan[id / 8] >> id % 8 & 1;
}

bool virtio_net_wanted(const struct virtio_net *net, const uint8_t head[VNET_ETHER + 4])
{
    static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    const struct virtio_net_state *s = &net->s;

    if (s->mode & VIRTIO_NET_PROMISC)
        return true;
    if (!is_vlan_wanted(net, head))
        return false;
    if (!memcmp(head, all, sizeof(all)))
        return !(s->mode & VIRTIO_NET_NOBCAST);
    if (head[0] & 1)
        return !(s->mode & VIRTIO_NET_NOMULTI) &&
               (s->mode & (VIRTIO_NET_ALLMULTI | VIRTIO_NET_MANY_MULTI) ||
                listed(s->multi, s->multi_bytes, head));
    return !(s->mode & VIRTIO_NET_NOUNI) &&
           (s->mode & (VIRTIO_NET_ALLUNI | VIRTIO_NET_MANY_UNI) || !memcmp(head, s->mac, 6) ||
            listed(s->uni, s->uni_bytes, head));
}
