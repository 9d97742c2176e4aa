/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the machine.
 *
 *   machine.c   creation and end      vcpu.c      threads, exits, kick and park
 *   memory.c    RAM and slots         irq.c       lines, messages, routes, doorbells
 *   devices.c   creating devices      lifecycle.c pause, resume, events, end
 *   remove.c    taking one out               sandbox.c   filters
 *   process.c   devices elsewhere            channel.c   what is said with them
 *
 * Locks: run_lock (plain, innermost of all: nothing but the hypervisor's calls happens under it),
 * irq_lock and route_lock (ranked).
 */
#ifndef VMM_MACHINE_PRIVATE_H
#define VMM_MACHINE_PRIVATE_H

#include <pthread.h>

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
/* How long the I/O thread may take to end. */
enum { MACHINE_JOIN_S = 3 };
enum { MACHINE_PINS = 24, MACHINE_SLOTS = 64, MACHINE_NEWS = 8 };

struct process;

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
    char source[VDEV_ID_MAX + 1];
    char what[VM_ERROR_TEXT];
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

    struct vm_lock irq_lock; /* guards who drives which line */
    struct vm_lock route_lock;
    struct machine_gsi *gsi;
    unsigned gsis;
    struct machine_line *lines;
    struct vdev *irqchip; /* interrupt controller that is a device */
    struct hv_route pin_route[MACHINE_PINS];
    bool pin_routed[MACHINE_PINS];

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
    struct vm_timer pause_timer; /* vCPUs that do not come out */
    struct machine_device *removing; /* whose removal has not been answered */
    void (*remove_done)(void *ctx, int code);
    void *remove_ctx;
    struct vm_timer remove_timer;
    struct machine_device *freeing; /* off the list of devices */
    unsigned hiding; /* devices that may be waited for by a vCPU; under run_lock */
};

/* sandbox.c */
/* Compiles the machine's own filters. 0 or -errno with text. */
int vmm_machine_filters_new(struct vmm_machine *m);
void vmm_machine_filters_free(struct vmm_machine *m);
/* One filter of built-in tables (which end with NULL), or of the user's file `name`. */
int vmm_machine_filter(const struct vmm_machine_sandbox *sandbox, const char *name,
                       const struct vm_jail_rule *const *tables,
                       struct vmm_jail_program **ret_program);
/* The tables of a device's process, ending with NULL: in its loop, or also with what it takes to get there. */
enum { MACHINE_TABLES = 5 };
void vmm_machine_device_tables(const struct vdev_class *cls, bool starting,
                               const struct vm_jail_rule *ret_tables[MACHINE_TABLES]);
/* In the thread that is to be filtered. NULL program: nothing happens. */
int vmm_machine_filter_load(const struct vmm_jail_program *program, const char *who);

/* process.c */
/* Starts the process of a device and makes the device that stands for it here. 0 or -errno with text. */
int vmm_process_new(struct vmm_machine *m, const struct vmm_machine_device *want,
                    const struct vdev_context *context, struct process **ret_process,
                    struct vdev **ret_dev);
/* The guest may run: from now on what the process asks is judged by what it has asked before. */
void vmm_process_live(struct process *p);
/* Its device is freed. In the thread of the I/O loop, or when there is none. */
void vmm_process_detach(struct process *p);
/* The control loop's thread; after it nothing of it is left. NULL is allowed. */
void vmm_process_free(struct process *p);
/* The class as the user knows it. */
const struct vdev_class *vmm_process_class(const struct process *p);
/* A scalar property that is no text changes to its value in config; key_value says the same. The control loop's thread. 0; -errno with text:
 * the process does not take it. */
int vmm_process_set(struct process *p, const struct vm_prop *prop, const void *config,
                    const char *key_value);

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
int vmm_machine_doorbell_add(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                             bool match, uint64_t value, int fd);
void vmm_machine_doorbell_del(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                              bool match, uint64_t value, int fd);

void vmm_machine_late_writes(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len);

/* devices.c */
int vmm_machine_devices_new(struct vmm_machine *m);
void vmm_machine_devices_free(struct vmm_machine *m);
/* Frees device and transport: nothing else uses them. */
void vmm_machine_device_free(struct machine_device *d);
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
/* The machine has ended: who waits for a removal hears code, with the error's text. */
void vmm_machine_remove_end(struct vmm_machine *m, int code);
/* No thread runs any more: what was under way is forgotten. */
void vmm_machine_remove_cancel(struct vmm_machine *m);

/* lifecycle.c */
/* -ESHUTDOWN with the reason. */
int vmm_machine_fail_ended(const struct vmm_machine *m);
/* look() soon, on the control loop. Any thread. */
void vmm_machine_look_soon(struct vmm_machine *m);
void vmm_machine_event(struct vdev_machine *base, struct vdev *dev, enum vdev_event event,
                       uint32_t value);
void vmm_machine_unpark(struct vdev_machine *base, struct vdev *dev);
void vmm_machine_broken(struct vdev_machine *base, struct vdev *dev, const char *why);
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
