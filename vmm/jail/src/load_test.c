/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Filters in this kernel: what a process meets that loads one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/jail/filter.h>
#include <vmm/jail/rows.h>

#include "counters_test.h"

static void needs_seccomp(void)
{
    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has no seccomp");
    share_counters();
}

TestSuite(load, .init = needs_seccomp);

static const struct vm_jail_rule few[] = {
    VM_JAIL("write"),
    VM_JAIL("exit_group"),
    VM_JAIL("ioctl", VM_JAIL_IS(1, KVM_RUN)),
    VM_JAIL_ERRNO("getppid", ENOTNAM),
    { 0 },
};

static struct vmm_jail_program *make(enum vmm_jail_action action)
{
    struct vmm_jail_program *program;
    struct vmm_jail_filter *filter;

    cr_assert_eq(vmm_jail_filter_new("test", &filter), 0);
    cr_assert_eq(vmm_jail_filter_add(filter, "few", few), 0);
    cr_assert_eq(vmm_jail_filter_compile(filter, vmm_jail_arch_native(), action, &program), 0);
    vmm_jail_filter_free(filter);
    return program;
}

/* Runs act in a child with a filter; what it writes to standard error goes to text. */
static int status_of(enum vmm_jail_action action, const char *who, void (*act)(void),
                     char text[512])
{
    struct vmm_jail_program *program = make(action);
    int pipe_fd[2], status = 0;
    ssize_t n, len = 0;
    pid_t pid;

    cr_assert_eq(pipe(pipe_fd), 0);
    pid = fork();
    if (!pid) {
        dup2(pipe_fd[1], STDERR_FILENO);
        if ((who && vmm_jail_report(who)) || vmm_jail_load(program, false))
            _exit(99);
        act();
        syscall(SYS_exit_group, 0);
    }
    close(pipe_fd[1]);
    while ((n = vm_read(pipe_fd[0], text + len, (size_t)(511 - len))) > 0)
        len += n;
    text[len] = '\0';
    close(pipe_fd[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    free(program);
    return status;
}

static void nothing(void)
{
}

static void call_getpid(void)
{
    syscall(SYS_getpid);
}

static void wrong_ioctl(void)
{
    syscall(SYS_ioctl, 0, FIONREAD, 0);
}

static void right_ioctl(void)
{
    syscall(SYS_ioctl, -1, KVM_RUN, 0);
}

static void errno_row(void)
{
    errno = 0;
    if (syscall(SYS_getppid) != -1 || errno != ENOTNAM)
        syscall(SYS_exit_group, 7);
}

Test(load, what_rows_allow_goes_on)
{
    char text[512];

    cr_assert_eq(status_of(VMM_JAIL_KILL, NULL, nothing, text), 0);
    cr_assert_eq(status_of(VMM_JAIL_KILL, NULL, right_ioctl, text), 0);
}

Test(load, kill_ends_the_process_by_sigsys)
{
    char text[512], why[200];
    int status = status_of(VMM_JAIL_KILL, "virtio-rng rng0", call_getpid, text);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x", status);
    cr_assert_str_empty(text);
    vmm_jail_explain_status(status, why, sizeof(why));
    cr_assert(strstr(why, "--seccomp=trap names it"), "%s", why);
}

Test(load, an_argument_that_no_row_has_ends_it_too)
{
    char text[512];
    int status = status_of(VMM_JAIL_KILL, NULL, wrong_ioctl, text);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x", status);
}

Test(load, trap_names_the_call_and_who_and_ends_by_sigsys)
{
    char text[512];
    int status = status_of(VMM_JAIL_TRAP, "virtio-rng rng0", call_getpid, text);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x", status);
    cr_assert(
        strstr(text, "vmm: virtio-rng rng0: its seccomp filter refused the system call getpid ("),
        "%s", text);
    cr_assert(strstr(text, "--seccomp-policy-dir adds rows\n"), "%s", text);
}

Test(load, log_lets_the_call_pass)
{
    char text[512];

    cr_assert_eq(status_of(VMM_JAIL_LOG, "x", call_getpid, text), 0);
}

Test(load, an_errno_row_refuses_and_goes_on)
{
    char text[512];

    cr_assert_eq(status_of(VMM_JAIL_KILL, NULL, errno_row, text), 0);
}

Test(load, other_ends_are_explained)
{
    char why[200];

    vmm_jail_explain_status(3 << 8, why, sizeof(why));
    cr_assert_str_eq(why, "exit code 3");
    vmm_jail_explain_status(SIGKILL, why, sizeof(why));
    cr_assert_str_eq(why, "killed by signal 9 (Killed)");
    vmm_jail_explain_status(SIGBUS, why, sizeof(why));
    cr_assert(strstr(why, "killed by SIGBUS: a file that it had mapped"));
}

/* ---- threads ---- */

static int filter_mode(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
}

struct other_thread {
    pthread_barrier_t before, after;
    int mode;
};

static void *look(void *arg)
{
    struct other_thread *t = arg;

    pthread_barrier_wait(&t->before);
    pthread_barrier_wait(&t->after);
    t->mode = filter_mode();
    return NULL;
}

/* In a child, for what checks memory at the end of a test cannot work under a filter. Log: all calls go on. The exit code is
 * the other thread's mode. */
static int load_beside(const struct vmm_jail_program *program, bool all_threads)
{
    struct other_thread t = { .mode = -1 };
    pthread_t thread;

    pthread_barrier_init(&t.before, NULL, 2);
    pthread_barrier_init(&t.after, NULL, 2);
    if (pthread_create(&thread, NULL, look, &t))
        return 99;
    pthread_barrier_wait(&t.before);
    if (vmm_jail_load(program, all_threads) || filter_mode() != 2)
        return 98;
    pthread_barrier_wait(&t.after);
    pthread_join(thread, NULL);
    return t.mode;
}

static int mode_of_other_thread(bool all_threads)
{
    struct vmm_jail_program *program = make(VMM_JAIL_LOG);
    int status = -1;
    pid_t pid = fork();

    if (!pid)
        _exit(load_beside(program, all_threads));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    free(program);
    return status >> 8;
}

Test(load, a_filter_is_the_calling_threads)
{
    int mode = mode_of_other_thread(false);

    cr_assert_eq(mode, 0);
}

Test(load, or_all_threads)
{
    int mode = mode_of_other_thread(true);

    cr_assert_eq(mode, 2);
}
