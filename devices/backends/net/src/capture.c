/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Captures in pcapng (draft-ietf-opsawg-pcapng): a section header (4.1), one interface (4.2), a packet block for each frame (4.3) and,
 * at the end, the interface's statistics (4.6). One write per block; a disk that is full ends the capture, never the network.
 *
 * The file of a device whose process ended goes on with a new section where it was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "filter_private.h"

enum {
    SECTION = 0x0a0d0d0a,
    INTERFACE = 1,
    STATISTICS = 5,
    PACKET = 6,
    ORDER = 0x1a2b3c4d,
    ETHERNET = 1, /* LINKTYPE_ETHERNET */

    OPTION_END = 0,
    IF_NAME = 2,
    IF_TSRESOL = 9,
    EPB_FLAGS = 2,
    ISB_IFRECV = 4,
    ISB_IFDROP = 5,

    NANOSECONDS = 9, /* 10 to the power of minus this */
    PACKET_FIXED = 28, /* before the frame */
    PACKET_AFTER = 3 + 8 + 4 + 4, /* padding, flags, end of options, length */
    STATISTICS_BYTES = 24 + 12 + 12 + 4 + 4,
    BLOCK_MAX = PACKET_FIXED + VNET_FRAME_MAX + PACKET_AFTER,
};

struct vnet_capture {
    const struct vm_env *env;
    struct vnet_counts *counts, own;
    char name[VNET_NAME];
    uint64_t bytes, max;
    uint64_t seen, lost;
    int fd; /* -1: it has ended */
    size_t len; /* of block */
    uint8_t block[BLOCK_MAX];
};

static void put(struct vnet_capture *c, unsigned bytes, uint64_t value)
{
    vm_store_le(c->block + c->len, bytes, value);
    c->len += bytes;
}

static void put_bytes(struct vnet_capture *c, const void *data, size_t len)
{
    memcpy(c->block + c->len, data, len);
    c->len += len;
    while (c->len % 4)
        c->block[c->len++] = 0;
}

static void put_option(struct vnet_capture *c, unsigned code, const void *data, size_t len)
{
    put(c, 2, code);
    put(c, 2, len);
    put_bytes(c, data, len);
}

static void put_option_number(struct vnet_capture *c, unsigned code, unsigned bytes, uint64_t value)
{
    uint8_t data[8];

    vm_store_le(data, bytes, value);
    put_option(c, code, data, bytes);
}

static void begin(struct vnet_capture *c, uint32_t type)
{
    c->len = 0;
    put(c, 4, type);
    put(c, 4, 0);
}

static void stop(struct vnet_capture *c)
{
    vm_close(&c->fd);
}

/* Bytes that the file may still get, without those that its end needs. */
static bool fits(const struct vnet_capture *c, size_t reserve)
{
    return !c->max || (c->bytes <= c->max && c->max - c->bytes >= c->len + 4 + reserve);
}

static bool end(struct vnet_capture *c)
{
    ssize_t n;

    put(c, 4, c->len + 4);
    vm_store_le(c->block + 4, 4, c->len);
    n = vm_write(c->fd, c->block, c->len);
    if (n == (ssize_t)c->len) {
        c->bytes += c->len;
        return true;
    }
    vm_log(c->env, VM_LOG_WARN, "%s: capture: %s: it ends here, the network goes on", c->name,
           n < 0 ? strerror((int)-n) : "the disk is full");
    stop(c);
    return false;
}

static void put_time(struct vnet_capture *c)
{
    uint64_t now = vm_now_ns(c->env, VM_CLOCK_WALL);

    put(c, 4, now >> 32);
    put(c, 4, now & UINT32_MAX);
}

static void write_statistics(struct vnet_capture *c)
{
    begin(c, STATISTICS);
    put(c, 4, 0);
    put_time(c);
    put_option_number(c, ISB_IFRECV, 8, c->seen);
    put_option_number(c, ISB_IFDROP, 8, c->lost);
    put(c, 4, OPTION_END);
    if (fits(c, 0))
        (void)end(c);
}

static bool write_start(struct vnet_capture *c)
{
    begin(c, SECTION);
    put(c, 4, ORDER);
    put(c, 2, 1);
    put(c, 2, 0);
    put(c, 8, UINT64_MAX); /* the section's length is not known */
    if (!fits(c, STATISTICS_BYTES) || !end(c))
        return false;
    begin(c, INTERFACE);
    put(c, 2, ETHERNET);
    put(c, 2, 0);
    put(c, 4, 0); /* frames are whole */
    put_option(c, IF_NAME, c->name, strlen(c->name));
    put_option_number(c, IF_TSRESOL, 1, NANOSECONDS);
    put(c, 4, OPTION_END);
    return fits(c, STATISTICS_BYTES) && end(c);
}

static void lose(struct vnet_capture *c)
{
    c->lost++;
    vm_count(&c->counts->capture_lost, 1);
}

void vnet_capture_put(struct vnet_capture *c, enum vnet_way way, const void *data, size_t len)
{
    c->seen++;
    if (c->fd < 0 || len > VNET_FRAME_MAX) {
        lose(c);
        return;
    }
    begin(c, PACKET);
    put(c, 4, 0);
    put_time(c);
    put(c, 4, len);
    put(c, 4, len);
    put_bytes(c, data, len);
    put_option_number(c, EPB_FLAGS, 4, way);
    put(c, 4, OPTION_END);
    if (!fits(c, STATISTICS_BYTES)) {
        vm_log(c->env, VM_LOG_INFO, "%s: capture: it ends at capture_max", c->name);
        lose(c);
        write_statistics(c);
        stop(c);
    } else if (end(c)) {
        vm_count(&c->counts->captured, 1);
    } else {
        lose(c);
    }
}

void vnet_capture_free(struct vnet_capture *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        write_statistics(c);
    stop(c);
    free(c);
}

static int open_file(struct vnet_capture *c, const char *path)
{
    const struct vm_env *env = c->env;
    struct stat st;

    if (!env->open)
        return vm_fail(-EACCES, "capture=%s: nothing may be opened", path);
    c->fd = env->open(env->ctx, path, VM_OPEN_WRITE | VM_OPEN_CREATE | VM_OPEN_TRUNCATE);
    if (c->fd < 0)
        return vm_wrap(c->fd, "capture");
    if (vm_fstat(c->fd, &st))
        return vm_fail_errno("capture=%s", path);
    if (!S_ISREG(st.st_mode))
        return vm_fail(-EINVAL, "capture=%s: a capture needs a regular file", path);
    c->bytes = (uint64_t)st.st_size;
    return 0;
}

int vnet_capture_new(const struct vm_env *env, const char *name,
                     const struct vnet_filter_config *config, struct vnet_capture **ret_capture)
{
    struct vnet_capture *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "out of memory");
    c->env = env;
    c->counts = config->counts ? config->counts : &c->own;
    c->max = config->capture_max;
    c->fd = -1;
    snprintf(c->name, sizeof(c->name), "%s", name);
    rc = open_file(c, config->capture);
    if (rc) {
        stop(c);
        free(c);
        return rc;
    }
    if (!write_start(c))
        stop(c);
    *ret_capture = c;
    return 0;
}
