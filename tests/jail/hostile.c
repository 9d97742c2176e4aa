/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm-hostile: the program, but each process of a device turns on its VMM when it gets SIGUSR1: in its loop, behind both filters, with
 * the fds that it really has. What it does then is the first word of the device's id:
 *
 *   escapes-PID   tries the ways out of escapes.c, and what its fds allow; a line each on standard error: NAME|what became of it
 *   names         asks the VMM for names that are not its own, and counts what it gets
 *   channel       says on the control channel what makes no sense
 *   backend       the same on the vhost-user socket
 *   flood         fills the log, by both ways
 *   fds           sends fds that nobody asked for, with both sockets
 *   deaf          keeps its connections and reads nothing
 *
 * Never installed. Only sendmsg, read, write, futex and exit_group are sure to be allowed here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/control/control.h>
#include <vmm/jail/filter.h>
#include <vmm/machine/process.h>

#include "escapes.h"

enum { ROUNDS = 2000, FDS_SENT = 60 };

int __real_vmm_control_main(int argc, char *argv[]);
int __wrap_vmm_control_main(int argc, char *argv[]);
int __real_vmm_jail_report(const char *who);
int __wrap_vmm_jail_report(const char *who);

static char mode[32];
static jmp_buf caught;

/* ---- words ---- */

static void say(const char *name, const char *what)
{
    char line[160];
    int n = snprintf(line, sizeof(line), "%s|%s\n", name, what);

    for (int at = 0; at < n;) {
        ssize_t done = write(STDERR_FILENO, line + at, (size_t)(n - at));

        at += done > 0 ? (int)done : 0;
    }
}

