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
    char *answer; /* given inside the call */
    unsigned handled, forgotten;
} s;

char *vmm_requests_handle(struct vmm_machine *machine, const char *untrusted, size_t len,
                          const struct request_reply *reply)
{
    (void)machine;
    (void)untrusted;
    (void)len;
    s.handled++;
    reply->done(reply->ctx, s.answer);
    return NULL;
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

static void serve(unsigned requests)
{
    while (s.handled < requests)
        cr_assert_geq(vm_loop_step(s.env.loop, 1000000), 0);
    for (unsigned i = 0; i < 3; i++)
        vm_loop_step(s.env.loop, 0);
}

Test(server, a_client_that_is_dropped_by_an_answer_inside_its_request_is_left_alone)
{
    char byte;

    open_server(LONG_ANSWER);

    cr_assert_eq(send(s.fd, "a\nb\n", 4, 0), 4);
    serve(1);

    cr_assert_eq(s.handled, 1, "the second line is nobody's");
    cr_assert_eq(recv(s.fd, &byte, 1, 0), 0, "it does not read its answers");
    close_server(); /* the sanitizer would see what was used after it was freed, and what was not freed */
}

Test(server, answers_inside_requests_come_in_order)
{
    char back[8] = "";

    open_server(1);

    cr_assert_eq(send(s.fd, "a\nb\nc\n", 6, 0), 6);
    serve(3);

    cr_assert_eq(recv(s.fd, back, sizeof(back), 0), 6);
    cr_assert_str_eq(back, "x\nx\nx\n");
    close_server();
}
