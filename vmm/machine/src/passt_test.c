/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Programs in passt's place: start, death, restart, and what they cannot do. passt itself: tests/e2e/net-user.sh. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <vmm/base/dial.h>
#include <vmm/base/fd.h>
#include <vmm/machine/passt.h>

#include "machine_test.h"
#include "passt_ports.h"

/* It sends back what it gets, and ends with its connection. {fd}: where the starter wants to have its number told. */
#define ECHO "/bin/sh -c 'echo $$ >&4; exec 4>&-; exec cat <&3 >&3' {fd}"

static struct vmm_spawner *spawner;
static struct vmm_passt *passt;
static int fd, deaths;
static bool lonely;

static void died(void *ctx, const char *how)
{
    (void)ctx;
    (void)how;
    deaths++;
}

static void alone(void *ctx)
{
    (void)ctx;
    lonely = true;
}

static void set_up(void)
{
    struct vmm_spawner_config config = { .env = &t.env, .foreign = true };

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator does not start programs by descriptor");
    mt_open(false);
    cr_assert_eq(vmm_spawner_start(&config, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, 10ULL * 1000000000ULL), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, t.env.loop), 0);
    fd = -1;
}

static void tear_down(void)
{
    vm_close(&fd);
    vmm_passt_free(passt);
    vmm_spawner_free(spawner);
    hv_free(t.hv);
    close(t.config.kernel.fd);
    vm_loop_free(t.env.loop);
}
TestSuite(passt, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);

static int begin(const char *text)
{
    const struct vmm_passt_setup setup = {
        .env = &t.env, .spawner = spawner, .id = "net0", .text = text, .died = died, .alone = alone
    };

    return vmm_passt_new(&setup, &passt, &fd);
}

/* The connection that was asked for. */
static int take(uint32_t tag)
{
    struct vm_dial_answer answer;
    int rc;

    while ((rc = vm_dial_take(fd, &answer)) == -EAGAIN)
        cr_assert_geq(vm_loop_step(t.env.loop, 1000000000), 0);
    cr_assert_eq(rc, 0);
    cr_assert_eq(answer.tag, tag);
    cr_assert_geq(answer.fd, 0);
    return answer.fd;
}

static int ask(uint32_t tag)
{
    cr_assert_eq(vm_dial_ask(fd, tag, 0), 0);
    return take(tag);
}

static bool ends(int connection)
{
    struct pollfd p = { .fd = connection, .events = POLLIN };
    char c;

    return poll(&p, 1, 20000) == 1 && read(connection, &c, 1) <= 0;
}

static void echoes(int connection)
{
    struct pollfd p = { .fd = connection, .events = POLLIN };
    char got[4];

    cr_assert_eq(write(connection, "ping", 4), 4);
    cr_assert_eq(poll(&p, 1, 20000), 1);
    cr_assert_eq(read(connection, got, 4), 4);
    cr_assert_eq(memcmp(got, "ping", 4), 0);
}

Test(passt, it_runs_before_the_first_connection_is_asked_for)
{
    int connection;

    cr_assert_eq(begin(ECHO), 0, "%s", vm_error_text());
    connection = ask(7);

    echoes(connection);
    cr_assert_eq(deaths, 0);
    close(connection);
}

Test(passt, one_that_dies_is_told_once_and_followed_by_another_one)
{
    int connection;

    cr_assert_eq(begin("/bin/sh -c 'echo 1 >&4; exec 4>&-; read x <&3; exit 5' {fd}"), 0, "%s",
                 vm_error_text());
    connection = ask(1);
    cr_assert_eq(write(connection, "\n", 1), 1);
    cr_assert(ends(connection));
    close(connection);

    connection = ask(2);

    cr_assert(mt_logged("net0: passt ended: exit code 5: it is started again"));
    cr_assert_eq(deaths, 1);
    close(connection);
}

Test(passt, one_that_dies_again_and_again_is_started_ever_more_slowly)
{
    uint64_t begun;

    cr_assert_eq(begin("/bin/sh -c 'echo 1 >&4; exit 5' {fd}"), 0, "%s", vm_error_text());
    begun = vm_loop_now_ns(t.env.loop);
    for (uint32_t i = 0; i < 6; i++) {
        int connection = ask(i);

        cr_assert(ends(connection));
        close(connection);
    }

    /* 50, 100, 200, 400 and 800 ms lie before the second to sixth after the first two */
    cr_assert_geq(vm_loop_now_ns(t.env.loop) - begun, 700000000);
}

Test(passt, one_that_goes_on_without_its_connection_is_ended)
{
    int connection, next;

    cr_assert_eq(begin("/bin/sh -c 'echo 1 >&4; exec 4>&-; exec sleep 1000' {fd}"), 0, "%s",
                 vm_error_text());
    connection = ask(1);
    next = ask(2);

    cr_assert(ends(connection));
    cr_assert(mt_logged("net0: passt has lost its connection: it is started again"));
    close(connection);
    close(next);
}

