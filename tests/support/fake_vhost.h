/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The host kernel's vhost (linux/vhost.h), for tests of the devices that lend it queues: files of two rings each, which the device's side of
 * library virtio-queue serves. What it is asked is kept; one request may be refused. A test gives fake_vhost_control() in ioctl(2)'s
 * place.
 */
#ifndef TESTS_SUPPORT_FAKE_VHOST_H
#define TESTS_SUPPORT_FAKE_VHOST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/vhost.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/lock.h>
#include <vmm/virtio-queue/queue.h>

enum {
    FAKE_VHOST_FILES = 4,
    FAKE_VHOST_RINGS = 2, /* of each */
    FAKE_VHOST_REGIONS = 8,
    FAKE_VHOST_LOG = 128,
    FAKE_VHOST_SENT = 64,
};

struct fake_vhost_ring { /* what it was told of one, and how it serves it */
    unsigned size, base;
    struct vhost_vring_addr addr;
    int call, kick, err;
    int backend; /* VHOST_NET_SET_BACKEND; -1: none */
    bool on;
    struct vq vq;
};

struct fake_vhost {
    struct gm_view view;
    struct vm_lock *lock; /* others take it while a ring ends, when there is one */
    bool together; /* all rings of a file begin and end at once */
    struct fake_vhost_ring ring[FAKE_VHOST_FILES * FAKE_VHOST_RINGS]; /* of all files in order */
    bool owned[FAKE_VHOST_FILES];
    uint64_t features, acked, cid;
    unsigned long asked[FAKE_VHOST_LOG]; /* in order */
    unsigned calls;
    unsigned long refused; /* this request fails, when it came so often */
    unsigned spared, bases; /* ... ; VHOST_GET_VRING_BASE */
    int why;
    struct {
        unsigned count;
        struct vhost_memory_region region[FAKE_VHOST_REGIONS];
    } table;
    uint8_t sent[FAKE_VHOST_SENT]; /* the last readable chain's bytes, as far as they fit */
    size_t sent_bytes;
};

static inline void fake_vhost_begin(struct fake_vhost *f, struct gm_space *space, uint64_t features)
{
    memset(f, 0, sizeof(*f));
    gm_view_init(&f->view, space, NULL);
    f->features = features;
    for (size_t i = 0; i < sizeof(f->ring) / sizeof(f->ring[0]); i++)
        f->ring[i].call = f->ring[i].kick = f->ring[i].err = f->ring[i].backend = -1;
}

static inline void fake_vhost_end(struct fake_vhost *f)
{
    for (size_t i = 0; i < sizeof(f->ring) / sizeof(f->ring[0]); i++)
        if (f->ring[i].on)
            vq_exit(&f->ring[i].vq);
    gm_view_exit(&f->view);
}

/* When it was first asked for it, from 1 on; 0: never. */
static inline unsigned fake_vhost_when(const struct fake_vhost *f, unsigned long request)
{
    for (unsigned i = 0; i < f->calls && i < FAKE_VHOST_LOG; i++)
        if (f->asked[i] == request)
            return i + 1;
    return 0;
}

static inline int fake_vhost_table(struct fake_vhost *f, const struct vhost_memory *m)
{
    if (m->nregions > FAKE_VHOST_REGIONS)
        return -E2BIG;
    f->table.count = m->nregions;
    memcpy(f->table.region, m->regions, m->nregions * sizeof(m->regions[0]));
    return 0;
}

static inline gpa_t fake_vhost_gpa(const struct fake_vhost *f, uint64_t address)
{
    for (unsigned i = 0; i < f->table.count; i++) {
        const struct vhost_memory_region *r = &f->table.region[i];

        if (address >= r->userspace_addr && address - r->userspace_addr < r->memory_size)
            return r->guest_phys_addr + (address - r->userspace_addr);
    }
    cr_assert_fail("%#llx is in no region that the kernel knows", (unsigned long long)address);
    return 0;
}

static inline void fake_vhost_serve_one(struct fake_vhost *f, struct fake_vhost_ring *r, bool on)
{
    if (r->on == on)
        return;
    r->on = on;
    if (!on) {
        r->base = vq_base(&r->vq);
        vq_exit(&r->vq);
        return;
    }
    cr_assert_eq(vq_init(&r->vq, &f->view, 256), 0);
    r->vq.size = (uint16_t)r->size;
    r->vq.desc = fake_vhost_gpa(f, r->addr.desc_user_addr);
    r->vq.driver = fake_vhost_gpa(f, r->addr.avail_user_addr);
    r->vq.device = fake_vhost_gpa(f, r->addr.used_user_addr);
    r->vq.features = f->acked;
    vq_set_base(&r->vq, r->base);
    cr_assert_eq(vq_start(&r->vq, f->acked), 0, "%s", vm_error_text());
}

