/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Virtio devices (VIRTIO 1.2, section 2): negotiation, the status machine, queues, interrupts and transports are written
 * once, here; a device sees chains and its own config bytes.
 *
 * A device embeds struct virtio_dev, calls virtio_init() in its class's create() and offers features, queues and config
 * space. Then, all under the device's lock, from its loop's thread or (config space) from a vCPU's:
 *
 *          driver resets                         DRIVER_OK
 *   [off] <-------------- stop() <-- [running] <----------- start()
 *                                     | kick(n): the driver offered chains in queue n
 *                                     | virtio_notify(n): used chains are there
 *
 * start  the driver has set DRIVER_OK: queues that were enabled are started, features are final
 * kick   chains may be there; called after start for every running queue too. 0; -EPROTO: the driver broke the rules:
 *        the framework sets NEEDS_RESET, tells the driver and logs; another -errno: the same, for our own trouble
 * stop   no further chain is taken; requests in flight are finished or dropped. 0, or -EINPROGRESS and virtio_stopped() later:
 *        until then the old status is shown (PCI) or the vCPU parks (MMIO). May come while a quiesce is under way: one
 *        virtio_stopped() then ends both
 * queue_stop  the driver stops one queue (2.6.1, QueueReady of MMIO): as stop, of that queue alone; the others are served meanwhile. 0,
 *        or -EINPROGRESS and virtio_queue_stopped() later; a stop of the whole device ends it, too
 * reset  after stop, or where the device did not run: what config_write() changed has its initial value again
 *
 * A driver that goes wrong never harms more than its own device.
 */
#ifndef VMM_VIRTIO_DEVICE_H
#define VMM_VIRTIO_DEVICE_H

#include <vmm/base/loop.h>
#include <vmm/devices-core/device.h>
#include <vmm/virtio-queue/queue.h>

/* Device status (2.1). */
enum {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};

/* Device types (5). */
enum {
    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_VSOCK = 19,
};

/* Addresses are not guest physical but those of the device's IOMMU (6, VIRTIO_F_ACCESS_PLATFORM). */
#define VIRTIO_FEATURE_ACCESS_PLATFORM (1ULL << 33)

enum { VIRTIO_QUEUES_MAX = 1024, VIRTIO_CONFIG_MAX = 4096, VIRTIO_NO_VECTOR = 0xffff };
enum { VIRTIO_NET_MTU_LEAST = 68 }; /* 5.1.4.1 */
#define VIRTIO_NET_FEATURE_MAC (1ULL << 5) /* 5.1.3: config space has the device's address */

struct virtio_dev;
struct virtio_shm;
struct virtio_shm_piece;

struct virtio_ops {
    int (*start)(struct virtio_dev *dev); /* optional */
    int (*kick)(struct virtio_dev *dev, uint16_t n);
    /* Optional, where kick_now is set: as kick, but on the thread of the vCPU that rang. It neither waits nor leaves the lock;
     * what would have to is done later, in the loop. */
    int (*kick_now)(struct virtio_dev *dev, uint16_t n);
    int (*stop)(struct virtio_dev *dev); /* optional */
    /* Optional: without it a queue is at rest when each chain that was taken has come back, and the framework looks whenever the device
     * calls virtio_notify(). Who drops chains, or has others write to memory, has to have it. */
    int (*queue_stop)(struct virtio_dev *dev, uint16_t n);
    /* The transport has looked at virtio_may_dma() again. -EINPROGRESS: it was taken away, and memory is still written: vdev_unpark()
     * follows when that has ended. Otherwise 0. Optional: queues are kicked when it says yes. */
    int (*dma_changed)(struct virtio_dev *dev);
    void (*reset)(struct virtio_dev *dev); /* optional */
    /* Config space: [offset, offset + len) lies inside config_bytes. Without config_read dev->config is read; without config_write
     * writes are ignored. */
    void (*config_read)(struct virtio_dev *dev, uint32_t offset, uint8_t *data, uint32_t len);
    void (*config_write)(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                         uint32_t len);
    /* Device's own part of vdev_ops; the framework adds the queues' and the transport's. All optional but destroy. */
    /* As stop, but requests must be finished, not dropped. */
    int (*quiesce)(struct virtio_dev *dev);
    /* After a quiesce, also after one that took too long and has not ended. Every queue is kicked after it. */
    int (*resume)(struct virtio_dev *dev);
    void (*save)(struct virtio_dev *dev, void *ret_state);
    int (*load)(struct virtio_dev *dev, const void *untrusted);
    int (*set)(struct virtio_dev *dev, const struct vm_prop *prop, const void *config);
    int (*refresh)(struct virtio_dev *dev, const uint64_t **ret_answers);
    void (*destroy)(struct virtio_dev *dev);
    /* Network devices, where they have them; asked for by a front end of vhost-user, or by the user. The guest is here: its address is
     * announced on its network (SEND_RARP). In the loop's thread. -errno with text. */
    int (*announce)(struct virtio_dev *dev, const uint8_t mac[6]);
    /* The largest packet that the driver was told of (NET_SET_MTU), at least VIRTIO_NET_MTU_LEAST. -errno with text: the back end of the
     * network cannot carry it. */
    int (*set_mtu)(struct virtio_dev *dev, uint16_t mtu);
    /* A change of shared memory that was under way has ended (vmm/virtio/shm.h). Wanted of devices that map such. */
    void (*shm_done)(struct virtio_dev *dev, int code);
    /* Of devices that share objects (vmm/virtio/object.h): the descriptor of one that was added, which stays the device's, or -errno; and a
     * question has its answer: of a look-up with the descriptor, the device's from then on, otherwise -1. */
    int (*object_get)(struct virtio_dev *dev, const uint8_t name[16]);
    void (*object_done)(struct virtio_dev *dev, int code, int fd);
};

