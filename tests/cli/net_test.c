/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Network devices of a running machine; the other side of the socket is played by the test. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

TestSuite(net, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

static int listen_at(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    unlink(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    cr_assert_eq(listen(fd, 4), 0);
    return fd;
}

/* Somebody connects, in so many seconds. */
static int peer_of(int fd, int seconds)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    cr_assert_eq(poll(&p, 1, seconds * 1000 * cli_patience()), 1, "nobody connected");
    return accept(fd, NULL, NULL);
}

static void comes_back(const char *placement)
{
    char net[64];
    int fd, peer;
    pid_t vmm;

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    fd = listen_at("s");
    snprintf(net, sizeof(net), "socket=s,placement=%s", placement);
    vmm = CLI_START("run", "--net", net, "-s", "control", "k");
    peer = peer_of(fd, 20);

    for (int i = 0; i < 2; i++) {
        close(peer);
        close(fd);
        fd = listen_at("s");
        peer = peer_of(fd, 20);
    }

    close(peer);
    close(fd);
    kill(vmm, SIGKILL); /* it never looks at its power button */
    cli_wait(vmm);
}

Test(net, a_device_in_a_process_connects_again_when_its_peer_has_gone)
{
    comes_back("process");
}

Test(net, a_device_on_a_thread_connects_again_when_its_peer_has_gone)
{
    comes_back("thread");
}

/* ---- vhost=on ---- */

static void vhost_refused(const char *net, const char *words)
{
    struct cli_result r = { 0 };

    CLI(&r, "plan", "--net", net, "k");
    cr_expect_eq(r.code, 2, "%s: exit %d", net, r.code);
    cr_expect(strstr(r.err, words), "%s: no '%s' in: %s", net, words, r.err);
}

Test(net, what_looks_at_packets_is_not_for_the_kernels_vhost)
{
    static const char words[] =
        "looks at packets, which with vhost=on pass within the host's kernel";

    vhost_refused("tap=t,vhost=on,capture=f", words);
    vhost_refused("tap=t,vhost=on,deny_metadata=on", words);
    vhost_refused("tap=t,vhost=on,num_queues=4,rss=on", words);
    vhost_refused("tap=t,vhost=on,hash=on", words);
    vhost_refused("socket=s,vhost=on",
                  "the kernel's vhost-net serves tap interfaces: give tap=NAME");
    vhost_refused("mode=user,vhost=on", "give tap=NAME, or fd=N");
    vhost_refused("tap=t,vhost_device=/dev/x", "vhost_device= has no meaning without vhost=on");
    vhost_refused("tap=t,vhost=on,placement=process",
                  "placement=process cannot be: with vhost=on the kernel works in the address");
}

/* ---- announcing the guest ---- */

/* The next frame, in so many seconds: 32 bits of length before it. */
static size_t frame_of(int peer, uint8_t frame[static 2048], int seconds)
{
    struct pollfd p = { .fd = peer, .events = POLLIN };
    uint32_t bytes;

    cr_assert_eq(poll(&p, 1, seconds * 1000 * cli_patience()), 1, "no frame");
    cr_assert_eq(recv(peer, &bytes, sizeof(bytes), MSG_WAITALL), (ssize_t)sizeof(bytes));
    bytes = ntohl(bytes);
    cr_assert_leq(bytes, 2048);
    cr_assert_eq(recv(peer, frame, bytes, MSG_WAITALL), (ssize_t)bytes);
    return bytes;
}

static void is_announced(const char *placement)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
    const char *const ids[] = { NULL, "net0" };
    struct cli_result r;
    uint8_t frame[2048];
    int fd, peer;
    char net[96];
    pid_t vmm;

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    fd = listen_at("s");
    snprintf(net, sizeof(net), "socket=s,id=net0,mac=52:54:00:12:34:56,placement=%s", placement);
    vmm = CLI_START("run", "--net", net, "-s", "control", "k");
    peer = peer_of(fd, 20);
    cr_assert_eq(cli_wait_for("control"), 0);

    for (unsigned i = 0; i < 2; i++) {
        CLI(&r, "announce", "control", ids[i]);
        cr_assert_eq(r.code, 0, "%s", r.err);
        cr_expect_eq(frame_of(peer, frame, 20), 60);
        cr_expect_arr_eq(frame, "\xff\xff\xff\xff\xff\xff", 6);
        cr_expect_arr_eq(frame + 6, mac, 6);
        cr_expect_arr_eq(frame + 12, "\x80\x35", 2); /* RARP */
    }
    CLI(&r, "announce", "control", "net1");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "there is no device 'net1'"), "%s", r.err);
    CLI(&r, "announce", "control", "virtio-rng0");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "virtio-rng0 is no network device"), "%s", r.err);
    CLI(&r, "pause", "control");
    CLI(&r, "announce", "control");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "the machine is paused"), "%s", r.err);

    close(peer);
    close(fd);
    cli_stop(vmm, "control");
}

