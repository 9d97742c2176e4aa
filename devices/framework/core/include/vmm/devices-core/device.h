/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Devices and their classes. A class row holds everything about a kind of device: option keys,
 * placement, jail, state, creation. A device is written once, single-threaded: the framework takes
 * its lock around every call.
 *
 * Life:
 *
 *   create -> [running] <-> quiesce/resume            lock held in all calls but create and destroy
 *                |  reset: back to power-on
 *                |  save/load while quiesced (load also right after create)
 *                |  remove: reset for good, where the machine runs on without it
 *             destroy
 *
 * reset, quiesce and remove return 0 (done) or -EINPROGRESS and call vdev_done() once later, from
 * the device's loop, under its lock. After quiesce nothing writes guest memory or raises interrupts
 * until resume, after remove never again.
 */
#ifndef VMM_DEVICES_CORE_DEVICE_H
#define VMM_DEVICES_CORE_DEVICE_H

#include <vmm/base/env.h>
#include <vmm/base/jail_rule.h>
#include <vmm/base/job.h>
#include <vmm/base/lock.h>
#include <vmm/base/prop.h>
#include <vmm/base/state.h>
#include <vmm/devices-core/bus.h>
#include <vmm/devices-core/interrupt.h>
#include <vmm/vm-memory/memory.h>

enum { VDEV_ID_MAX = 63 };

/* What a device asks of its machine. Thread safe; none of these waits. */
enum vdev_event {
    VDEV_EVENT_RESET, /* the guest asks for a reboot */
    VDEV_EVENT_POWEROFF, /* the guest switches itself off */
    VDEV_EVENT_SLEEP, /* suspend to RAM */
    VDEV_EVENT_PANIC, /* the guest reports a panic; value says more */
    VDEV_EVENT_DEBUG, /* a debug port was written: value is the byte */
    VDEV_EVENT_ESCAPE, /* the user typed the escape sequence at this device; value is the key behind it */
    VDEV_EVENT_BALLOON, /* the balloon has the size that it was to have, or the guest took memory out by itself; value: pages of 4 KiB in it */
};
struct vdev_machine;
struct vdev_msi;
struct vdev_machine_ops {
    void (*event)(struct vdev_machine *machine, struct vdev *dev, enum vdev_event event,
                  uint32_t value);
    /* Writes of len bytes (0: any length) at addr signal fd instead of reaching the bus; match:
     * only this value. 0, or -errno: then the device's region gets the write. */
    int (*doorbell_add)(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                        bool match, uint64_t value, int fd);
    void (*doorbell_del)(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                         bool match, uint64_t value, int fd);
    /* Optional. Memory of this process as the guest's memory at gpa, though nobody's RAM; what the guest writes to read_only memory goes to
     * the bus. Whole pages, borrowed until memory_del(). The number of its slot, or -ENOSPC, -EEXIST (something is there), -errno of the
     * hypervisor, with text. Under any device's lock. */
    int (*memory_add)(struct vdev_machine *machine, uint64_t gpa, uint64_t size, void *host,
                      bool read_only);
    /* 0, or -errno with text: the guest still has it, and the memory has to stay for ever. */
    int (*memory_del)(struct vdev_machine *machine, int slot);
    /* vdev_unpark(): wakes the vCPUs that parked on dev. */
    void (*unpark)(struct vdev_machine *machine, struct vdev *dev);
    /* An interrupt controller's pin now sends msi (NULL: nothing): the hypervisor must know the
     * level-triggered ones to report their end of interrupt. May be NULL where no such
     * controller exists. */
    void (*pin_routed)(struct vdev_machine *machine, struct vdev *dev, uint32_t pin,
                       const struct vdev_msi *msi);
    /* Writes to [addr, addr + len) change nothing but what the next access means (an index register): the machine may hand
     * them to the region together with that one, and spare the guest an exit. Advice, for as long as the machine lives; may
     * be NULL. */
    void (*late_writes)(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len);
    /* Signals of the eventfd fd (borrowed until call_del) send msi from now on, without anybody here; what was signalled before may be sent
     * once more. *ret_number is for call_del(), after which none does. 0, or -errno without text: the caller sends it himself, as he goes
     * on to do with what else there is to tell. Both may be NULL. Any thread, under the device's lock. */
    int (*call_add)(struct vdev_machine *machine, const struct vdev_msi *msi, int fd,
                    uint32_t *ret_number);
    void (*call_del)(struct vdev_machine *machine, int fd, uint32_t number);
    /* A device broke (driver or back end): for events and the log. */
    void (*broken)(struct vdev_machine *machine, struct vdev *dev, const char *why);
};
struct vhost_objects;
struct vdev_machine {
    const struct vdev_machine_ops *ops;
    struct vhost_objects
        *objects; /* what back ends of others share: library vhost's; may be NULL */
};

