/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Raw images: opening. Each thing that can be wrong with what the user named has its own line,
 * which says how to mend it.
 *
 * Locks are open file description locks over the whole file (fcntl(2), F_OFD_SETLK): shared by
 * readers, one writer alone; they end with the fd, also when the process dies.
 */
#include "block_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/magic.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

struct opening {
    const struct vm_env *env;
    const struct vblock_config *config;
    struct vblock_raw *raw;
    struct stat st;
};

/* ---- the name ---- */

static int refused(const struct vblock_config *config, int rc)
{
    errno = -rc;
    switch (rc) {
    case -ENOENT:
    case -ENOTDIR:
        return vm_fail(rc,
                       "disk %s: there is no such file; an empty image is made by: truncate -s 10G "
                       "FILE",
                       config->path);
    case -EISDIR:
        return vm_fail(rc, "disk %s: is a directory; give an image file or a block device",
                       config->path);
    case -ENXIO: /* open(2): a socket, or a device without a driver */
        return vm_fail(-EINVAL,
                       "disk %s: is a socket, or a device that is not there; give an image file or "
                       "a block device",
                       config->path);
    case -EACCES:
    case -EPERM:
    case -EROFS:
    case -ETXTBSY:
        if (!config->readonly)
            return vm_fail_errno("disk %s: cannot be opened for writing (readonly=on asks for "
                                 "reading only)",
                                 config->path);
        break;
    default: break;
    }
    return vm_fail_errno("disk %s: cannot be opened", config->path);
}

static int open_name(struct opening *o)
{
    unsigned how = o->config->readonly ? VM_OPEN_READ : VM_OPEN_READ | VM_OPEN_WRITE;
    int fd = o->env->open ? o->env->open(o->env->ctx, o->config->path, how) : -EACCES;

    if (fd < 0)
        return refused(o->config, fd);
    o->raw->fd = fd;
    return 0;
}

static int check_kind(struct opening *o)
{
    const char *what;

    if (vm_fstat(o->raw->fd, &o->st))
        return vm_fail_errno("disk %s: fstat", o->config->path);
    switch (o->st.st_mode & S_IFMT) {
    case S_IFREG: return 0;
    case S_IFBLK: o->raw->device = true; return 0;
    case S_IFDIR: return refused(o->config, -EISDIR);
    case S_IFIFO: what = "a FIFO"; break;
    case S_IFCHR: what = "a character device"; break;
    default: what = "a socket"; break;
    }
    return vm_fail(-EINVAL, "disk %s: is %s; give an image file or a block device", o->config->path,
                   what);
}

/* ---- the lock ---- */

static int lock(struct opening *o)
{
    struct flock all = { .l_type = o->config->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

    if (!o->config->lock || !fcntl(o->raw->fd, F_OFD_SETLK, &all))
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return vm_fail_errno("disk %s: cannot be locked (lock=off goes without)", o->config->path);
    if (o->config->readonly)
        return vm_fail(-EBUSY,
                       "disk %s: another virtual machine has locked it for writing; stop that one, "
                       "or use a copy",
                       o->config->path);
    return vm_fail(-EBUSY,
                   "disk %s: locked by another virtual machine or another disk of this one; stop "
                   "that one, use a copy, or give readonly=on to both",
                   o->config->path);
}

/* ---- sizes ---- */

static uint32_t clamp_block(uint64_t bytes, uint32_t least)
{
    if (!vm_is_pow2(bytes) || bytes < least)
        return least;
    return bytes > VBLOCK_BLOCK_MAX ? VBLOCK_BLOCK_MAX : (uint32_t)bytes;
}

static int device_size(struct opening *o)
{
    struct vblock_info *info = &o->raw->disk.info;
    int logical = 0, readonly = 0;
    unsigned physical = 0;
    uint64_t bytes;

    if (ioctl(o->raw->fd, BLKGETSIZE64, &bytes) || ioctl(o->raw->fd, BLKSSZGET, &logical) ||
        ioctl(o->raw->fd, BLKPBSZGET, &physical) || ioctl(o->raw->fd, BLKROGET, &readonly))
        return vm_fail_errno("disk %s: asking the block device for its sizes", o->config->path);
    /* An open for writing is granted by some drivers although every write then fails. */
    if (readonly && !info->readonly)
        return refused(o->config, -EROFS);
    if (logical > VBLOCK_BLOCK_MAX)
        return vm_fail(-EINVAL, "disk %s: its blocks of %d bytes are larger than %d",
                       o->config->path, logical, VBLOCK_BLOCK_MAX);
    info->bytes = bytes;
    /* The page cache takes any request, but fallocate(2) and ioctls do not. */
    info->block_bytes = clamp_block((uint64_t)logical, VBLOCK_SECTOR);
    info->physical_bytes = clamp_block(physical, info->block_bytes);
    return 0;
}

static void file_size(struct opening *o)
{
    struct vblock_info *info = &o->raw->disk.info;

    info->bytes = (uint64_t)o->st.st_size;
    info->block_bytes = VBLOCK_SECTOR;
    info->physical_bytes = clamp_block((uint64_t)o->st.st_blksize, VBLOCK_SECTOR);
}

static int check_size(struct opening *o)
{
    const struct vblock_info *info = &o->raw->disk.info;

    if (!info->bytes)
        return vm_fail(-EINVAL, "disk %s: is empty; give it a size with: truncate -s 10G FILE",
                       o->config->path);
    if (info->bytes % VBLOCK_SECTOR)
        return vm_fail(
            -EINVAL,
            "disk %s: its size, %llu bytes, is not a multiple of the %d-byte sector; if it "
            "is a raw image, fill it up with: truncate -s %%%d FILE",
            o->config->path, (unsigned long long)info->bytes, VBLOCK_SECTOR, VBLOCK_SECTOR);
    if (info->bytes % info->block_bytes)
        return vm_fail(
            -EINVAL,
            "disk %s: its size, %llu bytes, is not a multiple of the %u-byte blocks that "
            "direct=on needs here; fill it up with: truncate -s %%%u FILE",
            o->config->path, (unsigned long long)info->bytes, info->block_bytes, info->block_bytes);
    return 0;
}

/* ---- direct I/O ---- */

/* Since Linux 6.1 the kernel tells (statx(2), STATX_DIOALIGN). 0: it does not. */
static uint32_t told_memory_align(int fd)
{
    struct statx sx = { 0 };

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) || !(sx.stx_mask & STATX_DIOALIGN))
        return 0;
    return sx.stx_dio_mem_align;
}

