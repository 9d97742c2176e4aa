/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a jailed process is, seen from outside in /proc, and from inside by one that wants out. As root and as another user. */
#include "spawner_test.h"

#include <ctype.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "stages_private.h"

static int profile_fd = -1;

static void start_jailed(struct kid *kid, bool filters, struct vmm_jail_result *result)
{
    profile_fd = make_profile(filters, VMM_JAIL_KILL);
    start_spawner(false);
    kid_start(kid, "jail", profile_fd);
    cr_assert_eq(vm_read_full(kid->control, result, sizeof(*result)), 0,
                 "the child did not come into its jail");
    step_until(&kid->started, 1);
}

static void set_up(void)
{
    open_child();
}

static void set_up_ordinary(void)
{
    open_child();
    become_ordinary();
}

static void tear_down(void)
{
    vm_close(&profile_fd);
    end_spawner();
}

TestSuite(root_jail, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);
TestSuite(user_jail, .init = set_up_ordinary, .fini = tear_down, .timeout = TEST_TIMEOUT);
TestSuite(poor_host, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);

static void namespace_of(const char *process, const char *which, char text[64])
{
    char path[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, which);
    n = readlink(path, text, 63);
    cr_assert_gt(n, 0, "%s: %s", path, strerror(errno));
    text[n] = '\0';
}

/* ---- from outside ---- */

static void check_status(pid_t pid)
{
    static const struct {
        const char *name, *value;
    } lines[] = {
        { "CapInh", "0000000000000000" },
        { "CapPrm", "0000000000000000" },
        { "CapEff", "0000000000000000" },
        { "CapBnd", "0000000000000000" },
        { "CapAmb", "0000000000000000" },
        { "NoNewPrivs", "1" },
        { "Seccomp", "2" },
        { "Seccomp_filters", "2" },
    };
    char text[128];

    for (size_t i = 0; i < VM_ARRAY_SIZE(lines); i++) {
        status_line(pid, lines[i].name, text, sizeof(text));
        cr_assert_str_eq(text, lines[i].value, "%s: %s", lines[i].name, text);
    }
    status_line(pid, "NSpid", text, sizeof(text));
    cr_assert(strchr(text, '\t') && !strcmp(strchr(text, '\t') + 1, "1"), "NSpid %s", text);
}

Test(root_jail, proc_status_shows_no_rights_and_two_filters)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };

    start_jailed(&kid, true, &result);

    check_status(kid.pid);
    kid_free(&kid);
}

Test(user_jail, proc_status_shows_no_rights_and_two_filters)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };

    start_jailed(&kid, true, &result);

    check_status(kid.pid);
    kid_free(&kid);
}

/* The spawner itself, too, has no way back. */
static void check_no_root_left(pid_t child)
{
    unsigned real, effective, saved;
    char text[128];

    status_line(child, "PPid", text, sizeof(text));
    status_line((pid_t)atoi(text), "Uid", text, sizeof(text));
    cr_assert_eq(sscanf(text, "%u %u %u", &real, &effective, &saved), 3);
    cr_assert(real && real == effective && real == saved, "%s", text);
}

Test(root_jail, its_user_is_nobodys_on_the_host)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };
    char text[128];

    if (geteuid())
        cr_skip_test("not root");
    start_jailed(&kid, true, &result);
    status_line(kid.pid, "Uid", text, sizeof(text));

    cr_assert_geq(atoi(text), 0x7fb00000, "%s", text);
    check_no_root_left(kid.pid);
    status_line(kid.pid, "Groups", text, sizeof(text));
    for (const char *c = text; *c; c++)
        cr_assert(isspace((unsigned char)*c), "%s", text);
    kid_free(&kid);
}

Test(root_jail, no_namespace_is_the_hosts)
{
    static const char *const which[] = { "user", "mnt", "net", "ipc", "uts", "pid" };
    char ours[64], theirs[64], process[16];
    struct vmm_jail_result result;
    struct kid kid = { 0 };

    start_jailed(&kid, true, &result);
    snprintf(process, sizeof(process), "%d", kid.pid);

    for (size_t i = 0; i < VM_ARRAY_SIZE(which); i++) {
        namespace_of("self", which[i], ours);
        namespace_of(process, which[i], theirs);
        cr_assert_str_neq(ours, theirs);
    }
    kid_free(&kid);
}

