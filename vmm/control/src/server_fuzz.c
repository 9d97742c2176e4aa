/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Clients of the control socket that write, read, half-close and go away whenever they like, on the real connections of
 * server.c with the loop in virtual time. requests.c is replaced here by one that answers at once, inside the call, late or
 * at length, as the line's first byte says; one makes its client a listener to events. Whoever keeps reading must get the answers to
 * all its whole lines, in order, whatever the others do, and no event that it did not ask for; and the loop must come to rest.
 *
 * An input is a list of steps: what, who, how much; a write's bytes follow it. Letters for seeds stand at enum action.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/state.h>

#include "requests.h"
#include "server.h"

enum {
    PEERS = 20, /* more than the server takes */
    SERVED = 16,
    STEPS_MAX = 400,
    ROUNDS_MAX = 4000,
    LINE_TOO_LONG = 64 << 10,
    PIECE_MAX = 16,
    ANSWER_LONG = 8 << 10,
    ANSWER_TOO_LONG = (1 << 20) + 1, /* dropped instead */
    EXPECTED_MAX = 1 << 20, /* of a client: it sends nothing more */
};

enum action {
    CONNECT, /* @ P */
    WRITE, /* A Q: so many bytes, which follow */
    REPEAT, /* B R: the piece that follows behind its length, 16 times as often and once more, in one call */
    READ, /* C S: up to 64 times as many and one */
    HALF_CLOSE, /* D T */
    DEAF, /* E U: shuts its reading side */
    CLOSE, /* F V */
    ROUND, /* G W: the loop, once */
    SERVE, /* H X: the loop, until it rests */
    ANSWER, /* I Y: a request that waits for it; if none does, an event */
    FEW_FILES, /* J Z: no further descriptor, or again any */
    PASS, /* K: so many times 10 ms */
    ACTIONS = 16, /* the others write, too */
};

struct peer {
    int fd; /* -1: not connected */
    bool half_closed, deaf; /* deaf: need not be answered */
    bool cut; /* it sent too long a line */
    bool listens;
    bool ended; /* the server closed the connection */
    struct vm_buffer line; /* the one that is not at its end */
    struct vm_buffer expected, got;
};

static struct {
    struct vm_env env;
    char folder[32], path[40];
    struct server *server;
    struct peer peer[PEERS];
    unsigned connects;
    bool few_files;
    struct rlimit files;
    struct {
        struct request_reply reply;
        char *answer;
    } late[PEERS];
    unsigned lates;
    const struct request_events *events;
} w;

/* Few enough of them wait for a client that it is not cut off. */
static const char event[] = "event";

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* --- in the place of requests.c --- */

static uint32_t hash(const char *bytes, size_t len)
{
    uint64_t h = 2166136261; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)bytes[i]) * 16777619 & UINT32_MAX;
    return (uint32_t)h;
}

static char *answer_to(const char *line, size_t len)
{
    size_t room = len && line[0] == 'B'   ? ANSWER_LONG
                  : len && line[0] == 'H' ? ANSWER_TOO_LONG
                                          : 24;
    char *text = malloc(room + 1), head[24];

    must(text);
    memset(text, '.', room);
    text[room] = 0;
    snprintf(head, sizeof(head), "%zu:%08x", len, hash(line, len));
    memcpy(text, head, strlen(head));
    return text;
}

char *vmm_requests_handle(struct vmm_machine *machine, const char *untrusted, size_t len,
                          const struct request_reply *reply)
{
    char *answer = answer_to(untrusted, len);

    (void)machine;
    if (len && untrusted[0] == 'V')
        reply->listen(reply->ctx);
    if (!len || (untrusted[0] != 'L' && untrusted[0] != 'I'))
        return answer;
    if (untrusted[0] == 'I') {
        reply->done(reply->ctx, answer);
        free(answer);
        return NULL;
    }
    for (unsigned i = 0; i < w.lates; i++)
        must(w.late[i].reply.ctx !=
             reply->ctx); /* one at a time, or answers would lose their order */
    must(w.lates < PEERS);
    w.late[w.lates].reply = *reply;
    w.late[w.lates++].answer = answer;
    return NULL;
}

static void answer_late(unsigned n, bool say)
{
    struct request_reply reply = w.late[n].reply;
    char *answer = w.late[n].answer;

    w.late[n] = w.late[--w.lates];
    if (say)
        reply.done(reply.ctx, answer);
    free(answer);
}

