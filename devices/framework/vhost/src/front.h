/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Inside of the front end. Everything here under the device's lock, in the loop's thread, if it does not say otherwise. */
#ifndef VHOST_FRONT_H
#define VHOST_FRONT_H

#include <vmm/base/bell.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/vhost/channel.h>
#include <vmm/vhost/frontend.h>

enum front_state {
    FRONT_AWAY,
    FRONT_HELLO,
    FRONT_IDLE,
    FRONT_STARTING,
    FRONT_RUNNING,
    FRONT_RESTING
};

/* A request whose answer has not come. */
struct front_call {
    uint32_t request;
    uint16_t queue; /* GET_VRING_BASE */
    /* 0, or -errno with text: the connection ends. ACK answers other than 0 end it before. */
    int (*answered)(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted);
};

/* With REPLY_ACK each message that starts a ring awaits an answer, and so does each region of memory. */
enum {
    FRONT_RING_CALLS = 8,
    FRONT_ASKERS = 64, /* of one back end's shared objects */
    FRONT_CALLS_MAX = FRONT_RING_CALLS * VHOST_QUEUES_MAX + GM_REGIONS_MAX + FRONT_ASKERS + 16
};

/* Somebody waits for the end of something. */
struct front_wait {
    vhost_front_ended *ended;
    vhost_front_state_begun *begun; /* instead */
    void *ctx;
};

/* Objects that back ends share (front_object.c). All but work and table under the table's lock. */
struct front_object {
    struct vhost_objects *table; /* the machine's, borrowed; NULL: none */
    struct vm_work work;
    unsigned owned; /* entries of the table */
    /* Who asks this back end, in order; of the first so many it was asked. NULL: it has gone. */
    struct vhost_front *asker[FRONT_ASKERS];
    unsigned askers, sent;
    /* What this back end has asked: whom, and the answer. */
    struct vhost_front *owner;
    struct vhost_uuid uuid;
    bool answered;
    int fd;
};

struct front_queue {
    struct vm_watch watch; /* of call */
    struct vhost_front *front;
    int call; /* eventfd: the back end used something; -1: none yet */
    bool started; /* the back end was told of it */
    bool lost; /* ... and went away with it */
    bool stopping; /* the driver stops it alone: virtio_queue_stopped() is owed */
    bool asked; /* ... and the back end was told so */
    bool anew; /* ... or it has stopped: what the log says of it is over */
};

struct vhost_front {
    struct virtio_dev dev;
    const struct vhost_front_ops *ops;
    struct vhost_front_setup setup; /* socket: our copy */
    const struct vm_env *env; /* borrowed; its loop has the socket */
    enum front_state state;
    bool want_run; /* the driver (and the machine) want rings to be served */
    bool rest_awaited; /* virtio_stopped() is owed */
    bool replacing; /* the back end is to go, when its rings are at rest */
    bool lingers; /* the last back end may still write: ops->gone() */
    bool dma_awaited; /* vdev_unpark() is owed: a vCPU waits for the rings to stand still */
    bool made; /* vhost_front_new() has returned a device: the lock exists */
    bool reset_wanted; /* the driver has reset the device; the back end is told when it is there */
    struct vm_work advance_work;
    struct vm_error lost; /* why the last connection ended; code 0: it did not */
    bool chose; /* the driver wrote setup.chosen since its reset: each back end is told */
    bool leaves; /* a quiesce leaves what is in flight in the log */
    bool drops; /* ... and so does the stop that is wanted now */
    uint32_t written_from, written_to; /* config space that the back end has not been told of */

    /* The link. */
    struct vhost_channel *channel, *requests;
    struct vm_watch listener;
    int listen_fd;
    struct vm_timer retry, deadline, patience;
    uint64_t retry_ns, greeted_ns;
    struct front_call *call; /* ring of FRONT_CALLS_MAX */
    unsigned call_at, calls;

    /* What the back end said, this time. */
    unsigned step; /* of hello */
    uint64_t features, protocol;
    uint64_t queues_there, slots_there;
    uint64_t shmem_there[VHOST_SHMEM_REGIONS]; /* bytes of each region */
    uint8_t *config_there;

