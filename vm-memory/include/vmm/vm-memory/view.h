/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Views: the only way to touch guest bytes. Every call checks that the whole range is RAM this view
 * may use before it moves a byte, and marks what it copied as dirty; who writes through an iovec or
 * a host pointer calls gm_written() at completion.
 *
 * A view belongs to one user (a device, or one queue lane) and is used under that user's lock,
 * which the space takes for a moment when it replaces the map. Host pointers and iovecs from a view
 * stay valid until the lock is released, or as long as the caller holds a reference to
 * gm_view_map().
 *
 * The bytes may change under us at any time (the guest runs). Copies are made once; loads and
 * stores of 2, 4 and 8 bytes at aligned addresses are single accesses.
 *
 * Results: 0, or -EFAULT (not RAM, or not writable, or the IOMMU refuses) or -EIO (RAM that this
 * device cannot reach). Data paths: no text.
 */
#ifndef VMM_VM_MEMORY_VIEW_H
#define VMM_VM_MEMORY_VIEW_H

#include <sys/uio.h>

#include <vmm/base/check.h>
#include <vmm/base/lock.h>
#include <vmm/vm-memory/memory.h>

enum gm_access { GM_READ = 1, GM_WRITE = 2 };

/* A bitmap of dirty pages of GM_PAGE_BYTES, from address 0. */
struct gm_dirty;

/* Covers [0, end). atomic: marked from several threads, or taken while it is marked. 0 or -ENOMEM.
 */
int gm_dirty_new(gpa_t end, bool atomic, struct gm_dirty **ret_dirty);
/* The same over memory of the caller's (a vhost log) that outlives it: page N is bit N % 8 of byte
 * N / 8, as vhost has it; any alignment; atomic. */
int gm_dirty_new_at(void *log, size_t log_bytes, struct gm_dirty **ret_dirty);
void gm_dirty_free(struct gm_dirty *dirty);
void gm_dirty_mark(struct gm_dirty *dirty, gpa_t gpa, uint64_t len);
/* Ors the words of [first_page, first_page + 64 * words) into ret_words and clears them. first_page
 * must be a multiple of 64. Beyond the end: zero. Returns how many pages were dirty. */
uint64_t gm_dirty_take(struct gm_dirty *dirty, uint64_t first_page, uint64_t *ret_words,
                       size_t words);

/* An IOMMU domain in front of a space: translates one address at a time. Called under the view's
 * lock. */
struct gm_iommu {
    void *ctx;
    /* Guest-physical address of iova, and in *ret_len (in: wanted) how far it stays contiguous. 0;
     * -EFAULT or -EIO (handed on); -EAGAIN: it is not known yet, and who uses the view will be told
     * to look again (handed on as -EFAULT, with view->awaited set). access: enum gm_access bits that
     * must be allowed. */
    int (*translate)(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len);
    /* Changes whenever a translation was removed or changed: cached host pointers are looked up
     * anew. Written by __atomic_fetch_add() with release. */
    uint32_t generation;
    struct gm_iommu_watch *watch; /* who else must know; borrowed; NULL: nobody can */
};

/* Who keeps copies of an IOMMU's translations (a vhost back end, beside the views) and must give up those that changed before a
 * driver may be told that they have. Any thread. */
struct gm_iommu_watch {
    struct vm_lock lock;
    struct vm_list listeners;
    unsigned waiting;
    bool busy;
    void (*done)(void *ctx);
    void *ctx;
};
struct gm_iommu_listener {
    /* [iova, last] does not translate as before. Posts, and takes no lock. 0: no copy is left; -EINPROGRESS:
     * gm_iommu_listener_done() follows. */
    int (*changed)(struct gm_iommu_listener *listener, uint64_t iova, uint64_t last);
    struct gm_iommu_watch *watch; /* from here on the watch's */
    struct vm_list node;
    bool awaited;
};

void gm_iommu_watch_init(struct gm_iommu_watch *watch);
/* No listener may be left. */
void gm_iommu_watch_exit(struct gm_iommu_watch *watch);
void gm_iommu_listener_add(struct gm_iommu_watch *watch, struct gm_iommu_listener *listener);
/* Counts as done. Harmless for one that is not added. */
void gm_iommu_listener_del(struct gm_iommu_listener *listener);
/* Harmless when it is not awaited. */
void gm_iommu_listener_done(struct gm_iommu_listener *listener);
/* After the translations of [iova, last] were changed or removed. 0: nobody uses the old ones; -EINPROGRESS: done() comes when
 * nobody does, in any thread; -EBUSY, with text: the last change is still told, and nobody was told of this one. */
int gm_iommu_changed(struct gm_iommu *iommu, uint64_t iova, uint64_t last, void (*done)(void *ctx),
                     void *ctx);

struct gm_fast { /* last hit: an access inside it needs no search */
    gpa_t base;
    uint64_t size; /* 0: none */
    uint8_t *host; /* never NULL, so that empty copies are defined */
};

/* True when [gpa, gpa + len) lies in the range; *ret_at is then the offset. Below its base the
 * difference wraps to a huge number, and the sum wraps or is larger than size: one compare and one
 * carry. */
