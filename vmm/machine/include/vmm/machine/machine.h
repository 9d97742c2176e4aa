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
#include <vmm/jail/profile.h>
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

/* What is worth telling while a machine lives. */
enum vmm_event {
    VMM_EVENT_TROUBLE, /* a device ("machine": the machine itself) is broken; text: why */
    VMM_EVENT_PAUSED,
    VMM_EVENT_RESUMED,
    VMM_EVENT_PROCESS_ENDED, /* of a device's, or the program that serves one; text: how */
    VMM_EVENT_PROCESS_SERVES, /* the next one does the device's work */
    VMM_EVENT_MOVED, /* a device that vmm_machine_move() has moved; text: "thread" or "process" */
    VMM_EVENT_BALLOON, /* it has the size that it was to have, or the guest took memory out by itself; text: its size */
    VMM_EVENT_ENDED, /* text: vmm_end_name() */
};
/* "trouble", "paused" ... */
const char *vmm_event_name(enum vmm_event event);

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
    struct vmm_spawner
        *programs; /* of programs that are not ours (struct vmm_spawner_config.foreign); likewise */
    bool filters; /* each thread, and each device's process, has a filter of system calls */
    enum vmm_jail_action action; /* on a call that no row allows */
    const char *
        policy_dir; /* vmm/jail/policy.h: files in place of the built-in rows; NULL: none. Borrowed */
};

struct vmm_machine_config {
    const struct vm_env *env; /* env->loop: the control loop */
    enum vm_level log_level; /* what env->log takes: a device's process does not send the rest */
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
    /* Any number of times, on the control loop (when very many come at once, the last call counts those that were dropped); VMM_EVENT_ENDED
     * right before ended(). source: the device's id, or "machine"; text may be empty. May be NULL. */
    void (*event)(void *ctx, enum vmm_event event, const char *source, const char *text);
    void *ctx;
};

/* What a device's process may call: from its start until the device is made, or once it serves (docs/sandbox.md); without the user's
 * policy files. Who calls frees. -errno with text. */
int vmm_machine_device_filter(const struct vdev_class *cls, bool starting,
                              struct vmm_jail_filter **ret_filter);

/* The command line of the program that serves a device with this configuration, and that the machine starts by sandbox.programs; NULL: none.
 * Borrowed. */
const char *vmm_machine_program_of(const struct vdev_class *cls, const void *config);
/* Whether such a text can be one: -EINVAL with text. Neither looks for a file. */
int vmm_machine_program_check(const char *text);

/* The jail of a device's process: names, limits, both filters (with the user's policy files). alone: somebody started it by hand, it takes all
 * stages itself and listens for front ends. vmm_jail_profile_free(). 0 or -errno with text. */
int vmm_machine_device_profile(const struct vmm_machine_sandbox *sandbox,
                               const struct vdev_class *cls, const char *id, bool alone,
                               struct vmm_jail_profile *ret_profile);

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

/* Changes a property of a running device. 0: it has the new value. -EINPROGRESS, without text: it is in a process of its own, which is asked
 * when it has made its device; done (NULL: the log gets what went wrong) comes once, later, with 0, or with the code and text of why it keeps
 * its value: what the device says against it, -ECHILD (its process ended before it answered), -ETIMEDOUT (in ten seconds none could be told; or
 * it did not answer, and is replaced), -ECANCELED (the device was removed), -ESHUTDOWN. Otherwise done does not come: -ENOENT (no such device;
 * the text lists them), -ENOTSUP (not at run time), -EBUSY (too many wait; its removal), -ESHUTDOWN, -EINVAL. */
int vmm_machine_set(struct vmm_machine *machine, const char *id, const char *key_value,
                    void (*done)(void *ctx, int code), void *ctx);
/* visit() per change that is under way, with its ctx. */
void vmm_machine_walk_sets(struct vmm_machine *machine, void (*visit)(void *arg, void *ctx),
                           void *arg);

/* Has the guest announced on the network of this device, or (id NULL) of each of its network devices, all of which are tried: its address in a
 * frame of ours (RFC 903), and by the guest itself where its driver can (VIRTIO_NET_F_GUEST_ANNOUNCE). done comes once, later: 0: the frames went
 * to the back ends; or what the first device that could not said, with text: -ENOTSUP (its back end, or it has no address), -ENOTCONN (its
 * back end is away), -EBUSY (a pause came first); -ETIMEDOUT (the I/O thread hangs), -ESHUTDOWN. Otherwise done does not come: -ENOENT (no such
 * device, or no network device at all), -EINVAL (it is no network device), -EBUSY (another announcement, its removal or move; a pause; not started),
 * -ESHUTDOWN (ended), -ENOMEM. */
int vmm_machine_announce(struct vmm_machine *machine, const char *id,
                         void (*done)(void *ctx, int code), void *ctx);
/* The ctx of the announcement that is under way, or NULL. */
void *vmm_machine_announce_ctx(const struct vmm_machine *machine);

