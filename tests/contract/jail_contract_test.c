/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The jail of each device class that can have a process of its own: what docs/sandbox.md says of it is read from /proc (proc_pid_status(5)
 * and others) of the process that `vmm run` started. A class needs no line here.
 *
 * Where the host refuses stages (vmm_jail_probe() says which and why) those are left out, and the others are looked at all the same.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/jail/stages.h>

#include "../cli/cli.h"
#include "contract.h"
#include "processes.h"

enum { FD_VHOST = 200, FD_CHANNEL = 201 };

static struct vmm_jail_host host;
static pid_t machine, spawner, process;
static const char *who; /* the class, for messages */

static bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        cr_skip_test("%s", cli_why_not());
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    cr_skip_test("the sanitizer's own thread forbids user namespaces");
#endif
#endif
    cr_assert_eq(vmm_jail_probe(&host), 0, "%s", vm_error_text());
    cli_kernel("k", TINY_LOOP);
    cli_sparse("image", 1 << 20);
}
TestSuite(jails, .init = begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

static void expect_line(pid_t pid, const char *file, const char *name, const char *wanted)
{
    char value[128];

    proc_line(pid, file, name, value);
    cr_expect_str_eq(value, wanted, "%s: %s of %s is '%s', not '%s'", who, name, file, value,
                     wanted);
}

/* ---- the machine ---- */

static void start(const char *device)
{
    machine = CLI_START("run", "--no-rng", "--rtc", "off", "--serial", "null", "-s", "sock",
                        "--device", device, "k");
    cr_assert_eq(cli_wait_for("sock"), 0, "%s: no machine", who);
    spawner = proc_wait_for_child(machine);
    process = proc_wait_for_child(spawner);
    proc_wait_for_filters(process, 2);
}

static void start_class(const struct vdev_class *cls)
{
    char options[CONTRACT_OPTIONS], device[CONTRACT_OPTIONS + 64];

    who = cls->name;
    contract_options(cls, options);
    snprintf(device, sizeof(device), "%s%s%s", cls->name, *options ? "," : "", options);
    start(device);
}

static pid_t wait_for_other_child(pid_t parent, pid_t before)
{
    const struct timespec step = { .tv_nsec = 5000000 };
    pid_t now = 0;

    for (int i = 0; i < 2000 * cli_patience() && (!now || now == before); i++) {
        nanosleep(&step, NULL);
        now = proc_child_of(parent);
    }
    cr_assert(now && now != before, "%s: it was not replaced", who);
    return now;
}

static void stop(void)
{
    kill(machine, SIGTERM); /* the first one is the power button */
    kill(machine, SIGINT);
    cr_expect_eq(cli_wait(machine), 13, "%s", who);
}

#define FOR_PROCESSES(cls)                                                              \
    for (const struct vdev_class *const *row = vdev_classes, *cls; (cls = *row); row++) \
        if (!cls->internal && cls->kind == VDEV_VIRTIO && cls->placements & VDEV_PROCESS)

static bool stage(enum vmm_jail_stage s)
{
    if (vmm_jail_reached(&host.jail, s))
        return true;
    fprintf(stderr, "%s: not looked at: %s: %s\n", who, vmm_jail_stage_name(s), host.jail.why[s]);
    return false;
}

/* ---- rights and filters ---- */

static void check_rights(bool other_user)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
    char value[128];

    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
        expect_line(process, "status", sets[i], "0000000000000000");
    expect_line(process, "status", "NoNewPrivs", "1");
    expect_line(process, "status", "Seccomp", "2");
    proc_line(process, "status", "Uid", value);
    if (!geteuid() && other_user)
        cr_expect_neq(atoi(value), 0, "%s: it is root", who);
    proc_line(process, "status", "Groups", value);
    cr_expect(geteuid() || !other_user || !*value, "%s: groups %s", who, value);
}

/* NULL: the device has options of its own. */
static const struct vdev_class *served(void)
{
    return vdev_class_find(who, strlen(who));
}

