/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Socket device (VIRTIO 1.2, section 5.10), hybrid: connections of the guest's AF_VSOCK end in Unix sockets of the host, or (vhost=on) in its
 * AF_VSOCK. Its files are
 * listed in virtio_vsock_private.h.
 *
 * Connections do not outlive the process that serves them, nor a snapshot. The ledger and the state hold that there were some; who comes
 * after tells the driver by the event TRANSPORT_RESET (5.10.6.7), and its programs see ECONNRESET.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vmm/base/error.h>
#include <vmm/vhost/kernel.h>

#include "virtio_vsock_private.h"

extern const struct vdev_class virtio_vsock_class;

static int vsock_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);
    struct vq *q = &dev->queue[n];

    switch (n) {
    case VSOCK_RX: return virtio_vsock_rx(v, q);
    case VSOCK_TX: return virtio_vsock_tx(v, q);
    default: return virtio_vsock_events(v, q);
    }
}

/* ---- life ---- */

static void drop_all(struct virtio_vsock *v)
{
    while (!vm_list_empty(&v->all))
        virtio_vsock_conn_free(container_of(v->all.next, struct vsock_conn, node));
    v->rst_at = v->rst_len = 0;
    v->tx_waits = false;
}

static void vsock_reset(struct virtio_dev *dev)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);

    drop_all(v);
    v->lost = false;
    v->s = (struct virtio_vsock_state){ 0 };
}

static void vsock_save(struct virtio_dev *dev, void *ret_state)
{
    memcpy(ret_state, &virtio_vsock_of(dev)->s, sizeof(struct virtio_vsock_state));
}

static int vsock_load(struct virtio_dev *dev, const void *untrusted)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);
    struct virtio_vsock_state s;

    memcpy(&s, untrusted, sizeof(s));
    if (s.used > 1)
        return vm_fail(-EINVAL, "%s: state: used is %u", dev->dev.id, s.used);
    drop_all(v);
    v->s = s;
    v->lost = s.used;
    return 0;
}

static void vsock_destroy(struct virtio_dev *dev)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);

    drop_all(v);
    vhost_kernel_free(v->kernel);
    virtio_vsock_host_close(v);
    free(v->record.data);
    virtio_exit(dev);
    vdev_free(v);
}

static const struct virtio_ops ops = {
    .kick = vsock_kick,
    .reset = vsock_reset,
    .save = vsock_save,
    .load = vsock_load,
    .destroy = vsock_destroy,
};

static int check(const struct vdev_context *context)
{
    const struct virtio_vsock_config *config = context->config;
    int rc = virtio_vsock_kernel_check(context->id, config);

    if (rc)
        return rc;
    if (config->seqpacket && !strcmp(config->socket, config->seqpacket))
        return vm_fail(-EINVAL,
                       "%s: socket= and seqpacket= are both %s: they are two sockets: give them "
                       "two names",
                       context->id, config->socket);
    return 0;
}

static int set_up(struct virtio_vsock *v, const struct vdev_context *context)
{
    const struct virtio_vsock_config *config = context->config;
    const struct vm_env *env = v->dev.dev.env;
    struct vsock_space *space = (struct vsock_space *)(void *)v->dev.config;
    int rc;

    vm_list_init(&v->all);
    vm_list_init(&v->ready);
    vm_list_init(&v->dials);
    virtio_vsock_host_init(v);
    v->cid = config->cid;
    v->conns_max = config->connections;
    rc = env->random(env->ctx, v->hash_key, sizeof(v->hash_key));
    if (rc)
        return vm_fail(rc, "%s: no random numbers", v->dev.dev.id);
    space->guest_cid = le64_make(v->cid);
    if (config->seqpacket) {
        v->record.data = malloc(VSOCK_RECORD_MAX);
        if (!v->record.data)
            return vm_fail(-ENOMEM, "%s: out of memory", v->dev.dev.id);
    }
    return config->vhost ? virtio_vsock_kernel_new(v, context, config)
                         : virtio_vsock_host_open(v, config);
}

int virtio_vsock_new(const struct vdev_context *context, struct virtio_vsock *v,
                     struct vdev **ret_dev)
{
    static const uint16_t sizes[VSOCK_QUEUES] = { VSOCK_RING, VSOCK_RING, VSOCK_RING };
    const struct virtio_vsock_config *config = context->config;
    const struct virtio_setup setup = {
        .id = VIRTIO_ID_VSOCK,
        .features = VIRTIO_VSOCK_F_STREAM |
                    (config->seqpacket || config->vhost ? VIRTIO_VSOCK_F_SEQPACKET : 0),
        .queue_sizes = sizes,
        .queues = VSOCK_QUEUES,
        .config_bytes = sizeof(struct vsock_space),
        .options = &config->virtio
    };
    int rc = check(context);

