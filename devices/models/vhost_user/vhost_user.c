/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A virtio device of any type whose back end is a foreign program, over vhost-user. What the guest sees, the program decides: features,
 * queues, configuration space; this file knows of each type only what the protocol does not say.
 */
#include "vhost_user_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>
#include <vmm/base/tap.h>

enum { ID_FS = 26, TAG_BYTES = VHOST_USER_TAG_BYTES, TAG_CONFIG_BYTES = 44, MTU_LEAST = 68 };
#define SECOND_NS 1000000000ULL

enum vhost_mode { MODE_CLIENT, MODE_SERVER };
static const char *const modes[] = { "client", "server", NULL };

struct vhost_user_config {
    struct vdev_common common;
    char *type, *socket, *program, *tag, *mac;
    int fd;
    uint32_t mode, queues, queue_size, config_bytes, mtu, wait, reconnect;
    bool iommu;
    struct virtio_options virtio;
};

extern const struct vdev_class vhost_user_class;

/* What VIRTIO 1.2 says of a type: number (5), queues without further features, bytes of configuration space. */
struct type {
    const char *name;
    uint32_t id;
    uint16_t queues, queues_min;
    uint32_t config_bytes;
};
static const struct type types[] = {
    /* 5.1: with one for commands */
    { "net", VIRTIO_ID_NET, VHOST_USER_NET_QUEUES_MAX, 2, VHOST_USER_NET_CONFIG },
    { "block", 2, 16, 1, 60 }, /* 5.2: one queue per request lane, as many as the back end has */
    { "blk", 2, 16, 1, 60 },
    { "console", 3, 2, 2, 12 }, /* 5.3 */
    { "rng", 4, 1, 1, 0 }, /* 5.4 */
    { "scsi", 8, 4, 3, 36 }, /* 5.6: control, event, requests */
    { "gpu", 16, 2, 2, 16 }, /* 5.7 */
    { "input", 18, 2, 2, 136 }, /* 5.8 */
    { "vsock", 19, 3, 3, 8 }, /* 5.10: the third only tells events */
    { "sound", 25, 4, 4, 12 }, /* 5.14 */
    { "fs", 26, 2, 2, TAG_CONFIG_BYTES }, /* 5.11: high priority, requests */
    { "i2c", 34, 1, 1, 0 }, /* 5.15 */
    { "gpio", 41, 2, 1, 8 }, /* 5.18 */
};

static int find_type(const char *text, struct type *ret_type)
{
    char *end;
    unsigned long id = strtoul(text, &end, 0);

    for (size_t i = 0; i < VM_ARRAY_SIZE(types); i++)
        if (!strcmp(text, types[i].name) || (!*end && types[i].id == id)) {
            *ret_type = types[i];
            return 0;
        }
    if (*end || end == text || !id || id > 63)
        return vm_fail(
            -EINVAL,
            "type=%s is no virtio device type: give its number (1 to 63), or net, block, "
            "console, rng, scsi, gpu, input, vsock, sound, fs, i2c, gpio",
            text);
    *ret_type = (struct type){ text, (uint32_t)id, 1, 1, 0 };
    return 0;
}

/* 5.2.4: the number of queues is ours, for fewer may be used than the back end has. 5.11.4: the tag is the user's. */
static void settle_config(struct vhost_front *front, uint8_t *config, uint32_t bytes)
{
    enum { BLK_NUM_QUEUES = 34, FS_QUEUES = 36 };
    struct virtio_dev *dev = vhost_front_dev(front);

    if (dev->id == VIRTIO_ID_BLOCK && bytes >= BLK_NUM_QUEUES + 2)
        vm_store_le(config + BLK_NUM_QUEUES, 2, dev->queues);
    if (dev->id == VIRTIO_ID_NET)
        vhost_user_net_config(front, config, bytes);
    if (dev->id == ID_FS && bytes >= FS_QUEUES + 4) {
        const char *tag = ((struct vhost_user_words *)vhost_front_user(front))->tag;

        memset(config, 0, TAG_BYTES);
        memcpy(config, tag, strnlen(tag, TAG_BYTES));
        vm_store_le(config + FS_QUEUES, 4, dev->queues - 1U);
    }
}

/* 5.2.4: whether a disk's cache writes back is its driver's to say. */
static struct virtio_span chosen_of(const struct type *type, uint32_t config_bytes)
{
    struct virtio_span cache = { .at = 32, .bytes = 1 };

    if (type->id != VIRTIO_ID_BLOCK || config_bytes < cache.at + cache.bytes)
        cache.at = cache.bytes = 0;
    return cache;
}