Test(root_jail, children_share_all_namespaces_but_that_of_pids)
{
    static const char *const shared[] = { "user", "mnt", "net", "ipc", "uts" };
    char a[64], b[64], process[2][16];
    struct vmm_jail_result result;
    struct kid kid[2] = { 0 };

    start_jailed(&kid[0], true, &result);
    kid_start(&kid[1], "wait", -1);
    step_until(&kid[1].started, 1);
    for (int i = 0; i < 2; i++)
        snprintf(process[i], sizeof(process[i]), "%d", kid[i].pid);

    for (size_t i = 0; i < VM_ARRAY_SIZE(shared); i++) {
        namespace_of(process[0], shared[i], a);
        namespace_of(process[1], shared[i], b);
        cr_assert_str_eq(a, b);
    }
    namespace_of(process[0], "pid", a);
    namespace_of(process[1], "pid", b);
    cr_assert_str_neq(a, b);
    kid_free(&kid[0]);
    kid_free(&kid[1]);
}

Test(root_jail, the_only_mount_is_an_empty_root_that_cannot_be_written)
{
    char path[64], line[512], more[512];
    struct vmm_jail_result result;
    struct kid kid = { 0 };
    FILE *f;

    start_jailed(&kid, true, &result);
    snprintf(path, sizeof(path), "/proc/%d/mountinfo", kid.pid);
    f = fopen(path, "re");

    cr_assert_not_null(f);
    cr_assert_not_null(fgets(line, sizeof(line), f));
    cr_assert(strstr(line, " / / ro,nosuid,nodev,noexec") && strstr(line, "- tmpfs jail "), "%s",
              line);
    cr_assert_null(fgets(more, sizeof(more), f), "%s", more);
    fclose(f);
    kid_free(&kid);
}

Test(root_jail, its_fds_are_those_it_was_given)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };
    char path[64];
    int count = 0;
    DIR *dir;

    if (geteuid())
        cr_skip_test("only root may look into a process that is not dumpable");
    start_jailed(&kid, true, &result);
    snprintf(path, sizeof(path), "/proc/%d/fd", kid.pid);
    dir = opendir(path);
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += isdigit((unsigned char)*e->d_name) && atoi(e->d_name) <= 4;

    cr_assert_eq(count, 5);
    rewinddir(dir);
    while (readdir(dir))
        count--;
    cr_assert_eq(count, -2, "others than 0 to 4, . and ..");
    closedir(dir);
    kid_free(&kid);
}

static void check_result(const struct vmm_jail_result *result, uint32_t wanted)
{
    for (unsigned s = 0; s < VMM_JAIL_STAGES; s++) {
        bool reached = result->reached & 1u << s;

        cr_assert(!(wanted & 1u << s) || reached, "%s: %s", vmm_jail_stage_name(s), result->why[s]);
    }
}

static const uint32_t outer = 1u << VMM_JAIL_USER | 1u << VMM_JAIL_MOUNT | 1u << VMM_JAIL_NET |
                              1u << VMM_JAIL_IPC | 1u << VMM_JAIL_UTS | 1u << VMM_JAIL_PID |
                              1u << VMM_JAIL_ROOT | 1u << VMM_JAIL_SESSION | 1u << VMM_JAIL_CAPS |
                              1u << VMM_JAIL_PRIVS;
static const uint32_t inner = 1u << VMM_JAIL_LIMITS | 1u << VMM_JAIL_CAPS | 1u << VMM_JAIL_PRIVS |
                              1u << VMM_JAIL_UNDUMPABLE | 1u << VMM_JAIL_LANDLOCK |
                              1u << VMM_JAIL_SECCOMP;

Test(root_jail, the_results_say_what_was_reached)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };
    char text[256];

    start_jailed(&kid, true, &result);

    check_result(vmm_spawner_result(spawner), outer);
    check_result(&result, inner);
    cr_assert_not(vmm_jail_result_missing(&result, text, sizeof(text)), "%s", text);
    kid_free(&kid);
}