static void check_limits(bool writes_files)
{
    unsigned long long most = served() && served()->fds ? served()->fds : 1024;
    char value[128];
    unsigned long long soft;

    proc_line(process, "limits", "Max core file size", value);
    cr_expect_eq(strtoull(value, NULL, 10), 0, "%s: core files: %s", who, value);
    proc_line(process, "limits", "Max open files", value);
    cr_expect_leq(strtoull(value, NULL, 10), most, "%s: open files: %s", who, value);
    proc_line(process, "limits", "Max file size", value);
    soft = strtoull(value, NULL, 10);
    cr_expect(writes_files || (soft && soft <= 64 << 20), "%s: file size: %s", who, value);
}

/* Files of a process that is not dumpable belong to root, whoever it is (proc(5)). Root's own process is another user's here. */
static void check_not_dumpable(void)
{
    char path[64], value[128];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/status", process);
    proc_line(process, "status", "Uid", value);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_neq((int)st.st_uid, atoi(value), "%s: it is dumpable", who);
}

static void check_session(void)
{
    int session = 0, terminal = -1;
    char text[PROC_TEXT];

    proc_read(process, "stat", text);
    cr_assert_eq(sscanf(strrchr(text, ')'), ") %*c %*d %*d %d %d", &session, &terminal), 2);
    cr_expect_eq(session, process, "%s: session %d", who, session);
    cr_expect_eq(terminal, 0, "%s: it has a terminal", who);
}

Test(jails, no_process_of_a_device_has_rights_a_terminal_or_more_than_its_two_filters_allow)
{
    FOR_PROCESSES(cls)
    {
        start_class(cls);
        check_rights(true);
        check_limits(cls->backend != VDEV_BACKEND_NONE);
        check_not_dumpable();
        check_session();
        stop();
    }
}

/* What a process has sent and nobody has taken yet is counted per user, against the limit of who sends next (unix(7), ETOOMANYREFS). */
Test(jails, no_process_of_a_device_may_have_as_many_files_on_their_way_as_its_vmm)
{
    const struct rlimit few = { 256, 600 };
    char value[128];

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    FOR_PROCESSES(cls)
    {
        start_class(cls);
        proc_line(machine, "limits", "Max open files", value);
        cr_expect_eq(strtoull(value, NULL, 10), 600, "%s: open files of the VMM: %s", who, value);
        proc_line(process, "limits", "Max open files", value);
        cr_expect_eq(strtoull(value, NULL, 10), 300, "%s: open files: %s", who, value);
        stop();
    }
}

/* ---- names ---- */

static void check_namespaces(void)
{
    static const struct {
        const char *name;
        enum vmm_jail_stage stage;
    } ns[] = {
        { "ns/user", VMM_JAIL_USER }, { "ns/mnt", VMM_JAIL_MOUNT }, { "ns/net", VMM_JAIL_NET },
        { "ns/ipc", VMM_JAIL_IPC },   { "ns/uts", VMM_JAIL_UTS },   { "ns/pid", VMM_JAIL_PID },
    };
    char ours[PROC_TEXT], theirs[PROC_TEXT];

    for (size_t i = 0; i < sizeof(ns) / sizeof(*ns); i++) {
        if (!stage(ns[i].stage))
            continue;
        proc_link(machine, ns[i].name, ours);
        proc_link(process, ns[i].name, theirs);
        cr_expect(*ours && *theirs && strcmp(ours, theirs) != 0, "%s: %s is the VMM's", who,
                  theirs);
    }
}

static void check_root(void)
{
    char text[PROC_TEXT];

    proc_read(process, "mountinfo", text);
    cr_expect(strstr(text, " / / ro,nosuid,nodev,noexec"), "%s: %s", who, text);
    cr_expect(strstr(text, "- tmpfs jail "), "%s: %s", who, text);
    cr_expect_eq(strchr(text, '\n')[1], '\0', "%s: more than one mount: %s", who, text);
}

static void check_pid(void)
{
    char value[128];

    proc_line(process, "status", "NSpid", value);
    cr_expect(strlen(value) > 2 && !strcmp(value + strlen(value) - 2, "\t1"), "%s: NSpid %s", who,
              value);
}

