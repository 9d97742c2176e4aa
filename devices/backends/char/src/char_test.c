/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Modes and options, and the ring in front of a file. */
#include "char_test.h"

static void setup(void)
{
    bench_setup(VM_LOOP_VIRTUAL);
}

TestSuite(vchar, .init = setup, .fini = bench_teardown, .timeout = TEST_TIMEOUT);

/* ---- options ---- */

Test(vchar, auto_without_names_is_off)
{
    cr_assert_eq(open_chr(VCHAR_AUTO, NULL, NULL, false), 0);

    cr_assert_eq(say("hello", true), 5);
    vchar_ready(b.chr);

    cr_assert_eq(b.chr->mode, VCHAR_OFF);
    cr_assert_eq(vchar_dropped(b.chr), 0);
    cr_assert_null(vchar_pty(b.chr));
}

Test(vchar, off_needs_no_loop)
{
    b.env.loop = NULL;

    cr_assert_eq(open_chr(VCHAR_NULL, NULL, NULL, false), 0);

    cr_assert_eq(say("hello", false), 5);
}

static void refused(enum vchar_mode mode, const char *file, const char *socket, int code,
                    const char *text)
{
    int rc = open_chr(mode, file, socket, false);

    cr_assert_eq(rc, code, "%d %s", rc, vm_error_text());
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_null(b.chr);
}

Test(vchar, options_that_contradict_are_refused)
{
    refused(VCHAR_FILE, NULL, NULL, -EINVAL, "serial0: mode=file needs file=");
    refused(VCHAR_SOCKET, NULL, NULL, -EINVAL, "serial0: mode=socket needs socket=");
    refused(VCHAR_TTY, "/x", NULL, -EINVAL, "file=/x has no meaning with mode=tty");
    refused(VCHAR_AUTO, "/x", "/y", -EINVAL, "file=/x and socket=/y: it can be one of them");
    refused((enum vchar_mode)77, NULL, NULL, -EINVAL, "mode 77 is unknown");
}

Test(vchar, appending_needs_a_file)
{
    cr_assert_eq(open_chr(VCHAR_NULL, NULL, NULL, true), -EINVAL);

    cr_assert_str_eq(vm_error_text(),
                     "serial0: append=on is for file=PATH: give that, or leave it out");
}

Test(vchar, other_modes_need_a_loop)
{
    b.env.loop = NULL;

    refused(VCHAR_TTY, NULL, NULL, -EINVAL, "needs an event loop");
}

Test(vchar, file_that_cannot_be_opened_is_named)
{
    refused(VCHAR_FILE, "/nonexistent/file", NULL, -ENOENT, "serial0: file: /nonexistent/file");
    refused(VCHAR_FILE, b.dir, NULL, -EISDIR, b.dir);
    b.env.open = NULL;
    refused(VCHAR_FILE, "/x", NULL, -EACCES, "nothing may be opened");
    refused(VCHAR_PTY, NULL, NULL, -EACCES, "nothing may be opened");
}

/* ---- file ---- */

Test(vchar, file_is_begun_anew)
{
    int fd = open(in_dir("file"), O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "old text", 8), 8);
    close(fd);
    cr_assert_eq(open_chr(VCHAR_AUTO, in_dir("file"), NULL, false), 0);

    say("new", true);
    run_ms(5);

    cr_assert_eq(file_bytes(in_dir("file")), 3);
}

Test(vchar, file_is_appended_to_on_demand)
{
    int fd = open(in_dir("file"), O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "old text", 8), 8);
    close(fd);
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, true), 0);

    say("new", true);
    run_ms(5);

    cr_assert_eq(file_bytes(in_dir("file")), 11);
}

Test(vchar, burst_wakes_the_loop_once_and_is_written_later)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);

    for (int i = 0; i < 100; i++)
        say("x", true);

    cr_assert_eq(round_now(), 1);
    for (int i = 0; i < 100; i++)
        say("y", true);
    cr_assert_eq(round_now(), 0);
    cr_assert_eq(file_bytes(in_dir("file")), 0);
    run_ms(2);
    cr_assert_eq(file_bytes(in_dir("file")), 200);
}

Test(vchar, owner_may_have_a_file_written_at_once)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);
    say("now", true);

    vchar_flush(b.chr);

    cr_assert_eq(file_bytes(in_dir("file")), 3);
    run_ms(5);
    cr_assert_eq(file_bytes(in_dir("file")), 3);
}

Test(vchar, next_burst_wakes_the_loop_again)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);
    say("x", true);
    run_ms(2);

    say("y", true);

    cr_assert_eq(round_now(), 1);
    run_ms(2);
    cr_assert_eq(file_bytes(in_dir("file")), 2);
}

Test(vchar, quarter_of_the_ring_is_written_at_once)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);
    say("x", true);
    round_now();

    say_pattern(0, RING_BYTES / 4, true);
    round_now();

    cr_assert_eq(file_bytes(in_dir("file")), RING_BYTES / 4 + 1);
}

Test(vchar, ring_goes_round_in_order)
{
    static uint8_t data[300000];
    int fd;
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);

    for (size_t at = 0; at < sizeof(data); at += 10000) {
        cr_assert_eq(say_pattern(at, 10000, true), 10000);
        run_ms(2);
    }

    fd = open(in_dir("file"), O_RDONLY);
    cr_assert_eq(read(fd, data, sizeof(data)), sizeof(data));
    cr_assert(holds_pattern(data, sizeof(data), 0));
    close(fd);
}

Test(vchar, what_does_not_fit_is_dropped_and_counted)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);

    cr_assert_eq(say_pattern(0, RING_BYTES, true), RING_BYTES);
    cr_assert_eq(say("abc", true), 0);

    cr_assert_eq(vchar_dropped(b.chr), 3);
    run_ms(2);
    cr_assert_eq(b.drained, 1);
    cr_assert_eq(file_bytes(in_dir("file")), RING_BYTES);
}

Test(vchar, owner_that_keeps_the_rest_is_told_when_there_is_room)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);

    cr_assert_eq(say_pattern(0, RING_BYTES + 10, false), RING_BYTES);

    cr_assert_eq(vchar_dropped(b.chr), 0);
    cr_assert_eq(b.drained, 0);
    run_ms(2);
    cr_assert_eq(b.drained, 1);
    run_ms(50);
    cr_assert_eq(b.drained, 1);
}

Test(vchar, free_writes_what_is_left)
{
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);
    say("last words", true);

    close_chr();

    cr_assert_eq(file_bytes(in_dir("file")), 10);
}

Test(vchar, free_of_nothing_is_allowed)
{
    vchar_free(NULL);
}

Test(vchar, fifo_as_a_file_does_not_block)
{
    static uint8_t data[1 << 20];
    int fd;
    cr_assert_eq(mkfifo(in_dir("fifo"), 0600), 0);
    fd = open(in_dir("fifo"), O_RDONLY | O_NONBLOCK);
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("fifo"), NULL, false), 0);

    for (int i = 0; i < 20; i++) {
        say_pattern(0, 20000, true);
        run_ms(2);
    }

    cr_assert_gt(vchar_dropped(b.chr), 0);
    cr_assert_eq(read_all(fd, data, 400000 - vchar_dropped(b.chr)), 400000 - vchar_dropped(b.chr));
    close(fd);
}