void vmm_requests_listen(struct vmm_machine *machine, const struct request_events *events)
{
    (void)machine;
    w.events = events;
}

void vmm_requests_tell(const struct request_events *events, enum vmm_event kind, const char *source,
                       const char *text)
{
    (void)kind;
    (void)source;
    events->event(events->ctx, text);
}

void vmm_requests_forget(struct vmm_machine *machine, void *ctx)
{
    (void)machine;
    for (unsigned i = 0; i < w.lates; i++)
        if (w.late[i].reply.ctx == ctx) {
            answer_late(i, false);
            return;
        }
}

/* --- clients --- */

static void expect_answer(struct peer *p)
{
    const char *line = (const char *)p->line.data;
    char *answer;

    p->deaf |= p->line.len && line[0] == 'H';
    p->listens |= p->line.len && line[0] == 'V';
    if (!p->deaf) {
        answer = answer_to(line, p->line.len);
        must(!vm_buffer_add(&p->expected, answer, strlen(answer)));
        must(!vm_buffer_add(&p->expected, "\n", 1));
        free(answer);
    }
    p->line.len = 0;
}

/* What the server owes for bytes that it will read. */
static void expect(struct peer *p, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && !p->cut; i++) {
        if (bytes[i] == '\n') {
            expect_answer(p);
        } else {
            must(!vm_buffer_add(&p->line, &bytes[i], 1));
            p->cut = p->line.len == LINE_TOO_LONG;
        }
    }
}

static void peer_write(struct peer *p, const uint8_t *bytes, size_t len)
{
    ssize_t n;

    if (p->fd < 0 || p->half_closed || p->expected.len > EXPECTED_MAX)
        return;
    n = send(p->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        expect(p, bytes, (size_t)n);
}

static bool peer_read(struct peer *p, size_t max)
{
    char bytes[16 << 10];
    ssize_t n;

    if (p->fd < 0 || p->ended)
        return false;
    n = recv(p->fd, bytes, max < sizeof(bytes) ? max : sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0)
        must(!vm_buffer_add(&p->got, bytes, (size_t)n));
    else
        p->ended = true;
    return true;
}

static void peer_close(struct peer *p)
{
    vm_close(&p->fd);
    vm_buffer_free(&p->line);
    vm_buffer_free(&p->expected);
    vm_buffer_free(&p->got);
    *p = (struct peer){ .fd = -1 };
}

/* accept4(2) then fails as it does for a process that has used all of them up. */
static void limit_files(bool few)
{
    struct rlimit limit = w.files;

    if (few)
        limit.rlim_cur = 0;
    must(!setrlimit(RLIMIT_NOFILE, &limit));
}

static void peer_connect(struct peer *p)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (p->fd >= 0)
        return;
    limit_files(false);
    p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    limit_files(w.few_files);
    must(p->fd >= 0);
    memcpy(addr.sun_path, w.path, sizeof(w.path));
    if (connect(p->fd, (struct sockaddr *)&addr, sizeof(addr))) {
        must(errno == EAGAIN); /* too many wait to be accepted */
        vm_close(&p->fd);
        return;
    }
    w.connects++;
}

/* --- steps --- */

/* Whether anything happened. What is never at rest would take all of a processor. */
static bool serve(void)
{
    unsigned rounds = 0;
    int n;

    while ((n = vm_loop_step(w.env.loop, 0)) > 0)
        must(++rounds < ROUNDS_MAX);
    must(n == 0);
    return rounds;
}

/* Long answers fewer times, or the input takes long. */
static size_t repeat(struct peer *p, size_t amount, const uint8_t *rest, size_t left)
{
    size_t piece = left ? rest[0] % PIECE_MAX + 1U : 0, times;
    uint8_t bytes[(16 * 255 + 1) * PIECE_MAX];

    if (left < 1 + piece || !left)
        return left;
    times = memchr(rest + 1, 'B', piece) ? amount + 1 : 16 * amount + 1;
    for (size_t i = 0; i < times; i++)
        memcpy(bytes + i * piece, rest + 1, piece);
    peer_write(p, bytes, times * piece);
    return 1 + piece;
}

