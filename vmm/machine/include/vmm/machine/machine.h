/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A machine: the only joint of hypervisor and devices. It makes memory slots, vCPUs, interrupt
 * routes and doorbells, creates the devices it is told, and runs the vCPUs.
 *
 * Life:
 *
 *   vmm_machine_new() -> [built] --start--> [running] <--pause/resume--> [paused]
 *       |  guest powers off, resets, crashes; vmm_machine_stop(): in any of these states
 *       v
 *   [ended]: config.ended was called once, vCPUs stand still
 *   vmm_machine_free() in any state
 *
 * Threads: one per vCPU and one I/O loop for the devices; all calls here belong to the thread that
 * runs config.env->loop (the control loop), where the call-backs come too. Nothing here waits for a
 * guest.
 *
 * Stepwise (config.stepwise): no threads. Devices are served by config.env->loop, each call of
 * vmm_machine_step() is one exit of one vCPU; with a loop in virtual time and the fake hypervisor a
 * run is a function of its inputs (docs/simulation.md).
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <vmm/acpi/tables.h>
#include <vmm/arch/abi.h>
#include <vmm/arch/arch.h>
#include <vmm/base/job.h>
#include <vmm/devices-core/device.h>
#include <vmm/hypervisor/hypervisor.h>
#include <vmm/jail/filter.h>
#include <vmm/jail/spawner.h>
#include <vmm/vm-memory/memory.h>

struct vmm_machine;

/* Why a machine ended. */
enum vmm_end {
    VMM_END_NONE,
    VMM_END_POWEROFF, /* by the guest */
    VMM_END_STOP, /* by vmm_machine_stop() */
    VMM_END_RESET, /* the guest asked for a reboot */
    VMM_END_PANIC, /* the guest reported one */
    VMM_END_CRASH, /* triple fault, a write to ROM, or a state that KVM cannot run: the log has the registers */
    VMM_END_FAILED, /* our own trouble */
};
const char *vmm_end_name(enum vmm_end end);

/* A device the user asked for. */
struct vmm_machine_device {
    const struct vdev_class *cls;
    const void *config; /* its config struct, the first member of which is struct vdev_common */
    bool process; /* in a process of its own, where config.sandbox has a spawner */
};

/* How the machine is protected from its devices, and the host from both (docs/sandbox.md). Zeroed: not at all. */
struct vmm_machine_sandbox {
    struct vmm_spawner
        *spawner; /* of devices' processes; borrowed, attached to env->loop; may be NULL */
    bool filters; /* each thread, and each device's process, has a filter of system calls */
    enum vmm_jail_action action; /* on a call that no row allows */
    const char *
        policy_dir; /* vmm/jail/policy.h: files in place of the built-in rows; NULL: none. Borrowed */
};

struct vmm_machine_config {
    const struct vm_env *env; /* env->loop: the control loop */
    struct hv *hv; /* borrowed; NULL: plan only (nothing can be started) */
    const struct vdev_class *const *classes;
    struct varch_config arch;
    struct gm_backing
        ram; /* GM_ANONYMOUS, or what other processes can map where some device has one: GM_MEMFD,
                            * GM_HUGETLB, GM_FILE of all of RAM; prefault, thp, node; zeroed will do */
    bool stepwise; /* no threads: see above */
    bool blank; /* no kernel is loaded and no register set: the state comes from a snapshot */
    struct varch_image kernel, initrd;
    struct varch_image overlay; /* of the device tree, where the architecture has one */
    const char *cmdline;
    const struct vmm_machine_device *devices;
    size_t device_count;
    struct vmm_machine_sandbox sandbox;
    /* Configuration of a platform device by its id ("serial0"); NULL: its class's defaults. */
    const void *(*platform)(void *ctx, const struct vdev_class *cls, const char *id);
    /* Once, when the machine has ended. */
    void (*ended)(void *ctx, enum vmm_end end);
    /* Something worth telling: device broken, memory pressure ... Any number of times (when very
     * many come at once, the last call counts those that were dropped). May be NULL. */
    void (*event)(void *ctx, const char *source, const char *what);
    void *ctx;
};

/* What a device's process may call once it serves (docs/sandbox.md), without the user's policy files. Who calls frees. -errno with
 * text. */
int vmm_machine_device_filter(const struct vdev_class *cls, struct vmm_jail_filter **ret_filter);

/* Builds a machine up to the first instruction. config is copied, what it points at is borrowed
 * until free. -errno with text: see the libraries below; nothing is left behind. */
int vmm_machine_new(const struct vmm_machine_config *config, struct vmm_machine **ret_machine);
/* The filter of the calling thread, which is the one that runs env->loop, from now on: after start, when all other threads are there or
 * need no filter of their own. Nothing happens without sandbox.filters. -errno with text. */
int vmm_machine_confine(struct vmm_machine *machine);
/* Ends the vCPUs, then destroys everything. NULL is allowed. 0, or -ETIMEDOUT with text that names the
 * device: the I/O thread hangs in a call to the host and did not end within 3 s. Then nothing was
 * freed, for all of it may still be used: try again, or end the process by _exit(). */
int vmm_machine_free(struct vmm_machine *machine);

/* Starts the vCPUs. -EBUSY (started already), -ENOTSUP (made without a hypervisor), -ESHUTDOWN, or
 * -errno of pthread_create: then it can only be freed. */
int vmm_machine_start(struct vmm_machine *machine);

/* Pause: vCPUs out, their last exits finished, devices quiesced. done comes once, later, with the
 * result: 0; what a device that cannot stop said, or -ETIMEDOUT where it says nothing or a vCPU waits
 * for such a one (then the machine runs on); -ESHUTDOWN where it ended or was freed meanwhile; with text. -EALREADY, -EBUSY (a pause is under way, a device on its way
 * out, or not started), -ESHUTDOWN (ended): done does not come. */