Test(net, a_guest_is_announced_by_its_device_in_a_process)
{
    is_announced("process");
}

Test(net, a_guest_is_announced_by_its_device_on_a_thread)
{
    is_announced("thread");
}

Test(net, a_machine_without_a_network_device_has_nothing_to_announce)
{
    struct cli_result r;
    pid_t vmm;

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    vmm = CLI_START("run", "-s", "control", "k");
    cr_assert_eq(cli_wait_for("control"), 0);

    CLI(&r, "announce", "control");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "this machine has no network device: start it with --net"), "%s",
              r.err);

    cli_stop(vmm, "control");
}

/* ---- rules ---- */

static void set_fails(const char *key_value, const char *why)
{
    struct cli_result r;

    CLI(&r, "set", "control", "net0", key_value);
    cr_expect_neq(r.code, 0, "%s", key_value);
    cr_expect(strstr(r.err, why), "%s: %s", key_value, r.err);
}

static void set_works(const char *key_value)
{
    struct cli_result r;

    CLI(&r, "set", "control", "net0", key_value);
    cr_assert_eq(r.code, 0, "%s: %s", key_value, r.err);
}

static void move_to(const char *placement)
{
    struct cli_result r;

    CLI(&r, "move", "control", "net0", "--placement", placement);
    cr_assert_eq(r.code, 0, "%s", r.err);
}

/* They hold for whoever serves the device. */
static void rules_change(const char *placement, const char *other)
{
    static const char opens[] = "net0: without rules egress_default=auto lets everything pass";
    char net[128];
    pid_t vmm;

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    snprintf(net, sizeof(net), "mode=none,id=net0,egress=[allow],placement=%s", placement);
    vmm = CLI_START("run", "--net", net, "-s", "control", "k");
    cr_assert_eq(cli_wait_for("control"), 0);

    set_works("egress=[deny:udp,allow:tcp:443@10.0.0.0/8]");
    set_fails("egress=[deny:udp,perhaps]", "egress: 'perhaps' is no rule");
    set_fails("egress=[]", opens);
    set_works("egress_default=deny");
    set_works("egress=[]");
    set_fails("egress_types=[0x88cc]", "cannot be changed while the machine runs");
    move_to(other);
    set_fails("egress_default=auto", opens);
    set_works("egress=[allow:tcp]");
    move_to(placement);
    set_works("egress_default=auto");
    set_fails("egress=[]", opens);

    cli_stop(vmm, "control");
}

Test(net, rules_of_a_device_on_a_thread_change)
{
    rules_change("thread", "process");
}

Test(net, rules_of_a_device_in_a_process_change)
{
    rules_change("process", "thread");
}

/* ---- mode=user ---- */

/* passt of Debian 12 begins where there is a default route only. */
static const char *why_no_passt(void)
{
    char line[256], name[16];
    unsigned to = 1;
    FILE *f;

    if (getenv("VMM_USER_EMULATOR"))
        return "the user-mode emulator does not start programs by descriptor";
    if (access("/usr/bin/passt", X_OK))
        return "passt is not installed";
    f = fopen("/proc/net/route", "re");
    while (f && to && fgets(line, sizeof(line), f))
        if (sscanf(line, "%15s %x", name, &to) != 2)
            to = 1;
    if (f)
        fclose(f);
    return to ? "this host has no default route" : NULL;
}

