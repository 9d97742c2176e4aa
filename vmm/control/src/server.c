/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The control socket (docs/control-socket.md): a Unix stream socket; each line is a JSON object with "verb", each answer a line with "result" or
 * "error". A client may send anything: a line is at most LINE_MAX_BYTES, a client that sends more is told and cut off; an answer that does not go
 * out waits, and nothing more is read from its client, so that nobody blocks the loop or fills memory; at most CLIENTS_MAX are connected.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/state.h>

#include "listener.h"
#include "requests.h"

enum {
    CLIENTS_MAX = 16,
    LINE_MAX_BYTES = 64 << 10,
    OUT_MAX_BYTES = 1 << 20,
    EVENTS_MAX_BYTES = 64 << 10, /* that wait for one client */
    BACKLOG = 8
};

#define ACCEPT_AGAIN_NS 1000000000ULL

struct client {
    struct server *server;
    struct vm_watch watch;
    int fd;
    char in[LINE_MAX_BYTES];
    size_t in_len;
    struct vm_buffer out;
    size_t out_sent;
    bool waiting; /* an answer comes later: no further line is read until then */
    bool closing; /* when all is sent */
    bool
        ended; /* it sends no more, but may still read: closed when all is answered, unless it listens */
    bool listens; /* to events */
    bool handling; /* client_lines() is under way */
    unsigned users; /* calls that go on using it */
    bool gone; /* dropped; the last user frees it */
};

struct server {
    const struct vm_env *env;
    struct vmm_machine *machine;
    struct vm_watch watch;
    struct listener listener;
    struct client *client[CLIENTS_MAX];
    struct request_events events;
    struct vm_ratelimit refusals;
    struct vm_timer again; /* out of descriptors: looks again after a while */
};

static void client_drop(struct client *c)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->server->client[i] == c)
            c->server->client[i] = NULL;
    if (c->waiting)
        vmm_requests_forget(c->server->machine, c);
    vm_watch_del(&c->watch);
    vm_close(&c->fd);
    vm_buffer_free(&c->out);
    c->gone = true;
    if (!c->users)
        free(c);
}

static void client_hold(struct client *c)
{
    c->users++;
}

/* False: it was dropped meanwhile. */
static bool client_release(struct client *c)
{
    bool gone = c->gone;

    c->users--;
    if (gone && !c->users)
        free(c);
    return !gone;
}

/* Requests are taken one at a time, and only from a client that takes its answers. */
static bool client_may_ask(const struct client *c)
{
    return !c->gone && !c->waiting && !c->closing && !c->out.len;
}

/* Who listens and sends no more is watched for its end alone: else a slot would be its own until the next event. */
static void client_watch(struct client *c)
{
    vm_watch_set(&c->watch, (c->out.len ? EPOLLOUT : 0U) |
                                (client_may_ask(c) && !c->ended ? EPOLLIN : 0U) |
                                (c->ended && c->listens ? EPOLLHUP : 0U));
}

/* False: the client is gone. */
static bool client_flush(struct client *c)
{
    while (c->out_sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_sent, c->out.len - c->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0) {
            client_drop(c);
            return false;
        }
        c->out_sent += (size_t)n;
    }
    c->out.len = c->out_sent = 0;
    if (c->closing) {
        client_drop(c);
        return false;
    }
    return true;
}

static bool client_answer(struct client *c, const char *line)
{
    size_t len = strlen(line);

    if (c->out.len + len + 1 > OUT_MAX_BYTES || vm_buffer_add(&c->out, line, len) ||
        vm_buffer_add(&c->out, "\n", 1)) {
        client_drop(c);
        return false;
    }
    return client_flush(c);
}

static void client_lines(struct client *c);

static void answer_later(void *ctx, const char *line)
{
    struct client *c = ctx;

    c->waiting = false;
    if (client_answer(c, line))
        client_lines(c); /* what the client sent meanwhile */
}

static void client_listens(void *ctx)
{
    struct client *c = ctx;

    c->listens = true;
}

/* Who does not take its events is cut off: it would fill memory, or miss one without knowing. */
static void client_event(struct client *c, const char *line)
{
    if (c->out.len - c->out_sent + strlen(line) + 1 > EVENTS_MAX_BYTES) {
        vm_log_limited(c->server->env, &c->server->refusals, VM_LOG_WARN,
                       "control socket: a client does not take its events; it was cut off");
        client_drop(c);
    } else if (client_answer(c, line) && !c->handling) {
        client_watch(c);
    }
}

