/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Pseudo-terminals (pty(7)), and names that were made and are removed again. Threads: no state. ABI: none promised before 1.0. */
#ifndef VMM_BASE_PTY_H
#define VMM_BASE_PTY_H

#include <stddef.h>
#include <stdint.h>

/* The master of a new pseudo-terminal: raw, non-blocking, CLOEXEC, and its other side was open once, so that it polls as hung up. link:
 * a symbolic link to make to that side (an older link is replaced); NULL: none. The fd, or -errno with text: -EEXIST (something that
 * is no link stands there) ... */
int vm_pty_open(const char *link);

/* The other side's path. 0, or -errno with text. */
int vm_pty_name(int master, char *ret_name, size_t size);

/* Which file a name was, to remove no other one: zeroed, it is none. */
struct vm_made {
    uint64_t dev, ino;
};
/* 0 or -errno with text. */
int vm_made_note(const char *name, struct vm_made *ret_made);
/* Nothing happens where it was not noted, or is somebody else's file by now. */
void vm_made_remove(const char *name, const struct vm_made *made);

#endif