/* Begins or ends serving ring n of a file, or all of its rings. */
static inline void fake_vhost_serve(struct fake_vhost *f, unsigned file, unsigned n, bool on)
{
    if (!on && f->lock) { /* it may wait: others come at the device meanwhile */
        vm_lock_acquire(f->lock);
        vm_lock_release(f->lock);
    }
    for (unsigned i = 0; i < (f->together ? FAKE_VHOST_RINGS : 1); i++)
        fake_vhost_serve_one(f, &f->ring[file * FAKE_VHOST_RINGS + n + i], on);
}

static inline int fake_vhost_backend(struct fake_vhost *f, unsigned file,
                                     const struct vhost_vring_file *backend)
{
    f->ring[file * FAKE_VHOST_RINGS + backend->index].backend = backend->fd;
    fake_vhost_serve(f, file, backend->index, backend->fd >= 0);
    return 0;
}

static inline int fake_vhost_ring(struct fake_vhost *f, struct fake_vhost_ring *r,
                                  unsigned long request, void *argument)
{
    struct vhost_vring_state *state = argument;
    struct vhost_vring_file *fd = argument;

    switch (request) {
    case VHOST_SET_VRING_NUM: r->size = state->num; return 0;
    case VHOST_SET_VRING_BASE:
        cr_assert_not(r->on); /* EBUSY */
        r->base = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        cr_assert_not(r->on);
        f->bases++;
        state->num = r->base;
        return 0;
    case VHOST_SET_VRING_ADDR: r->addr = *(struct vhost_vring_addr *)argument; return 0;
    case VHOST_SET_VRING_CALL: r->call = fd->fd; return 0;
    case VHOST_SET_VRING_KICK: r->kick = fd->fd; return 0;
    case VHOST_SET_VRING_ERR: r->err = fd->fd; return 0;
    default: cr_assert_fail("request %#lx", request); return -ENOTTY;
    }
}

static inline int fake_vhost_control(struct fake_vhost *f, unsigned file, unsigned long request,
                                     void *argument)
{
    cr_assert_lt(file, FAKE_VHOST_FILES);
    if (f->calls < FAKE_VHOST_LOG)
        f->asked[f->calls] = request;
    f->calls++;
    if (request == f->refused && !f->spared)
        return f->why;
    f->spared -= request == f->refused;
    switch (request) {
    case VHOST_GET_FEATURES: *(__u64 *)argument = f->features; return 0;
    case VHOST_SET_OWNER: f->owned[file] = true; return 0;
    case VHOST_VSOCK_SET_GUEST_CID: f->cid = *(__u64 *)argument; return 0;
    default: break;
    }
    cr_assert(f->owned[file], "request %#lx before it has an owner", request); /* EPERM */
    switch (request) {
    case VHOST_SET_FEATURES: f->acked = *(__u64 *)argument; return 0;
    case VHOST_SET_MEM_TABLE: return fake_vhost_table(f, argument);
    case VHOST_NET_SET_BACKEND: return fake_vhost_backend(f, file, argument);
    case VHOST_VSOCK_SET_RUNNING: fake_vhost_serve(f, file, 0, *(int *)argument); return 0;
    default: /* all of a ring: its number comes first */
        return fake_vhost_ring(f, &f->ring[file * FAKE_VHOST_RINGS + *(unsigned *)argument],
                               request, argument);
    }
}

/* What it does with one chain: a byte that says which ring it was, 'a' and on, or the bytes are taken. */
static inline void fake_vhost_chain(struct fake_vhost *f, unsigned n, struct vq_chain *c)
{
    struct vq *q = &f->ring[n].vq;
    uint8_t byte = (uint8_t)('a' + n);

    if (vq_push_left(c)) {
        cr_assert_eq(vq_push(q, c, &byte, 1), 0);
    } else {
        f->sent_bytes = vq_pull_left(c) < FAKE_VHOST_SENT ? vq_pull_left(c) : FAKE_VHOST_SENT;
        cr_assert_eq(vq_pull(q, c, f->sent, f->sent_bytes), 0);
    }
    cr_assert_eq(vq_done(q, c), 0);
}

/* Its thread: serves what was kicked. Gives how many chains there were. */
static inline unsigned fake_vhost_work(struct fake_vhost *f)
{
    unsigned served = 0;

    for (unsigned n = 0; n < sizeof(f->ring) / sizeof(f->ring[0]); n++) {
        struct fake_vhost_ring *r = &f->ring[n];
        struct vq_chain c;

        if (!r->on || !vm_eventfd_take(r->kick))
            continue;
        for (; vq_next(&r->vq, &c) == 1; served++)
            fake_vhost_chain(f, n, &c);
        if (vq_wants_notify(&r->vq))
            vm_eventfd_signal(r->call);
    }
    return served;
}

#endif
