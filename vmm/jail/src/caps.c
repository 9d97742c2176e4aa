/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Capabilities (capabilities(7)) and no_new_privs, by the kernel's calls: libcap makes six calls more at the start of every program that has it
 * in it (docs/decisions/0014-capabilities-by-calls.md).
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stages_private.h"

struct caps {
    struct __user_cap_data_struct half[_LINUX_CAPABILITY_U32S_3]; /* 32 of them each */
};

static int get(struct caps *ret_caps)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

    return (int)syscall(SYS_capget, &head, ret_caps->half);
}

static int set(const struct caps *caps)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

    return (int)syscall(SYS_capset, &head, caps->half);
}

static bool has_none(void)
{
    static const struct caps none;
    struct caps now;

    return !get(&now) && !memcmp(&now, &none, sizeof(none));
}

/* SETPCAP is what the rest needs. */
static int raise_setpcap(void)
{
    struct caps c;

    if (get(&c))
        return -1;
    c.half[CAP_TO_INDEX(CAP_SETPCAP)].effective |= CAP_TO_MASK(CAP_SETPCAP);
    return set(&c);
}

/* Those that this kernel does not know are behind the last one. */
static int empty_bounding_set(void)
{
    unsigned long cap = 0;

    while (!prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
        cap++;
    return errno == EINVAL && cap ? 0 : -1;
}

/* Permitted, effective, inheritable, ambient and bounding set empty, and user 0 means nothing, for ever. */
static int drop_all(void)
{
    static const struct caps none;
    static const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
                                      SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                                      SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                                      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

    if (raise_setpcap() || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
        prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) || empty_bounding_set())
        return -1;
    return set(&none);
}

/* An ordinary user without a user namespace has none to begin with and may not touch the bounding set: no_new_privs makes that one idle. */
void vmm_jail_drop_caps(struct vmm_jail_result *result)
{
    static const struct caps none;

    if (drop_all() && !has_none() && set(&none))
        vmm_jail_stage_refused(result, VMM_JAIL_CAPS, "capset: %s", strerror(errno));
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
