/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Measures one run of a program in the emulated host, where one instruction is one nanosecond:
 *
 *     measure cost NAME OUTPUT COMMAND...
 *         "@cost NAME N": instructions of all it did, from exec to exit, in user space, kernel and
 *         guest (cpu.stat of a control group of its own)
 *     measure calls NAME OUTPUT COMMAND...
 *         "@calls NAME N": its system calls, of all threads and children
 *     measure memory NAME OUTPUT MIB COMMAND...
 *         "@memory NAME N": KiB of all its processes without guest RAM (mappings of half of MIB and more), once
 *         its output says @ready; what several of them share is counted once. Then it is killed. And for each process
 *         "@process NAME/COMM PRIVATE TABLES": KiB that it shares with nobody, without guest RAM, and of page tables
 *     measure wakes NAME OUTPUT SECONDS COMMAND...
 *         "@wakes NAME N": how often a thread of its processes began to run in so many seconds of an idle guest, once its output says
 *         @ready; those that run the guest (in KVM_RUN) are not counted. Then it is killed. And "@woken NAME/COMM N" of each that did
 *
 * OUTPUT gets what the program prints; a guest's panic in it is a failure. The control group is made below /cg (cgroup2). A program
 * that fails, or is not done after 5 s (of the host's time), is named by its status.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/kvm.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_MS = 8000,
    READY_LATE_MS = 60000 /* of the host's own time */,
    SETTLED_MS = 1500,
    PATIENCE_S = 5,
    STEP_MS = 50
};

static const char group[] = "/cg/measured";

static void put(const char *file, const char *text)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", group, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        perror(path);
    close(fd);
}

static uint64_t usage_us(void)
{
    unsigned long long us = 0;
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/cpu.stat", group);
    f = fopen(path, "re");
    if (!f || fscanf(f, "usage_usec %llu", &us) != 1)
        perror(path);
    if (f)
        fclose(f);
    return us;
}

static pid_t start(const char *output, char **command, int traced)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(open(output, O_WRONLY | O_CREAT | O_TRUNC, 0644), 1);
    dup2(1, 2);
    for (int fd = 3; fd < 16; fd++)
        close(fd);
    put("cgroup.procs", "0");
    if (traced)
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execv(command[0], command);
    perror(command[0]);
    _exit(127);
}

static void report(const char *what, const char *name, uint64_t value, int status)
{
    printf("@%s %s %llu", what, name, (unsigned long long)value);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        printf(" status=%d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    printf("\n");
}

static int says(const char *output, const char *what)
{
    static char text[1 << 16];
    int fd = open(output, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    close(fd);
    if (n <= 0)
        return 0;
    return memmem(text, (size_t)n, what, strlen(what)) != NULL;
}

static void give_up(int signal)
{
    (void)signal;
    put("cgroup.kill", "1");
}

static void cost(const char *name, const char *output, char **command)
{
    int status = 0;
    pid_t pid = start(output, command, 0);

    signal(SIGALRM, give_up);
    alarm(PATIENCE_S);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    /* A guest that dies early would be the cheapest of all. */
    if (!status && says(output, "Kernel panic"))
        status = 1 << 8;
    report("cost", name, usage_us() * 1000, status);
}

/* One stop of one thread; true if it is the entry of a system call. */
static int calls_stop(pid_t pid, int status, int *inside)
{
    int signal = WSTOPSIG(status), deliver = 0, entered = 0;

    if (signal == (SIGTRAP | 0x80)) {
        entered = !*inside;
        *inside = !*inside;
    } else if (status >> 16 == 0 && signal != SIGTRAP && signal != SIGSTOP) {
        deliver = signal;
    }
    ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)deliver);
    return entered;
}

static void calls(const char *name, const char *output, char **command)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                         PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
    static int inside[1 << 16];
    pid_t first = start(output, command, 1), pid;
    int status, end = 0;
    uint64_t count = 1; /* the exec itself: its entry was before the first stop */

    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, NULL, (void *)options);
    ptrace(PTRACE_SYSCALL, first, NULL, NULL);
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFSTOPPED(status))
            count += (uint64_t)calls_stop(pid, status, &inside[pid & 0xffff]);
        else if (pid == first)
            end = status;
    }
    report("calls", name, count, end);
}

/* KiB of a process but for guest RAM: its share of what is shared (smaps' Pss), and what is its own alone. */
struct usage {
    uint64_t share, own;
};

/* Not counted: mappings of at least limit_kb, and the one right below such a one where the first pages of RAM were given
 * advice of their own. */
static struct usage usage_of(pid_t pid, unsigned long limit_kb)
{
    unsigned long from, to, below = 0, size = 0, kb;
    struct usage sum = { 0, 0 }, last = { 0, 0 };
    char line[512], mode[5], path[256];
    bool ours = false, adjoins = false;
    FILE *f;

    snprintf(line, sizeof(line), "/proc/%d/smaps", pid);
    f = fopen(line, "re");
    while (f && fgets(line, sizeof(line), f)) {
        int n = sscanf(line, "%lx-%lx %4s %*s %*s %*s %255s", &from, &to, mode, path);

        if (n >= 3) {
            adjoins = ours && from == below;
            ours = n == 3 && !strcmp(mode, "rw-p");
            below = to;
            size = (to - from) / 1024;
            if (size >= limit_kb && adjoins)
                sum.share -= last.share, sum.own -= last.own;
            last = (struct usage){ 0, 0 };
        } else if (size < limit_kb && sscanf(line, "Pss: %lu", &kb) == 1) {
            sum.share += kb;
            last.share += kb;
        } else if (size < limit_kb && sscanf(line, "Private_%*[^:]: %lu", &kb) == 1) {
            sum.own += kb;
            last.own += kb;
        }
    }
    if (f)
        fclose(f);
    return sum;
}

