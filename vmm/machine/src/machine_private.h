/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the machine.
 *
 *   machine.c   creation and end      vcpu.c      threads, exits, kick and park
 *   memory.c    RAM and slots         irq.c       lines, messages, routes, doorbells
 *   devices.c   creating devices      lifecycle.c pause, resume, events, end
 *   remove.c    taking one out               sandbox.c   filters
 *   process*.c  devices elsewhere            channel.c   what is said with them
 *   program*.c  in programs of others        machine_env.c  what both have
 *   move.c      between threads and processes      names.c  what is opened for a device
 *   io.c        the thread that serves devices     upgrade.c  other programs for processes
 *   announce.c  guests, on their networks          lists.c     lists that were set
 *
 * Locks: run_lock (plain, innermost of all: nothing but the hypervisor's calls happens under it),
 * irq_lock and route_lock (ranked).
 */
#ifndef VMM_MACHINE_PRIVATE_H
#define VMM_MACHINE_PRIVATE_H

#include <pthread.h>

#include <vmm/devices-core/counters.h>
#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/machine/machine.h>
#include <vmm/pci/pci.h>
#include <vmm/virtio/transport.h>
#include <vmm/vm-memory/view.h>

/* How long vCPUs may take to come out, and then devices to come to rest: both wait for a device's own deadline (10 s). */
#define MACHINE_PAUSE_NS (15ULL * 1000000000ULL)
/* How long a removal may take before its caller is told that it does. */
#define MACHINE_REMOVE_NS MACHINE_PAUSE_NS
/* How long the I/O thread may take to announce guests. */
#define MACHINE_ANNOUNCE_NS (10ULL * 1000000000ULL)
/* How long the I/O thread may take to end. */
enum { MACHINE_JOIN_S = 3 };
/* Slots of RAM, and behind them those of devices' shared memory: a host has 509 at least. */
enum { MACHINE_PINS = 24, MACHINE_SLOTS = 64, MACHINE_DEVICE_SLOTS = 440, MACHINE_NEWS = 8 };
enum { MACHINE_CALLS = 1024 };

struct machine_announce;
struct machine_list;
struct process;
struct program;
struct machine_names;

struct vmm_vcpu {
    struct vmm_machine *machine;
    struct hv_vcpu *hv;
    struct vdev_bus_reader mmio, pio;
    struct vdev *answered; /* who asked the last access to park, until it has; atomic */
    pthread_t thread;
    bool started; /* thread exists and may be kicked; under run_lock */
    bool leaving; /* it brought the end about: no kick is needed; under run_lock */
    struct { /* written by the vCPU's thread only */
        uint64_t pio, mmio, others;
    } count;
    /* Stepwise machines only. */
    uint64_t mended; /* sigbus.c: how often, when it last failed; and where */
    gpa_t mended_gpa;
    struct vdev *parked_on; /* its last access waits for this device */
    struct hv_exit rest; /* and then this is left of a string access */
    bool out; /* it stands still and was counted */
};

/* A share of an interrupt line: lines of level type may have several drivers, and are up while one
 * of them is. */
struct machine_line {
    struct vdev_irq irq; /* first */
    struct machine_gsi *gsi;
    bool level;
    struct machine_line *next; /* of the machine, to be freed */
};
struct machine_gsi {
    struct vmm_machine *machine;
    uint32_t number;
    unsigned up; /* lines that are high; under irq_lock */
    struct vdev_irq *to; /* input of a controller that is a device; NULL: the kernel's */
};

/* How far a device is on its way out. Each step ends by posting to the control loop.
 *
 *   staying -> stopping -> hiding -> freeing -> freed
 *
 * stopping: the device ends or drops its requests, and stays as it is in the guest's eyes: its memory is not the guest's again
 * before that. hiding: it is off its buses; accesses and waits of vCPUs that began before may last. freeing: it is off the list of
 * devices, and the loop that served it frees it. */
enum machine_leave { LEAVE_NOT, LEAVE_STOPPING, LEAVE_HIDING, LEAVE_FREEING };

/* A device with its transport, and what it borrows for its life. */
struct machine_device {
    char id[VDEV_ID_MAX + 1]; /* dev's, also when that is freed */
    struct vdev *dev;
    struct virtio_pci *pci;
    struct virtio_mmio *mmio;
    struct process *process; /* which serves it; NULL: this one does */
    struct program *program; /* likewise, where it is not ours and we start it (program.h) */
    const struct vdev_class *cls; /* as the user knows it; NULL: a part of the platform */
    const void *given; /* its configuration; borrowed */
    void *
        config; /* a copy, which borrows what that points at; with what was set since. NULL: it cannot move */
    struct machine_list *lists; /* of config, that were set */
    struct machine_names *names; /* NULL: it cannot move */
    struct vdev_irq *irqs[VARCH_DEVICE_IRQS];
    struct vdev_resource resource[VDEV_RESOURCES_MAX];
    char place[32];
    struct machine_device *next;

    /* remove.c; the control loop's, but what says otherwise. */
    struct vmm_machine *machine;
    enum machine_leave leave;
    struct vm_work leave_work; /* the control loop looks at it */
    struct vm_work free_work; /* in the loop that serves the device */
    bool arrived; /* the step has ended; under run_lock */
    bool unreachable; /* hiding: no access runs any more */
    struct vm_error stop_error; /* of the stop; under run_lock */
};

/* Written by the control loop's thread, under run_lock.
 *
 *   built -> running -> pausing -> quiescing -> paused -> running
 * (vCPUs)   (devices)             quiescing -> running where a device refuses
 *   any of them -> ended */
enum machine_state {
    MACHINE_BUILT,
    MACHINE_RUNNING,
    MACHINE_PAUSING,
    MACHINE_QUIESCING,
    MACHINE_PAUSED,
    MACHINE_ENDED
};

/* What config.event is to hear. */
struct machine_news {
    enum vmm_event event;
    char source[VDEV_ID_MAX + 1];
    char text[VM_ERROR_TEXT];
};

struct vmm_machine {
    struct vdev_machine base; /* first: what devices see */
    struct vdev_msi_sink msi;
    struct gm_listener slots;
    struct vmm_machine_config config;
    struct varch *arch;
    struct hv_vm *vm;
    struct gm_space *memory;
    struct gm_view view; /* for loading */
    struct vdev_bus *mmio, *pio;
    struct vpci_root **root;

    struct gm_region *slot[MACHINE_SLOTS];
    struct vm_lock slot_lock; /* guards the next */
    bool device_slot[MACHINE_DEVICE_SLOTS];
    struct vm_watch sigbus_watch; /* the control loop's */
    int sigbus_event; /* -1: none */
    unsigned sigbus_regions; /* that have files */

    struct vm_lock irq_lock; /* guards who drives which line */
    struct vm_lock route_lock;
    struct machine_gsi *gsi;
    unsigned gsis;
    struct machine_line *lines;
    struct vdev *irqchip; /* interrupt controller that is a device */
    struct hv_route pin_route[MACHINE_PINS];
    bool pin_routed[MACHINE_PINS];
    struct machine_call {
        struct hv_route route; /* stays when nobody uses it: a vector is masked and unmasked */
        bool used;
    } * call; /* interrupts MACHINE_PINS and on: messages that eventfds send; under route_lock */
    unsigned calls;

    /* In order of creation. The control loop's; what others look for, and its changes, under run_lock. */
    struct machine_device *devices;
    struct machine_device **devices_end;
    unsigned mmio_used;

    struct vm_env io_env; /* what devices get: env with the I/O loop */
    struct vm_loop *io_loop; /* NULL in stepwise machines: devices are served by env->loop */
    pthread_t io_thread;
    struct vm_work io_work; /* the control loop's: makes the thread once a device needs it */
    bool io_started;
    bool io_over; /* it serves no more; under run_lock */
    uint32_t jail_told; /* stages that processes lack, which the log has; the I/O loop's */
    struct vm_work io_leave_work; /* the I/O loop's */
    struct vmm_jail_program *io_next; /* filter of the next one */
    void (*io_renewed)(struct vmm_machine *m); /* NULL: the thread stays */

    struct vm_lock late_lock; /* who hands late writes to the buses */

    struct vmm_vcpu *vcpu;
    unsigned vcpus;
    unsigned want_out; /* vCPUs shall leave the guest: read on every turn */

    struct machine_filters {
        struct vmm_jail_program *vcpu, *io, *main;
    } filter; /* NULL: none */

    pthread_mutex_t run_lock; /* guards what follows; conditions below */
    pthread_cond_t run_change;
    enum machine_state state;
    unsigned vcpus_out; /* how many stand still for pause or end */
    unsigned end; /* enum vmm_end; written under the lock, read by anyone */
    unsigned quiescing; /* devices that have not finished */
    struct vm_error pause_error; /* of the first device that refused */
    struct machine_news news[MACHINE_NEWS];
    unsigned news_count, news_lost;
    struct vm_ratelimit complaints;

    /* The control loop's. */
    struct vm_work lifecycle_work; /* looks at what changed */
    bool ended_told;
    struct vm_jobs *jobs; /* NULL where there is no loop */
    struct vm_job *pause_job; /* while a pause is under way */
    struct vm_job *remove_job; /* while `removing` is set */
    void (*pause_done)(void *ctx, int code);
    void *pause_ctx;
    bool pause_inside; /* nobody outside has asked for it */
    struct vm_timer pause_timer; /* vCPUs that do not come out */
    struct machine_device *removing; /* whose removal has not been answered */
    void (*remove_done)(void *ctx, int code);
    void *remove_ctx;
    struct vm_timer remove_timer;
    struct machine_upgrade {
        struct vm_job *job; /* NULL: none is under way */
        struct machine_device *device; /* whose process is on trial */
        bool all;
        int binary_fd;
        unsigned ready, total;
        void (*done)(void *ctx, int code);
        void *ctx;
    } upgrade;
    struct machine_move {
        struct vm_job *job; /* NULL: none is under way */
        struct machine_device *device;
        bool to_thread;
        bool still; /* the machine stands still for it */
        bool ours; /* ... and did not before */
        bool waits; /* for the new process */
        bool came; /* it has, with that code: */
        struct vm_error coming;
        bool failed;
        struct vm_error why;
        struct vm_error error; /* of the I/O loop's step; under run_lock */
        bool late; /* nobody waits any more for what the I/O loop makes; written under run_lock */
        uint64_t back_ns; /* when going back is given up */
        struct vm_work work; /* the control loop's */
        struct vm_work io_work; /* the I/O loop's */
        struct vm_timer timer;
        /* What exists twice meanwhile. The machine's end may leave them behind. */
        struct vdev *next, *last;
        struct process *next_process, *last_process;
        void (*done)(void *ctx, int code);
        void *ctx;
    } move;
    struct machine_announce *announce; /* NULL: none is under way */
    struct machine_device *freeing; /* off the list of devices */
    unsigned hiding; /* devices that may be waited for by a vCPU; under run_lock */
};

/* sandbox.c */
/* The I/O thread's filter for what it serves, and for d, which comes or leaves; devices are made and freed there, too. *ret_program is NULL without
 * filters. 0 or -errno with text. */
int vmm_machine_filter_io(struct vmm_machine *m, const struct machine_device *d,
                          struct vmm_jail_program **ret_program);
/* Compiles the machine's own filters. 0 or -errno with text. */
int vmm_machine_filters_new(struct vmm_machine *m);
void vmm_machine_filters_free(struct vmm_machine *m);
/* One filter of built-in tables (which end with NULL), or of the user's file `name`. */
int vmm_machine_filter(const struct vmm_machine_sandbox *sandbox, const char *name,
                       const struct vm_jail_rule *const *tables,
                       struct vmm_jail_program **ret_program);
/* In the thread that is to be filtered. NULL program: nothing happens. */
int vmm_machine_filter_load(const struct vmm_jail_program *program, const char *who);

/* process.c */
/* Starts the process of d, with its class, configuration and names, and makes the device that stands for it here. 0 or -errno with text. */
int vmm_process_new(struct vmm_machine *m, const struct machine_device *d,
                    const struct vdev_context *context, struct process **ret_process,
                    struct vdev **ret_dev);
/* The first half of it: no process yet. state: what it begins with, its class's; NULL: as after power-on. */
int vmm_process_prepare(struct vmm_machine *m, const struct machine_device *d, const char *id,
                        const void *state, struct process **ret_process);
/* The guest may run: from now on what the process asks is judged by what it has asked before. */
void vmm_process_live(struct process *p);
/* Its device is freed. In the thread of the I/O loop, or when there is none. */
void vmm_process_detach(struct process *p);
/* The control loop's thread; after it nothing of it is left. NULL is allowed. */
void vmm_process_free(struct process *p);
/* Calls row() for each stage that the jail of its process lacks, and why. The control loop's thread. */
void vmm_process_jail_lacks(struct process *p,
                            void (*row)(void *ctx, const char *stage, const char *why), void *ctx);
/* The class as the user knows it. */
const struct vdev_class *vmm_process_class(const struct process *p);
/* The next process runs the program in that file (ELF; borrowed for the call). done comes once, on the control loop: 0: it serves the
 * device, and has done so for some seconds; -ECHILD or -ETIMEDOUT with text: the old program does again. Not after vmm_process_free().
 * 0; -EBUSY or -errno with text: done does not come. The control loop's thread. */
int vmm_process_upgrade(struct process *p, int binary_fd, void (*done)(void *ctx, int code),
                        void *ctx);
/* A property shall change to its value in config, a scalar that is no text or a list, which is taken out of config; key_value says the same. -EINPROGRESS without text: done (NULL: the
 * log) comes once, as of vmm_machine_set(). -EBUSY (too many wait) or -errno with text: it does not. This and what follows: the control loop's
 * thread. */
int vmm_process_set(struct process *p, const struct vm_prop *prop, void *config,
                    const char *key_value, void (*done)(void *ctx, int code), void *ctx);
/* Nothing is changed any more: code and vm_error_text() for those who wait. */
void vmm_process_sets_end(struct process *p, int code);
void vmm_process_walk_sets(struct process *p, void (*visit)(void *arg, void *ctx), void *arg);

/* process_move.c: the control loop's thread, but what says otherwise */
/* Likewise, for the quiesced device of a thread, d->dev, with what it knows. */
int vmm_process_for(const struct machine_device *d, struct process **ret_process);
/* The device that stands for it: what `last`, which it is made for, is to a driver. The process starts; nothing is waited for. The I/O loop. */
int vmm_process_stand_in(struct process *p, struct vdev *last, const struct vdev_context *context,
                         struct vdev **ret_dev);
/* Then: it hears of the machine's memory. 0 or -errno with text. */
int vmm_process_listen(struct process *p);
/* done comes once: 0: a process serves the device; -ECHILD with text: the first one ended before it did. Not after vmm_process_free(). */
void vmm_process_await(struct process *p, void (*done)(void *ctx, int code), void *ctx);
/* A change of a property has not ended. */
bool vmm_process_is_changing(const struct process *p);
/* What was changed, into a configuration of its class, whose lists that were set are these. */
void vmm_process_get_set(struct process *p, struct machine_list **lists, void *config);
/* Of a quiesced device: no request is in flight, with a process that is there or one that is not. */
bool vmm_process_whole(const struct process *p);
/* dev, a device here of the process's class, takes its place, which is dead: it counts on from where that was. */
void vmm_process_count_on_in(const struct process *p, struct vdev *dev);
/* What its processes have counted so far, a value for each of its class's metrics. */
void vmm_process_counts(const struct process *p, uint64_t ret_value[VDEV_COUNTERS_ROWS]);
/* The process of a quiesced device ends, and no other one is started. 0: there is none; -EINPROGRESS: done comes, once it is gone. */
int vmm_process_let_go(struct process *p, void (*done)(void *ctx, int code), void *ctx);
/* It is to have one after all; done does not come any more. */
void vmm_process_keep(struct process *p);

/* io.c */
/* The thread is made, now or when a device has something to do. */
int vmm_machine_io_start(struct vmm_machine *m);
/* 0, or -ETIMEDOUT with text: the thread hangs in a call to the host. */
int vmm_machine_io_stop(struct vmm_machine *m);
/* The thread gets another filter (NULL: none; taken over): it ends, as soon as it can, and another one begins. done comes once, on the control
 * loop, perhaps at once; not when the machine has ended. */
void vmm_machine_io_renew(struct vmm_machine *m, struct vmm_jail_program *filter,
                          void (*done)(struct vmm_machine *m));

/* memory.c */
int vmm_machine_memory_new(struct vmm_machine *m);
void vmm_machine_memory_free(struct vmm_machine *m);

/* irq.c */
int vmm_machine_irq_new(struct vmm_machine *m);
void vmm_machine_irq_free(struct vmm_machine *m);
/* A new driver of interrupt number, the machine's; -EINVAL (out of range) or -ENOMEM with text. */
int vmm_machine_irq_line(struct vmm_machine *m, uint32_t number, struct vdev_irq **ret_irq);
/* Nobody drives it any more. NULL is allowed. */
void vmm_machine_irq_line_free(struct vmm_machine *m, struct vdev_irq *irq);
void vmm_machine_irq_controller(struct vmm_machine *m, struct vdev *dev);
void vmm_machine_pin_routed(struct vdev_machine *base, struct vdev *dev, uint32_t pin,
                            const struct vdev_msi *msi);
/* Devices' own memory as slots (memory.c). */
int vmm_machine_device_memory_add(struct vdev_machine *base, uint64_t gpa, uint64_t size,
                                  void *host, bool read_only);
int vmm_machine_device_memory_del(struct vdev_machine *base, int n);
int vmm_machine_doorbell_add(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                             bool match, uint64_t value, int fd);
void vmm_machine_doorbell_del(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                              bool match, uint64_t value, int fd);

int vmm_machine_call_add(struct vdev_machine *base, const struct vdev_msi *msi, int fd,
                         uint32_t *ret_number);
void vmm_machine_call_del(struct vdev_machine *base, int fd, uint32_t number);

void vmm_machine_late_writes(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len);

/* devices.c */
int vmm_machine_devices_new(struct vmm_machine *m);
void vmm_machine_devices_free(struct vmm_machine *m);
/* Frees device and transport: nothing else uses them. */
void vmm_machine_device_free(struct machine_device *d);
/* Then what it was made of, but d itself: the control loop. A program may take patience_ms to end. */
void vmm_machine_device_clear(struct machine_device *d, int patience_ms);
/* What a device gets when it is made here; the id is borrowed for the call. */
struct vdev_context vmm_machine_context(struct vmm_machine *m, const char *id);
/* What all devices say for the tables; *ret_rows is the caller's. */
int vmm_machine_firmware(struct vmm_machine *m, const struct vdev_firmware *const **ret_rows,
                         size_t *ret_count);

/* vcpu.c */
int vmm_machine_vcpus_new(struct vmm_machine *m);
void vmm_machine_vcpus_free(struct vmm_machine *m);
/* On error some may run: end the machine and join. */
int vmm_machine_vcpus_start(struct vmm_machine *m);
/* Makes every vCPU leave the guest and look at the state. Any thread, under run_lock. */
void vmm_machine_vcpus_kick(struct vmm_machine *m);
/* The machine has ended. Without run_lock. */
void vmm_machine_vcpus_join(struct vmm_machine *m);

/* machine.c: frees what there is; no thread runs any more. */
void vmm_machine_destroy(struct vmm_machine *m);

/* remove.c */
/* The control loop looks whether devices that hide are waited for no more. */
void vmm_machine_remove_look(struct vmm_machine *m);
/* A device that is leaving, or NULL. */
const struct machine_device *vmm_machine_leaver(const struct vmm_machine *m);
/* The machine has ended, and no vCPU runs: who waits for a removal hears 0 if the device is out of the guest's sight, otherwise code with
 * the error's text. */
void vmm_machine_remove_end(struct vmm_machine *m, int code);
/* No thread runs any more: what was under way is forgotten. */
void vmm_machine_remove_cancel(struct vmm_machine *m);

/* lists.c: the control loop's */
/* For a list of that row, which is to be set. NULL with text: -ENOMEM. */
struct machine_list *vmm_list_new(const struct vm_prop *prop);
/* Takes it out of a configuration that was parsed. */
void vmm_list_take(struct machine_list *list, void *config);
/* Puts it into a configuration, whose lists that were set are these: what it takes the place of is freed if it is one of them. */
void vmm_list_put(struct machine_list **lists, struct machine_list *list, void *config);
/* All of these into another configuration. */
void vmm_lists_hand_over(struct machine_list **from, struct machine_list **to, void *config);
/* One that was not put. NULL is allowed. */
void vmm_list_free(struct machine_list *list);
void vmm_lists_free(struct machine_list **lists);

/* announce.c: as vmm_machine_remove_end() and vmm_machine_remove_cancel(). */
void vmm_machine_announce_end(struct vmm_machine *m, int code);
void vmm_machine_announce_cancel(struct vmm_machine *m);

/* upgrade.c: the machine has ended; as vmm_machine_remove_end(). */
void vmm_machine_upgrade_end(struct vmm_machine *m, int code);

/* devices.c: likewise. */
void vmm_machine_sets_end(struct vmm_machine *m, int code);
/* move.c */
/* Why a device with this configuration stays on a thread, or wherever it is; NULL: it can move. */
const char *vmm_machine_why_stays(const struct vmm_machine *m, const struct vdev_class *cls,
                                  const void *config);
/* The device that is being moved, or NULL. */
const struct machine_device *vmm_machine_mover(const struct vmm_machine *m);
/* The machine stands still for it: nobody else may let it go on. */
bool vmm_machine_move_holds(const struct vmm_machine *m);
/* As vmm_machine_remove_end() and vmm_machine_remove_cancel(). */
void vmm_machine_move_end(struct vmm_machine *m, int code);
void vmm_machine_move_cancel(struct vmm_machine *m);

/* lifecycle.c */
/* A pause of the machine's own, which no caller of vmm_machine_pause_ctx() has asked for; and its end. Otherwise as vmm_machine_pause(). */
int vmm_machine_pause_inside(struct vmm_machine *m, void (*done)(void *ctx, int code), void *ctx);
void vmm_machine_resume_inside(struct vmm_machine *m);
/* -ESHUTDOWN with the reason. */
int vmm_machine_fail_ended(const struct vmm_machine *m);
/* look() soon, on the control loop. Any thread. */
void vmm_machine_look_soon(struct vmm_machine *m);
void vmm_machine_event(struct vdev_machine *base, struct vdev *dev, enum vdev_event event,
                       uint32_t value);
void vmm_machine_unpark(struct vdev_machine *base, struct vdev *dev);
void vmm_machine_broken(struct vdev_machine *base, struct vdev *dev, const char *why);
/* ---- sigbus.c ---- */

#define VMM_NO_GPA UINT64_MAX
/* The handler knows it from now on, if it has a file; before it is unmapped. */
void vmm_sigbus_add(struct vmm_machine *m, const struct gm_region *region);
void vmm_sigbus_remove(struct vmm_machine *m, const struct gm_region *region);
/* The control loop's: before vCPUs run; 0 or -errno with text. At the end. */
int vmm_sigbus_start(struct vmm_machine *m);
void vmm_sigbus_end(struct vmm_machine *m);
unsigned vmm_sigbus_broken(const struct vmm_machine *m, struct vmm_machine_broken_memory *ret,
                           unsigned max);
/* KVM could not reach a page, at gpa if it said so: true: something was mended, enter again. */
bool vmm_sigbus_mend(struct vmm_vcpu *v, gpa_t gpa);
/* An access that KVM took for one to no memory, since its emulator could not reach the page: done here. False: there is none. */
bool vmm_sigbus_access(const struct vmm_machine *m, const struct hv_exit *exit, uint8_t *data);

/* Tells config.event at once: on the control loop. source NULL: the machine. */
void vmm_machine_tell(struct vmm_machine *m, enum vmm_event event, const char *source,
                      const char *text);
/* Likewise, soon. Any thread, under any lock. */
void vmm_machine_tell_soon(struct vmm_machine *m, enum vmm_event event, const char *source,
                           const char *text);
/* The first reason wins. Any thread. */
void vmm_machine_end(struct vmm_machine *m, enum vmm_end end);
static inline bool vmm_machine_has_ended(const struct vmm_machine *m)
{
    return __atomic_load_n(&m->end, __ATOMIC_RELAXED) != VMM_END_NONE;
}
/* A vCPU is out of the guest and stays out. Under run_lock. */
void vmm_machine_vcpu_out(struct vmm_machine *m);
/* A vCPU's thread, after a kick: stands still as long as the state wants it. False: the thread
 * shall end. */
bool vmm_machine_stand_by(struct vmm_machine *m);
/* A vCPU's thread parks until dev says so (or the machine ends). Stepwise machines only note it. */
void vmm_machine_park(struct vmm_vcpu *v, struct vdev *dev);
/* It waits no more: the device may go. Under run_lock. */
void vmm_machine_parked(struct vmm_vcpu *v);

#endif
