/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Where an image's bytes come from: a file, or memory. */
#include <vmm/base/file.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

static const char *cure(int error, bool make)
{
    switch (error) {
    case ENOENT: return make ? ": make its folder first" : ": check the path";
    case ENOTDIR: return ": a file stands where the path has a folder; check the path";
    case EISDIR: return ": name a file";
    case EACCES: return ": give this user the right to it and to its folders";
    default: return "";
    }
}

int vm_file_fail(const char *what, const char *path, bool make)
{
    int error = errno;
    char why[128];

    return vm_fail(-error, "%s%s%s: %s%s", what, *what ? " " : "", path,
                   strerror_r(error, why, sizeof(why)), cure(error, make));
}

static int read_fd(const struct vm_file *file, void *buf, size_t len, uint64_t offset)
{
    int rc = vm_pread_full(file->fd, buf, len, offset);

    return rc ? vm_wrap(rc, "%s", file->name) : 0;
}

static int read_data(const struct vm_file *file, void *buf, size_t len, uint64_t offset)
{
    if (!vm_range_in(offset, len, file->size))
        return vm_fail(-EPIPE, "%s: ends at byte %llu", file->name, (unsigned long long)file->size);
    memcpy(buf, (const uint8_t *)file->data + offset, len);
    return 0;
}

int vm_file_fd(const char *name, int fd, struct vm_file *ret_file)
{
    struct stat st;

    if (vm_fstat(fd, &st))
        return vm_fail_errno("%s", name);
    if (S_ISDIR(st.st_mode))
        return vm_fail(-EISDIR, "%s is a directory: give a file", name);
    if (!S_ISREG(st.st_mode))
        return vm_fail(-EINVAL, "%s is not a regular file: copy what it gives into one", name);
    if (!st.st_size)
        return vm_fail(-EINVAL, "%s is empty: name another file", name);
    *ret_file =
        (struct vm_file){ .name = name, .size = (uint64_t)st.st_size, .read = read_fd, .fd = fd };
    return 0;
}

void vm_file_data(const char *name, const void *data, size_t len, struct vm_file *ret_file)
{
    *ret_file =
        (struct vm_file){ .name = name, .size = len, .read = read_data, .fd = -1, .data = data };
}