static void print_process(const char *name, pid_t pid, uint64_t own)
{
    char line[256], comm[32] = "?";
    unsigned long tables = 0;
    FILE *f;

    snprintf(line, sizeof(line), "/proc/%d/status", pid);
    f = fopen(line, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Name: %31s", comm) != 1)
            sscanf(line, "VmPTE: %lu", &tables);
    if (f)
        fclose(f);
    printf("@process %s/%s %llu %lu\n", name, comm, (unsigned long long)own, tables);
}

static void wait_for_idle(const char *output, int patience_ms, int *ret_status)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int ms;

    for (ms = 0; ms < patience_ms && !says(output, "@ready"); ms += STEP_MS)
        nanosleep(&step, NULL);
    for (int settled = 0; settled < SETTLED_MS; settled += STEP_MS)
        nanosleep(&step, NULL);
    *ret_status = ms < patience_ms ? 0 : 1 << 8;
}

static void memory(const char *name, const char *output, unsigned long mib, char **command)
{
    pid_t pid = start(output, command, 0);
    uint64_t kb = 0;
    char path[128];
    int member, status;
    FILE *f;

    wait_for_idle(output, READY_MS, &status);
    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    f = fopen(path, "re");
    while (f && fscanf(f, "%d", &member) == 1) {
        struct usage usage = usage_of(member, mib * 512);

        kb += usage.share;
        print_process(name, member, usage.own);
    }
    if (f)
        fclose(f);
    put("cgroup.kill", "1");
    waitpid(pid, NULL, 0);
    report("memory", name, kb, status);
}

/* proc(5): the system call that a thread waits in, and its arguments; ioctl's second one is the request. */
static bool runs_a_guest(const char *task)
{
    char path[400];
    unsigned long request = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/syscall", task);
    f = fopen(path, "re");
    if (f && fscanf(f, "%*s %*s %lx", &request) != 1)
        request = 0;
    if (f)
        fclose(f);
    return request == KVM_RUN;
}

static uint64_t switches_of(const char *task, char comm[32])
{
    unsigned long n, sum = 0;
    char line[400];
    FILE *f;

    snprintf(line, sizeof(line), "%s/status", task);
    f = fopen(line, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Name: %31s", comm) != 1 &&
            (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
             sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1))
            sum += n;
    if (f)
        fclose(f);
    return sum;
}

struct wakes {
    const char *name;
    uint64_t before[1 << 16]; /* by thread */
    uint64_t sum;
    bool tell;
};

static void look_at_task(struct wakes *w, const char *task, int tid)
{
    char comm[32] = "?";
    uint64_t now, *before = &w->before[tid & 0xffff];

    if (runs_a_guest(task))
        return;
    now = switches_of(task, comm);
    if (w->tell && now != *before)
        printf("@woken %s/%s %llu\n", w->name, comm, (unsigned long long)(now - *before));
    w->sum += now - *before;
    *before = now;
}

static void look_at_all(struct wakes *w)
{
    char path[320];
    int pid;
    FILE *f;

    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1) {
        struct dirent *entry;
        DIR *tasks;

        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        tasks = opendir(path);
        while (tasks && (entry = readdir(tasks)))
            if (*entry->d_name != '.') {
                snprintf(path, sizeof(path), "/proc/%d/task/%.16s", pid, entry->d_name);
                look_at_task(w, path, atoi(entry->d_name));
            }
        if (tasks)
            closedir(tasks);
    }
    if (f)
        fclose(f);
}

static void wakes(const char *name, const char *output, unsigned seconds, char **command)
{
    static struct wakes w;
    pid_t pid = start(output, command, 0);
    int status;

    wait_for_idle(output, READY_LATE_MS, &status);
    look_at_all(&w);
    w.name = name;
    w.tell = true;
    w.sum = 0;
    sleep(seconds);
    look_at_all(&w);
    put("cgroup.kill", "1");
    waitpid(pid, NULL, 0);
    report("wakes", name, w.sum, status);
}

int main(int argc, char **argv)
{
    int i;

    if (argc < 5 || (mkdir(group, 0755) && errno != EEXIST))
        return fprintf(stderr, "measure: see the head of measure.c\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(argv[1], "cost"))
        cost(argv[2], argv[3], argv + 4);
    else if (!strcmp(argv[1], "calls"))
        calls(argv[2], argv[3], argv + 4);
    else if (!strcmp(argv[1], "memory") && argc > 5)
        memory(argv[2], argv[3], strtoul(argv[4], NULL, 10), argv + 5);
    else if (!strcmp(argv[1], "wakes") && argc > 5)
        wakes(argv[2], argv[3], (unsigned)strtoul(argv[4], NULL, 10), argv + 5);
    for (i = 0; rmdir(group) && i < 100; i++) /* the last task may still be leaving */
        usleep(1000);
    return i == 100;
}
