/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The names that a device was given, and what was opened by them. A name is opened once, before the machine runs. What comes of it stays
 * open here, and whoever serves the device gets the same open file: a thread of ours, its process, and each process that follows. So no
 * name is looked up while a guest runs, and no dead file system holds the control loop up; a file goes on where it was, and its lock is
 * never let go. A connection is made anew each time.
 *
 * Who wants passt (VM_OPEN_USER) likewise has one end of a socket, by which it gets connections (vmm/machine/passt.h).
 *
 * Who dials (VM_OPEN_DIAL) has one end of a socket; at the other one the control loop connects to names that begin with the one in the
 * device's options and end in a port, while the guest runs, too: there is no other name that could be asked for.
 */
#ifndef VMM_MACHINE_NAMES_H
#define VMM_MACHINE_NAMES_H

#include <vmm/base/dial.h>
#include <vmm/base/pty.h>
#include <vmm/devices-core/device.h>
#include <vmm/machine/passt.h>
#include <vmm/machine/process.h>

#include "machine_env.h"

struct name_row {
    char *name;
    unsigned how; /* enum vm_open */
    struct vm_made made; /* and this is removed at the end */
    int fd; /* -1: not opened */
    struct vm_dial dial; /* our end, of a DIAL that is open */
    struct vm_watch watch; /* of that, in the control loop */
    struct vmm_passt *passt; /* of a USER that is open */
};

/* One thread has it while the machine is built; from then on nothing changes in it. */
struct machine_names {
    struct machine_env env; /* for a device on a thread: opens these */
    struct name_row row[VMM_PROCESS_NAMES_MAX];
    unsigned count;
    char id[VDEV_ID_MAX + 1]; /* the device's */
    bool live; /* the guest may run: no further name */
};

/* NULL with text: out of memory. */
struct machine_names *vmm_names_new(struct vmm_machine *m, const char *id);
/* NULL is allowed. */
void vmm_names_free(struct machine_names *names);
/* The row of it; -1: there is none. */
int vmm_names_find(const struct machine_names *names, const char *name, unsigned how);
/* Likewise, of a new one; -1: no room, no memory, or the machine runs. */
int vmm_names_add(struct machine_names *names, const char *name, unsigned how);
/* What is open by that row: borrowed, where *ret_kept; otherwise the caller's. -errno with text; *ret_kept is set in any case. */
int vmm_names_open(struct machine_names *names, int row, bool *ret_kept);

#endif
