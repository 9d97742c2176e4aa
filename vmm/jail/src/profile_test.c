/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/jail/profile.h>

static struct vmm_jail_program *some_program(uint32_t count)
{
    struct vmm_jail_program *program = calloc(1, sizeof(*program) + count * sizeof(*program->insn));

    program->count = count;
    for (uint32_t i = 0; i < count; i++)
        program->insn[i].k = i + 1;
    return program;
}

Test(profile, what_is_written_is_read)
{
    struct vmm_jail_profile out = {
        .who = "virtio-fs fs0", .spawned = true, .max_fds = 7, .max_file_bytes = 9, .dirs = 1
    };
    struct vmm_jail_profile in = { 0 };
    int fd;

    out.dir[0] = (struct vmm_jail_dir){ 5, true };
    out.enter = some_program(3);
    out.narrow = some_program(2);
    fd = vmm_jail_profile_write(&out);
    cr_assert_geq(fd, 0, "%s", vm_error_text());

    cr_assert_eq(vmm_jail_profile_read(fd, &in), 0, "%s", vm_error_text());
    cr_assert_str_eq(in.who, "virtio-fs fs0");
    cr_assert(in.spawned && in.max_fds == 7 && in.max_file_bytes == 9);
    cr_assert(in.dirs == 1 && in.dir[0].fd == 5 && in.dir[0].writable);
    cr_assert_eq(in.enter->count, 3);
    cr_assert_eq(in.enter->insn[2].k, 3);
    cr_assert_eq(in.narrow->count, 2);
    cr_assert_eq(in.narrow->insn[0].k, 1);
    vmm_jail_profile_free(&in);
    vmm_jail_profile_free(&out);
    close(fd);
}

Test(profile, without_filters_it_has_none)
{
    struct vmm_jail_profile out = { .who = "x" }, in = { 0 };
    int fd = vmm_jail_profile_write(&out);

    cr_assert_eq(vmm_jail_profile_read(fd, &in), 0);
    cr_assert(!in.enter && !in.narrow);
    close(fd);
}

Test(profile, who_gets_it_cannot_change_it)
{
    struct vmm_jail_profile out = { .who = "x" };
    int fd = vmm_jail_profile_write(&out);

    cr_assert_eq(pwrite(fd, "y", 1, 0), -1);
    cr_assert_eq(ftruncate(fd, 0), -1);
    close(fd);
}

/* The bytes of a written profile, one changed, or cut short. */
static int read_changed(size_t offset, uint8_t with, size_t len)
{
    struct vmm_jail_profile out = { .who = "x", .enter = some_program(1) }, in = { 0 };
    int fd = vmm_jail_profile_write(&out), other = memfd_create("other", MFD_CLOEXEC), rc;
    char bytes[4096];
    ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

    cr_assert_gt(n, 0);
    bytes[offset] = (char)with;
    cr_assert_eq(vm_write_full(other, bytes, len < (size_t)n ? len : (size_t)n), 0);
    rc = vmm_jail_profile_read(other, &in);
    vmm_jail_profile_free(&in);
    vmm_jail_profile_free(&out);
    close(fd);
    close(other);
    return rc;
}

Test(profile, another_file_is_refused)
{
    cr_assert_eq(read_changed(0, 'x', SIZE_MAX), -EPROTO);
    cr_assert_eq(read_changed(8, 1, SIZE_MAX), -EPROTO);
    cr_assert_eq(read_changed(0, 'v', 10), -EPIPE);
}
