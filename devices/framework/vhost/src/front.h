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
    FRONT_CALLS_MAX = FRONT_RING_CALLS * VHOST_QUEUES_MAX + GM_REGIONS_MAX + 16
};

/* Somebody waits for the end of something. */
struct front_wait {
    vhost_front_ended *ended;
    vhost_front_state_begun *begun; /* instead */
    void *ctx;
};

struct front_queue {
    struct vm_watch watch; /* of call */
    struct vhost_front *front;
    int call; /* eventfd: the back end used something; -1: none yet */
    bool started; /* the back end was told of it */
    bool lost; /* ... and went away with it */
};

struct vhost_front {
    struct virtio_dev dev;
    const struct vhost_front_ops *ops;
    struct vhost_front_setup setup; /* socket: our copy */
    const struct vm_env *env; /* borrowed; its loop has the socket */
    enum front_state state;
    bool want_run; /* the driver (and the machine) want rings to be served */
    bool rest_awaited; /* virtio_stopped() is owed */
    bool lingers; /* the last back end may still write: ops->gone() */
    bool dma_awaited; /* vdev_unpark() is owed: a vCPU waits for the rings to stand still */
    bool made; /* vhost_front_new() has returned a device: the lock exists */
    bool reset_wanted; /* the driver has reset the device; the back end is told when it is there */
    struct vm_work advance_work;
    struct vm_error lost; /* why the last connection ended; code 0: it did not */
    bool
        cache_chosen; /* by the driver, in a disk's config space, since the reset: each back end is told */
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
    uint8_t *config_there;

    struct vm_bell *bell; /* NULL: not needed yet */
    struct front_queue *queue;
    struct vm_watch err_watch;
    int err; /* eventfd: the back end found a ring broken; -1: none yet */
    bool events_given; /* this connection's back end has eventfds of ours */
    uint16_t queues;
    struct gm_region *sent[GM_REGIONS_MAX]; /* referenced: the memory that this back end has */
    size_t sent_count;
    int log_fd; /* -1: none */
    void *log; /* as mapped */
    size_t log_bytes;
    struct gm_dirty *dirty; /* over it */
    struct front_wait log_wait, state_wait;
    uint16_t mtu; /* 0: the user has not said */
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
     VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS) | VHOST_PROTOCOL(STATUS))

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

/* The features of the driver, and those of the protocol: SET_FEATURES. */
int vhost_front_features(struct vhost_front *f);
/* SET_VRING_ADDR. */
int vhost_front_addresses(struct vhost_front *f, uint16_t n);
int vhost_front_start(struct vhost_front *f);
int vhost_front_rest(struct vhost_front *f);
/* The back end has no memory any more. */
void vhost_front_memory_forget(struct vhost_front *f);
/* Queues that the driver enabled later. */
int vhost_front_start_more(struct vhost_front *f);
/* The connection is gone: where the rings go on, and no eventfd that it had is used again. */
void vhost_front_rings_lost(struct vhost_front *f);

/* ---- front_extra.c: logs, state, and what network devices say ---- */

/* The back end can keep the log that there is, or there is none. */
bool vhost_front_log_fits(const struct vhost_front *f);
/* Tells the back end of the log and the MTU, before its rings start. */
int vhost_front_extra_start(struct vhost_front *f);
/* The connection is gone: nobody waits any more. */
void vhost_front_extra_lost(struct vhost_front *f);
/* Before it is freed: nobody is told. */
void vhost_front_extra_free(struct vhost_front *f);

/* ---- front.c ---- */

/* The eventfds that a back end gets, where there are none yet: each connection has its own. 0 or -errno with text. */
int vhost_front_event_call(struct vhost_front *f, uint16_t n);
int vhost_front_event_err(struct vhost_front *f);

/* Compares what is wanted with what is, and does the next step. 0, or -errno with text: the connection must end. */
int vhost_front_advance(struct vhost_front *f);
/* No ring runs: who waits for that is told. */
void vhost_front_still(struct vhost_front *f);
/* Hello has ended; config_there, features, queues_there are the back end's. 0, or -errno with text: it is not the one. */
int vhost_front_greeted(struct vhost_front *f);
/* The connection has ended, or ends now: not within a call-back of the channel other than closed(). */
void vhost_front_gone(struct vhost_front *f, const struct vm_error *why);
/* The back end's own request. */
int vhost_front_asked(struct vhost_front *f, struct vhost_message *untrusted);

#endif
