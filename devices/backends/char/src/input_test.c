/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Standard input of each kind, flow control and the escape key. */
#include "char_test.h"

#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

static int keyboard, screen;

static void setup(void)
{
    int in[2];

    bench_setup(VM_LOOP_VIRTUAL);
    screen = stdio_pipe();
    fcntl(screen, F_SETFL, O_NONBLOCK);
    cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
    put_at(in[0], STDIN_FILENO);
    keyboard = in[1];
}

static void teardown(void)
{
    bench_teardown();
    close(keyboard);
    close(screen);
}

TestSuite(vchar_input, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static void type(const char *keys)
{
    cr_assert_eq(write(keyboard, keys, strlen(keys)), (ssize_t)strlen(keys));
    run_ms(1);
}

static void start(void)
{
    cr_assert_eq(open_chr(VCHAR_TTY, NULL, NULL, false), 0);
}

#define ASSERT_GOT(text)                                               \
    do {                                                               \
        cr_assert_eq(b.got_len, strlen(text), "%zu bytes", b.got_len); \
        cr_assert_eq(memcmp(b.got, text, b.got_len), 0);               \
    } while (0)

Test(vchar_input, keys_arrive)
{
    start();

    type("hello");

    ASSERT_GOT("hello");
}

Test(vchar_input, owner_that_takes_less_gets_the_rest_when_ready)
{
    start();
    b.room = 2;

    type("hello");
    ASSERT_GOT("he");
    b.room = 1;
    vchar_ready(b.chr);
    run_ms(1);
    ASSERT_GOT("hel");
    b.room = 100;
    vchar_ready(b.chr);
    run_ms(1);

    ASSERT_GOT("hello");
    type("!");
    ASSERT_GOT("hello!");
}

Test(vchar_input, nothing_is_read_while_the_owner_is_not_ready)
{
    start();
    b.room = 0;
    type("hello");

    type("more");

    cr_assert_eq(b.chr->in_head - b.chr->in_tail, 5);
    cr_assert_eq(b.chr->in_watch.events, 0);
}

Test(vchar_input, ready_without_need_wakes_nobody)
{
    start();
    type("x");

    vchar_ready(b.chr);

    cr_assert_eq(round_now(), 0);
}

/* It frees its room between the offer and the answer's use, as another thread might. */
static size_t racing_input(void *ctx, const uint8_t *data, size_t len)
{
    size_t n = bench_input(ctx, data, len);

    b.room = sizeof(b.got) - b.got_len;
    vchar_ready(b.chr);
    return n;
}

Test(vchar_input, ready_during_input_is_not_lost)
{
    const struct vchar_ops ops = { .input = racing_input };
    struct vchar_config config = { .mode = VCHAR_TTY };
    cr_assert_eq(vchar_new(&b.env, "serial0", &config, &ops, &b, &b.chr), 0);
    b.room = 2;

    type("hello");

    ASSERT_GOT("hello");
}

static void *call_ready(void *arg)
{
    vchar_ready(arg);
    return NULL;
}

Test(vchar_input, ready_may_come_from_another_thread)
{
    pthread_t thread;
    start();
    b.room = 0;
    type("hello");
    b.room = 100;

    pthread_create(&thread, NULL, call_ready, b.chr);
    pthread_join(thread, NULL);
    run_ms(1);

    ASSERT_GOT("hello");
}

Test(vchar_input, end_of_input_is_the_end_of_watching)
{
    start();
    type("x");
    close(keyboard);
    keyboard = -1;

    run_ms(1);

    cr_assert_not(b.chr->in_watch.active);
    cr_assert_eq(round_now(), 0);
    ASSERT_GOT("x");
}

Test(vchar_input, regular_file_is_read_to_its_end)
{
    static uint8_t data[10000];
    int fd = open(in_dir("file"), O_RDWR | O_CREAT, 0600);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = pattern(i);
    cr_assert_eq(write(fd, data, sizeof(data)), sizeof(data));
    lseek(fd, 0, SEEK_SET);
    put_at(fd, STDIN_FILENO);
    b.room = 5000;

    start();
    run_ms(1);
    cr_assert_eq(b.got_len, 5000);
    b.room = 10000;
    vchar_ready(b.chr);
    run_ms(1);

    cr_assert_eq(b.got_len, sizeof(data));
    cr_assert(holds_pattern(b.got, sizeof(data), 0));
    cr_assert_eq(b.chr->in_fd, -1);
    cr_assert_eq(round_now(), 0);
}

Test(vchar_input, dev_null_is_not_even_read)
{
    put_at(open("/dev/null", O_RDONLY), STDIN_FILENO);

    start();

    cr_assert_eq(b.chr->in_fd, -1);
    cr_assert_eq(round_now(), 0);
}

/* ---- the escape key ---- */

Test(vchar_input, escape_x_goes_to_the_owner)
{
    start();

    type("a\001xb");

    cr_assert_eq(b.escapes, 1);
    cr_assert_eq(b.key, 'x');
    ASSERT_GOT("ab");
}

Test(vchar_input, escape_may_come_in_two_reads)
{
    start();

    type("a\001");
    type("xb");

    cr_assert_eq(b.escapes, 1);
    ASSERT_GOT("ab");
}

Test(vchar_input, escape_twice_is_one)
{
    start();

    type("\001\001x");

    cr_assert_eq(b.escapes, 0);
    ASSERT_GOT("\001x");
}

Test(vchar_input, other_keys_behind_escape_are_swallowed)
{
    start();

    type("\001qz");

    cr_assert_eq(b.escapes, 0);
    ASSERT_GOT("z");
}

Test(vchar_input, escape_without_an_owner_of_it_is_swallowed)
{
    const struct vchar_ops ops = { .input = bench_input };
    struct vchar_config config = { .mode = VCHAR_TTY };
    cr_assert_eq(vchar_new(&b.env, "serial0", &config, &ops, &b, &b.chr), 0);

    type("\001xz");

    ASSERT_GOT("z");
}

Test(vchar_input, escape_h_prints_help)
{
    char text[200] = "";
    start();

    type("\001h");

    cr_assert_gt(read(screen, text, sizeof(text) - 1), 0);
    cr_assert_not_null(strstr(text, "Ctrl-A x"));
    cr_assert_eq(b.got_len, 0);
}

/* ---- a terminal that is another job's ---- */

static pid_t sleeper(void)
{
    pid_t pid = fork();

    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        pause();
        _exit(0);
    }
    setpgid(pid, pid);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* A group's leader cannot start a session: it goes into another one's group first. Criterion may have started one already. */
static void own_session(void)
{
    pid_t pid;

    if (getsid(0) == getpid())
        return;
    pid = sleeper();
    cr_assert_eq(setpgid(0, pid), 0);
    cr_assert_eq(setsid(), getpid());
    end(pid);
}

/* A pseudo-terminal that is standard input and our session's; returns the master. */
static int own_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
    struct termios t;

    cr_assert_eq(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    cr_assert_eq(ioctl(slave, TIOCSCTTY, 0), 0);
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    put_at(slave, STDIN_FILENO);
    return master;
}

Test(vchar_input, background_job_waits_for_its_turn)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    pid_t shell;
    int master;
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    own_session();
    master = own_terminal();
    shell = sleeper();
    cr_assert_eq(tcsetpgrp(STDIN_FILENO, shell), 0);
    start();
    cr_assert_eq(write(master, "hi", 2), 2);
    cr_assert_eq(poll(&p, 1, 10000), 1);

    run_ms(10);
    cr_assert_eq(b.got_len, 0);
    cr_assert(b.chr->in_watch.active);
    cr_assert_eq(tcsetpgrp(STDIN_FILENO, getpgrp()), 0);
    run_ms(300);

    ASSERT_GOT("hi");
    end(shell);
    close(master);
}

