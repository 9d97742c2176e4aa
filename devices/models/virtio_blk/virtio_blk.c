/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Block device (VIRTIO 1.2, 5.2): class, options, config space and life. Requests are in
 * virtio_blk_request.c.
 *
 * Requests are the back end's while in_flight counts them, and the lock is free meanwhile; stop and
 * quiesce wait for them:
 *
 *   [running] --stop, quiesce--> in_flight == 0: at rest
 *                                in_flight > 0:  -EINPROGRESS; the last one calls virtio_stopped()
 *             --queue_stop---->  the same of one queue's
 */
#include "virtio_blk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices-core/ledger.h>

enum { QUEUE_SIZE_LEAST = 4, SEG_MAX_MOST = 254 };

struct blk_state {
    uint8_t cache;
};

/* ---- config space ---- */

/* 5.2.5.2: with CONFIG_WCE and without FLUSH it starts as write-through. 5.2.6.2: without both
 * it is that. */
bool virtio_blk_writeback(const struct virtio_blk *blk)
{
    if (blk->cache != VIRTIO_BLK_CACHE_UNSET)
        return blk->cache == VIRTIO_BLK_CACHE_BACK;
    return virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH);
}

static void blk_config_read(struct virtio_dev *dev, uint32_t offset, uint8_t *data, uint32_t len)
{
    dev->config[offsetof(struct virtio_blk_space, writeback)] =
        virtio_blk_writeback(virtio_blk_of(dev));
    memcpy(data, dev->config + offset, len);
}