    struct vm_bell *bell; /* NULL: not needed yet */
    struct front_queue *queue;
    struct vm_watch err_watch;
    int err; /* eventfd: the back end found a ring broken; -1: none yet */
    bool events_given; /* this connection's back end has eventfds of ours */
    uint16_t queues;
    uint64_t own; /* features that the back end never hears of */
    bool stand_in; /* nobody is there: it is only looked at */
    struct gm_region *sent[GM_REGIONS_MAX]; /* referenced: the memory that this back end has */
    size_t sent_count;
    struct front_memory *memory; /* NULL before the device is made */
    int log_fd; /* -1: none */
    void *log; /* as mapped */
    size_t log_bytes;
    struct gm_dirty *dirty; /* over it */
    struct front_wait log_wait, state_wait;
    uint16_t mtu; /* 0: the user has not said */
    struct {
        struct gm_iommu_listener listener;
        struct vm_work work;
        uint64_t iova, last; /* what changed */
    } iotlb;
    struct front_object object;
    struct { /* front_postcopy.c */
        struct front_wait wait;
        bool advised, listening, known;
        unsigned
            count; /* regions of the table that was told, at the back end's addresses once they are known */
        struct vhost_region region[VHOST_TABLE_REGIONS];
    } postcopy;
    int inflight_fd; /* -1: none */
    struct vhost_inflight inflight;
    struct {
        uint64_t connects, losses, refused, interrupts;
    } count;
};

static inline struct vhost_front *front_of(struct virtio_dev *dev)
{
    return container_of(dev, struct vhost_front, dev);
}

static inline bool front_has(const struct vhost_front *f, uint64_t protocol)
{
    return (f->protocol & protocol) == protocol;
}

/* The protocol features that we make use of. */
#define FRONT_PROTOCOL                                                                             \
    (VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(LOG_SHMFD) | VHOST_PROTOCOL(RARP) | VHOST_PROTOCOL(MTU) | \
     VHOST_PROTOCOL(DEVICE_STATE) | VHOST_PROTOCOL(REPLY_ACK) | VHOST_PROTOCOL(BACKEND_REQ) |      \
     VHOST_PROTOCOL(CONFIG) | VHOST_PROTOCOL(INFLIGHT_SHMFD) | VHOST_PROTOCOL(RESET_DEVICE) |      \
     VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS) | VHOST_PROTOCOL(STATUS) |                                \
     VHOST_PROTOCOL(GPA_ADDRESSES) | VHOST_PROTOCOL(BACKEND_SEND_FD) | VHOST_PROTOCOL(SHMEM) |     \
     VHOST_PROTOCOL(SHARED_OBJECT) | VHOST_PROTOCOL(PAGEFAULT) | FRONT_SKIP_DRAIN)
/* Both or none ("GET_VRING_BASE_SKIP_DRAIN"), and with INFLIGHT_SHMFD: before there was the second, a back end with the first might
 * leave requests in flight whenever a ring was stopped. */
#define FRONT_SKIP_DRAIN \
    (VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT) | VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN))

/* ---- front_link.c: the connection and what is under way on it ---- */

/* Connects, or listens. 0 or -errno with text. */
int vhost_front_link_open(struct vhost_front *f);
void vhost_front_link_close(struct vhost_front *f);
/* Sends a request that has no answer, or one whose answer is awaited by answered. A failure ends the connection by itself. */
int vhost_front_send(struct vhost_front *f, const struct vhost_message *m);
int vhost_front_call(struct vhost_front *f, const struct vhost_message *m, uint16_t queue,
                     int (*answered)(struct vhost_front *f, uint16_t queue,
                                     struct vhost_message *untrusted));
/* As vhost_front_send(), and with REPLY_ACK the back end's no ends the connection. */
int vhost_front_tell(struct vhost_front *f, const struct vhost_message *m);
struct vhost_message vhost_front_message(uint32_t request, uint32_t bytes);
struct vhost_message vhost_front_number(uint32_t request, uint64_t value);
/* Makes a socket pair for the back end's own requests and sends its end. */
int vhost_front_requests_open(struct vhost_front *f);

/* ---- front_hello.c ---- */

/* The connection stands: asks what there is, step by step; vhost_front_greeted() at the end. */
int vhost_front_hello(struct vhost_front *f);
/* Reads config space anew; answered as vhost_front_call() has it. */
int vhost_front_config_ask(struct vhost_front *f,
                           int (*answered)(struct vhost_front *f, uint16_t queue,
                                           struct vhost_message *untrusted));
/* The payload of such an answer, checked; or -EPROTO with text. */
int vhost_front_config_take(struct vhost_front *f, const struct vhost_message *untrusted);

/* ---- front_rings.c: starting and stopping rings ---- */

