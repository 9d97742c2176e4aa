/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Starting, ending and reporting children; who dies with whom. */
#include "spawner_test.h"
#include "spawn.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <vmm/base/socket.h>
#include <vmm/base/util.h>

static void set_up(void)
{
    open_child();
    start_spawner(false);
}

static void set_up_foreign(void)
{
    open_child();
    start_spawner(true);
}

TestSuite(spawner, .init = set_up, .fini = end_spawner, .timeout = TEST_TIMEOUT);
TestSuite(foreign, .init = set_up_foreign, .fini = end_spawner, .timeout = TEST_TIMEOUT);

static bool process_exists(pid_t pid)
{
    char state[64];

    status_line(pid, "State", state, sizeof(state));
    return *state && *state != 'Z' && *state != 'X';
}

static void wait_until_gone(int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    cr_assert_eq(poll(&p, 1, (int)(DEADLINE_NS / 1000000)), 1, "it lives on");
}

/* ---- life ---- */

Test(spawner, a_child_is_started_and_its_exit_reported)
{
    struct kid kid = { 0 };

    kid_start_argument(&kid, "exit", "3", -1);
    step_until(&kid.ended, 1);

    cr_assert_eq(kid.started, 1);
    cr_assert_eq(kid.code, 0);
    cr_assert(WIFEXITED(kid.status) && WEXITSTATUS(kid.status) == 3, "%x", kid.status);
    kid_free(&kid);
}

Test(spawner, it_has_the_fds_it_was_given_and_no_environment)
{
    struct kid kid = { 0 };
    char text[256];

    setenv("SECRET", "1", 1);
    kid_start(&kid, "fds", -1);
    kid_text(&kid, text, sizeof(text));

    cr_assert_str_eq(text, "0 1 2 3 | 2 device");
    step_until(&kid.ended, 1);
    kid_free(&kid);
}

static void new_pipe_with(char byte, int fd[2])
{
    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    cr_assert_eq(write(fd[1], &byte, 1), 1);
}

/* The spawner has them at some low numbers, in this order: one of the rounds wants each where the other one is. */
Test(spawner, fds_change_places_without_overwriting_each_other)
{
    for (int low = 4; low < 20; low++) {
        char text[8], high_name[8], low_name[8];
        const char *argv[] = { "device", "bytes", high_name, low_name, NULL };
        struct vmm_child_config config = {
            .argv = argv, .binary_fd = child_binary, .ended = kid_ended, .fds = 4
        };
        struct kid kid = { 0 };
        int a[2], b[2], out[2];

        snprintf(high_name, sizeof(high_name), "%d", low + 1);
        snprintf(low_name, sizeof(low_name), "%d", low);
        new_pipe_with('a', a);
        new_pipe_with('b', b);
        cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
        config.fd = (struct vmm_child_fd[]){
            { a[0], low + 1 }, { b[0], low }, { out[1], 3 }, { STDERR_FILENO, 2 }
        };
        config.ctx = &kid;
        cr_assert_eq(vmm_child_start(spawner, &config, &kid.child), 0, "%s", vm_error_text());
        close(out[1]);
        kid.control = out[0];
        kid_text(&kid, text, sizeof(text));
        step_until(&kid.ended, 1);

        cr_assert_str_eq(text, "ab", "at %d: %s", low, text);
        kid_free(&kid);
        close(a[0]), close(a[1]), close(b[0]), close(b[1]);
    }
}

Test(spawner, only_what_is_refused_for_good_takes_the_pid_namespaces_away)
{
    cr_expect(vmm_spawn_refuses_pid(EPERM));
    cr_expect(vmm_spawn_refuses_pid(ENOSPC));
    cr_expect(vmm_spawn_refuses_pid(ENOSYS));
    cr_expect_not(vmm_spawn_refuses_pid(EAGAIN));
    cr_expect_not(vmm_spawn_refuses_pid(ENOMEM));
}

Test(spawner, kill_ends_a_child_with_sigkill)
{
    struct kid kid = { 0 };

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    vmm_child_kill(kid.child);
    step_until(&kid.ended, 1);

    cr_assert(WIFSIGNALED(kid.status) && WTERMSIG(kid.status) == SIGKILL, "%x", kid.status);
    vmm_child_kill(kid.child);
    kid_free(&kid);
}

Test(spawner, a_freed_child_ends_and_says_nothing)
{
    struct kid kid = { 0 };
    int pidfd;

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    pidfd = (int)syscall(SYS_pidfd_open, kid.pid, 0);
    vmm_child_free(kid.child);
    wait_until_gone(pidfd);
    vm_loop_step(loop, 0);

    cr_assert_eq(kid.ended, 0);
    close(pidfd);
    vm_close(&kid.control);
}