static void check_names(void)
{
    if (geteuid())
        fprintf(stderr,
                "%s: namespaces are not looked at: only root may, in a process that is not "
                "dumpable\n",
                who);
    else
        check_namespaces();
    if (stage(VMM_JAIL_ROOT) && !geteuid())
        check_root();
    if (stage(VMM_JAIL_PID))
        check_pid();
}

Test(jails, no_process_of_a_device_shares_a_namespace_or_has_a_file_system)
{
    FOR_PROCESSES(cls)
    {
        start_class(cls);
        check_names();
        stop();
    }
}

/* ---- file descriptors, memory, environment ---- */

/* Loops and what wakes them; guest memory; its own end of sockets; the files of its options. Nothing else, and no directory. */
static bool is_expected(const char *number, const char *target, unsigned *sockets)
{
    static const char *const kinds[] = { "anon_inode:[eventpoll]", "anon_inode:[eventfd]",
                                         "anon_inode:[timerfd]", "/memfd:" };
    int fd = atoi(number);
    char image[128];

    if (fd <= STDOUT_FILENO)
        return !strcmp(target, "/dev/null");
    if (fd == STDERR_FILENO || fd == FD_VHOST || fd == FD_CHANNEL)
        return !strncmp(target, "socket:", 7);
    /* Where the back end asks the front end (vhost-user); where clients come, and where it asks for connections. */
    if (!strncmp(target, "socket:", 7))
        return ++*sockets <= (served() && served()->dials ? 3 : 1);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (!strncmp(target, kinds[i], strlen(kinds[i])))
            return true;
    snprintf(image, sizeof(image), "%s/image", cli_directory());
    return !strcmp(target, image) || !strcmp(target, "/dev/urandom") ||
           (target[0] == '/' && strstr(target, " (deleted)"));
}

static void check_fds(void)
{
    char path[320], target[PROC_TEXT];
    unsigned sockets = 0;
    struct dirent *e;
    struct stat st;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", process);
    dir = opendir(path);
    cr_assert_not_null(dir, "%s", who);
    while ((e = readdir(dir))) {
        if (!isdigit((unsigned char)*e->d_name))
            continue;
        snprintf(path, sizeof(path), "fd/%s", e->d_name);
        proc_link(process, path, target);
        cr_expect(is_expected(e->d_name, target, &sockets), "%s: fd %s is %s", who, e->d_name,
                  target);
        snprintf(path, sizeof(path), "/proc/%d/fd/%s", process, e->d_name);
        cr_expect(stat(path, &st) || !S_ISDIR(st.st_mode), "%s: fd %s is a directory", who,
                  e->d_name);
    }
    closedir(dir);
}

static void check_memory(void)
{
    static char line[PROC_TEXT];
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/maps", process);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    while (fgets(line, sizeof(line), f))
        cr_expect_null(strstr(line, " rwx"), "%s: memory to write and to run: %s", who, line);
    fclose(f);
}

Test(jails, a_process_of_a_device_has_the_fds_of_the_documentation_and_nothing_of_the_vmms)
{
    char text[PROC_TEXT];

    if (geteuid())
        cr_skip_test("only root may look into a process that is not dumpable");
    FOR_PROCESSES(cls)
    {
        start_class(cls);
        check_fds();
        check_memory();
        proc_read(process, "environ", text);
        cr_expect(!JAILS_EXEC || !*text, "%s: it has an environment", who);
        stop();
    }
}

/* ---- started by hand ---- */

static void start_by_hand(const struct vdev_class *cls, const char *sandbox)
{
    char options[CONTRACT_OPTIONS], device[CONTRACT_OPTIONS + 64];

    who = cls->name;
    contract_options(cls, options);
    snprintf(device, sizeof(device), "%s%s%s", cls->name, *options ? "," : "", options);
    machine = CLI_START("device", device, "--socket", "sock", "--sandbox", sandbox);
    cr_assert_eq(cli_wait_for("sock"), 0, "%s: nobody listens", who);
}

static void start_jailed_by_hand(const struct vdev_class *cls)
{
    start_by_hand(cls, "process");
    process = proc_wait_for_child(machine);
    proc_wait_for_filters(process, 2);
}

static void stop_by_hand(void)
{
    kill(machine, SIGTERM);
    cr_expect_eq(cli_wait(machine), 0, "%s", who);
    cr_expect(access("sock", F_OK), "%s: its socket is left", who);
}

