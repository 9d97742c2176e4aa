/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef JAIL_ESCAPES_H
#define JAIL_ESCAPES_H

#include <stdbool.h>
#include <stddef.h>

/* A way out that a hostile device process would try. */
struct escape {
    const char *name;
    /* 0 where it worked, else -errno. pid is the VMM's, as the host numbers it. */
    int (*try)(int pid);
    bool filter_only; /* the other walls do not stop it: it is no way out by itself */
};

extern const struct escape escapes[];
extern const size_t escape_count;

#endif
