/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front end of vhost-user: a virtio device of ours whose queues another process serves, the back end (QEMU
 * docs/interop/vhost-user.rst). The guest sees an ordinary device on any transport; doorbells go straight to the back end.
 *
 *   [away] --connected--> [hello] --> [idle] --start()--> [starting] --> [running] --stop(), quiesce()--> [resting] --> [idle]
 *      ^                     |          |                     |              |                                |
 *      +---- the connection ends, or the back end breaks a rule or does not answer in time --------------------+
 *
 * Away is no error: the guest waits, everything else works, and when a back end comes that has what the driver negotiated (features,
 * queues, size of config space) its rings go on: by the in-flight log where the back end keeps one, else at the used index.
 *
 * The back end is not trusted: what it says is checked, what it does not say is not waited for by anyone but the device itself.
 *
 * Threads and locks: as for every virtio device; the socket lives on env->loop.
 */
#ifndef VMM_VHOST_FRONTEND_H
#define VMM_VHOST_FRONTEND_H

#include <vmm/base/error.h>
#include <vmm/vhost/message.h>
#include <vmm/virtio/device.h>

enum { VHOST_QUEUES_MAX = 256 }; /* SET_VRING_KICK has 8 bits for the index */

struct vhost_front;

/* A back end of our own that is yet to come: nothing of it is waited for. vhost_front_listen() follows before a driver is there. */
struct vhost_front_known {
    uint64_t
        features; /* what a driver is offered, as far as any front end can: the back end will have it */
    const uint8_t *config; /* the device's config space, config_bytes of it; read during the call */
};

struct vhost_front_setup {
    void *user; /* the type's own: vhost_front_user() */
    uint32_t id; /* virtio device type */
    uint16_t queues; /* at most VHOST_QUEUES_MAX; fewer where the back end has fewer */
    uint16_t queues_min; /* without these the device is none */
    uint16_t queue_size;
    const uint16_t *queue_sizes; /* of each queue instead; read during the call. NULL: all alike */
    uint32_t config_bytes; /* of the device's config space */
    struct virtio_span chosen; /* of it, as struct virtio_setup has it */
    bool
        platform; /* offer VIRTIO_F_ACCESS_PLATFORM: a driver's addresses are those of the device's view, and its IOMMU's if it has one */
    bool
        postcopy; /* ask for PAGEFAULT: vhost_front_postcopy_*(); and not for CONFIGURE_MEM_SLOTS, so that memory comes as a table */
    bool
        pairs; /* how many queues there are (GET_QUEUE_NUM) is told in pairs, besides a control queue: network devices of QEMU and DPDK */
    bool packed; /* offer packed rings, where the back end tracks what is in flight */
    uint64_t
        refuse; /* features of the device type that are not offered though the back end has them */
    const char *socket; /* path for env->open() */
    int fd; /* the connected socket instead, or for the first time; -1: none. Taken over, also on error. When it ends and there is no
             * name, there is no other */
    bool server; /* listen at socket; the back end connects */
    const struct vhost_front_known *
        known; /* the device is made at once, with all queues; borrowed during the call. NULL: the back end says what it is */
    uint64_t wait_ns; /* how long vhost_front_new() waits for the back end */
    uint64_t
        first_ns; /* how long its first answer may take, where it has to be started; 0: as any other */
    uint64_t
        reconnect_ns; /* how long it may be away later; then the device needs a reset. UINT64_MAX: for ever */
};

/* What the first back end has. */
struct vhost_front_there {
    uint64_t features;
    const uint8_t *config; /* setup->config_bytes of it; NULL: it says none */
    bool stand_in; /* there is none: the device is only looked at */
};
/* How many queues the device gets; features that are not offered though the back end has them, and that are though the back end, which never
 * hears of them, has not. */
struct vhost_front_choice {
    uint16_t queues;
    uint64_t refuse, own;
};

/* What a typed device adds; all optional. Under the device's lock. */
struct vhost_front_ops {
    /* Once, before the device is made: *choice is what setup says. 0 or -errno with text: it is not the one. Not where setup->known is given. */
    int (*choose)(struct vhost_front *front, const struct vhost_front_there *there,
                  struct vhost_front_choice *choice);
    /* dev->config was read from the back end (or is zero, where it has none): what is ours to say. */
    void (*config)(struct vhost_front *front, uint8_t *config, uint32_t bytes);
    void (*destroy)(struct vhost_front *front); /* before the memory is freed */
    /* The connection has ended. -EINPROGRESS: who was there may still write to the guest's memory; vhost_front_still_now() follows when
     * it cannot any more, and until then who waits for the device to stand still goes on waiting. Otherwise 0. */
    int (*gone)(struct vhost_front *front);
    /* A back end is there, and is served from now on. */
    void (*greeted)(struct vhost_front *front);
    /* Of a class with a state, which vhost-user says nothing of: as in struct virtio_ops. Wanted where the class has one. */
    void (*save)(struct vhost_front *front, void *ret_state);
    int (*load)(struct vhost_front *front, const void *untrusted);
};

/* In a class's create(): connects, learns what the back end has, and makes the device. Waits for the back end by stepping env->loop,
 * which therefore nobody may be running (but where setup->known is given: then in the loop's thread). Where env->open() says -ENOTCONN the device is what setup says, and can only be looked at. ops
 * is borrowed. 0; -ETIMEDOUT: it did not come or answer; -EPROTO: it broke a rule; -ENOTSUP:
 * it lacks something; -errno of the socket; with text. */
