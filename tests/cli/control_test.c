/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The control socket, from the user's side and from a hostile one's. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;
static pid_t machine;

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    machine = CLI_START("run", "-c", "2", "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));
}

static void end(void)
{
    if (machine > 0)
        cli_stop(machine, "sock");
    cli_end();
}
TestSuite(control, .init = begin, .fini = end, .timeout = TEST_TIMEOUT);

Test(control, stop_ends_the_machine_with_13)
{
    CLI(&r, "stop", "sock");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_eq(cli_wait(machine), 13);
    machine = 0;
}

Test(control, info_lists_devices_as_json)
{
    CLI(&r, "info", "sock");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"id\": \"serial0\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"cpus\": 2"), "%s", r.out);
}

Test(control, pause_and_resume_change_the_state_once)
{
    CLI(&r, "pause", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"paused\""), "%s", r.out);
    CLI(&r, "pause", "sock");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "paused already"), "%s", r.err);

    CLI(&r, "resume", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "resume", "sock");
    cr_expect(strstr(r.err, "runs already"), "%s", r.err);
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);
}

Test(control, many_pauses_in_a_row)
{
    for (int i = 0; i < 20; i++) {
        CLI(&r, "pause", "sock");
        cr_assert_eq(r.code, 0, "%d: %s", i, r.err);
        CLI(&r, "resume", "sock");
        cr_assert_eq(r.code, 0, "%d: %s", i, r.err);
    }
}

Test(control, a_paused_machine_can_be_stopped)
{
    CLI(&r, "pause", "sock");
    CLI(&r, "stop", "sock");

    cr_expect_eq(cli_wait(machine), 13);
    machine = 0;
}

Test(control, set_names_the_device_or_key_that_is_wrong)
{
    CLI(&r, "set", "sock", "nothing", "a=b");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "no device 'nothing'"), "%s", r.err);

    CLI(&r, "set", "sock", "serial0", "colour=red");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "colour"), "%s", r.err);
}

Test(control, a_device_is_removed_once_and_parts_of_the_machine_stay)
{
    CLI(&r, "remove", "sock", "virtio-rng0");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "info", "sock");
    cr_expect_not(strstr(r.out, "virtio-rng"), "%s", r.out);
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);

    CLI(&r, "remove", "sock", "virtio-rng0");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "no device 'virtio-rng0'"), "%s", r.err);
    CLI(&r, "remove", "sock", "serial0");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "a part of the machine"), "%s", r.err);
}

Test(control, the_socket_is_its_owners_alone)
{
    struct stat st;

    cr_assert(!stat("sock", &st));

    cr_expect_eq(st.st_mode & 077, 0, "%o", st.st_mode);
}

Test(control, a_second_machine_does_not_take_the_socket)
{
    CLI(&r, "run", "-s", "sock", "k");

    cr_expect_eq(r.code, 2, "%d", r.code);
    cr_expect(strstr(r.err, "another program listens on it"), "%s", r.err);
    CLI(&r, "info", "sock");
    cr_expect_eq(r.code, 0);
}

