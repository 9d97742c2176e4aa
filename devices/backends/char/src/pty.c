/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A pseudo-terminal (pty(7)). While nobody has its other side open the master polls as hung up, which no event ends: so a timer
 * looks again. Output waits meanwhile, the oldest bytes are dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "char_private.h"

static void on_timer(struct vm_timer *timer);

static void look_again(struct vchar *chr)
{
    struct vm_loop *loop = chr->env->loop;

    if (vm_timer_set(loop, &chr->connect_timer, vm_loop_now_ns(loop) + CONNECT_NS, on_timer))
        vm_log_limited(chr->env, &chr->limit, VM_LOG_ERROR, "%s: %s", chr->name, vm_error_text());
}

void vchar_pty_hang_up(struct vchar *chr)
{
    vchar_in_detach(chr);
    vchar_out_detach(chr, OUT_NOBODY);
    look_again(chr);
}

static void connect_sides(struct vchar *chr)
{
    int in = fcntl(chr->own_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int out = fcntl(chr->own_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (in < 0 || out < 0 || vchar_in_attach(chr, in)) {
        vm_close(&in);
        vm_close(&out);
        look_again(chr);
        return;
    }
    vchar_out_attach(chr, OUT_DIRECT, out);
}

static void on_timer(struct vm_timer *timer)
{
    struct vchar *chr = container_of(timer, struct vchar, connect_timer);
    struct pollfd p = { .fd = chr->own_fd, .events = POLLIN };

    if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP && !(p.revents & POLLIN))
        look_again(chr);
    else
        connect_sides(chr);
}

/* ---- opening ---- */

/* No echo and no line editing before the first user sets it so: the guest has its own. */
static int make_raw(int fd)
{
    struct termios t;

    if (tcgetattr(fd, &t))
        return -1;
    cfmakeraw(&t);
    return tcsetattr(fd, TCSANOW, &t);
}

static int make_link(struct vchar *chr, const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0) {
        if (!S_ISLNK(st.st_mode))
            return vm_fail(-EEXIST,
                           "link %s: there is something that is not a link: choose another name",
                           path);
        if (unlink(path))
            return vm_fail_errno("link %s: removing the old one", path);
    }
    if (symlink(chr->pty, path) || lstat(path, &st))
        return vm_fail_errno("link %s", path);
    chr->path = strdup(path);
    if (!chr->path) {
        unlink(path);
        return vm_fail(-ENOMEM, "out of memory");
    }
    chr->path_dev = st.st_dev;
    chr->path_ino = st.st_ino;
    return 0;
}

static int open_master(struct vchar *chr)
{
    int rc;

    chr->own_fd = chr->env->open
                      ? chr->env->open(chr->env->ctx, "/dev/ptmx", VM_OPEN_READ | VM_OPEN_WRITE)
                      : vm_fail(-EACCES, "/dev/ptmx: nothing may be opened");
    if (chr->own_fd < 0)
        return vm_wrap(chr->own_fd, "pseudo-terminal");
    if (fcntl(chr->own_fd, F_SETFL, O_NONBLOCK) || grantpt(chr->own_fd) || unlockpt(chr->own_fd) ||
        make_raw(chr->own_fd))
        return vm_fail_errno("pseudo-terminal");
    rc = ptsname_r(chr->own_fd, chr->pty, sizeof(chr->pty));
    return rc ? vm_fail(-rc, "pseudo-terminal: ptsname: %s", strerror(rc)) : 0;
}

int vchar_pty_open(struct vchar *chr, const struct vchar_config *config)
{
    int rc = open_master(chr), other;

    if (!rc && config->file)
        rc = make_link(chr, config->file);
    if (rc)
        return rc;
    /* Only after its other side was closed once does the master tell that nobody is there. */
    other = ioctl(chr->own_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    vm_close(&other);
    look_again(chr);
    vm_log(chr->env, VM_LOG_INFO, "%s: pseudo-terminal %s", chr->name, chr->pty);
    return 0;
}