int vhost_front_new(const struct vdev_class *cls, const struct vdev_context *context,
                    const struct vhost_front_setup *setup, const struct vhost_front_ops *ops,
                    struct vhost_front **ret_front);
/* Only after setup->known: it hears of the guest's memory from now on. In the thread of that space; 0 or -errno with text. */
int vhost_front_listen(struct vhost_front *front, struct gm_space *space);
struct virtio_dev *vhost_front_dev(struct vhost_front *front);
void *vhost_front_user(struct vhost_front *front);
/* The back end is let go, once its rings are at rest or it has not brought them there in time: the next one that comes is another. Any
 * thread, under the device's lock. */
void vhost_front_replace(struct vhost_front *front);
/* No request is in flight in the log of a back end that is gone: whoever knows the rings can go on with them. Of a quiesced device, under its
 * lock. */
bool vhost_front_whole(const struct vhost_front *front);
/* In the loop's thread, without the device's lock. Harmless when it is not awaited. */
void vhost_front_still_now(struct vhost_front *front);

/* ---- what migration and network devices need ----
 *
 * All of these: in the thread of env->loop, under the device's lock; so are the call-backs, which come once where -EINPROGRESS was
 * returned, and not at all after the device was destroyed. No call waits. -ENOTSUP, with text: this back end cannot. */

/* How something ended; result->code 0: well. It may ask for the next thing, and not destroy the device. */
typedef void vhost_front_ended(void *ctx, const struct vm_error *result);

/* The log ("Migration", LOG_SHMFD): one bit for each page of GM_PAGE_BYTES below end that the back end has written since it was taken
 * last; what the used rings are written counts. It lasts over a back end's death: one that comes and keeps no log is sent away. 0: on, no ring is
 * served just now; -EINPROGRESS: on when ended() comes, with code 0 (a back end that goes away meanwhile writes nothing
 * any more); -EALREADY; -EINVAL: no end, or beyond 2^52; -ENOTSUP; -ENOMEM, -errno of memfd_create(2). */
int vhost_front_log_start(struct vhost_front *front, gpa_t end, vhost_front_ended *ended,
                          void *ctx);
/* Harmless without one. What was not taken is forgotten. */
void vhost_front_log_stop(struct vhost_front *front);
/* As gm_dirty_take(): ors 64 pages a word into ret_words and clears them. 0 without a log. Any thread that keeps the log from being
 * stopped. */
uint64_t vhost_front_log_take(struct vhost_front *front, uint64_t first_page, uint64_t *ret_words,
                              size_t words);
/* The log itself, a sealed memfd: page N is bit N % 8 of byte N / 8. Borrowed; -1: none. */
int vhost_front_log_fd(const struct vhost_front *front);

/* The back end's own state ("Migrating back-end state", DEVICE_STATE), of a device that was quiesced or never started. direction:
 * VHOST_TRANSFER_SAVE or _LOAD; fd, borrowed: the back end's end of a pipe. -EINPROGRESS, and then ended(); given_fd is a descriptor that the
 * back end wants to use instead, the caller's from then on (an untrusted one: it may be anything, and block), or -1. -EBUSY: rings are served, or
 * one of these is under way. When all bytes have gone vhost_front_state_check() says whether they were whole. */
typedef void vhost_front_state_begun(void *ctx, const struct vm_error *result, int given_fd);
int vhost_front_state_begin(struct vhost_front *front, uint32_t direction, int fd,
                            vhost_front_state_begun *begun, void *ctx);
int vhost_front_state_check(struct vhost_front *front, vhost_front_ended *ended, void *ctx);

/* Memory that is still on its way (postcopy), of a device with setup->postcopy whose rings do not run, in this order: the back end opens a
 * userfaultfd (begun() gets a duplicate, the caller's, untrusted: it may be anything, and block), and listens; then rings may start. A page
 * that it waits for is at an address of its own, of which find() says what the guest calls it. -EBUSY: rings are served, or one is under way;
 * -EINVAL: out of order. */
int vhost_front_postcopy_advise(struct vhost_front *front, vhost_front_state_begun *begun,
                                void *ctx);
int vhost_front_postcopy_listen(struct vhost_front *front);
bool vhost_front_postcopy_find(const struct vhost_front *front, uint64_t address, gpa_t *ret_gpa);
int vhost_front_postcopy_end(struct vhost_front *front, vhost_front_ended *ended, void *ctx);

/* Has the back end announce the guest's address on its network, after a migration or when the user wants it (SEND_RARP). 0 (it was sent), -ENOTCONN, -ENOTSUP. */
int vhost_front_rarp(struct vhost_front *front, const uint8_t mac[6]);
/* The largest packet that the driver was told of (NET_SET_MTU): to this back end, and to each that comes, before rings are started. 0,
 * -ENOTSUP (also of a later one it is not an error: it is not told then). */
int vhost_front_mtu(struct vhost_front *front, uint16_t mtu);

/* on: the next quiesce does not wait for what is in flight where the back end can leave it in the log (GET_VRING_BASE_SKIP_DRAIN);
 * for who hands the log to the next back end. A driver's reset never waits then. */
void vhost_front_leave_in_flight(struct vhost_front *front, bool on);

/* The counters of every front end, for the class's table of metrics. */
extern const struct vdev_metric vhost_front_metrics[];

#endif
