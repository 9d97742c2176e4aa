/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files that the user names, and the program's own standard input and output. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/error.h>

#include "char_private.h"

/* Ours alone: a FIFO or a device is made non-blocking, a regular file is appended to if that is wanted. */
static int prepare(int fd, const char *path, bool keep)
{
    struct stat st;

    if (vm_fstat(fd, &st))
        return vm_fail_errno("file %s", path);
    if (!S_ISREG(st.st_mode))
        return fcntl(fd, F_SETFL, O_NONBLOCK) ? vm_fail_errno("file %s", path) : 0;
    return keep && fcntl(fd, F_SETFL, O_APPEND) ? vm_fail_errno("file %s: append", path) : 0;
}

int vchar_file_open(struct vchar *chr, const struct vchar_config *config)
{
    int fd, rc;

    if (!chr->env->open)
        return vm_fail(-EACCES, "file %s: nothing may be opened", config->file);
    fd = chr->env->open(chr->env->ctx, config->file,
                        VM_OPEN_WRITE | VM_OPEN_CREATE | (config->keep ? 0 : VM_OPEN_TRUNCATE));
    if (fd == -ENXIO)
        return vm_fail(-ENXIO, "file %s: a FIFO that nobody reads: start its reader first",
                       config->file);
    if (fd < 0)
        return vm_wrap(fd, "file");
    rc = prepare(fd, config->file, config->keep);
    if (rc) {
        close(fd);
        return rc;
    }
    vchar_out_attach(chr, OUT_DIRECT, fd);
    return 0;
}

static enum vchar_out out_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFIFO: return OUT_PIPE;
    case S_IFSOCK: return OUT_SOCKET;
    case S_IFCHR: return OUT_TTY;
    default: return OUT_DIRECT;
    }
}

/* /dev/null (Documentation/admin-guide/devices.txt: character device 1:3): nothing ever comes, so nothing is read. */
static bool is_null(int fd)
{
    struct stat st;

    return !vm_fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

int vchar_tty_open(struct vchar *chr, const struct vchar_config *config)
{
    struct stat st;
    int rc;

    (void)config;
    if (vm_fstat(STDOUT_FILENO, &st))
        return vm_fail_errno("standard output");
    vchar_out_attach(chr, out_of(st.st_mode), STDOUT_FILENO);
    if (is_null(STDIN_FILENO))
        return 0;
    rc = vchar_in_attach(chr, STDIN_FILENO);
    return rc ? vm_wrap(rc, "standard input") : 0;
}