Test(spawner, what_cannot_run_is_an_error_with_its_reason)
{
    struct kid kid = { 0 };

    close(child_binary);
    child_binary = memfd_create("not a program", MFD_CLOEXEC);
    kid_start(&kid, "exit", -1);
    step_until(&kid.ended, 1);

    cr_assert_eq(kid.started, 0);
    cr_assert_eq(kid.code, -ENOEXEC, "%d", kid.code);
    cr_assert(strstr(kid.text, "execveat"), "%s", kid.text);
    kid_free(&kid);
}

Test(spawner, bad_requests_are_refused_at_once)
{
    const char *argv[] = { "x", NULL }, *none[] = { NULL };
    struct vmm_child_fd twice[] = { { 0, 5 }, { 1, 5 } }, high[] = { { 0, 256 } };
    struct vmm_child *child;

    struct vmm_child_config a = { .argv = argv, .fd = twice, .fds = 2, .binary_fd = -1 };
    struct vmm_child_config b = { .argv = argv, .fd = high, .fds = 1, .binary_fd = -1 };
    struct vmm_child_config c = { .argv = none, .binary_fd = -1 };
    const char *many[VMM_SPAWNER_ARGS_MAX + 2] = { NULL };

    for (int i = 0; i <= VMM_SPAWNER_ARGS_MAX; i++)
        many[i] = "x";
    struct vmm_child_config e = { .argv = many, .binary_fd = -1 };
    struct vmm_child_config d = { .argv = argv, .fds = 65, .binary_fd = -1 };

    cr_assert_eq(vmm_child_start(spawner, &a, &child), -EINVAL);
    cr_assert_eq(vmm_child_start(spawner, &b, &child), -EINVAL);
    cr_assert_eq(vmm_child_start(spawner, &c, &child), -EINVAL);
    cr_assert_eq(vmm_child_start(spawner, &d, &child), -E2BIG);
    cr_assert_eq(vmm_child_start(spawner, &e, &child), -E2BIG);
}

static size_t open_fds(const char *process)
{
    char path[64];
    size_t count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%s/fd", process);
    dir = opendir(path);
    cr_assert_not_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* The spawner is our only child. */
static pid_t spawner_pid(void)
{
    char path[64], text[64] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)syscall(SYS_gettid));
    f = fopen(path, "re");
    cr_assert_not_null(f);
    cr_assert_not_null(fgets(text, sizeof(text), f));
    fclose(f);
    return atoi(text);
}

static size_t children_of(pid_t pid)
{
    char path[64], text[256] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    if (!fgets(text, sizeof(text), f))
        *text = '\0';
    fclose(f);
    return strlen(text);
}

Test(spawner, a_hundred_starts_leave_no_fd_and_no_zombie)
{
    pid_t pid = spawner_pid();
    char process[32];
    size_t ours, theirs;

    snprintf(process, sizeof(process), "%d", pid);
    ours = open_fds("self");
    theirs = geteuid() ? 0 : open_fds(process);
    for (int i = 0; i < 100; i++) {
        struct kid kid = { 0 };

        kid_start_argument(&kid, "exit", "0", -1);
        step_until(&kid.ended, 1);
        cr_assert_eq(kid.code, 0, "%s", kid.text);
        kid_free(&kid);
    }

    cr_assert_eq(open_fds("self"), ours);
    cr_assert_eq(children_of(pid), 0);
    if (!geteuid())
        cr_assert_eq(open_fds(process), theirs, "%zu %zu", open_fds(process), theirs);
}

Test(spawner, requests_wait_in_a_bounded_queue_while_it_is_stopped)
{
    const char *argv[] = { "device", "exit", "0", NULL };
    struct vmm_child_config config = { .argv = argv,
                                       .binary_fd = child_binary,
                                       .ended = kid_ended };
    struct vmm_child *child[2000] = { 0 };
    struct kid kid = { 0 };
    int rc = 0, n = 0;

    config.ctx = &kid;
    kill(spawner_pid(), SIGSTOP);
    while (!rc && n < 2000)
        rc = vmm_child_start(spawner, &config, &child[n++]);
    cr_assert_eq(rc, -EAGAIN, "%d after %d", rc, n);
    kill(spawner_pid(), SIGCONT);
    step_until(&kid.ended, n - 1);

    for (int i = 0; i < n - 1; i++)
        vmm_child_free(child[i]);
}

/* ---- fds in flight (unix(7), ETOOMANYREFS) ---- */

/* Of a user that has no other processes: they would be counted, too. */
static void set_up_alone(void)
{
    open_child();
    become(0x7fa00000 + (uid_t)getpid());
    start_spawner(false);
}