static void destroy(struct vhost_front *front)
{
    free(vhost_front_user(front));
}

static int check(const struct vhost_user_config *c, const struct type *type)
{
    if (c->program && (c->socket || c->fd >= 0 || c->mode == MODE_SERVER))
        return vm_fail(-EINVAL,
                       "program= with %s: the program gets its socket as a descriptor ({fd} or "
                       "{listen} in its text): leave one of them out",
                       c->socket    ? "socket="
                       : c->fd >= 0 ? "fd="
                                    : "vhost_mode=server");
    if (!c->socket && !c->program && c->fd < 0)
        return vm_fail(-EINVAL, "no back end: give socket=PATH, program=TEXT or fd=N");
    if (c->socket && c->fd >= 0)
        return vm_fail(-EINVAL, "socket=%s and fd=%d: give one of them", c->socket, c->fd);
    if (c->fd >= 0 && c->mode == MODE_SERVER)
        return vm_fail(-EINVAL, "vhost_mode=server goes with socket=, not with fd=%d", c->fd);
    if (type->id == ID_FS && (!c->tag || !*c->tag))
        return vm_fail(-EINVAL, "type=fs needs tag=NAME, which the guest mounts it by");
    if (type->id != ID_FS && c->tag)
        return vm_fail(-EINVAL, "tag=%s: only type=fs has one", c->tag);
    if (type->id != VIRTIO_ID_NET && (c->mac || c->mtu))
        return vm_fail(-EINVAL, "%s=: only type=net has one", c->mac ? "mac" : "mtu");
    if (c->mtu && c->mtu < MTU_LEAST)
        return vm_fail(-EINVAL, "mtu=%u: at least %d", c->mtu, MTU_LEAST);
    if (c->queues && c->queues < type->queues_min)
        return vm_fail(-EINVAL, "queues=%u: a device of type=%s has at least %u", c->queues,
                       c->type, type->queues_min);
    if (c->queue_size & (c->queue_size - 1))
        return vm_fail(-EINVAL, "queue_size=%u: it must be a power of two", c->queue_size);
    return 0;
}

static int make_words(const struct vhost_user_config *c, struct vhost_user_words **ret_words)
{
    struct vhost_user_words w = { .mtu = (uint16_t)c->mtu, .queues = c->queues };
    int rc = c->mac ? vm_mac_parse("mac", c->mac, w.mac) : 0;

    if (rc)
        return rc;
    w.has_mac = c->mac;
    strncpy(w.tag, c->tag ? c->tag : "", TAG_BYTES);
    *ret_words = malloc(sizeof(w));
    if (!*ret_words)
        return vm_fail(-ENOMEM, "out of memory");
    **ret_words = w;
    return 0;
}

static int made(struct vhost_front *front, const struct type *type)
{
    int rc = type->id == VIRTIO_ID_NET ? vhost_user_net_made(front) : 0;

    if (rc)
        vdev_destroy(&vhost_front_dev(front)->dev);
    return rc;
}

static int vhost_user_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const struct vhost_front_ops ops = { .config = settle_config, .destroy = destroy };
    static const struct vhost_front_ops net_ops = { .choose = vhost_user_net_choose,
                                                    .config = settle_config,
                                                    .destroy = destroy };
    const struct vhost_user_config *c = context->config;
    struct vhost_user_words *words;
    struct vhost_front_setup setup = { .fd = -1 };
    struct vhost_front *front;
    struct type type = { 0 };
    int rc = find_type(c->type, &type);

    if (!rc)
        rc = check(c, &type);
    if (rc)
        return rc;
    setup = (struct vhost_front_setup){
        .id = type.id,
        /* of a network device it is how many are to carry packets */
        .queues = (uint16_t)(c->queues && type.id != VIRTIO_ID_NET ? c->queues : type.queues),
        .pairs = type.id == VIRTIO_ID_NET,
        .queues_min = type.queues_min,
        .queue_size = (uint16_t)c->queue_size,
        .config_bytes = c->config_bytes ? c->config_bytes : type.config_bytes,
        .packed = c->virtio.packed,
        .platform = c->iommu,
        .socket = c->program ? c->program : c->socket, /* the opener knows which */
        .fd = c->fd >= 0 ? fcntl(c->fd, F_DUPFD_CLOEXEC, 3) : -1,
        .server = c->mode == MODE_SERVER,
        .wait_ns = c->wait * SECOND_NS,
        .reconnect_ns = c->reconnect ? c->reconnect * SECOND_NS : UINT64_MAX,
    };
    setup.chosen = chosen_of(&type, setup.config_bytes);
    if (c->fd >= 0 && setup.fd < 0)
        rc = vm_fail_errno("fd=%d", c->fd);
    if (!rc)
        rc = make_words(c, &words);
    if (rc) {
        vm_close(&setup.fd);
        return rc;
    }
    setup.user = words;
    rc = vhost_front_new(&vhost_user_class, context, &setup,
                         type.id == VIRTIO_ID_NET ? &net_ops : &ops, &front);
    if (rc) {
        free(words);
        return rc;
    }
    rc = made(front, &type);
    if (rc)
        return rc;
    *ret_dev = &vhost_front_dev(front)->dev;
    return 0;
}

