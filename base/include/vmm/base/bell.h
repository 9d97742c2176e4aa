/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Signals eventfds that another process holds, too, and which therefore may do anything with them at any time. It can clear
 * O_NONBLOCK, which is the open file's and not the descriptor's, and fill the counter: a write(2) of ours would wait for it then,
 * whatever we looked at before. So we do not write: the kernel signals the eventfd itself, as the end of an empty read
 * (IOCB_FLAG_RESFD of io_submit(2)), and the kernel never waits for an eventfd.
 *
 * Threads: one at a time for a bell.
 */
#ifndef VMM_BASE_BELL_H
#define VMM_BASE_BELL_H

#include <stdbool.h>

struct vm_bell;

/* 0, -ENOMEM or -errno of memfd_create(2), with text. Makes io_setup(2) once; where the kernel has none or gives none, the bell writes
 * after a look, which a hostile holder can still win against: vm_bell_never_waits() says so. */
int vm_bell_new(struct vm_bell **ret_bell);
/* NULL is allowed. Where there is an io_setup(2), the kernel waits for all processors here: tens of milliseconds. */
void vm_bell_free(struct vm_bell *bell);
bool vm_bell_never_waits(const struct vm_bell *bell);

/* Adds 1 to the eventfd. A full counter stays full: it is a signal that nobody has taken. What is no eventfd is left alone. Calls
 * io_submit(2) and io_getevents(2). */
void vm_bell_ring(struct vm_bell *bell, int fd);

#endif
