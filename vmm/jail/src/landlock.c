/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Landlock (Documentation/userspace-api/landlock.rst), as far as the kernel has it. What is open stays open; new names may be
 * opened below the given directories only. From its ABI 4 on no TCP, from 6 on no signals and abstract sockets to the
 * outside: walls behind those of the namespaces.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "stages_private.h"

/* As newer kernels have it; Linux 6.1's header ends after the first field, and the kernel takes any length it knows. */
struct ruleset {
    uint64_t fs, net, scoped;
};

/* Rights that came after ABI 2, which the header has. */
enum { FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15, NET_ALL = 3, SCOPED_ALL = 3 };

#define FS_ABI_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

static uint64_t fs_rights(long abi)
{
    uint64_t rights = FS_ABI_1;

    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= FS_TRUNCATE;
    if (abi >= 5)
        rights |= FS_IOCTL_DEV;
    return rights;
}

static int make_ruleset(long abi)
{
    struct ruleset set = { .fs = fs_rights(abi) };
    size_t size = sizeof(set.fs);

    if (abi >= 4) {
        set.net = NET_ALL;
        size += sizeof(set.net);
    }
    if (abi >= 6) {
        set.scoped = SCOPED_ALL;
        size += sizeof(set.scoped);
    }
    return (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
}

static int allow_below(int ruleset, const struct vmm_jail_dir *dir, long abi)
{
    uint64_t none = LANDLOCK_ACCESS_FS_EXECUTE | FS_IOCTL_DEV;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = dir->writable
                              ? fs_rights(abi) & ~none
                              : LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
        .parent_fd = dir->fd,
    };

    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

void vmm_jail_landlock(const struct vmm_jail_dir *dir, uint32_t dirs,
                       struct vmm_jail_result *result)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int ruleset, rc = 0;

    if (abi < 1) {
        vmm_jail_stage_refused(result, VMM_JAIL_LANDLOCK, "%s",
                               errno == EOPNOTSUPP ? "it is off on this host (kernel option lsm=)"
                                                   : "this kernel does not have it");
        return;
    }
    ruleset = make_ruleset(abi);
    if (ruleset < 0)
        rc = -1;
    for (uint32_t i = 0; i < dirs && !rc; i++)
        rc = allow_below(ruleset, &dir[i], abi);
    if (!rc)
        rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    if (rc)
        vmm_jail_stage_refused(result, VMM_JAIL_LANDLOCK, "%s", strerror(errno));
    else
        vmm_jail_stage_reached(result, VMM_JAIL_LANDLOCK);
    vm_close(&ruleset);
}