/* All but a PID namespace, which nobody can give himself. */
Test(jails, a_device_that_is_started_by_hand_jails_itself)
{
    host.jail.reached &= ~(1u << VMM_JAIL_PID);
    FOR_PROCESSES(cls)
    {
        start_jailed_by_hand(cls);
        check_rights(true);
        check_limits(cls->backend != VDEV_BACKEND_NONE);
        check_not_dumpable();
        check_session();
        check_names();
        stop_by_hand();
    }
}

/* A message without payload, and the answer of eight bytes: GET_FEATURES of vhost-user. */
static void ask_for_features(void)
{
    const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "sock" };
    const uint32_t get_features[3] = { 1, 1, 0 };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint32_t answer[5];

    cr_assert_eq(connect(fd, (const struct sockaddr *)&name, sizeof(name)), 0, "%s", who);
    cr_assert_eq(write(fd, get_features, sizeof(get_features)), sizeof(get_features));
    cr_assert_eq(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer), "%s", who);
    cr_expect_eq(answer[0], 1);
    close(fd);
}

Test(jails, a_front_end_may_come_again_to_a_jailed_device)
{
    FOR_PROCESSES(cls)
    {
        start_jailed_by_hand(cls);
        for (int i = 0; i < 20; i++)
            ask_for_features();
        cr_expect_eq(proc_child_of(machine), process, "%s: it did not live through it", who);
        stop_by_hand();
    }
}

Test(jails, without_a_sandbox_a_device_by_hand_has_no_filter)
{
    char before[128];

    proc_line(getpid(), "status", "Seccomp", before);
    start_by_hand(vdev_class_find("virtio-rng", strlen("virtio-rng")), "off");

    expect_line(machine, "status", "Seccomp", before);
    stop_by_hand();
}

/* ---- the VMM itself ---- */

Test(jails, each_thread_of_the_vmm_has_a_filter)
{
    char path[64], name[300];
    struct dirent *e;
    DIR *dir;

    if (sanitized())
        cr_skip_test(
            "a sanitizer's program looks for leaks at its end, so its main thread has none");
    who = "the VMM";
    start("virtio-blk,path=image");
    snprintf(path, sizeof(path), "/proc/%d/task", machine);
    dir = opendir(path);
    cr_assert_not_null(dir);
    while ((e = readdir(dir))) {
        if (!isdigit((unsigned char)*e->d_name))
            continue;
        snprintf(name, sizeof(name), "task/%s/status", e->d_name);
        proc_wait_for_line(machine, name, "Seccomp", "2");
        expect_line(machine, name, "NoNewPrivs", "1");
    }
    closedir(dir);
    stop();
}

/* ---- hosts that give less ---- */

/* The program goes where no user namespace can be made, as root of one. (This process has threads, and cannot.) */
static void forbid_user_namespaces(void)
{
    char script[512];
    int len;

    if (geteuid())
        cr_skip_test("not root: an ordinary user's host is tried in library jail");
    len =
        snprintf(script, sizeof(script),
                 "#!/bin/sh\nexec unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces "
                 "&& exec \"$0\" \"$@\"' '%s' \"$@\"\n",
                 getenv("VMM_PROGRAM"));
    cli_file("poor-vmm", script, (size_t)len);
    cr_assert_eq(chmod("poor-vmm", 0700), 0);
    cr_assert_eq(setenv("VMM_PROGRAM", "./poor-vmm", 1), 0);
    host.jail.reached &= ~(1u << VMM_JAIL_USER);
}

static void log_of(char text[PROC_TEXT])
{
    int fd = open("log", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, PROC_TEXT - 1);

    text[n < 0 ? 0 : n] = '\0';
    close(fd);
}

Test(jails, where_user_namespaces_are_forbidden_the_log_says_so_and_the_other_walls_stand)
{
    int saved = dup(STDERR_FILENO), log = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char text[PROC_TEXT];

    who = "virtio-blk";
    forbid_user_namespaces();
    dup2(log, STDERR_FILENO);
    start("virtio-blk,path=image");
    dup2(saved, STDERR_FILENO);
    log_of(text);

    cr_expect(
        strstr(text, "the jail lacks: user namespace (the sysctl user.max_user_namespaces is 0)"),
        "%s", text);
    check_rights(false); /* this root has no other user to become */
    check_limits(true);
    check_names();
    stop();
    close(saved), close(log);
}