/* A port of the loopback that nobody has. */
static unsigned free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&at, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static bool is_passt_of(const char *pid, const char *spec)
{
    char path[300], words[1024];
    size_t len;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    f = fopen(path, "re");
    len = f ? fread(words, 1, sizeof(words) - 1, f) : 0;
    if (f)
        fclose(f);
    words[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if (!words[i])
            words[i] = ' ';
    return !strncmp(words, "passt ", 6) && strstr(words, spec);
}

/* Who listens at that port for the guest, but not `other`: 0: nobody. */
static pid_t passt_of(unsigned port, pid_t other)
{
    struct dirent *entry;
    char spec[80];
    pid_t found = 0;
    DIR *proc = opendir("/proc");

    snprintf(spec, sizeof(spec), " 127.0.0.1/%u-%u:22-22 ", port, port);
    while (proc && !found && (entry = readdir(proc)))
        if (atoi(entry->d_name) && atoi(entry->d_name) != other && is_passt_of(entry->d_name, spec))
            found = atoi(entry->d_name);
    if (proc)
        closedir(proc);
    return found;
}

static pid_t await_passt(unsigned port, pid_t other)
{
    pid_t found;

    for (int i = 0; !(found = passt_of(port, other)); i++) {
        cr_assert_lt(i, 200 * cli_patience(), "there is no passt");
        poll(NULL, 0, 100);
    }
    return found;
}

static void passt_is_replaced(const char *sandbox)
{
    unsigned port = free_port();
    const char *why = cli_has_kvm() ? why_no_passt() : cli_why_not();
    struct cli_result r;
    pid_t vmm, first;
    char net[80];

    if (why)
        CLI_SKIP("%s", why);
    cli_kernel("k", TINY_LOOP);
    snprintf(net, sizeof(net), "user,forward=tcp:127.0.0.1:%u:22", port);
    vmm = CLI_START("run", "--net", net, "--sandbox", sandbox, "-s", "control", "k");

    cr_assert_eq(cli_wait_for("control"), 0);
    CLI(&r, "info", "control"); /* the machine runs: passt has said that it is ready */
    cr_assert_eq(r.code, 0, "%s", r.err);
    first = await_passt(port, 0);
    cr_assert_eq(kill(first, SIGKILL), 0);
    await_passt(port, first);

    cr_assert_eq(kill(vmm, SIGINT), 0);
    cr_assert_eq(cli_wait(vmm), 13);
    for (int i = 0; passt_of(port, 0); i++) {
        cr_assert_lt(i, 200 * cli_patience(), "passt is left behind");
        poll(NULL, 0, 100);
    }
}

Test(net, a_passt_that_dies_is_replaced_for_a_device_in_a_process_and_ends_with_the_machine)
{
    passt_is_replaced("process");
}

Test(net, a_passt_that_dies_is_replaced_for_a_device_on_a_thread_and_ends_with_the_machine)
{
    passt_is_replaced("thread");
}

Test(net, a_passt_that_dies_is_replaced_without_filters_and_ends_with_the_machine)
{
    passt_is_replaced("off");
}

Test(net, a_device_of_its_own_without_passt_says_how_to_get_it)
{
    char path[4096];
    struct cli_result r;

    snprintf(path, sizeof(path), "%s", getenv("PATH"));
    setenv("PATH", "/none", 1);
    CLI(&r, "device", "virtio-net,mode=user", "--socket", "s");
    setenv("PATH", path, 1);

    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "passt"), "%s", r.err);
    cr_expect(strstr(r.err, "install"), "%s", r.err);
    cr_expect_neq(access("s", F_OK), 0);
}

Test(net, a_device_of_its_own_starts_its_passt_which_ends_with_it)
{
    unsigned port = free_port();
    const char *why = why_no_passt();
    char net[80];
    pid_t device;

    if (why)
        CLI_SKIP("%s", why);
    snprintf(net, sizeof(net), "virtio-net,mode=user,forward=tcp:127.0.0.1:%u:22", port);
    device = CLI_START("device", net, "--socket", "s");
    await_passt(port, 0);
    cr_assert_eq(cli_wait_for("s"), 0);

    kill(device, SIGTERM);

    cli_wait(device); /* 0, or the signal, when it had just begun */
    for (int i = 0; passt_of(port, 0); i++) {
        cr_assert_lt(i, 200 * cli_patience(), "passt is left behind");
        poll(NULL, 0, 100);
    }
}