/* ---- a terminal is always read ---- */

static int raw_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
    struct termios t;

    cr_assert_eq(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    put_at(slave, STDIN_FILENO);
    return master;
}

static void type_at(int master, const char *keys)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

    cr_assert_eq(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
    cr_assert_eq(poll(&p, 1, 10000), 1);
    run_ms(1);
}

Test(vchar_input, escape_is_seen_though_the_owner_takes_nothing)
{
    int master = raw_terminal();
    start();
    b.room = 0;

    type_at(master, "ab");
    type_at(master, "c\001x");

    cr_assert_eq(b.escapes, 1);
    b.room = 100;
    vchar_ready(b.chr);
    run_ms(1);
    ASSERT_GOT("abc");
    close(master);
}

Test(vchar_input, typed_without_end_is_dropped_and_counted_and_escape_still_works)
{
    char keys[1025] = "";
    uint64_t typed = 0;
    int master = raw_terminal();
    memset(keys, 'k', sizeof(keys) - 1);
    start();
    b.room = 0;

    for (int i = 0; i < 100; i++, typed += sizeof(keys) - 1)
        type_at(master, keys);
    run_ms(1);
    type_at(master, "\001x");

    cr_assert_eq(b.escapes, 1);
    cr_assert_eq(b.chr->in_head - b.chr->in_tail, TYPED_BYTES);
    cr_assert_eq(vchar_in_dropped(b.chr), typed - TYPED_BYTES);
    b.room = sizeof(b.got);
    vchar_ready(b.chr);
    run_ms(1);
    cr_assert_eq(b.got_len, TYPED_BYTES);
    close(master);
}

