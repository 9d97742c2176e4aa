/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The user's terminal. */
#include "terminal.h"

#include <unistd.h>

void vmm_terminal_raw(struct terminal *t)
{
    struct termios raw;

    t->raw = false;
    /* A background job that changes the terminal would be stopped by SIGTTOU. */
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &t->before))
        return;
    raw = t->before;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* our own messages keep their line ends */
    t->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void vmm_terminal_restore(struct terminal *t)
{
    if (t->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
    t->raw = false;
}
