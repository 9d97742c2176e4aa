/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the control socket that need answers no machine gives: requests.c is replaced here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>

#include "requests.h"
#include "server.h"

enum { LONG_ANSWER = 2 << 20 };

static struct {
    struct vm_env env;
    struct server *server;
    char folder[64], path[80];
    int fd;
    enum { INSIDE, AT_ONCE, LATE } when; /* the answer comes */
    char *answer;
    struct request_reply late;
    const struct request_events *events;
    unsigned handled, forgotten;
} s;

char *vmm_requests_handle(struct vmm_machine *machine, const char *untrusted, size_t len,
                          const struct request_reply *reply)
{
    (void)machine;
    s.handled++;
    s.late = *reply;
    if (len == 1 && untrusted[0] == 'e')
        reply->listen(reply->ctx);
    if (s.when == AT_ONCE)
        return strdup(s.answer);
    if (s.when == INSIDE)
        reply->done(reply->ctx, s.answer);
    return NULL;
}

void vmm_requests_listen(struct vmm_machine *machine, const struct request_events *events)
{
    (void)machine;
    s.events = events;
}

void vmm_requests_tell(const struct request_events *events, enum vmm_event event,
                       const char *source, const char *text)
{
    (void)event;
    (void)source;
    events->event(events->ctx, text);
}

void vmm_requests_forget(struct vmm_machine *machine, void *ctx)
{
    (void)machine;
    (void)ctx;
    s.forgotten++;
}

static void open_server(size_t answer_bytes)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    s.answer = calloc(1, answer_bytes + 1);
    memset(s.answer, 'x', answer_bytes);
    snprintf(s.folder, sizeof(s.folder), "/tmp/vmm-server-XXXXXX");
    cr_assert(mkdtemp(s.folder));
    snprintf(s.path, sizeof(s.path), "%s/s", s.folder);
    vm_env_host(VM_LOG_ERROR, &s.env);
    cr_assert_eq(vm_loop_new(&s.env, 0, &s.env.loop), 0);
    cr_assert_eq(vmm_server_new(&s.env, NULL, s.path, &s.server), 0, "%s", vm_error_text());
    s.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s.path);
    cr_assert_eq(connect(s.fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void close_server(void)
{
    vmm_server_free(s.server);
    vm_loop_free(s.env.loop);
    close(s.fd);
    rmdir(s.folder);
    free(s.answer);
}

static void rounds(void)
{
    for (unsigned i = 0; i < 3; i++)
        vm_loop_step(s.env.loop, 0);
}

static void serve(unsigned requests)
{
    while (s.handled < requests)
        cr_assert_geq(vm_loop_step(s.env.loop, 1000000), 0);
    rounds();
}

static void say(const char *lines)
{
    cr_assert_eq(send(s.fd, lines, strlen(lines), 0), (ssize_t)strlen(lines));
}

/* Reads what comes until there is nothing more for now; returns how many bytes. */
static size_t hear(bool *ret_closed)
{
    static char bytes[64 << 10];
    size_t all = 0;
    ssize_t n;

    while ((n = recv(s.fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        all += (size_t)n;
        rounds();
    }
    *ret_closed = n == 0;
    return all;
}

Test(server, a_client_that_is_dropped_by_an_answer_inside_its_request_is_left_alone)
{
    char byte;

    open_server(LONG_ANSWER);

    say("a\nb\n");
    serve(1);

    cr_assert_eq(s.handled, 1, "the second line is nobody's");
    cr_assert_eq(recv(s.fd, &byte, 1, 0), 0, "it does not read its answers");
    close_server(); /* the sanitizer would see what was used after it was freed, and what was not freed */
}

Test(server, answers_inside_requests_come_in_order)
{
    char back[8] = "";

    open_server(1);

    say("a\nb\nc\n");
    serve(3);

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 6);
    cr_assert_str_eq(back, "x\nx\nx\n");
    close_server();
}

Test(server, ten_thousand_answers_inside_requests_need_no_stack)
{
    static char lines[20001];
    bool closed;

    open_server(0);
    for (size_t i = 0; i < 10000; i++)
        memcpy(lines + 2 * i, "a\n", 2);

    say(lines);
    while (s.handled < 10000) {
        rounds();
        hear(&closed);
        cr_assert_not(closed);
    }

    close_server();
}

/* What fits into a socket goes out; the rest waits. */
Test(server, a_client_that_reads_nothing_is_not_read_either)
{
    bool closed;

    open_server(LONG_ANSWER / 4);
    s.when = AT_ONCE;

    say("a\nb\nc\nd\n");
    serve(1);
    cr_assert_eq(s.handled, 1, "%u", s.handled);

    cr_assert_eq(hear(&closed), 4 * (LONG_ANSWER / 4 + 1));
    cr_assert_not(closed);
    cr_assert_eq(s.handled, 4);
    close_server();
}

Test(server, a_client_that_sends_no_more_gets_its_answers_and_then_the_end)
{
    bool closed;

    open_server(LONG_ANSWER / 4);
    s.when = AT_ONCE;

    say("a\nb\n");
    shutdown(s.fd, SHUT_WR);
    serve(1);

    cr_assert_eq(hear(&closed), 2 * (LONG_ANSWER / 4 + 1));
    cr_assert(closed);
    close_server();
}

Test(server, a_late_answer_still_reaches_a_client_that_sends_no_more)
{
    bool closed;

    open_server(1);
    s.when = LATE;
    say("a\n");
    serve(1);

    shutdown(s.fd, SHUT_WR);
    rounds();
    s.late.done(s.late.ctx, s.answer);
    rounds();

    cr_assert_eq(hear(&closed), 2);
    cr_assert(closed);
    cr_assert_eq(s.forgotten, 0);
    close_server();
}

Test(server, what_comes_while_an_answer_is_late_waits_in_the_socket)
{
    static char endless[100000];

    open_server(1);
    s.when = LATE;
    say("a\n");
    serve(1);

    memset(endless, 'x', sizeof(endless) - 1);
    say(endless);
    rounds();
    cr_assert_eq(s.forgotten, 0, "cut off before its answer");

    s.late.done(s.late.ctx, s.answer);
    close_server();
}

/* ---- events ---- */

static int connect_again(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s.path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    rounds();
    return fd;
}

static void happens(const char *line)
{
    s.events->event(s.events->ctx, line);
    rounds();
}

static bool is_open(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0;
}

Test(server, events_come_to_who_asked_for_them)
{
    char back[16] = "", byte;
    int other;

    open_server(1);
    s.when = AT_ONCE;
    other = connect_again();

    say("e\n");
    serve(1);
    happens("EVENT");

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 8);
    cr_assert_str_eq(back, "x\nEVENT\n");
    cr_assert_eq(recv(other, &byte, 1, MSG_DONTWAIT), -1);
    close(other);
    close_server();
    cr_assert_null(s.events, "nobody is told behind the server's end");
}

Test(server, what_the_machine_says_comes_to_who_asked_for_events)
{
    char back[16] = "";

    open_server(1);
    s.when = AT_ONCE;
    say("e\n");
    serve(1);

    vmm_server_event(s.server, VMM_EVENT_ENDED, "machine", "reset");

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 8);
    cr_assert_str_eq(back, "x\nreset\n");
    close_server();
}

Test(server, an_event_while_an_answer_is_late_comes_before_it)
{
    char back[16] = "";

    open_server(1);
    s.when = AT_ONCE;
    say("e\n");
    serve(1);
    s.when = LATE;
    say("a\n");
    serve(2);

    happens("EVENT");
    s.late.done(s.late.ctx, s.answer);
    rounds();

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 10);
    cr_assert_str_eq(back, "x\nEVENT\nx\n");
    close_server();
}