static void blk_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                             uint32_t len)
{
    struct virtio_blk *blk = virtio_blk_of(dev);

    if (offset != offsetof(struct virtio_blk_space, writeback) || len != 1 || data[0] > 1 ||
        !virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
        return;
    blk->cache = data[0] ? VIRTIO_BLK_CACHE_BACK : VIRTIO_BLK_CACHE_THROUGH;
    vdev_ledger_changed(&dev->dev);
}

static uint64_t features(const struct vblock *disk, const struct virtio_blk_config *config)
{
    uint64_t f = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
                 VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_CONFIG_WCE;

    if (disk->info.readonly)
        f |= VIRTIO_BLK_F_RO;
    if (config->num_queues > 1)
        f |= VIRTIO_BLK_F_MQ;
    if (vblock_can(disk, VBLOCK_DISCARD))
        f |= VIRTIO_BLK_F_DISCARD;
    if (vblock_can(disk, VBLOCK_WRITE_ZEROES))
        f |= VIRTIO_BLK_F_WRITE_ZEROES;
    return f;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void fill_space(struct virtio_blk_space *s, const struct vblock *disk,
                       const struct virtio_blk_config *config)
{
    const struct vblock_info *info = &disk->info;
    uint32_t block = config->block_size ? config->block_size : info->block_bytes;
    uint32_t physical = max_u32(info->physical_bytes, block);
    uint32_t segments = config->queue_size - 2; /* header and status take one descriptor each */

    s->capacity = le64_make(info->bytes / VBLOCK_SECTOR);
    s->seg_max = le32_make(segments < SEG_MAX_MOST ? segments : SEG_MAX_MOST);
    s->blk_size = le32_make(block);
    s->physical_block_exp = (uint8_t)__builtin_ctz(physical / block);
    s->min_io_size = le16_make((uint16_t)(physical / block));
    s->num_queues = le16_make((uint16_t)config->num_queues);
    if (vblock_can(disk, VBLOCK_DISCARD)) {
        s->max_discard_sectors = le32_make(VIRTIO_BLK_DISCARD_SECTORS);
        s->max_discard_seg = le32_make(VIRTIO_BLK_DISCARD_SEGMENTS);
        s->discard_sector_alignment = le32_make(physical / VBLOCK_SECTOR);
    }
    if (vblock_can(disk, VBLOCK_WRITE_ZEROES)) {
        s->max_write_zeroes_sectors = le32_make(VIRTIO_BLK_ZEROES_SECTORS);
        s->max_write_zeroes_seg = le32_make(VIRTIO_BLK_ZEROES_SEGMENTS);
        s->write_zeroes_may_unmap = vblock_can(disk, VBLOCK_DISCARD);
    }
}

/* ---- life ---- */

static int blk_rest(struct virtio_dev *dev)
{
    return virtio_blk_of(dev)->in_flight ? -EINPROGRESS : 0;
}

static int blk_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    return virtio_blk_of(dev)->of_queue[n] ? -EINPROGRESS : 0;
}

static void blk_reset(struct virtio_dev *dev)
{
    virtio_blk_of(dev)->cache = VIRTIO_BLK_CACHE_UNSET;
}

static void blk_save(struct virtio_dev *dev, void *ret_state)
{
    ((struct blk_state *)ret_state)->cache = virtio_blk_of(dev)->cache;
}

static int blk_load(struct virtio_dev *dev, const void *untrusted)
{
    const struct blk_state *s = untrusted;

    if (s->cache > VIRTIO_BLK_CACHE_BACK)
        return vm_fail(-EINVAL, "%s: cache mode %u does not exist", dev->dev.id, s->cache);
    virtio_blk_of(dev)->cache = s->cache;
    return 0;
}

static void free_pools(struct virtio_blk *blk)
{
    for (unsigned n = 0; n < VIRTIO_BLK_QUEUES_MAX; n++)
        vq_pool_free(blk->pool[n]);
}

static void blk_destroy(struct virtio_dev *dev)
{
    struct virtio_blk *blk = virtio_blk_of(dev);

    virtio_blk_drop_waiting(blk);
    free_pools(blk);
    vblock_close(blk->disk);
    virtio_exit(dev);
    vdev_free(blk);
}

static const struct virtio_ops ops = {
    .kick = virtio_blk_kick,
    .kick_now = virtio_blk_kick_now,
    .stop = blk_rest,
    .queue_stop = blk_queue_stop,
    .reset = blk_reset,
    .config_read = blk_config_read,
    .config_write = blk_config_write,
    .quiesce = blk_rest,
    .save = blk_save,
    .load = blk_load,
    .destroy = blk_destroy,
};

/* ---- creation ---- */

static int check_config(const char *id, const struct virtio_blk_config *config,
                        const struct vblock_info *info)
{
    uint32_t block = config->block_size;

    if (!vm_is_pow2(config->queue_size))
        return vm_fail(-EINVAL, "%s: queue_size=%u is not a power of two; 256 is usual", id,
                       config->queue_size);
    if (block && (!vm_is_pow2(block) || block < VBLOCK_SECTOR || block > VBLOCK_BLOCK_MAX))
        return vm_fail(-EINVAL, "%s: block_size=%u; it can be 512, 1024, 2048 or 4096", id, block);
    if (block && block < info->block_bytes)
        return vm_fail(-EINVAL,
                       "%s: block_size=%u is less than the %u bytes that the image's host device "
                       "moves at least; leave block_size out",
                       id, block, info->block_bytes);
    if (block && info->bytes % block)
        return vm_fail(
            -EINVAL,
            "%s: the image's size, %llu bytes, is not a multiple of block_size=%u; fill it "
            "up with: truncate -s %%%u FILE",
            id, (unsigned long long)info->bytes, block, block);
    return 0;
}

static int make_pools(struct virtio_blk *blk)
{
    for (uint16_t n = 0; n < blk->dev.queues; n++) {
        int rc = vq_pool_new(&blk->dev.queue[n], virtio_blk_request_bytes(), &blk->pool[n]);

        if (rc)
            return vm_fail(rc, "%s: out of memory", blk->dev.dev.id);
    }
    return 0;
}

int virtio_blk_new(const struct vdev_context *context, const struct virtio_blk_config *config,
                   struct vblock *disk, struct vdev **ret_dev)
{
    uint16_t sizes[VIRTIO_BLK_QUEUES_MAX];
    struct virtio_setup setup = { .id = VIRTIO_ID_BLOCK,
                                  .features = features(disk, config),
                                  .queue_sizes = sizes,
                                  .queues = (uint16_t)config->num_queues,
                                  .config_bytes = sizeof(struct virtio_blk_space),
                                  .chosen = { offsetof(struct virtio_blk_space, writeback), 1 },
                                  .options = &config->virtio };
    struct virtio_blk *blk = vdev_alloc(context, sizeof(*blk));
    const char *serial = config->serial ? config->serial : disk->info.id;
    int rc;

    if (!blk)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    for (unsigned n = 0; n < VIRTIO_BLK_QUEUES_MAX; n++)
        sizes[n] = (uint16_t)config->queue_size;
    rc = virtio_init(&blk->dev, &virtio_blk_class, &ops, context, &setup);
    if (rc)
        goto free_blk;
    rc = make_pools(blk);
    if (rc)
        goto exit_virtio;
    memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
    fill_space((struct virtio_blk_space *)(void *)blk->dev.config, disk, config);
    blk->disk = disk;
    blk->waiting_end = &blk->waiting;
    blk->dev.kick_now = disk->info.read_now && config->num_queues == 1;
    *ret_dev = &blk->dev.dev;
    return 0;

exit_virtio:
    free_pools(blk);
    virtio_exit(&blk->dev);
free_blk:
    vdev_free(blk);
    return rc;
}

static int blk_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct virtio_blk_config *config = context->config;
    struct vblock *disk;
    int rc = vblock_open(context->env, &config->disk, &disk);

    if (rc)
        return rc;
    rc = check_config(context->id, config, &disk->info);
    if (!rc)
        rc = virtio_blk_new(context, config, disk, ret_dev);
    if (rc)
        vblock_close(disk);
    return rc;
}

