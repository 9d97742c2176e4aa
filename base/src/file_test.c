/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/file.h>

/* The call fails with that code and exactly that line. */
#define FAILS(call, code, text)                          \
    do {                                                 \
        vm_error_clear();                                \
        cr_assert_eq(call, code, "%s", vm_error_text()); \
        cr_assert_str_eq(vm_error_text(), text);         \
    } while (0)
#define WORKS(call) cr_assert_eq(call, 0, "%s", vm_error_text())

static int file_of(const char *text)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

Test(file, reads_at_any_place)
{
    struct vm_file file;
    char text[4] = "";
    int fd = file_of("0123456789");

    WORKS(vm_file_fd("kernel", fd, &file));
    WORKS(file.read(&file, text, 3, 4));

    cr_assert_str_eq(text, "456");
    cr_assert_eq(file.size, 10);
    close(fd);
}

Test(file, that_was_cut_short_meanwhile_is_an_error)
{
    struct vm_file file;
    char text[10];
    int fd = file_of("0123456789");

    WORKS(vm_file_fd("kernel", fd, &file));
    cr_assert_eq(ftruncate(fd, 5), 0);

    cr_assert_lt(file.read(&file, text, 10, 0), 0);
    cr_assert_eq(strncmp(vm_error_text(), "kernel: ", 8), 0, "%s", vm_error_text());
    close(fd);
}

Test(file, empty_file_is_refused)
{
    struct vm_file file;
    int fd = file_of("");

    FAILS(vm_file_fd("k.img", fd, &file), -EINVAL, "k.img is empty: name another file");
    close(fd);
}

Test(file, directory_is_refused)
{
    struct vm_file file;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    FAILS(vm_file_fd("/", fd, &file), -EISDIR, "/ is a directory: give a file");
    close(fd);
}

Test(file, pipe_is_refused)
{
    struct vm_file file;
    int fd[2];

    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    FAILS(vm_file_fd("fifo", fd[0], &file), -EINVAL,
          "fifo is not a regular file: copy what it gives into one");
    close(fd[0]);
    close(fd[1]);
}

Test(file, path_that_cannot_be_opened_is_told_with_the_cure)
{
    FAILS((errno = ENOENT, vm_file_fail("kernel", "k", false)), -ENOENT,
          "kernel k: No such file or directory: check the path");
    FAILS((errno = ENOENT, vm_file_fail("", "d/log", true)), -ENOENT,
          "d/log: No such file or directory: make its folder first");
    FAILS((errno = EACCES, vm_file_fail("", "k", false)), -EACCES,
          "k: Permission denied: give this user the right to it and to its folders");
    FAILS((errno = EMFILE, vm_file_fail("", "k", false)), -EMFILE, "k: Too many open files");
}

Test(file, bad_descriptor_is_refused)
{
    struct vm_file file;

    FAILS(vm_file_fd("kernel", -1, &file), -EBADF, "kernel: Bad file descriptor");
}

Test(file, memory_ends_where_it_ends)
{
    struct vm_file file;
    char text[4] = "";

    vm_file_data("kernel", "0123", 4, &file);
    WORKS(file.read(&file, text, 2, 2));
    cr_assert_str_eq(text, "23");

    FAILS(file.read(&file, text, 2, 3), -EPIPE, "kernel: ends at byte 4");
    FAILS(file.read(&file, text, 1, UINT64_MAX), -EPIPE, "kernel: ends at byte 4");
}
