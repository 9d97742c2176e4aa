/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* File systems of a jail: the empty root, and one for guest memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/check.h>
#include <vmm/base/fd.h>

#include "stages_private.h"

/* linux/mount.h and sys/mount.h of this C library cannot be included together: mount(2)'s flags. */
enum {
    FLAG_RDONLY = 1,
    FLAG_NOSUID = 2,
    FLAG_NODEV = 4,
    FLAG_NOEXEC = 8,
    FLAG_REMOUNT = 32,
    FLAG_BIND = 4096,
    FLAG_REC = 16384,
    FLAG_PRIVATE = 1 << 18,
    UMOUNT_DETACH = 2,
    PAGE = 4096,
};

static int do_mount(const char *what, const char *where, const char *type, unsigned long flags,
                    const char *options)
{
    return (int)syscall(SYS_mount, what, where, type, flags, options);
}

/* On any directory there is: nothing has to be prepared on the host, and what it hides is left behind in a moment. */
static const char *mount_somewhere(void)
{
    static const char *const places[] = { "/tmp", "/dev", "/proc", "/sys", "/run", "/mnt", "/etc" };
    int error = ENOENT;

    for (size_t i = 0; i < VM_ARRAY_SIZE(places); i++) {
        if (!do_mount("jail", places[i], "tmpfs", FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC,
                      "mode=0555,size=4096,nr_inodes=2"))
            return places[i];
        if (errno != ENOENT && errno != ENOTDIR)
            error = errno;
    }
    errno = error;
    return NULL;
}

/* pivot_root(2), NOTES: with "." for both, the old root lies on top of the new one and is taken off. A host that runs from its
 * initial RAM file system cannot (EINVAL): there the old root stays below, and only capabilities would lead back to it. */
static int change_root(struct vmm_jail_result *result)
{
    if (!syscall(SYS_pivot_root, ".", "."))
        return (int)syscall(SYS_umount2, ".", UMOUNT_DETACH);
    if (errno != EINVAL)
        return -1;
    snprintf(result->why[VMM_JAIL_ROOT], sizeof(result->why[0]),
             "by chroot: the host runs from its initial RAM file system");
    return chroot(".");
}

static void root_refused(struct vmm_jail_result *result, const char *what)
{
    char why[sizeof(result->why[0])];

    vmm_jail_why_refused(errno, false, why, sizeof(why));
    vmm_jail_stage_refused(result, VMM_JAIL_ROOT, "%s: %.90s", what, why);
}

void vmm_jail_empty_root(struct vmm_jail_result *result)
{
    const char *place;

    if (!vmm_jail_reached(result, VMM_JAIL_MOUNT)) {
        vmm_jail_stage_refused(result, VMM_JAIL_ROOT,
                               "there is no mount namespace to change it in");
        return;
    }
    if (do_mount(NULL, "/", NULL, FLAG_REC | FLAG_PRIVATE, NULL)) {
        root_refused(result, "mount of / as private");
        return;
    }
    place = mount_somewhere();
    if (!place) {
        root_refused(result, "mount of a tmpfs");
        return;
    }
    if (chdir(place) || change_root(result) || chdir("/")) {
        root_refused(result, "pivot_root");
        return;
    }
    if (do_mount(NULL, "/", NULL,
                 FLAG_REMOUNT | FLAG_BIND | FLAG_RDONLY | FLAG_NOSUID | FLAG_NODEV | FLAG_NOEXEC,
                 NULL)) {
        root_refused(result, "read-only root");
        return;
    }
    vmm_jail_stage_reached(result, VMM_JAIL_ROOT);
}

/* ---- guest memory ---- */

/* No limit of blocks: with one, a device's process that lets its file grow would take away those which the guest has not touched yet, and
 * who touches them then gets SIGBUS. What memory may be had altogether is a cgroup's business. */
static int configure(int fs)
{
    if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "0", 0) ||
        syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "huge", "within_size", 0) ||
        syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0) ||
        syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        return -errno;
    return 0;
}

/* The mount is never attached anywhere, and lives as long as the file in it. */
static int file_on(int fs, uint64_t size)
{
    int mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    int fd, rc = 0;

    if (mount < 0)
        return -errno;
    fd = openat(mount, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        rc = -errno;
    vm_close(&mount);
    if (rc)
        vm_close(&fd);
    return rc ? rc : fd;
}

int vmm_jail_ram_file(uint64_t size)
{
    int fs, rc;

    if (!size || !vm_align_up(size, PAGE, &size) || size > INT64_MAX)
        return -EINVAL;
    fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    rc = configure(fs);
    if (!rc)
        rc = file_on(fs, size);
    vm_close(&fs);
    return rc;
}
