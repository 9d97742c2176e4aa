/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Pseudo-terminals (pty(7)). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/pty.h>

/* No echo and no line editing before the first user sets it so: the guest has its own. */
static int make_raw(int fd)
{
    struct termios t;

    if (tcgetattr(fd, &t))
        return -1;
    cfmakeraw(&t);
    return tcsetattr(fd, TCSANOW, &t);
}

int vm_pty_name(int master, char *ret_name, size_t size)
{
    unsigned number;

    if (ioctl(master, TIOCGPTN, &number))
        return vm_fail_errno("pseudo-terminal: its number");
    snprintf(ret_name, size, "/dev/pts/%u", number);
    return 0;
}

static int make_link(int master, const char *link)
{
    char name[32];
    struct stat st;
    int rc = vm_pty_name(master, name, sizeof(name));

    if (rc)
        return rc;
    if (lstat(link, &st) == 0) {
        if (!S_ISLNK(st.st_mode))
            return vm_fail(-EEXIST,
                           "link %s: there is something that is not a link: choose another name",
                           link);
        if (unlink(link))
            return vm_fail_errno("link %s: removing the old one", link);
    }
    return symlink(name, link) ? vm_fail_errno("link %s", link) : 0;
}

int vm_pty_open(const char *link)
{
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), other, rc = 0;

    if (fd < 0)
        return vm_fail_errno("pseudo-terminal: /dev/ptmx");
    if (grantpt(fd) || unlockpt(fd) || make_raw(fd))
        rc = vm_fail_errno("pseudo-terminal");
    if (!rc && link)
        rc = make_link(fd, link);
    if (rc) {
        vm_close(&fd);
        return rc;
    }
    /* Only after its other side was closed once does the master tell that nobody is there. */
    other = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    vm_close(&other);
    return fd;
}

int vm_made_note(const char *name, struct vm_made *ret_made)
{
    struct stat st;

    if (lstat(name, &st))
        return vm_fail_errno("%s", name);
    *ret_made = (struct vm_made){ st.st_dev, st.st_ino };
    return 0;
}

void vm_made_remove(const char *name, const struct vm_made *made)
{
    struct stat st;

    if (made->ino && !lstat(name, &st) && st.st_dev == made->dev && st.st_ino == made->ino)
        unlink(name);
}
