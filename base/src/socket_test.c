/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

static char dir[64], path[96];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/vm-socket-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
}

static void drop_dir(void)
{
    unlink(path);
    rmdir(dir);
}

Test(socket, who_connects_reaches_who_listens, .init = make_dir, .fini = drop_dir)
{
    int listener = vm_socket_listen(path, 1), client = vm_socket_connect(path), peer;
    char byte = 0;

    cr_assert_geq(listener, 0, "%s", vm_error_text());
    cr_assert_geq(client, 0, "%s", vm_error_text());
    peer = accept(listener, NULL, NULL);
    cr_assert_eq(vm_write_full(client, "x", 1), 0);
    cr_assert_eq(vm_read_full(peer, &byte, 1), 0);

    cr_assert_eq(byte, 'x');
    cr_assert(fcntl(client, F_GETFD) & FD_CLOEXEC);
    cr_assert(fcntl(client, F_GETFL) & O_NONBLOCK);
    close(peer);
    close(client);
    close(listener);
}

Test(socket, only_its_owner_may_connect, .init = make_dir, .fini = drop_dir)
{
    int listener = vm_socket_listen(path, 1);
    struct stat st;

    cr_assert_eq(stat(path, &st), 0);

    cr_assert_eq(st.st_mode & 0777, 0600);
    close(listener);
}

Test(socket, nobody_there_is_told_by_its_code, .init = make_dir, .fini = drop_dir)
{
    cr_assert_eq(vm_socket_connect(path), -ENOENT);
    close(vm_socket_listen(path, 1));

    cr_assert_eq(vm_socket_connect(path), -ECONNREFUSED);
}

Test(socket, what_a_program_left_behind_is_replaced, .init = make_dir, .fini = drop_dir)
{
    int listener;

    close(vm_socket_listen(path, 1));
    listener = vm_socket_listen(path, 1);

    cr_assert_geq(listener, 0, "%s", vm_error_text());
    close(listener);
}

Test(socket, a_name_in_use_stays_its_owners, .init = make_dir, .fini = drop_dir)
{
    int listener = vm_socket_listen(path, 1), client;

    cr_assert_eq(vm_socket_listen(path, 1), -EADDRINUSE);

    client = vm_socket_connect(path);
    cr_assert_geq(client, 0);
    close(client);
    close(listener);
}

Test(socket, a_file_is_no_socket_and_is_not_removed, .init = make_dir, .fini = drop_dir)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    cr_assert_eq(vm_socket_listen(path, 1), -EEXIST);
    cr_assert_eq(vm_socket_connect(path), -ENOTSOCK);

    cr_assert_eq(access(path, F_OK), 0);
    close(fd);
}

Test(socket, a_path_has_one_to_107_bytes)
{
    char text[110];

    memset(text, 'x', sizeof(text));
    text[108] = 0;

    cr_assert_eq(vm_socket_listen(text, 1), -EINVAL);
    cr_assert_eq(vm_socket_connect(text), -EINVAL);
    cr_assert(strstr(vm_error_text(), "108 bytes are too long for a socket's path (1 to 107)"));
    cr_assert_eq(vm_socket_connect(""), -EINVAL);
}

Test(socket, the_hosts_environment_opens_both_ends, .init = make_dir, .fini = drop_dir)
{
    struct vm_env env;
    int listener, client;

    vm_env_host(VM_LOG_ERROR, &env);
    listener = env.open(env.ctx, path, VM_OPEN_LISTEN);
    client = env.open(env.ctx, path, VM_OPEN_CONNECT);

    cr_assert_geq(listener, 0);
    cr_assert_geq(client, 0);
    close(client);
    close(listener);
}

static int pair[2];