Test(vchar_input, what_was_typed_before_the_terminal_left_still_arrives)
{
    int master = raw_terminal();
    signal(SIGHUP, SIG_IGN);
    start();
    b.room = 0;
    type_at(master, "bye");

    close(master);
    run_ms(1);
    cr_assert_eq(b.chr->in_fd, -1);
    b.room = 100;
    vchar_ready(b.chr);
    run_ms(1);

    ASSERT_GOT("bye");
    cr_assert_eq(round_now(), 0);
}

/* ---- the user's terminal is read by a loop of its own ---- */

static struct vm_loop *keys;

static int terminal_with_its_own_loop(void)
{
    int master = raw_terminal();

    cr_assert_eq(vm_loop_new(&b.env, VM_LOOP_VIRTUAL, &keys), 0);
    b.env.keys_loop = keys;
    start();
    return master;
}

static void close_terminal(int master)
{
    close_chr();
    vm_loop_free(keys);
    close(master);
}

static void type_to_keys_loop(int master, const char *text)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

    cr_assert_eq(write(master, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(poll(&p, 1, 10000), 1);
    while (vm_loop_step(keys, 0) > 0)
        ;
}

Test(vchar_input, escape_is_seen_though_the_devices_loop_stands_still)
{
    int master = terminal_with_its_own_loop();

    type_to_keys_loop(master, "a\001x");

    cr_assert_eq(b.escapes, 1);
    cr_assert(vchar_has_keys(b.chr));
    cr_assert_eq(b.got_len, 0);
    close_terminal(master);
}

Test(vchar_input, keys_of_the_other_loop_arrive_in_the_devices_one)
{
    int master = terminal_with_its_own_loop();
    b.room = 2;

    type_to_keys_loop(master, "hel");
    run_ms(1);
    type_to_keys_loop(master, "lo");
    run_ms(1);
    ASSERT_GOT("he");
    b.room = 100;
    vchar_ready(b.chr);
    run_ms(1);

    ASSERT_GOT("hello");
    close_terminal(master);
}

Test(vchar_input, help_is_printed_by_the_devices_loop)
{
    int master = terminal_with_its_own_loop();
    char text[200] = "";

    type_to_keys_loop(master, "\001h");
    cr_assert_lt(read(screen, text, sizeof(text) - 1), 0);
    run_ms(1);

    cr_assert_gt(read(screen, text, sizeof(text) - 1), 0);
    cr_assert_not_null(strstr(text, "Ctrl-A x"));
    close_terminal(master);
}

Test(vchar_input, a_pipe_is_read_by_the_devices_loop)
{
    cr_assert_eq(vm_loop_new(&b.env, VM_LOOP_VIRTUAL, &keys), 0);
    b.env.keys_loop = keys;
    start();

    type("hello");

    ASSERT_GOT("hello");
    cr_assert_not(vchar_has_keys(b.chr));
    close_chr();
    vm_loop_free(keys);
}

static void *read_keys(void *arg)
{
    (void)arg;
    vm_loop_run(keys);
    return NULL;
}

/* Under the thread sanitizer: the ring between the two. */
Test(vchar_input, a_thread_reads_keys_while_another_one_takes_them)
{
    enum { PIECES = 300, PIECE = 1000 };
    uint8_t piece[PIECE];
    int master = raw_terminal();
    pthread_t thread;

    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    cr_assert_eq(vm_loop_new(&b.env, 0, &keys), 0);
    b.env.keys_loop = keys;
    start();
    cr_assert_eq(pthread_create(&thread, NULL, read_keys, NULL), 0);

    for (uint64_t i = 0, taken = 0; i < PIECES; i++) {
        for (size_t k = 0; k < PIECE; k++)
            piece[k] = pattern(i * PIECE + k);
        b.room = PIECE / 2;
        cr_assert_eq(write(master, piece, PIECE), PIECE);
        while (taken + b.got_len < (i + 1) * PIECE) {
            cr_assert_geq(round_now(), 0);
            if (b.got_len < PIECE / 2)
                continue;
            b.room = PIECE / 2;
            vchar_ready(b.chr);
        }
        cr_assert(holds_pattern(b.got, b.got_len, taken));
        taken += b.got_len;
        b.got_len = 0;
    }

    vm_loop_stop(keys);
    pthread_join(thread, NULL);
    cr_assert_eq(vchar_in_dropped(b.chr), 0);
    close_terminal(master);
}
