/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front end's memory ("Memory regions description", SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG) as regions of the device's space,
 * and the log of what the device writes ("Migration").
 *
 * A change of the table is a change of the space: what stays is left alone, what goes away is removed while the device is at rest,
 * then what is new is added. A region stays where file, offset, guest address and size are the same.
 */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vmm/base/check.h>
#include <vmm/base/fd.h>

/* linux/magic.h has it since 6.0; fs/fuse/inode.c */
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* One bit for each page of 2^52 bytes. */
#define LOG_BYTES_MAX (1ULL << 37)

static bool by_guest_address(const struct vhost_backend *b)
{
    return b->protocol & VHOST_PROTOCOL(GPA_ADDRESSES);
}

/* ---- files ---- */

/* A file that is shorter than its mapping, or whose server may let us wait for a page, would stop this process. */
int vhost_backend_check_file(int fd, const char *what, uint64_t offset, uint64_t size)
{
    int flags = fcntl(fd, F_GETFL);
    struct statfs fs;
    struct stat st;

    if (flags < 0 || vm_fstat(fd, &st) || fstatfs(fd, &fs))
        return vm_fail_errno("%s", what);
    if (!S_ISREG(st.st_mode))
        return vm_fail(-EINVAL, "%s: fd is not a file", what);
    if ((flags & O_ACCMODE) != O_RDWR)
        return vm_fail(-EACCES, "%s: fd is not open for reading and writing", what);
    if ((unsigned long)fs.f_type == FUSE_SUPER_MAGIC)
        return vm_fail(-EINVAL, "%s: a file of a FUSE file system cannot be shared memory", what);
    if (!vm_range_in(offset, size, (uint64_t)st.st_size))
        return vm_fail(-EINVAL, "%s: %#llx bytes at %#llx of a file of %#llx", what,
                       (unsigned long long)size, (unsigned long long)offset,
                       (unsigned long long)st.st_size);
    return 0;
}

/* ---- regions ---- */

static int check_region(const struct vhost_region *r)
{
    uint64_t end;

    if (!r->size || (r->guest_addr | r->size | r->mmap_offset) & (GM_PAGE_BYTES - 1))
        return vm_fail(-EINVAL,
                       "memory region at %#llx, %#llx bytes at %#llx of its file: not whole pages",
                       (unsigned long long)r->guest_addr, (unsigned long long)r->size,
                       (unsigned long long)r->mmap_offset);
    if (!vm_add(r->user_addr, r->size, &end) || !vm_add(r->guest_addr, r->size, &end))
        return vm_fail(-EINVAL, "memory region at %#llx (%#llx), %#llx bytes: wraps around",
                       (unsigned long long)r->guest_addr, (unsigned long long)r->user_addr,
                       (unsigned long long)r->size);
    return 0;
}

static int open_region(struct vhost_memory *a, int fd)
{
    const struct vhost_region *r = &a->r;
    struct gm_backing backing = {
        .kind = GM_FILE, .shared = true, .fd = fd, .fd_offset = r->mmap_offset
    };
    int rc = vhost_backend_check_file(fd, "memory region", r->mmap_offset, r->size);
    struct stat st;

    if (!rc && vm_fstat(fd, &st))
        rc = vm_fail_errno("memory region");
    if (!rc)
        rc = gm_region_new(r->guest_addr, r->size, &backing, &a->region);
    if (rc)
        return rc;
    a->dev = st.st_dev;
    a->ino = st.st_ino;
    return 0;
}

static bool same_memory(const struct vhost_memory *a, const struct vhost_memory *b)
{
    return a->r.guest_addr == b->r.guest_addr && a->r.size == b->r.size &&
           a->r.mmap_offset == b->r.mmap_offset && a->dev == b->dev && a->ino == b->ino;
}

static const struct vhost_memory *find_same(const struct vhost_memory_table *areas,
                                            const struct vhost_memory *a)
{
    for (unsigned i = 0; i < areas->count; i++)
        if (same_memory(&areas->area[i], a))
            return &areas->area[i];
    return NULL;
}

