/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of connections for who may open no name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

static char folder[] = "/tmp/dial-XXXXXX", path[64];
static struct vm_dial dial;
static int end;

static void setup(void)
{
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/v", folder);
    cr_assert_eq(vm_dial_new(path, VM_OPEN_DIAL, &dial, &end), 0, "%s", vm_error_text());
}

static void teardown(void)
{
    vm_dial_end(&dial);
    vm_close(&end);
    cr_assert_eq(rmdir(folder), 0, "nothing is left behind");
}

TestSuite(dial, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static int listen_at(unsigned port, char name[80])
{
    int fd;

    snprintf(name, 80, "%s_%u", path, port);
    fd = vm_socket_listen(name, 4);
    cr_assert_geq(fd, 0, "%s", vm_error_text());
    return fd;
}

Test(dial, the_connection_of_a_port_comes_with_its_tag)
{
    struct vm_dial_answer a;
    char name[80], got[2];
    int listener = listen_at(4294967294U, name), peer;

    cr_assert_eq(vm_dial_ask(end, 77, 4294967294U), 0);
    cr_assert_eq(vm_dial_serve(&dial), 0);
    cr_assert_eq(vm_dial_take(end, &a), 0);

    peer = accept(listener, NULL, NULL);
    cr_assert_eq(a.tag, 77);
    cr_assert_eq(a.port, 4294967294U);
    cr_assert_eq(a.code, 0);
    cr_assert_eq(write(a.fd, "ab", 2), 2);
    cr_assert_eq(read(peer, got, 2), 2);
    close(a.fd);
    close(peer);
    close(listener);
    unlink(name);
}

Test(dial, a_port_where_nobody_listens_is_told_so)
{
    struct vm_dial_answer a;

    cr_assert_eq(vm_dial_ask(end, 1, 5), 0);
    cr_assert_eq(vm_dial_serve(&dial), 0);
    cr_assert_eq(vm_dial_take(end, &a), 0);

    cr_assert_eq(a.code, -ENOENT);
    cr_assert_eq(a.fd, -1);
    cr_assert_eq(vm_dial_take(end, &a), -EAGAIN);
}

Test(dial, what_is_no_question_is_passed_over)
{
    struct vm_dial_answer a;

    cr_assert_eq(send(end, "abc", 3, 0), 3);
    cr_assert_eq(send(end, "0123456789abcdef", 16, 0), 16);
    cr_assert_eq(vm_dial_ask(end, 2, 9), 0);
    cr_assert_eq(vm_dial_serve(&dial), 0);

    cr_assert_eq(vm_dial_take(end, &a), 0);
    cr_assert_eq(a.tag, 2);
}

Test(dial, an_answer_that_is_none_is_a_broken_protocol)
{
    struct vm_dial_answer a;

    cr_assert_eq(send(dial.fd, "0123456789ab", 12, 0), 12);

    cr_assert_eq(vm_dial_take(end, &a), -EPROTO);
}

/* The next descriptor is one too many; gives back what may be open. */
static void use_up_descriptors(void)
{
    struct rlimit files;
    int next = dup(end);

    cr_assert_geq(next, 0);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

Test(dial, who_has_no_descriptor_for_a_connection_hears_of_it_and_may_ask_again)
{
    struct vm_dial_answer a;
    char name[80];
    int listener = listen_at(7, name);

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has descriptors of its own");
    cr_assert_eq(vm_dial_ask(end, 3, 7), 0);
    cr_assert_eq(vm_dial_serve(&dial), 0);
    use_up_descriptors();

    cr_assert_eq(vm_dial_take(end, &a), 0);

    cr_assert_eq(a.tag, 3);
    cr_assert_eq(a.port, 7);
    cr_assert_eq(a.code, -EMFILE);
    cr_assert_eq(a.fd, -1);
    close(listener);
    unlink(name);
    cr_assert_eq(vm_dial_ask(end, 4, 7), 0);
    cr_assert_eq(vm_dial_serve(&dial), 0);
    cr_assert_eq(vm_dial_take(end, &a), 0);
    cr_assert_eq(a.code, -ENOENT);
}

/* 0, or which step went wrong. As a user without other processes, more of whose descriptors are on their way than we may have. */
static int serve_in_a_flood(void)
{
    const uid_t user = 0x7fb00000 + (uid_t)getpid();
    struct rlimit files;
    int fd[VM_SOCKET_FDS_MAX], sock[2];

    for (size_t i = 0; i < VM_ARRAY_SIZE(fd); i++)
        fd[i] = end;
    if (getrlimit(RLIMIT_NOFILE, &files) || socketpair(AF_UNIX, SOCK_STREAM, 0, sock) ||
        (!geteuid() && (chmod(folder, 0777) || setresuid(user, user, user))))
        return 1;
    files.rlim_cur = 32;
    if (setrlimit(RLIMIT_NOFILE, &files))
        return 2;
    while (vm_socket_send(sock[0], "x", 1, fd, VM_SOCKET_FDS_MAX, MSG_DONTWAIT) > 0) {
        /* nobody takes them */
    }
    return vm_dial_serve(&dial) ? 3 : 0;
}

Test(dial, an_answer_whose_connection_the_kernel_does_not_carry_says_so)
{
    struct vm_dial_answer a;
    char name[80];
    int status, listener = listen_at(8, name);
    pid_t pid;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has limits of its own");
    cr_assert_eq(chmod(name, 0777), 0);
    cr_assert_eq(vm_dial_ask(end, 5, 8), 0);
    pid = fork();
    if (!pid)
        _exit(serve_in_a_flood());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "%x", status);

    cr_assert_eq(vm_dial_take(end, &a), 0);

    cr_assert_eq(a.tag, 5);
    cr_assert_eq(a.code, -ETOOMANYREFS, "%d", a.code);
    close(listener);
    unlink(name);
}

Test(dial, either_end_hears_that_the_other_one_is_gone)
{
    struct vm_dial_answer a;

    vm_dial_end(&dial);
    cr_assert_eq(vm_dial_take(end, &a), -ECONNRESET);
    cr_assert_eq(vm_dial_ask(end, 1, 1), -EPIPE);

    vm_close(&end);
    cr_assert_eq(vm_dial_new(path, VM_OPEN_DIAL | VM_OPEN_SEQPACKET, &dial, &end), 0);
    vm_close(&end);
    cr_assert_eq(vm_dial_serve(&dial), -ECONNRESET);
}

Test(dial, a_path_that_a_port_does_not_fit_behind_is_refused)
{
    char longer[VM_DIAL_PATH_MAX + 2];
    struct vm_dial other;
    int fd;

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';

    cr_assert_eq(vm_dial_new(longer, VM_OPEN_DIAL, &other, &fd), -ENAMETOOLONG);
    cr_assert(strstr(vm_error_text(), "1 to 96"), "%s", vm_error_text());
    cr_assert_eq(vm_dial_new("", VM_OPEN_DIAL, &other, &fd), -ENAMETOOLONG);
}
