/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

static int make_file(const void *data, size_t len)
{
    int fd = memfd_create("fd_test", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    return fd;
}

Test(fd, fstat_is_a_system_call_of_its_own_with_the_same_answer)
{
    struct stat ours, theirs;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(vm_fstat(fd, &ours), 0);
    cr_assert_eq(fstat(fd, &theirs), 0);

    cr_assert_eq(ours.st_size, theirs.st_size);
    cr_assert_eq(ours.st_mode, theirs.st_mode);
    cr_assert_eq(ours.st_ino, theirs.st_ino);
    cr_assert_eq(ours.st_dev, theirs.st_dev);
    cr_assert_eq(vm_fstat(-1, &ours), -EBADF);
    close(fd);
}

Test(fd, what_was_written_at_an_offset_is_read_there)
{
    char buf[6] = "";
    int fd = make_file("", 0);

    cr_assert_eq(vm_pwrite_full(fd, "hello", 5, 100), 0);

    cr_assert_eq(vm_pread_full(fd, buf, 5, 100), 0);
    cr_assert_str_eq(buf, "hello");
    close(fd);
}

Test(fd, a_file_that_ends_early_is_epipe_and_says_where)
{
    char buf[10];
    int fd = make_file("abc", 3);

    cr_assert_eq(vm_pread_full(fd, buf, 10, 1), -EPIPE);
    cr_assert_str_eq(vm_error_text(), "read: the file ends after 2 of 10 bytes");
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    cr_assert_eq(vm_read_full(fd, buf, 4), -EPIPE);
    close(fd);
}

Test(fd, an_offset_beyond_the_kernels_type_is_refused)
{
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    int fd = make_file("abc", 3);

    cr_assert_eq(vm_pread_full(fd, &byte, 1, UINT64_MAX), -EINVAL);
    cr_assert_eq(vm_pwrite_full(fd, &byte, 1, UINT64_MAX), -EINVAL);
    cr_assert_eq(vm_preadv_full(fd, &iov, 1, UINT64_MAX), -EINVAL);
    close(fd);
}

Test(fd, a_bad_fd_is_an_error_everywhere)
{
    char byte = 0;
    struct iovec iov = { &byte, 1 };

    cr_assert_eq(vm_read(-1, &byte, 1), -EBADF);
    cr_assert_eq(vm_write(-1, &byte, 1), -EBADF);
    cr_assert_eq(vm_read_full(-1, &byte, 1), -EBADF);
    cr_assert_eq(vm_write_full(-1, &byte, 1), -EBADF);
    cr_assert_eq(vm_pread_full(-1, &byte, 1, 0), -EBADF);
    cr_assert_eq(vm_pwrite_full(-1, &byte, 1, 0), -EBADF);
    cr_assert_eq(vm_preadv_full(-1, &iov, 1, 0), -EBADF);
    cr_assert_eq(vm_pwritev_full(-1, &iov, 1, 0), -EBADF);
    cr_assert_eq(vm_eventfd_take(-1), 0);
}

enum { MUCH = 300000 };

static void *feed(void *arg)
{
    static char data[MUCH];
    int *fd = arg;

    for (size_t i = 0; i < MUCH; i++)
        data[i] = (char)(i * 7);
    return vm_write_full(*fd, data, MUCH) ? arg : NULL;
}

Test(fd, a_pipe_gives_and_takes_in_pieces)
{
    static char got[MUCH];
    pthread_t thread;
    int ends[2];
    void *failed;

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(pthread_create(&thread, NULL, feed, &ends[1]), 0);
    cr_assert_eq(vm_read_full(ends[0], got, MUCH), 0);
    pthread_join(thread, &failed);

    cr_assert_null(failed);
    for (size_t i = 0; i < MUCH; i++)
        cr_assert_eq(got[i], (char)(i * 7));
}

static void on_signal(int signo)
{
    (void)signo;
}

struct blocked {
    pthread_t thread;
    int fd;
    char byte;
    int result;
};

static void *read_one(void *arg)
{
    struct blocked *blocked = arg;

    blocked->result = vm_read_full(blocked->fd, &blocked->byte, 1);
    return NULL;
}

Test(fd, a_signal_does_not_end_a_transfer)
{
    struct sigaction action = { .sa_handler = on_signal }; /* no SA_RESTART: EINTR comes */
    struct blocked blocked = { 0 };
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    blocked.fd = ends[0];
    cr_assert_eq(pthread_create(&blocked.thread, NULL, read_one, &blocked), 0);
    for (int i = 0; i < 1000; i++) {
        pthread_kill(blocked.thread, SIGUSR1);
        sched_yield();
    }
    cr_assert_eq(write(ends[1], "x", 1), 1);
    pthread_join(blocked.thread, NULL);

    cr_assert_eq(blocked.result, 0);
    cr_assert_eq(blocked.byte, 'x');
}

Test(fd, a_full_device_is_an_error_with_the_bytes_that_went)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    cr_assert_eq(vm_write_full(fd, "abc", 3), -ENOSPC);
    cr_assert_str_eq(vm_error_text(), "write: failed after 0 of 3 bytes: No space left on device");
    close(fd);
}

