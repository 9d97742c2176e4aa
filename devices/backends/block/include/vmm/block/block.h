/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Block back ends: where the sectors of a disk are kept. One interface for every image format,
 * protocol and I/O engine; today's only one is raw: the bytes of a regular file or of a block
 * device, moved at once.
 *
 *     vblock_open(env, &config, &disk);
 *     req = (struct vblock_req){ .op = VBLOCK_READ, .bytes = 512, .iov = &v, .iovs = 1, ... };
 *     rc = vblock_submit(disk, &req);    0, -errno: it has ended; -EINPROGRESS: f(&req, rc) later
 *     vblock_close(disk);
 *
 * Requests may be in flight in any number and end in any order; who wants an order waits (as VIRTIO
 * 1.2, 5.2.6.2 and NVMe have it). A write is stable when a flush that was submitted after its end
 * has ended, or, with stable, when it has ended itself.
 *
 * Threads: one at a time per back end, that of env->loop, and without the device's lock, because
 * vblock_submit() may wait as long as the host does; done comes from the same thread, without that
 * lock, and never from inside vblock_submit().
 */
#ifndef VMM_BLOCK_BLOCK_H
#define VMM_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmm/base/env.h>
#include <vmm/base/prop.h>

enum { VBLOCK_SECTOR = 512, VBLOCK_BLOCK_MAX = 4096, VBLOCK_ID_MAX = 20 };

/* A member of a device's config struct; VBLOCK_PROPS() are its rows. */
struct vblock_config {
    char *path;
    bool readonly, direct, lock, sparse;
};
#define VBLOCK_PROPS(T, member)                                                            \
    { .name = "path",                                                                      \
      .type = VM_PROP_PATH,                                                                \
      .offset = offsetof(T, member.path),                                                  \
      .required = true,                                                                    \
      .help = "image file or block device" },                                              \
        { .name = "readonly",                                                              \
          .type = VM_PROP_BOOL,                                                            \
          .offset = offsetof(T, member.readonly),                                          \
          .alias_crosvm = "ro",                                                            \
          .help = "the guest can only read" },                                             \
        { .name = "direct",                                                                \
          .type = VM_PROP_BOOL,                                                            \
          .offset = offsetof(T, member.direct),                                            \
          .help = "go around the host's page cache (O_DIRECT)" },                          \
        { .name = "lock",                                                                  \
          .type = VM_PROP_BOOL,                                                            \
          .offset = offsetof(T, member.lock),                                              \
          .preset = "on",                                                                  \
          .help = "lock the image, so that no other machine writes it at the same time" }, \
    {                                                                                      \
        .name = "sparse", .type = VM_PROP_BOOL, .offset = offsetof(T, member.sparse),      \
        .preset = "on", .help = "give space that the guest discards back to the host"      \
    }

enum vblock_op {
    VBLOCK_READ,
    VBLOCK_WRITE,
    VBLOCK_FLUSH,
    VBLOCK_DISCARD, /* the contents do not matter any more; they may stay */
    VBLOCK_WRITE_ZEROES,
    VBLOCK_OPS
};

/* A request; the owner's, untouched by it until it has ended. */
struct vblock_req {
    enum vblock_op op;
    bool stable; /* WRITE, WRITE_ZEROES: does not end before it is stable */
    bool may_unmap; /* WRITE_ZEROES: the space may be given back */
    uint64_t offset, bytes; /* multiples of block_bytes; not of FLUSH */
    /* READ, WRITE: elements of together bytes; used up. The memory stays valid until the end. */
    struct iovec *iov;
    int iovs;
    void (*done)(struct vblock_req *req, int rc); /* may be NULL where the back end is not async */
};

/* What a back end is, constant while it is open. */
struct vblock_info {
    uint64_t bytes; /* a multiple of VBLOCK_SECTOR */
    /* What requests must be multiples of: a power of two, VBLOCK_SECTOR to VBLOCK_BLOCK_MAX. */
    uint32_t block_bytes;
    /* What is best not written in parts: a power of two, not below block_bytes. */
    uint32_t physical_bytes;
    bool readonly;
    bool async; /* vblock_submit() may return -EINPROGRESS */
    bool read_now; /* vblock_read_now() is worth a try */
    char id[VBLOCK_ID_MAX + 1]; /* the same at each opening of the same image on this host */
};

struct vblock;
struct vblock_ops {
    /* By enum vblock_op; NULL: it cannot (-EOPNOTSUPP). The range lies inside and is not empty,
     * the alignment is right, and nothing but READ and FLUSH reaches a read-only one. */
    int (*submit[VBLOCK_OPS])(struct vblock *disk, struct vblock_req *req);
    /* Where info.read_now: see vblock_read_now(). The range is as above. */
    int (*read_now)(struct vblock *disk, const struct vblock_req *req);
    /* No request is in flight. Frees disk. */
    void (*close)(struct vblock *disk);
};

/* First member of each back end's own struct. */
struct vblock {
    const struct vblock_ops *ops;
    struct vblock_info info;
};

/* Opens config->path by env->open; config is read during the call. 0, or -errno with a text that
 * says how to mend it; among them -ENOENT, -EACCES and -EROFS, -EISDIR, -EINVAL (neither file
 * nor block device, wrong size), -EBUSY (locked by somebody else), -ENOMEM. */
int vblock_open(const struct vm_env *env, const struct vblock_config *config,
                struct vblock **ret_disk);
/* NULL is allowed. */
void vblock_close(struct vblock *disk);

/* 0; -EINPROGRESS: req->done() will be called; or, with done not called: -EROFS, -EOPNOTSUPP,
 * -ERANGE (beyond the end), -EINVAL (not a multiple of block_bytes), or what the back end met:
 * -EIO, -ENOSPC ... No text. */
int vblock_submit(struct vblock *disk, struct vblock_req *req);

/* Does a READ at once if the host has the bytes in its memory, without waiting for a disk. By any
 * thread, also beside another call. 0, or an error that says no more than that vblock_submit() has
 * to do it: req is as it was, its memory may be written in part. */
int vblock_read_now(struct vblock *disk, const struct vblock_req *req);

/* The back end can do it at all. */
static inline bool vblock_can(const struct vblock *disk, enum vblock_op op)
{
    return disk->ops->submit[op] &&
           (!disk->info.readonly || op == VBLOCK_READ || op == VBLOCK_FLUSH);
}

#endif
