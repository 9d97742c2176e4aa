/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A pseudo-terminal (pty(7)). While nobody has its other side open the master polls as hung up, which no event ends: so a timer
 * looks again. Output waits meanwhile, the oldest bytes are dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
    short there = vchar_poll(chr->own_fd, POLLIN);

    if (there & POLLHUP && !(there & POLLIN))
        look_again(chr);
    else
        connect_sides(chr);
}

/* ---- opening ---- */

int vchar_pty_open(struct vchar *chr, const struct vchar_config *config)
{
    int fd = vchar_open_made(chr, config->file ? config->file : VM_PTY_NO_LINK, VM_OPEN_PTY), rc;

    if (fd == -ENOTCONN)
        return 0;
    if (fd < 0)
        return fd;
    chr->own_fd = fd;
    rc = vm_pty_name(fd, chr->pty, sizeof(chr->pty));
    if (rc)
        return rc;
    look_again(chr);
    vm_log(chr->env, VM_LOG_INFO, "%s: pseudo-terminal %s", chr->name, chr->pty);
    return 0;
}
