/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm run: how machines end, and what the user sees of it. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
}
TestSuite(run, .init = begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

#define QUIET "--no-rng", "--rtc", "off"

Test(run, poweroff_gives_0)
{
    cli_kernel("k", TINY_POWEROFF);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
    cr_expect_str_eq(r.err, "");
}

Test(run, reset_gives_10)
{
    cli_kernel("k", TINY_RESET);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 10, "%d: %s", r.code, r.err);
}

Test(run, a_triple_fault_gives_12_and_the_registers)
{
    cli_kernel("k", TINY_TRIPLE);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 12, "%d: %s", r.code, r.err);
    cr_expect(strstr(r.err, "the guest crashed"), "%s", r.err);
    /* On AMD's processors nothing is known of it afterwards: KVM gives it the registers of a reset (APM volume 2, 15.14.3). */
    cr_expect(strstr(r.err, "rip 0000000000100000") || strstr(r.err, "rip 000000000000fff0"), "%s",
              r.err);
}

Test(run, a_jump_to_where_there_is_no_memory_gives_12_and_the_registers)
{
    cli_kernel("k", TINY_JUMP);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 12, "%d: %s", r.code, r.err);
    cr_expect(strstr(r.err, "rip 0000000020000000"), "%s", r.err);
}

/* As on a board, where nobody drives the bus and a ROM keeps its bytes. */
Test(run, a_write_that_nothing_takes_is_lost)
{
    cli_kernel("k", TINY_WRITE);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
    cr_expect_str_eq(r.err, "");
}

