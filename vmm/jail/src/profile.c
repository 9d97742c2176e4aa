/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Profiles as files: the struct as it is, then the two programs. Who reads one may be another version of the program that wrote it; the magic number
 * tells. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/jail/profile.h>

#define MAGIC 0x32666f7270746c76u /* changes with the layout */

struct header {
    uint64_t magic, header_size;
    struct vmm_jail_profile profile; /* its pointers mean nothing */
    uint32_t enter_count, narrow_count;
};

enum { ABSENT = UINT32_MAX };

static size_t program_size(uint32_t count)
{
    return sizeof(struct vmm_jail_program) + count * sizeof(struct sock_filter);
}

static int write_program(int fd, const struct vmm_jail_program *program)
{
    return program ? vm_write_full(fd, program->insn, program->count * sizeof(*program->insn)) : 0;
}

int vmm_jail_profile_write(const struct vmm_jail_profile *profile)
{
    struct header header = { .magic = MAGIC, .header_size = sizeof(header), .profile = *profile };
    int fd = memfd_create("jail-profile", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

    if (fd < 0)
        return vm_fail_errno("jail of %s: memfd_create", profile->who);
    header.profile.enter = header.profile.narrow = NULL;
    header.enter_count = profile->enter ? profile->enter->count : ABSENT;
    header.narrow_count = profile->narrow ? profile->narrow->count : ABSENT;
    rc = vm_write_full(fd, &header, sizeof(header));
    if (!rc)
        rc = write_program(fd, profile->enter);
    if (!rc)
        rc = write_program(fd, profile->narrow);
    if (!rc && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        rc = vm_fail_errno("jail of %s: sealing its profile", profile->who);
    if (!rc)
        return fd;
    vm_close(&fd);
    return rc;
}

/* At an offset: the fd is shared with all processes that were started with it. */
static int read_program(int fd, uint32_t count, uint64_t *offset,
                        struct vmm_jail_program **ret_program)
{
    struct vmm_jail_program *program;
    int rc;

    if (count == ABSENT)
        return 0;
    if (count > BPF_MAXINSNS)
        return vm_fail(-EPROTO, "jail profile: a filter of %u instructions", count);
    program = malloc(program_size(count));
    if (!program)
        return vm_fail(-ENOMEM, "jail profile: no memory");
    program->count = count;
    rc = vm_pread_full(fd, program->insn, count * sizeof(*program->insn), *offset);
    if (rc) {
        free(program);
        return rc;
    }
    *offset += count * sizeof(*program->insn);
    *ret_program = program;
    return 0;
}

static bool sound(const struct header *h)
{
    return h->magic == MAGIC && h->header_size == sizeof(*h) &&
           h->profile.dirs <= VMM_JAIL_DIRS_MAX &&
           memchr(h->profile.who, 0, sizeof(h->profile.who));
}

int vmm_jail_profile_read(int fd, struct vmm_jail_profile *ret_profile)
{
    struct vmm_jail_profile profile;
    uint64_t offset = sizeof(struct header);
    struct header header;
    int rc = vm_pread_full(fd, &header, sizeof(header), 0);

    if (rc)
        return vm_wrap(rc, "jail profile");
    if (!sound(&header))
        return vm_fail(-EPROTO, "jail profile: fd %d is not one of this version of vmm", fd);
    profile = header.profile;
    profile.enter = profile.narrow = NULL;
    rc = read_program(fd, header.enter_count, &offset, &profile.enter);
    if (!rc)
        rc = read_program(fd, header.narrow_count, &offset, &profile.narrow);
    if (rc) {
        vmm_jail_profile_free(&profile);
        return rc;
    }
    *ret_profile = profile;
    return 0;
}

void vmm_jail_profile_free(struct vmm_jail_profile *profile)
{
    free(profile->enter);
    free(profile->narrow);
    profile->enter = profile->narrow = NULL;
}