/* The driver's side of a device: virtio-pci, virtio-mmio, a vhost-user back end. Called under the device's lock. */
struct virtio_transport {
    void (*notify_queue)(struct virtio_transport *transport, uint16_t n);
    void (*notify_config)(struct virtio_transport *transport);
    /* The device is running, or has stopped: doorbells of enabled queues are wanted, or not. */
    void (*running)(struct virtio_transport *transport, bool on);
    /* A reset has ended, asked for by the driver (status 0) or, power_on, by the machine: registers have their initial
     * values again. */
    void (*reset)(struct virtio_transport *transport, bool power_on);
    /* Optional: queue n, which the driver stopped alone, is at rest and has its initial values. */
    void (*queue_stopped)(struct virtio_transport *transport, uint16_t n);
    /* Optional: false while the device must not touch memory (PCI: bus mastering is off). No queue is served then; the
     * transport tells when that changes. */
    bool (*may_dma)(struct virtio_transport *transport);
    /* Optional: shared memory is mapped (fd -1: unmapped) by the driver's side, not here. */
    int (*shm_change)(struct virtio_transport *transport, const struct virtio_shm_piece *piece,
                      int fd);
    /* Optional: the eventfd by which queue n's interrupts come is another one now (dev->kick[n].call_fd). */
    void (*called)(struct virtio_transport *transport, uint16_t n);
    /* Optional: what is an enum virtio_object_ask. */
    int (*object_ask)(struct virtio_transport *transport, unsigned what, const uint8_t name[16]);
};

/* A part of config space, in bytes; bytes 0: none. */
struct virtio_span {
    uint32_t at, bytes;
};

struct virtio_kick { /* one per queue: how a doorbell reaches the loop */
    struct vm_watch watch;
    struct vm_work work, watch_work;
    struct virtio_dev *dev;
    int fd; /* eventfd, or -1 before the transport asked for it */
    int call_fd; /* virtio_call_fd() */
    bool resetting; /* the driver's reset of the queue alone waits for its requests */
    bool awaited; /* ... as ops->queue_stop said: for virtio_queue_stopped() */
    /* The device's choice, before it is attached (later: virtio_kick_lend()): another process, or the kernel, serves the queue. It gets the doorbell's eventfd, the loop
     * does not watch it; ops->kick is called where the queue has to be looked at without a doorbell, and virtio_notify() when the other side
     * has said so. */
    bool remote;
    uint16_t n;
};

