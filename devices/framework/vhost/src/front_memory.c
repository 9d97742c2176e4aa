/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The back end's memory. User addresses are the guest's, so that a back end learns nothing of our address space.
 *
 * While it has memory of ours it is told of every change, at once: what is added before anybody can use it (and if the back end does
 * not take it, it is not added), what is removed when its last user is gone, and neither has ended before the back end has said that it
 * has done it, or is gone. One that has none is told when its rings start.
 *
 *   the space's thread:  add(), remove() --post--> [the loop's thread: told() ... ended()] --post--> gm_listener_done()
 *
 * What both threads touch is in struct front_memory, under its lock; it belongs to the space, which frees it, for a device may be
 * destroyed in either.
 */
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct front_memory {
    struct gm_listener listener;
    struct vm_loop *space_loop, *front_loop;
    struct vm_work work, end_work; /* of the front end's loop; of the space's */
    struct vm_lock lock; /* guards what follows; a leaf */
    struct vhost_front *front; /* NULL: it is gone */
    struct gm_region *known[GM_REGIONS_MAX]; /* referenced: what there is for the back end */
    size_t count;
    bool there; /* a back end has memory of ours */
    uint64_t slots; /* that it has */
    bool awaited; /* gm_listener_done() is owed */
    struct gm_region *adding; /* NULL: it is removed */
    struct vm_error result;
};

/* ---- what there is ---- */

/* What other processes can map. The rest (a page of the machine's own for stolen time, say) is out of the back end's reach. */
static bool is_shared(const struct gm_region *region)
{
    uint64_t offset;

    return gm_region_fd(region, &offset) >= 0;
}

static bool is_in(struct gm_region *const *regions, size_t count, const struct gm_region *region)
{
    for (size_t i = 0; i < count; i++)
        if (regions[i] == region)
            return true;
    return false;
}

/* True when it was there. */
static bool take_out(struct gm_region **regions, size_t *count, struct gm_region *region)
{
    for (size_t i = 0; i < *count; i++)
        if (regions[i] == region) {
            regions[i] = regions[--*count];
            gm_region_unref(region);
            return true;
        }
    return false;
}

static int describe(struct gm_region *region, struct vhost_region *ret)
{
    *ret = (struct vhost_region){ .guest_addr = gm_region_base(region),
                                  .size = gm_region_size(region),
                                  .user_addr = gm_region_base(region) };
    return gm_region_fd(region, &ret->mmap_offset);
}

/* ---- telling it ---- */

static int refused(struct vhost_front *f, struct vhost_message *untrusted)
{
    struct front_memory *m = f->memory;
    struct gm_region *adding;
    char text[24];
    int rc = vm_fail(-EPROTO, "the back end refuses %s (%#llx)",
                     vhost_message_name(VHOST_FRONT, untrusted->request, text),
                     (unsigned long long)untrusted->payload.u64);

    vm_lock_acquire(&m->lock);
    adding = m->adding;
    if (adding && untrusted->request == VHOST_USER_ADD_MEM_REG)
        vm_error_save(vm_fail(-ENOSPC, "%s", vm_error_text()), &m->result);
    else
        adding = NULL;
    vm_lock_release(&m->lock);
    return adding && take_out(f->sent, &f->sent_count, adding) ? 0 : rc;
}

/* Only of memory that comes while rings run the back end may say no. */
static int taken(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    return untrusted->payload.u64 ? refused(f, untrusted) : 0;
}

static int tell(struct vhost_front *f, struct vhost_message *m)
{
    if (!front_has(f, VHOST_PROTOCOL(REPLY_ACK)))
        return vhost_front_send(f, m);
    m->flags |= VHOST_MESSAGE_NEED_REPLY;
    return vhost_front_call(f, m, 0, taken);
}

static int send_table(struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_SET_MEM_TABLE, 8);

    for (size_t i = 0; i < count; i++)
        m.fd[i] = describe(regions[i], &m.payload.table.region[i]);
    m.fds = m.payload.table.count = (uint32_t)count;
    m.size += m.fds * (uint32_t)sizeof(struct vhost_region);
    if (f->postcopy.listening)
        return vhost_front_postcopy_table(f, &m);
    return tell(f, &m);
}

