/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * QEMU as an oracle. Its processor never runs (-S); the accesses come through the qtest socket (QEMU,
 * docs/devel/testing/qtest: one command a line, answered by OK or FAIL, with "IRQ raise N" lines before that). Messages
 * to local APICs are seen on its trace output, which is written before the answer is.
 */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 48, LINE_BYTES = 512, BUFFER_BYTES = 8192, ANSWER_MS = 20000 };
enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };

struct reader {
    int fd;
    size_t len;
    char buf[BUFFER_BYTES];
};

const struct oracle_qemu oracle_x86 = { .program = "qemu-system-x86_64",
                                        .package = "qemu-system-x86",
                                        .controller = "ioapic",
                                        .trace = "apic_deliver_irq" };
/* The second device that machine "virt" makes is its GIC. */
const struct oracle_qemu oracle_arm = { .program = "qemu-system-aarch64",
                                        .package = "qemu-system-arm",
                                        .controller = "/machine/unattached/device[1]" };

struct qtest {
    const struct oracle_qemu *qemu;
    pid_t pid;
    bool failed;
    struct reader socket, trace;
    struct oracle_events events;
    char line[LINE_BYTES];
};

bool qtest_failed(const struct qtest *q)
{
    return q->failed;
}

static void fail(struct qtest *q, const char *what)
{
    if (!q->failed)
        fprintf(stderr, "# QEMU: %s\n", what);
    q->failed = true;
}

/* Takes a line out of what was read. */
static bool take_line(struct reader *r, char *ret_line)
{
    char *end = memchr(r->buf, '\n', r->len);
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end - r->buf);
    if (n >= LINE_BYTES)
        n = LINE_BYTES - 1;
    memcpy(ret_line, r->buf, n);
    ret_line[n] = 0;
    r->len -= (size_t)(end + 1 - r->buf);
    memmove(r->buf, end + 1, r->len);
    return true;
}

static bool fill(struct reader *r, int wait_ms)
{
    struct pollfd p = { .fd = r->fd, .events = POLLIN };
    ssize_t n;

    if (r->len == sizeof(r->buf))
        r->len = 0; /* a line that never ends */
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    n = read(r->fd, r->buf + r->len, sizeof(r->buf) - r->len);
    if (n <= 0)
        return false;
    r->len += (size_t)n;
    return true;
}

static void take_event(struct qtest *q)
{
    if (!strncmp(q->line, "IRQ raise", 9))
        oracle_note(&q->events, ORACLE_LINE, 1);
    else if (!strncmp(q->line, "IRQ lower", 9))
        oracle_note(&q->events, ORACLE_LINE, 0);
}

static void take_trace(struct qtest *q)
{
    unsigned dest, logical, mode, vector, level;
    const char *at = strstr(q->line, "apic_deliver_irq ");

    if (at && sscanf(at,
                     "apic_deliver_irq dest %u dest_mode %u delivery_mode %u vector %u "
                     "trigger_mode %u",
                     &dest, &logical, &mode, &vector, &level) == 5)
        oracle_note(&q->events, ORACLE_MESSAGE, oracle_message(dest, logical, mode, vector, level));
    else
        fprintf(stderr, "# QEMU says: %s\n", q->line);
}

