/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The vmm program without its main(): commands, the run command's configuration, the control socket.
 *
 * Exit codes (docs/vmm-run.md): what vmm_control_main() returns.
 */
#ifndef VMM_CONTROL_CONTROL_H
#define VMM_CONTROL_CONTROL_H

enum vmm_exit {
    VMM_EXIT_OK = 0, /* the guest switched itself off, or the command did what it should */
    VMM_EXIT_FAILED = 1, /* something else went wrong: the line on standard error says what */
    VMM_EXIT_USAGE = 2, /* wrong option, value or file of the user's */
    VMM_EXIT_HOST = 3, /* this host lacks something: /dev/kvm, permission, a capability */
    VMM_EXIT_RESOURCE = 4, /* out of memory, file descriptors or other limits */
    VMM_EXIT_RESET = 10, /* the guest asked for a reboot */
    VMM_EXIT_PANIC = 11, /* the guest reported a panic */
    VMM_EXIT_CRASH =
        12, /* the guest crashed: triple fault, a write to ROM, or a state that cannot be run */
    VMM_EXIT_STOPPED = 13, /* stopped from outside: vmm stop, a second SIGTERM, the escape key */
};

/* Runs one command line, as from main(). Returns an enum vmm_exit. Once per process: it owns signals and the terminal. */
int vmm_control_main(int argc, char *argv[]);

#endif
