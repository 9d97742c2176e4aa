/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the back end.
 *
 *   backend.c          life, sessions, waiting      backend_message.c  what each message does
 *   backend_ring.c     states of the rings          backend_notify.c   the device's interrupts
 *   backend_memory.c   guest memory and its log     backend_inflight.c the log of requests in flight
 *
 * Waiting. The front end's messages are taken one at a time. One that cannot be answered at once starts a step: the channel is
 * paused, and when the device is at rest (or reset, or the memory changed) the next function runs in the loop. The last one calls
 * vhost_backend_answer(), and the channel goes on. No two steps overlap.
 *
 *   message -> [channel paused] rest_then(f) ... f -> reset_then(g) ... g -> answer -> settle -> [channel reads]
 */
#ifndef VHOST_BACKEND_PRIVATE_H
#define VHOST_BACKEND_PRIVATE_H

#include <vmm/base/loop.h>
#include <vmm/vhost/backend.h>
#include <vmm/vhost/channel.h>

/* A ring ("Ring states"). It is served, and active, while it is started and enabled.
 *
 *   stopped --first kick--> started --enabled--> active     GET_VRING_BASE and resets lead back to stopped
 */
struct vhost_ring {
    struct vhost_backend *b;
    uint16_t n, num;
    int kick_fd, call_fd, err_fd; /* the last two under the device's lock */
    struct vm_watch kick;
    struct vm_timer poll;
    struct vhost_ring_addr addr;
    uint32_t base;
    bool num_set, addr_set, base_set;
    bool continued; /* it was served before: a kick may have been lost with whoever did */
    bool polled; /* no kicks come: looked at by time */
    bool started, enable_set, enable;
    bool active; /* the device's queue is started */
    bool dead; /* it could not be: not tried again until something about it changes */
    bool call_off; /* SET_VRING_CALL without an fd: the front end looks by itself */
    bool call_due, err_due; /* to be told by message; under the device's lock */
};

/* A region of the front end's memory. */
struct vhost_memory {
    struct vhost_region r;
    uint64_t dev, ino; /* of its file */
    struct gm_region *region; /* referenced */
};

/* Areas by number: the table that is to be, or that is. */
struct vhost_memory_table {
    unsigned count;
    struct vhost_memory area[GM_REGIONS_MAX];
};

struct vhost_backend {
    struct virtio_transport transport;
    struct virtio_dev *dev;
    struct gm_space *space;
    const struct vm_env *env;
    const struct vhost_backend_ops *ops;
    void *ctx;
    struct vm_ratelimit complaints;

    /* The session. */
    bool session, closing;
    struct vm_error why;
    struct vhost_channel *channel; /* the front end's requests; NULL: gone */
    struct vhost_channel *back; /* ours; NULL: none */
    bool asked_back; /* a request of ours awaits its reply: */
    uint16_t told_ring;
    bool told_error; /* a call otherwise */
    bool config_changed; /* to be told; under the lock */
    uint64_t features, protocol;
    struct vhost_ring *ring; /* dev->queues */
    struct vhost_memory_table have, want;
    void *log; /* as mapped; NULL: none */
    size_t log_bytes;
    struct gm_dirty *dirty;
    uint8_t *inflight; /* as mapped; NULL: none */
    size_t inflight_bytes, inflight_step;
    uint16_t inflight_queues;

    /* Waiting. */
    void (*next)(struct vhost_backend *b); /* NULL: nothing is waited for */
    bool resetting;
    int code; /* of the rest that was waited for */
    int result; /* of the memory's change */
    struct vm_work step_work, notify_work;
    struct vm_timer again;
    struct vhost_message asked; /* header only: what the answer is to */
    struct vhost_ring *asked_ring;
};

static inline void vhost_backend_lock(struct vhost_backend *b)
{
    vm_lock_acquire(&b->dev->dev.lock);
}
static inline void vhost_backend_unlock(struct vhost_backend *b)
{
    vm_lock_release(&b->dev->dev.lock);
}

/* ---- backend.c ---- */

