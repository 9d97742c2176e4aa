/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A machine around one device: loop in virtual time, guest memory, buses, a PCI root, interrupts, doorbells, and the
 * guest's driver that speaks to a virtio device through its transport's registers only. For unit tests, contract tests,
 * fuzz targets and the simulation.
 *
 *     static struct vh h;                                       large: not on the stack
 *     struct vh_config c = { .transport = VH_PCI };
 *     vh_open(&h, &c);
 *     vh_create(&h, &virtio_rng_class, "max_bytes=64");         options as on the command line; NULL: defaults
 *     vh_start(&h, 0);                                          negotiated, queues set up, DRIVER_OK
 *     struct fake_buf b = { fake_driver_alloc(&h.drv[0], 16), 16, true };
 *     len = vh_request(&h, 0, &b, 1);                           offered, kicked, served, interrupted, collected
 *     vh_close(&h);
 *
 * Deterministic: time, random bytes and the order of everything follow from the calls. One thread, unless a comment says
 * otherwise. Errors are return values: 0 or -errno.
 */
#ifndef TESTS_SUPPORT_VIRTIO_HARNESS_H
#define TESTS_SUPPORT_VIRTIO_HARNESS_H

#include <pthread.h>

#include <vmm/base/loop.h>
#include <vmm/virtio/transport.h>

#include "fake_driver.h"

enum {
    VH_QUEUES = 64, /* fake drivers; a device may have more queues */
    VH_DOORBELLS = 256,
    VH_MEMORY = 300,
    VH_VECTORS = 128,
    VH_PINS = 8, /* interrupt lines for platform devices */
    VH_LOG_LINES = 16,
    VH_LOG_BYTES = 256,
};

/* Where things are. */
#define VH_ECAM      0xe0000000ULL
#define VH_MEM32     0xc0000000ULL
#define VH_MEM64     0x800000000ULL
#define VH_MMIO      0xd0000000ULL /* the virtio-mmio window */
#define VH_MSI       0xfee00000ULL
#define VH_MSI_DATA  0x4000U /* + vector */
#define VH_RAM_BYTES (8ULL << 20)

enum vh_transport {
    VH_PCI, /* interrupts by MSI-X: vector 0 for the configuration, n + 1 for queue n */
    VH_PCI_INTX,
    VH_MMIO_BUS,
    VH_NO_TRANSPORT, /* platform devices, or a device before its transport */
    VH_OTHER, /* as config.other does it */
};

/* Another transport (vhost_harness.h): what the functions of the same names do then. */
struct vh;
struct vh_other {
    /* Memory in h->config.ram and ram_bytes, and what the device gets of it in h->device_memory; h->other is the transport's own.
     * After it close is called. */
    int (*open)(struct vh *h);
    void (*close)(struct vh *h);
    int (*plug)(struct vh *h, struct virtio_dev *dev);
    void (*unplug)(struct vh *h);
    int (*probe)(struct vh *h);
    uint64_t (*offered)(struct vh *h);
    void (*write_features)(struct vh *h, uint64_t features);
    uint8_t (*status)(struct vh *h);
    int (*set_status)(struct vh *h, uint8_t status);
    bool (*reset_ended)(struct vh *h);
    uint16_t (*queues)(struct vh *h);
    uint16_t (*queue_size_max)(struct vh *h, uint16_t n);
    bool (*queue_enabled)(struct vh *h, uint16_t n);
    void (*queue_set)(struct vh *h, uint16_t n, uint16_t size, gpa_t desc, gpa_t driver,
                      gpa_t device);
    void (*queue_enable)(struct vh *h, uint16_t n);
    int (*kick)(struct vh *h, uint16_t n);
    void (*config_read)(struct vh *h, uint32_t offset, void *data, uint32_t len);
    void (*config_write)(struct vh *h, uint32_t offset, const void *data, uint32_t len);
    /* Interrupts that have come reach the drivers. */
    void (*take_interrupts)(struct vh *h);
};

struct vh_config {
    enum vh_transport transport;
    bool packed; /* vh_start() asks for packed rings where offered */
    bool no_event_idx, no_indirect;
    bool refuse_doorbells; /* kicks reach the device through its register */
    bool takes_calls; /* eventfds may send messages: vh.call has them, and nothing more happens */
    bool real_time; /* the loop waits, for threads */
    bool
        own_interrupts; /* the test looks at lines and status bits by itself: see vh_take_interrupt() */
    uint64_t ram_bytes; /* 0: VH_RAM_BYTES */
    void *ram; /* NULL: anonymous */
    bool shared; /* RAM in a memfd that other processes can map */
    const struct vh_other *other; /* of VH_OTHER */
    uint64_t seed; /* of env.random */
};