Test(user_jail, the_results_say_what_was_reached)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };

    start_jailed(&kid, true, &result);

    check_result(vmm_spawner_result(spawner), outer);
    check_result(&result, inner);
    kid_free(&kid);
}

Test(root_jail, a_refused_call_names_device_and_call)
{
    int fd[2], saved = dup(STDERR_FILENO);
    struct kid kid = { 0 };
    char text[512] = "";
    ssize_t n;

    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    profile_fd = make_profile(true, VMM_JAIL_TRAP);
    start_spawner(false);
    dup2(fd[1], STDERR_FILENO);
    kid_start(&kid, "blocked", profile_fd);
    dup2(saved, STDERR_FILENO);
    step_until(&kid.ended, 1);
    n = vm_read(fd[0], text, sizeof(text) - 1);

    cr_assert_gt(n, 0);
    cr_assert(
        strstr(text, "vmm: virtio-test dev0: its seccomp filter refused the system call getcwd ("),
        "%s", text);
    cr_assert(WIFSIGNALED(kid.status) && WTERMSIG(kid.status) == SIGSYS, "%x", kid.status);
    kid_free(&kid);
    close(saved), close(fd[0]), close(fd[1]);
}

/* ---- from inside ---- */

/* What the outside has for it to find: a listening abstract socket, and this process, which SIGUSR1 would end. */
static int bait(void)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0vmm-jail-test" };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!bind(fd, (struct sockaddr *)&name, sizeof(sa_family_t) + 14))
        listen(fd, 64);
    return fd;
}

static void check_escapes(bool filters, enum vmm_jail_action action)
{
    int fd = bait(), lines = 0, refused = 0;
    struct kid kid = { 0 };
    char text[8192], pid[16];

    snprintf(pid, sizeof(pid), "%d", getpid());
    profile_fd = make_profile(filters, action);
    start_spawner(false);
    kid_start_argument(&kid, "escapes", pid, profile_fd);
    kid_text(&kid, text, sizeof(text));
    step_until(&kid.ended, 1);

    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line; lines++) {
        const char *what = strchr(line, '|');

        cr_assert_not_null(what, "%s", line);
        if (getenv("VMM_JAIL_SHOW"))
            fprintf(stderr, "%s\n", line);
        cr_assert_null(strstr(what, "WORKED"), "%s", line);
        cr_assert(!filters || !strstr(what, "worked"), "%s", line);
        refused += !strstr(what, "worked");
    }
    cr_assert_eq(kid.code, 0);
    cr_assert_eq(kid.status, 0, "status %x after: %s", kid.status, text);
    cr_assert_geq(lines, 40, "%s", text);
    cr_assert_geq(refused, filters ? lines : 30, "%d of %d", refused, lines);
    kid_free(&kid);
    close(fd);
}

Test(root_jail, every_way_out_is_refused)
{
    check_escapes(true, VMM_JAIL_TRAP);
}

Test(user_jail, every_way_out_is_refused)
{
    check_escapes(true, VMM_JAIL_TRAP);
}

Test(root_jail, without_a_filter_the_other_walls_stand)
{
    check_escapes(false, VMM_JAIL_KILL);
}

Test(user_jail, without_a_filter_the_other_walls_stand)
{
    check_escapes(false, VMM_JAIL_KILL);
}

/* ---- hosts that give less ---- */

/* Still the jail's other stages. */
static void check_poor_child(uint32_t wanted)
{
    struct vmm_jail_result result;
    struct kid kid = { 0 };

    start_jailed(&kid, true, &result);
    check_result(&result, wanted);
    kid_free(&kid);
}

/* Without user namespaces alone: tests/contract/jail_contract_test.c. */

static const struct vm_jail_rule no_namespaces[] = {
    VM_JAIL_ERRNO("unshare", EPERM), VM_JAIL_ERRNO("clone3", ENOSYS), VM_JAIL_ERRNO("setns", EPERM),
    VM_JAIL_ERRNO("mount", EPERM),   VM_JAIL_ERRNO("fsopen", EPERM),  { 0 },
};

