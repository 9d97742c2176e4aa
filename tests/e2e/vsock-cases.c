/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Cases of sockets between guest and host, over a device whose connections end in Unix sockets (virtio_vsock.md): those of Linux's vsock_test as far
 * as a Unix socket has them, and many connections at once. The same program on both sides; static.
 *
 *     vsock-cases guest
 *     vsock-cases host STREAM SEQPACKET     the paths of the device's sockets
 *
 * Each case runs twice, with the guest as client and as server; a connection of the guest's to the host, made first, keeps both sides together. Prints
 * a line for each, "@case NAME SIDE ok", and at the end "@cases N"; what is wrong is told as "@failed ...", and the status is 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum {
    PORT_TOGETHER = 1100,
    PORT_FIRST = 2000, /* one for each run of a case */
    PATIENCE_S = 60,
    AT_ONCE = 256,
    MESSAGES = 64,
    MESSAGE_MAX = 65536,
    BULK = 4 << 20,
    WORKERS = 16,
    EACH = 96, /* connections of a worker, one after the other */
    STRESS_MAX = 8192,
    ABORTED = 7, /* every so many end in the middle */
    RUDE = 40
};

static bool is_guest;
static const char *paths[2]; /* of streams and of messages */
static int together;
static unsigned port;
static const char *name;

#define CHECK(what)                                                                           \
    do {                                                                                      \
        if (!(what)) {                                                                        \
            printf("@failed %s as %s, line %d: %s (%s)\n", name, is_guest ? "guest" : "host", \
                   __LINE__, #what, strerror(errno));                                         \
            fflush(stdout);                                                                   \
            _exit(1);                                                                         \
        }                                                                                     \
    } while (0)

/* The same on both sides, from a seed: L'Ecuyer's xorshift of 32 bits (Marsaglia, "Xorshift RNGs", 2003). */
static uint32_t draw(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void fill(uint8_t *data, size_t len, uint32_t seed)
{
    seed = seed * 2654435761u | 1;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)draw(&seed);
}

/* ---- sockets ---- */

static int new_socket(int type)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    int fd = socket(is_guest ? AF_VSOCK : AF_UNIX, type | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
    return fd;
}

static int bound_socket(int type)
{
    const struct sockaddr_vm vm = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_ANY,
                                    .svm_port = port };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = new_socket(type);

    if (is_guest) {
        CHECK(!bind(fd, (const struct sockaddr *)&vm, sizeof(vm)));
        return fd;
    }
    snprintf(un.sun_path, sizeof(un.sun_path), "%s_%u", paths[type == SOCK_SEQPACKET], port);
    unlink(un.sun_path);
    CHECK(!bind(fd, (const struct sockaddr *)&un, sizeof(un)));
    return fd;
}

static int listening_socket(int type)
{
    int fd = bound_socket(type);

    CHECK(!listen(fd, 1024));
    return fd;
}

static int accept_one(int listener)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    int fd = accept(listener, NULL, NULL);

    CHECK(fd >= 0);
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
    return fd;
}

static int reach_device(int type)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = new_socket(type);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", paths[type == SOCK_SEQPACKET]);
    CHECK(!connect(fd, (const struct sockaddr *)&un, sizeof(un)));
    return fd;
}

/* "OK PORT\n" is one message, or as many bytes as there are to the end of the line. */
static bool said_ok(int fd, int type)
{
    char line[64];
    size_t len = 0;
    ssize_t n;

    do {
        n = recv(fd, line + len, type == SOCK_STREAM ? 1 : sizeof(line), 0);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && line[len - 1] != '\n' && len < sizeof(line));
    return len > 3 && !memcmp(line, "OK ", 3);
}

/* -1: nobody is there. */
static int try_dial(int type)
{
    const struct sockaddr_vm vm = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_HOST,
                                    .svm_port = port };
    char line[32];
    int fd;

    if (is_guest) {
        fd = new_socket(type);
        if (!connect(fd, (const struct sockaddr *)&vm, sizeof(vm)))
            return fd;
        CHECK(errno == ECONNRESET);
    } else {
        fd = reach_device(type);
        snprintf(line, sizeof(line), "CONNECT %u\n", port);
        CHECK(send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line));
        if (said_ok(fd, type))
            return fd;
    }
    close(fd);
    return -1;
}