Test(run, the_serial_port_is_standard_output)
{
    cli_kernel("k", TINY_HELLO);

    CLI(&r, "run", QUIET, "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
    cr_expect_str_eq(r.out, "hello\n");
}

Test(run, a_console_in_a_file_leaves_standard_output_alone)
{
    char text[16] = "";
    int fd;

    cli_kernel("k", TINY_HELLO);
    CLI(&r, "run", QUIET, "--serial", "file=log", "k");
    fd = open("log", O_RDONLY);
    cr_assert(fd >= 0);
    cr_expect_eq(read(fd, text, sizeof(text) - 1), 6);
    close(fd);

    cr_expect_str_eq(text, "hello\n");
    cr_expect_str_eq(r.out, "");
}

static char only_byte(const char *path)
{
    char text[4] = "";
    int fd = open(path, O_RDONLY);

    cr_assert(fd >= 0, "%s", path);
    cr_expect_eq(read(fd, text, sizeof(text)), 1, "%s", path);
    close(fd);
    return text[0];
}

Test(run, each_of_four_serial_ports_has_its_own_place)
{
    cli_kernel("k", TINY_PORTS);

    CLI(&r, "run", QUIET, "--serial", "num=2,file=second", "--serial2", "file=third", "--serial",
        "hardware=serial,num=4,path=fourth,type=file", "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
    cr_expect_str_eq(r.out, "1");
    cr_expect_eq(only_byte("second"), '2');
    cr_expect_eq(only_byte("third"), '3');
    cr_expect_eq(only_byte("fourth"), '4');
}

Test(run, a_reader_that_does_not_read_blocks_no_guest)
{
    int out[2], code;
    pid_t pid;

    cli_kernel("k", TINY_FLOOD);
    cr_assert(!pipe(out));
    pid = fork();
    if (!pid) {
        dup2(out[1], 1);
        execl(getenv("VMM_PROGRAM"), "vmm", "run", QUIET, "k", NULL);
        _exit(127);
    }
    code = cli_wait(pid);

    cr_expect_eq(code, 0, "%d", code);
}

Test(run, a_pseudo_terminal_that_nobody_reads_blocks_no_guest)
{
    cli_kernel("k", TINY_FLOOD);

    CLI(&r, "run", QUIET, "--serial", "pty", "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
}

Test(run, the_same_with_every_irqchip_and_without_pci)
{
    static const char *const pci[] = { "on", "off" };

    cli_kernel("k", TINY_POWEROFF);
    for (const char *const *irqchip = cli_irqchips; *irqchip; irqchip++)
        for (size_t i = 0; i < 2; i++) {
            CLI(&r, "run", "--irqchip", *irqchip, "--pci", pci[i], "k");
            cr_expect_eq(r.code, 0, "%s %s: %d: %s", *irqchip, pci[i], r.code, r.err);
        }
}

Test(run, eight_cpus_and_memory_across_the_pci_hole)
{
    cli_kernel("k", TINY_POWEROFF);

    CLI(&r, "run", "-c", "8", "-m", "4096", "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
}

Test(run, memory_of_a_node_touched_before_the_start)
{
    cli_kernel("k", TINY_POWEROFF);

    CLI(&r, "run", QUIET, "--memory", "size=64M,prefault=on,thp=off,host_numa_node=0", "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
}

Test(run, sigterm_presses_the_power_button)
{
    pid_t pid;

    cli_kernel("k", TINY_BUTTON);
    pid = CLI_START("run", QUIET, "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));

    kill(pid, SIGTERM);

    cr_expect_eq(cli_wait(pid), 0);
}

Test(run, a_second_sigterm_pulls_the_plug)
{
    pid_t pid;
    int code;

    cli_kernel("k", TINY_LOOP);
    pid = CLI_START("run", QUIET, "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));

    kill(pid, SIGTERM);
    CLI(&r, "info", "sock"); /* answered after the first signal was seen */
    kill(pid, SIGTERM);
    code = cli_wait(pid);

    cr_expect_eq(code, 13, "%d", code);
    cr_expect(access("sock", F_OK), "the socket is left behind");
}

Test(run, fds_0_to_2_closed_harm_nobody)
{
    pid_t pid;

    cli_kernel("k", TINY_HELLO);
    pid = fork();
    if (!pid) {
        close(0);
        close(1);
        close(2);
        execl(getenv("VMM_PROGRAM"), "vmm", "run", QUIET, "k", NULL);
        _exit(127);
    }

    cr_expect_eq(cli_wait(pid), 0);
}

static int open_terminal(int *ret_slave)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);

    cr_assert(master >= 0 && !grantpt(master) && !unlockpt(master));
    *ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    cr_assert(*ret_slave >= 0);
    return master;
}

/* Runs with that terminal as standard input, output, error and as the controlling one. */
static pid_t start_on(int master, const char *const argv[])
{
    pid_t pid = fork();

    cr_assert(pid >= 0);
    if (!pid) {
        int slave;

        setsid();
        slave = open(ptsname(master), O_RDWR); /* becomes the controlling terminal */
        dup2(slave, 0);
        dup2(slave, 1);
        dup2(slave, 2);
        execv(getenv("VMM_PROGRAM"), (char *const *)argv);
        _exit(127);
    }
    cr_assert(!cli_wait_for("sock"));
    return pid;
}

struct session {
    const char *keys; /* typed */
    int number; /* a signal behind them */
    bool io_hangs;
};

/* Gives the exit code and whether the terminal was restored. */
static int on_a_terminal_with(const struct session *s, bool *ret_restored)
{
    static const char *const argv[] = { "vmm", "run", QUIET, "-s", "sock", "k", NULL };
    struct termios before, after;
    int slave, code, master = open_terminal(&slave);
    pid_t pid, io = 0;

    cr_assert(!tcgetattr(slave, &before));
    pid = start_on(master, argv);
    do { /* raw: only then the keys are the guest's */
        cr_assert(!tcgetattr(slave, &after));
        usleep(1000);
    } while (after.c_lflag & ICANON);
    if (s->io_hangs) { /* a key makes it: without anything to do there is no I/O thread */
        cr_assert_eq(write(master, "a", 1), 1);
        io = cli_hold(pid, "io"); /* as a disk that does not answer would */
    }
    for (const char *key = s->keys; *key; key++) { /* one by one, as they are typed */
        cr_assert_eq(write(master, key, 1), 1);
        usleep(20000);
    }
    if (s->number)
        kill(pid, s->number);
    code = io ? cli_wait_held(pid, io) : cli_wait(pid);
    cr_assert(!tcgetattr(slave, &after));
    *ret_restored = after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag;
    close(slave);
    close(master);
    return code;
}

static int on_a_terminal(const char *keys, int number, bool *ret_restored)
{
    return on_a_terminal_with(&(struct session){ keys, number, false }, ret_restored);
}

Test(run, ctrl_a_x_stops_and_the_terminal_is_restored)
{
    bool restored;
    int code;

    cli_kernel("k", TINY_LOOP);

    code = on_a_terminal("\001x", 0, &restored);

    cr_expect_eq(code, 13, "%d", code);
    cr_expect(restored);
}

/* The guest reads none of them. */
Test(run, ctrl_a_x_stops_behind_other_keys_too)
{
    bool restored;

    cli_kernel("k", TINY_LOOP);

    cr_expect_eq(on_a_terminal("abcd\001x", 0, &restored), 13);
    cr_expect(restored);
}

Test(run, ctrl_a_x_stops_though_the_io_loop_hangs)
{
    struct session s = { .keys = "abcd\001x", .io_hangs = true };
    bool restored;
    int code;

    cli_kernel("k", TINY_LOOP);

    code = on_a_terminal_with(&s, &restored);

    cr_expect_eq(code, 13, "%d", code);
    cr_expect(restored);
}

Test(run, signals_leave_the_terminal_as_it_was)
{
    static const struct {
        int number, code;
    } rows[] = { { SIGQUIT, 13 }, { SIGALRM, 13 }, { SIGABRT, 128 + SIGABRT } };
    bool restored;

    cli_kernel("k", TINY_LOOP);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(on_a_terminal("", rows[i].number, &restored), rows[i].code, "%zu", i);
        cr_expect(restored, "signal %d", rows[i].number);
        unlink("sock");
    }
}

Test(run, sigusr1_is_ignored)
{
    pid_t pid;

    cli_kernel("k", TINY_LOOP);
    pid = CLI_START("run", QUIET, "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));

    kill(pid, SIGUSR1);
    kill(pid, SIGUSR2);
    CLI(&r, "stop", "sock");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_eq(cli_wait(pid), 13);
}

Test(run, a_terminal_that_no_device_reads_stays_as_it_was)
{
    static const char *const argv[] = { "vmm", "run",  QUIET, "--serial", "off",
                                        "-s",  "sock", "k",   NULL };
    int slave, master = open_terminal(&slave);
    struct termios t;
    pid_t pid;

    cli_kernel("k", TINY_LOOP);
    pid = start_on(master, argv);
    CLI(&r, "info", "sock"); /* answered when the machine runs */
    cr_assert(!tcgetattr(slave, &t));

    cr_expect(t.c_lflag & ICANON);
    cr_assert_eq(write(master, "\003", 1), 1);
    cr_expect_eq(cli_wait(pid), 13);
    close(slave);
    close(master);
}

static void follow_the_terminal(const char *console)
{
    const char *const argv[] = { "vmm",       "run",   QUIET,      "--pci",    "off",
                                 "--console", console, "--serial", "file=log", "-s",
                                 "sock",      "k",     NULL };
    struct winsize size = { .ws_col = 80, .ws_row = 24 };
    int slave, master = open_terminal(&slave), code;
    struct stat st = { 0 };
    pid_t pid;

    cli_kernel("k", TINY_WINDOW);
    cr_assert(!ioctl(master, TIOCSWINSZ, &size));

    pid = start_on(master, argv);
    for (int ms = 0; ms < 10000 * cli_patience() && !st.st_size;
         ms += 5) { /* the guest has seen the first size */
        usleep(5000);
        cr_assert(!stat("log", &st));
    }
    size = (struct winsize){ .ws_col = 100, .ws_row = 50 };
    cr_assert(!ioctl(master, TIOCSWINSZ, &size));
    code = cli_wait(pid);

    cr_expect_eq(code, 0, "%d", code);
    close(slave);
    close(master);
}

Test(run, the_console_has_the_size_of_the_terminal_and_follows_it)
{
    follow_the_terminal("tty");
}

/* The driver is told by a message instead (virtio_console_ports_test.c), and finds the same size here. */
Test(run, the_console_beside_other_ports_follows_the_terminal_too)
{
    follow_the_terminal("tty,ports=[[mode=null],[console=on,mode=null]]");
}