Test(fd, vectors_are_read_whole_and_empty_elements_skipped)
{
    char a[2], b[3];
    struct iovec iov[] = { { NULL, 0 }, { a, 2 }, { NULL, 0 }, { b, 3 }, { NULL, 0 } };
    int fd = make_file("0123456789", 10);

    cr_assert_eq(vm_preadv_full(fd, iov, 5, 1), 5);

    cr_assert_eq(memcmp(a, "12", 2), 0);
    cr_assert_eq(memcmp(b, "345", 3), 0);
    close(fd);
}

Test(fd, vectors_stop_at_the_end_of_the_file)
{
    char a[4], b[4];
    struct iovec iov[] = { { a, 4 }, { b, 4 } };
    int fd = make_file("012345", 6);

    cr_assert_eq(vm_preadv_full(fd, iov, 2, 0), 6);

    cr_assert_eq(memcmp(b, "45", 2), 0);
    close(fd);
}

Test(fd, more_elements_than_the_kernel_takes_at_once_are_moved)
{
    enum { COUNT = IOV_MAX + 500 };
    static struct iovec iov[COUNT];
    static char out[COUNT], in[COUNT];
    int fd = make_file("", 0);

    for (int i = 0; i < COUNT; i++) {
        out[i] = (char)i;
        iov[i] = (struct iovec){ &out[i], 1 };
    }
    cr_assert_eq(vm_pwritev_full(fd, iov, COUNT, 3), COUNT);
    for (int i = 0; i < COUNT; i++)
        iov[i] = (struct iovec){ &in[i], 1 };
    cr_assert_eq(vm_preadv_full(fd, iov, COUNT, 3), COUNT);

    cr_assert_eq(memcmp(in, out, COUNT), 0);
    close(fd);
}

Test(fd, a_vector_cut_inside_an_element_goes_on_there)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    char big[100];
    struct iovec iov[] = { { big, 50 }, { big + 50, 50 } };
    struct stat st;
    char path[] = "/tmp/vmm-fd-XXXXXX";
    int fd = mkstemp(path);

    /* The file may grow to 70 bytes only: the first transfer is short, the second one fails. */
    unlink(path);
    memset(big, 'x', sizeof(big));
    sigaction(SIGXFSZ, &ignore, NULL);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 70, 70 }), 0);
    cr_assert_eq(vm_pwritev_full(fd, iov, 2, 0), -EFBIG);

    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 70);
    cr_assert_eq(iov[1].iov_len, 30);
    close(fd);
}

Test(fd, an_eventfd_counts_and_take_clears)
{
    int fd = vm_eventfd();

    cr_assert_eq(vm_eventfd_take(fd), 0, "non-blocking");
    vm_eventfd_signal(fd);
    vm_eventfd_signal(fd);

    cr_assert_eq(vm_eventfd_take(fd), 2);
    cr_assert_eq(vm_eventfd_take(fd), 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    vm_close(&fd);
}

Test(fd, an_eventfd_that_somebody_made_wait_is_taken_without_waiting, .timeout = TEST_TIMEOUT)
{
    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator has no preadv2(2)");

    int fd = vm_eventfd();

    cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);

    vm_eventfd_signal(fd);

    cr_assert_eq(vm_eventfd_take_shared(fd), 1);
    cr_assert_eq(vm_eventfd_take_shared(fd), 0);
    vm_close(&fd);
}

Test(fd, signalling_a_full_eventfd_does_not_block)
{
    uint64_t full = UINT64_MAX - 1;
    int fd = vm_eventfd();

    cr_assert_eq(write(fd, &full, sizeof(full)), (ssize_t)sizeof(full));
    vm_eventfd_signal(fd);

    cr_assert_eq(vm_eventfd_take(fd), full);
    vm_close(&fd);
}

Test(fd, no_more_fds_is_an_error_with_text)
{
    struct rlimit before, none;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ 0, before.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    int rc = vm_eventfd();
    setrlimit(RLIMIT_NOFILE, &before); /* the test's own report needs some */

    cr_assert_eq(rc, -EMFILE);
    cr_assert_str_eq(vm_error_text(), "eventfd: Too many open files");
}

