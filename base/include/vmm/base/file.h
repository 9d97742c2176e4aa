/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Where an image's bytes come from: an open file, or memory. Loaders of kernels and tables read through this, so that they
 * need no file to be tested.
 *
 * Also here: what is told where a path cannot be opened.
 *
 * Threads: nothing here changes after it was made; reads may come from several at once.
 */
#ifndef VMM_BASE_FILE_H
#define VMM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* read fills len bytes from offset: 0 or -errno with text that begins with name. */
struct vm_file {
    const char *name; /* borrowed; for messages */
    uint64_t size;
    int (*read)(const struct vm_file *file, void *buf, size_t len, uint64_t offset);
    int fd; /* vm_file_fd() */
    const void *data; /* vm_file_data() */
};

/* A regular file that is open for reading; the fd is borrowed. -EISDIR, -EINVAL (not a regular file, empty) or -errno, with text. */
int vm_file_fd(const char *name, int fd, struct vm_file *ret_file);
/* len bytes at data, which is borrowed. Reads behind the end: -EPIPE. */
void vm_file_data(const char *name, const void *data, size_t len, struct vm_file *ret_file);

/* A path of the user's cannot be opened, for the reason in errno: "WHAT PATH: reason: cure". what may be empty; make: the file was
 * to be made. Returns -errno. */
int vm_file_fail(const char *what, const char *path, bool make);

#endif
