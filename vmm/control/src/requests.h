/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests of the control socket: text in, text out. What the fuzz target feeds. */
#ifndef VMM_CONTROL_REQUESTS_H
#define VMM_CONTROL_REQUESTS_H

#include <stddef.h>

#include <vmm/machine/machine.h>

/* Where an answer goes that comes later. */
struct request_reply {
    void (*done)(void *ctx, const char *line);
    void (*listen)(void *ctx); /* the client wants events from now on */
    void *ctx;
};

/* Where events go: a line each. */
struct request_events {
    void (*event)(void *ctx, const char *line);
    void *ctx;
};

/* Handles one line (not terminated). The answer, allocated; NULL: done() comes later, or has come. */
char *vmm_requests_handle(struct vmm_machine *machine, const char *untrusted, size_t len,
                          const struct request_reply *reply);

/* Events of the machine go there from now on; NULL: nowhere. events is borrowed until then. */
void vmm_requests_listen(struct vmm_machine *machine, const struct request_events *events);

/* What config.event of the machine says, as an event. */
void vmm_requests_tell(const struct request_events *events, enum vmm_event event,
                       const char *source, const char *text);

/* ctx does not want its answer any more. */
void vmm_requests_forget(struct vmm_machine *machine, void *ctx);

#endif