/* Properties that every device has; the first member of each config struct, named common, and
 * VDEV_PROPS() the first rows of its table. */
enum vdev_bus_choice { VDEV_BUS_AUTO, VDEV_BUS_PCI, VDEV_BUS_MMIO };
extern const char *const vdev_bus_choices[];
enum vdev_place_choice { VDEV_PLACE_AUTO, VDEV_PLACE_PROCESS, VDEV_PLACE_THREAD };
extern const char *const vdev_place_choices[];
struct vdev_common {
    char *id; /* NULL: made from the class name and a number */
    uint32_t bus; /* enum vdev_bus_choice: the transport of a virtio device */
    char *addr; /* PCI "DD" or "DD.F" (hexadecimal), NULL: the next free */
    uint32_t pci_segment;
    uint32_t placement; /* enum vdev_place_choice */
};
#define VDEV_PROPS(T)                                                                            \
    { .name = "id",                                                                              \
      .type = VM_PROP_STRING,                                                                    \
      .offset = offsetof(T, common.id),                                                          \
      .max = VDEV_ID_MAX,                                                                        \
      .help = "name of the device, unique in the machine" },                                     \
        { .name = "bus",                                                                         \
          .type = VM_PROP_ENUM,                                                                  \
          .offset = offsetof(T, common.bus),                                                     \
          .values = vdev_bus_choices,                                                            \
          .preset = "auto",                                                                      \
          .help = "what it is plugged into" },                                                   \
        { .name = "addr",                                                                        \
          .type = VM_PROP_STRING,                                                                \
          .offset = offsetof(T, common.addr),                                                    \
          .max = 16,                                                                             \
          .help = "PCI device and function on its bus, as 1f or 1f.0; the next free one if not " \
                  "given" },                                                                     \
        { .name = "pci_segment",                                                                 \
          .type = VM_PROP_U32,                                                                   \
          .offset = offsetof(T, common.pci_segment),                                             \
          .max = 15,                                                                             \
          .help = "PCI segment" },                                                               \
    {                                                                                            \
        .name = "placement", .type = VM_PROP_ENUM, .offset = offsetof(T, common.placement),      \
        .values = vdev_place_choices, .preset = "auto",                                          \
        .help = "who serves it: a jailed process of its own, or a thread of the VMM; what "      \
                "--sandbox says if not given"                                                    \
    }

/* What firmware tables say about a device: data, which the architecture turns into ACPI or FDT. */
enum vdev_resource_type { VDEV_RES_END, VDEV_RES_MMIO, VDEV_RES_PIO, VDEV_RES_IRQ };
struct vdev_resource {
    enum vdev_resource_type type;
    uint64_t base; /* address, port, or interrupt number */
    uint64_t size; /* IRQ: 0 edge, 1 level */
};
enum { VDEV_RESOURCES_MAX = 6 };
struct vdev_firmware {
    const char *acpi_hid; /* "PNP0501"; NULL: not in ACPI by itself */
    const char *compatible; /* FDT: names separated by spaces, most specific first; NULL: not in
                             * FDT by itself */
    const char *node; /* FDT: what its node is called ("serial"); NULL: "device" */
    const char *clocks; /* FDT: names of its clock inputs, separated by spaces ("uartclk apb_pclk");
                         * NULL: apb_pclk where compatible has arm,primecell, else none */
    uint32_t uid;
    struct vdev_resource resource[VDEV_RESOURCES_MAX]; /* ends with VDEV_RES_END or full */
};