static inline bool gm_fast_hit(const struct gm_fast *fast, gpa_t gpa, uint64_t len,
                               uint64_t *ret_at)
{
    uint64_t end;

    (void)__builtin_sub_overflow(gpa, fast->base, ret_at);
    return __builtin_expect(!__builtin_add_overflow(*ret_at, len, &end) && end <= fast->size, 1);
}

struct gm_view {
    struct gm_map *map; /* referenced */
    struct gm_fast read, write;
    struct gm_dirty *dirty; /* borrowed; NULL: nothing is tracked */
    const struct gm_iommu *iommu; /* borrowed; NULL: addresses are guest physical */
    bool awaited; /* the last translation that failed did so with -EAGAIN */
    uint32_t generation; /* changes with the map: cached host pointers are looked up anew */
    struct gm_space *space;
    struct vm_lock *lock; /* the user's; NULL: the space's owner and the user are one thread */
    struct vm_list node;
};

/* Registers the view; lock is borrowed until gm_view_exit(). Neither with the lock held; any
 * thread. exit waits while the space is just replacing this view's map. */
void gm_view_init(struct gm_view *view, struct gm_space *space, struct vm_lock *lock);
void gm_view_exit(struct gm_view *view);

/* Under the view's lock. Both change the generation. */
void gm_view_set_dirty(struct gm_view *view, struct gm_dirty *dirty);
void gm_view_set_iommu(struct gm_view *view, const struct gm_iommu *iommu);

/* The map in use, with a new reference that keeps host pointers alive beyond the lock. */
struct gm_map *gm_view_map(const struct gm_view *view);

/* What a cached host pointer must be compared with before use. */
static inline uint64_t gm_view_stamp(const struct gm_view *view)
{
    /* acquire: pairs with the release of who changed the translation */
    uint32_t iommu = view->iommu ? __atomic_load_n(&view->iommu->generation, __ATOMIC_ACQUIRE) : 0;

    return (uint64_t)view->generation << 32 | iommu;
}

/* The slow path of the copies below: spans regions, translates, searches. */
int gm_read_slow(struct gm_view *view, gpa_t gpa, void *buf, size_t len);
int gm_write_slow(struct gm_view *view, gpa_t gpa, const void *buf, size_t len);

/* Copies out of the guest, or into it. All or nothing (but: behind the 32nd discontiguous piece of
 * one copy the IOMMU is asked a second time, and may then say no). len 0 touches nothing and is
 * always 0: with an empty range gpa need not be RAM. The same holds for gm_fill() and gm_iov(). */
static inline int gm_read(struct gm_view *view, gpa_t gpa, void *buf, size_t len)
{
    uint64_t at;

    if (gm_fast_hit(&view->read, gpa, len, &at)) {
        __builtin_memcpy(buf, view->read.host + at, len);
        return 0;
    }
    return gm_read_slow(view, gpa, buf, len);
}

static inline int gm_write(struct gm_view *view, gpa_t gpa, const void *buf, size_t len)
{
    uint64_t at;

    if (__builtin_expect(!view->dirty, 1) && gm_fast_hit(&view->write, gpa, len, &at)) {
        __builtin_memcpy(view->write.host + at, buf, len);
        return 0;
    }
    return gm_write_slow(view, gpa, buf, len);
}

int gm_fill(struct gm_view *view, gpa_t gpa, uint8_t byte, size_t len);

/* Single accesses of the natural size: acquire loads and release stores, little endian as in the
 * guest. The address must be aligned to the size, else -EFAULT. */
int gm_load16(struct gm_view *view, gpa_t gpa, uint16_t *ret);
int gm_load32(struct gm_view *view, gpa_t gpa, uint32_t *ret);
int gm_load64(struct gm_view *view, gpa_t gpa, uint64_t *ret);
int gm_store16(struct gm_view *view, gpa_t gpa, uint16_t v);
int gm_store32(struct gm_view *view, gpa_t gpa, uint32_t v);
int gm_store64(struct gm_view *view, gpa_t gpa, uint64_t v);
/* Compare and exchange; *expected gets what was there, true in *ret_done when it was replaced. */
int gm_cmpxchg64(struct gm_view *view, gpa_t gpa, uint64_t *expected, uint64_t v, bool *ret_done);

/* The host address of [gpa, gpa + len) where it is contiguous there; -EXDEV where it is RAM but is
 * not. len 0 asks for the address of gpa alone. */
int gm_host(struct gm_view *view, gpa_t gpa, uint64_t len, unsigned access, void **ret_host);

/* Appends [gpa, gpa + len) to iov[*count], at most max elements in all (-E2BIG beyond). On error
 * *count is unchanged. Adjacent pieces are joined, also with the last element of before. */
int gm_iov(struct gm_view *view, gpa_t gpa, uint64_t len, unsigned access, struct iovec *iov,
           int max, int *count);

/* Marks what was written through a host pointer or an iovec. Behind an IOMMU: before the driver may
 * unmap the buffer (before its completion is visible), for the address is translated again. */
void gm_written(struct gm_view *view, gpa_t gpa, uint64_t len);

#endif