/* As a container's manager does it: what is not refused is allowed (LOG). */
static void forbid_by_filter(void)
{
    struct vm_jail_rule rows[VM_ARRAY_SIZE(no_namespaces) + 1];
    struct vmm_jail_program *program;

    memcpy(rows, no_namespaces, sizeof(no_namespaces));
    rows[VM_ARRAY_SIZE(no_namespaces) - 1] = (struct vm_jail_rule){
        .syscall = "clone", .check = { VM_JAIL_BITS(0, CLONE_NEWPID, CLONE_NEWPID) }, .error = EPERM
    };
    rows[VM_ARRAY_SIZE(no_namespaces)] = (struct vm_jail_rule){ 0 };
    program = program_of(rows, NULL, VMM_JAIL_LOG);
    for (uint32_t i = 0; i < program->count; i++)
        if (program->insn[i].code == (BPF_RET | BPF_K) &&
            program->insn[i].k == 0x7ffc0000 /* SECCOMP_RET_LOG */)
            program->insn[i].k =
                0x7fff0000; /* SECCOMP_RET_ALLOW: nothing is written to the host's log */
    cr_assert_eq(vmm_jail_load(program, false), 0, "%s", vm_error_text());
    free(program);
}

Test(poor_host, under_a_containers_filter_the_rest_is_taken_and_the_reason_told)
{
    char text[512];

    become_ordinary();
    forbid_by_filter();
    check_poor_child(inner);

    cr_assert(vmm_jail_result_missing(vmm_spawner_result(spawner), text, sizeof(text)));
    cr_assert(strstr(text, "the jail lacks: user namespace, mount namespace, network namespace"),
              "%s", text);
    cr_assert(strstr(text, "under a seccomp filter already"), "%s", text);
    cr_assert_lt(vmm_spawner_ram(spawner, 4096, DEADLINE_NS), 0);
}

Test(poor_host, a_clone3_that_is_hidden_is_done_without)
{
    static const struct vm_jail_rule rows[] = { VM_JAIL_ERRNO("clone3", ENOSYS), { 0 } };
    struct vmm_jail_program *program = program_of(rows, NULL, VMM_JAIL_LOG);

    program->insn[program->count - 1].k = 0x7fff0000;
    cr_assert_eq(vmm_jail_load(program, false), 0);
    free(program);
    check_poor_child(inner);

    check_result(vmm_spawner_result(spawner), outer);
}

Test(poor_host, without_proc_the_jail_is_made_all_the_same)
{
    if (geteuid() || unshare(CLONE_NEWNS))
        cr_skip_test("not root");
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    cr_assert_eq(umount2("/proc", MNT_DETACH), 0);
    check_poor_child(inner);
    check_result(vmm_spawner_result(spawner), outer);

    cr_assert_eq(mount("proc", "/proc", "proc", 0, NULL),
                 0); /* for what looks for leaks at the end */
}

/* ---- by itself ---- */

/* A process that nobody's spawner started. */
static int enter_alone(struct vmm_jail_result *result)
{
    struct vmm_jail_profile profile = { .who = "alone", .max_file_bytes = 0, .max_fds = 64 };
    int fd[2], status = 0;
    pid_t pid;

    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        struct vmm_jail_result mine = { 0 };
        struct rlimit files;

        if (vmm_jail_enter(&profile, &mine) || vm_write_full(fd[1], &mine, sizeof(mine)))
            _exit(1);
        getrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_max != 64 || access("/etc", F_OK) == 0 || open("/", O_RDONLY) >= 0)
            _exit(2);
        _exit(0);
    }
    close(fd[1]);
    cr_assert_eq(vm_read_full(fd[0], result, sizeof(*result)), 0);
    waitpid(pid, &status, 0);
    close(fd[0]);
    return status;
}

Test(alone, a_process_jails_itself, .init = set_up)
{
    struct vmm_jail_result result;
    int status = enter_alone(&result);

    cr_assert_eq(status, 0, "%x", status);
    check_result(&result, (outer | inner) & ~(1u << VMM_JAIL_PID | 1u << VMM_JAIL_SECCOMP));
    cr_assert(result.refused & 1u << VMM_JAIL_PID);
    vm_close(&child_binary);
}