/* next comes, in the loop, when the device is at rest: nothing is in flight, nothing is taken. settle() ends the rest. */
void vhost_backend_rest_then(struct vhost_backend *b, void (*next)(struct vhost_backend *b));
/* next comes when the device is reset: status 0, no ring runs. */
void vhost_backend_reset_then(struct vhost_backend *b, void (*next)(struct vhost_backend *b));
/* next comes when vhost_backend_step() is called. */
void vhost_backend_wait(struct vhost_backend *b, void (*next)(struct vhost_backend *b));
void vhost_backend_step(struct vhost_backend *b);
/* The message that is in hand will be answered later. */
int vhost_backend_later(struct vhost_backend *b, const struct vhost_message *m);
/* ... now: 0, or -errno with text. */
void vhost_backend_answer(struct vhost_backend *b, int rc);
/* Nothing is to be answered any more. */
void vhost_backend_proceed(struct vhost_backend *b);
/* ... by this message. */
void vhost_backend_reply(struct vhost_backend *b, const struct vhost_message *reply);

/* ---- backend_message.c ---- */

int vhost_backend_message(struct vhost_backend *b, struct vhost_message *untrusted);
/* What a message's result becomes: an acknowledgement, or, where none is wanted, -errno: the end of the connection. */
int vhost_backend_finish(struct vhost_backend *b, const struct vhost_message *m, int rc);

/* ---- backend_ring.c ---- */

int vhost_backend_rings_new(struct vhost_backend *b);
/* As after new: the session's fds are closed. */
void vhost_backend_rings_clear(struct vhost_backend *b);
/* As after a reset of the device: all stopped. */
void vhost_backend_rings_forget(struct vhost_backend *b);
bool vhost_backend_rings_active(const struct vhost_backend *b);
/* Starts what is to be active, and lets the device go on. After each message; nothing where something is waited for. */
void vhost_backend_settle(struct vhost_backend *b);
/* The memory has changed: rings whose addresses mean something else now are stopped. At rest. */
void vhost_backend_rings_check(struct vhost_backend *b);
/* Messages about rings. */
int vhost_backend_set_num(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_addr(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_base(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_get_base(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_kick(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_call(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_err(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_enable(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_kick(struct vhost_backend *b, struct vhost_message *m);

/* ---- backend_notify.c ---- */

extern const struct virtio_transport vhost_backend_transport;
/* Under the lock: something is wrong with the ring. */
void vhost_backend_ring_error(struct vhost_ring *r);
void vhost_backend_ring_call(struct vhost_ring *r);
int vhost_backend_set_back(struct vhost_backend *b, struct vhost_message *m);
void vhost_backend_back_close(struct vhost_backend *b);

/* ---- backend_memory.c ---- */

/* A file of the front end's that may be mapped: [offset, offset + size) is there. -errno with text. */
int vhost_backend_check_file(int fd, const char *what, uint64_t offset, uint64_t size);
/* Where an address of a ring is in guest memory. */
bool vhost_backend_to_guest(const struct vhost_backend *b, uint64_t user, gpa_t *ret_gpa);
int vhost_backend_set_table(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_add_region(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_remove_region(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_log(struct vhost_backend *b, struct vhost_message *m);
/* Whether writes are marked follows features and rings. */
void vhost_backend_log_update(struct vhost_backend *b);
/* At the session's end, at rest: no log; no memory, then next. */
void vhost_backend_log_drop(struct vhost_backend *b);
void vhost_backend_memory_drop(struct vhost_backend *b, void (*next)(struct vhost_backend *b));

/* ---- backend_inflight.c ---- */

int vhost_backend_get_inflight(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_set_inflight(struct vhost_backend *b, struct vhost_message *m);
/* The device is at rest: its queues stop, and the log stays as it is. */
void vhost_backend_inflight_drop(struct vhost_backend *b);
/* The ring was logged before: it is continued. */
bool vhost_backend_inflight_begun(const struct vhost_ring *r);
/* Under the lock, before the queue is started. */
int vhost_backend_inflight_use(struct vhost_ring *r);

#endif
