/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Tests of code that another thread may cut into anywhere: a child process runs it, and its parent
 * stops it after each single instruction (ptrace(2)) to do, or to make it do, what the other thread
 * would. So every place is tried, each time, and nothing depends on luck.
 */
#ifndef TESTS_SUPPORT_STEPPING_H
#define TESTS_SUPPORT_STEPPING_H

#include <criterion/criterion.h>

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The thread sanitizer runs signal handlers when it likes, not where the child stands. */
#if defined(__SANITIZE_THREAD__)
#define STEPPING_LATE_SIGNALS true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STEPPING_LATE_SIGNALS true
#endif
#endif
#ifndef STEPPING_LATE_SIGNALS
#define STEPPING_LATE_SIGNALS false
#endif

/* Zeroed memory at the same address in parent and child. */
static inline void *stepping_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(memory, MAP_FAILED);
    return memory;
}

/* Starts run(arg) in a child, which stops itself by raise(SIGSTOP) where the steps begin; returns
 * when it has done so for the first time. */
static inline pid_t stepping_start(void (*run)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        /* A failed assertion ends the parent: no stopped child may stay behind it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || ptrace(PTRACE_TRACEME, 0, NULL, NULL))
            _exit(1);
        run(arg);
        _exit(2);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        cr_skip("ptrace(2) is not allowed here");
    return pid;
}

static inline void stepping_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* The state letter of proc(5): 'S' sleeps in a system call. */
static inline char stepping_state(pid_t pid)
{
    char path[40], line[200] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(line, sizeof(line), file));
    fclose(file);
    const char *name_end = strrchr(line, ')');
    return name_end ? name_end[2] : '?';
}

/* Lets it go on, for one instruction (PTRACE_SINGLESTEP) or to its next raise(SIGSTOP)
 * (PTRACE_CONT), with a signal or 0. False: it has gone to sleep instead. */
static inline bool stepping_go(pid_t pid, int how, long signo)
{
    int status, tries = 0;

    cr_assert_eq(ptrace(how, pid, NULL, signo), 0);
    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (++tries > 20 && stepping_state(pid) == 'S') /* looking is dear, a step is short */
            return false;
        sched_yield();
    }
    cr_assert(WIFSTOPPED(status));
    return true;
}

#endif
