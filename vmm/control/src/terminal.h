/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The user's terminal: raw while the guest has it, as it was on every exit. */
#ifndef VMM_CONTROL_TERMINAL_H
#define VMM_CONTROL_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
    struct termios before;
    bool raw;
};

/*
 * Makes standard input raw if it is a terminal and we are in its foreground. A signal that ends the program without asking
 * (SIGABRT, SIGSEGV ...) restores it on the way: the terminal is the process's, so its state of before is too, and the last
 * call's counts.
 */
void vmm_terminal_raw(struct terminal *t);
void vmm_terminal_restore(struct terminal *t);

#endif
