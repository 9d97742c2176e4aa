/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the device.
 *
 *   virtio_blk.c          class, options, config space, life
 *   virtio_blk_request.c  from a chain to its status byte
 */
#ifndef VIRTIO_BLK_PRIVATE_H
#define VIRTIO_BLK_PRIVATE_H

#include <assert.h>

#include <vmm/base/le.h>
#include <vmm/block/block.h>
#include <vmm/virtio/device.h>

extern const struct vdev_class virtio_blk_class;

/* Feature bits (VIRTIO 1.2, 5.2.3). */
#define VIRTIO_BLK_F_SEG_MAX      (1ULL << 2)
#define VIRTIO_BLK_F_RO           (1ULL << 5)
#define VIRTIO_BLK_F_BLK_SIZE     (1ULL << 6)
#define VIRTIO_BLK_F_FLUSH        (1ULL << 9)
#define VIRTIO_BLK_F_TOPOLOGY     (1ULL << 10)
#define VIRTIO_BLK_F_CONFIG_WCE   (1ULL << 11)
#define VIRTIO_BLK_F_MQ           (1ULL << 12)
#define VIRTIO_BLK_F_DISCARD      (1ULL << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (1ULL << 14)

enum {
    /* Request types and status bytes (5.2.6). */
    VIRTIO_BLK_T_IN = 0,
    VIRTIO_BLK_T_OUT = 1,
    VIRTIO_BLK_T_FLUSH = 4,
    VIRTIO_BLK_T_GET_ID = 8,
    VIRTIO_BLK_T_DISCARD = 11,
    VIRTIO_BLK_T_WRITE_ZEROES = 13,

    VIRTIO_BLK_S_OK = 0,
    VIRTIO_BLK_S_IOERR = 1,
    VIRTIO_BLK_S_UNSUPP = 2,

    VIRTIO_BLK_ID_BYTES = 20,

    /* What one request may ask for. Zeroes may have to be written one by one, and the loop's other
     * devices wait meanwhile. */
    VIRTIO_BLK_DISCARD_SEGMENTS = 32,
    VIRTIO_BLK_DISCARD_SECTORS = 1 << 21, /* 1 GiB */
    VIRTIO_BLK_ZEROES_SEGMENTS = 1,
    VIRTIO_BLK_ZEROES_SECTORS = 1 << 15, /* 16 MiB */

    /* What one round of the loop does before it looks after others. */
    VIRTIO_BLK_ROUND_REQUESTS = 64,
    VIRTIO_BLK_ROUND_BYTES = 8 << 20,

    /* What a vCPU does before it goes back to its guest. */
    VIRTIO_BLK_NOW_REQUESTS = 8,
    VIRTIO_BLK_NOW_BYTES = 32 << 10,

    VIRTIO_BLK_QUEUES_MAX = 256,
};

struct virtio_blk_header { /* 5.2.6 */
    struct le32 type, reserved;
    struct le64 sector;
};

struct virtio_blk_range { /* 5.2.6: struct virtio_blk_discard_write_zeroes */
    struct le64 sector;
    struct le32 sectors, flags;
};

/* Config space (5.2.4). All but writeback is constant. */
struct virtio_blk_space {
    struct le64 capacity;
    struct le32 size_max, seg_max;
    uint8_t geometry[4];
    struct le32 blk_size;
    uint8_t physical_block_exp, alignment_offset;
    struct le16 min_io_size;
    struct le32 opt_io_size;
    uint8_t writeback, unused0;
    struct le16 num_queues;
    struct le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
    struct le32 max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed)); /* 60 bytes, though the first one is of 8 */
static_assert(sizeof(struct virtio_blk_space) == 60, "5.2.4");

struct virtio_blk_config {
    struct vdev_common common;
    struct vblock_config disk;
    uint32_t num_queues, queue_size;
    uint32_t block_size; /* 0: the image's */
    char *serial;
    struct virtio_options virtio;
};

/* What the driver wrote into writeback. */
enum virtio_blk_cache { VIRTIO_BLK_CACHE_UNSET, VIRTIO_BLK_CACHE_THROUGH, VIRTIO_BLK_CACHE_BACK };

struct virtio_blk {
    struct virtio_dev dev;
    struct vblock *disk;
    struct vq_pool *pool[VIRTIO_BLK_QUEUES_MAX];
    uint32_t in_flight; /* requests that are the back end's, or will be */
    uint32_t of_queue[VIRTIO_BLK_QUEUES_MAX]; /* the same, of each queue */
    bool now; /* a vCPU's thread is in virtio_blk_kick_now() */
    struct virtio_blk_request *waiting, **waiting_end; /* what it left to the loop, oldest first */
    struct vm_work waiting_work;
    uint8_t cache; /* enum virtio_blk_cache */
    uint8_t serial[VIRTIO_BLK_ID_BYTES];
    struct vm_ratelimit complaints;
    struct {
        uint64_t reads, writes, flushes, others, read_bytes, write_bytes, errors;
    } count;
};

static inline struct virtio_blk *virtio_blk_of(struct virtio_dev *dev)
{
    return container_of(dev, struct virtio_blk, dev);
}

/* The device over a back end, which is its own from now on; on error it is the caller's. */
int virtio_blk_new(const struct vdev_context *context, const struct virtio_blk_config *config,
                   struct vblock *disk, struct vdev **ret_dev);

/* Writes that have ended may be lost with the host's power until a flush (5.2.6.2). */
bool virtio_blk_writeback(const struct virtio_blk *blk);

/* Bytes of the device's own in each request of a queue's pool. */
size_t virtio_blk_request_bytes(void);
int virtio_blk_kick(struct virtio_dev *dev, uint16_t n);
int virtio_blk_kick_now(struct virtio_dev *dev, uint16_t n);
/* The end: what was left to the loop is not done any more. */
void virtio_blk_drop_waiting(struct virtio_blk *blk);

#endif