/* A metric: a named uint64_t counter inside the device, written by vm_count() under its lock and read without it. Tables end with a
 * row without a name. */
struct vdev_metric {
    const char *name;
    size_t offset; /* from struct vdev */
    const char *help;
};

struct vdev_class;
struct vdev_ops {
    int (*reset)(struct vdev *dev);
    int (*quiesce)(struct vdev *dev);
    /* A quiesce() that answered -EINPROGRESS takes too long: the device calls vdev_done(-errno) and
     * works on; when it comes to rest after all, it says nothing. Any thread. Wanted where
     * quiesce() may be asynchronous. */
    void (*give_up)(struct vdev *dev);
    int (*resume)(struct vdev *dev);
    /* As reset, and from now on (leaving is set) nothing that the guest writes brings the device to
     * life again. Only devices that can be taken out of a running machine have it. May come again
     * after a -ETIMEDOUT: then it goes on to wait. */
    int (*remove)(struct vdev *dev);
    /* Fills the class's state struct (zeroed before), or takes it over after checking each
     * field. */
    void (*save)(struct vdev *dev, void *ret_state);
    int (*load)(struct vdev *dev, const void *untrusted);
    void (*destroy)(struct vdev *dev); /* not under the lock; nothing calls the device any more */
    /* The user pressed the power button. Optional: only the device that has it. */
    int (*power_button)(struct vdev *dev);
    /* Interrupt controllers only. The n-th input, or NULL beyond the last; borrowed for the
     * device's life. Called without the lock, before vCPUs run. */
    struct vdev_irq *(*irq_line)(struct vdev *dev, uint32_t n);
    /* The guest ended a level interrupt of that vector. Called without the lock, in a vCPU's
     * thread. */
    void (*eoi)(struct vdev *dev, uint8_t vector);
    /* A property whose row is live was changed (vmm set); its place in a config struct. Wanted where
     * there are such rows. */
    int (*set)(struct vdev *dev, const struct vm_prop *prop, const void *config);
    /* Metrics that only the guest knows are asked for. Wanted where there are such. */
    int (*refresh)(struct vdev *dev, const uint64_t **ret_answers);
};

struct vdev {
    const struct vdev_class *cls;
    const struct vdev_ops *ops;
    char id[VDEV_ID_MAX + 1];
    const struct vm_env *env; /* borrowed; its loop is the one that serves this device */
    struct vdev_machine *machine;
    struct vm_lock lock;
    struct vdev_firmware firmware;
    void (*done)(struct vdev *dev, int code); /* waiter of an asynchronous call */
    bool quiesced;
    bool leaving; /* vdev_remove() was called */
    const char *
        stays; /* why it cannot be removed, as far as this one goes: set by create(); may be NULL */
    bool broken; /* written under the lock, read by any thread: atomic, relaxed */
    unsigned parked; /* a vCPU that wrote to it must wait: see vdev_park() */
    enum vdev_pending {
        VDEV_PENDING_NONE,
        VDEV_PENDING_RESET,
        VDEV_PENDING_QUIESCE,
        VDEV_PENDING_REMOVE
    } pending;
    struct vm_list node; /* the machine's */
    struct vdev_ledger *ledger; /* ledger.h; NULL: none */
};

/* What create() gets. Everything is borrowed for the device's life, but config: for the call. */
struct vdev_context {
    const struct vm_env *env;
    struct vdev_machine *machine;
    const char *id;
    struct gm_space *memory;
    const void *config; /* the class's config struct */
    /* Platform devices: where the machine put them, in the order the class wants them. */
    const struct vdev_resource *resources;
    struct vdev_irq *const *irqs;
    struct vdev_bus *mmio, *pio;
    struct vdev_msi_sink *msi;
    struct vdev_counters *counters; /* where its memory shall be (counters.h); NULL: on the heap */
};