/* Until the other side is gone; it may be slow. */
static bool send_bytes(int sock, const void *data, size_t len, const int *fd, size_t fds)
{
    struct iovec iov = { (void *)(uintptr_t)data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_SENT)];
    } control = { .bytes = { 0 } };

    if (fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(sizeof(int) * fds) };
        memcpy(CMSG_DATA(&control.align), fd, sizeof(int) * fds);
    }
    for (;;) {
        if (syscall(SYS_sendmsg, sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return true;
        if (errno != EAGAIN && errno != ENOBUFS && errno != ETOOMANYREFS)
            return false;
    }
}

/* ---- ways out ---- */

static void on_trap(int signal_number)
{
    (void)signal_number;
    longjmp(caught, 1); /* not by returning: rt_sigreturn is not allowed */
}

static void tell_result(const char *name, int rc, bool harmless)
{
    char what[64];

    if (rc)
        snprintf(what, sizeof(what), "errno %d", -rc);
    else
        snprintf(what, sizeof(what), "%s", harmless ? "worked, as expected" : "WORKED");
    say(name, what);
}

static void try_escape(const struct escape *escape, int pid)
{
    if (setjmp(caught)) {
        say(escape->name, "filter");
        return;
    }
    tell_result(escape->name, escape->try(pid), escape->filter_only);
}

#define RESULT(call) ((call) < 0 ? -errno : 0)

static int open_below(int fd)
{
    return RESULT(syscall(SYS_openat, fd, "..", O_RDONLY | O_DIRECTORY));
}

static int enter_directory(int fd)
{
    return RESULT(syscall(SYS_fchdir, fd));
}

static int cut_short(int fd)
{
    return RESULT(syscall(SYS_ftruncate, fd, 0));
}

static int run_code(int fd)
{
    void *at = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

    return at == MAP_FAILED ? -errno : 0;
}

static int change_mode(int fd)
{
    return RESULT(syscall(SYS_fchmod, fd, 04777));
}

static int new_connection(int fd)
{
    return RESULT(syscall(SYS_accept4, fd, NULL, NULL, 0));
}

static int execute(int fd)
{
    char *argv[] = { mode, NULL };

    return RESULT(syscall(SYS_execveat, fd, "", argv, argv + 1, AT_EMPTY_PATH));
}

/* With every number that may be one: the worst of it is told. */
static void try_fds(const char *name, int (*try)(int fd))
{
    static volatile int fd, worked, filter; /* what longjmp() must not change */

    worked = filter = 0;
    for (fd = 0; fd < 256; fd++) {
        if (setjmp(caught))
            filter++;
        else if (!try(fd))
            worked++;
    }
    say(name, worked ? "WORKED" : filter ? "filter" : "errno");
}

static void try_escapes(void)
{
    int pid = atoi(mode + strcspn(mode, "0123456789"));

    for (size_t i = 0; i < escape_count; i++)
        try_escape(&escapes[i], pid);
    try_fds("openat(its fds)", open_below);
    try_fds("fchdir(its fds)", enter_directory);
    try_fds("ftruncate(its fds)", cut_short);
    try_fds("mmap(its fds, PROT_EXEC)", run_code);
    try_fds("fchmod(its fds)", change_mode);
    try_fds("accept4(its fds)", new_connection);
    try_fds("execveat(its fds)", execute);
    say("end", "of the ways out");
}

/* ---- the VMM's patience ---- */

static void ask_for_names(void)
{
    static const char *const names[] = { "/etc/passwd", "image", "../image",      "/dev/kvm", "",
                                         "/dev/../etc", "sock",  "/proc/self/mem" };
    static const unsigned how[] = { VM_OPEN_READ, VM_OPEN_READ | VM_OPEN_WRITE | VM_OPEN_CREATE,
                                    VM_OPEN_CONNECT, VM_OPEN_LISTEN, ~0u };
    struct vmm_process_message m;
    int got = 0, fd;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        for (size_t k = 0; k < sizeof(how) / sizeof(*how); k++) {
            vmm_process_message(&m, VMM_PROCESS_OPEN, 0, how[k], names[i]);
            if (!send_bytes(VMM_PROCESS_FD_CHANNEL, &m, 16 + strlen(names[i]) + 1, NULL, 0))
                return;
            while (vmm_process_receive(VMM_PROCESS_FD_CHANNEL, &m, &fd) == -EAGAIN) {
                /* it is slower */
            }
            got += fd >= 0;
        }
    say("names it may not have", got ? "WORKED" : "refused");
}

static uint32_t random_word(void)
{
    static uint32_t state = 0x2545f491;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void fill(uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        words[i] = random_word();
}

/* Types that exist, in all lengths. */
static void break_channel(void)
{
    static uint32_t words[1200];
    size_t len;

    for (int i = 0; i < ROUNDS; i++) {
        fill(words, sizeof(words) / sizeof(*words));
        words[0] %= 9;
        len = 1 + random_word() % (sizeof(words) - 1);
        ((char *)words)[len - 1] = 0;
        if (!send_bytes(VMM_PROCESS_FD_CHANNEL, words, len, NULL, 0))
            return;
    }
}

/* Answers to what nobody asked, and requests that no back end makes. */
static void break_backend(void)
{
    static uint32_t words[64];

    for (int i = 0; i < ROUNDS; i++) {
        fill(words, sizeof(words) / sizeof(*words));
        words[0] %= 50;
        words[1] = i % 3 ? 5 : words[1]; /* version 1, a reply */
        words[2] %= 200;
        if (!send_bytes(VMM_PROCESS_FD_VHOST, words, 12 + words[2] % 200, NULL, 0))
            return;
    }
}

static void flood(void)
{
    struct vmm_process_message m;

    for (int i = 0; i < 2 * ROUNDS; i++) {
        vmm_process_message(&m, VMM_PROCESS_LOG, 0, VM_LOG_ERROR, "I am the machine\x1b[2J");
        if (!send_bytes(VMM_PROCESS_FD_CHANNEL, &m, 16 + strlen(m.text) + 1, NULL, 0))
            return;
        if (write(STDERR_FILENO, "flood\nflood\nflood", 17) < 0 && errno == EPIPE)
            return;
    }
}

/* Own sockets, standard input, whatever there is; also as the log in flight that GET_INFLIGHT_FD (31) asks for. */
static void send_fds(void)
{
    struct vmm_process_message m;
    uint32_t answer[8] = { 31, 5, 20 };
    int fd[FDS_SENT];

    for (int i = 0; i < FDS_SENT; i++)
        fd[i] = i % 2 ? STDIN_FILENO : VMM_PROCESS_FD_VHOST;
    vmm_process_message(&m, VMM_PROCESS_LOG, 0, VM_LOG_DEBUG, "");
    for (int i = 0; i < ROUNDS; i++) {
        bool many = i >= ROUNDS / 2; /* the VMM gives up at the first of these */

        if (!send_bytes(VMM_PROCESS_FD_CHANNEL, &m, 17, fd, many ? FDS_SENT : 1) ||
            (many && !send_bytes(VMM_PROCESS_FD_VHOST, answer, sizeof(answer), fd, FDS_SENT)))
            return;
    }
}

static _Noreturn void sleep_for_ever(void)
{
    static uint32_t word;

    for (;;)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static bool plays(const char *word)
{
    return !strncmp(mode, word, strlen(word));
}

static void turn_hostile(int signal_number)
{
    (void)signal_number;
    if (plays("escapes"))
        try_escapes();
    else if (plays("names"))
        ask_for_names();
    else if (plays("channel"))
        break_channel();
    else if (plays("backend"))
        break_backend();
    else if (plays("flood"))
        flood();
    else if (plays("fds"))
        send_fds();
    else
        sleep_for_ever();
    syscall(SYS_exit_group, 3);
}

/* ---- the program ---- */

static bool is_device;

/* Who is caught goes on. */
int __wrap_vmm_jail_report(const char *who)
{
    struct sigaction act = { .sa_handler = on_trap, .sa_flags = SA_NODEFER };

    return is_device ? sigaction(SIGSYS, &act, NULL) : __real_vmm_jail_report(who);
}

int __wrap_vmm_control_main(int argc, char *argv[])
{
    struct sigaction act = { .sa_handler = turn_hostile };
    const char *id = argc > 2 ? strstr(argv[2], "id=\"") : NULL;

    is_device = argc > 2 && !strcmp(argv[1], "device");
    if (is_device && id) {
        snprintf(mode, sizeof(mode), "%.*s", (int)strcspn(id + 4, "\""), id + 4);
        sigaction(SIGUSR1, &act, NULL);
    }
    return __real_vmm_control_main(argc, argv);
}

int main(int argc, char *argv[])
{
    return __wrap_vmm_control_main(argc, argv);
}
