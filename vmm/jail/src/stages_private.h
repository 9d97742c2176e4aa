/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Single stages, for a process that jails itself (enter.c) and for the spawner, which takes some for all its children. */
#ifndef VMM_JAIL_STAGES_PRIVATE_H
#define VMM_JAIL_STAGES_PRIVATE_H

#include <sys/types.h>

#include <vmm/base/util.h>
#include <vmm/jail/profile.h>
#include <vmm/jail/stages.h>

void vmm_jail_stage_reached(struct vmm_jail_result *result, enum vmm_jail_stage stage);
/* With the reason in the format; errno is not looked at. */
void vmm_jail_stage_refused(struct vmm_jail_result *result, enum vmm_jail_stage stage,
                            const char *format, ...) VM_PRINTF(3, 4);

/* namespaces.c: user (as another user, if the caller is root), mount, net, ipc, uts: whichever the host gives. */
void vmm_jail_namespaces(struct vmm_jail_result *result);
/* What forbids namespaces or mounts here, as far as can be seen; error is the errno of the refusal. */
void vmm_jail_why_refused(int error, bool for_namespaces, char *ret_text, size_t size);
/* Still root of the host, since there is no user namespace: becomes result->uid. The last thing before exec. -errno. */
int vmm_jail_leave_root(const struct vmm_jail_result *result);

/* root.c: after the mount namespace. */
void vmm_jail_empty_root(struct vmm_jail_result *result);
/* A file of size bytes, unlinked, on a tmpfs of its own with huge pages; size is rounded up to pages. The fd, or -errno. */
int vmm_jail_ram_file(uint64_t size);

/* caps.c */
void vmm_jail_drop_caps(struct vmm_jail_result *result);
void vmm_jail_no_new_privs(struct vmm_jail_result *result);

/* landlock.c: after no_new_privs. */
void vmm_jail_landlock(const struct vmm_jail_dir *dir, uint32_t dirs,
                       struct vmm_jail_result *result);

#endif