/* Those that the back end has to know of. */
uint64_t vhost_front_driver_features(const struct vhost_front *f);
/* The features of the driver, and those of the protocol: SET_FEATURES. */
int vhost_front_features(struct vhost_front *f);
/* SET_VRING_ADDR. */
int vhost_front_addresses(struct vhost_front *f, uint16_t n);
int vhost_front_start(struct vhost_front *f);
int vhost_front_rest(struct vhost_front *f);
/* Queues that the driver enabled later. */
int vhost_front_start_more(struct vhost_front *f);
/* Queues that the driver stops by themselves. */
int vhost_front_stop_some(struct vhost_front *f);
/* The connection is gone: where the rings go on, and no eventfd that it had is used again. */
void vhost_front_rings_lost(struct vhost_front *f);

/* ---- front_memory.c ---- */

/* Last step of creation: hears of the space's regions from now on. 0 or -errno with text. The space's thread. */
int vhost_front_memory_listen(struct vhost_front *f, struct gm_space *space);
/* Before rings start: the back end is told what it has not been told. */
int vhost_front_memory_send(struct vhost_front *f);
/* The connection is gone: the back end has no memory any more. */
void vhost_front_memory_lost(struct vhost_front *f);
/* Before it is freed; the loop's thread. */
void vhost_front_memory_free(struct vhost_front *f);

/* ---- front_iotlb.c ---- */

/* The driver's addresses are those of its IOMMU. */
bool vhost_front_iotlb_on(const struct vhost_front *f);
/* The back end's question. 1: there is no such address. */
int vhost_front_iotlb_asked(struct vhost_front *f, const struct vhost_iotlb *untrusted);
/* Before rings start, for what was told earlier may not hold any more, and when memory goes away. */
int vhost_front_iotlb_forget(struct vhost_front *f);
/* The connection is gone; before it is freed. */
void vhost_front_iotlb_lost(struct vhost_front *f);
void vhost_front_iotlb_free(struct vhost_front *f);

/* ---- front_extra.c: logs, state, and what network devices say ---- */

/* The back end can keep the log that there is, or there is none. */
bool vhost_front_log_fits(const struct vhost_front *f);
/* Tells the back end of the log and the MTU, before its rings start. */
int vhost_front_extra_start(struct vhost_front *f);
/* The connection is gone: nobody waits any more. */
void vhost_front_extra_lost(struct vhost_front *f);
/* Before it is freed: nobody is told. */
void vhost_front_extra_free(struct vhost_front *f);

/* Nothing of what it was told counts: all is told again. */
void vhost_front_memory_again(struct vhost_front *f);

/* ---- front_postcopy.c ---- */

/* SET_MEM_TABLE while it listens. */
int vhost_front_postcopy_table(struct vhost_front *f, const struct vhost_message *m);
void vhost_front_postcopy_lost(struct vhost_front *f);

/* ---- front_shmem.c ---- */

/* The answer to GET_SHMEM_CONFIG, checked; the device's regions; those of a back end that came back are as large. 0 or -errno with text. */
int vhost_front_shmem_take(struct vhost_front *f, const struct vhost_message *untrusted);
int vhost_front_shmem_make(struct vhost_front *f);
int vhost_front_shmem_fits(const struct vhost_front *f);
int vhost_front_shmem_asked(struct vhost_front *f, struct vhost_message *untrusted);

/* ---- front_object.c ---- */

int vhost_front_object_asked(struct vhost_front *f, struct vhost_message *untrusted);
/* The connection is gone; before it is freed. */
void vhost_front_object_lost(struct vhost_front *f);

/* ---- front.c ---- */

/* The eventfds that a back end gets, where there are none yet: each connection has its own. 0 or -errno with text. */
int vhost_front_event_call(struct vhost_front *f, uint16_t n);
int vhost_front_event_err(struct vhost_front *f);

/* Compares what is wanted with what is, and does the next step. 0, or -errno with text: the connection must end. */
int vhost_front_advance(struct vhost_front *f);
/* Ring n has stopped by itself. */
void vhost_front_queue_still(struct vhost_front *f, uint16_t n);
/* No ring runs: who waits for that is told. */
void vhost_front_still(struct vhost_front *f);
/* Before the device is made: what the typed device makes of this back end. 0 or -errno with text. */
int vhost_front_choose(struct vhost_front *f);
/* Hello has ended; config_there, features, queues_there are the back end's. 0, or -errno with text: it is not the one. */
int vhost_front_greeted(struct vhost_front *f);
/* The connection has ended, or ends now: not within a call-back of the channel other than closed(). */
void vhost_front_gone(struct vhost_front *f, const struct vm_error *why);
/* The same with the thread's text. */
void vhost_front_gone_with(struct vhost_front *f, int code);
/* The back end's own request. 1: it is refused, and told so where it wants to know; FRONT_LATER: it is answered, but not now. */
enum { FRONT_LATER = 2 };
int vhost_front_asked(struct vhost_front *f, struct vhost_message *untrusted);

#endif