Test(fd, close_forgets_the_number_and_keeps_errno)
{
    int fd = make_file("", 0), copy = fd;

    errno = ENOTTY;
    vm_close(&fd);
    cr_assert_eq(fd, -1);
    cr_assert_eq(fcntl(copy, F_GETFD), -1);

    errno = ENOTTY;
    vm_close(&fd);
    cr_assert_eq(errno, ENOTTY);
}

Test(fd, a_file_is_read_whole_from_its_start_with_a_zero_behind)
{
    void *data;
    size_t len;
    int fd = make_file("kernel", 6); /* and now stands at its end */

    cr_assert_eq(vm_read_file(fd, "kernel", 100, &data, &len), 0);

    cr_assert_eq(len, 6);
    cr_assert_str_eq(data, "kernel");
    free(data);
    close(fd);
}

Test(fd, an_empty_file_is_read)
{
    void *data;
    size_t len = 1;
    int fd = make_file("", 0);

    cr_assert_eq(vm_read_file(fd, "x", 0, &data, &len), 0);

    cr_assert_eq(len, 0);
    cr_assert_str_eq(data, "");
    free(data);
    close(fd);
}

Test(fd, a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not)
{
    static char big[10000];
    void *data;
    size_t len;
    int fd = make_file(big, sizeof(big));

    cr_assert_eq(vm_read_file(fd, "initrd", sizeof(big), &data, &len), 0);
    cr_assert_eq(len, sizeof(big));
    free(data);
    cr_assert_eq(vm_read_file(fd, "initrd", sizeof(big) - 1, &data, &len), -EFBIG);
    cr_assert_str_eq(vm_error_text(), "initrd: larger than 9999 bytes, the most that is allowed");
    close(fd);
}

Test(fd, a_small_file_above_a_small_limit_is_refused)
{
    void *data;
    size_t len;
    int fd = make_file("abc", 3);

    cr_assert_eq(vm_read_file(fd, "x", 2, &data, &len), -EFBIG);
    close(fd);
}

Test(fd, a_pipe_is_read_to_its_end_whatever_its_size)
{
    enum { REST = 60000 }; /* fits the pipe, so that its writer can end and close it */
    static char head[MUCH - REST];
    pthread_t thread;
    int ends[2];
    void *data = NULL;
    size_t len;

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(pthread_create(&thread, NULL, feed, &ends[1]), 0);
    cr_assert_eq(vm_read_full(ends[0], head, sizeof(head)), 0);
    pthread_join(thread, NULL);
    close(ends[1]);
    cr_assert_eq(vm_read_file(ends[0], "config", MUCH, &data, &len), 0);

    cr_assert_eq(len, REST);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(((char *)data)[i], (char)((MUCH - REST + i) * 7));
    free(data);
}

Test(fd, a_directory_is_refused_by_name)
{
    void *data;
    size_t len;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    cr_assert_eq(vm_read_file(fd, "kernel", 100, &data, &len), -EISDIR);
    cr_assert_str_eq(vm_error_text(), "kernel: read: Is a directory");
    close(fd);
}

Test(fd, sanitize_fills_the_closed_ones_of_the_first_three)
{
    struct stat null, in, out;

    close(0);
    close(2);
    int rc = vm_fd_sanitize();

    cr_assert_eq(rc, 0);
    cr_assert_eq(stat("/dev/null", &null), 0);
    cr_assert_eq(fstat(0, &in), 0);
    cr_assert_eq(fstat(2, &out), 0);
    cr_assert_eq(in.st_rdev, null.st_rdev);
    cr_assert_eq(out.st_rdev, null.st_rdev);
    cr_assert_eq(fcntl(2, F_GETFL) & O_ACCMODE, O_RDWR);
}

Test(fd, sanitize_leaves_open_ones_alone)
{
    struct stat before, after;
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(dup2(ends[0], 0), 0);
    cr_assert_eq(fstat(0, &before), 0);
    cr_assert_eq(vm_fd_sanitize(), 0);

    cr_assert_eq(fstat(0, &after), 0);
    cr_assert_eq(after.st_ino, before.st_ino);
}

Test(fd, sanitize_tells_when_three_are_more_than_allowed)
{
    struct rlimit all, few;
    int rc;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
    few = (struct rlimit){ 2, all.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);

    rc = vm_fd_sanitize();
    setrlimit(RLIMIT_NOFILE, &all);

    cr_assert_eq(rc, -EMFILE, "%d %s", rc, vm_error_text());
}