struct vh_memory { /* what devices mapped into the guest: number n is slot n */
    bool used, read_only;
    uint64_t gpa, size;
    uint8_t *host;
};

struct vh_doorbell {
    bool used, pio, match;
    uint64_t addr, value;
    unsigned len;
    int fd;
};

struct vh_call {
    bool used;
    int fd;
    struct vdev_msi msi;
};

struct vh_pin {
    struct vdev_irq irq;
    bool level;
    unsigned rises;
};

struct vh {
    struct vh_config config;
    struct vm_env env; /* change call-backs before vh_create() */
    int (*open)(void *ctx, const char *name,
                unsigned how); /* what env.open does; ctx is the harness */
    void *ctx; /* the test's own */
    struct vm_loop *loop;
    struct fake_guest guest;
    struct gm_space *device_memory; /* NULL: the guest's own */
    void *other;
    struct vdev_bus *mmio, *pio;
    struct vdev_bus_reader reader, pio_reader; /* of the test's thread */
    struct vpci_root *root;
    struct vdev_context context; /* for create(); resources and irqs may be set before */
    struct vdev_resource resource[VDEV_RESOURCES_MAX];
    struct vdev_irq *irqs[VH_PINS];
    struct vh_pin pin[VH_PINS];
    uint64_t random_state;
    bool random_asked; /* env.random was called */
    int random_rc; /* != 0: env.random fails with it */

    /* The machine. lock guards what other threads may change. */
    struct vdev_machine machine;
    pthread_mutex_t lock;
    struct vh_doorbell doorbell[VH_DOORBELLS];
    unsigned doorbells; /* installed now */
    struct vh_memory memory[VH_MEMORY];
    bool refuse_memory; /* the hypervisor takes no more */
    struct vh_call call[VH_QUEUES];
    unsigned calls; /* likewise */
    unsigned events, unparks, broken;
    enum vdev_event event; /* the last one */
    uint32_t event_value;
    unsigned log_lines; /* all time */
    char log[VH_LOG_LINES][VH_LOG_BYTES];
    uint64_t clock_ns; /* atomic: what other threads see */

    /* Messages. */
    struct vdev_msi_sink sink;
    unsigned messages, vector_count[VH_VECTORS];
    struct vdev_msi message;

    /* The device, and its driver. */
    struct vdev *dev;
    struct virtio_dev *virtio; /* NULL: not a virtio device */
    struct virtio_pci *pci;
    struct virtio_mmio *window;
    uint64_t features; /* negotiated */
    struct fake_driver drv[VH_QUEUES];
    bool drv_made[VH_QUEUES];
    unsigned queue_interrupts, config_interrupts; /* as the driver saw them */
    int code; /* of vh_done() */
    bool done;
    bool gone; /* of vh_remove(): no access reaches the device any more */

    /* PCI: what the driver found. */
    unsigned slot; /* device number */
    uint64_t bar[6];
    uint64_t common, notify, isr, device_config; /* addresses */
    uint32_t notify_step;
    unsigned window_cap;
    uint16_t vectors;
    uint64_t msix_table;
};

/* ---- life ---- */

/* Everything but a device. -ENOMEM. */
int vh_open(struct vh *h, const struct vh_config *config);
/* Makes a device of the class with options as on its command line ("a=1,b=x"; NULL: defaults), and plugs a virtio device
 * into the transport. Platform classes get h->resource and h->irqs. -errno of parsing, create() or the transport, with
 * text. */
int vh_create(struct vh *h, const struct vdev_class *cls, const char *options);
/* The same with a config struct of the class's. */
int vh_create_config(struct vh *h, const struct vdev_class *cls, const void *config);
/* Plugs in a virtio device that the test made itself from h->context: it is the harness's then, unless this fails. */
int vh_plug(struct vh *h, struct virtio_dev *dev);
/* Takes the device away. */
void vh_destroy(struct vh *h);
/* All of it, also after a failed vh_open(). */
void vh_close(struct vh *h);

/* ---- time ---- */

/* Runs the loop until nothing is left to do now, then serves interrupts. -ELOOP: it never ends. */
int vh_idle(struct vh *h);
/* As vh_idle(), for so much virtual time. */
int vh_pass(struct vh *h, uint64_t ns);
/* done call-back for vdev_reset() and vdev_quiesce(): sets h->done and h->code (of the one harness of this thread). */
void vh_done(struct vdev *dev, int code);
/* What the machine does, with the wait for its end: its result, or -ETIME after a minute of virtual time without one. After a reset addresses are assigned again, as firmware would. */
int vh_quiesce(struct vh *h);
int vh_machine_reset(struct vh *h);
/* What the machine does to take the device out while the guest runs on: stopped, off its buses, destroyed. 0, and h->dev is NULL; what
 * vdev_remove() said (the device is still there); -EIO: an access was never over. */
