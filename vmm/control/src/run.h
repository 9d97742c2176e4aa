/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The run command. */
#ifndef VMM_CONTROL_RUN_H
#define VMM_CONTROL_RUN_H

#include "run_config.h"

#include <vmm/base/env.h>
#include <vmm/char/char.h>
#include <vmm/machine/machine.h>

/* Opens what the configuration names and turns it into what a machine is made from. */
struct run_inputs {
    struct vmm_machine_config machine;
    struct vmm_machine_device *devices;
    void **made; /* configurations of devices that were made of others (typed.h) */
    size_t made_count;
    char *cmdline;
    int kernel_fd, initrd_fd, overlay_fd;
    const struct run_model *model;
    struct run_config *config;
    bool terminal; /* a device has it */
    bool processes, shared; /* devices in processes of ours; or of somebody else, */
    bool programs; /* of which we start some */
    void *ended_ctx; /* who runs the machine */
};

/* open_files false: for plan, which reads neither kernel nor initramfs. -errno with text. */
int vmm_run_inputs_make(const struct run_model *model, struct run_config *config, bool open_files,
                        struct run_inputs *ret_inputs);
void vmm_run_inputs_free(struct run_inputs *inputs);

/* A key of a part's configuration is not as by default. */
bool vmm_run_part_is_set(const struct run_part *part, const void *config);
/* Where the serial port's or the console's bytes go; NULL: not in this build. */
struct vchar_config *vmm_run_chr_of(const struct run_inputs *inputs, enum run_part_id id);
/* The option of a serial port or the console. */
const char *vmm_run_chr_option(enum run_part_id id);

/* When modes are settled and devices listed: -EINVAL with text where the user's words contradict each other. */
int vmm_run_check_conflicts(const struct run_inputs *inputs);

/* The descriptors that a device of this configuration is given are open. While nothing of ours is, whose number it could be. -EINVAL with
 * text. */
int vmm_run_check_fds(const struct vdev_class *cls, const void *config);

/* /dev/kvm; env is borrowed, *ret_hv the caller's (hv_free()). -ENODEV (not there, no permission), -errno, with text. */
int vmm_run_kvm(const struct vm_env *env, struct hv **ret_hv);

/* Runs a machine to its end. Returns an enum vmm_exit. */
int vmm_run_machine(const struct run_model *model, struct run_config *config);

/* The thread's error text for the user, with the limit in the way if there is one. */
const char *vmm_run_error_text(int code);
/* The exit code for an error of ours. */
int vmm_run_exit_code(int code);

#endif
