/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The ways out that are tried. Raw system calls: a C library's wrapper may do another one. */
#include "escapes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT(call) ((call) < 0 ? -errno : 0)

static char page[4096];

static int open_passwd(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY));
}

/* AT_EMPTY_PATH permits an empty name, and resolves any other. */
static int look_at_name(int pid)
{
    char stat[512];

    (void)pid;
    return RESULT(syscall(SYS_newfstatat, AT_FDCWD, "/", stat, 0x1000 /* AT_EMPTY_PATH */));
}

static int open_up(int pid)
{
    struct open_how how = { .flags = O_RDONLY };

    (void)pid;
    return RESULT(syscall(SYS_openat2, AT_FDCWD, "../../../../etc/passwd", &how, sizeof(how)));
}

static int create_file(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_openat, AT_FDCWD, "/x", O_RDWR | O_CREAT, 0600));
}

static int make_device(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_mknodat, AT_FDCWD, "/mem", 0020600, 0x101));
}

static int open_other_proc(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_openat, AT_FDCWD, "/proc/1/mem", O_RDWR));
}

static int connect_internet(int pid)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = 0x5000,
                              .sin_addr = { 0x0100007f } };
    int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

    (void)pid;
    return fd < 0 ? -errno : RESULT(syscall(SYS_connect, fd, &to, sizeof(to)));
}

static int raw_socket(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0x300));
}

static int connect_abstract(int pid)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "\0vmm-jail-test" };
    int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);

    (void)pid;
    return fd < 0 ? -errno : RESULT(syscall(SYS_connect, fd, &to, sizeof(sa_family_t) + 14));
}

static int trace_vmm(int pid)
{
    return RESULT(syscall(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0));
}

static int write_vmm(int pid)
{
    struct iovec here = { page, 1 }, there = { page, 1 };

    return RESULT(syscall(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0));
}

static int read_vmm(int pid)
{
    struct iovec here = { page, 1 }, there = { page, 1 };

    return RESULT(syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0));
}

static int kill_vmm(int pid)
{
    return RESULT(syscall(SYS_kill, pid, SIGUSR1));
}

static int signal_by_pidfd(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : RESULT(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0));
}

static int mount_proc(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_mount, "proc", "/", "proc", 0, NULL));
}

static int fsopen_proc(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_fsopen, "proc", 0));
}

static int new_mount_namespace(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_unshare, CLONE_NEWNS));
}

static int new_user_namespace(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_unshare, CLONE_NEWUSER));
}

static int join_vmm(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : RESULT(syscall(SYS_setns, fd, CLONE_NEWNS | CLONE_NEWNET));
}

/* 0 in the new process, which is an escape's success: it tells by its exit. */
static int child_made(long pid)
{
    if (!pid)
        syscall(SYS_exit_group, 0);
    return pid < 0 ? -errno : 0;
}

static int fork_process(int pid)
{
    (void)pid;
    return child_made(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}

static int clone_namespaces(int pid)
{
    (void)pid;
    return child_made(
        syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int clone3_process(int pid)
{
    struct clone_args args = { .flags = CLONE_NEWNS, .exit_signal = SIGCHLD };

    (void)pid;
    return child_made(syscall(SYS_clone3, &args, sizeof(args)));
}

static int map_code(int pid)
{
    void *at = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)pid;
    return at == MAP_FAILED ? -errno : 0;
}

static int make_code(int pid)
{
    static char code[8192];
    void *at = (void *)(((uintptr_t)code + 4095) & ~4095ul);

    (void)pid;
    return RESULT(syscall(SYS_mprotect, at, 4096, PROT_READ | PROT_EXEC));
}

static int push_terminal(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_ioctl, 0, TIOCSTI, "x"));
}

static int run_shell(int pid)
{
    char *argv[] = { "sh", NULL };

    (void)pid;
    return RESULT(syscall(SYS_execve, "/bin/sh", argv, argv + 1));
}

static int run_itself(int pid)
{
    char *argv[] = { "x", NULL };

    (void)pid;
    return RESULT(syscall(SYS_execveat, 9, "", argv, argv + 1, AT_EMPTY_PATH));
}