    if (!rc)
        rc = virtio_init(&v->dev, &virtio_vsock_class, &ops, context, &setup);
    if (rc) {
        vdev_free(v);
        return rc;
    }
    rc = set_up(v, context);
    if (rc) {
        vsock_destroy(&v->dev);
        return rc;
    }
    *ret_dev = &v->dev.dev;
    return 0;
}

static int vsock_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct virtio_vsock *v = vdev_alloc(context, sizeof(*v));

    return v ? virtio_vsock_new(context, v, ret_dev)
             : vm_fail(-ENOMEM, "%s: out of memory", context->id);
}

/* ---- tables ---- */

/* PATH_4294967294 has to fit sockaddr_un(7), too. */
enum { PATH_MOST = 107 - 11 };

static const struct vm_prop props[] = {
    VDEV_PROPS(struct virtio_vsock_config),
    VIRTIO_PROPS(struct virtio_vsock_config),
    { .name = "cid",
      .type = VM_PROP_U32,
      .offset = offsetof(struct virtio_vsock_config, cid),
      .required = true,
      .min = VSOCK_CID_FIRST,
      .max = VSOCK_CID_LAST,
      .help = "the guest's address; the host's is 2" },
    { .name = "socket",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct virtio_vsock_config, socket),
      .max = PATH_MOST,
      .help = "Unix socket for the host's clients; a connection of the guest's to port P goes to "
              "who listens at the same path with _P behind it" },
    { .name = "seqpacket",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct virtio_vsock_config, seqpacket),
      .max = PATH_MOST,
      .help = "the same for connections of messages (SOCK_SEQPACKET); none if not given" },
    { .name = "vhost",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct virtio_vsock_config, vhost),
      .help = "connections end in AF_VSOCK of the host instead, whose kernel serves them "
              "(vhost-vsock)" },
    { .name = "vhost_device",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct virtio_vsock_config, vhost_device),
      .alias_crosvm = "device",
      .help = "with vhost=on: the kernel's device; /dev/vhost-vsock if not given" },
    { .name = "connections",
      .type = VM_PROP_U32,
      .offset = offsetof(struct virtio_vsock_config, connections),
      .preset = "4096",
      .min = 4,
      .max = 65536,
      .help = "most connections at a time; clients of the host get three quarters" },
    { 0 },
};

#define FIELD(t, kind, member)                                                            \
    {                                                                                     \
        .tag = (t), .type = (kind), .offset = offsetof(struct virtio_vsock_state, member) \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U8, used),
    FIELD(2, VM_STATE_U32, ports),
    { 0 },
};

#define METRIC(member, text)                                       \
    {                                                              \
#member, offsetof(struct virtio_vsock, count.member), text \
    }
static const struct vdev_metric metrics[] = {
    METRIC(rx_bytes, "bytes to the guest"),
    METRIC(tx_bytes, "bytes from the guest"),
    METRIC(rx_packets, "packets to the guest"),
    METRIC(tx_packets, "packets from the guest"),
    METRIC(connects, "connections from the guest that were made"),
    METRIC(accepts, "connections from the host that the guest took"),
    METRIC(refused, "connections of either side that could not be made"),
    METRIC(resets, "RSTs to the guest"),
    METRIC(bad_packets, "packets from the guest that broke the rules"),
    METRIC(bad_buffers, "buffers of the guest that hold no packet"),
    METRIC(bad_clients, "clients that said no CONNECT line"),
    METRIC(credit_waits, "times the guest had no room for a connection's bytes"),
    METRIC(empty_messages, "messages without bytes, which are dropped"),
    { 0 },
};

static const struct vm_jail_rule jail[] = {
    VM_JAIL("accept4"), /* clients */
    VM_JAIL("shutdown"), /* half of a connection */
    VM_JAIL("ioctl", VM_JAIL_IS(1, FIONREAD)), /* messages behind one without bytes */
    { 0 },
};

const struct vdev_class virtio_vsock_class = {
    .name = "virtio-vsock",
    .summary = "sockets between guest and host",
    .props = props,
    .config_size = sizeof(struct virtio_vsock_config),
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD | VDEV_PROCESS | VDEV_FOREIGN,
    .dials = true,
    .fds = 65536 + 512,
    .jail = jail,
    .jail_more = virtio_vsock_kernel_rules,
    .thread_reason = virtio_vsock_kernel_reason,
    .state = state_fields,
    .state_size = sizeof(struct virtio_vsock_state),
    .state_version = 1,
    .ledger = state_fields,
    .replay = VDEV_REPLAY_ALL,
    .metrics = metrics,
    .create = vsock_create,
};
