/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Cases of sockets between guest and host, over a device whose connections end in Unix sockets (virtio_vsock.md): those of Linux's vsock_test as far
 * as a Unix socket has them (the list of cases at the end says what it has not), and many connections at once. The same program on both sides; static.
 *
 *     vsock-cases guest
 *     vsock-cases host STREAM SEQPACKET [EACH [INFO]]
 *
 * STREAM, SEQPACKET: the paths of the device's sockets; EACH: connections of each worker of the stress; INFO: a command that prints what `vmm info`
 * prints of the machine: then the device's metrics are compared with what was done.
 *
 * Each case runs twice, with the guest as client and as server; a connection of the guest's to the host, made first, keeps both sides together. Prints
 * a line for each, "@case NAME SIDE ok", or "@skipped NAME SIDE: REASON", and at the end "@cases N"; what is wrong is told as "@failed ...", and the
 * status is 1.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/vm_sockets.h>

#include "vsock-cases.h"

enum {
    PORT_TOGETHER = 1100,
    PORT_TWICE = 1200, /* the guest's end of a connection */
    PORT_FIRST = 2000, /* one for each run of a case */
    PORT_MESSAGES = 10000, /* so much more for messages: one port is of one type in Linux */
    AT_ONCE = 256,
    BULK = 4 << 20,
    EACH = 450, /* unless the host is told otherwise */
};

bool is_guest;
unsigned port;
const char *name, *info;
struct plan plan = { .each = EACH };
static const char *paths[2]; /* of streams and of messages */
static int together;

/* Marsaglia's xorshift of 32 bits ("Xorshift RNGs", 2003). */
uint32_t draw(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

void fill(uint8_t *data, size_t len, uint32_t seed)
{
    seed = seed * 2654435761u | 1;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)draw(&seed);
}

void pause_ms(unsigned ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep(&pause, NULL);
}

/* ---- sockets ---- */

static unsigned port_of(int type)
{
    return type == SOCK_STREAM ? port : port + PORT_MESSAGES;
}

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
                                    .svm_port = port_of(type) };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = new_socket(type);

    if (is_guest) {
        CHECK(!bind(fd, (const struct sockaddr *)&vm, sizeof(vm)));
        return fd;
    }
    snprintf(un.sun_path, sizeof(un.sun_path), "%s_%u", paths[type == SOCK_SEQPACKET],
             port_of(type));
    unlink(un.sun_path);
    CHECK(!bind(fd, (const struct sockaddr *)&un, sizeof(un)));
    return fd;
}

int listening_socket(int type)
{
    int fd = bound_socket(type);

    CHECK(!listen(fd, 1024));
    return fd;
}

int accept_one(int listener)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    int fd = accept(listener, NULL, NULL);

    CHECK(fd >= 0);
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
    return fd;
}

int reach_device(int type)
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
                                    .svm_port = port_of(type) };
    char line[32];
    int fd;

    if (is_guest) {
        fd = new_socket(type);
        if (!connect(fd, (const struct sockaddr *)&vm, sizeof(vm)))
            return fd;
        CHECK(errno == ECONNRESET);
    } else {
        fd = reach_device(type);
        snprintf(line, sizeof(line), "CONNECT %u\n", port_of(type));
        CHECK(send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line));
        if (said_ok(fd, type))
            return fd;
    }
    close(fd);
    return -1;
}

int dial(int type)
{
    int fd = try_dial(type);

    CHECK(fd >= 0);
    return fd;
}

/* Both sides are here. */
void meet(void)
{
    char c = 'm';

    CHECK(send(together, &c, 1, MSG_NOSIGNAL) == 1);
    CHECK(recv(together, &c, 1, 0) == 1);
}

/* A connection for a case: the server listens before the client dials. */
int connection(int type, bool client)
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

void send_all(int fd, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, data + at, len - at, MSG_NOSIGNAL);

        CHECK(n > 0);
        at += (size_t)n;
    }
}

void expect_bytes(int fd, const uint8_t *data, size_t len)
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

void send_byte(int fd, char c)
{
    CHECK(send(fd, &c, 1, MSG_NOSIGNAL) == 1);
}