static int connected(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "sock" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    cr_assert(fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
    return fd;
}

/* Sends bytes, gives what comes back until it is a line or the end. */
static const char *say(int fd, const char *bytes, size_t len)
{
    static char answer[4096];
    size_t n = 0;
    ssize_t got;

    memset(answer, 0, sizeof(answer));
    while (len) {
        got = send(fd, bytes, len, MSG_NOSIGNAL);
        if (got <= 0)
            break;
        bytes += got;
        len -= (size_t)got;
    }
    while (n < sizeof(answer) - 1 && !strchr(answer, '\n') &&
           (got = recv(fd, answer + n, sizeof(answer) - 1 - n, 0)) > 0)
        n += (size_t)got;
    return answer;
}

Test(control, a_pause_that_takes_long_is_a_job_that_can_be_cancelled)
{
    static const char pause[] = "{\"verb\":\"pause\"}\n";
    pid_t cpu = cli_hold(machine, "vcpu1");
    int fd = connected();

    cr_assert_eq(send(fd, pause, sizeof(pause) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(pause) - 1);
    do /* on another connection: it may come first */
        CLI(&r, "info", "sock");
    while (!r.code && !strstr(r.out, "\"what\": \"pause\""));
    cr_expect(strstr(r.out, "\"job\": 1,"), "%s", r.out);
    cr_expect(strstr(r.out, "\"state\": \"changing\""), "%s", r.out);

    CLI(&r, "cancel", "sock", "1");
    cr_expect_eq(r.code, 0, "%s", r.err);

    cr_expect(strstr(say(fd, "", 0), "the pause was cancelled"));
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"jobs\": []"), "%s", r.out);
    cli_let_go(cpu);
    CLI(&r, "pause", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
    close(fd);
}

Test(control, a_job_that_ended_is_listed_with_its_result)
{
    CLI(&r, "remove", "sock", "virtio-rng0");
    cr_assert_eq(r.code, 0, "%s", r.err);

    CLI(&r, "info", "sock");

    cr_expect(strstr(r.out, "\"ended\": [\n"), "%s", r.out);
    cr_expect(strstr(r.out, "\"what\": \"remove\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"code\": 0"), "%s", r.out);
}

/* The command's own words until one has what is looked for; false: it ended before. */
static bool read_until(FILE *from, const char *what)
{
    char line[1024];

    while (fgets(line, sizeof(line), from))
        if (strstr(line, what))
            return true;
    return false;
}

Test(control, events_tell_how_each_job_ended_until_the_machine_ends)
{
    FILE *events = popen("exec \"$VMM_PROGRAM\" events sock", "r");
    pid_t cpu = cli_hold(machine, "vcpu1"), pause;

    cr_assert(events && read_until(events, "\"jobs\""), "it says first what runs");
    pause = CLI_START("pause", "sock");
    do
        CLI(&r, "info", "sock");
    while (!r.code && !strstr(r.out, "\"what\": \"pause\""));
    CLI(&r, "cancel", "sock", "1");

    cr_expect(read_until(events,
                         "{\"event\":\"job-ended\",\"job\":1,\"what\":\"pause\",\"code\":-125,"
                         "\"text\":\"the pause was cancelled\""));
    cr_expect_neq(cli_wait(pause), 0);
    cli_let_go(cpu);
    CLI(&r, "remove", "sock", "virtio-rng0");
    cr_expect(read_until(events, "\"job\":2,\"what\":\"remove\",\"code\":0,"));
    CLI(&r, "stop", "sock");
    cr_expect_not(read_until(events, "job"));
    cr_expect_eq(pclose(events), 0);
    cr_expect_eq(cli_wait(machine), 13);
    machine = 0;
}

Test(control, events_tell_pauses_and_how_the_machine_ended)
{
    FILE *events = popen("exec \"$VMM_PROGRAM\" events sock", "r");

    cr_assert(events && read_until(events, "\"jobs\""), "it says first what runs");
    CLI(&r, "pause", "sock");
    cr_expect(read_until(events, "{\"event\":\"paused\",\"source\":\"machine\"}"));
    CLI(&r, "resume", "sock");
    cr_expect(read_until(events, "{\"event\":\"resumed\",\"source\":\"machine\"}"));
    CLI(&r, "stop", "sock");

    cr_expect(read_until(events, "{\"event\":\"ended\",\"source\":\"machine\",\"text\":\"stop\"}"));
    cr_expect_eq(pclose(events), 0);
    cr_expect_eq(cli_wait(machine), 13);
    machine = 0;
}

Test(control, events_of_nobody_are_an_error)
{
    CLI(&r, "events", "none");

    cr_expect_eq(r.code, 2, "%d", r.code);
    cr_expect(strstr(r.err, "no machine listens on none"), "%s", r.err);
}

Test(control, cancel_names_what_is_wrong_with_the_job)
{
    CLI(&r, "cancel", "sock", "7");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "job 7 does not run"), "%s", r.err);

    CLI(&r, "cancel", "sock", "pause");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "'pause' is no job"), "%s", r.err);
}

Test(control, garbage_gets_an_error_line_each)
{
    static const char *const lines[] = { "\n",
                                         "{\n",
                                         "[]\n",
                                         "{\"verb\":1}\n",
                                         "{\"verb\":\"fly\"}\n",
                                         "\xff\xfe\n",
                                         "{\"verb\":\"info\",\"verb\":\"stop\"}\n",
                                         "{\"verb\":\"set\"}\n",
                                         "{\"verb\":\"cancel\"}\n",
                                         "{\"verb\":\"cancel\",\"job\":-1}\n" };
    int fd = connected();

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_expect(strstr(say(fd, lines[i], strlen(lines[i])), "\"error\""), "line %zu", i);

    close(fd);
    CLI(&r, "info", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(control, requests_in_one_piece_are_all_answered)
{
    static const char both[] = "{\"verb\":\"pause\"}\n{\"verb\":\"resume\"}\n";
    int fd = connected();

    cr_assert_eq(send(fd, both, sizeof(both) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(both) - 1);
    for (int lines = 0; lines < 2;) {
        char byte;

        cr_assert_eq(recv(fd, &byte, 1, 0), 1);
        lines += byte == '\n';
    }

    close(fd);
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);
}

Test(control, depth_10000_is_refused)
{
    static char deep[10002];
    int fd = connected();

    memset(deep, '[', 10000);
    deep[10000] = '\n';
    cr_expect(strstr(say(fd, deep, 10001), "\"error\""));

    close(fd);
    CLI(&r, "info", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(control, a_line_without_end_is_cut_off)
{
    static char endless[100000];
    int fd = connected();

    memset(endless, 'x', sizeof(endless));
    cr_expect(strstr(say(fd, endless, sizeof(endless)), "longer than"));

    close(fd);
    CLI(&r, "info", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(control, clients_that_only_connect_do_not_keep_others_out_for_ever)
{
    int fds[40];

    for (size_t i = 0; i < 40; i++)
        fds[i] = connected();
    for (size_t i = 0; i < 40; i++)
        close(fds[i]);

    CLI(&r, "info", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
}
