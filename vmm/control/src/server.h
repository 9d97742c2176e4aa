/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The control socket of a running machine: one JSON object per line, asked and answered (docs/control-socket.md). */
#ifndef VMM_CONTROL_SERVER_H
#define VMM_CONTROL_SERVER_H

#include <vmm/base/env.h>
#include <vmm/machine/machine.h>

struct server;

/* Listens on path, or in the directory path under the process's number. env->loop serves it. -errno with text. */
int vmm_server_new(const struct vm_env *env, struct vmm_machine *machine, const char *path,
                   struct server **ret_server);
/* Tells who listens. As vmm_machine_config.event. */
void vmm_server_event(struct server *server, enum vmm_event event, const char *source,
                      const char *text);
/* Closes connections and removes the socket. NULL is allowed. */
void vmm_server_free(struct server *server);

/* The other end: sends a request, gives the answer's text (allocated). -errno with text. */
int vmm_server_ask(const char *path, const char *request, char **ret_answer);

/* Likewise, but gives every line that comes, without its end, until the machine closes the connection: 0; or until line() returns
 * something else than 0: that. -errno with text. */
int vmm_server_follow(const char *path, const char *request, int (*line)(void *ctx, char *line),
                      void *ctx);

#endif