/* ---- consoles with somebody at the other side ---- */

static void start_console(const char *device)
{
    who = device;
    start(device);
    process = proc_wait_for_child(spawner);
}

/* Whoever connects is served by the process; the next one listens on the same socket. */
Test(jails, the_socket_of_a_console_outlives_its_process)
{
    pid_t before;

    start_console("virtio-console,mode=socket,socket=con");
    cr_assert(cli_somebody_listens("con"));
    before = process;
    kill(process, SIGKILL);
    cr_expect(cli_somebody_listens("con"), "it is not there between two processes");
    process = wait_for_other_child(spawner, before);
    cr_expect(cli_somebody_listens("con"));

    proc_wait_for_filters(process, 2);
    check_rights(true);
    stop();
    cr_expect(access("con", F_OK), "the socket is left");
}

/* A file and a socket at once: both are opened outside of the jail. */
Test(jails, a_console_has_several_places_in_its_process)
{
    pid_t before;

    start_console("virtio-console,file=out,also=[[socket=con],[file=more,append=on]]");
    cr_assert(cli_somebody_listens("con"));
    cr_expect(!access("out", F_OK) && !access("more", F_OK));
    before = process;
    kill(process, SIGKILL);
    process = wait_for_other_child(spawner, before);
    cr_expect(cli_somebody_listens("con"));

    proc_wait_for_filters(process, 2);
    check_rights(true);
    stop();
    cr_expect(access("con", F_OK), "the socket is left");
}

/* ---- one that stands still ---- */

static unsigned long long exits(void)
{
    static struct cli_result r;
    const char *all;

    CLI(&r, "info", "sock");
    cr_assert_eq(r.code, 0, "%s: %s", who, r.err);
    all = strstr(r.out, "\"all\": ");
    cr_assert(all, "%s: %s", who, r.out);
    return strtoull(all + strlen("\"all\": "), NULL, 10);
}

/* The guest looks at its power button all the time, with an exit each. */
Test(jails, a_process_that_stands_still_stops_neither_the_guest_nor_control)
{
    static struct cli_result r;

    cli_kernel("k", TINY_BUTTON);
    FOR_PROCESSES(cls)
    {
        unsigned long long before;

        start_class(cls);
        cr_assert_eq(kill(process, SIGSTOP), 0);
        proc_wait_for_line(process, "status", "State", "T (stopped)");
        before = exits();
        while (exits() <= before) {
            /* the test's time-out is the limit */
        }

        CLI(&r, "pause", "sock");
        cr_expect_eq(r.code, 0, "%s: %s", who, r.err);
        CLI(&r, "resume", "sock");
        cr_expect_eq(r.code, 0, "%s: %s", who, r.err);
        CLI(&r, "powerbtn", "sock");
        cr_expect_eq(r.code, 0, "%s: %s", who, r.err);
        cr_expect_eq(cli_wait(machine), 0, "%s", who);
    }
}

/* ---- what a refused call looks like ---- */

Test(jails, a_call_that_a_filter_refuses_is_named_with_its_device_and_what_to_do)
{
    static const char rows[] = "read\nwrite\nclose\nmmap\nbrk\npread64\nrt_sigreturn\n";
    static struct cli_result r;
    char path[64];

    /* Not enough to make a loop. */
    snprintf(path, sizeof(path), "policies/%s", ARCHITECTURE);
    cr_assert(!mkdir("policies", 0700) && !mkdir(path, 0700));
    strcat(path, "/virtio-blk.policy");
    cli_file(path, rows, sizeof(rows) - 1);

    CLI(&r, "run", "--no-rng", "--serial", "null", "--seccomp-policy-dir", "policies", "--device",
        "virtio-blk,id=disk7,path=image", "k");

    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "virtio-blk disk7: its seccomp filter refused the system call "), "%s",
              r.err);
    cr_expect(strstr(r.err, "--seccomp"), "%s", r.err);
}