static int dial(int type)
{
    int fd = try_dial(type);

    CHECK(fd >= 0);
    return fd;
}

/* Both sides are here. */
static void meet(void)
{
    char c = 'm';

    CHECK(send(together, &c, 1, MSG_NOSIGNAL) == 1);
    CHECK(recv(together, &c, 1, 0) == 1);
}

/* A connection for a case: the server listens before the client dials. */
static int connection(int type, bool client)
{
    int listener, fd;

    if (client) {
        meet();
        return dial(type);
    }
    listener = listening_socket(type);
    meet();
    fd = accept_one(listener);
    close(listener);
    return fd;
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, data + at, len - at, MSG_NOSIGNAL);

        CHECK(n > 0);
        at += (size_t)n;
    }
}

static void expect_bytes(int fd, const uint8_t *data, size_t len)
{
    static uint8_t got[65536];

    for (size_t at = 0; at < len;) {
        size_t want = len - at < sizeof(got) ? len - at : sizeof(got);
        ssize_t n = recv(fd, got, want, 0);

        CHECK(n > 0);
        CHECK(!memcmp(got, data + at, (size_t)n));
        at += (size_t)n;
    }
}

static void send_byte(int fd, char c)
{
    CHECK(send(fd, &c, 1, MSG_NOSIGNAL) == 1);
}

static void expect_byte(int fd, char want)
{
    char c = 0;

    CHECK(recv(fd, &c, 1, 0) == 1);
    CHECK(c == want);
}

static void expect_end(int fd)
{
    char c;

    CHECK(recv(fd, &c, 1, 0) == 0);
}

/* The other side has gone: that is known here after a moment. */
static void expect_broken(int fd)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    ssize_t n = 1;

    for (int i = 0; n == 1 && i < 100 * PATIENCE_S; i++) {
        n = send(fd, "x", 1, MSG_NOSIGNAL);
        nanosleep(&pause, NULL);
    }
    CHECK(n < 0 && (errno == EPIPE || errno == ECONNRESET));
}

/* ---- cases: what both sides do ---- */

static void nobody_listens(bool client)
{
    if (client) {
        CHECK(try_dial(SOCK_STREAM) < 0);
        CHECK(try_dial(SOCK_SEQPACKET) < 0);
    }
}

static void bound_only(bool client)
{
    int fd = client ? -1 : bound_socket(SOCK_STREAM);

    meet();
    if (client)
        CHECK(try_dial(SOCK_STREAM) < 0);
    meet();
    close(fd);
}

static void who_closes(bool client, bool closes)
{
    int fd = connection(SOCK_STREAM, client);

    if (closes) {
        send_byte(fd, 'A');
        close(fd);
        return;
    }
    expect_byte(fd, 'A');
    expect_end(fd);
    expect_broken(fd);
    close(fd);
}

static void client_closes(bool client)
{
    who_closes(client, client);
}

static void server_closes(bool client)
{
    who_closes(client, !client);
}

static void half_closed(bool client)
{
    int fd = connection(SOCK_STREAM, client);

    if (client) {
        send_byte(fd, 'H');
        CHECK(!shutdown(fd, SHUT_WR));
        expect_byte(fd, 'I');
        expect_end(fd);
    } else {
        expect_byte(fd, 'H');
        expect_end(fd);
        send_byte(fd, 'I');
    }
    close(fd);
}

static void many_at_once(bool client)
{
    int fd[AT_ONCE], listener = client ? -1 : listening_socket(SOCK_STREAM);

    meet();
    for (int i = 0; i < AT_ONCE; i++)
        fd[i] = client ? dial(SOCK_STREAM) : accept_one(listener);
    for (int i = 0; i < AT_ONCE; i++)
        send_byte(fd[i], (char)(client ? i : ~i));
    for (int i = AT_ONCE; i-- > 0;)
        expect_byte(fd[i], (char)(client ? ~i : i));
    for (int i = 0; i < AT_ONCE; i++)
        close(fd[i]);
    close(listener);
}

static void peeked(bool client)
{
    int fd = connection(SOCK_STREAM, client);
    char c = 0;

    if (client) {
        send_byte(fd, 'P');
        send_byte(fd, 'Q');
    } else {
        for (int i = 0; i < 2; i++) {
            CHECK(recv(fd, &c, 1, MSG_PEEK) == 1);
            CHECK(c == 'P');
        }
        expect_byte(fd, 'P');
        expect_byte(fd, 'Q');
    }
    meet();
    close(fd);
}