void expect_byte(int fd, char want)
{
    char c = 0;

    CHECK(recv(fd, &c, 1, 0) == 1);
    CHECK(c == want);
}

void expect_end(int fd)
{
    char c;

    CHECK(recv(fd, &c, 1, 0) == 0);
}

void await_events(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    CHECK(poll(&p, 1, 1000 * PATIENCE_S) == 1);
    CHECK(p.revents & events);
}

/* The other side takes nothing more: that is known here after a moment. */
static void expect_broken(int fd, int flags)
{
    ssize_t n = 1;

    for (int i = 0; n == 1 && i < 100 * PATIENCE_S; i++) {
        n = send(fd, "x", 1, flags);
        if (n == 1)
            pause_ms(10); /* or what it has room for is used up first */
    }
    CHECK(n < 0 && errno == EPIPE);
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
    await_events(fd, POLLRDHUP);
    expect_broken(fd, MSG_NOSIGNAL);
    expect_byte(fd, 'A'); /* which came before */
    expect_end(fd);
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

static volatile sig_atomic_t broken_pipes;

static void on_sigpipe(int number)
{
    (void)number;
    broken_pipes = 1;
}

/* In the guest from Linux 6.7 on; before that send(2) just fails. */
static void expect_sigpipe(int fd)
{
    bool comes = !is_guest || plan.linux_of_guest >= 6007;
    const struct sigaction count = { .sa_handler = on_sigpipe };

    broken_pipes = 0;
    CHECK(!sigaction(SIGPIPE, &count, NULL));
    expect_broken(fd, 0);
    CHECK(broken_pipes == comes);
    broken_pipes = 0;
    expect_broken(fd, MSG_NOSIGNAL);
    CHECK(!broken_pipes);
    signal(SIGPIPE, SIG_DFL);
}

/* Who has said that it sends nothing more cannot. */
static void no_sends(bool client)
{
    int fd = connection(SOCK_STREAM, client);

    if (client) {
        CHECK(!shutdown(fd, SHUT_WR));
        expect_sigpipe(fd);
    }
    meet();
    close(fd);
}

/* Who has said that it reads nothing more is sent nothing. */
static void no_receives(bool client)
{
    int fd = connection(SOCK_STREAM, client);

    if (!client)
        CHECK(!shutdown(fd, SHUT_RD));
    meet();
    if (client)
        expect_sigpipe(fd);
    meet();
    close(fd);
}

/* Twice from the same port of the guest's; the host's ports are the device's to choose. */
static void same_port_twice(bool client)
{
    const struct sockaddr_vm from = { .svm_family = AF_VSOCK,
                                      .svm_cid = VMADDR_CID_ANY,
                                      .svm_port = PORT_TWICE };
    const struct sockaddr_vm to = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_HOST,
                                    .svm_port = port };
    int listener = client ? -1 : listening_socket(SOCK_STREAM), fd;

    for (int i = 0; i < 2; i++) {
        meet();
        if (!client) {
            fd = accept_one(listener);
            expect_end(fd);
        } else if (is_guest) {
            fd = new_socket(SOCK_STREAM);
            CHECK(!bind(fd, (const struct sockaddr *)&from, sizeof(from)));
            CHECK(!connect(fd, (const struct sockaddr *)&to, sizeof(to)));
        } else {
            fd = dial(SOCK_STREAM);
        }
        close(fd);
    }
    meet();
    close(listener);
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
    look_before_reading(SOCK_STREAM, client);
}

