/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Views: from an address to pieces of host memory, and the copies over them.
 *
 * A range is resolved whole before its first byte moves, and the copy uses the very pieces that
 * were checked: what the IOMMU's owner changes in between cannot redirect it.
 */
#include <errno.h>
#include <string.h>

#include <vmm/base/le.h>

#include "memory_private.h"

/* Pieces that are kept from the check to the copy: 128 KiB of scattered 4 KiB pages. */
enum { PIECES_MAX = 32 };

struct piece {
    uint8_t *host;
    gpa_t gpa;
    uint64_t len;
};

void gm_view_forget(struct gm_view *view)
{
    view->read = view->write = (struct gm_fast){ .host = (uint8_t *)view };
    /* a counter that may wrap: only "different" counts */
    (void)__builtin_add_overflow(view->generation, 1U, &view->generation);
}

struct gm_map *gm_view_swap(struct gm_view *view, struct gm_map *map)
{
    struct gm_map *before = view->map;

    view->map = map;
    gm_view_forget(view);
    return before;
}

void gm_view_set_dirty(struct gm_view *view, struct gm_dirty *dirty)
{
    view->dirty = dirty;
    gm_view_forget(view);
}

void gm_view_set_iommu(struct gm_view *view, const struct gm_iommu *iommu)
{
    view->iommu = iommu;
    gm_view_forget(view);
}

struct gm_map *gm_view_map(const struct gm_view *view)
{
    return gm_map_ref(view->map);
}

static void remember(struct gm_view *view, const struct gm_slot *slot)
{
    struct gm_fast fast = { slot->base, slot->size, slot->host };

    view->read = fast;
    if (!slot->read_only)
        view->write = fast;
}

/* The piece of RAM that begins at the guest-physical gpa, at most len bytes. */
static int find_ram(struct gm_view *view, gpa_t gpa, uint64_t len, unsigned access,
                    struct piece *piece)
{
    const struct gm_slot *slot = gm_map_slot(view->map, gpa);
    uint64_t at;

    if (!slot || (access & GM_WRITE && slot->read_only))
        return -EFAULT;
    if (!slot->host)
        return -EIO;
    at = gpa - slot->base;
    *piece = (struct piece){ slot->host + at, gpa, slot->size - at < len ? slot->size - at : len };
    /* With an IOMMU each address is looked up anew, or its changes would be missed. */
    if (!view->iommu)
        remember(view, slot);
    return 0;
}

static int translate(struct gm_view *view, uint64_t iova, uint64_t *len, unsigned access,
                     gpa_t *ret_gpa)
{
    uint64_t wanted = *len;
    int rc = view->iommu->translate(view->iommu->ctx, iova, access, ret_gpa, len);

    if (rc) {
        view->awaited = rc == -EAGAIN;
        return rc == -EIO ? -EIO : -EFAULT;
    }
    if (*len > wanted)
        *len = wanted;
    return *len ? 0 : -EFAULT;
}

/* Where addr lies in the range of the last hit; NULL where it does not. Behind an IOMMU there is no
 * such range (find_ram()), so this never looks at one. */
static inline uint8_t *hit(const struct gm_view *view, uint64_t addr, unsigned access,
                           uint64_t *ret_rest)
{
    const struct gm_fast *fast = access & GM_WRITE ? &view->write : &view->read;
    uint64_t at;

    (void)__builtin_sub_overflow(addr, fast->base, &at); /* below the base: huge, so no hit */
    if (__builtin_expect(at >= fast->size, 0))
        return NULL;
    *ret_rest = fast->size - at;
    return fast->host + at;
}

static int first_piece_slow(struct gm_view *view, uint64_t addr, uint64_t len, unsigned access,
                            struct piece *piece)
{
    gpa_t gpa = addr;
    int rc = view->iommu ? translate(view, addr, &len, access, &gpa) : 0;

    return rc ? rc : find_ram(view, gpa, len, access, piece);
}

/* The first piece of [addr, addr + len), len not 0. */
static inline int first_piece(struct gm_view *view, uint64_t addr, uint64_t len, unsigned access,
                              struct piece *piece)
{
    uint64_t rest;
    uint8_t *host = hit(view, addr, access, &rest);

    if (__builtin_expect(!host, 0))
        return first_piece_slow(view, addr, len, access, piece);
    *piece = (struct piece){ host, addr, rest < len ? rest : len };
    return 0;
}

/* [addr, addr + len) stays within 64 bits; an empty one does. */
static bool range_fits(uint64_t addr, uint64_t len)
{
    return !len || len - 1 <= UINT64_MAX - addr;
}

/* Checks all of [addr, addr + len) and keeps its first PIECES_MAX pieces. *ret_count may be larger.
 */
static int resolve(struct gm_view *view, uint64_t addr, uint64_t len, unsigned access,
                   struct piece *pieces, size_t *ret_count)
{
    size_t count = 0;
    int rc;

