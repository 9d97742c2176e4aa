/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef VMM_JAIL_NAMES_H
#define VMM_JAIL_NAMES_H

#include <vmm/base/util.h>

enum { VMM_JAIL_NAME_MAX = 28 };

/* The name of a system call of this architecture, or "?". Async-signal-safe. */
const char *vmm_jail_name(int number);

#endif