static void drop_regions(struct vhost_memory_table *areas)
{
    while (areas->count)
        gm_region_unref(areas->area[--areas->count].region);
}

static int check_overlap(const struct vhost_backend *b, const struct vhost_region *r)
{
    for (unsigned i = 0; i < b->want.count; i++) {
        const struct vhost_region *o = &b->want.area[i].r;

        if (vm_ranges_overlap(o->guest_addr, o->size, r->guest_addr, r->size) ||
            (!by_guest_address(b) &&
             vm_ranges_overlap(o->user_addr, o->size, r->user_addr, r->size)))
            return vm_fail(-EEXIST, "memory regions at %#llx and %#llx overlap",
                           (unsigned long long)o->guest_addr, (unsigned long long)r->guest_addr);
    }
    return 0;
}

/* Another one of the table that is to be. */
static int want_region(struct vhost_backend *b, const struct vhost_region *r, int fd)
{
    struct vhost_memory a = { .r = *r };
    const struct vhost_memory *old;
    int rc = check_region(r);

    if (!rc && b->want.count == GM_REGIONS_MAX)
        rc = vm_fail(-ENOSPC, "more than %d memory regions", GM_REGIONS_MAX);
    if (!rc)
        rc = check_overlap(b, r);
    if (!rc)
        rc = open_region(&a, fd);
    if (rc)
        return rc;
    old = find_same(&b->have, &a);
    if (old) {
        gm_region_unref(a.region);
        a.region = gm_region_ref(old->region);
    }
    b->want.area[b->want.count++] = a;
    return 0;
}

static void want_what_is(struct vhost_backend *b)
{
    for (unsigned i = 0; i < b->have.count; i++) {
        b->want.area[i] = b->have.area[i];
        gm_region_ref(b->have.area[i].region);
    }
    b->want.count = b->have.count;
}

/* ---- a change ---- */

/* Regions of `of` that are not in `without`. */
static size_t difference(const struct vhost_memory_table *of,
                         const struct vhost_memory_table *without,
                         struct gm_region *ret[GM_REGIONS_MAX])
{
    size_t n = 0;

    for (unsigned i = 0; i < of->count; i++)
        if (!find_same(without, &of->area[i]))
            ret[n++] = of->area[i].region;
    return n;
}

static void change_done(void *ctx, int code)
{
    struct vhost_backend *b = ctx;

    b->result = code;
    if (code)
        vhost_backend_step(b);
}

static void change_removed(void *ctx)
{
    struct vhost_backend *b = ctx;

    b->result = 0;
    vhost_backend_step(b);
}

/* next comes when the space has changed, with b->result. */
static void change(struct vhost_backend *b, struct gm_change *c,
                   void (*next)(struct vhost_backend *b))
{
    int rc;

    c->done = change_done;
    c->removed = change_removed;
    c->ctx = b;
    vhost_backend_wait(b, next);
    rc = gm_space_change(b->space, c);
    if (rc && rc != -EINPROGRESS)
        change_done(b, rc);
}

/* The areas that the space has after a change that went wrong half way: those of both tables. */
static void keep_common(struct vhost_backend *b)
{
    for (unsigned i = 0; i < b->want.count;) {
        if (find_same(&b->have, &b->want.area[i])) {
            i++;
            continue;
        }
        gm_region_unref(b->want.area[i].region);
        b->want.area[i] = b->want.area[--b->want.count];
    }
}

static void added(struct vhost_backend *b)
{
    int rc = b->result;

    if (rc)
        keep_common(b);
    drop_regions(&b->have);
    b->have = b->want;
    b->want.count = 0;
    vhost_backend_rings_check(b);
    if (!rc)
        rc = vhost_backend_postcopy_tell(b);
    if (rc <= 0)
        vhost_backend_answer(b, rc);
}

static void add(struct vhost_backend *b)
{
    struct gm_region *regions[GM_REGIONS_MAX];
    struct gm_change c = { .add = regions };

    c.add_count = difference(&b->want, &b->have, regions);
    change(b, &c, added);
}