#define FIELD(member) offsetof(struct vhost_user_config, member)
static const struct vm_prop props[] = {
    VDEV_PROPS(struct vhost_user_config),
    VIRTIO_PROPS(struct vhost_user_config),
    { .name = "type",
      .type = VM_PROP_STRING,
      .offset = FIELD(type),
      .max = 16,
      .required = true,
      .help = "virtio device type: its name (net, block, fs, ...) or number" },
    { .name = "socket",
      .type = VM_PROP_PATH,
      .offset = FIELD(socket),
      .help = "Unix socket of the back end" },
    { .name = "program",
      .type = VM_PROP_STRING,
      .offset = FIELD(program),
      .help = "command line of a back end that is started, and ends, with the machine; {fd} in it "
              "becomes the number of its connected socket, {listen} of one that listens" },
    { .name = "fd", .type = VM_PROP_FD, .offset = FIELD(fd), .help = "connected socket instead" },
    { .name = "vhost_mode",
      .type = VM_PROP_ENUM,
      .offset = FIELD(mode),
      .values = modes,
      .preset = "client",
      .help = "client connects to the socket, server listens there for the back end" },
    { .name = "queues",
      .type = VM_PROP_U32,
      .offset = FIELD(queues),
      .max = VHOST_QUEUES_MAX,
      .alias_ch = "num_queues",
      .help = "virtqueues at most; what the type has, and the back end gives, if not given" },
    { .name = "queue_size",
      .type = VM_PROP_U32,
      .offset = FIELD(queue_size),
      .preset = "256",
      .min = 2,
      .max = 32768,
      .help = "largest size of each queue, a power of two" },
    { .name = "config_bytes",
      .type = VM_PROP_U32,
      .offset = FIELD(config_bytes),
      .max = VHOST_CONFIG_MAX,
      .help = "size of the configuration space; what the type has if not given" },
    { .name = "tag",
      .type = VM_PROP_STRING,
      .offset = FIELD(tag),
      .max = TAG_BYTES,
      .help = "type=fs: the name a guest mounts it by" },
    { .name = "mac",
      .type = VM_PROP_STRING,
      .offset = FIELD(mac),
      .max = 17,
      .help = "type=net: MAC address of the guest's side, where the back end moves packets only" },
    { .name = "mtu",
      .type = VM_PROP_U32,
      .offset = FIELD(mtu),
      .max = 65535,
      .help = "type=net: largest packet, likewise; 0: not told" },
    { .name = "iommu",
      .type = VM_PROP_BOOL,
      .offset = FIELD(iommu),
      .preset = "off",
      .help =
          "offer VIRTIO_F_ACCESS_PLATFORM: the back end asks where the driver's addresses lead" },
    { .name = "wait",
      .type = VM_PROP_U32,
      .offset = FIELD(wait),
      .preset = "10",
      .help = "seconds to wait for the back end at the start" },
    { .name = "reconnect",
      .type = VM_PROP_U32,
      .offset = FIELD(reconnect),
      .help = "seconds that the back end may be away until the guest is told; 0: for ever" },
    { 0 },
};

/* A back end that went away is looked for again, by its socket's name. */
static const struct vm_jail_rule jail[] = { VM_JAIL("socket", VM_JAIL_IS(0, AF_UNIX)),
                                            VM_JAIL("connect"),
                                            VM_JAIL("newfstatat"), /* why nobody is there */
                                            VM_JAIL("stat"),
                                            { 0 } };

/* Nothing is recomputed from the back end's state: it keeps its own, and the log of requests in flight lies in memory of ours. */
const struct vdev_class vhost_user_class = {
    .name = "vhost-user",
    .summary = "a virtio device that another program serves",
    .props = props,
    .config_size = sizeof(struct vhost_user_config),
    .kind = VDEV_VIRTIO,
    .placements = VDEV_FOREIGN,
    .jail = jail,
    .replay = VDEV_REPLAY_ALL,
    .metrics = vhost_front_metrics,
    .create = vhost_user_create,
};