static int io_uring(int pid)
{
    char params[120] = { 0 };

    (void)pid;
    return RESULT(syscall(SYS_io_uring_setup, 4, params));
}

static int faults(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int bpf_map(int pid)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
    };

    (void)pid;
    return RESULT(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int perf(int pid)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof(attr),
                                    .config = PERF_COUNT_SW_CPU_CLOCK };

    (void)pid;
    return RESULT(syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0));
}

static int keys(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3, 1));
}

static int become_root(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_setresuid, 12345, 12345, 12345));
}

static int change_root(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_chroot, "/"));
}

static int pivot(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_pivot_root, ".", "."));
}

static int memory_file(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_memfd_create, "x", 0));
}

static int own_signal(int pid)
{
    return RESULT(fcntl(STDERR_FILENO, F_SETOWN, pid));
}

static int dumpable(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int raise_ambient(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

static int persona(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_personality, READ_IMPLIES_EXEC));
}

static int steal_fd(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : RESULT(syscall(SYS_pidfd_getfd, fd, 0, 0));
}

static int by_handle(int pid)
{
    struct {
        unsigned bytes;
        int type;
        char handle[8];
    } h = { 8, 1, { 2 } };

    (void)pid;
    return RESULT(syscall(SYS_open_by_handle_at, 3, &h, O_RDONLY));
}

static int host_name(int pid)
{
    (void)pid;
    return RESULT(syscall(SYS_sethostname, "x", 1));
}

static int more_files(int pid)
{
    struct {
        uint64_t soft, hard;
    } limit = { 1 << 20, 1 << 20 };

    (void)pid;
    return RESULT(syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, &limit, NULL));
}

const struct escape escapes[] = {
    { "open(/etc/passwd)", open_passwd, false },
    { "newfstatat(/)", look_at_name, true },
    { "openat2(..)", open_up, false },
    { "create a file", create_file, false },
    { "mknod(/dev/mem)", make_device, false },
    { "open(/proc/1/mem)", open_other_proc, false },
    { "connect(127.0.0.1)", connect_internet, false },
    { "socket(AF_PACKET)", raw_socket, false },
    { "connect(abstract socket)", connect_abstract, false },
    { "ptrace(VMM)", trace_vmm, false },
    { "process_vm_writev(VMM)", write_vmm, false },
    { "process_vm_readv(VMM)", read_vmm, false },
    { "kill(VMM)", kill_vmm, false },
    { "pidfd_send_signal(VMM)", signal_by_pidfd, false },
    { "mount(proc)", mount_proc, false },
    { "fsopen(proc)", fsopen_proc, false },
    { "unshare(mount)", new_mount_namespace, false },
    { "unshare(user)", new_user_namespace, false },
    { "setns(VMM)", join_vmm, false },
    { "fork", fork_process, true },
    { "clone(namespaces)", clone_namespaces, false },
    { "clone3(namespaces)", clone3_process, false },
    { "mmap(PROT_EXEC)", map_code, true },
    { "mprotect(PROT_EXEC)", make_code, true },
    { "ioctl(TIOCSTI)", push_terminal, false },
    { "execve(/bin/sh)", run_shell, false },
    { "execveat(fd)", run_itself, false },
    { "io_uring_setup", io_uring, true },
    { "userfaultfd", faults, true },
    { "bpf", bpf_map, false },
    { "perf_event_open", perf, true },
    { "keyctl", keys, true },
    { "setresuid", become_root, false },
    { "chroot", change_root, false },
    { "pivot_root", pivot, false },
    { "memfd_create", memory_file, true },
    { "fcntl(F_SETOWN)", own_signal, true },
    { "prctl(PR_SET_DUMPABLE)", dumpable, true },
    { "prctl(PR_CAP_AMBIENT)", raise_ambient, false },
    { "personality", persona, true },
    { "pidfd_getfd(VMM)", steal_fd, false },
    { "open_by_handle_at", by_handle, false },
    { "sethostname", host_name, false },
    { "prlimit(NOFILE)", more_files, false },
};
const size_t escape_count = sizeof(escapes) / sizeof(escapes[0]);
