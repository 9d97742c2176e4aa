/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What devices that somebody else serves have in common: an environment with an opener of its own, and what the other one writes to its
 * standard error. */
#ifndef VMM_MACHINE_ENV_H
#define VMM_MACHINE_ENV_H

#include <vmm/base/env.h>
#include <vmm/base/loop.h>

struct vmm_machine;

/* The machine's environment for devices (the I/O loop), but for names: open() gets &e as its ctx. */
struct machine_env {
    struct vm_env env;
    struct vmm_machine *m;
};
void vmm_machine_env(struct machine_env *e, struct vmm_machine *m,
                     int (*open)(void *ctx, const char *name, unsigned how));

/* Lines of a socket or pipe, for the log: with the device's name, without control characters, and not too many. All of the thread that
 * runs the loop of vmm_lines_begin(). */
enum { MACHINE_LINE_MAX = 200 };
struct machine_lines {
    struct vm_watch watch; /* active until the end of the file */
    const struct vm_env *env; /* the log; borrowed, as id is */
    const char *id;
    const char *const
        *noise; /* beginnings of lines that are left out, NULL at the end; NULL: none */
    struct vm_ratelimit limit;
    char text[MACHINE_LINE_MAX];
    size_t len;
};
void vmm_lines_init(struct machine_lines *lines, const struct vm_env *env, const char *id);
/* fd (non-blocking) is borrowed until vmm_lines_end(). 0 or -errno with text. */
int vmm_lines_begin(struct machine_lines *lines, struct vm_loop *loop, int fd);
void vmm_lines_end(struct machine_lines *lines);
bool vmm_lines_is_noise(const char *const *noise, const char *line, size_t len);
/* One line from elsewhere, likewise. */
void vmm_lines_say(struct machine_lines *lines, enum vm_level level, const char *untrusted,
                   size_t len);

#endif
