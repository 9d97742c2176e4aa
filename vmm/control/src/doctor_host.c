/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a machine can use besides KVM. None of it keeps one from running: these are notes. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/jail/stages.h>

enum { NOFILE_LEAST = 1024, MEMLOCK_LEAST = 8 << 20, LANDLOCK_VERSION = 1 };

static void say(struct findings *f, const char *name, bool ok, const char *text, const char *cure)
{
    struct finding *row = vmm_findings_add(f, name);

    row->state = ok ? FINDING_OK : FINDING_NOTE;
    snprintf(row->text, sizeof(row->text), "%s", text);
    row->cure = ok ? NULL : cure;
}

/* A number from a file below /proc or /sys; -1: not there. */
static long long number_in(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : vm_read(fd, text, sizeof(text) - 1);

    vm_close(&fd);
    return n > 0 ? strtoll(text, NULL, 10) : -1;
}

static void check_io_uring(struct findings *f)
{
    struct io_uring_params p = { 0 };
    int fd = (int)syscall(SYS_io_uring_setup, 4, &p);

    say(f, "io_uring", fd >= 0,
        fd >= 0           ? "works"
        : errno == ENOSYS ? "this kernel has none"
                          : "not permitted",
        "sysctl kernel.io_uring_disabled=0, or a kernel with CONFIG_IO_URING; without it disks use "
        "threads");
    vm_close(&fd);
}

static void check_userfaultfd(struct findings *f)
{
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd = dev < 0 ? (int)syscall(SYS_userfaultfd, O_CLOEXEC) : -1;
    bool ok = dev >= 0 || fd >= 0;

    say(f, "userfaultfd", ok, ok ? "works" : "not permitted",
        "give access to /dev/userfaultfd (kernel 6.1 and later), or sysctl "
        "vm.unprivileged_userfaultfd=1; lazy restore needs it");
    vm_close(&dev);
    vm_close(&fd);
}

static void check_device(struct findings *f, const char *name, const char *path, const char *cure)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    say(f, name, fd >= 0,
        fd >= 0           ? "can be opened"
        : errno == ENOENT ? "does not exist"
                          : strerror(errno),
        cure);
    vm_close(&fd);
}

static void check_huge_pages(struct findings *f)
{
    long long n = number_in("/proc/sys/vm/nr_hugepages");
    char text[64], thp[64] = "";
    int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : vm_read(fd, thp, sizeof(thp) - 1);
    bool never = got <= 0 || strstr(thp, "[never]");

    vm_close(&fd);
    say(f, "transparent huge", !never, never ? "switched off" : "on",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; guests run faster with it");
    snprintf(text, sizeof(text), "%lld pages reserved", n < 0 ? 0 : n);
    say(f, "huge pages", n > 0, text, "sysctl vm.nr_hugepages=N, for memory with hugepages=on");
}

static void check_limits(struct findings *f)
{
    struct rlimit r = { 0 };
    char text[64];

    getrlimit(RLIMIT_NOFILE, &r);
    snprintf(text, sizeof(text), "%llu open files", (unsigned long long)r.rlim_max);
    say(f, "RLIMIT_NOFILE", r.rlim_max >= NOFILE_LEAST, text,
        "ulimit -Hn 4096: many devices or queues need many descriptors");
    getrlimit(RLIMIT_MEMLOCK, &r);
    snprintf(text, sizeof(text), r.rlim_cur == RLIM_INFINITY ? "unlimited" : "%llu bytes",
             (unsigned long long)r.rlim_cur);
    say(f, "RLIMIT_MEMLOCK", r.rlim_cur >= MEMLOCK_LEAST, text,
        "ulimit -l unlimited: locked memory and device pass-through need it");
}

/* What there would be of the jail of each device's process, and of the memory that it shares with the VMM: tried, not guessed. */
static void check_jail(struct findings *f)
{
    struct vmm_jail_host host;
    bool users, missing;
    char text[256];

    if (vmm_jail_probe(&host)) {
        say(f, "device processes", false, vm_error_text(), NULL);
        return;
    }
    users = vmm_jail_reached(&host.jail, VMM_JAIL_USER);
    say(f, "user namespaces", users, users ? "can be made" : host.jail.why[VMM_JAIL_USER],
        "sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0, or a container that allows them");
    missing = vmm_jail_result_missing(&host.jail, text, sizeof(text));
    say(f, "device processes", !missing, missing ? text : "jailed by all walls there are",
        "the other walls stand (docs/sandbox.md): mend what the reason names, or run the VMM as a "
        "user who may do no more than it must");
    if (!host.ram_file)
        snprintf(text, sizeof(text), "a sealed memfd, a boot takes longer with it: %s",
                 host.why_no_ram_file);
    say(f, "shared memory", host.ram_file,
        host.ram_file ? "a private tmpfs with huge=within_size" : text,
        "mend what the reason names; machines without device processes (--sandbox thread) have "
        "private memory");
}

static void check_landlock(struct findings *f)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    char text[64];

    snprintf(text, sizeof(text), abi > 0 ? "ABI %ld" : "not in this kernel", abi);
    say(f, "Landlock", abi > 0, text,
        "boot with lsm=landlock,... ; device processes are confined less without it");
}

void vmm_doctor_host(struct findings *f)
{
    check_io_uring(f);
    check_userfaultfd(f);
    check_device(f, "vhost-net", "/dev/vhost-net", "modprobe vhost_net; --net vhost=on needs it");
    check_device(f, "vhost-vsock", "/dev/vhost-vsock",
                 "modprobe vhost_vsock; --vsock vhost=on needs it");
    check_device(f, "tun", "/dev/net/tun", "modprobe tun; needed for tap networks");
    check_device(f, "vfio", "/dev/vfio/vfio",
                 "modprobe vfio-pci; needed to give a guest a device of the host");
    check_huge_pages(f);
    check_limits(f);
    check_landlock(f);
    check_jail(f);
}