static int send_region(struct vhost_front *f, uint32_t request, struct gm_region *region)
{
    struct vhost_message m = vhost_front_message(request, sizeof(struct vhost_single));
    int fd = describe(region, &m.payload.single.region);

    if (request == VHOST_USER_ADD_MEM_REG) {
        m.fds = 1;
        m.fd[0] = fd;
    }
    return tell(f, &m);
}

/* From what the back end has to what there is: what went away first, since its addresses may be somebody else's now. */
static int send_difference(struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < f->sent_count; i++)
        if (!is_in(regions, count, f->sent[i]))
            rc = send_region(f, VHOST_USER_REM_MEM_REG, f->sent[i]);
    for (size_t i = 0; !rc && i < count; i++)
        if (!is_in(f->sent, f->sent_count, regions[i]))
            rc = send_region(f, VHOST_USER_ADD_MEM_REG, regions[i]);
    return rc;
}

static bool has_all(const struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_in(f->sent, f->sent_count, regions[i]))
            return false;
    return count == f->sent_count;
}

static int check_count(size_t count, uint64_t slots)
{
    if (!count)
        return vm_fail(-ENOTSUP, "guest memory is private to this process: a device in another "
                                 "process needs shared memory");
    if (count > slots)
        return vm_fail(-ENOTSUP, "guest memory has %zu regions, the back end takes %llu", count,
                       (unsigned long long)slots);
    return 0;
}

/* From here on add() and remove_region() wait for the back end. */
static size_t snapshot(struct vhost_front *f, struct gm_region *ret[GM_REGIONS_MAX])
{
    struct front_memory *m = f->memory;
    size_t count;

    vm_lock_acquire(&m->lock);
    count = m->count;
    for (size_t i = 0; i < count; i++)
        ret[i] = gm_region_ref(m->known[i]);
    m->there = true;
    m->slots = f->slots_there;
    vm_lock_release(&m->lock);
    return count;
}

static void forget(struct vhost_front *f)
{
    while (f->sent_count)
        gm_region_unref(f->sent[--f->sent_count]);
}

void vhost_front_memory_again(struct vhost_front *f)
{
    forget(f);
}

int vhost_front_memory_send(struct vhost_front *f)
{
    struct gm_region *regions[GM_REGIONS_MAX];
    size_t count = snapshot(f, regions);
    int rc = check_count(count, f->slots_there);

    if (!rc && !has_all(f, regions, count))
        rc = front_has(f, VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS)) ? send_difference(f, regions, count)
                                                               : send_table(f, regions, count);
    forget(f);
    memcpy(f->sent, regions, count * sizeof(*regions));
    f->sent_count = count;
    return rc;
}

/* ---- the loop's thread ---- */

static void end_posted(struct vm_work *work)
{
    struct front_memory *m = container_of(work, struct front_memory, end_work);

    gm_listener_done(&m->listener, vm_error_restore(&m->result));
}

/* The change has ended here; its result is in memory.result. */
static void ended(struct front_memory *m)
{
    vm_lock_acquire(&m->lock);
    if (m->awaited) {
        m->awaited = false;
        if (m->result.code)
            take_out(m->known, &m->count, m->adding);
        m->adding = NULL;
        vm_loop_post(m->space_loop ? m->space_loop : m->front_loop, &m->end_work, end_posted);
    }
    vm_lock_release(&m->lock);
}

/* Messages are taken in order: with this answer the back end has done all that was asked before. */
static int told(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    (void)untrusted;
    ended(f->memory);
    return 0;
}

static int tell_change(struct vhost_front *f)
{
    struct vhost_message barrier = vhost_front_message(VHOST_USER_GET_FEATURES, 0);
    bool removes;
    int rc = 0;

    vm_lock_acquire(&f->memory->lock);
    removes = !f->memory->adding;
    vm_lock_release(&f->memory->lock);
    if (removes)
        rc = vhost_front_iotlb_forget(f);
    if (!rc)
        rc = vhost_front_memory_send(f);
    return rc ? rc : vhost_front_call(f, &barrier, 0, told);
}

