/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Reading plain, gzip (RFC 1952) and zstd (RFC 8878) data piece by piece. */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zstd_errors.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    IN_BYTES = 256 << 10,
    GZIP_ONLY = 16, /* zlib.h, inflateInit2(): added to the window's bits */
    WINDOW_LOG = 27, /* 128 MiB: what `zstd --ultra -22`, and so Linux's build, use at most */
};

int vboot_arm_stream_open(struct vboot_arm_stream *s, const struct vm_file *file, uint64_t offset,
                          uint64_t len, enum vboot_arm_packing packing)
{
    int rc = Z_OK;

    *s = (struct vboot_arm_stream){
        .file = file, .packing = packing, .at = offset, .end = offset + len
    };
    if (packing == VBOOT_ARM_PLAIN)
        return 0;
    s->in = malloc(IN_BYTES);
    if (packing == VBOOT_ARM_GZIP)
        rc = inflateInit2(&s->z, MAX_WBITS + GZIP_ONLY);
    else
        s->zstd = ZSTD_createDStream();
    if (s->zstd && ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG)))
        return vm_fail(-EINVAL, "%s: this zstd library knows no window of 128 MiB", file->name);
    if (!s->in || rc != Z_OK || (packing == VBOOT_ARM_ZSTD && !s->zstd))
        return vm_fail(-ENOMEM, "%s: out of memory for unpacking", file->name);
    return 0;
}

void vboot_arm_stream_close(struct vboot_arm_stream *s)
{
    if (s->packing == VBOOT_ARM_GZIP)
        inflateEnd(&s->z);
    ZSTD_freeDStream(s->zstd);
    free(s->in);
}

/* Makes sure that at least want packed bytes are in the buffer, or all there are. */
static int fill(struct vboot_arm_stream *s, size_t want)
{
    size_t have = s->len - s->pos, n;
    int rc;

    if (have >= want || s->at == s->end)
        return 0;
    memmove(s->in, s->in + s->pos, have);
    n = s->end - s->at < IN_BYTES - have ? (size_t)(s->end - s->at) : IN_BYTES - have;
    rc = s->file->read(s->file, s->in + have, n, s->at);
    if (rc)
        return rc;
    s->at += n;
    s->pos = 0;
    s->len = have + n;
    return 0;
}

static int cut_off(const struct vboot_arm_stream *s)
{
    return vm_fail(
        -EINVAL, "%s is cut off (copy it again): its %s data has no end within %llu bytes",
        s->file->name, s->packing == VBOOT_ARM_GZIP ? "gzip" : "zstd", (unsigned long long)s->end);
}

/* What follows a member: another one, or something that is not ours (a signature, the size that Linux's build appends). */
static int next_member(struct vboot_arm_stream *s)
{
    const uint8_t *p;
    uint32_t magic;
    int rc = fill(s, sizeof(magic));

    if (rc)
        return rc;
    s->ended = true;
    if (s->len - s->pos < sizeof(magic))
        return 0;
    p = s->in + s->pos;
    magic = (uint32_t)vm_load_le(p, sizeof(magic));
    if (s->packing == VBOOT_ARM_GZIP)
        s->ended = (magic & 0xffff) != 0x8b1f || inflateReset(&s->z) != Z_OK;
    else
        s->ended = magic != ZSTD_MAGICNUMBER &&
                   (magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START;
    return 0;
}

static int read_gzip(struct vboot_arm_stream *s, void *buf, size_t len, size_t *ret_len)
{
    int rc = 0;

    s->z.next_out = buf;
    s->z.avail_out = (uInt)len;
    while (!rc && s->z.avail_out && !s->ended) {
        int result;

        rc = fill(s, 1);
        if (rc)
            return rc;
        s->z.next_in = s->in + s->pos;
        s->z.avail_in = (uInt)(s->len - s->pos);
        result = inflate(&s->z, Z_NO_FLUSH);
        s->pos = s->len - s->z.avail_in;
        if (result == Z_STREAM_END)
            rc = next_member(s);
        else if (result == Z_BUF_ERROR)
            rc = cut_off(s);
        else if (result == Z_MEM_ERROR)
            rc = vm_fail(-ENOMEM, "%s: out of memory for unpacking", s->file->name);
        else if (result != Z_OK)
            rc = vm_fail(-EINVAL, "%s: its gzip data is broken (copy it again): %s", s->file->name,
                         s->z.msg ? s->z.msg : zError(result));
    }
    *ret_len = len - s->z.avail_out;
    return rc;
}

static int zstd_error(const struct vboot_arm_stream *s, size_t result)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return vm_fail(-ENOMEM, "%s: out of memory for unpacking", s->file->name);
    case ZSTD_error_frameParameter_windowTooLarge:
        return vm_fail(-ENOTSUP,
                       "%s: its zstd data needs a window of more than 128 MiB: compress it "
                       "without --long",
                       s->file->name);
    default:
        return vm_fail(-EINVAL, "%s: its zstd data is broken (copy it again): %s", s->file->name,
                       ZSTD_getErrorName(result));
    }
}

static int read_zstd(struct vboot_arm_stream *s, void *buf, size_t len, size_t *ret_len)
{
    ZSTD_outBuffer out = { buf, len, 0 };
    int rc = 0;

    while (!rc && out.pos < len && !s->ended) {
        ZSTD_inBuffer in;
        size_t result, before = out.pos;

        rc = fill(s, 1);
        if (rc)
            return rc;
        in = (ZSTD_inBuffer){ s->in, s->len, s->pos };
        result = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(result))
            return zstd_error(s, result);
        if (!result) {
            s->pos = in.pos;
            rc = next_member(s);
        } else if (in.pos == s->pos && out.pos == before) {
            rc = cut_off(s); /* it got all there is */
        } else {
            s->pos = in.pos;
        }
    }
    *ret_len = out.pos;
    return rc;
}

static int read_plain(struct vboot_arm_stream *s, void *buf, size_t len, size_t *ret_len)
{
    size_t n = s->end - s->at < len ? (size_t)(s->end - s->at) : len;
    int rc = n ? s->file->read(s->file, buf, n, s->at) : 0;

    if (rc)
        return rc;
    s->at += n;
    *ret_len = n;
    return 0;
}

int vboot_arm_stream_read(struct vboot_arm_stream *s, void *buf, size_t len, size_t *ret_len)
{
    switch (s->packing) {
    case VBOOT_ARM_GZIP: return read_gzip(s, buf, len, ret_len);
    case VBOOT_ARM_ZSTD: return read_zstd(s, buf, len, ret_len);
    case VBOOT_ARM_PLAIN: break;
    }
    return read_plain(s, buf, len, ret_len);
}
