/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Coverage of processes that end in a jail: they cannot write a file any more. In an instrumented build the test's own variables,
 * which the counters are among, are moved to memory that it shares with what it forks, and it writes what all of them counted.
 */
#ifndef VMM_JAIL_COUNTERS_TEST_H
#define VMM_JAIL_COUNTERS_TEST_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern void __gcov_init(void *) __attribute__((weak));
extern char __bss_start[], _end[]; /* of the linker */

static inline void share_counters(void)
{
    uintptr_t from = ((uintptr_t)__bss_start + 4095) & ~(uintptr_t)4095,
              to = (uintptr_t)_end & ~(uintptr_t)4095;
    char *copy;

    if (!__gcov_init || from >= to)
        return;
    copy = malloc(to - from);
    if (!copy)
        return;
    memcpy(copy, (void *)from, to - from);
    if (mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
        memcpy((void *)from, copy, to - from);
    free(copy);
}

#endif