    while (len) {
        struct piece piece;

        rc = first_piece(view, addr, len, access, &piece);
        if (rc)
            return rc;
        if (count < PIECES_MAX)
            pieces[count] = piece;
        count++;
        len -= piece.len;
        /* the last piece may end at 2^64 */
        (void)__builtin_add_overflow(addr, piece.len, &addr);
    }
    *ret_count = count;
    return 0;
}

/* What is done with each piece; ctx advances by itself. */
typedef void (*piece_fn)(struct gm_view *view, const struct piece *piece, void *ctx);

static void copy_out(struct gm_view *view, const struct piece *piece, void *ctx)
{
    uint8_t **to = ctx;

    (void)view;
    memcpy(*to, piece->host, piece->len);
    *to += piece->len;
}

static inline void mark(struct gm_view *view, const struct piece *piece)
{
    if (view->dirty)
        gm_dirty_mark(view->dirty, piece->gpa, piece->len);
}

static void copy_in(struct gm_view *view, const struct piece *piece, void *ctx)
{
    const uint8_t **from = ctx;

    memcpy(piece->host, *from, piece->len);
    *from += piece->len;
    mark(view, piece);
}

static void fill(struct gm_view *view, const struct piece *piece, void *ctx)
{
    memset(piece->host, *(const uint8_t *)ctx, piece->len);
    mark(view, piece);
}

/* The pieces behind the first PIECES_MAX are looked up again. Without an IOMMU that gives what was
 * checked: the map cannot change under the lock. */
static int do_rest(struct gm_view *view, uint64_t addr, uint64_t len, unsigned access, piece_fn fn,
                   void *ctx)
{
    while (len) {
        struct piece piece;
        int rc = first_piece(view, addr, len, access, &piece);

        if (rc)
            return rc;
        fn(view, &piece, ctx);
        len -= piece.len;
        (void)__builtin_add_overflow(addr, piece.len, &addr);
    }
    return 0;
}

/* Apart from do_pieces(), which then does not clear the array (-ftrivial-auto-var-init) in vain. */
static __attribute__((noinline)) int do_many(struct gm_view *view, uint64_t addr, uint64_t len,
                                             unsigned access, piece_fn fn, void *ctx)
{
    struct piece pieces[PIECES_MAX];
    size_t count = 0;
    int rc = resolve(view, addr, len, access, pieces, &count);

    if (rc)
        return rc;
    for (size_t i = 0; i < count && i < PIECES_MAX; i++) {
        fn(view, &pieces[i], ctx);
        len -= pieces[i].len;
        (void)__builtin_add_overflow(addr, pieces[i].len, &addr);
    }
    return do_rest(view, addr, len, access, fn, ctx);
}

/* One piece is the rule, also with a bitmap or an IOMMU. */
static inline int do_pieces(struct gm_view *view, uint64_t addr, uint64_t len, unsigned access,
                            piece_fn fn, void *ctx)
{
    struct piece piece;
    int rc;

    if (!len)
        return 0;
    if (!range_fits(addr, len))
        return -EFAULT;
    rc = first_piece(view, addr, len, access, &piece);
    if (rc)
        return rc;
    if (piece.len < len)
        return do_many(view, addr, len, access, fn, ctx);
    fn(view, &piece, ctx);
    return 0;
}

int gm_read_slow(struct gm_view *view, gpa_t gpa, void *buf, size_t len)
{
    return do_pieces(view, gpa, len, GM_READ, copy_out, &buf);
}

int gm_write_slow(struct gm_view *view, gpa_t gpa, const void *buf, size_t len)
{
    return do_pieces(view, gpa, len, GM_WRITE, copy_in, &buf);
}

int gm_fill(struct gm_view *view, gpa_t gpa, uint8_t byte, size_t len)
{
    return do_pieces(view, gpa, len, GM_WRITE, fill, &byte);
}

static int single_slow(struct gm_view *view, gpa_t gpa, unsigned size, unsigned access,
                       struct piece *piece)
{
    int rc = first_piece_slow(view, gpa, size, access, piece);

    if (rc)
        return rc;
    /* an IOMMU could translate an aligned address to an odd one, or end within the access */
    return piece->len < size || (uintptr_t)piece->host & (size - 1) ? -EFAULT : 0;
}

/* The place of one aligned access of size bytes: within a page, and so within a region. */
static inline int single(struct gm_view *view, gpa_t gpa, unsigned size, unsigned access,
                         struct piece *piece)
{
    uint64_t rest;

    if (gpa & (size - 1))
        return -EFAULT;
    piece->host = hit(view, gpa, access, &rest);
    if (__builtin_expect(!piece->host, 0))
        return single_slow(view, gpa, size, access, piece);
    piece->gpa = gpa;
    piece->len = size;
    return 0;
}