int vmm_machine_pause(struct vmm_machine *machine, void (*done)(void *ctx, int code), void *ctx);
/* The ctx of the pause that is under way, or NULL. */
void *vmm_machine_pause_ctx(const struct vmm_machine *machine);
/* What takes its time and is under way: a pause, as the job "pause", whose progress counts vCPUs and devices at rest; it can be
 * cancelled, then done comes with -ECANCELED and the machine runs on. A removal, as the job "remove", without progress, which
 * cannot. Borrowed; NULL without a control loop. */
struct vm_jobs *vmm_machine_jobs(struct vmm_machine *machine);
/* -EALREADY (runs), -EBUSY, -ESHUTDOWN. */
int vmm_machine_resume(struct vmm_machine *machine);
bool vmm_machine_paused(const struct vmm_machine *machine);

/* Stepwise machines: vCPU cpu goes on to its next exit, and that is handled. 1; 0: it stands still
 * (parked, paused, not started, ended); -EINVAL. Not from inside a call-back of the loop. */
int vmm_machine_step(struct vmm_machine *machine, unsigned cpu);

/* As if the user pressed the button. -ENOTSUP: this machine has none; -ESHUTDOWN. */
int vmm_machine_power_button(struct vmm_machine *machine);
/* Ends it at once: config.ended follows with VMM_END_STOP. */
void vmm_machine_stop(struct vmm_machine *machine);

/* Changes a property of a running device. -ENOENT (no such device; the text lists them), -ENOTSUP
 * (not at run time), -EINVAL. */
int vmm_machine_set(struct vmm_machine *machine, const char *id, const char *key_value);

/* Takes a device out of the running machine, as if it had been pulled out: it stops (its requests are
 * dropped, or waited for where they may still write), then its addresses answer nothing and read as
 * all ones, then it is freed. The guest is not asked. done comes once, later: 0: nothing of it is
 * left, guest memory is the guest's alone; -ETIMEDOUT with text: the host holds it up; it is marked
 * broken, takes no request and goes on its way out as soon as it can; -ESHUTDOWN where the machine
 * ended or was freed meanwhile. Otherwise done does not come: -ENOENT (no such device), -ENOTSUP (a
 * part of the machine), -EBUSY (another one sits on it; it is the user's terminal; it, or another one, is on its way; a pause;
 * not started), -EALREADY (it is on its way out), -ESHUTDOWN (ended), -ENOMEM. */
int vmm_machine_remove(struct vmm_machine *machine, const char *id,
                       void (*done)(void *ctx, int code), void *ctx);
/* The ctx of the removal that is under way, or NULL. */
void *vmm_machine_remove_ctx(const struct vmm_machine *machine);

/* The section of one device and its transport: machine paused. load: while it is paused
 * (a new machine: started, then paused before its first instruction), interrupt controllers first,
 * as they were made; it distrusts the bytes. -ENOENT; as
 * vdev_save() and vdev_load(). */
struct vm_buffer;
int vmm_machine_save_device(struct vmm_machine *machine, struct vdev *dev,
                            struct vm_buffer *buffer);
int vmm_machine_load_device(struct vmm_machine *machine, struct vdev *dev, const void *untrusted,
                            size_t size);

/* For snapshots, tests and simulation; borrowed. NULL: none (a plan; no such vCPU). */
struct hv_vm *vmm_machine_vm(struct vmm_machine *machine);
struct hv_vcpu *vmm_machine_vcpu(struct vmm_machine *machine, unsigned cpu);

/* For plan, info and tests. */
struct vdev *vmm_machine_find(struct vmm_machine *machine, const char *id);
void vmm_machine_walk_devices(struct vmm_machine *machine,
                              void (*visit)(void *ctx, struct vdev *dev), void *ctx);
void vmm_machine_walk_bus(struct vmm_machine *machine, bool pio,
                          void (*visit)(void *ctx, uint64_t base, uint64_t size, const char *name),
                          void *ctx);
struct vpci_root;
struct vpci_root *vmm_machine_pci(struct vmm_machine *machine, unsigned segment);
/* RAM, lowest first; returns the number of rows written, at most max. */
unsigned vmm_machine_ram(struct vmm_machine *machine, struct varch_range *ret_rows, unsigned max);
/* As varch_extra(). */
unsigned vmm_machine_extra(struct vmm_machine *machine, struct varch_range *ret_rows, unsigned max);
struct gm_space *vmm_machine_memory(struct vmm_machine *machine);
/* Where device dev sits: "0000:00:01.0", "mmio 0xfeb00000", "platform". */
void vmm_machine_place(struct vmm_machine *machine, struct vdev *dev, char *ret_text, size_t room);
int vmm_machine_acpi(struct vmm_machine *machine, struct vacpi_image *ret_image);
/* As varch_dtb(). */
int vmm_machine_dtb(struct vmm_machine *machine, struct vm_buffer *ret_blob);
/* As varch_abi_boot() and varch_abi_vcpu(): a blank machine with a hypervisor that is never started. */
int vmm_machine_abi_boot(struct vmm_machine *machine, struct vm_report *report);
int vmm_machine_abi_vcpu(struct vmm_machine *machine, unsigned cpu, struct vm_report *report);

struct vmm_machine_info {
    unsigned cpus;
    uint64_t memory_bytes;
    bool running, paused;
    enum vmm_end end;
    uint64_t exits, exits_pio, exits_mmio; /* of all vCPUs; exits: all that reached user space */
    uint64_t unclaimed;
    uint64_t now_ns; /* the control loop's time: jobs started at one */
};
void vmm_machine_get_info(struct vmm_machine *machine, struct vmm_machine_info *ret_info);

#endif
