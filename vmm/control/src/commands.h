/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The commands of the program. */
#ifndef VMM_CONTROL_COMMANDS_H
#define VMM_CONTROL_COMMANDS_H

#include "run_config.h"

/* One run of the program: what the commands share. */
struct session {
    struct run_model model;
    struct run_config *config;
    bool print_config, json;
    char *values[8]; /* operands of verbs, by order; borrowed from argv */
    unsigned value_count;
    const char *kernel; /* as the command line names it */
    const char *dump_dir, *dump_dtb, *compare,
        *root; /* plan --dump-acpi, --dump-dtb, abi --diff, run -r */
    struct {
        const char *ip, *mask, *mac;
    } net; /* run --host-ip, --netmask, --mac; borrowed from argv */
    const char *compare_with; /* abi diff A B */
    const char *binary; /* upgrade --binary */
    const char *placement; /* move --placement */
    const char *id; /* balloon --id */
    bool on_host; /* abi --host */
    bool messages; /* vsock --seqpacket */
    struct device_part *part; /* of vmm device: device_parts */
    unsigned parts;
};

/* One device of vmm device. */
enum { DEVICE_PARTS_MAX = 16, DEVICE_TEXT_MAX = 12288 };
struct device_part {
    char text[DEVICE_TEXT_MAX]; /* NAME,KEY=VALUE,... */
    const char *socket, *fd; /* borrowed from argv; one of them */
    const char *channel, *jail, *counters, *ledger; /* numbers of fds; NULL: nobody's child */
    bool print_capabilities;
};

struct command {
    struct vmm_command row;
    int (*run)(struct session *s); /* gives an enum vmm_exit */
    bool run_options; /* takes run's options besides its own */
    /* Its words come in parts, with "--" between them: called before each, and at the end. */
    int (*part)(struct session *s);
};

int vmm_command_run(struct session *s);
int vmm_command_plan(struct session *s);
int vmm_command_doctor(struct session *s);
int vmm_command_abi(struct session *s);
extern const struct vmm_option vmm_options_device[];
extern const struct vmm_option vmm_operands_device[];
int vmm_device_part(struct session *s);
int vmm_command_device(struct session *s);

/* Tells an error on standard error and gives its exit code. */
int vmm_command_fail(int code);
/* Writes text to standard output. */
int vmm_command_print(const char *text, size_t len);

#endif