Test(alone, so_does_an_ordinary_user, .init = set_up_ordinary)
{
    struct vmm_jail_result result;
    int status = enter_alone(&result);

    cr_assert_eq(status, 0, "%x", status);
    check_result(&result, (outer | inner) & ~(1u << VMM_JAIL_PID | 1u << VMM_JAIL_SECCOMP));
    vm_close(&child_binary);
}

/* Below one directory reading, below another one everything: the process keeps its root, so that names are there. */
static int use_directories(const char *read_only, const char *writable)
{
    struct vmm_jail_dir dir[2] = { { open(read_only, O_PATH | O_CLOEXEC), false },
                                   { open(writable, O_PATH | O_CLOEXEC), true } };
    struct vmm_jail_result result = { 0 };

    vmm_jail_no_new_privs(&result);
    vmm_jail_landlock(dir, 2, &result);
    if (!vmm_jail_reached(&result, VMM_JAIL_LANDLOCK))
        return 1;
    if (openat(dir[0].fd, "status", O_RDONLY) < 0 ||
        openat(dir[1].fd, "file", O_RDWR | O_CREAT, 0600) < 0)
        return 2;
    if (open("/etc/passwd", O_RDONLY) >= 0 || openat(dir[0].fd, "comm", O_RDWR) >= 0 ||
        openat(dir[1].fd, "..", O_RDONLY) >= 0)
        return 3;
    return unlinkat(dir[1].fd, "file", 0) ? 4 : 0;
}

Test(alone, landlock_leaves_the_directories_it_was_given, .init = set_up)
{
    char dir[] = "/tmp/vmm-jail-XXXXXX";
    int status = 0;
    pid_t pid;

    cr_assert_not_null(mkdtemp(dir));
    pid = fork();
    if (!pid)
        _exit(use_directories("/proc/self", dir));
    waitpid(pid, &status, 0);

    cr_assert_eq(status >> 8, 0, "%d", status >> 8);
    rmdir(dir);
    vm_close(&child_binary);
}

static void count_line(void *ctx, const char *text)
{
    cr_assert(strstr(text, ": yes"), "%s", text);
    ++*(int *)ctx;
}

Test(alone, the_probe_reaches_every_stage_and_changes_nothing_here, .init = set_up)
{
    struct vmm_jail_host host;
    int lines = 0;

    cr_assert_eq(vmm_jail_probe(&host), 0, "%s", vm_error_text());
    vmm_jail_result_print(&host.jail, count_line, &lines);

    cr_assert_eq(lines, VMM_JAIL_STAGES);
    cr_assert(host.ram_file, "%s", host.why_no_ram_file);
    cr_assert_eq(access("/proc/self", F_OK), 0);
    vm_close(&child_binary);
}

Test(poor_host, the_probe_tells_why_namespaces_and_memory_of_the_spawners_cannot_be)
{
    struct vmm_jail_host host;
    char text[512];

    become_ordinary();
    forbid_by_filter();
    cr_assert_eq(vmm_jail_probe(&host), 0, "%s", vm_error_text());

    cr_assert(vmm_jail_result_missing(&host.jail, text, sizeof(text)));
    cr_assert(strstr(text, "under a seccomp filter already"), "%s", text);
    cr_assert_not(host.ram_file);
    cr_assert(strstr(host.why_no_ram_file, "seccomp filter"), "%s", host.why_no_ram_file);
}

static void join_line(void *ctx, const char *text)
{
    strcat(ctx, text);
    strcat(ctx, "|");
}

Test(reasons, what_is_lacking_for_one_reason_is_one_line)
{
    const struct vmm_jail_result result = {
        .reached = 1u << VMM_JAIL_UTS,
        .refused = 1u << VMM_JAIL_USER | 1u << VMM_JAIL_NET | 1u << VMM_JAIL_LANDLOCK,
        .why[VMM_JAIL_USER] = "a filter",
        .why[VMM_JAIL_NET] = "a filter",
        .why[VMM_JAIL_UTS] = "a filter",
        .why[VMM_JAIL_LANDLOCK] = "no kernel's",
    };
    char text[512] = "";

    vmm_jail_result_reasons(&result, join_line, text);

    cr_assert_str_eq(text, "the jail lacks: user namespace, network namespace (a filter)|"
                           "the jail lacks: Landlock (no kernel's)|");
}