/* ---- the class ---- */

#define AT(member) .offset = offsetof(struct virtio_blk_config, member)
static const struct vm_prop props[] = {
    VDEV_PROPS(struct virtio_blk_config),
    VIRTIO_PROPS(struct virtio_blk_config),
    VBLOCK_PROPS(struct virtio_blk_config, disk),
    { .name = "num_queues",
      .type = VM_PROP_U32,
      AT(num_queues),
      .preset = "1",
      .min = 1,
      .max = VIRTIO_BLK_QUEUES_MAX,
      .help = "request queues, for example one per vCPU" },
    { .name = "queue_size",
      .type = VM_PROP_U32,
      AT(queue_size),
      .preset = "256",
      .min = QUEUE_SIZE_LEAST,
      .max = VQ_SIZE_MAX,
      .help = "requests that fit a queue, a power of two" },
    { .name = "block_size",
      .type = VM_PROP_U32,
      AT(block_size),
      .max = VBLOCK_BLOCK_MAX,
      .help = "bytes of a logical block, 512 to 4096; 0: what suits the image" },
    { .name = "serial",
      .type = VM_PROP_STRING,
      AT(serial),
      .max = VIRTIO_BLK_ID_BYTES,
      .help = "identification the guest sees, up to 20 bytes; made from the image if not given" },
    { 0 },
};

static const struct vm_jail_rule jail[] = {
    VM_JAIL("preadv2"),
    VM_JAIL("pwritev2"),
    VM_JAIL("fdatasync"),
    VM_JAIL("fallocate", VM_JAIL_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)),
    VM_JAIL("fallocate", VM_JAIL_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKDISCARD)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKGETSIZE64)), /* what is opened */
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKSSZGET)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKPBSZGET)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKROGET)),
    { 0 }
};

/* Small requests (docs/decisions/0008-cached-reads-on-the-vcpu.md). */
static const struct vm_jail_rule jail_vcpu[] = {
    VM_JAIL("fdatasync"),
    VM_JAIL("fallocate", VM_JAIL_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)),
    VM_JAIL("fallocate", VM_JAIL_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)),
    { 0 },
};

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct blk_state, cache) },
    { 0 },
};

#define METRIC(member, text)                                     \
    {                                                            \
#member, offsetof(struct virtio_blk, count.member), text \
    }
static const struct vdev_metric metrics[] = {
    METRIC(reads, "read requests"),
    METRIC(writes, "write requests"),
    METRIC(flushes, "flush requests"),
    METRIC(others, "discard, write zeroes and identification requests"),
    METRIC(read_bytes, "bytes that the guest asked to read"),
    METRIC(write_bytes, "bytes that the guest asked to write"),
    METRIC(errors, "requests that did not end well"),
    { 0 },
};

const struct vdev_class virtio_blk_class = {
    .name = "virtio-blk",
    .summary = "disk",
    .props = props,
    .config_size = sizeof(struct virtio_blk_config),
    .kind = VDEV_VIRTIO,
    .backend = VDEV_BACKEND_BLOCK,
    .placements = VDEV_THREAD | VDEV_PROCESS | VDEV_FOREIGN,
    .jail = jail,
    .jail_vcpu = jail_vcpu,
    .state = state_fields,
    .state_size = sizeof(struct blk_state),
    .state_version = 1,
    .replay = VDEV_REPLAY_ALL,
    .ledger = state_fields,
    .metrics = metrics,
    .create = blk_create,
};