static void make_pair(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

Test(socket, fds_go_beside_bytes, .init = make_pair)
{
    int mine = vm_eventfd(), theirs[2];
    size_t count;
    char byte;

    cr_assert_eq(vm_socket_send(pair[0], "x", 1, &mine, 1, 0), 1);
    vm_eventfd_signal(mine);
    cr_assert_eq(vm_socket_receive(pair[1], &byte, 1, theirs, 2, &count, MSG_DONTWAIT), 1);

    cr_assert_eq(byte, 'x');
    cr_assert_eq(count, 1);
    cr_assert_eq(vm_eventfd_take(theirs[0]), 1);
    cr_assert(fcntl(theirs[0], F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(vm_socket_receive(pair[1], &byte, 1, theirs, 2, &count, MSG_DONTWAIT), -EAGAIN);
}

Test(socket, more_fds_than_wanted_are_an_error_and_none_is_left_open, .init = make_pair)
{
    int mine[3] = { vm_eventfd(), vm_eventfd(), vm_eventfd() }, theirs[2], before = dup(0), after;
    size_t count;
    char byte;

    close(before);
    cr_assert_eq(vm_socket_send(pair[0], "x", 1, mine, 3, 0), 1);
    cr_assert_eq(vm_socket_receive(pair[1], &byte, 1, theirs, 2, &count, 0), -EMSGSIZE);

    cr_assert_eq(count, 0);
    after = dup(0);
    cr_assert_eq(after, before);
}

Test(socket, sending_to_nobody_is_an_error_and_no_signal, .init = make_pair)
{
    close(pair[1]);

    cr_assert_eq(vm_socket_send(pair[0], "x", 1, NULL, 0, 0), -EPIPE);
}

/* ---- too many on their way ---- */

enum { MANY = 1000, FEW = 64 };

static void limit_files(rlim_t soft)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files))
        _exit(90);
    files.rlim_cur = soft;
    if (setrlimit(RLIMIT_NOFILE, &files))
        _exit(91);
}

/* As many as go; nobody takes them. */
static ssize_t flood(int sock)
{
    int fd[VM_SOCKET_FDS_MAX];
    ssize_t n;

    for (size_t i = 0; i < VM_SOCKET_FDS_MAX; i++)
        fd[i] = sock;
    while ((n = vm_socket_send(sock, "x", 1, fd, VM_SOCKET_FDS_MAX, MSG_DONTWAIT)) > 0) {
        /* the next */
    }
    return n;
}

/* 0, or which step went wrong. */
static int flood_and_send(void)
{
    int status, other[2];
    pid_t pid;

    limit_files(MANY);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, other))
        return 2;
    pid = fork();
    if (!pid) {
        limit_files(FEW);
        _exit(flood(pair[0]) == -ETOOMANYREFS ? 0 : 1);
    }
    if (waitpid(pid, &status, 0) != pid || status)
        return 3;
    if (vm_socket_send(other[0], "x", 1, other, 1, MSG_DONTWAIT) != 1)
        return 4; /* who may have more is not held up */
    limit_files(FEW);
    if (vm_socket_send(other[0], "x", 1, other, 1, MSG_DONTWAIT) != -ETOOMANYREFS)
        return 5;
    return vm_socket_send(other[0], "x", 1, NULL, 0, MSG_DONTWAIT) == 1 ? 0 : 6;
}

/* What the limits of devices' processes rely on. Root has a capability that lifts the limit. */
Test(socket, a_flood_of_fds_holds_up_only_who_may_not_have_more, .init = make_pair)
{
    uid_t user =
        0x7fa00000 + (uid_t)getpid(); /* who has no other processes, which would count, too */
    int status = -1;
    pid_t pid;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has limits of its own");
    pid = fork();
    if (!pid)
        _exit(!geteuid() && setresuid(user, user, user) ? 1 : flood_and_send());
    waitpid(pid, &status, 0);

    cr_assert_eq(status, 0, "%x", status);
}

Test(socket, an_error_of_sending_says_how_to_mend_it)
{
    cr_assert_eq(vm_socket_send_failed(-ETOOMANYREFS, "spawner"), -ETOOMANYREFS);
    cr_assert(strstr(vm_error_text(), "spawner: processes of this user have sent more open files"));
    cr_assert(strstr(vm_error_text(), "ulimit -n"));

    cr_assert_eq(vm_socket_send_failed(-EPIPE, "spawner"), -EPIPE);
    cr_assert_str_eq(vm_error_text(), "spawner: Broken pipe");
}
