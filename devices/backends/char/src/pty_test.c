/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The pseudo-terminal: users come and go. */
#include "char_test.h"

#include <termios.h>

static void setup(void)
{
    bench_setup(VM_LOOP_VIRTUAL);
}

TestSuite(vchar_pty, .init = setup, .fini = bench_teardown, .timeout = TEST_TIMEOUT);

static void start(const char *link)
{
    cr_assert_eq(open_chr(VCHAR_PTY, link, NULL, false), 0, "%s", vm_error_text());
}

static int user(void)
{
    int fd = open(vchar_pty(b.chr), O_RDWR | O_NOCTTY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    run_ms(300);
    return fd;
}

static void expect(int fd, const char *text)
{
    uint8_t data[100];

    cr_assert_eq(read_all(fd, data, strlen(text)), strlen(text));
    cr_assert_eq(memcmp(data, text, strlen(text)), 0);
}

/* The kernel hands a terminal's bytes on by itself, some time. */
static void expect_input(size_t len)
{
    for (int i = 0; i < 1000 && b.got_len < len; i++) {
        poll(&(struct pollfd){ .fd = b.chr->own_fd, .events = POLLIN }, 1, 10);
        run_ms(5);
    }
    cr_assert_eq(b.got_len, len);
}

Test(vchar_pty, user_gets_output_and_gives_input)
{
    int fd;
    start(NULL);
    fd = user();

    say("login: ", true);
    expect(fd, "login: ");
    cr_assert_eq(write(fd, "root\r", 5), 5);

    expect_input(5);
    cr_assert_eq(memcmp(b.got, "root\r", 5), 0);
    close(fd);
}

Test(vchar_pty, escape_works_here_too)
{
    int fd;
    start(NULL);
    fd = user();

    cr_assert_eq(write(fd, "\001xy", 3), 3);

    expect_input(1);
    cr_assert_eq(b.escapes, 1);
    close(fd);
}

Test(vchar_pty, nothing_is_echoed_back)
{
    int fd;
    struct termios t;
    start(NULL);
    fd = user();

    tcgetattr(fd, &t);

    cr_assert_eq(t.c_lflag & (ECHO | ICANON), 0);
    close(fd);
}

Test(vchar_pty, output_before_anybody_came_is_kept)
{
    int fd;
    start(NULL);
    say("early", true);
    run_ms(600);
    cr_assert_eq(b.chr->out, OUT_NOBODY);

    fd = user();

    expect(fd, "early");
    close(fd);
}

Test(vchar_pty, newest_output_is_kept_while_nobody_is_there)
{
    static uint8_t data[1 << 20];
    size_t left;
    int fd;
    start(NULL);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(say_pattern((uint64_t)i * 5000, 5000, true), 5000);
        run_ms(2);
    }
    left = 500000 - vchar_dropped(b.chr);

    fd = user();

    cr_assert_geq(left, KEEP_BYTES);
    cr_assert_eq(read_all(fd, data, left), left);
    cr_assert(holds_pattern(data, left, 500000 - left));
    close(fd);
}

Test(vchar_pty, user_may_go_and_come_back)
{
    int fd;
    start(NULL);
    fd = user();
    say("one", true);
    expect(fd, "one");
    close(fd);
    run_ms(300);
    cr_assert_eq(b.chr->out, OUT_NOBODY);
    say("two", true);

    fd = user();

    expect(fd, "two");
    close(fd);
}

Test(vchar_pty, hang_up_is_seen_while_writing)
{
    int fd;
    start(NULL);
    fd = user();
    for (int i = 0; i < 20; i++) {
        say_pattern(0, 20000, true);
        run_ms(2);
    }
    cr_assert(b.chr->out_waits);

    close(fd);
    run_ms(300);

    cr_assert_eq(b.chr->out, OUT_NOBODY);
}

Test(vchar_pty, user_that_does_not_read_does_not_block)
{
    int fd;
    start(NULL);
    fd = user();

    for (int i = 0; i < 20; i++) {
        say_pattern(0, 20000, true);
        run_ms(2);
    }

    cr_assert_gt(vchar_dropped(b.chr), 0);
    close(fd);
}

Test(vchar_pty, link_leads_to_it_and_goes_with_it)
{
    char target[100] = "";
    start(in_dir("link"));

    cr_assert_gt(readlink(in_dir("link"), target, sizeof(target) - 1), 0);
    cr_assert_str_eq(target, vchar_pty(b.chr));
    close_chr();

    cr_assert_eq(access(in_dir("link"), F_OK), -1);
}

Test(vchar_pty, old_link_is_replaced)
{
    char target[100] = "";
    cr_assert_eq(symlink("/dev/pts/old", in_dir("link")), 0);

    start(in_dir("link"));

    cr_assert_gt(readlink(in_dir("link"), target, sizeof(target) - 1), 0);
    cr_assert_str_eq(target, vchar_pty(b.chr));
}

Test(vchar_pty, file_in_the_way_of_the_link_is_refused_and_left)
{
    close(open(in_dir("link"), O_CREAT | O_WRONLY, 0600));

    cr_assert_eq(open_chr(VCHAR_PTY, in_dir("link"), NULL, false), -EEXIST);

    cr_assert_eq(access(in_dir("link"), F_OK), 0);
    cr_assert_eq(open_chr(VCHAR_PTY, "/nonexistent/link", NULL, false), -ENOENT);
}