static void event(void *ctx, const char *line)
{
    struct server *s = ctx;

    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (s->client[i] && s->client[i]->listens && !s->client[i]->closing)
            client_event(s->client[i], line);
}

void vmm_server_event(struct server *s, enum vmm_event what, const char *source, const char *text)
{
    vmm_requests_tell(&s->events, what, source, text);
}

static void client_line(struct client *c, const char *line, size_t len)
{
    struct request_reply reply = { .done = answer_later, .listen = client_listens, .ctx = c };
    char *answer;

    c->waiting = true;
    answer = vmm_requests_handle(c->server->machine, line, len, &reply);
    if (answer && !c->gone) {
        c->waiting = false;
        client_answer(c, answer);
    }
    free(answer);
}

/* Handles the lines in the buffer, as far as answers go out; how many bytes they had. */
static size_t client_handle(struct client *c)
{
    size_t start = 0;
    char *end;

    while (client_may_ask(c) && (end = memchr(c->in + start, '\n', c->in_len - start))) {
        const char *line = c->in + start;

        start = (size_t)(end + 1 - c->in);
        client_line(c, line, (size_t)(end - line));
    }
    return start;
}

/* Goes on with the client as far as that is possible now. An answer inside a request leaves it to the call that is under way,
 * which holds the client: the sending of an answer may drop it. */
static void client_lines(struct client *c)
{
    size_t done;

    if (c->handling)
        return;
    c->handling = true;
    client_hold(c);
    done = client_handle(c);
    c->handling = false;
    if (!client_release(c))
        return;
    c->in_len -= done;
    memmove(c->in, c->in + done, c->in_len);
    if (client_may_ask(c) && c->in_len == sizeof(c->in)) {
        c->closing = true;
        if (!client_answer(
                c, "{\"error\":{\"code\":-7,\"text\":\"the request is longer than 64 KiB\"}}"))
            return;
    }
    if (client_may_ask(c) && c->ended && !c->listens)
        client_drop(c);
    else
        client_watch(c);
}

/* False: the client is gone. */
static bool client_read(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        client_drop(c);
        return false;
    }
    c->ended = n == 0;
    c->in_len += n > 0 ? (size_t)n : 0;
    return true;
}

static void client_ready(struct vm_watch *watch, uint32_t events)
{
    struct client *c = container_of(watch, struct client, watch);

    if (c->ended && events & (EPOLLHUP | EPOLLERR)) { /* told for ever, and nobody reads any more */
        client_drop(c);
        return;
    }
    if (c->out.len && !client_flush(c))
        return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && client_may_ask(c) && !c->ended &&
        c->in_len < sizeof(c->in) && !client_read(c))
        return;
    client_lines(c);
}

static void accept_again(struct vm_timer *timer)
{
    vm_watch_set(&container_of(timer, struct server, again)->watch, EPOLLIN);
}

/* Out of descriptors the connection stays in the queue and would wake the loop for ever. */
static void accept_failed(struct server *s, int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOMEM && error != ENOBUFS)
        return;
    vm_log_limited(s->env, &s->refusals, VM_LOG_WARN, "control socket: %s; a client waits",
                   strerror(error));
    vm_watch_set(&s->watch, 0);
    vm_timer_set(s->env->loop, &s->again, vm_loop_now_ns(s->env->loop) + ACCEPT_AGAIN_NS,
                 accept_again);
}

static void server_ready(struct vm_watch *watch, uint32_t events)
{
    struct server *s = container_of(watch, struct server, watch);
    int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c;
    unsigned i = 0;

    (void)events;
    if (fd < 0) {
        accept_failed(s, errno);
        return;
    }
    while (i < CLIENTS_MAX && s->client[i])
        i++;
    c = i < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        vm_log_limited(s->env, &s->refusals, VM_LOG_WARN,
                       "control socket: more than %u clients; one was refused", CLIENTS_MAX);
        close(fd);
        return;
    }
    c->server = s;
    c->fd = fd;
    s->client[i] = c;
    if (vm_watch_add(s->env->loop, &c->watch, fd, EPOLLIN, client_ready))
        client_drop(c);
}