Test(server, a_listener_that_sends_no_more_still_hears)
{
    char back[16] = "";

    open_server(1);
    s.when = AT_ONCE;
    say("e\n");
    serve(1);

    shutdown(s.fd, SHUT_WR);
    rounds();
    happens("EVENT");

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 8);
    cr_assert_str_eq(back, "x\nEVENT\n");
    close_server();
}

Test(server, a_listener_that_left_makes_room_for_another)
{
    enum { MOST = 16 };
    int fd[MOST];

    open_server(1);
    s.when = AT_ONCE;
    for (int i = 1; i < MOST; i++) {
        fd[i] = connect_again();
        cr_assert_eq(send(fd[i], "e\n", 2, 0), 2);
        serve((unsigned)i);
        shutdown(fd[i], SHUT_WR);
        rounds();
    }
    for (int i = 1; i < MOST; i++)
        close(fd[i]);
    rounds();
    for (int i = 0; i < MOST; i++)
        rounds();

    fd[0] = connect_again();

    cr_assert(is_open(fd[0]));
    close(fd[0]);
    close_server();
}

Test(server, a_listener_that_does_not_read_is_cut_off_and_the_others_hear)
{
    static char line[16 << 10];
    bool closed;
    int other;

    open_server(1);
    s.when = AT_ONCE;
    other = connect_again();
    cr_assert_eq(send(other, "e\n", 2, 0), 2);
    say("e\n");
    serve(2);
    memset(line, 'E', sizeof(line) - 1);

    for (int i = 0; i < 24; i++) { /* what a socket holds, and 64 KiB, but no megabyte */
        happens(line);
        hear(&closed);
        cr_assert_not(closed);
    }

    while (recv(other, line, sizeof(line), MSG_DONTWAIT) > 0)
        ;
    cr_assert_not(is_open(other));
    close(other);
    close_server();
}