#define LOAD(BITS)                                                                        \
    int gm_load##BITS(struct gm_view *view, gpa_t gpa, uint##BITS##_t *ret)               \
    {                                                                                     \
        struct piece piece;                                                               \
        int rc = single(view, gpa, sizeof(*ret), GM_READ, &piece);                        \
        if (!rc) /* acquire: pairs with the guest's store of an index behind its data */  \
            *ret = le##BITS##toh(                                                         \
                __atomic_load_n((uint##BITS##_t *)(void *)piece.host, __ATOMIC_ACQUIRE)); \
        return rc;                                                                        \
    }
#define STORE(BITS)                                                                               \
    int gm_store##BITS(struct gm_view *view, gpa_t gpa, uint##BITS##_t v)                         \
    {                                                                                             \
        struct piece piece;                                                                       \
        int rc = single(view, gpa, sizeof(v), GM_WRITE, &piece);                                  \
        if (rc)                                                                                   \
            return rc;                                                                            \
        /* release: pairs with the guest's load of an index before its data */                    \
        __atomic_store_n((uint##BITS##_t *)(void *)piece.host, htole##BITS(v), __ATOMIC_RELEASE); \
        mark(view, &piece);                                                                       \
        return 0;                                                                                 \
    }

LOAD(16)
LOAD(32)
LOAD(64)
STORE(16)
STORE(32)
STORE(64)

int gm_cmpxchg64(struct gm_view *view, gpa_t gpa, uint64_t *expected, uint64_t v, bool *ret_done)
{
    struct piece piece;
    uint64_t old = htole64(*expected);
    int rc = single(view, gpa, sizeof(v), GM_WRITE, &piece);

    if (rc)
        return rc;
    *ret_done = __atomic_compare_exchange_n((uint64_t *)(void *)piece.host, &old, htole64(v), false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    *expected = le64toh(old);
    if (*ret_done)
        mark(view, &piece);
    return 0;
}

int gm_host(struct gm_view *view, gpa_t gpa, uint64_t len, unsigned access, void **ret_host)
{
    struct piece first, piece;
    uint64_t at;
    bool contiguous = true;
    int rc;

    if (!range_fits(gpa, len))
        return -EFAULT;
    rc = first_piece(view, gpa, len ? len : 1, access, &first);
    if (rc)
        return rc;
    for (at = first.len; at < len; at += piece.len) {
        rc = first_piece(view, gpa + at, len - at, access, &piece);
        if (rc)
            return rc;
        contiguous = contiguous && first.host + at == piece.host;
    }
    if (!contiguous)
        return -EXDEV;
    *ret_host = first.host;
    return 0;
}

/* Appends a piece, or lengthens the last element where it continues that one. */
static int append(struct iovec *iov, int max, int *count, const struct piece *piece)
{
    struct iovec *last = *count ? &iov[*count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == piece->host) {
        last->iov_len += piece->len;
        return 0;
    }
    if (*count >= max)
        return -E2BIG;
    iov[(*count)++] = (struct iovec){ piece->host, piece->len };
    return 0;
}

int gm_iov(struct gm_view *view, gpa_t gpa, uint64_t len, unsigned access, struct iovec *iov,
           int max, int *count)
{
    int rc = range_fits(gpa, len) ? 0 : -EFAULT;
    int n = *count;
    size_t last_len = n ? iov[n - 1].iov_len : 0;

    while (!rc && len) {
        struct piece piece;

        rc = first_piece(view, gpa, len, access, &piece);
        if (!rc)
            rc = append(iov, max, &n, &piece);
        if (rc)
            break;
        len -= piece.len;
        (void)__builtin_add_overflow(gpa, piece.len, &gpa);
    }
    if (!rc)
        *count = n;
    else if (*count)
        iov[*count - 1].iov_len = last_len; /* as if nothing had been joined to it */
    return rc;
}

/* Through an IOMMU the address is translated again. A driver that has unmapped it before completion
 * has broken its own buffer: those pages are passed over. */
static void mark_translated(struct gm_view *view, uint64_t iova, uint64_t len)
{
    while (len) {
        uint64_t step = len;
        gpa_t gpa;

        if (translate(view, iova, &step, GM_WRITE, &gpa)) {
            uint64_t page = GM_PAGE_BYTES - iova % GM_PAGE_BYTES;

            step = page < len ? page : len;
        } else {
            gm_dirty_mark(view->dirty, gpa, step);
        }
        len -= step;
        (void)__builtin_add_overflow(iova, step, &iova);
    }
}

void gm_written(struct gm_view *view, gpa_t gpa, uint64_t len)
{
    if (!view->dirty || !range_fits(gpa, len))
        return;
    if (view->iommu)
        mark_translated(view, gpa, len);
    else
        gm_dirty_mark(view->dirty, gpa, len);
}
