/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The user's terminal. */
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <vmm/base/util.h>

/* What ends a process at once; what can be waited for comes by signalfd (run.c). */
static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,    SIGILL,
                             SIGSYS,  SIGTRAP, SIGXCPU, SIGVTALRM, SIGPROF };

/* For the handler alone, which gets nothing but a number: written before it is installed, read by it. */
static struct termios at_start;

/* Async-signal-safe calls only (signal-safety(7)). The signal comes again when this returns, with its default action. */
static void on_fatal(int number)
{
    int error = errno;

    if (tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &at_start);
    errno = error;
    raise(number);
}

/* A sanitizer or a tool that has a handler of its own keeps it. */
static void guard(const struct termios *before)
{
    const struct sigaction action = { .sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND };
    struct sigaction old;

    at_start = *before;
    for (unsigned i = 0; i < VM_ARRAY_SIZE(fatal); i++)
        if (!sigaction(fatal[i], NULL, &old) && old.sa_handler == SIG_DFL)
            sigaction(fatal[i], &action, NULL);
}

static void unguard(void)
{
    const struct sigaction none = { .sa_handler = SIG_DFL };
    struct sigaction old;

    for (unsigned i = 0; i < VM_ARRAY_SIZE(fatal); i++)
        if (!sigaction(fatal[i], NULL, &old) && old.sa_handler == on_fatal)
            sigaction(fatal[i], &none, NULL);
}

void vmm_terminal_raw(struct terminal *t)
{
    struct termios raw;

    t->raw = false;
    /* A background job that changes the terminal would be stopped by SIGTTOU. */
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &t->before))
        return;
    guard(&t->before);
    raw = t->before;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* our own messages keep their line ends */
    t->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void vmm_terminal_restore(struct terminal *t)
{
    if (!t->raw)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
    t->raw = false;
    unguard();
}
