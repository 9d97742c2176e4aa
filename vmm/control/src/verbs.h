/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Commands that talk to a running machine. */
#ifndef VMM_CONTROL_VERBS_H
#define VMM_CONTROL_VERBS_H

#include "commands.h"

int vmm_verb_stop(struct session *s);
int vmm_verb_powerbtn(struct session *s);
int vmm_verb_remove(struct session *s);
int vmm_verb_pause(struct session *s);
int vmm_verb_resume(struct session *s);
int vmm_verb_info(struct session *s);
int vmm_verb_events(struct session *s);
int vmm_verb_set(struct session *s);
int vmm_verb_upgrade(struct session *s);
int vmm_verb_move(struct session *s);
int vmm_verb_cancel(struct session *s);
int vmm_verb_balloon(struct session *s);
int vmm_verb_announce(struct session *s);

/* vsock.c: vmm vsock connect SOCKET PORT */
int vmm_command_vsock(struct session *s);

#endif