struct virtio_dev {
    struct vdev dev;
    const struct virtio_ops *ops;
    struct virtio_transport *transport; /* NULL: none yet */
    uint32_t id; /* VIRTIO_ID_* */
    uint64_t offered, driver_features; /* ours; what the driver wrote so far */
    uint64_t features; /* negotiated; 0 before FEATURES_OK */
    uint8_t status;
    /* The device's choice, before it is attached: its doorbells exit, and ops->kick_now is called. */
    bool kick_now;
    bool running;
    bool stopping; /* stop() has not ended */
    bool power_on; /* ... and it is the machine's reset, not the driver's */
    bool pausing; /* quiesce() has not ended */
    bool late; /* stopping has taken too long */
    bool deadline_on; /* the timer below means what is under way now */
    struct vm_timer deadline; /* of stopping and pausing; the loop's thread */
    struct vm_work deadline_work;
    struct vm_timer queue_deadline; /* of queues that the driver stops alone; the loop's thread */
    struct vm_work queue_deadline_work;
    bool queue_late; /* it has passed */
    bool config_late; /* a configuration interrupt waits for resume */
    uint32_t config_generation;
    uint8_t *config; /* config_bytes, what config_read without a call-back gives */
    uint32_t config_bytes;
    struct virtio_span chosen; /* as set up */
    uint16_t queues;
    struct vq *queue;
    struct virtio_kick *kick;
    struct gm_view view;
    struct virtio_shm *shm; /* NULL: no region of shared memory */
    struct vm_ratelimit complaints;
    struct { /* metrics */
        uint64_t kicks, notifies, chains_broken, resets;
    } count;
};

/* What a user may choose about any virtio device: a member of its config struct, named virtio, and VIRTIO_PROPS() a row of
 * its table. */
struct virtio_options {
    bool packed;
};
#define VIRTIO_PROPS(T)                                                               \
    {                                                                                 \
        .name = "packed", .type = VM_PROP_BOOL, .offset = offsetof(T, virtio.packed), \
        .preset = "on", .help = "offer packed rings too; off leaves split ones"       \
    }

struct virtio_setup {
    uint32_t id;
    uint64_t
        features; /* the device's own (bits 0 to 23, 50 and up); the framework adds ring and transport bits */
    const uint16_t *queue_sizes; /* largest size of each queue */
    uint16_t queues;
    uint32_t config_bytes;
    /* What a driver chooses in config space, once and for all until its reset (VIRTIO 1.2, 5.2.4: how a disk caches): whoever takes
     * the queues over from another process is told. */
    struct virtio_span chosen;
    const struct virtio_options *options; /* borrowed during virtio_init(); NULL: the presets */
};

/* First call of create(), instead of vdev_init(). 0 or -ENOMEM; on error nothing is left behind. */
int virtio_init(struct virtio_dev *dev, const struct vdev_class *cls, const struct virtio_ops *ops,
                const struct vdev_context *context, const struct virtio_setup *setup);
/* Last call of destroy(), before the memory is freed. */
void virtio_exit(struct virtio_dev *dev);

/* For devices. */
static inline bool virtio_has(const struct virtio_dev *dev, uint64_t feature)
{
    return dev->features & feature;
}
/* Interrupts the driver if it wants to know what was used in queue n. */
void virtio_notify(struct virtio_dev *dev, uint16_t n);
/* Config space changed: a new generation and an interrupt. */
void virtio_config_changed(struct virtio_dev *dev);
/* The asynchronous stop (or quiesce) has ended. In the loop's thread, or from inside stop() and quiesce(). Harmless when nothing is
 * waited for. Past the deadline (10 s) a quiesce has failed (resume() is called, the device works on); a reset is still waited for, and
 * the device is marked broken until it has ended. */
void virtio_stopped(struct virtio_dev *dev);
/* The asynchronous queue_stop of queue n has ended. Any thread, also from inside queue_stop(). Harmless when nothing is waited for.
 * Past the deadline (10 s) the driver goes on waiting, and the device is marked broken until it has ended. */
void virtio_queue_stopped(struct virtio_dev *dev, uint16_t n);
/* An error outside kick(): sets NEEDS_RESET (2.1.2), tells the driver, logs text. */
void virtio_needs_reset(struct virtio_dev *dev, const char *why);
/* Around a call from kick() that may wait for the host (a disk): others must not wait for the device's lock with it. Meanwhile
 * config space may be accessed, and stop or quiesce come: the device counts what is under way, answers -EINPROGRESS, looks with
 * virtio_queue_live() whether to go on, and calls virtio_stopped() before kick() returns. Also for call-backs of the loop, which come
 * without the lock. */
