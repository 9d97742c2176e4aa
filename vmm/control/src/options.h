/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The option tables of the commands. */
#ifndef VMM_CONTROL_OPTIONS_H
#define VMM_CONTROL_OPTIONS_H

#include "commands.h"

extern const struct vmm_option vmm_options_run[];
extern const struct vmm_option vmm_operands_run[];

/* KERNEL and --kernel. */
int vmm_options_kernel(void *ctx, const struct vmm_option *option, const char *value);
/* Puts a text into the object of a row with a path; prints the help that it asks for (VMM_CONFIG_HELP). */
int vmm_options_apply(struct session *s, const struct vmm_option *keys, const char *what,
                      const char *value);
/* Behind all options: makes --root the first disk. */
int vmm_options_settle_root(struct session *s);
/* --host-ip, --netmask and --mac; behind all options they become one network device. */
int vmm_options_host_ip(void *ctx, const struct vmm_option *option, const char *value);
int vmm_options_netmask(void *ctx, const struct vmm_option *option, const char *value);
int vmm_options_mac(void *ctx, const struct vmm_option *option, const char *value);
int vmm_options_settle_net(struct session *s);
/* --config FILE. */
int vmm_options_load_config(struct session *s, const char *path);

/* Rows of vmm run and vmm device. */
#define OPTIONS_SANDBOX(what)                                                            \
    { .group = "Sandbox",                                                                \
      .name = "sandbox",                                                                 \
      .path = "sandbox",                                                                 \
      .argument = "process|thread|off",                                                  \
      .help = what },                                                                    \
        { .name = "disable-sandbox",                                                     \
          .path = "sandbox",                                                             \
          .fixed = "off",                                                                \
          .help = "as --sandbox off" },                                                  \
        { .name = "seccomp",                                                             \
          .path = "seccomp",                                                             \
          .argument = "kill|trap|log",                                                   \
          .help = "what a system call that no filter allows ends in" },                  \
        { .name = "seccomp-log-failures",                                                \
          .path = "seccomp",                                                             \
          .fixed = "log",                                                                \
          .help = "as --seccomp log: carry it out, and have the kernel's log name it" }, \
    {                                                                                    \
        .name = "seccomp-policy-dir", .path = "seccomp_policy_dir", .argument = "DIR",   \
        .help = "filters in place of the built-in ones: DIR/ARCHITECTURE/NAME.policy"    \
    }

#endif
