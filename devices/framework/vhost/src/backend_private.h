/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the back end.
 *
 *   backend.c          life, sessions, waiting      backend_message.c  what each message does
 *   backend_ring.c     states of the rings          backend_notify.c   the device's interrupts
 *   backend_memory.c   guest memory and its log     backend_inflight.c the log of requests in flight
 *   backend_iotlb.c    addresses behind an IOMMU     backend_state.c    the device's own state
 *   backend_share.c    memory and objects that it shares      backend_postcopy.c memory that is still on its way
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
#include <vmm/base/state.h>
#include <vmm/vhost/backend.h>
#include <vmm/vhost/channel.h>

/* A ring ("Ring states"). It is served, and active, while it is started and enabled.
 *
 *   stopped --SET_VRING_KICK--> started --enabled--> active     GET_VRING_BASE and resets lead back to stopped
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
    uint32_t repeated; /* how often it was announced again */
};

/* Translations (backend_iotlb.c); under the device's lock. */
enum { VHOST_IOTLB_MISSES = 32 };
struct vhost_iotlb_entry {
    uint64_t iova, last;
    gpa_t gpa;
    uint8_t access;
};
struct vhost_iotlb_miss {
    uint64_t iova; /* of the page */
    uint8_t access;
    bool asked, refused;
};
struct vhost_iotlb_cache {
    struct gm_iommu iommu;
    struct vhost_iotlb_entry *entry;
    size_t count, room;
    struct vhost_iotlb_miss miss[VHOST_IOTLB_MISSES];
    unsigned misses;
    struct vhost_iotlb_miss question; /* that was asked last */
    struct vhost_iotlb_entry told; /* what waits for the device's rest */
};

/* A transfer of the device's state (backend_state.c). */
struct vhost_backend_state {
    int fd; /* of the channel; -1: none is under way */
    struct vm_watch watch;
    struct vm_timer late;
    struct vm_buffer bytes;
    size_t at; /* of bytes: so many have gone */
    struct vm_error result; /* once there is no channel any more */
    bool begun, saves;
    bool awaited; /* by CHECK_DEVICE_STATE */
};

/* A question of the device's (backend_share.c); under its lock until it is asked. */
struct vhost_backend_share {
    enum { SHARE_NOTHING, SHARE_DUE, SHARE_ASKED } state;
    struct vhost_message question; /* its fd is a copy of ours */
};

/* Areas by number: the table that is to be, or that is. */
struct vhost_memory_table {
    unsigned count;
    struct vhost_memory area[GM_REGIONS_MAX];
};

/* Features that are not the device's: of the protocol, and of where its addresses lead. */
#define VHOST_NOT_THE_DEVICES \
    (VHOST_FEATURE_LOG_ALL | VHOST_FEATURE_PROTOCOL | VIRTIO_FEATURE_ACCESS_PLATFORM)

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
    enum {
        BACK_NOTHING,
        BACK_CALL,
        BACK_ERROR,
        BACK_MISS,
        BACK_SHARE
    } asked_back; /* it awaits its reply */
    uint16_t told_ring;
    bool config_changed; /* to be told; under the lock */
    uint64_t features, protocol;
    struct vhost_ring *ring; /* dev->queues */
    struct vhost_memory_table have, want;
    struct vhost_iotlb_cache iotlb;
    void *log; /* as mapped; NULL: none */
    size_t log_bytes;
    struct gm_dirty *dirty;
    uint8_t *inflight; /* as mapped; NULL: none */
    size_t inflight_bytes, inflight_step;
    uint16_t inflight_queues;
    struct vhost_backend_state state;
    struct vhost_backend_share share;
    struct {
        int fd; /* userfaultfd; -1: none */
        bool listening,
            told; /* ... and the front end has still to say that it knows where memory is */
    } postcopy;

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
/* At rest: rings are stopped that an IOMMU does not translate any more, to be started when it does. */
void vhost_backend_rings_translate(struct vhost_backend *b);
/* Under the lock: an active ring lies in [from, to]. */
bool vhost_backend_rings_touch(const struct vhost_backend *b, uint64_t from, uint64_t to);
/* The memory has changed: rings whose addresses mean something else now are stopped. At rest. */
void vhost_backend_rings_check(struct vhost_backend *b);
void vhost_backend_enable_all(struct vhost_backend *b);
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
void vhost_backend_notify_soon(struct vhost_backend *b);
int vhost_backend_set_back(struct vhost_backend *b, struct vhost_message *m);
void vhost_backend_back_close(struct vhost_backend *b);

/* ---- backend_memory.c ---- */

/* A file of the front end's that may be mapped: [offset, offset + size) is there. -errno with text. */
int vhost_backend_check_file(int fd, const char *what, uint64_t offset, uint64_t size);
/* Where user addresses are in guest memory: all of them in one region. */
bool vhost_backend_range_to_guest(const struct vhost_backend *b, uint64_t user, uint64_t size,
                                  gpa_t *ret_gpa);
/* Where an address of a ring is in the device's view. */
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

/* ---- backend_iotlb.c ---- */

/* Addresses are those of an IOMMU. */
bool vhost_backend_iotlb_on(const struct vhost_backend *b);
/* The features have changed. */
void vhost_backend_iotlb_update(struct vhost_backend *b);
int vhost_backend_iotlb(struct vhost_backend *b, struct vhost_message *m);
/* At rest: all translations. */
void vhost_backend_iotlb_forget(struct vhost_backend *b);
/* Under the lock: the next question, if there is one; its answer; and none comes any more. */
bool vhost_backend_iotlb_ask(struct vhost_backend *b, struct vhost_iotlb *ret_question);
void vhost_backend_iotlb_answered(struct vhost_backend *b, bool refused);
void vhost_backend_iotlb_unasked(struct vhost_backend *b);
void vhost_backend_iotlb_free(struct vhost_backend *b);

/* ---- backend_state.c ---- */

int vhost_backend_state_begin(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_state_check(struct vhost_backend *b, struct vhost_message *m);
/* The session is to end: nothing waits for a transfer any more. */
void vhost_backend_state_cancel(struct vhost_backend *b);
/* No transfer, and nothing known of one. */
void vhost_backend_state_drop(struct vhost_backend *b);

/* ---- backend_share.c ---- */

/* Of the transport, under the lock. */
int vhost_backend_shm_change(struct virtio_transport *t, const struct virtio_shm_piece *p, int fd);
int vhost_backend_object_ask(struct virtio_transport *t, unsigned what, const uint8_t name[16]);
/* What is due is asked; true: an answer follows. And it is here; none comes any more. */
bool vhost_backend_share_ask(struct vhost_backend *b);
void vhost_backend_share_answered(struct vhost_backend *b, struct vhost_message *untrusted);
void vhost_backend_share_drop(struct vhost_backend *b);
int vhost_backend_get_shmem(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_get_object(struct vhost_backend *b, struct vhost_message *m);

/* ---- backend_postcopy.c ---- */

int vhost_backend_postcopy_advise(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_postcopy_listen(struct vhost_backend *b, struct vhost_message *m);
int vhost_backend_postcopy_end(struct vhost_backend *b, struct vhost_message *m);
/* Of a SET_MEM_TABLE: it is no table. */
bool vhost_backend_postcopy_acked(struct vhost_backend *b, const struct vhost_message *m);
/* The memory has changed as it was asked for. 1: it was answered; 0: it is not, yet; -errno with text. */
int vhost_backend_postcopy_tell(struct vhost_backend *b);
void vhost_backend_postcopy_drop(struct vhost_backend *b);

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
