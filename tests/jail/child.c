/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * jail-child MODE [ARGUMENT]: a device process of the tests. fd 3 is its control socket or pipe, fd 4 its profile.
 *   exit N        ends with code N
 *   wait          waits for the end of fd 3
 *   bytes A B     writes a byte read from fd A and one from fd B to fd 3
 *   fds           writes the numbers of its open fds, environment and arguments to fd 3
 *   jail          enters the jail, narrows it, writes struct vmm_jail_result to fd 3 and waits for its end
 *   blocked       enters, then makes a call that no row has
 *   escapes PID   enters, narrows, then tries every way out and writes a line each to fd 3: NAME|what became of it
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/jail/profile.h>
#include <vmm/jail/stages.h>

#include "escapes.h"

enum { CONTROL = 3, PROFILE = 4 };

extern char **environ;

static int fail(void)
{
    dprintf(STDERR_FILENO, "jail-child: %s\n", vm_error_text());
    return 1;
}

static int wait_for_end(void)
{
    char byte;

    while (vm_read(CONTROL, &byte, 1) > 0) {
        /* until nobody holds the other end */
    }
    return 0;
}

static int enter(struct vmm_jail_result *result)
{
    struct vmm_jail_profile profile;
    int rc = vmm_jail_profile_read(PROFILE, &profile);

    if (!rc)
        rc = vmm_jail_enter(&profile, result);
    if (!rc)
        rc = vmm_jail_narrow(&profile);
    return rc;
}

static int show_fds(int argc, char *argv[])
{
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            dprintf(CONTROL, "%d ", fd);
    for (char **e = environ; *e; e++)
        dprintf(CONTROL, "%s ", *e);
    dprintf(CONTROL, "| %d %s", argc, argv[0]);
    return 0;
}

static int show_bytes(char *argv[])
{
    char byte[2];

    if (vm_read_full(atoi(argv[0]), &byte[0], 1) || vm_read_full(atoi(argv[1]), &byte[1], 1))
        return fail();
    return vm_write_full(CONTROL, byte, sizeof(byte)) ? 1 : 0;
}

static int show_jail(void)
{
    struct vmm_jail_result result = { 0 };

    if (enter(&result))
        return fail();
    if (vm_write_full(CONTROL, &result, sizeof(result)))
        return 1;
    return wait_for_end();
}

/* ---- hostile ---- */

static void say(const char *name, const char *what)
{
    char line[160];

    snprintf(line, sizeof(line), "%s|%s\n", name, what);
    if (vm_write_full(CONTROL, line, strlen(line)))
        _exit(1);
}

static jmp_buf caught;

/* Not by returning: rt_sigreturn is not allowed. */
static void on_trap(int signal_number)
{
    (void)signal_number;
    longjmp(caught, 1);
}

static void catch_traps(void)
{
    struct sigaction act = { .sa_handler = on_trap, .sa_flags = SA_NODEFER };

    sigaction(SIGSYS, &act, NULL);
}

static void try_escape(const struct escape *escape, int pid)
{
    char what[64];
    int rc;

    if (setjmp(caught)) {
        say(escape->name, "filter");
        return;
    }
    rc = escape->try(pid);
    if (rc)
        snprintf(what, sizeof(what), "errno %d", -rc);
    else
        snprintf(what, sizeof(what), "%s", escape->filter_only ? "worked, as expected" : "WORKED");
    say(escape->name, what);
}

static int try_escapes(int pid)
{
    struct vmm_jail_result result = { 0 };
    struct vmm_jail_profile profile;

    if (vmm_jail_profile_read(PROFILE, &profile) || vmm_jail_enter(&profile, &result))
        return fail();
    catch_traps(); /* a hostile process goes on after it was caught */
    if (vmm_jail_narrow(&profile))
        return fail();
    for (size_t i = 0; i < escape_count; i++)
        try_escape(&escapes[i], pid);
    _exit(
        0); /* what is done at an end (counters are written) would be refused, and go on where the last escape was caught */
}

static int blocked(void)
{
    struct vmm_jail_result result = { 0 };

    if (enter(&result))
        return fail();
    syscall(SYS_getcwd, NULL, 0);
    return 0;
}

int main(int argc, char *argv[])
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (!strcmp(mode, "exit") && argc > 2)
        return atoi(argv[2]);
    if (!strcmp(mode, "wait"))
        return wait_for_end();
    if (!strcmp(mode, "bytes") && argc > 3)
        return show_bytes(argv + 2);
    if (!strcmp(mode, "fds"))
        return show_fds(argc, argv);
    if (!strcmp(mode, "jail"))
        return show_jail();
    if (!strcmp(mode, "blocked"))
        return blocked();
    if (!strcmp(mode, "escapes") && argc > 2)
        return try_escapes(atoi(argv[2]));
    return 2;
}