/* Sends a command and waits for its answer, which is left in q->line. */
static void command(struct qtest *q, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    int n;

    if (q->failed)
        return;
    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (send(q->socket.fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
        fail(q, "gone");
        return;
    }
    for (;;) {
        while (!take_line(&q->socket, q->line))
            if (!fill(&q->socket, ANSWER_MS)) {
                fail(q, "no answer");
                return;
            }
        if (!strncmp(q->line, "OK", 2))
            return;
        if (strncmp(q->line, "IRQ ", 4)) {
            fail(q, q->line);
            return;
        }
        take_event(q);
    }
}

void qtest_events(struct qtest *q, struct oracle_events *ret_events)
{
    while (fill(&q->trace, 0))
        continue;
    while (take_line(&q->trace, q->line))
        take_trace(q);
    *ret_events = q->events;
    q->events.count = 0;
}

static char letter(unsigned len)
{
    return len == 1 ? 'b' : len == 2 ? 'w' : len == 4 ? 'l' : 'q';
}

uint64_t qtest_read(struct qtest *q, bool pio, uint64_t addr, unsigned len)
{
    const char *number;

    command(q, pio ? "in%c 0x%llx\n" : "read%c 0x%llx\n", letter(len), (unsigned long long)addr);
    if (q->failed)
        return 0;
    number = strchr(q->line, ' ');
    return number ? strtoull(number, NULL, 0) : 0;
}

void qtest_write(struct qtest *q, bool pio, uint64_t addr, unsigned len, uint64_t value)
{
    command(q, pio ? "out%c 0x%llx 0x%llx\n" : "write%c 0x%llx 0x%llx\n", letter(len),
            (unsigned long long)addr, (unsigned long long)value);
}

void qtest_pin(struct qtest *q, const char *path, unsigned pin, bool level)
{
    command(q, "set_irq_in %s unnamed-gpio-in %u %d\n", path, pin, level);
}

void qtest_watch_lines(struct qtest *q)
{
    command(q, "irq_intercept_in %s\n", q->qemu->controller);
}

static void config_address(struct qtest *q, unsigned bdf, unsigned at)
{
    qtest_write(q, true, CONFIG_ADDRESS, 4, 0x80000000U | bdf << 8 | (at & 0xfc));
}

uint32_t qtest_config_read(struct qtest *q, unsigned bdf, unsigned at, unsigned len)
{
    config_address(q, bdf, at);
    return (uint32_t)qtest_read(q, true, CONFIG_DATA + (at & 3), len);
}

void qtest_config_write(struct qtest *q, unsigned bdf, unsigned at, unsigned len, uint32_t value)
{
    config_address(q, bdf, at);
    qtest_write(q, true, CONFIG_DATA + (at & 3), len, value);
}

/* In the child. The socket is passed as a connected descriptor: no name in the file system, nothing to clean up. */
static void become_qemu(const struct oracle_qemu *qemu, const char *const *arguments, int socket,
                        int trace, pid_t parent)
{
    const char *all[ARGUMENTS_MAX] = { qemu->program,   "-accel",     "tcg",  "-S",       "-qtest",
                                       "chardev:qtest", "-qtest-log", "none", "-display", "none",
                                       "-nodefaults",   "-monitor",   "none", "-m",       "64",
                                       "-chardev" };
    char name[64];
    size_t n = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    while (all[n])
        n++;
    snprintf(name, sizeof(name), "socket,id=qtest,fd=%d", socket);
    all[n++] = name;
    if (qemu->trace) {
        all[n++] = "-trace";
        all[n++] = qemu->trace;
    }
    for (size_t i = 0; arguments[i] && n + 1 < ARGUMENTS_MAX; i++)
        all[n++] = arguments[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(trace, 2) < 0 || fcntl(socket, F_SETFD, 0))
        _exit(126);
    execvp(all[0], (char *const *)all);
    _exit(127);
}

struct qtest *qtest_start(const struct oracle_qemu *qemu, const char *const *arguments)
{
    struct qtest *q = calloc(1, sizeof(*q));
    int sockets[2], pipes[2];
    pid_t parent = getpid();

    if (!q)
        return NULL;
    q->qemu = qemu;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
        goto free_qtest;
    if (pipe2(pipes, O_CLOEXEC))
        goto close_sockets;
    q->pid = fork();
    if (!q->pid)
        become_qemu(qemu, arguments, sockets[1], pipes[1], parent);
    close(sockets[1]);
    close(pipes[1]);
    q->socket.fd = sockets[0];
    q->trace.fd = pipes[0];
    if (q->pid > 0)
        return q;
    perror("# fork");
    qtest_stop(q);
    return NULL;

close_sockets:
    close(sockets[0]);
    close(sockets[1]);
free_qtest:
    perror("# qtest");
    free(q);
    return NULL;
}

void qtest_stop(struct qtest *q)
{
    if (!q)
        return;
    close(q->socket.fd);
    close(q->trace.fd);
    if (q->pid > 0) {
        kill(q->pid, SIGKILL);
        while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    free(q);
}