static inline void virtio_leave(struct virtio_dev *dev)
{
    vm_lock_release(&dev->dev.lock);
}
static inline void virtio_enter(struct virtio_dev *dev)
{
    vm_lock_acquire(&dev->dev.lock);
}
/* Somebody else serves a queue of it. */
static inline bool virtio_any_remote(const struct virtio_dev *dev)
{
    for (uint16_t n = 0; n < dev->queues; n++)
        if (dev->kick[n].remote)
            return true;
    return false;
}
/* The transport lets the device touch memory. */
static inline bool virtio_may_dma(const struct virtio_dev *dev)
{
    return !dev->transport || !dev->transport->may_dma || dev->transport->may_dma(dev->transport);
}
/* Queue n may be served. */
static inline bool virtio_queue_live(const struct virtio_dev *dev, uint16_t n)
{
    return dev->running && !dev->stopping && !dev->dev.quiesced && !dev->pausing &&
           n < dev->queues && dev->queue[n].started && !dev->queue[n].broken &&
           !dev->kick[n].resetting && !(dev->status & VIRTIO_NEEDS_RESET) && virtio_may_dma(dev);
}
/* Looks at queue n again, soon, in the loop (more work than one round should do, or a back end is ready). */
void virtio_kick_later(struct virtio_dev *dev, uint16_t n);

/* For transports, under the lock. */
void virtio_attach(struct virtio_dev *dev, struct virtio_transport *transport);
uint64_t virtio_offered(const struct virtio_dev *dev);
/* The driver's features, 32 bits at a time (select 0 to 3; others ignored). Only before FEATURES_OK. */
void virtio_set_driver_features(struct virtio_dev *dev, uint32_t select, uint32_t bits);
/* The driver writes the status: the machine of 3.1. 0, or -EINPROGRESS: a reset that waits (transport->reset follows). */
int virtio_set_status(struct virtio_dev *dev, uint8_t status);
uint8_t virtio_status(const struct virtio_dev *dev);
/* Config space accesses of any offset and length; beyond the end: zeros, ignored. */
void virtio_config_read(struct virtio_dev *dev, uint32_t offset, uint8_t *data, uint32_t len);
void virtio_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                         uint32_t len);
/* Queue n was enabled by the driver (queue_enable, queue_ready). Wrong set-up: NEEDS_RESET. */
void virtio_queue_enable(struct virtio_dev *dev, uint16_t n);
/* RING_RESET (2.6.1), where negotiated. No further chain is taken; when nothing of it is in flight any more, the queue has its initial
 * values, and transport->queue_stopped() is called. */
void virtio_queue_reset(struct virtio_dev *dev, uint16_t n);
/* True while that, or a stop of the queue, has not ended. Asked before the queue's registers are shown or changed. */
bool virtio_queue_resetting(struct virtio_dev *dev, uint16_t n);
/* The driver rang queue n, without an eventfd: it is served by this thread where the device wants that, else in the loop. */
void virtio_queue_ring(struct virtio_dev *dev, uint16_t n);
/* Queue n is served now: for a transport that watches its driver's doorbells by itself. The loop's thread. */
void virtio_queue_serve(struct virtio_dev *dev, uint16_t n);
/* Queue n is served in the loop. */
void virtio_queue_kick(struct virtio_dev *dev, uint16_t n);
/* The eventfd that means the same, watched in the loop; -errno with text. Borrowed. Not where kick_now is set. */
int virtio_kick_fd(struct virtio_dev *dev, uint16_t n, int *ret_fd);
/* Changes kick[n].remote for the driver that begins now, whose features say what queue n is: from ops->start alone. */
void virtio_kick_lend(struct virtio_dev *dev, uint16_t n, bool remote);
/* Of a device whose queues are all remote: the doorbells get new eventfds, for who has the old ones is not served by any more. Kicks that nobody took
 * are lost with the old ones: who comes next looks at its queues once. */
void virtio_kick_renew(struct virtio_dev *dev);
/* Of a remote queue: signals of the eventfd fd (borrowed; -1: none any more) mean that something was used in queue n. Where the transport can it
 * has them reach the driver by themselves; virtio_notify() works all the same. Under the device's lock. */
void virtio_call_fd(struct virtio_dev *dev, uint16_t n, int fd);

/* The device, just created, quiesced and not behind a transport yet, goes on where `last`, quiesced, has come to rest: negotiation, queues
 * and what its class keeps. -errno with text: it is as after power-on. `last` stays as it is. No lock is held. */
int virtio_take_over(struct virtio_dev *dev, struct virtio_dev *last);

/* What a snapshot keeps of queues and negotiation; the transport adds its share (transport.h). */
struct virtio_state {
    uint64_t driver_features;
    uint32_t config_generation;
    uint8_t status;
    bool config_late;
    uint32_t queues;
    struct vq_state queue[VIRTIO_QUEUES_MAX];
};

#endif
