/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The listening socket and its clients. */
#include "char_test.h"

#include <sys/epoll.h>
#include <sys/un.h>

static void setup(void)
{
    bench_setup(VM_LOOP_VIRTUAL);
}

TestSuite(vchar_socket, .init = setup, .fini = bench_teardown, .timeout = TEST_TIMEOUT);

static struct sockaddr_un address(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    memcpy(addr.sun_path, in_dir("socket"), strlen(in_dir("socket")));
    return addr;
}

static int client(void)
{
    struct sockaddr_un addr = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    run_ms(5);
    return fd;
}

static int listener(void)
{
    struct sockaddr_un addr = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

static void start(void)
{
    cr_assert_eq(open_chr(VCHAR_AUTO, NULL, in_dir("socket"), false), 0, "%s", vm_error_text());
}

static bool closed_by_peer(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void expect(int fd, const char *text)
{
    uint8_t data[100];

    cr_assert_eq(read_all(fd, data, strlen(text)), strlen(text));
    cr_assert_eq(memcmp(data, text, strlen(text)), 0);
}

Test(vchar_socket, client_gets_output_and_gives_input)
{
    int fd;
    start();
    fd = client();

    say("login: ", true);
    expect(fd, "login: ");
    cr_assert_eq(send(fd, "ro\001xot", 6, 0), 6);
    run_ms(1);

    cr_assert_eq(b.got_len, 6);
    cr_assert_eq(b.escapes, 0);
    close(fd);
}

Test(vchar_socket, late_client_gets_what_was_before)
{
    int fd;
    start();
    say("early ", true);
    run_ms(5);
    say("words", true);
    run_ms(5);

    fd = client();

    expect(fd, "early words");
    close(fd);
}

Test(vchar_socket, late_client_gets_the_newest_bytes)
{
    static uint8_t data[1 << 20];
    size_t left;
    int fd;
    start();
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(say_pattern((uint64_t)i * 5000, 5000, true), 5000);
        run_ms(2);
    }
    left = 500000 - vchar_dropped(b.chr);

    fd = client();

    cr_assert_geq(left, KEEP_BYTES);
    cr_assert_eq(read_all(fd, data, left), left);
    cr_assert(holds_pattern(data, left, 500000 - left));
    close(fd);
}

Test(vchar_socket, second_client_is_refused)
{
    int first, second;
    start();
    first = client();

    second = client();

    cr_assert(closed_by_peer(second));
    say("x", true);
    expect(first, "x");
    close(first);
    close(second);
}

Test(vchar_socket, next_client_comes_after_the_first_has_gone)
{
    int fd;
    start();
    close(client());
    run_ms(5);
    say("between", true);
    run_ms(5);

    fd = client();

    expect(fd, "between");
    cr_assert_eq(send(fd, "y", 1, 0), 1);
    run_ms(1);
    cr_assert_eq(b.got_len, 1);
    close(fd);
}

Test(vchar_socket, client_that_went_in_the_same_moment_is_no_hindrance)
{
    struct sockaddr_un addr;
    int first, second;
    start();
    addr = address();
    first = client();
    second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(second, (struct sockaddr *)&addr, sizeof(addr)), 0);

    close(first);
    run_ms(5);
    say("x", true);

    expect(second, "x");
    close(second);
}

Test(vchar_socket, client_that_sends_no_more_still_gets_output)
{
    int fd;
    start();
    fd = client();

    cr_assert_eq(send(fd, "q", 1, 0), 1);
    shutdown(fd, SHUT_WR);
    run_ms(5);
    say("answer", true);

    expect(fd, "answer");
    cr_assert_eq(b.got_len, 1);
    close(fd);
}

Test(vchar_socket, last_words_of_a_client_arrive)
{
    int fd;
    start();
    b.room = 2;
    fd = client();
    cr_assert_eq(send(fd, "poweroff\n", 9, 0), 9);
    close(fd);
    run_ms(5);
    cr_assert_eq(b.got_len, 2);

    b.room = 100;
    vchar_ready(b.chr);
    run_ms(5);

    cr_assert_eq(b.got_len, 9);
    cr_assert_eq(b.chr->in_fd, -1);
}

Test(vchar_socket, last_words_that_nobody_wants_do_not_keep_others_out)
{
    int fd;
    start();
    b.room = 0;
    fd = client();
    cr_assert_eq(send(fd, "poweroff\n", 9, 0), 9);
    close(fd);
    run_ms(5);

    fd = client();
    say("x", true);

    expect(fd, "x");
    close(fd);
}

Test(vchar_socket, client_that_does_not_read_does_not_block)
{
    int fd;
    start();
    fd = client();

    for (int i = 0; i < 200; i++) {
        say_pattern(0, 10000, true);
        run_ms(2);
    }

    cr_assert_gt(vchar_dropped(b.chr), 0);
    close(fd);
    run_ms(5);
    cr_assert_eq(b.chr->out, OUT_NOBODY);
}

Test(vchar_socket, idle_client_costs_nothing)
{
    int fd;
    start();
    fd = client();
    say("x", true);
    run_ms(5);

    cr_assert_eq(round_now(), 0);

    cr_assert_eq(b.chr->out_watch.events, (uint32_t)EPOLLET);
    close(fd);
}

/* ---- the name ---- */

Test(vchar_socket, only_the_user_may_connect)
{
    struct stat st;

    start();

    cr_assert_eq(stat(in_dir("socket"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(vchar_socket, name_is_removed_at_the_end)
{
    start();

    close_chr();

    cr_assert_eq(access(in_dir("socket"), F_OK), -1);
}

Test(vchar_socket, name_that_became_anothers_is_left)
{
    int fd;
    start();
    unlink(in_dir("socket"));
    fd = open(in_dir("socket"), O_CREAT | O_WRONLY, 0600);
    close(fd);

    close_chr();

    cr_assert_eq(access(in_dir("socket"), F_OK), 0);
}

Test(vchar_socket, stale_name_is_taken_over)
{
    close(listener());

    start();

    close(client());
}

Test(vchar_socket, name_in_use_is_refused)
{
    int fd = listener();

    cr_assert_eq(open_chr(VCHAR_SOCKET, NULL, in_dir("socket"), false), -EADDRINUSE);

    cr_assert_not_null(strstr(vm_error_text(), "another program listens on it"));
    cr_assert_eq(access(in_dir("socket"), F_OK), 0);
    close(fd);
}

Test(vchar_socket, file_in_the_way_is_refused_and_left)
{
    close(open(in_dir("socket"), O_CREAT | O_WRONLY, 0600));

    cr_assert_eq(open_chr(VCHAR_SOCKET, NULL, in_dir("socket"), false), -EEXIST);

    cr_assert_not_null(strstr(vm_error_text(), "not a socket"));
    cr_assert_eq(access(in_dir("socket"), F_OK), 0);
}

Test(vchar_socket, name_that_is_too_long_is_refused)
{
    char path[120];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;

    cr_assert_eq(open_chr(VCHAR_SOCKET, NULL, path, false), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), "119 bytes are too long"));

    cr_assert_eq(open_chr(VCHAR_SOCKET, NULL, "", false), -EINVAL);
    cr_assert_eq(open_chr(VCHAR_SOCKET, NULL, "/nonexistent/s", false), -ENOENT);
}