static void limit_files(rlim_t soft)
{
    struct rlimit files;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = soft;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

/* From now on this process may send none. */
static void flood(int pair[2])
{
    int fd[100];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    for (size_t i = 0; i < VM_ARRAY_SIZE(fd); i++)
        fd[i] = child_binary; /* no socket: that would come back when the kernel finds the time */
    cr_assert_eq(vm_socket_send(pair[0], "x", 1, fd, VM_ARRAY_SIZE(fd), 0), 1);
    limit_files(VM_ARRAY_SIZE(fd) - 1);
}

static int refused;
static void count_refused(void *ctx, int code, int status)
{
    kid_ended(ctx, code, status);
    refused += code == -ETOOMANYREFS && strstr(vm_error_text(), "ulimit -n");
}

TestSuite(flood, .init = set_up_alone, .fini = end_spawner, .timeout = TEST_TIMEOUT);

Test(flood, a_process_that_cannot_be_asked_for_is_an_error_with_its_cure)
{
    const char *argv[] = { "device", "exit", "0", NULL };
    int pair[2];

    flood(pair);
    struct vmm_child_fd fd = { pair[0], 3 };
    struct vmm_child_config config = {
        .argv = argv, .fd = &fd, .fds = 1, .binary_fd = child_binary, .ended = kid_ended
    };
    struct vmm_child *child;

    cr_assert_eq(vmm_child_start(spawner, &config, &child), -ETOOMANYREFS);
    cr_assert(strstr(vm_error_text(), "ulimit -n"), "%s", vm_error_text());
    close(pair[0]);
    close(pair[1]);
    cr_assert_eq(vmm_child_start(spawner,
                                 &(struct vmm_child_config){ .argv = argv,
                                                             .binary_fd = child_binary,
                                                             .ended = kid_ended,
                                                             .ctx = &(struct kid){ 0 } },
                                 &child),
                 0, "%s", vm_error_text());
    vmm_child_free(child);
}

Test(flood, one_that_waited_in_the_queue_ends_unstarted)
{
    const char *argv[] = { "device", "exit", "0", NULL };
    struct vmm_child *child[2000] = { 0 };
    pid_t pid = spawner_pid();
    struct kid kid = { 0 };
    int rc = 0, n = 0, pair[2];
    struct vmm_child_fd fd = { child_binary, 3 };
    struct vmm_child_config config = {
        .argv = argv, .fd = &fd, .fds = 1, .binary_fd = -1, .ended = count_refused, .ctx = &kid
    };

    kill(pid, SIGSTOP);
    while (!rc && n < 2000)
        rc = vmm_child_start(spawner, &config, &child[n++]);
    cr_assert_eq(rc, -EAGAIN, "%d after %d", rc, n);
    flood(pair);
    kill(pid, SIGCONT);
    step_until(&kid.ended, n - 1);

    cr_assert_eq(refused, VMM_SPAWNER_QUEUE_MAX);
    for (int i = 0; i < n - 1; i++)
        vmm_child_free(child[i]);
    close(pair[0]);
    close(pair[1]);
}

/* ---- ends ---- */

Test(spawner, its_death_is_its_childrens_and_is_told)
{
    struct kid kid[3] = { 0 };
    int pidfd[3];

    for (int i = 0; i < 3; i++) {
        kid_start(&kid[i], "wait", -1);
        step_until(&kid[i].started, 1);
        pidfd[i] = (int)syscall(SYS_pidfd_open, kid[i].pid, 0);
    }
    kill(spawner_pid(), SIGKILL);
    for (int i = 0; i < 3; i++) {
        wait_until_gone(pidfd[i]);
        step_until(&kid[i].ended, 1);
        cr_assert_eq(kid[i].code, -EPIPE);
        kid_free(&kid[i]);
        close(pidfd[i]);
    }
    cr_assert_eq(vmm_spawner_ram(spawner, 4096, SECOND_NS), -EPIPE);
}

Test(spawner, its_free_ends_children_that_are_left)
{
    struct kid kid = { 0 };
    int pidfd;

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    pidfd = (int)syscall(SYS_pidfd_open, kid.pid, 0);
    vmm_spawner_free(spawner);
    spawner = NULL;

    wait_until_gone(pidfd);
    close(pidfd);
    vm_close(&kid.control);
}

/* A VMM in a process of its own, which tells the pids of its spawner and of a child. */
static void other_vmm(int fd)
{
    struct kid kid = { 0 };
    pid_t pids[2];

    start_spawner(false);
    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    pids[0] = spawner_pid();
    pids[1] = kid.pid;
    if (vm_write_full(fd, pids, sizeof(pids)))
        _exit(1);
    pause();
}

Test(spawner, the_vmms_death_is_the_spawners_and_the_childrens)
{
    struct vmm_spawner *our_spawner = spawner;
    struct vm_loop *our_loop = loop;
    int fd[2], pidfd[2], vmm;
    pid_t pids[2];

    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    vmm = fork();
    if (!vmm)
        other_vmm(fd[1]);
    close(fd[1]);
    cr_assert_eq(vm_read_full(fd[0], pids, sizeof(pids)), 0);
    for (int i = 0; i < 2; i++)
        pidfd[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
    kill(vmm, SIGKILL);
    waitpid(vmm, NULL, 0);
    spawner = our_spawner; /* counters_test.h: they may be shared */
    loop = our_loop;

    for (int i = 0; i < 2; i++) {
        wait_until_gone(pidfd[i]);
        close(pidfd[i]);
    }
    close(fd[0]);
}

/* ---- guest memory ---- */

Test(spawner, guest_memory_is_an_unlinked_file_on_a_tmpfs)
{
    int fd = vmm_spawner_ram(spawner, 8 << 20, DEADLINE_NS);
    struct statfs fs;
    struct stat st;
    char *at;

    cr_assert_geq(fd, 0, "%s", vm_error_text());
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 8 << 20);
    cr_assert_eq(st.st_nlink, 0);
    cr_assert_eq(fstatfs(fd, &fs), 0);
    cr_assert_eq(fs.f_type, 0x01021994 /* TMPFS_MAGIC */);
    cr_assert_eq(fs.f_blocks, 0, "it has a limit");
    at = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(at, MAP_FAILED);
    memset(at, 1, 8 << 20);
    munmap(at, 8 << 20);
    close(fd);
}

Test(spawner, no_guest_memory_of_no_bytes)
{
    int rc = vmm_spawner_ram(spawner, 0, DEADLINE_NS);

    cr_assert_eq(rc, -EINVAL);
}

/* ---- the outside one ---- */

Test(foreign, a_program_runs_in_the_namespaces_of_the_vmm)
{
    char ours[64] = "", theirs[64] = "", path[64], nnp[8];
    struct kid kid = { 0 };

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    snprintf(path, sizeof(path), "/proc/%d/ns/net", kid.pid);

    cr_assert_gt(readlink(path, theirs, sizeof(theirs) - 1), 0);
    cr_assert_gt(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1), 0);
    cr_assert_str_eq(theirs, ours);
    status_line(kid.pid, "NoNewPrivs", nnp, sizeof(nnp));
    cr_assert_str_eq(nnp, "1");
    kid_free(&kid);
}

