/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The other end of a serial port whose back end is the terminal (mode=tty): pipes in place of standard input and output. */
#ifndef TESTS_SUPPORT_LINE_HARNESS_H
#define TESTS_SUPPORT_LINE_HARNESS_H

#include <fcntl.h>
#include <unistd.h>

#include "platform_harness.h"

struct line {
    int keyboard, screen; /* written to; read from, without waiting */
};

static inline int line_put_at(int fd, int place)
{
    int rc = dup2(fd, place);

    close(fd);
    return rc == place ? 0 : -errno;
}

/* Before the device is made. */
static inline int line_open(struct line *line)
{
    int in[2], out[2], rc;

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC | O_NONBLOCK))
        return -errno;
    line->keyboard = in[1];
    line->screen = out[0];
    rc = line_put_at(in[0], STDIN_FILENO);
    return rc ? rc : line_put_at(out[1], STDOUT_FILENO);
}

static inline void line_close(struct line *line)
{
    close(line->keyboard);
    close(line->screen);
}

/* The user's keys reach the device. */
static inline bool line_type(struct line *line, struct plat *p, const char *keys)
{
    bool all = write(line->keyboard, keys, strlen(keys)) == (ssize_t)strlen(keys);

    plat_idle(p);
    return all;
}

/* What came out; -1: nothing. */
static inline ssize_t line_read(struct line *line, struct plat *p, char *text, size_t room)
{
    plat_pass(p, 5000000); /* the back end gathers for a while */
    return read(line->screen, text, room);
}

#endif
