/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Capabilities (capabilities(7)) and no_new_privs. */
#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "stages_private.h"

static bool has_none(void)
{
    cap_t now = cap_get_proc(), none = cap_init();
    bool same = now && none && !cap_compare(now, none);

    cap_free(now);
    cap_free(none);
    return same;
}

/* NOPRIV: permitted, effective, inheritable, ambient and bounding set empty, securebits locked so that user 0 means nothing
 * (cap_set_mode(3)). An ordinary user without a user namespace has none to begin with and may not touch the bounding set:
 * no_new_privs makes that one idle. */
void vmm_jail_drop_caps(struct vmm_jail_result *result)
{
    if (cap_set_mode(CAP_MODE_NOPRIV) && !has_none()) {
        cap_t none = cap_init();

        if (!none || cap_set_proc(none))
            vmm_jail_stage_refused(result, VMM_JAIL_CAPS, "capset: %s", strerror(errno));
        cap_free(none);
    }
    if (has_none())
        vmm_jail_stage_reached(result, VMM_JAIL_CAPS);
}

void vmm_jail_no_new_privs(struct vmm_jail_result *result)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        vmm_jail_stage_refused(result, VMM_JAIL_PRIVS, "%s", strerror(errno));
    else
        vmm_jail_stage_reached(result, VMM_JAIL_PRIVS);
}