enum vdev_kind { VDEV_PLATFORM, VDEV_VIRTIO, VDEV_PCI };
enum vdev_backend {
    VDEV_BACKEND_NONE,
    VDEV_BACKEND_BLOCK,
    VDEV_BACKEND_NET,
    VDEV_BACKEND_CHAR,
    VDEV_BACKEND_FS
};
enum vdev_placement { VDEV_THREAD = 1, VDEV_PROCESS = 2, VDEV_FOREIGN = 4 };
/* What becomes of a request whose process died in the middle of it: it runs again; it does unless it is marked; it is never run again
 * (docs/in-flight.md). */
enum vdev_replay { VDEV_REPLAY_ALL, VDEV_REPLAY_MARKED, VDEV_REPLAY_NONE };

struct vdev_class {
    const char *name; /* "virtio-rng" */
    const char *summary; /* one line */
    const struct vm_prop *props;
    size_t config_size;
    enum vdev_kind kind;
    enum vdev_backend backend;
    unsigned placements; /* enum vdev_placement */
    bool internal; /* made by the machine only, not by --device */
    bool dials; /* its process may ask for VM_OPEN_DIAL */
    uint32_t fds; /* most descriptors of its process; 0: the jail's usual number */
    const struct vm_jail_rule *jail; /* what the class's code calls; vmm/base/jail_rule.h */
    /* Of that, what a vCPU calls that writes the device's registers while a thread of the VMM serves it, and what not every vCPU may
     * anyway (vmm_jail_rows_vcpu). May be NULL. */
    const struct vm_jail_rule *jail_vcpu;
    /* Rows that a device with this configuration calls besides, on a thread of the VMM; NULL: none. Optional. */
    const struct vm_jail_rule *(*jail_more)(const void *config);
    /* What the user left open, and has to be the same each time the device is made (an address), is chosen and written into config, once, before
     * the first time. -errno with text. NULL: there is nothing of the kind. */
    int (*settle)(const struct vm_env *env, void *config);
    /* Why a device with this configuration must be on a thread of the VMM; NULL: it need not. Optional. */
    const char *(*thread_reason)(const void *config);
    /* A device with this configuration opens that name in that way (VM_OPEN_TAP, VM_OPEN_USER, VM_OPEN_DIAL with CONNECT), which depends on several options: asked outside of the
     * device's process, which may have any wish. NULL: it opens nothing of the kind. */
    bool (*may_open)(const void *config, const char *untrusted, unsigned how);
    /* A device with this configuration asks for VM_OPEN_USER: somebody has to be there who starts programs. NULL: none does. */
    bool (*starts_program)(const void *config);
    const struct vm_state_field *state; /* of the struct that save and load see */
    size_t state_size;
    uint16_t state_version;
    enum vdev_replay replay;
    /* Rows of the state that must outlive a process at any time: what the guest has told beside its rings (ledger.h); NULL: nothing. */
    const struct vm_state_field *ledger;
    const struct vdev_metric *metrics;
    int (*create)(const struct vdev_context *context, struct vdev **ret_dev);
};

/* Writes the id of the n-th device of a class that was not given one: "virtio-rng0". */
void vdev_id_make(const struct vdev_class *cls, unsigned n, char ret_id[VDEV_ID_MAX + 1]);
/* 0, or -EINVAL with text: 1 to VDEV_ID_MAX of the letters, digits and "._-", a letter or digit
 * first (ids stand in socket names, metrics and snapshots). */
int vdev_id_check(const char *untrusted);

/* Zeroed memory for the one device that a create() makes, for its metrics lie in it; NULL: out of memory. free: after vdev_exit(), or when nothing
 * came of it; NULL is allowed. */
void *vdev_alloc(const struct vdev_context *context, size_t size);
void vdev_free(void *device);

/* First call of a create(): fills the common part, sets *dev to zero before. The id is copied. */
void vdev_init(struct vdev *dev, const struct vdev_class *cls, const struct vdev_ops *ops,
               const struct vdev_context *context);
