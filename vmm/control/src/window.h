/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The virtio console on the user's terminal has the terminal's size (VIRTIO 1.2, 5.3.4), at the start and whenever it changes. */
#ifndef VMM_CONTROL_WINDOW_H
#define VMM_CONTROL_WINDOW_H

#include "run.h"

struct window {
    struct vmm_machine *machine;
    char id[VDEV_ID_MAX +
            1]; /* of the console; empty: none has the terminal, or its size was given */
    unsigned cols, rows; /* what it was told last */
};

/* Finds the console among the devices of a machine that was just made from inputs, and tells it the size. */
void vmm_window_init(struct window *window, struct vmm_machine *machine,
                     const struct run_inputs *inputs);
/* SIGWINCH came. */
void vmm_window_update(struct window *window);

#endif
