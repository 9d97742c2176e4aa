/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The built-in tables of allowed system calls, for vmm_jail_filter_add(). Constant.
 *
 * A device's process: child_start and child_loop and the tables of its class and back end for vmm_jail_enter(), child_loop
 * and the same class and back-end tables for vmm_jail_narrow(). No row opens a name, makes a process or executable memory.
 *
 * The VMM itself: a filter per thread (a thread inherits those of the thread that starts it, and each costs time at each
 * call): start vCPU and I/O threads before the main thread loads its own, and let each load its own first thing.
 */
#ifndef VMM_JAIL_ROWS_H
#define VMM_JAIL_ROWS_H

#include <vmm/base/jail_rule.h>

/* What a device's process does between entering the jail and its loop. */
extern const struct vm_jail_rule vmm_jail_rows_child_start[];
/* What its event loop and its memory need. Below 20 calls. */
extern const struct vm_jail_rule vmm_jail_rows_child_loop[];

/* Of one that somebody started by hand, on top of both: front ends that connect. */
extern const struct vm_jail_rule vmm_jail_rows_child_alone[];

/* A vCPU's thread: KVM_RUN first. It wakes others, raises interrupts and changes slots, routes and doorbells. */
extern const struct vm_jail_rule vmm_jail_rows_vcpu[];
/* The thread that serves in-process devices; class and back-end tables come on top. */
extern const struct vm_jail_rule vmm_jail_rows_io[];
/* Where it makes and frees devices, too, which move between it and processes. */
extern const struct vm_jail_rule vmm_jail_rows_io_make[];
/* The main thread: control socket, opener of names, machine life. It starts threads, but no programs: the spawner does. */
extern const struct vm_jail_rule vmm_jail_rows_main[];

#endif