/* What was sent in pieces is read as one, and nothing more is there. */
static void merged(bool client)
{
    int fd = connection(SOCK_STREAM, client);
    char got[32] = "";

    for (int i = 0; i < 2; i++) {
        if (client)
            CHECK(send(fd, i ? "right" : "left ", 5, MSG_NOSIGNAL) == 5);
        meet();
        if (!client && !i)
            CHECK(recv(fd, got, 2, MSG_WAITALL) == 2);
        meet();
    }
    if (!client) {
        CHECK(recv(fd, got + 2, 8, MSG_WAITALL) == 8 && !memcmp(got, "left right", 10));
        CHECK(recv(fd, got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN);
    }
    meet();
    close(fd);
}

/* Bytes stay for the next call when this one has nowhere to put them. */
static void bytes_nowhere(bool client)
{
    int fd = connection(SOCK_STREAM, client);
    uint8_t data[512];

    fill(data, sizeof(data), port);
    if (client)
        send_all(fd, data, sizeof(data));
    else
        CHECK(recv(fd, NULL, sizeof(data), 0) < 0 &&
              (errno == EFAULT || errno == ENOMEM)); /* Linux 6.1 */
    if (!client)
        expect_bytes(fd, data, sizeof(data));
    meet();
    close(fd);
}

/* A Unix socket is readable by the first byte, whatever SO_RCVLOWAT says. */
static void low_water(bool client)
{
    int fd = connection(SOCK_STREAM, client), mark = 128;
    struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDNORM };
    uint8_t data[128], got[128];

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
        CHECK(p.revents == (POLLIN | POLLRDNORM));
        CHECK(!is_guest || recv(fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) == sizeof(got));
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

void rude_come(int fd[RUDE])
{
    static const char *const words[] = { "", "CONN", "HELLO\n", "CONNECT x\n",
                                         "CONNECT 99999999999\n" };
    static char much[65536];

    memset(much, 'C', sizeof(much));
    for (int i = 0; i < RUDE; i++) {
        const char *word = words[i % 5];

        fd[i] = reach_device(i % 2 ? SOCK_STREAM : SOCK_SEQPACKET);
        if (i % 7 == 3)
            (void)!send(fd[i], much, sizeof(much), MSG_NOSIGNAL | MSG_DONTWAIT);
        else if (*word)
            CHECK(send(fd[i], word, strlen(word), MSG_NOSIGNAL) > 0);
    }
}

void rude_go(int fd[RUDE])
{
    for (int i = 0; i < RUDE; i++)
        close(fd[i]);
}

/* Clients of the host that say no CONNECT line, half of one, far too much, or nothing; others are served as ever. */
static void rude_clients(bool client)
{
    int fd[RUDE];

    if (!is_guest)
        rude_come(fd);
    half_closed(client);
    if (!is_guest)
        rude_go(fd);
}

/* ---- the list ---- */

enum { AS_CLIENT = 1, AS_SERVER = 2, EITHER = 3 };

/*
 * Those of Linux 6.12's vsock_test are here, each in its place in that order but where two are one; behind the name stands from which Linux of the
 * guest's on they can be, and where it plays that part. What a Unix socket has not, and so the host's side of a case:
 *
 *   MSG_EOR            is not carried by one: message-bounds is about lengths and bytes
 *   SO_RCVLOWAT        readable is a stream by its first byte: low-water, credit-by-low-water look at the guest's side; instead of the second the
 *                      host gives room for the guest's bytes by reading
 *   SO_ZEROCOPY        nor its completions: the guest is the one who sends, whoever was the client
 *   a port of its own  for the client: same-port-twice
 *   the peer's buffer  a message larger than its own one is refused by the sender's Linux, one larger than the guest's by the device, which resets the
 *                      connection (message-too-big)
 *
 * Messages are the host's by sockets of their own (SOCK_SEQPACKET, seqpacket=), so their cases are all here.
 */
static const struct {
    const char *name;
    void (*run)(bool client);
    unsigned since; /* 1000 * major + minor; 0: any */
    unsigned as; /* the guest's part that needs it */
} cases[] = {
    { "nobody-listens", nobody_listens, 0, 0 },
    { "bound-only", bound_only, 0, 0 },
    { "client-closes", client_closes, 0, 0 },
    { "server-closes", server_closes, 0, 0 },
    { "many-at-once", many_at_once, 0, 0 },
    { "peeked", peeked, 0, 0 },
    { "message-bounds", message_bounds, 0, 0 },
    { "message-truncated", message_truncated, 0, 0 },
    { "message-late", message_late, 0, 0 },
    { "message-hole", message_hole, 0, 0 },
    { "low-water", low_water, 0, 0 },
    { "message-too-big", message_too_big, 0, 0 },
    { "bytes-nowhere", bytes_nowhere, 0, 0 },
    { "message-nowhere", message_nowhere, 0, 0 },
    { "merged", merged, 0, 0 },
    { "message-peeked", message_peeked, 6006, AS_SERVER },
    { "no-sends", no_sends, 0, 0 },
    { "no-receives", no_receives, 0, 0 },
    { "zero-copy", zero_copy, 6007, EITHER },
    { "zero-copy-messages", zero_copy_messages, 6007, EITHER },
    { "no-completion", no_completion, 6007, EITHER },
    { "same-port-twice", same_port_twice, 0, 0 },
    { "credit-by-low-water", credit_by_low_water, 6008, AS_SERVER },
    { "credit-by-reading", credit_by_reading, 6008, AS_SERVER },
    { "all-sent", all_sent, 6012, AS_CLIENT },
    { "all-messages-sent", all_messages_sent, 6012, AS_CLIENT },
    /* Our own. */
    { "credit-of-merged", credit_of_merged, 0, 0 },
    { "no-room", no_room, 0, 0 },
    { "half-closed", half_closed, 0, 0 },
    { "bulk", bulk, 0, 0 },
    { "rude-clients", rude_clients, 0, 0 },
    { "many-mixed", many_mixed, 0, 0 },
};

static uint32_t own_linux(void)
{
    unsigned major = 0, minor = 0;
    struct utsname u;

    CHECK(!uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2);
    return 1000 * major + minor;
}

/* The guest comes when it has booted. */
static void come_together(void)
{
    int listener;

    name = "start";
    port = PORT_TOGETHER;
    if (is_guest) {
        together = dial(SOCK_STREAM);
        plan.linux_of_guest = own_linux();
        CHECK(send(together, &plan.linux_of_guest, 4, MSG_NOSIGNAL) == 4);
        CHECK(recv(together, &plan.each, 4, MSG_WAITALL) == 4);
        return;
    }
    listener = listening_socket(SOCK_STREAM);
    printf("@ready\n");
    fflush(stdout);
    do
        together = accept(listener, NULL, NULL);
    while (together < 0 && errno == EAGAIN);
    CHECK(together >= 0);
    close(listener);
    CHECK(recv(together, &plan.linux_of_guest, 4, MSG_WAITALL) == 4);
    CHECK(send(together, &plan.each, 4, MSG_NOSIGNAL) == 4);
}

static bool is_missing(size_t i, bool guest_is_client)
{
    const char *side = guest_is_client ? "client" : "server";
    uint32_t has = plan.linux_of_guest;

    if (has >= cases[i].since || !(cases[i].as & (guest_is_client ? AS_CLIENT : AS_SERVER)))
        return false;
    printf("@skipped %s guest-as-%s: the guest's Linux is %u.%u, which has it from %u.%u on\n",
           cases[i].name, side, has / 1000, has % 1000, cases[i].since / 1000,
           cases[i].since % 1000);
    return true;
}

static unsigned run_case(size_t i, bool guest_is_client)
{
    name = cases[i].name;
    if (is_missing(i, guest_is_client))
        return 0;
    meet();
    cases[i].run(is_guest == guest_is_client);
    meet();
    printf("@case %s guest-as-%s ok\n", name, guest_is_client ? "client" : "server");
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    is_guest = argc == 2 && !strcmp(argv[1], "guest");
    if (!is_guest && (argc < 4 || argc > 6 || strcmp(argv[1], "host") != 0))
        return fprintf(stderr, "vsock-cases: see its head\n"), 2;
    if (!is_guest)
        memcpy(paths, argv + 2, sizeof(paths));
    if (argc > 4)
        plan.each = (uint32_t)strtoul(argv[4], NULL, 10);
    if (argc > 5)
        info = argv[5];
    come_together();
    port = PORT_FIRST;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int guest_is_client = 0; guest_is_client < 2; guest_is_client++, port++)
            count += run_case(i, guest_is_client);
    if (is_guest) /* whose end resets the device, with what that has not looked at yet */
        expect_end(together);
    printf("@cases %u\n", count);
    return 0;
}