/* What offsets and lengths must be multiples of: the smallest read that works. 0: none does. */
static uint32_t probe_block(const struct vblock_raw *raw)
{
    for (uint32_t bytes = raw->disk.info.block_bytes; bytes <= VBLOCK_BLOCK_MAX; bytes *= 2) {
        struct iovec v = { raw->bounce, bytes };

        if (vm_preadv_full(raw->fd, &v, 1, 0) >= 0)
            return bytes;
    }
    return 0;
}

static int begin_direct(struct opening *o)
{
    struct vblock_raw *raw = o->raw;
    struct vblock_info *info = &raw->disk.info;
    int flags = fcntl(raw->fd, F_GETFL);

    if (flags < 0 || fcntl(raw->fd, F_SETFL, flags | O_DIRECT))
        return vm_fail_errno(
            "disk %s: direct=on is not possible on this file system (direct=off uses "
            "the page cache)",
            o->config->path);
    raw->bounce = aligned_alloc(RAW_MEMORY_ALIGN, RAW_BOUNCE_BYTES);
    if (!raw->bounce)
        return vm_fail(-ENOMEM, "disk %s: out of memory", o->config->path);
    raw->memory_align = told_memory_align(raw->fd);
    if (!vm_is_pow2(raw->memory_align) || raw->memory_align > RAW_MEMORY_ALIGN)
        raw->memory_align = RAW_MEMORY_ALIGN;
    info->block_bytes = probe_block(raw);
    if (!info->block_bytes)
        return vm_fail(
            -EINVAL,
            "disk %s: direct=on: reads of up to %d bytes are refused (direct=off uses the "
            "page cache)",
            o->config->path, VBLOCK_BLOCK_MAX);
    if (info->physical_bytes < info->block_bytes)
        info->physical_bytes = info->block_bytes;
    return 0;
}

/* ---- reads that do not wait ---- */

/* Most file systems and all block devices say so if a read would have to wait. Those that live in memory do not know the flag
 * and never wait, but for swap, as the guest's own memory. */
static void find_read_now(struct opening *o)
{
    struct vblock_raw *raw = o->raw;
    uint8_t head;
    struct iovec v = { &head, sizeof(head) };
    struct statfs fs;

    if (o->config->direct)
        return; /* it would wait for the device */
    raw->now_flags = RWF_NOWAIT;
    if (preadv2(raw->fd, &v, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN) {
        raw->disk.info.read_now = true;
    } else if (!fstatfs(raw->fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)) {
        raw->now_flags = 0;
        raw->disk.info.read_now = true;
    }
}

/* ---- all of it ---- */

/* A guest could write such a header into its raw disk: a hint, never a reason to treat the image
 * in another way. */
static void warn_of_format(const struct opening *o)
{
    static const uint8_t qcow2[4] = { 'Q', 'F', 'I', 0xfb };
    uint8_t head[sizeof(qcow2)];
    struct iovec v = { head, sizeof(head) };

    if (!o->raw->bounce && vm_preadv_full(o->raw->fd, &v, 1, 0) == (ssize_t)sizeof(head) &&
        !memcmp(head, qcow2, sizeof(head)))
        vm_log(o->env, VM_LOG_WARN, "disk %s: starts like a qcow2 image, but is used as a raw one",
               o->config->path);
}

static int open_checked(struct opening *o)
{
    struct vblock_info *info = &o->raw->disk.info;
    dev_t dev;
    int rc;

    if ((rc = open_name(o)) || (rc = check_kind(o)) || (rc = lock(o)))
        return rc;
    if (!o->raw->device)
        file_size(o);
    else if ((rc = device_size(o)))
        return rc;
    if ((rc = check_size(o)))
        return rc;
    if (o->config->direct && ((rc = begin_direct(o)) || (rc = check_size(o))))
        return rc;
    warn_of_format(o);
    find_read_now(o);
    dev = o->raw->device ? o->st.st_rdev : o->st.st_dev;
    snprintf(info->id, sizeof(info->id), "%llx-%llx", (unsigned long long)dev,
             o->raw->device ? 0 : (unsigned long long)o->st.st_ino);
    return 0;
}

int vblock_raw_open(const struct vm_env *env, const struct vblock_config *config,
                    struct vblock **ret_disk)
{
    struct vblock_raw *raw = calloc(1, sizeof(*raw));
    struct opening o = { .env = env, .config = config, .raw = raw };
    int rc;

    if (!raw)
        return vm_fail(-ENOMEM, "disk %s: out of memory", config->path);
    raw->fd = -1;
    raw->disk.ops = config->sparse ? &vblock_raw_ops : &vblock_raw_dense_ops;
    raw->disk.info.readonly = config->readonly;
    rc = open_checked(&o);
    if (rc) {
        vblock_close(&raw->disk);
        return rc;
    }
    *ret_disk = &raw->disk;
    return 0;
}