/* Returns how many bytes of rest it took. */
static size_t step(uint8_t what, struct peer *p, uint8_t amount, const uint8_t *rest, size_t left)
{
    size_t len = amount < left ? amount : left;

    switch ((enum action)(what % ACTIONS)) {
    case CONNECT: peer_connect(p); return 0;
    case REPEAT: return repeat(p, amount, rest, left);
    case READ: peer_read(p, amount * 64U + 1); return 0;
    case HALF_CLOSE: p->half_closed = p->half_closed || !shutdown(p->fd, SHUT_WR); return 0;
    case DEAF: p->deaf = p->deaf || !shutdown(p->fd, SHUT_RD); return 0;
    case CLOSE: peer_close(p); return 0;
    case ROUND: must(vm_loop_step(w.env.loop, 0) >= 0); return 0;
    case SERVE: serve(); return 0;
    case ANSWER:
        if (w.lates)
            answer_late(amount % w.lates, true);
        else
            w.events->event(w.events->ctx, event);
        return 0;
    case FEW_FILES:
        w.few_files = !w.few_files;
        limit_files(w.few_files);
        return 0;
    case PASS: must(vm_loop_step(w.env.loop, amount * 10000000ULL) >= 0); return 0;
    default: peer_write(p, rest, len); return len;
    }
}

/* --- the end: everybody reads --- */

static void settle(void)
{
    bool more = true;

    w.few_files = false;
    limit_files(false);
    serve(); /* time stands still while there is work */
    must(vm_loop_step(w.env.loop, 2000000000) >=
         0); /* who found no descriptor is looked for again */
    while (more) {
        more = serve();
        for (; w.lates; more = true)
            answer_late(0, true);
        for (unsigned i = 0; i < PEERS; i++)
            while (!w.peer[i].deaf && peer_read(&w.peer[i], SIZE_MAX))
                more = true;
    }
}

/* Answers begin with a digit or a bracket. */
static void take_events_out(struct peer *p)
{
    char *got = (char *)p->got.data;
    size_t kept = 0, line;

    for (size_t at = 0; at < p->got.len; at += line) {
        const char *end = memchr(got + at, '\n', p->got.len - at);

        line = end ? (size_t)(end + 1 - got) - at : p->got.len - at;
        if (p->listens && line == sizeof(event) && !memcmp(got + at, event, line - 1))
            continue;
        memmove(got + kept, got + at, line);
        kept += line;
    }
    p->got.len = kept;
}

static void check(struct peer *p)
{
    const char *got = (const char *)p->got.data;
    bool refused = w.connects > SERVED && p->ended && !p->got.len;

    if (p->fd < 0 || p->deaf || refused)
        return;
    take_events_out(p);
    must(p->got.len >= p->expected.len);
    must(!p->expected.len || !memcmp(got, p->expected.data, p->expected.len));
    if (p->cut)
        must(p->got.len > p->expected.len && got[p->expected.len] == '{' &&
             memchr(got + p->expected.len, '\n', p->got.len - p->expected.len) ==
                 got + p->got.len - 1);
    else
        must(p->got.len == p->expected.len);
    must(p->ended == (p->cut || (p->half_closed && !p->listens)));
}

static void one_more_is_served(void)
{
    struct peer *p = &w.peer[0];

    w.connects = 0;
    peer_connect(p);
    peer_write(p, (const uint8_t *)"?\n", 2);
    settle();
    check(p);
    peer_close(p);
}

static void set_up(void)
{
    vm_env_host(VM_LOG_ERROR, &w.env);
    must(!getrlimit(RLIMIT_NOFILE, &w.files));
    snprintf(w.folder, sizeof(w.folder), "/tmp/vmm-server-XXXXXX");
    must(mkdtemp(w.folder));
    snprintf(w.path, sizeof(w.path), "%s/s", w.folder);
    for (unsigned i = 0; i < PEERS; i++)
        w.peer[i].fd = -1;
}

static void clean_up(void)
{
    rmdir(w.folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    set_up();
    must(!atexit(clean_up));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;

    must(!vm_loop_new(&w.env, VM_LOOP_VIRTUAL, &w.env.loop));
    must(!vmm_server_new(&w.env, NULL, w.path, &w.server));
    w.connects = 0;
    for (unsigned i = 0; i < STEPS_MAX && at + 3 <= size; i++, at += 3)
        at += step(data[at], &w.peer[data[at + 1] % PEERS], data[at + 2], data + at + 3,
                   size - at - 3);
    settle();
    for (unsigned i = 0; i < PEERS; i++)
        check(&w.peer[i]);
    for (unsigned i = 0; i < PEERS; i++)
        peer_close(&w.peer[i]);
    serve();
    one_more_is_served();
    serve();
    vmm_server_free(w.server);
    must(!w.lates);
    vm_loop_free(w.env.loop);
    return 0;
}