static void set_up_foreign_with_few_files(void)
{
    open_child();
    limit_files(300);
    start_spawner(true);
    limit_files(400);
}

Test(foreign_files, a_program_may_have_as_many_files_open_as_the_vmm_when_it_was_started,
     .init = set_up_foreign_with_few_files, .fini = end_spawner)
{
    char path[64], line[128];
    struct kid kid = { 0 };
    int soft = 0;
    FILE *f;

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    snprintf(path, sizeof(path), "/proc/%d/limits", kid.pid);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    while (fgets(line, sizeof(line), f))
        (void)sscanf(line, "Max open files %d", &soft);
    fclose(f);

    cr_assert_eq(soft, 300);
    kid_free(&kid);
}

Test(foreign, it_makes_no_guest_memory)
{
    int rc = vmm_spawner_ram(spawner, 4096, DEADLINE_NS);

    cr_assert_eq(rc, -EINVAL);
}

Test(foreign, its_death_is_its_childrens_too)
{
    struct kid kid = { 0 };
    pid_t pid;

    kid_start(&kid, "wait", -1);
    step_until(&kid.started, 1);
    pid = kid.pid;
    kill(spawner_pid(), SIGKILL);
    step_until(&kid.ended, 1);
    for (int i = 0; i < 1000 && process_exists(pid); i++)
        poll(NULL, 0, 10);

    cr_assert_not(process_exists(pid));
    kid_free(&kid);
}

Test(spawner, memory_above_the_users_limit_of_file_sizes_is_an_error_and_not_its_end)
{
    struct rlimit limit = { 1 << 20, RLIM_INFINITY };

    end_spawner();
    open_child();
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 1 << 20;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    start_spawner(false);

    cr_assert_eq(vmm_spawner_ram(spawner, 2 << 20, DEADLINE_NS), -EFBIG, "%s", vm_error_text());
}

Test(spawner, a_memory_file_that_grows_takes_nothing_from_the_rest_of_it)
{
    int fd = vmm_spawner_ram(spawner, 1 << 20, DEADLINE_NS);
    char *ram;

    if (fd < 0)
        cr_skip_test("no tmpfs here");
    cr_assert_eq(fallocate(fd, 0, 1 << 20, 4 << 20), 0);
    ram = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(ram, 1, 1 << 20);

    cr_assert_eq(ram[(1 << 20) - 1], 1);
    munmap(ram, 1 << 20);
    close(fd);
}