/* In a directory the machine's process gives the name. */
static int listen_at(const char *path, struct listener *ret_listener)
{
    char in_it[PATH_MAX];
    struct stat st;

    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return vmm_listener_open(path, BACKLOG, ret_listener);
    snprintf(in_it, sizeof(in_it), "%s/vmm-%d.sock", path, (int)getpid());
    return vmm_listener_open(in_it, BACKLOG, ret_listener);
}

int vmm_server_new(const struct vm_env *env, struct vmm_machine *machine, const char *path,
                   struct server **ret_server)
{
    struct server *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "control socket: out of memory");
    s->env = env;
    s->machine = machine;
    rc = listen_at(path, &s->listener);
    if (rc) {
        free(s);
        return rc;
    }
    rc = vm_watch_add(env->loop, &s->watch, s->listener.fd, EPOLLIN, server_ready);
    if (rc) {
        vmm_listener_close(&s->listener);
        free(s);
        return rc;
    }
    s->events = (struct request_events){ event, s };
    vmm_requests_listen(machine, &s->events);
    *ret_server = s;
    return 0;
}

void vmm_server_free(struct server *s)
{
    if (!s)
        return;
    vmm_requests_listen(s->machine, NULL);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (s->client[i])
            client_drop(s->client[i]);
    vm_timer_cancel(&s->again);
    vm_watch_del(&s->watch);
    vmm_listener_close(&s->listener);
    free(s);
}

/* Why nobody is to be talked to there, for every verb alike. */
static int not_connected(int error, const char *path)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -ECONNREFUSED:
        return vm_fail(error,
                       "no machine listens on %s: was it started with --socket, and does it still "
                       "run?",
                       path);
    case -ENOTSOCK:
        return vm_fail(error, "%s is not a socket: give the one that vmm run --socket made", path);
    case -EACCES:
        return vm_fail(error, "%s: no permission: its machine belongs to another user; be that one",
                       path);
    default: return error;
    }
}

static int connect_to(const char *path)
{
    const struct timespec step = { .tv_nsec = 10000000 };
    struct stat st;
    int fd;

    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return vm_fail(-EISDIR, "%s is a directory: name the socket in it, vmm-PID.sock", path);
    while ((fd = vm_socket_connect(path)) == -EAGAIN)
        nanosleep(&step, NULL); /* others wait there, too */
    if (fd < 0)
        return not_connected(fd, path);
    if (fcntl(fd, F_SETFL, 0)) { /* this side waits for its answer */
        vm_fail_errno("control socket %s", path);
        vm_close(&fd);
        return -EIO;
    }
    return fd;
}

/* Gives the whole lines in the buffer to the caller and keeps the rest. */
static int take_lines(struct vm_buffer *b, int (*line)(void *ctx, char *line), void *ctx)
{
    size_t start = 0;
    char *end;
    int rc = 0;

    while (!rc && (end = memchr(b->data + start, '\n', b->len - start))) {
        char *at = (char *)b->data + start;

        *end = '\0';
        start = (size_t)(end + 1 - (char *)b->data);
        rc = line(ctx, at);
    }
    b->len -= start;
    memmove(b->data, b->data + start, b->len);
    return rc;
}

int vmm_server_follow(const char *path, const char *request, int (*line)(void *ctx, char *line),
                      void *ctx)
{
    struct vm_buffer b = { 0 };
    char chunk[4096];
    ssize_t n = 0;
    int fd = connect_to(path), rc;

    if (fd < 0)
        return fd;
    rc = vm_write_full(fd, request, strlen(request));
    if (!rc)
        rc = vm_write_full(fd, "\n", 1);
    while (!rc && (n = vm_read(fd, chunk, sizeof(chunk))) > 0) {
        rc = b.len + (size_t)n > OUT_MAX_BYTES ? vm_fail(-E2BIG, "%s: the answer is too long", path)
                                               : vm_buffer_add(&b, chunk, (size_t)n);
        if (!rc)
            rc = take_lines(&b, line, ctx);
    }
    close(fd);
    vm_buffer_free(&b);
    return rc;
}

static int take_answer(void *ctx, char *line)
{
    char **answer = ctx;

    *answer = strdup(line);
    return *answer ? 1 : vm_fail(-ENOMEM, "out of memory");
}

int vmm_server_ask(const char *path, const char *request, char **ret_answer)
{
    int rc = vmm_server_follow(path, request, take_answer, ret_answer);

    if (!rc)
        return vm_fail(
            -EPIPE, "%s: the machine closed the connection without an answer (it may have ended)",
            path);
    return rc < 0 ? rc : 0;
}