int vh_remove(struct vh *h);

/* ---- the guest's accesses ---- */

uint64_t vh_read(struct vh *h, uint64_t addr, unsigned len);
/* 0, -ENODEV, -EINPROGRESS (the vCPU parks). A write that a doorbell takes signals its fd. */
int vh_write(struct vh *h, uint64_t addr, unsigned len, uint64_t value);
/* A doorbell for this write, or NULL. */
struct vh_doorbell *vh_find_doorbell(struct vh *h, bool pio, uint64_t addr, unsigned len,
                                     uint64_t value);
/* The memory that a device mapped there, or NULL. */
struct vh_memory *vh_find_memory(struct vh *h, uint64_t gpa);
unsigned vh_memories(const struct vh *h);
/* Configuration space of the PCI function. */
uint32_t vh_pci_read(struct vh *h, unsigned at, unsigned len);
int vh_pci_write(struct vh *h, unsigned at, unsigned len, uint32_t value);

/* ---- the driver ---- */

/* Finds the transport's structures; PCI: bus mastering on, MSI-X set up (but with VH_PCI_INTX). -ENODEV where one is missing
 * or wrong. vh_plug() has called it. */
int vh_probe(struct vh *h);
uint64_t vh_offered(struct vh *h);
void vh_write_features(struct vh *h, uint64_t features);
uint8_t vh_status(struct vh *h);
int vh_set_status(struct vh *h, uint8_t status);
/* Status 0, and waits as a driver of this transport does, at most so much virtual time. 0, -ETIMEDOUT. Rings of fake drivers
 * are forgotten. */
int vh_reset(struct vh *h, uint64_t limit_ns);
/* Stops queue n alone and waits likewise: RING_RESET, where it was agreed on, for PCI, QueueReady for MMIO. Not by messages. */
int vh_queue_stop(struct vh *h, uint16_t n, uint64_t limit_ns);
/* ACKNOWLEDGE, DRIVER, features (all we know of queues, the config's wishes, and of the device's own those in want; want 0:
 * all of them), FEATURES_OK. -ENOTSUP: the device refused. */
int vh_negotiate(struct vh *h, uint64_t want);
/* Sets up queue n with a ring of size (0: the largest, at most 256) in h->drv[n], and enables it. */
int vh_queue(struct vh *h, uint16_t n, uint16_t size);
/* Enables it with what the caller put into the registers' place. */
void vh_queue_set(struct vh *h, uint16_t n, uint16_t size, gpa_t desc, gpa_t driver, gpa_t device);
void vh_queue_enable(struct vh *h, uint16_t n);
uint16_t vh_queue_size_max(struct vh *h, uint16_t n);
bool vh_queue_enabled(struct vh *h, uint16_t n);
uint16_t vh_queues(struct vh *h);
/* vh_negotiate(), all queues, DRIVER_OK; then runs until idle. */
int vh_start(struct vh *h, uint64_t want);
/* As the driver does, whether the device wants it or not. */
int vh_kick(struct vh *h, uint16_t n);
/* Kicks if the device wants it, and runs until idle. */
int vh_serve(struct vh *h, uint16_t n);
/* Offers a chain in queue n, serves, collects it. Its written bytes; -EAGAIN: it did not come back (yet); -errno of the fake
 * driver (-EBADE: the device broke the rules). */
int vh_request(struct vh *h, uint16_t n, const struct fake_buf *bufs, size_t count);
void vh_config_read(struct vh *h, uint32_t offset, void *data, uint32_t len);
void vh_config_write(struct vh *h, uint32_t offset, const void *data, uint32_t len);
/* INTx and MMIO: what a handler does: reads the status, acknowledges, tells the fake drivers. Returns the status bits (1 queue,
 * 2 configuration). Called by vh_idle() unless own_interrupts. */
unsigned vh_take_interrupt(struct vh *h);
/* The line of the device (INTx or MMIO). */
bool vh_line(const struct vh *h);

/* ---- state ---- */

/* Transport, queues and device together, as a snapshot has them; platform devices: vdev_save(). */
int vh_save(struct vh *h, struct vm_buffer *buffer);
int vh_load(struct vh *h, const void *data, size_t size);
/* The log of late holds the text. */
bool vh_logged(struct vh *h, const char *text);
/* The next number of the seeded generator. */
uint64_t vh_random(struct vh *h);

#endif
