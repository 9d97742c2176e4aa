/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* --vsock and vmm vsock connect; the device is played by the test. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(vsock, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2 };

static void refused(const char *words)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, USAGE, "exit %d: %s", r.code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, words), "no '%s' in: %s", words, r.err);
}

static void planned(const char *words)
{
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, words), "no '%s' in: %s", words, r.out);
}

Test(vsock, a_plan_has_the_device)
{
    CLI(&r, "plan", "--vsock", "cid=3,socket=v", "k");

    planned("0000:00:02.0  1af4:1053  virtio-vsock0    4 MSI-X vectors");
    planned("a jailed process, ");
}

Test(vsock, the_address_may_stand_alone)
{
    CLI(&r, "plan", "--cid", "3", "--vsock", "socket=v", "k");

    planned("virtio-vsock0");
}

Test(vsock, cloud_hypervisors_json_has_it)
{
    static const char json[] =
        "{\"payload\":{\"kernel\":\"k\"},\"vsock\":{\"cid\":3,\"socket\":\"/x\",\"id\":\"v\"}}";

    cli_file("vm.json", json, sizeof(json) - 1);
    CLI(&r, "plan", "--config", "vm.json");

    planned("1af4:1053  v ");
}

Test(vsock, the_kernels_is_on_a_thread)
{
    CLI(&r, "plan", "--rng", "off", "--vsock", "cid=3,vhost=on", "k");

    planned("1af4:1053  virtio-vsock0");
    cr_expect_null(strstr(r.out, "a jailed process, "), "%s", r.out);
}

/* vmm run opens it after the machine's memory is made. */
static void no_vhost(const char *option, const char *value, const char *words)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "--rng", "off", option, value, "k");
    cr_expect_gt(r.code, 0, "exit %d: %s", r.code, r.err);
    cr_expect(strstr(r.err, words), "no '%s' in: %s", words, r.err);
}

Test(vsock, a_kernel_without_it_is_told)
{
    no_vhost("--vsock", "cid=3,vhost=on,vhost_device=/nowhere",
             "virtio-vsock0: vhost=on: /nowhere: the kernel has no vhost-vsock: load it (modprobe "
             "vhost_vsock), or give socket=PATH instead");
}

Test(vsock, what_is_no_such_device_is_told)
{
    no_vhost("--vsock", "cid=3,vhost=on,vhost_device=/dev/null",
             "virtio-vsock0: /dev/null: what was opened is no such device of the kernel's");
}

Test(vsock, without_a_key_there_is_none)
{
    CLI(&r, "plan", "k");

    cr_expect_null(strstr(r.out, "vsock"));
}

Test(vsock, what_is_missing_or_cannot_be_is_one_line)
{
    CLI(&r, "plan", "--vsock", "cid=3", "k");
    refused("Give socket=PATH (Unix sockets of the host), or vhost=on (its AF_VSOCK)");
    CLI(&r, "plan", "--cid", "3", "k");
    refused("Give socket=PATH");
    CLI(&r, "plan", "--vsock", "cid=3,vhost=on,socket=/x", "k");
    refused("with vhost=on connections end in AF_VSOCK of the host, and socket= has no meaning");
    CLI(&r, "plan", "--vsock", "cid=3,vhost=on,seqpacket=/x", "k");
    refused("and seqpacket= has no meaning");
    CLI(&r, "plan", "--vsock", "cid=3,socket=/x,vhost_device=/dev/vhost-vsock", "k");
    refused("names the kernel's vhost-vsock: give vhost=on, too");
    CLI(&r, "plan", "--vsock", "cid=3,vhost=on,connections=5", "k");
    refused("connections= has no meaning");
    CLI(&r, "plan", "--vsock", "cid=3,vhost=on,placement=process", "k");
    refused("placement=process cannot be: with vhost=on the kernel works in the address space");
    CLI(&r, "plan", "--vsock", "socket=/x", "k");
    refused("'cid' is missing");
    CLI(&r, "plan", "--vsock", "cid=2,socket=/x", "k");
    refused("cid=2: a number from 3 to 4294967294");
    CLI(&r, "plan", "--vsock", "cid=4294967295,socket=/x", "k");
    refused("4294967294");
    CLI(&r, "plan", "--vsock", "cid=3,socket=/x,seqpacket=/x", "k");
    refused("both go to /x");
    CLI(&r, "plan", "-s", "/x", "--vsock", "cid=3,socket=/x", "k");
    refused("both go to /x");
}