static void removed(struct vhost_backend *b)
{
    if (b->result) {
        drop_regions(&b->want);
        vhost_backend_answer(b, b->result);
        return;
    }
    add(b);
}

static void remove_old(struct vhost_backend *b)
{
    struct gm_region *regions[GM_REGIONS_MAX];
    struct gm_change c = { .remove = regions };

    c.remove_count = difference(&b->have, &b->want, regions);
    change(b, &c, removed);
}

/* From what is to what is wanted; the message is answered when it is so. */
static int apply(struct vhost_backend *b, const struct vhost_message *m)
{
    struct gm_region *regions[GM_REGIONS_MAX];

    bool removes = difference(&b->have, &b->want, regions);

    /* Also where nothing is removed: the same memory may be at other user addresses, and then rings are stopped. */
    if (vhost_backend_rings_active(b))
        vhost_backend_rest_then(b, removes ? remove_old : add);
    else if (removes)
        remove_old(b);
    else
        add(b);
    return vhost_backend_later(b, m);
}

/* ---- messages ---- */

bool vhost_backend_range_to_guest(const struct vhost_backend *b, uint64_t user, uint64_t size,
                                  gpa_t *ret_gpa)
{
    for (unsigned i = 0; i < b->have.count; i++) {
        const struct vhost_region *r = &b->have.area[i].r;
        uint64_t base = by_guest_address(b) ? r->guest_addr : r->user_addr;

        if (user >= base && vm_range_in(user - base, size, r->size)) {
            *ret_gpa = r->guest_addr + (user - base);
            return true;
        }
    }
    return false;
}

bool vhost_backend_to_guest(const struct vhost_backend *b, uint64_t user, gpa_t *ret_gpa)
{
    if (!by_guest_address(b) && !vhost_backend_iotlb_on(b))
        return vhost_backend_range_to_guest(b, user, 1, ret_gpa);
    *ret_gpa = user;
    return true;
}

int vhost_backend_set_table(struct vhost_backend *b, struct vhost_message *m)
{
    int rc = 0;

    if (vhost_backend_postcopy_acked(b, m))
        return 0;
    b->want.count = 0;
    for (unsigned i = 0; !rc && i < m->payload.table.count; i++)
        rc = want_region(b, &m->payload.table.region[i], m->fd[i]);
    if (rc) {
        drop_regions(&b->want);
        return vm_wrap(rc, "SET_MEM_TABLE");
    }
    return apply(b, m);
}

/* QEMU up to 7.2 says it again for each pair of a network device's queues, and takes each one back. Other numbers at these addresses,
 * or another file, are no repetition. Postcopy has an answer of its own for each region: there it is refused. */
static struct vhost_memory *find_repeated(struct vhost_backend *b, const struct vhost_region *r,
                                          int fd)
{
    struct stat st;

    for (unsigned i = 0; !b->postcopy.listening && i < b->have.count; i++) {
        struct vhost_memory *o = &b->have.area[i];

        if (!memcmp(&o->r, r, sizeof(*r)) && !vm_fstat(fd, &st) && st.st_dev == o->dev &&
            st.st_ino == o->ino && o->repeated < UINT32_MAX)
            return o;
    }
    return NULL;
}

int vhost_backend_add_region(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_memory *old = find_repeated(b, &m->payload.single.region, m->fd[0]);
    int rc;

    if (old) {
        old->repeated++;
        return 0;
    }
    want_what_is(b);
    rc = want_region(b, &m->payload.single.region, m->fd[0]);
    if (rc) {
        drop_regions(&b->want);
        return vm_wrap(rc, "ADD_MEM_REG");
    }
    return apply(b, m);
}

