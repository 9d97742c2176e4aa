/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What vmm run is told: one object, from the command line and JSON alike. The tables of devices are their classes' own, so the
 * root table is put together at start.
 */
#ifndef VMM_CONTROL_RUN_CONFIG_H
#define VMM_CONTROL_RUN_CONFIG_H

#include <vmm/base/prop.h>
#include <vmm/config/model.h>
#include <vmm/devices/classes.h>

struct run_config {
    struct run_cpus {
        uint32_t boot, max;
    } cpus;
    struct run_memory {
        uint64_t size, hugepage_size;
        bool hugepages, prefault, thp;
        struct vm_prop_list node; /* of the host: one uint32_t, or none */
    } memory;
    struct run_payload {
        char *kernel, *initramfs, *cmdline, *overlay;
    } payload;
    struct vm_prop_list params; /* -p: more words of the command line */
    struct run_platform {
        uint32_t num_pci_segments, machine;
    } platform;
    bool acpi, pci, cam, rng_on, rtc, debug_ports, pit;
    uint32_t irqchip; /* enum varch_irqchip */
    char *socket;
    uint32_t sandbox; /* enum run_sandbox */
    uint32_t seccomp; /* enum vmm_jail_action */
    char *policy_dir;
    uint32_t log_level;
    struct vm_prop_list devices; /* struct vm_prop_variant */
    /* Behind it: the configurations of serial, console, rng and the lists of disks and others; see run_model. */
};

/* Devices in processes of their own, with filters; all in one process, with filters; neither. */
enum run_sandbox { RUN_SANDBOX_PROCESS, RUN_SANDBOX_THREAD, RUN_SANDBOX_OFF };

/* Where a class's configuration stands in the object. NULL class: not in this build. */
struct run_part {
    const struct vdev_class *cls;
    size_t offset;
    const struct vm_prop *props; /* the class's, or ours (typed.h) */
    size_t size; /* of one */
};
enum run_part_id {
    RUN_SERIAL, /* and the further ones, in their order */
    RUN_SERIAL1,
    RUN_SERIAL2,
    RUN_SERIAL3,
    RUN_CONSOLE,
    RUN_RNG,
    RUN_BALLOON,
    RUN_DISKS,
    RUN_NETS,
    RUN_FS,
    RUN_VSOCK,
    RUN_PARTS,
};

enum { RUN_SERIALS = RUN_CONSOLE - RUN_SERIAL };

/* The root table of this build. */
struct run_model {
    struct vm_prop *props;
    struct run_part part[RUN_PARTS];
    size_t size; /* of the object */
    struct vmm_config_classes classes;
    struct vmm_config_model model;
};

/* 0 or -ENOMEM. */
int vmm_run_model_new(struct run_model *ret_model);
void vmm_run_model_free(struct run_model *model);

/* An object with defaults; NULL: out of memory, with text. */
struct run_config *vmm_run_config_new(const struct run_model *model);
void vmm_run_config_free(const struct run_model *model, struct run_config *config);

static inline void *run_part_of(const struct run_model *model, struct run_config *config,
                                enum run_part_id id)
{
    return model->part[id].cls ? (char *)config + model->part[id].offset : NULL;
}

/* What the user can say, checked for what tables cannot say; a plan needs no kernel. -EINVAL with text. */
int vmm_run_config_check(const struct run_config *config, bool needs_kernel);

#endif