Test(passt, it_ends_with_its_owner_and_says_when_nobody_wants_it_any_more)
{
    int connection;

    cr_assert_eq(begin(ECHO), 0, "%s", vm_error_text());
    connection = ask(1);
    vm_close(&fd);
    while (!lonely)
        cr_assert_geq(vm_loop_step(t.env.loop, 1000000000), 0);

    vmm_passt_free(passt);
    passt = NULL;

    cr_assert(ends(connection));
    close(connection);
}

/* ---- what it cannot do ---- */

static bool told(const char *what)
{
    return strstr(vm_error_text(), what);
}

Test(passt, what_it_said_before_it_ended_is_the_error)
{
    cr_assert_eq(begin("/bin/sh -c 'echo No external routable interface >&2; "
                       "echo Failed to send 9 bytes to syslog >&2; exit 1' {fd}"),
                 -ECHILD);

    cr_assert_str_eq(vm_error_text(), "passt: No external routable interface");
}

Test(passt, one_that_says_nothing_before_its_end_is_told_all_the_same)
{
    cr_assert_eq(begin("/bin/sh -c 'exit 1' {fd}"), -ECHILD);

    cr_assert_str_eq(vm_error_text(), "/bin/sh is not ready: exit code 1");
}

Test(passt, a_file_that_is_no_program_is_told)
{
    char path[] = "passt-XXXXXX", text[64];
    int file = mkstemp(path);

    cr_assert_eq(write(file, "no ELF file", 11), 11);
    cr_assert_eq(fchmod(file, 0700), 0);
    close(file);
    snprintf(text, sizeof(text), "./%s --fd {fd}", path);

    cr_assert_eq(begin(text), -ECHILD);
    unlink(path);

    cr_assert(told("is not ready: it did not start: "), "%s", vm_error_text());
    cr_assert(told(strerror(ENOEXEC)), "%s", vm_error_text());
}

Test(passt, where_it_is_not_installed_the_error_says_how_to_get_it)
{
    cr_assert_eq(begin("no-such-passt --fd {fd}"), -ENOENT);

    cr_assert(told("mode=user needs no-such-passt, which is not in PATH: install it"), "%s",
              vm_error_text());
}

Test(passt, without_a_spawner_there_is_none)
{
    vmm_spawner_free(spawner);
    spawner = NULL;

    cr_assert_eq(begin(ECHO), -EINVAL);

    cr_assert(told("there is no spawner"), "%s", vm_error_text());
}

/* ---- ports ---- */

/* A port of the host's loopback that somebody has, who would share it, as passt would. */
static unsigned take_port(int type, int *ret_fd)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    const int yes = 1;

    *ret_fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    cr_assert_eq(setsockopt(*ret_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    cr_assert_eq(bind(*ret_fd, (struct sockaddr *)&at, len), 0);
    if (type == SOCK_STREAM)
        cr_assert_eq(listen(*ret_fd, 1), 0);
    cr_assert_eq(getsockname(*ret_fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static int try_port(const char *option, const char *address, unsigned port)
{
    char spec[80], word[16];
    char *words[] = { strcpy(word, option), spec, NULL };

    snprintf(spec, sizeof(spec), "%s%u-%u:1-1", address, port, port);
    return vmm_passt_try_ports(words);
}

Test(passt_ports, one_that_is_taken_is_told_with_its_number)
{
    int taken;
    unsigned port = take_port(SOCK_STREAM, &taken);
    char text[64];

    cr_assert_eq(try_port("--tcp-ports", "127.0.0.1/", port), -EADDRINUSE);

    snprintf(text, sizeof(text), "forward=tcp:%u: that port of the host at 127.0.0.1 is taken",
             port);
    cr_assert(told(text), "%s", vm_error_text());
    cr_assert_eq(try_port("--tcp-ports", "", port), -EADDRINUSE, "among all addresses");
    close(taken);
    cr_assert_eq(try_port("--tcp-ports", "127.0.0.1/", port), 0, "%s", vm_error_text());
}

Test(passt_ports, the_protocols_have_ports_of_their_own)
{
    int taken;
    unsigned port = take_port(SOCK_DGRAM, &taken);

    cr_assert_eq(try_port("--udp-ports", "127.0.0.1/", port), -EADDRINUSE);
    cr_assert_eq(try_port("--tcp-ports", "127.0.0.1/", port), 0, "%s", vm_error_text());
    close(taken);
}

Test(passt_ports, an_address_that_the_host_has_not_is_told)
{
    cr_assert_eq(try_port("--tcp-ports", "192.0.2.77/", 40000), -EADDRNOTAVAIL);

    cr_assert(told("the host has no address 192.0.2.77"), "%s", vm_error_text());
}

Test(passt_ports, where_none_is_forwarded_none_is_tried)
{
    char option[] = "--tcp-ports", none[] = "none";
    char *words[] = { option, none, NULL };

    cr_assert_eq(vmm_passt_try_ports(words), 0);
}
