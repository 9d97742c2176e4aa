/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The file of another program for a device's process: named by whoever asks, opened here. */
#include "upgrade.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>

static int check(int fd, const char *path)
{
    char magic[SELFMAG];
    struct stat st;

    if (fstat(fd, &st))
        return vm_fail_errno("upgrade: %s", path);
    if (!S_ISREG(st.st_mode))
        return vm_fail(-EINVAL, "upgrade: %s is not a file", path);
    if (!(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
        return vm_fail(-EACCES, "upgrade: %s is not executable: chmod +x makes it so", path);
    if (vm_pread_full(fd, magic, sizeof(magic), 0) || memcmp(magic, ELFMAG, SELFMAG) != 0)
        return vm_fail(-ENOEXEC, "upgrade: %s is not a program of vmm's (an ELF file)", path);
    return 0;
}

int vmm_upgrade_open(const char *path)
{
    int fd, rc;

    if (path[0] != '/')
        return vm_fail(-EINVAL, "upgrade: '%.200s' is not an absolute path", path);
    /* A FIFO's writer would be waited for. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return vm_file_fail("upgrade", path, false);
    rc = check(fd, path);
    if (rc)
        vm_close(&fd);
    return rc ? rc : fd;
}