/* "Identified by its guest address, user address and size". */
int vhost_backend_remove_region(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_region *r = &m->payload.single.region;
    unsigned i;

    for (i = 0; i < b->have.count; i++) {
        const struct vhost_region *o = &b->have.area[i].r;

        if (o->guest_addr == r->guest_addr && o->size == r->size &&
            (by_guest_address(b) || o->user_addr == r->user_addr))
            break;
    }
    if (i == b->have.count)
        return vm_fail(-ENOENT, "REM_MEM_REG: no region of %#llx bytes at %#llx",
                       (unsigned long long)r->size, (unsigned long long)r->guest_addr);
    if (b->have.area[i].repeated) {
        b->have.area[i].repeated--;
        return 0;
    }
    want_what_is(b);
    gm_region_unref(b->want.area[i].region);
    b->want.area[i] = b->want.area[--b->want.count];
    return apply(b, m);
}

void vhost_backend_memory_drop(struct vhost_backend *b, void (*next)(struct vhost_backend *b))
{
    struct gm_region *regions[GM_REGIONS_MAX];
    struct gm_change c = { .remove = regions };

    drop_regions(&b->want);
    c.remove_count = difference(&b->have, &b->want, regions);
    change(b, &c, next);
    drop_regions(&b->have); /* whoever still needs one holds a reference */
}

/* ---- the log ---- */

static void unmap_log(struct vhost_backend *b)
{
    gm_dirty_free(b->dirty);
    if (b->log)
        munmap(b->log, b->log_bytes);
    b->dirty = NULL;
    b->log = NULL;
}

void vhost_backend_log_update(struct vhost_backend *b)
{
    bool on = b->features & VHOST_FEATURE_LOG_ALL;
    struct gm_dirty *dirty;

    for (uint16_t n = 0; n < b->dev->queues; n++)
        on = on || b->ring[n].addr.flags & VHOST_RING_LOG;
    dirty = on ? b->dirty : NULL;
    vhost_backend_lock(b);
    if (b->dev->view.dirty != dirty)
        gm_view_set_dirty(&b->dev->view, dirty);
    vhost_backend_unlock(b);
}

void vhost_backend_log_drop(struct vhost_backend *b)
{
    vhost_backend_lock(b);
    if (b->dev->view.dirty)
        gm_view_set_dirty(&b->dev->view, NULL);
    vhost_backend_unlock(b);
    unmap_log(b);
}

/* [offset, offset + size) of the file: the mapping begins at the page before. */
static int map_log(int fd, uint64_t offset, uint64_t size, void **ret_map, size_t *ret_bytes,
                   struct gm_dirty **ret_dirty)
{
    uint64_t head = offset & (GM_PAGE_BYTES - 1);
    void *map;
    int rc;

    if (!size || size > LOG_BYTES_MAX)
        return vm_fail(-EINVAL, "SET_LOG_BASE: a log of %#llx bytes", (unsigned long long)size);
    rc = vhost_backend_check_file(fd, "SET_LOG_BASE", offset, size);
    if (rc)
        return rc;
    map = mmap(NULL, size + head, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset - head));
    if (map == MAP_FAILED)
        return vm_fail_errno("SET_LOG_BASE: mmap");
    rc = gm_dirty_new_at((uint8_t *)map + head, size, ret_dirty);
    if (rc) {
        munmap(map, size + head);
        return rc;
    }
    *ret_map = map;
    *ret_bytes = size + head;
    return 0;
}

/* Always answered; a front end that believed in a log that is not there would lose writes, so a bad one ends the connection. */
int vhost_backend_set_log(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_message reply = { .request = m->request,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = sizeof(uint64_t) };
    struct gm_dirty *dirty;
    size_t bytes;
    void *map;
    int rc;

    if (!m->fds || m->size != sizeof(m->payload.log))
        return vm_fail(-EINVAL, "SET_LOG_BASE: without a file there is no log");
    rc = map_log(m->fd[0], m->payload.log.offset, m->payload.log.size, &map, &bytes, &dirty);
    if (rc)
        return rc;
    vhost_backend_log_drop(b);
    b->log = map;
    b->log_bytes = bytes;
    b->dirty = dirty;
    vhost_backend_log_update(b);
    (void)vhost_channel_send(b->channel, &reply);
    return 0;
}