/* Replaces the process of a device (id "all": of each, one after the other) by one that runs the program in binary_fd (an ELF file; borrowed for
 * the call): the old one's requests end, then the new one goes on where it was. done comes once, later: 0: it serves the device, and has done
 * so for three seconds; -ECHILD (it ended), -ETIMEDOUT (it did not come to serve it) with text: the old program does again, and of "all" the
 * devices before it keep the new one; -ESHUTDOWN. Otherwise done does not come: -ENOENT (no such device), -ENOTSUP (it runs in the VMM),
 * -EBUSY (another upgrade, its removal; not started), -ESHUTDOWN (ended), -ENOMEM. */
int vmm_machine_upgrade(struct vmm_machine *machine, const char *id, int binary_fd,
                        void (*done)(void *ctx, int code), void *ctx);
/* The ctx of the upgrade that is under way, or NULL. */
void *vmm_machine_upgrade_ctx(const struct vmm_machine *machine);

/* Moves a running device between a thread of the VMM and a jailed process of its own: its requests end, the machine stands still for a moment
 * (if it is not paused anyway), and the other one goes on where it was, at the same address, with the same features, interrupts and
 * open files. done comes once, later: 0: it serves the device; -ESHUTDOWN; or why it could not be, with text: then it is where it was, and
 * works on. Otherwise done does not come: -ENOENT (no such device), -EALREADY (it is there), -ENOTSUP (it cannot be elsewhere, or in no
 * process of this machine: the text says why), -EBUSY (another move, an upgrade, a removal, a pause that has not ended; not started),
 * -ESHUTDOWN (ended), -ENOMEM. */
int vmm_machine_move(struct vmm_machine *machine, const char *id, bool to_thread,
                     void (*done)(void *ctx, int code), void *ctx);
/* The ctx of the move that is under way, or NULL. */
void *vmm_machine_move_ctx(const struct vmm_machine *machine);

/* Takes a device out of the running machine, as if it had been pulled out: it stops (its requests are
 * dropped, or waited for where they may still write), then its addresses answer nothing and read as
 * all ones, then it is freed. The guest is not asked. done comes once, later: 0: nothing of it is
 * left, guest memory is the guest's alone; -ETIMEDOUT with text: the host holds it up; it is marked
 * broken, takes no request and goes on its way out as soon as it can; -ESHUTDOWN where the machine
 * ended or was freed before the device was out of the guest's sight. Otherwise done does not come: -ENOENT (no such device), -ENOTSUP (a
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
/* Who serves it: "thread" (of the VMM), "process" (jailed, of its own) or "program" (not ours). */
const char *vmm_machine_placement(struct vmm_machine *machine, struct vdev *dev);
/* Calls row() for each metric of its class, wherever it is served; those of a device in a process are that process's word. The control loop's
 * thread, as is the next one: false where it is in no process of ours, otherwise what is counted here about its processes: `connects`,
 * `losses`. */
void vmm_machine_metrics(struct vmm_machine *machine, struct vdev *dev,
                         void (*row)(void *ctx, const char *name, uint64_t value), void *ctx);
bool vmm_machine_process_metrics(struct vmm_machine *machine, struct vdev *dev,
                                 void (*row)(void *ctx, const char *name, uint64_t value),
                                 void *ctx);
/* False where it is in no process of ours. Otherwise calls row() for each stage that its jail lacks ("Landlock"), and why the host refused that
 * (printable characters). */
bool vmm_machine_jail_lacks(struct vmm_machine *machine, struct vdev *dev,
                            void (*row)(void *ctx, const char *stage, const char *why), void *ctx);
int vmm_machine_acpi(struct vmm_machine *machine, struct vacpi_image *ret_image);
/* As varch_dtb(). */
int vmm_machine_dtb(struct vmm_machine *machine, struct vm_buffer *ret_blob);
/* As varch_abi_boot() and varch_abi_vcpu(): a blank machine with a hypervisor that is never started. */
int vmm_machine_abi_boot(struct vmm_machine *machine, struct vm_report *report);
int vmm_machine_abi_vcpu(struct vmm_machine *machine, unsigned cpu, struct vm_report *report);

/* Guest memory whose file the host could not back any more: zeros stand where pages are gone (threat-model.md). */
enum { VMM_BROKEN_MAX = 8 };
struct vmm_machine_broken_memory {
    uint64_t base, bytes; /* of the region */
    uint32_t mended; /* how often */
};
struct vmm_machine_info {
    unsigned cpus;
    uint64_t memory_bytes;
    bool running, paused;
    enum vmm_end end;
    uint64_t exits, exits_pio, exits_mmio; /* of all vCPUs; exits: all that reached user space */
    uint64_t unclaimed;
    struct vmm_machine_broken_memory broken[VMM_BROKEN_MAX]; /* the first ones */
    unsigned brokens;
    uint64_t now_ns; /* the control loop's time: jobs started at one */
};
void vmm_machine_get_info(struct vmm_machine *machine, struct vmm_machine_info *ret_info);

#endif
