/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Standard output of each kind, and readers that do not read. */
#include "char_test.h"
#include "emulated.h"

#include <pthread.h>
#include <termios.h>

static void setup(void)
{
    bench_setup(VM_LOOP_VIRTUAL);
}

TestSuite(vchar_output, .init = setup, .fini = bench_teardown, .timeout = TEST_TIMEOUT);

/* A pseudo-terminal whose slave is standard output; returns the master. */
static int stdio_tty(void)
{
    struct termios t;
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave;

    cr_assert_eq(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    t.c_oflag |= OPOST | ONLCR;
    tcsetattr(slave, TCSANOW, &t);
    put_at(open("/dev/null", O_RDONLY), STDIN_FILENO);
    put_at(slave, STDOUT_FILENO);
    return master;
}

static int stdio_socket(void)
{
    int s[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    put_at(open("/dev/null", O_RDONLY), STDIN_FILENO);
    put_at(s[1], STDOUT_FILENO);
    return s[0];
}

/* More than the ring and what the kernel holds: then all that was taken comes out in order. */
static void stalls_and_goes_on(int reader)
{
    static uint8_t data[4 << 20];
    size_t sent = 0, kept;

    for (int i = 0; i < 60; i++) {
        say_pattern(sent, 20000, true);
        sent += 20000;
        run_ms(2);
    }
    kept = sent - vchar_dropped(b.chr);
    cr_assert_lt(kept, sent);
    cr_assert_eq(b.drained, 0);

    cr_assert_eq(read_all(reader, data, kept), kept);
    cr_assert(holds_pattern(data, RING_BYTES, 0));
    cr_assert_eq(b.drained, 1);
    cr_assert_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

Test(vchar_output, pipe_that_nobody_reads_does_not_block)
{
    skip_in_emulator("pwritev2()");
    int reader = stdio_pipe();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    stalls_and_goes_on(reader);

    cr_assert_eq(b.chr->nowait_missing, false);
    close(reader);
}

Test(vchar_output, pipe_of_an_old_kernel_does_not_block)
{
    int reader = stdio_pipe();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);
    b.chr->nowait_missing = true;

    stalls_and_goes_on(reader);

    close(reader);
}

Test(vchar_output, terminal_that_nobody_reads_does_not_block)
{
    int master = stdio_tty();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    stalls_and_goes_on(master);

    close(master);
}

Test(vchar_output, terminal_full_of_new_lines_does_not_block)
{
    static char lines[20001];
    int master = stdio_tty();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);
    memset(lines, '\n', sizeof(lines) - 1);

    for (int i = 0; i < 20; i++) {
        say(lines, true);
        run_ms(2);
    }

    cr_assert_gt(vchar_dropped(b.chr), 0);
    close(master);
}

Test(vchar_output, socket_that_nobody_reads_does_not_block)
{
    int peer = stdio_socket();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    stalls_and_goes_on(peer);

    close(peer);
}

Test(vchar_output, reader_that_has_gone_is_reported_once)
{
    close(stdio_pipe());
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    for (int i = 0; i < 50; i++) {
        say("x", true);
        run_ms(2);
    }

    cr_assert_eq(vchar_dropped(b.chr), 50);
    cr_assert_eq(b.log_lines, 1);
    cr_assert_str_eq(b.log, "serial0: output is dropped: Broken pipe");
}

Test(vchar_output, full_disk_is_counted_and_reported_once)
{
    cr_assert_eq(open_chr(VCHAR_FILE, "/dev/full", NULL, false), 0);

    for (int i = 0; i < 50; i++) {
        say("xx", true);
        run_ms(2);
    }

    cr_assert_eq(vchar_dropped(b.chr), 100);
    cr_assert_eq(b.log_lines, 1);
    cr_assert_str_eq(b.log, "serial0: output is dropped: No space left on device");
}

Test(vchar_output, regular_file_as_standard_output)
{
    put_at(open("/dev/null", O_RDONLY), STDIN_FILENO);
    put_at(open(in_dir("file"), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    say("hello", true);
    run_ms(2);

    cr_assert_eq(file_bytes(in_dir("file")), 5);
}

Test(vchar_output, standard_fds_stay_open)
{
    int reader = stdio_pipe();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);

    close_chr();

    cr_assert_neq(fcntl(STDIN_FILENO, F_GETFD), -1);
    cr_assert_neq(fcntl(STDOUT_FILENO, F_GETFD), -1);
    close(reader);
}

Test(vchar_output, unwatchable_output_is_tried_again)
{
    static uint8_t data[200000];
    int reader = stdio_pipe();
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);
    vm_watch_del(&b.chr->out_watch);
    for (int i = 0; i < 10; i++) {
        say_pattern((uint64_t)i * 10000, 10000, true);
        run_ms(2);
    }
    cr_assert(b.chr->out_waits);

    cr_assert_eq(read(reader, data, 50000), 50000);
    run_ms(25);
    cr_assert_eq(read_all(reader, data + 50000, 50000), 50000);

    cr_assert(holds_pattern(data, 100000, 0));
    close(reader);
}

enum { THREAD_BYTES = 1 << 20 };

static void *writer(void *arg)
{
    struct vm_loop *loop = arg;

    for (uint64_t i = 0; i < THREAD_BYTES;) {
        uint8_t byte = pattern(i);

        i += vchar_write(b.chr, &byte, 1, false);
    }
    vm_loop_stop(loop);
    return NULL;
}

Test(vchar_output, bytes_of_another_thread_come_in_order)
{
    static uint8_t data[THREAD_BYTES + 1];
    pthread_t thread;
    int fd;
    vm_loop_free(b.loop);
    cr_assert_eq(vm_loop_new(&b.env, 0, &b.loop), 0);
    b.env.loop = b.loop;
    cr_assert_eq(open_chr(VCHAR_FILE, in_dir("file"), NULL, false), 0);

    pthread_create(&thread, NULL, writer, b.loop);
    cr_assert_eq(vm_loop_run(b.loop), 0);
    pthread_join(thread, NULL);
    close_chr();

    fd = open(in_dir("file"), O_RDONLY);
    cr_assert_eq(read(fd, data, sizeof(data)), THREAD_BYTES);
    cr_assert(holds_pattern(data, THREAD_BYTES, 0));
    close(fd);
}