/* ---- the tool ---- */

/* A device that says answer to the line that it expects, then text, and reads to the end. */
static pid_t play(int type, const char *line, const char *answer, const char *text)
{
    const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "v" };
    int listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), fd;
    char got[64] = "";
    pid_t pid;

    cr_assert_eq(bind(listener, (const struct sockaddr *)&name, sizeof(name)), 0);
    cr_assert_eq(listen(listener, 1), 0);
    pid = fork();
    if (pid) {
        close(listener);
        return pid;
    }
    fd = accept(listener, NULL, NULL);
    (void)!recv(fd, got, sizeof(got) - 1, 0);
    if (strcmp(got, line) != 0)
        _exit(1);
    if (answer)
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    if (text)
        (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
    while (text && recv(fd, got, sizeof(got), 0) > 0)
        ;
    _exit(0);
}

static void played(pid_t pid)
{
    int status;

    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "it was asked something else");
    unlink("v");
}

Test(vsock, what_the_guest_sends_comes_out_and_the_end_of_the_input_reaches_it)
{
    pid_t pid = play(SOCK_STREAM, "CONNECT 52\n", "OK 1073741824\n", "from the guest\n");

    CLI(&r, "vsock", "connect", "v", "52");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "from the guest\n");
    played(pid);
}

Test(vsock, messages_have_a_socket_of_their_own)
{
    pid_t pid = play(SOCK_SEQPACKET, "CONNECT 4294967294\n", "OK 1073741824\n", "message");

    CLI(&r, "vsock", "connect", "--seqpacket", "v", "4294967294");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "message");
    played(pid);
}

static void failed(const char *words)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_neq(r.code, 0);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, words), "no '%s' in: %s", words, r.err);
}

Test(vsock, each_failure_has_its_line)
{
    pid_t pid = play(SOCK_STREAM, "CONNECT 52\n", NULL, NULL);

    CLI(&r, "vsock", "connect", "v", "52");
    failed("port 52 of the guest: nobody there takes the connection");
    played(pid);
    pid = play(SOCK_STREAM, "CONNECT 52\n", "{\"error\":5}\n", NULL);
    CLI(&r, "vsock", "connect", "v", "52");
    failed("v speaks another protocol");
    played(pid);
    CLI(&r, "vsock", "connect", "v", "52");
    failed("socket v: No such file");
    CLI(&r, "vsock", "connect", "v", "4294967295");
    refused("a number from 0 to 4294967294");
    CLI(&r, "vsock", "listen", "v", "5");
    refused("the only thing to do is connect");
}

Test(vsock, a_machine_listens_whoever_serves_the_device)
{
    static const char *const sandboxes[] = { "process", "thread", "off" };

    if (cli_why_not())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    for (size_t i = 0; i < sizeof(sandboxes) / sizeof(*sandboxes); i++) {
        pid_t machine = CLI_START("run", "--serial", "null", "-s", "sock", "--sandbox",
                                  sandboxes[i], "--vsock", "cid=3,socket=v", "k");

        cr_assert_eq(cli_wait_for("sock"), 0, "--sandbox %s", sandboxes[i]);
        cr_expect_eq(cli_wait_for("v"), 0, "--sandbox %s", sandboxes[i]);
        CLI(&r, "stop", "sock");
        cli_wait(machine);
        cr_expect_neq(access("v", F_OK), 0, "--sandbox %s: it is left behind", sandboxes[i]);
    }
}
