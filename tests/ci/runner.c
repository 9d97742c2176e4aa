/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Runs Criterion tests without Criterion's library, where that is of no use: with the thread sanitizer (it puts its arena
 * where the sanitizer has its shadow memory, and ends before the first test), and in the user-mode emulator (for each test
 * it starts the program anew with twenty shared libraries). The tests are compiled with Criterion's own headers,
 * which leave a pointer per test in section cr_tst and per suite in cr_sts; what they call at run time is here.
 * Each test runs in a child of a process with a single thread. Of Criterion's features: init, fini, signal, exit_code,
 * disabled, timeout, of test and suite. Arguments are ignored, but --filter=SUITE/TEST (fnmatch) and --verbose: a line for
 * each test that passes, too. */
#include <criterion/criterion.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S   240 /* for a test that names none: a deadlock shall end, too */
#define EXIT_FAILED 65
#define EXIT_SKIP   77

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

static const struct criterion_test *running;
static const struct criterion_suite *running_suite;
static jmp_buf test_end;
static bool failed;

static const struct criterion_suite *suite_of(const struct criterion_test *test)
{
    for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
        if (*s && !strcmp((*s)->name, test->category))
            return *s;
    return NULL;
}

void criterion_internal_test_setup(void)
{
    if (running_suite && running_suite->data->init)
        running_suite->data->init();
    if (running->data->init)
        running->data->init();
}

void criterion_internal_test_main(void (*fn)(void))
{
    if (!setjmp(test_end))
        fn();
}

void criterion_internal_test_teardown(void)
{
    if (running->data->fini)
        running->data->fini();
    if (running_suite && running_suite->data->fini)
        running_suite->data->fini();
}

void criterion_abort_test(void)
{
    longjmp(test_end, 1);
}

/* After a failed cr_expect: criterion_send_assert() has noted it. */
void criterion_continue_test(void)
{
}

void criterion_skip_test(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "SKIPPED %s/%s: ", running->category, running->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_SKIP);
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed)
        return;
    failed = true;
    fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line, stats->message);
}

void cri_asserts_passed_incr(void)
{
}

char *cr_translate_assert_msg(int index, ...)
{
    const char *what;
    va_list args;

    va_start(args, index);
    what = va_arg(args, const char *);
    va_end(args);
    return strdup(*what ? what : "failed");
}

int cr_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(ret_text, format, args);
    va_end(args);
    return length;
}

void cr_asprintf_free(char *text)
{
    free(text);
}

/* How many times longer than on real hardware a test may take. */
static unsigned patience(void)
{
    const char *times = getenv("VMM_TEST_PATIENCE");

    return times && atoi(times) > 0 ? (unsigned)atoi(times) : 1;
}

/* exit() and not _exit(): the sanitizer reports at exit. */
static void child(const struct criterion_test *test)
{
    double timeout = test->data->timeout;

    running = test;
    running_suite = suite_of(test);
    if (timeout <= 0 && running_suite)
        timeout = running_suite->data->timeout;
    alarm((timeout > 0 ? (unsigned)timeout + 1 : TIMEOUT_S) * patience());
    test->test();
    exit(failed ? EXIT_FAILED : 0);
}

/* 0 passed, 1 failed, 2 skipped. */
static int run(const struct criterion_test *test)
{
    const struct criterion_suite *suite = suite_of(test);
    int status = 0;
    pid_t pid;

    if (test->data->disabled || (suite && suite->data->disabled))
        return 2;
    fflush(NULL);
    pid = fork();
    if (!pid)
        child(test);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP)
        return 2;
    if (test->data->signal)
        return !WIFSIGNALED(status) || WTERMSIG(status) != test->data->signal;
    return !WIFEXITED(status) || WEXITSTATUS(status) != test->data->exit_code;
}

int main(int argc, char **argv)
{
    const char *filter = "*";
    bool verbose = false;
    int count[3] = { 0 };
    char name[512];

    for (int i = 1; i < argc; i++) {
        verbose |= !strcmp(argv[i], "--verbose");
        if (!strncmp(argv[i], "--filter=", 9))
            filter = argv[i] + 9;
    }
    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
        if (!*t)
            continue;
        snprintf(name, sizeof(name), "%s/%s", (*t)->category, (*t)->name);
        if (fnmatch(filter, name, 0))
            continue;
        int result = run(*t);
        count[result]++;
        if (result == 1)
            fprintf(stderr, "FAILED %s\n", name);
        else if (!result && verbose)
            fprintf(stderr, "PASSED %s\n", name);
    }
    printf("%d passed, %d failed, %d skipped\n", count[0], count[1], count[2]);
    return count[1] || !count[0];
}