/* A Unix socket is readable by the first byte, whatever SO_RCVLOWAT says. */
static void low_water(bool client)
{
    int fd = connection(SOCK_STREAM, client), mark = 128;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint8_t data[128];

    fill(data, sizeof(data), port);
    if (client) {
        send_all(fd, data, 1);
        meet();
        send_all(fd, data + 1, sizeof(data) - 1);
    } else {
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)));
        CHECK(!is_guest || poll(&p, 1, 300) == 0);
        meet();
        CHECK(poll(&p, 1, 1000 * PATIENCE_S) == 1);
        expect_bytes(fd, data, sizeof(data));
    }
    meet();
    close(fd);
}

/* Each way at the same time, more than any buffer on the way holds. */
static void bulk(bool client)
{
    int fd = connection(SOCK_STREAM, client), status;
    uint8_t *data = malloc(BULK);
    pid_t child;

    CHECK(data);
    fill(data, BULK, client ? 1 : 2);
    child = fork();
    CHECK(child >= 0);
    if (!child) {
        send_all(fd, data, BULK);
        _exit(0);
    }
    fill(data, BULK, client ? 2 : 1);
    expect_bytes(fd, data, BULK);
    CHECK(waitpid(child, &status, 0) == child && !status);
    free(data);
    meet();
    close(fd);
}

static void message_bounds(bool client)
{
    static uint8_t data[MESSAGE_MAX], got[2 * MESSAGE_MAX];
    int fd = connection(SOCK_SEQPACKET, client);
    uint32_t seed = 77;

    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t len = 1 + draw(&seed) % MESSAGE_MAX;

        fill(data, len, i);
        if (client)
            CHECK(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
        else
            CHECK(recv(fd, got, sizeof(got), 0) == (ssize_t)len && !memcmp(data, got, len));
    }
    meet();
    close(fd);
}

static void message_truncated(bool client)
{
    int fd = connection(SOCK_SEQPACKET, client);
    char data[100] = "long", got[50];

    if (client) {
        CHECK(send(fd, data, sizeof(data), MSG_NOSIGNAL) == sizeof(data));
        CHECK(send(fd, "next", 4, MSG_NOSIGNAL) == 4);
    } else {
        CHECK(recv(fd, got, sizeof(got), MSG_TRUNC) == sizeof(data));
        CHECK(recv(fd, got, sizeof(got), 0) == 4 && !memcmp(got, "next", 4));
    }
    meet();
    close(fd);
}

static void message_late(bool client)
{
    const struct timeval soon = { .tv_usec = 200000 };
    int fd = connection(SOCK_SEQPACKET, client);
    char got[8];

    if (!client) {
        CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)));
        CHECK(recv(fd, got, sizeof(got), 0) < 0 && errno == EAGAIN);
    }
    meet();
    if (client)
        CHECK(send(fd, "late", 4, MSG_NOSIGNAL) == 4);
    meet();
    while (!client && recv(fd, got, sizeof(got), 0) != 4)
        CHECK(errno == EAGAIN);
    meet();
    close(fd);
}

/* The message is lost, and nothing else. */
static void message_nowhere(bool client)
{
    int fd = connection(SOCK_SEQPACKET, client);
    char got[8];

    if (client) {
        CHECK(send(fd, "lost", 4, MSG_NOSIGNAL) == 4);
        CHECK(send(fd, "kept", 4, MSG_NOSIGNAL) == 4);
    } else {
        void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        CHECK(hole != MAP_FAILED);
        CHECK(recv(fd, hole, 4096, 0) < 0 && (errno == EFAULT || errno == ENOMEM)); /* Linux 6.1 */
        CHECK(recv(fd, got, sizeof(got), 0) == 4 && !memcmp(got, "kept", 4));
    }
    meet();
    close(fd);
}

/* ---- many ---- */

