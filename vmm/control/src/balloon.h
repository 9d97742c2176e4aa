/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The balloon's request on the control socket. */
#ifndef VMM_CONTROL_BALLOON_H
#define VMM_CONTROL_BALLOON_H

#include <jansson.h>

#include <vmm/machine/machine.h>

/* {"verb":"balloon"}, with id (a string), size (bytes: another one from now on), refresh (true: the guest is asked for statistics). 0 and
 * what is told of it; -errno with text. */
int vmm_balloon_request(struct vmm_machine *machine, const json_t *untrusted, json_t **ret_result);

#endif
