/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Memory that only the start of a program needed. Most of a program runs once: it reads options, makes tables, compiles filters. The
 * kernel maps 64 KiB of code around each place that was touched (Documentation/mm: fault-around), and all of that stays mapped.
 *
 * Threads: any, at any time. ABI: none promised before 1.0.
 */
#ifndef VMM_BASE_SHED_H
#define VMM_BASE_SHED_H

/* When, after the start, a program of ours lets it go. Never in debug builds: a debugger's break points are copies of pages of code,
 * and would go with them. */
#ifdef VMM_DEBUG
#define VM_SHED_AFTER_MS (-1)
#else
#define VM_SHED_AFTER_MS 1000
#endif

/*
 * From now on blocks of 128 KiB and more are mappings of their own: calloc() of one touches no page, free() gives all of them back. glibc
 * moves that bound up to the largest block that was ever freed, 32 MiB at most. A device's pool of requests, some MiB of which few are
 * touched, then comes from the heap the second time it is made: all of it is cleared, and none is given back.
 * Threads: before there are others. It lasts for the program's life, and across fork().
 */
void vm_shed_when_freed(void);

/* Unmaps the program's code and constants, which come back from the page cache where they are touched again, and gives back what free()
 * holds in reserve. System calls: madvise and brk. */
void vm_shed(void);

#endif
