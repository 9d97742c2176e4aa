/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Commands that talk to a running machine. */
#ifndef VMM_CONTROL_VERBS_H
#define VMM_CONTROL_VERBS_H

#include "commands.h"

int verb_stop(struct session *s);
int verb_powerbtn(struct session *s);
int verb_pause(struct session *s);
int verb_resume(struct session *s);
int verb_info(struct session *s);
int verb_set(struct session *s);

#endif
