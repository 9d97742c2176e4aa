/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Guest memory: regions of RAM, maps of them, and spaces in which a map is replaced by the next
 * one. The bytes themselves are touched through views only (view.h).
 *
 *   gm_region   one piece of RAM at a fixed guest-physical address; counted references
 *   gm_map      an immutable sorted set of regions; counted references
 *   gm_space    the current map, who listens to its changes, and the views of it
 *
 * Changing a space has two phases: what is added is made known to every listener before the new map
 * is published; what is removed is taken from the listeners only when the last reference to it is
 * gone (requests in flight keep the map they began with). Both may be asynchronous, and an add that
 * one listener refuses is taken back from the others: then nothing changed.
 *
 * Addresses are guest physical, lengths are bytes. Threads: references may be taken and dropped
 * anywhere; a space is changed by one thread at a time (the machine's), beside any number of users.
 */
#ifndef VMM_VM_MEMORY_MEMORY_H
#define VMM_VM_MEMORY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/base/util.h>

typedef uint64_t gpa_t;

enum { GM_PAGE_SHIFT = 12, GM_PAGE_BYTES = 1 << GM_PAGE_SHIFT, GM_REGIONS_MAX = 512 };

enum gm_kind {
    GM_ANONYMOUS, /* private anonymous memory: cheapest, this process only */
    GM_MEMFD, /* sealed memfd that gm_region_fd() hands to other processes */
    GM_HUGETLB, /* memfd of huge pages of backing.huge_bytes */
    GM_FILE, /* backing.fd, mapped shared or private */
    GM_BORROWED, /* backing.host, memory of the caller's that outlives the region */
};

/* How a region is backed. Zeroed: private anonymous, no node, no prefault. */
struct gm_backing {
    enum gm_kind kind;
    bool shared; /* GM_FILE: writes reach the file */
    bool read_only; /* ROM: views refuse writes with -EFAULT */
    bool prefault; /* touch every page now (MADV_POPULATE_WRITE) */
    bool thp; /* madvise(MADV_HUGEPAGE); advice: no error where the kernel has none */
    bool bind_node; /* bind to host NUMA node: mbind(2) MPOL_BIND */
    unsigned node;
    int fd; /* GM_FILE: duplicated, the caller keeps its own */
    uint64_t fd_offset; /* GM_FILE: page aligned */
    uint64_t huge_bytes; /* GM_HUGETLB: 0 means the host's default size */
    void *host; /* GM_BORROWED, page aligned. NULL: this process cannot reach it, views say -EIO */
};

struct gm_region;
struct gm_map;
struct gm_space;

/* Makes RAM at [base, base + size). base and size must be multiples of GM_PAGE_BYTES, size not 0,
 * the end within 2^52. 0; -EINVAL; -ENOMEM (also: not enough huge pages); -errno of mmap,
 * memfd_create, mbind; with text. One reference belongs to the caller. */
int gm_region_new(gpa_t base, uint64_t size, const struct gm_backing *backing,
                  struct gm_region **ret_region);
struct gm_region *gm_region_ref(struct gm_region *region);
void gm_region_unref(struct gm_region *region);

gpa_t gm_region_base(const struct gm_region *region);
uint64_t gm_region_size(const struct gm_region *region);
bool gm_region_read_only(const struct gm_region *region);
/* The host address of its first byte: for the hypervisor's slots and for listeners. */
void *gm_region_host(const struct gm_region *region);
/* The file behind it and the offset of its first byte, for processes that map it too; -1 where
 * there is none (anonymous, borrowed). Borrowed from the region. */
int gm_region_fd(const struct gm_region *region, uint64_t *ret_offset);

/* A map of count regions, each referenced. 0; -EINVAL (overlap, too many); -ENOMEM; with text. */
int gm_map_new(struct gm_region *const *regions, size_t count, struct gm_map **ret_map);
struct gm_map *gm_map_ref(struct gm_map *map);
/* Not under a leaf lock. */
void gm_map_unref(struct gm_map *map);
size_t gm_map_count(const struct gm_map *map);
/* The i-th region, lowest address first; borrowed from the map. */
struct gm_region *gm_map_region(const struct gm_map *map, size_t i);
/* The region that holds gpa, or NULL; borrowed from the map. */
struct gm_region *gm_map_find(const struct gm_map *map, gpa_t gpa);
/* All bytes of RAM, and the first address behind the last region. */
uint64_t gm_map_bytes(const struct gm_map *map);
gpa_t gm_map_end(const struct gm_map *map);

/* A listener: KVM's slots, VFIO, vhost, a peer. Both calls come in the thread that changes the
 * space. Each returns 0, or -EINPROGRESS and calls gm_listener_done() once later in the same
 * thread's loop, or another -errno with text. remove may not refuse: an error is logged and counts
 * as done. A space tells of one region at a time, all listeners side by side, so that
 * gm_listener_done() need not name it. Neither call may change the space, nor its listeners. */
struct gm_listener {
    const char *name; /* for messages; borrowed */
    int (*add)(struct gm_listener *listener, struct gm_region *region);
    int (*remove)(struct gm_listener *listener, struct gm_region *region);
    /* Only for gm_listener_abandon(): the space does not know it any more, and it may be freed. The space's thread. */
    void (*abandoned)(struct gm_listener *listener);
    struct gm_space *space; /* from here on the space's */
    bool left;
    struct vm_list node;
    uint64_t since;
    int pending;
};

/* env is borrowed for the space's life. The first map is empty. */
int gm_space_new(const struct vm_env *env, struct gm_space **ret_space);
/* No view, listener, pin, change or removal (gm_change.removed) may be left; maps may, and keep
 * their regions. */
void gm_space_free(struct gm_space *space);

/* Tells the listener of every present region first. 0; -EBUSY (a change is under way); or what its
 * add said: then it is not registered, and what it had taken was removed again (-EINPROGRESS is not
 * allowed here). */
int gm_listener_add(struct gm_space *space, struct gm_listener *listener);
/* No calls come any more, no remove either; one that is awaited counts as done. */
void gm_listener_del(struct gm_listener *listener);
/* The same from any thread, as soon as the space's comes to it, and before the space is freed at the latest: then abandoned(). Until
 * then calls may still come. */
void gm_listener_abandon(struct gm_listener *listener);
/* Sets the result of the call that is under way, with text; harmless after gm_listener_del(). */
void gm_listener_done(struct gm_listener *listener, int code);

/* Adds and removes regions at once. 0: published; -EINPROGRESS: done comes once later with the
 * result (text as the thread's); -EBUSY: another change is under way, or an added region overlaps
 * one that requests in flight still use; -EINVAL (overlap, also with one removed here; not there)
 * or what a listener said, with text: nothing changed. The arrays are borrowed for the call.
 *
 * Removed regions leave the listeners when the last map that holds them is gone. Where nobody else
 * holds one, that is within this call (or within the gm_listener_done() that publishes). Otherwise
 * gm_map_unref() posts it to env->loop, whatever thread it is called in, since its caller may hold
 * locks; where env->loop is NULL, the listeners are called from gm_map_unref() itself, which then
 * belongs to the space's thread, without locks. removed, if given, comes once when that has
 * happened for all, or at publication when nothing is removed; never after an error. From done and
 * removed the next change may be begun. */
struct gm_change {
    struct gm_region *const *add, *const *remove;
    size_t add_count, remove_count;
    void (*done)(void *ctx, int code);
    void (*removed)(void *ctx);
    void *ctx;
};
int gm_space_change(struct gm_space *space, const struct gm_change *change);

/* The current map with a new reference. */
struct gm_map *gm_space_map(struct gm_space *space);

/* The loop of the thread that changes the space; NULL: there is none. */
struct vm_loop *gm_space_loop(const struct gm_space *space);

/* Pinned pages (VFIO, registered buffers) and discarded ones (balloon, free page reporting,
 * virtio-mem, userfaultfd) exclude each other: -EBUSY with the other's name in the text. who is
 * borrowed until the matching end. Any thread. */
int gm_pin_begin(struct gm_space *space, const char *who);
void gm_pin_end(struct gm_space *space, const char *who);
int gm_discard_begin(struct gm_space *space, const char *who);
void gm_discard_end(struct gm_space *space, const char *who);

/* How large a piece of the region the host takes back at once: its page size, or that of the huge pages behind it. Not for
 * threads with a filter: it asks the file system. */
uint64_t gm_region_discard_unit(const struct gm_region *region);
/* Gives [gpa, gpa + len) back to the host, with one system call for each region that it touches: who reads it next, in whatever
 * process maps the same file, finds zeros. Between gm_discard_begin() and its end. A piece that is no multiple of its
 * region's unit may be kept (huge pages) or refused. 0, or without text -EFAULT (not RAM, or read only; nothing is given
 * back), -EIO (memory that this process cannot reach), -ENOTSUP (a private mapping of a file, or borrowed memory, whose bytes would come back), -errno of
 * madvise(2) or fallocate(2); what came before it has been given back. Any thread that holds a reference to the map. */
int gm_discard(const struct gm_map *map, gpa_t gpa, uint64_t len);

#endif
