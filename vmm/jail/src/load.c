/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Loads filters, and says which system call one refused. */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/jail/filter.h>

#include "names.h"

enum { WHO_MAX = 48 };

/* Of the thread, like the text of its errors: a signal handler has nothing else to find it by. */
static _Thread_local char thread_who[WHO_MAX];

int vmm_jail_load(const struct vmm_jail_program *program, bool all_threads)
{
    /* The kernel copies it; its prototype has no const. */
    struct sock_fprog prog = { .len = (unsigned short)program->count,
                               .filter = (struct sock_filter *)program->insn };
    long rc;

    if (program->count > BPF_MAXINSNS)
        return vm_fail(-EINVAL, "seccomp: a program of %u instructions", program->count);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return vm_fail_errno("no_new_privs");
    rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0,
                 &prog);
    if (rc > 0)
        return vm_fail(
            -EBUSY,
            "seccomp: thread %ld has a filter of its own: load the one for all threads before it",
            rc);
    return rc ? vm_fail_errno("seccomp: the filter is not accepted") : 0;
}

/* ---- who was refused what ---- */

struct line {
    char text[256];
    size_t len;
};

static void add(struct line *line, const char *text)
{
    while (*text && line->len < sizeof(line->text) - 1)
        line->text[line->len++] = *text++;
}

static void add_number(struct line *line, unsigned n)
{
    char digit[2] = { (char)('0' + n % 10), 0 };

    if (n >= 10)
        add_number(line, n / 10);
    add(line, digit);
}

/* The handler that was there before, for a signal is the process's: it gives a terminal back. Written before ours is installed. */
static void (*before)(int signal_number);

/* Async-signal-safe: no stdio, no memory. It ends by a call that no filter of ours allows: SIGSYS is blocked in here, and a
 * forced signal that is blocked kills with its default action, so that the parent sees SIGSYS. Without a filter (somebody
 * sent the signal) reboot() with wrong magic numbers fails and changes nothing, and the process ends by exit code. */
static void refused(int signal_number, siginfo_t *info, void *context)
{
    struct line line = { .len = 0 };

    (void)context;
    add(&line, "vmm: ");
    add(&line, *thread_who ? thread_who : "a thread");
    add(&line, ": its seccomp filter refused the system call ");
    add(&line, vmm_jail_name(info->si_syscall));
    add(&line, " (");
    add_number(&line, (unsigned)info->si_syscall);
    add(&line, "): an attack, or a row is missing: --seccomp=log shows all calls, "
               "--seccomp-policy-dir adds rows\n");
    if (write(STDERR_FILENO, line.text, line.len) < 0) {
        /* nobody is there to be told */
    }
    if (before)
        before(signal_number);
    syscall(SYS_reboot, 0, 0, 0, 0);
    _exit(128 + signal_number);
}

int vmm_jail_report(const char *who)
{
    static bool installed; /* by another thread */
    struct sigaction act = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO }, old;

    snprintf(thread_who, sizeof(thread_who), "%s", who);
    if (__atomic_load_n(&installed, __ATOMIC_RELAXED))
        return 0;
    sigemptyset(&act.sa_mask);
    if (sigaction(SIGSYS, NULL, &old))
        return vm_fail_errno("sigaction(SIGSYS)");
    /* Two threads may come here at once: ours is not what was there before. */
    if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
        __atomic_store_n(&before, old.sa_handler, __ATOMIC_RELAXED);
    if (sigaction(SIGSYS, &act, NULL))
        return vm_fail_errno("sigaction(SIGSYS)");
    __atomic_store_n(&installed, true, __ATOMIC_RELAXED);
    return 0;
}

void vmm_jail_explain_status(int wait_status, char *ret_text, size_t size)
{
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGSYS)
        snprintf(ret_text, size,
                 "killed by SIGSYS: its seccomp filter refused a system call (--seccomp=trap names "
                 "it, --seccomp=log shows all)");
    else if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGBUS)
        snprintf(
            ret_text, size,
            "killed by SIGBUS: a file that it had mapped (guest memory, say) was cut short, or "
            "the host had no page left");
    else if (WIFSIGNALED(wait_status))
        snprintf(ret_text, size, "killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(ret_text, size, "exit code %d", WEXITSTATUS(wait_status));
}