/* It is cancelled in this thread before the front end is freed. */
static void change_posted(struct vm_work *work)
{
    struct front_memory *m = container_of(work, struct front_memory, work);
    struct vhost_front *f = m->front;
    int rc = 0;

    vm_lock_acquire(&f->dev.dev.lock);
    if (f->sent_count && f->state >= FRONT_IDLE)
        rc = tell_change(f);
    else
        ended(m);
    if (rc)
        vhost_front_gone_with(f, rc);
    vm_lock_release(&f->dev.dev.lock);
}

/* Who is gone has no memory, and the next one is told what there is then. */
void vhost_front_memory_lost(struct vhost_front *f)
{
    forget(f);
    if (!f->memory)
        return;
    vm_lock_acquire(&f->memory->lock);
    f->memory->there = false;
    vm_lock_release(&f->memory->lock);
    ended(f->memory);
}

/* ---- the space's thread ---- */

/* Under the lock. */
static int begin(struct front_memory *m, struct gm_region *adding)
{
    if (!m->there || !m->front)
        return 0;
    m->awaited = true;
    m->adding = adding;
    m->result.code = 0;
    vm_loop_post(m->front_loop, &m->work, change_posted);
    return -EINPROGRESS;
}

static int add_here(struct front_memory *m, struct gm_region *region)
{
    int rc = m->there ? check_count(m->count + 1, m->slots) : 0;

    if (rc)
        return rc;
    if (m->count == GM_REGIONS_MAX)
        return vm_fail(-ENOSPC, "more than %d memory regions", GM_REGIONS_MAX);
    m->known[m->count++] = gm_region_ref(region);
    return begin(m, region);
}

static int add(struct gm_listener *listener, struct gm_region *region)
{
    struct front_memory *m = container_of(listener, struct front_memory, listener);
    int rc = 0;

    vm_lock_acquire(&m->lock);
    if (is_shared(region))
        rc = add_here(m, region);
    vm_lock_release(&m->lock);
    return rc;
}

static int remove_region(struct gm_listener *listener, struct gm_region *region)
{
    struct front_memory *m = container_of(listener, struct front_memory, listener);
    int rc = 0;

    vm_lock_acquire(&m->lock);
    if (take_out(m->known, &m->count, region))
        rc = begin(m, NULL);
    vm_lock_release(&m->lock);
    return rc;
}

static void abandoned(struct gm_listener *listener)
{
    struct front_memory *m = container_of(listener, struct front_memory, listener);

    vm_work_cancel(m->space_loop ? m->space_loop : m->front_loop, &m->end_work);
    while (m->count)
        gm_region_unref(m->known[--m->count]);
    vm_lock_destroy(&m->lock);
    free(m);
}

int vhost_front_memory_listen(struct vhost_front *f, struct gm_space *space)
{
    struct front_memory *m = calloc(1, sizeof(*m));
    int rc;

    if (!m)
        return vm_fail(-ENOMEM, "%s: out of memory", f->dev.dev.id);
    vm_lock_init(&m->lock, VM_RANK_LEAF, "back end's memory");
    m->front = f;
    m->front_loop = f->env->loop;
    m->space_loop = gm_space_loop(space);
    m->listener = (struct gm_listener){
        .name = "vhost-user", .add = add, .remove = remove_region, .abandoned = abandoned
    };
    rc = gm_listener_add(space, &m->listener);
    if (rc) {
        abandoned(&m->listener);
        return rc;
    }
    vm_lock_acquire(&f->dev.dev.lock);
    f->memory = m;
    vm_lock_release(&f->dev.dev.lock);
    return 0;
}

void vhost_front_memory_free(struct vhost_front *f)
{
    struct front_memory *m = f->memory;

    forget(f);
    if (!m)
        return;
    vm_lock_acquire(&m->lock);
    m->front = NULL;
    vm_lock_release(&m->lock);
    vm_work_cancel(m->front_loop, &m->work);
    gm_listener_abandon(&m->listener);
}
