/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the machine.
 *
 *   machine.c   creation and end      vcpu.c      threads, exits, kick and park
 *   memory.c    RAM and slots         irq.c       lines, messages, routes, doorbells
 *   devices.c   creating devices      lifecycle.c pause, resume, events, end
 */
#ifndef VMM_MACHINE_PRIVATE_H
#define VMM_MACHINE_PRIVATE_H

#include <pthread.h>

#include <vmm/machine/machine.h>
#include <vmm/pci/pci.h>
#include <vmm/virtio/transport.h>
#include <vmm/vm-memory/view.h>

enum { MACHINE_GSIS = 4096, MACHINE_PINS = 24, MACHINE_SLOTS = 64 };

struct vmm_vcpu {
    struct vmm_machine *machine;
    struct hv_vcpu *hv;
    struct vdev_bus_reader mmio, pio;
    pthread_t thread;
    bool started; /* thread exists */
    struct { /* written by the vCPU's thread only */
        uint64_t exits, pio, mmio;
    } count;
};

/* A share of an interrupt line: lines of level type may have several drivers, and are up while one of them is. */
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

/* A device with its transport. */
struct machine_device {
    struct vdev *dev;
    struct virtio_pci *pci;
    struct virtio_mmio *mmio;
    char place[32];
    struct machine_device *next;
};

enum machine_state {
    MACHINE_BUILT,
    MACHINE_RUNNING,
    MACHINE_PAUSING,
    MACHINE_PAUSED,
    MACHINE_ENDED
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

    struct machine_device *devices; /* in order of creation */
    struct machine_device **devices_end;
    unsigned mmio_used;

    struct vm_env io_env; /* what devices get: env with the I/O loop */
    struct vm_loop *io_loop;
    pthread_t io_thread;
    bool io_started;

    struct vmm_vcpu *vcpu;
    unsigned vcpus;
    unsigned want_out; /* vCPUs shall leave the guest: read on every turn */

    pthread_mutex_t run_lock; /* guards what follows; conditions below */
    pthread_cond_t run_change;
    enum machine_state state;
    bool ending;
    unsigned vcpus_out; /* how many stand still for pause or end */
    uint64_t unpark_count; /* changes with each unpark */
    enum vmm_end end;

    struct vm_work lifecycle_work; /* on the control loop: looks at what changed */
    bool ended_told;
    unsigned quiescing; /* devices that have not finished */
    int pause_code;
    void (*pause_done)(void *ctx, int code);
    void *pause_ctx;
};

/* memory.c */
int machine_memory_new(struct vmm_machine *m);
void machine_memory_free(struct vmm_machine *m);

/* irq.c */
int machine_irq_new(struct vmm_machine *m);
void machine_irq_free(struct vmm_machine *m);
/* A new driver of interrupt number; NULL with text when out of range or out of memory. */
struct vdev_irq *machine_irq_line(struct vmm_machine *m, uint32_t number);
void machine_irq_controller(struct vmm_machine *m, struct vdev *dev);
void machine_pin_routed(struct vdev_machine *base, struct vdev *dev, uint32_t pin,
                        const struct vdev_msi *msi);
int machine_doorbell_add(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                         bool match, uint64_t value, int fd);
void machine_doorbell_del(struct vdev_machine *base, bool pio, uint64_t addr, unsigned len,
                          bool match, uint64_t value, int fd);

/* devices.c */
int machine_devices_new(struct vmm_machine *m);
void machine_devices_free(struct vmm_machine *m);
/* What all devices say for the tables; *ret_rows is the caller's. */
int machine_firmware(struct vmm_machine *m, const struct vdev_firmware *const **ret_rows,
                     size_t *ret_count);

/* vcpu.c */
int machine_vcpus_new(struct vmm_machine *m);
void machine_vcpus_free(struct vmm_machine *m);
int machine_vcpus_start(struct vmm_machine *m);
/* Makes every vCPU leave the guest and look at the state. Any thread. */
void machine_vcpus_kick(struct vmm_machine *m);
void machine_vcpus_join(struct vmm_machine *m);

/* machine.c: frees what there is; no thread runs any more. */
void machine_destroy(struct vmm_machine *m);

/* lifecycle.c */
void machine_event(struct vdev_machine *base, struct vdev *dev, enum vdev_event event,
                   uint32_t value);
void machine_unpark(struct vdev_machine *base, struct vdev *dev);
void machine_broken(struct vdev_machine *base, struct vdev *dev, const char *why);
/* The first reason wins. Any thread. */
void machine_end(struct vmm_machine *m, enum vmm_end end);
/* A vCPU's thread, after a kick: stands still as long as the state wants it. False: the thread shall end. */
bool machine_stand_by(struct vmm_machine *m);
/* A vCPU's thread parks until dev says so (or the machine ends). */
void machine_park(struct vmm_machine *m, struct vdev *dev);

#endif