static void echo(int fd)
{
    static uint8_t data[STRESS_MAX];
    ssize_t n;

    while ((n = recv(fd, data, sizeof(data), 0)) > 0)
        for (ssize_t at = 0, m; at < n; at += m)
            if ((m = send(fd, data + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0)
                return;
}

static void serve_many(int listener)
{
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < WORKERS * EACH; i++) {
        int fd = accept_one(listener);
        pid_t child = fork();

        CHECK(child >= 0);
        if (!child) {
            echo(fd);
            _exit(0);
        }
        close(fd);
    }
    signal(SIGCHLD, SIG_DFL);
}

static void work(uint32_t worker)
{
    static uint8_t data[STRESS_MAX];
    uint32_t seed = worker + 1;

    for (unsigned i = 0; i < EACH; i++) {
        size_t len = draw(&seed) % STRESS_MAX;
        int fd = dial(SOCK_STREAM);

        fill(data, len, seed);
        send_all(fd, data, len);
        if (i % ABORTED) { /* the others leave what comes back unread, which resets them */
            CHECK(!shutdown(fd, SHUT_WR));
            expect_bytes(fd, data, len);
            expect_end(fd);
        }
        close(fd);
    }
}

static void many_one_after_the_other(bool client)
{
    int listener = client ? -1 : listening_socket(SOCK_STREAM), status;
    pid_t child[WORKERS];

    meet();
    if (client)
        for (uint32_t i = 0; i < WORKERS; i++) {
            child[i] = fork();
            CHECK(child[i] >= 0);
            if (!child[i]) {
                work(i);
                _exit(0);
            }
        }
    else
        serve_many(listener);
    for (int i = 0; client && i < WORKERS; i++)
        CHECK(waitpid(child[i], &status, 0) == child[i] && !status);
    close(listener);
}

/* Clients of the host that say no CONNECT line, half of one, far too much, or nothing; others are served as ever. */
static void rude_clients(bool client)
{
    static const char *const words[] = { "", "CONN", "HELLO\n", "CONNECT x\n",
                                         "CONNECT 99999999999\n" };
    static char much[65536];
    int fd[RUDE];

    memset(much, 'C', sizeof(much));
    for (int i = 0; !is_guest && i < RUDE; i++) {
        const char *word = words[i % 5];

        fd[i] = reach_device(i % 2 ? SOCK_STREAM : SOCK_SEQPACKET);
        if (i % 7 == 3)
            (void)!send(fd[i], much, sizeof(much), MSG_NOSIGNAL | MSG_DONTWAIT);
        else if (*word)
            CHECK(send(fd[i], word, strlen(word), MSG_NOSIGNAL) > 0);
    }
    half_closed(client);
    for (int i = 0; !is_guest && i < RUDE; i++)
        close(fd[i]);
}

static const struct {
    const char *name;
    void (*run)(bool client);
} cases[] = {
    { "nobody-listens", nobody_listens },
    { "bound-only", bound_only },
    { "client-closes", client_closes },
    { "server-closes", server_closes },
    { "half-closed", half_closed },
    { "many-at-once", many_at_once },
    { "peeked", peeked },
    { "low-water", low_water },
    { "bulk", bulk },
    { "message-bounds", message_bounds },
    { "message-truncated", message_truncated },
    { "message-late", message_late },
    { "message-nowhere", message_nowhere },
    { "many-one-after-the-other", many_one_after_the_other },
    { "rude-clients", rude_clients },
};

/* The guest comes when it has booted. */
static void come_together(void)
{
    int listener;

    name = "start";
    port = PORT_TOGETHER;
    if (is_guest) {
        together = dial(SOCK_STREAM);
    } else {
        listener = listening_socket(SOCK_STREAM);
        printf("@ready\n");
        fflush(stdout);
        do
            together = accept(listener, NULL, NULL);
        while (together < 0 && errno == EAGAIN);
        CHECK(together >= 0);
        close(listener);
    }
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    is_guest = argc == 2 && !strcmp(argv[1], "guest");
    if (!is_guest && (argc != 4 || strcmp(argv[1], "host") != 0))
        return fprintf(stderr, "vsock-cases: see its head\n"), 2;
    if (!is_guest)
        memcpy(paths, argv + 2, sizeof(paths));
    come_together();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int guest_is_client = 0; guest_is_client < 2; guest_is_client++) {
            name = cases[i].name;
            port = PORT_FIRST + count++;
            meet();
            cases[i].run(is_guest == guest_is_client);
            meet();
            printf("@case %s guest-as-%s ok\n", name, guest_is_client ? "client" : "server");
            fflush(stdout);
        }
    if (is_guest) /* whose end resets the device, with what that has not looked at yet */
        expect_end(together);
    printf("@cases %u\n", count);
    return 0;
}