/* Last call of a destroy(), before the memory is freed. */
void vdev_exit(struct vdev *dev);

/* Life-cycle calls for the machine: they take the lock. done (may be NULL): called once, under
 * the lock, if -EINPROGRESS was returned, so it posts. -EBUSY with text while an earlier one has
 * not ended. quiesce of a quiesced device and resume of a running one do nothing. A reset leaves
 * a quiesced device quiesced; when it has ended with 0 the device is no longer broken.
 * Call-backs a device does not have count as done. */
int vdev_reset(struct vdev *dev, void (*done)(struct vdev *dev, int code));
int vdev_quiesce(struct vdev *dev, void (*done)(struct vdev *dev, int code));
int vdev_resume(struct vdev *dev);
/* The first step of taking it out: after it the device does nothing by itself, and can be taken off
 * its buses and destroyed. -ENOTSUP (its class) or -EBUSY
 * (this one) with text where the device cannot go while the machine runs. */
int vdev_remove(struct vdev *dev, void (*done)(struct vdev *dev, int code));
/* Ends a quiesce that is under way: done has come with -ETIMEDOUT or another -errno, or the quiesce
 * had ended before. */
void vdev_give_up(struct vdev *dev);
/* Changes a property while the device works: the row's place in config, the class's config struct. -ENOTSUP with text where its class, or this
 * row, knows no such change; what ops->set() says. */
int vdev_set(struct vdev *dev, const struct vm_prop *prop, const void *config);
/* Has the device ask its guest for metrics that only that one knows: the counter *ret_answers (the device's, read by vm_count_get()) goes up
 * when they have come. -ENOTSUP with text: it has none such; -EAGAIN: the guest has no driver that could tell. Any thread. */
int vdev_refresh(struct vdev *dev, const uint64_t **ret_answers);
/* That -ENOTSUP. */
int vdev_fail_refresh(const struct vdev *dev);
/* The row and the value (an object of the class's, to be freed by vdev_config_free()) that "KEY=VALUE" names. -EINVAL, -ENOMEM with text. */
int vdev_config_parse(const struct vdev *dev, const char *key_value,
                      const struct vm_prop **ret_prop, void **ret_config);
void vdev_config_free(const struct vdev *dev, void *config);
/* Appends the device's section (one without fields for a class without state); -ENOMEM. */
int vdev_save(struct vdev *dev, struct vm_buffer *buffer);
/* What an older section lacks keeps the value that the device has now: load right after create
 * or reset. -EPROTO, -ENOTSUP or -EINVAL with text; then the device is as after reset. -ENOMEM. */
int vdev_load(struct vdev *dev, const void *untrusted, size_t size);
void vdev_destroy(struct vdev *dev);

/* For devices, under their lock: the asynchronous call has ended. */
void vdev_done(struct vdev *dev, int code);
/* Something went wrong for good: text from vm_error_text() is logged (rate-limited by the broken
 * flag) and told. */
void vdev_broken(struct vdev *dev, const char *why);
/* Something went wrong, but the device works on: logged and told each time. */
void vdev_trouble(struct vdev *dev, const char *why);
/* In create: vdev_machine_ops.late_writes, where the machine has it. */
void vdev_late_writes(struct vdev *dev, bool pio, uint64_t addr, unsigned len);

/* A region's write has started what the guest cannot poll: call vdev_park() and return
 * -EINPROGRESS; vdev_unpark() when it has ended lets the vCPUs go on. Any thread, any lock but a
 * leaf's; parking twice is parking once. */
static inline void vdev_park(struct vdev *dev)
{
    __atomic_store_n(&dev->parked, 1, __ATOMIC_RELEASE);
}
static inline void vdev_unpark(struct vdev *dev)
{
    __atomic_store_n(&dev->parked, 0, __ATOMIC_RELEASE);
    dev->machine->ops->unpark(dev->machine, dev);
}

static inline void vdev_event(struct vdev *dev, enum vdev_event event, uint32_t value)
{
    dev->machine->ops->event(dev->machine, dev, event, value);
}

#endif
