/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Running the program as a user would. */
#include "cli.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000, STEP_MS = 5, ARGUMENTS_MAX = 40 };

static char directory[64];

int cli_patience(void)
{
    const char *times = getenv("VMM_TEST_PATIENCE");

    return times && atoi(times) > 0 ? atoi(times) : 1;
}

static int deadline_ms(void)
{
    return DEADLINE_MS * cli_patience();
}

void cli_begin(void)
{
    strcpy(directory, "/tmp/vmm-cli-XXXXXX");
    cr_assert(mkdtemp(directory));
    cr_assert(!chdir(directory));
}

void cli_end(void)
{
    char command[96];

    cr_assert(!chdir("/"));
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

const char *cli_directory(void)
{
    return directory;
}

void cli_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    close(fd);
}

void cli_sparse(const char *path, off_t size)
{
    cli_file(path, "", 0);
    cr_assert(!truncate(path, size));
}

static void exec_vmm(const char *const arguments[])
{
    const char *argv[ARGUMENTS_MAX + 2] = { getenv("VMM_PROGRAM") };
    size_t n = 1;

    if (!argv[0])
        _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that ends in the middle leaves no machine behind */
    for (size_t i = 0; arguments[i] && n < ARGUMENTS_MAX; i++)
        argv[n++] = arguments[i];
    /* The user-mode emulator has no seccomp(2). */
    if (getenv("VMM_USER_EMULATOR") && n > 1 && !strcmp(argv[1], "device"))
        argv[n++] = "--disable-sandbox";
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static int status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t cli_start(const char *const arguments[])
{
    pid_t pid = fork();

    cr_assert(pid >= 0);
    if (!pid) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        exec_vmm(arguments);
    }
    return pid;
}

int cli_wait(pid_t pid)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int status;

    for (int ms = 0; ms < deadline_ms(); ms += STEP_MS) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status_code(status);
        nanosleep(&step, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 200;
}

static bool is_called(pid_t pid, const char *thread, const char *name)
{
    char path[64], comm[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%.12s/comm", pid, thread);
    file = fopen(path, "r");
    if (file && !fgets(comm, sizeof(comm), file))
        comm[0] = 0;
    if (file)
        fclose(file);
    comm[strcspn(comm, "\n")] = 0;
    return !strcmp(comm, name);
}

static pid_t thread_of(pid_t pid, const char *name)
{
    struct dirent *entry;
    pid_t found = 0;
    char path[64];
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    dir = opendir(path);
    cr_assert(dir);
    while (!found && (entry = readdir(dir)))
        if (is_called(pid, entry->d_name, name))
            found = atoi(entry->d_name);
    closedir(dir);
    return found;
}

pid_t cli_hold(pid_t pid, const char *name)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    pid_t thread;

    while (!(thread = thread_of(pid, name))) /* it names itself */
        nanosleep(&step, NULL);
    cr_assert(!ptrace(PTRACE_SEIZE, thread, NULL, NULL));
    cr_assert(!ptrace(PTRACE_INTERRUPT, thread, NULL, NULL));
    cr_assert_eq(waitpid(thread, NULL, __WALL), thread);
    return thread;
}

void cli_let_go(pid_t thread)
{
    cr_assert(!ptrace(PTRACE_DETACH, thread, NULL, NULL));
}

/* A process does not end for its parent before its threads did for their tracer. */
int cli_wait_held(pid_t pid, pid_t thread)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int ms = 0;

    for (; ms < deadline_ms() / 2 && !waitpid(thread, NULL, __WALL | WNOHANG); ms += STEP_MS)
        nanosleep(&step, NULL);
    if (ms >= deadline_ms() / 2) {
        kill(pid, SIGKILL);
        waitpid(thread, NULL, __WALL);
    }
    return cli_wait(pid);
}

void cli_stop(pid_t pid, const char *socket)
{
    struct cli_result r;

    CLI(&r, "stop", socket);
    if (r.code)
        kill(pid, SIGKILL);
    cli_wait(pid);
}

int cli_somebody_listens(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    bool answers;
    int fd;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    answers = !connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    close(fd);
    return answers;
}

/* Between bind(2) and listen(2) a socket is there and refuses. */
static bool is_there(const char *path)
{
    struct stat st;

    if (stat(path, &st) || !S_ISSOCK(st.st_mode))
        return !access(path, F_OK);
    return cli_somebody_listens(path);
}

int cli_wait_for(const char *path)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };

    for (int ms = 0; ms < deadline_ms() / 2; ms += STEP_MS) {
        if (is_there(path))
            return 0;
        nanosleep(&step, NULL);
    }
    return -1;
}

/* Reads both pipes until the child has closed them. False: time is up. */
static int collect(struct cli_result *r, int out, int err)
{
    struct pollfd p[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
    char *to[2] = { r->out, r->err };
    size_t len[2] = { 0, 0 };
    int open_count = 2;

    while (open_count) {
        if (poll(p, 2, deadline_ms()) <= 0)
            return 0;
        for (int i = 0; i < 2; i++) {
            char chunk[4096];
            ssize_t n;

            if (p[i].fd < 0 || !p[i].revents)
                continue;
            n = read(p[i].fd, chunk, sizeof(chunk));
            if (n <= 0) {
                p[i].fd = -1;
                open_count--;
                continue;
            }
            if (i == 0)
                r->out_len += (size_t)n;
            for (ssize_t j = 0; j < n && len[i] + 1 < sizeof(r->out); j++)
                to[i][len[i]++] = chunk[j];
        }
    }
    return 1;
}

void cli_run(struct cli_result *r, const char *const arguments[])
{
    int out[2], err[2], in_time;
    pid_t pid;

    memset(r, 0, sizeof(*r));
    cr_assert(!pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC));
    pid = fork();
    cr_assert(pid >= 0);
    if (!pid) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        exec_vmm(arguments);
    }
    close(out[1]);
    close(err[1]);
    in_time = collect(r, out[0], err[0]);
    if (!in_time)
        kill(pid, SIGKILL);
    r->code = cli_wait(pid);
    if (!in_time)
        r->code = 200;
    close(out[0]);
    close(err[0]);
}

const char *cli_why_not(void)
{
    if (getenv("VMM_USER_EMULATOR"))
        return "the user-mode emulator does not pass KVM on to the kernel";
    return access("/dev/kvm", R_OK | W_OK) ? "no access to /dev/kvm" : NULL;
}

int cli_has_kvm(void)
{
    return !cli_why_not();
}
